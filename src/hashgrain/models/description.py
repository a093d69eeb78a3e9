"""`model.json`: what a bundle says of itself, checked field by field before any of it is believed.

Format 1 named one digest, of what decides the codes. Format 2 names two: `code_digest`, the same, which libraries,
shards and imports are bound to; and `bundle_digest` over everything the file says, so that a changed threshold or a
label is noticed as a changed weight is.

What a model takes and gives is declared: the kind of input, its size and how a picture is fitted to it, the grid of
parts, the outputs of the graph. A kind, a fit or a key of `input` that this version does not know decides codes in a
way of its own, so it is refused.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from itertools import pairwise
from pathlib import Path
from typing import Any, get_args

from hashgrain.codes import Grains, words_for
from hashgrain.errors import BundleError, CodesError
from hashgrain.models.tower import KEY as TOWER
from hashgrain.types import Fit

FORMAT = 2
MAX_INPUT_EDGE = 2048
MAX_NAME = 200
MAX_LABEL = 1000
MAX_TOKENS = 4096  # of a phrase
MAX_ID = (1 << 31) - 1
MAX_SIZE = 1 << 40  # of a file; what is read has its own caps
MAX_DEPTH = 32  # of nesting, in what a bundle says of its training
WORDS = ("same", "near", "related")  # closest first; whatever none of them holds for is "far"
MAX_OUTPUTS = 64
MAX_WINDOWS = 65_535  # of a part grid: the largest index of a part
MAX_LICENSE = 200
MAX_PROVENANCE = 2_000
KIND = "picture"  # of input; sound is for a later version
INPUT = frozenset({"kind", "width", "height"})
NEEDED, MAP = ("outputs", "features"), "map"  # outputs of the graph: those that every model gives, and that some do
_OURS = "format name code_digest bundle_digest onnx_sha256 grains input fit parts outputs words calibration labels"
_OURS += " training license provenance"
OURS = frozenset([*_OURS.split(), TOWER, "digest"])  # the last is of format 1


class _NewerError(Exception):
    """What a later version may make: it would give other codes here, or none."""


@dataclass(frozen=True)
class Threshold:
    """A plain word holds for a hit at most `distance` away at `grain`."""

    grain: str
    distance: int


@dataclass(frozen=True)
class Calibration:
    """What a distance between whole pictures means at one grain, measured on pairs that the model never saw.

    `words` holds each plain word up to a distance, closest first. `probabilities` has an entry for each distance: the
    share of the pairs at that distance that belong together, where one pair in two does.
    """

    words: Mapping[str, int]
    probabilities: tuple[float, ...]

    def word(self, distance: int) -> str:
        """Empty if there are no words: "far" is one, too."""
        return next((word for word, most in self.words.items() if distance <= most), "far" if self.words else "")

    def described(self) -> dict[str, Any]:
        return {"words": dict(self.words), "chances": list(self.probabilities)}


Window = tuple[float, float, float, float]


@dataclass(frozen=True)
class PartGrid:
    """The parts of every picture, named once: windows as fractions (left, top, right, bottom) of the upright picture.
    Part 0 is the whole and not among them; the first window is part 1."""

    name: str
    windows: tuple[Window, ...]

    def described(self) -> dict[str, Any]:
        return {"name": self.name, "windows": [list(window) for window in self.windows]}


@dataclass(frozen=True)
class TowerDescription:
    """The entry of a text tower, whose files stand beside `model.json`."""

    onnx_sha256: str
    onnx_bytes: int
    tokenizer_sha256: str
    tokenizer_bytes: int
    length: int
    pad: int
    lower: bool


@dataclass(frozen=True)
class Description:
    name: str
    grains: Grains
    size: tuple[int, int]
    fit: Fit | None
    parts: PartGrid | None
    outputs: tuple[str, ...]
    words: Mapping[str, Threshold] = field(default_factory=dict)
    calibration: Mapping[str, Calibration] = field(default_factory=dict)
    labels: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    training: Mapping[str, Any] = field(default_factory=dict)
    others: Mapping[str, Any] = field(default_factory=dict)  # keys of a later version; they decide no codes
    tower: TowerDescription | None = None
    part_calibration: Mapping[str, Calibration] = field(default_factory=dict)
    license: str = ""
    provenance: str = ""


def code_digest(onnx_sha256: str, grains: Grains, size: tuple[int, int], fit: str | None) -> str:
    """The digest of what decides codes. What a bundle does not name is left out, so older digests do not change."""
    decides: dict[str, Any] = {"onnx": onnx_sha256, "grains": dict(grains), "size": list(size)}
    if fit is not None:
        decides["fit"] = fit
    return hashlib.sha256(json.dumps(decides, sort_keys=True).encode()).hexdigest()


def named(fit: Fit) -> Fit | None:
    """The fit as a new bundle names it: None for squash, as in bundles from before there was a choice. So equal codes
    have equal digests."""
    return None if fit == "squash" else fit


def bundle_digest(described: Mapping[str, Any]) -> str:
    """The digest of a whole description without this digest; through `onnx_sha256` it covers the graph too."""
    rest = {key: value for key, value in described.items() if key != "bundle_digest"}
    text = json.dumps(rest, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def plain(value: Any) -> Any:
    """As JSON has it: keys are text, tuples are lists, and a number that is none (the loss of a failed run) is null."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def parse(text: bytes, path: Path) -> dict[str, Any]:
    """JSON as it is written down: no NaN, no key twice (which of the two is meant?), not nested without end."""
    try:
        described = json.loads(text, parse_constant=_no_number, parse_float=_float, object_pairs_hook=_unique)
    except (ValueError, RecursionError) as error:
        raise BundleError(f"{path} is not JSON ({_cut(error)})", path=path) from None
    if not isinstance(described, dict):
        raise BundleError(f"{path} is not a description of a model", path=path)
    return described


def checked(described: Mapping[str, Any], path: Path) -> Description:
    """The contents of `model.json`, with every type and bound checked."""
    version = described.get("format")
    if not isinstance(version, int) or not _is_count(version, 1, 1 << 62):
        raise BundleError(f"{path} does not say its format; it is not a HashGrain bundle", path=path)
    if version > FORMAT:
        raise BundleError(
            f"{path.parent} has bundle format {version}, this HashGrain reads up to {FORMAT}: upgrade hashgrain",
            path=path.parent,
        )
    try:
        grains = Grains(_object(described["grains"], "grains"))
        calibration = _object(described.get("calibration", {}), "calibration")
        return Description(
            name=_text(described["name"], MAX_NAME, "name"),
            grains=grains,
            size=_size(_object(described["input"], "input")),
            fit=_fit(described["fit"]) if "fit" in described else None,
            parts=_parts(described),
            outputs=_outputs(described.get("outputs", list(NEEDED))),
            words=_words(_object(described["words"], "words"), grains),
            calibration=_calibration(calibration, grains, "whole"),
            part_calibration=_calibration(calibration, grains, "part"),
            labels=_labels(_object(described["labels"], "labels"), grains),
            training=_shallow(_object(described.get("training", {}), "training")),
            others={key: _shallow(value) for key, value in described.items() if key not in OURS},
            tower=_tower(_object(described[TOWER], TOWER)) if TOWER in described else None,
            license=_optional(described, "license", MAX_LICENSE),
            provenance=_optional(described, "provenance", MAX_PROVENANCE),
        )
    except _NewerError as error:
        raise BundleError(f"{path.parent} asks for {error}: upgrade hashgrain", path=path.parent) from None
    except KeyError as error:
        raise BundleError(f"{path} is not a description we can use (no {error})", path=path) from None
    except (TypeError, ValueError, CodesError) as error:
        raise BundleError(f"{path} is not a description we can use ({_cut(error)})", path=path) from None


def _words(words: Mapping[str, Any], grains: Grains) -> dict[str, Threshold]:
    thresholds = {}
    for word, meaning in words.items():
        if word not in WORDS:
            raise ValueError(f"the word {_cut(word)!r}, of {', '.join(WORDS)}")
        threshold = _object(meaning, word)
        grain, distance = threshold.get("grain"), threshold.get("distance")
        if not isinstance(grain, str) or grain not in grains:
            raise ValueError(f"{word} is of the grain {_cut(grain)!r}, of {', '.join(grains)}")
        if not isinstance(distance, int) or not _is_count(distance, 0, grains[grain]):
            raise ValueError(f"{word} is at a distance of {_cut(distance)}, of {grains[grain]} bits")
        thresholds[word] = Threshold(grain, distance)
    return {word: thresholds[word] for word in WORDS if word in thresholds}


def _calibration(calibration: Mapping[str, Any], grains: Grains, kind: str) -> dict[str, Calibration]:
    """The calibration of whole pictures, which every named grain must have; or that of parts."""
    calibrations = {}
    for grain, kinds in calibration.items():
        if grain not in grains:
            raise ValueError(f"calibration of the grain {_cut(grain)!r}, of {', '.join(grains)}")
        if kind == "part" and "part" not in _object(kinds, grain):
            continue
        one = _object(_object(kinds, grain).get(kind), f"calibration of {grain}")
        words, probabilities = _object(one.get("words"), "its words"), one.get("chances")
        known = [word for word in WORDS if word in words]
        distances = [words[word] for word in known]
        if len(known) < len(words) or not all(_is_count(each, 0, grains[grain]) for each in distances):
            raise ValueError(f"the words of {grain}: {_cut(words)}")
        if distances != sorted(distances):
            raise ValueError(f"the words of {grain} are not in order: {_cut(words)}")
        length = grains[grain] + 1
        if not (
            isinstance(probabilities, list) and len(probabilities) == length and all(map(_is_fraction, probabilities))
        ):
            raise ValueError(f"the chances of {grain} are not {length} numbers of 0 to 1")
        if any(nearer < farther for nearer, farther in pairwise(probabilities)):
            raise ValueError(f"the chances of {grain} grow with the distance")
        calibrations[grain] = Calibration(dict(zip(known, distances, strict=True)), tuple(map(float, probabilities)))
    return calibrations


def read_calibration(calibration: Any, grains: Grains, path: Path) -> dict[str, Calibration]:
    """The calibration of whole items, by grain, of any file."""
    try:
        return _calibration(_object(calibration, "calibration"), grains, "whole")
    except (TypeError, ValueError) as error:
        raise BundleError(f"{path} is not a description we can use ({_cut(error)})", path=path) from None


def _is_fraction(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value <= 1


def _labels(labels: Mapping[str, Any], grains: Grains) -> dict[str, dict[str, str]]:
    by_grain = {}
    for grain, codes in labels.items():
        if grain not in grains:
            raise ValueError(f"labels of the grain {_cut(grain)!r}, of {', '.join(grains)}")
        code = re.compile(f"[0-9a-f]{{{16 * words_for(grains[grain])}}}")
        for label, prototype in _object(codes, f"labels of {grain}").items():
            _text(label, MAX_LABEL, "a label")
            if not isinstance(prototype, str) or not code.fullmatch(prototype):
                raise ValueError(f"the code of label {_cut(label)!r}: {_cut(prototype)!r}")
        by_grain[grain] = dict(codes)
    return by_grain


def _tower(tower: Mapping[str, Any]) -> TowerDescription:
    names = [each.name for each in fields(TowerDescription)]
    if missing := [name for name in names if name not in tower]:
        raise ValueError(f"{TOWER} has no {missing[0]}")
    if len(tower) > len(names):  # a tower that is read in a way unknown here would find other pictures
        raise ValueError(f"{TOWER} says more than is known here: upgrade hashgrain")
    for name in ("onnx_sha256", "tokenizer_sha256"):
        if not isinstance(tower[name], str) or not re.fullmatch("[0-9a-f]{64}", tower[name]):
            raise ValueError(f"{name} of {TOWER} is {_cut(tower[name])}")
    size = (1, MAX_SIZE)
    bounds = {"onnx_bytes": size, "tokenizer_bytes": size, "length": (1, MAX_TOKENS), "pad": (0, MAX_ID)}
    for name, (least, most) in bounds.items():
        if not _is_count(tower[name], least, most):
            raise ValueError(f"{name} of {TOWER} is {_cut(tower[name])}; it is a number from {least} to {most:,}")
    if not isinstance(tower["lower"], bool):
        raise ValueError(f"lower of {TOWER} is {_cut(tower['lower'])}")
    return TowerDescription(**tower)


def _fit(value: Any) -> Fit:
    if value not in (known := get_args(Fit)):
        raise _NewerError(f"the fit {_cut(value)!r}, and knows {', '.join(known)}")
    return value  # type: ignore[no-any-return]


def _parts(described: Mapping[str, Any]) -> PartGrid | None:
    """Of pictures that are squashed: under another fit, a window of the input is no window of the upright picture."""
    if described.get("parts") is None:
        return None
    grid = _object(described["parts"], "parts")
    if set(grid) != {"name", "windows"} or described.get("fit", "squash") != "squash":
        raise _NewerError("parts that are not the windows of a squashed picture")
    windows = grid["windows"]
    if not isinstance(windows, list) or not 1 <= len(windows) <= MAX_WINDOWS:
        raise ValueError(f"the windows of parts are not a list of 1 to {MAX_WINDOWS:,}")
    return PartGrid(_text(grid["name"], MAX_NAME, "the name of parts"), tuple(map(_window, windows)))


def _window(value: Any) -> Window:
    if not isinstance(value, list) or len(value) != 4 or not all(map(_is_fraction, value)):
        raise ValueError(f"a window of parts is {_cut(value)}; it is left, top, right, bottom, from 0 to 1")
    left, top, right, bottom = map(float, value)
    if left >= right or top >= bottom:
        raise ValueError(f"a window of parts is {_cut(value)}, which holds nothing")
    return left, top, right, bottom


def _outputs(value: Any) -> tuple[str, ...]:
    """Names that are not known here are of a later version; nothing uses them."""
    if not isinstance(value, list) or not 1 <= len(value) <= MAX_OUTPUTS:
        raise ValueError(f"outputs are {_cut(value)}; they are a list of 1 to {MAX_OUTPUTS} names")
    names = [_text(name, MAX_NAME, "an output") for name in value]
    if len(set(names)) < len(names) or not set(NEEDED) <= set(names):
        raise ValueError(f"outputs are {_cut(value)}; each is named once, {' and '.join(NEEDED)} among them")
    return tuple(names)


def _size(taken: Mapping[str, Any]) -> tuple[int, int]:
    if taken.get("kind", KIND) != KIND or not set(taken) <= INPUT:
        raise _NewerError(f"the input {_cut(dict(taken))}, and knows a {KIND} of a width and height")
    width, height = taken.get("width"), taken.get("height")
    if not (_is_count(width, 1, MAX_INPUT_EDGE) and _is_count(height, 1, MAX_INPUT_EDGE)):
        raise ValueError(f"input of {_cut(width)} x {_cut(height)} px")
    return width, height  # type: ignore[return-value]


def _is_count(value: Any, least: int, most: int) -> bool:
    """True is an int to Python, not to us; and 1e999 is no number at all."""
    return isinstance(value, int) and not isinstance(value, bool) and least <= value <= most


def _object(value: Any, what: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise ValueError(f"{what} is {_cut(value)}")
    return value


def _text(value: Any, most: int, what: str) -> str:
    if not isinstance(value, str) or not 1 <= len(value) <= most:
        raise ValueError(f"{what} is {_cut(value)}; it is text of 1 to {most} characters")
    return value


def _optional(described: Mapping[str, Any], key: str, most: int) -> str:
    return _text(described[key], most, key) if key in described else ""


def _shallow(value: Any) -> Any:
    """Refuse nesting that would break whoever walks through it; level by level, not by recursion."""
    level = [value]
    for _ in range(MAX_DEPTH):
        inner = [item for one in level if isinstance(one, dict) for item in one.values()]
        inner += [item for one in level if isinstance(one, list) for item in one]
        level = [item for item in inner if isinstance(item, (dict, list))]
        if not level:
            return value
    raise ValueError(f"it is nested more than {MAX_DEPTH} levels deep")


def _no_number(text: str) -> Any:
    raise ValueError(f"{text} is not a number")


def _float(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{_cut(text)} is too large a number")
    return value


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    unique = dict(pairs)
    if len(unique) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise ValueError(f"{_cut(twice)!r} stands twice in one object")
    return unique


def _cut(value: Any) -> str:
    """Enough of it to know it by; a message must not grow with the file."""
    try:
        text = str(value)
    except ValueError:  # an int of more digits than Python prints
        return "a number of thousands of digits"
    return text if len(text) <= 80 else text[:80] + "…"
