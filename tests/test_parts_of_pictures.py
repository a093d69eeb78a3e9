"""Parts of pictures in a library: encoded as pictures are added, or later; found by a piece of the picture."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from conftest import Run, fill, make_picture
from hashgrain import AddReport, Codes, Library
from hashgrain.errors import BundleError, LibraryError, QueryError
from hashgrain.library.adding_parts import PartsReport
from hashgrain.library.rebuilding import rebuild_with
from hashgrain.media import open_picture
from hashgrain.models import Bundle, Encoder
from hashgrain.models.detail import DETAILS, detail_named, detail_of
from hashgrain.models.part_correction import KEY, read_correction
from hashgrain.models.parts import PartEncoder, PartHead

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
        opened = [part_encoder.open(file) for file in files]
        for stored, own in zip(parts_of(library), part_encoder.words(opened), strict=True):
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
        firsts, boxed, places = 0, 0, 0
        for photograph in photographs:
            image = Image.open(photograph)
            edges = [share * edge for share, edge in zip(box, image.size * 2, strict=True)]
            hit = library.search(image.crop(tuple(map(round, edges))), k=1, parts="all")[0]
            firsts += hit.path == str(photograph)
            if hit.part is not None and hit.part.box is not None:
                boxed += 1
                left, top, right, bottom = hit.part.box
                places += left < box[2] and right > box[0] and top < box[3] and bottom > box[1]
        assert firsts >= 22
        assert boxed >= 12  # where the whole is nearer, it has no box
        assert places >= 0.9 * boxed  # they meet; how well they agree is a figure of the benchmarks


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


def test_what_is_added_slowly_is_committed_after_seconds(
    encoder: Encoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hashgrain.library.adding.SECONDS", 0.0)

    def stop(report: AddReport) -> None:
        if report.encoded == 2:
            raise StopError

    with Library.create(tmp_path / "l.hg", encoder, workers=0) as library:
        with pytest.raises(StopError):
            library.add(fill(tmp_path / "some", 6), parts=False, progress=stop)
        assert len(library) == 2


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
        with pytest.raises(QueryError, match="has no parts"):
            library.search(make_picture(2), parts="all")
        by_auto = library.search(make_picture(2))
        assert [(hit.id, hit.distance) for hit in by_auto] == [(hit.id, hit.distance) for hit in before]
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
    part_encoder = PartEncoder(Encoder(Bundle.read("small")), detail_named("low"))
    with pytest.raises(BundleError, match="gives no map"):
        list(part_encoder.words([part_encoder.open(make_picture(1))]))


def test_the_command_line_adds_parts_drops_them_and_says_which_there_are(hashgrain: Run, tmp_path: Path) -> None:
    folder = fill(tmp_path / "some", 3)
    assert hashgrain("add", "l.hg", folder, "--no-parts", "--model", "photo").returncode == 0
    assert b"0 of 3 pictures of l.hg have parts" in hashgrain("parts", "l.hg").stdout
    added = json.loads(hashgrain("parts", "l.hg", "--add", "--detail", "low", "--json").stdout)
    assert (added["items"], added["changed"], added["parts"], added["detail"]) == (3, 3, LOW, "low")
    unknown = hashgrain("add", "new.hg", folder, "--detail", "ultra")
    assert unknown.returncode == 1
    assert not (tmp_path / "new.hg").exists()
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


@pytest.mark.parametrize("name", ["low", "normal"])
def test_a_part_is_the_corrected_mean_of_its_window_through_the_head(name: str, encoder: Encoder, data: Path) -> None:
    detail = detail_named(name)
    part_encoder = PartEncoder(encoder, detail)
    picture = part_encoder.open(min((data / "photos").glob("*.jpg")))
    assert picture.detail is not None
    (codes,) = part_encoder.words([picture])
    first = 0
    for look in detail.looks:
        size = (look.edge, look.edge)
        (map_,) = encoder.maps([open_picture(picture.detail, size=size).pixels], size)
        width, rows, columns = map_.shape
        head = PartHead(encoder.bundle.onnx, "photo", width, encoder.grains, 1)
        correction = read_correction(encoder.bundle.others, look.edge, width, "photo")
        level_of = [level for level in look.levels for _ in range(level * level)]
        for part in (0, len(level_of) // 2, len(level_of) - 1):
            left, top, right, bottom = look.windows[part]
            total, mean = 0.0, np.zeros(width)
            for row in range(rows):
                for column in range(columns):
                    wide = max(0.0, min(right, (column + 1) / columns) - max(left, column / columns))
                    high = max(0.0, min(bottom, (row + 1) / rows) - max(top, row / rows))
                    mean += wide * high * map_[:, row, column]
                    total += wide * high
            gain, shift = correction[level_of[part]]
            feature = np.maximum(gain * np.sqrt(mean / total) + shift, 0) ** 2
            edge = picture.pixels.shape[0]
            side = round((right - left) * edge)
            x, y = min(round(left * edge), edge - side), min(round(top * edge), edge - side)
            outputs = head.outputs(feature[None].astype(np.float32), picture.pixels[None, y : y + side, x : x + side])
            expected = Codes.from_outputs(outputs, encoder.grains).words[0]
            np.testing.assert_array_equal(codes[first + part], expected)
        first += len(level_of)
    assert first == len(codes) == len(detail.windows)


def test_a_model_that_is_not_of_the_package_gives_no_parts_and_asking_for_them_leaves_the_library_usable(
    tmp_path: Path,
) -> None:
    photo = Bundle.read("photo")
    other = replace(photo, onnx=photo.onnx + b"\x32\x01x")  # a note in the graph: equal codes, another digest
    with Library.create(tmp_path / "l.hg", other) as library:
        with pytest.raises(BundleError, match="was tried on pictures of 224 x 224 pixels, and detail low takes 320"):
            library.add(fill(tmp_path / "some", 2), detail="low")
        library.add(tmp_path / "some")
        assert len(library) == 2
        assert library.parts_info().items == 0


def test_a_library_made_before_the_model_had_parts_gets_the_same_parts_as_a_new_one(tmp_path: Path) -> None:
    photo = Bundle.read("photo")
    others = {key: value for key, value in photo.others.items() if key != KEY}
    folder = fill(tmp_path / "some", 4)
    with Library.create(tmp_path / "old.hg", replace(photo, others=others, part_calibration={})) as library:
        library.add(folder, parts=False)
        before = codes_of(library)
    with Library.open(tmp_path / "old.hg") as library:
        assert not library.bundle.part_calibration  # who only reads changes nothing
    with Library.open(tmp_path / "old.hg", "w") as library:
        library.add_parts(detail="low")
    with Library.open(tmp_path / "old.hg") as old, Library.create(tmp_path / "new.hg", photo) as new:
        new.add(folder, detail="low")
        np.testing.assert_array_equal(codes_of(old), before)
        for one, two in zip(parts_of(old), parts_of(new), strict=True):
            np.testing.assert_array_equal(one, two)
        page = Image.new("RGB", (240, 180))
        page.paste(make_picture(2), (120, 90))
        assert old.search(page) == new.search(page)
        assert old.verify() == []


def test_encoding_a_library_anew_keeps_the_detail_of_its_parts(encoder: Encoder, tmp_path: Path) -> None:
    for detail in ("low", None):
        path = tmp_path / f"{detail}.hg"
        with Library.create(path, encoder) as library:
            library.add(fill(tmp_path / "some", 3), parts=detail is not None, detail=detail)
            parts = parts_of(library)
        rebuild_with(path, "photo")
        with Library.open(path) as library:
            assert library.parts_info().detail == detail
            for one, two in zip(parts_of(library), parts, strict=True):
                np.testing.assert_array_equal(one, two)
