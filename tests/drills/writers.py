"""Programs that write to a library, for children that are killed or cut from power."""

from __future__ import annotations

import os
import signal
from pathlib import Path


def make_library(path: str, model: str, pictures: str, killed: bool) -> None:
    """A library as it is after some use: notes, a removed item, a replaced one, thumbnails."""
    from hashgrain.library import Library

    files = sorted(Path(pictures).iterdir())
    library = Library.create(path, model)
    for start in range(0, len(files), 4):
        year = 2000 + start
        library.add(files[start : start + 4], meta={"year": year, "mood": "red" if start else "blue"}, workers=0)
    library.remove([4])
    library.add([files[3]], meta={"year": 2010, "again": True}, workers=0)
    for item in library.items()[:3]:
        library.thumbnail(item.id)
    if killed:
        os.kill(os.getpid(), signal.SIGKILL)
    library.close()
