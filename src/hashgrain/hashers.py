"""Codes from existing features, without a network: the shallow hashers, fitted in seconds with numpy.

Each has scikit-learn's interface: `ITQ(64).fit(train).codes(rows)`. The result of a fit is plain arrays, a
`Projection`: it can be saved, used as a reference in `evaluate`, or as the last layer of a model (`graphs/heads.py`).
"""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hashgrain.codes import Codes, Grains
from hashgrain.errors import TrainingError
from hashgrain.files import write_atomically

FORMAT = 1
Features = NDArray[np.float32]
Numbers = NDArray[np.float64]
AnyHasher = TypeVar("AnyHasher", bound="Hasher")


@dataclass(frozen=True, eq=False)
class Projection:
    """outputs = (rows - mean) @ directions + offset; for a wave, the cosine of that."""

    mean: Features  # (width,)
    directions: Numbers  # (width, bits)
    offset: Numbers  # (bits,)
    wave: bool = False

    def __post_init__(self) -> None:
        width, bits = self.directions.shape if self.directions.ndim == 2 else (0, 0)
        if not width or not bits or self.mean.shape != (width,) or self.offset.shape != (bits,):
            raise TrainingError(
                f"a projection has a mean of (width,), directions of (width, bits) and an offset of (bits,), not"
                f" {self.mean.shape}, {self.directions.shape} and {self.offset.shape}"
            )
        if not all(np.isfinite(part).all() for part in (self.mean, self.directions, self.offset)):
            raise TrainingError("a projection must be finite, and this one has NaN or infinite numbers; fit it again")

    def outputs(self, rows: Features) -> Numbers:
        values = (rows - self.mean) @ self.directions + self.offset
        return np.asarray(np.cos(values) if self.wave else values, np.float64)


@dataclass(eq=False)
class Hasher(ABC):
    """Features (n, width) to outputs (n, bits); bit = 1 where the output is >= 0."""

    bits: int

    def fit(self: AnyHasher, features: ArrayLike, y: object = None) -> AnyHasher:
        """Fit to training features. `y` is ignored; scikit-learn's pipelines pass it."""
        rows = as_features(features)
        if not len(rows):
            raise TrainingError(f"{self} was given no features to fit; give it those of your training pictures")
        self._fitted = self._learn(rows)
        return self

    def transform(self, features: ArrayLike) -> Numbers:
        """The real-valued outputs, whose signs are the bits."""
        projection, rows = self.projection, as_features(features)
        width = len(projection.mean)
        if rows.shape[1] != width:
            raise TrainingError(
                f"these features have {rows.shape[1]} values a row, {self} was fitted on {width}; give it features"
                " of the same model"
            )
        return projection.outputs(rows)

    def codes(self, features: ArrayLike) -> Codes:
        return Codes.from_outputs(self.transform(features), Grains(look=self.bits))

    @property
    def projection(self) -> Projection:
        """The result of the fit."""
        fitted: Projection | None = getattr(self, "_fitted", None)
        if fitted is None:
            raise TrainingError(f"{self} is not fitted yet; call fit(features) first")
        return fitted

    def save(self, path: str | Path) -> None:
        """Write numpy's .npz atomically; `load_hasher` reads it."""
        arrays = dataclasses.asdict(self.projection)
        buffer, target = io.BytesIO(), Path(path)
        np.savez(buffer, format=FORMAT, method=type(self).__name__, **self.get_params(), **arrays)
        try:
            write_atomically(target, buffer.getvalue())
        except OSError as error:
            raise TrainingError(f"cannot write {target}: {error.strerror}", path=target) from None

    @abstractmethod
    def _learn(self, rows: Features) -> Projection: ...

    # --- the interface of a step of scikit-learn's pipelines

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        return {setting.name: getattr(self, setting.name) for setting in dataclasses.fields(self)}

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "_fitted")

    def __sklearn_tags__(self) -> Any:
        from sklearn.utils import Tags, TargetTags, TransformerTags  # only scikit-learn calls this

        return Tags(estimator_type=None, target_tags=TargetTags(required=False), transformer_tags=TransformerTags())


@dataclass(eq=False)
class LSH(Hasher):
    """Signs of random projections of the centered features (Charikar, 2002)."""

    seed: int = 0

    def _learn(self, rows: Features) -> Projection:
        Grains(look=self.bits)  # refuses invalid widths
        directions = np.random.default_rng(self.seed).normal(size=(rows.shape[1], self.bits))
        return _linear(rows.mean(axis=0), directions)


@dataclass(eq=False)
class PCAHash(Hasher):
    """Signs of the principal components, the largest first (Wang, Kumar and Chang, 2010)."""

    def _learn(self, rows: Features) -> Projection:
        return _linear(*_components(rows, self.bits))


@dataclass(eq=False)
class PCARotation(Hasher):
    """PCA and a random rotation, which spreads the variance over the bits (Jégou et al., 2010)."""

    seed: int = 0

    def _learn(self, rows: Features) -> Projection:
        mean, directions = _components(rows, self.bits)
        return _linear(mean, directions @ _rotation(self.bits, self.seed))


@dataclass(eq=False)
class ITQ(Hasher):
    """PCA, and the rotation that brings the values nearest to their signs (Gong and Lazebnik, 2011).

    min over B, R of |B - V R|^2: alternate B = sign(V R) and R = S' S^T from the singular value decomposition
    B^T V = S W S'^T. The values V are not whitened.
    """

    seed: int = 0
    iterations: int = 50  # the authors' choice

    def _learn(self, rows: Features) -> Projection:
        mean, directions = _components(rows, self.bits)
        values, rotation = (rows - mean) @ directions, _rotation(self.bits, self.seed)
        for _ in range(self.iterations):
            left, _, right = np.linalg.svd(np.where(values @ rotation >= 0, 1.0, -1.0).T @ values)
            rotation = (left @ right).T
        return _linear(mean, directions @ rotation)


@dataclass(eq=False)
class SpectralHash(Hasher):
    """The smoothest waves along the principal components (Weiss, Torralba and Fergus, 2008).

    For features that are uniform in a box along their components, the eigenfunctions of their similarity are
    sin(pi / 2 + j pi / (high - low) (v - low)) = cos(j pi (v - low) / (high - low)), j = 1, 2, ...; a smaller frequency
    means a smaller eigenvalue. The bits use the smallest ones, so a long component gets several bits, and there may be
    more bits than components.
    """

    def _learn(self, rows: Features) -> Projection:
        Grains(look=self.bits)  # refuses invalid widths
        if (rows == rows[0]).all():
            raise TrainingError("all features are the same, so they have no direction; give features that differ")
        mean, directions = _components(rows, min(self.bits, most_directions(rows)))
        values = (rows - mean) @ directions
        low, spread = values.min(axis=0), np.ptp(values, axis=0)
        with np.errstate(divide="ignore"):  # a component without spread has no wave: its frequency is infinite
            frequencies = np.pi * np.arange(1, self.bits + 1) / spread[:, None]  # (components, bits)
        smallest = np.argsort(frequencies, axis=None, kind="stable")[: self.bits]
        component, frequency = smallest // self.bits, frequencies.ravel()[smallest]
        return Projection(mean, directions[:, component] * frequency, -low[component] * frequency, wave=True)


@dataclass(frozen=True, eq=False)
class FeatureHead:
    """Turns features into codes: one or more layers, with a ReLU between two, and the grains of the codes.

    Both a fitted hasher and a head from `hashgrain features train` can be loaded as one.
    """

    grains: Grains
    layers: Sequence[Projection]
    method: str
    facts: Mapping[str, Any] = dataclasses.field(default_factory=dict)  # how it was made

    def __post_init__(self) -> None:
        widths = [layer.directions.shape for layer in self.layers]
        fits = all(before[1] == after[0] for before, after in pairwise(widths))
        if not widths or not fits or widths[-1][1] != self.grains.bits:
            raise TrainingError(f"layers of {widths} make no codes of {self.grains.bits} bits; train the head again")

    @property
    def width(self) -> int:
        """The width of its input features."""
        return len(self.layers[0].mean)

    @property
    def digest(self) -> str:
        """Equal digests mean equal codes for equal features, except for rounding where an output is near 0."""
        checksum = hashlib.sha256(json.dumps(dict(self.grains)).encode())
        for layer in self.layers:
            parts = (layer.mean.astype("<f4"), layer.directions.astype("<f8"), layer.offset.astype("<f8"))
            numbers = b"".join(part.tobytes() for part in parts)
            checksum.update(f"{layer.directions.shape} {layer.wave}".encode() + numbers)
        return checksum.hexdigest()

    def transform(self, features: ArrayLike) -> Numbers:
        """The real-valued outputs, whose signs are the bits."""
        rows = as_features(features)
        if rows.shape[1] != self.width:
            raise TrainingError(
                f"these features have {rows.shape[1]} values a row, this head was fitted on {self.width}; give it"
                " features of the same model"
            )
        values: NDArray[Any] = rows
        for layer in self.layers[:-1]:
            values = np.maximum(layer.outputs(values), 0)
        return self.layers[-1].outputs(values)

    def codes(self, features: ArrayLike) -> Codes:
        return Codes.from_outputs(self.transform(features), self.grains)

    def save(self, path: str | Path) -> None:
        """Write numpy's .npz atomically; `load_head` reads it."""
        description = {"grains": dict(self.grains), "facts": dict(self.facts), "layers": len(self.layers)}
        arrays = {
            f"{name}{number}": value
            for number, layer in enumerate(self.layers)
            for name, value in dataclasses.asdict(layer).items()
        }
        buffer = io.BytesIO()
        np.savez(buffer, format=FORMAT, method=self.method, head=json.dumps(description), **arrays)
        try:
            write_atomically(path, buffer.getvalue())
        except OSError as error:
            raise TrainingError(f"cannot write {path}: {error.strerror}", path=path) from None


HASHERS: Mapping[str, type[Hasher]] = {kind.__name__: kind for kind in (LSH, PCAHash, PCARotation, ITQ, SpectralHash)}


def load_head(path: str | Path) -> FeatureHead:
    """Read a head that `hashgrain features train` wrote, or any saved hasher: only arrays are read, nothing runs."""
    source = Path(path)
    arrays = _arrays(source)
    if "head" not in arrays:
        hasher = load_hasher(source)
        return FeatureHead(Grains(look=hasher.bits), [hasher.projection], type(hasher).__name__)
    try:
        description = json.loads(str(arrays["head"]))
        layers = [_projection(arrays, str(number)) for number in range(int(description["layers"]))]
        return FeatureHead(Grains(description["grains"]), layers, str(arrays["method"]), description["facts"])
    except Exception as error:  # as below
        raise TrainingError(f"{source} is not a saved head ({error}); train it again", path=source) from None


def load_hasher(path: str | Path) -> Hasher:
    """Read a fitted hasher that `save` wrote: only arrays are read, nothing in the file runs."""
    source = Path(path)
    arrays = _arrays(source)
    try:
        kind = HASHERS[str(arrays["method"])]
        hasher = kind(**{setting.name: int(arrays[setting.name]) for setting in dataclasses.fields(kind)})
        fitted = _projection(arrays)
        if fitted.directions.shape[1] != hasher.bits:
            raise ValueError(f"{fitted.directions.shape[1]} directions for {hasher.bits} bits")
    except TrainingError:
        raise
    except Exception as error:  # whatever odd arrays raise
        raise TrainingError(
            f"{source} is not a saved hasher ({error}); fit it and save it again", path=source
        ) from None
    hasher._fitted = fitted
    return hasher


def _arrays(source: Path) -> dict[str, NDArray[Any]]:
    try:
        with np.load(source, allow_pickle=False) as file:
            arrays = dict(file)
        if arrays["format"] > FORMAT:
            raise TrainingError(
                f"{source} has format {arrays['format']}, this HashGrain reads up to {FORMAT}: upgrade hashgrain",
                path=source,
            )
    except TrainingError:
        raise
    except OSError as error:
        raise TrainingError(f"cannot read {source}: {error.strerror or error}", path=source) from None
    except Exception as error:  # numpy and zipfile raise a dozen unrelated classes for damaged files
        raise TrainingError(
            f"{source} is not a saved hasher ({error}); fit it and save it again", path=source
        ) from None
    return arrays


def _projection(arrays: Mapping[str, NDArray[Any]], number: str = "") -> Projection:
    return Projection(
        np.asarray(arrays[f"mean{number}"], np.float32),
        np.asarray(arrays[f"directions{number}"], np.float64),
        np.asarray(arrays[f"offset{number}"], np.float64),
        bool(arrays[f"wave{number}"]),
    )


def as_features(values: ArrayLike, name: str = "features") -> Features:
    """Rows of finite float32, or an error that names what is wrong."""
    try:
        with np.errstate(over="ignore"):
            rows = np.asarray(values, np.float32)
    except (TypeError, ValueError) as error:
        raise TrainingError(f"the {name} are not rows of numbers ({error})") from None
    if rows.ndim != 2:
        raise TrainingError(f"the {name} are not rows of numbers but of shape {rows.shape}")
    wrong = np.flatnonzero(~np.isfinite(rows).all(axis=1))
    if len(wrong):
        raise TrainingError(f"the {name} are NaN or infinite in {len(wrong)} rows, first in row {int(wrong[0])}")
    return rows


def most_directions(rows: Features) -> int:
    """The number of directions that PCA can find in these rows."""
    return int(min(rows.shape[1], len(rows) - 1))


def _components(rows: Features, bits: int) -> tuple[Features, Numbers]:
    """The mean, and the directions (width, bits) of the largest variance, largest first."""
    if not 1 <= bits <= most_directions(rows):
        raise TrainingError(
            f"PCA of {len(rows)} x {rows.shape[1]} features gives no {bits} directions; take from 1 to"
            f" {max(0, most_directions(rows))} bits, or give more features"
        )
    Grains(look=bits)  # refuses invalid widths
    mean = rows.mean(axis=0)
    _, vectors = np.linalg.eigh(np.atleast_2d(np.cov((rows - mean).T)))
    return mean, np.asarray(vectors[:, ::-1][:, :bits], np.float64)


def _rotation(bits: int, seed: int) -> Numbers:
    return np.linalg.qr(np.random.default_rng(seed).normal(size=(bits, bits)))[0]


def _linear(mean: Features, directions: Numbers) -> Projection:
    return Projection(mean, directions, np.zeros(directions.shape[1]))
