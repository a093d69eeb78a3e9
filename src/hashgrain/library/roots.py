"""Which folders a library's files came from, as far as their paths show: the library keeps no list of them."""

from __future__ import annotations

import os
import tempfile
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path

from hashgrain.sources import file_of
from hashgrain.store import Item

# Below these lie other disks, or what has nothing to do with each other.
SHARED = {"/", "/home", "/media", "/mnt", "/run", "/run/media", "/tmp", "/var", "/var/tmp", "/Users", "/Volumes"}
OF_USERS = {"/media", "/run/media"}  # a folder for each user, in which their disks appear


def roots_of(items: Iterable[Item]) -> list[str]:
    """The deepest folders that together hold all files, but for folders that nobody adds as a whole."""
    folders = {os.path.dirname(file_of(item.path)) for item in items}
    by_drive = defaultdict(set)
    for folder in filter(os.path.isabs, folders):
        by_drive[os.path.splitdrive(folder)[0].lower()].add(folder)
    return sorted(root for some in by_drive.values() for root in _roots(some))


def _roots(folders: set[str]) -> Iterator[str]:
    common = os.path.commonpath(list(folders))
    if not _is_shared(common):
        yield common
        return
    by_child = defaultdict(set)
    for folder in folders - {common}:
        by_child[Path(folder).relative_to(common).parts[0]].add(folder)
    for below in by_child.values():
        yield from _roots(below)


def _is_shared(folder: str) -> bool:
    path = Path(folder)
    if folder in SHARED or str(path.parent) in OF_USERS or path == path.parent or folder == tempfile.gettempdir():
        return True
    return Path.home().is_relative_to(path)


def missing_part(files: Iterable[str], roots: Iterable[str]) -> str | None:
    """The folder that is not there, or is empty, where these missing files were and a disk may have been.

    A disk that is not mounted leaves an empty folder, or none at all; a root of the library that is not there, or
    a folder on the way to a file, looks the same.
    """
    folders = sorted({os.path.dirname(file) for file in files})
    for root in roots:
        if not os.path.isdir(root) and any(_is_below(folder, root) for folder in folders):
            return root
    for folder in folders:
        there = _nearest(folder)
        if _is_empty(there):
            return there
    return None


def _is_below(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder.rstrip(os.sep) + os.sep)


def _nearest(folder: str) -> str:
    """The deepest existing part of a path; a broken link counts as existing."""
    while not os.path.isdir(folder) and not os.path.islink(folder) and folder != os.path.dirname(folder):
        folder = os.path.dirname(folder)
    return folder


def _is_empty(folder: str) -> bool:
    """Whether a folder is empty; so is a broken link."""
    try:
        with os.scandir(folder) as entries:
            return next(entries, None) is None
    except OSError:
        return True
