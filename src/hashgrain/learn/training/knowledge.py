"""Similarities of classes, and what is made of them: soft targets and semantic centers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hashgrain.codes import unpack
from hashgrain.errors import TrainingError
from hashgrain.labelled.arrays import open_array
from hashgrain.learn.training.centers import Centers, gilbert_varshamov, minimum_distance

SWEEPS = 4  # over the bits; more do not help
GROUPS = 64  # of classes whose bit is updated together
CANDIDATES = 1 << 10  # words tried for a class that is too near another
FEW_WORDS = 1 << 12  # up to so many, all words are tried


@dataclass(frozen=True)
class SemanticCenters(Centers):
    """Centers whose distances follow similarities, and the correlation of both over all pairs of classes."""

    correlation: float  # of similarity with the inner product of centers; nan where all similarities are the same


def similarities_of_paths(paths: Sequence[tuple[str, ...]]) -> NDArray[np.float64]:
    """(classes, classes) of paths such as ("animal", "dog"): 2 * shared steps / all steps (Wu and Palmer, 1994)."""
    if not all(paths):
        raise TrainingError("a class without a path has no similarity; give each class a path, such as animal/dog")
    depths = np.array([len(path) for path in paths], np.int64)
    shared = np.zeros((len(paths), len(paths)))
    for depth in range(int(depths.max(initial=0))):
        places: dict[tuple[str, ...], int] = {}
        at = [places.setdefault(path[: depth + 1], len(places)) if len(path) > depth else -1 for path in paths]
        place = np.array(at, np.int64)
        shared += (place[:, None] == place[None, :]) & (place >= 0)
    return np.asarray(2 * shared / (depths[:, None] + depths[None, :]), np.float64)


def similarities_of_classes(names: Sequence[str], file: str = "") -> NDArray[np.float64]:
    """(classes, classes): from the file, if there is one, else from the paths of the classes."""
    if not file:
        return similarities_of_paths([tuple(name.split("/")) for name in names])
    similarity = open_array(Path(file))
    if similarity.shape != (len(names), len(names)) or similarity.dtype.kind not in "iuf":
        raise TrainingError(
            f"similarity {file} is {similarity.dtype} of shape {similarity.shape}; there are {len(names)} classes,"
            f" {names[0]} to {names[-1]}, and it takes one number per pair of them, in that order"
        )
    return checked_similarity(np.asarray(similarity, np.float64))


def checked_similarity(similarity: NDArray[np.float64]) -> NDArray[np.float64]:
    """The matrix, if it is square, finite and symmetric; else an error."""
    square = similarity.ndim == 2 and similarity.shape[0] == similarity.shape[1] > 0
    if not square or not np.isfinite(similarity).all() or not np.allclose(similarity, similarity.T):
        raise TrainingError(
            f"similarities of shape {similarity.shape} cannot be used; they are one finite number for each two"
            " classes, (classes, classes), and the same both ways"
        )
    return similarity


def soft_targets(hot: Tensor, similarity: Tensor, temperature: float) -> Tensor:
    """(n, classes) weights that sum to 1: similar classes get a part of the label's weight (Bertinetto et al., 2020).

    The mean of softmax(similarity[label] / temperature) over the labels of a picture; zeros where it has none.
    """
    if temperature <= 0:
        raise TrainingError(f"a temperature of {temperature} is not above 0; give a positive one")
    spread = torch.softmax(similarity.to(hot.dtype) / temperature, dim=1)
    return hot @ spread / hot.sum(dim=1, keepdim=True).clamp(min=1)


def semantic_centers(
    similarity: NDArray[np.float64], bits: int, seed: int, *, least: int | None = None
) -> SemanticCenters:
    """Centers at least `least` bits apart whose inner products follow the similarities (the aim of SHC, 2025).

    Minimizes sum_{i < j} (b_i . b_j / bits - target_ij)^2 with a method of our own: it optimizes bit after bit over all
    classes, then moves the classes that are too near another, one by one. The targets are the similarities, shifted to
    mean 0 and scaled so that the greatest possible one, 1, asks for exactly the least distance. By default that is half
    of what a code can certainly keep (Gilbert-Varshamov): the rest of the room expresses the similarities.
    """
    classes = len(checked_similarity(similarity))
    if classes > 2**bits:
        raise TrainingError(f"{classes} classes are more than the {2**bits} centers that {bits} bits have")
    if least is None:
        least = max(1, gilbert_varshamov(classes, bits) // 2)
    target = _targets(similarity, 1 - 2 * least / bits)
    dice = np.random.default_rng(seed)
    signs = _follow(target, bits, dice)
    signs = _keep_apart(signs, target, least, dice)
    pairs = np.triu_indices(classes, 1)
    products, wished = (signs @ signs.T)[pairs], similarity[pairs]
    varied = len(wished) > 0 and np.ptp(products) > 0 and np.ptp(wished) > 0
    correlation = float(np.corrcoef(products, wished)[0, 1]) if varied else float("nan")
    codes = signs.astype(np.int8)
    return SemanticCenters(codes, minimum_distance(codes), "similarities, bit by bit", correlation)


def _targets(similarity: NDArray[np.float64], most: float) -> NDArray[np.float32]:
    """Target inner products, divided by bits. Their mean is 0, since the mean of many codes' cannot be less."""
    others = ~np.eye(len(similarity), dtype=bool)
    mean = similarity[others].mean() if len(similarity) > 1 else 0.0
    target = (similarity - mean) / max(1e-9, 1 - mean) * most
    return np.asarray(np.where(others, target.clip(-1, most), 0), np.float32)


def _follow(target: NDArray[np.float32], bits: int, dice: np.random.Generator) -> NDArray[np.float32]:
    """(classes, bits) of -1 and +1: random projections of the targets, then coordinate descent over the bits.

    With the other bits fixed, the best bit z maximizes z . (bits * target - the others' products) z. Each class takes
    the sign of its row, a few classes at a time, since updating all at once overshoots.
    """
    classes = len(target)
    codes = _signs((target + np.eye(classes, dtype=np.float32)) @ dice.normal(size=(classes, bits)).astype(np.float32))
    for _ in range(SWEEPS):
        for bit in dice.permutation(bits):
            column, rest = codes[:, bit].copy(), np.delete(codes, bit, axis=1)
            products = rest.T @ column
            for some in np.array_split(dice.permutation(classes), min(classes, GROUPS)):
                pull = bits * (target[some] @ column) - rest[some] @ products
                pull += rest.shape[1] * column[some]  # a class with itself is no pair
                turned = _signs(pull)
                products += rest[some].T @ (turned - column[some])
                column[some] = turned
            codes[:, bit] = column
    return codes


def _keep_apart(
    signs: NDArray[np.float32], target: NDArray[np.float32], least: int, dice: np.random.Generator
) -> NDArray[np.float32]:
    """Move each class that is nearer than `least` to another: it gets the best of many words near its own."""
    classes, bits = signs.shape
    distances = (bits - signs @ signs.T) / 2
    np.fill_diagonal(distances, bits)
    for _ in range(2 * classes):
        near = (distances < least).sum(axis=1)
        if not near.any():
            return signs
        worst = int(near.argmax())
        signs[worst] = _best_word(signs, worst, target[worst], least, dice)
        distances[worst] = (bits - signs @ signs[worst]) / 2
        distances[worst, worst] = bits
        distances[:, worst] = distances[worst]
    raise TrainingError(
        f"{classes} classes could not be kept {least} bits apart in {bits} bits; ask for less, or give more bits"
    )


def _best_word(
    signs: NDArray[np.float32], row: int, target: NDArray[np.float32], least: int, dice: np.random.Generator
) -> NDArray[np.float32]:
    """The word that best keeps the least distance, then the targets: of all words, or of some near the class's own."""
    classes, bits = signs.shape
    if 2**bits <= FEW_WORDS:
        flips = unpack(np.arange(2**bits, dtype=np.uint64)[:, None], bits).astype(bool)
    else:
        flips = dice.random((CANDIDATES, bits)) < dice.uniform(0, 0.5, (CANDIDATES, 1))
    words = np.where(flips, -signs[row], signs[row]).astype(np.float32)
    others = np.arange(classes) != row
    products = words @ signs[others].T
    missing = np.maximum(0, least - (bits - products) / 2).sum(axis=1)
    error = np.square(products / bits - target[others]).sum(axis=1)
    return np.asarray(words[np.lexsort((error, missing))[0]], np.float32)


def _signs(values: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.where(values >= 0, 1, -1).astype(np.float32)
