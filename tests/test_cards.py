"""The command on a card makes the model again: every setting that was changed stands in it."""

from __future__ import annotations

import dataclasses
import json
import re
import shlex
import shutil
from pathlib import Path
from typing import Any

import pytest

import in_process
from conftest import Run
from labelled_folder import draw_folder

pytest.importorskip("torch", reason="needs the train extra")
pytest.importorskip("accelerate", reason="needs the train extra")

from hashgrain.learn.command import command_of
from hashgrain.learn.data.own_grains import read_grains, with_grains
from hashgrain.learn.recipe import Recipe, change, with_bits
from hashgrain.learn.recipes import RECIPES

pytestmark = pytest.mark.train
DATA = {"folder": "my pictures"}


def made_by(command: str) -> Recipe:
    """The recipe that the command line comes to."""
    words = shlex.split(command)
    assert words[:6] == ["hashgrain", "train", "--data", "my pictures", "--out", "model"]
    options = list(zip(words[6::2], words[7::2], strict=True))
    (name,) = [value for option, value in options if option == "--recipe"]
    grains = [value for option, value in options if option == "--grains"]
    known = with_grains(RECIPES[name], read_grains(grains[0])) if grains else RECIPES[name]
    recipe = change(known, [value for option, value in options if option == "--set"])
    bits = [value for option, value in options if option == "--bits"]
    return with_bits(recipe, [int(part) for part in bits[0].split(",")]) if bits else recipe


@pytest.mark.parametrize("name", RECIPES)
def test_the_command_comes_to_the_very_recipe(name: str) -> None:
    plain = RECIPES[name]
    bits = [2 * width for width in plain.grains.values()]
    several = ["epochs=7", "size=96", "batch=50", "learning_rate=0.0007", "seed=3", "held_out=7", "weight_decay=0"]
    changes: list[list[str]] = [[], ["epochs=0.5"], ["epochs=7"], ["seed=9"], ["flip=0.25"], several]
    for settings in changes:
        recipe = change(plain, settings)
        for wanted in (recipe, with_bits(recipe, bits)):
            assert made_by(command_of(wanted, DATA, "model")) == wanted, settings


def test_the_command_has_the_settings_of_the_loss_and_of_another_loss() -> None:
    for name, settings in (
        ("default", ["scale=20", "margin=0.3"]),
        ("default", ["loss=csq"]),
        ("csq", ["quantization_weight=0.3"]),
        ("csq", ["hidden=256,64"]),
        ("triplet", ["hidden=", "weights=my weights.safetensors"]),
    ):
        wanted = change(RECIPES[name], settings)
        assert wanted != RECIPES[name]
        assert made_by(command_of(wanted, DATA, "model")) == wanted, settings


def test_grains_of_ones_own_stand_in_the_command() -> None:
    for name, text in (("csq", "order:16,family:32,species:64"), ("default", "a:16,b:32,look:64"), ("csq", "thing:48")):
        wanted = change(with_grains(RECIPES[name], read_grains(text)), ["epochs=3", "seed=8"])
        assert made_by(command_of(wanted, DATA, "model")) == wanted


def test_a_recipe_that_no_command_makes_has_none() -> None:
    csq = RECIPES["csq"]
    assert command_of(dataclasses.replace(csq, name="mine"), DATA, "model") == ""
    assert command_of(dataclasses.replace(csq, augmentation=dataclasses.replace(csq.augmentation)), DATA, "model")
    tuned = dataclasses.replace(csq, tuning=RECIPES["default"].tuning)
    assert command_of(tuned, DATA, "model") == ""


def command_on(card: Path) -> str:
    (command,) = re.findall(r"`hashgrain (train [^`]*)`", card.read_text())
    return str(command)


def test_the_command_of_a_card_rebuilds_the_same_digest(
    hashgrain: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    draw_folder(tmp_path / "pictures", each=8)
    network = ("trained=head", "backbone=bundle:small", "hidden=32")
    settings = (*network, "epochs=2", "batch=16", "held_out=2", "learning_rate=0.004", "seed=5", "loss=dpn")
    sets = [part for setting in settings for part in ("--set", setting)]
    options = "--data pictures --out my-model --recipe csq --protocol folder --bits 16"
    trained = hashgrain("train", *options.split(), *sets)
    assert trained.returncode == 0, trained.stderr.decode()
    command = command_on(tmp_path / "my-model/card.md")
    assert "--protocol folder" in command
    assert "--set epochs=2.0" in command
    again = tmp_path / "again"
    shutil.copytree(tmp_path / "pictures", again / "pictures")
    monkeypatch.chdir(again)
    done = in_process.hashgrain(*shlex.split(command))
    assert done.exit_code == 0, done.stderr
    assert digest_of(again / "my-model") == digest_of(tmp_path / "my-model")


def test_the_command_of_an_adapted_model_rebuilds_the_same_digest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    draw_folder(tmp_path / "pictures", each=8)
    monkeypatch.chdir(tmp_path)
    options = "--data pictures --out mine --recipe adapt --set steps=30 --set label_weight=1.5 --set seed=4"
    first = in_process.hashgrain("train", *options.split(), "--quiet")
    assert first.exit_code == 0, first.stderr
    command = command_on(tmp_path / "mine/card.md")
    assert "--set backbone=bundle:small" in command  # whatever the default is where it is run again
    monkeypatch.setenv("HASHGRAIN_MODEL", "photo")
    again = in_process.hashgrain(*shlex.split(command.replace("--out mine", "--out again")), "--quiet")
    assert again.exit_code == 0, again.stderr
    assert digest_of(tmp_path / "again") == digest_of(tmp_path / "mine")


def digest_of(bundle: Path) -> Any:
    return json.loads((bundle / "model.json").read_text())["code_digest"]
