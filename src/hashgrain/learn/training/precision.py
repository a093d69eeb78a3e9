"""Which numbers to train in."""

from __future__ import annotations

from typing import Literal

import torch


def best_precision() -> Literal["no", "bf16"]:
    """bf16 where the hardware computes in it: twice as fast or more. Where a CPU has none of its own it is ten times
    slower, so tiles of the matrix unit are what is asked for there."""
    if torch.cuda.is_available():
        return "bf16" if torch.cuda.is_bf16_supported() else "no"
    return "bf16" if torch.cpu._is_amx_tile_supported() else "no"
