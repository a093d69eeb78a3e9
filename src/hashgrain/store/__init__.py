"""Libraries on disk: a catalogue (SQLite, the source of truth) and code segments (mapped files, rebuilt from it).

Read `store.py` first. `catalogue.py` and `segments.py` are the two formats, `snapshot.py` is what readers see,
`filter_parser.py` is the filter language.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hashgrain.lazy import lazy_names
from hashgrain.store.blocks import Block
from hashgrain.store.catalogue import NAME as CATALOGUE
from hashgrain.store.change_log import Change
from hashgrain.store.items import Item, MetaReplaced, Moved, New, Parts, PartsReplaced, Problem, Replaced, Touched
from hashgrain.store.schema import FORMAT
from hashgrain.store.segments import Segment
from hashgrain.store.snapshot import Snapshot
from hashgrain.store.store import Store

if TYPE_CHECKING:
    from hashgrain.store.filter_parser import Filter, parse_filter
    from hashgrain.store.mend import MendReport as MendReport
    from hashgrain.store.migration import Migration, migrate, undo

# Most programs filter nothing and migrate nothing.
__getattr__ = lazy_names(
    __name__,
    {
        **dict.fromkeys(("Filter", "parse_filter"), "filter_parser"),
        **dict.fromkeys(("Migration", "migrate", "undo"), "migration"),
    },
)

__all__ = [
    "CATALOGUE",
    "FORMAT",
    "Block",
    "Change",
    "Filter",
    "Item",
    "MetaReplaced",
    "Migration",
    "Moved",
    "New",
    "Parts",
    "PartsReplaced",
    "Problem",
    "Replaced",
    "Segment",
    "Snapshot",
    "Store",
    "Touched",
    "migrate",
    "parse_filter",
    "undo",
]
