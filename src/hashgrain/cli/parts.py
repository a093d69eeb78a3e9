"""`hashgrain parts`: give the pictures of a library parts, or take them away."""

from __future__ import annotations

import dataclasses
from typing import Annotated

import typer

from hashgrain.cli.exit_codes import OK, PARTLY
from hashgrain.cli.output import (
    DEFAULT_MAX_PIXELS,
    Json,
    LibraryPath,
    MaxPixels,
    Quiet,
    complain,
    print_json,
    print_line,
    progress_bar,
)
from hashgrain.cli.remedies import reason_text, refusal_documents


def parts(
    library: LibraryPath,
    add: Annotated[bool, typer.Option("--add", help="Encode the parts of pictures that have none.")] = False,
    drop: Annotated[bool, typer.Option("--drop", help="Remove the codes of all parts.")] = False,
    detail: Annotated[
        str | None,
        typer.Option("--detail", help="With --add, the detail of the parts: low, normal, high. (default: normal)"),
    ] = None,
    detector: Annotated[
        str | None,
        typer.Option("--detector", help="With --add, a model that finds things, onnx:FILE, too."),
    ] = None,
    workers: Annotated[int | None, typer.Option("--workers", min=0, help="Processes that decode pictures.")] = None,
    max_pixels: MaxPixels = DEFAULT_MAX_PIXELS,
    as_json: Json = False,
    quiet: Quiet = False,
) -> int:
    """Show how many pictures of LIBRARY have parts, or change that with --add or --drop.

    --add reads the files of the pictures again. Run it again after a stop: pictures that have parts are skipped. Files
    that are gone, or have changed since they were added, are listed (exit code 3).

    Example: hashgrain parts photos.hg --add
    """
    from hashgrain.library import Library

    if add and drop:
        raise typer.BadParameter("--add and --drop exclude each other")
    if detail is not None and not add:
        raise typer.BadParameter("--detail goes with --add")
    if detector is not None and not add:
        raise typer.BadParameter("--detector goes with --add")
    with Library.open(library, "w" if add or drop else "r") as opened:
        report = None
        if add:
            missing = len(opened) - opened.parts_info().items
            with progress_bar("encoding parts", missing, quiet) as advance:
                report = opened.add_parts(
                    detail=detail,
                    detector=detector,
                    workers=workers,
                    max_pixels=max_pixels,
                    progress=lambda so_far: advance(so_far.seen),
                )
        elif drop:
            report = opened.drop_parts()
        info, total = opened.parts_info(), len(opened)
    refused = [] if report is None else report.refused
    if as_json:
        changed, detected = (0, 0) if report is None else (report.changed, report.detected)
        print_json(
            {
                "library": str(library),
                **dataclasses.asdict(info),
                "of": total,
                "changed": changed,
                "detected": detected,
                "refused": refusal_documents(refused),
            }
        )
    else:
        for each in refused:
            complain(f"refused: {each.path}: {reason_text(each.reason)}")
        if report is not None and detector is not None:
            print_line(f"the detector found {report.detected} parts")
        made = f", {info.parts} each, detail {info.detail}" if info.detail else ""
        print_line(f"{info.items} of {total} pictures of {library} have parts{made}")
    return PARTLY if refused else OK
