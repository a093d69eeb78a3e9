"""Values on the command line: what `--meta`, `--set` and `--grains` take."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from hashgrain.codes import Grains


def key_value(pair: str, option: str) -> tuple[str, Any]:
    """`year=2021` is a number, `name=cat` a text: what JSON reads as a plain value is taken as one."""
    key, equals, text = pair.partition("=")
    if not equals or not key:
        raise typer.BadParameter(f"{pair!r} is not key=value", param_hint=option)
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return key, text
    return key, text if isinstance(value, (dict, list)) else value


def grains_of(text: str) -> Grains:
    """`kind:16,look:64`: names and widths of prefixes, coarse to fine."""
    from hashgrain.codes import Grains
    from hashgrain.errors import CodesError

    pairs = [part.partition(":") for part in text.split(",")]
    if any(not colon or not width.strip().isdecimal() for _, colon, width in pairs):
        raise typer.BadParameter(f"{text!r} is not NAME:BITS,NAME:BITS", param_hint="--grains")
    widths = {name.strip(): int(width) for name, _, width in pairs}
    if len(widths) < len(pairs) or list(widths.values()) != sorted(set(widths.values())):
        raise typer.BadParameter(
            f"{text!r}: each grain has a name of its own, and more bits than the one before", param_hint="--grains"
        )
    try:
        return Grains(widths)
    except CodesError as error:
        raise typer.BadParameter(str(error), param_hint="--grains") from None
