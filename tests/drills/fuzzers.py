"""Input made by grammar and then spoiled: archives, tables and model bundles. Runs in children, under limits.

A maker writes one hostile input below a folder and returns what it is; the product then reads it. Errors of ours and
of the system are answers; anything else is a traceback.
"""

from __future__ import annotations

import json
import random
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

SECONDS = 30.0  # for one input: the trial of a large graph takes 10 on a machine that does nothing else


def run(kind: str, seed: int, first: int, end: int, folder: str, report: str) -> None:
    """The inputs `first` to `end` of a fuzzer, in this process. `report` gets a line before and after each."""
    from fuzz_archives import make_archive
    from fuzz_bundles import make_bundle, read_bundle
    from fuzz_tables import make_table
    from warm import fork_readers

    fork_readers()
    makers = {"archive": make_archive, "table": make_table, "bundle": make_bundle}
    read = read_bundle if kind == "bundle" else read_sources
    place = Path(folder)
    with open(report, "a", buffering=1) as lines:
        for number in range(first, end):
            lines.write(f"begin {number}\n")
            what = makers[kind](random.Random(f"{kind} {seed} {number}"), place)
            started = time.monotonic()
            ended = _ended(read, place)
            lines.write(json.dumps([number, what, ended, round(time.monotonic() - started, 2)]) + "\n")


def _ended(read: Callable[[Path], None], place: Path) -> str:
    """What became of one input: "taken", "refused", or the promise that was broken."""
    from hashgrain.errors import HashgrainError

    signal.setitimer(signal.ITIMER_REAL, SECONDS)
    try:
        read(place)
    except (HashgrainError, OSError):
        return "refused"
    except Broken as error:
        return str(error)
    except BaseException as error:
        return f"a traceback: {type(error).__name__}: {str(error)[:150]}"
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
    return "taken"


class Broken(Exception):  # noqa: N818
    """A promise that is no traceback was broken."""


def read_sources(place: Path) -> None:
    """What `add` does with an archive or a table, up to the pixels. Refused where no picture is in it."""
    from hashgrain.errors import ImageError, SourceError
    from hashgrain.media import open_picture
    from hashgrain.sources import Refused, find

    pictures = 0
    for source in find([str(file) for file in (place / "input").iterdir()]):
        if isinstance(source, Refused):
            continue
        loaded = source.load()
        if isinstance(loaded, bytes) and b"a secret of another user" in loaded:
            raise Broken("a file outside was read")
        with suppress(ImageError):
            open_picture(loaded, size=(8, 8), max_pixels=1_000_000, name=source.path)
            pictures += 1
    if not pictures:
        raise SourceError("no picture in it")


def put(folder: Path, name: str, content: bytes, what: str) -> str:
    """The one file of the folder that is to be read."""
    shutil.rmtree(folder / "input", ignore_errors=True)
    (folder / "input").mkdir()
    (folder / "input" / name).write_bytes(content)
    return f"{what}, {len(content)} bytes as {name}"


def spoil(draw: random.Random, content: bytes) -> bytes:
    """A few bytes changed, doubled, taken out or cut off."""
    data = bytearray(content)
    for _ in range(draw.choice((0, 0, 1, 2, 8))):
        if not data:
            break
        at = draw.randrange(len(data))
        how = draw.randrange(5)
        if how == 0:
            data[at] ^= 1 << draw.randrange(8)
        elif how == 1:
            data[at] = draw.choice((0, 1, 0x7F, 0x80, 0xFF))
        elif how == 2:
            del data[at : at + draw.randrange(1, 64)]
        elif how == 3:
            data[at:at] = data[at : at + draw.randrange(1, 64)]
        else:
            del data[at:]
    return bytes(data)


def batches(count: int, size: int) -> Iterator[tuple[int, int]]:
    for first in range(0, count, size):
        yield first, min(count, first + size)
