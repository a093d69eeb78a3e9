"""`hashgrain meta`: show and change the metadata of pictures."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from hashgrain.cli.output import Json, LibraryPath, print_json, print_line, print_table
from hashgrain.cli.values import key_value


def meta(
    library: LibraryPath,
    paths: Annotated[
        list[str] | None, typer.Argument(metavar="PATH...", help="Files, or folders with all below them.")
    ] = None,
    ids: Annotated[list[int] | None, typer.Option("--id", help="An item's id. Repeatable.")] = None,
    where: Annotated[
        str | None, typer.Option("--where", "-w", help="Only items that fit, such as \"album = 'May'\".")
    ] = None,
    put: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Set a key; place.city is one within another. Repeatable."),
    ] = None,
    drop: Annotated[
        list[str] | None, typer.Option("--unset", metavar="KEY", help="Take a key out. Repeatable.")
    ] = None,
    as_json: Json = False,
) -> int:
    """Change the metadata of pictures in LIBRARY, or print it if no change is given.

    Without names and without --where, that is the metadata of all pictures.

    Example: hashgrain meta photos.hg ~/Pictures/Rome --set place.city=Rome --unset todo
    """
    fields = dict(key_value(pair, "--set") for pair in put or [])
    named: list[str | int | Path] | None = [*(paths or []), *(ids or [])] or None
    if not fields and not drop:
        return _show(library, named, where, as_json)
    from hashgrain.library import Library

    with Library.open(library, "w") as opened:
        changed = opened.meta(named, where=where, set=fields, unset=drop or [])
    if as_json:
        print_json({"changed": changed})
    else:
        print_line(f"changed the metadata of {changed}")
    return 0


def _show(library: Path, named: list[str | int | Path] | None, where: str | None, as_json: bool) -> int:
    from hashgrain.library import Library

    with Library.open(library) as opened:
        items = opened.items(named, where=where)
    if as_json:
        print_json([{"id": item.id, "path": item.path, "meta": item.meta} for item in items])
    else:
        rows = [(item.id, item.path, json.dumps(item.meta, ensure_ascii=False)) for item in items]
        print_table("", ("id", "path", "metadata"), rows, [None] * len(rows))
    return 0
