"""Keys of JSON for programs: words joined by underscores, whatever their source calls them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

# Below these the keys are names of data: of grains, figures, labels, files, metadata. They stay as they are.
NAMED = frozenset(
    (
        "bits_alike",
        "classes",
        "details",
        "figures",
        "files",
        "grains",
        "meta",
        "passed",
        "seeds",
        "spread",
        "validation",
    )
)
APART = re.compile(r"[^0-9a-z]+")


def snake_keys(value: Any) -> Any:
    """The document with its keys in snake_case, at every depth but below NAMED."""
    if isinstance(value, Mapping):
        named = ((_snake(str(key)), each) for key, each in value.items())
        return {name: each if name in NAMED else snake_keys(each) for name, each in named}
    return [snake_keys(each) for each in value] if isinstance(value, (list, tuple)) else value


def _snake(key: str) -> str:
    return APART.sub("_", key.lower()).strip("_")
