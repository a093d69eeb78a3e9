"""What answers "which codes are nearest": in this process, or elsewhere behind the same protocol."""

from hashgrain.engines.embedded import EmbeddedEngine as EmbeddedEngine
from hashgrain.engines.filters import keep as keep
from hashgrain.engines.filters import picked as picked
from hashgrain.engines.index_manager import IndexManager as IndexManager
from hashgrain.engines.index_manager import IndexPlan as IndexPlan
from hashgrain.engines.part_rows import Which as Which
from hashgrain.engines.part_rows import check_which as check_which
from hashgrain.engines.protocol import Engine as Engine
from hashgrain.engines.protocol import FilteringEngine as FilteringEngine
from hashgrain.engines.protocol import takes_filters as takes_filters
from hashgrain.engines.sync import behind as behind
from hashgrain.engines.sync import catch_up as catch_up
from hashgrain.engines.sync import engine_of as engine_of
from hashgrain.engines.sync import in_step as in_step
