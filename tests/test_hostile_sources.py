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
from hashgrain.media import open_picture
from hashgrain.sources import Refused, Source, find, reopen
from hashgrain.sources.source import read_capped
from hashgrain.sources.tar import open_tar

MEASURED = """
import resource, sys
resource.setrlimit(resource.RLIMIT_AS, (6 << 30, 6 << 30))
from hashgrain.sources import Refused, find
def peak():  # ru_maxrss would count what the process that started this one had
    return int(open("/proc/self/status").read().partition("VmHWM:")[2].split()[0])
before = peak()
given = refused = 0
for source in find(sys.argv[1]):
    given += not isinstance(source, Refused)
    refused += isinstance(source, Refused)
    if isinstance(source, Refused):
        print(source.reason)
inside = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
print(given, refused, peak() - before, inside)
"""
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="measures and makes what only Linux has")


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
    sources = [(type(source).__name__, source.path.partition("!")[2]) for source in find(tmp_path / "a.tar")]
    assert sources == [("Source", "1.jpg"), ("Refused", "1.json"), ("Source", "2.jpg"), ("Refused", "2.json")]


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
        self.path, self.size, self.mtime_ns = path, 1, 1
        self.meta: dict[str, Any] = {}


@pytest.mark.parametrize("size", [b"\xff" * 12, b"-0000000001\0", b"99999999999\0", b"\x80" + b"\x7f" * 11])
def test_impossible_sizes_in_an_archive_are_damage(tmp_path: Path, size: bytes) -> None:
    block = bytearray(tarfile.TarInfo("a.jpg").tobuf(tarfile.GNU_FORMAT))
    block[124:136] = size
    block[148:156] = b"%06o\0 " % (sum(block[:148]) + sum(block[156:512]) + 8 * 32)
    (tmp_path / "a.tar").write_bytes(bytes(block) + bytes(1024))
    sources = list(find(tmp_path / "a.tar"))
    assert sources
    assert all(isinstance(source, Refused) for source in sources)


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
    monkeypatch.setattr("hashgrain.media.contents.MAX_BYTES", 100)
    (tmp_path / "a.jpg").write_bytes(jpeg())
    with pytest.raises(ImageError, match="larger than 100 bytes"):
        open_picture(tmp_path / "a.jpg")


@pytest.mark.parametrize("name", ["a.jpg", "a.tar!x.jpg", "a.tar.gz!x.jpg"])
def test_an_item_whose_file_became_a_pipe_is_refused_at_once(tmp_path: Path, name: str) -> None:
    os.mkfifo(tmp_path / name.partition("!")[0].partition("#")[0])
    with pytest.raises((ImageError, OSError), match="not a regular file"):
        reopen(Kept(str(tmp_path / name))).load()


@pytest.fixture
def parquet(tmp_path: Path) -> Any:
    """Write a table and give its path."""
    pyarrow = pytest.importorskip("pyarrow", reason="needs the extra parquet")
    from pyarrow.parquet import write_table

    def write(columns: Any, name: str = "t.parquet", **options: Any) -> Path:
        table = columns if isinstance(columns, pyarrow.Table) else pyarrow.table(columns)
        write_table(table, tmp_path / name, **options)
        return tmp_path / name

    return write


def outcome(path: Path) -> list[str]:
    """What became of each row."""
    return [source.reason if isinstance(source, Refused) else "picture" for source in find(path)]


@pytest.mark.parametrize("kind", ["text", "numbers"])
def test_a_table_whose_pictures_are_no_bytes_opens_nothing(tmp_path: Path, parquet: Any, kind: str) -> None:
    secret = tmp_path / "secret.jpg"
    secret.write_bytes(jpeg())
    value: Any = str(secret) if kind == "text" else 42
    path = parquet({"image": [{"bytes": value, "path": "a"}, {"bytes": value, "path": "b"}]})
    assert all("not the bytes of a picture" in reason for reason in outcome(path))
    assert len(outcome(path)) == 2
    with pytest.raises(ImageError, match="not the bytes of a picture"):
        reopen(Kept(f"{path}#1")).load()


def test_what_a_table_or_an_archive_loads_is_bytes(tmp_path: Path, parquet: Any) -> None:
    (tmp_path / "a.tar").write_bytes(member("/etc/passwd.jpg", jpeg()) + bytes(1024))
    for source in find([tmp_path / "a.tar", parquet({"jpg": [jpeg()]})]):
        assert type(source.load()) is bytes  # type: ignore[union-attr]


def test_a_kilobyte_that_holds_gigabytes_of_zeros_is_read_a_few_rows_at_a_time(parquet: Any) -> None:
    import pyarrow

    zeros = pyarrow.array([bytes(24 << 20)])
    column = pyarrow.DictionaryArray.from_arrays(pyarrow.array([0] * 40, pyarrow.int8()), zeros)
    path = parquet(pyarrow.table({"image": column}), compression="zstd", store_schema=False)
    assert path.stat().st_size < 20_000
    given, refused, megabytes, inside, _ = measured(path)
    assert (given, refused) == (40, 0)
    assert megabytes < 250
    assert inside < 600


def test_a_table_that_takes_too_much_memory_costs_its_own_process_and_no_more(
    parquet: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    import pyarrow

    monkeypatch.setattr("hashgrain.sources.tables.MEMORY", 600 << 20)
    zeros = pyarrow.array([bytes(200 << 20)])
    path = parquet(pyarrow.table({"image": zeros}), compression="zstd")
    (whole,) = find(path)
    assert isinstance(whole, Refused)
    assert whole.path == str(path)


def test_metadata_of_a_table_has_a_size(parquet: Any) -> None:
    path = parquet({"jpg": [jpeg(), jpeg()], "text": ["x" * (2 << 20), "short"]})
    assert outcome(path) == ["its metadata is larger than 1 MB", "picture"]


def test_values_that_python_cannot_hold_refuse_their_row(parquet: Any) -> None:
    import pyarrow

    late = pyarrow.array([10**6, 9 * 10**18], pyarrow.int64()).cast(pyarrow.timestamp("us"))
    assert "column 'when' cannot be read" in outcome(parquet({"jpg": [jpeg()] * 2, "when": late}))[1]
    days = pyarrow.array([1, 2**31 - 1], pyarrow.int32()).cast(pyarrow.date32())
    assert "column 'when' cannot be read" in outcome(parquet({"jpg": [jpeg()] * 2, "when": days}))[1]
    torn = pyarrow.StringArray.from_buffers(1, pyarrow.py_buffer(b"\0\0\0\0\2\0\0\0"), pyarrow.py_buffer(b"\xff\xfe"))
    assert "column 'text' cannot be read" in outcome(parquet({"jpg": [jpeg()], "text": torn}))[0]


def test_odd_columns_of_a_table_are_metadata_or_left_out(parquet: Any) -> None:
    import decimal

    import pyarrow

    columns = {
        "jpg": [jpeg()],
        "nanoseconds": pyarrow.array([1_700_000_000_123_456_789], pyarrow.timestamp("ns")),
        "nan": [float("nan")],
        "large": pyarrow.array([2**64 - 1], pyarrow.uint64()),
        "kind": pyarrow.array(["cat"]).dictionary_encode(),
        "many": [list(range(65))],
        "few": [[1, 2]],
        "deep": [[[1]]],
        "money": [decimal.Decimal("1.5")],
        "span": pyarrow.array([5], pyarrow.duration("s")),
        "blob": [b"x"],
        "struct": [{"a": 1}],
        "nothing": pyarrow.nulls(1),
    }
    (source,) = find(parquet(columns))
    assert isinstance(source, Source)
    meta = dict(source.meta)
    assert str(meta.pop("nan")) == "nan"
    assert meta == {"nanoseconds": "2023-11-14T22:13:20.123456", "large": 2**64 - 1, "kind": "cat", "few": [1, 2]}


def test_doubled_column_names_refuse_a_table_by_name(parquet: Any) -> None:
    import pyarrow

    twice = pyarrow.Table.from_arrays([pyarrow.array([jpeg()])] * 2, names=["jpg", "jpg"])
    assert outcome(parquet(twice)) == ["the table cannot be read: two columns are called 'jpg'"]


def test_a_damaged_table_is_refused_and_nothing_else(parquet: Any, tmp_path: Path) -> None:
    dice = random.Random(4)
    whole = parquet({"jpg": [jpeg(i) for i in range(8)], "a": list(range(8))}).read_bytes()
    refused = 0
    for _ in range(8):
        content = bytearray(whole)
        for _ in range(3):
            content[-dice.randrange(1, 700)] = dice.randrange(256)
        (tmp_path / "b.parquet").write_bytes(content)
        refused += any(isinstance(source, Refused) for source in find(tmp_path / "b.parquet"))
    assert refused


def test_a_table_that_became_a_pipe_is_refused_at_once(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow", reason="needs the extra parquet")
    os.mkfifo(tmp_path / "t.parquet")
    with pytest.raises(ImageError, match="not a regular file"):
        reopen(Kept(f"{tmp_path}/t.parquet#0")).load()


def test_leaving_a_table_early_leaves_no_process_behind(parquet: Any) -> None:
    import psutil

    before = len(psutil.Process().children())
    stream = find(parquet({"jpg": [jpeg()] * 50}))
    next(stream)
    stream.close()  # type: ignore[attr-defined]
    assert len(psutil.Process().children()) == before
