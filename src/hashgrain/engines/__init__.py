"""Search engines: they answer which codes are nearest, in this process or elsewhere, behind one protocol."""

from hashgrain.engines.embedded import EmbeddedEngine as EmbeddedEngine
from hashgrain.engines.filters import filter_rows as filter_rows
from hashgrain.engines.filters import select_codes as select_codes
from hashgrain.engines.index_manager import IndexManager as IndexManager
from hashgrain.engines.index_manager import IndexPlan as IndexPlan
from hashgrain.engines.part_rows import PartsMode as PartsMode
from hashgrain.engines.part_rows import check_parts_mode as check_parts_mode
from hashgrain.engines.protocol import Engine as Engine
from hashgrain.engines.protocol import FilteringEngine as FilteringEngine
from hashgrain.engines.protocol import takes_filters as takes_filters
from hashgrain.engines.protocol import takes_part_radii as takes_part_radii
from hashgrain.engines.protocol import takes_parts as takes_parts
from hashgrain.engines.sync import catch_up as catch_up
from hashgrain.engines.sync import connected as connected
from hashgrain.engines.sync import dialect_at as dialect_at
from hashgrain.engines.sync import engine_in as engine_in
from hashgrain.engines.sync import engine_of as engine_of
from hashgrain.engines.sync import lag as lag
from hashgrain.engines.sync import synced_snapshot as synced_snapshot
