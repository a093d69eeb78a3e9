"""Hostile parquet tables: odd columns and values, then spoiled bytes."""

from __future__ import annotations

import datetime
import io
import random
from pathlib import Path
from typing import Any

from fuzz_archives import picture
from fuzzers import put, spoil

NAMES = ("image", "bytes", "jpg", "label", "text", "path", "id", "a\0b", "\x1b[31m", "", "meta", "x" * 300)


def make_table(draw: random.Random, folder: Path) -> str:
    import pyarrow as pa
    import pyarrow.parquet as parquet

    rows = draw.choice((0, 1, 3, 7))
    secret = folder / "secret.txt"
    if not secret.exists():
        secret.write_bytes(b"a secret of another user\n" * 50)
    columns = [_pictures(pa, draw, rows, secret), *(_column(pa, draw, rows) for _ in range(draw.randrange(4)))]
    names = [draw.choice(NAMES[:3]), *(draw.choice(NAMES) for _ in columns[1:])]
    out = io.BytesIO()
    compression = draw.choice(("snappy", "gzip", "none", "zstd"))
    try:
        table = pa.Table.from_arrays(columns, names=names)
        parquet.write_table(table, out, compression=compression, use_dictionary=draw.random() < 0.5)
    except pa.ArrowException:  # too odd to be written
        parquet.write_table(pa.table({"image": [picture()]}), out)
    content = out.getvalue()
    if draw.random() < 0.6:
        foot = len(content) - int.from_bytes(content[-8:-4], "little") - 8
        if draw.random() < 0.6:  # where it hurts: the description at the end
            content = content[:foot] + spoil(draw, content[foot:-8]) + content[-8:]
        else:
            content = spoil(draw, content)
    return put(folder, "x.parquet", content, "columns " + ", ".join(name[:12] for name in names))


def _pictures(pa: Any, draw: random.Random, rows: int, secret: Path) -> Any:
    """The column of pictures: bytes, texts that look like paths, numbers, structs of these."""
    name = str(secret)
    kinds = {
        "bytes": pa.array([picture()] * rows, pa.binary()),
        "large": pa.array([spoil(draw, picture()) for _ in range(rows)], pa.large_binary()),
        "views": pa.array([picture()] * rows, pa.binary_view()) if draw.random() < 0.1 else pa.array([b"x"] * rows),
        "fixed": pa.array([b"abcd"] * rows, pa.binary(4)),
        "nothing": pa.array([None] * rows, pa.binary()),
        "text": pa.array([name] * rows, pa.string()),
        "struct": pa.array([{"bytes": picture(), "path": name}] * rows),
        "struct of text": pa.array([{"bytes": name, "path": name}] * rows),
        "struct of numbers": pa.array([{"bytes": 7, "path": name}] * rows),
        "struct of lists": pa.array([{"bytes": [1, 2], "path": None}] * rows),
        "struct of nothing": pa.array([{"bytes": None, "path": name}] * rows),
        "numbers": pa.array([2**62] * rows),
        "zeros": pa.array([bytes(draw.choice((0, 10, 3_000_000)))] * rows, pa.binary()),
        "dictionary": pa.array([name] * rows).dictionary_encode(),
    }
    if draw.random() < 0.01:  # a small file of much
        size = 48 << 20
        return pa.array([bytes(size)] * 1, pa.binary()).take(pa.array([0] * rows, pa.int32()))
    return kinds[draw.choice(list(kinds))]


def _column(pa: Any, draw: random.Random, rows: int) -> Any:
    values: list[tuple[Any, Any]] = [
        (draw.choice((float("nan"), float("inf"), 1e308)), pa.float64()),
        (draw.choice((2**63, 2**64 - 1)), pa.uint64()),
        (-(2**63), pa.timestamp("s")),
        (2**62, pa.timestamp("ns")),
        (-(2**31), pa.date32()),
        (2**62, pa.duration("us")),
        (datetime.date(9999, 12, 31), pa.date32()),
        ([[1]], pa.list_(pa.list_(pa.int8()))),
        ([float("nan")] * 70, pa.list_(pa.float32())),
        ({"a": {"b": None}}, None),
        (b"\xff", pa.binary()),
        ("a\0b\x1b[31m", pa.string()),
        (True, pa.bool_()),
        (None, pa.null()),
        ("x" * 1_100_000, pa.string()),
    ]
    value, kind = draw.choice(values)
    return pa.array([value] * rows, kind) if kind is not None else pa.array([value] * rows)
