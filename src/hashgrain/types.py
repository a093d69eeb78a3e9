"""Names for what public functions take and give, so that a signature says what it means.

They are strings where they name what is dear to import: a type checker reads them, a program that runs does not.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol, TypeAlias, Union

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL.Image import Image

    from hashgrain.codes import Codes

PathLike: TypeAlias = Union[str, "os.PathLike[str]"]
# Takes the lines that a long task reports as it goes on.
Log: TypeAlias = Callable[[str], None]
# What JSON can hold: metadata of pictures, facts, filters.
JsonLike: TypeAlias = bool | int | float | str | Sequence["JsonLike"] | Mapping[str, "JsonLike"] | None
Meta: TypeAlias = Mapping[str, JsonLike]
# A filter: a condition in words, or values by field.
WhereLike: TypeAlias = str | Mapping[str, JsonLike]
# A picture: a file, the bytes of one, a PIL image, or an array (height, width) or (height, width, 3).
ImageLike: TypeAlias = "PathLike | bytes | bytearray | Image | NDArray[np.generic]"
# How a picture is brought to a model's input size: resized whole, without keeping its proportions; whole, on gray; or
# its middle.
Fit: TypeAlias = Literal["squash", "fit", "crop"]

# A place in a picture: left, top, right, bottom. Fractions of the upright picture, or pixels where one is above 1.
Box: TypeAlias = tuple[float, float, float, float]
# Whether a search looks at the parts of items: at none, at all, or at both and weighs what each distance means.
PartsOption: TypeAlias = Literal["auto", "whole", "all"]
# The corners of an outline in a picture: x and y of each, as fractions of the upright picture.
Corner: TypeAlias = tuple[float, float]
Corners: TypeAlias = tuple[Corner, Corner, Corner, Corner]


class OpenSource(Protocol):
    """A source that is found already: its name in a library, and how its content is read."""

    @property
    def path(self) -> str: ...

    @property
    def load(self) -> Callable[[], object]: ...


# A picture as a source: under a name, and with metadata.
NamedImage: TypeAlias = "tuple[str, ImageLike] | tuple[str, ImageLike, Meta]"
# What `add` takes one of, or many: files, folders, globs, archives, tables, pictures.
SourceLike: TypeAlias = "ImageLike | NamedImage | OpenSource"
SourcesLike: TypeAlias = "SourceLike | Iterable[SourceLike]"
# What is asked with: a picture, the id of an item, or a code.
QueryLike: TypeAlias = "ImageLike | Codes | int | np.integer"


@dataclass(frozen=True)
class Part:
    """A place in an item that has a code of its own. Part 0 is the whole item, with neither box nor span."""

    index: int
    box: tuple[float, float, float, float] | None = None  # left, top, right, bottom: fractions of the upright picture
    span: tuple[float, float] | None = None  # start and end: seconds, or characters of a text

    def as_dict(self) -> dict[str, JsonLike]:
        """Return the part as a dictionary for JSON. The keys are stable."""
        return {
            "index": self.index,
            "box": None if self.box is None else list(self.box),
            "span": None if self.span is None else list(self.span),
        }


@dataclass(frozen=True)
class Verified:
    """What matching the picture asked with and a hit point by point found."""

    inliers: int  # points that agree about where the one lies in the other; 0 if too few do
    outline: Corners | None = None  # where the picture lies in the hit, from its upper left corner; None if it does not

    def __bool__(self) -> bool:
        return self.outline is not None

    def as_dict(self) -> dict[str, JsonLike]:
        """Return this as a dictionary for JSON. The keys are stable."""
        return {"inliers": self.inliers, "outline": None if self.outline is None else [[x, y] for x, y in self.outline]}
