"""A library searched in the engine of ClickHouse: in step with it, through faults, and refusing what is not its own."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("chdb", reason="needs hashgrain[clickhouse]")

from clickhouse_front import PASSWORD, USER, Front, front_of
from conftest import Run, fill
from contracts.test_engines import CHANGES, GRAINS, QUERIES, replayed
from databases import chdb_address
from engine_libraries import changes_are_followed, library_to_ask, summary, the_same
from hamming_questions import listed
from hashgrain import Library
from hashgrain.engines import EmbeddedEngine, clickhouse
from hashgrain.engines.chdb import Chdb
from hashgrain.engines.chdb import _open as chdb_sessions
from hashgrain.engines.clickhouse import ClickHouse, Place
from hashgrain.engines.clickhouse_server import ClickHouseServer
from hashgrain.engines.sql import SqlEngine
from hashgrain.errors import EngineError
from hashgrain.hamming.rows import unpacked

pytestmark = pytest.mark.timeout(300)
EVERYTHING = 10_000


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return library_to_ask(tmp_path_factory.mktemp("sql"))


@pytest.fixture
def address() -> str:
    return chdb_address(f"t{secrets.token_hex(8)}")


def opened(address: str) -> SqlEngine:
    engine = SqlEngine(ClickHouse(Chdb(address)), GRAINS)
    engine.library = engine.library or "tests"
    return engine


def place_of(engine: SqlEngine) -> Place:
    assert isinstance(engine.dialect, ClickHouse)
    return engine.dialect._place


def is_right(engine: SqlEngine, n_changes: int) -> bool:
    """Whether it answers for the library after so many changes, wholes and parts."""
    made = EmbeddedEngine([], GRAINS)
    made.apply(CHANGES[:n_changes])
    both = [
        [listed(each.nearest(QUERIES[:2], EVERYTHING, grain="thing", parts=parts)[0]) for parts in ("whole", "all")]
        for each in (made, engine)
    ]
    return both[0] == both[1]


def rows_there(address: str) -> int:
    """Those that count and those that do not."""
    there = ClickHouse(Chdb(address))
    ((rows,),) = there._place.run(f"SELECT count() FROM {there._database}.codes")
    there.close()
    return int(rows)


def rows_of(n_changes: int) -> int:
    made = EmbeddedEngine([], GRAINS)
    made.apply(CHANGES[:n_changes])
    return sum(int(unpacked(rows).sum()) for rows in (*made.segments, *made.part_segments))


def test_every_question_is_answered_as_by_the_library_itself(path: Path, address: str) -> None:
    assert the_same(path, address) > 100


def test_codes_are_attached_searched_and_detached_by_the_command(path: Path, hashgrain: Run, tmp_path: Path) -> None:
    library, folder = tmp_path / "copy.hg", tmp_path / "there"
    shutil.copytree(path, library)

    def engine(verb: str, *options: str) -> Any:
        done = hashgrain("engine", verb, library, f"chdb://{folder}", "--json", *options)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    assert not engine("status")["attached"]
    assert not folder.exists()  # nothing was made by asking
    assert engine("attach")["behind"] == 0
    assert hashgrain("remove", library, "--id", 3).returncode == 0
    assert engine("status")["behind"] == 1
    assert engine("sync")["behind"] == 0
    plain = hashgrain("search", library, "--id", 5, "--json")
    there = hashgrain("search", library, "--id", 5, "--json", "--engine", f"chdb://{folder}?database=hashgrain")
    assert (there.returncode, there.stderr) == (0, b"")
    assert json.loads(there.stdout) == json.loads(plain.stdout)
    assert not engine("detach", "--yes")["attached"]
    assert not engine("status")["attached"]


def test_what_changes_in_the_library_changes_there(tmp_path: Path, address: str) -> None:
    changes_are_followed(tmp_path, address)


WRONG = {
    "chdb:///": "names no folder",
    "chdb://host/folder": "names no folder",
    "chdb://{folder}/file.txt": "is a file",
    "chdb://{folder}": "files that are not chdb's",
    "chdb:///proc/no/folder": "cannot be opened",
    "chdb://{folder}/new?database=A-B": "small letters",
    "chdb://{folder}/new?colour=red": "not colour",
}


@pytest.mark.parametrize("wrong", WRONG)
def test_an_address_that_leads_nowhere_is_an_error(path: Path, hashgrain: Run, tmp_path: Path, wrong: str) -> None:
    (tmp_path / "file.txt").write_text("mine")
    done = hashgrain("search", path, "--id", 3, "--engine", wrong.format(folder=tmp_path))
    assert done.returncode == 1
    assert WRONG[wrong] in done.stderr.decode()
    assert b"Traceback" not in done.stderr
    assert sorted(each.name for each in tmp_path.iterdir()) == ["file.txt"]


def test_a_folder_that_was_only_opened_is_no_other_one(tmp_path: Path) -> None:
    opened = "import sys; from hashgrain.engines.chdb import Chdb; place = Chdb(sys.argv[1]); place.run('SELECT 1')"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    for _ in range(2):
        subprocess.run([sys.executable, "-c", opened, f"chdb://{tmp_path / 'there'}"], check=True, env=environment)
    assert (tmp_path / "there").is_dir()


def test_a_folder_that_another_program_has_open_is_refused(path: Path, hashgrain: Run, address: str) -> None:
    assert the_same(path, address) > 100
    engine = SqlEngine(ClickHouse(Chdb(address)), Library.open(path).grains)
    done = hashgrain("search", path, "--id", 3, "--engine", address)
    engine.close()
    assert (done.returncode, done.stderr.count(b"\n")) == (1, 1)
    assert b"open in another program" in done.stderr


def test_tables_of_another_library_or_format_are_refused(path: Path, address: str, tmp_path: Path) -> None:
    the_same(path, address)
    sessions = len(chdb_sessions)
    with Library.create(tmp_path / "other.hg", "photo", workers=0) as other:
        other.add(fill(tmp_path / "few", 2))
        with pytest.raises(EngineError, match="another library"):
            other.database(address).detach()
    with pytest.raises(EngineError, match="another library"):
        Library.open(tmp_path / "other.hg", engine=address)
    with Library.create(tmp_path / "small.hg", "small"), pytest.raises(EngineError, match="codes with kind:48"):
        Library.open(tmp_path / "small.hg", engine=address)
    there = ClickHouse(Chdb(address))
    there._place.run(f"ALTER TABLE {there._states} UPDATE format = 99 WHERE 1 SETTINGS mutations_sync = 2")
    with pytest.raises(EngineError, match="format 99"):
        Library.open(path, engine=address)
    there.drop_tables()
    assert len(chdb_sessions) == sessions + 1  # that of `there`; those that were refused are closed
    there.close()
    assert the_same(path, address) > 100  # an empty one is filled again


def test_a_database_that_has_other_tables_stays(path: Path, address: str) -> None:
    with Library.open(path) as library:
        library.database(address).attach()
        other = ClickHouse(Chdb(address))
        other._place.run(f"CREATE TABLE {other._database}.mine (a Int32) ENGINE = MergeTree ORDER BY a")
        assert not library.database(address).detach().attached
        assert other._place.run(f"SELECT count() FROM {other._database}.mine") == [(0,)]
        other.close()


def test_without_chdb_it_is_said_how_to_get_it(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "chdb", None)
    with pytest.raises(EngineError, match="not installed") as refused:
        Library.open(path, engine="chdb:///folder")
    assert refused.value.remedy == "pip install 'hashgrain[clickhouse]'"


@pytest.mark.parametrize("during", [False, True])
def test_no_answer_is_of_another_state_than_the_one_asked_of(
    address: str, monkeypatch: pytest.MonkeyPatch, during: bool
) -> None:
    """Another program brings the tables further after this one read their state, or while it asks."""
    engine, other = opened(address), opened(address)
    engine.apply(CHANGES[:60])
    run, nothing, reached = Chdb.run, np.empty(0, np.int64), 60

    def further(self: Chdb, query: str) -> Any:
        found = run(self, query)
        if self is place_of(engine) and ".codes" in query and during:
            other.apply(CHANGES[:reached])
        return found

    monkeypatch.setattr(Chdb, "run", further)
    asking: list[Callable[[], object]] = [
        lambda: engine.nearest(QUERIES, 3, grain="look"),
        lambda: engine.nearest(QUERIES, 3, grain="look", where=nothing),
        lambda: engine.within(QUERIES, 0, grain="look", where=nothing),
        lambda: engine.agreeing(np.ones(128, np.float32), 3, grain="look"),
    ]
    for ask in asking:
        assert other.sequence == engine.sequence == CHANGES[reached - 1].number
        reached += 1
        if not during:
            other.apply(CHANGES[:reached])
        with pytest.raises(EngineError, match="another state"):
            ask()
    assert engine.sequence == other.sequence
    for ask in asking:
        ask()
    engine.close()
    other.close()


STATEMENTS = 9  # that bring a batch at most


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("statement", range(STATEMENTS))
def test_what_stops_at_any_statement_loses_and_doubles_nothing(
    address: str, monkeypatch: pytest.MonkeyPatch, statement: int, after: bool
) -> None:
    """Killed before or after any statement of a change that replaces rows; another program goes on."""
    monkeypatch.setattr(clickhouse, "MOST_REPLACED", 3)  # so that rows are deleted, too
    engine, other = opened(address), opened(address)
    engine.apply(CHANGES[:60])
    run, left = Chdb.run, [statement]

    def killed(self: Chdb, query: str) -> Any:
        if self is not place_of(engine):
            return run(self, query)
        left[0] -= 1
        if left[0] == -1 and after:
            run(self, query)
        if left[0] < 0:
            raise EngineError("killed")
        return run(self, query)

    monkeypatch.setattr(Chdb, "run", killed)
    with suppress(EngineError):  # there may be fewer statements
        engine.apply(CHANGES[60:120])
    reached = other.sequence
    assert reached in (CHANGES[59].number, CHANGES[119].number)
    assert is_right(other, 60 if reached == CHANGES[59].number else 120)
    other.apply(CHANGES[:120])
    assert is_right(other, 120)
    other.apply(CHANGES)
    assert is_right(other, len(CHANGES))
    dialect = other.dialect
    assert isinstance(dialect, ClickHouse)
    dialect._clean(dialect._need_view())
    assert rows_there(address) == rows_of(len(CHANGES))
    engine.close()
    other.close()


@pytest.mark.parametrize("statement", range(STATEMENTS))
def test_of_two_that_bring_it_further_at_once_one_does(
    address: str, monkeypatch: pytest.MonkeyPatch, statement: int
) -> None:
    """Another program brings other changes before any statement of this one; what this one wrote does not count."""
    monkeypatch.setattr(clickhouse, "MOST_REPLACED", 3)
    engine, other = opened(address), opened(address)
    engine.apply(CHANGES[:60])
    assert other.sequence == CHANGES[59].number
    run, left = Chdb.run, [statement]

    def overtaken(self: Chdb, query: str) -> Any:
        if self is place_of(engine):
            left[0] -= 1
            if left[0] == -1:
                other.apply(CHANGES[60:90])
        return run(self, query)

    monkeypatch.setattr(Chdb, "run", overtaken)
    engine.apply(CHANGES[60:120])
    assert engine.sequence == CHANGES[119].number
    assert is_right(engine, 120)
    assert other.sequence == engine.sequence
    assert is_right(other, 120)
    other.apply(CHANGES)
    assert is_right(other, len(CHANGES))
    for each in (engine, other):
        each.close()


def test_tables_made_anew_take_nothing_of_who_knew_the_old_ones(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    engine, other = opened(address), opened(address)
    engine.apply(CHANGES[:60])
    add = ClickHouse._add_state

    def made_anew(self: ClickHouse, token: str, values: tuple[Any, ...]) -> None:
        if self is engine.dialect:
            other.dialect.drop_tables()
            opened(address).close()
        add(self, token, values)

    monkeypatch.setattr(ClickHouse, "_add_state", made_anew)
    with pytest.raises(EngineError):
        engine.apply(CHANGES[60:120])
    fresh = opened(address)
    assert fresh.sequence == 0
    fresh.apply(CHANGES)
    assert is_right(fresh, len(CHANGES))
    for each in (engine, other, fresh):
        each.close()


def test_changes_of_one_library_are_not_applied_after_those_of_another(address: str) -> None:
    engine, other = opened(address), opened(address)
    engine.apply(CHANGES[:60])
    other.library = "another"
    with pytest.raises(EngineError, match=r"filled .* anew"):
        other.apply(CHANGES[:60])
    assert is_right(engine, 60)
    engine.close()
    other.close()


@pytest.fixture
def front(address: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Front]:
    monkeypatch.setenv("CLICKHOUSE_PASSWORD", PASSWORD)
    with front_of(address) as front:
        yield front


def test_a_server_is_asked_by_http(path: Path, front: Front, address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    server = f"clickhouse://{USER}@{front.host}?{address.partition('?')[2]}"
    assert the_same(path, server) > 100
    with Library.open(path, engine=server, workers=0) as library:
        expected = summary(library.search(5))
        front.drop = True
        assert summary(library.search(5)) == expected  # by a new connection
        asked = front.asked
        library.search(5)
        assert front.asked > asked
        front.says = b"<html>"
        with pytest.raises(EngineError, match="not of a ClickHouse server"):
            library.search(5)
        front.says = None
        assert library.database(server).status().engine == server.replace(f"{USER}@", "")
        with pytest.raises(EngineError, match="cannot be reached"):  # it speaks no TLS
            library.database(server.replace("clickhouse", "clickhouses", 1)).status()
    monkeypatch.setenv("CLICKHOUSE_PASSWORD", "of another")
    with pytest.raises(EngineError, match="Authentication failed"):
        Library.open(path, engine=server)


def test_what_writes_is_not_sent_again(address: str, front: Front) -> None:
    server = f"clickhouse://{USER}@{front.host}?{address.partition('?')[2]}"
    engine = SqlEngine(ClickHouse(ClickHouseServer(server)), GRAINS)
    engine.library = "tests"
    engine.apply(CHANGES[:60])
    front.drop_inserts = True
    inserts = front.inserts
    with pytest.raises(EngineError, match="cannot be reached"):
        engine.apply(CHANGES)
    assert front.inserts == inserts + 1
    front.drop_inserts = False
    engine.apply(CHANGES)
    assert is_right(engine, len(CHANGES))
    engine.close()


SERVERS = {
    "clickhouse://me@localhost:1": "cannot be reached",
    "clickhouse://me:secret@localhost": "belongs into the environment",
    "clickhouse://": "is clickhouse://user@host",
    "clickhouse://[::1": "cannot be read",
    "clickhouse://localhost:port": "cannot be read",
    "clickhouse://localhost/photos": "is clickhouse://user@host",
    "clickhouse://localhost?schema=photos": "not schema",
}


@pytest.mark.parametrize("wrong", SERVERS)
def test_an_address_of_no_server_is_an_error(path: Path, hashgrain: Run, wrong: str) -> None:
    done = hashgrain("search", path, "--id", 3, "--engine", wrong)
    assert done.returncode == 1
    assert SERVERS[wrong] in done.stderr.decode()
    assert b"Traceback" not in done.stderr
    assert b"secret" not in done.stderr


ASKING = """
import sys
from hashgrain import Library
with Library.open(sys.argv[1], engine=sys.argv[2], workers=0) as library:
    print(library.search(5, k=None) is not None, flush=True)
"""


CUT = """
import os, sys
from hashgrain.engines.chdb import Chdb
from hashgrain.hamming.mapping import map_file
with open(sys.argv[1], "wb") as file:
    file.write(b"x" * 100_000)
with open(sys.argv[1], "rb") as file:
    before, later = map_file(file.fileno(), 100_000), map_file(file.fileno(), 100_000)
    place = Chdb(f"chdb://{sys.argv[2]}")
    place.run("SELECT 1")
    os.truncate(sys.argv[1], 4096)
    print(bytes(before.view[50_000:50_004]) == bytes(4), before.cut(), flush=True)
    place.close()
    print(bytes(later.view[60_000:60_004]) == bytes(4), later.cut(), flush=True)
"""


def test_files_that_are_cut_short_are_noticed_beside_the_engine(tmp_path: Path) -> None:
    """It handles signals of the whole process, and would end it."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", CUT, tmp_path / "file", tmp_path / "there"]
    done = subprocess.run(command, capture_output=True, check=False, env=environment, timeout=60)
    assert (done.returncode, done.stdout) == (0, b"True True\nTrue True\n"), done.stderr


def test_a_name_with_a_quote_is_written_as_it_is(address: str) -> None:
    engine = opened(address)
    engine.library = "it's \\ 'tests'); DROP TABLE x; --"
    engine.apply(CHANGES[:60])
    again = opened(address)
    assert again.library == engine.library
    assert is_right(again, 60)
    engine.close()
    again.close()


def test_programs_one_after_the_other_have_it(path: Path, tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    for _ in range(2):
        command = [sys.executable, "-c", ASKING, path, f"chdb://{tmp_path / 'there'}"]
        done = subprocess.run(command, capture_output=True, check=False, env=environment)
        assert (done.returncode, done.stdout) == (0, b"True\n"), done.stderr


def test_more_items_than_a_query_may_have_bytes(address: str) -> None:
    engine = opened(address)
    engine.apply(CHANGES)
    (found,) = engine.nearest(QUERIES[:1], EVERYTHING, grain="look", where=np.arange(200_000, dtype=np.int64))
    assert len(found) == len(replayed(CHANGES))
    engine.close()
