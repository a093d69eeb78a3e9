"""The layouts of repositories and folders with networks, and the files that each of them needs."""

from __future__ import annotations

from collections.abc import Collection

OPEN_CLIP, TIMM, ONNX = "open_clip", "timm", "onnx"
OPEN_CLIP_CONFIG = "open_clip_config.json"
OPEN_CLIP_WEIGHTS = ("open_clip_model.safetensors", "model.safetensors")
VISION = ("onnx/vision_model.onnx", "onnx/model.onnx")  # of a pair; of a single network
TEXT = "onnx/text_model.onnx"
BESIDE = (
    "README.md",
    "config.json",
    "preprocessor_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    OPEN_CLIP_CONFIG,
)


def layout_of(names: Collection[str]) -> str | None:
    """The layout, by the weights that are safe to open; None where there are none."""
    if OPEN_CLIP_CONFIG in names and any(name in names for name in OPEN_CLIP_WEIGHTS):
        return OPEN_CLIP
    if any(name in names for name in VISION):
        return ONNX
    if "config.json" in names and "model.safetensors" in names:
        return TIMM
    return None


def wanted(names: Collection[str]) -> list[str]:
    """The files to download from a repository with these files."""
    weights = {
        OPEN_CLIP: [name for name in OPEN_CLIP_WEIGHTS if name in names][:1],
        TIMM: ["model.safetensors"],
        ONNX: [*[name for name in VISION if name in names][:1], *([TEXT] if TEXT in names else [])],
    }
    layout = layout_of(names)
    return [name for name in BESIDE if name in names] + (weights[layout] if layout else [])
