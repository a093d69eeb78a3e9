"""Files that are passed over, counted by suffix: nothing vanishes without a word."""

from __future__ import annotations

import os
from collections.abc import MutableMapping

OTHER = "other"
MOST_SUFFIXES = 100
LONGEST_SUFFIX = 16


def count_passed(passed: MutableMapping[str, int] | None, name: str) -> None:
    """Count a file under its suffix, as ".mp4"; "" is none at all, "other" what is too long or one too many."""
    if passed is None:
        return
    suffix = os.path.splitext(name)[1].lower()
    if len(suffix) > LONGEST_SUFFIX or (suffix not in passed and len(passed) >= MOST_SUFFIXES):
        suffix = OTHER
    passed[suffix] = passed.get(suffix, 0) + 1
