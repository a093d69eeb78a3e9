"""The options of `hashgrain search` for several examples: --like, --unlike, --like-weight."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from hashgrain.cli.queries import item_of
from hashgrain.errors import ItemMissingError

if TYPE_CHECKING:
    from hashgrain.library import Library


def are_several(query: object, item: object, like: Sequence[str], unlike: Sequence[str]) -> bool:
    """Whether there is more to ask with than one picture or item."""
    return len(like) > 1 or bool(unlike) or bool(like and not (query is None and item is None))


def example_options(
    library: Library, like: Sequence[str], unlike: Sequence[str], match: str | None, weights: Sequence[float] | None
) -> dict[str, Any]:
    """The arguments for a search with several examples."""
    if weights and match not in (None, "mean"):
        raise typer.BadParameter("--like-weight goes with --match mean")
    return {
        "like": [example_of(name, library, "--like") for name in like],
        "unlike": [example_of(name, library, "--unlike") for name in unlike],
        "match": match or ("mean" if weights else "any"),
        "like_weights": list(weights) if weights else None,
    }


def example_of(name: str, library: Library, option: str = "--like") -> int | Path:
    """The item of this path or id, or the picture of this path."""
    try:
        return item_of(name, library)
    except ItemMissingError as error:
        if os.path.isfile(name):
            return Path(name)
        if not name.isdecimal():
            error.remedy = f"{option} takes a picture, or the path or the id of an item"
        raise
