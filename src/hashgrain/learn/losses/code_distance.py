"""Losses that compare two sets of codes: distances between codes, or between matrices of distances."""

from __future__ import annotations

import torch
from torch import Tensor

from hashgrain.learn.losses.relaxed import mean_over, pairs, relaxed_hamming, signs


def code_distance(outputs: Tensor, others: Tensor) -> Tensor:
    """Mean over pictures of (bits - <tanh(output), tanh(other)>) / 2: the relaxed Hamming distance.

    Row i of both is the same picture: two views of it, or its codes by two models.
    """
    return ((1 - torch.tanh(outputs) * torch.tanh(others)) / 2).sum(dim=1).mean()


def distance_distillation(student: Tensor, teacher: Tensor) -> Tensor:
    """Mean over pairs of pictures of (student's distance - teacher's distance)^2, as shares of their bits.

    The teacher's distances are between its binary codes, without gradient; the codes may differ in length
    (relational distillation, Park et al., 2019, with Hamming distances).
    """
    taught = relaxed_hamming(torch.tanh(student)) / student.shape[1]
    true = relaxed_hamming(signs(teacher)) / teacher.shape[1]
    return mean_over((taught - true).square(), pairs(student))
