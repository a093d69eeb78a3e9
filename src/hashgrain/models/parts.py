"""Codes of parts of a picture from one or two runs of the network: means of windows of its last map, through one head.

The network runs once for each size of the picture that the detail names. Each window of that size then takes the mean
of the cells of the map that it covers, and the operations behind the features make its outputs. Where these also depend
on the pixels themselves, they get those of the window.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from hashgrain.codes import Codes, Grains, Words
from hashgrain.errors import BundleError, ImageError
from hashgrain.media import Picture, open_picture
from hashgrain.models.bundle import is_shipped
from hashgrain.models.description import Window
from hashgrain.models.detail import Detail, Look
from hashgrain.models.encoder import Encoder
from hashgrain.models.head_graph import FEATURES, behind_features
from hashgrain.models.part_correction import corrected, read_correction
from hashgrain.models.session import open_any_session
from hashgrain.types import ImageLike

if TYPE_CHECKING:
    import onnxruntime

Floats = NDArray[np.float32]
Correction = dict[int, tuple[Floats, Floats]]  # by level: gain and shift
HEAD_BATCH = 8  # pictures whose parts run through the head at once


def coverage(boxes: Sequence[Window], rows: int, columns: int) -> Floats:
    """(boxes, rows * columns): how much each cell of a map counts in the mean over each box; rows sum to 1."""
    given = np.array(boxes, np.float64).reshape(-1, 4)
    across = _overlaps(given[:, 0], given[:, 2], columns)
    down = _overlaps(given[:, 1], given[:, 3], rows)
    shares = (down[:, :, None] * across[:, None, :]).reshape(len(given), -1)
    return np.asarray(shares / shares.sum(axis=1, keepdims=True), np.float32)


def _overlaps(starts: NDArray[np.float64], ends: NDArray[np.float64], cells: int) -> NDArray[np.float64]:
    """(boxes, cells): the length that an interval of fractions shares with each cell."""
    edges = np.arange(cells + 1) / cells
    lengths = np.minimum(ends[:, None], edges[None, 1:]) - np.maximum(starts[:, None], edges[None, :-1])
    return np.asarray(np.maximum(lengths, 0.0), np.float64)


class PartEncoder:
    """Gives the codes of the parts of pictures, by a model that gives a map of each.

    Only the graph of a model that came with the package is run at other sizes than its own, unless it is `trusted`.
    """

    def __init__(self, encoder: Encoder, detail: Detail, *, trusted: bool = False) -> None:
        self.detail = detail
        self._encoder = encoder
        bundle = encoder.bundle
        if self.size != bundle.size and not trusted and not is_shipped(bundle):
            width, height = bundle.size
            raise BundleError(
                f"the model {bundle.name!r} was tried on pictures of {width} x {height} pixels, and detail"
                f" {detail.name} takes {detail.edge}"
            )
        if bundle.fitted != "squash":
            raise BundleError(f"the model {bundle.name!r} takes pictures with fit {bundle.fitted}, so it has no parts")
        self._head: PartHead | None = None  # its width is that of the first map
        self._corrections: dict[Look, Correction] = {}

    @property
    def size(self) -> tuple[int, int]:
        """Of the pictures that it takes: width, height."""
        return self.detail.edge, self.detail.edge

    def open(self, image: ImageLike, *, name: str = "picture") -> Picture:
        """Open a picture at both sizes: the model's own, and that of the detail."""
        picture = self._encoder.open(image, name=name)
        return replace(picture, detail=open_picture(image, size=self.size, name=name).pixels)

    def words(self, pictures: Iterable[Picture]) -> Iterator[Words]:
        """Yield the codes (parts, words) of pictures that are open at both sizes, in order.

        Maps are made from the larger one. If outputs also depend on pixels, they get those of the smaller one: they use
        only low frequencies.
        """
        again, *seen = itertools.tee(pictures, 1 + len(self.detail.looks))
        looks = [self._maps(look, some) for look, some in zip(self.detail.looks, seen, strict=True)]
        together = zip(again, zip(*looks, strict=True), strict=True)
        while some := list(itertools.islice(together, HEAD_BATCH)):
            width = some[0][1][0].shape[0]
            features = [
                corrected(pool(np.stack(maps), look.windows), look.levels, self.correction(look, width))
                for look, maps in zip(self.detail.looks, zip(*(maps for _, maps in some), strict=True), strict=True)
            ]
            head = self.head(width)
            pixels = np.stack([picture.pixels for picture, _ in some])
            yield from head.codes(head.outputs_of_parts(np.concatenate(features, axis=1), pixels, self.detail.windows))

    def _maps(self, look: Look, pictures: Iterable[Picture]) -> Iterator[Floats]:
        size = look.edge, look.edge
        return self._encoder.maps((_at_size(detail_pixels(picture), size) for picture in pictures), size)

    def map(self, picture: Picture, look: Look) -> Floats:
        """The map (width, rows, columns) of one picture that is open at both sizes."""
        (map_,) = self._maps(look, [picture])
        return map_

    def head(self, width: int) -> PartHead:
        """What is behind features of this width."""
        if self._head is None:
            bundle = self._encoder.bundle
            self._head = PartHead(bundle.onnx, bundle.name, width, bundle.grains, self._encoder.threads)
        return self._head

    def correction(self, look: Look, width: int) -> Correction:
        """What corrects the means of the windows of a look."""
        if look not in self._corrections:
            bundle = self._encoder.bundle
            self._corrections[look] = read_correction(bundle.others, look.edge, width, bundle.name)
        return self._corrections[look]


def _at_size(pixels: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    if pixels.shape[1::-1] == size:
        return pixels
    return open_picture(pixels, size=size).pixels


def detail_pixels(picture: Picture) -> NDArray[np.uint8]:
    """The larger of both sizes."""
    if picture.detail is None:
        raise ImageError("a picture whose parts are to be encoded has to be open at both sizes")
    return picture.detail


class PartHead:
    """What is behind the features of a model, ready to run on pooled ones."""

    def __init__(self, onnx: bytes, name: str, width: int, grains: Grains, threads: int) -> None:
        self.grains = grains
        whose = f"the head of model {name!r}"
        self._session: onnxruntime.InferenceSession = open_any_session(behind_features(onnx, width), whose, threads)
        self.takes_pixels = any(node.name != FEATURES for node in self._session.get_inputs())

    def outputs(self, features: Floats, pixels: NDArray[np.uint8] | None = None) -> Floats:
        """(n, bits) for features (n, width) and, where the head takes them, pixels (n, height, width, 3)."""
        feeds = {FEATURES: features} | ({"pixels": pixels} if self.takes_pixels else {})
        return np.asarray(self._session.run(["outputs"], feeds)[0], np.float32)

    def outputs_of_parts(self, pooled: Floats, pixels: NDArray[np.uint8], boxes: Sequence[Window]) -> Floats:
        """(n, parts, bits) for the pooled features (n, parts, width) of pictures (n, height, width, 3)."""
        n, parts, width = pooled.shape
        if not self.takes_pixels:
            return self.outputs(pooled.reshape(n * parts, width)).reshape(n, parts, -1)
        every = np.empty((n, parts, self.grains.bits), np.float32)
        for shape, members in _by_shape(boxes, pixels.shape[2], pixels.shape[1]).items():
            crops = [_crop(pixels, boxes[part], shape) for part in members]
            features = pooled[:, members].transpose(1, 0, 2).reshape(-1, width)
            outputs = self.outputs(np.ascontiguousarray(features), np.concatenate(crops))
            every[:, members] = outputs.reshape(len(members), n, -1).transpose(1, 0, 2)
        return every

    def codes(self, outputs: Floats) -> Words:
        """(n, parts, words) for outputs (n, parts, bits)."""
        n, parts, bits = outputs.shape
        return Codes.from_outputs(outputs.reshape(n * parts, bits), self.grains).words.reshape(n, parts, -1)


def pool(maps: Floats, boxes: Sequence[Window]) -> Floats:
    """(n, parts, width): the mean of maps (n, width, rows, columns) over each box."""
    if maps.ndim != 4:
        raise BundleError(f"the map of this model has shape {maps.shape}; parts take (n, width, rows, columns)")
    shares = coverage(boxes, *maps.shape[2:])
    flat = maps.reshape(*maps.shape[:2], -1)
    return np.ascontiguousarray(np.matmul(flat, shares.T).transpose(0, 2, 1))


def _by_shape(boxes: Sequence[Window], width: int, height: int) -> dict[tuple[int, int], list[int]]:
    """The parts by the size of their pixels (width, height), so that those of one size run together."""
    shapes: dict[tuple[int, int], list[int]] = {}
    for part, (left, top, right, bottom) in enumerate(boxes):
        shape = max(1, round((right - left) * width)), max(1, round((bottom - top) * height))
        shapes.setdefault(shape, []).append(part)
    return shapes


def _crop(pixels: NDArray[np.uint8], box: Window, shape: tuple[int, int]) -> NDArray[np.uint8]:
    """The pixels of a box, exactly as many as `shape` (width, height) says."""
    left = min(round(box[0] * pixels.shape[2]), pixels.shape[2] - shape[0])
    top = min(round(box[1] * pixels.shape[1]), pixels.shape[1] - shape[1])
    return pixels[:, top : top + shape[1], left : left + shape[0]]
