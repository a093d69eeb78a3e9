"""Pictures in parquet files: a column of bytes (or Hugging Face's struct of bytes and path), a row a picture."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Generator, Iterator
from contextlib import closing
from typing import Any

from hashgrain.errors import ImageError, SourceError
from hashgrain.media import processes
from hashgrain.media.cost import physical_memory
from hashgrain.sources.source import Refused, Source
from hashgrain.sources.table_reader import COLUMNS as COLUMNS

MEMORY = 4 << 30  # address space of the process that reads a table; pages and row groups of honest ones are far smaller
READER = "hashgrain.sources.table_reader"


def table_sources(path: str) -> Iterator[Source | Refused]:
    """The pictures of a table; its other plain columns are their metadata."""
    try:
        changed = os.stat(path).st_mtime_ns
    except OSError as error:
        yield Refused(path, error.strerror or str(error))
        return
    with closing(_rows(path)) as rows:
        for kind, header, content in rows:
            if kind == b"T":
                yield Refused(path, f"the table cannot be read: {header['reason']}")
            elif kind == b"R":
                yield Refused(f"{path}#{header['row']}", header["reason"])
            else:
                name, stamp = f"{path}#{header['row']}", (len(content), changed)
                yield Source(name, lambda content=content: content, stamp, header["meta"])  # type: ignore[misc]


def read_row(path: str, number: int) -> bytes:
    """One picture of a table."""
    with closing(_rows(path, number)) as rows:
        kind, header, content = next(rows, (b"T", {"reason": "it has no such row any more"}, b""))
    if kind != b"P":
        raise ImageError(f"{path}#{number}: {header['reason']}", path=path)
    return content


def _rows(path: str, first: int = 0) -> Generator[tuple[bytes, dict[str, Any], bytes], None, None]:
    """The messages about rows from the process that reads the table."""
    need_pyarrow(path)
    memory = min(MEMORY, max(1 << 30, physical_memory() // 2))
    # Arrow's own allocators reserve address space by the gigabyte, which the cap would count.
    process = processes.start(
        READER, path, str(first), str(memory), environment={"ARROW_DEFAULT_MEMORY_POOL": "system"}
    )
    rows = first
    try:
        processes.await_ready(process)
        assert process.stdout is not None
        while (message := processes.receive(process.stdout))[0] != b"E":
            rows += 1
            yield message
            if message[0] == b"T":
                return
    except EOFError:
        reason = f"reading it takes more than {memory >> 20:,} MB or too long, or it is made to do harm (row {rows:,})"
        yield b"T", {"reason": reason}, b""
    finally:
        processes.end(process)


def need_pyarrow(path: str) -> None:
    try:
        installed = importlib.util.find_spec("pyarrow") is not None
    except ValueError:  # there is something by its name that was never imported
        installed = False
    if not installed:
        raise SourceError(f"{path}: parquet needs an extra: pip install 'hashgrain[parquet]'", path=path)
