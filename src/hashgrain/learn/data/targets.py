"""Target codes: a row of zeros and ones for each picture, which training regresses to."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hashgrain.errors import Remedy, TrainingError
from hashgrain.labelled.arrays import open_array

Bits = NDArray[np.uint8]


def read_targets(file: str | Path, bits: int) -> Bits:
    """Read (n, bits) zeros and ones from an .npy file."""
    place = Path(file).expanduser()
    table = open_array(place)
    if table.ndim != 2 or table.dtype.kind not in "iubf":
        raise TrainingError(
            f"{place}: {table.dtype} of shape {table.shape}; target codes are zeros and ones, a row a picture"
        )
    if table.shape[1] != bits:
        raise TrainingError(
            f"{place} has target codes of {table.shape[1]} bits, the recipe codes of {bits}",
            remedy=Remedy(f"give the recipe {table.shape[1]} bits", "give_bits", bits=table.shape[1]),
        )
    wrong = np.flatnonzero(~np.isin(table, (0, 1)).all(axis=1))
    if len(wrong):
        raise TrainingError(f"{place}, row {wrong[0]}: target codes are zeros and ones, and this row has other values")
    if len(table) and (table == table[0]).all():
        raise TrainingError(f"{place}: all target codes are the same, so there is nothing to learn; give others")
    return np.asarray(table, np.uint8)


def names_of(targets: Bits) -> list[str]:
    """Each code as text, which serves as the label of its pictures."""
    return ["".join(map(str, row)) for row in targets.tolist()]


def codes_of(names: Sequence[str]) -> Tensor:
    """(classes, bits) of -1 and +1: the inverse of `names_of`."""
    return torch.tensor([[2.0 * int(bit) - 1 for bit in name] for name in names])


def bits_right(outputs: NDArray[np.float32], names: Sequence[str], ids: NDArray[np.int64]) -> float:
    """The share of bits that match their target."""
    wanted = np.array([[bit == "1" for bit in name] for name in names])
    return round(float(((outputs >= 0) == wanted[ids]).mean()), 4)
