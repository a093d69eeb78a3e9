"""The objective of a batch: the recipe's loss at every grain with that grain's labels, and additional terms."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from hashgrain.errors import TrainingError
from hashgrain.learn.data.grain_labels import GrainLabels
from hashgrain.learn.losses import LOSSES, InstanceContrast, Loss
from hashgrain.learn.losses.balance import balance, decorrelation
from hashgrain.learn.losses.classification import label_cross_entropy
from hashgrain.learn.losses.code_distance import code_distance
from hashgrain.learn.losses.quantization import QUANTIZATIONS
from hashgrain.learn.recipe import Recipe
from hashgrain.learn.remedies import set_to
from hashgrain.learn.training.knowledge import similarities_of_classes, soft_targets
from hashgrain.learn.training.nesting import long_to_short, nested_loss, prefix_losses
from hashgrain.learn.training.teaching import begin_of, centers_of

Truths = Mapping[str, Tensor]  # grain to (n, classes) zeros and ones


class Objective(nn.Module):
    """The sum over grains and terms. Its own weights are trained with the network."""

    def __init__(self, recipe: Recipe, levels: Mapping[str, GrainLabels], width: int) -> None:
        """`width` is that of the features that the network gives."""
        super().__init__()
        check_aim(recipe)
        self.recipe = recipe
        kind = LOSSES[recipe.aim.loss]
        self.unsupervised = kind.unsupervised
        self.rows: Tensor | None = None  # of the pictures of this batch
        grains = list(recipe.grains) if self.unsupervised else list(recipe.labelled)
        self.together = kind.hierarchical
        losses = _losses(recipe, levels, grains, width)
        # torch forbids modules named like its own methods (half, type, float), which are valid names of grains.
        self.modules_of_grains = nn.ModuleDict({f"at {grain}": loss for grain, loss in losses.items()})
        for grain, loss in losses.items():
            if type(loss).meet is not Loss.meet:
                loss.meet(torch.from_numpy(levels[grain].hot(np.arange(len(levels[grain].ids)))))
        self.taught = recipe.grains[grains[-1]] if grains else 0  # bits that the loss trains
        self.look = InstanceContrast(recipe.aim.instance_temperature)
        self.classifier: nn.Linear | None = None
        self.likeness: Tensor  # of the classifier's classes, for soft targets
        if recipe.aim.classifier_weight and recipe.labelled:
            names = levels[recipe.labelled[-1]].names
            self.classifier = nn.Linear(width, len(names))
            if recipe.aim.soft_targets:
                likeness = torch.tensor(similarities_of_classes(names, recipe.aim.similarity))
                self.register_buffer("likeness", likeness, persistent=False)

    def advance(self, share: float) -> None:
        for loss in self._each():
            loss.advance(share)

    def show(self, rows: Tensor) -> None:
        """Announce the rows of the next batch."""
        self.rows = rows

    def forward(
        self, outputs: Tensor, features: Tensor, truths: Truths, taught: Tensor | None = None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The total and its parts. `taught` are the teacher's outputs for the same inputs."""
        total, parts = self._of_grains(outputs, features, truths)
        for name, weight, term in self._terms(outputs, features, truths, taught):
            parts[name] = term.detach()
            total = total + weight * term
        return total, parts

    def _of_grains(self, outputs: Tensor, features: Tensor, truths: Truths) -> tuple[Tensor, dict[str, Tensor]]:
        """The recipe's loss at every grain. Pictures without a label are left out: they are not unlike all others."""
        aim, widths = self.recipe.aim, self._widths()
        if self.together:
            widths = {grain: self.recipe.grains[grain] for grain in self.recipe.labelled}
        if not widths:
            return outputs.sum() * 0, {}
        if self.unsupervised:
            seen, truths = outputs, {grain: features.detach() for grain in widths}
        else:
            known = torch.stack([truths[grain].sum(dim=1) > 0 for grain in widths]).all(dim=0)
            if not known.any():
                return outputs.sum() * 0, {}
            seen, truths = outputs[known], {grain: truths[grain][known] for grain in widths}
            for loss in self._each():
                loss.see(features[known])
            if self.rows is not None and len(self.rows) == len(known):
                for loss in self._each():
                    loss.show(self.rows[known.to(self.rows.device)])
        losses = self.losses
        if self.together:
            finest = next(iter(losses))
            total = losses[finest](seen[:, : widths[finest]], torch.cat(list(truths.values()), dim=1))
            return total, {"grains": total.detach()}
        if aim.nesting == "dominant":
            total = nested_loss(losses, seen, truths, widths)
            return total, {"grains": total.detach()}
        if aim.nesting == "even":
            values = prefix_losses(losses, seen, truths, widths)
        else:
            begins = begin_of(widths) if aim.separate else dict.fromkeys(widths, 0)
            values = {g: loss(seen[:, begins[g] : widths[g]], truths[g]) for g, loss in losses.items()}
        finest = next(reversed(values))
        total = torch.stack(
            [loss * (1.0 if grain == finest else aim.coarse_weight) for grain, loss in values.items()]
        ).sum()
        return total, {grain: loss.detach() for grain, loss in values.items()}

    def _terms(
        self, outputs: Tensor, features: Tensor, truths: Truths, taught: Tensor | None
    ) -> list[tuple[str, float, Tensor]]:
        aim, terms = self.recipe.aim, []
        if self.classifier is not None:
            truth = truths[self.recipe.labelled[-1]]
            terms.append(("classifier", aim.classifier_weight, self._classified(features, truth)))
        if aim.instance_weight and self.taught < outputs.shape[1]:
            terms.append(("telling apart", aim.instance_weight, self.look(outputs[:, self.taught :])))
        if aim.quantization_weight:
            terms.append(("quantization", aim.quantization_weight, QUANTIZATIONS[aim.quantization_form](outputs)))
        if aim.balance_weight:
            terms.append(("balance", aim.balance_weight, balance(outputs)))
        if aim.decorrelation_weight:
            terms.append(("decorrelation", aim.decorrelation_weight, decorrelation(outputs)))
        if aim.cascade_weight:
            terms.append(("cascade", aim.cascade_weight, long_to_short(outputs, dict(self.recipe.grains))))
        if taught is not None:
            terms.append(("teacher", aim.teacher_weight, code_distance(outputs, taught)))
        return terms

    def _classified(self, features: Tensor, truth: Tensor) -> Tensor:
        """The classifier's loss on the labelled pictures."""
        assert self.classifier is not None
        known = truth.sum(dim=1) > 0
        if not known.any():
            return features.sum() * 0
        aim, asked = self.recipe.aim, truth[known]
        if aim.soft_targets:
            asked = soft_targets(asked, self.likeness, aim.soft_targets)
        return label_cross_entropy(self.classifier(features[known]), asked, aim.classifier_smoothing)

    @property
    def losses(self) -> dict[str, Loss]:
        """The loss of each trained grain, coarse to fine."""
        named = self.modules_of_grains.items()
        return {name.removeprefix("at "): loss for name, loss in named if isinstance(loss, Loss)}

    def _each(self) -> list[Loss]:
        return list(self.losses.values())

    def _widths(self) -> dict[str, int]:
        return {grain: self.recipe.grains[grain] for grain in self.losses}


def check_aim(recipe: Recipe) -> None:
    """Refuse an unknown loss, and views or settings that do not go with it."""
    aim = recipe.aim
    if aim.loss not in LOSSES:
        raise TrainingError(f"there is no loss {aim.loss!r}; there are {', '.join(LOSSES)}")
    kind = LOSSES[aim.loss]
    if aim.semantic_centers and not kind.class_codes:
        centered = ", ".join(name for name, each in LOSSES.items() if each.class_codes)
        raise TrainingError(f"loss {aim.loss} has no centers to place by likeness; these have: {centered}")
    if kind.of_concepts and not recipe.network.concepts:
        raise TrainingError(f"loss {aim.loss} looks at the concepts of a network", remedy=set_to("concepts=4"))
    apart = kind.views == 2 or aim.instance_weight > 0
    if apart and recipe.views != 2:
        raise TrainingError(f"recipe {recipe.name} compares two views of each picture", remedy=set_to("views=2"))
    if kind.views == 1 and recipe.views != 1:
        raise TrainingError(f"loss {aim.loss} compares different pictures of a batch", remedy=set_to("views=1"))


def _losses(recipe: Recipe, levels: Mapping[str, GrainLabels], grains: list[str], width: int) -> dict[str, Loss]:
    losses: dict[str, Loss] = {}
    kind = LOSSES[recipe.aim.loss]
    if kind.hierarchical:
        widths, sizes = [recipe.grains[grain] for grain in grains], [len(levels[grain].names) for grain in grains]
        return {grains[-1]: _made(recipe, widths, sizes)}
    centers = centers_of(recipe, levels) if kind.class_codes else {}
    begins = begin_of(recipe.grains) if recipe.aim.separate else {}
    for grain in grains:
        bits = recipe.grains[grain] - begins.get(grain, 0)
        classes = len(levels[grain].names) if grain in levels else 0
        given: dict[str, Any] = {}
        if grain in centers:
            given = {kind.class_codes: centers[grain] if kind.class_codes == "centers" else (centers[grain] + 1) / 2}
        if kind.of_concepts:
            given["concept_shape"] = recipe.network.concepts, width // recipe.network.concepts
        losses[grain] = _made(recipe, bits, classes, **given)
    return losses


def _made(recipe: Recipe, bits: int | list[int], classes: int | list[int], **given: Any) -> Loss:
    make: Any = LOSSES[recipe.aim.loss]
    settings = dict(recipe.aim.settings)
    try:
        loss: Loss = make(bits, classes, **given, **settings)
    except TypeError as error:
        raise TrainingError(f"loss {recipe.aim.loss} cannot be made with {settings} ({error})") from None
    return loss
