"""`hashgrain remove`: take items out of a library."""

from __future__ import annotations

from typing import Annotated

import typer

from hashgrain.cli.output import Json, LibraryPath, print_json, print_line


def remove(
    library: LibraryPath,
    items: Annotated[
        list[str] | None, typer.Argument(metavar="PATH...", help="Files, or folders with all below them.")
    ] = None,
    ids: Annotated[list[int] | None, typer.Option("--id", help="An item's id. Repeatable.")] = None,
    forget: Annotated[
        bool, typer.Option("--forget", help="Do not keep the files out when they are added again.")
    ] = False,
    as_json: Json = False,
) -> int:
    """Remove items from LIBRARY: all that are named, or none. The picture files themselves are not touched.

    Later runs of `hashgrain add` leave the files out; `add --again` brings them back.
    """
    from hashgrain.library import Library

    if not items and not ids:
        raise typer.BadParameter("give paths, or --id", param_hint="PATH")
    with Library.open(library, "w") as opened:
        removed = opened.remove([*(items or []), *(ids or [])], forget=forget)
    if as_json:
        print_json({"removed": removed})
    else:
        print_line(f"removed {removed}")
    return 0
