"""Bounds the size of a network from an untrusted description, before memory for it is allocated."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules import module as hooks

from hashgrain.errors import Remedy, TrainingError
from hashgrain.learn.backbones.weights import refuse_pickle
from hashgrain.models.session import first_line

MAX_PARTS = 10_000  # layers, including nested ones; the largest networks of timm's list have some thousands
MAX_NUMBER = 1 << 20  # in a description: widths, depths, words
MAX_VALUES = 10_000
SPARE = 1 << 26  # numbers that may come in addition to the file's: positions of another size, masks, a classifier


def check_plain(description: Any, where: str) -> None:
    """Refuse implausibly large numbers in a description; some networks allocate Python lists of such length."""
    left, seen = [description], 0
    while left:
        value, seen = left.pop(), seen + 1
        if (isinstance(value, int) and abs(value) > MAX_NUMBER) or seen > MAX_VALUES:
            raise TrainingError(f"{where} describes a network with {value!r:.40} in it, more than any has")
        left += value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()


def check_built(make: Callable[[], nn.Module], weights: Path, where: str) -> None:
    """Build the network on the meta device, and refuse it if it has far more numbers than its file of weights."""
    room = _numbers(weights) + SPARE
    parts = 0

    def more_parts(*_: Any) -> None:
        nonlocal parts
        parts += 1
        if parts > MAX_PARTS:
            raise TrainingError(f"{where} describes a network of more than {MAX_PARTS:,} layers, more than any has")

    def more_numbers(_: nn.Module, name: str, values: Tensor | None) -> None:
        nonlocal room
        room -= values.numel() if values is not None else 0
        if room < 0:
            raise TrainingError(f"{where} describes a network far larger than its weights (at {name})")

    watches = [
        hooks.register_module_module_registration_hook(more_parts),
        hooks.register_module_parameter_registration_hook(more_numbers),
        hooks.register_module_buffer_registration_hook(more_numbers),
    ]
    try:
        with torch.device("meta"):
            make()
    except TrainingError:
        raise
    except Exception as error:  # of a description that does not fit the library
        raise TrainingError(
            f"{where} cannot be built: {first_line(error)}",
            remedy=Remedy("another size, or version, may do", "other_size_or_version"),
        ) from None
    finally:
        for watch in watches:
            watch.remove()


def _numbers(weights: Path) -> int:
    """The count of numbers in a file, from its header."""
    from safetensors import SafetensorError, safe_open

    refuse_pickle(weights)
    try:
        with safe_open(weights, "pt") as opened:
            return sum(math.prod(opened.get_slice(name).get_shape()) for name in opened.keys())  # noqa: SIM118
    except (SafetensorError, OSError, ValueError) as error:
        raise TrainingError(f"{weights} is not a safetensors file, or a damaged one ({error}); get it again") from None
