"""Parts from a stranger, or from a failing disk: damage is named, and nothing that is asked ends in a traceback."""

from __future__ import annotations

import shutil
import sqlite3
import struct
import zlib
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hashgrain import Codes, Library
from hashgrain.errors import HashgrainError, LibraryError
from hashgrain.library.codes_only import codes_only
from hashgrain.store import PartsReplaced, catalogue, page_checksums, parts
from hashgrain.store.segments import HEADER
from hashgrain.store.spaces import MAX_ITEM, MAX_PARTS
from made_parts import GRID, parts_of, plain
from test_store import GRAINS, new, replaced
from test_store import no_waiting_for_the_disk as no_waiting_for_the_disk

QUERY = Codes(parts_of(7, 4, "box").codes[1:2], GRAINS)  # of a part of item 8
ODD = [-(2**63), -1, 0, 1, 3, MAX_PARTS, MAX_PARTS + 1, 10**6, MAX_ITEM, MAX_ITEM + 1, 2**63 - 1]
FEW = settings(max_examples=40, suppress_health_check=list(HealthCheck))
Answer = Any


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A library without a model, with parts of all kinds in three segments, some of them dead."""
    path = tmp_path_factory.mktemp("sound") / "a.hg"
    with Library.create(path, codes_only(GRAINS, made_by="nobody")) as library:
        store = library.store
        store.segment_rows = 12
        store.set_grid(GRID)
        store.commit([new(number) for number in range(4)])
        for number, kind in enumerate(["grid", "box", "span", "box", "grid", "span"], start=4):
            store.commit([new(number, parts=parts_of(number, 4, kind))])
        store.remove([6])
        store.commit([replaced(7, 90, parts=parts_of(90, 7, "box")), PartsReplaced(9, None)])
    return path


@pytest.fixture(scope="module")
def right(sound: Path) -> dict[str, Answer]:
    found = asked(sound)
    assert not any(isinstance(answer, HashgrainError) for answer in found.values())
    return found


@pytest.fixture
def path(sound: Path, tmp_path: Path) -> Path:
    return tmp_path / "copy.hg"


def fresh(sound: Path, path: Path) -> None:
    shutil.rmtree(path, ignore_errors=True)
    shutil.copytree(sound, path)


def asked(path: Path) -> dict[str, Answer]:
    """The answer to every question about parts, or the error in its place; anything but our errors is raised."""
    answers: dict[str, Answer] = {}

    def ask(name: str, question: Callable[[], Answer]) -> None:
        try:
            answers[name] = question()
        except HashgrainError as error:
            answers[name] = error

    def hits(**options: Any) -> Answer:
        found = library.search(QUERY, parts="all", **options)
        return [(hit.id, hit.distance, hit.part and hit.part.as_dict()) for hit in found]

    try:
        library = Library.open(path)
    except HashgrainError as error:
        return {"open": error}
    with library, library.store.snapshot() as snapshot:
        ask("nearest", lambda: hits(k=4))
        ask("all", lambda: hits(k=None, grain="kind"))
        ask("within", lambda: hits(k=None, within=60))
        ask("filtered", lambda: hits(k=3, where="number > 4"))
        ask("parts", lambda: [plain(some) for some in snapshot.parts_of(range(1, 12))])
        ask("changes", lambda: {each.item: each.parts is not None for each in snapshot.changes(0)})
        ask("whole", lambda: [(hit.id, hit.distance) for hit in library.search(QUERY, k=None)])
    return answers


def problems(path: Path) -> list[str]:
    """What `verify` names as damaged."""
    with Library.open(path) as library:
        return [each.thing for each in library.verify() if not each.harmless]


def changed(path: Path, verb: str) -> None:
    """A writer meets it: an error of ours, or it is done."""
    verbs: dict[str, Callable[[Library], object]] = {
        "commit": lambda library: library.store.commit([new(200, parts=parts_of(200, 2)), PartsReplaced(8, None)]),
        "remove": lambda library: library.store.remove([8, 10]),
        "rebuild": lambda library: library.rebuild(),
    }
    with suppress(HashgrainError), Library.open(path, "w") as library:
        verbs[verb](library)
        if verb == "rebuild":
            assert [each for each in library.verify() if not each.harmless] == []


# ---- bytes that changed under us


@st.composite
def damages(draw: st.DrawFn) -> tuple[str, float, float, int]:
    """What happens to a file, from where to where, and a byte or another file that it takes."""
    what = draw(st.sampled_from(["flip", "fill", "cut", "grow", "swap", "other header"]))
    return what, draw(st.floats(0, 1)), draw(st.floats(0, 1)), draw(st.integers(1, 255))


def spoiled(files: list[Path], file: Path, damage: tuple[str, float, float, int]) -> bytes:
    what, start, end, number = damage
    content = bytearray(file.read_bytes())
    first, last = sorted(int(place * (len(content) - 1)) for place in (start, end))
    other = files[number % len(files)].read_bytes()
    if what == "flip":
        content[first] ^= number
    elif what == "fill":
        content[first : last + 1] = bytes([number]) * (last + 1 - first)
    elif what == "cut":
        del content[first:]
    elif what == "grow":
        content += bytes([number]) * (last + 1)
    elif what == "swap":
        content[:] = other
    else:
        content[:HEADER] = other[:HEADER]
    return bytes(content)


@FEW
@given(place=st.integers(0, 100), damage=damages(), verb=st.sampled_from(["commit", "remove", "rebuild"]))
def test_damaged_files_of_parts_are_named_and_never_believed(
    sound: Path, right: dict[str, Answer], path: Path, place: int, damage: tuple[str, float, float, int], verb: str
) -> None:
    fresh(sound, path)
    files = sorted((path / "segments").glob("p*"))
    file = files[place % len(files)]
    whole, content = file.read_bytes(), spoiled(files, file, damage)
    file.write_bytes(content)
    found = asked(path)
    if content[: len(whole)] == whole:  # what lies behind counts for nothing
        assert (found, problems(path)) == (right, [])
    else:
        assert {name for name, answer in found.items() if isinstance(answer, LibraryError)} == {
            *("nearest", "all", "within", "filtered")
        }
        assert {name: found[name] for name in ("parts", "changes", "whole")} == {
            name: right[name] for name in ("parts", "changes", "whole")
        }
        assert set(problems(path)) == {str(file)}
    changed(path, verb)
    if verb == "rebuild":
        assert (asked(path), problems(path)) == (right, [])


# ---- a stranger, whose checksums fit


def blobs() -> st.SearchStrategy[bytes]:
    """Codes or positions: of a right length and of any other, up to those of more parts than there may be."""
    sizes = st.sampled_from([0, 1, 15, 16, 17, 21, 37, 64, 69, 16 * MAX_PARTS, 16 * (MAX_PARTS + 1)])
    filled = st.builds(lambda size, byte: bytes([byte]) * size, sizes, st.integers(0, 255))
    return st.one_of(filled, st.binary(max_size=80), st.sampled_from([b"b", b"s"]).flatmap(_positions))


def _positions(kind: bytes) -> st.SearchStrategy[bytes]:
    numbers = st.lists(st.floats(width=32), max_size=16)
    return numbers.map(lambda some: kind + np.array(some, "<f4").tobytes() + bytes(4))


VALUES: dict[str, st.SearchStrategy[Any]] = {
    "row": st.sampled_from(ODD),
    "item": st.sampled_from(ODD),
    "rows": st.one_of(st.sampled_from(ODD), st.just("x")),
    "code": st.one_of(blobs(), st.just("x")),
    "positions": st.one_of(blobs(), st.none(), st.just("x"), st.just(3)),
}


def sealed(entry: dict[str, Any]) -> dict[str, Any]:
    """With the checksums that its author would give it."""
    with suppress(TypeError, AttributeError, struct.error):
        if isinstance(entry["positions"], bytes) and len(entry["positions"]) > 4:
            content = entry["positions"][:-4]
            entry["positions"] = content + parts._positions_checksum(entry["item"], content)
        entry["seal"] = parts.parts_checksum(*(entry[name] for name in ("item", "rows", "code", "positions")))
    return entry


@FEW
@given(
    item=st.sampled_from([7, 8, 10]),
    odd=st.dictionaries(st.sampled_from(list(VALUES)), st.none(), min_size=1, max_size=2),
    data=st.data(),
    added=st.booleans(),
    verb=st.sampled_from(["commit", "remove", "rebuild"]),
)
def test_a_table_of_parts_made_up_by_a_stranger_ends_in_an_error_of_ours(
    sound: Path,
    right: dict[str, Answer],
    path: Path,
    item: int,
    odd: dict[str, None],
    data: Any,
    added: bool,
    verb: str,
) -> None:
    """And what `verify` calls sound has parts that are the same in catalogue and segments."""
    fresh(sound, path)
    with closing(sqlite3.connect(path / catalogue.NAME, isolation_level=None)) as connection:
        names = ["row", "item", "rows", "code", "positions", "seal"]
        (row,) = connection.execute(f"SELECT {', '.join(names)} FROM parts WHERE item = ?", (item,)).fetchall()
        entry = dict(zip(names, row, strict=True))
        for name in sorted(odd):
            entry[name] = data.draw(VALUES[name], label=name)
        if not added:
            connection.execute("DELETE FROM parts WHERE item = ?", (item,))
        with suppress(sqlite3.Error):  # a place or an item that is there already
            connection.execute("INSERT INTO parts VALUES (?, ?, ?, ?, ?, ?)", list(sealed(entry).values()))
    page_checksums.forget(path)
    found = asked(path)
    if not problems(path):
        assert found["nearest"] == right["nearest"] or "positions" in odd
        assert not any(isinstance(answer, HashgrainError) for answer in found.values())
    changed(path, verb)


@FEW
@given(
    number=st.sampled_from([1, 2, 3]),
    places=st.lists(st.tuples(st.integers(0, 11), st.integers(0, 2), st.sampled_from(ODD)), min_size=1, max_size=4),
    verb=st.sampled_from(["commit", "remove", "rebuild"]),
)
def test_ids_of_parts_made_up_by_a_stranger_are_named_and_end_in_an_error_of_ours(
    sound: Path, right: dict[str, Answer], path: Path, number: int, places: list[tuple[int, int, int]], verb: str
) -> None:
    """The checksums of the block fit; the ids are of no item, or of a part that there is not."""
    fresh(sound, path)
    file = path / "segments" / f"p{number:06}.ids"
    ids = np.frombuffer(file.read_bytes(), "<i8", offset=HEADER).copy()
    before = ids.copy()
    for place, shift, odd in places:
        place %= len(ids)
        ids[place] = (odd, ids[place] & ~MAX_PARTS | odd & MAX_PARTS, (odd & MAX_ITEM) << 16 | 1)[shift]
    file.write_bytes(file.read_bytes()[:HEADER] + ids.tobytes())
    with closing(sqlite3.connect(path / catalogue.NAME, isolation_level=None)) as connection:
        query = "SELECT first_row, rows, crcs FROM part_blocks WHERE segment = ? ORDER BY first_row"
        blocks, start = connection.execute(query, (number,)).fetchall(), 0
        for first_row, rows, crcs in blocks:
            crc = struct.pack("<I", zlib.crc32(ids[start : start + rows].tobytes()))
            values = (crcs[:-4] + crc, number, first_row)
            connection.execute("UPDATE part_blocks SET crcs = ? WHERE segment = ? AND first_row = ?", values)
            start += rows
    page_checksums.forget(path)
    found = asked(path)
    if (ids == before).all():
        assert (found, problems(path)) == (right, [])
    else:
        assert str(file) in problems(path)
    changed(path, verb)
    if verb == "rebuild":
        assert (asked(path), problems(path)) == (right, [])
