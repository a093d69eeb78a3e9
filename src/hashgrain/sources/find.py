"""The pictures that sources stand for, always in the same order."""

from __future__ import annotations

import glob
import os
import stat
from collections.abc import Iterable, Iterator, Mapping, MutableMapping, Sequence
from typing import Any

from hashgrain.errors import SourceError
from hashgrain.files import open_regular
from hashgrain.media.medium import START, Medium
from hashgrain.media.pictures import PICTURES
from hashgrain.sources.archives import ARCHIVES, archive_sources
from hashgrain.sources.arrays import SUFFIX as ARRAY
from hashgrain.sources.arrays import array_sources
from hashgrain.sources.ignoring import IGNORE_FILE, is_ignored, read_patterns
from hashgrain.sources.source import Refused as Refused
from hashgrain.sources.source import Source as Source
from hashgrain.sources.source import file_source
from hashgrain.sources.suffix_counts import count_suffix
from hashgrain.sources.tables import need_pyarrow, table_sources

SuffixCounts = MutableMapping[str, int]
CATALOGUE = "catalogue.sqlite"  # a folder with this file is a library of ours, not a folder of pictures


def find(
    sources: Any, *, ignore: Sequence[str] = (), passed: SuffixCounts | None = None, medium: Medium = PICTURES
) -> Iterator[Source | Refused]:
    """The pictures of one source or of many.

    A source is a file, a folder, a glob, an archive (.tar), a table (.parquet), an array file (.npy), a picture (PIL
    image, array, bytes), or (name, picture) or (name, picture, metadata). A missing path is an error at once, before
    anything is read. `passed` is filled with how many files of each suffix were passed over ("" for none). Of a folder
    and of an archive, the files of `medium` are taken.
    """
    listed = [sources] if _is_one(sources) else sources
    if isinstance(listed, (list, tuple)):
        named = [path for source in listed for path in _paths(source)]
        for path in named:
            if isinstance(path, str) and not os.path.lexists(path):
                raise SourceError(f"no such file or folder: {path}")
            if isinstance(path, str) and path.lower().endswith(".parquet"):
                need_pyarrow(path)
        listed = named
    return _each(listed, ignore, passed, medium)


def _each(
    listed: Iterable[Any], ignore: Sequence[str], passed: SuffixCounts | None, medium: Medium
) -> Iterator[Source | Refused]:
    for position, source in enumerate(listed):
        for path in _paths(source):
            if isinstance(path, str):
                yield from _from_path(path, ignore, passed, medium)
            else:
                yield _from_object(path, position)


def _is_one(sources: Any) -> bool:
    if isinstance(sources, tuple):
        return _is_named(sources)
    return isinstance(sources, (str, os.PathLike, bytes, bytearray)) or _is_picture(sources)


def _is_picture(value: Any) -> bool:
    return isinstance(value, (bytes, bytearray)) or hasattr(value, "__array_interface__")


def _is_named(value: Any) -> bool:
    return isinstance(value, tuple) and len(value) in (2, 3) and isinstance(value[0], str) and _is_picture(value[1])


def _paths(source: Any) -> list[Any]:
    """A path, or the paths a glob stands for, as absolute strings; anything else as it is."""
    if not isinstance(source, (str, os.PathLike)) or isinstance(source, Source):
        return [source]
    path = os.path.expanduser(os.fspath(source))
    if isinstance(path, bytes):
        path = os.fsdecode(path)
    if glob.has_magic(path) and not os.path.lexists(path):
        matches = sorted(glob.glob(path, recursive=True))
        if not matches:
            raise SourceError(f"nothing matches {path}")
        return [os.path.abspath(match) for match in matches]
    return [os.path.abspath(path)]


def _from_object(value: Any, position: int) -> Source | Refused:
    """A picture with a name can be added again without encoding it again; one without a name is known by position."""
    if isinstance(value, Source):
        return value
    name, picture, meta = f"array:{position:06}", value, {}
    if isinstance(value, tuple) and len(value) in (2, 3) and isinstance(value[0], str):
        name, picture, meta = (*value, {})[:3]
    if not _is_picture(picture) or not isinstance(meta, Mapping):
        return Refused(name, f"a picture is a path, bytes, a PIL image or an array, not {type(picture).__name__}")
    return Source(name, lambda: bytes(picture) if isinstance(picture, bytearray) else picture, meta=dict(meta))


def _from_path(
    path: str, ignore: Sequence[str], passed: SuffixCounts | None, medium: Medium
) -> Iterator[Source | Refused]:
    try:
        status = os.stat(path)
    except OSError as error:
        yield Refused(path, error.strerror or str(error))
        return
    if stat.S_ISDIR(status.st_mode):
        yield from _walk(path, ignore, passed, medium)
    elif not stat.S_ISREG(status.st_mode):
        yield Refused(path, "is not a file")
    elif path.lower().endswith(ARCHIVES):
        yield from archive_sources(path, passed, medium)
    elif path.lower().endswith(".parquet"):
        yield from table_sources(path)
    elif path.lower().endswith(ARRAY):
        yield from array_sources(path)
    else:
        yield file_source(path, status)


def _walk(top: str, ignore: Sequence[str], passed: SuffixCounts | None, medium: Medium) -> Iterator[Source | Refused]:
    """All pictures below a folder, sorted; each real folder once, so that links cannot lead in circles."""
    seen: set[tuple[int, int]] = set()
    waiting: list[tuple[str, tuple[str, ...]]] = [(top, tuple(ignore))]
    while waiting:
        folder, patterns = waiting.pop()
        try:
            status = os.stat(folder)
            if (status.st_dev, status.st_ino) in seen:
                continue
            seen.add((status.st_dev, status.st_ino))
            entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
        except OSError as error:
            yield Refused(folder, error.strerror or str(error))
            continue
        names = {entry.name for entry in entries}
        if CATALOGUE in names:
            continue
        if IGNORE_FILE in names:
            try:
                patterns += read_patterns(os.path.join(folder, IGNORE_FILE))
            except SourceError as error:
                # Which names it would leave out is unknown: adding all of them is the harder to take back.
                yield Refused(folder, f"its {IGNORE_FILE} {error}; nothing of the folder is added")
                continue
        inner = []
        for entry in entries:
            if entry.name.startswith(".") or is_ignored(entry.name, patterns):
                continue
            entry_sources = _entry(entry, passed, medium)
            if entry_sources is None:
                inner.append((entry.path, patterns))
            else:
                yield from entry_sources
        waiting.extend(reversed(inner))


def _entry(entry: os.DirEntry[str], passed: SuffixCounts | None, medium: Medium) -> list[Source | Refused] | None:
    """What a folder's entry gives; None for a folder."""
    suffix = os.path.splitext(entry.name)[1].lower()
    try:
        if entry.is_dir():
            return None
        if suffix in medium.suffixes or not suffix:
            status = entry.stat()
            if stat.S_ISREG(status.st_mode) and (suffix or _is_inside(entry.path, medium)):
                return [file_source(entry.path, status)]
    except OSError as error:
        return [Refused(entry.path, error.strerror or str(error))]
    count_suffix(passed, entry.name)
    return []


def _is_inside(path: str, medium: Medium) -> bool:
    with open(open_regular(path), "rb", buffering=0) as file:
        return medium.begins(file.read(START))
