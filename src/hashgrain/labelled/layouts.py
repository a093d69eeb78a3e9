"""Datasets in the layouts of their publishers: Pascal VOC, the birds of Caltech (CUB-200-2011) and NABirds, and the
Stanford cars. Each is read from its unpacked folder.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from hashgrain.errors import SourceError
from hashgrain.labelled.picture import Box, LabelledPicture, Wanted
from hashgrain.sources.source import read_capped

MAIN = Path("ImageSets", "Main")  # of Pascal VOC
BIRDS = ("images.txt", "image_class_labels.txt", "train_test_split.txt", "classes.txt")
CARS = Path("devkit", "cars_train_annos.mat")
CARS_TEST = ("cars_test_annos_withlabels.mat", "devkit/cars_test_annos_withlabels.mat")
DEEPEST = 64  # levels of a hierarchy: a limit for hierarchies with a cycle
Layout = Callable[[Path, Wanted], Iterator[LabelledPicture]]


def layout_of(folder: Path) -> Layout | None:
    if (folder / MAIN).is_dir() and (folder / "JPEGImages").is_dir():
        return voc_pictures
    if all((folder / name).is_file() for name in BIRDS):
        return bird_pictures
    if (folder / CARS).is_file():
        return car_pictures
    return None


def voc_pictures(folder: Path, wanted: Wanted) -> Iterator[LabelledPicture]:
    """Pictures with a set of classes, from CLASS_trainval.txt; classes marked 0, for hard to see, are ignored."""
    lists = folder / MAIN
    labels: dict[str, list[str]] = {}
    parts = {image: part for part in ("train", "val") for (image, *_) in _lines(lists / f"{part}.txt", 1)}
    for file in sorted(lists.glob("*_trainval.txt")):
        for image, mark in _lines(file, 2):
            labels.setdefault(image, []).extend([file.name.removesuffix("_trainval.txt")] * (mark == "1"))
    if not labels:
        raise SourceError(f"{lists} has no lists of pictures by class (aeroplane_trainval.txt and so on)")
    for image, classes in sorted(labels.items()):
        file = folder / "JPEGImages" / f"{image}.jpg"
        yield _picture(folder, file, parts.get(image, ""), labels=tuple(classes))


def bird_pictures(folder: Path, wanted: Wanted) -> Iterator[LabelledPicture]:
    """Pictures with a class, or with its path in hierarchy.txt of NABirds; the parts are train and test."""
    images, classes, split, names = (dict(_lines(folder / name, 2)) for name in BIRDS)
    boxes = dict(_boxes(folder / "bounding_boxes.txt"))
    paths = _paths(folder, names)
    for image, place in images.items():
        if image not in classes or image not in split or classes[image] not in paths:
            raise SourceError(
                f"{folder}: picture {image} of images.txt has no class, or is in no part; unpack it again", path=folder
            )
        part = "train" if split[image] == "1" else "test"
        yield _picture(folder, folder / "images" / place, part, paths[classes[image]], box=boxes.get(image))


def car_pictures(folder: Path, wanted: Wanted) -> Iterator[LabelledPicture]:
    """Pictures of cars_train/ and cars_test/ with the Matlab lists of the devkit."""
    tests = [folder / name for name in CARS_TEST if (folder / name).is_file()]
    if not tests:
        raise SourceError(
            f"{folder} has no {CARS_TEST[0]}: without it the classes of the test pictures are not known", path=folder
        )
    names = [str(name) for name in _matlab(folder / "devkit/cars_meta.mat", "class_names")]
    for part, file in (("train", folder / CARS), ("test", tests[0])):
        for row in _matlab(file, "annotations"):
            number, image, box = _annotated(row, file)
            if not 1 <= number <= len(names):
                raise SourceError(f"{file}: class {number}, but cars_meta.mat names {len(names)}", path=file)
            path = (names[number - 1].replace("/", "_"),)  # `Ram C/V Cargo Van` is one class
            yield _picture(folder, folder / f"cars_{part}" / image, part, path, box=box)


def _annotated(row: Any, file: Path) -> tuple[int, str, Box]:
    """The class, file and box of a picture."""
    try:
        x1, y1, x2, y2 = (float(row[f"bbox_{corner}"]) for corner in ("x1", "y1", "x2", "y2"))
        return int(row["class"]), str(row["fname"]), (x1, y1, x2, y2)
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise SourceError(f"{file}: a picture without a file, a class or a box ({error})", path=file) from None


def _picture(
    folder: Path,
    file: Path,
    part: str,
    path: tuple[str, ...] = (),
    *,
    labels: tuple[str, ...] | None = None,
    box: Box | None = None,
) -> LabelledPicture:
    if not file.is_relative_to(folder) or ".." in file.parts[len(folder.parts) :]:
        raise SourceError(f"{folder}: a list of it names {file}, which is not in it; unpack it again", path=folder)
    return LabelledPicture(str(file.relative_to(folder)), partial(read_capped, str(file)), part, path, labels, box=box)


def _lines(file: Path, columns: int) -> Iterator[list[str]]:
    """The words of each line; the last one may contain blanks."""
    try:
        text = file.read_text(encoding="utf-8")
    except OSError as error:
        raise SourceError(f"cannot read {file}: {error.strerror}", path=file) from None
    except UnicodeDecodeError as error:
        raise SourceError(f"{file} is not text ({error})", path=file) from None
    for number, line in enumerate(text.splitlines(), 1):
        words = line.split(maxsplit=columns - 1)
        if not words:
            continue
        if len(words) != columns:
            raise SourceError(f"{file}, line {number}: {len(words)} words instead of {columns}", path=file)
        yield [word.strip() for word in words]


def _boxes(file: Path) -> Iterator[tuple[str, Box]]:
    """Boxes from x, y, width and height, the publishers' format."""
    if not file.is_file():
        return
    for image, *numbers in _lines(file, 5):
        try:
            x, y, width, height = map(float, numbers)
        except ValueError:
            raise SourceError(f"{file}: the box of picture {image} is not four numbers", path=file) from None
        yield image, (x, y, x + width, y + height)


def _paths(folder: Path, names: Mapping[str, str]) -> dict[str, tuple[str, ...]]:
    """Classes from the root down, all equally deep: shorter paths repeat their last class."""
    file = folder / "hierarchy.txt"
    if not file.is_file():
        return {number: (name,) for number, name in names.items()}
    parents = dict(_lines(file, 2))
    paths: dict[str, tuple[str, ...]] = {}
    for number in names:
        path: list[str] = []
        at: str | None = number
        while at is not None and at in parents:  # the root has none, and is no class
            if at not in names or len(path) > DEEPEST:
                raise SourceError(f"{file}: class {at} has no name in classes.txt, or is below itself", path=file)
            path.insert(0, names[at].replace("/", "_"))
            at = parents[at]
        paths[number] = tuple(path)
    depth = max(map(len, paths.values()), default=0)
    return {number: path + path[-1:] * (depth - len(path)) for number, path in paths.items()}


def _matlab(file: Path, table: str) -> Any:
    """The rows of a table, one by one."""
    try:
        from scipy.io import loadmat
    except ImportError:
        raise SourceError(
            f"{file} is a Matlab file, which needs scipy: pip install scipy; or put the pictures into train/CLASS/ and"
            " test/CLASS/",
            path=file,
        ) from None
    try:
        return np.atleast_1d(loadmat(file, squeeze_me=True)[table])
    except OSError as error:
        raise SourceError(f"cannot read {file}: {error.strerror or error}", path=file) from None
    except Exception as error:  # scipy raises a dozen unrelated classes for a damaged file
        raise SourceError(f"{file} is damaged, or not Matlab's ({error})", path=file) from None
