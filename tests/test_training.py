"""The trainer: a resumed run is the same run, what goes wrong is told, nothing is lost, what is exported was learnt."""

from __future__ import annotations

import dataclasses
import errno
import json
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import numpy as np
import pytest

from conftest import make_picture
from labelled_folder import draw_folder

if TYPE_CHECKING:
    from torch import Tensor

torch = pytest.importorskip("torch", reason="needs the train extra")
pytest.importorskip("accelerate", reason="needs the train extra")

from hashgrain import Encoder, Grains  # noqa: E402
from hashgrain.errors import TrainingError  # noqa: E402
from hashgrain.learn.backbones import build  # noqa: E402
from hashgrain.learn.data.grain_labels import GrainLabels  # noqa: E402
from hashgrain.learn.data.inputs import FeatureInputs, PictureInputs  # noqa: E402
from hashgrain.learn.data.labelled import Labelled, load_labelled  # noqa: E402
from hashgrain.learn.data.splits import hold_out  # noqa: E402
from hashgrain.learn.recipe import Aim, Network, Phase, Recipe, Schedule  # noqa: E402
from hashgrain.learn.run import build_backbone, train_bundle, train_network  # noqa: E402
from hashgrain.learn.training import checkpoint  # noqa: E402
from hashgrain.learn.training.heads import LEAST_STEPS, build_head, last_steps, long_enough, train_head  # noqa: E402
from hashgrain.learn.training.loop import (  # noqa: E402
    Learner,
    Training,
    TrainingProgress,
    learning_rate,
    mixed,
    parameter_groups,
    plan,
)
from hashgrain.learn.training.network import HashHead, HashNetwork  # noqa: E402
from hashgrain.learn.training.validation import outputs_of  # noqa: E402
from hashgrain.models.seen import seen_by  # noqa: E402

pytestmark = pytest.mark.train

TINY = Recipe(
    "tiny",
    "for tests",
    grains=Grains(kind=16, thing=32, look=64),
    labelled=("kind", "thing"),
    aim=Aim("ortho_hash", {"scale": 12.0, "margin": 0.1}, classifier_weight=1.0, instance_weight=0.25),
    schedule=Schedule((Phase(30, 32),), batch=16, learning_rate=2e-3),
    size=32,
    network=Network(channels=(8, 16, 32), blocks=(0, 1, 0), width=32),
    views=2,
    held_out=4,
)
ON_FEATURES = dataclasses.replace(
    TINY,
    grains=Grains(thing=16),
    labelled=("thing",),
    aim=Aim("csq"),
    network=Network("features", trained="head"),
    schedule=Schedule((Phase(15, 1),), batch=32),
    views=1,
)
SHORT = dataclasses.replace(TINY, schedule=dataclasses.replace(TINY.schedule, phases=(Phase(4, 32),)))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw_folder(tmp_path_factory.mktemp("labelled"))


@pytest.fixture(scope="module")
def split(folder: Path) -> tuple[Labelled, Labelled]:
    return hold_out(load_labelled(folder, 32, ("kind", "thing")), 4)


def training(recipe: Recipe, split: tuple[Labelled, Labelled], run: Path) -> Training:
    backbone = build_backbone(recipe)
    network = HashNetwork(backbone, build_head(recipe, backbone))
    data, held = split
    return Training(network, recipe, data, PictureInputs(data.inputs, recipe.augmentation), held, run)


def steps(recipe: Recipe, split: tuple[Labelled, Labelled], run: Path, stop: int = 0) -> list[TrainingProgress]:
    """Train, or stop after so many steps as Ctrl-C would."""
    said = []
    for at in training(recipe, split, run).steps(0 if stop else 1000):
        said.append(at)
        if stop and at.step >= stop:
            break
    return said


def test_only_the_last_stages_are_trained(split: tuple[Labelled, Labelled], tmp_path: Path) -> None:
    network = dataclasses.replace(TINY.network, trained="last", trained_stages=2)
    recipe = dataclasses.replace(SHORT, network=network)
    before = build_backbone(recipe)
    made = train_network(recipe, build_backbone(recipe), *split, tmp_path, lambda text: None)
    moved = [not torch.equal(*each) for each in zip(before.parameters(), made.backbone.parameters(), strict=True)]
    stages = [len(stage) for stage in before.stages()]
    assert not any(moved[: -sum(stages[-2:])])
    assert all(moved[-sum(stages[-2:]) :])
    assert len(stages) > 2


def test_stages_that_cannot_be_trained_are_refused(split: tuple[Labelled, Labelled], tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="trained_stages is 0, and must be 1 or more"):
        dataclasses.replace(TINY, network=dataclasses.replace(TINY.network, trained="last", trained_stages=0))
    recipe = dataclasses.replace(SHORT, network=dataclasses.replace(TINY.network, trained="last", trained_stages=9))
    with pytest.raises(TrainingError, match="its last 9 cannot be trained"):
        train_network(recipe, build_backbone(recipe), *split, tmp_path, lambda text: None)


def test_a_resumed_run_takes_the_very_same_steps(
    split: tuple[Labelled, Labelled], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = dataclasses.replace(
        SHORT,
        network=dataclasses.replace(SHORT.network, dropout=0.2),
        schedule=dataclasses.replace(SHORT.schedule, averaging=0.9, mixup=0.4),
    )
    torch.set_num_threads(1)
    monkeypatch.setattr("hashgrain.learn.training.loop.REPORT", 1)
    steps(recipe, split, tmp_path / "whole")
    steps(recipe, split, tmp_path / "stopped", stop=5)
    steps(recipe, split, tmp_path / "stopped")
    whole, stopped = (checkpoint.load(tmp_path / run) for run in ("whole", "stopped"))
    assert whole is not None
    assert stopped is not None
    assert whole["step"] == stopped["step"] == len(plan(recipe, len(split[0])))
    for part in ("network", "objective", "averaged"):
        for name, weights in whole[part].items():
            assert torch.equal(weights, stopped[part][name]), name
    logs = [(tmp_path / run / "log.jsonl").read_text().splitlines() for run in ("whole", "stopped")]
    seen = [[(json.loads(line)["step"], json.loads(line)["loss"]) for line in log] for log in logs]
    assert seen[0] == seen[1]


def test_a_run_of_another_recipe_or_of_changed_labels_is_not_gone_on_with(
    split: tuple[Labelled, Labelled], tmp_path: Path
) -> None:
    data, held = split
    steps(SHORT, split, tmp_path)
    with pytest.raises(TrainingError, match="another recipe"):
        training(dataclasses.replace(SHORT, seed=9), split, tmp_path)
    names, ids = data.levels["thing"].names, data.levels["thing"].ids.copy()
    ids[0] = (ids[0] + 1) % 6
    changed = dataclasses.replace(data, levels={**data.levels, "thing": GrainLabels(names, ids)})
    with pytest.raises(TrainingError, match="labels that have changed"):
        training(SHORT, (changed, held), tmp_path)
    (tmp_path / checkpoint.FILE).write_bytes(b"not a checkpoint")
    with pytest.raises(TrainingError, match="damaged"):
        training(SHORT, split, tmp_path)


def test_a_run_is_not_gone_on_with_when_the_likeness_of_classes_has_changed(
    split: tuple[Labelled, Labelled], tmp_path: Path
) -> None:
    file = tmp_path / "like.npy"
    aim = dataclasses.replace(SHORT.aim, soft_targets=0.5, similarity=str(file))
    recipe = dataclasses.replace(SHORT, aim=aim)
    np.save(file, np.eye(6))
    steps(recipe, split, tmp_path)
    training(recipe, split, tmp_path)  # as it was
    np.save(file, np.eye(6) + 0.1)
    with pytest.raises(TrainingError, match="initial weights"):
        training(recipe, split, tmp_path)


def test_a_loss_that_is_not_a_number_stops_the_run_and_names_the_batch(
    split: tuple[Labelled, Labelled], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hashgrain.learn.training.loop.REPORT", 1)
    steps(SHORT, split, tmp_path, stop=2)
    good = (tmp_path / checkpoint.FILE).read_bytes()
    work = training(SHORT, split, tmp_path)
    with torch.no_grad():
        next(work.plain.parameters()).fill_(float("nan"))
    with pytest.raises(TrainingError, match=r"not a number after step 2.*bad-batch\.txt"):
        list(work.steps(0))
    assert (tmp_path / checkpoint.FILE).read_bytes() == good
    named = (tmp_path / "bad-batch.txt").read_text().split()
    assert len(named) == SHORT.schedule.batch
    assert set(named) <= set(split[0].contents.tolist())


def test_a_full_disk_leaves_the_last_checkpoint(
    split: tuple[Labelled, Labelled], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hashgrain.learn.training.loop.REPORT", 1)
    steps(SHORT, split, tmp_path, stop=2)
    good = (tmp_path / checkpoint.FILE).read_bytes()

    def full(state: object, file: BinaryIO) -> None:
        file.write(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(TrainingError, match=r"No space left on device.*Make room"):
        list(training(SHORT, split, tmp_path).steps(0))
    assert (tmp_path / checkpoint.FILE).read_bytes() == good
    assert not list(tmp_path.glob("*.part"))


def test_where_memory_is_short_batches_are_halved_and_it_is_said(
    split: tuple[Labelled, Labelled], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []
    whole = Learner.forward

    def short(self: Learner, inputs: Tensor, *rest: object) -> object:
        if len(inputs) > 16:
            raise torch.OutOfMemoryError("CUDA out of memory")
        seen.append(len(inputs))
        return whole(self, inputs, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(Learner, "forward", short)
    said = steps(SHORT, split, tmp_path)
    assert seen[:2] == [16, 16]  # 8 pictures twice, for the 16 that were asked for
    assert [at.warning for at in said if at.warning] == [
        "the memory of the device is too small: batches are split into 2 parts"
    ]
    monkeypatch.setattr(Learner, "forward", lambda *given: (_ for _ in ()).throw(torch.OutOfMemoryError("out")))
    with pytest.raises(TrainingError, match="too small for two pictures"):
        steps(SHORT, split, tmp_path / "never")


def test_collapsing_codes_are_told_of(split: tuple[Labelled, Labelled], tmp_path: Path) -> None:
    recipe = dataclasses.replace(TINY, network=dataclasses.replace(TINY.network, normalize=False))
    work = training(recipe, split, tmp_path)
    with torch.no_grad():
        work.plain.network.head.bits.bias.fill_(100.0)  # type: ignore[union-attr]
    said = [at for at in work.steps(1000) if at.warning]
    assert "collapsing" in said[0].warning
    assert "dead" in said[0].warning


def test_training_stops_early_and_keeps_the_best(split: tuple[Labelled, Labelled], tmp_path: Path) -> None:
    schedule = dataclasses.replace(TINY.schedule, phases=(Phase(60, 32),), patience=2, learning_rate=5e-3)
    work = training(dataclasses.replace(TINY, schedule=schedule), split, tmp_path)
    said = [at for at in work.steps(1000) if at.validation]
    scores = [(at.validation["kind mAP"] + at.validation["thing mAP"]) / 2 for at in said if at.validation]  # type: ignore[index]
    assert said[-1].step < said[-1].steps
    assert len(scores) - 1 - int(np.argmax(scores)) == 2
    best = work.finished()
    from hashgrain.learn.training.validation import score, validate

    found = validate(outputs_of(best, split[1].inputs, 32, precision=work.precision)[0], split[1], TINY.grains)
    assert score(found) == pytest.approx(max(scores), abs=1e-3)


def test_the_averaged_weights_are_the_ones_that_are_kept(split: tuple[Labelled, Labelled], tmp_path: Path) -> None:
    schedule = dataclasses.replace(SHORT.schedule, averaging=0.5)
    work = training(dataclasses.replace(SHORT, schedule=schedule), split, tmp_path)
    name = next(iter(dict(work.plain.network.named_parameters())))
    expected = None
    for _ in range(4):
        work._train_once()
        work.step += 1
        now = work.plain.network.get_parameter(name).detach()
        expected = now.clone() if expected is None else expected + 0.5 * (now - expected)
    torch.testing.assert_close(work.finished().get_parameter(name).detach(), expected)
    assert not torch.equal(expected, work.plain.network.get_parameter(name))


def test_everything_the_objective_holds_is_trained(split: tuple[Labelled, Labelled], tmp_path: Path) -> None:
    """A classifier kept inside a loss and left out of the optimizer stays random: it happened to others."""
    recipe = dataclasses.replace(SHORT, aim=Aim("greedy_hash", classifier_weight=1.0))
    work = training(recipe, split, tmp_path)
    before = {name: weights.clone() for name, weights in work.plain.named_parameters()}
    list(work.steps(1000))
    assert any(name.startswith("objective.modules_of_grains.at thing") for name in before)
    assert any(name.startswith("objective.classifier") for name in before)
    unmoved = [name for name, weights in work.plain.named_parameters() if torch.equal(weights, before[name])]
    assert unmoved == []


def test_the_gradient_of_a_step_is_the_mean_over_its_batches(tmp_path: Path) -> None:
    """Of two accumulated batches, and of the halves of one batch where memory is short."""
    data, nothing = clusters(np.random.default_rng(0)), clusters(np.random.default_rng(0)).take(np.arange(0))
    recipe = dataclasses.replace(ON_FEATURES, aim=Aim("code_regression"))

    def begin(name: str, accumulate: int = 1) -> Training:
        torch.manual_seed(1)
        network = HashNetwork(build("features", width=24), HashHead(24, 16, normalize=False))
        schedule = dataclasses.replace(recipe.schedule, accumulate=accumulate)
        inputs = FeatureInputs(data.inputs[None])
        return Training(network, dataclasses.replace(recipe, schedule=schedule), data, inputs, nothing, tmp_path / name)

    def gradient(work: Training) -> Tensor:
        work._gradients()
        return torch.cat([p.grad.flatten() for p in work.plain.parameters() if p.grad is not None])

    first, second = begin("first"), begin("second")
    second._rows = lambda batch: Training._rows(second, batch + 1)  # type: ignore[method-assign]
    parts = [gradient(first), gradient(second)]
    assert not torch.allclose(*parts)
    torch.testing.assert_close(gradient(begin("both", accumulate=2)), sum(parts) / 2)
    halved = begin("halved")
    halved.micro = 2
    torch.testing.assert_close(gradient(halved), parts[0], rtol=0.05, atol=2e-4)  # where bfloat16 is quick, it rounds


def test_the_schedule_warms_up_then_falls_to_zero() -> None:
    rates = [learning_rate(TINY.schedule, step, 1000) for step in range(1000)]
    assert max(rates) == pytest.approx(TINY.schedule.learning_rate)
    assert int(np.argmax(rates)) in range(38, 42)
    assert rates[-1] < TINY.schedule.learning_rate / 1000
    phased = dataclasses.replace(TINY, schedule=dataclasses.replace(TINY.schedule, phases=(Phase(2, 32), Phase(1, 64))))
    assert plan(phased, 320) == [32] * 20 + [64] * 10


def test_norms_and_biases_do_not_decay(split: tuple[Labelled, Labelled], tmp_path: Path) -> None:
    groups = parameter_groups(training(SHORT, split, tmp_path).plain, SHORT.schedule)
    for group in groups:
        assert all((p.ndim > 1) == (group["weight_decay"] > 0) for p in group["params"])


def test_mixed_pictures_have_mixed_labels_in_every_view() -> None:
    inputs = torch.arange(12.0).view(6, 2)
    hot = torch.eye(3).repeat(2, 1)
    shown, truths = mixed(inputs, {"thing": hot}, 2, 1.0, torch.Generator().manual_seed(1))
    assert torch.allclose(truths["thing"].sum(dim=1), torch.ones(6))
    assert torch.equal(truths["thing"][:3], truths["thing"][3:])
    share = float(truths["thing"][0, 0])
    other = int(truths["thing"][0].argsort()[-2]) if share < 1 else 0
    assert torch.allclose(shown[0], share * inputs[0] + (1 - share) * inputs[other])
    assert torch.allclose(shown[3], share * inputs[3] + (1 - share) * inputs[3 + other])


def test_features_come_in_as_many_views_as_are_asked_for() -> None:
    views = np.arange(3 * 5 * 2, dtype=np.float32).reshape(3, 5, 2)
    batch = FeatureInputs(views).batch(np.array([4, 0]), 2, 1, torch.Generator().manual_seed(0), torch.device("cpu"))
    assert batch.shape == (4, 2)
    for first, second, row in zip(batch[:2], batch[2:], (4, 0), strict=True):
        places = [int(np.flatnonzero((views[:, row] == part.numpy()).all(axis=1))[0]) for part in (first, second)]
        assert places[0] != places[1]


def test_pictures_without_labels_get_those_of_their_nearest_codes(tmp_path: Path) -> None:
    """Two of a class are labelled, the rest are not; a guess is made where neighbours agree, and survives a stop."""
    data = clusters(np.random.default_rng(0))
    ids = data.levels["thing"].ids.copy()
    true = ids.copy()
    for label in range(4):
        ids[np.flatnonzero(true == label)[10:]] = -1
    few = dataclasses.replace(data, levels={"thing": GrainLabels(data.levels["thing"].names, ids)})
    recipe = dataclasses.replace(ON_FEATURES, aim=Aim("csq", pseudo_labels=0.8))

    def begin() -> Training:
        torch.manual_seed(1)
        network = HashNetwork(build("features", width=24), HashHead(24, 16))
        return Training(network, recipe, few, FeatureInputs(few.inputs[None]), few.take(np.arange(0)), tmp_path)

    work = begin()
    list(work.steps(1000))
    guessed = work.levels["thing"].ids
    assert np.array_equal(guessed[ids >= 0], ids[ids >= 0])
    filled = (ids < 0) & (guessed >= 0)
    assert filled.sum() == round(work.guessed * (ids < 0).sum()) > 100
    assert (guessed[filled] == true[filled]).mean() > 0.9
    assert np.array_equal(begin().levels["thing"].ids, guessed)


def clusters(dice: np.random.Generator) -> Labelled:
    """400 rows of features around four centers."""
    ids = dice.integers(0, 4, 400)
    features = (dice.normal(0, 1, (4, 24))[ids] + dice.normal(0, 0.7, (400, 24))).astype(np.float32)
    contents = np.array([f"{i:064d}" for i in range(400)])
    return Labelled(features, {"thing": GrainLabels(tuple("abcd"), ids[:, None].astype(np.int32))}, contents)


def test_a_head_on_given_features_learns_in_seconds(tmp_path: Path) -> None:
    learning, held = hold_out(clusters(np.random.default_rng(0)), 20)
    head = train_head(ON_FEATURES, learning.inputs[None], learning, held, tmp_path)
    log = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert log[-1]["validation"]["thing mAP"] > 0.9
    assert log[-1]["loss"] < 0.8 * log[0]["loss"]
    with torch.no_grad():
        outputs = head(torch.from_numpy(learning.inputs))
    torch.testing.assert_close(outputs.mean(dim=0), torch.zeros(16), atol=1e-4, rtol=0)  # each bit on half of the time


def test_the_last_step_trains_the_head_alone_and_keeps_the_grains() -> None:
    from hashgrain.learn.recipes import RECIPES

    labelled, look = last_steps(RECIPES["default"])
    assert {labelled.network.trained, look.network.trained} == {"head"}
    assert dict(labelled.grains) == {"kind": 32, "thing": 64}
    assert (dict(look.grains), look.labelled, look.views) == ({"look": 64}, (), 2)


@pytest.mark.parametrize("pictures", [1, 50, 1000, 70_000])
def test_the_last_step_takes_enough_steps_of_few_pictures_too(pictures: int) -> None:
    from hashgrain.learn.recipes import RECIPES

    for part in last_steps(RECIPES["default"]):
        steps, before = (len(plan(each, pictures)) for each in (long_enough(part, pictures), part))
        assert steps == max(before, LEAST_STEPS)


def test_joined_heads_give_the_bits_of_each() -> None:
    features = torch.randn(50, 12)
    heads = []
    for bits in (3, 5):
        head = HashHead(12, bits)
        head.standardize(features)
        head.settle(features)
        heads.append(head.eval())
    together = HashHead.joined(heads)(features)
    torch.testing.assert_close(together, torch.cat([head(features) for head in heads], dim=1))


def test_what_is_trained_tells_things_apart_and_exports_bit_for_bit(folder: Path, tmp_path: Path) -> None:
    from hashgrain.learn.card import model_card
    from hashgrain.learn.recipes import RECIPES, RETRIEVAL

    fast = dataclasses.replace(
        RETRIEVAL,
        labelled_schedule=dataclasses.replace(RETRIEVAL.labelled_schedule, batch=32),
        look_schedule=dataclasses.replace(RETRIEVAL.look_schedule, batch=32),
    )
    recipe = dataclasses.replace(TINY, tuning=fast, held_out=8)
    said: list[str] = []
    facts = train_bundle(recipe, folder, tmp_path / "model", tmp_path / "run", said.append)
    assert facts is not None
    assert facts["validation"]["kind P@10"] > 0.8  # of held-out pictures; guessing gives a half
    assert facts["validation"]["thing P@10"] > 0.15  # 4 of a thing are in the half that is searched
    encoder = Encoder.load(tmp_path / "model")
    assert encoder.grains == recipe.grains
    assert list(encoder.bundle.words) == ["related"]  # 48 pictures kept out do not tell of the others
    assert set(encoder.bundle.labels["thing"]) == {
        f"{k}/{k}-{t}" for k in ("warm", "cold") for t in ("wide", "middle", "narrow")
    }
    pixels = np.stack([np.asarray(make_picture(i, (32, 32))) for i in range(4)])
    assert encoder.outputs(pixels).shape == (4, 64)
    (record,) = seen_by(encoder.bundle.training)  # of what was learnt from, not of what was kept out
    assert record.pictures == record.holds(load_labelled(folder, 32, ("kind", "thing")).contents.tolist()).sum() == 72
    card = (tmp_path / "model/card.md").read_text()
    assert "72 pictures" in card
    assert "- *same* is never said: 1,128 pairs of the 48 pictures kept out" in card
    assert f"| kind P@10 | {facts['validation']['kind P@10']:g} |" in card
    known = dataclasses.replace(RECIPES["csq"], grains=Grains(thing=48), size=32, held_out=7)
    named = {"hashgrain": "1", "torch": "2", "data": {**facts["data"], "folder": "pictures"}}
    known = dataclasses.replace(known, schedule=dataclasses.replace(known.schedule, phases=(Phase(30, 32),)))
    options = "--data pictures --out mine --recipe csq --bits 48 --set size=32 --set held_out=7"
    assert f"`hashgrain train {options}`" in model_card(known, named, "", "mine")
    assert any("min to go" in line for line in said)
    again: list[str] = []
    train_bundle(recipe, folder, tmp_path / "again", tmp_path / "run", again.append)
    assert (tmp_path / "again/model.onnx").read_bytes() == (tmp_path / "model/model.onnx").read_bytes()
    assert any("features of an earlier run" in line for line in again)


def test_the_trainer_knows_what_it_was_given(split: tuple[Labelled, Labelled], tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="two views"):
        training(dataclasses.replace(SHORT, views=1), split, tmp_path)
    with pytest.raises(TrainingError, match="different pictures"):
        training(dataclasses.replace(SHORT, aim=Aim("bi_half")), split, tmp_path)
    with pytest.raises(TrainingError, match="no loss 'nonsense'"):
        training(dataclasses.replace(SHORT, aim=Aim("nonsense")), split, tmp_path)
    with pytest.raises(TrainingError, match="labelled grains"):
        dataclasses.replace(SHORT, labelled=("thing", "kind"))
    work = training(SHORT, split, tmp_path / "frozen")
    for parameter in work.plain.parameters():
        parameter.requires_grad_(False)
    with pytest.raises(TrainingError, match="nothing of this recipe is trained"):
        parameter_groups(work.plain, SHORT.schedule)
