"""Programs that write to a library, for children that are killed or cut from power."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path


def make_library(path: str, model: str, pictures: str, end: str) -> None:
    """A library as it is after some use: notes, a removed item, thumbnails.

    At the end it is closed, or its writer killed, or closed while a reader keeps the log from being folded in.
    """
    from hashgrain.library import Library

    files = sorted(Path(pictures).iterdir())
    library = Library.create(path, model)
    batch = max(4, len(files) // 8)
    for number, start in enumerate(range(0, len(files), batch)):
        meta = {"season": 2000 + 4 * number, "mood": "red" if number else "blue"}
        library.add(files[start : start + batch], meta=meta, workers=0)
    library.remove([4])
    library.add([files[3]], meta={"season": 2010}, workers=0)
    for item in library.items()[:3]:
        library.thumbnail(item.id)
    if end == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    if end == "read":
        reader = Library.open(path)
        with reader.store.snapshot() as snapshot:
            library.remove([5])
            assert len(snapshot)
            library.close()
            os.kill(os.getpid(), signal.SIGKILL)
    library.close()


def open_and_close(path: str) -> int:
    """What opening mends, it mends for readers and writers alike; an error of ours ends as a verb's does."""
    from hashgrain.errors import HashgrainError
    from hashgrain.library import Library

    try:
        with Library.open(path) as library:
            count = len(library)
        with Library.open(path, "w") as library:
            assert len(library) == count
    except (HashgrainError, OSError) as error:
        sys.exit(f"error: {error}")
    return count


def whole_life(path: str, model: str, other: str, pictures: str, steps: int, *, mark: Callable[[str], None]) -> None:
    """Everything a library may go through, in acknowledged steps; stops after as many as are asked for."""
    from hashgrain.library import Library, rebuild_with

    files = sorted(Path(pictures).iterdir())
    library = Library.create(path, model)

    def again() -> None:
        nonlocal library
        library.close()
        library = Library.open(path, "w")

    def encode_anew() -> None:
        nonlocal library
        library.close()
        rebuild_with(path, other)
        library = Library.open(path, "w")

    life: list[Callable[[], object]] = [
        lambda: library.add(files[:3], workers=0),
        lambda: library.add(files[3:5], meta={"season": 2001}, workers=0),
        lambda: library.remove([2]),
        again,
        lambda: library.add(files[5:7], workers=0),
        lambda: library.rebuild(),
        lambda: library.add(files[7:9], workers=0),
        encode_anew,
        lambda: library.add(files[9:], workers=0),
        lambda: library.remove([1, 3]),
    ]
    mark("0")
    for number, step in enumerate(life[:steps], 1):
        step()
        mark(str(number))
    if steps >= len(life):
        library.close()


LIFE = 10
