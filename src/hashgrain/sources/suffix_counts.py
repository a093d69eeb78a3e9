"""Files that are passed over, counted by suffix: nothing vanishes without a word."""

from __future__ import annotations

import os
from collections.abc import MutableMapping

OTHER = "other"
MOST_SUFFIXES = 100
LONGEST_SUFFIX = 16


def count_suffix(counts: MutableMapping[str, int] | None, name: str) -> None:
    """Count a file under its suffix, as ".mp4"; "" is none at all, "other" what is too long or one too many."""
    if counts is None:
        return
    suffix = os.path.splitext(name)[1].lower()
    if len(suffix) > LONGEST_SUFFIX or (suffix not in counts and len(counts) >= MOST_SUFFIXES):
        suffix = OTHER
    counts[suffix] = counts.get(suffix, 0) + 1
