"""`hashgrain classify`: classes of pictures by their nearest labeled neighbors."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

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
    print_table,
    progress_bar,
    say,
)
from hashgrain.cli.remedies import reason_text, refusal_documents
from hashgrain.cli.tag import LabelGrain, LabelKey, Page, Voters

if TYPE_CHECKING:
    from hashgrain.apps.classify import ClassifyReport
    from hashgrain.library import Library

MOST_CONFUSIONS = 10


def classify(
    library: LibraryPath,
    key: LabelKey,
    queries: Annotated[
        list[Path] | None, typer.Argument(metavar="QUERY...", help="Pictures, or folders with all below them.")
    ] = None,
    grain: LabelGrain = None,
    k: Voters = None,
    html: Page = None,
    max_pixels: MaxPixels = DEFAULT_MAX_PIXELS,
    as_json: Json = False,
    quiet: Quiet = False,
) -> int:
    """Classify pictures by their nearest neighbors in LIBRARY that have labels.

    Each line is the class, its share of the votes, and the path. Pictures that cannot be opened are named on stderr
    (exit code 3).

    Without pictures, the labeled pictures of LIBRARY are asked of each other, and the report says how often the answer
    is right: in all, for each class (label, items, precision, recall), and which classes are taken for which.

    Example: hashgrain classify photos.hg new-pictures/ --from label
    """
    from hashgrain.library import Library

    with Library.open(library) as opened:
        options: dict[str, Any] = {"k": k, "grain": None if grain is None else opened.grains.named(grain)}
        if queries:
            return _classify(opened, queries, key, options | {"max_pixels": max_pixels}, html, as_json, quiet)
        from hashgrain.apps.classify import measure_classes

        report = measure_classes(opened, key, **options)
    if html is not None:
        from hashgrain.apps.label_pages import write_report_page

        say(f"wrote {write_report_page(report, html)}", quiet)
    if as_json:
        print_json({"library": str(library), "from": key, **_without_key(report.as_dict())})
    else:
        _print_report(report)
    return OK


def _classify(
    library: Library,
    queries: list[Path],
    key: str,
    options: dict[str, Any],
    html: Path | None,
    as_json: bool,
    quiet: bool,
) -> int:
    """Classify pictures from outside of the library."""
    from hashgrain.apps.classify import classify
    from hashgrain.report.page import file_address

    with progress_bar("classifying", None, quiet) as advance:
        classified, refused = classify(library, queries, key, progress=advance, **options)
    if html is not None:
        from hashgrain.apps.label_pages import write_classified_page

        say(f"wrote {write_classified_page(classified, key, html)}", quiet)
    if as_json:
        pictures = [each.as_dict() for each in classified]
        print_json(
            {"library": str(library.path), "from": key, "pictures": pictures, "refused": refusal_documents(refused)}
        )
    else:
        for each in refused:
            complain(f"refused: {each.path}: {reason_text(each.reason)}")
        rows = [(each.votes[0].label, f"{each.votes[0].confidence:.2f}", each.path) for each in classified]
        links = [file_address(str(Path(row[-1]).absolute())) for row in rows]
        print_table("", ("label", "confidence", "path"), rows, links)
    return PARTLY if refused else OK


def _print_report(report: ClassifyReport) -> None:
    print_line(
        f"{report.accuracy:.1%} of {report.asked:,} labeled items get a right label from their {report.k} nearest"
        f" others at {report.grain}; the most frequent label alone: {report.most_frequent:.1%};"
        f" calibration error {report.calibration_error:.3f}"
    )
    rows = [
        (each.label, each.items, *("-" if value is None else f"{value:.3f}" for value in (each.precision, each.recall)))
        for each in report.classes
    ]
    print_table("", ("label", "items", "precision", "recall"), rows, [None] * len(rows))
    for each in report.confusions[:MOST_CONFUSIONS]:
        print_line(f"{each.items} of {each.label} taken for {each.given}")
    if (more := len(report.confusions) - MOST_CONFUSIONS) > 0:
        print_line(f"and {more} other pairs")


def _without_key(document: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in document.items() if name != "key"}
