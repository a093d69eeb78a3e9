"""`Library`: a collection of pictures on disk, to search and to change.

Names are imported on first use: what only adds or repairs costs a search nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hashgrain.lazy import lazy_names

if TYPE_CHECKING:
    from hashgrain.library.adding import check_sources as check_sources
    from hashgrain.library.library import Library as Library
    from hashgrain.library.multi_library import LibraryHit as LibraryHit
    from hashgrain.library.multi_library import NamedQuery as NamedQuery
    from hashgrain.library.multi_library import items_of_query as items_of_query
    from hashgrain.library.multi_library import refuse_mixed as refuse_mixed
    from hashgrain.library.multi_library import search_several as search_several
    from hashgrain.library.reading import encode_sources as encode_sources
    from hashgrain.library.rebuilding import rebuild as rebuild
    from hashgrain.library.rebuilding import rebuild_with as rebuild_with
    from hashgrain.library.rebuilding import verify_library as verify_library
    from hashgrain.library.report import AddReport as AddReport

_HOMES = {
    "AddReport": "report",
    "LibraryHit": "multi_library",
    "Library": "library",
    "NamedQuery": "multi_library",
    "check_sources": "adding",
    "encode_sources": "reading",
    "items_of_query": "multi_library",
    "rebuild": "rebuilding",
    "rebuild_with": "rebuilding",
    "refuse_mixed": "multi_library",
    "search_several": "multi_library",
    "verify_library": "rebuilding",
}


__getattr__ = lazy_names(__name__, _HOMES)
