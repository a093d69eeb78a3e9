"""Training: losses are their formulas, a resumed run is the same run, what is exported is what was trained."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from conftest import Run, make_picture

torch = pytest.importorskip("torch", reason="needs the train extra")
pytest.importorskip("onnx", reason="needs the train extra")

from hashgrain import Encoder, Grains, Library  # noqa: E402
from hashgrain.errors import TrainingError  # noqa: E402
from hashgrain.learn.augment import Augmentation, random_views  # noqa: E402
from hashgrain.learn.data import Labelled, hold_out, load_labelled  # noqa: E402
from hashgrain.learn.losses import (  # noqa: E402
    InstanceContrast,
    NestedCentreLoss,
    SupervisedContrast,
    nested_centres,
    quantisation,
)
from hashgrain.learn.losses.centres import spread_centres  # noqa: E402
from hashgrain.learn.recipes import RECIPES, Phase, change  # noqa: E402
from hashgrain.learn.run import train_bundle  # noqa: E402
from hashgrain.learn.train import NestedLoss, build_network, learning_rate, outputs_of, plan, train  # noqa: E402
from hashgrain.learn.tuning import tune_head  # noqa: E402

pytestmark = pytest.mark.train

TINY = dataclasses.replace(
    RECIPES["quick"],
    grains=Grains(kind=16, thing=32, look=64),
    channels=(8, 16, 16, 32),
    blocks=(0, 0, 1, 0),
    phases=(Phase(30, 32),),
    size=32,
    batch=16,
    held_out=8,
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two kinds of three things each: colour tells the kind, stripes tell the thing."""
    top = tmp_path_factory.mktemp("labelled")
    dice = np.random.default_rng(0)
    for kind, colour in (("warm", (220, 120, 60)), ("cold", (60, 120, 220))):
        for thing, period in (("wide", 16), ("middle", 8), ("narrow", 4)):
            place = top / kind / f"{kind}-{thing}"
            place.mkdir(parents=True)
            for i in range(20):
                stripes = (np.arange(48) + dice.integers(0, 16)) // (period // 2) % 2
                pixels = np.tile(stripes[None, :, None] * 0.5 + 0.5, (48, 1, 1)) * np.array(colour)
                noisy = pixels + dice.normal(0, 12, (48, 48, 3))
                from PIL import Image

                Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(place / f"{i}.png")
    return top


@pytest.fixture(scope="module")
def split(folder: Path) -> tuple[Labelled, Labelled]:
    return hold_out(load_labelled(folder, 32), 4)


def test_folders_are_the_hierarchy(folder: Path) -> None:
    data = load_labelled(folder, 32)
    assert len(data) == 120
    assert data.names["kind"] == ("cold", "warm")
    assert data.names["thing"][0] == "cold/cold-middle"
    assert data.parents().tolist() == [0, 0, 0, 1, 1, 1]


def test_the_split_depends_on_the_pictures_alone(folder: Path) -> None:
    data = load_labelled(folder, 32)
    training, held = hold_out(data, 4)
    assert (len(training), len(held)) == (96, 24)
    assert np.bincount(held.labels["thing"]).tolist() == [4] * 6
    assert not set(training.contents) & set(held.contents)
    order = np.random.default_rng(3).permutation(len(data))
    assert set(hold_out(data.take(order), 4)[1].contents) == set(held.contents)
    with pytest.raises(TrainingError, match="nothing would be left"):
        hold_out(data, 50)


def test_data_that_cannot_teach_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="no folder"):
        load_labelled(tmp_path / "none", 32)
    with pytest.raises(TrainingError, match="no pictures"):
        load_labelled(tmp_path, 32)
    (tmp_path / "one").mkdir()
    make_picture(1).save(tmp_path / "one/a.png")
    (tmp_path / "one/broken.png").write_bytes(b"broken")
    with pytest.raises(TrainingError, match="one thing only"):
        load_labelled(tmp_path, 32)
    make_picture(1).save(tmp_path / "loose.png")
    with pytest.raises(TrainingError, match=r"loose\.png"):
        load_labelled(tmp_path, 32)
    (tmp_path / "train.parquet").write_bytes(b"")
    with pytest.raises(TrainingError, match=r"hierarchy\.json"):
        load_labelled(tmp_path, 32)


def test_pictures_that_cannot_be_opened_are_left_out_and_named(folder: Path, tmp_path: Path) -> None:
    import shutil

    shutil.copytree(folder, tmp_path / "copy")
    (tmp_path / "copy/warm/warm-wide/broken.png").write_bytes(b"broken")
    data = load_labelled(tmp_path / "copy", 32)
    assert (len(data), list(data.refused)) == (120, ["broken.png"])


def test_centres_are_balanced_far_apart_and_nested() -> None:
    centres = spread_centres(40, 32, np.random.default_rng(0))
    assert (centres.sum(axis=1) == 0).all()
    distances = (32 - centres.astype(int) @ centres.T.astype(int)) // 2
    assert distances[~np.eye(40, dtype=bool)].min() >= 8
    parents = np.array([0, 0, 1, 2, 2, 2])
    kinds, things = nested_centres(parents, 3, (16, 48), seed=1)
    assert torch.equal(things[:, :16], kinds[parents])
    assert len(torch.unique(things, dim=0)) == 6
    with pytest.raises(TrainingError, match="do not fit"):
        spread_centres(5, 2, np.random.default_rng(0))


def test_the_centre_loss_is_its_formula() -> None:
    torch.manual_seed(0)
    outputs, labels = torch.randn(7, 24, dtype=torch.double), torch.tensor([0, 1, 2, 3, 0, 1, 2])
    centres = torch.from_numpy(spread_centres(4, 16, np.random.default_rng(0))).double()
    total = 0.0
    for row, label in zip(outputs.numpy()[:, :16], labels.tolist(), strict=True):
        cosines = [float(row @ c / np.linalg.norm(row) / np.linalg.norm(c)) for c in centres.numpy()]
        logits = np.array([5 * (cosine - 0.3 * (i == label)) for i, cosine in enumerate(cosines)])
        total -= logits[label] - np.log(np.exp(logits).sum())
    loss = NestedCentreLoss(centres, scale=5, margin=0.3)
    assert float(loss(outputs, labels)) == pytest.approx(total / 7)
    assert torch.autograd.gradcheck(lambda o: loss(o, labels), outputs.requires_grad_())


def test_the_instance_loss_is_its_formula() -> None:
    torch.manual_seed(0)
    outputs = torch.randn(8, 12, dtype=torch.double)
    rows = outputs.numpy() / np.linalg.norm(outputs.numpy(), axis=1, keepdims=True)
    similar = np.exp(rows @ rows.T / 0.4)
    terms = [similar[i, (i + 4) % 8] / (similar[i].sum() - similar[i, i]) for i in range(8)]
    loss = InstanceContrast(0.4)
    assert float(loss(outputs)) == pytest.approx(-np.log(terms).mean())
    assert torch.autograd.gradcheck(loss, outputs.requires_grad_())


def test_the_supervised_contrast_is_its_formula() -> None:
    torch.manual_seed(0)
    outputs, labels = torch.randn(7, 12, dtype=torch.double), torch.tensor([0, 0, 1, 1, 1, 2, 0])
    rows = outputs.numpy() / np.linalg.norm(outputs.numpy(), axis=1, keepdims=True)
    similar = np.exp(rows @ rows.T / 0.3)
    terms = []
    for i in range(7):
        others = [j for j in range(7) if j != i]
        same = [j for j in others if labels[j] == labels[i]]
        terms.append(np.mean([np.log(similar[i, p] / similar[i, others].sum()) for p in same]) if same else 0.0)
    loss = SupervisedContrast(0.3)
    assert float(loss(outputs, labels)) == pytest.approx(-np.mean(terms))
    assert torch.autograd.gradcheck(lambda o: loss(o, labels), outputs.requires_grad_())


def test_the_quantisation_loss_is_zero_at_bits_and_only_there() -> None:
    assert float(quantisation(torch.tensor([[1.0, -1.0]]))) == 0
    assert float(quantisation(torch.tensor([[0.0, 2.0]]))) == 1


def test_everything_the_loss_holds_is_trained(split: tuple[Labelled, Labelled], tmp_path: Path) -> None:
    """A classifier kept inside a loss and left out of the optimiser stays random: it happened to others."""
    recipe = dataclasses.replace(TINY, phases=(Phase(2, 32),))
    list(train(recipe, *split, tmp_path))
    trained = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
    torch.manual_seed(recipe.seed)
    fresh = NestedLoss(recipe, split[0].parents(), 2)
    assert trained["loss"].keys() == fresh.state_dict().keys()
    optimised = sum(len(group["params"]) for group in trained["optimiser"]["param_groups"])
    assert optimised == len([*build_network(recipe).parameters(), *fresh.parameters()])
    assert len(trained["optimiser"]["state"]) == optimised  # each of them was stepped


def test_views_are_the_seed_s_and_stay_pictures() -> None:
    pixels = torch.from_numpy(np.stack([np.asarray(make_picture(i, (64, 64))) for i in range(6)]))
    for size in (32, 48, 64):
        first, second = (random_views(pixels, size, torch.Generator().manual_seed(5), Augmentation()) for _ in range(2))
        assert first.shape == (6, 3, size, size)
        assert torch.equal(first, second)
        assert 0 <= float(first.min()) <= float(first.max()) <= 1
        other = random_views(pixels, size, torch.Generator().manual_seed(6), Augmentation())
        assert not torch.equal(first, other)


def test_no_augmentation_is_the_picture_itself() -> None:
    still = Augmentation(1.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
    pixels = torch.from_numpy(np.stack([np.asarray(make_picture(i, (64, 64))) for i in range(3)]))
    views = random_views(pixels, 64, torch.Generator().manual_seed(0), still)
    assert torch.allclose(views, pixels.permute(0, 3, 1, 2) / 255, atol=1e-4)


def test_the_schedule_warms_up_then_falls_to_zero() -> None:
    rates = [learning_rate(TINY, step, 1000) for step in range(1000)]
    assert max(rates) == pytest.approx(TINY.learning_rate)
    assert int(np.argmax(rates)) in range(38, 42)
    assert rates[-1] < TINY.learning_rate / 1000
    sizes = plan(dataclasses.replace(TINY, phases=(Phase(2, 32), Phase(1, 64))), 320)
    assert sizes == [32] * 20 + [64] * 10


def test_settings_change_numbers_and_nothing_else() -> None:
    assert change(TINY, ["seed=7", "margin=0.4"]).seed == 7
    for wrong in ("nonsense=3", "seed=many", "name=x", "seed"):
        with pytest.raises(TrainingError, match="--set"):
            change(TINY, [wrong])


def test_a_resumed_run_takes_the_very_same_steps(split: tuple[Labelled, Labelled], tmp_path: Path, monkeypatch) -> None:
    recipe = dataclasses.replace(TINY, phases=(Phase(6, 32),))
    torch.set_num_threads(1)
    list(train(recipe, *split, tmp_path / "whole"))
    monkeypatch.setattr("hashgrain.learn.train.CHECKPOINT_SECONDS", 0)
    for at in train(recipe, *split, tmp_path / "stopped"):
        if at.step >= 4:
            break  # as Ctrl-C would
    list(train(recipe, *split, tmp_path / "stopped"))
    whole, stopped = (torch.load(tmp_path / run / "checkpoint.pt", weights_only=True) for run in ("whole", "stopped"))
    assert whole["step"] == stopped["step"]
    for name, weights in whole["network"].items():
        assert torch.equal(weights, stopped["network"][name]), name
    with pytest.raises(TrainingError, match="another recipe"):
        list(train(dataclasses.replace(recipe, seed=9), *split, tmp_path / "whole"))


def test_a_loss_that_is_not_a_number_stops_the_run(split: tuple[Labelled, Labelled], tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="not a number at step"):
        list(train(dataclasses.replace(TINY, learning_rate=float("inf")), *split, tmp_path))


def test_what_is_trained_tells_things_apart_and_exports_bit_for_bit(folder: Path, tmp_path: Path) -> None:
    said: list[str] = []
    facts = train_bundle(TINY, folder, tmp_path / "model", tmp_path / "run", said.append)
    assert facts["validation"]["kind P@10"] > 0.8  # of 48 held-out pictures; guessing gives a half
    assert facts["validation"]["thing P@10"] > 0.25  # about 4 of a thing are in the half that is searched
    assert facts["parity"]["bits_differing"] == 0
    encoder = Encoder.load(tmp_path / "model")
    assert encoder.grains == TINY.grains
    network = build_network(TINY)
    network.load_state_dict(torch.load(tmp_path / "run/checkpoint.pt", weights_only=True)["network"])
    training, _ = hold_out(load_labelled(folder, 32), TINY.held_out)
    features = torch.from_numpy(outputs_of(network, training.pixels, 32)[1])
    untuned = outputs_of(network, training.pixels, 32)[0]
    tune_head(network, features, training, TINY)
    tuned = outputs_of(network, training.pixels, 32)[0]
    assert np.array_equal(tuned[:, 32:], untuned[:, 32:])  # the bits of look alone stay
    np.testing.assert_allclose(tuned[:, :32].mean(axis=0), 0, atol=1e-3)
    pixels = np.stack([np.asarray(make_picture(i, (32, 32))) for i in range(40)])
    for found, expected in zip(encoder.outputs_and_features(pixels), outputs_of(network, pixels, 32), strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-4)
    lines = [json.loads(line) for line in (tmp_path / "run/log.jsonl").read_text().splitlines()]
    assert lines[-1]["loss"] < lines[0]["loss"]
    words = encoder.bundle.words
    assert list(words) == ["same", "near", "related"]


def test_the_command_trains_a_model_that_can_be_used(hashgrain: Run, folder: Path, tmp_path: Path) -> None:
    settings = [argument for pair in ("batch=16", "held_out=3") for argument in ("--set", pair)]
    trained = hashgrain("train", "--data", folder, "--out", "model", "--recipe", "quick", *settings)
    assert trained.returncode == 0, trained.stderr
    assert "validation" in json.loads(trained.stdout)
    added = hashgrain("add", "own.hg", folder, "--model", "model")
    assert added.returncode == 0, added.stderr
    with Library.open(tmp_path / "own.hg") as library:
        assert library.bundle.name == "quick"
        assert len(library) == 120
    refused = hashgrain("train", "--data", folder, "--out", "model", "--recipe", "nonsense")
    assert (refused.returncode, b"default, quick" in refused.stderr) == (1, True)
