"""Detectors: ONNX models that find things in a picture. What they find becomes parts of it, beside those of the grid.

A detector takes one picture, float32 (1, 3, height, width) in 0..1 or uint8 (1, height, width, 3), and gives `boxes`
(n, 4), left, top, right and bottom in pixels of that picture or in fractions, and `scores` (n). Both may have a first
axis of 1. Boxes that overlap are expected to be suppressed by the graph itself.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hashgrain.errors import BundleError
from hashgrain.media import open_picture
from hashgrain.models.closer_box import overlaps
from hashgrain.models.description import Window
from hashgrain.models.graph_check import check_graph
from hashgrain.models.session import open_any_session, run_ended

MOST = 16  # boxes of a picture
LEAST_SCORE = 0.5
LEAST_SIDE = 0.02  # of a box, as a share of the picture's
SAME = 0.85  # intersection over union from which two boxes show the same
EDGE = 640  # pixels either way, for a detector that takes any size
MAX_BYTES = 1 << 30
KIND = "onnx:"
BOXES, SCORES = "boxes", "scores"
Floats = NDArray[np.float32]


class Detector:
    """An ONNX detector, ready to run. `given` is onnx:FILE."""

    def __init__(self, given: str, threads: int = 0) -> None:
        if not given.startswith(KIND) or given == KIND:
            raise BundleError(f"a detector is given as onnx:FILE, not {given!r}")
        self._whose = f"the detector {given.removeprefix(KIND)!r}"
        onnx = _content(Path(given.removeprefix(KIND)), self._whose)
        check_graph(onnx, self._whose, any_sizes=True)
        self._session = open_any_session(onnx, self._whose, threads)
        self._input, self._rows_last, self._size = _input_of(self._session.get_inputs(), self._whose)
        names = {node.name for node in self._session.get_outputs()}
        if not {BOXES, SCORES} <= names:
            given_names = ", ".join(sorted(names)) or "nothing"
            raise BundleError(f"{self._whose} must give `{BOXES}` and `{SCORES}`; it gives {given_names}")
        self.boxes(np.full((EDGE, EDGE, 3), 128, np.uint8))  # so that a wrong one fails before anything is added

    def boxes(self, pixels: NDArray[np.uint8]) -> list[Window]:
        """What is found in a picture (height, width, 3): boxes as fractions of it, the surest first, at most MOST."""
        width, height = self._size
        sized = open_picture(pixels, size=self._size).pixels
        planes = sized if self._rows_last else sized.transpose(2, 0, 1).astype(np.float32) / 255
        boxes, scores = run_ended(self._session, self._whose, [BOXES, SCORES], {self._input: planes[None]})
        found, sure = self._checked(boxes, scores)
        if (found > 2).any():  # pixels: no box of use is smaller than two of them
            found = np.asarray(found / np.array([width, height, width, height]), np.float32)
        return _distinct(np.clip(found, 0, 1), sure)

    def _checked(self, boxes: NDArray[Any], scores: NDArray[Any]) -> tuple[Floats, Floats]:
        """Boxes (n, 4) and scores (n)."""
        found, sure = np.asarray(boxes), np.asarray(scores)
        found = found[0] if found.ndim == 3 and len(found) == 1 else found
        sure = sure[0] if sure.ndim == 2 and len(sure) == 1 else sure
        if found.ndim != 2 or found.shape[1] != 4 or sure.shape != found.shape[:1]:
            shapes = f"{BOXES} {boxes.shape} and {SCORES} {scores.shape}"
            raise BundleError(f"{self._whose} gives {shapes}; they must be (n, 4) and (n)")
        if not (np.issubdtype(found.dtype, np.floating) and np.issubdtype(sure.dtype, np.floating)):
            raise BundleError(f"{self._whose} gives {found.dtype} and {sure.dtype}; both must be numbers with a point")
        if not (np.isfinite(found).all() and np.isfinite(sure).all()):
            raise BundleError(f"{self._whose} gives boxes or scores that are no numbers")
        return found.astype(np.float32), sure.astype(np.float32)


def _content(file: Path, whose: str) -> bytes:
    try:
        if file.stat().st_size > MAX_BYTES:
            raise BundleError(f"{whose} is larger than {MAX_BYTES >> 20} MiB")
        return file.read_bytes()
    except OSError as error:
        raise BundleError(f"{whose} cannot be read: {error.strerror or error}") from None


def _input_of(inputs: Any, whose: str) -> tuple[str, bool, tuple[int, int]]:
    """The name of its input, whether colors are the last axis of it, and the width and height it takes."""
    kinds = {"tensor(float)": False, "tensor(uint8)": True}
    if len(inputs) != 1 or inputs[0].type not in kinds or len(inputs[0].shape) != 4:
        takes = ", ".join(f"{node.name} {node.type} {node.shape}" for node in inputs) or "nothing"
        raise BundleError(
            f"{whose} must take one picture, float32 (1, 3, height, width) or uint8 (1, height, width, 3);"
            f" it takes {takes}"
        )
    (node,) = inputs
    rows_last = kinds[node.type]
    colors, height, width = (node.shape[3], *node.shape[1:3]) if rows_last else node.shape[1:]
    sides = [side if isinstance(side, int) else EDGE for side in (width, height)]
    if (isinstance(colors, int) and colors != 3) or not all(1 <= side <= 4096 for side in sides):
        raise BundleError(f"{whose} takes pictures of shape {node.shape}; it must take three colors, at most 4096 px")
    return node.name, rows_last, (sides[0], sides[1])


def _distinct(boxes: Floats, scores: Floats) -> list[Window]:
    """Those that are sure and large enough, the surest first; without any that shows the same as a surer one."""
    large = (boxes[:, 2:] - boxes[:, :2] >= LEAST_SIDE).all(axis=1)
    order = np.argsort(-scores, kind="stable")
    chosen: list[Window] = []
    for place in order[(large & (scores >= LEAST_SCORE))[order]]:
        left, top, right, bottom = boxes[place].tolist()
        if chosen and overlaps(np.array(chosen), (left, top, right, bottom)).max() > SAME:
            continue
        chosen.append((left, top, right, bottom))
        if len(chosen) == MOST:
            break
    return chosen
