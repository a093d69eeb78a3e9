"""The preprocessing that a network needs, from the files that describe it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from hashgrain.errors import TrainingError
from hashgrain.learn.backbones.backbone import IMAGENET_MEAN, IMAGENET_STD, Colors
from hashgrain.learn.backbones.taken_pixels import check_layout
from hashgrain.models.description import MAX_INPUT_EDGE

CLIP_MEAN: Colors = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD: Colors = (0.26862954, 0.26130258, 0.27577711)
INTERPOLATIONS = {0: "nearest", 1: "lanczos", 2: "bilinear", 3: "bicubic", 4: "box", 5: "hamming"}  # as Pillow counts


@dataclass(frozen=True)
class Preprocessing:
    """Size and colors are used. Resizing is always ours (whole, squashed, bilinear); the source's own way is only
    recorded."""

    size: int
    mean: Colors
    std: Colors
    resized: str  # the source's own way

    def __post_init__(self) -> None:
        if not 1 <= self.size <= MAX_INPUT_EDGE:
            raise TrainingError(f"the network takes pictures of {self.size} px; 1 to {MAX_INPUT_EDGE} can be made")

    def described(self) -> dict[str, Any]:
        return {
            "size": self.size,
            "mean": list(self.mean),
            "std": list(self.std),
            "resized": "whole, squashed to the size, bilinear",
            "resized by the source": self.resized,
        }


@dataclass(frozen=True)
class Wishes:
    """The user's settings for a network that does not state its own: mean=0.5, std=1/255, layout=nhwc."""

    mean: Colors | None = None
    std: Colors | None = None
    layout: str = ""
    layer: str = ""  # of a Keras model, whose output is used

    @classmethod
    def of(cls, settings: Sequence[str]) -> Wishes:
        wishes = cls()
        for setting in settings:
            name, equals, text = setting.partition("=")
            if not equals or name not in ("mean", "std", "layout", "layer"):
                raise TrainingError(f"setting {setting}: it takes mean=, std= or layout=, and layer= of keras:FILE")
            value: Any = typed_colors(text, name) if name in ("mean", "std") else text
            if name == "layout":
                check_layout(text)
            wishes = replace(wishes, **{name: value})
        return wishes

    def over(self, way: Preprocessing) -> Preprocessing:
        return replace(way, mean=self.mean or way.mean, std=self.std or way.std)


def typed_colors(text: str, name: str) -> Colors:
    """Three numbers for red, green and blue in 0 to 1, or one for all: 0.485,0.456,0.406. Fractions such as 1/255 are
    allowed."""
    try:
        parts = [
            float(over) / float(under or 1) for over, _, under in (part.partition("/") for part in text.split(","))
        ]
    except (ValueError, ZeroDivisionError):
        raise TrainingError(f"{name}={text}: it takes three numbers joined by commas, or one for all colors") from None
    return colors(parts * 3 if len(parts) == 1 else parts, name)


def from_timm(facts: Mapping[str, Any]) -> Preprocessing:
    """The `pretrained_cfg` of a timm model."""
    size = facts.get("input_size") or (3, 224, 224)
    if len(size) != 3 or size[0] != 3 or size[1] != size[2]:
        raise TrainingError(f"the network takes pictures of {tuple(size)}; only square ones in three colors are made")
    ways = [str(facts.get("interpolation") or "bicubic"), f"crop {facts.get('crop_pct') or 1:g}"]
    ways.append(str(facts.get("crop_mode") or "center"))
    mean, std = facts.get("mean"), facts.get("std")
    return Preprocessing(
        int(size[1]), colors(mean or IMAGENET_MEAN, "mean"), colors(std or IMAGENET_STD, "std"), ", ".join(ways)
    )


def from_open_clip(facts: Mapping[str, Any], image_size: Any) -> Preprocessing:
    """The `preprocess_cfg` of an open_clip model, and the `image_size` of its vision tower."""
    size = image_size[0] if isinstance(image_size, Sequence) else image_size
    if not isinstance(size, int) or (isinstance(image_size, Sequence) and len(set(image_size)) > 1):
        raise TrainingError(f"the network takes pictures of {image_size}; only square ones are made")
    ways = f"{facts.get('interpolation') or 'bicubic'}, {facts.get('resize_mode') or 'shortest'}"
    mean, std = facts.get("mean") or CLIP_MEAN, facts.get("std") or CLIP_STD
    return Preprocessing(size, colors(mean, "mean"), colors(std, "std"), ways)


def from_transformers(facts: Mapping[str, Any]) -> Preprocessing:
    """The `preprocessor_config.json` that transformers writes."""
    cropped = bool(facts.get("do_center_crop"))
    size = _edge(facts.get("crop_size")) if cropped else None
    size = size or _edge(facts.get("size")) or 224
    ways = INTERPOLATIONS.get(facts.get("resample", 2), "bilinear") + (", center crop" if cropped else "")
    mean: Sequence[float] = (0.0, 0.0, 0.0)
    std: Sequence[float] = (1.0, 1.0, 1.0)
    if facts.get("do_normalize", True):
        mean, std = facts.get("image_mean") or IMAGENET_MEAN, facts.get("image_std") or IMAGENET_STD
    # The graph gets x / 255; where the source multiplies bytes by another factor, mean and std absorb the difference.
    factor = facts.get("rescale_factor", 1 / 255) if facts.get("do_rescale", True) else 1.0
    if not _is_number(factor) or not factor > 0:
        raise TrainingError(f"preprocessor_config.json rescales by {factor!r}; it takes a number above 0")
    scale = 1.0 if abs(255 * factor - 1) < 1e-6 else 255.0 * factor
    return Preprocessing(
        size,
        colors([part / scale for part in colors(mean, "image_mean")], "image_mean"),
        colors([part / scale for part in colors(std, "image_std")], "image_std"),
        ways,
    )


def plain(size: int | None) -> Preprocessing:
    """The default: ImageNet's colors."""
    return Preprocessing(size or 224, IMAGENET_MEAN, IMAGENET_STD, "not stated")


def colors(values: Any, name: str) -> Colors:
    """Three numbers, checked."""
    ok = isinstance(values, Sequence) and len(values) == 3 and all(map(_is_number, values))
    if not ok or ("std" in name and min(values) <= 0):
        raise TrainingError(f"the {name} of the colors is {values!r}; it takes three numbers")
    red, green, blue = (float(part) for part in values)
    return red, green, blue


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _edge(size: Any) -> int | None:
    """The edge from {"height": 224, "width": 224}, {"shortest_edge": 224}, or a number."""
    if isinstance(size, Mapping):
        edges = [size[name] for name in ("height", "width", "shortest_edge", "longest_edge") if name in size]
        if len(set(edges)) > 1:
            raise TrainingError(f"the network takes pictures of {dict(size)}; only square ones are made")
        size = edges[0] if edges else None
    return size if isinstance(size, int) and not isinstance(size, bool) and size > 0 else None
