"""A cache of a network's features of pictures: with it, fitting a head takes seconds."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import PIL
from numpy.typing import NDArray
from PIL import Image

from hashgrain import files
from hashgrain.errors import ImageError, TrainingError
from hashgrain.hashers import Features
from hashgrain.media import open_picture
from hashgrain.types import Fit, Log

VERSION = 1  # raise it when pictures are opened, edited or augmented in another way
AT_ONCE = 16
CHUNK = 1024  # pictures between two writes: the most that is lost when a run stops
Pictures = Iterable[Image.Image | bytes]


class KeptFeatures:
    """A folder of features with one file per set of pictures, written chunk by chunk.

    `model` is a graph that takes uint8 `pixels` (n, height, width, 3) and gives `features`. `kept_as` is the dtype on
    disk. With `skip`, a picture that cannot be opened gives a row of NaN instead of an error.
    """

    def __init__(
        self,
        folder: Path,
        model: bytes,
        size: tuple[int, int],
        *,
        fit: Fit = "squash",
        threads: int = 2,
        log: Log = print,
        kept_as: type[np.floating[Any]] = np.float16,
        skip: bool = False,
        chunk: int = CHUNK,
    ) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 4
        self.size, self.fit = size, fit
        self._log, self._kept_as, self._skip, self._chunk = log, kept_as, skip, chunk
        edges = str(size[0]) if size[0] == size[1] else f"{size[0]}x{size[1]}"
        edges += "" if fit == "squash" else f"-{fit}"
        # Another Pillow may decode or resize a picture to other values.
        key = hashlib.sha256(f"{VERSION} {PIL.__version__} {hashlib.sha256(model).hexdigest()}".encode()).hexdigest()
        self.folder = folder / f"{key[:8]}-{edges}"
        self.folder.mkdir(parents=True, exist_ok=True)
        self._session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        self.width = _width(self._session)

    def of(self, name: str, pictures: Callable[[], Pictures]) -> Features:
        """The features of a set, read from its file or computed. `pictures` must be the same at every call."""
        path = self.folder / f"{name}.npy"
        features = self._read(path)
        if features is None:
            chunks = list(self._chunks(name, iter(pictures())))
            _save(path, np.concatenate(chunks).astype(self._kept_as))
            for number in range(len(chunks)):
                (self.folder / f"{name}.{number}.part.npy").unlink(missing_ok=True)
            features = np.load(path)
        return features.astype(np.float32)

    def _chunks(self, name: str, pictures: Iterator[Image.Image | bytes]) -> Iterator[Features]:
        number = 0
        while chunk := list(islice(pictures, self._chunk)):
            part = self.folder / f"{name}.{number}.part.npy"
            rows = self._read(part)
            if rows is None or len(rows) != len(chunk):
                rows = self.compute(chunk)
                _save(part, rows)
            self._log(f"features of {name}: {number * self._chunk + len(chunk):,} pictures")
            yield rows
            number += 1

    def _read(self, path: Path) -> NDArray[Any] | None:
        """The cached rows, or None where the file is missing or damaged and must be computed again."""
        try:
            rows: NDArray[Any] = np.load(path)
            if rows.ndim != 2 or rows.shape[1] != self.width or rows.dtype.kind != "f":
                raise ValueError
        except FileNotFoundError:
            return None
        except (ValueError, EOFError):
            self._log(f"{path} is damaged; its features are computed again")
            return None
        return rows

    def compute(self, pictures: Pictures) -> Features:
        features: list[Features | None] = []
        stream = iter(pictures)
        while batch := list(islice(stream, AT_ONCE)):
            opened = [self._opened(each) for each in batch]
            pixels = [each for each in opened if each is not None]
            rows = iter(self._run(np.stack(pixels)) if pixels else ())
            features += [None if each is None else next(rows) for each in opened]
        missing = np.full(self.width, np.nan, np.float32)
        return np.stack([missing if row is None else row for row in features])

    def _opened(self, picture: Image.Image | bytes) -> NDArray[np.uint8] | None:
        try:
            return open_picture(picture, size=self.size, fit=self.fit).pixels
        except ImageError:
            if not self._skip:
                raise
            return None

    def _run(self, pixels: NDArray[np.uint8]) -> Features:
        features: Features = self._session.run(["features"], {"pixels": pixels})[0]
        if features.shape != (len(pixels), self.width):
            raise TrainingError(
                f"the network gives features of shape {features.shape} for {len(pixels)} pictures, but its graph"
                f" declares {self.width} per picture; export it again"
            )
        if not np.isfinite(features).all():
            raise TrainingError(
                "the network gives features that are NaN or infinite for some pictures; use another network, or its"
                " weights in full precision"
            )
        return features


def _width(session: onnxruntime.InferenceSession) -> int:
    """The declared width of the features: if no picture of a chunk opens, there is no other way to know it."""
    shape = next((each.shape for each in session.get_outputs() if each.name == "features"), None)
    if not shape or len(shape) != 2 or not isinstance(shape[1], int):
        raise TrainingError("the graph of the network does not say how wide its features are; export it again")
    return shape[1]


def _save(path: Path, rows: NDArray[Any]) -> None:
    """Write the rows atomically."""
    file = io.BytesIO()
    np.save(file, rows)
    files.write_atomically(path, file.getvalue())
