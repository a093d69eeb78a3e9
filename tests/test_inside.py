"""No link below a folder from a stranger is followed, and only regular files are opened."""

from __future__ import annotations

import os
import stat
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from hashgrain import files, inside
from hashgrain.files import NotRegularError, TooLargeError
from hashgrain.inside import LinkError

KEPT = b"what is outside"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder whose links lead to a file and a folder outside it."""
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/kept").write_bytes(KEPT)
    made = tmp_path / "made"
    (made / "below").mkdir(parents=True)
    (made / "below/file").write_bytes(b"inside")
    (made / "below/link").symlink_to(tmp_path / "outside/kept")
    (made / "linked").symlink_to(tmp_path / "outside")
    return made


@pytest.fixture(params=["relative to descriptors", "by looking first"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both ways there are: with calls relative to a folder, and for systems without them."""
    monkeypatch.setattr(inside, "RELATIVE", request.param == "relative to descriptors")


REFUSED: dict[str, Callable[[Path], object]] = {
    "read a link": lambda folder: inside.read(folder, "below", "link", cap=100),
    "read below a link": lambda folder: inside.read(folder, "linked", "kept", cap=100),
    "empty a link": lambda folder: inside.open_file(folder, "below", "link", flags=os.O_RDWR | os.O_TRUNC),
    "make by way of a link": lambda folder: inside.open_file(folder, "linked", "new", flags=os.O_RDWR | os.O_CREAT),
    "write below a link": lambda folder: inside.write(folder, "linked", "kept", data=b"lost"),
    "remove below a link": lambda folder: inside.remove(folder, "linked", "kept"),
    "list a link": lambda folder: inside.names(folder, "linked"),
    "look below a link": lambda folder: inside.look(folder, "linked", "kept"),
    "a folder that is a link": lambda folder: inside.make_folder(folder, "linked"),
}


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("step", REFUSED)
def test_no_link_is_followed_at_any_level(folder: Path, step: str) -> None:
    with pytest.raises(LinkError, match="is a link"):
        REFUSED[step](folder)
    assert (folder.parent / "outside/kept").read_bytes() == KEPT
    assert os.listdir(folder.parent / "outside") == ["kept"]


@pytest.mark.usefixtures("way")
def test_writing_over_a_link_replaces_the_link_and_not_what_it_leads_to(folder: Path) -> None:
    inside.write(folder, "below", "link", data=b"new")
    assert inside.read(folder, "below", "link", cap=3) == b"new"
    assert not (folder / "below/link").is_symlink()
    inside.remove(folder, "below", "link")
    assert (folder.parent / "outside/kept").read_bytes() == KEPT


@pytest.mark.usefixtures("way")
def test_a_look_at_a_link_is_at_the_link_itself(folder: Path) -> None:
    (folder / "nowhere").symlink_to(folder / "nothing")
    for names in (("linked",), ("nowhere",), ("below", "link")):
        assert stat.S_ISLNK(inside.look(folder, *names).st_mode), names
        assert not inside.is_file(folder, *names)
        assert inside.size(folder, *names) == 0


@pytest.mark.usefixtures("way")
def test_what_is_regular_is_read_listed_and_measured(folder: Path) -> None:
    assert inside.read(folder, "below", "file", cap=6) == b"inside"
    assert inside.names(folder, "below") == ["file", "link"]
    assert inside.names(folder, "nothing") == []
    assert (inside.size(folder, "below", "file"), inside.size(folder, "below", "link")) == (6, 0)
    assert (inside.is_file(folder, "below", "file"), inside.is_file(folder, "linked", "kept")) == (True, False)
    assert (inside.make_folder(folder, "more"), inside.make_folder(folder, "more")) == (True, False)
    with pytest.raises(TooLargeError, match="larger than 5 bytes"):
        inside.read(folder, "below", "file", cap=5)
    with pytest.raises(FileNotFoundError):
        inside.read(folder, "below", "nothing", cap=5)
    for name in ("", ".", "..", "below/file", "a\0b"):
        with pytest.raises(OSError, match="is not a name"):
            inside.read(folder, name, cap=5)


@pytest.mark.usefixtures("way")
@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no pipes with names here")
def test_a_pipe_is_refused_at_once_and_not_waited_for(folder: Path) -> None:
    os.mkfifo(folder / "pipe")
    tries: list[Callable[[], object]] = [
        lambda: inside.read(folder, "pipe", cap=1),
        lambda: inside.open_file(folder, "pipe", flags=os.O_RDWR),
        lambda: files.read_regular(folder / "pipe", 1),
        lambda: files.read_regular(folder, 1),
    ]
    if Path("/dev/zero").exists():
        tries.append(lambda: files.read_regular("/dev/zero", 1))
    refusals: list[BaseException] = []

    def run() -> None:
        for each in tries:
            try:
                each()
            except OSError as error:
                refusals.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(10)
    assert not thread.is_alive()
    assert len(refusals) == len(tries)
    assert all(isinstance(each, (NotRegularError, IsADirectoryError)) for each in refusals)


def test_a_write_that_fails_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "file"
    files.write_atomically(target, b"first")

    def full(file: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files, "sync", full)
    for write in (lambda: files.write_atomically(target, b"second"), lambda: inside.write(tmp_path, "file", data=b"x")):
        with pytest.raises(OSError, match="No space"):
            write()
    assert target.read_bytes() == b"first"
    assert os.listdir(tmp_path) == ["file"]
