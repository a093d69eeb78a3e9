"""`hashgrain update`: look again at every file of a library."""

from __future__ import annotations

import dataclasses
from typing import Annotated

import typer

from hashgrain.cli.output import Json, LibraryPath, Quiet, complain, print_json, print_line, progress_bar, say


def update(
    library: LibraryPath,
    prune: Annotated[bool, typer.Option("--prune", help="Remove items whose file is gone.")] = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> int:
    """Look again at every file of LIBRARY: changed ones are encoded anew, missing ones are named."""
    from hashgrain.library import Library

    with Library.open(library, "w") as opened, progress_bar("looking", len(opened), quiet) as advance:
        report, gone = opened.update(prune=prune, progress=lambda so_far: advance(so_far.seen))
    if as_json:
        print_json({**dataclasses.asdict(report), "gone": [item.path for item in gone], "pruned": prune})
    else:
        for item in gone:
            say(f"gone: {item.path}", quiet)
        for refused in report.refused:
            complain(f"refused: {refused.path}: {refused.reason}")
        kept = "removed" if prune else "kept; --prune removes them"
        missing = f", {len(gone)} gone ({kept})" if gone else ""
        print_line(f"{report.replaced} changed, {report.unchanged + report.touched} unchanged{missing}")
    return 3 if report.refused or (gone and not prune) else 0
