"""A closer box for a part that matched: the rectangle of cells of a map that looks most like the query.

A window of the grid of parts seldom fits a thing. So each cell is scored by the cosine between the square roots of its
features and those of the query, less a threshold. Of all rectangles that overlap the window enough, the one with the
largest sum is taken, as in efficient subwindow search (Lampert et al., 2008), here by trying all of them.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hashgrain.models.description import Window

THRESHOLD = 0.2  # of the way from the median of the cosines to nearly the highest
NEARLY = 97.0  # the percentile that stands for nearly the highest
OVERLAP = 0.4  # the least intersection over union with the window
LEAST = 2  # cells, either way
ASPECT = 0.9  # the largest logarithm of rows / columns, or columns / rows
Floats = NDArray[np.floating]


def closer_box(cells: Floats, features: Floats, window: Window) -> Window:
    """The box near a window that fits the query best, for a map (width, rows, columns) of the hit and the features
    (width,) of the query. The window itself if no rectangle of cells is near enough."""
    rows, columns = cells.shape[1:]
    boxes = _rectangles(rows, columns)
    fractions = boxes / np.array([columns, rows, columns, rows])
    near = overlaps(fractions, window) >= OVERLAP
    if not near.any():
        return window
    sums = _sums(scores(cells, features), boxes[near])
    left, top, right, bottom = fractions[near][int(sums.argmax())].tolist()
    return left, top, right, bottom


def scores(cells: Floats, features: Floats) -> Floats:
    """(rows, columns): how much each cell looks like the query; positive if that speaks for a box with it."""
    width, rows, columns = cells.shape
    roots = np.sqrt(np.maximum(cells.reshape(width, -1), 0)).T
    asked = np.sqrt(np.maximum(features, 0))
    lengths = np.linalg.norm(roots, axis=1) * np.linalg.norm(asked)
    cosines = roots @ asked / np.maximum(lengths, 1e-9)
    median = np.median(cosines)
    return np.asarray(cosines - median - THRESHOLD * (np.percentile(cosines, NEARLY) - median)).reshape(rows, columns)


def overlaps(boxes: Floats, other: Window) -> Floats:
    """Intersection over union (boxes,) of boxes (boxes, 4) with another."""
    wide = np.minimum(boxes[:, 2], other[2]) - np.maximum(boxes[:, 0], other[0])
    high = np.minimum(boxes[:, 3], other[3]) - np.maximum(boxes[:, 1], other[1])
    shared = np.maximum(wide, 0) * np.maximum(high, 0)
    areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    return np.asarray(shared / (areas + (other[2] - other[0]) * (other[3] - other[1]) - shared))


def _rectangles(rows: int, columns: int) -> NDArray[np.int64]:
    """(n, 4): left, top, right and bottom of every rectangle of cells that is neither too small nor too long."""
    across, down = _spans(columns), _spans(rows)
    wide, high = np.repeat(across, len(down), axis=0), np.tile(down, (len(across), 1))
    boxes = np.stack([wide[:, 0], high[:, 0], wide[:, 1], high[:, 1]], axis=1)
    ratio = (boxes[:, 2] - boxes[:, 0]) / (boxes[:, 3] - boxes[:, 1])
    return np.asarray(boxes[np.abs(np.log(ratio)) < ASPECT])


def _spans(cells: int) -> NDArray[np.int64]:
    starts, ends = np.meshgrid(np.arange(cells + 1), np.arange(cells + 1), indexing="ij")
    long_enough = ends - starts >= LEAST
    return np.stack([starts[long_enough], ends[long_enough]], axis=1)


def _sums(grid: Floats, boxes: NDArray[np.int64]) -> Floats:
    table = np.zeros((grid.shape[0] + 1, grid.shape[1] + 1))
    table[1:, 1:] = grid.cumsum(axis=0).cumsum(axis=1)
    left, top, right, bottom = boxes.T
    return np.asarray(table[bottom, right] - table[top, right] - table[bottom, left] + table[top, left])
