"""Creating a library in a new or empty folder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from hashgrain import inside
from hashgrain.codes import Grains
from hashgrain.errors import LibraryExistsError, Remedy
from hashgrain.store import catalogue, disk, lock, page_checksums, redo, segments
from hashgrain.store.lock import WriterLock

# What may be in a folder that becomes a library: files that systems leave everywhere, and those of a killed `create`.
NOT_CONTENT = {
    *(".DS_Store", "Thumbs.db", "desktop.ini", "lost+found"),
    *(lock.NAME, segments.FOLDER, redo.NAME, page_checksums.NAME, page_checksums.TEMPORARY_NAME, "model"),
}


def create_library(
    folder: Path, grains: Grains, digest: str, grid: str | None, prepare: Callable[[Path], object]
) -> WriterLock:
    """Make a folder a library; returns the lock of its writer.

    The catalogue gets its name last, in one step. `prepare` puts what else belongs in the folder there before that.
    """
    if folder.exists() and not folder.is_dir():
        message = f"{folder} is a file; a library is a folder"
        raise LibraryExistsError(message, path=folder, remedy="give another name")
    folder.mkdir(parents=True, exist_ok=True)
    _refuse_content(folder)
    writer_lock = WriterLock(folder)
    try:
        _refuse_content(folder)  # nobody else can make it from here on
        prepare(folder)
        catalogue.create(folder, grains, digest, grid)
        inside.make_folder(folder, segments.FOLDER)
        inside.rename(folder, (), catalogue.TEMPORARY_NAME, catalogue.NAME)
        disk.sync_folder(folder)
        disk.sync_folder(folder.parent)
    except BaseException:
        writer_lock.release()
        raise
    return writer_lock


def _refuse_content(folder: Path) -> None:
    if (folder / catalogue.NAME).exists():
        remedy = Remedy("open it to add to it", "add_to", library=folder)
        raise LibraryExistsError(f"{folder} is a library already", path=folder, remedy=remedy)
    names = [name for name in inside.names(folder) if not name.startswith(catalogue.TEMPORARY_NAME)]
    if not NOT_CONTENT.issuperset(names):
        message = f"{folder} is a folder with other things in it"
        raise LibraryExistsError(message, path=folder, remedy="give a new name for the library")
