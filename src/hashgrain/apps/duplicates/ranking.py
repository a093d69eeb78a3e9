"""Which of several copies is the best, and why: by pixels, bytes or date, then the others, then who came first."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Literal, get_args

from hashgrain.errors import QueryError
from hashgrain.store import Item

Keep = Literal["pixels", "bytes", "oldest", "newest"]
KEEPS: tuple[Keep, ...] = get_args(Keep)


@dataclass(frozen=True)
class _Criterion:
    """One way to compare. `value` is smaller for the better of two, and infinite where nothing is known."""

    value: Callable[[Item], float]
    best: str
    worse: str
    shown: Callable[[Item], str]


def _pixels(item: Item) -> float:
    return -float(item.width * item.height) if item.width and item.height else math.inf


def _shown_pixels(item: Item) -> str:
    return f"{item.width} x {item.height}" if item.width and item.height else "unknown"


def _bytes(item: Item) -> float:
    return math.inf if item.size is None else -float(item.size)


def _shown_bytes(item: Item) -> str:
    return "unknown" if item.size is None else f"{item.size:,}"


def _moment(item: Item) -> datetime | None:
    """When the picture was taken, by the file itself; else when the file was changed."""
    with suppress(ValueError):
        if item.taken:
            taken = datetime.fromisoformat(item.taken)
            return taken if taken.tzinfo else taken.replace(tzinfo=timezone.utc)
    with suppress(ValueError, OverflowError, OSError):  # file systems know years that Python does not
        if item.mtime_ns is not None:
            return datetime.fromtimestamp(item.mtime_ns / 1e9, timezone.utc)
    return None


def _age(item: Item) -> float:
    moment = _moment(item)
    return math.inf if moment is None else math.floor(moment.timestamp())  # as it is shown


def _youth(item: Item) -> float:
    age = _age(item)
    return age if math.isinf(age) else -age


def _shown_date(item: Item) -> str:
    moment = _moment(item)
    return "unknown" if moment is None else f"{moment:%Y-%m-%d %H:%M:%S}"


PIXELS = _Criterion(_pixels, "most pixels", "fewer pixels", _shown_pixels)
BYTES = _Criterion(_bytes, "most bytes", "fewer bytes", _shown_bytes)
OLDEST = _Criterion(_age, "oldest", "newer", _shown_date)
NEWEST = _Criterion(_youth, "newest", "older", _shown_date)
FIRST = _Criterion(lambda item: item.id, "added first", "added later", lambda item: f"item {item.id}")
ORDERS: dict[str, tuple[_Criterion, ...]] = {
    "pixels": (PIXELS, BYTES, OLDEST, FIRST),
    "bytes": (BYTES, PIXELS, OLDEST, FIRST),
    "oldest": (OLDEST, PIXELS, BYTES, FIRST),
    "newest": (NEWEST, PIXELS, BYTES, FIRST),
}


def check_keep(keep: str) -> None:
    if keep not in ORDERS:
        raise QueryError(f"a copy is kept by {', '.join(KEEPS[:-1])} or {KEEPS[-1]}, not by {keep!r}")


def best_first(items: Sequence[Item], keep: str) -> list[Item]:
    """The items in the order in which they are preferred. No two are equal: the last criterion is the id."""
    return sorted(items, key=lambda item: tuple(criterion.value(item) for criterion in ORDERS[keep]))


def why_kept(kept: Item, copies: Sequence[Item], keep: str) -> str:
    """The criteria that set it apart from its copies: "most pixels: 1600 x 1200"."""
    decided = {_deciding(kept, copy, keep) for copy in copies}
    criteria = [criterion for place, criterion in enumerate(ORDERS[keep]) if place in decided]
    return ", then ".join(f"{criterion.best}: {criterion.shown(kept)}" for criterion in criteria)


def why_not_kept(copy: Item, kept: Item, keep: str) -> str:
    """The first criterion by which it comes after the kept one: "fewer pixels: 800 x 600, not 1600 x 1200"."""
    criterion = ORDERS[keep][_deciding(kept, copy, keep)]
    return f"{criterion.worse}: {criterion.shown(copy)}, not {criterion.shown(kept)}"


def _deciding(kept: Item, copy: Item, keep: str) -> int:
    order = ORDERS[keep]
    return next(i for i, criterion in enumerate(order) if criterion.value(kept) != criterion.value(copy))
