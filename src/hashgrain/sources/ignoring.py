"""`.hashgrainignore`: names in a folder that are left out, a pattern a line."""

from __future__ import annotations

import fnmatch
from collections.abc import Sequence

from hashgrain.errors import SourceError
from hashgrain.files import read_regular

IGNORE_FILE = ".hashgrainignore"
MAX_IGNORE_BYTES = 64 << 10
MAX_PATTERNS = 1_000  # each is tried on each name of the folder and of those below


def read_patterns(file: str) -> tuple[str, ...]:
    """The patterns of an ignore file; one that cannot be read as such is an error that says why."""
    try:
        text = read_regular(file, MAX_IGNORE_BYTES).decode("utf-8", "surrogateescape")
    except OSError as error:
        raise SourceError(f"{error.strerror or error}") from None
    lines = [line.strip() for line in text.split("\n")]
    patterns = tuple(line for line in lines if line and not line.startswith("#"))
    if len(patterns) > MAX_PATTERNS:
        raise SourceError(f"has more than {MAX_PATTERNS:,} patterns")
    return patterns


def is_ignored(name: str, patterns: Sequence[str]) -> bool:
    return any(fnmatch.fnmatch(name, pattern) for pattern in patterns)
