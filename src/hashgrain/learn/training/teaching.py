"""What teaches a loss besides the labels: class centers and a teacher model."""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

from hashgrain.codes import Grains
from hashgrain.errors import TrainingError
from hashgrain.learn.data.grain_labels import GrainLabels
from hashgrain.learn.data.hierarchy import parents_of
from hashgrain.learn.data.targets import codes_of
from hashgrain.learn.onnx_torch import read_graph, run_graph
from hashgrain.learn.recipe import Recipe
from hashgrain.learn.training.centers import class_centers, gilbert_varshamov, nested_centers
from hashgrain.learn.training.knowledge import semantic_centers, similarities_of_classes
from hashgrain.models import Bundle, Encoder


class Teacher:
    """A bundle whose outputs the network imitates: a larger model, or an ensemble. Like any frozen model it runs in
    ONNX Runtime on the CPU, and in torch elsewhere."""

    def __init__(self, bundle: str, grains: Grains) -> None:
        read = Bundle.read(bundle)
        if read.grains != grains:
            raise TrainingError(
                f"teacher {bundle} has grains {read.grains}, the recipe {grains}: they must be the same"
            )
        self.encoder, self.size, self.digest = (
            Encoder(read, threads=torch.get_num_threads()),
            read.size,
            read.code_digest,
        )
        # Read it now if it will be needed: a graph that torch cannot run should fail before an hour of decoding.
        self.graph = read_graph(read.onnx) if torch.cuda.is_available() else None

    @torch.no_grad()
    def __call__(self, views: Tensor) -> Tensor:
        """The teacher's outputs of views (n, 3, s, s) in 0..1, at its own size."""
        if views.shape[-2:] != (self.size[1], self.size[0]):
            views = F.interpolate(views, size=(self.size[1], self.size[0]), mode="bilinear", antialias=True)
        if views.device.type == "cpu":
            pixels = (views.permute(0, 2, 3, 1) * 255).round().clamp(0, 255).to(torch.uint8)
            return torch.from_numpy(self.encoder.outputs(pixels.contiguous().numpy()))
        assert self.graph is not None
        self.graph = self.graph.to(views.device)
        return run_graph(self.graph, views.permute(0, 2, 3, 1) * 255).float()


def begin_of(widths: Mapping[str, int]) -> dict[str, int]:
    """For each grain, the first of the bits that it adds to the one before it."""
    return dict(zip(widths, [0, *widths.values()], strict=False))


def centers_of(recipe: Recipe, levels: Mapping[str, GrainLabels]) -> dict[str, Tensor]:
    """(classes, bits) of -1 and +1 at each labelled grain; where classes have one parent, beginning with its center."""
    grains = list(recipe.labelled)
    bits = [recipe.grains[grain] for grain in grains]
    if recipe.aim.targets:
        return {grain: codes_of(levels[grain].names) for grain in grains}
    if recipe.aim.semantic_centers:
        if len(grains) != 1:
            raise TrainingError("semantic centers take one labelled grain: nested ones follow the hierarchy anyway")
        likeness = similarities_of_classes(levels[grains[0]].names, recipe.aim.similarity)
        least = max(1, int(recipe.aim.center_distance * gilbert_varshamov(len(likeness), bits[0])))
        return {grains[0]: semantic_centers(likeness, bits[0], recipe.seed, least=least).tensor()}
    if recipe.aim.separate:
        begins = begin_of(recipe.grains)
        return {
            grain: class_centers(len(levels[grain].names), recipe.grains[grain] - begins[grain], recipe.seed).tensor()
            for grain in grains
        }
    nested = all(levels[grain].single for grain in grains)
    parents = list(parents_of({grain: levels[grain] for grain in grains}).values()) if nested else []
    if not nested or any((parent < 0).any() for parent in parents):
        return {
            grain: class_centers(len(levels[grain].names), width, recipe.seed).tensor()
            for grain, width in zip(grains, bits, strict=True)
        }
    made = nested_centers(len(levels[grains[0]].names), parents, bits, recipe.seed)
    return {grain: centers.tensor() for grain, centers in zip(grains, made, strict=True)}
