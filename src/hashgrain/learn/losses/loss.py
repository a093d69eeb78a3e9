"""The base class of losses: a module from outputs and their ground truth to one number."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

from torch import Tensor, nn


class Loss(nn.Module, ABC):
    """`forward(outputs, truth)`: outputs (n, bits), before any sign, tanh or sigmoid, to one number.

    The truth of a supervised loss is (n, classes) zeros and ones: one label per picture, several, or none. Two pictures
    are similar if they share a label. The truth of an unsupervised loss is (n, width) features of the same pictures.
    Losses of two views take them stacked: rows i and i + n / 2 are views of one picture.
    Weights of a loss are parameters, and the trainer trains them.

    Class attributes tell the trainer how to use the loss:
    """

    unsupervised: ClassVar[bool] = False  # the truth is features, not labels
    views: ClassVar[int] = 0  # required views of each picture in a batch; 0: any number
    class_codes: ClassVar[str] = ""  # the argument for the codes of the classes: centers (-1, 1) or codes (0, 1)
    hierarchical: ClassVar[bool] = False  # one loss for all labelled grains together, not one for each
    of_concepts: ClassVar[bool] = False  # it takes the features of concepts, and their shape as `concept_shape`

    def __init__(self, bits: int, classes: int) -> None:
        super().__init__()
        self.bits, self.classes = bits, classes

    @abstractmethod
    def forward(self, outputs: Tensor, truth: Tensor) -> Tensor: ...

    def advance(self, share: float) -> None:
        """Called before each step with the finished share of training, 0 to 1. Continuation methods use it."""

    def meet(self, truth: Tensor) -> None:
        """Called once before training with the labels of all training pictures, (pictures, classes)."""

    def show(self, rows: Tensor) -> None:
        """Called before each batch with the row numbers of its training pictures."""

    def see(self, features: Tensor) -> None:
        """Called before each batch with the features of the pictures whose outputs follow."""
