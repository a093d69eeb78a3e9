"""The few calls that write files of the store durably. Tests make them fail here."""

from __future__ import annotations

import os

from hashgrain.files import sync as sync
from hashgrain.files import sync_folder as sync_folder


def write_at(file: int, data: bytes, offset: int) -> None:
    """Write all of `data` at `offset`, in as many calls as the system needs."""
    os.lseek(file, offset, os.SEEK_SET)
    view = memoryview(data)
    while view:
        view = view[write(file, view) :]


def write(file: int, data: memoryview) -> int:
    return os.write(file, data)
