"""Parts of pictures in a library: encoded as pictures are added, or later; found by a piece of the picture."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from conftest import Run, fill, make_picture
from hashgrain import Library
from hashgrain.errors import BundleError, LibraryError, QueryError
from hashgrain.library.adding_parts import PartsReport
from hashgrain.media import open_picture
from hashgrain.models import Bundle, Encoder
from hashgrain.models.detail import DETAILS, detail_named, detail_of
from hashgrain.models.parts import PartEncoder

LOW = len(detail_named("low").windows)


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    return Encoder(Bundle.read("photo"))


def parts_of(library: Library) -> list[np.ndarray | None]:
    with library.store.snapshot(parts=True) as snapshot:
        ids = [item.id for item in snapshot.paths()]
        return [None if parts is None else parts.codes for parts in snapshot.parts_of(ids)]


def codes_of(library: Library) -> np.ndarray:
    with library.store.snapshot() as snapshot:
        return snapshot.codes([item.id for item in snapshot.paths()])


def test_a_detail_is_known_by_its_windows() -> None:
    assert [detail_of(detail.windows) for detail in DETAILS] == list(DETAILS)
    assert detail_of([[0.0, 0.0, 0.5, 0.5]]) is None
    assert detail_of(None) is None
    with pytest.raises(QueryError, match="'lower'; there are low, normal, high"):
        detail_named("lower")


@pytest.mark.parametrize("workers", [0, 2])
def test_added_pictures_have_the_codes_of_their_parts(
    workers: int, encoder: Encoder, pictures: Path, tmp_path: Path
) -> None:
    with Library.create(tmp_path / "l.hg", encoder, workers=workers) as library:
        library.add(pictures)
        detail = detail_named("normal")
        assert library.store.grid == detail.windows
        part_encoder = PartEncoder(encoder, detail)
        files = sorted(pictures.iterdir())
        pixels = [open_picture(file, size=part_encoder.size).pixels for file in files]
        for stored, own in zip(parts_of(library), part_encoder.words(pixels), strict=True):
            np.testing.assert_array_equal(stored, own)


@pytest.mark.parametrize("workers", [0, 2])
def test_the_code_of_the_whole_is_the_same_with_parts_and_without(
    workers: int, encoder: Encoder, pictures: Path, tmp_path: Path
) -> None:
    with Library.create(tmp_path / "a.hg", encoder, workers=workers) as parted:
        parted.add(pictures)
        with Library.create(tmp_path / "b.hg", encoder, workers=workers) as whole:
            whole.add(pictures, parts=False)
            assert parts_of(whole) == [None] * len(whole)
            assert whole.store.grid is None
            np.testing.assert_array_equal(codes_of(parted), codes_of(whole))


def test_a_piece_of_a_photograph_finds_it_and_the_place_is_shown(data: Path, encoder: Encoder, tmp_path: Path) -> None:
    photographs = sorted((data / "photos").glob("*.jpg"))[:24]
    box = (0.5, 0.45, 0.85, 0.8)
    with Library.create(tmp_path / "l.hg", encoder) as library:
        library.add(photographs)
        firsts, places = 0, 0
        for photograph in photographs:
            image = Image.open(photograph)
            edges = [share * edge for share, edge in zip(box, image.size * 2, strict=True)]
            hit = library.search(image.crop(tuple(map(round, edges))), k=1, parts="all")[0]
            firsts += hit.path == str(photograph)
            if hit.part is not None and hit.part.box is not None:
                left, top, right, bottom = hit.part.box
                places += left < 0.675 < right and top < 0.625 < bottom
        assert firsts >= 22
        assert places >= 20


def test_parts_are_added_later_to_what_has_none(encoder: Encoder, pictures: Path, tmp_path: Path) -> None:
    with Library.create(tmp_path / "l.hg", encoder) as library:
        library.add(pictures, parts=False)
        library.add(fill(tmp_path / "more", 3, start=50))
        assert library.parts_info().items == 0  # a library whose pictures have no parts stays so
        before = codes_of(library)
        report = library.add_parts(detail="low")
        assert (report.changed, report.refused) == (len(library), [])
        assert {len(parts) for parts in parts_of(library) if parts is not None} == {LOW}
        np.testing.assert_array_equal(codes_of(library), before)
        again = library.add_parts()
        assert again.changed == 0
        library.add(fill(tmp_path / "third", 2, start=90))  # from here on new ones have them, at the same detail
        info = library.parts_info()
        assert (info.items, info.detail, info.parts) == (len(library), "low", LOW)


class StopError(Exception):
    pass


def test_adding_parts_that_was_stopped_resumes(
    encoder: Encoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hashgrain.library.adding_parts.BATCH", 2)

    def stop(report: PartsReport) -> None:
        if report.changed == 4:
            raise StopError

    with Library.create(tmp_path / "l.hg", encoder) as library:
        library.add(fill(tmp_path / "some", 7), parts=False)
        with pytest.raises(StopError):
            library.add_parts(detail="low", progress=stop)
        assert library.parts_info().items == 4
        assert library.add_parts().changed == 3
        with Library.create(tmp_path / "at-once.hg", encoder) as other:
            other.add(tmp_path / "some", detail="low")
            for one, two in zip(parts_of(library), parts_of(other), strict=True):
                np.testing.assert_array_equal(one, two)


def test_files_that_are_gone_or_changed_are_listed_and_the_others_get_parts(encoder: Encoder, tmp_path: Path) -> None:
    folder = fill(tmp_path / "some", 4)
    first, second, *_ = sorted(folder.iterdir())
    with Library.create(tmp_path / "l.hg", encoder) as library:
        library.add(folder, parts=False)
        first.unlink()
        make_picture(77).save(second)
        report = library.add_parts(detail="low")
        assert report.changed == 2
        assert [Path(each.path) for each in report.refused] == [first, second]
        assert "changed since it was added" in report.refused[1].reason


def test_dropped_parts_are_gone_and_the_library_answers_as_before(encoder: Encoder, tmp_path: Path) -> None:
    folder = fill(tmp_path / "some", 4)
    with Library.create(tmp_path / "l.hg", encoder) as library:
        library.add(folder, detail="low")
        before = library.search(make_picture(2), parts="whole")
        assert library.drop_parts().changed == 4
        assert library.parts_info().items == 0
        assert library.search(make_picture(2), parts="whole") == before
        by_parts = library.search(make_picture(2), parts="all")
        assert [(hit.id, hit.distance) for hit in by_parts] == [(hit.id, hit.distance) for hit in before]
        library.add_parts(detail="high")
        assert library.parts_info().detail == "high"


def test_a_library_holds_parts_of_one_detail(encoder: Encoder, tmp_path: Path) -> None:
    folder = fill(tmp_path / "some", 2)
    with Library.create(tmp_path / "l.hg", encoder) as library:
        library.add(folder, detail="low")
        with pytest.raises(LibraryError, match="has parts of detail low, not high; drop its parts first"):
            library.add(fill(tmp_path / "more", 1, start=9), detail="high")
        with pytest.raises(LibraryError, match="has parts of detail low, not high"):
            library.add_parts(detail="high")
        assert len(library) == 2


def test_a_model_without_a_map_gives_whole_codes_alone(tmp_path: Path) -> None:
    with Library.create(tmp_path / "l.hg", "small") as library:
        library.add(fill(tmp_path / "some", 2))
        assert library.parts_info().items == 0
        with pytest.raises(LibraryError, match="'small' gives no codes of parts"):
            library.add(tmp_path / "some", detail="low")
        with pytest.raises(LibraryError, match="'small' gives no codes of parts"):
            library.add_parts()
    with pytest.raises(BundleError, match="gives no map"):
        list(PartEncoder(Encoder(Bundle.read("small")), detail_named("low")).words([np.zeros((224, 224, 3), np.uint8)]))


def test_the_command_line_adds_parts_drops_them_and_says_which_there_are(hashgrain: Run, tmp_path: Path) -> None:
    folder = fill(tmp_path / "some", 3)
    assert hashgrain("add", "l.hg", folder, "--no-parts", "--model", "photo").returncode == 0
    assert b"0 of 3 pictures of l.hg have parts" in hashgrain("parts", "l.hg").stdout
    added = json.loads(hashgrain("parts", "l.hg", "--add", "--detail", "low", "--json").stdout)
    assert (added["items"], added["changed"], added["parts"], added["detail"]) == (3, 3, LOW, "low")
    wrong = hashgrain("add", "l.hg", folder, "--detail", "high")
    assert wrong.returncode == 1
    assert b"drop them first: hashgrain parts " in wrong.stderr
    min(folder.iterdir()).unlink()
    assert hashgrain("parts", "l.hg", "--drop").returncode == 0
    partly = hashgrain("parts", "l.hg", "--add")
    assert partly.returncode == 3
    assert b"refused:" in partly.stderr
    assert hashgrain("parts", "l.hg", "--add", "--drop").returncode == 2
    assert hashgrain("parts", "l.hg", "--detail", "low").returncode == 2
