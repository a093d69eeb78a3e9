"""Pictures with labels, from any supported source.

A picture has a *path* of classes from the root down (`animal/cat`), or a *set* of labels, or labels at each *grain*.
It may belong to a *part* of the publisher's split, such as `train` or `test`. Pictures come one by one, in a fixed
order, not decoded.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from hashgrain.errors import SourceError
from hashgrain.labelled.arrays import array_pictures, is_arrays
from hashgrain.labelled.datasets import dataset_pictures, is_dataset
from hashgrain.labelled.folders import folder_pictures
from hashgrain.labelled.layouts import layout_of
from hashgrain.labelled.lists import is_list, list_pictures, lists_in
from hashgrain.labelled.path_lists import path_list_pictures, path_lists_in
from hashgrain.labelled.picture import LabelledPicture, Wanted
from hashgrain.labelled.shards import is_shard, shard_pictures, shards_in
from hashgrain.labelled.tables import is_table, table_pictures, tables_in


def labelled_pictures(
    place: str | Path, *, grains: Sequence[str] = (), unlabelled: bool = False
) -> Iterator[LabelledPicture]:
    """The pictures of a folder of folders, of a list (.csv, .jsonl), a table (.parquet), a shard (.tar), of a folder
    of these, of images.npy and labels.npy, of a dataset written by Hugging Face's `save_to_disk`, of the lists that
    papers on hashing share, or of Pascal VOC, CUB-200-2011, NABirds or Stanford Cars as they are published.

    `grains` are columns (or JSON keys) with labels. With `unlabelled`, pictures without a label are included instead of
    being an error.
    """
    where = Path(place).expanduser()
    wanted = Wanted(tuple(grains), unlabelled)
    if is_list(where):
        yield from list_pictures(where, wanted)
    elif where.is_file() and is_table(where):
        yield from table_pictures(where, wanted)
    elif where.is_file() and is_shard(where):
        yield from shard_pictures(where, wanted)
    elif where.is_dir():
        yield from _of_folder(where, wanted)
    else:
        raise SourceError(
            f"no labelled pictures at {where}: name a folder, or a .csv or .jsonl list of pictures, a .parquet table or"
            " a .tar shard"
        )


def _of_folder(folder: Path, wanted: Wanted) -> Iterator[LabelledPicture]:
    if tables := tables_in(folder):
        for table in tables:
            yield from table_pictures(table, wanted)
    elif is_dataset(folder):
        yield from dataset_pictures(folder, wanted)
    elif is_arrays(folder):
        yield from array_pictures(folder, wanted)
    elif lists := lists_in(folder):
        for file in lists:
            yield from list_pictures(file, wanted)
    elif layout := layout_of(folder):
        yield from layout(folder, wanted)
    elif path_lists := path_lists_in(folder):
        for file in path_lists:
            yield from path_list_pictures(file, wanted)
    elif shards := shards_in(folder):
        for shard in shards:
            yield from shard_pictures(shard, wanted)
    else:
        yield from folder_pictures(folder, wanted)
