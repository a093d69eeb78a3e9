"""Searching as people do it: in several libraries, with a folder of queries, and with what is no picture."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from conftest import Run, fill, make_picture
from hashgrain import Library
from hashgrain.codes import Grains
from hashgrain.models import Bundle


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two libraries with 9 pictures each, 3 of them the same files, and 2 of the others the same bytes."""
    folder = tmp_path_factory.mktemp("several")
    first, second = fill(folder / "first", 9), fill(folder / "second", 6, start=20)
    for name in ("00000.jpg", "00001.jpg"):
        shutil.copy(first / name, second / f"copy of {name}")
    with Library.create(folder / "a.hg") as library:
        library.add([first], meta={"album": "one"})
    with Library.create(folder / "b.hg") as library:
        library.add([second, first / "00000.jpg"])
    return folder


def hits(done: Any) -> Any:
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def brute(place: Path, query: Path | int, grain: str, names: tuple[str, ...] = ("a.hg", "b.hg")) -> list[tuple]:
    """Every item of the libraries in the order they ask for: distance, whole distance, library, id."""
    rows = []
    for position, name in enumerate(names):
        with Library.open(place / name) as library:
            every = library.search(query, k=None, grain=grain)
        rows += [(h.distance, h.distances["look"], position, h.id, str(place / name), h.path) for h in every]
    return sorted(rows)


@pytest.mark.parametrize("grain", ["kind", "look"])
@pytest.mark.parametrize("k", [1, 4, 30])
def test_several_libraries_answer_as_one_and_exactly(hashgrain: Run, place: Path, grain: str, k: int) -> None:
    picture = place / "first/00001.jpg"
    asked = hashgrain("search", place / "a.hg", picture, "--also", place / "b.hg", "-k", k, "-g", grain, "--json")
    answer = [(hit["distance"], hit["library"], hit["id"], hit["path"]) for hit in hits(asked)]
    assert answer == [(d, name, id, path) for d, _, _, id, name, path in brute(place, picture, grain)[:k]]


def test_the_nearest_are_ordered_by_the_outputs_of_the_model(hashgrain: Run, place: Path) -> None:
    picture = place / "first/00001.jpg"
    with Library.open(place / "a.hg") as library:
        expected = [(hit.id, hit.distance) for hit in library.search(picture, rerank=7)]
        assert expected != [(hit.id, hit.distance) for hit in library.search(picture)]
    found = hits(hashgrain("search", place / "a.hg", picture, "--rerank", 7, "--json"))
    assert [(hit["id"], hit["distance"]) for hit in found] == expected
    many = hashgrain("search", place / "a.hg", place / "first", "--rerank", 7)
    assert (many.returncode, b"one query and one library" in many.stderr) == (2, True)
    for options in (["--also", place / "b.hg"], ["--turned"], ["--stages", "kind:5"], ["--like", picture]):
        refused = hashgrain("search", place / "a.hg", picture, "--rerank", 7, *options)
        assert (refused.returncode, b"does not go with" in refused.stderr) == (2, True), options
    by_id = hashgrain("search", place / "a.hg", "--id", 1, "--rerank", 7)
    assert (by_id.returncode, by_id.stderr.count(b"rerank takes a picture")) == (1, 1)


def test_lines_of_several_libraries_name_the_library(hashgrain: Run, place: Path) -> None:
    asked = hashgrain("search", place / "a.hg", place / "first/00001.jpg", "--also", place / "b.hg", "-k", 3)
    rows = [line.split("\t") for line in asked.stdout.decode().splitlines()]
    assert [row[2] for row in rows[:2]] == [str(place / "a.hg"), str(place / "b.hg")]
    assert {len(row) for row in rows} == {5}


def test_an_item_asks_other_libraries_by_its_code(hashgrain: Run, place: Path) -> None:
    answer = hits(hashgrain("search", place / "a.hg", "--id", 1, "--also", place / "b.hg", "-k", 30, "--json"))
    assert len(answer) == 9 + 9 - 1
    assert (str(place / "a.hg"), 1) not in {(hit["library"], hit["id"]) for hit in answer}


def test_libraries_of_other_models_are_not_mixed(hashgrain: Run, place: Path, tmp_path: Path) -> None:
    good = Bundle.read("default")
    other = Bundle("other", good.onnx, Grains(kind=16, look=128), good.size)
    Library.create(tmp_path / "other.hg", other).close()
    done = hashgrain("search", place / "a.hg", place / "first/00001.jpg", "--also", tmp_path / "other.hg")
    assert (done.returncode, done.stdout) == (1, b"")
    assert b"other.hg was built with another model than" in done.stderr


# ---- a folder of queries


@pytest.fixture
def queries(tmp_path: Path) -> Path:
    folder = fill(tmp_path / "queries", 3)
    make_picture(99).save(folder / "new\tone.png")
    return folder


def test_a_folder_of_queries_is_answered_picture_by_picture(hashgrain: Run, place: Path, queries: Path) -> None:
    answers = hits(hashgrain("search", place / "a.hg", queries, "-k", 2, "--json"))
    assert [Path(answer["query"]).name for answer in answers] == sorted(os.listdir(queries))
    for answer in answers[::3]:
        assert answer["hits"] == hits(hashgrain("search", place / "a.hg", answer["query"], "-k", 2, "--json"))
    lines = hashgrain("search", place / "a.hg", queries, "-k", 2, "--jsonl").stdout.splitlines()
    flat = [{"query": answer["query"], **hit} for answer in answers for hit in answer["hits"]]
    assert [json.loads(line) for line in lines] == flat
    rows = [
        line.split("\t") for line in hashgrain("search", place / "a.hg", queries, "-k", 2).stdout.decode().splitlines()
    ]
    assert [row[0].replace(r"\t", "\t") for row in rows] == [hit["query"] for hit in flat]
    assert [row[4] for row in rows] == [hit["path"] for hit in flat]
    paths = hashgrain("search", place / "a.hg", queries, "-k", 2, "-0").stdout.split(b"\0")[:-1]
    assert [os.fsdecode(path) for path in paths] == [hit["path"] for hit in flat]


def test_queries_of_a_folder_that_cannot_be_opened_are_named(hashgrain: Run, place: Path, queries: Path) -> None:
    (queries / "broken.jpg").write_bytes(b"\xff\xd8\xff nonsense")
    asked = hashgrain("search", place / "a.hg", queries, "-k", 1, "--json")
    assert (asked.returncode, len(json.loads(asked.stdout))) == (3, 4)
    assert asked.stderr.startswith(b"refused: ")
    assert b"broken.jpg" in asked.stderr
    (queries / "none").mkdir()
    none = hashgrain("search", place / "a.hg", queries / "none")
    assert (none.returncode, b"no pictures in" in none.stderr) == (1, True)


# ---- not oneself


def test_not_self_leaves_out_the_file_and_its_twins(hashgrain: Run, place: Path, tmp_path: Path) -> None:
    picture = place / "first/00001.jpg"
    also = ("--also", place / "b.hg", "-k", 30, "--json", "--not-self")
    for query in ([picture], ["--id", 2]):
        paths = [hit["path"] for hit in hits(hashgrain("search", place / "a.hg", *query, *also))]
        assert len(paths) == 8 + 8
        assert not [path for path in paths if "00001" in path]
    elsewhere = shutil.copy(picture, tmp_path / "elsewhere.jpg")
    stdin = hashgrain("search", place / "a.hg", "-", "-k", 3, "--not-self", "--json", stdin=picture.read_bytes())
    for asked in (hashgrain("search", place / "a.hg", elsewhere, "-k", 3, "--not-self", "--json"), stdin):
        assert [hit["id"] for hit in hits(asked)] == [row[3] for row in brute(place, picture, "look", ("a.hg",))[1:4]]


def test_not_self_holds_for_each_query_of_a_folder(hashgrain: Run, place: Path) -> None:
    for answer in hits(hashgrain("search", place / "a.hg", place / "first", "-k", 9, "--not-self", "--json")):
        assert answer["query"] not in [hit["path"] for hit in answer["hits"]]
        assert len(answer["hits"]) == 8


def test_a_page_without_oneself(hashgrain: Run, place: Path, tmp_path: Path) -> None:
    done = hashgrain("search", place / "a.hg", place / "first/00001.jpg", "--not-self", "--html", "page.html", "-k", 3)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "page.html").read_text().count("<li>") == 3


# ---- what is no query


NO_QUERY = {
    "https://example.org/cat.jpg": "download it first",
    "a cat on a sofa": "to search by words: --text 'a cat on a sofa'",
    "cat": "to search by words: --text cat",
    "first/0001.jpg": "did you mean first/00001.jpg",
    "frist/00001.jpg": "there is no folder frist",
    "first/wholly-other.jpg": "a query is the path of a picture",
}


@pytest.mark.parametrize("query", NO_QUERY)
def test_what_is_no_query_says_what_a_query_is(hashgrain: Run, place: Path, query: str) -> None:
    done = hashgrain("search", place / "a.hg", query, cwd=place)
    assert (done.returncode, done.stdout) == (1, b"")
    (line,) = done.stderr.decode().splitlines()
    assert NO_QUERY[query] in line


def test_a_file_that_is_gone_still_asks_by_its_code(hashgrain: Run, place: Path, tmp_path: Path) -> None:
    shutil.copytree(place / "first", tmp_path / "gone")
    hashgrain("add", "gone.hg", tmp_path / "gone")
    (tmp_path / "gone/00003.jpg").unlink()
    assert hits(hashgrain("search", "gone.hg", "gone/00003.jpg", "-k", 1, "--json"))[0]["path"].endswith("00003.jpg")


@pytest.mark.parametrize("grain", ["LOOK", "Look", "kInD"])
def test_grains_are_named_in_capital_letters_too(hashgrain: Run, place: Path, grain: str) -> None:
    answer = hits(hashgrain("search", place / "a.hg", "--id", 1, "-g", grain, "-k", 3, "--json"))
    assert [hit["grain"] for hit in answer] == [grain.lower()] * 3


def test_grains_that_differ_by_case_alone_are_told_apart() -> None:
    both = Grains(Look=32, look=64)
    assert [both.named(name) for name in ("Look", "look", "LOOK")] == ["Look", "look", "LOOK"]


@pytest.mark.parametrize(
    "arguments",
    [
        ["first/00001.jpg", "--also", "b.hg", "--html", "x.html"],
        ["first/00001.jpg", "--also", "b.hg", "--explain"],
        ["first", "--explain"],
        ["first/00001.jpg", "--not-self", "--explain"],
        ["first/00001.jpg", "--json", "-0"],
    ],
)
def test_options_that_do_not_go_together_are_refused(hashgrain: Run, place: Path, arguments: list[str]) -> None:
    done = hashgrain("search", "a.hg", *arguments, cwd=place)
    assert (done.returncode, done.stdout) == (2, b"")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--match", "all"], b"--match goes with --box or several examples"),
        (["--verify-seconds", "1"], b"--verify-seconds goes with --verify"),
        (["--like-weight", "2"], b"--like-weight goes with several examples"),
        (["--explain", "--not-self"], b"it does not go with --not-self"),
        (["--box", "0,0,1,1", "--text", "a dog"], b"--box does not go with --text"),
        (["--stages", "kind:5", "--like", "1"], b"several examples (--like, --unlike) does not go with --stages"),
    ],
)
def test_options_that_do_not_go_together_are_named(
    hashgrain: Run, place: Path, options: list[str], message: bytes
) -> None:
    done = hashgrain("search", place / "a.hg", place / "first/00001.jpg", *options, env={"COLUMNS": "200"})
    assert done.returncode == 2
    assert message in done.stderr
