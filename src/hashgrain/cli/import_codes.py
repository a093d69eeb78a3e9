"""`hashgrain import`: bring the codes of another program into a library."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from hashgrain.cli.output import Json, LibraryPath, Quiet, print_json, print_line
from hashgrain.cli.values import key_value

if TYPE_CHECKING:
    from hashgrain.codes import Grains


def import_codes(
    library: LibraryPath,
    codes: Annotated[Path, typer.Argument(metavar="CODES", help="A .npy, .hgc or .parquet file of codes.")],
    paths: Annotated[
        Path | None, typer.Option("--paths", help="A file with a path a line, in the order of the codes.")
    ] = None,
    model: Annotated[
        str | None,
        typer.Option("--model", help="The model that made the codes. With it, pictures can be queries, too."),
    ] = None,
    made_by: Annotated[
        str | None, typer.Option("--made-by", help="A name for what made the codes, if it is not a bundle.")
    ] = None,
    grains: Annotated[
        str | None, typer.Option("--grains", help="Prefixes to search by: kind:16,look:64. (default: look, all bits)")
    ] = None,
    bit_order: Annotated[
        Literal["little", "big"] | None,
        typer.Option("--bit-order", help="Which bit of a packed byte comes first. (default: little)"),
    ] = None,
    replace: Annotated[
        bool, typer.Option("--replace", help="Give items that the library has already their new code.")
    ] = False,
    no_files: Annotated[bool, typer.Option("--no-files", help="Do not read the files that the paths name.")] = False,
    meta: Annotated[
        list[str] | None, typer.Option("--meta", help="key=value to keep with each item. Repeatable.")
    ] = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> int:
    """Import codes that another program made into LIBRARY, which is created if it does not exist.

    All codes are imported, or none. In a .npy, uint8 is packed bits, eight a byte; anything else is one value a bit:
    booleans, 0 and 1, -1 and +1, or real numbers, where 0 and above is a one. A path may be any text that names an
    item. If it is a file, its size, its content hash and the facts in its picture are stored, too.

    Without --model, only items (--like) and codes (--codes) can be queries. Codes of two models do not mix: a file that
    names another model is refused.

    Example: hashgrain import photos.hg codes.npy --paths paths.txt
    """
    from hashgrain.library.importing import Import, import_file

    if model is not None and made_by is not None:
        raise typer.BadParameter("--model and --made-by both say what made the codes; give one", param_hint="--made-by")
    order = Import(
        codes=codes,
        paths=paths,
        model=model,
        made_by=made_by,
        grains=None if grains is None else _grains(grains),
        bit_order=bit_order,
        replace=replace,
        look=not no_files,
        meta=dict(key_value(pair, "--meta") for pair in meta or []),
    )
    report, total = import_file(library, order)
    if as_json:
        print_json({**dataclasses.asdict(report), "library": str(library), "items": total})
    elif not quiet:
        changed = f", {report.replaced} replaced" if report.replaced else ""
        print_line(f"{report.added} codes added{changed}, {report.files} of files that are there.")
        print_line(f"{library} holds {total} items.")
    return 0


def _grains(text: str) -> Grains:
    from hashgrain.codes import grains_of
    from hashgrain.errors import CodesError

    try:
        return grains_of(text)
    except CodesError as error:
        raise typer.BadParameter(f"{text!r}: {error}", param_hint="--grains") from None
