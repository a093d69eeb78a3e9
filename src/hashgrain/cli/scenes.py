"""`hashgrain scenes`: a library as a tree of kinds and things."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hashgrain.cli.groups import INDENT, radii_of
from hashgrain.cli.output import Json, LibraryPath, Quiet, Threads, print_json, print_table, progress_bar, say
from hashgrain.report.page import file_address
from hashgrain.report.tree_page import PICTURES

if TYPE_CHECKING:
    from hashgrain.apps.scenes import Scenes
    from hashgrain.search.groups import Group
    from hashgrain.store import Item


def scenes(
    library: LibraryPath,
    out: Annotated[Path | None, typer.Option("--out", help="Write a page with thumbnails to this file.")] = None,
    grain: Annotated[
        str | None,
        typer.Option("--grain", "-g", help="The finest grain to group by. (default: the finest of the model)"),
    ] = None,
    where: Annotated[
        str | None,
        typer.Option("--where", "-w", help='Group the items for which this holds: "year >= 2020 and width > 800".'),
    ] = None,
    radius: Annotated[
        str | None,
        typer.Option("--radius", help="How many bits a group spans at a grain, such as kind:8,thing:20."),
    ] = None,
    pictures: Annotated[
        int, typer.Option("--pictures", min=1, help="About how many pictures the page shows.")
    ] = PICTURES,
    threads: Threads = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> int:
    """Group all pictures of LIBRARY: kinds contain things, things contain looks, the largest first.

    Each group is represented by a picture that is near to many others. It is named where the model knows words: by a
    label that it was trained with, or by the classes that it is like. Near copies of one picture count as one look.

    In a pipe, each group of several pictures above the looks is a line: grain, number of pictures, id and path of the
    picture that represents it, name. --json has every group and picture. The page needs no scripts and no other files.

    Example: hashgrain scenes photos.hg --out scenes.html
    """
    from hashgrain.apps.scenes import scenes as group_library
    from hashgrain.library import Library

    with Library.open(library) as opened:
        finest, grain = opened.grains.finest, None if grain is None else opened.grains.named(grain)
        with progress_bar("comparing", len(opened) if where is None else None, quiet) as advance:
            found = group_library(
                opened, where=where, grain=grain, radii=radii_of(radius), threads=threads, progress=advance
            )
        if out is not None:
            from hashgrain.apps.group_page import write_scenes_page

            with progress_bar("drawing", None, quiet) as advance:
                write_scenes_page(opened, found, out, pictures=pictures, progress=advance)
            say(f"wrote {out}", quiet)
    if as_json:
        print_json(found.as_dict())
    elif out is None:
        _print(found, finest, quiet)
    if not found.items:
        say("no pictures to group", quiet)
    return 0


def _print(found: Scenes, folded: str, quiet: bool) -> None:
    """The groups of several pictures; of near copies, the grain `folded`, only where nothing else is grouped."""
    from hashgrain.apps.group_page import summary

    hidden = folded if len(found.levels) > 1 else ""
    rows = [row for group in found.groups for row in _rows(found, group, hidden, "")]
    if not sys.stdout.isatty():  # for programs
        rows = [[str(grain).strip(), *cells] for grain, *cells in rows]
    columns = ["group", "pictures", "name", "id", "path"]
    print_table("groups, largest first", columns, rows, [file_address(str(row[-1])) for row in rows])
    if found.groups:
        alone = sum(group.count == 1 for group in found.groups)
        say(f"{summary(found.groups)}; {alone:,} on their own", quiet)


def _rows(found: Scenes, group: Group[Item], hidden: str, indent: str) -> Iterator[list[object]]:
    if group.count == 1 or group.grain == hidden:
        return
    shown = group.representative
    yield [indent + group.grain, group.count, found.name(group) or "", shown.id, shown.path]
    for finer in group.groups:
        yield from _rows(found, finer, hidden, indent + INDENT)
