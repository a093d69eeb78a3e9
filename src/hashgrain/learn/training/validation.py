"""The quality of codes during training: held-out pictures as queries and as database."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import nn

from hashgrain.codes import Codes, Grains
from hashgrain.evaluate import Paths, Sets, average_precision, code_health, most_precision, precision, sets_of, tally
from hashgrain.learn.data.grain_labels import GrainLabels
from hashgrain.learn.data.labelled import Labelled

QUERIES = 2_000  # at most; the other held-out pictures are the database
PAIRED = 1_000  # pictures whose pairs give the correlation of distances
AT_MOST = " at most"  # what perfect codes would reach
COLLAPSED = 0.2  # mean entropy of a bit: below it most pictures have the same code
Outputs = NDArray[np.float32]


@torch.no_grad()
def outputs_of(
    network: nn.Module, inputs: NDArray[np.generic], size: int, batch: int = 256, precision: str = "no"
) -> tuple[Outputs, Outputs]:
    """(outputs, features) of pictures as they are, without augmentation, or of features."""
    training = network.training
    network.eval()
    device = next(network.parameters()).device
    parts = []
    for start in range(0, len(inputs), batch):
        seen = torch.from_numpy(np.array(inputs[start : start + batch])).to(device)  # a copy: mapped ones are read-only
        if seen.ndim == 4:
            seen = seen.permute(0, 3, 1, 2).float() / 255
            if seen.shape[-1] != size:
                seen = F.interpolate(seen, size=(size, size), mode="area")
            seen = seen.contiguous(memory_format=torch.channels_last)
        with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16"):
            pair = network(seen)
        parts.append([part.float().cpu().numpy() for part in pair])
    network.train(training)
    return np.concatenate([part[0] for part in parts]), np.concatenate([part[1] for part in parts])


def relevance(labels: GrainLabels) -> Paths | Sets:
    """The labels in the form that `tally` takes."""
    if labels.single:
        return Paths(labels.only()[:, None])
    return sets_of([row[row >= 0].tolist() for row in labels.ids], len(labels.names))


def validate(outputs: Outputs, validation: Labelled, grains: Grains, *, separate: bool = False) -> dict[str, float]:
    """Expected precision at 10 and mAP at each labelled grain, and the health of the bits.

    Where the validation set is too small for a perfect score, the best possible one is given too. With `separate`, a
    grain's code is the bits that it adds.
    """
    if len(validation) < 2:
        return {}
    codes = Codes.from_outputs(outputs, grains)
    chosen = np.random.default_rng(0).permutation(len(validation))
    queries, database = np.split(chosen, [min(QUERIES, len(validation) // 2)])
    figures: dict[str, float] = {}
    begins = dict(zip(grains, [0, *grains.values()] if separate else [0] * len(grains), strict=False))
    for grain, labels in validation.levels.items():
        own = outputs[:, begins[grain] : grains[grain]]
        prefix, truth = Codes.from_outputs(own, Grains({grain: own.shape[1]})), relevance(labels)
        counts = tally(prefix[queries], prefix[database], truth[queries], truth[database])
        figures[f"{grain} P@10"] = round(float(precision(counts, 10).mean()), 4)
        most = round(float(most_precision(counts, 10).mean()), 4)
        if most < 1:  # some classes have few pictures in the validation set
            figures[f"{grain} P@10{AT_MOST}"] = most
        figures[f"{grain} mAP"] = round(float(average_precision(counts).mean()), 4)
        if (most := round(float((counts.relevant > 0).mean()), 4)) < 1:  # some have nothing to find
            figures[f"{grain} mAP{AT_MOST}"] = most
    health = code_health(codes)[grains.finest]
    return figures | {"entropy": round(health.mean_entropy, 4), "dead bits": health.dead_bits}


def distance_correlation(outputs: Outputs, features: Outputs) -> float:
    """The correlation of code distances with feature distances, over all pairs."""
    some = np.random.default_rng(0).permutation(len(outputs))[:PAIRED]
    bits, seen = np.where(outputs[some] >= 0, 1.0, -1.0), features[some].astype(np.float64)
    apart = bits.shape[1] - bits @ bits.T
    squares = (seen**2).sum(axis=1)
    far = np.sqrt(np.maximum(0, squares[:, None] + squares - 2 * seen @ seen.T))
    once = np.triu_indices(len(some), 1)
    if len(once[0]) < 2 or not np.ptp(apart[once]) or not np.ptp(far[once]):
        return 0.0
    return round(float(np.corrcoef(apart[once], far[once])[0, 1]), 4)


def score(figures: Mapping[str, float]) -> float:
    """The score that selects checkpoints: the mean mAP of the labelled grains, or the entropy of the bits."""
    maps = [value for name, value in figures.items() if name.endswith(" mAP")]
    return float(np.mean(maps)) if maps else figures.get("entropy", -math.inf)


def has_collapsed(figures: Mapping[str, float]) -> bool:
    return figures.get("entropy", 1.0) < COLLAPSED
