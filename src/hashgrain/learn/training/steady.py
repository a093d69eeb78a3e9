"""Bits that identify a picture and that edits hardly change: linear discriminant analysis and a rotation.

Every picture is a class, and its edited copies are the members. The directions maximize the differences between
pictures over those between edits of one picture (Fisher, 1936). They generalize to unseen pictures, unlike directions
learned by contrast, which overfit the few pictures whose copies they were shown. A random rotation then spreads every
direction over all bits.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hashgrain.hashers import Features


@dataclass(frozen=True)
class Analysis:
    """The settings of the analysis."""

    directions: int  # how many of the best are used
    shrinkage: float = 3.0  # of the covariance of edits, in units of its mean variance: for few pictures
    whitening: float = 1.0  # 0 keeps the spread of each direction, 1 makes all spreads equal


@dataclass(frozen=True)
class Steady:
    """A linear layer whose outputs edits hardly change: outputs = features @ weight.T + bias."""

    weight: Features  # (bits, width)
    bias: Features


def steady_bits(
    pictures: Features, originals: Features, edited: Features, bits: int, seed: int, how: Analysis
) -> Steady:
    """`pictures` give the variation between pictures, `edited` (copies of the rows of `originals`) that of edits."""
    mean = pictures.mean(axis=0)
    between, within = covariance(pictures - mean), covariance(edited - originals)
    width = len(within)
    count = min(how.directions, width)
    shrunk = within + how.shrinkage * np.trace(within) / width * np.eye(width)
    root = np.linalg.cholesky(shrunk)
    inner = np.linalg.solve(root, np.linalg.solve(root, between).T)  # in the coordinates where edits are a sphere
    values, vectors = np.linalg.eigh((inner + inner.T) / 2)
    directions = np.linalg.solve(root.T, vectors[:, -count:])
    directions /= np.sqrt(np.maximum(values[-count:], 1e-12)) ** how.whitening
    rotation = np.linalg.qr(np.random.default_rng(seed).normal(size=(max(count, bits), max(count, bits))))[0]
    weight = (directions @ rotation[:count, :bits]).T
    weight *= 1 / np.sqrt(np.square((pictures - mean) @ weight.T).mean())
    return Steady(weight.astype(np.float32), (-weight @ mean).astype(np.float32))


def covariance(rows: Features) -> NDArray[np.float64]:
    exact = rows.astype(np.float64)
    return np.asarray(exact.T @ exact / len(exact))
