"""`hashgrain engine`: the codes of a library in a database."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

import typer

from hashgrain.cli.output import Json, LibraryPath, Quiet, Yes, print_json, print_line, progress_bar, say

if TYPE_CHECKING:
    from hashgrain.library.database import Database, DatabaseStatus

Url = Annotated[
    str,
    typer.Argument(
        metavar="URL", help="Such as postgresql://host/database?schema=photos, clickhouse://host, chdb:///folder."
    ),
]


def attach(library: LibraryPath, url: Url, as_json: Json = False, quiet: Quiet = False) -> int:
    """Put the codes of LIBRARY into a database, from where `search --engine URL` answers.

    It makes the tables, in a schema for each library, and fills them; run it again after a stop. The library stays as
    it is. Each search brings what has changed since, and so does `hashgrain engine sync`. Passwords belong into the
    environment (PGPASSWORD, CLICKHOUSE_PASSWORD) or ~/.pgpass.

    Example: hashgrain engine attach photos.hg "postgresql://me@db.example/pictures?schema=photos"
    """
    return _fill(library, url, as_json, quiet, lambda place: place.attach)


def sync(library: LibraryPath, url: Url, as_json: Json = False, quiet: Quiet = False) -> int:
    """Bring what has changed in LIBRARY to a database that it is attached to.

    A search does the same before it answers; after many new pictures it waits for that.

    Example: hashgrain engine sync photos.hg "postgresql://me@db.example/pictures?schema=photos"
    """
    return _fill(library, url, as_json, quiet, lambda place: place.sync)


def status(library: LibraryPath, url: Url, as_json: Json = False) -> int:
    """Show how far a database is behind LIBRARY. Nothing is written.

    Example: hashgrain engine status photos.hg "postgresql://me@db.example/pictures?schema=photos"
    """
    from hashgrain.library import Library

    with Library.open(library) as opened:
        _show(opened.database(url).status(), as_json)
    return 0


def detach(
    library: LibraryPath,
    url: Url,
    yes: Yes = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> int:
    """Remove the codes of LIBRARY from a database. The library stays as it is.

    Example: hashgrain engine detach photos.hg "postgresql://me@db.example/pictures?schema=photos" --yes
    """
    from hashgrain.library import Library

    with Library.open(library) as opened:
        place = opened.database(url)
        there = place.detach() if yes else place.status()
    if yes or as_json or not there.attached:
        _show(there, as_json)
    else:
        say(f"would remove the tables at {there.engine}; add --yes", quiet)
    return 0


def _fill(
    library: LibraryPath,
    url: str,
    as_json: bool,
    quiet: bool,
    way: Callable[[Database], Callable[[Callable[[int], None]], DatabaseStatus]],
) -> int:
    from hashgrain.library import Library

    with Library.open(library) as opened:
        place = opened.database(url)
        with progress_bar("sending codes", place.status().behind, quiet) as advance:
            there = way(place)(advance)
    _show(there, as_json)
    return 0


def _show(there: DatabaseStatus, as_json: bool) -> None:
    if as_json:
        print_json(dataclasses.asdict(there))
    elif not there.attached:
        print_line(f"{there.engine} has no codes of this library")
    elif there.behind:
        print_line(f"{there.engine} is behind by {there.behind:,} of {there.changes:,} changes")
    else:
        print_line(f"{there.engine} has all {there.changes:,} changes")
