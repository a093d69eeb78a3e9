"""Decoded pictures on disk: decoded once, then mapped, so that they are held in memory at most once.

A cache is `pictures-KEY.npy`, bytes of (n, size, size, 3), and `pictures-KEY.json`, which holds the digest of that
file and the pictures that could not be opened. The key is the list of content hashes, the size and the version of
what decodes. Both are written beside their places and renamed, the index last; what does not fit its index to the
last byte is made again, never believed.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
import PIL
from numpy.typing import NDArray

from hashgrain.errors import TrainingError
from hashgrain.files import sweep_unfinished, write_atomically, writing_atomically
from hashgrain.types import Fit

VERSION = 1
ABANDONED = 3600  # seconds after which a half-written file is taken for one whose writer was killed
Pixels = NDArray[np.uint8]
Opened = Callable[[], Iterable[Pixels | str]]  # each picture in turn: its pixels, or why it cannot be opened


@dataclass(frozen=True, eq=False)
class Decoded:
    pixels: Pixels  # (n, size, size, 3) of those that could be opened, in their order
    refused: Mapping[int, str]  # place of one that could not, and why


def decode_in_memory(n: int, size: int, opened: Opened) -> Decoded:
    pixels, refused, kept = np.empty((n, size, size, 3), np.uint8), {}, 0
    for place, picture in enumerate(opened()):
        if isinstance(picture, str):
            refused[place] = picture
        else:
            pixels[kept] = picture
            kept += 1
    return Decoded(pixels[:kept], refused)


def decode_once(folder: Path, contents: Sequence[str], size: int, opened: Opened, *, fit: Fit = "squash") -> Decoded:
    """What the cache in `folder` holds of the pictures with these content hashes; where it holds none, or a damaged
    one, they are decoded into it first."""
    key = _key(contents, size, fit)
    stem = folder / f"pictures-{key[:16]}"
    found = _read(stem, key, len(contents), size)
    if found is None:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            _write(stem, key, len(contents), size, opened())
        except OSError as error:
            raise TrainingError(
                f"cannot keep decoded pictures in {folder} ({error.strerror}); make room, or name another folder"
            ) from None
        found = _read(stem, key, len(contents), size)
    if found is None:
        raise TrainingError(f"{stem}.npy is not what was just written there; is its disk in order?")
    return found


def _key(contents: Sequence[str], size: int, fit: Fit) -> str:
    # Another Pillow may decode a JPEG to other values.
    fitted = "" if fit == "squash" else f" {fit}"
    said = f"{VERSION} {PIL.__version__} {size}{fitted}\n" + "\n".join(contents)
    return hashlib.sha256(said.encode()).hexdigest()


def _read(stem: Path, key: str, n: int, size: int) -> Decoded | None:
    pixels = stem.with_suffix(".npy")
    try:
        index = json.loads(stem.with_suffix(".json").read_text(encoding="utf-8"))
        refused = {int(place): str(why) for place, why in index["refused"].items()}
        if index["key"] != key or not all(0 <= place < n for place in refused):
            return None
        with pixels.open("rb") as file:
            if _digest(file) != index["sha256"]:
                return None
        mapped = np.lib.format.open_memmap(pixels, mode="r")
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
    fits = mapped.dtype == np.uint8 and mapped.shape == (n - len(refused), size, size, 3)
    return Decoded(mapped, refused) if fits else None


def _write(stem: Path, key: str, n: int, size: int, opened: Iterable[Pixels | str]) -> None:
    """Pixels go out by ordinary writes: a full disk is then an error, where a map would end the process."""
    for suffix in (".npy", ".json"):
        sweep_unfinished(stem.with_suffix(suffix), ABANDONED)
    refused: dict[int, str] = {}
    with writing_atomically(stem.with_suffix(".npy")) as file:
        _write_header(file, n, size)
        start = file.tell()
        for place, picture in enumerate(opened):
            if isinstance(picture, str):
                refused[place] = picture
            else:
                file.write(np.ascontiguousarray(picture).data)
        file.seek(0)
        _write_header(file, n - len(refused), size)
        assert file.tell() == start, "numpy leaves room in the header for any number of rows"
        file.seek(0)
        digest = _digest(file)
    index = {"key": key, "sha256": digest, "refused": refused}
    write_atomically(stem.with_suffix(".json"), json.dumps(index).encode())


def _write_header(file: BinaryIO, n: int, size: int) -> None:
    header = {"descr": "|u1", "fortran_order": False, "shape": (n, size, size, 3)}
    np.lib.format.write_array_header_1_0(file, header)


def _digest(file: BinaryIO) -> str:
    digest = hashlib.sha256()
    while block := file.read(1 << 22):
        digest.update(block)
    return digest.hexdigest()
