"""Values on the command line: what `--meta` and `--set` take."""

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
