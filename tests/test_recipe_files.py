"""A recipe comes back from JSON as it was, or an error names the value and what is allowed."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hashgrain.errors import TrainingError
from hashgrain.learn.recipe_file import read_recipe, recipe_of
from hashgrain.learn.recipes import RECIPES

pytest.importorskip("pydantic", reason="needs the train extra")


def plain(name: str = "default") -> dict[str, Any]:
    """As `training.recipe` of model.json has it, through JSON and back."""
    described = dataclasses.asdict(RECIPES[name]) | {"grains": dict(RECIPES[name].grains)}
    found: dict[str, Any] = json.loads(json.dumps(described))
    return found


@pytest.mark.parametrize("name", sorted(RECIPES))
def test_every_recipe_comes_back_from_json_as_it_was(name: str, tmp_path: Path) -> None:
    assert recipe_of(plain(name)) == RECIPES[name]
    for described in (plain(name), {"format": 2, "training": {"recipe": plain(name)}}):
        (tmp_path / "recipe.json").write_text(json.dumps(described))
        assert read_recipe(tmp_path / "recipe.json") == RECIPES[name]


WRONG: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "a number in words": (lambda d: d["schedule"].update(batch="many"), r"schedule\.batch is 'many'; .*integer"),
    "a number past its bounds": (lambda d: d["schedule"].update(batch=1), "batch is 1, and must be 2 or more"),
    "a word there is not": (lambda d: d["network"].update(trained="some"), "network.trained is 'some'; .*'head'"),
    "a fit there is not": (lambda d: d.update(fit="stretch"), "fit is 'stretch'; .*'squash', 'fit' or 'crop'"),
    "a value there is not": (lambda d: d["aim"].update(nose=1), "aim.nose' in a recipe"),
    "none of a value": (lambda d: d.pop("aim"), "there is no aim"),
    "a list of phases that is text": (lambda d: d["schedule"].update(phases="all"), r"schedule\.phases is 'all'"),
    "a setting that is text": (lambda d: d["aim"].update(settings={"margin": "far"}), "margin is 'far'"),
    "grains that are none": (lambda d: d.update(grains={}), "grains"),
    "grains in a list": (lambda d: d.update(grains=[8, 16]), "grains"),
    "a value without end": (lambda d: d.update(size="x" * 100_000), "size is 'x"),
}


@pytest.mark.parametrize("what", WRONG)
def test_a_wrong_value_is_named_with_what_is_allowed(what: str) -> None:
    change, reason = WRONG[what]
    described = plain()
    change(described)
    with pytest.raises(TrainingError, match=reason) as caught:
        recipe_of(described)
    assert len(str(caught.value)) < 600


@pytest.mark.parametrize("text", ["", "{", "[]", "3", "null", "[" * 100_000, "\x00", '{"training": {}}'])
def test_what_is_no_recipe_is_an_error_of_ours(text: str, tmp_path: Path) -> None:
    (tmp_path / "recipe.json").write_text(text)
    with pytest.raises(TrainingError):
        read_recipe(tmp_path / "recipe.json")
    with pytest.raises(TrainingError, match="cannot read"):
        read_recipe(tmp_path / "none.json")


def test_train_takes_a_recipe_from_a_file_and_settings_change_it(tmp_path: Path) -> None:
    from hashgrain.cli.train import chosen_recipe

    path = tmp_path / "neighbour.json"
    path.write_text(json.dumps(plain("csq")))
    assert chosen_recipe(str(path), "", []) == RECIPES["csq"]
    assert chosen_recipe(str(path), "32", ["seed=7"]).seed == 7


def test_seeds_have_runs_of_their_own_and_the_best_one_is_kept(tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="needs the train extra")
    from hashgrain.learn.seeds import best_of, run_folder, seeded

    assert run_folder("csq") == Path("runs/csq")
    assert run_folder("/elsewhere/mine.json") == Path("runs/mine")
    recipe = RECIPES["csq"]
    assert seeded(recipe, 1, Path("r"), Path("o")) == [(recipe, Path("r"), Path("o"))]
    runs = seeded(recipe, 2, tmp_path / "run", tmp_path / "out")
    assert [one.seed for one, _, _ in runs] == [recipe.seed, recipe.seed + 1]
    made = []
    for (one, _, bundle), figure in zip(runs, (0.25, 0.75), strict=True):
        bundle.mkdir(parents=True)
        (bundle / "model.json").write_text(str(one.seed))
        facts = {"thing P@10": figure, "thing mAP": figure}
        made.append({"bundle": str(bundle), "validation": facts, "recipe": {"seed": one.seed}})
    best = best_of(made, tmp_path / "out")
    assert (tmp_path / "out/model.json").read_text() == str(recipe.seed + 1)
    assert best["validation"]["thing mAP"] == 0.5
    assert best["spread"]["thing mAP"] == pytest.approx(0.5**0.5 / 2)
