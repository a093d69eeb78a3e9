"""Features of pictures under the pretrained backbone, computed once and kept: fitting a head then takes seconds."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from PIL import Image

from hashgrain.images import open_picture
from hashgrain.learn.photo.graph import backbone_model

AT_ONCE = 16
CHUNK = 1024  # pictures between two writes: what a stop costs
Features = NDArray[np.float32]


class FeatureCache:
    """A folder of features, one file for a set of pictures, grown chunk by chunk."""

    def __init__(
        self, folder: Path, weights: bytes, size: int = 224, threads: int = 2, say: Callable[[str], None] = print
    ) -> None:
        model = backbone_model(weights)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        self.size = size
        self._say = say
        self.folder = folder / f"{hashlib.sha256(model).hexdigest()[:8]}-{size}"
        self.folder.mkdir(parents=True, exist_ok=True)
        self._session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])

    def of(self, name: str, pictures: Callable[[], Iterable[Image.Image | bytes]]) -> Features:
        """The features of a set: from its file, or computed. `pictures` must be the same at every call."""
        path = self.folder / f"{name}.npy"
        if not path.exists():
            chunks = list(self._chunks(name, iter(pictures())))
            np.save(path, np.concatenate(chunks).astype(np.float16))
            for number in range(len(chunks)):
                (self.folder / f"{name}.{number}.part.npy").unlink(missing_ok=True)
        found: Features = np.load(path).astype(np.float32)
        return found

    def _chunks(self, name: str, pictures: Iterator[Image.Image | bytes]) -> Iterator[Features]:
        number = 0
        while chunk := list(islice(pictures, CHUNK)):
            part = self.folder / f"{name}.{number}.part.npy"
            if not part.exists():
                np.save(part.with_suffix(".new.npy"), self.compute(chunk))
                part.with_suffix(".new.npy").rename(part)
            self._say(f"features of {name}: {number * CHUNK + len(chunk):,} pictures")
            yield np.load(part)
            number += 1

    def compute(self, pictures: Iterable[Image.Image | bytes]) -> Features:
        found = []
        stream = iter(pictures)
        while batch := list(islice(stream, AT_ONCE)):
            pixels = np.stack([open_picture(each, size=(self.size, self.size)).pixels for each in batch])
            found.append(self._session.run(["features"], {"pixels": pixels})[0])
        return np.concatenate(found)
