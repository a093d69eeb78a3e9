"""A cache of a model's float features and outputs, by the content of the pictures.

A folder holds chunks, `rows-NAME.npz`, each written atomically. A picture is identified by the SHA-256 of its bytes, so
later runs compute only new pictures, and a stopped run resumes. A damaged chunk is skipped, and its pictures are
computed again. Worker processes, which may die, decode a bounded number of pictures ahead, so memory use does not
depend on the number of pictures.
"""

from __future__ import annotations

import hashlib
import io
import itertools
import time
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from pathlib import Path

import numpy as np
import PIL
from numpy.typing import NDArray

from hashgrain import files
from hashgrain.errors import ImageError, Remedy, TrainingError
from hashgrain.hashers import Features
from hashgrain.media import Picture, decode_workers
from hashgrain.models import Encoder
from hashgrain.models.session import BATCH
from hashgrain.types import Log

VERSION = 1
CHUNK = 512  # pictures between two writes
REPORT_SECONDS = 10.0


class KeptRows:
    """Cached rows of a model: the features of a picture, followed by its outputs."""

    def __init__(self, encoder: Encoder, folder: Path, log: Log = lambda text: None) -> None:
        self.encoder, self._log = encoder, log
        # Another Pillow may decode a JPEG to other values.
        key = hashlib.sha256(f"{VERSION} {PIL.__version__} {encoder.digest}".encode()).hexdigest()
        self.folder = folder / key[:16]
        self.bits = encoder.grains.bits
        self._rows: dict[str, Features] = {}
        self._width = 0
        for path in sorted(self.folder.glob("rows-*.npz")):
            self._take(path)

    def __contains__(self, content: str) -> bool:
        return content in self._rows

    def of(self, contents: Sequence[str]) -> Features:
        """(n, features + outputs) of cached pictures."""
        return np.stack([self._rows[content] for content in contents])

    def add(self, pictures: Iterable[tuple[str, bytes]], count: int) -> dict[str, str]:
        """Compute the rows of `count` pictures, given as content hash and bytes. Returns the pictures that could not be
        opened, with the reason. Computed rows are stored even if this is interrupted."""
        refused: dict[str, str] = {}
        with self.encoder.decode_pool(workers=decode_workers()) as pool:
            decoded = closing(pool.decode(pictures))  # type: ignore[type-var]
            with decoded as stream:
                self._compute(_sorted_out(stream, refused), count, refused)
        return refused

    def add_pixels(self, pictures: Iterable[tuple[str, NDArray[np.uint8]]], count: int) -> None:
        """The same for decoded pictures of the model's size."""
        self._compute(pictures, count, {})

    def _compute(self, pictures: Iterable[tuple[str, NDArray[np.uint8]]], count: int, refused: dict[str, str]) -> None:
        fresh: dict[str, Features] = {}
        done, started = 0, time.monotonic()
        reported = started
        try:
            for batch in _batches(pictures):
                outputs, features = self.encoder.outputs_and_features(np.stack([pixels for _, pixels in batch]))
                rows = np.concatenate([features, outputs], axis=1)
                if not np.isfinite(rows).all():
                    raise TrainingError(
                        f"model {self.encoder.bundle.name!r} gives features that are not numbers; adapt another one"
                    )
                fresh.update(zip((content for content, _ in batch), rows, strict=True))
                done += len(batch)
                if len(fresh) >= CHUNK:
                    self._keep(fresh)
                if time.monotonic() - reported > REPORT_SECONDS:
                    reported = time.monotonic()
                    self._log(f"features: {done:,} of {count:,} pictures, {done / (reported - started):.0f} a second")
        finally:
            self._keep(fresh)
        if done:
            rate = done / max(1e-9, time.monotonic() - started)
            self._log(f"features: {done:,} of {count:,} pictures, {rate:.0f} a second")

    def _keep(self, fresh: dict[str, Features]) -> None:
        if not fresh:
            return
        file = io.BytesIO()
        np.savez(file, contents=np.array(list(fresh)), rows=np.stack(list(fresh.values())))
        name = hashlib.sha256("".join(fresh).encode()).hexdigest()[:16]
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            files.write_atomically(self.folder / f"rows-{name}.npz", file.getvalue())
        except OSError as error:
            raise TrainingError(
                f"cannot keep features in {self.folder} ({error.strerror})",
                path=self.folder,
                remedy=Remedy("make room, or choose another folder for the run", "make_room_for_run"),
            ) from None
        self._rows.update(fresh)
        fresh.clear()

    def _take(self, path: Path) -> None:
        try:
            with np.load(path, allow_pickle=False) as archive:
                contents, rows = archive["contents"], archive["rows"]
            width = rows.shape[1] if rows.ndim == 2 else 0
            fits = rows.dtype == np.float32 and width > self.bits and self._width in (0, width)
            if not fits or contents.shape != rows.shape[:1] or not np.isfinite(rows).all():
                raise ValueError
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
            self._log(f"{path} is damaged; its features are computed again")
            return
        self._width = width
        self._rows.update(zip(contents.tolist(), rows, strict=True))


def _sorted_out(
    decoded: Iterable[tuple[str, Picture | ImageError]], refused: dict[str, str]
) -> Iterator[tuple[str, NDArray[np.uint8]]]:
    for content, picture in decoded:
        if isinstance(picture, Picture):
            yield content, picture.pixels
        else:
            refused[content] = str(picture)


def _batches(
    pictures: Iterable[tuple[str, NDArray[np.uint8]]],
) -> Iterator[list[tuple[str, NDArray[np.uint8]]]]:
    stream = iter(pictures)
    while batch := list(itertools.islice(stream, BATCH)):
        yield batch
