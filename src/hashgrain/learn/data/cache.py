"""Decoded pictures on disk: decoded once, then memory-mapped, so that processes share one copy.

A cache is `pictures-KEY.npy`, bytes of (n, size, size, 3), and `pictures-KEY.json`, which holds the digest of that
file and the pictures that could not be opened. The key covers the content hashes, the size and the version of the
decoder. Both files are written atomically, the index last. A file that does not match its index is made again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, TypeAlias

import numpy as np
import PIL

from hashgrain.errors import TrainingError
from hashgrain.files import sweep_unfinished, write_atomically, writing_atomically
from hashgrain.media.picture import Pixels
from hashgrain.types import Fit

VERSION = 1
ABANDONED = 3600  # seconds after which a half-written file is considered abandoned by a killed process
Opened: TypeAlias = "Callable[[], Iterable[Pixels | str]]"  # each picture: its pixels, or why it cannot be opened


@dataclass(frozen=True, eq=False)
class Decoded:
    pixels: Pixels  # (n, size, size, 3) of the pictures that could be opened, in order
    refused: Mapping[int, str]  # position of each picture that could not, and the reason


def decode_in_memory(n: int, size: int, opened: Opened) -> Decoded:
    pixels, refused, count = np.empty((n, size, size, 3), np.uint8), {}, 0
    for place, picture in enumerate(opened()):
        if isinstance(picture, str):
            refused[place] = picture
        else:
            pixels[count] = picture
            count += 1
    return Decoded(pixels[:count], refused)


def decode_once(folder: Path, contents: Sequence[str], size: int, opened: Opened, *, fit: Fit = "squash") -> Decoded:
    """The decoded pictures with these content hashes, from the cache in `folder`. Missing or damaged caches are
    written first."""
    key = _key(contents, size, fit)
    stem = folder / f"pictures-{key[:16]}"
    decoded = _read(stem, key, len(contents), size)
    if decoded is None:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            _write(stem, key, len(contents), size, opened())
        except OSError as error:
            raise TrainingError(
                f"cannot keep decoded pictures in {folder} ({error.strerror}); make room, or name another folder"
            ) from None
        decoded = _read(stem, key, len(contents), size)
    if decoded is None:
        raise TrainingError(f"{stem}.npy does not hold what was just written there; check the disk")
    return decoded


def _key(contents: Sequence[str], size: int, fit: Fit) -> str:
    # Another Pillow may decode a JPEG to other values.
    fitted = "" if fit == "squash" else f" {fit}"
    text = f"{VERSION} {PIL.__version__} {size}{fitted}\n" + "\n".join(contents)
    return hashlib.sha256(text.encode()).hexdigest()


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
    """Write the pixels with ordinary writes: a full disk is then an error, while a memory map would crash."""
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
        assert file.tell() == start, "numpy's header has one length for any number of rows"
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
