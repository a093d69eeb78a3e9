"""DSDH: outputs are trained on pairs, bits on classes, and the two are kept close."""

from __future__ import annotations

import torch
from torch import Tensor

from hashgrain.learn.losses.loss import Loss
from hashgrain.learn.losses.relaxed import disagreement, inner_products, mean_over, pairs, same, signs

PICTURES = 5_000  # training pictures of the paper: its weights are for sums over so many
SWEEPS = 10  # over the bits
BITS = 16  # code length that the weight of quantization is for, unless it grows with the bits


class DsdhLoss(Loss):
    """Deep supervised discrete hashing (Li et al., 2017), batch by batch.

    The minimum over B in {-1, +1} of
        mean over pairs of softplus(theta) - s * theta
        + mean over pictures of (classification * |y - B W|^2 + quantization * |B - u|^2) / 5000,
    theta = <u_i, u_j> / 2. B is solved by cyclic coordinate descent; at the minimum the gradient of the whole to u,
    with the classification, is that of quantization * |B - u|^2, which published code leaves out. W is the ridge
    regression of labels on the bits of about the last 5,000 pictures; the optimizer does not train it.
    Pictures without labels do not count in W, and their B is their own signs. With `odds`, theta is odds / bits times
    the product and quantization is multiplied by 16 / bits: as published both grow with the bits, and for long codes
    quantization outweighs the rest.
    """

    products: Tensor  # (bits, bits) B^T B of past pictures
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
        similar = same(truth).to(outputs.dtype)
        likelihood = mean_over(disagreement(inner_products(outputs, self.odds), similar), pairs(outputs))
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
        """W (bits, classes) = (B^T B + ridge)^-1 B^T Y; zeros before the first batch."""
        ridge = self.ridge * torch.eye(self.bits, dtype=self.products.dtype, device=self.products.device)
        weights: Tensor = torch.linalg.solve(self.products + ridge, self.answers)
        return weights

    @torch.no_grad()
    def discrete_codes(self, outputs: Tensor, labels: Tensor, known: Tensor, weights: Tensor) -> Tensor:
        """Solve B by minimizing classification * |y - B W|^2 + quantization * |B - u|^2 over one bit at a time."""
        codes = signs(outputs)
        left = labels - codes @ weights
        for _ in range(SWEEPS):
            before = codes.clone()
            for bit, weight in enumerate(weights):
                old = codes[:, bit].clone()
                wish = known * (
                    left @ weight + old * (weight @ weight)
                )  # of the labels, less the part of the other bits
                codes[:, bit] = signs(self.classification * wish + self.quantization * outputs[:, bit])
                left -= (codes[:, bit] - old)[:, None] * weight
            if torch.equal(codes, before):
                break
        return codes

    @torch.no_grad()
    def _remember(self, codes: Tensor, labels: Tensor, known: Tensor) -> None:
        """Add this batch. The weights of earlier batches decay, so that old bits stop counting."""
        kept = max(0.0, 1 - len(codes) / PICTURES)
        codes, labels = codes.to(self.products.dtype), labels.to(self.products.dtype)
        counted = codes * known.to(codes.dtype)[:, None]
        self.products.mul_(kept).add_(counted.T @ codes)
        self.answers.mul_(kept).add_(counted.T @ labels)
