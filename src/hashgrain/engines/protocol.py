"""What every engine can do, and the order in which every engine answers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from hashgrain.codes import Codes
from hashgrain.hamming import Cost, Neighbours, Reranked


class Engine(Protocol):
    """Order: distance at the grain, then over the whole code, then id. `where` holds the sorted ids to keep.

    Codes come by the dozen or the thousand, and answers in their order: an engine that can work on many at once,
    on another processor or another machine, has what it needs. It must give the same answers as every other.
    """

    def nearest(
        self,
        codes: Codes,
        k: int,
        *,
        grain: str,
        where: NDArray[np.int64] | None = None,
        weights: Mapping[str, float] | None = None,
    ) -> list[Neighbours]: ...

    def within(
        self,
        codes: Codes,
        radius: int,
        *,
        grain: str,
        where: NDArray[np.int64] | None = None,
        cap: int | None = None,
    ) -> list[Neighbours]: ...

    def agreeing(
        self, outputs: NDArray[np.float32], k: int, *, grain: str, where: NDArray[np.int64] | None = None
    ) -> tuple[Reranked, Cost]:
        """Items by falling agreement of their bits with real-valued outputs, then id."""
        ...
