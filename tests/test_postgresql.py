"""A library searched in a real PostgreSQL server: in step with it, through faults, and refusing what is not its own."""

from __future__ import annotations

import json
import secrets
import shutil
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("psycopg", reason="needs hashgrain[postgresql]")

import psycopg

from conftest import Run, fill
from contracts.test_engines import CHANGES, GRAINS, QUERIES, replayed
from databases import in_postgresql, programs, shared_server
from engine_libraries import COUNT, changes_are_followed, library_to_ask, the_same
from hashgrain import Library
from hashgrain.engines import EmbeddedEngine, PartsMode
from hashgrain.engines.postgresql import PostgreSql
from hashgrain.engines.sql import SqlEngine
from hashgrain.errors import EngineError, QueryError

pytestmark = [
    pytest.mark.timeout(300),
    pytest.mark.skipif(programs() is None, reason="needs the programs of a PostgreSQL server"),
]


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return library_to_ask(tmp_path_factory.mktemp("sql"))


@pytest.fixture
def address() -> str:
    return shared_server().address(f"t{secrets.token_hex(8)}")


def test_every_question_is_answered_as_by_the_library_itself(path: Path, address: str) -> None:
    assert the_same(path, address) > 100


def test_the_command_searches_there(path: Path, address: str, hashgrain: Run, tmp_path: Path) -> None:
    plain = hashgrain("search", path, "--id", 3, "--json")
    there = hashgrain("search", path, "--id", 3, "--json", "--engine", address)
    assert (there.returncode, there.stderr) == (0, b"")
    assert json.loads(there.stdout) == json.loads(plain.stdout)
    explained = hashgrain("search", path, "--id", 3, "--parts", "--explain", "--engine", address)
    assert f"found by database: compared {COUNT * 66:,} codes".encode() in explained.stderr
    with Library.create(tmp_path / "other.hg", "photo"):
        refused = hashgrain("search", path, "--id", 3, "--engine", address, "--also", tmp_path / "other.hg")
    assert (refused.returncode, b"--engine" in refused.stderr) == (2, True)


def test_codes_are_attached_brought_up_to_date_and_detached_by_the_command(
    path: Path, address: str, hashgrain: Run, tmp_path: Path
) -> None:
    def engine(verb: str, *options: str, code: int = 0) -> Any:
        done = hashgrain("engine", verb, library, address, "--json", *options)
        assert done.returncode == code, done.stderr
        return json.loads(done.stdout if code == 0 else done.stderr)

    library = tmp_path / "copy.hg"
    shutil.copytree(path, library)
    with Library.open(path) as opened, opened.store.snapshot() as snapshot:
        changes = snapshot.sequence
    nothing = engine("status")
    assert nothing == {"engine": nothing["engine"], "attached": False, "changes": changes, "behind": changes}
    assert PostgreSql(address).state() is None  # nothing was made by asking
    for verb in ("sync", "detach"):
        refused = engine(verb, *(["--yes"] if verb == "detach" else []), code=1)["error"]
        assert (refused["code"], "engine attach" in refused["remedy"]) == ("engine", True)
    assert (engine("attach")["behind"], engine("attach")["attached"]) == (0, True)
    assert hashgrain("remove", library, "--id", 3).returncode == 0
    assert engine("status")["behind"] == 1
    assert (engine("sync")["behind"], engine("status")["behind"]) == (0, 0)
    said = (
        hashgrain("engine", "detach", library, address).stdout + hashgrain("engine", "status", library, address).stdout
    )
    assert b"has all" in said
    assert not engine("detach", "--yes")["attached"]
    assert PostgreSql(address).ask("SELECT 1 FROM pg_namespace WHERE nspname = %s", [PostgreSql(address)._schema]) == []


def test_tables_of_another_library_are_neither_filled_nor_removed(path: Path, address: str, tmp_path: Path) -> None:
    Library.create(tmp_path / "other.hg", "photo", workers=1).close()
    with Library.open(path) as one, Library.open(tmp_path / "other.hg") as other:
        sent: list[int] = []
        assert one.database(address).attach(sent.append).behind == 0
        assert sent == list(range(1, len(sent) + 1))
        for act in (other.database(address).attach, other.database(address).sync, other.database(address).detach):
            with pytest.raises(EngineError, match="another library"):
                act()
        assert one.database(address).status().attached
    ahead = PostgreSql(address)
    ahead.ask(f"UPDATE {ahead.states} SET sequence = 10000 RETURNING 1", [])  # as if the library was restored
    with Library.open(path) as one:
        with pytest.raises(EngineError, match="ahead"):
            one.database(address).status()
        assert not one.database(address).detach().attached


def test_a_schema_that_has_other_tables_stays(path: Path, address: str) -> None:
    with Library.open(path) as library:
        library.database(address).attach()
        other = PostgreSql(address)
        other._change(lambda connection: connection.execute(f"CREATE TABLE {other._schema}.mine (a int)"))
        assert not library.database(address).detach().attached
        assert other.ask(f"SELECT count(*) FROM {other._schema}.mine", []) == [(0,)]
        with pytest.raises(EngineError, match="no address of a database"):
            library.database("embedded").status()


def test_what_changes_in_the_library_changes_there(tmp_path: Path, address: str) -> None:
    changes_are_followed(tmp_path, address)


WRONG = {
    "no server": ("postgresql://postgres@/postgres?host=/nowhere", "cannot be reached"),
    "no database": ("{server}/nothing?host={folder}", "cannot be reached"),
    "a schema that is none": ("{server}/postgres?host={folder}&schema=a-b", "small letters"),
    "another kind of database": ("mysql://me:secret@host/database", "there is no engine 'mysql://...'"),
    "no address": ("postgresql", "there is no engine"),
    "half an address": ("postgresql://[::1", "cannot be read"),
    "an option that is none": ("{server}/postgres?host={folder}&colour=red", "colour"),
}


@pytest.mark.parametrize("name", WRONG)
def test_an_address_that_leads_nowhere_is_an_error(path: Path, hashgrain: Run, name: str) -> None:
    address, reason = WRONG[name]
    address = address.format(server="postgresql://postgres:secret@", folder=shared_server().folder)
    done = hashgrain("search", path, "--id", 3, "--engine", address)
    assert done.returncode == 1
    assert reason in done.stderr.decode()
    assert b"Traceback" not in done.stderr
    assert b"secret" not in done.stderr


def test_tables_of_another_library_or_format_are_refused(path: Path, address: str, tmp_path: Path) -> None:
    the_same(path, address)
    with Library.create(tmp_path / "other.hg", "photo", workers=0) as other:
        other.add(fill(tmp_path / "few", 2))
    with pytest.raises(EngineError, match="another library"):
        Library.open(tmp_path / "other.hg", engine=address)
    with Library.create(tmp_path / "small.hg", "small"), pytest.raises(EngineError, match="codes with kind:48"):
        Library.open(tmp_path / "small.hg", engine=address)
    schema = address.rpartition("=")[2]
    with psycopg.connect(address.partition("&schema")[0], autocommit=True) as connection:
        connection.execute(f"UPDATE {schema}.state SET format = 99")
        with pytest.raises(EngineError, match="format 99"):
            Library.open(path, engine=address)
        connection.execute(f"UPDATE {schema}.state SET format = 1, sequence = 1000000")
        with pytest.raises(EngineError, match="ahead"):
            Library.open(path, engine=address)
        connection.execute(f"DROP SCHEMA {schema} CASCADE")
    assert the_same(path, address) > 100  # an empty one is filled again


def test_a_user_without_rights_is_told_so(path: Path, address: str) -> None:
    the_same(path, address)
    with psycopg.connect(address.partition("&schema")[0], autocommit=True) as connection:
        connection.execute("DROP ROLE IF EXISTS nobody_here")
        connection.execute("CREATE ROLE nobody_here LOGIN")
    with pytest.raises(EngineError, match="permission denied"):
        Library.open(path, engine=address.replace("postgres@", "nobody_here@"))


def test_an_address_without_a_host_is_read_as_others_read_it(path: Path, address: str) -> None:
    folder = shared_server().folder
    bare = f"postgresql:///postgres?user=postgres&host={folder}&schema={address.rpartition('=')[2]}"
    assert the_same(path, bare) > 100


def test_without_the_driver_it_is_said_how_to_get_it(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(EngineError, match="not installed") as refused:
        Library.open(path, engine="postgresql://host/database")
    assert refused.value.remedy == "pip install 'hashgrain[postgresql]'"


def test_no_answer_is_of_another_state_than_the_one_asked_of() -> None:
    """Two programs have the same tables: one brings them further while the other asks."""
    engine = in_postgresql(GRAINS, CHANGES[:60])
    other = SqlEngine(PostgreSql(engine.dialect._address + f"&schema={engine.dialect._schema}"), GRAINS)  # type: ignore[attr-defined]
    other.apply(CHANGES[60:90])
    nothing = np.empty(0, np.int64)
    asking: list[Callable[[], object]] = [
        lambda: engine.nearest(QUERIES, 3, grain="look"),
        lambda: engine.nearest(QUERIES, 3, grain="look", where=nothing),
        lambda: engine.within(QUERIES, 0, grain="look", where=nothing),
        lambda: engine.agreeing(np.ones(128, np.float32), 3, grain="look"),
    ]
    for ask in asking:
        with pytest.raises(EngineError, match="another state"):
            ask()
    assert engine.sequence == other.sequence == CHANGES[89].number
    for ask in asking:
        ask()
    other.close()


@pytest.mark.parametrize("parts", ["whole", "all"])
def test_weights_that_are_no_fractions_of_two_are_rounded_as_everywhere(parts: PartsMode) -> None:
    weights = {"kind": 0.1, "thing": 1 / 3, "look": 0.7}
    made, there = EmbeddedEngine([], GRAINS), in_postgresql(GRAINS, CHANGES)
    made.apply(CHANGES)
    both = [each.nearest(QUERIES, 60, grain="look", parts=parts, weights=weights) for each in (made, there)]
    for own, other in zip(*both, strict=True):
        assert other.ids.tolist() == own.ids.tolist()
        assert other.distances.tolist() == own.distances.tolist()
    for wrong in ({**weights, "kind": -1.0}, {**weights, "kind": float("nan")}, dict.fromkeys(weights, 0.0)):
        for engine in (made, there):
            with pytest.raises(QueryError, match="weights are"):
                engine.nearest(QUERIES, 3, grain="look", weights=wrong)


def test_changes_are_not_applied_to_tables_that_lack_those_before() -> None:
    for wrong in ("library = '', sequence = 0", "sequence = 40", "library = 'another'"):
        engine = in_postgresql(GRAINS, CHANGES[:60])
        assert isinstance(engine.dialect, PostgreSql)
        engine.dialect.ask(f"UPDATE {engine.dialect.states} SET {wrong} RETURNING 1", [])
        with pytest.raises(EngineError, match=r"filled .* anew"):
            engine.apply(CHANGES[60:])
        ((rows,),) = engine.dialect.ask(f"SELECT count(*) FROM {engine.dialect.codes}", [])
        assert rows == len(replayed(CHANGES[:60]))


def test_programs_that_bring_it_up_to_date_at_once_do_so_once(path: Path, address: str) -> None:
    failed: list[Exception] = []

    def ask() -> None:
        try:
            with Library.open(path, engine=address, workers=0) as library:
                assert len(library.search(5, k=None)) == COUNT - 1
        except Exception as error:
            failed.append(error)

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    assert the_same(path, address) > 100
