"""HashGrain: image similarity search with compact binary codes.

    from hashgrain import Library

    library = Library.create("photos.hg")
    library.add("~/Pictures")
    for hit in library.search("cat.jpg", k=5):
        print(hit.distance, hit.word, hit.path)

Names are imported on first use, so `import hashgrain` takes almost no time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hashgrain.lazy import lazy_names

if TYPE_CHECKING:
    from hashgrain.client import Client as Client
    from hashgrain.codes import Codes as Codes
    from hashgrain.codes import Grains as Grains
    from hashgrain.errors import HashgrainError as HashgrainError
    from hashgrain.library import AddReport as AddReport
    from hashgrain.library import Library as Library
    from hashgrain.models import Encoder as Encoder
    from hashgrain.search import Hit as Hit
    from hashgrain.search.groups import Group as Group
    from hashgrain.search.query import Query as Query
    from hashgrain.types import Part as Part

__version__ = "0.1.0"

_HOMES = {
    "AddReport": "library",
    "Client": "client",
    "Codes": "codes",
    "Encoder": "models",
    "Grains": "codes",
    "Group": "search.groups",
    "HashgrainError": "errors",
    "Hit": "search",
    "Library": "library",
    "Part": "types",
    "Query": "search.query",
}
__all__ = [
    "AddReport",
    "Client",
    "Codes",
    "Encoder",
    "Grains",
    "Group",
    "HashgrainError",
    "Hit",
    "Library",
    "Part",
    "Query",
    "__version__",
]


__getattr__ = lazy_names(__name__, _HOMES)


def __dir__() -> list[str]:
    return __all__
