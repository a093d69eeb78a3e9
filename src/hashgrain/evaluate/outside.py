"""Codes and labels from other programs: a folder with queries and database, as .npy, .parquet or .hgc."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hashgrain.codefiles import codes_of, load_codes, looks_unpacked
from hashgrain.codes import Codes, Grains
from hashgrain.errors import CodesError, EvaluationError
from hashgrain.evaluate.labels import Labels, Paths, as_labels
from hashgrain.models.session import first_line

SIDES = ("queries", "database")
SUFFIXES = (".npy", ".parquet", ".hgc")


@dataclass(frozen=True, eq=False)
class OutsideCodes:
    queries: Codes
    database: Codes
    outputs: NDArray[np.float32] | None  # of the queries, if they are real-valued
    wanted: Labels | None  # if the folder has queries_labels.npy and database_labels.npy
    labels: Labels | None

    def at(self, bits: int) -> OutsideCodes:
        """The first `bits` bits of each code."""
        if bits == self.queries.grains.bits:
            return self
        queries, database = (
            Codes.from_bits(side.bits()[:, :bits], Grains(look=bits)) for side in (self.queries, self.database)
        )
        outputs = None if self.outputs is None else self.outputs[:, :bits]
        return OutsideCodes(queries, database, outputs, self.wanted, self.labels)

    def facts(self) -> dict[str, Any]:
        """The protocol of codes with their own labels; the digest of the labels makes results comparable."""
        assert self.wanted is not None
        assert self.labels is not None
        digest = hashlib.sha256()
        for labels in (self.wanted, self.labels):
            table = labels.ids if isinstance(labels, Paths) else labels.words
            digest.update(f"{type(labels).__name__} {table.shape}\n".encode() + np.ascontiguousarray(table).tobytes())
        return {
            "name": "labels of their own",
            "version": 1,
            "seed": 0,
            "manifest": digest.hexdigest(),
            "about": "codes and labels of another program",
            "cutoff": None,
            "convention": "hash",
            "relevance": "same class" if isinstance(self.wanted, Paths) else "shares a label",
            "transform": "unknown",
            "queries": len(self.queries),
            "train": None,
            "database": len(self.database),
            "classes": None,
        }


def is_codes(folder: Path) -> bool:
    """Whether a folder holds codes rather than a model. One side is enough: reading then reports the missing one."""
    return any((folder / f"{side}{suffix}").is_file() for side in SIDES for suffix in SUFFIXES)


def read_outside(folder: str | Path) -> OutsideCodes:
    """Read the codes of both sides. In .npy, uint8 is packed bits, eight per byte, as Faiss and numpy.packbits write
    them; any other type is one value per bit: booleans, 0 and 1, -1 and +1, or real numbers, where >= 0 is a one."""
    where = Path(folder)
    (queries, outputs), (database, _) = (_side(where, side) for side in SIDES)
    if queries.grains.bits != database.grains.bits:
        raise EvaluationError(f"{where}: queries of {queries.grains.bits} bits, a database of {database.grains.bits}")
    files = _label_file(where, "queries", "query"), _label_file(where, "database")
    wanted, labels = (_labels(file) for file in files)
    if (wanted is None) != (labels is None):
        raise EvaluationError(
            f"{where} has labels for one side only: queries_labels.npy and database_labels.npy go together"
        )
    for side_labels, codes, file in ((wanted, queries, files[0]), (labels, database, files[1])):
        if side_labels is not None and len(side_labels) != len(codes):
            raise EvaluationError(f"{file} has {len(side_labels)} labels for {len(codes)} codes")
    return OutsideCodes(queries, database, outputs, wanted, labels)


def _label_file(folder: Path, *sides: str) -> Path:
    """The file that `hashgrain protocols --features` writes; `query_labels.npy` is an older name."""
    files = [folder / f"{side}_labels.npy" for side in sides]
    there = [file for file in files if file.exists()]
    if len(there) > 1:
        raise EvaluationError(f"{folder} has labels of the queries twice, {' and '.join(file.name for file in there)}")
    return (there or files)[0]


def _side(folder: Path, side: str) -> tuple[Codes, NDArray[np.float32] | None]:
    """The codes of one side at full width, and the real-valued outputs, if the file has those."""
    files = [folder / f"{side}{suffix}" for suffix in SUFFIXES if (folder / f"{side}{suffix}").is_file()]
    if len(files) != 1:
        names = " or ".join(f"{side}{suffix}" for suffix in SUFFIXES)
        raise EvaluationError(f"{folder} takes one file {names}; it has {', '.join(map(str, files)) or 'none'}")
    (file,) = files
    if file.suffix == ".npy":
        table = _array(file)
        if looks_unpacked(table):
            raise EvaluationError(
                f"{file}: uint8 is packed bits, eight a byte, but every byte is 0 or 1; save one value a bit as bool"
            )
        codes = as_codes(table, name=str(file))
        real = table.dtype.kind == "f" and not np.isin(table, (-1, 0, 1)).all()
        with np.errstate(over="ignore"):  # overflow of single precision is reported where the outputs are used
            return codes, table.astype(np.float32) if real else None
    try:
        codes = load_codes(file).codes
    except CodesError as error:
        raise EvaluationError(str(error)) from None
    if not len(codes):
        raise EvaluationError(f"{file} holds no codes")
    return Codes(codes.words, Grains(look=codes.grains.bits)), None


def as_codes(table: NDArray[Any], *, name: str) -> Codes:
    """Codes from an array in any of the usual forms."""
    try:
        return codes_of(table)
    except CodesError as error:
        raise EvaluationError(f"{name}: {error}") from None


def _array(path: Path) -> NDArray[Any]:
    try:
        with path.open("rb") as file:
            return np.asarray(np.lib.format.read_array(file, allow_pickle=False))
    except OSError as error:
        raise EvaluationError(f"cannot read {path} ({error.strerror or error})") from None
    except Exception as error:  # a header made to be wrong raises anything
        raise EvaluationError(f"{path} is not a .npy file of plain numbers ({first_line(error)})") from None


def _labels(path: Path) -> Labels | None:
    return as_labels(_array(path), name=str(path)) if path.exists() else None
