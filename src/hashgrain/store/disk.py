"""The few calls by which the store writes files: made durable here, and made to fail here in tests."""

from __future__ import annotations

import os

from hashgrain.files import sync as sync
from hashgrain.files import sync_folder as sync_folder


def write_at(file: int, data: bytes, offset: int) -> None:
    """All of `data` at `offset`, however many calls the system takes for it."""
    os.lseek(file, offset, os.SEEK_SET)
    view = memoryview(data)
    while view:
        view = view[write(file, view) :]


def write(file: int, data: memoryview) -> int:
    return os.write(file, data)
