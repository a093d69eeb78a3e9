"""Groups of copies as a page to look at."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import groupby
from pathlib import Path

from hashgrain.apps.duplicates.acting import ActionReport
from hashgrain.apps.duplicates.found import Duplicates
from hashgrain.apps.duplicates.rows import Row, rows_of
from hashgrain.errors import ImageError
from hashgrain.files import write_atomically
from hashgrain.library import Library
from hashgrain.report.page import PageGroup, PageHit, result_page
from hashgrain.types import PathLike

MAX_GROUPS = 500  # on a page: each picture of it is some ten kilobytes
Thumbnails = dict[int, bytes | None]


def thumbnails_of(
    library: Library, duplicates: Duplicates, *, progress: Callable[[int], None] | None = None
) -> Thumbnails:
    """The pictures of the page by the id of their item. Take them before copies are acted upon."""
    small: Thumbnails = {}
    for number, row in enumerate(_shown(rows_of(duplicates)), 1):
        for item in (row.item, row.of):
            if item is not None and item.id not in small:
                try:
                    small[item.id] = library.thumbnail(item.id)
                except ImageError:
                    small[item.id] = None
        if progress:
            progress(number)
    return small


def write_page(
    file: PathLike, duplicates: Duplicates, thumbnails: Thumbnails, report: ActionReport | None = None
) -> None:
    """Write the page: a group of copies a section, the kept one first, with the reasons; then the parts."""
    shown = _shown(rows_of(duplicates, report))
    groups = [_group(list(rows), thumbnails, duplicates.grain) for _, rows in groupby(shown, lambda row: row.group)]
    count = len(duplicates.groups) + len(duplicates.parts)
    lead = summary(duplicates)
    if count > MAX_GROUPS:
        lead += f"; the first {MAX_GROUPS} are shown"
    page = result_page(None, groups, title="Duplicates", lead=lead)
    Path(file).parent.mkdir(parents=True, exist_ok=True)
    write_atomically(file, page.encode("utf-8"))


def summary(duplicates: Duplicates) -> str:
    """One line: how many groups, copies and bytes."""
    copies, groups = len(duplicates.copies), len(duplicates.groups)
    near = "of equal bytes" if duplicates.within is None else f"up to {duplicates.within} bits at {duplicates.grain}"
    counted = f"{copies} {'copy' if copies == 1 else 'copies'} of {groups} {'picture' if groups == 1 else 'pictures'}"
    line = f"{counted} among {duplicates.items} ({near}), {duplicates.bytes / 1e6:.1f} MB"
    if duplicates.parts_within is None:
        return line
    return f"{line}; {len(duplicates.parts)} part of another (up to {duplicates.parts_within} bits)"


def _shown(rows: Iterable[Row]) -> Iterable[Row]:
    return (row for row in rows if row.group <= MAX_GROUPS)


def _group(rows: list[Row], thumbnails: Thumbnails, grain: str) -> PageGroup:
    first = rows[0]
    if first.role == "part of" and first.of is not None:
        whole = PageHit(
            Path(first.of.path).name, first.of.path, thumbnails.get(first.of.id), "whole", {}, box=first.box
        )
        hits = [_card(first, thumbnails, grain), whole]
        return PageGroup(f"{first.group}. {Path(first.item.path).name} is part of {whole.name}", hits)
    return PageGroup(f"{first.group}. {Path(first.item.path).name}", [_card(row, thumbnails, grain) for row in rows])


def _card(row: Row, thumbnails: Thumbnails, grain: str) -> PageHit:
    name, path = Path(row.item.path).name, row.item.path
    size = f"{row.item.width} x {row.item.height}, " if row.item.width else ""
    facts = f"{size}{row.item.size:,} bytes. " if row.item.size is not None else ""
    if row.outcome is not None and row.outcome.target is not None and row.action and not row.action.startswith("would"):
        path = row.outcome.target
    distances = {} if row.role == "kept" else {grain: row.distance}
    word = "equal bytes" if row.role == "copy" and row.same_bytes else row.role
    return PageHit(name, path, thumbnails.get(row.item.id), word, distances, note=facts + row.note)
