"""How the command speaks: results on stdout, everything else on stderr, progress only on a terminal."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from rich.progress import Progress

LibraryPath = Annotated[Path, typer.Argument(metavar="LIBRARY", help="The library's folder, such as photos.hg.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]
JsonLines = Annotated[bool, typer.Option("--jsonl", help="Print one JSON document a line.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Say nothing but results and errors.")]
Model = Annotated[str, typer.Option("--model", help="The model: 'default', or a bundle's folder.")]
MaxPixels = Annotated[int, typer.Option("--max-pixels", min=1, help="Refuse pictures with more pixels than this.")]

Threads = Annotated[int | None, typer.Option("--threads", help="Threads to search with. [default: one a core]")]


def complain(text: str) -> None:
    """A line on stderr. File names may hold bytes that are no text; they must not stop the message."""
    print(text.encode("utf-8", "backslashreplace").decode(), file=sys.stderr, flush=True)


def say(text: str, quiet: bool = False) -> None:
    if not quiet:
        complain(text)


def print_line(text: str) -> None:
    """A line on stdout, file names byte for byte as they are on disk."""
    sys.stdout.flush()
    sys.stdout.buffer.write(text.encode("utf-8", "surrogateescape") + b"\n")
    sys.stdout.buffer.flush()


def print_json(value: Any, *, indent: int | None = 2) -> None:
    print_line(json.dumps(value, indent=indent))  # ASCII only: odd file names become \udcXX and read back the same


def print_table(
    title: str, columns: Sequence[str], rows: Sequence[Sequence[object]], links: Sequence[str | None]
) -> None:
    """A table on a terminal, with clickable rows; tab-separated lines in a pipe."""
    if not sys.stdout.isatty():
        for row in rows:
            print_line("\t".join(map(str, row)))
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(title=title, title_justify="left", box=None, pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold")
    for row, link in zip(rows, links, strict=True):
        cells = [Text(str(cell).encode("utf-8", "replace").decode()) for cell in row]
        if link:
            cells[-1].stylize(f"link {link}")
        table.add_row(*cells)
    Console().print(table)


def print_facts(facts: Mapping[str, object]) -> None:
    """Names and values, one a line."""
    width = max(map(len, facts), default=0)
    for name, value in facts.items():
        print_line(f"{name:<{width}}  {value}")


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
