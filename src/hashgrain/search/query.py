"""A whole query in one value: to store, to send, to repeat."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from hashgrain.media.cost import DEFAULT_MAX_PIXELS
from hashgrain.types import Box, PartsOption, QueryLike, WhereLike

if TYPE_CHECKING:
    from hashgrain.store import Filter


@dataclass(frozen=True)
class Query:
    """What `Library.search` takes: `of` is a picture, the id of an item or a code, alone or with a `text`."""

    of: QueryLike | None = None
    text: str | None = None
    k: int | None = 10
    grain: str | None = None  # the finest, unless named
    where: WhereLike | Filter | None = None
    within: int | None = None
    threads: int | None = None
    max_pixels: int = DEFAULT_MAX_PIXELS
    stages: Sequence[tuple[str, int | float]] | None = None
    separate: bool = False
    weights: Mapping[str, float] | None = None
    rerank: int | None = None
    parts: PartsOption = "auto"  # whether the parts of items are searched, too

    boxes: Sequence[Box] = ()  # parts of the picture to ask with, instead of the whole
    match: Literal["any", "all", "mean"] = "any"  # of the boxes; of the examples, where the mean is one more choice

    turned: bool = False  # ask in all 8 orientations, mirrored ones too
    like: Sequence[QueryLike] = ()  # more examples of what to find, beside `of`
    unlike: Sequence[QueryLike] = ()  # items that are nearer to one of these are left out
    like_weights: Sequence[float] | None = None  # of the examples to be like, for the mean
    min_score: float | None = None  # hits with a smaller score are left out

    verify: bool = False  # whether the nearest hits are matched with the picture point by point
    verify_seconds: float = 2.0  # how long that may take
    refine: bool = False  # whether the first hits that were found by a part get closer boxes

    @property
    def item(self) -> int | None:
        """The id of the item that is the query; None if the query is something else."""
        named = isinstance(self.of, (int, np.integer)) and not isinstance(self.of, bool)
        return int(self.of) if named else None  # type: ignore[arg-type]
