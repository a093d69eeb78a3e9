"""Labelled pictures for training: of one size, with labels at each grain.

`hashgrain.labelled` finds and reads the pictures. At 64 px, 80,000 pictures take 1 GB; with a cache folder they are
decoded once and memory-mapped.
"""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import os
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from hashgrain.errors import ImageError, TrainingError
from hashgrain.labelled import LabelledPicture, labelled_pictures, same_part
from hashgrain.labelled.arrays import array_labels, open_array
from hashgrain.learn.data.cache import decode_in_memory, decode_once
from hashgrain.learn.data.grain_labels import (
    GrainLabels,
    PictureLabels,
    RowSelector,
    check_levels,
    depth_of,
    label_rows,
    levels_of,
)
from hashgrain.learn.data.part import TrainingPart
from hashgrain.media import open_picture
from hashgrain.types import Fit

AT_ONCE = 256  # pictures read before the first of them is used
DecodeProgress = Callable[[int, int], None]  # pictures decoded, of how many
Unlabelled = Literal["refuse", "keep"]


@dataclass(frozen=True, eq=False)
class Labelled:
    """n pictures of one size, or features of n pictures, with their labels at each grain that labels teach."""

    inputs: NDArray[Any]  # (n, size, size, 3) uint8 pictures, or (n, width) float32 features
    levels: Mapping[str, GrainLabels]  # coarse to fine
    contents: NDArray[np.str_]  # SHA-256 of each file (or of each row of features): splits depend on it
    refused: Sequence[str] = ()  # pictures that could not be opened, with the reason
    depth: int = 0  # classes in the longest path; 0 where labels are sets, columns or arrays of features

    def __len__(self) -> int:
        return len(self.inputs)

    def take(self, rows: RowSelector) -> Labelled:
        """Some of the pictures. Memory-mapped pictures are copied into memory."""
        levels = {grain: labels.take(rows) for grain, labels in self.levels.items()}
        return Labelled(self.inputs[rows], levels, self.contents[rows])


def load_labelled(
    place: str | Path,
    size: int,
    grains: Sequence[str],
    *,
    part: str | None = "train",
    unlabelled: Unlabelled = "refuse",
    only: TrainingPart | None = None,
    every_level: bool = False,
    targets: Sequence[str] | None = None,
    fit: Fit = "squash",
    cache: Path | None = None,
    progress: DecodeProgress | None = None,
) -> Labelled:
    """Read everything that `labelled_pictures` finds at a place, with labels at `grains`, coarse to fine.

    From a path of d classes, grain i of g takes the first d - g + i + 1, joined by /; a shorter path repeats its
    coarsest class. A set of labels applies to every grain. Columns named like the grains take precedence over both.
    Without grains no labels are needed. With `every_level`, a path shorter than the grains is an error, and so is a
    set. `targets` replace the pictures' labels: one per picture in order, for a single grain.

    `part` selects a part of the data; `train` includes pictures without a part, and None takes all. `only` selects the
    training part of a protocol instead. Pictures that cannot be opened are left out and listed in `refused`. Pictures
    are read twice: for their hashes and labels, then to decode those that are not in the `cache`.
    """
    keep = unlabelled == "keep" or not grains or targets is not None
    part = None if only else part
    listing = _read(_of_part(place, grains, part, keep), only)
    if not listing.pictures:
        raise TrainingError(f"no pictures to train on in {place}" + "".join(f"; {why}" for why in listing.refused[:3]))
    if every_level:
        check_levels(listing.pictures, grains, place)
    rows = label_rows(listing.pictures, grains, keep) if targets is None else _targets(targets, listing, place)
    levels = levels_of(rows, grains, place)  # reports wrong labels before an hour of decoding

    def opened() -> Iterator[NDArray[np.uint8] | str]:
        return _opened(_of_part(place, grains, part, keep), listing, size, fit, place, progress)

    if cache is None:
        decoded = decode_in_memory(len(listing.contents), size, opened)
    else:
        decoded = decode_once(cache, listing.contents, size, opened, fit=fit)
    why = [f"{listing.pictures[i].name}: {reason}" for i, reason in sorted(decoded.refused.items())]
    if not len(decoded.pixels):
        raise TrainingError(f"no pictures to train on in {place}; {'; '.join(why[:3])}")
    decodable = [i for i in range(len(rows)) if i not in decoded.refused]
    if decoded.refused:
        levels = levels_of([rows[i] for i in decodable], grains, place)
    contents = np.array([listing.contents[i] for i in decodable])
    return Labelled(decoded.pixels, levels, contents, [*listing.refused, *why], depth_of(listing.pictures))


@dataclass(frozen=True, eq=False)
class Listed:
    """Labelled pictures with hashes and labels, not decoded yet."""

    place: str | Path
    names: Sequence[str]
    contents: NDArray[np.str_]
    levels: Mapping[str, GrainLabels]  # a picture without a label has none
    refused: Sequence[str]
    depth: int  # classes in the longest path; 0 where labels are sets or columns
    _again: Callable[[], Iterator[LabelledPicture]]  # the same pictures once more

    def __len__(self) -> int:
        return len(self.names)

    def read(self, wanted: Container[str]) -> Iterator[tuple[str, bytes]]:
        """The content hash and the bytes of each picture with one of these hashes, each once. They must not have
        changed since they were listed."""
        expected = zip(self.names, self.contents.tolist(), strict=True)
        given = set()
        for picture in self._again():
            name, content = next(expected, ("", ""))
            if name != picture.name:
                raise _changed(self.place)
            if content in wanted and content not in given:
                given.add(content)
                data = _bytes_of(picture)
                if hashlib.sha256(data).hexdigest() != content:
                    raise _changed(self.place)
                yield content, data


def list_labelled(
    place: str | Path, grains: Sequence[str], *, part: str | None = "train", only: TrainingPart | None = None
) -> Listed:
    """List what `load_labelled` reads, without decoding. Pictures without a label are included."""
    part = None if only else part
    listing = _read(_of_part(place, grains, part, True), only)
    if not listing.pictures:
        raise TrainingError(f"no pictures to train on in {place}" + "".join(f"; {why}" for why in listing.refused[:3]))
    levels = levels_of(label_rows(listing.pictures, grains, True), grains, place)

    def again() -> Iterator[LabelledPicture]:
        everything = enumerate(_of_part(place, grains, part, True))
        return (picture for number, picture in everything if number not in listing.left_out)

    names = [picture.name for picture in listing.pictures]
    return Listed(place, names, np.array(listing.contents), levels, listing.refused, depth_of(listing.pictures), again)


def load_features(
    place: str | Path,
    grains: Sequence[str],
    *,
    features: str | Path = "features.npy",
    labels: str | Path = "labels.npy",
) -> Labelled:
    """Read features.npy, (n, width) numbers, and labels.npy: (n,) classes, (n, depth) classes from the root down, or
    (n, classes) zeros and ones. Without grains no labels are needed."""
    folder = Path(place).expanduser()
    numbers, classes = folder / features, folder / labels
    table = open_array(numbers)
    if table.ndim != 2 or table.dtype.kind not in "fiu" or 0 in table.shape:
        raise TrainingError(f"{numbers}: {table.dtype} of shape {table.shape}; features are (n, width)")
    with np.errstate(over="ignore"):  # values too large for float32 are reported below
        inputs = np.array(table, np.float32, order="C")
    wrong = np.flatnonzero(~np.isfinite(inputs).all(axis=1))
    if len(wrong):
        raise TrainingError(f"{numbers}, row {wrong[0]}: NaN or infinite; leave such rows out")
    contents = np.array([hashlib.sha256(row.astype("<f4", copy=False).data).hexdigest() for row in inputs])
    if not grains:
        return Labelled(inputs, {}, contents)
    of_row = array_labels(classes, len(inputs))
    items = [LabelledPicture(f"{classes.name}, row {i}", bytes, "", *of_row(i)) for i in range(len(inputs))]
    return Labelled(inputs, levels_of(label_rows(items, grains, keep=False), grains, folder), contents)


def data_digest(data: Labelled) -> str:
    """The digest of contents and labels in order: a resumed run must have the same."""
    digest = hashlib.sha256(repr((data.inputs.shape, str(data.inputs.dtype))).encode())
    digest.update("\n".join(data.contents.tolist()).encode())
    for grain, labels in data.levels.items():
        digest.update(repr((grain, labels.names, labels.ids.shape)).encode())
        digest.update(labels.ids.astype("<i4").tobytes())
    return digest.hexdigest()


@dataclass(frozen=True)
class _Listing:
    """The result of the first reading."""

    pictures: Sequence[LabelledPicture]  # the selected ones, without their contents
    contents: Sequence[str]
    left_out: frozenset[int]  # positions of the others
    refused: Sequence[str]  # those that could not be read, with the reason


def _of_part(place: str | Path, grains: Sequence[str], part: str | None, keep: bool) -> Iterator[LabelledPicture]:
    wanted = None if part is None else {same_part(part), *([""] if same_part(part) == "train" else [])}
    others: set[str] = set()
    some = False
    for picture in labelled_pictures(place, grains=grains, unlabelled=keep):
        if wanted is None or same_part(picture.part) in wanted:
            some = True
            yield picture
        else:
            others.add(picture.part)
    if others and not some:
        raise TrainingError(f"{place} has no pictures of the part {part!r}; there are {', '.join(sorted(others))}")


def _in_threads(
    pictures: Iterable[LabelledPicture], work: Callable[[LabelledPicture], Any]
) -> Iterator[tuple[LabelledPicture, Any]]:
    """In order, in bounded batches: pictures of a table are in memory."""
    stream = iter(pictures)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        while batch := list(itertools.islice(stream, AT_ONCE)):
            yield from zip(batch, pool.map(work, batch), strict=True)


def _read(pictures: Iterable[LabelledPicture], only: TrainingPart | None) -> _Listing:
    taken, contents, refused, left_out = [], [], [], set()
    choice = only.choice() if only else None
    for place, (picture, (content, why)) in enumerate(_in_threads(pictures, _hashed)):
        if choice and not choice.takes(picture, content):
            left_out.add(place)
        elif why:
            left_out.add(place)
            refused.append(f"{picture.name}: {why}")
        else:
            taken.append(dataclasses.replace(picture, read=bytes))
            contents.append(content)
    if choice:
        choice.check()
    return _Listing(taken, contents, frozenset(left_out), refused)


def _hashed(picture: LabelledPicture) -> tuple[str, str]:
    """(content hash, ""), or ("", the reason why it cannot be read)."""
    try:
        return hashlib.sha256(picture.read()).hexdigest(), ""
    except ImageError as error:
        return "", str(error).removeprefix(f"{picture.name}: ")
    except (OSError, ValueError) as error:  # ValueError: a NUL byte in its path
        return "", getattr(error, "strerror", None) or str(error) or type(error).__name__


def _bytes_of(picture: LabelledPicture) -> bytes:
    """The bytes of a picture; b"" if it can no longer be read."""
    try:
        return picture.read()
    except (ImageError, OSError, ValueError):
        return b""


def _opened(
    pictures: Iterable[LabelledPicture],
    listing: _Listing,
    size: int,
    fit: Fit,
    place: str | Path,
    progress: DecodeProgress | None,
) -> Iterator[NDArray[np.uint8] | str]:
    """Decode the pictures that could be read. They must not have changed since they were listed."""

    def work(picture: LabelledPicture) -> tuple[str, NDArray[np.uint8] | str]:
        try:
            content = picture.read()
        except (ImageError, OSError, ValueError):
            return "", ""
        known = hashlib.sha256(content).hexdigest()
        try:
            return known, open_picture(content, size=(size, size), fit=fit, name="").pixels
        except ImageError as error:
            return known, str(error).removeprefix(": ")

    readable = (picture for i, picture in enumerate(pictures) if i not in listing.left_out)
    expected = zip(listing.pictures, listing.contents, strict=True)
    for done, (picture, (content, pixels)) in enumerate(_in_threads(readable, work), 1):
        before = next(expected, None)
        if before is None or (picture.name, content) != (before[0].name, before[1]):
            raise _changed(place)
        yield pixels
        if progress:
            progress(done, len(listing.pictures))
    if next(expected, None) is not None:
        raise _changed(place)


def _changed(place: str | Path) -> TrainingError:
    return TrainingError(f"the pictures of {place} changed while they were read; start again when nothing changes them")


def _targets(targets: Sequence[str], listing: _Listing, place: str | Path) -> list[tuple[PictureLabels, ...]]:
    """The target of each picture that could be read."""
    total = len(listing.pictures) + len(listing.left_out)
    if len(targets) != total:
        raise TrainingError(
            f"{len(targets)} targets for the {total} pictures of {place}: give one row per picture, in the same order"
        )
    return [((target,),) for place, target in enumerate(targets) if place not in listing.left_out]
