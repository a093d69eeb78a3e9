"""Looking again: what was moved is found, and a disk that is not there today costs no picture."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from conftest import Run, fill, make_picture
from hashgrain import Encoder, Library
from hashgrain.errors import LibraryError
from hashgrain.library import roots
from hashgrain.sources import Source


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    return Encoder.load()


@pytest.fixture
def library(tmp_path: Path, encoder: Encoder):
    """Twelve pictures in two folders of one, and notes with each."""
    fill(tmp_path / "photos/2020", 6)
    fill(tmp_path / "photos/2021", 6, start=6)
    with Library.create(tmp_path / "test.hg", encoder) as made:
        made.add(tmp_path / "photos", workers=0, meta={"kept": True})
        yield made


def paths(library: Library) -> dict[int, str]:
    return {item.id: item.path for item in library.items()}


def test_pruning_on_a_disk_that_is_not_mounted_forgets_nothing_unless_told_to(
    hashgrain: Run, library: Library, tmp_path: Path
) -> None:
    library.close()
    before = paths(Library.open(library.path))
    for mount_point in ("none", "empty"):
        os.rename(tmp_path / "photos", tmp_path / "away")
        if mount_point == "empty":
            (tmp_path / "photos").mkdir()
        refused = hashgrain("update", library.path, "--prune")
        assert refused.returncode == 1
        assert b"photos is not there" in refused.stderr or b"photos is empty" in refused.stderr
        assert b"nothing was forgotten" in refused.stderr
        assert b"--yes" in refused.stderr
        assert paths(Library.open(library.path)) == before
        shutil.rmtree(tmp_path / "photos", ignore_errors=True)
        os.rename(tmp_path / "away", tmp_path / "photos")
    shutil.rmtree(tmp_path / "photos")
    done = hashgrain("update", library.path, "--prune", "--yes", "--json")
    assert (done.returncode, len(json.loads(done.stdout)["gone"])) == (0, 12)
    assert paths(Library.open(library.path)) == {}


def test_pruning_most_of_a_library_needs_a_second_word(library: Library, tmp_path: Path) -> None:
    for seed in range(11):
        (tmp_path / f"photos/{'2020' if seed < 6 else '2021'}/{seed:05}.jpg").unlink()
    (tmp_path / "photos/2020/list.txt").touch()
    with pytest.raises(LibraryError, match=r"11 of its 12 files are gone.*nothing was forgotten"):
        library.update(prune=True)
    assert len(library) == 12
    _, gone = library.update(prune=True, even_most=True)
    assert (len(gone), len(library)) == (11, 1)


def test_pruning_one_of_two_disks_forgets_nothing(library: Library, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(roots, "SHARED", {str(tmp_path)})
    fill(tmp_path / "usb/holiday", 3, start=50)
    library.add(tmp_path / "usb", workers=0)
    shutil.rmtree(tmp_path / "usb")
    with pytest.raises(LibraryError, match="usb/holiday is not there"):
        library.update(prune=True)
    (tmp_path / "usb").symlink_to(tmp_path / "no-disk")
    with pytest.raises(LibraryError, match="usb"):
        library.update(prune=True)
    assert len(library) == 15


def test_pruning_a_few_deleted_files_needs_one_word(library: Library, tmp_path: Path) -> None:
    (tmp_path / "photos/2020/00001.jpg").unlink()
    shutil.rmtree(tmp_path / "photos/2021")
    report, gone = library.update(prune=True)
    assert (report.unchanged, len(gone), len(library)) == (5, 7, 5)


def test_a_file_moved_within_its_folders_is_found_with_its_id_and_notes(library: Library, tmp_path: Path) -> None:
    before = paths(library)
    photos = tmp_path / "photos"
    (photos / "new/deep").mkdir(parents=True)
    moves = {
        photos / "2020/00001.jpg": photos / "2021/00001.jpg",
        photos / "2020/00002.jpg": photos / "new/deep/other name.jpg",
        photos / "2020/00003.jpg": photos / "00003.jpg",
    }
    for old, new in moves.items():
        os.rename(old, new)
    fill(photos / "new", 2, start=70)  # which update does not add
    report, gone = library.update()
    assert (report.moved, report.encoded, gone) == (3, 0, [])
    expected = {str(old): str(new) for old, new in moves.items()}
    assert paths(library) == {item: expected.get(path, path) for item, path in before.items()}
    assert all(item.meta == {"kept": True} for item in library.items())
    assert library.update()[0].moved == 0
    assert library.verify() == []


def test_a_renamed_folder_is_found_and_twins_keep_their_names(library: Library, tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    for name in ("2020/p/z.jpg", "2020/q/a.jpg"):
        (photos / name).parent.mkdir()
        make_picture(99).save(photos / name)
    library.add(photos, workers=0)
    ids = {Path(path).name: item for item, path in paths(library).items()}
    os.rename(photos / "2020", photos / "twenty-twenty")
    for name in ("p/z.jpg", "q/a.jpg"):
        os.rename(photos / "twenty-twenty" / name, photos / "twenty-twenty" / Path(name).name)
    report, gone = library.update(prune=True)
    assert (report.moved, report.encoded, gone) == (8, 0, [])
    assert {Path(path).name: item for item, path in paths(library).items()} == ids


def test_a_file_that_was_removed_by_hand_is_not_taken_for_a_moved_one(library: Library, tmp_path: Path) -> None:
    shutil.copy(tmp_path / "photos/2020/00001.jpg", tmp_path / "photos/copy.jpg")
    library.add(tmp_path / "photos", workers=0)
    library.remove([tmp_path / "photos/copy.jpg"])
    (tmp_path / "photos/2020/00001.jpg").unlink()
    report, gone = library.update()
    assert (report.moved, len(gone), len(library)) == (0, 1, 12)


def test_nothing_is_looked_for_where_nothing_is_gone(library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    from hashgrain.library import updating

    def never(*_: object, **__: object) -> None:
        raise AssertionError("walked")

    monkeypatch.setattr(updating, "find", never)
    assert library.update()[0].unchanged == 12


def test_only_files_of_the_size_of_a_missing_one_are_read(
    library: Library, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from hashgrain.library import updating

    real, read = updating.find, []

    def watched(*arguments: Any) -> Iterator[Source]:
        for source in real(*arguments):
            assert isinstance(source, Source)
            yield dataclasses.replace(source, load=lambda s=source: (read.append(Path(s.path).name), s.load())[1])

    os.rename(tmp_path / "photos/2020/00001.jpg", tmp_path / "photos/moved.jpg")
    (tmp_path / "photos/other.jpg").write_bytes(b"x")
    monkeypatch.setattr(updating, "find", watched)
    assert library.update()[0].moved == 1
    assert read == ["moved.jpg"]


def test_of_two_copies_of_a_missing_file_one_takes_its_place(library: Library, tmp_path: Path) -> None:
    for name in ("copy.jpg", "other copy.jpg"):
        shutil.copy(tmp_path / "photos/2020/00001.jpg", tmp_path / "photos" / name)
    (tmp_path / "photos/2020/00001.jpg").unlink()
    report, gone = library.update()
    assert (report.moved, gone, len(library)) == (1, [], 12)
    assert library.item(2).path == str(tmp_path / "photos/copy.jpg")


def test_a_folder_in_the_place_of_a_picture_is_told_at_every_run(library: Library, tmp_path: Path) -> None:
    (tmp_path / "photos/2020/00001.jpg").unlink()
    (tmp_path / "photos/2020/00001.jpg").mkdir()
    for _ in range(2):
        report, gone = library.update()
        assert ([Path(each.path).name for each in report.refused], gone) == (["00001.jpg"], [])


def test_a_file_that_vanishes_meanwhile_does_not_end_the_run(library: Library, tmp_path: Path) -> None:
    first, *_, last = sorted((tmp_path / "photos/2021").iterdir())

    def vanish(report: object) -> None:
        last.unlink(missing_ok=True)

    os.utime(first, (1, 1))
    report, gone = library.update(progress=vanish)
    assert (report.unchanged + report.touched, [item.path for item in gone]) == (11, [str(last)])


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        (["/data/p/2020/a.jpg", "/data/p/2021/b.jpg"], ["/data/p"]),
        (
            ["/media/me/usb1/a/x.jpg", "/media/me/usb1/b/x.jpg", "/media/me/usb2/x.jpg"],
            ["/media/me/usb1", "/media/me/usb2"],
        ),
        (["~/Pictures/a/x.jpg", "~/Pictures/b/x.jpg", "~/Downloads/y.jpg", "~/z.jpg"], ["~/Downloads", "~/Pictures"]),
        (["/mnt/x.jpg", "/mnt/disk/y.jpg"], ["/mnt/disk"]),
        (["/tmp/x.jpg"], []),
        (["/a.tar!b/c.jpg", "/srv/p/t.parquet#3"], ["/srv/p"]),
    ],
)
@pytest.mark.skipif(os.sep == "\\", reason="paths as on Unix")
def test_the_folders_of_a_library_are_those_a_person_may_have_added(files: list[str], expected: list[str]) -> None:
    class Named:
        def __init__(self, path: str) -> None:
            self.path = os.path.expanduser(path)

    assert roots.roots_of(map(Named, files)) == [os.path.expanduser(path) for path in expected]  # type: ignore[arg-type]
