"""ADSH: database codes are learnt directly, query codes by the network."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from hashgrain.learn.losses.loss import Loss
from hashgrain.learn.losses.relaxed import signs


class AdshLoss(Loss):
    """Asymmetric deep supervised hashing (ADSH: Jiang and Li, AAAI 2018).

    The minimum over the network and V in {-1, +1} of
        sum_{i of some, j of all} (<h_i, v_j> - bits * s_ij)^2 + anchoring * sum_{i of some} |v_i - h_i|^2,
    h = tanh(u), s = 1 for similar pictures, else -1. V (`codes`) has a row for every training picture: its code in the
    database. The network encodes queries and new pictures.
    The loss of a batch is divided by pairs * bits^2, the anchoring likewise. `stages` times in training V is
    solved again, one bit of all pictures after the other, from the outputs of the pictures shown since then:
    v_k = sign(bits * S^T h_k + anchoring * h_k (of shown pictures) - the other bits V (H^T h_k)).
    If the network encodes both queries and database, half of the method is unused. If V covers the whole database, so
    do the labels that it was solved from.
    """

    codes: Tensor  # (pictures, bits), V
    seen: Tensor  # (pictures, bits), h of pictures shown since the last stage; 0 for others
    labels: Tensor  # (pictures, classes)
    done: Tensor

    def __init__(self, bits: int, classes: int, *, anchoring: float = 200.0, stages: int = 20, seed: int = 0) -> None:
        super().__init__(bits, classes)
        self.anchoring, self.stages, self.seed = anchoring, stages, seed
        for name in ("codes", "seen"):
            self.register_buffer(name, torch.zeros(0, bits))
        self.register_buffer("labels", torch.zeros(0, classes), persistent=False)
        self.register_buffer("done", torch.zeros((), dtype=torch.long))
        self.rows: Tensor | None = None

    def meet(self, truth: Tensor) -> None:
        dice = torch.Generator().manual_seed(self.seed)
        self.labels = truth.to(self.done.device)
        self.codes = signs(torch.randn(len(truth), self.bits, generator=dice)).to(self.done.device)
        self.seen = torch.zeros_like(self.codes)

    def show(self, rows: Tensor) -> None:
        self.rows = rows

    def advance(self, share: float) -> None:
        due = math.floor(share * self.stages)
        if due > int(self.done):
            self.solve()
            self.done.fill_(due)

    def forward(self, outputs: Tensor, truth: Tensor) -> Tensor:
        codes, own = torch.tanh(outputs), self.codes
        if self.rows is None or not len(own):  # outside of training there are no outputs of other pictures
            own, labels, at = signs(outputs), truth, torch.arange(len(outputs), device=outputs.device)
        else:
            labels, at, self.rows = self.labels, self.rows.to(own.device), None
            if self.training:
                self.seen[at] = codes.detach().to(self.seen.dtype)
        similar = torch.where(truth @ labels.to(truth.dtype).T > 0, 1.0, -1.0).to(outputs.dtype)
        error = (codes @ own.to(codes.dtype).T / self.bits - similar).square().mean()
        anchored = (own[at].to(codes.dtype) - codes).square().sum() / (len(codes) * len(own) * self.bits**2)
        return error + self.anchoring * anchored

    @torch.no_grad()
    def solve(self) -> None:
        """Solve V bit by bit. Pictures with the same labels have the same target: one row per label set is enough."""
        shown = self.seen.any(dim=1)
        if not shown.any():
            return
        some = self.seen[shown]
        kinds, kind = torch.unique(self.labels, dim=0, return_inverse=True)
        similar = torch.where(kinds @ self.labels[shown].T > 0, 1.0, -1.0)
        asked = self.bits * (similar @ some)[kind] + self.anchoring * self.seen
        products = some.T @ some
        for bit in range(self.bits):
            others = products[:, bit].clone()
            others[bit] = 0
            self.codes[:, bit] = signs(asked[:, bit] - self.codes @ others)
        self.seen.zero_()
