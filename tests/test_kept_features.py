"""Features that are kept: of one width whatever can be opened, whole on the disk, and of these pixels only."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any

import numpy as np
import PIL
import pytest
from PIL import Image

from hashgrain import files
from hashgrain.errors import TrainingError
from hashgrain.learn.data import kept_features
from hashgrain.learn.data.kept_features import KeptFeatures
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
    asked = {"kept_as": np.float32, "skip": True, "chunk": 2, "log": lambda text: None, **asked}
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
    with pytest.raises(TrainingError, match=r"features of shape \(1, 3\) .* 5 per picture"):
        at.of("set", lambda: [picture(1)])
    assert list(at.folder.iterdir()) == []
    with pytest.raises(TrainingError, match="does not say how wide"):
        KeptFeatures(tmp_path / "run", graph(tmp_path, declared="any"), (SIDE, SIDE))


@pytest.mark.parametrize("damage", [lambda data: data[:-1], lambda data: data[:9], lambda data: b"", lambda data: b"x"])
def test_what_is_damaged_on_the_disk_is_computed_anew(damage: Any, tmp_path: Path) -> None:
    stored = [picture(value) for value in range(5)]
    told: list[str] = []
    at = kept(tmp_path, log=told.append)
    expected = at.of("set", lambda: stored)
    (path,) = at.folder.iterdir()
    path.write_bytes(damage(path.read_bytes()))
    part = at.folder / "set.1.part.npy"
    np.save(part, expected[2:4])
    part.write_bytes(damage(part.read_bytes()))
    np.save(at.folder / "set.0.part.npy", np.full((2, 1), np.nan, np.float32))  # of another width
    assert at.of("set", lambda: stored).tolist() == expected.tolist()
    assert sum("is damaged" in text for text in told) == 3
    assert [each.name for each in at.folder.iterdir()] == ["set.npy"]


def test_features_have_their_name_only_when_they_are_on_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []
    replace = os.replace
    monkeypatch.setattr(files, "sync", lambda file: done.append("sync"))
    monkeypatch.setattr(os, "replace", lambda old, new: (done.append(Path(new).name), replace(old, new)))
    kept(tmp_path).of("set", lambda: [picture(1)])
    assert done == ["sync", "set.0.part.npy", "sync", "set.npy"]


def test_features_of_another_pillow_or_way_of_opening_are_not_taken_for_these(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = kept(tmp_path).folder
    assert kept(tmp_path).folder == before
    for thing, name, value in ((PIL, "__version__", "99.0"), (kept_features, "VERSION", 99)):
        with monkeypatch.context() as changed:
            changed.setattr(thing, name, value)
            assert kept(tmp_path).folder != before
