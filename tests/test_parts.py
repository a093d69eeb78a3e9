"""Parts of pictures: windows of a grid get the codes that the model's own head makes of them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hashgrain.errors import BundleError
from hashgrain.models import Bundle, Encoder
from hashgrain.models.detail import windows
from hashgrain.models.graph_check import check_graph
from hashgrain.models.head_graph import behind_features
from hashgrain.models.parts import PartHead, coverage, pool


def head_of(name: str) -> tuple[Encoder, PartHead]:
    bundle = Bundle.read(name)
    encoder = Encoder(bundle, threads=1)
    _, features = encoder.outputs_and_features(np.zeros((1, *bundle.size[::-1], 3), np.uint8))
    return encoder, PartHead(bundle.onnx, name, features.shape[1], bundle.grains, 1)


def pictures(encoder: Encoder, n: int) -> np.ndarray:
    width, height = encoder.bundle.size
    coarse = np.random.default_rng(3).integers(0, 256, (n, 8, 8, 3), np.uint8)
    return np.repeat(np.repeat(coarse, height // 8, axis=1), width // 8, axis=2)


@pytest.mark.parametrize("name", ["photo", "small"])
def test_the_head_alone_gives_the_outputs_of_the_whole_graph(name: str) -> None:
    encoder, head = head_of(name)
    pixels = pictures(encoder, 3)
    outputs, features = encoder.outputs_and_features(pixels)
    np.testing.assert_allclose(head.outputs(features, pixels), outputs, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", ["photo", "small"])
def test_the_head_alone_is_a_graph_like_any_other_and_smaller(name: str) -> None:
    encoder, _ = head_of(name)
    width = encoder._session.get_outputs()[1].shape[-1]
    graph = behind_features(encoder.bundle.onnx, width)
    check_graph(graph, "the head")
    assert len(graph) < len(encoder.bundle.onnx) / 2


def test_a_graph_that_is_none_is_refused() -> None:
    with pytest.raises(BundleError, match="not an ONNX model"):
        behind_features(b"\x0a\xff nonsense", 4)


@pytest.mark.parametrize("name", ["photo"])
def test_a_part_that_is_the_whole_gets_the_code_of_the_whole(name: str) -> None:
    encoder, head = head_of(name)
    pixels = pictures(encoder, 2)
    outputs, maps = encoder._run_batch(encoder._session, name, ["outputs"], pixels)[0], maps_of(encoder, pixels)
    whole = [(0.0, 0.0, 1.0, 1.0)]
    of_parts = head.outputs_of_parts(pool(maps, whole), pixels, whole)
    np.testing.assert_allclose(of_parts[:, 0], outputs, rtol=1e-3, atol=1e-3)
    assert head.codes(of_parts).shape == (2, 1, encoder.grains.n_words)


def test_parts_keep_their_places_whatever_their_shapes() -> None:
    """Windows of different sizes run in groups; each row must still belong to its own window."""
    encoder, head = head_of("photo")
    pixels = pictures(encoder, 2)
    maps = maps_of(encoder, pixels)
    boxes = windows((2, 3, 4))
    together = head.outputs_of_parts(pool(maps, boxes), pixels, boxes)
    for part in (0, 3, 4, 12, 13, 28):
        alone = head.outputs_of_parts(pool(maps, [boxes[part]]), pixels, [boxes[part]])
        np.testing.assert_allclose(together[:, part], alone[:, 0], rtol=1e-4, atol=1e-4)


def maps_of(encoder: Encoder, pixels: np.ndarray) -> np.ndarray:
    maps: np.ndarray = encoder._session.run(["map"], {"pixels": pixels})[0]
    return maps


sides = st.tuples(st.floats(0, 0.7), st.floats(0.25, 1)).map(lambda pair: (pair[0], min(1.0, pair[0] + pair[1])))


@given(sides, sides, st.integers(1, 14), st.integers(1, 14))
def test_a_window_takes_the_mean_over_the_area_it_covers(
    across: tuple[float, float], down: tuple[float, float], rows: int, columns: int
) -> None:
    box = (across[0], down[0], across[1], down[1])
    (shares,) = coverage([box], rows, columns)
    fine = 60  # of each cell: an integral by counting small squares
    x = (np.arange(columns * fine) + 0.5) / (columns * fine)
    y = (np.arange(rows * fine) + 0.5) / (rows * fine)
    inside = ((y >= box[1]) & (y < box[3]))[:, None] & ((x >= box[0]) & (x < box[2]))[None]
    counted = inside.reshape(rows, fine, columns, fine).sum(axis=(1, 3)).astype(float)
    np.testing.assert_allclose(shares.sum(), 1, rtol=1e-5)
    np.testing.assert_allclose(shares, (counted / counted.sum()).reshape(-1), atol=0.05)


def test_windows_lie_within_the_picture_and_overlap_by_two_fifths() -> None:
    boxes = np.array(windows((2, 3, 4)))
    assert len(boxes) == 4 + 9 + 16
    assert boxes.min() >= 0
    assert boxes.max() <= 1
    left, right = boxes[0], boxes[1]
    assert (left[2] - right[0]) / (left[2] - left[0]) == pytest.approx(0.4)


def test_most_objects_of_a_quarter_of_the_picture_have_a_window_that_fits() -> None:
    """The reason for this grid: intersection over union of one half or more for 97 of 100 boxes."""
    rng = np.random.default_rng(0)
    boxes = np.array([(0.0, 0.0, 1.0, 1.0), *windows((2, 3, 4))])
    fitting = 0
    for _ in range(1000):
        aspect = rng.uniform(0.6, 1.6)
        w, h = np.sqrt(0.25 * aspect), np.sqrt(0.25 / aspect)
        x, y = rng.uniform(0, 1 - w), rng.uniform(0, 1 - h)
        wide = np.clip(np.minimum(boxes[:, 2], x + w) - np.maximum(boxes[:, 0], x), 0, None)
        high = np.clip(np.minimum(boxes[:, 3], y + h) - np.maximum(boxes[:, 1], y), 0, None)
        shared = wide * high
        areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
        fitting += bool((shared / (areas + 0.25 - shared)).max() >= 0.5)
    assert fitting >= 950
