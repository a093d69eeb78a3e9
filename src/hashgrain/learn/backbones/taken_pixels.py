"""The input of an ONNX model: bytes or floats, its size, and whether colors are its second axis or its last."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from hashgrain.errors import TrainingError
from hashgrain.learn.remedies import set_to

LAYOUTS = {"nchw": "(n, 3, s, s)", "nhwc": "(n, s, s, 3)"}
COLORS_AT = {"nchw": 0, "nhwc": 2}  # among the axes after the first


@dataclass(frozen=True)
class PixelInput:
    """The input of a model: bytes (n, s, s, 3), or floats normalized by mean and std, in one of two layouts."""

    name: str
    bytes: bool
    one_by_one: bool  # exported for batches of one picture
    last: bool = False  # floats (n, s, s, 3), as in Keras and TensorFlow, instead of (n, 3, s, s), as in torch

    def shape(self, size: int) -> tuple[int, int, int]:
        """The shape of one picture."""
        return (size, size, 3) if self.bytes or self.last else (3, size, size)


def takes_pixels(
    session: Any, where: str, size: int, layout: str = "", runs: Callable[[PixelInput], bool] = lambda pixels: False
) -> PixelInput:
    """The input of a model, or an error where it does not take pictures of that size.

    The axis of the colors has length 3. If the axes are dynamic, `runs` tries the model in both layouts: it runs only
    in its own, unless all its operations are elementwise. Then `layout` must name it.
    """
    inputs = session.get_inputs()
    if len(inputs) != 1 or len(inputs[0].shape) != 4:
        shapes = ", ".join(f"{node.name} {node.shape}" for node in inputs) or "nothing"
        raise TrainingError(f"{where} takes {shapes}; a backbone takes pictures, four axes, and nothing else")
    (node,) = inputs
    batch, *edges = node.shape
    takes_bytes = node.type == "tensor(uint8)"
    possible = _layouts(edges, takes_bytes) if node.type in ("tensor(uint8)", "tensor(float)") else []
    if not possible:
        raise TrainingError(
            f"{where} takes {node.type} {node.shape}; a backbone takes floats {LAYOUTS['nchw']} or"
            f" {LAYOUTS['nhwc']}, or bytes {LAYOUTS['nhwc']}"
        )
    if layout and layout not in possible:
        raise TrainingError(f"{where} takes {node.type} {node.shape}, which is not layout={layout}: {LAYOUTS[layout]}")
    by_layout = {
        each: PixelInput(node.name, takes_bytes, batch == 1, each == "nhwc" and not takes_bytes)
        for each in ([layout] if layout else possible)
    }
    chosen = _chosen(by_layout, where, runs)
    axes = [edge for axis, edge in enumerate(edges) if axis != COLORS_AT[chosen]]
    others = [edge for edge in axes if isinstance(edge, int) and edge != size]
    if others:
        raise TrainingError(f"{where} takes pictures of {axes[0]}x{axes[1]} px, not of {size}: set size={others[0]}")
    if isinstance(batch, int) and batch != 1:
        raise TrainingError(f"{where} takes {batch} pictures at a time; export it for batches of any length")
    return by_layout[chosen]


def check_layout(layout: str) -> str:
    if layout not in ("", *LAYOUTS):
        layouts = " or ".join(f"{name} {shape}" for name, shape in LAYOUTS.items())
        raise TrainingError(f"layout={layout}: pictures are {layouts}")
    return layout


def _layouts(edges: Sequence[Any], takes_bytes: bool) -> list[str]:
    """The layouts that the shape allows: an axis of length 3 is that of the colors; a dynamic axis is not an int."""
    known = [layout for layout, axis in COLORS_AT.items() if edges[axis] == 3]
    fits = known or [layout for layout, axis in COLORS_AT.items() if not (isinstance(edges[axis], int) or 3 in edges)]
    return [layout for layout in fits if layout == "nhwc" or not takes_bytes]


def _chosen(by_layout: dict[str, PixelInput], where: str, runs: Callable[[PixelInput], bool]) -> str:
    if len(by_layout) > 1:
        works = [layout for layout, pixels in by_layout.items() if runs(pixels)]
        if len(works) > 1:
            raise TrainingError(
                f"{where} does not say whether its pictures are {LAYOUTS['nchw']} or {LAYOUTS['nhwc']}, and runs on"
                " both",
                remedy=set_to("layout=nchw or layout=nhwc"),
            )
        by_layout = {layout: by_layout[layout] for layout in works or by_layout}
    return next(iter(by_layout))
