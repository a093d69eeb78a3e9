"""Recipes: every one of them learns a batch by heart, is changed by name, and goes from `train` to `search`."""

from __future__ import annotations

import dataclasses
import itertools
import json
import re
from pathlib import Path

import numpy as np
import pytest

from conftest import Run
from labelled_folder import draw_folder

torch = pytest.importorskip("torch", reason="needs the train extra")
pytest.importorskip("accelerate", reason="needs the train extra")

from hashgrain import Encoder, Grains, Library  # noqa: E402
from hashgrain.errors import TrainingError  # noqa: E402
from hashgrain.learn.data.augment import Augmentation  # noqa: E402
from hashgrain.learn.data.inputs import PictureInputs  # noqa: E402
from hashgrain.learn.data.labelled import Labelled, load_labelled  # noqa: E402
from hashgrain.learn.losses import LOSSES  # noqa: E402
from hashgrain.learn.recipe import Phase, Recipe, change, changeable, settings_of, with_bits  # noqa: E402
from hashgrain.learn.recipes import METHODS, RECIPES  # noqa: E402
from hashgrain.learn.run import build_backbone  # noqa: E402
from hashgrain.learn.training.heads import build_head, build_network  # noqa: E402
from hashgrain.learn.training.loop import Training  # noqa: E402

pytestmark = pytest.mark.train
TRAINED = [recipe for recipe in RECIPES.values() if not recipe.hasher]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw_folder(tmp_path_factory.mktemp("labelled"), each=12)


def test_every_loss_has_a_recipe_and_every_recipe_a_line() -> None:
    assert {recipe.aim.loss for recipe in TRAINED} == set(LOSSES)
    for name, recipe in RECIPES.items():
        assert recipe.name == name
        assert 10 < len(recipe.about) < 120
        if recipe.hasher:
            continue
        loss = LOSSES[recipe.aim.loss]
        assert loss.unsupervised == (not recipe.labelled)
        assert loss.views in (0, recipe.views)


@pytest.mark.parametrize("recipe", TRAINED, ids=lambda recipe: recipe.name)
def test_a_recipe_learns_one_batch_by_heart(recipe: Recipe, folder: Path, tmp_path: Path) -> None:
    """The loss falls on 24 pictures that are seen again and again, as they are; on a small network."""
    torch.set_num_threads(1)
    data = load_labelled(folder, 32, recipe.labelled)
    some = np.arange(0, len(data), 3)[:24]
    few = data.take(some)
    small = dataclasses.replace(
        recipe,
        size=32,
        network=dataclasses.replace(
            recipe.network,
            backbone="compact",
            weights="",
            channels=(8, 16, 32),
            blocks=(0, 1, 0),
            width=48,
            trained="all",
        ),
        schedule=dataclasses.replace(
            recipe.schedule, phases=(Phase(60 * recipe.views, 32),), batch=24, learning_rate=2e-3, warm_up=0.0
        ),
        augmentation=Augmentation.none(),
        aim=dataclasses.replace(recipe.aim, similarity=""),
        sampling="shuffled",
        tuning=None,
    )
    backbone = build_backbone(small)
    network = build_network(small, backbone)
    nothing = Labelled(few.inputs[:0], {}, few.contents[:0])
    work = Training(network, small, few, PictureInputs(few.inputs, small.augmentation), nothing, tmp_path)
    first, _ = work._gradients()
    work.optimizer.zero_grad()
    assert np.isfinite([at.loss for at in work.steps(1000)]).all()
    work.step = 0
    last, _ = work._gradients()
    assert last < first - 0.05 * abs(first)


def test_settings_change_what_they_name() -> None:
    recipe = RECIPES["default"]
    assert change(recipe, ["seed=7"]).seed == 7
    assert change(recipe, ["learning_rate=0.5"]).schedule.learning_rate == 0.5
    assert change(recipe, ["classifier_weight=0"]).aim.classifier_weight == 0
    assert change(recipe, ["scale=20"]).aim.settings["scale"] == 20.0
    assert change(RECIPES["csq"], ["quantization_form=cubic"]).aim.quantization_form == "cubic"
    assert change(RECIPES["csq"], ["hidden=64,32"]).network.hidden == (64, 32)
    assert change(recipe, ["normalize=no"]).network.normalize is False
    assert change(recipe, ["trained=head", "backbone=bundle:default"]).network == dataclasses.replace(
        recipe.network, trained="head", backbone="bundle:default"
    )
    assert change(RECIPES["pretrained"], ["trained_stages=2", "trained=last"]).network.trained_stages == 2
    halved = change(recipe, ["epochs=24"])
    assert sum(phase.epochs for phase in halved.schedule.phases) == pytest.approx(24)
    smaller = change(RECIPES["triplet"], ["size=64"])
    assert (smaller.size, smaller.schedule.phases[0].size) == (64, 64)
    for wrong in ("nonsense=3", "seed=many", "name=x", "seed", "size=3", "normalize=perhaps"):
        with pytest.raises(TrainingError, match=r"^(setting|recipe) "):
            change(recipe, [wrong])
    assert {"seed", "scale", "margin", "batch", "trained", "smallest_crop"} <= set(changeable(recipe))


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("default", ["backbone=bundle:default", "trained=head", "held_out=3"]),  # one without the other is refused
        ("csq", ["loss=ortho_hash", "margin=0.5", "seed=4"]),  # which the loss before has not
        ("dpsh", ["loss=csq", "weight_decay=0.1", "epochs=3"]),
        ("default", ["size=96", "epochs=12", "batch=32"]),
        ("csq", ["soft_targets=0.3", "classifier_weight=1", "similarity=x.npy"]),
    ],
)
def test_settings_may_stand_in_any_order(name: str, settings: list[str]) -> None:
    made = [change(RECIPES[name], order) for order in itertools.permutations(settings)]
    assert all(each == made[0] for each in made)
    assert made[0] != RECIPES[name]


def test_british_spellings_are_taken_with_a_warning(capsys: pytest.CaptureFixture[str]) -> None:
    from hashgrain.cli.train import chosen_recipe

    assert chosen_recipe("csq", "", ["normalise=no", "grey=0.2"]) == chosen_recipe(
        "csq", "", ["normalize=no", "gray=0.2"]
    )
    assert chosen_recipe("neighbour-contrast", "", []) == RECIPES["neighbor-contrast"]
    assert chosen_recipe("csq", "", ["loss=neighbour_contrast"]).aim.loss == "neighbor_contrast"
    said = capsys.readouterr().err.splitlines()
    assert said[0] == "warning: normalise is spelled normalize now; the next version no longer takes normalise"
    assert len(said) == 4


def test_another_loss_leaves_the_settings_of_the_one_before_behind() -> None:
    assert change(RECIPES["default"], ["loss=csq"]).aim.settings.keys() <= settings_of("csq").keys()


def test_of_a_setting_given_twice_the_later_one_counts() -> None:
    assert change(RECIPES["csq"], ["seed=3", "epochs=1", "seed=4"]) == change(RECIPES["csq"], ["epochs=1", "seed=4"])
    assert change(RECIPES["csq"], ["size=96", "size=48"]) == change(RECIPES["csq"], ["size=48"])


def test_no_setting_has_two_meanings() -> None:
    recipe = RECIPES["default"]
    names = [
        field.name
        for part in (recipe, recipe.schedule, recipe.aim, recipe.network, recipe.augmentation)
        for field in dataclasses.fields(part)
    ]
    assert len(names) == len(set(names))
    for loss in LOSSES:
        assert set(settings_of(loss)) & set(names) <= {"seed"}, loss  # which is the recipe's, always


def test_widths_are_one_a_grain() -> None:
    assert dict(with_bits(RECIPES["default"], [8, 16, 32]).grains) == {"kind": 8, "thing": 16, "look": 32}
    assert dict(with_bits(RECIPES["csq"], [48]).grains) == {"thing": 48}
    for wrong in ([64], [64, 32, 16], [0, 1, 2]):
        with pytest.raises(TrainingError, match=r"^bits "):
            with_bits(RECIPES["default"], wrong)


def test_the_recipes_are_listed_and_told_of(hashgrain: Run) -> None:
    listed = hashgrain("recipes")
    assert listed.returncode == 0, listed.stderr
    assert {line.split(b"\t")[0].decode() for line in listed.stdout.splitlines()} == {*RECIPES, "adapt", "photo"}
    one = json.loads(hashgrain("recipes", "csq", "--json").stdout)
    assert one["grains"] == {"thing": 64}
    assert one["values"]["learning_rate"] == RECIPES["csq"].schedule.learning_rate
    adapt = json.loads(hashgrain("recipes", "adapt", "--json").stdout)
    assert adapt["values"]["backbone"] == "bundle:default"
    wrong = hashgrain("recipes", "defualt")
    assert (wrong.returncode, b"default" in wrong.stderr) == (1, True)


def test_the_command_trains_a_model_that_can_be_used(hashgrain: Run, folder: Path, tmp_path: Path) -> None:
    command = [
        "train",
        "--data",
        folder,
        "--out",
        "model",
        "--recipe",
        "quick",
        "--set",
        "batch=8",
        "--set",
        "held_out=3",
    ]
    trained = hashgrain(*command, "--json")
    assert trained.returncode == 0, trained.stderr
    assert json.loads(trained.stdout)["validation"]["kind P@10"] > 0.4  # of 9 pictures, 4 or 5 are of the kind
    curves = (tmp_path / "runs/quick/curves.html").read_text()  # of the network, and of the last step in two parts
    assert curves.count("<figure") == 3 + 3 + 2
    assert re.findall("<h2>(.*?)</h2>", curves) == ["tuning/kind-thing", "tuning/look"]
    assert (tmp_path / "model/card.md").exists()
    added = hashgrain("add", "own.hg", folder, "--model", "model")
    assert added.returncode == 0, added.stderr
    with Library.open(tmp_path / "own.hg") as library:
        assert library.bundle.name == "quick"
        assert len(library) == 72
    refused = hashgrain("train", "--data", folder, "--out", "model", "--recipe", "nonsense")
    assert (refused.returncode, b"hashgrain recipes" in refused.stderr) == (1, True)


def test_several_seeds_give_a_mean_a_spread_and_the_best(hashgrain: Run, folder: Path, tmp_path: Path) -> None:
    settings = ["batch=16", "held_out=3", "epochs=2", "size=32"]
    command = ["train", "--data", folder, "--out", "model", "--recipe", "csq", "--bits", "16", "--seeds", "2", "--json"]
    trained = hashgrain(*command, *(part for setting in settings for part in ("--set", setting)))
    assert trained.returncode == 0, trained.stderr
    facts = json.loads(trained.stdout)
    each = [found["thing mAP"] for found in facts["seeds"].values()]
    assert facts["validation"]["thing mAP"] == pytest.approx(np.mean(each))
    assert facts["spread"]["thing mAP"] == pytest.approx(np.std(each, ddof=1))
    best = max(facts["seeds"], key=lambda seed: facts["seeds"][seed]["thing mAP"])
    assert (tmp_path / "model/model.onnx").read_bytes() == (
        tmp_path / f"runs/csq/seed{best}/model/model.onnx"
    ).read_bytes()


SYSTEMS = {
    "label-codes": ["size=64", "epochs=1", "backbone=timm:resnet18"],
    "coarse-fine": ["epochs=2"],
    "triplet": ["size=64", "epochs=1", "batch=32"],
    "resnet-lsh": ["size=64", "backbone=timm:resnet18", "weights=random"],
    "levels": ["size=64", "epochs=2"],
}


@pytest.mark.parametrize("name", SYSTEMS)
def test_a_system_goes_from_train_to_search(name: str, hashgrain: Run, folder: Path, tmp_path: Path) -> None:
    """ResNet-18 stands for ResNet-50, and small pictures for large ones, to be done in seconds."""
    settings = [part for setting in [*SYSTEMS[name], "held_out=3"] for part in ("--set", setting)]
    trained = hashgrain("train", "--data", folder, "--out", "model", "--recipe", name, *settings)
    assert trained.returncode == 0, trained.stderr
    assert dict(Encoder.load(tmp_path / "model").grains) == dict(RECIPES[name].grains)
    assert hashgrain("add", "own.hg", folder, "--model", "model").returncode == 0
    query = next(folder.rglob("0.png"))
    for grain in RECIPES[name].grains:
        found = hashgrain("search", "own.hg", query, "--grain", grain, "-k", "3", "--json")
        assert found.returncode == 0, found.stderr
        hits = json.loads(found.stdout)
        assert len(hits["hits"] if isinstance(hits, dict) else hits) == 3


def test_bits_of_three_depths_are_three_prefixes(folder: Path) -> None:
    recipe = change(RECIPES["levels"], ["size=32"])
    backbone = build_backbone(recipe)
    head = build_head(recipe, backbone)
    pixels = torch.rand(4, 3, 32, 32)
    features = backbone(pixels)
    outputs = head(features)
    assert outputs.shape == (4, 48)
    deepest = features[:, -backbone.widths[-1] :]  # type: ignore[index,operator]
    torch.testing.assert_close(outputs[:, :16], head.heads[0](deepest))  # type: ignore[union-attr,operator]


def test_a_teacher_is_imitated_and_must_have_the_same_grains(folder: Path, tmp_path: Path) -> None:
    from hashgrain.learn.training.teaching import Teacher

    teacher = Teacher("default", Encoder.load().grains)
    pixels = np.random.default_rng(0).integers(0, 256, (3, 64, 64, 3), np.uint8)
    views = torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255
    np.testing.assert_allclose(teacher(views).numpy(), Encoder.load().outputs(pixels), atol=1e-4)
    assert teacher(views[:, :, ::2, ::2]).shape == (3, 128)
    with pytest.raises(TrainingError, match="they must be the same"):
        Teacher("default", RECIPES["csq"].grains)


def test_a_pruned_student_of_a_teacher_gets_its_last_step_too(hashgrain: Run, folder: Path, tmp_path: Path) -> None:
    settings = ["teacher=default", "pruned=0.5", "pruned_epochs=1", "epochs=2", "batch=16", "held_out=3"]
    changes = [part for setting in settings for part in ("--set", setting)]
    trained = hashgrain("train", "--data", folder, "--out", "model", "--recipe", "quick", *changes)
    assert trained.returncode == 0, trained.stderr
    assert b"pruned from" in trained.stderr
    logs = [(tmp_path / "runs/quick" / at / "log.jsonl").read_text() for at in ("", "pruned", "tuning/kind-thing")]
    assert ["teacher" in json.loads(log.splitlines()[0])["parts"] for log in logs] == [True, True, False]
    assert Encoder.load(tmp_path / "model").grains == Encoder.load().grains


def test_a_head_alone_of_a_recipe_with_a_last_step_is_that_last_step(
    hashgrain: Run, folder: Path, tmp_path: Path
) -> None:
    changes = [part for each in ("trained=head", "backbone=bundle:small", "held_out=3") for part in ("--set", each)]
    trained = hashgrain("train", "--data", folder, "--out", "model", "--recipe", "default", *changes)
    assert trained.returncode == 0, trained.stderr
    assert b"the backbone is frozen" in trained.stderr
    assert sorted(path.parent.name for path in (tmp_path / "runs/default").rglob("log.jsonl")) == ["kind-thing", "look"]
    made, before = Encoder.load(tmp_path / "model"), Encoder.load()
    assert made.grains == before.grains
    pixels = np.random.default_rng(0).integers(0, 256, (4, 64, 64, 3), np.uint8)
    outputs, features = made.outputs_and_features(pixels)
    np.testing.assert_allclose(features, before.outputs_and_features(pixels)[1], atol=1e-4)
    assert (np.sign(outputs) != np.sign(before.outputs(pixels))).any()


@pytest.mark.parametrize("hidden", [(), (24, 16)])
def test_a_head_behind_a_bundle_is_the_head_that_was_trained(hidden: tuple[int, ...]) -> None:
    from hashgrain.graphs.heads import with_hasher
    from hashgrain.learn.training.network import HashHead

    encoder = Encoder.load()
    pixels = np.random.default_rng(0).integers(0, 256, (8, 64, 64, 3), np.uint8)
    features = torch.from_numpy(encoder.outputs_and_features(pixels)[1])
    head = HashHead(features.shape[1], 48, hidden, dropout=0.3).eval()
    head.standardize(features)
    head.settle(features)
    *dense, last = head.projections()
    made = with_hasher(encoder.bundle, last, Grains(look=48), "made", pixels, dense=dense)
    with torch.no_grad():
        np.testing.assert_allclose(Encoder(made).outputs(pixels), head(features).numpy(), atol=1e-3)


def test_one_class_only_cannot_be_trained(hashgrain: Run, folder: Path) -> None:
    one = hashgrain("train", "--data", folder / "warm/warm-wide", "--out", "model", "--recipe", "quick")
    assert one.returncode == 1
    assert b"Traceback" not in one.stderr


def test_a_method_says_which_head_it_takes_and_takes_the_one_it_says() -> None:
    """Published with free outputs: a head that normalizes each bit spoils losses of inner products."""
    for recipe in METHODS:
        if recipe.labelled:
            head = "normalized" if recipe.network.normalize else "plain"
            assert recipe.about.endswith(f"; {head} head"), recipe.name
    plain = {recipe.name for recipe in METHODS if not recipe.network.normalize}
    assert {"dsh", "dpsh", "dhn", "hashnet", "dch", "dtsh", "idhn", "greedy-hash", "csq", "dpn", "dsdh"} <= plain
    assert not {"ortho-hash", "distance-preserving"} & plain


def test_products_of_pairs_do_not_grow_with_the_bits() -> None:
    """Codes twice as long, each bit there twice, are as likely alike: trap of 1 / 2 at any width."""
    for name in ("dpsh", "dhn", "dsdh", "dtsh"):
        assert RECIPES[name].aim.settings["odds"] == 4
    outputs = torch.randn(6, 16, generator=torch.Generator().manual_seed(0))
    labels = torch.eye(3).repeat(2, 1)
    for loss in ("dpsh", "dhn", "dtsh", "dfh"):
        short, long = (LOSSES[loss](bits, 3, odds=4.0)(outputs.repeat(1, bits // 16), labels) for bits in (16, 32))
        assert long.item() == pytest.approx(short.item(), rel=1e-5), loss
        short, long = (LOSSES[loss](bits, 3)(outputs.repeat(1, bits // 16), labels) for bits in (16, 32))
        assert long.item() != pytest.approx(short.item(), rel=1e-2), loss
    discrete = {bits: LOSSES["dsdh"](bits, 3, odds=4.0, classification=0.0) for bits in (16, 32)}
    short, long = (loss(outputs.repeat(1, bits // 16), labels).item() for bits, loss in discrete.items())
    assert long == pytest.approx(short, rel=1e-5)
    published = LOSSES["dpsh"](16, 3)(outputs, labels).item()
    assert published == pytest.approx(LOSSES["dpsh"](16, 3, odds=8.0)(outputs, labels).item())
