"""Archives, tables, folders and files from strangers: refused by name, in bounded memory and time."""

from __future__ import annotations

import bz2
import contextlib
import gzip
import io
import json
import lzma
import os
import random
import subprocess
import sys
import tarfile
import time
from pathlib import Path
from typing import Any

import pytest

from conftest import fill, make_picture
from hashgrain.errors import ImageError
from hashgrain.images import open_picture
from hashgrain.sources import Refused, Source, find, reopen
from hashgrain.sources.source import read_capped
from hashgrain.sources.tar import open_tar

MEASURED = """
import resource, sys
resource.setrlimit(resource.RLIMIT_AS, (4 << 30, 4 << 30))
from hashgrain.sources import Refused, find
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
given = refused = 0
for source in find(sys.argv[1]):
    given += not isinstance(source, Refused)
    refused += isinstance(source, Refused)
    if isinstance(source, Refused):
        print(source.reason)
inside = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
print(given, refused, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before, inside)
"""


def jpeg(seed: int = 1) -> bytes:
    file = io.BytesIO()
    make_picture(seed).save(file, "jpeg")
    return file.getvalue()


def measured(path: Path) -> tuple[int, int, float, float, list[str]]:
    """(pictures, refusals, MB that reading it took, peak MB of a process it started, reasons)."""
    done = subprocess.run(
        [sys.executable, "-c", MEASURED, str(path)], capture_output=True, text=True, check=False, timeout=100
    )
    assert done.returncode == 0, done.stderr
    *reasons, last = done.stdout.splitlines()
    given, refused, kilobytes, inside = map(int, last.split())
    return given, refused, kilobytes / 1024, inside / 1024, reasons


def member(name: str, content: bytes, **fields: Any) -> bytes:
    info = tarfile.TarInfo(name)
    info.size = len(content)
    for key, value in fields.items():
        setattr(info, key, value)
    return info.tobuf(tarfile.GNU_FORMAT) + content + bytes(-len(content) % 512)


def oversized(kind: bytes, size: int) -> bytes:
    """A header that claims so many bytes, without them."""
    info = tarfile.TarInfo("././@LongLink")
    info.type, info.size = kind, size
    return info.tobuf(tarfile.GNU_FORMAT)


@pytest.mark.parametrize("kind", [tarfile.GNUTYPE_LONGNAME, tarfile.XHDTYPE, tarfile.GNUTYPE_LONGLINK])
def test_a_header_of_three_gigabytes_is_refused_before_it_is_read(tmp_path: Path, kind: bytes) -> None:
    path = tmp_path / "a.tar.gz"
    with gzip.open(path, "wb", compresslevel=1) as file:
        file.write(member("good.jpg", jpeg()) + oversized(kind, 3 << 30))
        for _ in range(64):
            file.write(bytes(1 << 20))
    given, refused, megabytes, _, reasons = measured(path)
    assert (given, refused) == (1, 1)
    assert "header of 3,221,225,472 bytes" in reasons[0]
    assert megabytes < 50


def test_an_archive_that_unpacks_to_far_more_than_its_size_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.tar.gz"
    with gzip.open(path, "wb") as file:
        file.write(member("good.jpg", jpeg()) + oversized(tarfile.REGTYPE, 1 << 40))
    started = time.monotonic()
    *_, last = find(path)
    assert isinstance(last, Refused)
    assert "unpacks to more than 1,024 MB" in last.reason
    assert time.monotonic() - started < 5


def test_headers_after_headers_cost_no_memory_and_no_stack(tmp_path: Path) -> None:
    name = member("././@LongLink", b"x" * 300 + b"\0", type=tarfile.GNUTYPE_LONGNAME)
    with gzip.open(tmp_path / "a.tar.gz", "wb") as file:
        file.write(name * 5_000 + member("short", jpeg()) + bytes(1024))
    with open_tar(str(tmp_path / "a.tar.gz")) as tar:
        (only,) = tar.members()
    assert only.name == "x" * 300


def test_150_notes_under_one_key_cost_what_one_may(tmp_path: Path) -> None:
    note = json.dumps([[]] * 4_000_000).encode()
    with gzip.open(tmp_path / "a.tar.gz", "wb", compresslevel=1) as file:
        packed = io.BytesIO()
        packed.write(b"".join(member(f"1.{i}.json", note[: 1 << 20]) for i in range(150)) + member("1.jpg", jpeg()))
        file.write(packed.getvalue() + bytes(1024))
    given, refused, megabytes, _, reasons = measured(tmp_path / "a.tar.gz")
    assert given == 1
    assert 1 <= refused <= 3
    assert "notes of its key" in reasons[0]
    assert megabytes < 100


def test_a_note_with_too_many_values_is_refused_and_its_picture_is_not(tmp_path: Path) -> None:
    many = json.dumps({"boxes": [[0]] * 50_000}).encode()
    content = member("1.json", many) + member("1.jpg", jpeg()) + member("2.json", b"{broken") + member("2.jpg", jpeg())
    (tmp_path / "a.tar").write_bytes(content + bytes(1024))
    found = [(type(source).__name__, source.path.partition("!")[2]) for source in find(tmp_path / "a.tar")]
    assert found == [("Source", "1.jpg"), ("Refused", "1.json"), ("Source", "2.jpg"), ("Refused", "2.json")]


@pytest.mark.parametrize("pack", [bytes, gzip.compress, bz2.compress, lzma.compress], ids=["tar", "gz", "bz2", "xz"])
def test_a_damaged_archive_is_refused_and_nothing_else(tmp_path: Path, pack: Any) -> None:
    dice = random.Random(3)
    inside = b"".join(member(f"{i}.jpg", jpeg(i)) + member(f"{i}.json", b'{"a": 1}') for i in range(4)) + bytes(1024)
    whole = pack(inside)
    refused = 0
    for _ in range(150):
        content = bytearray(whole)
        for _ in range(dice.randint(1, 4)):
            content[dice.randrange(len(content))] = dice.randrange(256)
        if dice.random() < 0.2:
            del content[dice.randrange(len(content)) :]
        (tmp_path / "a.tar.gz").write_bytes(content)
        for source in find(tmp_path / "a.tar.gz"):
            if isinstance(source, Source):
                with contextlib.suppress(ImageError):
                    assert reopen(Kept(source.path)).load() is not None
            else:
                refused += 1
    assert refused > 15


class Kept:
    """An item of a library."""

    def __init__(self, path: str) -> None:
        self.path, self.size, self.mtime_ns, self.meta = path, 1, 1, {}


@pytest.mark.parametrize("size", [b"\xff" * 12, b"-0000000001\0", b"99999999999\0", b"\x80" + b"\x7f" * 11])
def test_impossible_sizes_in_an_archive_are_damage(tmp_path: Path, size: bytes) -> None:
    block = bytearray(tarfile.TarInfo("a.jpg").tobuf(tarfile.GNU_FORMAT))
    block[124:136] = size
    block[148:156] = b"%06o\0 " % (sum(block[:148]) + sum(block[156:512]) + 8 * 32)
    (tmp_path / "a.tar").write_bytes(bytes(block) + bytes(1024))
    found = list(find(tmp_path / "a.tar"))
    assert found
    assert all(isinstance(source, Refused) for source in found)


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
@pytest.mark.parametrize("mode", ["w", "w:gz", "w:bz2", "w:xz"])
def test_archives_are_read_as_the_standard_library_reads_them(tmp_path: Path, form: int, mode: str) -> None:
    path = tmp_path / "a.tar"
    with tarfile.open(path, mode, format=form) as tar:  # type: ignore[call-overload]
        for i in range(60):
            info = tarfile.TarInfo(
                f"{'d' * (90 if i % 3 else 3)}/{'é' if i % 7 else 'e'}{'x' * (90 if i % 5 else 1)}{i}"
            )
            info.size, info.mtime = i * 37 % 1500, 1.5
            tar.addfile(info, io.BytesIO(bytes([i]) * info.size))
        for kind in (tarfile.SYMTYPE, tarfile.DIRTYPE, tarfile.FIFOTYPE, tarfile.LNKTYPE):
            info = tarfile.TarInfo("other")
            info.type, info.linkname = kind, "y" * (90 if form == tarfile.USTAR_FORMAT else 150)
            tar.addfile(info)
    with tarfile.open(path) as tar:
        expected = [(m.name, m.size, m.offset_data, m.isreg()) for m in tar]
    with open_tar(str(path)) as ours:
        assert [(m.name, m.size, m.start, m.regular) for m in ours.members()] == expected


@pytest.mark.parametrize("form", ["gnu", "posix"])
def test_a_sparse_file_in_an_archive_is_refused_and_the_rest_is_read(tmp_path: Path, form: str) -> None:
    with open(tmp_path / "hole.jpg", "wb") as file:
        for place in range(0, 40 << 20, 1 << 20):  # more places than the first header holds
            file.seek(place)
            file.write(b"x")
    (tmp_path / "a.jpg").write_bytes(jpeg())
    command = ["tar", "--sparse", f"--format={form}", "-cf", "a.tar", "hole.jpg", "a.jpg"]
    if subprocess.run(command, cwd=tmp_path, capture_output=True, check=False).returncode:
        pytest.skip("no GNU tar on this machine")
    first, second = find(tmp_path / "a.tar")
    assert isinstance(first, Refused)
    assert "sparse" in first.reason
    assert second.load() == jpeg()  # type: ignore[union-attr]


@pytest.mark.parametrize("kind", ["/dev/zero", "pipe"])
def test_an_ignore_file_that_is_no_file_leaves_its_folder_out(tmp_path: Path, kind: str) -> None:
    fill(tmp_path / "good", 1)
    fill(tmp_path / "bad", 1)
    if kind == "pipe":
        os.mkfifo(tmp_path / "bad/.hashgrainignore")
    else:
        (tmp_path / "bad/.hashgrainignore").symlink_to(kind)
    refused, source = find(tmp_path)
    assert isinstance(refused, Refused)
    assert refused.path.endswith("bad")
    assert "not a regular file" in refused.reason
    assert isinstance(source, Source)


def test_an_ignore_file_has_so_many_patterns_and_no_more(tmp_path: Path) -> None:
    fill(tmp_path, 1)
    for content in ("a\n" * 1_001, "x" * 70_000):
        (tmp_path / ".hashgrainignore").write_text(content)
        (refused,) = find(tmp_path)
        assert isinstance(refused, Refused)


@pytest.mark.skipif(not os.path.exists("/dev/zero"), reason="this system has no devices in its tree")
def test_a_query_that_is_a_device_or_a_pipe_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    for path in ("/dev/zero", tmp_path / "pipe.jpg"):
        with pytest.raises(ImageError, match="not a regular file"):
            open_picture(path)
        with pytest.raises(OSError, match="not a regular file"):
            read_capped(str(path))


def test_a_query_larger_than_any_picture_is_refused_unread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hashgrain.images.decode.MAX_BYTES", 100)
    (tmp_path / "a.jpg").write_bytes(jpeg())
    with pytest.raises(ImageError, match="larger than 100 bytes"):
        open_picture(tmp_path / "a.jpg")


@pytest.mark.parametrize("name", ["a.jpg", "a.tar!x.jpg", "a.tar.gz!x.jpg"])
def test_an_item_whose_file_became_a_pipe_is_refused_at_once(tmp_path: Path, name: str) -> None:
    os.mkfifo(tmp_path / name.partition("!")[0].partition("#")[0])
    with pytest.raises((ImageError, OSError), match="not a regular file"):
        reopen(Kept(str(tmp_path / name))).load()
