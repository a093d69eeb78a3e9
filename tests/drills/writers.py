"""Programs that write to a library, for children that are killed or cut from power."""

from __future__ import annotations

import hashlib
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from made_parts import GRID, parts_of

if TYPE_CHECKING:
    from hashgrain.store import New, Replaced, Store

SEGMENT_ROWS = 10  # so few that small libraries have several segments
MADE = "/made/{}.jpg"  # the path of an item without a file


def make_library(path: str, model: str, pictures: str, end: str) -> None:
    """A library as it is after some use: notes, a removed item, thumbnails, and perhaps parts.

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
    if "with parts" in end:
        give_parts(library.store)
    if end.startswith("killed"):
        os.kill(os.getpid(), signal.SIGKILL)
    if end == "read":
        reader = Library.open(path)
        with reader.store.snapshot() as snapshot:
            library.remove([5])
            assert len(snapshot)
            library.close()
            os.kill(os.getpid(), signal.SIGKILL)
    library.close()


@contextmanager
def ending_as_a_verb() -> Iterator[None]:
    """An error of ours is a line and an exit code."""
    from hashgrain.errors import HashgrainError

    try:
        yield
    except (HashgrainError, OSError) as error:
        sys.exit(f"error: {error}")


def open_and_close(path: str) -> int:
    """What opening mends, it mends for readers and writers alike."""
    from hashgrain.library import Library

    with ending_as_a_verb():
        with Library.open(path) as library:
            count = len(library)
        with Library.open(path, "w") as library:
            assert len(library) == count
    return count


# ---- parts


def give_parts(store: Store) -> None:
    """Parts of every kind for some of the items, in several segments; some of them dead."""
    from hashgrain.store import PartsReplaced

    store.segment_rows = SEGMENT_ROWS
    store.set_grid(GRID)
    with store.snapshot() as snapshot:
        ids = sorted(item.id for item in snapshot.paths())
    for number, kind in enumerate(["grid", "box", "span", "grid", "box"]):
        store.commit([PartsReplaced(ids[number], parts_of(number, 4, kind))])
    store.commit(
        [
            PartsReplaced(ids[0], parts_of(90, 7, "box")),
            PartsReplaced(ids[1], None),
            PartsReplaced(ids[5], parts_of(91, 1)),
        ]
    )


def made(store: Store, name: int, number: int, parts: Any = None) -> New | Replaced:
    """An item without a file, in the place of the one of that name, if there is one. All of it tells its number."""
    from hashgrain.store import New, Replaced

    path = MADE.format(name)
    facts: dict[str, Any] = {
        "path": path,
        "content": hashlib.sha256(str(number).encode()).hexdigest(),
        "stamp": None,
        "width": number,
        "height": 10,
        "format": "jpeg",
        "taken": None,
        "code": np.random.default_rng(number).integers(0, 2**63, 2).astype(np.uint64),
        "meta": {"season": number},
        "parts": parts,
    }
    known = store.known(path)
    return New(**facts) if known is None else Replaced(known.id, **facts)


def change_parts(path: str) -> None:
    """One commit: items with parts come and go on, others get other parts, and one loses them."""
    from hashgrain.library import Library
    from hashgrain.store import PartsReplaced

    with ending_as_a_verb(), Library.open(path, "w") as library:
        store = library.store
        store.segment_rows = SEGMENT_ROWS
        with store.snapshot() as snapshot:
            first, second, third = sorted(item.id for item in snapshot.paths() if "made" not in item.path)[:3]
        store.commit(
            [
                made(store, 1, 50, parts_of(50, 12, "span")),
                made(store, 2, 51),
                PartsReplaced(first, parts_of(52, 3)),
                PartsReplaced(second, parts_of(53, 5, "box")),
                PartsReplaced(third, None),
            ]
        )


# ---- formats


def bring_to(path: str, version: int, end: str) -> None:
    """A library of an older format is of this one; its writer is closed, or writes once more and is killed."""
    from hashgrain.store import Store, migrate, undo

    migrate(path)
    while _format_of(path) > version:
        undo(path)
    if end == "killed":
        store = Store.open(path, "w")
        store.refuse([("/pictures/unreadable.jpg", (10, 20), "damaged")])
        os.kill(os.getpid(), signal.SIGKILL)


def undo_to(path: str, version: int) -> None:
    """As `hashgrain migrate --undo`, which would go on to the format before, were it run again."""
    from hashgrain.store import undo

    with ending_as_a_verb():
        if _format_of(path) > version:
            undo(path)


def _format_of(path: str) -> int:
    from hashgrain.store import Store

    with Store.open(path) as store:
        version: int = store.info()["format"]
    return version


# ---- lives


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


def life_with_parts(path: str, model: str, steps: int, *, mark: Callable[[str], None]) -> None:
    """Items with parts come, change, go and are written anew, a commit a step; stops after as many as asked for."""
    from hashgrain.library import Library
    from hashgrain.store import PartsReplaced

    library = Library.create(path, model)

    def store() -> Store:
        library.store.segment_rows = SEGMENT_ROWS
        return library.store

    def again() -> None:
        nonlocal library
        library.close()
        library = Library.open(path, "w")

    def add(*numbers: int) -> None:
        kinds = ("grid", "box", "span")
        store().commit(
            [
                made(store(), each, each, parts_of(each, each % 5, kinds[each % 3]) if each % 5 else None)
                for each in numbers
            ]
        )

    life: list[Callable[[], object]] = [
        lambda: store().set_grid(GRID),
        lambda: add(1, 2, 3, 4, 5),
        lambda: add(6, 7, 8, 9, 12),
        lambda: store().commit(
            [PartsReplaced(1, None), PartsReplaced(5, parts_of(15, 9, "box")), PartsReplaced(2, parts_of(16, 2))]
        ),
        lambda: store().commit([made(store(), 3, 30, parts_of(30, 4)), made(store(), 4, 31)]),
        lambda: store().remove([2, 6]),
        again,
        lambda: add(21, 22, 23),
        lambda: library.rebuild(),
        lambda: store().commit([made(store(), 8, 32, parts_of(32, 11, "span")), PartsReplaced(3, None)]),
        lambda: store().remove([5, 8]),
    ]
    mark("0")
    for number, step in enumerate(life[:steps], 1):
        step()
        mark(str(number))
    if steps >= len(life):
        library.close()


LIVES = {"whole_life": 10, "life_with_parts": 11}  # how many steps each has
