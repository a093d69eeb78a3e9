"""The facts of a bundle, as `model show` and `models` print them."""

from __future__ import annotations

from typing import Any

from hashgrain.models.bundle import Bundle, shipped_names
from hashgrain.models.description import KIND

SOURCE = "source"  # of model.json: where the network of a made model comes from


def bundle_facts(bundle: Bundle) -> dict[str, Any]:
    """The facts of one bundle. Keys of its `source` do not replace them: a stranger may have written those."""
    facts: dict[str, Any] = {
        "name": bundle.name,
        "digest": bundle.code_digest,
        "grains": dict(bundle.grains),
        "input": KIND,
        "size": list(bundle.size),
        "fit": bundle.fitted,
        "parts": None if bundle.parts is None else bundle.parts.described(),
        "outputs": list(bundle.outputs),
        "calibration": {grain: dict(each.words) for grain, each in bundle.calibration.items()} or _thresholds(bundle),
        "bytes": len(bundle.onnx),
    }
    facts |= {key: value for key in ("license", "provenance") if (value := getattr(bundle, key))}
    source = bundle.others.get(SOURCE)
    return {**source, **facts} if isinstance(source, dict) else facts


def shipped_facts() -> list[dict[str, Any]]:
    """For each model of the package, the default one first: what it takes and gives, and what it is for."""
    return [_of_shipped(name) for name in shipped_names()]


def _of_shipped(name: str) -> dict[str, Any]:
    bundle = Bundle.read(name)
    about = bundle.others.get("about")
    return {
        "name": name,
        "grains": dict(bundle.grains),
        "width": bundle.size[0],
        "height": bundle.size[1],
        "megabytes": round(len(bundle.onnx) / 1e6, 1),
        "code_digest": bundle.code_digest,
        **(about if isinstance(about, dict) else {}),
        "license": bundle.license,
    }


def _thresholds(bundle: Bundle) -> dict[str, dict[str, int]]:
    """The words by grain, for bundles in which each word has one grain."""
    words: dict[str, dict[str, int]] = {}
    for word, threshold in bundle.words.items():
        words.setdefault(threshold.grain, {})[word] = threshold.distance
    return words
