"""The files that a library skips: those refused before, and those removed by hand."""

from __future__ import annotations

import os
from collections.abc import Sequence

from hashgrain.errors import LibraryError
from hashgrain.media.cost import budget
from hashgrain.sources import file_of
from hashgrain.store import Store
from hashgrain.store.items import encode_path

Stamp = tuple[int, int]
# Words of refusals whose cause is not the file: an extra that is missing, memory, the system.
PASSING = ("pip install", "needs more memory than there is", "[Errno")
LIMITED = ("max_pixels", "--max-pixels")  # of a limit that can be raised; older libraries keep the second


class Memory:
    """Refusals and exclusions, looked up for every file of a run. New ones are written with the run's commits."""

    def __init__(self, store: Store, *, retry: bool, again: bool, limits: Sequence[str]) -> None:
        self.store = store
        self.retry = retry
        self.again = again
        self.limits = limits
        self.refused = {path: (stamp, reason) for path, stamp, reason in store.refusals()}
        self.excluded = set(store.exclusions())
        self._new: dict[str, tuple[Stamp, str]] = {}
        self._readable: set[str] = set()
        self._back: set[str] = set()

    def keeps_out(self, path: str) -> bool:
        """Whether a file was removed by hand and stays out."""
        if path not in self.excluded:
            return False
        if self.again:
            self._back.add(path)
        return not self.again

    def knows_refused(self, path: str, stamp: Stamp | None) -> bool:
        """Whether a file was refused before and would be refused again."""
        before = None if self.retry or stamp is None else self.refused.get(path)
        if before is None or before[0] != stamp:
            return False
        return not any(word in before[1] for word in LIMITED) or any(limit in before[1] for limit in self.limits)

    def refuse(self, path: str, stamp: Stamp | None, error: Exception | str) -> None:
        """Remember a refusal, unless the same file may be accepted at the next try."""
        reason = str(error)
        if stamp is None or isinstance(error, OSError) or any(word in reason for word in PASSING):
            return
        try:
            encode_path(path)
        except LibraryError:
            return
        self._new[path] = (stamp, reason)

    def could_be_read(self, path: str) -> None:
        if path in self.refused:
            self._readable.add(path)

    def write(self) -> None:
        """Write what is new since the last commit."""
        if self._new:
            self.store.refuse((path, stamp, reason) for path, (stamp, reason) in self._new.items())
        if self._readable:
            self.store.forget_refusals(self._readable)
        if self._back:
            self.store.include(self._back)
        self.refused.update(self._new)
        self._new, self._readable, self._back = {}, set(), set()


def limits_told(max_pixels: int, workers: int) -> tuple[str, str]:
    """The limits of a run in the words of its refusals: a file refused for another limit is tried again."""
    return f"the {max_pixels / 1e6:g} million allowed", f"the {budget(max_pixels, workers) >> 20:,} MB that one"


def stamp_inside(path: str) -> Stamp | None:
    """Size and time of the archive or table that a refused path lies in or is; None for other files.

    `find` refuses a plain file only if the system does not let it be read.
    """
    file = file_of(path)
    if file == path and not path.lower().endswith((".tar", ".gz", ".tgz", ".parquet", ".npy")):
        return None
    try:
        status = os.stat(file)
    except (OSError, ValueError):
        return None
    return (status.st_size, status.st_mtime_ns)
