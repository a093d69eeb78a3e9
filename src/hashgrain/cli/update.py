"""`hashgrain update`: check every file of a library again."""

from __future__ import annotations

import dataclasses
from typing import Annotated

import typer

from hashgrain.cli.exit_codes import OK, PARTLY
from hashgrain.cli.output import Json, LibraryPath, Quiet, complain, print_json, print_line, progress_bar, say
from hashgrain.cli.remedies import reason_text, refusal_documents


def update(
    library: LibraryPath,
    prune: Annotated[bool, typer.Option("--prune", help="Remove items whose file is gone.")] = False,
    yes: Annotated[
        bool, typer.Option("--yes", help="Remove them even where a disk may be missing, or most files are gone.")
    ] = False,
    retry: Annotated[
        bool, typer.Option("--retry", help="Try files again that could not be read before and have not changed.")
    ] = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> int:
    """Check every file of LIBRARY again: changed files are encoded again, moved files are found, missing files named.

    --prune removes the items of missing files, unless a whole folder is gone, as when a disk is not mounted.
    """
    from hashgrain.library import Library

    with Library.open(library, "w") as opened, progress_bar("looking", len(opened), quiet) as advance:
        report, gone = opened.update(
            prune=prune, even_most=yes, retry=retry, progress=lambda so_far: advance(so_far.seen)
        )
    if as_json:
        facts = {**dataclasses.asdict(report), "refused": refusal_documents(report.refused)}
        print_json({**facts, "gone": [item.path for item in gone], "pruned": prune})
    else:
        for item in gone:
            say(f"gone: {item.path}", quiet)
        for refused in report.refused:
            complain(f"refused: {refused.path}: {reason_text(refused.reason)}")
        counts = {"moved": report.moved, "known to be unreadable": report.known_refused}
        more = "".join(f", {count} {word}" for word, count in counts.items() if count)
        outcome = "removed" if prune else "kept; --prune removes them"
        missing = f", {len(gone)} gone ({outcome})" if gone else ""
        print_line(f"{report.replaced} changed, {report.unchanged + report.touched} unchanged{more}{missing}")
    return PARTLY if report.refused or (gone and not prune) else OK
