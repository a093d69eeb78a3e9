"""Pictures that come as bytes, to stay: written below the library's folder, then added like any file."""

from __future__ import annotations

import hashlib
import os
import re
from contextlib import suppress
from typing import TYPE_CHECKING

from hashgrain import inside
from hashgrain.errors import ImageError
from hashgrain.library.reading import is_gone
from hashgrain.store import Item
from hashgrain.store.errors import translate_errors

if TYPE_CHECKING:
    from hashgrain.library.library import Library

FOLDER = "pictures"
MAX_NAME = 60  # characters of a name that is kept; file systems take 255 bytes


def add_sent(library: Library, data: bytes, name: str, *, max_pixels: int) -> tuple[Item, bool]:
    """Write a picture into the library's folder and add it. Returns its item, and whether it is new: a picture that is
    there already, under whatever name, is not added again. Raises ImageError if it cannot be opened."""
    content = hashlib.sha256(data).hexdigest()
    for twin in library.store.by_content(content):
        if not is_gone(twin.path):
            return twin, False
    file = f"{content[:12]}-{safe_name(name)}"
    with translate_errors(library.path):
        inside.make_folder(library.path, FOLDER)
        inside.write(library.path, FOLDER, file, data=data)
    path = os.path.join(library.path, FOLDER, file)
    report = library.add([path], again=True, retry=True, max_pixels=max_pixels)
    known = library.store.known(path)
    if known is None:
        with suppress(OSError):
            inside.remove(library.path, FOLDER, file)
        library.store.forget_refusals([path])
        reason = report.refused[0].reason if report.refused else "it cannot be opened"
        raise ImageError(reason.removeprefix(f"{path}: "))
    return known, True


def safe_name(name: str) -> str:
    """The end of a name as the name of a file: without folders, control characters, and what only some systems take."""
    last = re.split(r"[/\\]", name)[-1]
    stem, dot, suffix = re.sub(r"[^\w.\- ]", "_", last).strip(" .").rpartition(".")
    shown = f"{stem[: MAX_NAME - len(suffix)]}{dot}{suffix}" if len(suffix) <= 5 else f"{stem}{dot}{suffix}"[:MAX_NAME]
    return shown.strip(" .") or "picture"
