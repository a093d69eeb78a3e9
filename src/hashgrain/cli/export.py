"""`hashgrain export`: the codes of a library, for other programs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hashgrain.cli.output import Json, LibraryPath, Print0, Quiet, print_json, print_paths, say

if TYPE_CHECKING:
    from hashgrain.store import Item


def export(
    library: LibraryPath,
    out: Annotated[
        Path | None,
        typer.Argument(metavar="FILE", help=".csv, .parquet, .hgc or .npy; without it, JSON lines on stdout."),
    ] = None,
    print0: Print0 = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> int:
    """Write the codes of LIBRARY, and the facts of each picture, for other programs.

    A .csv holds everything, for spreadsheets: text that would be a formula there begins with an apostrophe. A
    .parquet holds ids, paths and codes, a .hgc paths and codes, a .npy codes only, all in the order of the ids.

    Example: hashgrain export photos.hg photos.csv
    """
    import dataclasses

    from hashgrain.codefiles import save_codes
    from hashgrain.library import Library

    if print0 and (as_json or out is not None):
        raise typer.BadParameter("--print0 prints paths only; leave out FILE and --json")
    with Library.open(library) as opened:
        codes, items = opened.codes()
        digest = opened.bundle.digest
    if out is not None:
        ids, paths = [item.id for item in items], [item.path for item in items]
        save_codes(out, codes, paths=paths, digest=digest, ids=ids, facts=[_facts(item) for item in items])
        if as_json:
            print_json({"library": str(library), "file": str(out), "codes": len(codes)})
        else:
            say(f"wrote {len(codes)} codes to {out}", quiet)
        return 0
    if print0:
        print_paths(item.path for item in items)
        return 0
    rows = zip(items, codes.to_bytes(), strict=True)
    documents = ({**dataclasses.asdict(item), "code": code.tobytes().hex()} for item, code in rows)
    if as_json:
        print_json([*documents])
        return 0
    for document in documents:
        print_json(document, indent=None)
    return 0


def _facts(item: Item) -> dict[str, Any]:
    """The columns of a table beside id, path and code."""
    import dataclasses

    return {name: value for name, value in dataclasses.asdict(item).items() if name not in ("id", "path")}
