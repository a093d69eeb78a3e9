"""The codes the search benchmarks run on: uniform, clustered, and those of real pictures.

Real ones are the default model's: of the 80,000 pictures as they are, and millions made from them by adding, to
the outputs of a picture drawn at random, the change that a crop, a mirror image and other light really made to
the outputs of another. Queries are pictures the database does not hold, changed in the same way.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).parent.parent))

from report import need_data

CACHE = Path(os.environ.get("HASHGRAIN_BENCH_CACHE", Path(__file__).parent / ".cache"))
AT_ONCE = 200_000
CENTERS, DUPLICATES = 1000, 0.1
CHANGED = 20_000  # pictures whose changes are measured
Words = NDArray[np.uint64]


def made(kind: str, n: int, bits: int, queries: int = 256) -> tuple[Words, Words]:
    """A database of n codes and queries that are not in it."""
    if kind == "uniform":
        return uniform(n, bits, 1), uniform(queries, bits, 2)
    if kind == "clustered":
        return clustered(n, bits, 1), clustered(queries, bits, 2, duplicates=0.0)
    return real(n, bits, queries)


def uniform(n: int, bits: int, seed: int) -> Words:
    return np.random.default_rng(seed).integers(0, 2**64, (n, bits // 64), np.uint64)


def clustered(n: int, bits: int, seed: int, duplicates: float = DUPLICATES) -> Words:
    """Around 1000 centers of unlike sizes; each bit flipped with a chance of 5 to 15 in 100, by center."""
    fixed, rng = np.random.default_rng(7), np.random.default_rng(seed)
    centers = fixed.integers(0, 2**64, (CENTERS, bits // 64), np.uint64)
    chances = np.round(fixed.uniform(0.05, 0.15, CENTERS) * 256).astype(np.uint8)
    sizes = fixed.dirichlet(np.full(CENTERS, 2.0))
    codes = np.empty((n, bits // 64), np.uint64)
    for low in range(0, n, AT_ONCE):
        which = rng.choice(CENTERS, min(AT_ONCE, n - low), p=sizes)
        flips = rng.integers(0, 256, (len(which), bits), np.uint8) < chances[which, None]
        packed = np.packbits(flips, axis=1, bitorder="little").view(np.uint64)
        codes[low : low + len(which)] = centers[which] ^ packed
    copied = int(duplicates * n)
    codes[rng.integers(0, n, copied)] = codes[rng.integers(0, n, copied)]
    return codes


def real(n: int, bits: int, queries: int) -> tuple[Words, Words]:
    """Up to 128 bits: the model's code, or its first 64. 256 bits: the code of a picture and of its middle."""
    outputs = real_outputs()
    width = min(bits, outputs["database"].shape[1])
    asked = _signs(outputs["queries"][:queries, :width])
    if n <= len(outputs["database"]):
        return _signs(outputs["database"][:n, :width]), asked
    rng = np.random.default_rng(3)
    codes = np.empty((n, width // 64), np.uint64)
    for low in range(0, n, AT_ONCE):
        count = min(AT_ONCE, n - low)
        pictures = outputs["database"][rng.integers(0, len(outputs["database"]), count), :width]
        changes = outputs["changes"][rng.integers(0, len(outputs["changes"]), count), :width]
        codes[low : low + count] = _signs(pictures + changes)
    return codes, asked


def _signs(outputs: NDArray[np.float32]) -> Words:
    return np.packbits(outputs >= 0, axis=1, bitorder="little").view(np.uint64)


def real_outputs() -> dict[str, NDArray[np.float32]]:
    """Outputs of the default model on whole pictures and on their middles, side by side; made once."""
    file = CACHE / "real_outputs.npz"
    if not file.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        print("encoding the 80,000 pictures, once", flush=True)
        np.savez(file, **_encode_all())
    return dict(np.load(file))


def _encode_all() -> dict[str, NDArray[np.float32]]:
    from hashgrain import Encoder
    from hashgrain.learn.data.labelled import load_labelled

    folder, encoder = need_data() / "tiny-imagenet-200", Encoder.load("small")
    rng = np.random.default_rng(5)
    (size, _) = encoder.bundle.size
    train = load_labelled(folder, size, ()).inputs
    val = load_labelled(folder, size, (), part="val").inputs
    some = train[rng.choice(len(train), CHANGED, replace=False)]

    def outputs(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        middle = np.stack([_middle(each) for each in pixels])
        both = [encoder.outputs_and_features(each)[0] for each in (pixels, middle)]
        return np.concatenate(both, axis=1).astype(np.float32)

    return {
        "database": outputs(train),
        "changes": outputs(_changed(some, rng)) - outputs(some),
        "queries": outputs(_changed(val[:1000], rng)),
    }


def _middle(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The middle of a picture, three quarters of each side, as large as the picture."""
    from PIL import Image

    edge = picture.shape[0]
    inside = (edge // 8, edge // 8, edge - edge // 8, edge - edge // 8)
    return np.asarray(Image.fromarray(picture).resize((edge, edge), Image.BILINEAR, box=inside))


def _changed(pixels: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Cropped to 64 to 100 % of the area, mirrored half of the time, a fifth brighter or darker at most."""
    from PIL import Image

    changed = np.empty_like(pixels)
    edge = pixels.shape[1]
    for i, each in enumerate(pixels):
        side = int(edge * rng.uniform(0.8, 1.0))
        left, top = rng.integers(0, edge - side + 1, 2)
        crop = Image.fromarray(each).crop((left, top, left + side, top + side)).resize((edge, edge), Image.BILINEAR)
        light = np.clip(np.asarray(crop, np.float32) * rng.uniform(0.8, 1.2), 0, 255).astype(np.uint8)
        changed[i] = light[:, ::-1] if rng.random() < 0.5 else light
    return changed
