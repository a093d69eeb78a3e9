"""The process group, where torchrun started more than one process."""

from __future__ import annotations

import os

import torch
from accelerate import PartialState


def several() -> bool:
    return int(os.environ.get("WORLD_SIZE", "1")) > 1


def this_process() -> PartialState:
    # Without GPUs, accelerate joins processes only with cpu=True; else each would train a model of its own.
    return PartialState(cpu=several() and not torch.cuda.is_available())


def leave() -> None:
    """Leave the group at the end, all processes together: one that exits early can crash the others."""
    if several():
        this_process().wait_for_everyone()
        this_process().destroy_process_group()
