"""A made-up evaluation whose figures, curves and bits agree with one another."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

DATABASE, CLASSES = 59_000, 10
KS = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000, 20_000, 59_000]


def _spread(bits: int, center: float, width: float) -> np.ndarray:
    """Chances of each distance."""
    distances = np.arange(bits + 1)
    chances = np.exp(-(((distances - center * bits) / (width * bits)) ** 2) / 2)
    return chances / chances.sum()


def made_row(
    method: str, kind: str, bits: int, skill: float, *, seed: int = 0, grain: str | None = None, distance: str = ""
) -> dict[str, Any]:
    dice = np.random.default_rng((seed, bits, round(1000 * skill)))
    good = DATABASE / CLASSES * _spread(bits, 0.46 - 0.32 * skill, 0.06 + 0.06 * (1 - skill))
    bad = DATABASE * (1 - 1 / CLASSES) * _spread(bits, 0.5, 0.09)
    found, seen = good.cumsum(), (good + bad).cumsum()
    precision, recall = found / seen, found / found[-1]
    ranks = np.array(KS)
    recall_at = np.interp(ranks, seen, recall)
    precision_at = np.minimum(1, recall_at * found[-1] / ranks)
    precision_at[:5] = np.linspace(max(precision_at), precision_at[5], 5)
    value = float((np.diff(recall, prepend=0) * precision).sum())
    real = distance == "cosine"

    def figure(middle: float, slack: float = 0.0) -> dict[str, float]:
        told = {"value": middle, "error": 0.002 + 0.006 * float(dice.random())}
        return told if real else {**told, "worst": middle - slack, "best": min(1.0, middle + 1.2 * slack)}

    at_10 = float(precision_at[3])
    figures = {
        "mAP@ALL hash": figure(value, 0.6 / bits),
        "mAP@ALL ir": figure(0.97 * value, 0.5 / bits),
        "P@10": figure(at_10, 0.3 / bits),
        "P@1000": figure(float(precision_at[9])),
    }
    if not real:
        figures["P within 2"] = {"value": float(precision[2]), "error": 0.004}
    curves: dict[str, Any] = {"by rank": {"rank": KS, "precision": precision_at.tolist(), "recall": recall_at.tolist()}}
    if not real:
        hits = 1 - np.exp(-seen / 40)
        curves["by radius"] = {
            "radius": list(range(bits + 1)),
            "precision": [None if s < 1e-3 else float(p) for p, s in zip(precision, seen, strict=True)],
            "recall": recall.tolist(),
            "hit rate": hits.tolist(),
        }
        curves["distances"] = {"same": good.round().astype(int).tolist(), "different": bad.round().astype(int).tolist()}
    return {
        "method": method,
        "kind": kind,
        "bits": bits,
        "grain": grain,
        "distance": distance or "symmetric",
        "seed": seed,
        "figures": figures,
        "curves": curves,
        "health": None if real else made_health(bits, dice),
    }


def made_health(bits: int, dice: np.random.Generator) -> dict[str, Any]:
    share = np.clip(dice.normal(0.5, 0.13, bits), 0.002, 0.998)
    share[0] = 0.0
    with np.errstate(divide="ignore", invalid="ignore"):
        entropy = np.nan_to_num(-share * np.log2(share) - (1 - share) * np.log2(1 - share))
    hidden = dice.normal(size=(2 * bits, max(4, bits // 3)))
    outputs = hidden @ dice.normal(size=(hidden.shape[1], bits)) + 4 * dice.normal(size=(2 * bits, bits))
    correlation = np.corrcoef(outputs.T)
    apart = np.abs(correlation[~np.eye(bits, dtype=bool)])
    table: list[list[float | None]] = correlation.round(3).tolist()
    for other in range(bits):
        table[0][other] = table[other][0] = None  # a dead bit goes with nothing
    return {
        "entropy": entropy.round(4).tolist(),
        "share of ones": share.round(4).tolist(),
        "dead bits": 1,
        "distinct": int(min(DATABASE, 2**bits) * 0.15),
        "largest bucket": int(9000 / math.sqrt(bits)),
        "mean correlation": float(apart.mean()),
        "largest correlation": float(apart.max()),
        "correlation": table,
    }


def made_result(rows: Sequence[dict[str, Any]] | None = None) -> dict[str, Any]:
    grains = (("kind", 32, 0.62), ("thing", 64, 0.71), ("look", 128, 0.74))
    model = [made_row("default", "model", bits, skill, grain=grain) for grain, bits, skill in grains]
    model += [
        made_row("default", "model", bits, skill + 0.04, grain=grain, distance="asymmetric")
        for grain, bits, skill in grains[:2]
    ]
    references = [
        made_row("the outputs before the signs", "reference", 64, 0.8, distance="cosine"),
        made_row("random projections", "reference", 64, 0.3),
        made_row("ITQ on the outputs", "reference", 32, 0.56),
        made_row("perceptual hash", "reference", 64, 0.05),
    ]
    return {
        "format": 1,
        "hashgrain": "0.1.0",
        "created": "2026-11-21T14:00:00Z",
        "protocol": {
            "name": "cifar10-1",
            "version": 1,
            "seed": 0,
            "manifest": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
            "queries": 1000,
            "train": 5000,
            "database": DATABASE,
            "classes": CLASSES,
            "cutoff": None,
            "convention": "hash",
            "relevance": "same class",
            "transform": "resized to 224 px, no crop",
            "about": "100 queries of each class, 500 training pictures of each class; everything that is no query is "
            "in the database.",
            "train in database": True,
        },
        "warnings": ["12 pictures stand both among the queries and in the database."],
        "rows": [*references[:1], *model, *references[1:]] if rows is None else list(rows),
    }
