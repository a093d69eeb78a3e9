"""What a person meets when something is broken: one clear line, the right exit code, a library left as it was."""

from __future__ import annotations

import json
import os
import resource
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from conftest import Run, fill
from hashgrain import Library
from hashgrain.codes import Grains
from hashgrain.models import Bundle


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A library of 30 pictures, made once; tests break copies of it."""
    place = tmp_path_factory.mktemp("made")
    with Library.create(place / "test.hg") as library:
        library.add(fill(place / "pictures", 30), workers=0)
    return place


@pytest.fixture
def library(made: Path, tmp_path: Path) -> Path:
    shutil.copytree(made / "test.hg", tmp_path / "test.hg")
    return tmp_path / "test.hg"


@pytest.fixture
def picture(made: Path) -> Path:
    return made / "pictures/00003.jpg"


def check_error(done: subprocess.CompletedProcess[bytes], *words: str, code: int = 1) -> None:
    assert done.returncode == code, (done.stdout, done.stderr)
    assert b"Traceback" not in done.stderr
    for word in words:
        assert word.encode() in done.stderr + done.stdout, (word, done.stderr)


def snapshot(library: Path) -> dict[str, bytes]:
    """Every file but those that say who is looking: the lock, and SQLite's shared memory and empty log."""
    passing = ("writer.lock", "catalogue.sqlite-shm", "catalogue.sqlite-wal")
    files = (path for path in library.rglob("*") if path.is_file() and path.name not in passing)
    return {str(path.relative_to(library)): path.read_bytes() for path in files}


def test_a_library_of_a_newer_format_is_refused_by_name(hashgrain: Run, library: Path, picture: Path) -> None:
    with sqlite3.connect(library / "catalogue.sqlite") as catalogue:
        catalogue.execute("pragma user_version = 99")
    catalogue.close()
    before = snapshot(library)
    check_error(hashgrain("search", library, picture), "99", "upgrade")
    check_error(hashgrain("add", library, picture), "99", "upgrade")
    assert snapshot(library) == before


def test_a_corrupt_segment_is_named_never_answered_from_and_mended(
    hashgrain: Run, library: Path, picture: Path
) -> None:
    right = hashgrain("search", library, picture).stdout
    (segment,) = library.glob("segments/*.w01")
    content = bytearray(segment.read_bytes())
    content[-5] ^= 0xFF
    segment.write_bytes(content)
    check_error(hashgrain("search", library, picture), "hashgrain rebuild")
    check_error(hashgrain("verify", library), segment.name)
    check_error(hashgrain("doctor", library), "sound")
    assert hashgrain("rebuild", library).returncode == 0
    assert hashgrain("verify", library).returncode == 0
    assert hashgrain("search", library, picture).stdout == right


def test_a_missing_segment_is_mended_too(hashgrain: Run, library: Path, picture: Path) -> None:
    for path in library.glob("segments/*"):
        path.unlink()
    check_error(hashgrain("search", library, picture), "hashgrain rebuild")
    assert hashgrain("rebuild", library).returncode == 0
    assert len(hashgrain("search", library, picture).stdout.splitlines()) == 10


@pytest.mark.parametrize("page", [0, 1, 3, 5])
def test_a_corrupt_page_of_the_catalogue_never_becomes_an_answer(
    hashgrain: Run, library: Path, picture: Path, page: int
) -> None:
    right = hashgrain("search", library, picture).stdout
    catalogue = library / "catalogue.sqlite"
    content = bytearray(catalogue.read_bytes())
    content[page * 4096 : page * 4096 + 4096] = b"\xa5" * 4096
    catalogue.write_bytes(content)
    done = hashgrain("search", library, picture)
    assert b"Traceback" not in done.stderr
    if done.returncode == 0:
        assert done.stdout == right  # the page was not needed
    else:
        check_error(done, "test.hg")
    check_error(hashgrain("verify", library), "test.hg")


def test_a_corrupt_model_is_replaced_by_the_packages_own_or_named(
    hashgrain: Run, library: Path, picture: Path, tmp_path: Path
) -> None:
    (library / "model/model.onnx").write_bytes(b"nonsense")
    assert hashgrain("search", library, picture, "-k", 1).returncode == 0  # the default model is in the package
    good = Bundle.read("default")
    own = Bundle("own", good.onnx, Grains(coarse=8, fine=128), good.size)
    own.write(tmp_path / "own")
    assert hashgrain("add", "own.hg", picture, "--model", "own").returncode == 0
    (tmp_path / "own.hg/model/model.onnx").write_bytes(b"nonsense")
    check_error(hashgrain("search", "own.hg", picture), "model", "own.hg")


def test_a_library_of_another_model_is_refused_with_the_remedy(
    hashgrain: Run, library: Path, picture: Path, tmp_path: Path
) -> None:
    good = Bundle.read("default")
    other = Bundle("other", good.onnx, Grains(coarse=8, fine=128), good.size).write(tmp_path / "other")
    check_error(hashgrain("add", library, picture, "--model", other), "another model", "hashgrain rebuild")
    shutil.rmtree(library / "model")
    shutil.copytree(other, library / "model")
    assert hashgrain("search", library, picture).returncode == 0  # by the right model, which the package has
    check_error(hashgrain("verify", library), "model")
    assert hashgrain("rebuild", library).returncode == 0
    assert hashgrain("verify", library).returncode == 0
    assert hashgrain("add", "other.hg", picture, "--model", other).returncode == 0
    good.write(tmp_path / "other.hg/model")
    check_error(hashgrain("search", "other.hg", picture), "another model")
    check_error(hashgrain("verify", "other.hg"), "model")


def limited(megabytes: float):  # type: ignore[no-untyped-def]
    """No file of the process may grow past this: what a full disk looks like from inside."""

    def limit() -> None:
        import signal

        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        size = int(megabytes * 2**20)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))

    return limit


def test_a_full_disk_stops_the_add_and_loses_nothing(hashgrain: Run, library: Path, tmp_path: Path) -> None:
    before = json.loads(hashgrain("info", library, "--json").stdout)["items"]
    catalogue = library / "catalogue.sqlite"
    more = fill(tmp_path / "more", 400, start=1000)
    room = (catalogue.stat().st_size + 60_000) / 2**20
    done = hashgrain("add", library, more, preexec_fn=limited(room))
    check_error(done, "test.hg")
    assert hashgrain("verify", library).returncode == 0
    files = json.loads(hashgrain("info", library, "--json").stdout)["items"]
    assert before <= files < before + 400
    again = json.loads(hashgrain("add", library, more, "--json").stdout)
    assert (again["unchanged"], again["pictures"]) == (files - before, before + 400)


def without_root_s_rights() -> list[str]:
    """A prefix under which file permissions count, also for root."""
    if os.geteuid() != 0:
        return []
    if shutil.which("setpriv") is None:
        pytest.skip("root may read everything, and setpriv is not here to change that")
    caps = "-dac_override,-dac_read_search"
    return ["setpriv", f"--bounding-set={caps}", f"--inh-caps={caps}"]


def test_what_may_not_be_read_is_named_and_the_rest_is_added(tmp_path: Path) -> None:
    folder = fill(tmp_path / "pictures", 4)
    fill(folder / "closed", 2, start=10)
    (folder / "00002.jpg").chmod(0)
    (folder / "closed").chmod(0)
    command = [*without_root_s_rights(), sys.executable, "-m", "hashgrain", "add", "test.hg", str(folder)]
    try:
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, check=False)
    finally:
        (folder / "closed").chmod(0o755)
    check_error(done, "00002.jpg", "closed", "ermission denied", "3 added", code=3)


def test_a_library_that_may_only_be_read_can_be_searched_and_not_changed(
    made: Path, tmp_path: Path, picture: Path
) -> None:
    shutil.copytree(made / "test.hg", tmp_path / "test.hg")
    paths = [tmp_path / "test.hg", *(tmp_path / "test.hg").rglob("*")]
    for path in paths:
        path.chmod(0o555 if path.is_dir() else 0o444)
    base = [*without_root_s_rights(), sys.executable, "-m", "hashgrain"]
    try:
        done = subprocess.run([*base, "search", "test.hg", picture], cwd=tmp_path, capture_output=True, check=False)
        changed = subprocess.run(
            [*base, "remove", "test.hg", "--id", "1"], cwd=tmp_path, capture_output=True, check=False
        )
    finally:
        for path in paths:
            path.chmod(0o755)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 10
    check_error(changed, "test.hg")
