"""Values on the command line: what `--meta`, `--set` and `--box` take."""

from __future__ import annotations

import json
from typing import Any

import typer


def key_value(pair: str, option: str) -> tuple[str, Any]:
    """`year=2021` is a number and `name=cat` text: whatever JSON reads as a plain value is that value."""
    key, equals, text = pair.partition("=")
    if not equals or not key:
        raise typer.BadParameter(f"{pair!r} is not key=value", param_hint=option)
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return key, text
    return key, text if isinstance(value, (dict, list)) else value


def box_of(text: str) -> tuple[float, float, float, float]:
    """`0.1,0.2,0.5,0.6` or `64,48,320,240`: the edges of a box."""
    try:
        left, top, right, bottom = (float(edge) for edge in text.split(","))
    except ValueError:
        raise typer.BadParameter(f"{text!r} is not left,top,right,bottom", param_hint="--box") from None
    return left, top, right, bottom
