"""Attacks on a model: pictures changed by a few gray levels, so that their codes change as much as possible.

Projected gradient descent in the L-infinity ball (Madry et al., 2018) on relaxed codes, tanh(sharpness * outputs),
as Yang et al. (2018) attack hashing and Bai et al. (2020) aim at a target's code. The attacker has the model itself.
The results are whole gray levels, so they can be saved as pictures; the Encoder evaluates them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hashgrain.codes import Codes
from hashgrain.errors import CodesError, TrainingError
from hashgrain.evaluate import average_precision, flip_labels, tally
from hashgrain.learn.onnx_torch import Graph, read_graph, run_graph
from hashgrain.media.picture import Pixels
from hashgrain.models import Encoder

BATCH = 32  # pictures attacked at a time: the gradient needs the network's activations of all of them
ClassIds = NDArray[np.int64]


@dataclass(frozen=True)
class Attack:
    """The strength of an attack. Gray levels are of 0..255: eps 8 is what papers write as 8/255."""

    eps: int = 8  # the most that any value of a pixel may change
    step: float = 1.0  # gray levels a step
    steps: int = 20
    sharpness: float = 1.0  # of the tanh; outputs are of unit variance
    seed: int = 0  # of the random start

    def __post_init__(self) -> None:
        if isinstance(self.eps, bool) or not isinstance(self.eps, int) or not 1 <= self.eps <= 255:
            raise TrainingError(f"attack: eps is whole gray levels from 1 to 255 (8 stands for 8/255), not {self.eps}")
        if not self.step > 0 or self.steps < 1 or not self.sharpness > 0:
            raise TrainingError(
                f"attack: step {self.step}, steps {self.steps} and sharpness {self.sharpness} must be above 0"
            )


@dataclass(frozen=True)
class AttackReport:
    """Figures before and after an attack, and for random noise of the same eps, which an attack must beat.

    mAP is over the whole database unless k says otherwise. Untargeted it is of the pictures' own labels, and the
    attack wants it low; targeted it is of the labels aimed at (t-mAP), and the attack wants it high.
    """

    grain: str
    bits: int
    targeted: bool
    attack: Attack
    queries: int
    database: int
    k: int
    map_before: float
    map_noise: float
    map_after: float
    flipped_noise: float  # bits a picture that differ from its own code
    flipped_after: float
    to_target_before: float | None  # bits a picture that differ from the code aimed at
    to_target_after: float | None


def attack_pictures(
    encoder: Encoder, pictures: Pixels, grain: str, how: Attack | None = None, targets: Codes | None = None
) -> Pixels:
    """The pictures, attacked at one grain: away from their own codes, or towards `targets`, one a picture.

    The same seed gives the same result for the same pictures in the same order.
    """
    how = how or Attack()
    bits = encoder.grains.width(grain)
    own = encoder.codes(pictures).at(grain)
    if targets is not None and (len(targets) != len(pictures) or targets.grains.bits != bits):
        raise CodesError(
            f"attack: {len(pictures)} pictures at grain {grain} take as many targets of {bits} bits,"
            f" not {len(targets)} of {targets.grains.bits}"
        )
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    graph = read_graph(encoder.bundle.onnx).to(device)
    # Uphill is away from the own code, or towards the target: one formula with two signs.
    wanted = (1 - 2.0 * own.bits()) if targets is None else (2.0 * targets.bits() - 1)
    start = random_noise(pictures, how)
    attacked = []
    for first in range(0, len(pictures), BATCH):
        rows = slice(first, first + BATCH)
        signs = torch.from_numpy(wanted[rows]).float().to(device)
        attacked.append(_climb(graph, pictures[rows], start[rows], signs, how, device))
    return np.concatenate(attacked) if attacked else pictures.copy()


def random_noise(pictures: Pixels, how: Attack) -> Pixels:
    """Each value changed by up to eps at random: the start of attacks and their baseline."""
    noise = np.random.default_rng(how.seed).integers(-how.eps, how.eps + 1, pictures.shape, np.int16)
    noisy: Pixels = (pictures + noise).clip(0, 255).astype(np.uint8)
    return noisy


def majority_code(codes: Codes) -> Codes:
    """The bitwise majority of the codes, ties to 1: the usual target for a class."""
    if not len(codes):
        raise CodesError("the majority of no codes is no code; give one or more")
    return Codes.from_bits(codes.bits().mean(axis=0) >= 0.5, codes.grains)


def class_targets(codes: Codes, labels: ClassIds, wanted: ClassIds) -> Codes:
    """For each wanted label, the majority of the codes with that label."""
    missing = np.setdiff1d(wanted, labels)
    if len(missing):
        raise CodesError(f"attack: no picture of the database has the label {missing[0]} that is aimed at")
    classes, places = np.unique(wanted, return_inverse=True)
    return Codes.concatenate([majority_code(codes[labels == label]) for label in classes])[places]


def attack_report(
    encoder: Encoder,
    pictures: Pixels,
    wanted: ClassIds,
    database: Codes,
    labels: ClassIds,
    grain: str,
    how: Attack | None = None,
    *,
    targeted: bool = False,
    k: int | None = None,
) -> tuple[AttackReport, Pixels]:
    """Attack the pictures, whose labels are `wanted`, and search a labelled database with what comes out.

    Targeted, each picture is aimed at another class than its own, drawn from the seed among those it and the other
    pictures have. The attacked pictures come back beside the report.
    """
    how = how or Attack()
    if not len(pictures) or not len(database):
        raise CodesError("attack: no pictures to attack, or no database to search; give one or more of each")
    base = database.at(grain)
    if targeted:
        wanted = flip_labels(wanted, 1.0, how.seed)
    targets = class_targets(base, labels, wanted) if targeted else None
    attacked = attack_pictures(encoder, pictures, grain, how, targets)
    before, noise, after = (encoder.codes(each).at(grain) for each in (pictures, random_noise(pictures, how), attacked))
    k = len(base) if k is None else k
    report = AttackReport(
        grain=grain,
        bits=base.grains.bits,
        targeted=targeted,
        attack=how,
        queries=len(pictures),
        database=len(base),
        k=k,
        map_before=_mean_average_precision(before, base, wanted, labels, k),
        map_noise=_mean_average_precision(noise, base, wanted, labels, k),
        map_after=_mean_average_precision(after, base, wanted, labels, k),
        flipped_noise=mean_distance(before, noise),
        flipped_after=mean_distance(before, after),
        to_target_before=None if targets is None else mean_distance(before, targets),
        to_target_after=None if targets is None else mean_distance(after, targets),
    )
    return report, attacked


def mean_distance(first: Codes, second: Codes) -> float:
    """Bits that differ, code by code, on average."""
    return float(np.bitwise_count(first.words ^ second.words).sum(axis=1).mean())


def _climb(graph: Graph, pictures: Pixels, start: Pixels, signs: Tensor, how: Attack, device: torch.device) -> Pixels:
    original = torch.from_numpy(pictures).to(device).float()
    low, high = (original - how.eps).clamp(min=0), (original + how.eps).clamp(max=255)
    pixels = torch.from_numpy(start).to(device).float()
    for _ in range(how.steps):
        pixels.requires_grad_()
        relaxed = torch.tanh(how.sharpness * run_graph(graph, pixels)[:, : signs.shape[1]])
        # A sum, not a mean, over the batch: the step of a picture does not depend on the others.
        (slope,) = torch.autograd.grad((relaxed * signs).sum(), pixels)
        pixels = torch.clamp(pixels.detach() + how.step * slope.sign(), low, high)
    return pixels.round().to(torch.uint8).cpu().numpy()


def _mean_average_precision(queries: Codes, database: Codes, wanted: ClassIds, labels: ClassIds, k: int) -> float:
    return float(average_precision(tally(queries, database, wanted, labels), k).mean())
