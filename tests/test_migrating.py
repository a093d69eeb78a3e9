"""What converting a library to another format promises: one step, nothing lost, back again where that is possible."""

from __future__ import annotations

import errno
import itertools
import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from hashgrain.errors import DiskFullError, LibraryError, LibraryFormatError
from hashgrain.store import FORMAT, Migration, PartsReplaced, Store, disk, migrate, page_checksums, redo, undo
from hashgrain.store.writer import Writer
from made_parts import GRID, parts_of
from test_store import child, make, new
from test_store import no_waiting_for_the_disk as no_waiting_for_the_disk
from test_store_faults import ask
from test_store_trust import unpacked

KILLS = 200 if os.environ.get("HASHGRAIN_DRILL") == "long" else 12


@pytest.mark.parametrize("name", ["closed", "killed"])
@pytest.mark.parametrize("version", [2, 3])
def test_a_library_of_every_released_format_migrates_with_equal_answers(
    tmp_path: Path, name: str, version: int
) -> None:
    path = unpacked(name, tmp_path, version)
    right = ask(path)
    assert migrate(path) == Migration(version, FORMAT, len(right[1]))
    assert ask(path) == right
    assert migrate(path) == Migration(FORMAT, FORMAT, len(right[1]))
    with Store.open(path) as store:
        assert store.verify() == []


def test_a_migration_can_be_undone_and_made_again(tmp_path: Path) -> None:
    path = unpacked("closed", tmp_path, 2)
    right = ask(path)
    migrate(path)
    for old in (4, 3):
        assert undo(path) == Migration(old, old - 1, len(right[1]))
        assert ask(path) == right
        with Store.open(path) as store:
            assert (store.info()["format"], store.verify()) == (old - 1, [])
    assert not (path / redo.NAME).exists()
    assert not (path / page_checksums.NAME).exists()
    with pytest.raises(LibraryFormatError, match="the oldest that is read"):
        undo(path)
    assert migrate(path).new == FORMAT
    assert ask(path) == right
    with Store.open(path, "w") as store:
        store.commit([new(99)])
        assert store.verify() == []


def test_a_library_that_was_taken_back_and_changed_begins_another_history(tmp_path: Path) -> None:
    """What an engine was told of one must not be gone on with in the other, and what it was told of neither may be."""
    path = unpacked("closed", tmp_path, 2)
    with Store.open(path) as store, store.snapshot() as snapshot:
        told = [(snapshot.history(), snapshot.sequence)]
    for _ in range(2):
        migrate(path)
        with Store.open(path, "w") as store:
            with store.snapshot() as snapshot:
                told.append((snapshot.history(), snapshot.sequence))
            store.remove([1 + len(told)])
        for _ in range(2):
            undo(path)
    assert told[0] == told[1]  # migrated as it was: the same numbers mean the same changes
    assert told[1][0] != told[2][0]


def test_a_disk_that_fills_up_while_checksums_are_first_made_costs_no_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = ask(unpacked("closed", tmp_path, 2))
    write_at = disk.write_at
    left = [0]  # how many writes there is room for

    def full(file: int, data: bytes, offset: int) -> None:
        left[0] -= 1
        if left[0] < 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        write_at(file, data, offset)

    for room in itertools.count():
        path, left[0] = unpacked("closed", tmp_path / str(room), 2), room
        monkeypatch.setattr(disk, "write_at", full)
        try:
            migrate(path)
            done = True
        except DiskFullError:
            done = False
        monkeypatch.undo()
        assert ask(path) == right
        assert migrate(path).new == FORMAT
        if done:
            break
    assert room > 2


def test_an_undo_to_a_format_without_checksums_leaves_none_whenever_it_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A program of that format changes pages and leaves their sums: later on they would seem damaged."""
    path = unpacked("closed", tmp_path, 2)
    migrate(path)
    undo(path)
    assert (path / page_checksums.NAME).exists()

    def end(writer: Writer) -> None:
        with Store.open(path) as store:
            seen.append((store.info()["format"], (path / page_checksums.NAME).exists()))
        close(writer)
        seen.append((2, (path / page_checksums.NAME).exists()))

    seen: list[tuple[int, bool]] = []
    close = Writer.close
    monkeypatch.setattr(Writer, "close", end)
    undo(path)
    assert seen == [(2, False), (2, False)]


def test_an_undo_is_refused_where_the_older_format_cannot_hold_what_there_is(tmp_path: Path) -> None:
    path = tmp_path / "a.hg"
    with make(path, 3) as store:
        store.set_grid(GRID)
        store.commit([PartsReplaced(2, parts_of(2, 4)), new(50, width=None, height=None)])
    for reason, mend in (
        ("1 items with parts", lambda store: store.commit([PartsReplaced(2, None)])),
        ("1 items without width", lambda store: store.remove([4])),
    ):
        with pytest.raises(LibraryFormatError, match=reason):
            undo(path)
        with Store.open(path, "w") as store:
            assert store.info()["format"] == FORMAT
            assert store.verify() == []
            mend(store)
    right = ask(path)
    undo(path)
    assert ask(path) == right
    with Store.open(path, "w") as store:
        assert store.grid is None
        store.exclude(["/x.jpg"])
        assert {file.name[0] for file in (path / "segments").iterdir()} == {"0"}  # those of parts are gone
    undo(path)
    with pytest.raises(LibraryFormatError, match="taken out by hand"):
        undo(path)


def test_a_reader_from_before_an_undo_is_told_to_open_the_library_again(tmp_path: Path) -> None:
    path = tmp_path / "a.hg"
    make(path, 3).close()
    with Store.open(path) as reader:
        with reader.snapshot() as snapshot:
            assert len(list(snapshot.changes(0))) == 3
        undo(path)
        with reader.snapshot() as snapshot, pytest.raises(LibraryError, match="another format"):
            list(snapshot.changes(0))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
@pytest.mark.parametrize("back", [False, True], ids=["migrate", "undo"])
def test_whenever_it_is_killed_a_library_is_of_one_format_with_equal_answers(tmp_path: Path, back: bool) -> None:
    """Killed after a time that is spread over what it takes, 200 times in the long form; then it is run again."""
    path = unpacked("killed", tmp_path, 3)
    if back:
        migrate(path)
    right = ask(path)
    script = """
    import shutil, time
    from hashgrain.store import migrate, undo

    path, copy, back, kills = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3] == "True", int(sys.argv[4])
    run = undo if back else migrate

    def trial(number, wait):
        target = copy / str(number)
        shutil.copytree(path, target)
        started = time.perf_counter()
        child = os.fork()
        if child == 0:
            run(target)
            os._exit(0)
        if wait is not None:
            time.sleep(wait)
            os.kill(child, 9)
        os.waitpid(child, 0)
        return time.perf_counter() - started

    whole = max(trial(f"warm{number}", None) for number in range(2))
    for number in range(kills):
        trial(number, whole * number / kills)
    print("done")
    """
    with child(script, path, tmp_path / "copies", back, KILLS) as process:
        assert process.communicate()[0] == "done\n"
    formats = []
    for number in range(KILLS):
        copy = tmp_path / "copies" / str(number)
        with Store.open(copy) as store:
            formats.append(store.info()["format"])
        assert ask(copy) == right
        if formats[-1] == 3 + back:
            (undo if back else migrate)(copy)
        with Store.open(copy) as store:
            assert store.info()["format"] == 4 - back
            assert [problem for problem in store.verify() if not problem.harmless] == []
        assert ask(copy) == right
    assert set(formats) <= {3, 4}


@pytest.mark.skipif(sys.platform == "win32" or os.geteuid() == 0, reason="nothing is read-only for this user")
def test_a_library_on_a_read_only_disk_is_read_and_not_migrated(tmp_path: Path) -> None:
    path = unpacked("closed", tmp_path, 3)
    right = ask(path)
    for folder in (path, path / "segments"):
        folder.chmod(0o555)
    try:
        assert ask(path) == right
        with Store.open(path) as store, store.snapshot() as snapshot:
            assert snapshot.parts_of([1]) == [None]
            assert list(snapshot.part_segments) == []
        with pytest.raises(LibraryError):
            migrate(path)
    finally:
        for folder in (path, path / "segments"):
            folder.chmod(0o755)


def test_a_library_of_an_older_format_has_no_parts_and_says_so(tmp_path: Path) -> None:
    with Store.open(unpacked("closed", tmp_path, 3)) as store, store.snapshot(parts=True) as snapshot:
        assert snapshot.parts_of([1, 2]) == [None, None]
        assert (list(snapshot.part_segments), snapshot.with_parts().tolist(), store.info()["parts"]) == ([], [], 0)
        assert all(change.parts is None for change in snapshot.changes(0))


@pytest.mark.parametrize("version", [1, 5])
def test_formats_of_before_and_after_are_refused(tmp_path: Path, version: int) -> None:
    path = tmp_path / "a.hg"
    make(path, 3).close()
    from test_store_faults import change as change_catalogue

    change_catalogue(path, f"PRAGMA user_version = {version}")
    for call in (migrate, undo, Store.open):
        with pytest.raises(LibraryFormatError, match=f"has format {version}"):
            call(path)


def test_the_command_says_from_which_format_to_which(hashgrain: Any, tmp_path: Path) -> None:
    path = unpacked("closed", tmp_path, 3)
    assert b"40 items converted from format 3 to format 4" in hashgrain("migrate", path).stdout
    assert b"has format 4 already" in hashgrain("migrate", path).stdout
    done = hashgrain("migrate", path, "--undo", "--json")
    assert json.loads(done.stdout) == {"library": str(path), "from": 4, "to": 3, "items": 40}
    with Store.open(path, "w") as store:
        store.commit([PartsReplaced(1, parts_of(1, 3))])
    done = hashgrain("migrate", path, "--undo")
    assert done.returncode == 1
    assert b"1 items with parts" in done.stderr
