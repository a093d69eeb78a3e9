"""What came of asking an index, so that it is not asked in vain again and again."""

from __future__ import annotations

from dataclasses import dataclass, field

ASKED_AGAIN = 32  # where a scan was quicker, one question in so many tries the index again
MEMORY = 8  # how many answers the running mean is made of, about


@dataclass
class Tally:
    """Nanoseconds a query, by the kind of question. Threads may overwrite each other's: it is a hint."""

    means: dict[tuple[int, ...], float] = field(default_factory=dict)
    passed: dict[tuple[int, ...], int] = field(default_factory=dict)

    def worth(self, kind: tuple[int, ...], scan_ns: float) -> bool:
        """Whether the index is expected to be quicker than a scan, or it is time to look again."""
        if self.means.get(kind, 0.0) < scan_ns:
            return True
        self.passed[kind] = self.passed.get(kind, 0) + 1
        return self.passed[kind] % ASKED_AGAIN == 0

    def record(self, kind: tuple[int, ...], ns: float) -> None:
        mean = self.means.get(kind, ns)
        self.means[kind] = mean + (ns - mean) / MEMORY
