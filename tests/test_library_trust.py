"""A library keeps its model, changes it in one step, and touches nothing outside itself."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

from conftest import Run, fill
from hashgrain import Library
from hashgrain.codes import Grains
from hashgrain.errors import LibraryError
from hashgrain.library import rebuild_with
from hashgrain.models import Bundle

KEPT = b"what is outside"


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of one's own: the same graph, with other grains."""
    good = Bundle.read("default")
    return Bundle("other", good.onnx, Grains(coarse=16, fine=128), good.size).write(
        tmp_path_factory.mktemp("model") / "other"
    )


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("made")
    with Library.create(place / "test.hg") as library:
        library.add(fill(place / "pictures", 12), meta={"note": "kept"}, workers=0)
        library.thumbnail(1)
    return place


@pytest.fixture
def library(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made / "test.hg", tmp_path / "test.hg"))


def run_script(script: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    source = Path(__file__).parent.parent / "src"
    environment = {**os.environ, "PYTHONPATH": str(source)}
    command = [sys.executable, "-c", textwrap.dedent(script), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, env=environment, check=False, timeout=100)


# ---- A.1: links


@pytest.mark.parametrize("group", [False, True])
def test_thumbnails_are_neither_written_nor_trimmed_through_a_link(library: Path, tmp_path: Path, group: bool) -> None:
    outside = tmp_path / "outside"
    (outside / "ab").mkdir(parents=True)
    thumbnail = outside / "ab" / ("c" * 64 + "-256.jpg")
    thumbnail.write_bytes(KEPT)
    os.utime(thumbnail, (1, 1))
    shutil.rmtree(library / "thumbs")
    if group:
        (library / "thumbs").mkdir()
        for number in range(256):
            (library / f"thumbs/{number:02x}").symlink_to(outside / "ab")
    else:
        (library / "thumbs").symlink_to(outside)
    with Library.open(library) as opened:
        opened._thumbnails.cap = 0
        for item in range(1, 13):
            opened._thumbnails.made = 0
            assert opened.thumbnail(item)[:2] == b"\xff\xd8"
    assert [path.relative_to(outside).as_posix() for path in outside.rglob("*")] == ["ab", f"ab/{thumbnail.name}"]
    assert thumbnail.read_bytes() == KEPT


def test_only_thumbnails_of_ours_are_trimmed(library: Path) -> None:
    folder = library / "thumbs/zz"
    folder.mkdir()
    for name in ("notes.txt", "a.jpg"):
        (folder / name).write_bytes(KEPT)
        (next((library / "thumbs").glob("[0-9a-f][0-9a-f]")) / name).write_bytes(KEPT)
    with Library.open(library) as opened:
        opened._thumbnails.cap = 0
        opened.thumbnail(2)
    assert len([path for path in (library / "thumbs").rglob("*") if path.is_file() and path.read_bytes() == KEPT]) == 4


@pytest.mark.parametrize("name", ["model", "indexes", "model/model.json", "model/model.onnx"])
def test_models_and_indexes_are_not_read_through_a_link(library: Path, tmp_path: Path, name: str) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    shutil.copytree(library / "model", outside / "model")
    place = library / name
    if place.is_dir():
        shutil.rmtree(place)
    else:
        place.unlink(missing_ok=True)
    (outside / name).mkdir(exist_ok=True) if name == "indexes" else None
    place.symlink_to(outside / name)
    before = sorted((path, path.stat().st_mtime_ns) for path in outside.rglob("*"))
    with Library.open(library, "w") as opened:  # by the model of the package
        assert len(opened.search(1, k=3)) == 3
        opened.index()
        assert bool(opened.verify()) == (name != "indexes")
    assert sorted((path, path.stat().st_mtime_ns) for path in outside.rglob("*")) == before


# ---- B.1: changing the model


SWITCH = """
    import os, signal, sys
    from hashgrain import inside
    from hashgrain.library import rebuild_with
    from hashgrain.store import catalogue
    step, calls = int(sys.argv[3]), 0
    def counted(event, arguments):
        global calls
        if event in ("open", "os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate") and "test.hg" in str(
            arguments[0]
        ) or event == "os.rename":
            calls += 1
            if calls == step:
                os.kill(os.getpid(), signal.SIGKILL)
    sys.addaudithook(counted)
    class Dying(catalogue.Connection):
        def execute(self, sql, *values):
            counted("open", ("test.hg",)) if sql == "COMMIT" or "checkpoint" in sql else None
            return super().execute(sql, *values)
    catalogue.Connection = Dying
    rebuild_with(sys.argv[1], sys.argv[2])
    print("done", calls)
"""


@pytest.mark.slow
def test_a_change_of_model_killed_anywhere_is_finished_or_undone(library: Path, other: Path, tmp_path: Path) -> None:
    """Killed at calls all along the way: every item is there under its id with its notes, by one model or the other,
    and the same command then finishes the change."""
    whole = Path(shutil.copytree(library, tmp_path / "whole/test.hg"))
    done = run_script(SWITCH, whole, other, 0).stdout.split()
    assert done[0] == "done"
    calls = int(done[1])
    models = set()
    for step in range(1, calls + 1, max(1, calls // 12)):
        path = Path(shutil.copytree(library, tmp_path / f"{step}/test.hg"))
        killed = run_script(SWITCH, path, other, step)
        assert killed.returncode == -signal.SIGKILL, killed.stderr
        with Library.open(path) as opened:
            models.add(opened.bundle.name)
            assert [(item.id, item.meta) for item in opened.items()] == [(n, {"note": "kept"}) for n in range(1, 13)]
            assert len(opened.search(3, k=12)) == 11
            assert [problem for problem in opened.verify() if not problem.harmless] == []
        rebuild_with(path, other)
        with Library.open(path, "w") as opened:
            assert (opened.bundle.name, len(opened)) == ("other", 12)
            assert opened.verify() == []
        assert sorted(os.listdir(path.parent)) == ["test.hg"]
        assert not (path / "model.next").exists()
    assert models == {"small", "other"}


def test_a_library_reached_through_a_link_changes_its_model_whole(library: Path, other: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere/link.hg").symlink_to(library)
    rebuild_with(tmp_path / "elsewhere/link.hg", other)
    for path in (library, tmp_path / "elsewhere/link.hg"):
        with Library.open(path) as opened:
            assert (opened.bundle.name, len(opened)) == ("other", 12)
            assert opened.verify() == []
    assert (tmp_path / "elsewhere/link.hg").is_symlink()
    assert sorted(os.listdir(tmp_path / "elsewhere")) == ["link.hg"]


def test_encoding_again_goes_on_where_it_was_stopped(library: Path, other: Path) -> None:
    stopped = []

    def stop(report: object) -> None:
        stopped.append(report)
        if len(stopped) > 1:
            raise KeyboardInterrupt

    aside = library.with_name(".test.hg.rebuilding")
    with Library.create(aside, other) as begun:
        begun.add(sorted((library.parent.parent / "x").glob("*")))
    with Library.open(library) as opened, Library.open(aside, "w") as begun:
        begun.add([Path(item.path) for item in opened.items()][:7], workers=0)
    report = rebuild_with(library, other)
    assert (report.unchanged, report.encoded) == (7, 5)
    assert not aside.exists()


def test_a_picture_that_changed_meanwhile_is_encoded_as_it_is_now(library: Path, other: Path, tmp_path: Path) -> None:
    with Library.open(library, "w") as opened:
        opened.add(fill(tmp_path / "mine", 2, start=50), workers=0)
    fill(tmp_path / "new", 1, start=70)
    os.replace(tmp_path / "new/00070.jpg", tmp_path / "mine/00050.jpg")
    rebuild_with(library, other)
    with Library.open(library) as opened:
        (hit,) = opened.search(tmp_path / "mine/00050.jpg", k=1)
        assert (hit.distance, hit.path) == (0, str(tmp_path / "mine/00050.jpg"))
        assert opened.verify() == []


def test_a_library_that_an_older_version_left_aside_is_put_back(library: Path) -> None:
    library.rename(library.with_name(".test.hg.replaced"))
    with Library.open(library) as opened:
        assert len(opened) == 12


# ---- B.3: the copy of the model


def test_a_new_library_has_its_model_before_it_has_its_name(tmp_path: Path, other: Path) -> None:
    """Killed or out of space while it is made, the same command makes it."""
    script = """
    import os, signal, sys
    from hashgrain import Library
    from hashgrain.models import Bundle
    bundle, write, step = Bundle.read(sys.argv[2]), Bundle.write_inside, int(sys.argv[3])
    def dying(self, library, folder="model"):
        if step == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        write(self, library, folder)
        if step == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        raise OSError(28, "No space left on device", str(library))
    Bundle.write_inside = dying
    try:
        Library.create(sys.argv[1], bundle)
    except Exception as error:
        print(type(error).__name__, error)
    """
    for step, error in enumerate(("", "", "DiskFullError")):
        path = tmp_path / f"{step}.hg"
        done = run_script(script, path, other, step)
        assert done.stdout.startswith(error), done.stderr
        with pytest.raises(LibraryError):
            Library.open(path)
        with Library.create(path, other) as library:
            assert library.verify() == []
        with Library.open(path) as library:
            assert library.bundle.name == "other"


DAMAGES: dict[str, Callable[[Path], object]] = {
    "deleted": lambda model: shutil.rmtree(model),
    "graph cut": lambda model: os.truncate(model / "model.onnx", 1000),
    "words changed": lambda model: edit(model / "model.json"),
    "graph deleted": lambda model: (model / "model.onnx").unlink(),
}


def edit(file: Path) -> None:
    described = json.loads(file.read_text())
    described["words"]["same"]["distance"] = 96
    file.write_text(json.dumps(described))


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_copy_of_the_model_is_named_and_mended(hashgrain: Run, library: Path, damage: str) -> None:
    DAMAGES[damage](library / "model")
    done = hashgrain("verify", library)
    assert done.returncode == 1
    assert b"model" in done.stdout
    with Library.open(library) as opened:
        assert opened.bundle.words == Bundle.read("default").words
    assert hashgrain("rebuild", library).returncode == 0
    assert hashgrain("verify", library).returncode == 0


@pytest.mark.parametrize("damage", [name for name in DAMAGES if name != "words changed"])
def test_a_damaged_copy_of_ones_own_model_is_named_with_the_remedy(
    hashgrain: Run, library: Path, other: Path, damage: str
) -> None:
    rebuild_with(library, other)
    DAMAGES[damage](library / "model")
    done = hashgrain("verify", library)
    assert done.returncode == 1
    assert b"put the bundle back" in done.stdout
    assert b"Traceback" not in done.stderr
    assert hashgrain("rebuild", library).returncode == 0  # segments do not need it
    shutil.rmtree(library / "model", ignore_errors=True)
    shutil.copytree(other, library / "model")
    assert hashgrain("verify", library).returncode == 0


# ---- B.6


@pytest.mark.parametrize("content", [b"", b"\xff\xd8\xff\xe0 cut short"])
def test_an_emptied_thumbnail_is_made_again(hashgrain: Run, library: Path, made: Path, content: bytes) -> None:
    for thumbnail in (library / "thumbs").rglob("*.jpg"):
        thumbnail.write_bytes(content)
    done = hashgrain("search", library, made / "pictures/00000.jpg", "--html", "page.html")
    assert done.returncode == 0, done.stderr
    assert b"data:image/jpeg" in (library.parent / "page.html").read_bytes()


def test_a_page_about_an_item_whose_file_is_gone_is_written_without_its_picture(
    hashgrain: Run, library: Path, tmp_path: Path
) -> None:
    with Library.open(library, "w") as opened:
        opened.add(fill(tmp_path / "mine", 1, start=50), workers=0)
        number = opened.items()[-1].id
    shutil.rmtree(tmp_path / "mine")
    done = hashgrain("search", library, "--id", number, "--html", "page.html")
    assert done.returncode == 0, done.stderr
    assert b"the file is gone" in (tmp_path / "page.html").read_bytes()
