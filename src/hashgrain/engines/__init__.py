"""What answers "which codes are nearest": in this process, or elsewhere behind the same protocol."""

from hashgrain.engines.embedded import EmbeddedEngine as EmbeddedEngine
from hashgrain.engines.filters import keep as keep
from hashgrain.engines.filters import picked as picked
from hashgrain.engines.protocol import Engine as Engine
from hashgrain.engines.shelf import IndexPlan as IndexPlan
from hashgrain.engines.shelf import Shelf as Shelf
