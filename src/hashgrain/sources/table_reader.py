"""Reads a parquet table in a process of its own: a kilobyte of one may hold gigabytes, and its reader is C++.

    to the parent  + when it is ready, then for each row, and at the end: kind, JSON header, bytes of the picture

Kinds: P a picture and its metadata, R a row that is refused, T a table that cannot be read any further, E the end.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any, NamedTuple

from hashgrain.errors import SourceError
from hashgrain.files import open_regular
from hashgrain.media import processes
from hashgrain.media.formats import MAX_BYTES
from hashgrain.sources.notes import MAX_NOTES

COLUMNS = ("image", "bytes", "jpg", "jpeg", "png", "img", "picture", "content")
ROW_SECONDS = 120.0
MOST_ROWS = 4  # read at a time: each may be the same large value, by its number in a dictionary
BATCH_BYTES = 64 << 20  # read at a time, going by what a row takes on average
LONGEST_LIST = 64


class RowMessage(NamedTuple):
    kind: bytes
    header: dict[str, Any]
    content: Any = b""


def serve(path: str, first: str, memory: str) -> None:
    """Send the rows from number `first` on."""
    import pyarrow.parquet  # noqa: F401  before memory is capped, and before we say that we are ready

    processes.cap_memory(int(memory))
    processes.ready()
    try:
        for message in _messages(path, int(first)):
            processes.set_alarm(0)
            processes.send(sys.stdout.buffer, *message)
            processes.set_alarm(ROW_SECONDS)
        processes.send(sys.stdout.buffer, b"E", {})
    except BrokenPipeError:
        pass
    except Exception as error:  # pyarrow raises a dozen unrelated classes for damaged files
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        processes.send(sys.stdout.buffer, b"T", {"reason": (reason or type(error).__name__)[:300]})


def _messages(path: str, first: int) -> Iterator[RowMessage]:
    import pyarrow.parquet as parquet

    with (
        open(open_regular(path), "rb") as file,
        parquet.ParquetFile(file, pre_buffer=False, buffer_size=1 << 20) as table,
    ):
        picture, plain = _columns(table.schema_arrow)
        number = 0
        for group in range(table.num_row_groups):
            rows = table.metadata.row_group(group).num_rows
            if first >= number + rows:
                number += rows
                continue
            batches = table.iter_batches(
                _rows_at_once(table.metadata.row_group(group)),
                row_groups=[group],
                columns=[picture, *plain],
                use_threads=False,
            )
            for batch in batches:
                for row in range(batch.num_rows):
                    if number >= first:
                        yield _row(batch, row, picture, plain, number)
                    number += 1


def _rows_at_once(group: Any) -> int:
    size = sum(group.column(i).total_uncompressed_size for i in range(group.num_columns))
    return int(max(1, min(MOST_ROWS, BATCH_BYTES * group.num_rows // max(1, size))))


def _columns(schema: Any) -> tuple[str, list[str]]:
    """The column of pictures, and those whose values are plain enough to be metadata."""
    import pyarrow.types as types

    names = schema.names
    doubled = sorted({name for name in names if names.count(name) > 1}) if len(set(names)) < len(names) else []
    if doubled:
        raise SourceError(f"two columns are called {doubled[0]!r}")
    for name in COLUMNS:
        if name in names:
            kind = schema.field(name).type
            if _is_bytes(kind) or (types.is_struct(kind) and kind.get_field_index("bytes") >= 0):
                return name, [each for each in names if each != name and _is_plain(schema.field(each).type)]
    raise SourceError(f"no column of pictures; one is looked for under the names {', '.join(COLUMNS)}")


def _row(batch: Any, row: int, picture: str, plain: list[str], number: int) -> RowMessage:
    content = _content(batch.column(picture)[row])
    if isinstance(content, str):
        return RowMessage(b"R", {"row": number, "reason": content})
    meta: dict[str, Any] = {}
    room = MAX_NOTES
    for name in plain:
        try:
            value, size = _value(batch.column(name)[row])
        except Exception as error:  # a date past the year 9999, text that is no UTF-8, an unknown time zone …
            return RowMessage(b"R", {"row": number, "reason": f"its column {name!r} cannot be read ({error})"[:300]})
        room -= size + len(name)
        if room < 0:
            return RowMessage(b"R", {"row": number, "reason": f"its metadata is larger than {MAX_NOTES >> 20} MB"})
        if value is not None:
            meta[name] = value
    return RowMessage(b"P", {"row": number, "meta": meta}, content)


def _content(value: Any) -> Any:
    """The buffer of a picture's bytes, or why there is none. Text is never taken for a path."""
    import pyarrow.types as types

    if value.is_valid and types.is_struct(value.type):
        value = value["bytes"]
    if not value.is_valid:
        return "the row holds no picture"
    if not _is_bytes(value.type):
        return f"the row holds {value.type}, not the bytes of a picture"
    content = value.as_buffer()
    if content.size > MAX_BYTES:
        return f"the picture is larger than {MAX_BYTES >> 20} MB"
    return content if content.size else "the row holds no picture"


def _value(value: Any) -> tuple[Any, int]:
    """(a value that JSON can hold, or None; about how many bytes it takes)."""
    import pyarrow
    import pyarrow.types as types

    kind = value.type
    if not value.is_valid:
        return None, 0
    if types.is_dictionary(kind):
        return _value(value.value)
    if types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind):
        if len(value) > LONGEST_LIST:
            return None, 0
        parts = [_value(each) for each in value.values]
        return (None if any(each is None for each, _ in parts) else [each for each, _ in parts]), sum(
            s for _, s in parts
        )
    if types.is_string(kind) or types.is_large_string(kind):
        size = value.as_buffer().size
        return (value.as_py(), size) if size <= MAX_NOTES else ("", size)
    if types.is_timestamp(kind):  # Python's dates have no nanoseconds
        value = value.cast(pyarrow.timestamp("us", kind.tz), safe=False)
    plain = value.as_py()
    if types.is_date(kind) or types.is_timestamp(kind):
        return plain.isoformat(), 32
    return float(plain) if types.is_floating(kind) else plain, 8


def _is_bytes(kind: Any) -> bool:
    import pyarrow.types as types

    return bool(types.is_binary(kind) or types.is_large_binary(kind) or types.is_fixed_size_binary(kind))


def _is_plain(kind: Any, inside: bool = False) -> bool:
    import pyarrow.types as types

    if types.is_dictionary(kind):
        return _is_plain(kind.value_type, inside)
    if types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind):
        return not inside and _is_plain(kind.value_type, inside=True)
    plain = (types.is_boolean, types.is_integer, types.is_floating, types.is_string, types.is_large_string)
    return any(of(kind) for of in (*plain, types.is_date, types.is_timestamp))
