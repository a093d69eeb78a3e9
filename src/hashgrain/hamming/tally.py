"""What came of searching one way or the other, so that the quicker way is taken, as measured."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

ASKED_AGAIN = 32  # where a scan was quicker, one question in so many tries the index again
COMPARED_AFTER = 8  # answers by index, before a scan is timed once to compare
MEMORY = 8  # how many answers the running mean is made of, about
Way = Literal["index", "scan"]


@dataclass
class Tally:
    """Nanoseconds a query, by the kind of question. Threads may overwrite each other's: it is a hint."""

    means: dict[tuple[Way, tuple[int, ...]], float] = field(default_factory=dict)
    asked: dict[tuple[int, ...], int] = field(default_factory=dict)

    def way(self, kind: tuple[int, ...], scan_ns: float) -> Way:
        """The quicker way as far as is known; `scan_ns` is what a scan should take, until one was timed."""
        asked = self.asked[kind] = self.asked.get(kind, 0) + 1
        index, scan = self.means.get(("index", kind)), self.means.get(("scan", kind))
        if index is None or asked % ASKED_AGAIN == 0:
            return "index"
        if scan is None and asked > COMPARED_AFTER:
            return "scan"
        return "index" if index < (scan_ns if scan is None else scan) else "scan"

    def record(self, way: Way, kind: tuple[int, ...], ns: float) -> None:
        mean = self.means.get((way, kind), ns)
        self.means[way, kind] = mean + (ns - mean) / MEMORY
