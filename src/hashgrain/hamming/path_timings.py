"""Timings of the search paths (index, index on all threads, scan), which choose the fastest path."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

ASKED_AGAIN = 32  # one question in so many tries another path than the best, unless that is hopeless
HOPELESS = 4.0  # a path that is so many times slower than the best
TRIED = 4  # answers by index before another path may win: one hard question is not enough
COMPARED_AFTER = 8  # answers by index before a scan is timed once; at once if the scan may be close
WORTH_SHARING_NS = 300_000  # faster answers by index gain nothing from more threads
HOPELESS_ASKED_AGAIN = 1024  # one question in so many tries a hopeless path: its timings may have been bad luck
MEMORY, FORGIVING = 8, 2  # weights of the running mean for slower and for faster answers: slow ones are often bad luck
Way = Literal["index", "shared", "scan"]
Kind = tuple[int, ...]


@dataclass
class PathTimings:
    """Nanoseconds per query, by kind of question. Updates of threads may get lost: the timings are only hints."""

    means: dict[Kind, dict[Way, float]] = field(default_factory=dict)
    asked: dict[Kind, int] = field(default_factory=dict)
    answers: dict[tuple[Way, Kind], int] = field(default_factory=dict)

    def way(self, kind: Kind, scan_ns: float, can_share: bool = False) -> Way:
        """The fastest path by current timings; `scan_ns` is the expected time of a scan, until one is timed."""
        asked = self.asked[kind] = self.asked.get(kind, 0) + 1
        known = dict(self.means.get(kind, {}))
        if "index" not in known or self.answers.get(("index", kind), 0) < TRIED:
            return "index"
        if "shared" not in known and can_share and known["index"] > WORTH_SHARING_NS:
            return "shared"
        if "scan" not in known and (asked > COMPARED_AFTER or HOPELESS * known["index"] > scan_ns):
            return "scan"
        expected: dict[Way, float] = {"scan": scan_ns, **known}
        best = min(expected, key=lambda way: expected[way])
        if asked % ASKED_AGAIN == 0:
            bar = HOPELESS * expected[best] if asked % HOPELESS_ASKED_AGAIN else float("inf")
            others = [way for way in known if way != best and known[way] < bar]
            if others:
                return others[asked // ASKED_AGAIN % len(others)]
        return best

    def record(self, way: Way, kind: Kind, ns: float) -> None:
        answers = self.answers[way, kind] = self.answers.get((way, kind), 0) + 1
        if answers == 1:  # the first one includes cold memory
            return
        means = self.means.setdefault(kind, {})
        mean = means.get(way, ns)
        means[way] = mean + (ns - mean) / (FORGIVING if ns < mean else MEMORY)
