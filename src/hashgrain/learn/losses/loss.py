"""What every loss is: a module from outputs and the truth about them to one number."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

from torch import Tensor, nn


class Loss(nn.Module, ABC):
    """`forward(outputs, truth)`: outputs (n, bits), before any sign, tanh or sigmoid, to one number.

    The truth of a supervised loss is (n, classes) zeros and ones: one label a picture, several, or none. Two pictures
    are alike where they share a label. The truth of an unsupervised loss is (n, width) features of the same pictures.
    Losses of two views take them stacked: rows i and i + n / 2 are views of one picture.
    A loss with weights of its own has them as parameters; the trainer trains them.

    What the trainer has to know of a loss is said by its class:
    """

    unsupervised: ClassVar[bool] = False  # its truth is features, and no label
    views: ClassVar[int] = 0  # of each picture in a batch, that it must be shown; 0: any number
    class_codes: ClassVar[str] = ""  # its argument that takes codes of the classes: centers (-1, 1) or codes (0, 1)
    hierarchical: ClassVar[bool] = False  # it is one loss of all labelled grains together, instead of one for each

    def __init__(self, bits: int, classes: int) -> None:
        super().__init__()
        self.bits, self.classes = bits, classes

    @abstractmethod
    def forward(self, outputs: Tensor, truth: Tensor) -> Tensor: ...

    def advance(self, share: float) -> None:
        """Called with the share of training that is done, 0 to 1, before each step. Continuation methods use it."""

    def meet(self, truth: Tensor) -> None:
        """Called once before training with the labels of all training pictures, (pictures, classes)."""

    def show(self, rows: Tensor) -> None:
        """Called before each batch with the numbers of the training pictures whose outputs come next."""
