"""Missing pixels of a picture, taken from another one that is warped into place, or guessed from around them.

Needs OpenCV, the extra `verify`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from hashgrain.media.local_features import Map, opencv

if TYPE_CHECKING:
    from hashgrain.media.picture import Pixels

Mask = NDArray[np.bool_]
_REFINE_EDGE = 512  # pixels along the longer edge, at which a map is refined
_REFINE_ROUNDS, _REFINE_STEP = 60, 1e-5
_LEAST_OVERLAP = 1000  # pixels to refine a map or to match colors with
_WORST = 0.1  # share of the pixels, those that differ most, that do not count for the colors
_SEAM = 12.0  # pixels over which the difference at the edge of the missing area fades into it
_INPAINT_RADIUS = 5
_FLAT = 6  # levels that pixels of a blotted area may differ by, since JPEG blurs it
_LEAST_AREA = 0.005  # of the picture, that is taken for a blot
_BLOT_COLORS = 4
# Pixel (0, 0) has its center at (0.5, 0.5) from the corner of the picture.
_TO_CORNER = np.array([[1, 0, 0.5], [0, 1, 0.5], [0, 0, 1]])
_FROM_CORNER = np.linalg.inv(_TO_CORNER)


@dataclass(frozen=True, eq=False)
class Warped:
    """Another picture in the place and the colors of this one."""

    pixels: Pixels
    covered: Mask  # where there are any


def warped(other: Pixels, to_other: Map, target: Pixels, known: Mask, *, refine: bool = True) -> Warped:
    """`other` as `target` sees it. `to_other` maps fractions of the target to fractions of the other; it is refined,
    and the colors are fitted, on the pixels of the target that are known."""
    size = target.shape[1], target.shape[0]
    matrix = in_pixels(to_other, size, (other.shape[1], other.shape[0]))
    if refine:
        matrix = _refined(matrix, other, target, known)
    pixels, covered = _taken(other, matrix, size)
    return Warped(_recolored(pixels, target, covered & known), covered)


def in_pixels(to_other: Map, size: tuple[int, int], other: tuple[int, int]) -> Map:
    """A map between fractions as one between the centers of pixels."""
    there = np.diag([*other, 1.0]) @ to_other @ np.diag([1 / size[0], 1 / size[1], 1])
    return np.asarray(_FROM_CORNER @ there @ _TO_CORNER, np.float64)


def pasted(target: Pixels, missing: Mask, source: Warped) -> Pixels:
    """The target with its missing pixels from the source, where that has any. What differs at the edge of the missing
    area fades into it, so that no seam is seen; known pixels stay as they are."""
    cv2 = opencv()
    taken = missing & source.covered
    known = ~missing & source.covered
    apart = np.where(known[..., None], target.astype(np.float32) - source.pixels, 0)
    weight = cv2.GaussianBlur(known.astype(np.float32), (0, 0), _SEAM / 3)[..., None]
    edge = cv2.GaussianBlur(apart.astype(np.float32), (0, 0), _SEAM / 3) / np.maximum(weight, 1e-3)
    depth = cv2.distanceTransform(missing.astype(np.uint8), cv2.DIST_L2, 5)[..., None]
    fading = np.clip(1 - depth / _SEAM, 0, 1) * (weight > 1e-3)
    filled = np.clip(source.pixels + edge * fading, 0, 255).round().astype(np.uint8)
    return np.where(taken[..., None], filled, target)


def inpainted(target: Pixels, missing: Mask) -> Pixels:
    """The target with its missing pixels guessed from those around them, by OpenCV (Telea, 2004)."""
    cv2 = opencv()
    return np.asarray(cv2.inpaint(target, missing.astype(np.uint8), _INPAINT_RADIUS, cv2.INPAINT_TELEA), np.uint8)


def blots(pixels: Pixels) -> Mask:
    """Areas of one flat color that are large enough to be damage: painted over, torn off, cut out. Skies are flat, too,
    so nine pixels of ten must have exactly that color."""
    cv2 = opencv()
    packed = pixels.astype(np.int32) @ np.array([1 << 16, 1 << 8, 1], np.int32)
    colors, counts = np.unique(packed, return_counts=True)
    least = _LEAST_AREA * packed.size
    found = np.zeros(packed.shape, bool)
    for color in colors[np.argsort(-counts)][:_BLOT_COLORS]:
        exact = packed == color
        rgb = np.array([color >> 16, color >> 8 & 255, color & 255])
        near = (np.abs(pixels.astype(np.int16) - rgb) <= _FLAT).all(axis=2).astype(np.uint8)
        number, areas = cv2.connectedComponents(near, connectivity=4)
        sizes = np.bincount(areas.ravel(), minlength=number)
        alike = np.bincount(areas[exact].ravel(), minlength=number)
        flat = (sizes >= least) & (alike >= 0.9 * sizes)
        flat[0] = False
        found |= flat[areas]
    grown = cv2.dilate(found.astype(np.uint8), np.ones((5, 5), np.uint8))
    return np.asarray(grown > 0)


def _taken(other: Pixels, matrix: Map, size: tuple[int, int]) -> tuple[Pixels, Mask]:
    cv2 = opencv()
    options = {"borderMode": cv2.BORDER_REPLICATE}
    if abs(np.linalg.det(matrix[:2, :2])) > 2:  # the other picture is larger: average, and do not skip pixels
        shrink = abs(np.linalg.det(matrix[:2, :2])) ** -0.5
        smaller = max(1, round(other.shape[1] * shrink)), max(1, round(other.shape[0] * shrink))
        scales = smaller[0] / other.shape[1], smaller[1] / other.shape[0]
        matrix = _FROM_CORNER @ np.diag([*scales, 1.0]) @ _TO_CORNER @ matrix
        other = cv2.resize(other, smaller, interpolation=cv2.INTER_AREA)
    flags = cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP
    pixels = cv2.warpPerspective(other, matrix, size, flags=flags, **options)
    whole = np.full(other.shape[:2], 255, np.uint8)
    covered = cv2.warpPerspective(whole, matrix, size, flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)
    return pixels, covered > 127


def _refined(matrix: Map, other: Pixels, target: Pixels, known: Mask) -> Map:
    """The map moved so that the known pixels correlate most (Evangelidis and Psarakis, 2008), if that can be had."""
    cv2 = opencv()
    share = min(1.0, _REFINE_EDGE / max(target.shape[:2]))
    size = max(1, round(target.shape[1] * share)), max(1, round(target.shape[0] * share))
    placed, covered = _taken(other, matrix, (target.shape[1], target.shape[0]))
    use = cv2.resize((known & covered).astype(np.uint8), size, interpolation=cv2.INTER_NEAREST)
    if use.sum() < _LEAST_OVERLAP:
        return matrix
    ours, theirs = (
        cv2.resize(cv2.cvtColor(each, cv2.COLOR_RGB2GRAY), size, interpolation=cv2.INTER_AREA)
        for each in (target, placed)
    )
    stop = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, _REFINE_ROUNDS, _REFINE_STEP)
    still = np.eye(3, dtype=np.float32)
    try:  # the mask is of the first picture, which is the one that is moved: so the target moves onto the other
        _, moved = cv2.findTransformECC(theirs, ours, still, cv2.MOTION_HOMOGRAPHY, stop, use, 5)
    except cv2.error:  # it found no better one
        return matrix
    # moved: from pixels of the placed picture to pixels of the target, both at the small size
    scale = np.diag([size[0] / target.shape[1], size[1] / target.shape[0], 1.0])
    small = _FROM_CORNER @ scale @ _TO_CORNER
    there = np.linalg.inv(small) @ np.linalg.inv(moved) @ small
    return np.asarray(matrix @ there, np.float64)


def _recolored(pixels: Pixels, target: Pixels, overlap: Mask) -> Pixels:
    """Each channel times a gain plus a shift, those that fit the overlap best without the pixels that differ most."""
    if overlap.sum() < _LEAST_OVERLAP:
        return pixels
    fitted = np.empty_like(pixels)
    for channel in range(3):
        x = pixels[..., channel][overlap].astype(np.float64)
        y = target[..., channel][overlap].astype(np.float64)
        gain, shift = _line(x, y)
        apart = np.abs(gain * x + shift - y)
        best = apart <= np.quantile(apart, 1 - _WORST)
        gain, shift = _line(x[best], y[best])
        fitted[..., channel] = np.clip(gain * pixels[..., channel] + shift, 0, 255).round()
    return fitted


def _line(x: NDArray[np.float64], y: NDArray[np.float64]) -> tuple[float, float]:
    spread = float(np.var(x))
    gain = 1.0 if spread < 1 else float(np.clip(np.mean((x - x.mean()) * (y - y.mean())) / spread, 0.25, 4))
    return gain, float(y.mean() - gain * x.mean())
