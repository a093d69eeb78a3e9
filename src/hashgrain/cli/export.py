"""`hashgrain export`: the codes of a library, for other programs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hashgrain.cli.output import LibraryPath, Print0, Quiet, print_json, print_paths, say


def export(
    library: LibraryPath,
    out: Annotated[
        Path | None,
        typer.Argument(metavar="FILE", help=".hgc, .npy or .parquet; without it, JSON lines on stdout."),
    ] = None,
    print0: Print0 = False,
    quiet: Quiet = False,
) -> int:
    """Write the codes and paths of LIBRARY to a file other programs can read."""
    import dataclasses

    from hashgrain.codefiles import save_codes
    from hashgrain.library import Library

    with Library.open(library) as opened:
        codes, items = opened.codes()
        if out is not None:
            save_codes(out, codes, paths=[item.path for item in items], digest=opened.bundle.digest)
            say(f"wrote {len(codes)} codes to {out}", quiet)
            return 0
    if print0:
        print_paths(item.path for item in items)
        return 0
    for item, code in zip(items, codes.to_bytes(), strict=True):
        print_json({**dataclasses.asdict(item), "code": code.tobytes().hex()}, indent=None)
    return 0
