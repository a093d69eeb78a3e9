"""The contract between a library and whatever answers which codes are nearest: in this process, or elsewhere."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Literal, Protocol, TypeGuard

import numpy as np
from numpy.typing import NDArray

from hashgrain.codes import Codes
from hashgrain.engines.part_rows import Which
from hashgrain.hamming import Cost, Neighbours, Reranked
from hashgrain.store import Change, Filter

Ids = NDArray[np.int64]


class Engine(Protocol):
    """Keeps the codes of one library and answers over them; `Library.open(path, engine=...)` asks it everything.

    **Life.** An engine begins empty, or where it was when it was closed. Before it is asked, it is given the changes
    after its `sequence`, in order, and answers as the library stands after them. It is asked by one thread at a time.

    **Order.** Neighbours come by distance over the bits of the grain, then over the whole code, then id. Every engine
    gives the same answers, to the last tie, whatever the order in which items came; `tests/contracts/test_engines.py`
    asks every engine the same. Codes come by the dozen or the thousand, and answers in their order, so that an engine
    can work on many at once.

    **Parts.** An item has a whole code, of part 0, and may have codes of parts 1 to 65,535. With `parts="whole"` only
    whole codes are asked. With `parts="all"` every code is, and an answer still holds each item once, by its nearest
    part: `Neighbours.parts` holds the numbers of these parts, and distances are theirs. At equal distances the item
    with the lower id comes first, and of the parts of one item the lower number counts.

    **Errors.** Codes or outputs that do not fit raise CodesError; a grain, k, radius or weights that make no sense
    raise QueryError.

    An engine in ten lines, which hands questions on to the kernels; `EmbeddedEngine` is one in full:

    ```python
    class Plain:
        sequence, library = 0, ""

        def __init__(self, grains):
            self.grains, self.codes = grains, {}

        def apply(self, changes):
            for change in changes:
                if change.number > self.sequence:
                    self.codes.pop(change.item, None)
                    if change.code is not None:
                        self.codes[change.item] = change.code
                    self.sequence = change.number

        def nearest(self, codes, k, *, grain, parts="whole", where=None, weights=None):
            if parts != "whole":
                raise QueryError("this engine has no parts")
            ids = np.array(sorted(self.codes), np.int64)
            kept = ids if where is None else np.intersect1d(ids, where)
            words = np.array([self.codes[i] for i in kept.tolist()], np.uint64).reshape(len(kept), -1)
            return hamming.nearest(codes.words, [rows_of(words, kept)], k, bits=self.grains.width(grain))
    ```
    """

    sequence: int
    """The number of the last change that was applied; 0 of an empty engine."""

    library: str
    """The history of changes that the numbers belong to, "" of an empty engine. Whoever gives it changes sets it; an
    engine that outlives the process keeps it with the sequence."""

    def apply(self, changes: Iterable[Change]) -> None:
        """Take over changes, which come in the order of their numbers. One that was applied before is passed over, so
        that after an interruption the same changes may be given again. An item that is added or changed has the code
        and the parts of the change from then on, whether it was there or not; of one that is removed nothing is
        left."""
        ...

    def nearest(
        self,
        codes: Codes,
        k: int,
        *,
        grain: str,
        parts: Which = "whole",
        where: Ids | None = None,
        weights: Mapping[str, float] | None = None,
    ) -> list[Neighbours]:
        """For each code the k nearest items; fewer where there are fewer. `where` holds the sorted ids to keep to.

        `weights` says for each grain up to this one what a bit counts that the grain adds to the one before it.
        Neighbours then come by weighted distance, then over the whole code, then id, then part.
        """
        ...

    def within(
        self,
        codes: Codes,
        radius: int,
        *,
        grain: str,
        parts: Which = "whole",
        where: Ids | None = None,
        cap: int | None = None,
    ) -> list[Neighbours]:
        """For each code all items at most `radius` away, or the `cap` nearest of them; `total` counts all items."""
        ...

    def agreeing(
        self,
        outputs: NDArray[np.float32],
        k: int,
        *,
        grain: str,
        parts: Which = "whole",
        where: Ids | None = None,
    ) -> tuple[Reranked, Cost]:
        """The k items whose bits up to the grain agree best with real-valued outputs (bits,), each bit counting as much
        as its output is large; what agrees the same, by id. With all parts, an item counts by the one that agrees
        best."""
        ...

    def close(self) -> None:
        """Let go of what is held. It is not asked again; closing twice does no harm."""
        ...


class FilteringEngine(Engine, Protocol):
    """An engine that works out filters by itself: `where` may also be a filter, as the tree that it was parsed to.

    It has to know the fields of items, which the changes do not tell.
    """

    takes_filters: Literal[True]

    def nearest(
        self,
        codes: Codes,
        k: int,
        *,
        grain: str,
        parts: Which = "whole",
        where: Ids | Filter | None = None,
        weights: Mapping[str, float] | None = None,
    ) -> list[Neighbours]: ...

    def within(
        self,
        codes: Codes,
        radius: int,
        *,
        grain: str,
        parts: Which = "whole",
        where: Ids | Filter | None = None,
        cap: int | None = None,
    ) -> list[Neighbours]: ...

    def agreeing(
        self,
        outputs: NDArray[np.float32],
        k: int,
        *,
        grain: str,
        parts: Which = "whole",
        where: Ids | Filter | None = None,
    ) -> tuple[Reranked, Cost]: ...


def takes_filters(engine: Engine) -> TypeGuard[FilteringEngine]:
    return getattr(engine, "takes_filters", False) is True


METHODS = ("apply", "nearest", "within", "agreeing", "close")


def is_engine(value: Any) -> bool:
    """Whether it has what an engine has."""
    named = isinstance(getattr(value, "sequence", None), int) and isinstance(getattr(value, "library", None), str)
    return named and all(callable(getattr(value, method, None)) for method in METHODS)
