"""The layout of a picture, for the bits that identify it: its lowest frequencies, as ONNX nodes.

Pooled features lose positions, and blur or strong compression changes them. The first coefficients of a cosine
transform hardly change, and perceptual hashes rely on them. Here they are inputs of a linear layer, so the fit weights
them. They are scaled to length 1, which removes contrast. Coefficients whose sign a mirror flips lose their sign.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hashgrain.learn.photo.builder import GraphBuilder

FREQUENCIES = 8  # of brightness in each direction; its mean is left out
COLOR_FREQUENCIES = 2  # of each of the two differences of color
WIDTH = FREQUENCIES**2 - 1 + 2 * COLOR_FREQUENCIES**2
FLAT = {"brightness": 0.04, "color": 0.16}  # added to the lengths: the layout of a uniform picture stays near zero
# Brightness and two color differences of red, green and blue, as in JPEG.
COLORS = [[0.299, 0.587, 0.114], [-0.168736, -0.331264, 0.5], [0.5, -0.418688, -0.081312]]


def layout(b: GraphBuilder, pixels: str) -> str:
    """(n, 3, height, width) between -1 and 1 to (n, WIDTH), at any height and width."""
    size = b.node("Shape", [pixels], "layout.size")
    b.constant("layout.first", np.float32(0))
    b.constant("layout.step", np.float32(1))
    b.constant("layout.half", np.float32(0.5))
    numbers = np.arange(FREQUENCIES, dtype=np.float32)
    b.constant("layout.frequencies", numbers * np.float32(np.pi))
    b.constant("layout.scales", np.where(numbers > 0, np.sqrt(2), 1).astype(np.float32))
    b.indices("layout.column", [1])
    # The cosines are the right operand, and colors are separated before the transposition: ONNX Runtime would fuse a
    # transposition with a product, which fails for an empty batch.
    rows = b.node("MatMul", [pixels, _waves(b, size, 3, "across")], "layout.rows")
    turned = b.node("Transpose", [rows], "layout.turned", perm=[0, 1, 3, 2])
    colors = b.constant("layout.colors", np.array(COLORS, np.float32)[:, :, None, None])
    colored = b.node("Conv", [turned, colors], "layout.colored")
    waves = b.node("MatMul", [colored, _waves(b, size, 2, "down")], "layout.waves")
    flat = b.node("Flatten", [waves], "layout.flat", axis=1)
    places = _places()
    parts = [_scaled(b, flat, name, places[name]) for name in FLAT]
    joined = b.node("Concat", parts, "layout.signed", axis=1)
    mirrored = b.constant("layout.signs", _mirrored(np.concatenate([*places.values()])))
    # The maximum of a number and its mirror image is its absolute value where a mirror flips the sign, else itself.
    return b.node("Max", [joined, b.node("Mul", [joined, mirrored], "layout.mirrored")], "layout")


def _waves(b: GraphBuilder, size: str, axis: int, name: str) -> str:
    """(length, FREQUENCIES): the cosines whose products with the pixels of an axis are the coefficients."""
    name = f"layout.{name}"
    whole = b.node("Gather", [size, b.indices(f"{name}.axis", [axis])], f"{name}.whole", axis=0)
    long = b.node("Cast", [whole], f"{name}.long", to=1)
    length = b.node("Squeeze", [long], f"{name}.length")
    numbers = b.node("Range", ["layout.first", length, "layout.step"], f"{name}.numbers")
    middles = b.node("Add", [numbers, "layout.half"], f"{name}.middles")
    shares = b.node(
        "Unsqueeze", [b.node("Div", [middles, length], f"{name}.shares"), "layout.column"], f"{name}.column"
    )
    cosines = b.node("Cos", [b.node("Mul", [shares, "layout.frequencies"], f"{name}.angles")], f"{name}.cosines")
    return b.node("Mul", [cosines, b.node("Div", ["layout.scales", length], f"{name}.scales")], f"{name}.waves")


def _places() -> dict[str, list[int]]:
    """The positions of the used coefficients: by color, vertical and horizontal frequency, transposed."""
    grid = np.arange(3 * FREQUENCIES**2).reshape(3, FREQUENCIES, FREQUENCIES).transpose(0, 2, 1)
    return {
        "brightness": grid[0].ravel()[1:].tolist(),
        "color": grid[1:, :COLOR_FREQUENCIES, :COLOR_FREQUENCIES].ravel().tolist(),
    }


def _mirrored(places: NDArray[np.int64]) -> NDArray[np.float32]:
    """The factor by which a mirror multiplies each coefficient: -1 for odd horizontal frequencies."""
    return np.asarray(np.where(places // FREQUENCIES % 2 == 1, -1, 1), np.float32)


def _scaled(b: GraphBuilder, flat: str, name: str, places: list[int]) -> str:
    taken = b.node("Gather", [flat, b.indices(f"layout.{name}.places", places)], f"layout.{name}", axis=1)
    length = b.node("ReduceL2", [taken], f"layout.{name}.length", axes=[1], keepdims=1)
    long = b.node("Add", [length, b.constant(f"layout.{name}.flat", np.float32(FLAT[name]))], f"layout.{name}.long")
    return b.node("Div", [taken, long], f"layout.{name}.scaled")
