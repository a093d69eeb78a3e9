"""Metadata: an odd note costs itself and nothing else, and what is kept can be changed."""

from __future__ import annotations

import io
import json
import os
import tarfile
from pathlib import Path
from typing import Any

import pytest

from conftest import Run, make_picture
from hashgrain import Encoder, Library
from hashgrain.errors import LibraryError, QueryError

DEEP: Any = {}
for _ in range(65):
    DEEP = {"a": DEEP}
ODD_NOTES = {
    "NaN": {"score": float("nan"), "title": "lost with it"},
    "Infinity": {"score": float("inf")},
    "an infinity within": {"scores": [1.0, {"low": float("-inf")}]},
    "nested past the limit": DEEP,
    "a note past a million characters": {"text": "x" * 1_000_001},
    "a key that is no text": {(1, 2): 3},
    "a number of five thousand digits": {"n": 10**5000},
    "bytes": {"raw": b"\0\1"},
}


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    return Encoder.load()


@pytest.fixture
def library(tmp_path: Path, encoder: Encoder):
    with Library.create(tmp_path / "test.hg", encoder) as made:
        yield made


@pytest.fixture
def filled(library: Library, pictures: Path) -> Library:
    library.add(pictures, workers=0, meta={"album": "May"})
    return library


def jpeg(seed: int) -> bytes:
    file = io.BytesIO()
    make_picture(seed).save(file, "jpeg")
    return file.getvalue()


def archive(path: Path, notes: dict[str, str]) -> Path:
    """A tar with a picture and a note for each name."""
    with tarfile.open(path, "w") as tar:
        for seed, (name, note) in enumerate(notes.items()):
            for member, content in ((f"{name}.jpg", jpeg(seed)), (f"{name}.json", note.encode())):
                info = tarfile.TarInfo(member)
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
    return path


def meta_of(library: Library) -> dict[str, dict[str, Any]]:
    return {item.path.rpartition("/")[2].rpartition("!")[2]: item.meta for item in library.items()}


@pytest.mark.parametrize("note", ODD_NOTES.values(), ids=ODD_NOTES)
def test_an_odd_note_costs_itself_and_not_the_picture_or_the_rest(library: Library, note: dict[Any, Any]) -> None:
    made = [("before", make_picture(1), {"n": 1}), ("odd", make_picture(2), note), ("after", make_picture(3), {"n": 3})]
    report = library.add(made, workers=0, meta={"given": True})
    assert (report.added, report.refused, [odd.path for odd in report.notes_refused]) == (3, [], ["odd"])
    assert "cannot be kept" in report.notes_refused[0].reason or "characters" in report.notes_refused[0].reason
    assert meta_of(library) == {
        "before": {"n": 1, "given": True},
        "odd": {"given": True},
        "after": {"n": 3, "given": True},
    }


def test_an_odd_note_in_an_archive_or_a_table_aborts_nothing(hashgrain: Run, tmp_path: Path) -> None:
    import pyarrow
    import pyarrow.parquet as parquet

    deep = "[" * 65 + "]" * 65
    archive(tmp_path / "a.tar", {"nan": '{"x": NaN}', "deep": f'{{"x": {deep}}}', "good": '{"x": 1}'})
    table = pyarrow.table({"jpg": [jpeg(7), jpeg(8)], "score": [float("nan"), 2.0]})
    parquet.write_table(table, tmp_path / "t.parquet")
    done = hashgrain("add", "test.hg", tmp_path / "a.tar", tmp_path / "t.parquet")
    assert done.returncode == 3
    assert b"5 added" in done.stdout
    for name in (b"a.tar!nan.jpg", b"a.tar!deep.jpg", b"t.parquet#0"):
        assert b"kept without its metadata: " + os.fsencode(tmp_path) + b"/" + name in done.stderr
    again = hashgrain("add", "test.hg", tmp_path / "a.tar", tmp_path / "t.parquet")
    assert (again.returncode, b"5 unchanged" in again.stdout) == (0, True)
    with Library.open(tmp_path / "test.hg") as library:
        assert meta_of(library)["good.jpg"] == {"x": 1}
        assert meta_of(library)["t.parquet#1"] == {"score": 2.0}


def test_given_metadata_that_cannot_be_kept_is_an_error_before_anything_is_made(
    hashgrain: Run, library: Library, pictures: Path, tmp_path: Path
) -> None:
    for note in (ODD_NOTES["NaN"], DEEP, ODD_NOTES["a note past a million characters"]):
        with pytest.raises(LibraryError, match="metadata"):
            library.add(pictures, meta=note, workers=0)
    assert len(library) == 0
    refused = hashgrain("add", "new.hg", pictures, "--meta", "score=NaN")
    assert refused.returncode == 1
    assert b"metadata score: its value cannot be kept" in refused.stderr
    assert not (tmp_path / "new.hg").exists()


def test_an_odd_name_is_refused_and_the_rest_is_added(library: Library) -> None:
    report = library.add([("a", make_picture(1)), ("b\ud83d", make_picture(2)), ("c", make_picture(3))], workers=0)
    assert report.added == 2
    assert [refused.path for refused in report.refused] == ["b\ud83d"]


def test_a_file_from_a_far_future_is_added_and_known_again(library: Library, pictures: Path) -> None:
    os.utime(pictures / "00003.jpg", ns=(2**63 + 10**18, 2**63 + 10**18))
    assert library.add(pictures, workers=0).added == 20
    assert library.add(pictures, workers=0).unchanged == 20


def test_one_name_given_twice_is_one_picture(library: Library, pictures: Path, tmp_path: Path) -> None:
    report = library.add([pictures / "00001.jpg", pictures, pictures / "00001.jpg"], workers=0)
    assert (report.added, report.unchanged, report.refused) == (20, 2, [])
    report = library.add([("a", make_picture(1)), ("a", make_picture(2))], workers=0)
    assert (report.added, [refused.path for refused in report.refused]) == (1, ["a"])
    os.utime(pictures / "00001.jpg", (1, 1))
    report = library.add([pictures / "00001.jpg", pictures / "00001.jpg"], meta={"x": 1}, workers=0)
    assert (report.touched, report.unchanged, report.noted) == (1, 1, 1)


def test_adding_with_metadata_updates_the_pictures_that_are_there(hashgrain: Run, pictures: Path) -> None:
    hashgrain("add", "test.hg", pictures, "--meta", "season=2020", "--meta", "album=May")
    done = hashgrain("add", "test.hg", pictures, "--meta", "season=2021")
    assert b"20 unchanged, 20 with new metadata" in done.stdout
    hits = json.loads(
        hashgrain("search", "test.hg", pictures / "00001.jpg", "--where", "season = 2021", "--json").stdout
    )
    assert [hit["meta"] for hit in hits] == [{"season": 2021, "album": "May"}] * 10
    again = json.loads(hashgrain("add", "test.hg", pictures, "--meta", "season=2021", "--json").stdout)
    assert (again["noted"], again["unchanged"], again["encoded"]) == (0, 20, 0)


def test_moved_touched_and_changed_files_get_the_metadata_too(filled: Library, pictures: Path) -> None:
    os.utime(pictures / "00001.jpg", (1, 1))
    os.rename(pictures / "00002.jpg", pictures / "moved.jpg")
    make_picture(777).save(pictures / "00003.jpg")
    report = filled.add(pictures, meta={"seen": True}, workers=0)
    assert (report.touched, report.moved, report.replaced, report.noted) == (1, 1, 1, 19)
    assert all(meta == {"album": "May", "seen": True} for meta in meta_of(filled).values())


def test_notes_of_a_changed_archive_go_over_those_of_before(library: Library, tmp_path: Path) -> None:
    path = archive(tmp_path / "a.tar", {"x": '{"title": "old", "n": 1}', "y": '{"title": "same"}'})
    library.add(path, workers=0)
    archive(path, {"x": '{"title": "new"}', "y": '{"title": "same"}'})
    os.utime(path, (1, 1))
    assert library.add(path, workers=0).noted == 1
    assert meta_of(library) == {"x.jpg": {"title": "new", "n": 1}, "y.jpg": {"title": "same"}}


def test_what_a_person_set_stays_while_the_archive_does(library: Library, tmp_path: Path) -> None:
    path = archive(tmp_path / "a.tar", {"x": '{"title": "of the archive", "n": 1}'})
    library.add(path, workers=0)
    library.meta(set={"title": "mine"}, unset=["n"])
    assert library.add(path, workers=0).noted == 0
    assert meta_of(library) == {"x.jpg": {"title": "mine"}}


def test_metadata_is_set_and_unset_for_what_is_named_and_what_fits(filled: Library, pictures: Path) -> None:
    assert filled.meta([1, pictures / "00001.jpg"], set={"place.city": "Rome", "place.rank": 2}) == 2
    assert filled.meta(where="place.city = 'Rome' and id = 2", set={"place.city": "Bari"}, unset=["album"]) == 1
    assert [filled.item(i).meta for i in (1, 2, 3)] == [
        {"album": "May", "place": {"city": "Rome", "rank": 2}},
        {"place": {"city": "Bari", "rank": 2}},
        {"album": "May"},
    ]
    assert filled.meta([1], set={"place.rank": 2}) == 0  # so already
    assert filled.meta([1], set={"place.rank": 2.0, "`a.b`": None}) == 1
    assert filled.item(1).meta == {"album": "May", "place": {"city": "Rome", "rank": 2.0}, "a.b": None}
    assert filled.meta(unset=["album", "never.was"]) == 19
    assert filled.meta([1, 2], where="id = 2", unset=["place"]) == 1
    assert [item.id for item in filled.items(where="place.city = 'Rome'")] == [1]
    assert filled.verify() == []


def test_a_change_that_cannot_be_made_for_one_item_is_made_for_none(
    filled: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    from hashgrain.library import metadata

    monkeypatch.setattr(metadata, "AT_ONCE", 7)
    filled.meta([20], set={"place": "Rome"})
    before = meta_of(filled)
    with pytest.raises(QueryError, match=r"00019\.jpg: place\.city cannot be set.*nothing was changed"):
        filled.meta(set={"place.city": "Rome"})
    for wrong in ({"x": float("nan")}, {"x": DEEP}, {"x": "y" * 1_000_001}):
        with pytest.raises(LibraryError, match="metadata x"):
            filled.meta(set=wrong)
    for key in ("", ".", "a.", ".a", "a..b", "`a", "a`b"):
        with pytest.raises(QueryError, match="not a key"):
            filled.meta(set={key: 1})
    with pytest.raises(QueryError, match="nothing was changed"):
        filled.meta([1, 99], set={"x": 1})
    assert meta_of(filled) == before


def test_the_command_shows_and_changes_metadata(hashgrain: Run, filled: Library, pictures: Path) -> None:
    filled.close()
    place = ("--set", "place.city=Rome", "--set", "season=2021", "--unset", "album")
    assert hashgrain("meta", filled.path, pictures / "00004.jpg", "--id", 6, *place).stdout.strip().endswith(b" 2")
    shown = json.loads(hashgrain("meta", filled.path, "--where", "season = 2021", "--json").stdout)
    assert [(each["id"], each["meta"]) for each in shown] == [
        (5, {"place": {"city": "Rome"}, "season": 2021}),
        (6, {"place": {"city": "Rome"}, "season": 2021}),
    ]
    line = hashgrain("meta", filled.path, "--id", 5).stdout.decode().rstrip("\n").split("\t")
    assert (line[0], json.loads(line[2])) == ("5", {"place": {"city": "Rome"}, "season": 2021})
    assert json.loads(hashgrain("meta", filled.path, "--unset", "season", "--json").stdout) == {"changed": 2}
    assert hashgrain("meta", filled.path, "--id", 99, "--set", "x=1").returncode == 1
    assert hashgrain("meta", filled.path, "--set", "nokey").returncode == 2
