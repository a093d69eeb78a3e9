"""Freezing parts of a backbone. `requires_grad` stores the choice, and a backbone derives its train mode from it."""

from __future__ import annotations

from typing import get_args

from hashgrain.errors import TrainingError
from hashgrain.learn.backbones.backbone import Backbone
from hashgrain.learn.backbones.lora import add_lora
from hashgrain.learn.data.choices import Trained as Trained


def set_trained(
    backbone: Backbone, trained: Trained, *, stages: int = 1, rank: int = 8, alpha: float = 16.0
) -> dict[str, list[str]]:
    """Freeze all but the trained part. Returns the names of the trained parameters, by group, shallow to deep.

    head: the whole backbone is frozen. last: its last `stages` stages are trained, one group each. lora: its layers get
    adapters of `rank`, and only these are trained. all: every stage is trained, one group each.
    """
    if trained not in get_args(Trained):
        raise TrainingError(f"trained cannot be {trained!r}: it is one of {', '.join(get_args(Trained))}")
    parts = backbone.stages()
    if trained != "head" and not parts:
        raise TrainingError(f"this backbone has no weights to train, and {trained!r} asks for some: use 'head'")
    if trained == "last" and not 1 <= stages <= len(parts):
        raise TrainingError(f"this backbone has {len(parts)} stages, its last {stages} cannot be trained")
    if trained == "lora":
        groups = {"lora": add_lora(backbone, rank, alpha)}
    else:
        first = {"head": len(parts), "last": len(parts) - stages, "all": 0}[trained]
        groups = {f"stage {i}": part for i, part in enumerate(parts) if i >= first}
    names = {name for group in groups.values() for name in group}
    for name, parameter in backbone.named_parameters():
        parameter.requires_grad_(name in names)
    backbone.train(backbone.training)  # puts the frozen parts into eval mode
    return groups
