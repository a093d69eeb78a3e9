"""Codes in files: our own `.hgc`, numpy's `.npy`, and parquet, so that any program can read or write them.

Tables for spreadsheets (`.csv`) are only written.

An `.hgc` file is: 8 bytes of magic and version, 4 bytes length of the header, the header (JSON: grains, count,
digest of the model, SHA-256 of what follows), the packed codes little-endian, then the paths as JSON.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from hashgrain.codes import MAX_BITS, Codes, Grains
from hashgrain.errors import CodesError
from hashgrain.files import write_atomically

MAGIC = b"HGCODES"
VERSION = 1
MAX_HEADER = 1 << 20
PREFIX = 12  # bytes of magic, version and length of the header
FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "'")
Converter = TypeVar("Converter")
BitOrder = Literal["little", "big"]


@dataclass(frozen=True)
class CodeFile:
    """The content of a file. `digest` identifies the model that made the codes, if the file names it."""

    codes: Codes
    paths: Sequence[str] | None = None
    digest: str | None = None
    ids: Sequence[int] | None = None
    facts: Sequence[Mapping[str, Any]] | None = None  # further columns of a .csv


def save_codes(
    path: str | Path,
    codes: Codes,
    *,
    paths: Sequence[str] | None = None,
    digest: str | None = None,
    ids: Sequence[int] | None = None,
    facts: Sequence[Mapping[str, Any]] | None = None,
) -> None:
    """Write codes atomically, in the format of the suffix.

    .hgc holds codes, paths and digest; .npy only codes; .parquet also ids; .csv ids, paths, codes in hexadecimal and
    `facts`, a mapping for each code.
    """
    target = Path(path)
    for name, given in {"paths": paths, "ids": ids, "facts": facts}.items():
        if given is not None and len(given) != len(codes):
            raise CodesError(f"{len(codes)} codes take as many {name}, not {len(given)}")
    file = CodeFile(codes, paths, digest, ids, facts)
    writers = {".hgc": _hgc_bytes, ".npy": _npy_bytes, ".parquet": _parquet_bytes, ".csv": _csv_bytes}
    content = _for_suffix(target, writers)(file)
    try:
        write_atomically(target, content)
    except OSError as error:
        raise CodesError(f"cannot write {target}: {error.strerror}", path=target) from None


def bit_strings(codes: Codes) -> list[str]:
    """Each code as zeros and ones, bit 0 first."""
    return ["".join(map(str, row)) for row in codes.bits().tolist()]


def save_bits(path: str | Path, codes: Codes, *, paths: Sequence[str] | None = None) -> None:
    """Write zeros and ones atomically: .npy (n, bits), .txt with one code per line, .csv with the paths."""
    target = Path(path)
    file = CodeFile(codes, paths)
    content = _for_suffix(target, {".npy": _npy_bits, ".txt": _txt_bits, ".csv": _csv_bits})(file)
    try:
        write_atomically(target, content)
    except OSError as error:
        raise CodesError(f"cannot write {target}: {error.strerror}", path=target) from None


def _npy_bits(file: CodeFile) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, file.codes.bits())
    return buffer.getvalue()


def _txt_bits(file: CodeFile) -> bytes:
    return "".join(f"{bits}\n" for bits in bit_strings(file.codes)).encode()


def _csv_bits(file: CodeFile) -> bytes:
    return _csv_bytes(file, bit_strings(file.codes))


def load_codes(path: str | Path, *, grains: Grains | None = None) -> CodeFile:
    """Read codes. A .npy file does not name its grains: pass them, or the whole width is one grain, `look`."""
    source = Path(path)
    readers = {".hgc": _read_hgc, ".npy": _read_npy, ".parquet": _read_parquet}
    read = _for_suffix(source, readers)
    try:
        content = source.read_bytes()
    except OSError as error:
        raise CodesError(f"cannot read {source}: {error.strerror}", path=source) from None
    try:
        return read(content, grains)
    except CodesError as error:
        raise CodesError(f"{source}: {error}", path=source) from None
    except Exception as error:  # json, numpy and pyarrow raise a dozen unrelated classes for damaged files
        raise CodesError(f"{source} is not a file of codes we can read ({error})", path=source) from None


def codes_of(table: NDArray[Any], grains: Grains | None = None, *, bit_order: BitOrder = "little") -> Codes:
    """Codes from an array in any of the usual forms, one row per code.

    uint8 is packed bits, eight per byte, with the first bit lowest in its byte, or highest with `bit_order="big"`, the
    default of `numpy.packbits`. Any other type is one value per bit: booleans, 0 and 1, -1 and +1, or real numbers,
    where >= 0 is a one. Without `grains` the whole width is one grain, `look`.
    """
    if table.ndim != 2 or not table.size:
        raise CodesError(f"codes are a table with one row per picture, not {table.dtype} of shape {table.shape}")
    if table.dtype == np.uint8:
        if bit_order == "big":
            table = np.packbits(np.unpackbits(table, axis=1), axis=1, bitorder="little")
        return Codes.from_bytes(table, grains or Grains(look=8 * table.shape[1]))
    if table.dtype.kind not in "bif":
        raise CodesError(f"codes cannot be of {table.dtype}; save uint8 (packed), bool, int8 or float32")
    if table.shape[1] > MAX_BITS:
        raise CodesError(f"{table.shape[1]} bits, more than {MAX_BITS}")
    if table.dtype.kind == "f" and not np.isfinite(table).all():
        row = int(np.flatnonzero(~np.isfinite(table).all(axis=1))[0])
        raise CodesError(f"row {row} holds values that are not numbers (NaN or infinite)")
    on = table > 0 if not (table < 0).any() and np.isin(table, (0, 1)).all() else table >= 0
    return Codes.from_bits(on, grains or Grains(look=table.shape[1]))


def looks_unpacked(table: NDArray[Any]) -> bool:
    """Whether bytes look like unpacked bits: all are 0 or 1, and too many for that to happen with packed bits."""
    return table.dtype == np.uint8 and table.ndim == 2 and table.shape[1] >= 8 and int(table.max(initial=0)) == 1


def _for_suffix(path: Path, ways: Mapping[str, Converter]) -> Converter:
    if path.suffix.lower() not in ways:
        raise CodesError(f"{path}: files of codes are named {', '.join(ways)}", path=path)
    return ways[path.suffix.lower()]


def _hgc_bytes(file: CodeFile) -> bytes:
    payload = file.codes.to_bytes().tobytes() + json.dumps(file.paths).encode()
    header = {
        "grains": dict(file.codes.grains),
        "count": len(file.codes),
        "digest": file.digest,
        "sha256": hashlib.sha256(payload).hexdigest(),
    }
    described = json.dumps(header).encode()
    return MAGIC + bytes([VERSION]) + struct.pack("<I", len(described)) + described + payload


def _read_hgc(content: bytes, grains: Grains | None) -> CodeFile:
    if content[:7] != MAGIC:
        raise CodesError("is not an .hgc file")
    if len(content) < PREFIX:
        raise CodesError("is cut short")
    if content[7] > VERSION:
        raise CodesError(f"has version {content[7]}, this HashGrain reads up to {VERSION}: upgrade hashgrain")
    (length,) = struct.unpack_from("<I", content, 8)
    if length > min(MAX_HEADER, len(content) - PREFIX):
        raise CodesError("is cut short or damaged: its header does not fit")
    header, payload = json.loads(content[PREFIX : PREFIX + length]), content[PREFIX + length :]
    if hashlib.sha256(payload).hexdigest() != header["sha256"]:
        raise CodesError("is cut short or damaged: its checksum does not fit")
    own = Grains(header["grains"])
    if grains is not None and grains != own:
        raise CodesError(f"holds {own}, not {grains}")
    size = int(header["count"]) * own.n_words * 8
    rows = np.frombuffer(payload[:size], np.uint8).reshape(int(header["count"]), own.n_words * 8)
    codes, paths = Codes.from_bytes(rows, own), json.loads(payload[size:])
    return CodeFile(codes, _checked_paths(paths, len(codes)), _checked_digest(header["digest"]))


def _checked_digest(digest: Any) -> str | None:
    if not (digest is None or isinstance(digest, str)):
        raise CodesError("is damaged: the digest of its model is not text")
    return digest


def _checked_paths(paths: Any, count: int) -> list[str] | None:
    if paths is None:
        return None
    if not isinstance(paths, list) or not all(isinstance(path, str) for path in paths):
        raise CodesError("is damaged: its paths are not texts")
    if len(paths) != count:
        raise CodesError(f"is damaged: it holds {count} codes and {len(paths)} paths")
    return paths


def _npy_bytes(file: CodeFile) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, file.codes.to_bytes(), allow_pickle=False)
    return buffer.getvalue()


def _read_npy(content: bytes, grains: Grains | None) -> CodeFile:
    rows: NDArray[np.uint8] = np.load(io.BytesIO(content), allow_pickle=False)
    if rows.ndim != 2 or rows.dtype != np.uint8 or not rows.shape[1]:
        raise CodesError(f"codes are rows of uint8, not {rows.dtype} {rows.shape}")
    return CodeFile(Codes.from_bytes(rows, grains or Grains(look=8 * rows.shape[1])))


def _pyarrow() -> Any:
    try:
        import pyarrow.parquet
    except ImportError:
        raise CodesError("parquet needs an extra: pip install 'hashgrain[parquet]'") from None
    return pyarrow


def _parquet_bytes(file: CodeFile) -> bytes:
    pyarrow = _pyarrow()
    rows = file.codes.to_bytes()
    width = file.codes.grains.n_words * 8
    columns = {"code": pyarrow.array([row.tobytes() for row in rows], pyarrow.binary(width))}
    if file.paths is not None:
        names = [name.encode("utf-8", "surrogateescape") for name in file.paths]
        clean = all(name.decode("utf-8", "replace").encode() == name for name in names)
        texts = pyarrow.array([name.decode() for name in names]) if clean else pyarrow.array(names, pyarrow.binary())
        columns = {"path": texts, **columns}
    if file.ids is not None:
        columns = {"id": pyarrow.array(file.ids, pyarrow.int64()), **columns}
    facts = {"hashgrain": json.dumps({"grains": dict(file.codes.grains), "digest": file.digest})}
    table = pyarrow.table(columns).replace_schema_metadata(facts)
    buffer = io.BytesIO()
    pyarrow.parquet.write_table(table, buffer)
    return buffer.getvalue()


def _read_parquet(content: bytes, grains: Grains | None) -> CodeFile:
    table = _pyarrow().parquet.read_table(io.BytesIO(content))
    facts = json.loads((table.schema.metadata or {}).get(b"hashgrain", b"{}"))
    codes = table.column("code").to_pylist()
    if len({len(code) for code in codes}) > 1:
        raise CodesError("its codes have several widths")
    width = len(codes[0]) if codes else table.schema.field("code").type.byte_width
    rows = np.frombuffer(b"".join(codes), np.uint8).reshape(len(codes), width)
    own = Grains(facts["grains"]) if "grains" in facts else grains or Grains(look=8 * width)
    if grains is not None and grains != own:
        raise CodesError(f"holds {own}, not {grains}")
    paths = None
    if "path" in table.column_names:
        values = table.column("path").to_pylist()
        paths = [v if isinstance(v, str) else v.decode("utf-8", "surrogateescape") for v in values]
    ids = table.column("id").to_pylist() if "id" in table.column_names else None
    return CodeFile(Codes.from_bytes(rows, own), paths, _checked_digest(facts.get("digest")), ids)


def _csv_bytes(file: CodeFile, codes: Sequence[str] | None = None) -> bytes:
    """A table for spreadsheets: a header, then one row per code."""
    columns: dict[str, Sequence[Any]] = {}
    if file.ids is not None:
        columns["id"] = file.ids
    if file.paths is not None:
        columns["path"] = file.paths
    columns["code"] = codes or [row.tobytes().hex() for row in file.codes.to_bytes()]
    for name in dict.fromkeys(name for row in file.facts or () for name in row):
        columns[name] = [row.get(name) for row in file.facts or ()]
    return spreadsheet(list(columns), zip(*columns.values(), strict=True))


def spreadsheet(names: Sequence[str], rows: Iterable[Iterable[object]]) -> bytes:
    """A table for spreadsheets as .csv: a header, then the rows, in UTF-8. No cell is run as a formula."""
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(names)
    writer.writerows(map(_cell, row) for row in rows)
    return text.getvalue().encode("utf-8", "backslashreplace")


def _cell(value: Any) -> Any:
    """A cell that spreadsheets do not run: text that would be a formula gets an apostrophe in front.

    Text that begins with an apostrophe gets one too, so that removing the first one always restores the text.
    """
    if isinstance(value, (dict, list, tuple)):
        return json.dumps(value, ensure_ascii=False) if value else ""
    return f"'{value}" if isinstance(value, str) and value.startswith(FORMULA) else value
