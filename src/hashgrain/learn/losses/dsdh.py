"""DSDH: pairs teach the outputs, classes teach the bits, and the two are held together."""

from __future__ import annotations

import torch
from torch import Tensor

from hashgrain.learn.losses.loss import Loss
from hashgrain.learn.losses.relaxed import disagreement, inner_products, mean_over, pairs, same, signs

PICTURES = 5_000  # of the training set over which the paper sums: its weights are those of sums over so many
SWEEPS = 10  # of the bits
BITS = 16  # for which the weight of quantization is meant, where it is not to grow with them


class DsdhLoss(Loss):
    """Deep supervised discrete hashing (Li et al., 2017), batch by batch.

    The minimum over B in {-1, +1} of
        mean over pairs of softplus(theta) - s * theta
        + mean over pictures of (classification * |y - B W|^2 + quantization * |B - u|^2) / 5000,
    theta = <u_i, u_j> / 2. B is found by cyclic coordinate descent; at the minimum the gradient of all of it to u, the
    classification included, is that of quantization * |B - u|^2, which published code leaves out. W is the ridge
    regression of labels on the bits of about the last 5,000 pictures; nothing of it is left to an optimizer.
    Pictures without labels have no say in W and just their own signs for B. With `odds`, theta is odds / bits times the
    product and quantization is multiplied by 16 / bits: as published both grow with the bits, and what is asked of long
    codes most is to be bits.
    """

    products: Tensor  # (bits, bits) B^T B of the pictures seen
    answers: Tensor  # (bits, classes) B^T Y

    def __init__(
        self,
        bits: int,
        classes: int,
        *,
        classification: float = 1.0,
        quantization: float = 55.0,
        ridge: float = 0.1,
        odds: float | None = None,
    ) -> None:
        super().__init__(bits, classes)
        self.classification, self.quantization, self.ridge = classification, quantization, ridge
        self.odds = odds
        if odds is not None:
            self.quantization *= BITS / bits
        self.register_buffer("products", torch.zeros(bits, bits))
        self.register_buffer("answers", torch.zeros(bits, classes))

    def forward(self, outputs: Tensor, truth: Tensor) -> Tensor:
        alike = same(truth).to(outputs.dtype)
        likelihood = mean_over(disagreement(inner_products(outputs, self.odds), alike), pairs(outputs))
        known = truth.any(dim=1).to(outputs.dtype)
        labels, weights = truth.to(outputs.dtype), self.classifier().to(outputs.dtype)
        codes = self.discrete_codes(outputs.detach(), labels, known, weights)
        if self.training:
            self._remember(codes, labels, known)
        classified = self.classification * ((labels - codes @ weights).square().sum(dim=1) * known).mean()
        quantized = self.quantization * (codes - outputs).square().sum(dim=1).mean()
        return likelihood + (classified + quantized) / PICTURES

    @torch.no_grad()
    def classifier(self) -> Tensor:
        """W (bits, classes) = (B^T B + ridge)^-1 B^T Y; zeros before anything was seen."""
        ridge = self.ridge * torch.eye(self.bits, dtype=self.products.dtype, device=self.products.device)
        weights: Tensor = torch.linalg.solve(self.products + ridge, self.answers)
        return weights

    @torch.no_grad()
    def discrete_codes(self, outputs: Tensor, labels: Tensor, known: Tensor, weights: Tensor) -> Tensor:
        """B, by minimizing classification * |y - B W|^2 + quantization * |B - u|^2 over one bit after the other."""
        codes = signs(outputs)
        left = labels - codes @ weights
        for _ in range(SWEEPS):
            before = codes.clone()
            for bit, weight in enumerate(weights):
                old = codes[:, bit].clone()
                wish = known * (left @ weight + old * (weight @ weight))  # of the labels, less what other bits explain
                codes[:, bit] = signs(self.classification * wish + self.quantization * outputs[:, bit])
                left -= (codes[:, bit] - old)[:, None] * weight
            if torch.equal(codes, before):
                break
        return codes

    @torch.no_grad()
    def _remember(self, codes: Tensor, labels: Tensor, known: Tensor) -> None:
        """Add this batch; what was seen before fades, so that bits of long ago do not count for ever."""
        kept = max(0.0, 1 - len(codes) / PICTURES)
        codes, labels = codes.to(self.products.dtype), labels.to(self.products.dtype)
        counted = codes * known.to(codes.dtype)[:, None]
        self.products.mul_(kept).add_(counted.T @ codes)
        self.answers.mul_(kept).add_(counted.T @ labels)
