"""Opening pictures and sounds that nobody vouches for.

Names are imported on first use: searching by id or code opens no picture.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hashgrain.lazy import lazy_names

if TYPE_CHECKING:
    from hashgrain.media.cost import DEFAULT_MAX_PIXELS as DEFAULT_MAX_PIXELS
    from hashgrain.media.formats import FORMATS as FORMATS
    from hashgrain.media.image import facts_of as facts_of
    from hashgrain.media.image import open_picture as open_picture
    from hashgrain.media.picture import Facts as Facts
    from hashgrain.media.picture import Picture as Picture
    from hashgrain.media.thumbnails import thumbnail as thumbnail
    from hashgrain.media.workers import DecodePool as DecodePool
    from hashgrain.media.workers import decode_workers as decode_workers

_HOMES = {
    "DEFAULT_MAX_PIXELS": "cost",
    "DecodePool": "workers",
    "FORMATS": "formats",
    "Facts": "picture",
    "Picture": "picture",
    "decode_workers": "workers",
    "facts_of": "image",
    "open_picture": "image",
    "thumbnail": "thumbnails",
}


__getattr__ = lazy_names(__name__, _HOMES)
