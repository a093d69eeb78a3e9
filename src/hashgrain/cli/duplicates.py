"""`hashgrain duplicates`: find copies in a library, and move, link or delete them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from hashgrain.cli.exit_codes import OK, PARTLY
from hashgrain.cli.output import (
    Json,
    LibraryPath,
    Quiet,
    Threads,
    complain,
    print_json,
    print_line,
    print_table,
    progress_bar,
    say,
)
from hashgrain.cli.remedies import reason_text, refusal_documents

if TYPE_CHECKING:
    from hashgrain.apps.duplicates import Action, ActionReport, Duplicates
    from hashgrain.library import Library

Word = Literal["exact", "same", "near"]
Keep = Literal["pixels", "bytes", "oldest", "newest"]
PAST = {"move": "moved", "link": "linked", "delete": "deleted"}


def duplicates(
    library: LibraryPath,
    word: Annotated[
        Word | None,
        typer.Option(
            "--word", help="How near copies are: of the same bytes, or what the model calls so. (default: same)"
        ),
    ] = None,
    within: Annotated[
        int | None, typer.Option("--within", help="Instead of a word, the largest distance of a copy in bits.")
    ] = None,
    grain: Annotated[
        str | None, typer.Option("--grain", "-g", help="The grain of the distance. (default: the finest)")
    ] = None,
    parts: Annotated[
        bool, typer.Option("--parts", help="Also find pictures that another one shows in a part of itself.")
    ] = False,
    by_codes: Annotated[
        bool, typer.Option("--by-codes", help="Do not compare the pixels of copies: faster, and wrong more often.")
    ] = False,
    keep: Annotated[Keep, typer.Option("--keep", help="Which copy is the best: by most pixels, ...")] = "pixels",
    where: Annotated[
        str | None,
        typer.Option("--where", "-w", help='Look only among items for which this holds: "year >= 2020".'),
    ] = None,
    csv: Annotated[Path | None, typer.Option("--csv", help="Write a table for spreadsheets to this file.")] = None,
    html: Annotated[Path | None, typer.Option("--html", help="Write a page with thumbnails to this file.")] = None,
    move: Annotated[Path | None, typer.Option("--move", metavar="FOLDER", help="Move the copies to a folder.")] = None,
    link: Annotated[
        bool, typer.Option("--link", help="Replace copies of the same bytes by hard links to the kept file.")
    ] = False,
    delete: Annotated[
        bool, typer.Option("--delete", help="Move the copies into a trash folder beside the library.")
    ] = False,
    act_on_parts: Annotated[
        bool, typer.Option("--act-on-parts", help="With --parts, act on pictures that are part of another, too.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do it. Without this, only print what would be done.")] = False,
    undo: Annotated[
        Path | None,
        typer.Option("--undo", metavar="FILE", help="Put back what an undo file names, and do nothing else."),
    ] = None,
    threads: Threads = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> int:
    """Find the copies in LIBRARY, say which of each to keep and why, and move, link or delete the others.

    Copies are what the model calls the same at its finest grain, if their pixels agree, too; or what it calls near,
    with --word near; with --word exact their files are equal. A group is made around its best copy: every member is
    near the one that is kept, so a chain of small changes does not join pictures that differ. In a pipe, each picture
    is a line: group, role, distance, id, path, reason.

    --move, --link and --delete print what they would do; with --yes they do it. Each file is checked right before. One
    that changed since it was added, or is gone, a link, in an archive or in a read-only folder is skipped with the
    reason (exit code 3), and so are all copies of a picture that cannot be read. The kept pictures are never touched.
    An undo file is written first, and --undo puts everything back. --delete frees no space until you delete the trash
    folder, LIBRARY-trash.

    Example: hashgrain duplicates photos.hg --html copies.html, then: hashgrain duplicates photos.hg --move copies --yes
    """
    action = _action(move, link, delete)
    _check(action, within, word, parts=parts, act_on_parts=act_on_parts, yes=yes, undo=undo)
    if undo is not None:
        return _undo(library, undo, as_json, quiet)
    from hashgrain.apps.duplicates import find_duplicates, thumbnails_of, write_csv, write_page
    from hashgrain.library import Library

    named: Word = word or ("exact" if link and within is None else "same")
    with Library.open(library, "w" if yes else "r") as opened:
        steps = len(opened) * (2 if parts else 1)
        with progress_bar("looking for copies", steps, quiet or (by_codes and not parts)) as advance:
            found = find_duplicates(
                opened,
                word=named,
                within=within,
                grain=grain,
                keep=keep,
                where=where,
                parts=parts,
                pixels=not by_codes,
                threads=threads,
                progress=advance,
            )
        with progress_bar("making thumbnails", None, quiet or html is None) as advance:
            thumbnails = {} if html is None else thumbnails_of(opened, found, progress=advance)
        report = None if action is None else _act(opened, found, action, move, act_on_parts, yes, quiet)
    _print(library, found, report, as_json, quiet)  # first: it names the undo file
    if csv is not None:
        write_csv(csv, found, report)
    if html is not None:
        write_page(html, found, thumbnails, report)
    return PARTLY if report is not None and report.skipped and yes else OK


def _action(move: Path | None, link: bool, delete: bool) -> Action | None:
    if (move is not None) + link + delete > 1:
        raise typer.BadParameter("--move, --link and --delete exclude each other")
    if link or delete:
        return "link" if link else "delete"
    return None if move is None else "move"


def _check(
    action: Action | None,
    within: int | None,
    word: Word | None,
    *,
    parts: bool,
    act_on_parts: bool,
    yes: bool,
    undo: Path | None,
) -> None:
    """Raise where options do not go together."""
    if within is not None and word is not None:
        raise typer.BadParameter("--within and --word exclude each other")
    if undo is not None and (action is not None or yes):
        raise typer.BadParameter("--undo stands alone: leave out --move, --link, --delete and --yes")
    if yes and action is None:
        raise typer.BadParameter("--yes goes with --move, --link or --delete")
    if act_on_parts and not (parts and action is not None):
        raise typer.BadParameter("--act-on-parts goes with --parts and one of --move, --link, --delete")


def _act(
    opened: Library,
    found: Duplicates,
    action: Action,
    folder: Path | None,
    parts: bool,
    yes: bool,
    quiet: bool,
) -> ActionReport:
    from hashgrain.apps.duplicates import act_on

    total = len(found.copies) + (len(found.parts) if parts else 0)
    with progress_bar("checking files", total, quiet) as advance:
        return act_on(opened, found, action, folder=folder, parts=parts, dry_run=not yes, progress=advance)


def _print(library: Path, found: Duplicates, report: ActionReport | None, as_json: bool, quiet: bool) -> None:
    from hashgrain.apps.duplicates import as_document, rows_of, summary

    if as_json:
        print_json({"library": str(library), **as_document(found, report)})
        return
    rows = [
        (row.group, row.role, "" if row.role == "kept" else row.distance, row.item.id, row.item.path, row.note)
        for row in rows_of(found, report)
    ]
    columns = ("group", "", found.grain, "id", "path", "why")
    print_table("duplicates", columns, rows, [None] * len(rows))
    say(f"{summary(found)}; {_told(report)}", quiet)


def _told(report: ActionReport | None) -> str:
    """What was done, or how to do it."""
    if report is None:
        return "nothing was changed: --move FOLDER, --link or --delete say what to do with the copies"
    counts = f"{report.done} ({report.bytes / 1e6:.1f} MB)"
    skipped = f", {report.skipped} skipped" if report.skipped else ""
    if report.dry_run:
        return f"would {report.action} {counts}{skipped}; --yes does it"
    undo = "" if report.undo_file is None else f"; to put them back: --undo {report.undo_file}"
    return f"{PAST[report.action]} {counts}{skipped}{undo}"


def _undo(library: Path, file: Path, as_json: bool, quiet: bool) -> int:
    from hashgrain.apps.duplicates import undo
    from hashgrain.library import Library

    with Library.open(library, "w") as opened, progress_bar("putting back", None, quiet) as advance:
        report = undo(opened, file, progress=advance)
    if as_json:
        document = {"undone": str(file), "restored": list(report.restored), "in_place": report.in_place}
        print_json({"library": str(library), **document, "refused": refusal_documents(report.refused)})
    else:
        for each in report.refused:
            complain(f"refused: {each.path}: {reason_text(each.reason)}")
        places = f", {report.in_place} in place already" if report.in_place else ""
        print_line(f"put back {len(report.restored)}{places}")
    return PARTLY if report.refused else OK
