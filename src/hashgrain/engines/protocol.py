"""The contract between a library and its search engine, which runs in this process or elsewhere."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeGuard

import numpy as np
from numpy.typing import NDArray

from hashgrain.codes import Codes
from hashgrain.engines.part_rows import Ids, PartsMode
from hashgrain.hamming import Cost, Neighbours, Reranked
from hashgrain.store import Change

if TYPE_CHECKING:
    from hashgrain.store import Filter


class Engine(Protocol):
    """Has the codes of one library and searches them; `Library.open(path, engine=...)` sends it all queries.

    **Life.** An engine begins empty, or in the state in which it was closed. Before a query it gets the changes after
    its `sequence`, in order, and answers for the library after them. One thread at a time calls it.

    **Order.** Neighbours come by distance over the bits of the grain, then over the whole code, then id. Every engine
    gives the same answers, including ties, whatever the order in which items were added;
    `tests/contracts/test_engines.py` runs the same tests on every engine. A call has dozens or thousands of codes, and
    returns answers in their order, so that an engine can process many at once.

    **Parts.** An item has a whole code, of part 0, and may have codes of parts 1 to 65,535. With `parts="whole"` only
    whole codes are searched. With `parts="all"` all codes are, and an answer still has each item once, by its nearest
    part: `Neighbours.parts` has the numbers of these parts, and the distances are theirs. At equal distances the item
    with the lower id comes first, and of the parts of one item the lower number counts.

    **Errors.** Codes or outputs that do not fit, and a grain that they do not have, raise CodesError. An invalid k,
    radius or weights raise QueryError.

    A minimal engine, which passes queries on to the kernels; `EmbeddedEngine` is a complete one:

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
            ids = ids if where is None else np.intersect1d(ids, where)
            words = np.array([self.codes[i] for i in ids.tolist()], np.uint64).reshape(len(ids), -1)
            return hamming.nearest(codes.words, [rows_of(words, ids)], k, bits=self.grains.width(grain))
    ```
    """

    @property
    def sequence(self) -> int:
        """The number of the last change that was applied; 0 for an empty engine. An attribute will do."""
        ...

    library: str
    """The history of changes that the numbers belong to; "" for an empty engine. The caller of `apply` sets it. An
    engine that outlives the process stores it with the sequence."""

    def apply(self, changes: Iterable[Change]) -> None:
        """Apply changes, which come in the order of their numbers. Changes that were applied before are skipped, so
        that the same changes may be given again after an interruption. An item that is added or changed gets the code
        and the parts of the change, whether it existed or not. A removed item leaves nothing behind."""
        ...

    def nearest(
        self,
        codes: Codes,
        k: int,
        *,
        grain: str,
        parts: PartsMode = "whole",
        where: Ids | None = None,
        weights: Mapping[str, float] | None = None,
    ) -> list[Neighbours]:
        """For each code the k nearest items, or all if there are fewer. `where` has the sorted ids to search.

        `weights` has, for each grain up to this one, the weight of the bits that it adds to the grain before it.
        Neighbours then come by weighted distance, then over the whole code, then id, then part.

        An engine may have another parameter, `part_radii: Sequence[int] | None = None`, with a distance for each code,
        or -1. Parts that are farther then count as if they were not there. It is not given together with `weights`.
        """
        ...

    def within(
        self,
        codes: Codes,
        radius: int,
        *,
        grain: str,
        parts: PartsMode = "whole",
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
        parts: PartsMode = "whole",
        where: Ids | None = None,
    ) -> tuple[Reranked, Cost]:
        """The k items whose bits up to the grain agree best with real-valued outputs (bits,), each bit weighted by the
        size of its output; at equal scores by id. With all parts, the part of an item that agrees best counts."""
        ...

    def close(self) -> None:
        """Release all resources. It is not used again; closing twice does no harm."""
        ...


class FilteringEngine(Engine, Protocol):
    """An engine that evaluates filters itself: `where` may also be a filter, as its parsed tree.

    It must know the fields of items, which are not in the changes.
    """

    takes_filters: Literal[True]

    def nearest(
        self,
        codes: Codes,
        k: int,
        *,
        grain: str,
        parts: PartsMode = "whole",
        where: Ids | Filter | None = None,
        weights: Mapping[str, float] | None = None,
    ) -> list[Neighbours]: ...

    def within(
        self,
        codes: Codes,
        radius: int,
        *,
        grain: str,
        parts: PartsMode = "whole",
        where: Ids | Filter | None = None,
        cap: int | None = None,
    ) -> list[Neighbours]: ...

    def agreeing(
        self,
        outputs: NDArray[np.float32],
        k: int,
        *,
        grain: str,
        parts: PartsMode = "whole",
        where: Ids | Filter | None = None,
    ) -> tuple[Reranked, Cost]: ...


def takes_filters(engine: Engine) -> TypeGuard[FilteringEngine]:
    return getattr(engine, "takes_filters", False) is True


def takes_parts(engine: Engine) -> bool:
    """Whether it can be asked for parts; one that was written before items had any cannot."""
    return _has_parameter(getattr(engine.nearest, "__func__", engine.nearest), "parts")


def takes_part_radii(engine: Engine) -> bool:
    """Whether `nearest` can leave out parts that are too far to matter."""
    return _has_parameter(getattr(engine.nearest, "__func__", engine.nearest), "part_radii")


@lru_cache
def _has_parameter(nearest: Callable[..., object], name: str) -> bool:
    return name in inspect.signature(nearest).parameters


METHODS = ("apply", "nearest", "within", "agreeing", "close")


def is_engine(value: Any) -> bool:
    """Whether it has the members of an engine."""
    named = isinstance(getattr(value, "sequence", None), int) and isinstance(getattr(value, "library", None), str)
    return named and all(callable(getattr(value, method, None)) for method in METHODS)
