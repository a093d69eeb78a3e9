"""One command from labelled pictures to a bundle."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from typing import Any

import numpy as np
import torch

from hashgrain import __version__
from hashgrain.errors import TrainingError
from hashgrain.graphs.heads import with_hasher
from hashgrain.hashers import HASHERS
from hashgrain.learn.backbones import Backbone, build, set_trained
from hashgrain.learn.backbones.lora import merge_lora
from hashgrain.learn.backbones.onnx_backbone import OnnxBackbone
from hashgrain.learn.card import begun_from, write_card
from hashgrain.learn.data.inputs import PictureInputs
from hashgrain.learn.data.labelled import Labelled, load_labelled
from hashgrain.learn.data.notices import notices
from hashgrain.learn.data.part import FILE as MANIFEST
from hashgrain.learn.data.part import TrainingPart, check_labels
from hashgrain.learn.data.splits import hold_out, mislabel
from hashgrain.learn.data.targets import bits_right, names_of, read_targets
from hashgrain.learn.encoders.preprocessing import typed_colors
from hashgrain.learn.export import calibrated, export, missing_words, parity_of, to_onnx
from hashgrain.learn.recipe import Phase, Recipe
from hashgrain.learn.training.begins import begins_facts, begins_message, check_begins, weights_for
from hashgrain.learn.training.freed_memory import keep_freed_memory
from hashgrain.learn.training.heads import build_network, features_of, follow, head_on_features, tuned_head
from hashgrain.learn.training.loop import CHECKPOINT_SECONDS, Training
from hashgrain.learn.training.network import HashHead, HashNetwork
from hashgrain.learn.training.objective import check_aim
from hashgrain.learn.training.processes import this_process
from hashgrain.learn.training.teaching import Teacher
from hashgrain.learn.training.validation import distance_correlation, outputs_of, validate
from hashgrain.models import Bundle, Encoder
from hashgrain.models.description import named
from hashgrain.models.seen import KEY, Seen
from hashgrain.types import Log

IMPORTANCE_FROM = 512  # pictures on which the importance of channels is measured


def train_bundle(
    recipe: Recipe,
    data: Path,
    out: Path,
    run: Path,
    log: Log,
    checkpoint_seconds: float = CHECKPOINT_SECONDS,
    part: TrainingPart | None = None,
) -> dict[str, Any] | None:
    """Train a recipe, or resume its training, and write the bundle to `out`. With `part`, only its pictures are used.

    Returns the facts of the run. With several processes, rank 0 writes the bundle and the others return None.
    """
    process = this_process()
    keep_freed_memory()
    if not process.is_main_process:
        log = _silent
    check_writable(out)
    check_labels(part, bool(recipe.labelled), recipe.name)
    check_begins(recipe)
    if message := begins_message(recipe):
        log(message)
    backbone = build_backbone(recipe)
    _check_plan(recipe, backbone)
    with process.main_process_first():  # the others read its cache
        training, validation, facts = _pictures(recipe, data, run, log, part)
    if part and process.is_main_process:
        log(f"the split is written to {part.manifest.write(run / MANIFEST)}; evaluate by it too")
    facts |= begins_facts(recipe)
    if recipe.hasher:
        bundle, parity = _hashed(recipe, backbone, training, validation, run, log), "its bits are the hasher's"
        facts["validation"] = validate(Encoder(bundle).outputs(validation.inputs), validation, recipe.grains)
    else:
        network = train_network(recipe, backbone, training, validation, run, log, checkpoint_seconds)
        if not process.is_main_process:
            return None
        outputs = outputs_of(network, validation.inputs, recipe.size)[0]
        facts["validation"] = validate(outputs, validation, recipe.grains, separate=recipe.aim.separate)
        bundle, parity = _exported(recipe, network, training, validation, facts)
    if not recipe.labelled:
        facts["validation"]["distance correlation"] = distance_correlation(
            *Encoder(bundle).outputs_and_features(validation.inputs)
        )
    if recipe.aim.targets:
        bundle = dataclasses.replace(bundle, labels={})  # nobody searches for a target code by name
        facts["validation"] |= _bits_right(bundle, validation)
    seen = Seen.of(training.contents.tolist()).described()
    facts_of_it = {**bundle.training, **facts, KEY: seen}
    bundle = dataclasses.replace(bundle, training=facts_of_it, provenance=begun_from(recipe))
    bundle.write(out)
    reasons = missing_words(bundle.words, validation, recipe.grains)
    write_card(out / "card.md", recipe, facts, parity, reasons)
    for reason in reasons:
        log(reason)
    log(f"wrote {out}: {len(bundle.onnx) / 1e6:.1f} MB, {parity}")
    return facts | {"bundle": str(out), "digest": bundle.code_digest, "parity": parity}


def _silent(text: str) -> None:
    """Log from rank 0 only."""


def train_network(
    recipe: Recipe,
    backbone: Backbone,
    training: Labelled,
    validation: Labelled,
    run: Path,
    log: Log,
    checkpoint_seconds: float = CHECKPOINT_SECONDS,
) -> HashNetwork:
    """Train backbone and head as the recipe says; ready for export."""
    if recipe.network.trained == "head" and recipe.tuning:
        log("the backbone is frozen: training only the last step of the recipe, a new head on its features")
        return HashNetwork(backbone, tuned_head(recipe, backbone, training, validation, run / "tuning", log)).eval()
    if recipe.network.trained == "head":
        head = head_on_features(recipe, backbone, training, validation, run, log, checkpoint_seconds)
        return HashNetwork(backbone, head).eval()
    set_trained(backbone, recipe.network.trained, stages=recipe.network.trained_stages)
    network = build_network(recipe, backbone)
    work = Training(network, recipe, training, PictureInputs(training.inputs, recipe.augmentation), validation, run)
    follow(work, log, checkpoint_seconds)
    network = work.finished()
    merge_lora(network.backbone)
    if recipe.pruned:
        network = _pruned(recipe, network, training, validation, run / "pruned", log, checkpoint_seconds)
    if recipe.tuning:
        log("training a new head on the features of the finished backbone")
        network.head = tuned_head(recipe, network.backbone, training, validation, run / "tuning", log)
    return network.eval()


def build_backbone(recipe: Recipe) -> Backbone:
    torch.manual_seed(recipe.seed)
    how = recipe.network
    depths = tuple(range(len(how.channels)))[-len(recipe.grains) :] if how.layered else ()
    return build(
        how.backbone,
        size=recipe.size,
        weights=weights_for(recipe),
        channels=how.channels,
        blocks=how.blocks,
        width=how.width,
        depths=depths,
        mean=typed_colors(how.mean, "mean") if how.mean else None,
        std=typed_colors(how.std, "std") if how.std else None,
        layout=how.layout,
    )


def _pruned(
    recipe: Recipe,
    network: HashNetwork,
    training: Labelled,
    validation: Labelled,
    run: Path,
    log: Log,
    checkpoint_seconds: float,
) -> HashNetwork:
    """Prune the least important channels, then fine-tune for a few epochs at the last size and a lower rate."""
    from hashgrain.learn.training.prune import by_taylor, choose, prune

    some = np.random.default_rng(recipe.seed).permutation(len(training))[:IMPORTANCE_FROM]
    smaller = prune(network, choose(by_taylor(network, training.inputs[np.sort(some)]), 1 - recipe.pruned))
    before, after = (sum(p.numel() for p in each.parameters()) for each in (network, smaller))
    log(f"pruned from {before:,} to {after:,} weights; training on for {recipe.pruned_epochs:g} epochs")
    schedule = dataclasses.replace(
        recipe.schedule,
        phases=(Phase(recipe.pruned_epochs, recipe.schedule.phases[-1].size),),
        learning_rate=recipe.schedule.learning_rate / 4,
        patience=0,
    )
    shorter = dataclasses.replace(recipe, schedule=schedule)
    work = Training(smaller, shorter, training, PictureInputs(training.inputs, recipe.augmentation), validation, run)
    follow(work, log, checkpoint_seconds)
    return work.finished()


def _pictures(
    recipe: Recipe, data: Path, run: Path, log: Log, part: TrainingPart | None
) -> tuple[Labelled, Labelled, dict[str, Any]]:
    log(f"reading the pictures of {data}")
    grains = recipe.labelled[-1:] if recipe.same_labels else recipe.labelled
    labelled = load_labelled(
        data,
        recipe.size,
        grains,
        unlabelled="keep" if recipe.aim.pseudo_labels else "refuse",
        only=part,
        every_level=recipe.every_level,
        targets=_targets(recipe),
        fit=recipe.fit,
        cache=run / "pictures",
    )
    if recipe.same_labels:
        (labels,) = labelled.levels.values()
        labelled = dataclasses.replace(labelled, levels=dict.fromkeys(recipe.labelled, labels))
    for name in labelled.refused:
        log(f"refused: {name}")
    _warn_of_targets(recipe, labelled, data, log)
    training, validation = hold_out(labelled, recipe.held_out, share=bool(recipe.aim.targets))
    for notice in () if recipe.aim.targets else notices(labelled, validation, grains, data):
        log(f"warning: {notice}")
    if len(validation) < 2:
        raise TrainingError(
            f"{len(labelled)} pictures of {data} leave {len(validation)} for validation; bring more, or set held_out="
            " higher"
        )
    flipped = 0
    if recipe.label_noise:
        true = training
        training = mislabel(training, recipe.label_noise, recipe.seed)
        finest = recipe.labelled[-1]
        flipped = int((training.levels[finest].ids != true.levels[finest].ids).any(axis=1).sum())
        log(f"{flipped} of the training labels are made wrong on purpose; those of the validation set are not")
    counts = ", ".join(f"{len(labels.names)} {grain}s" for grain, labels in training.levels.items()) or "no labels"
    log(f"training on {len(training):,} pictures ({counts}); {len(validation):,} are kept for validation")
    facts: dict[str, Any] = {
        "recipe": _plain(recipe),
        "data": {
            "folder": data.name,
            "pictures": len(training),
            "held_out": len(validation),
            "refused": len(labelled.refused),
            "mislabelled": flipped,
            **(part.facts() if part else {}),
        },
        "hashgrain": __version__,
        "torch": torch.__version__.partition("+")[0],
    }
    return training, validation, facts


def _targets(recipe: Recipe) -> list[str] | None:
    if not recipe.aim.targets:
        return None
    return names_of(read_targets(recipe.aim.targets, recipe.grains.bits))


def _warn_of_targets(recipe: Recipe, labelled: Labelled, data: Path, log: Log) -> None:
    """Warn where sets of labels may be target codes: both are rows of zeros and ones."""
    if recipe.aim.loss != "code_regression" or recipe.aim.targets:
        return
    for labels in labelled.levels.values():
        if not labels.single and recipe.grains.bits // 2 < len(labels.names) <= recipe.grains.bits:
            log(
                f"warning: the labels of {data} are read as sets of {len(labels.names)} labels; if they are target"
                " codes, a row of bits for each picture, set targets=labels.npy"
            )


def _bits_right(bundle: Bundle, validation: Labelled) -> dict[str, float]:
    (labels,) = validation.levels.values()
    return {"bits right": bits_right(Encoder(bundle).outputs(validation.inputs), labels.names, labels.only())}


def _hashed(
    recipe: Recipe, backbone: Backbone, training: Labelled, validation: Labelled, run: Path, log: Log
) -> Bundle:
    """A bundle whose bits are fitted to features without gradients."""
    features = features_of(recipe, backbone, training, 1, run, log)[0]
    log(f"fitting {recipe.hasher} on {len(features):,} features of {features.shape[1]} values")
    make: Any = HASHERS[recipe.hasher]
    hasher = make(recipe.grains.bits, **({"seed": recipe.seed} if "seed" in make.__dataclass_fields__ else {}))
    hasher.fit(features)
    if isinstance(backbone, OnnxBackbone):
        graph = _graph_of(recipe, backbone)
    else:
        bare = HashNetwork(backbone, HashHead(backbone.width, 1)).eval()
        size = (recipe.size, recipe.size)
        graph = Bundle(recipe.name, to_onnx(bare, recipe.size), recipe.grains, size, fit=named(recipe.fit))
    made = with_hasher(graph, hasher, recipe.grains, recipe.name, validation.inputs[:64])
    return calibrated(made, validation, training.inputs)


def _exported(
    recipe: Recipe, network: HashNetwork, training: Labelled, validation: Labelled, facts: dict[str, Any]
) -> tuple[Bundle, str]:
    """Export from torch; an ONNX backbone is used as it is, with the trained head appended."""
    if isinstance(network.backbone, OnnxBackbone):
        assert isinstance(network.head, HashHead)
        *dense, last = network.head.projections()
        made = with_hasher(
            _graph_of(recipe, network.backbone), last, recipe.grains, recipe.name, validation.inputs[:64], dense=dense
        )
        bundle = dataclasses.replace(made, training={**made.training, **facts})
        return calibrated(bundle, validation, training.inputs), str(parity_of(network, bundle, validation.inputs))
    bundle, parity = export(
        network, recipe.name, recipe.grains, recipe.size, validation, facts, training.inputs, recipe.fit
    )
    return bundle, str(parity)


def _graph_of(recipe: Recipe, backbone: OnnxBackbone) -> Bundle:
    kind, _, place = recipe.network.backbone.partition(":")
    if kind == "bundle":
        graph = Bundle.read(place)
    else:
        graph = backbone.as_bundle(recipe.name, recipe.grains, recipe.size)
    return dataclasses.replace(graph, fit=named(recipe.fit) if graph.fitted != recipe.fit else graph.fit)


def check_writable(out: Path) -> None:
    """Refuse an output that cannot be written, before hours of training."""
    place = next(parent for parent in (out.absolute(), *out.absolute().parents) if parent.exists())
    if not place.is_dir() or not os.access(place, os.W_OK):
        raise TrainingError(f"the bundle cannot be written to {out}: {place} is not a writable folder")


def _check_plan(recipe: Recipe, backbone: Backbone) -> None:
    """Refuse a recipe that would fail only after the pictures are decoded, or after an hour of training."""
    if recipe.hasher and recipe.hasher not in HASHERS:
        raise TrainingError(f"there is no hasher {recipe.hasher!r}; there are {', '.join(HASHERS)}")
    if not recipe.hasher:
        check_aim(recipe)
    if recipe.aim.teacher:
        Teacher(recipe.aim.teacher, recipe.grains)
    if recipe.network.backbone == "features":
        raise TrainingError(
            "a bundle takes pictures, and given features have none; train a head on them in Python, with"
            " hashgrain.learn.training.heads.train_head, or fit one of hashgrain.hashers"
        )
    phases = recipe.schedule.phases if recipe.network.trained != "head" else ()  # cached features are of one size
    for size in sorted({recipe.size, *(phase.size for phase in phases)}):
        try:
            with torch.no_grad():
                look = backbone.eval().places if recipe.network.concepts else backbone.eval()
                look(torch.zeros(2, 3, size, size))
        except (RuntimeError, ValueError, AssertionError, TypeError) as error:
            raise TrainingError(
                f"backbone {recipe.network.backbone} does not take pictures of {size} px ({error}); change size=, or"
                " take a recipe whose phases have one size"
            ) from None


def _plain(recipe: Recipe) -> dict[str, Any]:
    """The recipe as JSON holds it."""
    return dataclasses.asdict(recipe) | {"grains": dict(recipe.grains)}
