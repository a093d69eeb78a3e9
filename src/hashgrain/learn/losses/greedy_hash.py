"""GreedyHash: classification on the binary codes."""

from __future__ import annotations

from torch import Tensor, nn

from hashgrain.learn.losses.classification import label_cross_entropy
from hashgrain.learn.losses.loss import Loss
from hashgrain.learn.losses.quantization import cubic_quantization
from hashgrain.learn.losses.relaxed import straight_through


class GreedyHashLoss(Loss):
    """A linear classifier on the signs, whose gradient is that of the identity (Su et al., 2018).

    cross-entropy(W sign(u), labels) + quantization * mean ||u| - 1|^3. W has no bias and is trained with the network.
    """

    def __init__(self, bits: int, classes: int, *, quantization: float = 0.1) -> None:
        super().__init__(bits, classes)
        self.quantization = quantization
        self.classifier = nn.Linear(bits, classes, bias=False)

    def forward(self, outputs: Tensor, truth: Tensor) -> Tensor:
        classified = label_cross_entropy(self.classifier(straight_through(outputs)), truth)
        return classified + self.quantization * cubic_quantization(outputs)
