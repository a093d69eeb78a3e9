"""Hostile tar archives: headers field by field with right checksums, in wrappers that may be cut or be bombs."""

from __future__ import annotations

import bz2
import functools
import gzip
import io
import lzma
import random
from pathlib import Path

from fuzzers import put, spoil

BLOCK = 512
TYPES = b"0\0" + b"0000" + b"1234567LKxxgSXVMDN\xff"
NUMBERS = (0, 1, 511, 512, 513, 10**6, 8**11 - 1, 2**40, 2**63, 2**64 - 1, -1, -512)
STEM = ("a", "b", "b.x", "../a", "/etc/passwd", "d/../../e", "x!y", "x#1", "\x1b[31mred", "new\nline", "tab\t", "")
SUFFIX = (".jpg", ".png", ".json", ".txt", ".cls", ".tar", ".JPG", "", ".json.jpg", ".gif")
PAX_KEYS = (
    "path",
    "size",
    "linkpath",
    "mtime",
    "uid",
    "hdrcharset",
    "GNU.sparse.major",
    "GNU.sparse.minor",
    "GNU.sparse.name",
    "GNU.sparse.realsize",
    "GNU.sparse.size",
    "GNU.sparse.map",
    "GNU.sparse.numblocks",
    "GNU.sparse.offset",
    "GNU.sparse.numbytes",
    "SCHILY.xattr.user.x",
    "comment",
)
NOTES = (
    b'{"a": 1}',
    b'{"a": NaN, "b": Infinity}',
    b'{"a": 1e999}',
    b"[" * 5000,
    b'{"a": ' * 70 + b"1" + b"}" * 70,
    b'{"a": ' + b"9" * 6000 + b"}",
    b'{"\\ud800": "\\udfff"}',
    b'{"a": "\\u0000"}',
    b'{"path": "/etc/passwd", "id": 7, "code": "x"}',
    b"{",
    b"\xff\xfe{}",
    b"7",
    b'{"big": "' + b"x" * 1_100_000 + b'"}',
)


@functools.cache
def picture() -> bytes:
    from PIL import Image

    out = io.BytesIO()
    Image.new("RGB", (9, 7), (200, 30, 90)).save(out, "png")
    return out.getvalue()


def number(value: int, width: int, draw: random.Random) -> bytes:
    """A number of a tar header: octal, base 256, or nonsense."""
    how = draw.random()
    if how < 0.03:
        return draw.choice((b"", b"zzz", b"-7", b" 12 34 ", b"\x80", b"\xff" * width, b"+1", b"1_0")).ljust(
            width, b"\0"
        )
    if value < 0 or value >= 8 ** (width - 1) or how < 0.1:
        return (b"\x80" if value >= 0 else b"\xff") + (value & (256 ** (width - 1) - 1)).to_bytes(width - 1, "big")
    return f"{value:0{width - 1}o}".encode() + b"\0"


def header(draw: random.Random, name: bytes, size: int, kind: bytes, link: bytes = b"") -> bytes:
    magic = draw.choice((b"ustar\x0000", b"ustar\x0000", b"ustar  \0", b"\0" * 8, b"nonsense"))
    prefix = draw.choice((b"", b"", b"", b"p/q", b"/", b"\xff" * 155))
    block = bytearray(
        name[:100].ljust(100, b"\0")
        + number(0o644, 8, draw)
        + number(0, 8, draw)
        + number(0, 8, draw)
        + number(size, 12, draw)
        + number(draw.choice((0, 10**9, 2**40, -5)), 12, draw)
        + b" " * 8
        + kind[:1]
        + link[:100].ljust(100, b"\0")
        + magic
        + b"u".ljust(32, b"\0")
        + b"g".ljust(32, b"\0")
        + number(0, 8, draw)
        + number(0, 8, draw)
        + prefix[:155].ljust(155, b"\0")
    ).ljust(BLOCK, b"\0")
    if kind == b"S":  # of a sparse file: places and lengths, and whether there are more
        for at in range(386, 482, 12):
            block[at : at + 12] = number(draw.choice(NUMBERS), 12, draw)
        block[482] = draw.choice((0, 0, 1))
        block[483:495] = number(draw.choice(NUMBERS), 12, draw)
    total = sum(block) if draw.random() < 0.97 else draw.randrange(10_000)
    block[148:156] = f"{total:06o}\0 ".encode()
    return bytes(block)


def padded(content: bytes) -> bytes:
    return content + bytes(-len(content) % BLOCK)


def name_of(draw: random.Random) -> bytes:
    name = (draw.choice(STEM) + draw.choice(SUFFIX)).encode()
    how = draw.random()
    if how < 0.05:
        return name + b"\0hidden.jpg"
    if how < 0.1:
        return b"\xff\xfe" + name
    return b"d/" * draw.choice((1, 1, 60, 2000)) + name if how < 0.15 else name


def pax(draw: random.Random, key: str, value: bytes) -> bytes:
    """A record of a pax header, its length right, or not."""
    body = b" " + key.encode() + b"=" + value + b"\n"
    size = len(body) + 1
    while size != len(str(size)) + len(body):
        size = len(str(size)) + len(body)
    if draw.random() < 0.1:
        size = draw.choice((0, 1, 5, size + 7, 10**9, 10**18, -3))
    return str(size).encode() + body


def member(draw: random.Random) -> bytes:
    kind = bytes([draw.choice(TYPES)])
    name = name_of(draw)
    if kind in b"xgX":
        records = b"".join(
            pax(draw, draw.choice(PAX_KEYS), draw.choice((name, str(draw.choice(NUMBERS)).encode(), b"1,2,3", b"\xff")))
            for _ in range(draw.randrange(1, 5))
        )
        return header(draw, b"pax", len(records), kind) + padded(records)
    if kind in b"LK":
        long = name * draw.choice((1, 30, 3000)) + b"\0"
        claimed = len(long) if draw.random() < 0.8 else draw.choice(NUMBERS)
        return header(draw, b"././@LongLink", claimed, kind) + padded(long)
    content = draw.choice(NOTES) if name.endswith((b".json", b".cls", b".txt")) else picture()
    if draw.random() < 0.2:
        content = spoil(draw, content)
    claimed = len(content) if draw.random() < 0.85 else draw.choice(NUMBERS)
    return header(draw, name, claimed, kind, name_of(draw)) + padded(content)


@functools.cache
def zeros(megabytes: int) -> bytes:
    return gzip.compress(bytes(megabytes << 20), 1)


def bomb(draw: random.Random) -> tuple[str, bytes]:
    """A few megabytes that unfold to gigabytes, as gzip members one after the other."""
    kind = draw.choice(("L", "x", "g", "K", "json", "txt", "jpg", "S"))
    if kind in ("json", "txt"):
        body = b'{"k": "' + b"a" * ((15 << 20) - 9) + b'"}'
        packed = gzip.compress(body, 1)
        heads = (header(_Plain(), b"a.%d.%s" % (n, kind.encode()), len(body), b"0") for n in range(150))
        parts = [gzip.compress(head) + packed for head in heads]
        return f"150 notes of 15 MB under one key, .{kind}", b"".join(parts) + gzip.compress(bytes(1024))
    size = 3000 << 20
    name = b"a.jpg" if kind == "jpg" else b"././@LongLink"
    first = header(_Plain(), name, size, b"0" if kind == "jpg" else kind.encode())
    return f"3 GB of {kind}", gzip.compress(first) + zeros(100) * 30 + gzip.compress(bytes(1024))


class _Plain(random.Random):
    """Draws the ordinary, so that a bomb's header is a right one."""

    def random(self) -> float:
        return 0.5

    def choice(self, seq):  # type: ignore[no-untyped-def]
        return seq[0]


def make_archive(draw: random.Random, folder: Path) -> str:
    if draw.random() < 0.004:
        what, content = bomb(draw)
        return put(folder, "bomb.tar.gz", content, what)
    content = b"".join(member(draw) for _ in range(draw.randrange(1, 7)))
    content += bytes(draw.choice((1024, 1024, 512, 0, 10)))
    content = spoil(draw, content) if draw.random() < 0.3 else content
    wrap = draw.choice(("", "", "gz", "xz", "bz2"))
    content = {"": bytes, "gz": gzip.compress, "xz": lzma.compress, "bz2": bz2.compress}[wrap](content)
    if draw.random() < 0.3:
        content = spoil(draw, content)
    if draw.random() < 0.05:
        content += draw.randbytes(100)
    return put(folder, draw.choice(("x.tar", "x.tar.gz", "x.tgz")), content, wrap or "plain")
