"""What answers "which codes are nearest": in this process, or elsewhere behind the same protocol."""

from hashgrain.engines.embedded import EmbeddedEngine as EmbeddedEngine
from hashgrain.engines.filters import keep as keep
from hashgrain.engines.filters import picked as picked
from hashgrain.engines.index_manager import IndexManager as IndexManager
from hashgrain.engines.index_manager import IndexPlan as IndexPlan
from hashgrain.engines.protocol import Engine as Engine
