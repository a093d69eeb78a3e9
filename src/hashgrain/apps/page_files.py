"""Pages as files."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from hashgrain import files
from hashgrain.types import PathLike


def write_page(page: str, file: PathLike | None) -> Path:
    """Write a page to `file`, or to a new temporary one, and return its path. A file that is there is replaced whole,
    or not at all."""
    if file is None:
        handle, named = tempfile.mkstemp(prefix="hashgrain-", suffix=".html")
        os.close(handle)
        file = named
    target = Path(file)
    target.parent.mkdir(parents=True, exist_ok=True)
    files.write_atomically(target, page.encode("utf-8"))
    return target
