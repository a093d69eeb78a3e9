"""What people open: adding, changing, asking, and what stays true through stops and mistakes."""

from __future__ import annotations

import os
import shutil
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from conftest import fill, make_picture
from hashgrain import Codes, Encoder, Library
from hashgrain.errors import FilterError, HashgrainError, ImageError, LibraryError, QueryError
from hashgrain.library import rebuild_with, verify_library
from hashgrain.media.workers import LOOK_AHEAD


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    return Encoder.load()


@pytest.fixture
def library(tmp_path: Path, pictures: Path, encoder: Encoder):
    with Library.create(tmp_path / "test.hg", encoder) as made:
        made.add(pictures, workers=0)
        yield made


def content(library: Library) -> list[tuple[str, str, bytes]]:
    codes, items = library.codes()
    return [(item.path, item.content, word.tobytes()) for item, word in zip(items, codes.words, strict=True)]


def test_many_questions_at_once_get_the_answers_of_one_by_one(library: Library, pictures: Path) -> None:
    paths = sorted(pictures.iterdir())[:5]
    for how in ({"k": 3}, {"k": 4, "grain": "kind", "where": "id > 5"}, {"within": 30, "grain": "thing"}):
        assert library.search_many(paths, **how) == [library.search(path, **how) for path in paths]
    codes, _ = library.codes()
    assert library.search_many(codes[:2], k=1, threads=2) == [library.search(codes[i], k=1) for i in range(2)]
    assert library.search_many([]) == []
    with pytest.raises(QueryError, match="threads"):
        library.search_many(paths, threads=0)
    with pytest.raises(QueryError):
        library.search_many(paths, within=1.5)  # type: ignore[arg-type]


def test_an_answer_comes_with_its_account_on_request(library: Library, pictures: Path) -> None:
    path = next(pictures.iterdir())
    explained = library.explain(path, k=2, within=128, where="id > 5")
    assert explained.hits == library.search(path, k=2, within=128, where="id > 5")
    assert (explained.items, explained.total, len(explained.hits)) == (20, 15, 2)
    assert 15 <= explained.cost.rows <= 20  # those masked out may be passed over or looked at
    assert all(seconds >= 0 for seconds in explained.seconds.values())


def test_every_picture_finds_itself_first(library: Library, pictures: Path) -> None:
    for path in pictures.iterdir():
        hit = library.search(path, k=1)[0]
        assert (hit.path, hit.distance, hit.word) == (str(path), 0, "same")


def test_answers_are_those_of_brute_force_at_every_grain(library: Library) -> None:
    codes, items = library.codes()
    bits = codes.bits().astype(int)
    query = library.encoder.encode(make_picture(999))
    asked = query.bits()[0].astype(int)
    for grain, width in library.grains.items():
        near = np.abs(bits[:, :width] - asked[:width]).sum(axis=1)
        full = np.abs(bits - asked).sum(axis=1)
        ids = np.array([item.id for item in items])
        order = np.lexsort((ids, full, near))
        hits = library.search(query, k=20, grain=grain)
        assert [hit.id for hit in hits] == ids[order].tolist()
        assert [hit.distance for hit in hits] == near[order].tolist()
        assert [hit.distances["look"] for hit in hits] == full[order].tolist()


def test_all_kinds_of_query_agree(library: Library, pictures: Path) -> None:
    path = pictures / "00003.jpg"
    item = library.search(path, k=1)[0].id
    queries = [path, str(path), path.read_bytes(), library.encoder.encode(path)]
    answers = [[hit.id for hit in library.search(query, k=6)] for query in queries]
    assert all(answer == answers[0] for answer in answers)
    assert [hit.id for hit in library.search(item, k=5)] == answers[0][1:]


def test_an_item_asked_by_id_is_not_its_own_answer(library: Library) -> None:
    assert 1 not in [hit.id for hit in library.search(1, k=20)]
    assert len(library.search(1, k=20)) == 19


def test_a_deleted_file_can_still_be_asked_for_by_its_path(library: Library, pictures: Path) -> None:
    path = pictures / "00004.jpg"
    path.unlink()
    assert library.search(path, k=1)[0].path == str(path)


def test_adding_again_encodes_nothing(library: Library, pictures: Path) -> None:
    before = content(library)
    report = library.add(pictures, workers=0)
    assert (report.unchanged, report.encoded, report.added) == (20, 0, 0)
    assert content(library) == before


def test_a_touched_file_is_recognized_by_content(library: Library, pictures: Path) -> None:
    os.utime(pictures / "00001.jpg", (1, 1))
    report = library.add(pictures, workers=0)
    assert (report.touched, report.encoded) == (1, 0)
    assert library.add(pictures, workers=0).unchanged == 20


def test_a_changed_file_keeps_its_id_and_gets_a_new_code(library: Library, pictures: Path) -> None:
    path = pictures / "00001.jpg"
    before = library.search(path, k=1)[0].id
    make_picture(777, (50, 40)).save(path)
    report = library.add(pictures, workers=0)
    assert (report.replaced, report.encoded) == (1, 1)
    hit = library.search(path, k=1)[0]
    assert (hit.id, hit.distance, hit.width) == (before, 0, 50)
    assert len(library) == 20


def test_moved_files_are_recognized_without_encoding(library: Library, pictures: Path, tmp_path: Path) -> None:
    ids = {item.content: item.id for item in library.items()}
    moved = pictures.rename(tmp_path / "elsewhere")
    report = library.add(moved, workers=0)
    assert (report.moved, report.encoded, len(library)) == (20, 0, 20)
    assert {item.content: item.id for item in library.items()} == ids
    assert all(item.path.startswith(str(moved)) for item in library.items())


def test_copies_are_kept_and_counted_but_encoded_once(library: Library, pictures: Path) -> None:
    shutil.copy(pictures / "00001.jpg", pictures / "copy of an old one.jpg")
    fill(pictures / "new", 1, start=500)
    shutil.copy(pictures / "new/00500.jpg", pictures / "new/twin.jpg")
    report = library.add(pictures, workers=0)
    assert (report.added, report.duplicates, report.encoded) == (3, 2, 1)
    assert len(library) == 23


def test_what_is_added_comes_back_with_its_facts_and_metadata(library: Library, tmp_path: Path) -> None:
    image = make_picture(42, (300, 200))
    exif = image.getexif()
    exif[306] = "2021:05:01 13:20:11"
    image.save(tmp_path / "dated.jpg", exif=exif)
    library.add(tmp_path / "dated.jpg", meta={"album": "May", "year": 2021}, workers=0)
    (hit,) = library.search(tmp_path / "dated.jpg", k=1)
    assert (hit.width, hit.height, hit.format, hit.taken) == (300, 200, "jpeg", "2021-05-01T13:20:11")
    assert hit.meta == {"album": "May", "year": 2021}


def test_filters_narrow_the_answer(library: Library, tmp_path: Path) -> None:
    fill(tmp_path / "late", 5, start=100)
    library.add(tmp_path / "late", meta={"year": 2024}, workers=0)
    hits = library.search(make_picture(7), k=50, where="meta.year >= 2020 and format = 'jpeg'")
    assert len(hits) == 5
    assert {Path(hit.path).parent.name for hit in hits} == {"late"}
    assert library.search(make_picture(7), where={"meta.year": 1999}) == []


def test_within_keeps_what_is_close_enough(library: Library) -> None:
    everything = library.search(make_picture(7), k=None, grain="thing")
    limit = everything[5].distance
    close = library.search(make_picture(7), k=None, grain="thing", within=limit)
    assert close == [hit for hit in everything if hit.distance <= limit]


def test_items_come_in_the_order_of_their_ids(library: Library, tmp_path: Path) -> None:
    fill(tmp_path / "a-first-by-name", 2, start=100)
    library.add(tmp_path / "a-first-by-name", workers=0)
    assert [item.id for item in library.items()] == list(range(1, 23))
    assert [item.id for item in library.codes()[1]] == list(range(1, 23))


def test_python_pictures_can_be_added_by_name(library: Library) -> None:
    made = [
        ("a", make_picture(50)),
        ("b", np.asarray(make_picture(51))),
        ("c", make_picture(52), {"who": "me"}),
    ]
    report = library.add(made, workers=0)
    assert (report.added, report.refused) == (3, [])
    assert library.search(make_picture(50), k=1)[0].path == "a"
    assert library.search(make_picture(52), k=1)[0].meta == {"who": "me"}
    assert library.add(made, workers=0).encoded == 0


def test_removed_items_are_gone_and_their_files_are_not(library: Library, pictures: Path) -> None:
    assert library.remove([pictures / "00000.jpg", 5]) == 2
    assert len(library) == 18
    assert {1, 5}.isdisjoint(hit.id for hit in library.search(make_picture(0), k=50))
    assert (pictures / "00000.jpg").exists()
    assert library.remove([pictures]) == 18
    assert library.search(make_picture(0)) == []


def test_update_names_what_is_gone_and_prunes_only_when_asked(library: Library, pictures: Path) -> None:
    (pictures / "00002.jpg").unlink()
    make_picture(888).save(pictures / "00003.jpg")
    report, gone = library.update()
    assert report.replaced == 1
    assert [Path(item.path).name for item in gone] == ["00002.jpg"]
    assert len(library) == 20
    library.update(prune=True)
    assert len(library) == 19


def test_refused_files_are_named_and_the_rest_is_added(library: Library, pictures: Path) -> None:
    (pictures / "empty.jpg").touch()
    (pictures / "text.png").write_text("not a picture")
    whole = (pictures / "00001.jpg").read_bytes()
    (pictures / "half.jpg").write_bytes(whole[: len(whole) // 2])
    make_picture(300).save(pictures / "good.webp")
    report = library.add(pictures, workers=1)
    assert {Path(refused.path).name for refused in report.refused} == {"empty.jpg", "text.png", "half.jpg"}
    assert all(refused.reason for refused in report.refused)
    assert report.added == 1


def test_rebuild_and_reopen_leave_the_content_as_it_was(library: Library, encoder: Encoder) -> None:
    library.remove([3])
    before = content(library)
    library.rebuild()
    assert content(library) == before
    library.close()
    with Library.open(library.path) as reader:
        assert content(reader) == before
        assert reader.verify() == []


def test_readers_see_what_a_writer_commits(library: Library, tmp_path: Path) -> None:
    with Library.open(library.path) as reader:
        assert len(reader) == 20
        library.add(fill(tmp_path / "more", 3, start=200), workers=0)
        assert len(reader) == 23
        assert reader.search(make_picture(200), k=1)[0].path.endswith("00200.jpg")


@pytest.mark.parametrize("workers", [0, 2])
def test_what_stops_an_add_leaves_whole_batches_and_the_next_add_the_rest(
    workers: int, tmp_path: Path, encoder: Encoder
) -> None:
    paths = sorted(fill(tmp_path / "many", 320, start=400).iterdir())

    def stopped() -> Iterator[Path]:
        yield from paths[:300]
        raise KeyboardInterrupt

    with Library.create(tmp_path / "new.hg", encoder) as library:
        with pytest.raises(KeyboardInterrupt):
            library.add(stopped(), workers=workers)
        assert 64 <= len(library) < 300
        assert len(library) % 64 == 0
        assert library.verify() == []
        report = library.add(paths, workers=workers)
        assert report.added + report.unchanged == len(library) == 320
        assert library.search(paths[319], k=1)[0].path == str(paths[319])


def test_a_batch_is_there_before_the_next_is_complete(tmp_path: Path, encoder: Encoder) -> None:
    paths = sorted(fill(tmp_path / "many", 64 + LOOK_AHEAD + 60, start=800).iterdir())
    seen: list[int] = []

    def slowly() -> Iterator[Path]:
        for place, path in enumerate(paths):
            if place > 64 + LOOK_AHEAD:  # the first batch has been decoded
                time.sleep(0.05)
                seen.append(len(library))
            yield path

    with Library.create(tmp_path / "new.hg", encoder) as library:
        library.add(slowly())
        assert seen[-1] == 64
        assert len(library) == len(paths)


def test_a_second_writer_is_told_at_once(library: Library) -> None:
    with pytest.raises(LibraryError, match="writ"):
        Library.open(library.path, "w")


def test_a_reader_cannot_write(library: Library, pictures: Path) -> None:
    with Library.open(library.path) as reader, pytest.raises(LibraryError):
        reader.remove([1])


def test_rebuilding_with_another_model_encodes_again(library: Library, tmp_path: Path) -> None:
    from hashgrain.codes import Grains
    from hashgrain.models import Bundle

    old = library.bundle
    other = Bundle("other", old.onnx, Grains(coarse=16, fine=128), old.size)  # same graph, other meaning: other digest
    library.close()
    report = rebuild_with(library.path, other)
    assert report.encoded == 20
    with Library.open(library.path) as rebuilt:
        assert (len(rebuilt), dict(rebuilt.grains)) == (20, {"coarse": 16, "fine": 128})
        assert rebuilt.verify() == []
    assert not list(tmp_path.glob(".test.hg*"))


def test_rebuilding_with_another_model_needs_every_picture(library: Library, pictures: Path) -> None:
    before = content(library)
    library.close()
    (pictures / "00007.jpg").unlink()
    with pytest.raises(LibraryError, match=r"00007\.jpg"):
        rebuild_with(library.path, "default")
    with Library.open(library.path) as same:
        assert content(same) == before


def test_a_library_carries_its_model_and_refuses_another(library: Library) -> None:
    library.close()
    described = library.path / "model/model.json"
    described.write_text(described.read_text().replace('"kind": 32', '"kind": 16'))
    with Library.open(library.path) as reader:  # damaged copy, but it is the model of the package: still there
        assert len(reader.search(make_picture(3), k=2)) == 2
    with sqlite3.connect(library.path / "catalogue.sqlite") as catalogue:
        tables = catalogue.execute("select name from sqlite_master where type = 'table'").fetchall()
    assert ("items",) in tables


@pytest.mark.parametrize("k", [0, -1, -(10**30), 10**30, 2.5, "3", True])
def test_a_senseless_k_is_refused(library: Library, k: object) -> None:
    with pytest.raises(QueryError, match="k is"):
        library.search(1, k=k)  # type: ignore[arg-type]


def test_senseless_questions_are_refused_with_the_remedy(library: Library, tmp_path: Path) -> None:
    with pytest.raises(HashgrainError, match="kind, thing, look"):
        library.search(1, grain="nose")
    with pytest.raises(FilterError):
        library.search(1, where="year >")
    with pytest.raises(QueryError, match="no item 12345"):
        library.search(12345)
    with pytest.raises(ImageError, match=r"nothing\.jpg"):
        library.search(tmp_path / "nothing.jpg")
    with pytest.raises(HashgrainError):
        library.search(1, within=-1)
    with pytest.raises(HashgrainError):
        library.search(1, within=10**6)
    with pytest.raises(QueryError, match="one code"):
        library.search(Codes(np.zeros((1, 1), np.uint64), library.encoder.grains.up_to("thing")))
    with pytest.raises(QueryError, match="path"):
        library.remove([tmp_path / "nothing.jpg"])


def test_more_hits_than_pictures_gives_all_pictures(library: Library) -> None:
    assert len(library.search(make_picture(1), k=1000)) == 20


def test_an_empty_library_answers_nothing(tmp_path: Path, encoder: Encoder) -> None:
    with Library.create(tmp_path / "empty.hg", encoder) as empty:
        assert empty.search(make_picture(1)) == []
        assert empty.verify() == []


def test_a_missing_library_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(LibraryError, match=r"make one with Library\.create"):
        Library.open(tmp_path / "none.hg")
    with pytest.raises(LibraryError):
        verify_library(tmp_path / "none.hg")


def test_thumbnails_are_made_once_and_capped(library: Library, pictures: Path) -> None:
    first = library.thumbnail(1, edge=64)
    assert first[:2] == b"\xff\xd8"
    (pictures / "00000.jpg").unlink()
    assert library.thumbnail(1, edge=64) == first  # from the cache
    with pytest.raises(ImageError):
        library.thumbnail(1, edge=32)
    library._thumbnails.cap, library._thumbnails.made = 0, 0
    library.thumbnail(2, edge=64)
    assert len(list((library.path / "thumbs").glob("*/*.jpg"))) == 1


def test_a_picture_inside_an_archive_has_a_thumbnail(library: Library, pictures: Path, tmp_path: Path) -> None:
    import tarfile

    with tarfile.open(tmp_path / "archive.tar", "w") as archive:
        make_picture(600).save(tmp_path / "inside.jpg")
        archive.add(tmp_path / "inside.jpg", "deep/inside.jpg")
    library.add(tmp_path / "archive.tar", workers=0)
    (hit,) = library.search(make_picture(600), k=1)
    assert hit.path.endswith("archive.tar!deep/inside.jpg")
    assert library.thumbnail(hit.id)[:2] == b"\xff\xd8"


def test_a_picture_inside_an_archive_or_table_is_neither_gone_nor_moved(
    library: Library, pictures: Path, tmp_path: Path
) -> None:
    import tarfile

    import pyarrow
    import pyarrow.parquet as parquet

    fill(tmp_path / "other", 2, start=900)
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        archive.add(tmp_path / "other/00900.jpg", "00900.jpg")
    inside = (tmp_path / "other/00901.jpg").read_bytes()
    parquet.write_table(pyarrow.table({"jpg": [inside]}), tmp_path / "t.parquet")
    library.add([tmp_path / "a.tar", tmp_path / "t.parquet"], workers=0)
    report = library.add(tmp_path / "other", workers=0)  # the same two pictures, as files
    assert (report.added, report.moved, report.duplicates) == (2, 0, 2)
    assert library.update()[1] == []
    (tmp_path / "t.parquet").unlink()
    assert [item.path for item in library.update(prune=True)[1]] == [f"{tmp_path}/t.parquet#0"]
    assert len(library) == 23


def test_making_a_library_that_was_cut_short_can_be_done_again(tmp_path: Path, encoder: Encoder) -> None:
    half = tmp_path / "half.hg"
    half.mkdir()
    (half / "writer.lock").touch()  # what is there when a process is killed before the catalogue is
    with Library.open_or_create(half, encoder) as library:
        assert len(library) == 0
    with Library.open_or_create(half) as library:
        assert library.verify() == []
    (tmp_path / "other").mkdir()
    (tmp_path / "other/thesis.txt").write_text("mine")
    with pytest.raises(LibraryError, match="other"):
        Library.open_or_create(tmp_path / "other")
    assert (tmp_path / "other/thesis.txt").read_text() == "mine"
