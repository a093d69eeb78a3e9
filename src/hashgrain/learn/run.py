"""One command from labelled pictures to a bundle."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import PartialState
from numpy.typing import NDArray

from hashgrain import __version__
from hashgrain.codes import Grains
from hashgrain.encoder import Bundle, Encoder
from hashgrain.errors import TrainingError
from hashgrain.hashers import HASHERS
from hashgrain.learn.backbones import Backbone, build, set_trained
from hashgrain.learn.backbones.lora import merge_lora
from hashgrain.learn.backbones.onnx_backbone import OnnxBackbone
from hashgrain.learn.backbones.zoo import FeaturesBackbone
from hashgrain.learn.card import write_card
from hashgrain.learn.data import Labelled, hold_out, load_labelled, lonely_classes, mislabel
from hashgrain.learn.export import calibrated, export, parity_of, to_onnx
from hashgrain.learn.features import cached_features
from hashgrain.learn.graph_heads import with_hasher
from hashgrain.learn.inputs import Features, Pictures
from hashgrain.learn.network import HashHead, HashNetwork, LayeredHead
from hashgrain.learn.objective import check_aim
from hashgrain.learn.recipe import Phase, Recipe
from hashgrain.learn.teaching import Teacher
from hashgrain.learn.train import CHECKPOINT_SECONDS, Progress, Training
from hashgrain.learn.validation import outputs_of, validate

Say = Callable[[str], None]
IMPORTANCE_FROM = 512  # pictures that tell which channels matter


def train_bundle(
    recipe: Recipe, data: Path, out: Path, run: Path, say: Say, checkpoint_seconds: float = CHECKPOINT_SECONDS
) -> dict[str, Any]:
    """Train (or go on with) a recipe, and write the bundle to `out`. Returns the facts of the run."""
    process = PartialState()
    _check_writable(out)
    backbone = build_backbone(recipe)
    _check_plan(recipe, backbone)
    with process.main_process_first():  # the others find what it decoded
        training, held, facts = _pictures(recipe, data, run, say)
    if recipe.hasher:
        bundle, parity = _hashed(recipe, backbone, training, held, run, say), "its bits are the hasher's"
        facts["validation"] = validate(Encoder(bundle).outputs(held.inputs), held, recipe.grains)
    else:
        network = train_network(recipe, backbone, training, held, run, say, checkpoint_seconds)
        if not process.is_main_process:
            return facts
        facts["validation"] = validate(outputs_of(network, held.inputs, recipe.size)[0], held, recipe.grains)
        bundle, parity = _exported(recipe, network, held, facts)
    bundle = dataclasses.replace(bundle, training={**bundle.training, **facts})
    bundle.write(out)
    write_card(out / "card.md", recipe, facts, parity)
    say(f"wrote {out}: {len(bundle.onnx) / 1e6:.1f} MB, {parity}")
    return facts | {"bundle": str(out), "digest": bundle.digest, "parity": parity}


def train_network(
    recipe: Recipe,
    backbone: Backbone,
    training: Labelled,
    held: Labelled,
    run: Path,
    say: Say,
    checkpoint_seconds: float = CHECKPOINT_SECONDS,
) -> HashNetwork:
    """Backbone and head, trained as the recipe has it, ready for export."""
    if recipe.network.trained == "head":
        head = _head_on_features(recipe, backbone, training, held, run, say, checkpoint_seconds)
        return HashNetwork(backbone, head).eval()
    set_trained(backbone, recipe.network.trained)
    network = HashNetwork(backbone, build_head(recipe, backbone))
    work = Training(network, recipe, training, Pictures(training.inputs, recipe.augmentation), held, run)
    _tell(work, say, checkpoint_seconds)
    network = work.finished()
    merge_lora(network.backbone)
    if recipe.pruned:
        network = _pruned(recipe, network, training, held, run / "pruned", say, checkpoint_seconds)
    if recipe.tuning:
        say("a new head on the features of the finished backbone")
        network.head = tuned_head(recipe, network.backbone, training, held, run / "tuning", say)
    return network.eval()


def tuned_head(
    recipe: Recipe, backbone: Backbone, training: Labelled, held: Labelled, run: Path, say: Say = lambda text: None
) -> HashHead:
    """The last step: a new head on the backbone's features, the labelled bits and the others trained apart."""
    assert recipe.tuning is not None
    views = _features(recipe, backbone, training, recipe.tuning.cached_views, run, say)
    seen = dataclasses.replace(held, inputs=_features(recipe, backbone, held, 1, run, say)[0])
    heads = []
    for part in last_steps(recipe):
        learnt, kept = (
            dataclasses.replace(each, levels={grain: each.levels[grain] for grain in part.labelled})
            for each in (training, seen)
        )
        heads.append(train_head(part, views[: part.cached_views], learnt, kept, run / "-".join(part.grains), say))
    return HashHead.joined(heads)


def last_steps(recipe: Recipe) -> list[Recipe]:
    """The recipes of the last step: of the bits that labels teach, and of those that they do not."""
    how, network = recipe.tuning, dataclasses.replace(recipe.network, trained="head", hidden=(), dropout=0.0)
    assert how is not None
    common = dataclasses.replace(recipe, network=network, tuning=None, pruned=0.0, label_noise=0.0)
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
            aim=how.look,
            schedule=how.look_schedule,
            views=2,
            cached_views=how.cached_views,
            sampling="shuffled",
        )
        steps.append(look)
    return steps


def train_head(
    recipe: Recipe,
    views: NDArray[np.float32],
    data: Labelled,
    held: Labelled,
    run: Path,
    say: Say = lambda text: None,
    checkpoint_seconds: float = CHECKPOINT_SECONDS,
) -> HashHead:
    """A head on features (views, n, width) of the pictures of `data`; `held` has features as its inputs."""
    torch.manual_seed(recipe.seed)
    width = views.shape[-1]
    head = HashHead(
        width,
        recipe.grains.bits,
        recipe.network.hidden,
        normalise=recipe.network.normalise,
        dropout=recipe.network.dropout,
    )
    plain = torch.from_numpy(views[0])
    head.standardise(plain)
    work = Training(HashNetwork(FeaturesBackbone(width), head), recipe, data, Features(views), held, run)
    _tell(work, say, checkpoint_seconds)
    found = work.finished().head
    assert isinstance(found, HashHead)
    found.settle(plain)
    return found


def build_backbone(recipe: Recipe) -> Backbone:
    torch.manual_seed(recipe.seed)
    how = recipe.network
    depths = tuple(range(len(how.channels)))[-len(recipe.grains) :] if how.layered else ()
    return build(
        how.backbone,
        size=recipe.size,
        weights=how.weights,
        channels=how.channels,
        blocks=how.blocks,
        width=how.width,
        depths=depths,
    )


def build_head(recipe: Recipe, backbone: Backbone) -> HashHead | LayeredHead:
    how = recipe.network
    if how.layered:
        widths = [*recipe.grains.values()]
        own = [wide - narrow for narrow, wide in zip([0, *widths], widths, strict=False)]
        return LayeredHead(backbone.widths, own, normalise=how.normalise)  # type: ignore[arg-type]
    return HashHead(backbone.width, recipe.grains.bits, how.hidden, normalise=how.normalise, dropout=how.dropout)


def _pruned(
    recipe: Recipe,
    network: HashNetwork,
    training: Labelled,
    held: Labelled,
    run: Path,
    say: Say,
    checkpoint_seconds: float,
) -> HashNetwork:
    """The network without the channels that matter least, trained on for a while at its last size and a lower rate."""
    from hashgrain.learn.shrink.prune import by_taylor, choose, prune

    some = np.random.default_rng(recipe.seed).permutation(len(training))[:IMPORTANCE_FROM]
    smaller = prune(network, choose(by_taylor(network, training.inputs[np.sort(some)]), 1 - recipe.pruned))
    before, after = (sum(p.numel() for p in each.parameters()) for each in (network, smaller))
    say(f"pruned from {before:,} to {after:,} weights; training on for {recipe.pruned_epochs:g} epochs")
    schedule = dataclasses.replace(
        recipe.schedule,
        phases=(Phase(recipe.pruned_epochs, recipe.schedule.phases[-1].size),),
        learning_rate=recipe.schedule.learning_rate / 4,
        patience=0,
    )
    shorter = dataclasses.replace(recipe, schedule=schedule)
    work = Training(smaller, shorter, training, Pictures(training.inputs, recipe.augmentation), held, run)
    _tell(work, say, checkpoint_seconds)
    return work.finished()


def _pictures(recipe: Recipe, data: Path, run: Path, say: Say) -> tuple[Labelled, Labelled, dict[str, Any]]:
    say(f"reading the pictures of {data}")
    grains = recipe.labelled[-1:] if recipe.same_labels else recipe.labelled
    labelled = load_labelled(
        data,
        recipe.size,
        grains,
        unlabelled="keep" if recipe.aim.pseudo_labels else "refuse",
        cache=run / "pictures",
    )
    if recipe.same_labels:
        (labels,) = labelled.levels.values()
        labelled = dataclasses.replace(labelled, levels=dict.fromkeys(recipe.labelled, labels))
    for name in labelled.refused:
        say(f"refused: {name}")
    if lonely := lonely_classes(labelled):
        named = ", ".join(lonely[:5])
        say(f"warning: {len(lonely)} classes of one picture, so no figure says how well they are learnt: {named}")
    training, held = hold_out(labelled, recipe.held_out)
    if len(held) < 2:
        raise TrainingError(
            f"{len(labelled)} pictures of {data} leave {len(held)} for validation; bring more, or set held_out= higher"
        )
    flipped = 0
    if recipe.label_noise:
        true = training
        training = mislabel(training, recipe.label_noise, recipe.seed)
        finest = recipe.labelled[-1]
        flipped = int((training.levels[finest].ids != true.levels[finest].ids).any(axis=1).sum())
        say(f"{flipped} of the training labels are made wrong on purpose; those kept for validation are not")
    counts = ", ".join(f"{len(labels.names)} {grain}s" for grain, labels in training.levels.items()) or "no labels"
    say(f"training on {len(training):,} pictures ({counts}); {len(held):,} are kept for validation")
    facts: dict[str, Any] = {
        "recipe": _plain(recipe),
        "data": {
            "folder": data.name,
            "pictures": len(training),
            "held_out": len(held),
            "refused": len(labelled.refused),
            "mislabelled": flipped,
        },
        "hashgrain": __version__,
        "torch": torch.__version__.partition("+")[0],
    }
    return training, held, facts


def _head_on_features(
    recipe: Recipe,
    backbone: Backbone,
    training: Labelled,
    held: Labelled,
    run: Path,
    say: Say,
    checkpoint_seconds: float = CHECKPOINT_SECONDS,
) -> HashHead:
    views = _features(recipe, backbone, training, max(recipe.cached_views, recipe.views), run, say)
    seen = dataclasses.replace(held, inputs=_features(recipe, backbone, held, 1, run, say)[0])
    return train_head(recipe, views, training, seen, run, say, checkpoint_seconds)


def _features(
    recipe: Recipe, backbone: Backbone, data: Labelled, views: int, run: Path, say: Say
) -> NDArray[np.float32]:
    with PartialState().main_process_first():
        return cached_features(backbone, data, recipe.size, views, recipe.augmentation, run, say)


def _hashed(recipe: Recipe, backbone: Backbone, training: Labelled, held: Labelled, run: Path, say: Say) -> Bundle:
    """A bundle whose bits were fitted on features, without a gradient."""
    features = _features(recipe, backbone, training, 1, run, say)[0]
    say(f"fitting {recipe.hasher} on {len(features):,} features of {features.shape[1]} values")
    make: Any = HASHERS[recipe.hasher]
    hasher = make(recipe.grains.bits, **({"seed": recipe.seed} if "seed" in make.__dataclass_fields__ else {}))
    hasher.fit(features)
    if isinstance(backbone, OnnxBackbone):
        graph = _graph_of(recipe, backbone)
    else:
        bare = HashNetwork(backbone, HashHead(backbone.width, 1)).eval()
        graph = Bundle(recipe.name, to_onnx(bare, recipe.size), recipe.grains, (recipe.size, recipe.size))
    return calibrated(with_hasher(graph, hasher, recipe.grains, recipe.name, held.inputs[:64]), held)


def _exported(recipe: Recipe, network: HashNetwork, held: Labelled, facts: dict[str, Any]) -> tuple[Bundle, str]:
    """From torch; or, where the backbone is a graph already, that graph with the trained head behind it."""
    if isinstance(network.backbone, OnnxBackbone):
        assert isinstance(network.head, HashHead)
        *dense, last = network.head.projections()
        made = with_hasher(
            _graph_of(recipe, network.backbone), last, recipe.grains, recipe.name, held.inputs[:64], dense=dense
        )
        bundle = dataclasses.replace(made, training={**made.training, **facts})
        return calibrated(bundle, held), str(parity_of(network, bundle, held.inputs))
    bundle, parity = export(network, recipe.name, recipe.grains, recipe.size, held, facts)
    return bundle, str(parity)


def _graph_of(recipe: Recipe, backbone: OnnxBackbone) -> Bundle:
    kind, _, place = recipe.network.backbone.partition(":")
    if kind == "bundle":
        return Bundle.read(place)
    return backbone.as_bundle(recipe.name, recipe.grains, recipe.size)


def _check_writable(out: Path) -> None:
    """Before hours of training, not after."""
    place = next(parent for parent in (out.absolute(), *out.absolute().parents) if parent.exists())
    if not place.is_dir() or not os.access(place, os.W_OK):
        raise TrainingError(f"the bundle cannot be written to {out}: {place} is no folder that may be written to")


def _check_plan(recipe: Recipe, backbone: Backbone) -> None:
    """What would only be found out after pictures were decoded, or after an hour of training."""
    if recipe.hasher and recipe.hasher not in HASHERS:
        raise TrainingError(f"there is no hasher {recipe.hasher!r}; there are {', '.join(HASHERS)}")
    if not recipe.hasher:
        check_aim(recipe)
    if recipe.aim.teacher:
        Teacher(recipe.aim.teacher, recipe.grains)
    if recipe.network.backbone == "features":
        raise TrainingError(
            "features that are given have no pictures, which a bundle takes; train a head on them in Python, with"
            " hashgrain.learn.run.train_head, or fit one of hashgrain.hashers"
        )
    for size in sorted({recipe.size, *(phase.size for phase in recipe.schedule.phases)}):
        try:
            with torch.no_grad():
                backbone.eval()(torch.zeros(2, 3, size, size))
        except (RuntimeError, ValueError, AssertionError, TypeError) as error:
            raise TrainingError(
                f"backbone {recipe.network.backbone} does not take pictures of {size} px ({error}); change size=, or"
                " take a recipe whose phases have one size"
            ) from None


def _tell(work: Training, say: Say, checkpoint_seconds: float) -> None:
    if work.step:
        say(f"going on at step {work.step} of {len(work.sizes)}")
    for at in work.steps(checkpoint_seconds):
        say(told(at))


def told(at: Progress) -> str:
    """One line about where a training stands."""
    left = at.seconds / max(1, at.step) * (at.steps - at.step)
    found = "".join(f", {name} {value:.3g}" for name, value in (at.validation or {}).items())
    warning = f"\nwarning: {at.warning}" if at.warning else ""
    return (
        f"step {at.step}/{at.steps}, loss {at.loss:.3f}, {at.pictures_per_second:.0f}/s,"
        f" {left / 60:.0f} min to go{found}{warning}"
    )


def _plain(recipe: Recipe) -> dict[str, Any]:
    """As JSON has it."""
    return dataclasses.asdict(recipe) | {"grains": dict(recipe.grains)}
