"""Features that are kept: of one width whatever can be opened, whole on the disk, and of these pixels only."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from hashgrain.errors import TrainingError
from hashgrain.learn.kept_features import KeptFeatures
from made_networks import save_onnx

pytest.importorskip("onnx", reason="needs the train extra")
pytestmark = pytest.mark.train

SIDE, WIDTH = 4, 3


def graph(at: Path, declared: int | str = WIDTH) -> bytes:
    """The sums of the colors, cut out in a way that does not tell their number before it runs."""
    from onnx import TensorProto, helper

    nodes = [
        helper.make_node("Cast", ["pixels"], ["floats"], to=TensorProto.FLOAT),
        helper.make_node("ReduceSum", ["floats", "edges"], ["sums"], keepdims=0),
        helper.make_node("Compress", ["sums", "all"], ["features"], axis=1),
    ]
    held = {"edges": np.array([1, 2]), "all": np.ones(WIDTH, bool)}
    takes = {"pixels": (TensorProto.UINT8, ["n", SIDE, SIDE, 3])}
    gives = {"features": (TensorProto.FLOAT, ["n", declared])}
    return save_onnx(at / "net.onnx", nodes, held, takes, gives).read_bytes()


def kept(at: Path, **asked: Any) -> KeptFeatures:
    asked = {"kept_as": np.float32, "skip": True, "chunk": 2, "say": lambda text: None, **asked}
    return KeptFeatures(at / "run", graph(at), (SIDE, SIDE), **asked)


def picture(value: int) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (SIDE, SIDE), (value, value, value)).save(file, "png")
    return file.getvalue()


def test_a_chunk_in_which_nothing_opens_is_as_wide_as_the_others(tmp_path: Path) -> None:
    stored = [b"no picture", b"nor this", picture(1), b"nor that", picture(2)]
    found = kept(tmp_path).of("set", lambda: stored)
    assert found.shape == (5, WIDTH)
    assert np.isfinite(found).all(axis=1).tolist() == [False, False, True, False, True]
    assert found[4].tolist() == [2 * SIDE * SIDE] * 3


def test_features_of_another_width_than_the_graph_says_are_an_error_and_not_kept(tmp_path: Path) -> None:
    at = KeptFeatures(tmp_path / "run", graph(tmp_path, declared=5), (SIDE, SIDE), skip=True)
    with pytest.raises(TrainingError, match=r"features of shape \(1, 3\) .* 5 a picture"):
        at.of("set", lambda: [picture(1)])
    assert list(at.folder.iterdir()) == []
    with pytest.raises(TrainingError, match="does not say how wide"):
        KeptFeatures(tmp_path / "run", graph(tmp_path, declared="any"), (SIDE, SIDE))
