"""Memory-mapped files. If another program cuts a file short, that is detected and does not crash this process."""

from __future__ import annotations

import mmap
import sys
import weakref
from dataclasses import dataclass

from hashgrain.hamming import native

UNWATCHED = -1


@dataclass(frozen=True, eq=False)
class Mapping:
    """Bytes of a file. Where the file was cut since, they are zeros and `cut` returns True: call it after reading."""

    view: memoryview
    slot: int = UNWATCHED

    def cut(self) -> bool:
        return self.slot != UNWATCHED and bool(native.kernels.was_cut(self.slot))


def map_file(descriptor: int, size: int) -> Mapping:
    """Map the first `size` bytes read-only. Without the compiled kernels, cuts are not detected."""
    # By default a mapping keeps a file descriptor open, and systems limit their number.
    if sys.version_info >= (3, 13) and sys.platform != "win32":
        mapped = mmap.mmap(descriptor, size, access=mmap.ACCESS_READ, trackfd=False)
    else:
        mapped = mmap.mmap(descriptor, size, access=mmap.ACCESS_READ)
    if not native.compiled():
        return Mapping(memoryview(mapped))
    slot = native.kernels.watch(mapped)
    if slot != UNWATCHED:
        weakref.finalize(mapped, native.kernels.unwatch, slot).atexit = False
    return Mapping(memoryview(mapped), slot)


def watch_again() -> None:
    """Detect cuts also after a library that was loaded later has put its own handler in place of ours."""
    if native.compiled():
        page = mmap.mmap(-1, mmap.PAGESIZE)
        slot = native.kernels.watch(page)
        if slot != UNWATCHED:
            native.kernels.unwatch(slot)
