"""Bits that tell pictures apart and that edits of a picture hardly move: linear discriminant analysis, and a rotation.

Every picture is a class, and its edited copies are the members. The directions are those along which different
pictures differ most for what edits change (Fisher, 1936). They generalize to pictures never seen, unlike directions
learned by contrast, which come to know the few pictures whose copies they were shown. A random rotation then gives
every bit its share of every direction.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Features = NDArray[np.float32]


@dataclass(frozen=True)
class Analysis:
    """How directions are found, and how many."""

    kept: int  # the best ones
    shrinkage: float = 3.0  # of the covariance of edits, in units of its mean variance: for where pictures are few
    whitening: float = 1.0  # 0 leaves each direction the spread that it has, 1 makes all alike


@dataclass(frozen=True)
class Steady:
    """What edits leave of a picture, as a linear layer: outputs = features @ weight.T + bias."""

    weight: Features  # (bits, width)
    bias: Features


def steady_bits(
    pictures: Features, originals: Features, edited: Features, bits: int, seed: int, how: Analysis
) -> Steady:
    """`pictures` say how different pictures differ, `edited` (each a copy of the row of `originals`) what edits do."""
    mean = pictures.mean(axis=0)
    between, within = covariance(pictures - mean), covariance(edited - originals)
    width = len(within)
    kept = min(how.kept, width)
    shrunk = within + how.shrinkage * np.trace(within) / width * np.eye(width)
    root = np.linalg.cholesky(shrunk)
    inner = np.linalg.solve(root, np.linalg.solve(root, between).T)  # in the coordinates where edits are a sphere
    values, vectors = np.linalg.eigh((inner + inner.T) / 2)
    directions = np.linalg.solve(root.T, vectors[:, -kept:])
    directions /= np.sqrt(np.maximum(values[-kept:], 1e-12)) ** how.whitening
    rotation = np.linalg.qr(np.random.default_rng(seed).normal(size=(max(kept, bits), max(kept, bits))))[0]
    weight = (directions @ rotation[:kept, :bits]).T
    weight *= 1 / np.sqrt(np.square((pictures - mean) @ weight.T).mean())
    return Steady(weight.astype(np.float32), (-weight @ mean).astype(np.float32))


def covariance(rows: Features) -> NDArray[np.float64]:
    exact = rows.astype(np.float64)
    return np.asarray(exact.T @ exact / len(exact))
