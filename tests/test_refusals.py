"""Files that cannot be read are told once, what was removed stays out, and both can be taken back."""

from __future__ import annotations

import json
import os
import shutil
import sys
import tarfile
from pathlib import Path

import pytest

from conftest import Run, fill, make_picture
from hashgrain import Encoder, Library
from hashgrain.errors import WorkerError
from in_process import hashgrain as in_process
from in_process import refused


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    return Encoder.load()


@pytest.fixture
def library(tmp_path: Path, pictures: Path, encoder: Encoder):
    with Library.create(tmp_path / "test.hg", encoder) as made:
        made.add(pictures, workers=0)
        yield made


def test_a_refused_file_is_told_once_and_then_known(hashgrain: Run, tmp_path: Path) -> None:
    pictures = fill(tmp_path / "few", 2)
    for name in ("a.jpg", "b.jpg"):
        (pictures / name).write_bytes(b"\xff\xd8\xff nonsense")
    first = hashgrain("add", "test.hg", pictures)
    assert (first.returncode, first.stderr.count(b"refused: ")) == (3, 2)
    second = hashgrain("add", "test.hg", pictures)
    assert second.returncode == 0
    assert second.stderr == b"2 known to be unreadable; --retry tries again\n"
    again = hashgrain("add", "test.hg", pictures, "--retry", "--json")
    assert (again.returncode, len(json.loads(again.stdout)["refused"])) == (3, 2)


def test_a_refused_file_is_tried_again_when_it_changes_and_forgotten_when_it_is_readable(
    library: Library, pictures: Path
) -> None:
    broken = pictures / "broken.jpg"
    broken.write_bytes(b"\xff\xd8\xff nonsense")
    assert [each.path for each in library.add(pictures, workers=0).refused] == [str(broken)]
    broken.write_bytes(b"\xff\xd8\xff other nonsense")
    assert len(library.add(pictures, workers=0).refused) == 1
    assert [each.path for each in library.refusals()] == [str(broken)]
    assert library.info()["unreadable_files"] == 1
    make_picture(99).save(broken)
    report = library.add(pictures, workers=0)
    assert (report.added, report.known_refused, library.refusals()) == (1, 0, [])


def test_a_known_picture_whose_file_breaks_is_told_once_and_kept(library: Library, pictures: Path) -> None:
    (pictures / "00001.jpg").write_bytes(b"\xff\xd8\xff nonsense")
    assert len(library.add(pictures, workers=0).refused) == 1
    report = library.add(pictures, workers=0)
    assert (report.known_refused, report.unchanged, len(library)) == (1, 19, 20)
    assert len(library.update(retry=True)[0].refused) == 1


def test_a_refused_part_of_an_archive_is_told_once(library: Library, pictures: Path, tmp_path: Path) -> None:
    (tmp_path / "broken.jpg").write_bytes(b"\xff\xd8\xff nonsense")
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        tar.add(tmp_path / "broken.jpg", "broken.jpg")
        tar.add(pictures / "00001.jpg", "whole.jpg")
    os.truncate(tmp_path / "a.tar", 4 * 512)  # within the second picture
    first = library.add(tmp_path / "a.tar", workers=0)
    assert {each.path.rpartition("/")[2] for each in first.refused} == {"a.tar!broken.jpg", "a.tar"}
    second = library.add(tmp_path / "a.tar", workers=0)
    assert (second.refused, second.known_refused) == ([], 2)


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="needs permissions as Unix has them")
def test_what_is_not_the_fault_of_the_file_is_not_remembered(
    library: Library, pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from hashgrain.errors import ImageError
    from hashgrain.media import image

    heic = pictures / "phone.heic"
    heic.write_bytes(b"\0\0\0\x18ftypheic" + bytes(100))
    reasons = [
        "HEIC needs a package that is missing: pip install pi-heif",
        "needs more memory than there is for one picture",
    ]
    for reason in reasons * 2:
        monkeypatch.setattr(image, "open_image", lambda *_, r=reason, **__: (_ for _ in ()).throw(ImageError(r)))
        assert [each.reason for each in library.add(heic, workers=0).refused] == [reason]
    assert library.refusals() == []


def test_a_file_that_may_not_be_read_is_tried_at_every_run(library: Library, pictures: Path) -> None:
    (pictures / "loop.jpg").symlink_to(pictures / "loop.jpg")
    for _ in range(2):
        assert len(library.add(pictures, workers=0).refused) == 1
    assert library.refusals() == []


def test_a_picture_past_the_limit_is_tried_again_when_the_limit_is_another(library: Library, pictures: Path) -> None:
    make_picture(500, (400, 300)).save(pictures / "large.jpg")
    assert len(library.add(pictures, max_pixels=100_000, workers=0).refused) == 1
    assert library.add(pictures, max_pixels=100_000, workers=0).known_refused == 1
    assert library.add(pictures, max_pixels=120_000, workers=0).added == 1


def test_a_removed_picture_does_not_come_back_until_asked_for(library: Library, pictures: Path) -> None:
    library.remove([pictures / "00001.jpg", 5])
    report = library.add(pictures, workers=0)
    assert (report.unchanged, report.kept_out, report.added) == (18, 2, 0)
    assert library.add(pictures / "00001.jpg", workers=0).kept_out == 1
    assert library.add(pictures, again=True, workers=0).added == 2
    assert (library.add(pictures, workers=0).unchanged, library.kept_out()) == (20, [])


def test_the_command_says_what_it_left_out_and_how_to_bring_it_back(
    hashgrain: Run, library: Library, pictures: Path
) -> None:
    library.close()
    hashgrain("remove", library.path, pictures / "00001.jpg")
    hashgrain("remove", library.path, "--id", 5, "--forget")
    named = hashgrain("add", library.path, pictures / "00001.jpg")
    assert (named.returncode, b"nothing to add" in named.stdout) == (0, True)
    assert named.stderr == b"1 left out because removed by hand; --again brings back\n"
    assert b"2 added" in hashgrain("add", library.path, pictures, "--again").stdout


def test_a_removed_folder_keeps_out_its_pictures_and_not_new_ones(library: Library, pictures: Path) -> None:
    assert library.remove([pictures]) == 20
    assert len(library.kept_out()) == 20
    fill(pictures, 1, start=50)
    report = library.add(pictures, workers=0)
    assert (report.added, report.kept_out) == (1, 20)
    assert (library.info()["kept_out"], library.info()["unreadable_files"]) == (20, 0)


def test_remove_with_forget_lets_a_picture_come_back(library: Library, pictures: Path) -> None:
    assert library.remove([pictures / "00001.jpg"], forget=True) == 1
    assert (library.add(pictures, workers=0).added, library.kept_out()) == (1, [])


def test_a_removed_picture_of_an_archive_stays_out_and_one_given_as_an_object_does_not(
    library: Library, pictures: Path, tmp_path: Path
) -> None:
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        tar.add(pictures / "00001.jpg", "x.jpg")
    library.add(tmp_path / "a.tar", workers=0)
    library.add([("made", make_picture(50))], workers=0)
    library.remove([f"{tmp_path}/a.tar!x.jpg", "made"])
    assert library.add(tmp_path / "a.tar", workers=0).kept_out == 1
    assert library.add([("made", make_picture(50))], workers=0).added == 1


def test_what_is_forgotten_because_its_file_is_gone_comes_back_with_the_file(library: Library, pictures: Path) -> None:
    os.rename(pictures / "00001.jpg", pictures.parent / "kept.jpg")
    library.update(prune=True)
    assert len(library) == 19
    os.rename(pictures.parent / "kept.jpg", pictures / "00001.jpg")
    assert library.add(pictures, workers=0).added == 1


def test_a_table_that_nothing_here_can_read_leaves_no_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "t.parquet").write_bytes(b"PAR1")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    refused(in_process("add", tmp_path / "new.hg", tmp_path / "t.parquet"), str(tmp_path / "new.hg"), "parquet needs")


def test_adding_what_is_not_there_leaves_no_library(hashgrain: Run, tmp_path: Path, pictures: Path) -> None:
    for sources in ([pictures, "nosuch"], ["*.nothing"]):
        refused = hashgrain("add", "new.hg", *sources)
        assert (refused.returncode, refused.stdout) == (1, b"")
        assert not (tmp_path / "new.hg").exists()
    (tmp_path / "empty").mkdir()
    done = hashgrain("add", "new.hg", "empty")
    assert (done.returncode, b"nothing to add" in done.stdout) == (0, True)


def test_workers_that_cannot_start_end_the_run_and_not_the_pictures(
    library: Library, pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(pictures, 3, start=50)
    monkeypatch.setattr(sys, "executable", "/nonexistent/python")
    with pytest.raises(WorkerError):
        library.add(pictures, workers=1)
    monkeypatch.undo()
    assert (len(library), library.refusals()) == (20, [])
    assert library.add(pictures, workers=1).added == 3


def test_files_that_are_not_tried_are_counted_by_suffix(hashgrain: Run, tmp_path: Path) -> None:
    pictures = fill(tmp_path / "few", 2)
    for name in ("a.mp4", "b.MP4", "c.svg", "notes"):
        (pictures / name).write_text("no picture")
    done = hashgrain("add", "test.hg", pictures)
    assert (done.returncode, b"2 added" in done.stdout) == (0, True)
    assert done.stderr == b"not tried: 2 .mp4, 1 without suffix, 1 .svg\n"
    again = json.loads(hashgrain("add", "test.hg", pictures, "--json").stdout)
    assert again["passed"] == {".mp4": 2, "": 1, ".svg": 1}


def test_what_a_file_says_of_itself_is_kept_and_taken_over_by_its_copies(library: Library, pictures: Path) -> None:
    image = make_picture(42)
    exif = image.getexif()
    exif[271], exif[272] = "Maker", "Model 1"
    image.save(pictures / "a.jpg", exif=exif)
    library.add(pictures, workers=0)
    shutil.copy(pictures / "a.jpg", pictures / "b.jpg")
    library.add(pictures, workers=0)
    assert [item.details for item in library.items()[-2:]] == [{"camera": "Maker Model 1"}] * 2
