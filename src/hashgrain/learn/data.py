"""Labelled pictures for training: from parquet files or from folders whose path is the hierarchy.

Everything is decoded once into one array of bytes; at 64 px, 80,000 pictures take 1 GB.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hashgrain.errors import ImageError, TrainingError
from hashgrain.evaluate import flip_labels
from hashgrain.images import open_picture

LABELLED_GRAINS = ("kind", "thing")
PICTURE_SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".avif"}


@dataclass(frozen=True)
class Labelled:
    """n pictures of one size with a label at each labelled grain."""

    pixels: NDArray[np.uint8]  # (n, size, size, 3)
    labels: Mapping[str, NDArray[np.int64]]
    names: Mapping[str, Sequence[str]]
    contents: NDArray[np.str_]  # sha256 of each file: what splits go by
    refused: Sequence[str] = ()

    def __len__(self) -> int:
        return len(self.pixels)

    def take(self, index: NDArray[np.int64] | NDArray[np.bool_]) -> Labelled:
        labels = {grain: column[index] for grain, column in self.labels.items()}
        return Labelled(self.pixels[index], labels, self.names, self.contents[index])

    def parents(self) -> NDArray[np.int64]:
        """The kind of each thing. A thing under two kinds is an error in the data."""
        kind, thing = (self.labels[grain] for grain in LABELLED_GRAINS)
        parent = np.full(len(self.names["thing"]), -1, np.int64)
        parent[thing] = kind
        if (parent[thing] != kind).any():
            wrong = self.names["thing"][int(thing[np.flatnonzero(parent[thing] != kind)[0]])]
            raise TrainingError(f"{wrong!r} stands under two kinds; give each thing one kind")
        return parent


@dataclass(frozen=True)
class _Row:
    read: Callable[[], bytes]
    name: str
    kind: str
    thing: str


def load_labelled(path: str | Path, size: int, *, match: str = "train*.parquet") -> Labelled:
    """A folder of parquet files (`match` chooses which, hierarchy.json names the labels) or of `kind/thing/*.jpg`."""
    folder = Path(path).expanduser()
    if not folder.is_dir():
        raise TrainingError(f"no folder of training pictures at {folder}")
    tables = sorted(folder.glob(match))
    if tables:
        return _decode(_parquet_rows(folder, tables), size, where=folder)
    return _decode(_folder_rows(folder), size, where=folder)


def hold_out(data: Labelled, per_thing: int) -> tuple[Labelled, Labelled]:
    """Split off `per_thing` pictures of each thing, the ones whose content hash sorts first.

    The split depends on the pictures alone: not on their order, not on a seed.
    """
    order = np.lexsort((data.contents, data.labels["thing"]))
    things = data.labels["thing"][order]
    starts = np.flatnonzero(np.r_[True, things[1:] != things[:-1]])
    rank = np.arange(len(order)) - np.repeat(starts, np.diff(np.r_[starts, len(order)]))
    held = np.zeros(len(order), bool)
    held[order[rank < per_thing]] = True
    if held.all():
        raise TrainingError(f"every thing has at most {per_thing} pictures: nothing would be left to train on")
    return data.take(~held), data.take(held)


def mislabel(data: Labelled, share: float, seed: int) -> Labelled:
    """The same pictures, a share of them under another thing and, with it, under that thing's kind."""
    things = flip_labels(data.labels["thing"], share, seed)
    return dataclasses.replace(data, labels={"kind": data.parents()[things], "thing": things})


def _parquet_rows(folder: Path, tables: Sequence[Path]) -> Iterable[_Row]:
    import pyarrow.parquet as parquet

    index = folder / "hierarchy.json"
    if not index.is_file():
        raise TrainingError(f"{folder} has parquet files but no hierarchy.json to name their labels")
    hierarchy = json.loads(index.read_text())
    things = [entry["name"] for entry in hierarchy["classes"]]
    # Two classes may share a name (a crane is a bird and a machine): tell them apart by number.
    things = [f"{name} ({i})" if things.count(name) > 1 else name for i, name in enumerate(things)]
    kinds = [entry["superclass"] for entry in hierarchy["classes"]]
    for table in tables:
        for batch in parquet.ParquetFile(table).iter_batches(1024, columns=["image", "label"]):
            for row in batch.to_pylist():
                picture = row["image"]["bytes"]
                name = f"{table.name}:{row['image']['path']}"
                yield _Row(lambda picture=picture: picture, name, kinds[row["label"]], things[row["label"]])  # type: ignore[misc]


def _folder_rows(folder: Path) -> Iterable[_Row]:
    for root, folders, files in os.walk(folder):
        folders.sort()
        place = Path(root).relative_to(folder).parts
        for file in sorted(files):
            if Path(file).suffix.lower() in PICTURE_SUFFIXES:
                if not 1 <= len(place) <= 2:
                    raise TrainingError(
                        f"{Path(root, file)} does not stand at kind/thing/picture or thing/picture below {folder}"
                    )
                yield _Row(Path(root, file).read_bytes, file, place[0], "/".join(place))


def _decode(rows: Iterable[_Row], size: int, *, where: Path) -> Labelled:
    def work(row: _Row) -> tuple[_Row, str, NDArray[np.uint8] | None]:
        try:
            content = row.read()
            picture = open_picture(content, size=(size, size), name=row.name)
        except (ImageError, OSError):
            return row, "", None
        return row, hashlib.sha256(content).hexdigest(), picture.pixels

    pixels, contents, kinds, things, refused = [], [], [], [], []
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for row, content, picture in pool.map(work, rows):
            if picture is None:
                refused.append(row.name)
                continue
            pixels.append(picture)
            contents.append(content)
            kinds.append(row.kind)
            things.append(row.thing)
    if not pixels:
        raise TrainingError(f"no pictures to train on in {where}")
    labels, names = {}, {}
    for grain, values in zip(LABELLED_GRAINS, (kinds, things), strict=True):
        unique, inverse = np.unique(values, return_inverse=True)
        labels[grain], names[grain] = inverse.astype(np.int64), tuple(map(str, unique))
    if len(names["thing"]) < 2:
        raise TrainingError(f"{where} holds one thing only ({names['thing'][0]}); telling apart takes two")
    return Labelled(np.stack(pixels), labels, names, np.array(contents), refused)
