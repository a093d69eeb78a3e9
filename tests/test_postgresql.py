"""A library searched in a real PostgreSQL server: in step with it, through faults, and refusing what is not its own."""

from __future__ import annotations

import json
import random
import secrets
import threading
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("psycopg", reason="needs hashgrain[postgresql]")

import psycopg

from conftest import Run, fill, make_picture
from databases import Server, programs, shared_server
from databases import postgresql as running
from hashgrain import Hit, Library
from hashgrain.errors import EngineError
from hashgrain.store import New

pytestmark = [
    pytest.mark.timeout(300),
    pytest.mark.skipif(programs() is None, reason="needs the programs of a PostgreSQL server"),
]
COUNT = 16
QUESTIONS: list[dict[str, Any]] = [
    {},
    {"k": None, "grain": "kind"},
    {"grain": "thing", "where": "label = 1"},
    {"within": 30, "k": None},
    {"parts": "all"},
    {"parts": "whole", "weights": {"kind": 3.0, "thing": 1.0, "look": 0.5}},
    {"stages": [("kind", 9)]},
    {"min_score": 0.2},
]


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sql")
    pictures = fill(folder / "pictures", COUNT)
    with Library.create(folder / "photos.hg", "photo", workers=1) as library:
        library.add(pictures, parts=True)
        library.meta(where="id > 8", set={"label": 1})
    return folder / "photos.hg"


@pytest.fixture
def address() -> str:
    return shared_server().address(f"t{secrets.token_hex(8)}")


def summary(hits: list[Hit]) -> list[Any]:
    return [(hit.id, hit.distance, hit.score, hit.part) for hit in hits]


def the_same(path: Path, address: str) -> int:
    """Ask a library and its engine the same; how many hits there were."""
    hits = 0
    with Library.open(path, workers=0) as plain, Library.open(path, engine=address, workers=0) as library:
        for question in QUESTIONS:
            for query in (5, make_picture(7)):
                expected = summary(plain.search(query, **question))
                assert summary(library.search(query, **question)) == expected, question
                hits += len(expected)
        assert summary(library.search(text="dog", k=5)) == summary(plain.search(text="dog", k=5))
    return hits


def test_every_question_is_answered_as_by_the_library_itself(path: Path, address: str) -> None:
    assert the_same(path, address) > 100


def test_the_command_searches_there(path: Path, address: str, hashgrain: Run) -> None:
    plain = hashgrain("search", path, "--id", 3, "--json")
    there = hashgrain("search", path, "--id", 3, "--json", "--engine", address)
    assert (there.returncode, there.stderr) == (0, b"")
    assert json.loads(there.stdout) == json.loads(plain.stdout)
    explained = hashgrain("search", path, "--id", 3, "--explain", "--engine", address)
    assert b"found by database" in explained.stderr
    refused = hashgrain("search", path, "--id", 3, "--engine", address, "--also", path)
    assert (refused.returncode, b"--engine" in refused.stderr) == (2, True)


def test_what_changes_in_the_library_changes_there(tmp_path: Path, address: str) -> None:
    pictures = fill(tmp_path / "pictures", 12)
    with Library.create(tmp_path / "photos.hg", engine=address, workers=0) as library:
        library.add(pictures)
        assert len(library.search(1, k=None)) == 11
        library.remove([2, 3])
        assert {hit.id for hit in library.search(1, k=None)} == set(range(4, 13))
    with Library.open(tmp_path / "photos.hg", "w", workers=0) as library:  # without the engine
        library.add(fill(tmp_path / "more", 3, start=50))
        expected = summary(library.search(1, k=None))
    with Library.open(tmp_path / "photos.hg", engine=address, workers=0) as library:
        assert summary(library.search(1, k=None)) == expected


WRONG = {
    "no server": ("postgresql://postgres@/postgres?host=/nowhere", "cannot be reached"),
    "no database": ("{server}/nothing?host={folder}", "cannot be reached"),
    "a schema that is none": ("{server}/postgres?host={folder}&schema=a-b", "small letters"),
    "another kind of database": ("mysql://host/database", "there is no engine"),
    "no address": ("postgresql", "there is no engine"),
    "an option that is none": ("{server}/postgres?host={folder}&colour=red", "colour"),
}


@pytest.mark.parametrize("name", WRONG)
def test_an_address_that_leads_nowhere_is_an_error(path: Path, hashgrain: Run, name: str) -> None:
    address, reason = WRONG[name]
    address = address.format(server="postgresql://postgres:secret@", folder=shared_server().folder)
    done = hashgrain("search", path, "--id", 3, "--engine", address)
    assert done.returncode == 2 or done.returncode == 1
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


def test_a_server_killed_while_it_is_filled_and_asked_loses_and_doubles_nothing(tmp_path: Path, path: Path) -> None:
    """Killed at random moments, started again: the next search is right, of whatever the server had by then."""
    with Library.open(path) as library:
        codes, _ = library.codes()
    with Library.create(tmp_path / "large.hg", "photo", workers=0) as library:
        for start in range(0, 20_000, 5_000):
            library.store.commit([made(n, codes.words[n % COUNT]) for n in range(start, start + 5_000)])
        expected = summary(library.search(5, k=200))
    with running() as server:
        kill_and_ask(server, tmp_path / "large.hg", expected)


def kill_and_ask(server: Server, path: Path, expected: list[Any]) -> None:
    draw = random.Random(1)
    address, failures = server.address("killed"), 0
    for _ in range(4):
        ending = threading.Timer(draw.uniform(0.05, 1.5), server.kill)
        ending.start()
        try:
            while ending.is_alive():
                with Library.open(path, engine=address, workers=0) as library:
                    assert summary(library.search(5, k=200)) == expected
        except EngineError:
            failures += 1
        ending.join()
        server.start()
    with Library.open(path, engine=address, workers=0) as library:
        assert summary(library.search(5, k=200)) == expected
        server.kill()
        server.start()
        assert summary(library.search(5, k=200)) == expected  # by a new connection
    assert failures > 0
    with psycopg.connect(address.partition("&schema")[0]) as connection:
        (rows,) = connection.execute("SELECT count(*) FROM killed.codes").fetchone()  # type: ignore[misc]
    assert rows == 20_000


def made(n: int, code: Any) -> New:
    word = code.copy()
    word[n % len(word)] ^= word.dtype.type(n)
    return New(f"/p/{n}.jpg", f"{n:064x}", (n, n), 9, 9, "jpeg", None, word, {})
