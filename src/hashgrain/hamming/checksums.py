"""The CRC-32 of every page of a buffer: by a compiled kernel if the processor supports it, else by zlib."""

from __future__ import annotations

import zlib

import numpy as np
from numpy.typing import NDArray

from hashgrain.hamming import native


def page_sums(content: bytes, page: int) -> NDArray[np.uint32]:
    """One checksum per page; the last page may be short."""
    whole = len(content) // page
    sums = np.empty(-(-len(content) // page), np.uint32)
    view = memoryview(content)
    compiled = native.compiled() and native.kernels.page_sums(view[: whole * page], page, sums[:whole])
    for at in range(whole if compiled else 0, len(sums)):
        sums[at] = zlib.crc32(view[at * page : (at + 1) * page])
    return sums
