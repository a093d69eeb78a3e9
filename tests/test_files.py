"""Files are written whole and on the disk, or not at all."""

from __future__ import annotations

import os
import re
import threading
import time
from contextlib import suppress
from pathlib import Path

import pytest

from hashgrain import files

SRC = Path(__file__).parent.parent / "src" / "hashgrain"
# Where a name is given to what is written already, and why no other way would do, each says in a comment.
# Pictures of a person are moved by one module, which never writes over a name.
RENAMERS = {
    *("apps/duplicates/moving.py", "files.py", "inside.py"),
    *("library/backups.py", "library/importing.py", "library/models.py"),
}


def test_a_file_holds_all_of_the_new_or_all_of_the_old(tmp_path: Path) -> None:
    file = tmp_path / "a.json"
    files.write_atomically(file, b"old")
    with suppress(KeyboardInterrupt), files.writing_atomically(file) as out:
        out.write(b"half of the n")
        raise KeyboardInterrupt
    assert (file.read_bytes(), os.listdir(tmp_path)) == (b"old", ["a.json"])
    with files.writing_atomically(file) as out:
        out.write(b"new")
        assert file.read_bytes() == b"old"
    assert (file.read_bytes(), os.listdir(tmp_path)) == (b"new", ["a.json"])


def test_content_and_name_are_on_the_disk_when_it_returns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []
    replace = os.replace
    monkeypatch.setattr(files, "sync", lambda file: done.append("content"))
    monkeypatch.setattr(files, "sync_folder", lambda folder: done.append("folder"))
    monkeypatch.setattr(os, "replace", lambda a, b: (done.append("name"), replace(a, b)))
    files.write_atomically(tmp_path / "a", b"x")
    assert done == ["content", "name", "folder"]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no pipes with names here")
def test_a_pipe_is_written_to_and_never_replaced(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    read: list[bytes] = []
    reader = threading.Thread(target=lambda: read.append(pipe.read_bytes()))
    reader.start()
    files.write_atomically(pipe, b"through")
    reader.join(10)
    assert (read, pipe.is_fifo(), os.listdir(tmp_path)) == ([b"through"], True, ["pipe"])


def test_a_folder_is_not_written_over(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(OSError, match="folder"):
        files.write_atomically(tmp_path / "folder", b"x")
    assert os.listdir(tmp_path) == ["folder"]


def test_what_a_killed_writer_left_is_swept_once_it_is_old(tmp_path: Path) -> None:
    old, young, other = (tmp_path / name for name in (".a[1].npy.aa.part", ".a[1].npy.bb.part", ".b.npy.cc.part"))
    for each in (old, young, other):
        each.write_bytes(b"x")
    for each in (old, other):
        os.utime(each, (time.time() - 100,) * 2)
    files.sweep_unfinished(tmp_path / "a[1].npy", 50)
    assert sorted(os.listdir(tmp_path)) == sorted([young.name, other.name])


def test_nothing_else_gives_names_to_files() -> None:
    calls = re.compile(r"\bos\.(replace|rename)\(|\b(?!inside\b)\w+\.rename\(")
    found = {path.relative_to(SRC).as_posix() for path in SRC.rglob("*.py") if calls.search(path.read_text("utf-8"))}
    assert found == RENAMERS
