"""`hashgrain backup`: backups of a library, and libraries out of them."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hashgrain.cli.exit_codes import FAILED, OK
from hashgrain.cli.output import Json, LibraryPath, Quiet, Yes, print_json, print_line, print_row, progress_bar, say

if TYPE_CHECKING:
    from hashgrain.library.backups import Backup

Folder = Annotated[Path, typer.Argument(metavar="FOLDER", help="The folder of backups, such as /backups/photos.")]


def make(library: LibraryPath, folder: Folder, as_json: Json = False, quiet: Quiet = False) -> int:
    """Add a backup of LIBRARY to FOLDER, which is made if it is not there.

    Others may write to the library meanwhile. A later backup adds only what has changed, by the megabyte. It holds the
    catalogue with all codes, labels and metadata, the model, and pictures that clients of `serve` sent; no other
    pictures, which stay where they are. `backup restore` makes the segments anew, and `hashgrain index` the indexes.

    Example: hashgrain backup make photos.hg /backups/photos
    """
    from hashgrain.library.backups import back_up

    with progress_bar("copying", None, quiet) as advance:
        report = back_up(library, folder, advance)
    if as_json:
        more = {"new_bytes": report.new_bytes, "seconds": round(report.seconds, 3)}
        print_json({**_facts(report.backup), **more})
    else:
        size = f"{_megabytes(report.backup.bytes)}, {_megabytes(report.new_bytes)} of them new"
        print_line(f"{report.backup.name}: {report.backup.items:,} items, {size}, in {report.seconds:.1f} s")
    return OK


def list_backups(folder: Folder, as_json: Json = False) -> int:
    """List the backups in FOLDER, the oldest first.

    Example: hashgrain backup list /backups/photos
    """
    from hashgrain.library.backups import backups_in

    every = backups_in(folder)
    if as_json:
        print_json([_facts(backup) for backup in every])
        return OK
    for backup in every:
        print_row(backup.name, f"{backup.items:,} items", _megabytes(backup.bytes), backup.library)
    return OK


def verify(folder: Folder, as_json: Json = False, quiet: Quiet = False) -> int:
    """Read every chunk of every backup in FOLDER, and say which are missing or damaged.

    Example: hashgrain backup verify /backups/photos
    """
    from hashgrain.library.backups import verify_backups

    with progress_bar("reading", None, quiet) as advance:
        problems = verify_backups(folder, advance)
    if as_json:
        print_json({"ok": not problems, "problems": [dataclasses.asdict(each) for each in problems]})
    else:
        for each in problems:
            print_line(f"{each.thing}: {each.reason}; {each.remedy}")
        if not problems:
            print_line(f"{folder}: every backup is sound")
    return FAILED if problems else OK


def restore(
    folder: Folder,
    library: Annotated[Path, typer.Argument(metavar="LIBRARY", help="The library to make, which is not there yet.")],
    at: Annotated[
        str | None,
        typer.Option("--at", metavar="NAME", help="The backup, as `backup list` names it. (default: the last)"),
    ] = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> int:
    """Make LIBRARY as it was in a backup. It gets its name when everything has been checked.

    A database that the old library was attached to may be ahead of it: detach and attach it again.

    Example: hashgrain backup restore /backups/photos photos.hg
    """
    from hashgrain.library.backups import restore_backup

    with progress_bar("copying", None, quiet) as advance:
        backup = restore_backup(folder, library, at, advance)
    if as_json:
        print_json({**_facts(backup), "restored": str(library)})
    else:
        print_line(f"{library}: {backup.items:,} items, as of {backup.made}")
    return OK


def prune(
    folder: Folder,
    keep: Annotated[int, typer.Option("--keep", min=1, metavar="N", help="How many of the last backups to keep.")],
    yes: Yes = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> int:
    """Remove old backups from FOLDER, with what no other one needs.

    Example: hashgrain backup prune /backups/photos --keep 7 --yes
    """
    from hashgrain.library.backups import prune_backups

    gone, freed = prune_backups(folder, keep, really=yes)
    if as_json:
        print_json({"removed": [backup.name for backup in gone], "bytes": freed, "dry_run": not yes})
    elif yes:
        print_line(f"{len(gone)} backups removed, {_megabytes(freed)}")
    else:
        say(f"would remove {len(gone)} backups, {_megabytes(freed)}; add --yes", quiet)
    return OK


def _facts(backup: Backup) -> dict[str, Any]:
    """What every verb says of a backup."""
    facts = {"backup": backup.name, "library": backup.library, "made": backup.made, "items": backup.items}
    return {**facts, "changes": backup.changes, "bytes": backup.bytes}


def _megabytes(size: int) -> str:
    return f"{size / 1e6:,.1f} MB"
