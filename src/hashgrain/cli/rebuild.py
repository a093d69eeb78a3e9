"""`hashgrain rebuild`: rewrite the code segments of a library, or encode it with another model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from hashgrain.cli.exit_codes import OK, PARTLY
from hashgrain.cli.output import Json, LibraryPath, Quiet, print_json, print_line, progress_bar

if TYPE_CHECKING:
    from hashgrain.store import MendReport


def rebuild(
    library: LibraryPath,
    model: Annotated[
        str | None,
        typer.Option("--model", help="Encode every picture again with this model ('default' or a folder)."),
    ] = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> int:
    """Repair and compact LIBRARY from its catalogue. With --model, encode its pictures again."""
    from hashgrain.library import Library, rebuild, rebuild_with

    if model is None:
        codes, mended = rebuild(library)
        if as_json:
            print_json({"library": str(library), "codes": codes, "encoded": 0, **_document(mended)})
        else:
            print_line(f"{library}: {codes} codes written anew{_repairs(mended)}")
        return PARTLY if mended.lost or mended.lost_parts else OK
    with Library.open(library) as opened:
        total = len(opened)
    with progress_bar("encoding", total, quiet) as advance:
        report = rebuild_with(library, model, progress=lambda so_far: advance(so_far.seen))
    if as_json:
        facts = {"library": str(library), "codes": total, "encoded": report.encoded, "model": model}
        print_json({**facts, "seconds": round(report.seconds, 3)})
        return 0
    print_line(f"{library}: {total} pictures encoded with {model} in {report.seconds:.1f} s")
    return 0


def _document(mended: MendReport) -> dict[str, int]:
    changes = {"codes_mended": mended.codes, "changes_made_again": mended.changes, "changes_lost": mended.lost}
    return {**changes, "parts_mended": mended.parts, "parts_lost": mended.lost_parts}


def _repairs(mended: MendReport) -> str:
    """What was repaired, and what could not be."""
    words = ""
    if mended.changes:
        words += f"; {mended.changes} lost changes made again"
    if mended.codes:
        words += f"; {mended.codes} damaged codes replaced"
    if mended.parts:
        words += f"; damaged parts of {mended.parts} items replaced"
    if mended.lost_parts:
        words += f"; parts of {mended.lost_parts} items were too damaged and are gone, the items stay"
    if mended.lost:
        words += f"; {mended.lost} changes are lost, add the folders again to bring their pictures back"
    return words
