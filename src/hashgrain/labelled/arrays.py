"""Pictures as numpy arrays: images.npy (or data.npy) and labels.npy, and test_images.npy and test_labels.npy if there
is a test part."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hashgrain.errors import SourceError
from hashgrain.labelled.picture import LabelledPicture, Wanted
from hashgrain.sources.arrays import as_file, open_pictures
from hashgrain.sources.arrays import open_array as open_array

IMAGES, LABELS = ("images.npy", "data.npy"), "labels.npy"
RowLabels = tuple[tuple[str, ...], tuple[str, ...] | None]  # a path of classes, or a set of labels


def is_arrays(folder: Path) -> bool:
    return _images_of(folder) is not None


def array_pictures(folder: Path, wanted: Wanted) -> Iterator[LabelledPicture]:
    images = _images_of(folder) or IMAGES[0]
    test, test_labels = folder / f"test_{images}", folder / f"test_{LABELS}"
    has_test = test.exists() and (test_labels.exists() or wanted.unlabelled)  # without labels it is only to be encoded
    yield from _pair(folder / images, folder / LABELS, "train" if has_test else "", wanted)
    if has_test:
        yield from _pair(test, test_labels, "test", wanted)


def _images_of(folder: Path) -> str | None:
    return next((name for name in IMAGES if (folder / name).exists()), None)


def array_labels(file: Path, n: int) -> Callable[[int], RowLabels]:
    """The labels of n items: (n,) classes, (n, depth) classes from the root down, or (n, classes) zeros and ones.

    Integers in two or more columns are sets if they are all 0 or 1, else paths, which end at the first negative number.
    """
    table = open_array(file)
    if table.ndim not in (1, 2) or table.dtype.kind not in "iubfUS" or 0 in table.shape[1:]:
        raise SourceError(
            f"{file}: {table.dtype} of shape {table.shape}; labels are (n,) classes, or (n, classes) zeros and ones",
            path=file,
        )
    if len(table) != n:
        raise SourceError(
            f"{file} has {len(table)} labels for {n} items; give one for each, in the same order", path=file
        )
    if table.dtype.kind == "f":
        if not (np.isfinite(table).all() and (np.floor(table) == table).all() and (np.abs(table) < 2**53).all()):
            raise SourceError(f"{file}: labels are whole numbers; some of these are not", path=file)
        table = table.astype(np.int64)
    if table.ndim == 2 and (table.dtype.kind == "b" or (table.shape[1] > 1 and _zeros_and_ones(table))):
        return lambda i: ((), tuple(map(str, np.flatnonzero(table[i]).tolist())))
    rows = table.reshape(n, -1)
    return lambda i: (_path(rows[i].tolist()), None)


def _zeros_and_ones(table: NDArray[Any]) -> bool:
    return table.dtype.kind in "iu" and bool(np.isin(table, (0, 1)).all())


def _path(values: list[Any]) -> tuple[str, ...]:
    texts = []
    for value in values:
        if value in ("", b"") or (isinstance(value, int) and value < 0):
            break
        texts.append(value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value))
    return tuple(texts)


def _pair(images: Path, labels: Path, part: str, wanted: Wanted) -> Iterator[LabelledPicture]:
    pixels = open_pictures(images)
    if wanted.unlabelled and not labels.exists():
        labels_of: Callable[[int], RowLabels] = lambda i: ((), None)  # noqa: E731
    else:
        labels_of = array_labels(labels, len(pixels))
    for i in range(len(pixels)):
        path, several = labels_of(i)
        if not path and several is None and not wanted.unlabelled:
            raise SourceError(f"{labels}, row {i}: no label; a class is a number from 0 up, or a text")
        yield LabelledPicture(f"{images.name}#{i}", partial(as_file, pixels, i), part, path, several)
