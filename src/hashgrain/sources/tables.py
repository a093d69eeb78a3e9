"""Pictures in parquet files: a column of bytes (or Hugging Face's struct of bytes and path), a row a picture."""

from __future__ import annotations

import datetime
import os
from collections.abc import Iterator
from typing import Any

from hashgrain.errors import ImageError, SourceError
from hashgrain.sources.source import Refused, Source

ROWS = 256  # read at a time
COLUMNS = ("image", "bytes", "jpg", "jpeg", "png", "img", "picture", "content")
PLAIN = (str, int, float, bool, datetime.date, datetime.datetime)


def table_sources(path: str) -> Iterator[Source | Refused]:
    """The pictures of a table; its other plain columns are their metadata."""
    table = _opened(path)
    column = _picture_column(table, path)
    changed = os.stat(path).st_mtime_ns
    number = 0
    try:
        for batch in table.iter_batches(ROWS):
            for row in batch.to_pylist():
                picture = row.pop(column)
                content = picture.get("bytes") if isinstance(picture, dict) else picture
                name = f"{path}#{number}"
                number += 1
                if not content:
                    yield Refused(name, "the row holds no picture")
                    continue
                meta = {key: _plain(value) for key, value in row.items() if _is_plain(value)}
                yield Source(name, lambda content=content: content, (len(content), changed), meta)  # type: ignore[misc]
    except (OSError, ValueError) as error:
        yield Refused(path, f"the table is damaged after row {number} ({error})")


def read_row(path: str, number: int) -> bytes:
    """One picture of a table."""
    table = _opened(path)
    column = _picture_column(table, path)
    for group in range(table.num_row_groups):
        rows = table.metadata.row_group(group).num_rows
        if number < rows:
            value = table.read_row_group(group, columns=[column]).slice(number, 1).to_pylist()[0][column]
            content = value.get("bytes") if isinstance(value, dict) else value
            return bytes(content or b"")
        number -= rows
    raise ImageError(f"{path}#{number}: the table has no such row any more")


def _opened(path: str) -> Any:
    try:
        import pyarrow.parquet
    except ImportError:
        raise SourceError(f"{path}: parquet needs an extra: pip install 'hashgrain[parquet]'") from None
    try:
        return pyarrow.parquet.ParquetFile(path)
    except (OSError, ValueError) as error:
        raise SourceError(f"{path} is not a parquet file we can read ({error})") from None


def _picture_column(table: Any, path: str) -> str:
    import pyarrow.types as types

    schema = table.schema_arrow
    for name in COLUMNS:
        if name in schema.names:
            kind = schema.field(name).type
            if types.is_binary(kind) or types.is_large_binary(kind):
                return name
            if types.is_struct(kind) and kind.get_field_index("bytes") >= 0:
                return name
    raise SourceError(f"{path} has no column of pictures; one is looked for under the names {', '.join(COLUMNS)}")


def _is_plain(value: Any) -> bool:
    if isinstance(value, list):
        return len(value) <= 64 and all(isinstance(each, PLAIN) for each in value)
    return isinstance(value, PLAIN)


def _plain(value: Any) -> Any:
    if isinstance(value, list):
        return [_plain(each) for each in value]
    return value.isoformat() if isinstance(value, datetime.date) else value
