"""What a medium is: a kind of file that items are made of. Pictures are one, sounds another.

To add a medium: a module with a class like those of `pictures` and `sound`, a line in `registry`, and its test.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from hashgrain.errors import ImageError
    from hashgrain.media.limits import Limits
    from hashgrain.media.picture import Facts

START = 32  # bytes that identify a medium
MAX_ARRAY_BYTES = 1 << 30  # of the result of a decoder; pictures are reduced to the model's size


class Medium(Protocol):
    """A kind of file. Its names and first bytes are known without loading its decoder.

    `decode` runs in a worker with limits on time and memory. `refusal_of` checks its result: an array of `dtype` with
    `axes` axes, not empty, and of finite numbers. It raises an ImageError, or one of
    its subclasses, for bytes that it refuses; any other exception costs the worker.
    """

    name: str
    suffixes: frozenset[str]  # of its files, in lower case, with the dot
    dtype: str  # of its arrays, as numpy spells it: "|u1", "<f4"
    axes: int

    def begins(self, start: bytes) -> bool:
        """Whether the first START bytes of a file are those of this medium; its decoder may still refuse it."""
        ...

    def decode(self, data: bytes, limits: Limits) -> tuple[Any, Facts]:
        """The bytes of a file as an array, or as an object with `__array_interface__`, and the facts in the file. The
        messages of its errors begin with an empty name: ": the file is empty"."""
        ...

    def opened(self, array: Any, facts: Mapping[str, Any]) -> Any:
        """The array and the facts in one value."""
        ...

    def error(self, reason: str) -> ImageError:
        """The refusal of a file of this medium."""
        ...

    def thumbnail(self, data: bytes, *, edge: int) -> bytes:
        """A JPEG of at most `edge` pixels either way, which shows a person what it is."""
        ...


def refusal_of(medium: Medium, dtype: str, shape: Any, size: int) -> str | None:
    """Why an array of this type, shape and number of bytes does not fit the medium; None if it does."""
    if dtype != medium.dtype:
        return f"numbers of type {dtype!r:.20}, not {medium.dtype!r}"
    if not isinstance(shape, (list, tuple)) or not all(type(edge) is int for edge in shape):
        return f"an array of shape {shape!r:.40}"
    if len(shape) != medium.axes or min(shape) < 1:
        return f"an array of shape {tuple(shape)!r:.60}, which is empty or has other than {medium.axes} axes"
    wanted = math.prod(shape) * int(dtype[2:])
    if wanted > MAX_ARRAY_BYTES:
        return f"{wanted >> 20:,} MB for one item, more than {MAX_ARRAY_BYTES >> 20:,}"
    return None if wanted == size else f"{size:,} bytes for an array of {wanted:,}"
