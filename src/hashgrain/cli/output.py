"""How the command speaks: results on stdout, everything else on stderr, progress only on a terminal."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hashgrain.cli.remedies import error_text
from hashgrain.errors import FilterError, HashgrainError
from hashgrain.media.cost import DEFAULT_MAX_PIXELS as DEFAULT_MAX_PIXELS

if TYPE_CHECKING:
    from rich.progress import Progress

LibraryPath = Annotated[Path, typer.Argument(metavar="LIBRARY", help="The library's folder, such as photos.hg.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]
Print0 = Annotated[
    bool, typer.Option("--print0", "-0", help="Print paths only, byte for byte, with a zero byte after each.")
]
JsonLines = Annotated[bool, typer.Option("--jsonl", help="Print one JSON document a line.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print only results and errors.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Remove them; without it, say what would be removed.")]
Model = Annotated[
    str, typer.Option("--model", help="The model: a name `hashgrain models` lists, or a bundle's folder.")
]
MaxPixels = Annotated[int, typer.Option("--max-pixels", min=1, help="Refuse pictures with more pixels than this.")]

Threads = Annotated[int | None, typer.Option("--threads", help="Threads to search with. (default: one a core)")]


# What a terminal obeys or that hides what follows: controls, line and paragraph ends, marks of writing direction,
# and half characters, which undecodable bytes of a name are made of.
UNSHOWN = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
UNSHOWN_OR_BACKSLASH = re.compile(UNSHOWN.pattern[:-1] + r"\\]")
SHORT = {"\n": r"\n", "\t": r"\t", "\r": r"\r", "\\": r"\\"}


def escape(text: str, *, exact: bool = False) -> str:
    """The text as one line that is safe to print: what is no plain character becomes \\n, \\x1b or \\u202e.

    Names come from files, archives and models of strangers, and a terminal obeys escape sequences. With `exact` a
    backslash is doubled, so that no two names look alike; not on Windows, where it parts the folders of a path.
    """
    return (UNSHOWN_OR_BACKSLASH if exact and os.sep == "/" else UNSHOWN).sub(_escaped, text)


def _escaped(match: re.Match[str]) -> str:
    character = match[0]
    if character in SHORT:
        return SHORT[character]
    number = ord(character)
    if 0xDC80 <= number <= 0xDCFF:  # a byte of a file name that is no UTF-8
        return f"\\x{number - 0xDC00:02x}"
    return f"\\x{number:02x}" if number < 0x80 else f"\\u{number:04x}"


def complain(text: str) -> None:
    """One line on stderr, whatever names it holds."""
    print(escape(text), file=sys.stderr, flush=True)


def complain_of(error: HashgrainError) -> None:
    """An error as a line; one about a filter shows the place in lines of its own."""
    text = error_text(error)
    first, *more = text.split("\n") if isinstance(error, FilterError) else [text]
    for line in (f"error: {first}", *more):
        complain(line)


def complain_in_json(code: str, message: str, path: str | None = None, remedy: str | None = None) -> None:
    """An error as one line of JSON on stderr, for a program that asked for JSON; stdout holds results only."""
    error = {"code": code, "message": message, "path": path, "remedy": remedy}
    print(json.dumps({"error": error}), file=sys.stderr, flush=True)


def say(text: str, quiet: bool = False) -> None:
    if not quiet:
        complain(text)


def print_line(text: str) -> None:
    """One line on stdout, whatever names it holds."""
    _write(escape(text).encode())


def print_row(*cells: object) -> None:
    """Cells with tabs between them, on stdout; escaped exactly, so that none can pass for two."""
    _write("\t".join(escape(str(cell), exact=True) for cell in cells).encode())


def print_page(text: str) -> None:
    """A text of many lines, each safe to print."""
    _write("\n".join(map(escape, text.split("\n"))).encode())


def print_json(value: Any, *, indent: int | None = 2) -> None:
    _write(json.dumps(value, indent=indent).encode())  # ASCII only: odd names become \udcXX and read back the same


def print_paths(paths: Iterable[str]) -> None:
    """For other programs: each path byte for byte as it is on disk, with a zero byte after it."""
    _write(b"".join(os.fsencode(path) + b"\0" for path in paths), end=b"")


def _write(content: bytes, end: bytes = b"\n") -> None:
    try:
        sys.stdout.flush()
        sys.stdout.buffer.write(content + end)
        sys.stdout.buffer.flush()
    except BrokenPipeError:
        raise
    except OSError as error:  # a disk that is full names no file
        error.filename = error.filename or "standard output"
        raise


def print_table(
    title: str, columns: Sequence[str], rows: Sequence[Sequence[object]], links: Sequence[str | None]
) -> None:
    """A table on a terminal, with clickable rows; tab-separated lines in a pipe. Cells are escaped exactly."""
    if not sys.stdout.isatty():
        for row in rows:
            print_row(*row)
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(title=Text(escape(title)), title_justify="left", box=None, pad_edge=False)
    for column in columns:
        table.add_column(Text(escape(column)), overflow="fold")
    for row, link in zip(rows, links, strict=True):
        cells = [Text(escape(str(cell), exact=True)) for cell in row]
        if link:
            cells[-1].stylize(f"link {link}")
        table.add_row(*cells)
    Console().print(table)


def print_facts(facts: Mapping[str, object]) -> None:
    """Names and values, one a line."""
    width = max(map(len, facts), default=0)
    for name, value in facts.items():
        _write(f"{escape(name):<{width}}  {escape(str(value), exact=True)}".encode())


def as_labels(facts: Mapping[str, object]) -> dict[str, object]:
    """Facts under the names a person reads: the keys of JSON with spaces."""
    return {name.replace("_", " "): value for name, value in facts.items()}


@contextmanager
def progress_bar(what: str, total: int | None, quiet: bool) -> Iterator[Any]:
    """Yields a function to call with the number done. Draws on stderr, and only where a person looks on."""
    if quiet or not sys.stderr.isatty():
        yield lambda done: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, SpinnerColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
    )
    with Bar(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(what, total=total, rate="")
        yield lambda done: _advance(bar, task, done)


def _advance(bar: Progress, task: Any, done: int) -> None:
    elapsed = bar.tasks[0].elapsed or 0.0
    bar.update(task, completed=done, rate=f"{done / elapsed:.0f}/s" if elapsed > 0.5 else "")
