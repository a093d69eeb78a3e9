"""`hashgrain why`: show what a hit and the query have in common."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hashgrain.cli.output import (
    DEFAULT_MAX_PIXELS,
    Json,
    LibraryPath,
    MaxPixels,
    Quiet,
    complain,
    print_json,
    print_line,
    say,
)

if TYPE_CHECKING:
    from hashgrain.apps.why import Why
    from hashgrain.library import Library


def why(
    library: LibraryPath,
    query: Annotated[
        str, typer.Argument(metavar="QUERY", help="A picture; - reads one from stdin. Or the path or id of an item.")
    ],
    hit: Annotated[str, typer.Argument(metavar="HIT", help="The item to explain: its path or id.")],
    out: Annotated[Path | None, typer.Option("--out", help="Write the account as a picture to this .png file.")] = None,
    grain: Annotated[
        str | None,
        typer.Option("--grain", "-g", help="The grain to explain: kind, thing, look. (default: the finest)"),
    ] = None,
    max_pixels: MaxPixels = DEFAULT_MAX_PIXELS,
    as_json: Json = False,
    quiet: Quiet = False,
) -> int:
    """Show why the item HIT of LIBRARY is found for QUERY: where the two pictures agree, and in how many bits.

    The picture that --out writes shows both, the part of the hit that matched in a box, and a heat map over each: how
    many bits the code of the window around a place has in common with the code of the other picture. At the finest
    grain a third map shows how many more bits differ when a patch of the hit is blank. Below are the bits that agree at
    each grain, and the labels nearest to each code where the model knows words.

    Both files are read again, so they have to be there. How the search itself went: `search --explain`.

    Example: hashgrain why photos.hg cat.jpg 12 --out why.png
    """
    from hashgrain.apps.why import drawn, explain_hit
    from hashgrain.cli.queries import item_of
    from hashgrain.files import write_atomically
    from hashgrain.library import Library

    if out is not None and out.suffix.lower() != ".png":
        raise typer.BadParameter(f"{out} is no .png file", param_hint="--out")
    with Library.open(library) as opened:
        grain = None if grain is None else opened.grains.named(grain)
        asked = _asked_with(query, opened)
        account = explain_hit(opened, asked, item_of(hit, opened, "HIT"), grain=grain, max_pixels=max_pixels)
    if out is not None:
        write_atomically(out, drawn(account))
    if as_json:
        print_json({"library": str(library), "file": None if out is None else str(out), **account.as_dict()})
        return 0
    for line in _summary(account):
        print_line(line)
    for note in account.notes:
        complain(f"note: {note}")
    if out is not None:
        say(f"wrote {out}", quiet)
    return 0


def _asked_with(query: str, library: Library) -> Any:
    """A file goes before the id of an item."""
    from hashgrain.cli.queries import asked_with

    if query.isdecimal() and query.isascii() and not os.path.lexists(query):
        return library.item(int(query)).id
    return asked_with(query, None, library)


def _summary(account: Why) -> list[str]:
    found = account.found
    place = "the whole" if account.box is None else "the part " + ",".join(f"{edge:.2f}" for edge in account.box)
    word = f"{found.word}, " if found.word else ""
    lines = [f"{word}score {found.score:.4f} at {found.grain}, by {place} of {found.path}"]
    lines += [f"{grain}: {agree} of {of} bits agree" for grain, (agree, of) in account.bits.items()]
    for name, side in (("query", account.query), ("hit", account.hit)):
        lines += [f"labels nearest to the {name}: {', '.join(side.labels)}"] if side.labels else []
    return lines
