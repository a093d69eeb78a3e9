"""A recipe and `model make` say how pictures are fitted: they train on what the bundle will see."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hashgrain.errors import TrainingError
from hashgrain.media import open_picture
from hashgrain.models import Bundle, Encoder
from hashgrain.types import Fit
from made_networks import SIDE, vision_onnx

pytest.importorskip("torch", reason="needs the train extra")
pytestmark = pytest.mark.train

from hashgrain.learn.data.labelled import load_labelled  # noqa: E402
from hashgrain.learn.encoders import fitting  # noqa: E402
from hashgrain.learn.encoders.make import Order, make_model  # noqa: E402
from hashgrain.learn.recipe import Network, change  # noqa: E402
from hashgrain.learn.recipes import RECIPES  # noqa: E402
from hashgrain.learn.run import train_bundle  # noqa: E402

LSH = next(recipe for recipe in RECIPES.values() if recipe.hasher == "LSH")


@pytest.fixture(scope="module")
def wide(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Forty pictures three times as wide as high, in two classes."""
    folder = tmp_path_factory.mktemp("wide")
    for number in range(40):
        at = folder / f"class{number % 2}"
        at.mkdir(exist_ok=True)
        pixels = np.random.default_rng(number).integers(0, 256, (40, 120, 3), np.uint8)
        Image.fromarray(pixels).save(at / f"{number}.png")
    return folder


def test_pictures_are_fitted_before_training_and_kept_apart_by_fit(wide: Path, tmp_path: Path) -> None:
    first = sorted((wide / "class0").iterdir())[0]
    for fit in ("crop", "squash", "fit"):
        found = load_labelled(wide, 32, (), fit=fit, cache=tmp_path)  # type: ignore[arg-type]
        expected = open_picture(first, size=(32, 32), fit=fit).pixels  # type: ignore[arg-type]
        assert any(np.array_equal(pixels, expected) for pixels in found.inputs)


@pytest.mark.parametrize("fit", ["crop", "squash"])
def test_a_trained_bundle_takes_pictures_as_its_recipe_does(fit: Fit, wide: Path, tmp_path: Path) -> None:
    recipe = change(LSH, [f"fit={fit}", "held_out=2", "size=32"])
    recipe = dataclasses.replace(
        recipe, network=Network(weights="random", channels=(8, 16, 32), blocks=(0, 0, 0), width=16)
    )
    train_bundle(recipe, wide, tmp_path / "made", tmp_path / "run", log=lambda text: None)
    bundle = Bundle.read(tmp_path / "made")
    assert (bundle.fit, bundle.fitted) == (None if fit == "squash" else fit, fit)
    assert f"recipe {LSH.name}" in bundle.provenance
    assert ("the middle of the picture" in (tmp_path / "made/card.md").read_text()) == (fit == "crop")


def test_a_fit_that_there_is_not_is_refused_with_those_there_are() -> None:
    with pytest.raises(TrainingError, match=r"stretch.*squash, fit, crop"):
        change(LSH, ["fit=stretch"])


def test_a_made_model_takes_pictures_as_it_was_told_to(
    wide: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = fitting.settings_for
    monkeypatch.setattr(fitting, "settings_for", lambda grains: dataclasses.replace(settings(grains), steps=20))
    source = f"onnx:{vision_onnx(tmp_path / 'net.onnx')}"
    order = Order("mine", source, wide, tmp_path / "mine", tmp_path / "run", (4, 8), SIDE, fit="crop")
    make_model(order, lambda text: None)
    bundle = Bundle.read(tmp_path / "mine")
    assert (bundle.fit, bundle.size) == ("crop", (SIDE, SIDE))
    assert bundle.provenance.startswith("the network onnx:net.onnx,")
    assert bundle.others["source"]["preprocessing"]["resized"].startswith("the middle of the picture")
    picture = sorted((wide / "class0").iterdir())[0]
    seen = open_picture(picture, size=(SIDE, SIDE), fit="crop").pixels[None]
    encoder = Encoder(bundle)
    assert np.allclose(encoder.features(picture), encoder.outputs_and_features(seen)[1])
    with pytest.raises(TrainingError, match="fit is 'stretch'"):
        make_model(dataclasses.replace(order, fit="stretch"), lambda text: None)  # type: ignore[arg-type]
