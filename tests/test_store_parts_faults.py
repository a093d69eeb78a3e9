"""Items with parts when things go wrong: kills, a disk that refuses, flipped bits, logs that are lost."""

from __future__ import annotations

import errno
import os
import random
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hashgrain.errors import LibraryError
from hashgrain.store import PartsReplaced, Store, catalogue, page_checksums, parts
from hashgrain.store.segments import HEADER
from made_parts import GRID, live_parts, parts_of, plain
from test_store import child, code_of, make, new, replaced
from test_store import no_waiting_for_the_disk as no_waiting_for_the_disk
from test_store_faults import Failing, break_disk, change, copy, damages
from test_store_faults import ask as ask_of_items

Answers = tuple[Any, dict[int, Any], dict[int, list[list[int]]]]


def answers(store: Store) -> Answers:
    """Items and their codes, the parts of each item as the catalogue has them, and as the segments have them."""
    with store.snapshot(parts=True) as snapshot:
        ids = sorted(item.id for item in snapshot.paths())
        codes = dict(zip(ids, map(bytes, snapshot.codes(ids)), strict=True))
        return codes, dict(zip(ids, map(plain, snapshot.parts_of(ids)), strict=True)), live_parts(snapshot)


def ask(path: Path) -> Answers:
    with Store.open(path) as store:
        return answers(store)


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A library with parts in three segments, of all kinds, some of them dead."""
    path = tmp_path_factory.mktemp("parts") / "a.hg"
    with make(path, 2) as store:
        store.set_grid(GRID)
        for number, kind in enumerate(["grid", "box", "span", "box", "grid", "span"], start=2):
            store.commit([new(number, parts=parts_of(number, 4, kind))])
        store.remove([4])
        store.commit([replaced(5, 90, parts=parts_of(90, 3, "box")), PartsReplaced(7, None)])
    return path


KILLED_WRITER = """
import random
from hashgrain.store import PartsReplaced
from made_parts import parts_of
draw = random.Random(int(sys.argv[2]))
with Store.open(sys.argv[1], "w") as store:
    store.segment_rows = 50
    with store.snapshot() as snapshot:
        ids = [item.id for item in snapshot.paths()]
    number = max(ids, default=0) + 1
    while True:
        size = draw.randrange(1, 5)
        some = [parts_of(number + at, (number + at) % 5 + 1, "box") for at in range(size)]
        store.commit([new(number + at, parts=each) for at, each in enumerate(some)])
        print("parted", number, number + size, flush=True)
        number += size
        if draw.random() < 0.3:
            item = draw.randrange(1, number)
            print("maybe", item, flush=True)
            store.commit([PartsReplaced(item, parts_of(item, item % 5 + 1, "box"))])
        if draw.random() < 0.2:
            store.rebuild()
"""


def test_parts_that_were_acknowledged_survive_kill_9_at_any_moment(tmp_path: Path) -> None:
    """Rounds on one library: what the child said was added has its parts, in the catalogue and in the segments."""
    seed = random.randrange(10**6)
    print("seed", seed)
    draw = random.Random(seed)
    path = tmp_path / "a.hg"
    make(path).close()
    added: set[int] = set()
    for _ in range(8):
        with child(KILLED_WRITER, path, draw.randrange(10**6)) as process:
            assert process.stdout
            lines = [process.stdout.readline() for _ in range(draw.randrange(1, 20))]
            for _ in range(draw.randrange(2000)):  # some moment later, not always the same
                pass
            process.kill()
            lines += process.stdout.readlines()
        for word, *numbers in (line.split() for line in lines if line.endswith("\n")):
            if word == "parted":
                added |= set(range(int(numbers[0]), int(numbers[1])))
        with Store.open(path) as reader:
            assert [problem for problem in reader.verify() if not problem.harmless] == []
        items_found, parts_by_item, live = ask(path)
        assert added <= set(items_found)
        for item in items_found:
            right = plain(parts_of(item, item % 5 + 1, "box"))
            assert right is not None
            assert (parts_by_item[item], live[item]) == (right, right[0])
        with Store.open(path, "w") as store:
            assert store.verify() == []
    assert len(added) > 10


CHANGES: dict[str, Callable[[Store], object]] = {
    "commit": lambda store: store.commit(
        [new(50, parts=parts_of(50, 3)), replaced(2, 51, parts=parts_of(51, 9, "box")), PartsReplaced(3, None)]
    ),
    "remove": lambda store: store.remove([3, 5]),
    "rebuild": lambda store: store.rebuild(),
    "grid": lambda store: store.set_grid([(0, 1), (1, 2)]) if store.grid is None else store.set_grid(None),
}


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt()], ids=repr)
@pytest.mark.parametrize("name", CHANGES)
def test_whatever_fails_in_a_change_of_parts_leaves_them_as_they_were(
    sound: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, error: BaseException
) -> None:
    """Fail the first write, flush or statement, then the second, and so on until the change goes through."""
    path = copy(sound, tmp_path)
    if name == "grid":
        with Store.open(path, "w") as store:
            store.commit([PartsReplaced(item, None) for item in (3, 5, 7)])
    before, grid = ask(path), Store.open(path).grid
    failing = Failing(0, error)
    break_disk(monkeypatch, failing, half=True)
    with Store.open(path, "w") as store:
        store.segment_rows = 10
        for step in range(1, 200):
            failing.at, failing.calls, failing.committed = step, 0, False
            try:
                CHANGES[name](store)
            except (LibraryError, KeyboardInterrupt):
                failing.at = 0
                assert answers(store) == before
                assert (store.grid, [each for each in store.verify() if not each.harmless]) == (grid, [])
                continue
            failing.at = 0
            break
        assert step > 4
        assert store.verify() == []
        assert (answers(store) == before) == (name in ("rebuild", "grid"))


@pytest.mark.parametrize("kind", ["w00", "w01", "ids"])
def test_a_damaged_segment_of_parts_is_named_never_believed_and_mended(sound: Path, tmp_path: Path, kind: str) -> None:
    """And whole codes are searched meanwhile."""
    right, items = ask(sound), ask_of_items(sound)
    path = copy(sound, tmp_path)
    file = path / "segments" / f"p000001.{kind}"
    whole = file.read_bytes()
    for name, damage in damages(file, HEADER // 2):
        damage()
        if file.exists() and file.read_bytes() == whole:
            continue  # blanked what was blank
        assert ask_of_items(path) == items
        with Store.open(path) as store:
            with pytest.raises(LibraryError, match=f"{file.name}.*rebuild the library"), store.snapshot(parts=True):
                pass
            with store.snapshot() as snapshot, pytest.raises(LibraryError, match=f"{file.name}.*rebuild the library"):
                assert len(snapshot.part_segments)
            assert {problem.thing for problem in store.verify()} == {str(file)}, name
        file.write_bytes(whole)
    last = max((path / "segments").glob(f"p*.{kind}"))
    os.truncate(last, HEADER + 8)
    with Store.open(path, "w") as store:
        store.segment_rows = 1000
        with pytest.raises(LibraryError, match=f"{last.name}.*rebuild the library"):
            store.commit([new(200, parts=parts_of(200, 2))])
        store.rebuild()
        assert store.verify() == []
    assert ask(path) == right


def test_segments_of_parts_cannot_stand_in_for_those_of_codes(sound: Path, tmp_path: Path) -> None:
    path = copy(sound, tmp_path)
    for kind in ("w00", "w01", "ids"):
        shutil.copy(path / "segments" / f"p000001.{kind}", path / "segments" / f"000001.{kind}")
    with Store.open(path) as store, pytest.raises(LibraryError, match="header is damaged"), store.snapshot():
        pass


DAMAGED: dict[str, tuple[str, str]] = {
    "code": ("code = zeroblob(length(code))", "mended"),
    "shorter code": ("code = substr(code, 1, 16)", "mended"),
    "rows": ("rows = 2", "mended"),
    "seal": ("seal = seal + 1", "mended"),
    "text for code": ("code = 'x'", "mended"),
    "positions": ("positions = zeroblob(length(positions))", "lost"),
    "no position": ("positions = x''", "lost"),
}


@pytest.mark.parametrize(("statement", "what"), DAMAGED.values(), ids=list(DAMAGED))
def test_damaged_parts_in_the_catalogue_are_named_and_mended_or_dropped(
    sound: Path, tmp_path: Path, statement: str, what: str
) -> None:
    """Codes come back from the segments. Positions are there once: without them the parts go, and the item stays."""
    right = ask(sound)
    path = copy(sound, tmp_path)
    change(path, f"UPDATE parts SET {statement} WHERE item = 6")
    page_checksums.forget(path)
    with Store.open(path) as store:
        with store.snapshot() as snapshot:
            with pytest.raises(LibraryError, match="the parts of item 6 are damaged"):
                snapshot.parts_of([6])
            assert plain(snapshot.parts_of([5])[0]) == right[1][5]
            with pytest.raises(LibraryError, match="the parts of item 6 are damaged"):
                list(snapshot.changes(0))
        assert any("item 6" in problem.thing for problem in store.verify())
    with Store.open(path, "w") as store:
        mended = store.rebuild()
        assert (mended.parts, mended.lost_parts) == ((1, 0) if what == "mended" else (0, 1))
        assert store.verify() == []
    if what == "lost":
        right[1][6] = None
        del right[2][6]
    assert ask(path) == right


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM part_dead WHERE number = 1",
        "UPDATE part_dead SET rows = 3 WHERE number = 1",
        "UPDATE part_dead SET rows = 70000 WHERE number = 1",
        "UPDATE part_dead SET rows = 1 << 40 WHERE number = 1",
        "UPDATE part_dead SET rows = CASE number WHEN 2 THEN 17 ELSE 0 END WHERE number < 3",
        "UPDATE part_dead SET item = 3 WHERE number = 1",
        "UPDATE part_dead SET row = 'x' WHERE number = 1",
        "DELETE FROM part_blocks WHERE segment = 1",
        "UPDATE part_blocks SET rows = rows + 1",
        "UPDATE facts SET value = value + 1 WHERE key = 'part_rows'",
        "UPDATE facts SET value = value + 1 WHERE key = 'part_dead'",
    ],
)
def test_a_damaged_list_of_parts_is_noticed_and_made_anew(sound: Path, tmp_path: Path, statement: str) -> None:
    right = ask(sound)
    path = copy(sound, tmp_path)
    with suppress(sqlite3.IntegrityError):
        change(path, statement)
    page_checksums.forget(path)
    with Store.open(path) as store:
        with pytest.raises(LibraryError, match=r"damaged|committed"):
            answers(store)
        assert [problem for problem in store.verify() if not problem.harmless]
    with Store.open(path, "w", mend=True) as store:
        store.rebuild()
        assert store.verify() == []
    assert ask(path) == right


def test_parts_of_commits_that_the_catalogue_lost_are_made_again(tmp_path: Path) -> None:
    """The write-ahead log is deleted: the redo log has the parts, too, and the grid."""
    path = tmp_path / "a.hg"
    script = """
    from hashgrain.store import PartsReplaced
    from made_parts import GRID, parts_of
    store = make(Path(sys.argv[1]), 5)
    edits = [PartsReplaced(1, parts_of(1, 4)), PartsReplaced(2, parts_of(2, 4, "box"))]
    store.commit([*edits, new(9, parts=parts_of(9, 30, "span"))])
    store.set_grid(GRID)
    store.commit([replaced(2, 20, parts=parts_of(20, 2)), PartsReplaced(1, None), PartsReplaced(3, parts_of(3, 4))])
    store.remove([4])
    os.kill(os.getpid(), 9)
    """
    child(script, path).wait()
    right = ask(path)
    (path / page_checksums.WAL).unlink()
    with pytest.raises(LibraryError, match="rebuild the library"):
        ask(path)
    with Store.open(path, "w", mend=True) as store:
        assert store.rebuild().changes > 0
        assert store.verify() == []
    assert ask(path) == right
    with Store.open(path) as store:
        assert store.grid == tuple(GRID)


def test_a_flipped_bit_anywhere_in_the_catalogue_never_changes_parts_unnoticed(sound: Path, tmp_path: Path) -> None:
    right = ask(sound)
    path = copy(sound, tmp_path)
    whole = (path / catalogue.NAME).read_bytes()
    draw = random.Random(7)
    noticed = 0
    for _ in range(150):
        at = draw.randrange(len(whole))
        flipped = whole[:at] + bytes([whole[at] ^ 1 << draw.randrange(8)]) + whole[at + 1 :]
        (path / catalogue.NAME).write_bytes(flipped)
        try:
            items_found = ask(path)
        except LibraryError:
            noticed += 1
        else:
            assert items_found == right
    assert noticed > 10


def test_a_snapshot_from_before_a_rebuild_says_so_where_its_parts_are_gone(sound: Path, tmp_path: Path) -> None:
    path = copy(sound, tmp_path)
    with Store.open(path) as reader, Store.open(path) as other, Store.open(path, "w") as store:
        with other.snapshot() as late, reader.snapshot(parts=True) as early:
            store.rebuild()
            assert live_parts(early) == ask(sound)[2]
            with pytest.raises(LibraryError, match="was rebuilt before its parts were looked at"):
                assert len(late.part_segments)
        assert answers(reader) == ask(sound)


def test_positions_from_a_stranger_that_are_no_positions_are_refused(sound: Path, tmp_path: Path) -> None:
    """Their checksum fits, which says that they are whole, and not who made them."""
    path = copy(sound, tmp_path)
    content = b"b" + np.full(16, np.nan, "<f4").tobytes()
    blob = content + parts._positions_checksum(6, content)
    change(path, f"UPDATE parts SET positions = x'{blob.hex()}' WHERE item = 6")
    page_checksums.forget(path)
    with Store.open(path) as store, store.snapshot() as snapshot:
        with pytest.raises(LibraryError, match="the parts of item 6 are damaged"):
            snapshot.parts_of([6])
        assert np.array_equal(snapshot.codes([6])[0], code_of(5))
