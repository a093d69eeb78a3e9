"""Backups of libraries: made while a library is written to, incremental, and checked when they are read.

A folder of backups has chunks of a megabyte, named by their SHA-256, and a file for each backup, which lists the chunks
of each file of the library. A later backup adds only chunks that are not there yet. Of a library, the catalogue, the
model and pictures that clients sent are kept; everything else is made anew from them.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from hashgrain import files, inside
from hashgrain.errors import BackupError, reason_of
from hashgrain.library import models
from hashgrain.library.rebuilding import rebuild, verify_library
from hashgrain.library.sent_pictures import FOLDER as SENT
from hashgrain.store import Problem, Store
from hashgrain.store.catalogue_file import NAME as CATALOGUE
from hashgrain.store.lock import NAME as LOCK
from hashgrain.store.lock import WriterLock

CHUNKS = "chunks"
CHUNK = 1 << 20
MARK = "hashgrain-backups.json"  # what a folder of backups is known by
FORMAT = 1
MAX_LIST = 256 << 20  # bytes of the list of a backup
LIST_NAME = re.compile(r"(\d{8}T\d{6}\.\d{6}Z-[0-9a-f]{8})\.json")
FOLDERS = (models.FOLDER, models.NEXT, SENT)  # of a library, beside its catalogue
UNFINISHED = ".making"
Advance = Callable[[int], None]  # called with the bytes so far


@dataclass(frozen=True)
class File:
    """A file of a library, as it is in a backup."""

    name: str
    size: int
    chunks: tuple[str, ...]  # SHA-256 of each


@dataclass(frozen=True)
class Backup:
    """A library at one moment."""

    name: str
    made: str
    library: str
    items: int
    changes: int  # the number of the last change
    files: tuple[File, ...] = field(repr=False)

    @property
    def bytes(self) -> int:
        return sum(file.size for file in self.files)


@dataclass(frozen=True)
class BackupReport:
    """What a backup took."""

    backup: Backup
    new_bytes: int  # that were not in the folder before
    seconds: float


def back_up(
    library: str | os.PathLike[str], place: str | os.PathLike[str], progress: Advance = lambda done: None
) -> BackupReport:
    """Add a backup of a library to a folder, which is made if it is not there. Others may write to the library
    meanwhile. What was stopped leaves chunks, which the next backup takes."""
    begun = time.perf_counter()
    source, folder = Path(library).expanduser(), Path(place).expanduser()
    with Store.open(source) as store, _writing(folder, source):
        target = _Target(folder, progress)
        copy = folder / f"{CATALOGUE}{UNFINISHED}"
        try:
            items, changes = store.copy_catalogue(copy)
            listed = [target.put(CATALOGUE, inside.open_file(folder, copy.name))]
        finally:
            copy.unlink(missing_ok=True)
        digest = store.digest
        for name in _files_beside(store.path):
            with suppress(FileNotFoundError):  # a picture that was removed since
                listed.append(target.put(name, inside.open_file(store.path, *name.split("/"))))
        with Store.open(source) as now:
            if now.digest != digest:
                reason = f"{source} got another model while it was copied"
                raise BackupError(reason, path=source, remedy="run this again")
        made = datetime.now(timezone.utc)
        facts = {"hashgrain_backup": FORMAT, "made": made.isoformat(timespec="seconds"), "library": str(store.path)}
        facts |= {"items": items, "changes": changes, "files": [asdict(file) for file in listed]}
        content = json.dumps(facts).encode()
        name = f"{made:%Y%m%dT%H%M%S.%fZ}-{hashlib.sha256(content).hexdigest()[:8]}"
        inside.write(folder, f"{name}.json", data=content)
        backup = _read(folder, name)
    return BackupReport(backup, target.new_bytes, time.perf_counter() - begun)


def backups_in(place: str | os.PathLike[str]) -> list[Backup]:
    """The backups of a folder, the oldest first."""
    folder = _folder_of_backups(Path(place).expanduser())
    return [_read(folder, name) for name in _names(folder)]


def verify_backups(place: str | os.PathLike[str], progress: Advance = lambda done: None) -> list[Problem]:
    """Read every chunk of every backup; what is missing or damaged."""
    folder, problems, done = _folder_of_backups(Path(place).expanduser()), [], 0
    needed: dict[str, str] = {}  # a backup that needs it, by chunk
    for name in _names(folder):
        try:
            needed |= {chunk: name for file in _read(folder, name).files for chunk in file.chunks}
        except BackupError as error:
            problems.append(Problem(str(folder / f"{name}.json"), error.message, "delete it, and make another backup"))
    for chunk, name in sorted(needed.items()):
        try:
            done += len(_chunk(folder, chunk))
        except BackupError as error:
            remedy = "delete it; a new backup brings it again, if the library still has it"
            problems.append(Problem(str(folder / CHUNKS / chunk[:2] / chunk), f"{error.message} (of {name})", remedy))
        progress(done)
    return problems


def restore_backup(
    place: str | os.PathLike[str],
    library: str | os.PathLike[str],
    name: str | None = None,
    progress: Advance = lambda done: None,
) -> Backup:
    """Make a library as it was in a backup, the last one if none is named. Every chunk and the whole library are
    checked before the library gets its name."""
    folder, target = Path(place).expanduser(), Path(os.path.abspath(Path(library).expanduser()))
    if os.path.lexists(target):
        raise BackupError(f"{target} is there already", path=target, remedy="give another name for the library")
    backup = _named(folder, name)
    aside = target.with_name(f".{target.name}.restoring")
    shutil.rmtree(aside, ignore_errors=True)
    try:
        aside.mkdir(parents=True)
        done = 0
        for file in backup.files:
            done = _put_back(folder, file, aside, done, progress)
        rebuild(aside)
        problems = [each for each in verify_library(aside) if not each.harmless]
        if problems:
            reason = f"{problems[0].thing} {problems[0].reason}"
            raise BackupError(f"what {backup.name} holds is not sound: {reason}", path=folder)
        os.rename(aside, target)  # a whole folder, which `files` cannot write
        files.sync_folder(target.parent)
    except BaseException:
        shutil.rmtree(aside, ignore_errors=True)
        raise
    return backup


def prune_backups(place: str | os.PathLike[str], keep: int, *, really: bool = True) -> tuple[list[Backup], int]:
    """Remove all but the last backups, and the chunks that no other one needs. Returns them, and the bytes of these
    chunks. Unless `really`, nothing is removed."""
    if keep < 1:
        raise BackupError(f"{keep} backups cannot be kept; it is one at least")
    folder = _folder_of_backups(Path(place).expanduser())
    with _locked(folder):
        every = backups_in(folder)
        gone, kept = every[:-keep], every[-keep:]
        needed = {chunk for backup in kept for file in backup.files for chunk in file.chunks}
        if really:
            for backup in gone:
                inside.remove(folder, f"{backup.name}.json")
        freed = 0
        for below in inside.names(folder, CHUNKS):
            for chunk in inside.names(folder, CHUNKS, below):
                if chunk not in needed:
                    freed += inside.size(folder, CHUNKS, below, chunk)
                    if really:
                        inside.remove(folder, CHUNKS, below, chunk)
    return gone, freed


def _files_beside(library: Path) -> list[str]:
    """The files of a library that are kept beside its catalogue; those that begin with a dot are unfinished."""
    found = [f"{below}/{name}" for below in FOLDERS for name in inside.names(library, below) if name[0] != "."]
    for name in found:
        _check_name(name, library)
    return found


class _Target:
    """Where chunks are put."""

    def __init__(self, folder: Path, progress: Advance) -> None:
        self.folder, self.progress = folder, progress
        self.done = self.new_bytes = 0
        inside.make_folder(folder, CHUNKS)
        self.there = {name: set(inside.names(folder, CHUNKS, name)) for name in inside.names(folder, CHUNKS)}

    def put(self, name: str, descriptor: int) -> File:
        """Put an open file, which is then closed."""
        chunks, size = [], 0
        with open(descriptor, "rb") as file:
            while block := file.read(CHUNK):
                chunks.append(self._put_chunk(block))
                size += len(block)
                self.done += len(block)
                self.progress(self.done)
        return File(name, size, tuple(chunks))

    def _put_chunk(self, block: bytes) -> str:
        digest = hashlib.sha256(block).hexdigest()
        below = digest[:2]
        if below not in self.there:
            inside.make_folder(self.folder, CHUNKS, below)
            self.there[below] = set()
        if digest not in self.there[below] or inside.size(self.folder, CHUNKS, below, digest) != len(block):
            inside.write(self.folder, CHUNKS, below, digest, data=block)
            self.there[below].add(digest)
            self.new_bytes += len(block)
        return digest


@contextmanager
def _writing(folder: Path, library: Path) -> Iterator[None]:
    """Make a folder one of backups, and keep others from writing there."""
    if re.match(r"\w{2,}:/", os.fspath(folder)):
        remedy = "back up to a folder, and copy that there: chunks never change"
        raise BackupError(f"{folder} is an address, and backups are kept in a folder", path=folder, remedy=remedy)
    inner, outer = (Path(os.path.realpath(each)) for each in (folder, library))
    if inner == outer or outer in inner.parents:
        raise BackupError(f"{folder} is inside the library; a backup belongs elsewhere", path=folder)
    if folder.exists() and not folder.is_dir():
        raise BackupError(f"{folder} is a file; backups are kept in a folder", path=folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BackupError(f"{folder} cannot be made: {error.strerror}", path=folder) from None
    if not inside.is_file(folder, MARK):
        others = [name for name in inside.names(folder) if name != LOCK]
        if others:
            message = f"{folder} is a folder with other things in it, such as {others[0]}"
            raise BackupError(message, path=folder, remedy="give a new folder for the backups")
        inside.write(folder, MARK, data=json.dumps({"hashgrain_backups": FORMAT}).encode())
    with _locked(_folder_of_backups(folder)):
        yield


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    lock = WriterLock(folder)
    try:
        for name in inside.names(folder):
            if name.endswith(UNFINISHED):  # of a killed one
                with suppress(OSError):
                    inside.remove(folder, name)
        yield
    finally:
        lock.release()


def _folder_of_backups(folder: Path) -> Path:
    try:
        facts = json.loads(inside.read(folder, MARK, cap=4096))
        known = facts["hashgrain_backups"] == FORMAT
    except (OSError, ValueError, TypeError, KeyError):
        raise BackupError(f"{folder} is no folder of backups", path=folder) from None
    if not known:
        raise BackupError(f"{folder} has backups of a format that this HashGrain does not know", path=folder)
    return folder


def _named(folder: Path, name: str | None) -> Backup:
    _folder_of_backups(folder)
    every = _names(folder)
    if not every:
        raise BackupError(f"{folder} has no backup yet", path=folder)
    if name is not None and name not in every:
        raise BackupError(f"{folder} has no backup {name}", path=folder, remedy=f"there is {', '.join(every)}")
    return _read(folder, every[-1] if name is None else name)


def _names(folder: Path) -> list[str]:
    """Those of the backups, the oldest first."""
    return sorted(match[1] for name in inside.names(folder) if (match := LIST_NAME.fullmatch(name)))


def _read(folder: Path, name: str) -> Backup:
    """The list of a backup, which may be of a stranger: its names lead nowhere else."""
    path = folder / f"{name}.json"
    try:
        content = inside.read(folder, f"{name}.json", cap=MAX_LIST)
        if not name.endswith(hashlib.sha256(content).hexdigest()[:8]):
            raise ValueError("it does not match its checksum")
        facts = json.loads(content)
        if facts["hashgrain_backup"] != FORMAT:
            raise ValueError("it has a format that this HashGrain does not know")
        listed = tuple(_file(each, folder) for each in facts["files"])
        counts = (facts["items"], facts["changes"])
        if not all(type(count) is int and count >= 0 for count in counts) or listed[0].name != CATALOGUE:
            raise ValueError("it does not list a library")
        if len({file.name for file in listed}) < len(listed):
            raise ValueError("it has two files of one name")
        return Backup(name, str(facts["made"]), str(facts["library"]), *counts, listed)
    except (BackupError, OSError, ValueError, TypeError, KeyError, IndexError, RecursionError) as error:
        told = isinstance(error, (BackupError, OSError, ValueError))
        reason = reason_of(error) if told else "it does not list a library"
        raise BackupError(f"the backup {path} cannot be read: {reason}", path=path) from None


def _file(facts: dict[str, Any], folder: Path) -> File:
    name, size, chunks = facts["name"], facts["size"], tuple(facts["chunks"])
    if name != CATALOGUE:
        _check_name(str(name), folder)
    fits = type(size) is int and size >= 0 and len(chunks) == -(-size // CHUNK)
    if not fits or not all(re.fullmatch(r"[0-9a-f]{64}", chunk) for chunk in chunks):
        raise ValueError(f"the chunks of {name} do not fit its size")
    return File(name, size, chunks)


def _check_name(name: str, path: Path) -> None:
    """Of a file below the library: in one of the folders that are kept, and a plain name there."""
    below, _, last = name.rpartition("/")
    if below not in FOLDERS or not re.fullmatch(r"\w[\w. -]*", last):
        raise BackupError(f"{path}: {name!r} is no file of a library that can be backed up", path=path)


def _chunk(folder: Path, digest: str) -> bytes:
    try:
        content = inside.read(folder, CHUNKS, digest[:2], digest, cap=CHUNK)
    except OSError as error:
        raise BackupError(f"a chunk cannot be read: {error.strerror or error}", path=folder) from None
    if hashlib.sha256(content).hexdigest() != digest:
        raise BackupError("a chunk is damaged", path=folder)
    return content


def _put_back(folder: Path, file: File, library: Path, done: int, progress: Advance) -> int:
    *below, name = file.name.split("/")
    for depth in range(1, len(below) + 1):
        inside.make_folder(library, *below[:depth])
    descriptor = inside.open_file(library, *below, name, flags=os.O_WRONLY | os.O_CREAT | os.O_EXCL)
    with open(descriptor, "wb") as target:
        for digest in file.chunks:
            try:
                target.write(_chunk(folder, digest))
            except BackupError as error:
                raise BackupError(f"{file.name} cannot be restored: {reason_of(error)}", path=folder) from None
            done += CHUNK
            progress(done)
        if target.tell() != file.size:
            raise BackupError(f"{file.name} cannot be restored: its chunks do not fit its size", path=folder)
        target.flush()
        files.sync(target.fileno())
    return done
