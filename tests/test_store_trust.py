"""A library from a stranger reads and writes nothing outside itself and comes to an end; what was kept is not lost."""

from __future__ import annotations

import json
import os
import random
import shutil
import sqlite3
import sys
import tarfile
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from hashgrain import inside
from hashgrain.errors import HashgrainError, LibraryError
from hashgrain.store import FORMAT, MetaReplaced, Store, catalogue, page_checksums, redo, segments, writer
from test_store import child, code_of, live, make, new, replaced, replayed
from test_store import no_waiting_for_the_disk as no_waiting_for_the_disk
from test_store_faults import ask, change, copy

FIXTURES = Path(__file__).parent / "fixtures"
KEPT = b"what is outside"


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A library whose writer was killed: its last changes stand in SQLite's log, and in the redo log."""
    path = tmp_path_factory.mktemp("killed") / "a.hg"
    script = """
    store = make(Path(sys.argv[1]), 12)
    for start in range(12, 30, 3):
        store.commit([new(number) for number in range(start, start + 3)])
    store.remove([4, 20])
    store.commit([replaced(6, 90), Moved(7, "/pictures/moved.jpg", (1, 2))])
    store.refuse([("/pictures/broken.jpg", (10, 20), "damaged")])
    store.exclude(["/pictures/out.jpg"])
    os.kill(os.getpid(), 9)
    """
    child(script, path).wait()
    (path / "catalogue.sqlite-shm").unlink()
    assert inside.size(path, page_checksums.WAL) > 100_000
    return path


def unpacked(name: str, tmp_path: Path, version: int = 2) -> Path:
    with tarfile.open(FIXTURES / f"format-{version}" / f"{name}.tar.xz") as archive:
        archive.extractall(tmp_path, filter="data") if sys.version_info >= (3, 12) else archive.extractall(tmp_path)
    return tmp_path / f"{name}.hg"


def flip(file: Path, draw: random.Random) -> str:
    content = bytearray(file.read_bytes())
    place, bit = draw.randrange(len(content)), draw.randrange(8)
    content[place] ^= 1 << bit
    file.write_bytes(content)
    return f"bit {bit} of byte {place}"


# ---- A.1: links


def linked(library: Path, name: str, target: Path) -> None:
    place = library / name
    shutil.rmtree(place) if place.is_dir() else place.unlink(missing_ok=True)
    place.parent.mkdir(exist_ok=True)
    place.symlink_to(target)


LINKS = (
    *("writer.lock", "redo.log", "catalogue.sums", "catalogue.sqlite", "catalogue.sqlite-wal", "catalogue.sqlite-shm"),
    *("segments/000001.w00", "segments/000001.ids", "segments/000005.w00", "segments/000006.w00", "segments"),
)
VERBS: dict[str, Callable[[Store], object]] = {
    "commit": lambda store: store.commit([new(200), new(201)]),
    "remove": lambda store: store.remove([1]),
    "rebuild": lambda store: store.rebuild(),
    "read": lambda store: store.known(new(3).path),
}


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("name", LINKS)
def test_a_link_inside_a_library_is_never_followed(killed: Path, tmp_path: Path, name: str, verb: str) -> None:
    """Whatever stands outside keeps its bytes, be it larger or smaller than what the library would have there."""
    outside = tmp_path / "outside"
    outside.mkdir()
    kept = outside / "kept"
    kept.write_bytes(KEPT * 1000)
    path = copy(killed, tmp_path)
    linked(path, name, outside if name == "segments" else kept)
    try:
        with Store.open(path, "r" if verb == "read" else "w", mend=verb == "rebuild") as store:
            store.segment_rows = 10
            VERBS[verb](store)
    except HashgrainError as error:
        assert str(path) in str(error)
    assert kept.read_bytes() == KEPT * 1000
    assert os.listdir(outside) == ["kept"]


def test_only_names_of_segments_are_given_back(killed: Path, tmp_path: Path) -> None:
    path = copy(killed, tmp_path)
    for name in ("notes.w00", "my.ids", "000001.w00.bak", "12.ids"):
        (path / "segments" / name).write_bytes(KEPT)
    Store.open(path, "w").close()
    assert all((path / "segments" / name).read_bytes() == KEPT for name in ("notes.w00", "my.ids", "12.ids"))


# ---- A.4: catalogues that do not end


SCHEMAS = {
    "items are an endless view": """
        ALTER TABLE items RENAME TO hidden;
        CREATE VIEW items AS WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n)
            SELECT i AS id, x'61' AS path, x'61' AS name, x'61' AS content, 1 AS size, 1 AS mtime_ns, 1 AS width,
            1 AS height, '' AS format, '' AS taken, '' AS added, '{}' AS meta, NULL AS details, 1 AS seal FROM n;""",
    "facts are an endless view": """
        ALTER TABLE facts RENAME TO hidden;
        CREATE VIEW facts AS WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i, i FROM n;""",
    "a trigger that never ends": """
        CREATE TRIGGER t AFTER INSERT ON items BEGIN
            INSERT INTO dead WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i, i, i FROM n;
        END;""",
    "one more table": "CREATE TABLE more (x);",
    "a column that is computed": "ALTER TABLE items ADD COLUMN y AS (zeroblob(1000000000));",
    "an index on an expression": "CREATE INDEX i ON items (abs(width));",
}


@pytest.mark.parametrize("name", SCHEMAS)
def test_a_catalogue_with_a_schema_that_is_not_ours_is_refused_before_it_is_asked(
    killed: Path, tmp_path: Path, name: str
) -> None:
    path = copy(killed, tmp_path)
    with sqlite3.connect(path / "catalogue.sqlite") as connection:
        connection.executescript(SCHEMAS[name])
    connection.close()
    for mode in ("r", "w"):
        with pytest.raises(LibraryError, match="not those of a library"):
            Store.open(path, mode)  # type: ignore[arg-type]


def test_a_tree_of_pages_that_leads_in_circles_comes_to_an_end(killed: Path, tmp_path: Path) -> None:
    """Right tables, but every page of `items` is an inner one whose children are all the same next one."""
    path = copy(killed, tmp_path)
    Store.open(path, "w").close()  # all of it in one file
    file = path / "catalogue.sqlite"
    connection = sqlite3.connect(file)
    (root,) = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = 'items'").fetchone()
    connection.close()
    content = bytearray(file.read_bytes())
    first, depth, fan = len(content) // 4096 + 1, 16, 400
    leaf = content[(root - 1) * 4096 : root * 4096]
    while leaf[0] != 13:  # down to a page that holds rows
        right = int.from_bytes(leaf[8:12], "big")
        leaf = content[(right - 1) * 4096 : right * 4096]

    def inner(next_page: int) -> bytes:
        cells = b"".join(next_page.to_bytes(4, "big") + bytes([0x87, 0x68]) for _ in range(fan))
        start = 4096 - len(cells)
        head = (
            bytes([5, 0, 0]) + fan.to_bytes(2, "big") + start.to_bytes(2, "big") + b"\0" + next_page.to_bytes(4, "big")
        )
        offsets = b"".join((start + 6 * cell).to_bytes(2, "big") for cell in range(fan))
        return (head + offsets).ljust(start, b"\0") + cells

    content[(root - 1) * 4096 : root * 4096] = inner(first)
    for level in range(depth):
        content += inner(first + level + 1)
    content += leaf
    content[28:32] = (len(content) // 4096).to_bytes(4, "big")
    file.write_bytes(content)
    page_checksums.forget(path)
    ended: list[object] = []

    def selected(store: Store) -> object:
        with store.snapshot() as snapshot:
            return snapshot.select("width > 0")

    def run() -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(catalogue, "STEPS", 20_000_000)
            patch.setattr(catalogue, "STEPS_A_BYTE", 0)
            for question in (selected, Store.verify, lambda store: store.remove([1])):
                try:
                    with Store.open(path, "w") as store:
                        ended.append(question(store))
                except LibraryError as error:
                    ended.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(60)
    assert not thread.is_alive()
    assert len(ended) == 3
    assert isinstance(ended[0], LibraryError)
    assert ended[1]


def test_a_rollback_journal_is_refused_since_it_can_name_a_file_to_delete(killed: Path, tmp_path: Path) -> None:
    path = copy(killed, tmp_path)
    (path / "catalogue.sqlite-journal").write_bytes(b"x" * 600)
    with pytest.raises(LibraryError, match=r"catalogue\.sqlite-journal is no part of a library"):
        Store.open(path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no pipes with names here")
@pytest.mark.parametrize(
    "name", ["catalogue.sqlite", "catalogue.sqlite-wal", "redo.log", "catalogue.sums", "writer.lock"]
)
def test_a_pipe_in_the_place_of_a_file_is_not_waited_for(killed: Path, tmp_path: Path, name: str) -> None:
    path = copy(killed, tmp_path)
    (path / name).unlink()
    os.mkfifo(path / name)
    errors: list[BaseException] = []

    def run() -> None:
        for step in (lambda: Store.open(path).known("/x"), lambda: Store.open(path, "w").close()):
            try:
                step()
            except LibraryError as error:
                errors.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(20)
    assert not thread.is_alive()
    assert errors


# ---- A.5: odd values


ODD = [
    "UPDATE facts SET value = 9e999 WHERE key = 'era'",
    "UPDATE facts SET value = 1e20 WHERE key = 'rows'",
    "UPDATE facts SET value = -1 WHERE key = 'dead'",
    "UPDATE facts SET value = 'x' WHERE key = 'commit'",
    "UPDATE facts SET value = 'x' WHERE key = 'sequence'",
    "UPDATE facts SET value = x'00' WHERE key = 'segment'",
    f"UPDATE facts SET value = '{'[' * 50_000}' WHERE key = 'grains'",
    "UPDATE facts SET value = zeroblob(100000000) WHERE key = 'created'",
    "UPDATE rows SET code = x'010203' WHERE item = 1",
    "UPDATE rows SET code = 'sixteen letters!' WHERE item = 1",
    "UPDATE items SET content = 'text' WHERE id = 1",
    "UPDATE items SET path = 'text' WHERE id = 1",
    "UPDATE items SET path = x'610062' WHERE id = 1",
    "UPDATE items SET path = 7 WHERE id = 1",
    "UPDATE items SET width = 1e300 WHERE id = 1",
    "UPDATE items SET mtime_ns = 'x' WHERE id = 1",
    f"UPDATE items SET meta = '{'[' * 50_000}' WHERE id = 1",
    "UPDATE items SET meta = '[1]' WHERE id = 1",
    "UPDATE items SET details = '{' WHERE id = 1",
    "DELETE FROM items WHERE id = 1",
]


@pytest.mark.parametrize("statement", ODD, ids=lambda statement: statement[:48])
def test_odd_values_in_a_catalogue_are_errors_and_named_by_verify(killed: Path, tmp_path: Path, statement: str) -> None:
    """Sealed again, as a stranger would: what each value must be is checked, not only its checksum."""
    path = copy(killed, tmp_path)
    Store.open(path, "w").close()
    change(path, statement)
    renew_checksums(path)
    page_checksums.forget(path)
    answered = False
    with pytest.MonkeyPatch.context():
        try:
            with Store.open(path) as store:
                problems = store.verify()
                with store.snapshot() as snapshot:
                    list(snapshot.paths())
                    snapshot.codes([1])
                    answered = True
        except LibraryError:
            return
    assert [problem for problem in problems if not problem.harmless], answered
    assert not answered


def renew_checksums(path: Path) -> None:
    from hashgrain.store.items import COLUMNS, with_checksum

    connection = sqlite3.connect(path / "catalogue.sqlite", isolation_level=None)
    for row in connection.execute(f"SELECT {COLUMNS} FROM items").fetchall():
        connection.execute("UPDATE items SET seal = ? WHERE id = ?", (with_checksum(row)[-1], row[0]))
    for item, code in connection.execute("SELECT item, code FROM rows").fetchall():
        if isinstance(code, bytes):
            connection.execute("UPDATE rows SET seal = ? WHERE item = ?", (catalogue.code_checksum(item, code), item))
    connection.close()


# ---- B.2: what SQLite's log loses


def test_a_flipped_bit_in_the_log_never_takes_back_what_was_acknowledged(killed: Path, tmp_path: Path) -> None:
    """Sixty places: the library says that changes are missing, nobody tidies anything away, `rebuild` has them all."""
    seed = random.randrange(10**6)
    print("seed", seed)
    draw = random.Random(seed)
    right = ask(killed)
    lost = 0
    for number in range(60):
        path = Path(shutil.copytree(killed, tmp_path / f"{number}.hg"))
        where = flip(path / page_checksums.WAL, draw)
        before = sorted(inside.names(path, segments.FOLDER))
        try:
            assert ask(path) == right, where
        except LibraryError as error:
            lost += 1
            assert "rebuild the library" in str(error), where
            with pytest.raises(LibraryError, match="missing"):
                Store.open(path, "w")
            assert sorted(inside.names(path, segments.FOLDER)) == before
        with Store.open(path, "w", mend=True) as store:
            mended = store.rebuild()
            assert mended.lost == 0
            assert [problem for problem in store.verify() if not problem.harmless] == []
            assert (store.exclusions(), len(store.refusals())) == (["/pictures/out.jpg"], 1)
        assert ask(path) == right, where
        shutil.rmtree(path)
    assert lost > 40


@pytest.mark.parametrize("damage", ["deleted", "emptied", "cut", "header"])
def test_a_log_that_is_gone_is_noticed_and_made_again(killed: Path, tmp_path: Path, damage: str) -> None:
    right, path = ask(killed), copy(killed, tmp_path)
    log = path / page_checksums.WAL
    whole = log.read_bytes()
    if damage == "deleted":
        log.unlink()
    else:
        log.write_bytes({"emptied": b"", "cut": whole[: len(whole) // 2], "header": b"x" * 32 + whole[32:]}[damage])
    with pytest.raises(LibraryError, match=r"missing.*rebuild the library"):
        ask(path)
    with Store.open(path, "w", mend=True) as store:
        with pytest.raises(LibraryError, match="rebuild the library"):
            store.commit([new(300)])
        assert store.rebuild().changes > 0
        store.commit([new(300)])
    path_without_the_new = ask(path)
    assert set(right[0].values()) < set(path_without_the_new[0].values())
    assert [item for item in path_without_the_new[1] if item.meta["number"] != 300] == right[1]


def test_what_neither_log_has_is_counted_as_lost(killed: Path, tmp_path: Path) -> None:
    path = copy(killed, tmp_path)
    (path / page_checksums.WAL).unlink()
    with (path / redo.NAME).open("r+b") as file:
        file.truncate(redo.HEADER)
    with Store.open(path, "w", mend=True) as store:
        mended = store.rebuild()
        assert mended.lost > 0
        assert mended.changes == 0
        assert store.verify() == []
        with Store.open(killed) as before, before.snapshot() as earlier, store.snapshot() as snapshot:
            # An engine that was told of what is lost now must not go on as if it had not been.
            assert snapshot.history() != earlier.history()
            assert replayed(snapshot) == live(snapshot)
    assert len(ask(path)[1]) < 29
    Store.open(path, "w").close()


def test_a_damaged_redo_log_costs_no_answer_and_is_made_anew(killed: Path, tmp_path: Path) -> None:
    right = ask(killed)
    draw = random.Random(5)
    for number in range(20):
        path = Path(shutil.copytree(killed, tmp_path / f"{number}.hg"))
        flip(path / redo.NAME, draw)
        assert ask(path) == right
        Store.open(path, "w").close()
        with Store.open(path) as store:
            assert store.verify() == []
        assert ask(path) == right


def test_a_log_that_a_reader_holds_back_is_folded_in_later_and_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Folded in part and then damaged, SQLite's log would take some pages back and not others."""
    monkeypatch.setattr(writer, "FOLD_BYTES", 0)
    path = tmp_path / "a.hg"
    with make(path, 20) as store, Store.open(path) as reader:
        with reader.snapshot():
            for number in range(20, 40):
                store.commit([new(number)])
            assert inside.size(path, redo.NAME) > redo.HEADER
            torn = Path(shutil.copytree(path, tmp_path / "torn.hg"))
        store.commit([new(40)])
        assert inside.size(path, redo.NAME) == redo.HEADER
        assert inside.size(path, page_checksums.WAL) == 0
    (torn / "catalogue.sqlite-shm").unlink()
    log = bytearray((torn / page_checksums.WAL).read_bytes())
    log[32 + 24 + 4096 * 3] ^= 1
    (torn / page_checksums.WAL).write_bytes(log)
    with pytest.raises(LibraryError, match="rebuild the library"):
        ask(torn)
    with Store.open(torn, "w", mend=True) as store:
        assert store.rebuild().lost == 0
        assert store.verify() == []
    assert set(ask(torn)[0].values()) == {code_of(number).tobytes() for number in range(40)}


# ---- B.4: filters and look-ups


def filtered(path: Path) -> tuple[object, ...]:
    with Store.open(path) as store, store.snapshot() as snapshot:
        return (
            snapshot.select("format = 'jpeg'").tolist(),
            snapshot.select("number > 10").tolist(),
            [store.known(new(number).path) for number in (0, 3, 29, 1000)],
            [store.by_content(new(number).content) for number in (0, 3, 29, 1000)],
            store.info()["items"],
        )


def test_a_flipped_bit_in_the_catalogue_never_changes_what_a_filter_or_a_look_up_finds(
    killed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sixty places of the file, whatever they hold."""
    monkeypatch.setattr(page_checksums, "ATTEMPTS", 1)
    path = copy(killed, tmp_path)
    Store.open(path, "w").close()
    right = filtered(path)
    file = path / "catalogue.sqlite"
    whole = file.read_bytes()
    refused = 0
    for place in range(0, len(whole), len(whole) // 60):
        content = bytearray(whole)
        content[place] ^= 1 << (place % 8)
        file.write_bytes(content)
        try:
            assert filtered(path) == right, place
        except LibraryError:
            refused += 1
        for left in path.glob("catalogue.sqlite-*"):
            left.unlink()
    assert refused >= 60


def test_a_flipped_letter_of_a_format_is_an_error_until_it_is_mended(killed: Path, tmp_path: Path) -> None:
    path = copy(killed, tmp_path)
    Store.open(path, "w").close()
    file = path / "catalogue.sqlite"
    file.write_bytes(file.read_bytes().replace(b"jpeg", b"jpdg", 1))
    with pytest.raises(LibraryError, match=r"page .* does not match its checksum"):
        filtered(path)
    with Store.open(path) as store:
        named = [problem.thing.rpartition(" ")[2] for problem in store.verify() if "item " in problem.thing]
    with Store.open(path, "w", mend=True) as store:
        with pytest.raises(LibraryError, match=rf"item {named[0]} is damaged.*remove item {named[0]}"):
            store.rebuild()
        store.remove([int(named[0])])
        store.rebuild()
        assert store.verify() == []
    assert len(filtered(path)[0]) == len(ask(killed)[1]) - 1


def test_filters_answer_while_a_writer_folds_its_log_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "FOLD_BYTES", 0)
    path = tmp_path / "a.hg"
    stop, failures = threading.Event(), []
    with make(path, 50) as store:

        def read() -> None:
            try:
                while not stop.is_set():
                    with Store.open(path) as reader, reader.snapshot() as snapshot:
                        selected = snapshot.select("format = 'jpeg'").tolist()
                        assert selected == list(range(1, len(snapshot) + 1))
            except BaseException as error:
                failures.append(error)

        threads = [threading.Thread(target=read) for _ in range(2)]
        for thread in threads:
            thread.start()
        for number in range(50, 150):
            store.commit([new(number)])
        stop.set()
        for thread in threads:
            thread.join()
    assert failures == []


# ---- B.6: what changes under an open library


def test_a_reader_with_an_idle_connection_notices_a_replaced_library(tmp_path: Path) -> None:
    make(tmp_path / "a.hg", 3).close()
    other = Store.create(tmp_path / "b.hg", grains=make(tmp_path / "c.hg").grains, digest="d2")
    other.commit([new(7)])
    other.close()
    with Store.open(tmp_path / "a.hg") as reader:
        assert reader.known(new(1).path)
        shutil.rmtree(tmp_path / "a.hg")
        (tmp_path / "b.hg").rename(tmp_path / "a.hg")
        with pytest.raises(LibraryError, match="replaced by another library"):
            reader.known(new(1).path)
        shutil.rmtree(tmp_path / "a.hg")
        with pytest.raises(LibraryError, match="no library at"):
            reader.known(new(1).path)


def test_a_reader_starts_afresh_where_a_library_made_in_the_same_second_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Equal marks, other rows: nothing that was mapped of the old one may answer for the new one."""
    monkeypatch.setattr(catalogue, "now", lambda: "2026-01-01T00:00:00Z")
    for name, numbers in (("a.hg", range(12)), ("b.hg", range(20, 24)), ("c.hg", range(30, 60))):
        with make(tmp_path / name) as store:
            store.commit([new(number) for number in numbers])
    with Store.open(tmp_path / "a.hg") as reader:
        for name, numbers in (("a.hg", range(12)), ("b.hg", range(20, 24)), ("c.hg", range(30, 60))):
            if name != "a.hg":
                shutil.rmtree(tmp_path / "a.hg")
                (tmp_path / name).rename(tmp_path / "a.hg")
            with reader.snapshot() as snapshot:
                assert set(live(snapshot).values()) == {code_of(number).tobytes() for number in numbers}
                assert snapshot.select("number >= 0").tolist() == list(range(1, len(numbers) + 1))


def test_a_writer_whose_library_was_deleted_acknowledges_nothing(tmp_path: Path) -> None:
    store = make(tmp_path / "a.hg", 3)
    shutil.rmtree(tmp_path / "a.hg")
    for step in (lambda: store.remove([1]), lambda: store.commit([new(5)]), store.rebuild):
        with pytest.raises(LibraryError, match=r"deleted or replaced|no library"):
            step()
    store.close()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_forked_child_can_neither_write_nor_read_through_what_it_inherited(tmp_path: Path) -> None:
    script = """
    store = make(Path(sys.argv[1]), 3)
    child = os.fork()
    if child == 0:
        for step in (lambda: store.remove([1]), lambda: store.commit([new(9)]), lambda: store.known("/x")):
            try:
                step()
            except LibraryError as error:
                print("forked" in str(error), flush=True)
        os._exit(0)
    os.waitpid(child, 0)
    print(store.remove([2]))
    """
    assert child(script, tmp_path / "a.hg").communicate()[0].split() == ["True", "True", "True", "1"]


def test_a_clock_that_jumps_changes_nothing_but_the_times(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from hashgrain.store import changes

    times = iter(["2026-05-01T00:00:00Z", "1970-01-01T00:00:00Z", "2106-02-07T06:28:16Z", "2000-01-01T00:00:00Z"])
    monkeypatch.setattr(changes, "now", lambda: next(times))
    path = tmp_path / "a.hg"
    with make(path) as store:
        for number in range(4):
            store.commit([new(number)])
            os.utime(path / "catalogue.sqlite", (1, 1))  # what the clock gives to files
            os.utime(path / page_checksums.NAME, (2**32, 2**32))
            assert store.known(new(number).path) is not None
        store.rebuild()
    with Store.open(path) as store, store.snapshot() as snapshot:
        assert store.verify() == []
        assert [item.added[:4] for item in snapshot.items([1, 2, 3, 4])] == ["2026", "1970", "2106", "2000"]
        assert snapshot.select("added < '2001'").tolist() == [2, 4]


# ---- formats


@pytest.mark.parametrize("name", ["closed", "killed"])
@pytest.mark.parametrize("version", [2, 3])
def test_a_library_of_an_older_format_is_read_as_it_is_and_upgraded_by_the_first_writer(
    tmp_path: Path, name: str, version: int
) -> None:
    path = unpacked(name, tmp_path, version)
    before = (path / "catalogue.sqlite").read_bytes()
    answers = ask(path)
    numbers = {item.meta["number"] for item in answers[1]}
    assert numbers == ({*range(42)} - {3, 19, 5}) | {90}
    assert {code_of(item.meta["number"]).tobytes() for item in answers[1]} == set(answers[0].values())
    refusals = [("/pictures/broken.jpg", (10, 20), "damaged")] if version > 2 else []
    cameras = {item.id: item.details for item in answers[1] if item.details}
    assert cameras == ({n + 1: {"camera": "Canon", "iso": 100 * n} for n in range(30, 42)} if version > 2 else {})
    with Store.open(path) as store, store.snapshot() as snapshot:
        assert store.info()["format"] == version
        assert len(snapshot.select("label = 1 and taken >= '2021'")) == (9 if version == 2 else 5)
        assert store.refusals() == refusals
        assert store.excluded("/pictures/out.jpg") == (version > 2)
        log = (snapshot.history(), snapshot.sequence, replayed(snapshot))
        assert log[2] == answers[0]
    assert (path / "catalogue.sqlite").read_bytes() == before
    with Store.open(path, "w") as store:
        assert store.info()["format"] == FORMAT
        assert store.verify() == []
        assert store.refusals() == refusals
        with store.snapshot() as snapshot:  # who was fed before the upgrade goes on after it
            assert (snapshot.history(), snapshot.sequence, replayed(snapshot)) == log
        store.exclude(["/x"])
    assert ask(path) == answers
    with Store.open(path, "w") as store:
        store.commit([new(300), replaced(1, 301)])
        with store.snapshot() as snapshot:
            assert [each[1:3] for each in snapshot.changes(log[1])] == [("added", 43), ("changed", 1)]
        store.rebuild()
        assert store.verify() == []


@pytest.mark.parametrize("version", [2, 3])
def test_an_upgrade_that_is_killed_leaves_the_old_format_or_the_new_one(tmp_path: Path, version: int) -> None:
    """Killed before the n-th statement of the upgrade, for every n."""
    script = """
    import sqlite3
    left = int(sys.argv[2])
    class Dying(catalogue.Connection):
        def execute(self, sql, *values):
            global left
            if self.in_transaction:
                left -= 1
                if left == 0:
                    os.kill(os.getpid(), 9)
            return super().execute(sql, *values)
    catalogue.Connection = Dying
    Store.open(sys.argv[1], "w").close()
    """
    formats = []
    for step in range(1, 19 if version == 2 else 13):
        path = unpacked("closed", tmp_path / str(step), version)
        right = ask(path)
        child(script, path, step).wait()
        assert ask(path) == right
        with Store.open(path) as store:
            formats.append(store.info()["format"])
        with Store.open(path, "w") as store:
            assert store.verify() == []
        assert ask(path) == right
    assert formats == sorted(formats)
    assert set(formats) == {version, FORMAT}


def test_an_upgrade_is_not_folded_in_before_the_sums_of_its_pages(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SQLite would do so by itself after some megabytes: killed then, the pages would not match their sums."""
    settings: list[object] = []
    real = catalogue.schema.upgrade

    def upgrade(connection: sqlite3.Connection, version: int) -> None:
        settings.append(connection.execute("PRAGMA wal_autocheckpoint").fetchone())
        real(connection, version)

    monkeypatch.setattr(catalogue.schema, "upgrade", upgrade)
    Store.open(unpacked("closed", tmp_path, 3), "w").close()
    assert settings == [(0,)]


def test_metadata_refusals_and_exclusions_are_kept_and_changed(tmp_path: Path) -> None:
    path = tmp_path / "a.hg"
    with make(path, 3) as store:
        store.commit([MetaReplaced(2, {"label": "cat"}), MetaReplaced(3, {})])
        store.refuse([("/b.jpg", (1, 2), "damaged"), ("/a.jpg", (3, 4), "cut short")])
        store.refuse([("/b.jpg", (5, 6), "still damaged")])
        store.forget_refusals(["/a.jpg", "/unknown.jpg"])
        store.exclude(["/c.jpg", "/d.jpg", "/c.jpg"])
        store.include(["/d.jpg"])
        store.commit([new(50, details={"camera": "X", "iso": 100})])
    with Store.open(path) as store, store.snapshot() as snapshot:
        assert [item.meta for item in snapshot.items([1, 2, 3])] == [{"number": 0}, {"label": "cat"}, {}]
        assert snapshot.items([4])[0].details == {"camera": "X", "iso": 100}
        assert store.refusals() == [("/b.jpg", (5, 6), "still damaged")]
        assert (store.exclusions(), store.excluded("/c.jpg"), store.excluded("/d.jpg")) == (["/c.jpg"], True, False)
        assert store.verify() == []


@pytest.mark.parametrize(
    ("table", "values"),
    [("refusals", "(7, 1, 1, 'x')"), ("refusals", "('text', 1, 1, 'x')"), ("refusals", "(x'61', 'x', 1, 'x')"),
     ("refusals", "(x'61', 1, 1, x'00')"), ("exclusions", "(7)"), ("exclusions", "(x'610062')")],
)  # fmt: skip
def test_odd_values_in_what_is_remembered_are_errors(tmp_path: Path, table: str, values: str) -> None:
    path = tmp_path / "a.hg"
    make(path, 2).close()
    change(path, f"INSERT INTO {table} VALUES {values}")
    page_checksums.forget(path)
    with Store.open(path) as store:
        with pytest.raises(LibraryError, match=f"its {table} do not read"):
            getattr(store, table)()
        assert [problem.reason for problem in store.verify() if table in problem.reason]


def test_a_change_log_from_a_stranger_can_run_no_statement_of_its_own(killed: Path, tmp_path: Path) -> None:
    path = copy(killed, tmp_path)
    (path / page_checksums.WAL).unlink()
    with Store.open(path, "w", mend=True) as store:
        owner = store._facts.owner
    content = json.dumps([["DROP TABLE items", [[]]]]).encode()
    head = redo.RECORD.pack(1, len(content), redo._checksum(1, owner, content))
    file = path / redo.NAME
    file.write_bytes(file.read_bytes()[: redo.HEADER] + head + content)
    assert list(redo.records(path, owner)) == []


def test_checking_pages_takes_none_of_sqlite_s_locks_away(tmp_path: Path) -> None:
    """A reader that checked pages, and a writer of another process that closes after it: the reader sees what is new.

    On POSIX systems a process that closes any descriptor of a file loses its locks on it; without them the writer takes
    the write-ahead log away under the reader.
    """
    path = tmp_path / "a.hg"
    make(path, 20).close()
    script = """
    with Store.open(sys.argv[1], "w") as store:
        store.commit([new(int(sys.argv[2]))])
    """
    with Store.open(path) as reader, Store.open(path) as other:
        for number in range(20, 24):
            with reader.snapshot() as snapshot:
                assert len(snapshot.select("format = 'jpeg'")) == number
            assert reader.verify() == []
            assert other.known(new(0).path) is not None
            Store.open(path).close()
            child(script, path, number).wait()
            with reader.snapshot() as snapshot:
                assert len(snapshot) == number + 1
            assert other.known(new(number).path) is not None


def test_a_reader_does_not_answer_with_codes_of_another_model(tmp_path: Path) -> None:
    path = tmp_path / "a.hg"
    make(path, 20).close()
    with Store.open(path) as reader:
        with reader.snapshot() as snapshot:
            assert len(live(snapshot)) == 20
        with Store.open(path, "w") as store:
            codes = [(item, code_of(100 + item).tobytes()) for item in range(1, 21)]
            store.change_model(codes, grains=reader.grains, digest="d2")
            with store.snapshot() as snapshot:
                assert live(snapshot)[5] == code_of(105).tobytes()
        with pytest.raises(LibraryError, match=r"another model|replaced by another library"), reader.snapshot():
            pass


def test_a_catalogue_that_cannot_be_read_after_a_change_of_model_is_one_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from hashgrain.store.readers import Readers

    def broken(self: Readers, **_: object) -> None:
        raise sqlite3.OperationalError("disk I/O error")

    with make(tmp_path / "a.hg", 3) as store:
        monkeypatch.setattr(Readers, "open", broken)
        with pytest.raises(LibraryError, match="disk I/O error"):
            store.change_model(
                [(item, code_of(item).tobytes()) for item in (1, 2, 3)], grains=store.grains, digest="d2"
            )
