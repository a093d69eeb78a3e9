"""Taking pictures out: what is named goes, what is not named stays, and a name that stands for nothing is an error."""

from __future__ import annotations

import json
import os
import sqlite3
from pathlib import Path

import numpy as np
import pytest

from conftest import Run
from hashgrain import Codes, Encoder, Library
from hashgrain.errors import ItemMissingError, QueryError
from hashgrain.store import Snapshot


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    return Encoder.load()


@pytest.fixture
def library(tmp_path: Path, pictures: Path, encoder: Encoder):
    with Library.create(tmp_path / "test.hg", encoder) as made:
        made.add(pictures, workers=0)
        yield made


def test_an_empty_path_removes_nothing(hashgrain: Run, library: Library, pictures: Path) -> None:
    library.close()
    for arguments in (["remove", library.path, ""], ["remove", library.path, pictures / "00001.jpg", ""]):
        refused = hashgrain(*arguments, cwd=pictures)
        assert (refused.returncode, refused.stdout) == (1, b"")
        assert b"an empty path stands for no item; nothing was removed" in refused.stderr
    with Library.open(library.path) as same:
        assert len(same) == 20


def test_one_path_given_bare_is_that_path_and_not_its_letters(library: Library, pictures: Path) -> None:
    with pytest.raises(QueryError, match="empty path"):
        library.remove("")
    assert library.remove(str(pictures / "00001.jpg")) == 1
    assert len(library) == 19


def test_known_and_unknown_paths_together_remove_nothing_and_say_so(
    hashgrain: Run, library: Library, pictures: Path
) -> None:
    library.close()
    refused = hashgrain("remove", library.path, pictures / "00001.jpg", "nothing.jpg", "--id", 77)
    assert (refused.returncode, refused.stdout) == (1, b"")
    assert b"the id 77, or the path nothing.jpg; nothing was removed" in refused.stderr
    with Library.open(library.path) as same:
        assert len(same) == 20


def test_removing_an_id_twice_is_told_and_the_exit_code_says_so(hashgrain: Run, library: Library) -> None:
    library.close()
    assert hashgrain("remove", library.path, "--id", 3).returncode == 0
    again = hashgrain("remove", library.path, "--id", 3, "--id", 4)
    assert again.returncode == 1
    assert b"the id 3; nothing was removed" in again.stderr
    assert json.loads(hashgrain("remove", library.path, "--id", 4, "--json").stdout)["removed"] == 1


def test_a_folder_stands_for_all_below_it_and_for_nothing_beside_it(library: Library, pictures: Path) -> None:
    (pictures / "sub").mkdir()
    os.rename(pictures / "00001.jpg", pictures / "sub/00001.jpg")
    library.add(pictures, workers=0)
    with pytest.raises(QueryError, match="su; nothing"):
        library.remove([pictures / "su"])
    assert library.remove([pictures / "sub"]) == 1
    assert library.remove([pictures]) == 19


def test_an_item_damaged_in_the_catalogue_can_be_removed_by_its_id(library: Library) -> None:
    library.close()
    with sqlite3.connect(library.path / "catalogue.sqlite") as catalogue:
        catalogue.execute("update items set width = width + 1 where id = 7")
    catalogue.close()
    with Library.open(library.path, "w") as damaged:
        assert damaged.remove([7]) == 1
        assert damaged.verify() == []


def test_a_path_is_found_without_reading_the_catalogue(
    library: Library, pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Snapshot, "paths", lambda self: pytest.fail("the whole catalogue is read"))
    assert library.remove(pictures / "00001.jpg") == 1
    assert library.meta([pictures], set={"a": 1}) == 19
    assert library.remove(pictures) == 19


def test_names_that_begin_alike_are_not_mistaken_for_a_folder(library: Library) -> None:
    below = ["/made/a/1", "/made/a/2/3", "/made/a/\udcff\udcfe", "/made/a/\U0010ffff"]
    beside = ["/made/a", "/made/a-", "/made/a.jpg", "/made/a0", "/made/ab/1", "/made/A/1", "a/1", "a"]
    names = [*below, *beside]
    words = np.zeros((len(names), library.grains.n_words), np.uint64)
    library.import_codes(Codes(words, library.grains), names, look=False)
    assert {item.path for item in library.items(["/made/a/"])} == {*below, "/made/a"}
    assert [item.path for item in library.items(["a"])] == ["a"]  # a name is no folder
    assert library.remove("/made/a") == len(below) + 1
    assert library.remove("/made") == 6 - 1
    assert {item.path for item in library.items()} >= {"a/1", "a"}


@pytest.mark.parametrize("name", ["zero\0byte", "half\ud800", "/no/such"])
def test_what_cannot_be_a_path_is_in_no_library(library: Library, name: str) -> None:
    with pytest.raises(ItemMissingError, match="nothing was removed"):
        library.remove(name)
    assert len(library) == 20


def test_a_folder_of_more_items_than_one_question_fetches(library: Library) -> None:
    names = [f"/made/{i}" for i in range(1203)]
    words = np.zeros((len(names), library.grains.n_words), np.uint64)
    library.import_codes(Codes(words, library.grains), names, look=False)
    assert library.remove("/made") == 1203
    assert len(library) == 20
