"""Memory that a step frees stays with the process, for the next step.

glibc gives large blocks back to the system as they are freed. Every step of training on a CPU then begins with new
pages, which the system has to fill with zeros.
"""

from __future__ import annotations

import ctypes

# Of mallopt, in malloc.h.
_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD = -1, -2, -3
_LARGEST = 2**31 - 1
_AT_ONCE = 256 << 20  # bytes asked of the system


def keep_freed_memory() -> bool:
    """Whether it could be set: elsewhere than on Linux with glibc, nothing changes."""
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError, TypeError):
        return False
    wanted = {_MMAP_THRESHOLD: _LARGEST, _TRIM_THRESHOLD: _LARGEST, _TOP_PAD: _AT_ONCE}
    return all(mallopt(option, value) == 1 for option, value in wanted.items())
