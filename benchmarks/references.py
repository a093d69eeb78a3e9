"""The reference rows: what a method must beat to be worth its training."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from hashgrain import Codes, Grains


def histogram_and_hog(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """8x8x8 color histogram and histograms of oriented gradients (8 px cells, 9 directions, 2x2 blocks)."""
    return np.concatenate([_describe(pixels[i : i + 512]) for i in range(0, len(pixels), 512)])


def _describe(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    n, size = len(pixels), pixels.shape[1]
    bins = (pixels >> 5).astype(np.int64) @ np.array([64, 8, 1])
    offsets = np.arange(n)[:, None] * 512
    colors = np.bincount((bins.reshape(n, -1) + offsets).ravel(), minlength=n * 512).reshape(n, 512)
    colors = np.sqrt(colors / (size * size))
    gray = pixels.astype(np.float32) @ np.array([0.299, 0.587, 0.114], np.float32)
    down, right = np.gradient(gray, axis=(1, 2))
    strength, angle = np.hypot(down, right), np.mod(np.arctan2(down, right), np.pi)
    direction = np.minimum((angle / np.pi * 9).astype(np.int64), 8)
    cells = size // 8
    cell = (np.arange(size) // 8)[:, None] * cells + np.arange(size) // 8
    index = (np.arange(n)[:, None, None] * cells * cells + cell) * 9 + direction
    hog = np.bincount(index.ravel(), strength.ravel(), n * cells * cells * 9).reshape(n, cells, cells, 9)
    blocks = np.concatenate([hog[:, :-1, :-1], hog[:, 1:, :-1], hog[:, :-1, 1:], hog[:, 1:, 1:]], axis=3)
    blocks /= np.linalg.norm(blocks, axis=3, keepdims=True) + 1e-3
    blocks = blocks.reshape(n, -1)
    return np.concatenate([unit(colors), unit(blocks)], axis=1).astype(np.float32)


def unit(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    return rows / (np.linalg.norm(rows, axis=1, keepdims=True) + 1e-9)


def perceptual_hash(image: Image.Image, edge: int) -> NDArray[np.bool_]:
    """edge * edge bits of the DCT hash, by the package `imagehash`."""
    import imagehash

    return imagehash.phash(image, hash_size=edge).hash.ravel()


def perceptual_codes(images: list[Image.Image] | NDArray[np.uint8], edge: int) -> Codes:
    pictures = (image if isinstance(image, Image.Image) else Image.fromarray(image) for image in images)
    return Codes.from_bits(np.stack([perceptual_hash(image, edge) for image in pictures]), Grains(look=edge * edge))


class PcaRotation:
    """PCA to `bits` directions, then a random rotation, then signs: the strongest hash without learning."""

    def __init__(self, features: NDArray[np.float32], bits: int, seed: int) -> None:
        self.mean = features.mean(axis=0)
        _, vectors = np.linalg.eigh(np.cov((features - self.mean).T))
        rotation, _ = np.linalg.qr(np.random.default_rng(seed).normal(size=(bits, bits)))
        self.projection = vectors[:, ::-1][:, :bits] @ rotation
        self.grains = Grains(look=bits)

    def codes(self, features: NDArray[np.float32]) -> Codes:
        return Codes.from_outputs((features - self.mean) @ self.projection, self.grains)
