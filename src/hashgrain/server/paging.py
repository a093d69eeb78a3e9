"""Pages of one search that fit together, whatever is added to the library or removed from it in between.

A cursor says which search it belongs to, the largest id there was when the search began, and the last hits that were
given out. The next page is of the same search among the items up to that id, since ids only grow, and begins behind
the last of these hits that is still there. So nothing is kept for a client that does not come back, and a cursor
outlives the server. Long answers are kept for a moment only to save the next search.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

from hashgrain.search import Hit
from hashgrain.server.problems import ProblemError
from hashgrain.store import Filter, parse_filter
from hashgrain.store.conditions import BoolOp, Comparison, Condition, OneOf
from hashgrain.store.fields import BUILT_IN

RECENT = 60  # ids that a cursor remembers
AHEAD = 1_000  # hits that are looked for at once when a second page is asked for
DEEPEST = 100_000  # hits of one search, on all pages
KEPT_HITS = 200_000  # of all kept answers together


class HasId(Protocol):
    @property
    def id(self) -> int: ...


T = TypeVar("T", bound=HasId)


@dataclass(frozen=True)
class Cursor:
    """Where a page ends."""

    search: str  # the fingerprint of the search
    last_id: int  # the largest id when it began
    given: int  # hits on all pages so far
    recent: tuple[int, ...]  # ids of the last of them, in order

    def text(self) -> str:
        fields = [self.search, self.last_id, self.given, list(self.recent)]
        return base64.urlsafe_b64encode(json.dumps(fields, separators=(",", ":")).encode()).decode().rstrip("=")

    def start_in(self, hits: Sequence[HasId]) -> int:
        """Where the next page begins in an answer to the same search."""
        places = {hit.id: place for place, hit in enumerate(hits)}
        for back, item in enumerate(reversed(self.recent)):
            if item in places:
                return places[item] + 1
            if back == len(self.recent) - 1:  # all of them were removed
                return max(0, min(len(hits), self.given - len(self.recent)))
        return 0

    def after(self, page: Sequence[HasId]) -> Cursor:
        recent = (*self.recent, *(hit.id for hit in page))[-RECENT:]
        return Cursor(self.search, self.last_id, self.given + len(page), recent)


def fingerprint(asked: object) -> str:
    """A name for a search: of everything that decides its answer."""
    return hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()[:24]


def read_cursor(text: str, search: str) -> Cursor:
    """The cursor of a search that a client sends back; 422 if it is of another search, or made up."""
    try:
        padded = text + "=" * (-len(text) % 4)
        name, last_id, given, recent = json.loads(base64.b64decode(padded, altchars=b"-_", validate=True))
        numbers = [last_id, given, *recent]
        sound = isinstance(name, str) and isinstance(recent, list) and all(type(each) is int for each in numbers)
    except (ValueError, TypeError, binascii.Error, RecursionError):
        sound = False
    if not sound or not all(0 <= each < 2**63 for each in numbers) or len(recent) > RECENT:
        raise ProblemError(422, "cursor", "the cursor is none of this server's")
    if name != search:
        raise ProblemError(422, "cursor", "the cursor belongs to another search; ask for the first page again")
    return Cursor(name, last_id, given, tuple(recent))


def narrowed(
    where: str | None, items: Sequence[int] | None = None, *, after: int | None = None, up_to: int | None = None
) -> Filter | None:
    """A filter, and beside it: among these items, behind one id, up to another. None if nothing is left out."""
    number = BUILT_IN["id"]
    terms: list[Condition] = [] if where is None else [parse_filter(where).condition]
    terms += [] if items is None else [OneOf(number, tuple(items))]
    terms += [] if after is None else [Comparison(number, ">", after)]
    terms += [] if up_to is None else [Comparison(number, "<=", up_to)]
    if not terms:
        return None
    return Filter(BoolOp("AND", tuple(terms)) if len(terms) > 1 else terms[0])


def page_of(entries: Sequence[T], name: str, cursor: str | None, k: int) -> tuple[Sequence[T], str | None]:
    """One page of a list that may have changed since the page before, and the cursor of the next."""
    place = Cursor(name, 0, 0, ()) if cursor is None else read_cursor(cursor, name)
    start = place.start_in(entries)
    page = entries[start : start + k]
    return page, place.after(page).text() if start + len(page) < len(entries) and page else None


@dataclass(frozen=True)
class LongAnswer:
    """The first hits of a search at one state of the library; `whole` if there are no more."""

    sequence: int
    hits: Sequence[Hit]
    whole: bool


class LongAnswers:
    """The long answers that were used last."""

    def __init__(self, most: int = KEPT_HITS) -> None:
        self.most = most
        self._lock = threading.Lock()
        self._kept: OrderedDict[tuple[str, int], LongAnswer] = OrderedDict()

    def get(self, cursor: Cursor, sequence: int, needed: int) -> LongAnswer | None:
        """The answer for this cursor, if it is of the library as it is now and reaches `needed` hits past it."""
        key = (cursor.search, cursor.last_id)
        with self._lock:
            answer = self._kept.get(key)
            if answer is None or answer.sequence != sequence:
                return None
            self._kept.move_to_end(key)
        enough = answer.whole or cursor.start_in(answer.hits) + needed <= len(answer.hits)
        return answer if enough else None

    def keep(self, cursor: Cursor, answer: LongAnswer) -> None:
        with self._lock:
            self._kept[cursor.search, cursor.last_id] = answer
            self._kept.move_to_end((cursor.search, cursor.last_id))
            while len(self._kept) > 1 and sum(len(each.hits) for each in self._kept.values()) > self.most:
                self._kept.popitem(last=False)
