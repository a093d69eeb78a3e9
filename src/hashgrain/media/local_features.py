"""Whether two pictures show the same thing, point by point: ORB features, matched, and a map that fits the matches.

An ORB feature is a corner with a size, a direction and 256 bits that describe what is around it (Rublee et al., 2011).
Features match if each is the other's nearest by Hamming distance and the second nearest is clearly farther (Lowe's
ratio test). RANSAC finds the map, a similarity or a homography, that most matches agree with: its inliers. Needs
OpenCV, the extra `verify`, which is loaded on first use.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from types import ModuleType
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from hashgrain.errors import QueryError
from hashgrain.types import Corners

if TYPE_CHECKING:
    from hashgrain.media.picture import Pixels

EDGE = 1024  # pixels along the longer edge: larger pictures are decoded at that size
# Unrelated photographs agree in 6 points at most, see docs/decisions/0024-local-features.md.
LEAST_INLIERS = 8
_LEAST_EDGE, _COARSE_EDGE = 512, 256  # smaller pictures are enlarged; the query is looked at a second time, coarsely
_FEATURES = 2000
_LEAST_PIXELS = 8  # along the shorter edge, for a picture to have features
_BORDER = 64  # pixels mirrored around a picture, since ORB finds nothing near an edge
_RATIO, _MAX_BITS = 0.8, 64  # of the nearest to the second nearest; of a pair that can match
_TOLERANCE = 6.0  # pixels between where a point is and where the map puts it
_ROUNDS, _CONFIDENCE = 2000, 0.999
_MOST_STRETCH, _MOST_SCALE = 3.0, 16.0  # of the longest edge of an outline to the shortest; of one picture to the other

Map = NDArray[np.float64]  # (3, 3), of points in homogeneous coordinates


@dataclass(frozen=True, eq=False)
class Features:
    points: NDArray[np.float32]  # (n, 2): x, y in pixels of a picture of `size`
    descriptors: NDArray[np.uint8]  # (n, 32)
    size: tuple[int, int]  # width and height


@dataclass(frozen=True, eq=False)
class Registration:
    """How one picture lies in another."""

    inliers: int
    map: Map  # from fractions of the first picture to fractions of the second

    @property
    def outline(self) -> Corners:
        """Where the corners of the first picture lie, in fractions of the second: the upper left one, then clockwise in
        the first picture. They may lie outside."""
        placed = mapped(self.map, np.array([[0, 0], [1, 0], [1, 1], [0, 1]], np.float64)).round(4)
        first, second, third, fourth = ((float(x), float(y)) for x, y in placed)
        return first, second, third, fourth


def opencv() -> ModuleType:
    """OpenCV; an error that says how to install it where it is missing."""
    try:
        return importlib.import_module("cv2")
    except ImportError:
        message = "matching pictures point by point takes OpenCV, which is not installed"
        raise QueryError(message, remedy="pip install 'hashgrain[verify]'") from None


def features_of(pixels: Pixels, *, coarse: bool = False) -> Features:
    """The features of a picture; with `coarse` those at a fourth of the size, too, which match where the other picture
    shows the same much smaller."""
    cv2 = opencv()
    gray = cv2.cvtColor(np.ascontiguousarray(pixels), cv2.COLOR_RGB2GRAY)
    height, width = gray.shape
    longest = max(width, height)
    edges = [min(max(longest, _LEAST_EDGE), EDGE), *[_COARSE_EDGE] * coarse]
    found = [_found_at(gray, edge / longest, _FEATURES if edge > _COARSE_EDGE else _FEATURES // 2) for edge in edges]
    points, descriptors = (np.concatenate(each) for each in zip(*found, strict=True))
    return Features(points, descriptors, (width, height))


def register(first: Features, second: Features, *, least: int = LEAST_INLIERS) -> Registration | None:
    """The map from one picture into another that most features agree with. None if fewer than `least` do, or if it
    turns the picture over, or stretches it as no photograph of it would."""
    ours, theirs = _matches(first, second)
    best: Registration | None = None
    for found in (_similarity(ours, theirs), _homography(ours, theirs)):
        if found is None:
            continue
        matrix, agrees = found
        inliers = _distinct(ours[agrees], theirs[agrees])
        better = inliers >= least and (best is None or inliers > best.inliers)
        if better and is_plausible(matrix, first.size):
            best = Registration(inliers, _in_fractions(matrix, first.size, second.size))
    return best


def mapped(matrix: Map, points: NDArray[np.floating]) -> NDArray[np.float64]:
    """Where points (n, 2) lie under a map."""
    placed = np.c_[points, np.ones(len(points))] @ matrix.T
    return np.asarray(placed[:, :2] / placed[:, 2:], np.float64)


def is_plausible(matrix: Map, size: tuple[int, int]) -> bool:
    """Whether a map keeps the outline of a picture of this size convex, not mirrored, and in proportion."""
    width, height = size
    corners = np.array([[0, 0, 1], [width, 0, 1], [width, height, 1], [0, height, 1]], np.float64) @ matrix.T
    if not np.isfinite(corners).all() or corners[:, 2].min() <= 0:
        return False
    outline = corners[:, :2] / corners[:, 2:]
    edges = np.roll(outline, -1, axis=0) - outline
    following = np.roll(edges, -1, axis=0)
    if (edges[:, 0] * following[:, 1] - edges[:, 1] * following[:, 0]).min() <= 0:
        return False
    scales = np.hypot(*edges.T) / [width, height, width, height]
    return bool(scales.max() < _MOST_STRETCH * scales.min() and 1 / _MOST_SCALE < scales.min() < _MOST_SCALE)


def _found_at(gray: Pixels, scale: float, most: int) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """The features of a picture resized by `scale`, in pixels of the picture as it was."""
    cv2 = opencv()
    if scale != 1:
        size = max(1, round(gray.shape[1] * scale)), max(1, round(gray.shape[0] * scale))
        gray = cv2.resize(gray, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)
    none = np.empty((0, 2), np.float32), np.empty((0, 32), np.uint8)
    if min(gray.shape) < _LEAST_PIXELS:
        return none
    border = min(_BORDER, min(gray.shape) - 1)
    framed = cv2.copyMakeBorder(gray, border, border, border, border, cv2.BORDER_REFLECT_101)
    keypoints, descriptors = cv2.ORB_create(nfeatures=most, fastThreshold=8).detectAndCompute(framed, None)
    if descriptors is None:
        return none
    points = np.array([each.pt for each in keypoints], np.float32) - border
    inside = (points >= 0).all(axis=1) & (points < gray.shape[::-1]).all(axis=1)
    return points[inside] / np.float32(scale), descriptors[inside]


def _matches(first: Features, second: Features) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """The points of features that match, in both pictures."""
    none = np.empty((0, 2), np.float32)
    if len(first.points) < 2 or len(second.points) < 2:
        return none, none
    cv2 = opencv()
    matcher = cv2.BFMatcher(cv2.NORM_HAMMING)
    pairs = [
        (near.queryIdx, near.trainIdx)
        for near, after in matcher.knnMatch(first.descriptors, second.descriptors, k=2)
        if near.distance <= _MAX_BITS and near.distance < _RATIO * after.distance
    ]
    if pairs:  # the way back, for these alone
        back = matcher.match(second.descriptors[[place for _, place in pairs]], first.descriptors)
        pairs = [pair for pair, each in zip(pairs, back, strict=True) if each.trainIdx == pair[0]]
    if not pairs:
        return none, none
    ours, theirs = np.array(pairs).T
    return first.points[ours], second.points[theirs]


Fitted = tuple[Map, NDArray[np.bool_]]


def _similarity(ours: NDArray[np.float32], theirs: NDArray[np.float32]) -> Fitted | None:
    """Shift, turn and one scale: two matches fix it, so it is found among many wrong ones."""
    if len(ours) < 4:
        return None
    cv2 = opencv()
    options = {"method": cv2.RANSAC, "ransacReprojThreshold": _TOLERANCE}
    matrix, agrees = cv2.estimateAffinePartial2D(ours, theirs, maxIters=_ROUNDS, confidence=_CONFIDENCE, **options)
    return None if matrix is None else (np.vstack([matrix, [0, 0, 1]]), agrees.ravel() > 0)


def _homography(ours: NDArray[np.float32], theirs: NDArray[np.float32]) -> Fitted | None:
    """Any view of something flat: four matches fix it."""
    if len(ours) < 4:
        return None
    cv2 = opencv()
    options = {"maxIters": _ROUNDS, "confidence": _CONFIDENCE}
    matrix, agrees = cv2.findHomography(ours, theirs, cv2.RANSAC, _TOLERANCE, **options)
    return None if matrix is None else (matrix, agrees.ravel() > 0)


def _distinct(ours: NDArray[np.float32], theirs: NDArray[np.float32]) -> int:
    """How many matches are at places of their own in both pictures: a corner is often found at several sizes."""
    places = (np.unique(np.round(points / _TOLERANCE), axis=0) for points in (ours, theirs))
    return min(map(len, places))


def _in_fractions(matrix: Map, first: tuple[int, int], second: tuple[int, int]) -> Map:
    there = np.diag([1 / second[0], 1 / second[1], 1]) @ matrix @ np.diag([first[0], first[1], 1.0])
    return np.asarray(there / there[2, 2], np.float64)
