"""`hashgrain migrate`: convert a library to the newest format, or take it back to the one before."""

from __future__ import annotations

from typing import Annotated

import typer

from hashgrain.cli.output import Json, LibraryPath, print_json, print_line


def migrate(
    library: LibraryPath,
    undo: Annotated[bool, typer.Option("--undo", help="Go back to the format before, for an older HashGrain.")] = False,
    as_json: Json = False,
) -> int:
    """Convert LIBRARY to the newest format, in one step. The first command that writes to it does so, too.

    Example: hashgrain migrate photos.hg
    """
    from hashgrain import store

    done = store.undo(library) if undo else store.migrate(library)
    if as_json:
        print_json({"library": str(library), "from": done.old, "to": done.new, "items": done.items})
    elif done.old == done.new:
        print_line(f"{library} has format {done.new} already")
    else:
        print_line(f"{library}: {done.items} items converted from format {done.old} to format {done.new}")
    return 0
