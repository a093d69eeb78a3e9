"""`hashgrain update`: look again at every file of a library."""

from __future__ import annotations

import dataclasses
from typing import Annotated

import typer

from hashgrain.cli.output import Json, LibraryPath, Quiet, complain, print_json, print_line, progress_bar, say
from hashgrain.cli.remedies import told_reason, told_refusals


def update(
    library: LibraryPath,
    prune: Annotated[bool, typer.Option("--prune", help="Forget items whose file is gone.")] = False,
    yes: Annotated[
        bool, typer.Option("--yes", help="Forget them also where a disk may be missing, or most are gone.")
    ] = False,
    retry: Annotated[
        bool, typer.Option("--retry", help="Try files again that could not be read before and have not changed.")
    ] = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> int:
    """Look again at every file of LIBRARY: changed ones are encoded anew, moved ones found, missing ones named.

    With --prune, missing ones are forgotten, unless a whole folder of them is gone, as when a disk is not mounted.
    """
    from hashgrain.library import Library

    with Library.open(library, "w") as opened, progress_bar("looking", len(opened), quiet) as advance:
        report, gone = opened.update(
            prune=prune, even_most=yes, retry=retry, progress=lambda so_far: advance(so_far.seen)
        )
    if as_json:
        facts = {**dataclasses.asdict(report), "refused": told_refusals(report.refused)}
        print_json({**facts, "gone": [item.path for item in gone], "pruned": prune})
    else:
        for item in gone:
            say(f"gone: {item.path}", quiet)
        for refused in report.refused:
            complain(f"refused: {refused.path}: {told_reason(refused.reason)}")
        counts = {"moved": report.moved, "known to be unreadable": report.known_refused}
        more = "".join(f", {count} {word}" for word, count in counts.items() if count)
        kept = "removed" if prune else "kept; --prune removes them"
        missing = f", {len(gone)} gone ({kept})" if gone else ""
        print_line(f"{report.replaced} changed, {report.unchanged + report.touched} unchanged{more}{missing}")
    return 3 if report.refused or (gone and not prune) else 0
