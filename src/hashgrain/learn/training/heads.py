"""Heads on cached features, and the last step of a training: the same loop, in seconds."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from hashgrain.codes import Grains
from hashgrain.files import writing_atomically
from hashgrain.learn.backbones import Backbone
from hashgrain.learn.backbones.zoo import FeaturesBackbone
from hashgrain.learn.data.class_confusion import learnt_similarities
from hashgrain.learn.data.features import cached_features
from hashgrain.learn.data.inputs import FeatureInputs
from hashgrain.learn.data.labelled import Labelled
from hashgrain.learn.recipe import Recipe
from hashgrain.learn.training.concepts import ConceptHead, Concepts
from hashgrain.learn.training.loop import CHECKPOINT_SECONDS, Training, TrainingProgress
from hashgrain.learn.training.network import HashHead, HashNetwork, LayeredHead
from hashgrain.learn.training.processes import this_process
from hashgrain.learn.training.validation import AT_MOST
from hashgrain.types import Log

LEAST_STEPS = 300  # of optimizer in the last step: on 1,000 pictures its 30 epochs are only 30 steps, far too few


def head_on_features(
    recipe: Recipe,
    backbone: Backbone,
    training: Labelled,
    validation: Labelled,
    run: Path,
    log: Log,
    checkpoint_seconds: float = CHECKPOINT_SECONDS,
) -> HashHead:
    views = features_of(recipe, backbone, training, max(recipe.cached_views, recipe.views), run, log)
    on_features = dataclasses.replace(validation, inputs=features_of(recipe, backbone, validation, 1, run, log)[0])
    return train_head(recipe, views, training, on_features, run, log, checkpoint_seconds)


def tuned_head(
    recipe: Recipe,
    backbone: Backbone,
    training: Labelled,
    validation: Labelled,
    run: Path,
    log: Log = lambda text: None,
) -> HashHead:
    """The last step: a new head on the backbone's features. Its labelled bits and its other bits train separately."""
    assert recipe.tuning is not None
    views = features_of(recipe, backbone, training, recipe.tuning.cached_views, run, log)
    on_features = dataclasses.replace(validation, inputs=features_of(recipe, backbone, validation, 1, run, log)[0])
    heads = []
    for part in (long_enough(part, len(training)) for part in last_steps(recipe)):
        part_training, part_validation = (
            dataclasses.replace(each, levels={grain: each.levels[grain] for grain in part.labelled})
            for each in (training, on_features)
        )
        heads.append(
            train_head(
                part, views[: part.cached_views], part_training, part_validation, run / "-".join(part.grains), log
            )
        )
    return HashHead.joined(heads)


def last_steps(recipe: Recipe) -> list[Recipe]:
    """The recipes of the last step: one for the bits that labels teach, one for the others."""
    how, network = recipe.tuning, dataclasses.replace(recipe.network, trained="head", hidden=(), dropout=0.0)
    assert how is not None
    # The aim of the recipe is dropped with its network: a teacher needs pictures, and there are none here.
    common = dataclasses.replace(recipe, network=network, aim=how.look, tuning=None, pruned=0.0, label_noise=0.0)
    steps, taught = [], 0
    if recipe.labelled:
        taught = recipe.grains[recipe.labelled[-1]]
        labelled = dataclasses.replace(
            common,
            grains=recipe.grains.up_to(recipe.labelled[-1]),
            aim=how.labelled,
            schedule=how.labelled_schedule,
            network=dataclasses.replace(network, dropout=how.dropout),
            views=1,
            cached_views=1,
        )
        steps.append(labelled)
    if taught < recipe.grains.bits:
        look = dataclasses.replace(
            common,
            grains=Grains({recipe.grains.finest: recipe.grains.bits - taught}),
            labelled=(),
            schedule=how.look_schedule,
            views=2,
            cached_views=how.cached_views,
            sampling="shuffled",
        )
        steps.append(look)
    return steps


def long_enough(recipe: Recipe, pictures: int) -> Recipe:
    """The recipe with more epochs, where few pictures would give fewer than LEAST_STEPS steps."""
    schedule = recipe.schedule
    steps = sum(phase.epochs for phase in schedule.phases) * pictures / recipe.shown
    more = max(1.0, LEAST_STEPS / steps)
    phases = tuple(dataclasses.replace(phase, epochs=more * phase.epochs) for phase in schedule.phases)
    return dataclasses.replace(recipe, schedule=dataclasses.replace(schedule, phases=phases))


def train_head(
    recipe: Recipe,
    views: NDArray[np.float32],
    data: Labelled,
    validation: Labelled,
    run: Path,
    log: Log = lambda text: None,
    checkpoint_seconds: float = CHECKPOINT_SECONDS,
) -> HashHead:
    """A head on features (views, n, width) of the pictures of `data`; `held` has features as its inputs."""
    work = head_training(recipe, views, data, validation, run)
    follow(work, log, checkpoint_seconds)
    return settled_head(work)


def head_training(
    recipe: Recipe, views: NDArray[np.float32], data: Labelled, validation: Labelled, run: Path
) -> Training:
    """The training of a head before its first step, for callers that inspect its loss afterwards."""
    if recipe.aim.similarity == "learnt":
        recipe = _with_learnt_similarity(recipe, views[0], data, run)
    torch.manual_seed(recipe.seed)
    width, network = views.shape[-1], recipe.network
    bits = recipe.grains.bits
    head = HashHead(width, bits, network.hidden, normalize=network.normalize, dropout=network.dropout)
    head.standardize(torch.from_numpy(views[0]))
    return Training(HashNetwork(FeaturesBackbone(width), head), recipe, data, FeatureInputs(views), validation, run)


def settled_head(work: Training) -> HashHead:
    """The head of a finished training, with thresholds computed over all training pictures."""
    head = work.finished().head
    assert isinstance(head, HashHead)
    head.settle(torch.from_numpy(work.inputs.plain))
    return head


def _with_learnt_similarity(recipe: Recipe, features: NDArray[np.float32], data: Labelled, run: Path) -> Recipe:
    """The recipe with class similarities estimated from the features: the first stage of SHC."""
    run.mkdir(parents=True, exist_ok=True)
    file = run / "similarity.npy"
    if not file.exists():
        with writing_atomically(file) as out:
            np.save(out, learnt_similarities(torch.from_numpy(features), data.levels[recipe.labelled[-1]]))
    return dataclasses.replace(recipe, aim=dataclasses.replace(recipe.aim, similarity=str(file)))


def build_network(recipe: Recipe, backbone: Backbone) -> HashNetwork:
    """The network of the recipe before its first step."""
    how = recipe.network
    if not how.concepts:
        return HashNetwork(backbone, build_head(recipe, backbone))
    with torch.no_grad():
        width = backbone.eval().places(torch.zeros(2, 3, recipe.size, recipe.size)).shape[2]
    head = ConceptHead(width, how.concepts, recipe.grains.bits, normalize=how.normalize)
    return HashNetwork(backbone, head, Concepts(width, how.concepts))


def build_head(recipe: Recipe, backbone: Backbone) -> HashHead | LayeredHead:
    how = recipe.network
    if how.layered:
        widths = [*recipe.grains.values()]
        own = [wide - narrow for narrow, wide in zip([0, *widths], widths, strict=False)]
        return LayeredHead(backbone.widths, own, normalize=how.normalize)  # type: ignore[arg-type]
    return HashHead(backbone.width, recipe.grains.bits, how.hidden, normalize=how.normalize, dropout=how.dropout)


def features_of(
    recipe: Recipe, backbone: Backbone, data: Labelled, views: int, run: Path, log: Log
) -> NDArray[np.float32]:
    with this_process().main_process_first():
        return cached_features(backbone, data, recipe.size, views, recipe.augmentation, run, log, fit=recipe.fit)


def follow(work: Training, log: Log, checkpoint_seconds: float) -> None:
    if work.step:
        log(f"resuming at step {work.step} of {len(work.sizes)}")
    for at in work.steps(checkpoint_seconds):
        log(progress_line(at))


def progress_line(at: TrainingProgress) -> str:
    """One line on the progress of a training."""
    left = at.seconds / max(1, at.step) * (at.steps - at.step)
    figures = {name: value for name, value in (at.validation or {}).items() if not name.endswith(AT_MOST)}
    shown = "".join(f", {name} {value:.3g}" for name, value in figures.items())  # the "at most" figures never change
    warning = f"; warning: {at.warning}" if at.warning else ""
    return (
        f"step {at.step}/{at.steps}, loss {at.loss:.3f}, {at.pictures_per_second:.0f}/s,"
        f" {left / 60:.0f} min to go{shown}{warning}"
    )
