"""From what a person names to the pictures it stands for."""

from __future__ import annotations

import io
import os
import socket
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from conftest import fill, make_picture
from hashgrain.errors import SourceError
from hashgrain.sources import Refused, Source, find, reopen


def paths_of(sources: Any, **options: Any) -> list[str]:
    return [source.path for source in find(sources, **options) if isinstance(source, Source)]


def names(sources: Any, **options: Any) -> list[str]:
    return [Path(path).name for path in paths_of(sources, **options)]


def refused(sources: Any) -> list[Refused]:
    return [source for source in find(sources) if isinstance(source, Refused)]


def jpeg(seed: int) -> bytes:
    file = io.BytesIO()
    make_picture(seed).save(file, "jpeg")
    return file.getvalue()


def test_a_folder_gives_its_pictures_sorted_and_nothing_else(tmp_path: Path) -> None:
    for name in ("b/2.JPG", "b/1.png", "a.webp", "z.txt", ".hidden.jpg", ".git/x.jpg", "b/c/deep.jpeg", "noext"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    assert names(tmp_path) == ["a.webp", "1.png", "2.JPG", "deep.jpeg"]
    assert all(os.path.isabs(path) for path in paths_of(tmp_path))


def test_a_file_named_outright_is_taken_whatever_its_name(tmp_path: Path) -> None:
    path = tmp_path / "picture.data"
    path.write_bytes(b"content")
    (source,) = find(path)
    assert isinstance(source, Source)
    assert source.load() == b"content"
    assert source.stamp == (7, path.stat().st_mtime_ns)


def test_files_that_are_passed_over_are_counted_by_suffix(tmp_path: Path) -> None:
    for name in ("a.jpg", "b.MP4", "c.mp4", "d/e.svg", "notes", ".hidden.mp4", "f." + "x" * 40, "g.tar"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    os.mkfifo(tmp_path / "pipe.jpg")
    passed: dict[str, int] = {}
    assert names(tmp_path, passed=passed, ignore=["c.*"]) == ["a.jpg"]
    assert passed == {".mp4": 1, ".svg": 1, "": 1, "other": 1, ".tar": 1, ".jpg": 1}
    passed.clear()
    archive(tmp_path / "g.tar", [("1.jpg", jpeg(1)), ("1.json", b"{}"), ("1.mp4", b"x")])
    assert len(paths_of(tmp_path / "g.tar", passed=passed)) == 1
    assert passed == {".mp4": 1}


def test_passed_suffixes_are_never_too_many(tmp_path: Path) -> None:
    for i in range(150):
        (tmp_path / f"a.{i}").touch()
    passed: dict[str, int] = {}
    assert paths_of(tmp_path, passed=passed) == []
    assert len(passed) <= 101
    assert sum(passed.values()) == 150


@pytest.mark.parametrize("kind", ["jpeg", "png", "webp", "gif", "bmp", "tiff", "avif"])
def test_a_picture_without_a_suffix_is_known_by_its_first_bytes(tmp_path: Path, kind: str) -> None:
    make_picture(1).save(tmp_path / "IMG_0001", kind)
    (tmp_path / "README").write_text("BM is no bitmap by itself")
    os.mkfifo(tmp_path / "pipe")
    passed: dict[str, int] = {}
    assert names(tmp_path, passed=passed) == ["IMG_0001"]
    assert passed == {"": 2}


def test_ignore_patterns_and_files_leave_pictures_out(tmp_path: Path) -> None:
    fill(tmp_path / "keep", 2)
    fill(tmp_path / "cache", 1, start=5)
    fill(tmp_path / "keep/small", 1, start=7)
    assert names(tmp_path, ignore=["cache", "*1.jpg"]) == ["00000.jpg", "00007.jpg"]
    (tmp_path / "keep/.hashgrainignore").write_text("# small ones\n\nsmall\n00000.*\n")
    assert names(tmp_path) == ["00005.jpg", "00001.jpg"]


def test_links_are_followed_but_never_in_circles(tmp_path: Path) -> None:
    fill(tmp_path / "real", 1)
    (tmp_path / "real/loop").symlink_to(tmp_path, target_is_directory=True)
    (tmp_path / "other").symlink_to(tmp_path / "real", target_is_directory=True)
    (tmp_path / "broken.jpg").symlink_to(tmp_path / "nowhere")
    assert names(tmp_path) == ["00000.jpg"]
    assert [Path(r.path).name for r in refused(tmp_path)] == ["broken.jpg"]


def test_a_very_deep_folder_is_gone_through_or_named(tmp_path: Path) -> None:
    here, depth = os.getcwd(), 1200
    try:
        os.chdir(tmp_path)
        for _ in range(depth):
            os.mkdir("d")
            os.chdir("d")
        make_picture(1).save("deep.jpg")
        os.chdir(here)
        everything = list(find(tmp_path))
    finally:  # bottom up: what clears up after tests would go down recursively
        os.chdir(here)
        subprocess.run(["rm", "-rf", str(tmp_path / "d")], check=True)
    assert len(everything) == 1
    # 1,200 levels fit into a path; where they do not, the folder is named and the run goes on.
    assert everything[0].path.endswith(("deep.jpg", "d"))


def test_a_missing_path_is_an_error_before_anything_is_read(tmp_path: Path) -> None:
    fill(tmp_path, 1)
    with pytest.raises(SourceError, match="nowhere"):
        find([tmp_path, tmp_path / "nowhere"])
    with pytest.raises(SourceError, match=r"nothing matches .*\*\.tiff"):
        find(str(tmp_path / "*.tiff"))


def test_globs_stand_for_what_they_match(tmp_path: Path) -> None:
    fill(tmp_path / "a/b", 3)
    assert names(str(tmp_path / "a/b/0000[12].jpg")) == ["00001.jpg", "00002.jpg"]
    assert names(str(tmp_path / "**/*1.jpg")) == ["00001.jpg"]
    make_picture(1).save(tmp_path / "real[1].jpg")
    assert names(str(tmp_path / "real[1].jpg")) == ["real[1].jpg"]


def test_special_files_are_refused_when_named_and_passed_over_in_folders(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    with socket.socket(socket.AF_UNIX) as server:
        here = os.getcwd()
        os.chdir(tmp_path)
        server.bind("s.jpg")
        os.chdir(here)
    assert list(find(tmp_path)) == []
    assert [r.reason for r in refused(tmp_path / "pipe.jpg")] == ["is not a file"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_folder_that_may_not_be_read_is_named(tmp_path: Path) -> None:
    fill(tmp_path / "closed", 1)
    (tmp_path / "closed").chmod(0)
    try:
        assert [Path(r.path).name for r in refused(tmp_path)] == ["closed"]
    finally:
        (tmp_path / "closed").chmod(0o755)


def test_a_library_inside_a_folder_is_not_a_folder_of_pictures(tmp_path: Path) -> None:
    fill(tmp_path / "photos.hg/thumbs", 1)
    (tmp_path / "photos.hg/catalogue.sqlite").touch()
    assert names(tmp_path) == []


def test_names_that_are_no_text_work(tmp_path: Path) -> None:
    path = os.path.join(os.fsencode(tmp_path), b"caf\xe9.jpg")
    with open(path, "wb") as file:
        file.write(b"content")
    (source,) = find(tmp_path)
    assert os.fsencode(source.path) == path
    assert source.load() == b"content"  # type: ignore[union-attr]


def archive(path: Path, members: list[tuple[str, bytes]], mode: str = "w") -> Path:
    with tarfile.open(path, mode) as tar:  # type: ignore[call-overload]
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return path


@pytest.mark.parametrize(("suffix", "mode"), [(".tar", "w"), (".tar.gz", "w:gz"), (".tgz", "w:gz")])
def test_an_archive_gives_its_pictures_with_their_notes(tmp_path: Path, suffix: str, mode: str) -> None:
    members = [
        ("a/1.json", b'{"year": 2020}'),
        ("a/1.jpg", jpeg(1)),
        ("a/1.cls", b"7"),
        ("a/2.jpg", jpeg(2)),
        ("a/2.txt", b"a cat\n"),
        ("readme.md", b"no picture"),
    ]
    sources = list(find(archive(tmp_path / f"shard{suffix}", members, mode)))
    assert [source.path.partition("!")[2] for source in sources] == ["a/1.jpg", "a/2.jpg"]
    assert [source.load() for source in sources] == [jpeg(1), jpeg(2)]  # type: ignore[union-attr]
    assert [source.meta for source in sources] == [{"year": 2020, "cls": 7}, {"text": "a cat"}]  # type: ignore[union-attr]


def test_an_archive_cut_short_gives_what_is_whole_and_says_so(tmp_path: Path) -> None:
    whole = archive(tmp_path / "whole.tar", [(f"{i}.jpg", jpeg(i)) for i in range(5)]).read_bytes()
    (tmp_path / "cut.tar").write_bytes(whole[: len(whole) // 2])
    sources = list(find(tmp_path / "cut.tar"))
    assert isinstance(sources[0], Source)
    assert isinstance(sources[-1], Refused)
    assert "cut short" in sources[-1].reason
    (tmp_path / "none.tar").write_bytes(b"nonsense" * 200)
    assert isinstance(next(iter(find(tmp_path / "none.tar"))), Refused)


@pytest.mark.parametrize("suffix", [".tar", ".tar.gz"])
def test_notes_apart_from_their_picture_are_found(tmp_path: Path, suffix: str) -> None:
    members = [
        ("1.jpg", jpeg(1)),
        ("2.json", b'{"year": 2, "cls": 8}'),
        ("3.json", b'{"no": "picture"}'),
        ("2.jpg", jpeg(2)),
        ("2.cls", b"7"),
        ("1.txt", b"a cat"),
        ("4.cls", b"tabby"),
        ("x/4.jpg", jpeg(4)),
        ("4.jpg", jpeg(4)),
        ("1.json", b'{"year": 1}'),
    ]
    path = archive(tmp_path / f"a{suffix}", members, "w:gz" if suffix.endswith("gz") else "w")
    metas = {source.path.partition("!")[2]: source.meta for source in find(path)}  # type: ignore[union-attr]
    assert metas == {
        "1.jpg": {"text": "a cat", "year": 1},
        "2.jpg": {"year": 2, "cls": 7},
        "x/4.jpg": {},
        "4.jpg": {"cls": "tabby"},
    }


def test_notes_apart_from_their_pictures_have_room_and_are_not_lost_silently(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hashgrain.sources.notes.MAX_APART", 5_000)
    members = [(f"{i}.jpg", jpeg(i)) for i in range(9)] + [(f"{i}.json", b'{"a": 1}') for i in range(9)]
    sources = list(find(archive(tmp_path / "a.tar", members)))
    assert {"a": 1} in [source.meta for source in sources[:-1]]  # type: ignore[union-attr]
    assert isinstance(sources[-1], Refused)
    assert "some are left out" in sources[-1].reason


def test_names_in_an_archive_lead_nowhere(tmp_path: Path) -> None:
    path = tmp_path / "evil.tar"
    with tarfile.open(path, "w") as tar:
        link = tarfile.TarInfo("link.jpg")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)
        climbing = tarfile.TarInfo("../../escaped.jpg")
        climbing.size = 7
        tar.addfile(climbing, io.BytesIO(b"content"))
    before = sorted(tmp_path.rglob("*"))
    (source,) = find(path)
    assert source.load() == b"content"  # type: ignore[union-attr]
    assert sorted(tmp_path.rglob("*")) == before


def test_a_table_gives_its_pictures_with_their_columns(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    import pyarrow.parquet as parquet

    rows = {
        "image": [{"bytes": jpeg(i), "path": f"{i}.jpg"} for i in range(300)],
        "label": list(range(300)),
        "box": [[0, 0, 5, 5]] * 300,
    }
    rows["image"][4] = {"bytes": None, "path": "none"}
    parquet.write_table(pyarrow.table(rows), tmp_path / "t.parquet", row_group_size=100)
    sources = list(find(tmp_path / "t.parquet"))
    assert len(sources) == 300
    assert isinstance(sources[4], Refused)
    assert sources[250].path.endswith("t.parquet#250")
    assert sources[250].meta == {"label": 250, "box": [0, 0, 5, 5]}  # type: ignore[union-attr]
    assert sources[250].load() == jpeg(250)  # type: ignore[union-attr]
    parquet.write_table(pyarrow.table({"jpg": [jpeg(1)]}), tmp_path / "plain.parquet")
    assert paths_of(tmp_path / "plain.parquet") == [f"{tmp_path}/plain.parquet#0"]
    parquet.write_table(pyarrow.table({"x": [1]}), tmp_path / "none.parquet")
    (tmp_path / "bad.parquet").write_bytes(b"nonsense")
    for name, reason in (("none", "no column of pictures"), ("bad", "cannot be read")):
        (whole,) = find(tmp_path / f"{name}.parquet")
        assert isinstance(whole, Refused)
        assert whole.path.endswith(f"{name}.parquet")
        assert reason in whole.reason


def test_a_table_without_its_extra_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "t.parquet").touch()
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(SourceError, match=r"hashgrain\[parquet\]"):
        list(find(tmp_path / "t.parquet"))


def test_python_pictures_come_with_their_names_or_by_position() -> None:
    image, array = make_picture(1), np.asarray(make_picture(2))
    sources = list(find([image, ("named", array), ("with", jpeg(3), {"a": 1}), 42]))
    assert [source.path for source in sources] == ["array:000000", "named", "with", "array:000003"]
    assert sources[2].meta == {"a": 1}  # type: ignore[union-attr]
    assert isinstance(sources[3], Refused)
    assert paths_of(image) == ["array:000000"]
    assert paths_of(("one", image)) == ["one"]
    assert paths_of(seed for seed in [image, array]) == ["array:000000", "array:000001"]


class Remembered:
    def __init__(self, source: Source) -> None:
        self.path, self.meta = source.path, dict(source.meta)
        stamp: tuple[int | None, int | None] = source.stamp or (None, None)
        self.size, self.mtime_ns = stamp


def test_every_kind_of_source_can_be_opened_again(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    import pyarrow.parquet as parquet

    fill(tmp_path / "folder", 1)
    archive(tmp_path / "odd!name.tar", [("x/1!2.jpg", jpeg(1))])
    table = pyarrow.table({"jpg": [jpeg(i) for i in range(10)]})
    parquet.write_table(table, tmp_path / "t#1.parquet", row_group_size=3)
    for source in find([tmp_path / "folder", tmp_path / "odd!name.tar", tmp_path / "t#1.parquet"]):
        assert isinstance(source, Source)
        assert reopen(Remembered(source)).load() == source.load()
    (nameless,) = find([make_picture(1)])
    from hashgrain.errors import ImageError

    with pytest.raises(ImageError, match="object"):
        reopen(Remembered(nameless)).load()  # type: ignore[arg-type]
