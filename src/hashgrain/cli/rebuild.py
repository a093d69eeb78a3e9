"""`hashgrain rebuild`: write a library's code segments anew, or encode it with another model."""

from __future__ import annotations

from typing import Annotated

import typer

from hashgrain.cli.output import Json, LibraryPath, Quiet, print_json, print_line, progress_bar


def rebuild(
    library: LibraryPath,
    model: Annotated[
        str | None,
        typer.Option("--model", help="Encode every picture again with this model ('default' or a folder)."),
    ] = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> int:
    """Mend and compact LIBRARY from its catalogue; with --model, encode its pictures again."""
    from hashgrain.library import Library, rebuild_with

    if model is None:
        with Library.open(library, "w") as opened:
            opened.rebuild()
            codes = len(opened)
        if as_json:
            print_json({"library": str(library), "codes": codes, "encoded": 0})
        else:
            print_line(f"{library}: {codes} codes written anew")
        return 0
    with Library.open(library) as opened:
        total = len(opened)
    with progress_bar("encoding", total, quiet) as advance:
        report = rebuild_with(library, model, progress=lambda so_far: advance(so_far.seen))
    if as_json:
        facts = {"library": str(library), "codes": report.added, "encoded": report.encoded, "model": model}
        print_json({**facts, "seconds": round(report.seconds, 3)})
        return 0
    print_line(f"{library}: {report.added} pictures encoded with {model} in {report.seconds:.1f} s")
    return 0
