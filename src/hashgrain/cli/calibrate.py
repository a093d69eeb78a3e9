"""`hashgrain calibrate`: fit what distances mean on pairs of a library's own items."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from hashgrain.cli.exit_codes import OK
from hashgrain.cli.output import Json, LibraryPath, print_json, print_line


def calibrate(
    library: LibraryPath,
    pairs: Annotated[
        Path | None,
        typer.Option(
            "--pairs", metavar="FILE.csv", help="Pairs of items: the columns a, b (paths or ids), same (1, 0)."
        ),
    ] = None,
    grain: Annotated[
        str | None, typer.Option("--grain", "-g", help="Calibrate this grain alone. (default: all grains)")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Report the errors, and change nothing.")] = False,
    reset: Annotated[bool, typer.Option("--reset", help="Take the calibration of before again.")] = False,
    as_json: Json = False,
) -> int:
    """Fit the scores of LIBRARY to pairs of its own items, of which you know whether they belong together.

    A score is then the probability that two items belong together, as your pairs have it, if half of all pairs do. At
    least 100 pairs of either kind are needed. The expected calibration error is reported before and after; after, it is
    measured on pairs that were left out of the fit (five-fold cross-validation). Codes, distances and the words same,
    near and related do not change. Programs that have the library open see the new scores when they open it again.

    Example: hashgrain calibrate photos.hg --pairs pairs.csv
    """
    from hashgrain.library import Library

    if (pairs is None) != reset:
        raise typer.BadParameter("give one of these: --pairs, or --reset")
    if reset and (dry_run or grain is not None):
        raise typer.BadParameter("--dry-run and --grain go with --pairs")
    document: dict[str, Any] = {"library": str(library), "reset": reset}
    with Library.open(library, "r" if dry_run else "w") as opened:
        if pairs is None:
            opened.reset_calibration()
        else:
            report = opened.calibrate(pairs, grain=grain, dry_run=dry_run)
            errors = {name: vars(each) for name, each in report.grains.items()}
            document |= {"together": report.together, "apart": report.apart, "margin": round(report.margin, 4)}
            document |= {"grains": errors, "written": not dry_run}
    if as_json:
        print_json(document)
    elif pairs is None:
        print_line(f"{library} has the calibration of before")
    else:
        for name, each in report.grains.items():
            print_line(f"{name}: calibration error {each.error_before:.3f} before, {each.error_after:.3f} after")
        counts = f"{report.together} pairs that belong together, {report.apart} that do not"
        print_line(f"{counts}; a share of so many is known within {report.margin:.2f}")
    return OK
