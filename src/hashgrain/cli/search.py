"""`hashgrain search`: find the pictures nearest to one."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hashgrain.apps.page import file_address
from hashgrain.cli.output import (
    Json,
    JsonLines,
    LibraryPath,
    MaxPixels,
    Print0,
    Quiet,
    Threads,
    complain,
    print_json,
    print_paths,
    print_table,
    say,
)

if TYPE_CHECKING:
    from hashgrain.codes import Grains
    from hashgrain.library import Library
    from hashgrain.search import Hit


def search(
    library: LibraryPath,
    query: Annotated[
        str | None, typer.Argument(metavar="QUERY", help="A picture's path; - reads a picture from stdin.")
    ] = None,
    item: Annotated[int | None, typer.Option("--id", help="Ask with an item of the library instead.")] = None,
    k: Annotated[int, typer.Option("-k", help="How many to find.")] = 10,
    grain: Annotated[
        str | None,
        typer.Option("--grain", "-g", help="How fine to look: kind, thing or look. [default: the finest]"),
    ] = None,
    where: Annotated[
        str | None,
        typer.Option("--where", "-w", help='Keep items for which this holds: "year >= 2020 and width > 800".'),
    ] = None,
    within: Annotated[
        int | None,
        typer.Option("--within", help="Keep hits with at most this many differing bits at the grain."),
    ] = None,
    html: Annotated[Path | None, typer.Option("--html", help="Write a page with thumbnails to this file.")] = None,
    show: Annotated[bool, typer.Option("--open", help="Write the page and open it in the browser.")] = False,
    explain: Annotated[
        bool, typer.Option("--explain", help="Say how the answer was found: by which path, how many codes, what time.")
    ] = False,
    threads: Threads = None,
    max_pixels: MaxPixels = 100_000_000,
    print0: Print0 = False,
    as_json: Json = False,
    as_jsonl: JsonLines = False,
    quiet: Quiet = False,
) -> int:
    """Find the pictures of LIBRARY nearest to a picture, exactly.

    The distance counts differing bits at the grain; hits at equal distance are ordered by the whole code.
    In a pipe, each hit is a line: word, distance, id, path. A path with control characters or a backslash is shown
    escaped there (`a\\nb.jpg`); programs that need names as they are take --print0 or --json.

    Example: hashgrain search photos.hg cat.jpg -k 5 --grain thing
    """
    from hashgrain.library import Library

    if print0 + as_json + as_jsonl > 1:
        raise typer.BadParameter("--print0, --json and --jsonl are three ways to print; choose one")
    if (query is None) == (item is None):
        raise typer.BadParameter("give a picture, or --id of an item", param_hint="QUERY")
    asked: Any = item if query is None else sys.stdin.buffer.read() if query == "-" else Path(query)
    with Library.open(library) as opened:
        found = opened.explain(
            asked, k=k, grain=grain, where=where, within=within, threads=threads, max_pixels=max_pixels
        )
        hits = found.hits
        if html or show:
            _write_page(opened, asked, hits, html, show, quiet)
    if explain and as_json:
        print_json({"hits": [dataclasses.asdict(hit) for hit in hits], "explain": found.as_dict()})
        return 0
    if print0:
        print_paths(hit.path for hit in hits)
        return 0
    _show(hits, grain or opened.grains.finest, opened.grains, as_json, as_jsonl, quiet)
    if explain:
        complain(found.told())
    return 0


def _write_page(library: Library, asked: Any, hits: list[Hit], html: Path | None, show: bool, quiet: bool) -> None:
    from hashgrain.apps.answer_page import write_answer_page

    page = write_answer_page(library, asked, hits, html)
    say(f"wrote {page}", quiet)
    if show:
        typer.launch(page.absolute().as_uri())


def _show(hits: list[Hit], grain: str, grains: Grains, as_json: bool, as_jsonl: bool, quiet: bool) -> None:
    if as_json:
        print_json([dataclasses.asdict(hit) for hit in hits])
    elif as_jsonl:
        for hit in hits:
            print_json(dataclasses.asdict(hit), indent=None)
    else:
        rows = [(hit.word, hit.distance, hit.id, hit.path) for hit in hits]
        columns = ("", f"bits of {grains[grain]}", "id", "path")
        print_table(f"nearest at {grain}", columns, rows, [file_address(hit.path) for hit in hits])
        if not hits:
            say("nothing found", quiet)
