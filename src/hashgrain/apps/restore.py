"""A damaged or small picture, completed from its nearest relative in a library."""

from __future__ import annotations

import hashlib
import io
import math
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from hashgrain.errors import ImageError, QueryError
from hashgrain.library import Library
from hashgrain.media import DEFAULT_MAX_PIXELS, DecodePool, decode_workers
from hashgrain.media.contents import read_file
from hashgrain.media.cropping import fractions_of, pixels_of, wrong_box
from hashgrain.media.filling import Mask, Warped, blots, in_pixels, inpainted, pasted, warped
from hashgrain.media.local_features import EDGE, Features, Registration, features_of, opencv, register
from hashgrain.media.quality import psnr, ssim
from hashgrain.sources import reopen
from hashgrain.types import Box, JsonLike, PathLike

if TYPE_CHECKING:
    from hashgrain.media.picture import Pixels
    from hashgrain.search import Hit

SHORTLIST = 20  # hits that are matched with the damaged picture
NO_EDGE = 1 << 20  # pixels: no picture is shrunk
# Of the pixels that both pictures have, for the copied ones to be trusted.
TRUSTED_SSIM = 0.6
TRUSTED_INLIERS = 15
_MARGIN = 16  # pixels around the missing ones whose features describe the damage, too
_LEAST_GAIN = 1.05  # times as many pixels along an edge that a larger relative has


@dataclass(frozen=True)
class Quality:
    """The restored picture beside the true one: of all pixels, and of those that were missing."""

    psnr: float | None  # dB; None where the pixels are equal
    ssim: float | None  # None for pictures of less than 11 pixels
    psnr_missing: float | None

    @classmethod
    def of(cls, restored: Pixels, truth: Pixels, missing: Mask | None) -> Quality:
        values = psnr(restored, truth), ssim(restored, truth), psnr(restored, truth, missing)
        first, second, third = (round(value, 4) if math.isfinite(value) else None for value in values)
        return cls(first, second, third)


@dataclass(frozen=True)
class Relative:
    """The item that pixels were taken from."""

    id: int
    path: str
    inliers: int  # points that agree about where the picture lies in it
    overlap_ssim: float | None  # how alike the two are where both have pixels


@dataclass(frozen=True, eq=False)
class Restored:
    pixels: Pixels
    source: Pixels  # of each pixel, by its index in ORIGINS
    relative: Relative | None
    trusted: bool
    reason: str

    def counts(self) -> dict[str, int]:
        return {name: int((self.source == index).sum()) for index, name in enumerate(ORIGINS)}

    def as_dict(self) -> dict[str, JsonLike]:
        relative: dict[str, JsonLike] | None = None if self.relative is None else asdict(self.relative)
        about = {"width": self.pixels.shape[1], "height": self.pixels.shape[0], "pixels": self.counts()}
        return {**about, "relative": relative, "trusted": self.trusted, "reason": self.reason}


ORIGINS = ("kept", "copied", "inpainted")  # from the picture itself, from the relative, guessed by OpenCV


@dataclass(frozen=True, eq=False)
class _Match:
    hit: Hit
    registered: Registration
    pixels: Pixels  # of the hit, at its full size


def restore(library: Library, damaged: PathLike, missing: Mask, *, max_pixels: int = DEFAULT_MAX_PIXELS) -> Restored:
    """The picture with its missing pixels from the nearest picture of the library that shows the same, point by point.

    Pixels that no relative has are guessed from those around them by OpenCV's inpainting, and are not to be trusted.
    """
    opencv()
    with DecodePool(None, workers=decode_workers()) as pool:
        pixels = _read(pool, damaged, max_pixels)
        _check_mask(missing, pixels, damaged)
        guess = inpainted(pixels, missing)  # what the codes see: a hole has a look of its own
        match = _nearest_relative(library, pool, damaged, guess, missing, max_pixels)
    if match is None:
        reason = "no picture of the library shows the same; the missing pixels are guessed from those around them"
        return Restored(guess, _origins(missing, np.zeros_like(missing)), None, False, reason)
    source = warped(match.pixels, match.registered.map, pixels, ~missing)
    overlap = ssim(source.pixels, pixels, ~missing & source.covered)
    copied = missing & source.covered
    filled = pasted(pixels, missing, source)
    left = missing & ~source.covered
    if left.any():
        filled = inpainted(filled, left)
    trusted, reason = _verdict(match.registered.inliers, overlap, left.sum() / missing.sum())
    relative = _relative(match, overlap)
    return Restored(filled, _origins(missing, copied), relative, trusted, reason)


def enlarge(library: Library, small: PathLike, *, max_pixels: int = DEFAULT_MAX_PIXELS) -> Restored:
    """The small picture at the size of its largest relative in the library, of the relative's pixels.

    Raises QueryError if no larger picture of the library shows the same.
    """
    opencv()
    with DecodePool(None, workers=decode_workers()) as pool:
        pixels = _read(pool, small, max_pixels)
        none = np.zeros(pixels.shape[:2], bool)
        match = _nearest_relative(library, pool, small, pixels, none, max_pixels, larger=True)
    if match is None:
        path = os.fspath(small)
        raise QueryError(f"{path}: no larger picture of {library.path} shows the same", path=path)
    scale = _scale(match.registered, pixels, match.pixels)
    size = round(pixels.shape[1] * scale), round(pixels.shape[0] * scale)
    outline = np.array(match.registered.outline)
    if np.abs(outline - [[0, 0], [1, 0], [1, 1], [0, 1]]).max() < 0.01:  # the whole relative: nothing needs warping
        large = Warped(match.pixels, np.ones(match.pixels.shape[:2], bool))
    else:
        canvas = np.zeros((size[1], size[0], 3), np.uint8)
        large = warped(match.pixels, match.registered.map, canvas, np.zeros(canvas.shape[:2], bool), refine=False)
    shrunk = _resized(large.pixels, (pixels.shape[1], pixels.shape[0]))
    overlap = ssim(shrunk, pixels, _resized(large.covered.astype(np.uint8), (pixels.shape[1], pixels.shape[0])) > 0)
    own = _resized(pixels, (large.pixels.shape[1], large.pixels.shape[0]))
    filled = np.where(large.covered[..., None], large.pixels, own)
    trusted, reason = _verdict(match.registered.inliers, overlap, float(np.mean(~large.covered)))
    origins = np.where(large.covered, 1, 0).astype(np.uint8)
    return Restored(filled, origins, _relative(match, overlap), trusted, reason)


def mask_of_box(box: Box, size: tuple[int, int], name: str) -> Mask:
    """The pixels of a box, which is given in fractions, or in pixels where an edge is above 1."""
    if (reason := wrong_box(box)) is not None:
        raise QueryError(f"the box {box!r} cannot be used: {reason}")
    left, top, right, bottom = pixels_of(fractions_of(box, size, name), size)
    mask = np.zeros((size[1], size[0]), bool)
    mask[top:bottom, left:right] = True
    return mask


def mask_of(
    damaged: PathLike,
    *,
    mask: PathLike | None = None,
    box: Box | None = None,
    max_pixels: int = DEFAULT_MAX_PIXELS,
) -> Mask:
    """The missing pixels of a picture: the white ones of a mask of its size, those of a box, or, with neither, areas of
    one flat color, as paint and holes leave them."""
    name = os.fspath(damaged)
    with DecodePool(None, workers=decode_workers()) as pool:
        pixels = _read(pool, damaged, max_pixels)
        size = pixels.shape[1], pixels.shape[0]
        if mask is not None:
            white = _read(pool, mask, max_pixels)
            if white.shape != pixels.shape:
                own = f"{white.shape[1]} x {white.shape[0]}"
                raise ImageError(
                    f"{os.fspath(mask)}: a mask of {own} pixels, for a picture of {size[0]} x {size[1]}", path=mask
                )
            return np.asarray(white.mean(axis=2) >= 128)
    if box is not None:
        return mask_of_box(box, size, name)
    found = blots(pixels)
    if not found.any():
        raise QueryError(f"{name}: no area of one flat color is found; say which pixels are missing", path=name)
    return found


def quality_of(restored: Restored, truth: PathLike, *, max_pixels: int = DEFAULT_MAX_PIXELS) -> Quality:
    """The restored picture beside the true one, which has the same size."""
    with DecodePool(None, workers=decode_workers()) as pool:
        true = _read(pool, truth, max_pixels)
    if true.shape != restored.pixels.shape:
        sizes = [f"{each.shape[1]} x {each.shape[0]}" for each in (true, restored.pixels)]
        raise ImageError(f"{os.fspath(truth)}: has {sizes[0]} pixels, and the restored picture {sizes[1]}", path=truth)
    return Quality.of(restored.pixels, true, restored.source > 0)


def encoded(pixels: Pixels, file: Path) -> bytes:
    """The picture as PNG or JPEG, by the suffix of the file it is for."""
    check_suffix(file)
    buffer = io.BytesIO()
    if file.suffix.lower() == ".png":
        Image.fromarray(pixels).save(buffer, "PNG")
    else:
        Image.fromarray(pixels).save(buffer, "JPEG", quality=95)
    return buffer.getvalue()


def check_suffix(file: Path) -> None:
    if file.suffix.lower() not in (".png", ".jpg", ".jpeg"):
        raise QueryError(f"{file}: a restored picture is written as .png or .jpg", path=file)


def _nearest_relative(
    library: Library,
    pool: DecodePool,
    asked: PathLike,
    seen: Pixels,
    missing: Mask,
    max_pixels: int,
    *,
    larger: bool = False,
) -> _Match | None:
    """The hit that most points of the picture agree with; with `larger`, the largest of those with more pixels. The
    picture itself, by its path or content, is none."""
    content = hashlib.sha256(read_file(os.fspath(asked))).hexdigest()
    features = _known_features(seen, missing)
    best: _Match | None = None
    for hit in library.search(seen, k=SHORTLIST, max_pixels=max_pixels):
        item = library.item(hit.id)
        if item.content == content or hit.path == os.path.abspath(asked):
            continue
        try:
            source = reopen(item).load()
            found = register(features, features_of(pool.shrunk(source, edge=EDGE, max_pixels=max_pixels).pixels))
            if found is None or (best is not None and not larger and found.inliers <= best.registered.inliers):
                continue
            match = _Match(hit, found, pool.shrunk(source, edge=NO_EDGE, max_pixels=max_pixels).pixels)
        except (ImageError, OSError):  # the file is gone or damaged: another one may do
            continue
        least = _LEAST_GAIN if best is None else _scale(best.registered, seen, best.pixels)
        if not larger or _scale(found, seen, match.pixels) > least:
            best = match
    return best


def _known_features(pixels: Pixels, missing: Mask) -> Features:
    """The features of a picture without those in and around the missing pixels."""
    share = min(1.0, EDGE / max(pixels.shape[:2]))
    size = max(1, round(pixels.shape[1] * share)), max(1, round(pixels.shape[0] * share))
    found = features_of(_resized(pixels, size), coarse=True)
    cv2 = opencv()
    near = cv2.dilate(missing.astype(np.uint8), np.ones((2 * _MARGIN + 1, 2 * _MARGIN + 1), np.uint8))
    near = cv2.resize(near, size, interpolation=cv2.INTER_NEAREST)
    x, y = (found.points.T.round().astype(int).clip(0, [[size[0] - 1], [size[1] - 1]])).reshape(2, -1)
    known = near[y, x] == 0
    return replace(found, points=found.points[known], descriptors=found.descriptors[known])


def _scale(registered: Registration, pixels: Pixels, other: Pixels) -> float:
    """How many pixels of the other picture one of this one takes along an edge."""
    matrix = in_pixels(registered.map, (pixels.shape[1], pixels.shape[0]), (other.shape[1], other.shape[0]))
    return float(abs(np.linalg.det(matrix[:2, :2])) ** 0.5)


def _verdict(inliers: int, overlap: float, left: float) -> tuple[bool, str]:
    alike = "unknown" if math.isnan(overlap) else f"{overlap:.2f}"
    facts = f"{inliers} points agree, and the SSIM of the pixels that both pictures have is {alike}"
    if left > 0.01:
        return False, f"{facts}; {left:.0%} of the pixels are not in the relative"
    if inliers < TRUSTED_INLIERS:
        return False, f"{facts}; fewer than {TRUSTED_INLIERS} points are not to be trusted"
    if not overlap >= TRUSTED_SSIM:
        return False, f"{facts}; less than {TRUSTED_SSIM} is not to be trusted"
    return True, facts


def _relative(match: _Match, overlap: float) -> Relative:
    alike = None if math.isnan(overlap) else round(overlap, 4)
    return Relative(match.hit.id, match.hit.path, match.registered.inliers, alike)


def _origins(missing: Mask, copied: Mask) -> Pixels:
    return np.where(copied, 1, np.where(missing, 2, 0)).astype(np.uint8)


def _check_mask(missing: Mask, pixels: Pixels, damaged: PathLike) -> None:
    path = os.fspath(damaged)
    if missing.shape != pixels.shape[:2]:
        raise QueryError(f"{path}: the mask has another size than the picture", path=path)
    if not missing.any():
        raise QueryError(f"{path}: no pixel is missing, so nothing is to be restored", path=path)
    if missing.mean() > 0.95:
        raise QueryError(
            f"{path}: {missing.mean():.0%} of the pixels are missing; too few are left to compare", path=path
        )


def _read(pool: DecodePool, path: PathLike, max_pixels: int) -> Pixels:
    return pool.shrunk(path, edge=NO_EDGE, max_pixels=max_pixels).pixels


def _resized(pixels: Pixels, size: tuple[int, int]) -> Pixels:
    cv2 = opencv()
    smaller = size[0] < pixels.shape[1]
    return np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA if smaller else cv2.INTER_CUBIC), np.uint8)


def shown_origins(source: Pixels) -> Pixels:
    """Where each pixel comes from, as a picture: kept ones dark, copied ones green, guessed ones red."""
    colors: Sequence[tuple[int, int, int]] = ((40, 40, 44), (60, 160, 100), (210, 70, 60))
    return np.array(colors, np.uint8)[source]
