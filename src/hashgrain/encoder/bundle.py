"""The bundle: a trained model as data. `model.onnx` computes, `model.json` says what it means.

Nothing in a bundle is code we run: the graph is ONNX, loaded from memory so that it cannot reach for other
files; the rest is JSON. Both are capped in size and checked against the digest before use. The digest covers
what decides the codes (graph, grains, input size), so calibration may be mended without orphaning libraries.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hashgrain.codes import Grains
from hashgrain.errors import BundleError, CodesError

FORMAT = 1
MAX_ONNX_BYTES = 1 << 30
MAX_JSON_BYTES = 64 << 20
MAX_INPUT_EDGE = 2048
WORDS = ("same", "near", "related")  # closest first; whatever none of them holds for is "far"


@dataclass(frozen=True)
class Threshold:
    """A plain word holds for a hit at most `distance` away at `grain`."""

    grain: str
    distance: int


@dataclass(frozen=True)
class Bundle:
    name: str
    onnx: bytes
    grains: Grains
    size: tuple[int, int]  # width, height of the pictures the model takes
    words: Mapping[str, Threshold] = field(default_factory=dict)
    labels: Mapping[str, Mapping[str, str]] = field(default_factory=dict)  # grain -> label -> prototype code, hex
    training: Mapping[str, Any] = field(default_factory=dict)

    @property
    def onnx_sha256(self) -> str:
        return hashlib.sha256(self.onnx).hexdigest()

    @property
    def digest(self) -> str:
        """What codes are bound to: equal digests mean equal codes for equal pictures."""
        decides = {"onnx": self.onnx_sha256, "grains": dict(self.grains), "size": list(self.size)}
        return hashlib.sha256(json.dumps(decides, sort_keys=True).encode()).hexdigest()

    def write(self, folder: str | Path) -> Path:
        """Write the two files, both whole or neither."""
        target = Path(folder)
        described = {
            "format": FORMAT,
            "name": self.name,
            "digest": self.digest,
            "onnx_sha256": self.onnx_sha256,
            "grains": dict(self.grains),
            "input": {"width": self.size[0], "height": self.size[1]},
            "words": {word: {"grain": t.grain, "distance": t.distance} for word, t in self.words.items()},
            "labels": self.labels,
            "training": self.training,
        }
        _write_whole(target, {"model.onnx": self.onnx, "model.json": (json.dumps(described, indent=1) + "\n").encode()})
        return target

    @classmethod
    def read(cls, bundle: str | Path = "default") -> Bundle:
        """A folder with model.onnx and model.json; "default" is the model in the package."""
        folder = Path(__file__).parent.parent / "models" / "default" if bundle == "default" else Path(bundle)
        folder = folder.expanduser()
        if not folder.is_dir():
            raise BundleError(f"no model bundle at {folder}: a bundle is a folder with model.onnx and model.json")
        described = _read_json(folder / "model.json")
        onnx = _read_capped(folder / "model.onnx", MAX_ONNX_BYTES)
        return _checked(described, onnx, folder)


def _checked(described: Mapping[str, Any], onnx: bytes, folder: Path) -> Bundle:
    version = described.get("format")
    if not isinstance(version, int) or version < 1:
        raise BundleError(f"{folder / 'model.json'} does not say its format; it is not a HashGrain bundle")
    if version > FORMAT:
        raise BundleError(
            f"{folder} has bundle format {version}, this HashGrain reads up to {FORMAT}: upgrade hashgrain"
        )
    try:
        grains = Grains(described["grains"])
        size = (described["input"]["width"], described["input"]["height"])
        if not all(isinstance(edge, int) and 1 <= edge <= MAX_INPUT_EDGE for edge in size):
            raise ValueError(f"input size {size}")
        words = {
            word: Threshold(str(described["words"][word]["grain"]), int(described["words"][word]["distance"]))
            for word in WORDS
            if word in described["words"]
        }
        for threshold in words.values():
            grains.width(threshold.grain)
        labels = {str(grain): dict(codes) for grain, codes in described["labels"].items()}
        bundle = Bundle(str(described["name"]), onnx, grains, size, words, labels, dict(described.get("training", {})))
    except (KeyError, TypeError, ValueError, AttributeError, CodesError) as error:
        raise BundleError(f"{folder / 'model.json'} is not a description we can use ({error!r})") from None
    if bundle.onnx_sha256 != described.get("onnx_sha256") or bundle.digest != described.get("digest"):
        raise BundleError(
            f"{folder} was altered or damaged: its files do not match the digest it names. Get the bundle again"
        )
    return bundle


def _read_json(path: Path) -> Mapping[str, Any]:
    try:
        described = json.loads(_read_capped(path, MAX_JSON_BYTES))
    except (ValueError, RecursionError) as error:
        raise BundleError(f"{path} is not JSON ({error})") from None
    if not isinstance(described, dict):
        raise BundleError(f"{path} is not a description of a model")
    return described


def _read_capped(path: Path, cap: int) -> bytes:
    try:
        with path.open("rb") as file:
            content = file.read(cap + 1)
    except OSError as error:
        raise BundleError(f"cannot read {path} ({error.strerror})") from None
    if len(content) > cap:
        raise BundleError(f"{path} is larger than {cap >> 20} MB, more than a bundle may be")
    return content


def _write_whole(folder: Path, contents: Mapping[str, bytes]) -> None:
    """All are on disk under other names before any takes its place; a full disk leaves what stood there."""
    made = not folder.exists()
    folder.mkdir(parents=True, exist_ok=True)
    parts = {folder / f"{name}.part": folder / name for name in contents}
    try:
        for part, content in zip(parts, contents.values(), strict=True):
            _write_part(part, content)
    except OSError:
        for part in parts:
            part.unlink(missing_ok=True)
        if made:
            folder.rmdir()
        raise
    for part, place in parts.items():
        os.replace(part, place)


def _write_part(part: Path, content: bytes) -> None:
    with part.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
