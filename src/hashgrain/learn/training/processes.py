"""Which of several processes this is, where torchrun started more than one."""

from __future__ import annotations

import os

import torch
from accelerate import PartialState


def several() -> bool:
    return int(os.environ.get("WORLD_SIZE", "1")) > 1


def this_process() -> PartialState:
    # accelerate joins processes without GPUs only where it is told to; else each would train a model of its own.
    return PartialState(cpu=several() and not torch.cuda.is_available())


def leave() -> None:
    """At the very end, all together: a process that just goes can bring down those that still hold a line to it."""
    if several():
        this_process().wait_for_everyone()
        this_process().destroy_process_group()
