"""The undo file: a line before each action, on the disk before the action begins.

The first line says what it is, each other one names a file, where it goes, and what is needed to put it back. What was
done is not written: the files themselves show it. So a line may stand for an action that was never begun.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO

from hashgrain.errors import LibraryError
from hashgrain.files import read_regular, sync, sync_folder
from hashgrain.types import JsonLike, PathLike

FORMAT = 1
MAX_BYTES = 1 << 30
ACTIONS = ("move", "link", "delete")


@dataclass(frozen=True)
class Entry:
    """One file that is acted upon. `target` is its new path, or the kept file of which it becomes a link."""

    path: str
    target: str
    content: str
    mode: int
    mtime_ns: int
    meta: Mapping[str, JsonLike]


@dataclass(frozen=True)
class Header:
    action: str
    library: str
    history: str  # of the library, which stays when its folder is moved


class UndoWriter:
    """Writes a new undo file. It is made with the first entry, so that a run that does nothing leaves none."""

    def __init__(self, path: Path, header: Header) -> None:
        self.path = path
        self.header = header
        self._file: BinaryIO | None = None

    def write(self, entry: Entry) -> None:
        """The entry is on the disk when this returns."""
        if self._file is None:
            self._file = open(self.path, "xb")  # noqa: SIM115  kept open until close()
            self._line({"hashgrain_undo": FORMAT, **asdict(self.header)})
            sync_folder(self.path.parent)
        self._line(asdict(entry))

    def close(self) -> None:
        if self._file is not None:
            self._file.close()

    @property
    def made(self) -> Path | None:
        """The file, if there is one."""
        return None if self._file is None else self.path

    def _line(self, values: Mapping[str, Any]) -> None:
        assert self._file is not None
        self._file.write(json.dumps(values).encode() + b"\n")
        self._file.flush()
        sync(self._file.fileno())


def read_undo_file(path: PathLike) -> tuple[Header, list[Entry]]:
    """What it says. A last line that was cut short was never acted upon, and is passed over."""
    try:
        content = read_regular(path, MAX_BYTES)
    except OSError as error:
        raise LibraryError(f"{os.fspath(path)}: cannot be read ({error.strerror})", path=path) from None
    lines = content.split(b"\n")[:-1]
    try:
        values = [json.loads(line) for line in lines]
        version, action, library, history = (
            values[0][key] for key in ("hashgrain_undo", "action", "library", "history")
        )
        entries = [_entry(each) for each in values[1:]]
        if action not in ACTIONS or not isinstance(library, str) or not isinstance(history, str):
            raise ValueError(f"its action is {action!r:.40}")
    except (ValueError, LookupError, TypeError, RecursionError) as error:
        raise LibraryError(f"{os.fspath(path)} is not an undo file ({error})", path=path) from None
    if version != FORMAT:
        raise LibraryError(f"{os.fspath(path)}: undo files of format {version!r:.40} are not read here", path=path)
    return Header(action, library, history), entries


def _entry(values: Any) -> Entry:
    entry = Entry(**values)
    texts, numbers = (entry.path, entry.target, entry.content), (entry.mode, entry.mtime_ns)
    if not all(isinstance(each, str) for each in texts) or not all(isinstance(each, int) for each in numbers):
        raise ValueError("a value is of another type")
    if any("\0" in each for each in texts):
        raise ValueError("a path holds a zero byte")
    if not isinstance(entry.meta, dict) or not os.path.isabs(entry.path) or not os.path.isabs(entry.target):
        raise ValueError("a path is not absolute")
    return entry
