"""`hashgrain add`: bring pictures into a library."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from hashgrain.cli.exit_codes import FAILED, OK, PARTLY
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
    say,
)
from hashgrain.cli.remedies import reason_text, refusal_documents
from hashgrain.cli.values import key_value


def add(
    library: LibraryPath,
    sources: Annotated[
        list[str],
        typer.Argument(
            metavar="SOURCE...", help="Files, folders, globs, .tar, .parquet or .npy files; - reads a list."
        ),
    ],
    ignore: Annotated[
        list[str] | None,
        typer.Option("--ignore", help="Leave out names that match, such as '*.gif'. Repeatable."),
    ] = None,
    meta: Annotated[
        list[str] | None,
        typer.Option("--meta", help="Metadata for each picture, known ones too: key=value. Repeatable."),
    ] = None,
    retry: Annotated[
        bool, typer.Option("--retry", help="Try files again that could not be read before and have not changed.")
    ] = False,
    again: Annotated[bool, typer.Option("--again", help="Bring back files that `hashgrain remove` keeps out.")] = False,
    parts: Annotated[bool, typer.Option("--parts/--no-parts", help="Encode the parts of new pictures, too.")] = True,
    detail: Annotated[
        str | None,
        typer.Option("--detail", help="Detail of the parts of a new library: low, normal, high. (default: normal)"),
    ] = None,
    detector: Annotated[
        str | None,
        typer.Option("--detector", help="A model that finds things, onnx:FILE: what it finds becomes parts, too."),
    ] = None,
    null: Annotated[bool, typer.Option("-0", "--null", help="The names on stdin are separated by zero bytes.")] = False,
    model: Annotated[
        str | None,
        typer.Option(
            "--model", help="The model of a new library: a name `hashgrain models` lists, or a bundle's folder."
        ),
    ] = None,
    workers: Annotated[int | None, typer.Option("--workers", min=0, help="Processes that decode pictures.")] = None,
    max_pixels: MaxPixels = DEFAULT_MAX_PIXELS,
    as_json: Json = False,
    quiet: Quiet = False,
) -> int:
    """Add pictures to LIBRARY, which is created if it does not exist.

    Run it again after a stop or when files changed: unchanged files are skipped, changed files are encoded again, and
    moved files are recognized. Files that cannot be opened are listed and left out (exit code 3). They are not tried
    again until they change. Files that were removed by hand stay out.

    Parts of new pictures are encoded, too, so that a search finds a picture by a piece of it. In a library whose
    pictures have no parts, new ones get none either, unless --detail is given: see `hashgrain parts`.

    Example: hashgrain add photos.hg ~/Pictures
    """
    from hashgrain.library import AddReport, Library, check_sources
    from hashgrain.models.detail import detail_named
    from hashgrain.models.detector import Detector

    given = [path for source in sources for path in (_listed(null) if source == "-" else [source])]
    fields = dict(key_value(pair, "--meta") for pair in meta or [])
    check_sources(given, fields)  # before there is a library
    if detail is not None:
        detail_named(detail)
    if detector is not None and not parts:
        raise typer.BadParameter("--detector makes parts: it does not go with --no-parts")
    if detector is not None:
        Detector(detector)
    with (
        Library.open_or_create(library, model) as opened,
        progress_bar("adding", _count(given, ignore or []), quiet) as advance,
    ):
        try:
            report: AddReport = opened.add(
                given,
                ignore=ignore or [],
                meta=fields,
                retry=retry,
                again=again,
                parts=parts,
                detail=detail,
                detector=detector,
                workers=workers,
                max_pixels=max_pixels,
                progress=lambda so_far: advance(so_far.seen),
            )
        except KeyboardInterrupt:
            raise KeyboardInterrupt(
                f"stopped; the {len(opened)} pictures in {library} are safe. Run the same command again to resume"
            ) from None
        total = len(opened)
    if as_json:
        refused = refusal_documents(report.refused)
        print_json({**dataclasses.asdict(report), "refused": refused, "library": str(library), "pictures": total})
    else:
        _print_report(report, library, total, quiet)
    if report.refused or report.notes_refused:
        return PARTLY if report.seen > len(report.refused) else FAILED
    return OK


def _listed(null: bool) -> list[str]:
    """The names on stdin, one a line (or between zero bytes), byte for byte."""
    content = sys.stdin.buffer.read().decode("utf-8", "surrogateescape")
    return [name for name in content.split("\0" if null else "\n") if name]


def _count(sources: list[str], ignore: list[str]) -> int | None:
    """How many pictures there are to look at, where counting is cheap; None where it would read archives."""
    from hashgrain.errors import SourceError
    from hashgrain.sources import find

    if not sys.stderr.isatty() or any(not Path(source).is_dir() for source in sources):
        return None
    try:
        return sum(1 for _ in find(sources, ignore=ignore))
    except SourceError:
        return None


def _print_report(report: Any, library: Path, total: int, quiet: bool) -> None:
    for refused in report.refused:
        complain(f"refused: {refused.path}: {reason_text(refused.reason)}")
    for refused in report.notes_refused:
        complain(f"kept without its metadata: {refused.path}: {refused.reason}")
    if quiet:
        return
    counts = {
        "added": report.added,
        "changed": report.replaced,
        "moved": report.moved,
        "unchanged": report.unchanged + report.touched,
        "with new metadata": report.noted,
        "refused": len(report.refused),
    }
    words = ", ".join(f"{count} {word}" for word, count in counts.items() if count) or "nothing to add"
    twins = f" ({report.duplicates} the same as another)" if report.duplicates else ""
    rate = f", {report.encoded / report.seconds:.0f} pictures/s" if report.encoded and report.seconds else ""
    print_line(f"{words}{twins} in {report.seconds:.1f} s{rate}. {library} holds {total} pictures.")
    if report.detected:
        print_line(f"the detector found {report.detected} parts")
    for line in _left_out(report):
        say(line)


def _left_out(report: Any) -> Iterator[str]:
    """Files that were not tried, and how to try them."""
    if report.known_refused:
        yield f"{report.known_refused} known to be unreadable; --retry tries again"
    if report.kept_out:
        yield f"{report.kept_out} left out because removed by hand; --again brings back"
    if report.passed:
        most = sorted(report.passed.items(), key=lambda pair: (-pair[1], pair[0]))
        yield "not tried: " + ", ".join(f"{count} {suffix or 'without suffix'}" for suffix, count in most)
