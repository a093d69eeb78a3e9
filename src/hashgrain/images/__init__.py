"""Opening pictures nobody vouches for.

Names are imported on first use: searching by id or code opens no picture.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hashgrain.images.cost import DEFAULT_MAX_PIXELS as DEFAULT_MAX_PIXELS
    from hashgrain.images.decode import Facts as Facts
    from hashgrain.images.decode import Picture as Picture
    from hashgrain.images.decode import facts_of as facts_of
    from hashgrain.images.decode import open_picture as open_picture
    from hashgrain.images.formats import FORMATS as FORMATS
    from hashgrain.images.thumbnails import thumbnail as thumbnail
    from hashgrain.images.workers import DecodePool as DecodePool
    from hashgrain.images.workers import decode_workers as decode_workers

_HOMES = {
    "DEFAULT_MAX_PIXELS": "cost",
    "DecodePool": "workers",
    "FORMATS": "formats",
    "Facts": "decode",
    "Picture": "decode",
    "decode_workers": "workers",
    "facts_of": "decode",
    "open_picture": "decode",
    "thumbnail": "thumbnails",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(f"hashgrain.images.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'hashgrain.images' has no attribute {name!r}")
