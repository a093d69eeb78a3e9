"""Pictures of a folder from which others than its owner may add: none that a link leads to outside."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

from hashgrain.media.formats import SUFFIXES
from hashgrain.sources import Refused, find
from hashgrain.types import OpenSource

OUTSIDE = "a link leads out of the folder"


def pictures_in(
    folder: Path, changed: frozenset[str] | None = None, *, left_out: Callable[[str], object] = lambda reason: None
) -> Iterator[OpenSource]:
    """The pictures below a folder, by their real paths: a link to elsewhere is not followed. With `changed`, only those
    among these paths or below one of them. `left_out` hears why something is not among them."""
    home = os.path.realpath(folder)
    for each in find([os.path.abspath(folder)]):
        if changed is not None and not _is_among(each.path, changed):
            continue
        if isinstance(each, Refused):
            left_out(each.reason)
        elif not is_below(each.path, home):
            left_out(OUTSIDE)
        else:
            yield each


def is_below(path: str, home: str) -> bool:
    """Whether a path leads to something below a folder, which is given by its real path."""
    return os.path.realpath(path).startswith(home.rstrip(os.sep) + os.sep)


def may_hold_pictures(path: str) -> bool:
    """Whether it is worth looking at what changed here: at a folder, or at a file with the name of a picture."""
    suffix = os.path.splitext(path)[1].lower()
    hidden = os.path.basename(path).startswith(".")
    return not hidden and (not suffix or suffix in SUFFIXES or os.path.isdir(path))


def _is_among(path: str, changed: frozenset[str]) -> bool:
    while path not in changed:
        above = os.path.dirname(path)
        if above == path:
            return False
        path = above
    return True
