"""Grains of one's own, by name and depth, from folders to codes, tables and answers; and what cannot be one."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import in_process
from in_process import hashgrain

torch = pytest.importorskip("torch", reason="needs the train extra")
pytest.importorskip("accelerate", reason="needs the train extra")

from hashgrain import Encoder, Library  # noqa: E402
from hashgrain.codes import Grains  # noqa: E402
from hashgrain.errors import TrainingError  # noqa: E402
from hashgrain.learn.data.grain_labels import GrainLabels  # noqa: E402
from hashgrain.learn.data.own_grains import read_grains, with_grains  # noqa: E402
from hashgrain.learn.recipes import RECIPES  # noqa: E402
from hashgrain.learn.training.objective import Objective  # noqa: E402

pytestmark = pytest.mark.train
OWN = "order:8,family:16,species:32"
TINY = ["size=32", "epochs=8", "batch=16", "held_out=3", "channels=8,16,32", "blocks=0,1,0", "width=32"]
SETS = [part for each in TINY for part in ("--set", each)]


def draw_deep(top: Path, each: int = 8, size: int = 32) -> Path:
    """order/family/species/number.png: the color of two orders, the width and the direction of stripes."""
    dice = np.random.default_rng(0)
    for order, color in (("warm", (220, 120, 60)), ("cold", (60, 120, 220))):
        for family, period in (("wide", 16), ("narrow", 4)):
            for species in ("across", "down"):
                place = top / order / family / species
                place.mkdir(parents=True)
                for i in range(each):
                    line = (np.arange(size) + dice.integers(0, 16)) // (period // 2) % 2 * 0.5 + 0.5
                    stripes = np.tile(line[None, :] if species == "across" else line[:, None], (size, 1))[:size, :size]
                    pixels = stripes[:, :, None] * np.array(color) + dice.normal(0, 10, (size, size, 3))
                    Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(place / f"{i}.png")
    return top


@pytest.fixture(scope="module")
def deep(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.set_num_threads(1)
    return draw_deep(tmp_path_factory.mktemp("deep") / "pictures")


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="module")
def trained(deep: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("trained"))
        asked = ("--out", "model", "--recipe", "csq", "--grains", OWN, "--protocol", "folder", *SETS, "-q")
        done = hashgrain("train", "--data", deep, *asked)
        assert done.exit_code == 0, done.output
        yield Path.cwd()


def test_each_grain_learns_its_own_level_of_the_folders(trained: Path) -> None:
    encoder = Encoder.load(trained / "model")
    assert encoder.grains == Grains(order=8, family=16, species=32)
    assert {grain: len(labels) for grain, labels in encoder.bundle.labels.items()} == {
        "order": 2,
        "family": 4,
        "species": 8,
    }
    assert "warm/wide/down" in encoder.bundle.labels["species"]
    found = encoder.bundle.training["validation"]
    assert [name for name in found if name.endswith("mAP")] == ["order mAP", "family mAP", "species mAP"]
    assert found["order mAP"] > 0.8
    assert f"--recipe csq --grains {OWN}" in (trained / "model/card.md").read_text()


def test_an_evaluation_has_a_row_and_a_column_for_each_grain(trained: Path, deep: Path) -> None:
    asked = ("evaluate", trained / "model", "--data", deep, "--references", "none", "-q")
    done = hashgrain(*asked, "--out", trained / "runs/a")
    assert done.exit_code == 0, done.output
    rows = [line.split("\t")[0] for line in done.stdout.splitlines()]
    assert rows[:3] == ["csq, 8 bits: order", "csq, 16 bits: family", "csq, 32 bits: species"]
    (run,) = json.loads(hashgrain(*asked, "--out", trained / "runs/b", "--json").stdout)
    figures = run["rows"][0]["figures"]
    assert [name for name in figures if ": mAP" in name] == ["order: mAP@ALL hash", "family: mAP@ALL hash"]
    assert figures["order: mAP@ALL hash"]["value"] > 0.8
    page = next((trained / "runs/a").rglob("report.html")).read_text()
    assert "order: mAP@ALL hash" in page


def test_a_library_is_searched_by_the_names_level_by_level(trained: Path, deep: Path) -> None:
    done = hashgrain("add", trained / "some.hg", deep, "--model", trained / "model", "-q")
    assert done.exit_code == 0, done.output
    asked = ("search", trained / "some.hg", "--id", 1, "-k", 5, "--json")
    staged = json.loads(hashgrain(*asked, "--stages", "order:20,family:10", "-g", "species").stdout)
    assert {hit["grain"] for hit in staged} == {"species"}
    with Library.open(trained / "some.hg") as library:
        wanted = library.search(1, k=5, grain="species", stages=[("order", 20), ("family", 10)])
    assert [hit["id"] for hit in staged] == [hit.id for hit in wanted]


def test_the_last_grain_of_a_recipe_that_learns_it_without_labels_stays_so() -> None:
    own = with_grains(RECIPES["default"], read_grains("order:16,family:32,species:64,look:128"))
    assert own.labelled == ("order", "family", "species")
    assert own.every_level
    assert with_grains(RECIPES["unsupervised"], read_grains("a:8,b:16")).labelled == ()
    assert not with_grains(RECIPES["levels"], read_grains("a:8,b:16")).every_level  # one label for all
    with pytest.raises(TrainingError, match="2 grains or more"):
        with_grains(RECIPES["default"], read_grains("look:128"))


def test_a_grain_may_be_called_as_a_part_of_torch_is() -> None:
    recipe = with_grains(RECIPES["csq"], read_grains("half:8,type:16"))
    levels = {grain: GrainLabels(("a", "b"), np.zeros((4, 1), np.int32)) for grain in recipe.labelled}
    objective = Objective(recipe, levels, 4)
    assert list(objective.losses) == ["half", "type"]
    total, parts = objective(
        torch.randn(4, 16), torch.randn(4, 4), {grain: torch.eye(2)[[0, 1, 0, 1]] for grain in levels}
    )
    assert torch.isfinite(total)
    assert set(parts) >= {"half", "type"}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("order:32,family:16", "each wider than the one before"),
        ("order:32,family:32", "each wider than the one before"),
        ("order:16,order:32", "'order' is named twice"),
        ("order,family:32", "'order' is no grain"),
        ("order:16,", "'' is no grain"),
        ("order:many", "'order:many' is no grain"),
        ("order:-4", "is no grain"),
        ("two words:16", "not a plain word"),
        ("order:0", "from 1 to"),
        ("order:9999", "from 1 to"),
        ("class:1:2", "is no grain"),
        ("order:8,family:16,species:32,breed:64", "3 levels (cold/narrow/across), and order, family, species, breed"),
    ],
)
def test_grains_that_cannot_be_are_told_before_anything_is_trained(
    text: str, said: str, deep: Path, here: Path
) -> None:
    done = hashgrain("train", "--data", deep, "--out", "model", "--recipe", "csq", "--grains", text, *SETS, "-q")
    in_process.refused(done, "model", said)


def test_folders_of_uneven_depth_and_sets_of_labels_have_no_level_for_each_grain(deep: Path, here: Path) -> None:
    (here / "uneven/warm/wide").mkdir(parents=True)
    (here / "uneven/cold").mkdir(parents=True)
    for at in ("uneven/warm/wide", "uneven/cold"):
        Image.new("RGB", (32, 32)).save(here / at / "1.png")
    asked = ("--out", "model", "--recipe", "csq", "--grains", "order:8,family:16", *SETS, "-q")
    told = in_process.refused(hashgrain("train", "--data", "uneven", *asked), "model", "1 levels (cold)")
    assert "put pictures deeper, or name fewer grains" in told
    (here / "sets").mkdir()
    np.save(here / "sets/images.npy", np.zeros((4, 32, 32, 3), np.uint8))
    np.save(here / "sets/labels.npy", np.eye(4, dtype=np.uint8))
    in_process.refused(hashgrain("train", "--data", "sets", *asked), "model", "sets of labels, which have no levels")


def test_widths_are_given_once(deep: Path, here: Path) -> None:
    both = hashgrain("train", "--data", deep, "--out", "model", "--recipe", "csq", "--grains", OWN, "--bits", "8,16,32")
    in_process.refused(both, "model", "leave --bits out")
