"""The base class of backbones: pictures in, features out, with normalization inside."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from hashgrain.errors import TrainingError

# Containers whose children are stages; the names are those of timm, torchvision and our own backbones.
OPENED = frozenset(("model", "layers", "features", "classifier", "encoder", "blocks", "stages", "trunk_output"))
Colors = tuple[float, float, float]
IMAGENET_MEAN: Colors = (0.485, 0.456, 0.406)
IMAGENET_STD: Colors = (0.229, 0.224, 0.225)


class Backbone(nn.Module, ABC):
    """Pictures (n, 3, s, s), floats in 0..1, to features (n, width).

    Colors are normalized inside, so that no caller gets mean and std wrong. Both belong to the architecture and are not
    learned: they move with the module and are not part of its state.
    """

    def __init__(self, width: int, mean: Colors, std: Colors) -> None:
        super().__init__()
        self.width = width
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(1, 3, 1, 1), persistent=False)
        self.mean: Tensor
        self.std: Tensor

    @abstractmethod
    def forward(self, pixels: Tensor) -> Tensor: ...

    def places(self, pixels: Tensor) -> Tensor:
        """(n, places, channels): the feature map before it is pooled, place by place."""
        raise TrainingError(
            "this network gives no feature map, and concepts need one; compact and networks of timm give one"
        )

    def normalized(self, pixels: Tensor) -> Tensor:
        return (pixels - self.mean) / self.std

    def stages(self) -> list[list[str]]:
        """The names of the parameters, stage by stage, shallow to deep: what "the last stage" means.

        A stage is a child with weights of a container (OPENED). A child with norms alone belongs to the stage before.
        """
        stages: list[list[str]] = []
        for unit in _units(self, ""):
            if stages and all(parameter.ndim <= 1 for parameter in unit.values()):
                stages[-1] += unit
            else:
                stages.append(list(unit))
        return stages

    def train(self, mode: bool = True) -> Backbone:
        """Like nn.Module.train, but frozen parts stay in eval mode: no drifting statistics, no dropout."""
        super().train(mode)
        if mode:
            _rest(self)
        return self


def _units(module: nn.Module, prefix: str) -> Iterator[dict[str, nn.Parameter]]:
    own = {prefix + name: parameter for name, parameter in module.named_parameters(recurse=False)}
    for name, child in module.named_children():
        if name in OPENED:
            inside = _units(child, f"{prefix}{name}.")
        else:
            inside = iter([{f"{prefix}{name}.{n}": parameter for n, parameter in child.named_parameters()}])
        for unit in inside:
            if unit:
                yield own | unit  # class tokens and positions of the container itself belong to its first stage
                own = {}
    if own:
        yield own


def _rest(module: nn.Module) -> None:
    """Eval mode for every part whose parameters are frozen.

    A part without parameters follows its parent: it stays in training mode only where all of the parent is trained.
    """
    trained = [parameter.requires_grad for parameter in module.parameters()]
    if not any(trained):
        module.eval()
    elif not all(trained):
        for child in module.children():
            if next(child.parameters(), None) is None:
                child.eval()
            else:
                _rest(child)
