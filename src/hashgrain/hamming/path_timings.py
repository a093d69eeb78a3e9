"""What came of searching by index, by index with every thread, or by scan: the quickest way is taken, as measured."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

ASKED_AGAIN = 32  # one question in so many tries a way that is not the best, unless it is hopeless
HOPELESS = 4.0  # times as slow as the best
TRIED = 4  # answers by index before it may lose: one hard question says little
COMPARED_AFTER = 8  # answers by index, before a scan is timed once to compare; at once, where it may be close
WORTH_SHARING_NS = 300_000  # answers by index that take less gain nothing from another thread
HOPELESS_ASKED_AGAIN = 1024  # and a hopeless one this seldom: memory may have been cold, or another program busy
MEMORY, FORGIVING = 8, 2  # how slowly the running mean rises, and falls: a slow answer is more often bad luck
Way = Literal["index", "shared", "scan"]
Kind = tuple[int, ...]


@dataclass
class Tally:
    """Nanoseconds a query, by the kind of question. Threads may overwrite each other's: it is a hint."""

    means: dict[Kind, dict[Way, float]] = field(default_factory=dict)
    asked: dict[Kind, int] = field(default_factory=dict)
    answers: dict[tuple[Way, Kind], int] = field(default_factory=dict)

    def way(self, kind: Kind, scan_ns: float, can_share: bool = False) -> Way:
        """The quickest way as far as is known; `scan_ns` is what a scan should take, until one was timed."""
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
        if answers == 1:  # it paid for cold memory
            return
        means = self.means.setdefault(kind, {})
        mean = means.get(way, ns)
        means[way] = mean + (ns - mean) / (FORGIVING if ns < mean else MEMORY)
