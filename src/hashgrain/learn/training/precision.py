"""The numeric precision of training."""

from __future__ import annotations

from typing import Literal

import torch


def best_precision() -> Literal["no", "bf16"]:
    """bf16 where the hardware supports it: at least twice as fast. On a CPU without native bf16 it is ten times slower,
    so the check there asks for AMX tiles."""
    if torch.cuda.is_available():
        return "bf16" if torch.cuda.is_bf16_supported() else "no"
    return "bf16" if torch.cpu._is_amx_tile_supported() else "no"
