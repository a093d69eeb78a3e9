"""Counts, by suffix, of the files that are passed over, so that none disappears silently."""

from __future__ import annotations

import os
from collections.abc import MutableMapping

OTHER = "other"
MOST_SUFFIXES = 100
LONGEST_SUFFIX = 16


def count_suffix(counts: MutableMapping[str, int] | None, name: str) -> None:
    """Count a file under its suffix, such as ".mp4"; "" is no suffix, "other" one that is too long or one too many."""
    if counts is None:
        return
    suffix = os.path.splitext(name)[1].lower()
    if len(suffix) > LONGEST_SUFFIX or (suffix not in counts and len(counts) >= MOST_SUFFIXES):
        suffix = OTHER
    counts[suffix] = counts.get(suffix, 0) + 1
