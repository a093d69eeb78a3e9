"""What a library on disk promises when things go wrong: kills, full disks, flipped bits, missing files."""

from __future__ import annotations

import errno
import os
import random
import shutil
import sqlite3
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from hashgrain import inside
from hashgrain.errors import HashgrainError, LibraryError
from hashgrain.store import Moved, Snapshot, Store, catalogue, disk, page_checksums, writer
from hashgrain.store.segments import HEADER
from test_store import GRAINS, child, code_of, live, make, new, replaced
from test_store import no_waiting_for_the_disk as no_waiting_for_the_disk

SETTINGS = catalogue.SETTINGS  # as they are before they are made quick for these tests
Answers = tuple[dict[int, bytes], list[Any], list[int]]


def answers(snapshot: Snapshot) -> Answers:
    return live(snapshot), list(snapshot.paths()), snapshot.select("width > 0").tolist()


def ask(path: Path) -> Answers:
    with Store.open(path) as store, store.snapshot() as snapshot:
        return answers(snapshot)


def without_times(given: Answers) -> Answers:
    return given[0], [replace(item, added="") for item in given[1]], given[2]


def codes_by_path(path: Path) -> dict[str, bytes]:
    codes, items, _ = ask(path)
    return {item.path: codes[item.id] for item in items}


# ---- killed

KILLED_WRITER = """
import random
draw = random.Random(int(sys.argv[2]))
with Store.open(sys.argv[1], "w") as store:
    store.segment_rows = 50
    with store.snapshot() as snapshot:
        number = max((item.meta["number"] for item in snapshot.paths()), default=-1) + 1
    while True:
        size = draw.randrange(1, 9)
        store.commit([new(number + i) for i in range(size)])
        print("added", number, number + size, flush=True)
        number += size
        if draw.random() < 0.3:
            gone = draw.randrange(number)
            item = store.known(new(gone).path)
            if item is not None:
                print("removing", gone, flush=True)
                store.remove([item.id])
                print("removed", gone, flush=True)
        if draw.random() < 0.2:
            store.rebuild()
"""


def test_what_was_acknowledged_survives_kill_9_at_any_moment(tmp_path: Path) -> None:
    """Ten rounds on one library: what the child said was added is there with its code, what it removed is not."""
    seed = random.randrange(10**6)
    print("seed", seed)
    draw = random.Random(seed)
    path = tmp_path / "a.hg"
    make(path).close()
    added: set[int] = set()
    removed: set[int] = set()
    for _ in range(10):
        writer = child(KILLED_WRITER, path, draw.randrange(10**6))
        assert writer.stdout
        lines = [writer.stdout.readline() for _ in range(draw.randrange(1, 25))]
        for _ in range(draw.randrange(2000)):  # some moment later, not always the same
            pass
        writer.kill()
        lines += writer.stdout.readlines()
        writer.wait()
        lines = [line for line in lines if line.endswith("\n")]  # the last one may be cut short, anywhere
        maybe = 0
        for word, *numbers in (line.split() for line in lines):
            if word == "added":
                added |= set(range(int(numbers[0]), int(numbers[1])))
                maybe = int(numbers[1])
            else:  # "removing" was perhaps done, "removed" was
                removed.add(int(numbers[0]))
        with Store.open(path) as reader:
            assert [problem for problem in reader.verify() if not problem.harmless] == []
        codes_found = codes_by_path(path)
        assert all(codes_found[new(number).path] == code_of(number).tobytes() for number in added - removed)
        with Store.open(path, "w") as store:
            assert store.verify() == []
            with store.snapshot() as snapshot:
                stored = {item.meta["number"]: item.id for item in snapshot.paths()}
            done = [line.split()[1] for line in lines if line.startswith("removed")]
            assert not set(map(int, done)) & set(stored)
            # A last batch may have been committed and not told: all of it or nothing of it, so no gaps.
            untold = sorted(set(stored) - added)
            assert untold == list(range(maybe, maybe + len(untold)))
            added |= set(untold)
    assert len(added) > 20


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_killed_create_leaves_nothing_or_a_library(tmp_path: Path) -> None:
    """A process dies before the n-th call by which it touches the disk while creating, for every n."""
    script = """
        import itertools, signal

        def die_at(step):
            calls = itertools.count(1)

            def trace(event, _):
                if event in ("open", "os.mkdir", "os.rename", "sqlite3.connect", "os.remove") and next(calls) == step:
                    os.kill(os.getpid(), signal.SIGKILL)

            sys.addaudithook(trace)

        for step in itertools.count(1):
            creator = os.fork()
            if creator == 0:
                die_at(step)
                Store.create(f"{sys.argv[1]}/{step}.hg", grains=GRAINS, digest="d1")
                os._exit(0)
            if os.waitpid(creator, 0)[1] == 0:
                break
        print(step)
        """
    steps = int(child(script, tmp_path).communicate()[0])
    outcomes = []
    for step in range(1, steps):
        path = tmp_path / f"{step}.hg"
        try:
            Store.open(path, "w").close()
            outcomes.append("a library")
        except LibraryError as error:
            outcomes.append("half" if "make it again" in str(error) else "none")
            make(path).close()
        with Store.open(path) as store:
            assert store.verify() == []
    assert outcomes == sorted(outcomes, key=["none", "half", "a library"].index)
    assert set(outcomes) == {"none", "half", "a library"}


# ---- the disk refuses


class Failing:
    """Fails the n-th call it is put before, and counts them; those before the commit, or those behind it."""

    def __init__(self, at: int, error: BaseException, *, behind: bool = False) -> None:
        self.at, self.error, self.calls = at, error, 0
        self.behind, self.committed = behind, False
        self.failed: tuple[Any, ...] = ()

    def __call__(self, call: Callable[..., Any], *arguments: Any, first: Callable[[], object] = lambda: None) -> Any:
        self.calls += self.committed == self.behind
        if self.calls == self.at and self.committed == self.behind:
            self.failed = arguments
            first()
            raise self.error
        return call(*arguments)


def break_disk(monkeypatch: pytest.MonkeyPatch, failing: Failing, half: bool) -> None:
    """Writes and flushes of segment files, and every statement to the catalogue, go through `failing`."""
    write, sync, sync_folder = disk.write, disk.sync, disk.sync_folder

    def torn(file: int, data: memoryview) -> int:
        return failing(write, file, data, first=lambda: half and os.write(file, data[: len(data) // 2]))  # type: ignore[no-any-return]

    class Broken(catalogue.Connection):
        def execute(self, sql: str, *values: Any) -> sqlite3.Cursor:
            if (self.in_transaction and sql != "ROLLBACK") or failing.committed:
                cursor: sqlite3.Cursor = failing(super().execute, sql, *values)
                failing.committed = failing.committed or sql == "COMMIT"
                return cursor
            return super().execute(sql, *values)

    monkeypatch.setattr(disk, "write", torn)
    monkeypatch.setattr(disk, "sync", lambda file: failing(sync, file))
    monkeypatch.setattr(disk, "sync_folder", lambda folder: failing(sync_folder, folder))
    monkeypatch.setattr(catalogue, "Connection", Broken)


ERRORS = {
    "no space": (OSError(errno.ENOSPC, "No space left on device"), False, "the disk is full"),
    "no space, half written": (OSError(errno.ENOSPC, "No space left on device"), True, "the disk is full"),
    "I/O error": (OSError(errno.EIO, "Input/output error"), True, "as it was before the last batch"),
    "SQLite full": (sqlite3.OperationalError("database or disk is full"), False, "the disk is full"),
    "SQLite I/O error": (sqlite3.OperationalError("disk I/O error"), False, "as it was before the last batch"),
    "Ctrl-C": (KeyboardInterrupt(), True, ""),
}
CHANGES: dict[str, Callable[[Store], object]] = {
    "commit": lambda store: store.commit([new(50), replaced(2, 51), Moved(3, "/moved.jpg", None)]),
    "commit to a new segment": lambda store: store.commit([new(50)]),
    "remove": lambda store: store.remove([1, 5]),
    "rebuild": lambda store: store.rebuild(),
}


@pytest.mark.parametrize(("error", "half", "reason"), ERRORS.values(), ids=list(ERRORS))
@pytest.mark.parametrize("change", CHANGES)
def test_whatever_fails_in_a_change_leaves_the_library_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: str, error: BaseException, half: bool, reason: str
) -> None:
    """Fail the first write, flush or statement, then the second, and so on until the change goes through."""
    path = tmp_path / "a.hg"
    with make(path, 20) as store:
        if change != "commit to a new segment":
            store.commit([new(number) for number in range(20, 25)])
        store.remove([7])
    before = ask(path)
    failing = Failing(0, error)
    break_disk(monkeypatch, failing, half)
    steps = 0
    with Store.open(path, "w") as store:
        store.segment_rows = 10
        while not goes_through(store, change, failing, steps + 1, reason):
            steps += 1
            with store.snapshot() as snapshot:
                assert answers(snapshot) == before
            left = store.verify()
            assert left == [] or (failing.failed == ("COMMIT",) and all(problem.harmless for problem in left))
        assert steps > 4
        assert store.verify() == []
    assert (ask(path) == before) == (change == "rebuild")
    assert failing.failed == ("COMMIT",)


def goes_through(store: Store, change: str, failing: Failing, step: int, reason: str) -> bool:
    """Whether the change is made although its call number `step` would fail, as it does not have that many."""
    failing.at, failing.calls, failing.committed = step, 0, False
    try:
        CHANGES[change](store)
    except BaseException as raised:
        if not isinstance(raised, (LibraryError, KeyboardInterrupt)) or reason not in str(raised):
            raise
        assert failing.calls >= step
        return False
    finally:
        failing.at = 0
    assert failing.calls < step, "a call failed and nobody noticed"
    return True


@pytest.mark.parametrize(("error", "half", "reason"), ERRORS.values(), ids=list(ERRORS))
@pytest.mark.parametrize("change", CHANGES)
def test_whatever_fails_behind_a_commit_leaves_the_change_made_and_every_copy_of_it_sound(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: str, error: BaseException, half: bool, reason: str
) -> None:
    """The redo log's count, the folding of SQLite's log, the sums: none of them may take the change back."""
    whole = tmp_path / "whole.hg"
    with make(whole, 25) as store:
        CHANGES[change](store)
    right = ask(whole)
    failed = 0
    for step in range(1, 100):
        path = tmp_path / f"{step}.hg"
        make(path, 25).close()
        failing = Failing(step, error, behind=True)
        with monkeypatch.context() as patch:
            break_disk(patch, failing, half)
            patch.setattr(writer, "FOLD_BYTES", -1)
            with suppress(LibraryError, KeyboardInterrupt), Store.open(path, "w") as store:
                failing.committed, failing.calls = False, 0
                CHANGES[change](store)
            if not failing.failed:
                break
            failed += 1
        assert without_times(ask(path)) == without_times(right), failing.failed
        with Store.open(path, "w") as store:
            assert [problem for problem in store.verify() if not problem.harmless] == [], failing.failed
        with Store.open(path) as store:
            assert store.verify() == [], failing.failed
    assert failed > 4


def test_a_log_that_could_not_be_looked_at_does_not_count_as_folded_in(tmp_path: Path) -> None:
    """SQLite answers (1, -1, -1) where it could not lock its log: the frames are equal, and none of them was folded."""

    class Answer:
        def fetchone(self) -> tuple[int, int, int]:
            return (1, -1, -1)

    class Locked(catalogue.Connection):
        def execute(self, sql: str, *values: Any) -> Any:
            return Answer() if "wal_checkpoint" in sql else super().execute(sql, *values)

    path = tmp_path / "a.hg"
    make(path, 20).close()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(catalogue, "Connection", Locked)
        with Store.open(path, "w") as store:
            store.commit([new(30)])
            assert not store.folded
    assert len(ask(path)[1]) == 21
    Store.open(path, "w").close()
    assert ask(path)[2] == list(range(1, 22))


def test_a_catalogue_that_cannot_be_looked_at_does_not_empty_its_sums(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.hg"
    make(path, 20).close()
    before = page_checksums.read(path)
    look = inside.look

    def refused(folder: Path, *names: str) -> os.stat_result:
        if names == (catalogue.NAME,):
            raise OSError(errno.EIO, "Input/output error")
        return look(folder, *names)

    monkeypatch.setattr(inside, "look", refused)
    for step in (
        lambda: page_checksums.update(path),
        lambda: page_checksums.read(path),
        lambda: page_checksums.PageCheck(path).check(),
    ):
        with pytest.raises((OSError, LibraryError), match="Input/output"):
            step()
    monkeypatch.setattr(inside, "look", look)
    assert page_checksums.read(path).tolist() == before.tolist()


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no limit on file sizes")
def test_a_file_size_limit_stops_an_add_and_leaves_the_batches_before_it(tmp_path: Path) -> None:
    """A real refusal by the system, as a full disk or a quota gives; once without it the same add goes through."""
    script = """
    import resource

    path, first, size, room = sys.argv[1], *map(int, sys.argv[2:])

    def batch(number, size):
        return [new(n) for n in range(number, number + size)]

    store = Store.create(path, grains=GRAINS, digest="d1")
    store.commit(batch(0, first))
    store.close()
    number = first
    with Store.open(path, "w") as store:
        largest = max((file.stat().st_size for file in Path(path, "segments").iterdir()), default=0)
        resource.setrlimit(resource.RLIMIT_FSIZE, (largest + room, resource.RLIM_INFINITY))
        try:
            while True:
                store.commit(batch(number, size))
                number += size
        except LibraryError as error:
            print(number, error)
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        print([problem for problem in store.verify() if not problem.harmless])
        store.commit(batch(number, size))
        print(store.verify())
    """
    # Room for one small batch stops a long segment file; where they are short, the catalogue's log is stopped first.
    for first, size, room, reason in [(20_000, 4, 40, "disk is full"), (0, 40, 150_000, "disk I/O error")]:
        path = tmp_path / f"{first}.hg"
        refused, sound, clean = child(script, path, first, size, room).communicate()[0].splitlines()
        number, _, said = refused.partition(" ")
        assert int(number) > first
        assert reason in said
        assert "the library is as it was before the last batch" in said
        assert (sound, clean) == ("[]", "[]")
        assert codes_by_path(path) == {new(n).path: code_of(n).tobytes() for n in range(int(number) + size)}


@pytest.mark.parametrize(("change", "folders"), [("commit", 0), ("commit to a new segment", 1), ("rebuild", 3)])
def test_segments_are_flushed_before_the_catalogue_counts_on_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: str, folders: int
) -> None:
    """What power loss asks for: every file written is flushed, a new one's folder too, then SQLite flushes its log."""
    steps: list[str] = []
    write = disk.write

    def noted(file: int, data: memoryview) -> int:
        steps.append(f"write {os.fstat(file).st_ino}")
        return write(file, data)

    class Noting(catalogue.Connection):
        def execute(self, sql: str, *values: Any) -> sqlite3.Cursor:
            steps.extend([sql] if sql in ("BEGIN IMMEDIATE", "COMMIT") else [])
            return super().execute(sql, *values)

    monkeypatch.setattr(catalogue, "SETTINGS", SETTINGS)
    monkeypatch.setattr(catalogue, "Connection", Noting)
    monkeypatch.setattr(disk, "write", noted)
    monkeypatch.setattr(disk, "sync", lambda file: steps.append(f"sync {os.fstat(file).st_ino}"))
    monkeypatch.setattr(disk, "sync_folder", lambda folder: steps.append("sync folder"))
    with make(tmp_path / "a.hg", 20) as store:
        if change != "commit to a new segment":
            store.commit([new(number) for number in range(20, 25)])
        steps.clear()
        CHANGES[change](store)
        made = list(steps)  # closing adds more
        assert store._writer is not None
        assert store._writer.connection.execute("PRAGMA synchronous").fetchone() == (2,)
        assert store._writer.connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert made[0] == "BEGIN IMMEDIATE"
    behind = made[made.index("COMMIT") + 1 :]
    assert {step.split()[0] for step in behind} == {"write", "sync"}  # of the redo log's count
    assert behind[-1].startswith("sync")
    written = {step.split()[1] for step in made if step.startswith("write")}
    assert len(written) == 3 * max(folders, 1) + 1 + (change == "rebuild")  # and the redo log, and the sums
    for file in written:
        last_write = max(at for at, step in enumerate(made) if step == f"write {file}")
        assert f"sync {file}" in made[last_write:]
    assert made.count("sync folder") == folders + (change == "rebuild")  # the file of checksums gets its name


# ---- damage


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A library of four segments with dead rows, several blocks and all indexes in use."""
    path = tmp_path_factory.mktemp("sound") / "a.hg"
    with make(path, 12) as store:
        for start in range(12, 42, 3):
            store.commit([new(number) for number in range(start, start + 3)])
        store.remove([4, 20])
        store.commit([replaced(6, 90)])
    return path


def copy(sound: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(sound, tmp_path / "copy.hg"))


def change(path: Path, statement: str) -> None:
    connection = sqlite3.connect(path / catalogue.NAME, isolation_level=None)
    connection.execute(statement)
    connection.close()


def damages(file: Path, block: int) -> list[tuple[str, Callable[[], object]]]:
    """Ways to spoil every block of a file: flip a bit, cut it there, blank it; and lose it altogether."""
    whole = file.read_bytes()
    draw = random.Random(len(whole))

    def write(data: bytes) -> Callable[[], object]:
        return lambda: file.write_bytes(data)

    ways: list[tuple[str, Callable[[], object]]] = [("missing", file.unlink), ("empty", write(b""))]
    for start in range(0, len(whole), block):
        end = min(start + block, len(whole))
        at = draw.randrange(start, end)
        flipped = bytes([whole[at] ^ (1 << draw.randrange(8))])
        ways.append((f"flip {at}", write(whole[:at] + flipped + whole[at + 1 :])))
        ways.append((f"cut {start}", write(whole[:start])))
        ways.append((f"blank {start}", write(whole[:start] + bytes(end - start) + whole[end:])))
    return ways


@pytest.mark.parametrize("kind", ["w00", "w01", "ids"])
@pytest.mark.parametrize("number", ["000001", "000004"])
def test_a_damaged_segment_is_named_never_believed_and_mended(
    sound: Path, tmp_path: Path, kind: str, number: str
) -> None:
    right = ask(sound)
    path = copy(sound, tmp_path)
    file = path / "segments" / f"{number}.{kind}"
    whole = file.read_bytes()
    for name, damage in damages(file, HEADER // 2):
        damage()
        if file.exists() and file.read_bytes() == whole:
            continue  # blanked what was blank
        if file.exists() and file.read_bytes()[:44] == whole[:44] and file.read_bytes()[64:] == whole[64:]:
            assert name.startswith("flip"), "the unused end of the header"
        with Store.open(path) as store:
            with pytest.raises(LibraryError, match=f"{file.name}.*rebuild the library to mend it"), store.snapshot():
                pass
            named = store.verify()
            assert {p.thing for p in named} == {str(file)}, name
            assert all("rebuild the library" in p.remedy for p in named)
        file.write_bytes(whole)
    file.unlink()
    with Store.open(path, "w") as store:
        store.rebuild()
        assert store.verify() == []
    assert ask(path) == right


def test_words_that_changed_places_are_noticed(sound: Path, tmp_path: Path) -> None:
    path = copy(sound, tmp_path)
    first, second = (path / "segments" / f"000001.{kind}" for kind in ("w00", "w01"))
    first.rename(path / "aside")
    second.rename(first)
    (path / "aside").rename(second)
    with Store.open(path) as store:
        with pytest.raises(LibraryError, match=r"000001\.w00: the header is damaged"), store.snapshot():
            pass
        assert [p.thing for p in store.verify()] == [str(first)]


def test_appending_to_a_damaged_segment_is_refused_and_rebuild_mends_it(sound: Path, tmp_path: Path) -> None:
    path = copy(sound, tmp_path)
    os.truncate(path / "segments/000004.w01", HEADER + 8)
    with Store.open(path, "w") as store:
        store.segment_rows = 10
        with pytest.raises(LibraryError, match=r"000004\.w01.*rebuild the library"):
            store.commit([new(200)])
        store.rebuild()
        store.commit([new(200)])
        assert store.verify() == []
    shutil.rmtree(path / "segments")
    with Store.open(path, "w") as store:
        store.rebuild()
        assert store.verify() == []


@pytest.mark.parametrize("damage", ["bytes behind the committed end", "files of no segment"])
def test_what_is_not_committed_is_ignored_noted_and_tidied(sound: Path, tmp_path: Path, damage: str) -> None:
    path = copy(sound, tmp_path)
    for kind in ("w00", "w01", "ids"):
        if damage == "files of no segment":
            (path / "segments" / f"000009.{kind}").write_bytes(b"x" * 100)
        else:
            with (path / "segments" / f"000004.{kind}").open("ab") as file:
                file.write(b"x" * 100)
    assert ask(path) == ask(sound)
    with Store.open(path) as store:
        assert [(p.harmless, "100 bytes are not committed" in p.reason) for p in store.verify()] == [(True, True)] * 3
    with Store.open(path, "w") as store:
        assert store.verify() == []
    sizes = {file.name: file.stat().st_size for file in (path / "segments").iterdir()}
    assert sizes == {file.name: file.stat().st_size for file in (sound / "segments").iterdir()}


def test_a_damaged_catalogue_never_gives_a_wrong_answer(sound: Path, tmp_path: Path) -> None:
    """Every page, flipped, blanked and cut: the right answer, or an error of ours. What is wrong, `verify` names.

    A filter is SQLite's to answer, and SQLite has no checksums on its pages; the items it finds do have ours.
    """
    right = ask(sound)
    path = copy(sound, tmp_path)
    file = path / catalogue.NAME
    whole = file.read_bytes()
    named = 0
    refusals: set[str] = set()
    for block in (4096, 1024):
        for name, damage in damages(file, block):
            damage()
            for log in path.glob("catalogue.sqlite-*"):
                log.unlink()
            try:
                with Store.open(path) as store:
                    problems = [problem for problem in store.verify() if not problem.harmless]
                    assert all(problem.remedy for problem in problems)
                    try:
                        with store.snapshot() as snapshot:
                            codes, items, _ = answers(snapshot)
                            assert all(item in right[1] for item in items), name
                            assert codes == right[0] or problems, name
                            assert items == right[1] or problems, name
                            assert all(codes[i] == right[0][i] for i in codes), name
                    except HashgrainError:
                        assert problems, f"{name}: an answer failed and verify was silent"
                    named += bool(problems)
            except LibraryError as error:
                refusals.add(str(error))
            file.write_bytes(whole)
    assert all("copy.hg" in refusal for refusal in refusals)
    assert named > 20
    assert len(refusals) > 5


def test_a_catalogue_that_is_no_database_says_what_to_do(sound: Path, tmp_path: Path) -> None:
    path = copy(sound, tmp_path)
    for data in (b"", b"not a database at all" * 500, (path / catalogue.NAME).read_bytes()[:5000]):
        (path / catalogue.NAME).write_bytes(data)
        with pytest.raises(LibraryError, match="restore it from a backup, or build the library again"):
            ask(path)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE dead SET row = row + 1 WHERE number = 1",
        "UPDATE dead SET row = 1000 WHERE number = 1",
        "UPDATE dead SET item = 'x' WHERE number = 1",
        "DELETE FROM dead WHERE number = 2",
        "DELETE FROM blocks WHERE segment = 4",
        "UPDATE blocks SET crcs = zeroblob(12) WHERE segment = 2",
        "UPDATE blocks SET crcs = zeroblob(8) WHERE segment = 2",
        "UPDATE blocks SET crcs = 'twelve bytes' WHERE segment = 2",
        "UPDATE blocks SET rows = 'x' WHERE segment = 2",
        "UPDATE blocks SET rows = -rows WHERE segment = 1",
        "UPDATE facts SET value = value - 1 WHERE key = 'dead'",
        "UPDATE facts SET value = value + 1 WHERE key = 'rows'",
    ],
)
def test_a_dead_row_does_not_come_alive_by_a_change_in_the_catalogue(
    sound: Path, tmp_path: Path, statement: str
) -> None:
    path = copy(sound, tmp_path)
    change(path, statement)
    with Store.open(path) as store:
        with pytest.raises(LibraryError, match="rebuild the library"), store.snapshot():
            pass
        assert store.verify()
    with Store.open(path, "w") as store:
        store.rebuild()
        assert store.verify() == []
    assert codes_by_path(path) == codes_by_path(sound)


def test_a_damaged_item_is_named_and_can_be_removed_and_added_again(sound: Path, tmp_path: Path) -> None:
    path = copy(sound, tmp_path)
    change(path, "UPDATE items SET width = width + 1 WHERE id = 1")
    change(path, "UPDATE rows SET code = zeroblob(16) WHERE item = 2")
    with Store.open(path, "w") as store:
        with store.snapshot() as snapshot:
            with pytest.raises(LibraryError, match=r"item 1 is damaged.*remove item 1"):
                snapshot.items([1])
            with pytest.raises(LibraryError, match=r"code of item 2 is damaged.*remove item 2"):
                snapshot.code(2)
        assert {p.thing.rpartition(": ")[2] for p in store.verify()} >= {"item 1", "item 2"}
        with pytest.raises(LibraryError, match="item 1 is damaged"):
            store.rebuild()
        assert store.remove([1]) == 1
        assert store.commit([new(0)]) == [43]
        assert store.rebuild().codes == 1  # of item 2, which the segments have
        with store.snapshot() as snapshot:
            assert snapshot.code(2).tobytes() == code_of(1).tobytes()
        store.rebuild()
        assert store.verify() == []


def test_a_reader_that_meets_a_rebuild_between_catalogue_and_files_looks_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rebuild happens just after the reader has read the catalogue: its files are gone, its answer is not."""
    from hashgrain.store import views as room

    path = tmp_path / "a.hg"
    with make(path, 30) as writer, Store.open(path) as reader:
        map_segment = room.map_segment
        rebuilds = iter([writer.rebuild, writer.rebuild])

        def late(*arguments: Any) -> Any:
            next(rebuilds, lambda: None)()
            return map_segment(*arguments)

        monkeypatch.setattr(room, "map_segment", late)
        with reader.snapshot() as snapshot:
            assert live(snapshot) == {number + 1: code_of(number).tobytes() for number in range(30)}
        assert next(rebuilds, None) is None


def test_grains_and_digest_cannot_change_unnoticed(sound: Path, tmp_path: Path) -> None:
    path = copy(sound, tmp_path)
    assert Store.open(path).grains == GRAINS
    change(path, "UPDATE facts SET value = 'd2' WHERE key = 'digest'")
    with pytest.raises(LibraryError, match="its facts do not read"):
        Store.open(path)
