"""How groups are printed: an indented tree for people, rows or JSON for programs."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import typer

from hashgrain.cli.output import print_json, print_paths, print_table
from hashgrain.report.page import file_address

if TYPE_CHECKING:
    from hashgrain.cli.hits import Form
    from hashgrain.library import Library
    from hashgrain.search import Hit
    from hashgrain.search.groups import Group, Level

T = TypeVar("T")
Row = list[object]
GROUPED = 100  # hits, unless told otherwise
INDENT = "  "
COPY = "copy"


def radii_of(text: str | None) -> dict[str, int] | None:
    """What `--radius kind:8,thing:20` says."""
    if text is None:
        return None
    radii = {}
    for part in text.split(","):
        grain, _, bits = (piece.strip() for piece in part.partition(":"))
        if not grain or not (bits.isascii() and bits.isdigit()):
            raise typer.BadParameter(f"{text!r} is not a number of bits for each grain, such as kind:8,thing:20")
        radii[grain] = int(bits)
    return radii


@dataclass(frozen=True)
class Grouped:
    """Grouped hits, and the grains and radii by which they were grouped."""

    groups: Sequence[Group[Hit]]
    levels: Sequence[Level]

    def as_dict(self) -> dict[str, Any]:
        from hashgrain.search.groups import document_of

        levels, groups = [level.as_dict() for level in self.levels], [document_of(group) for group in self.groups]
        return {"levels": levels, "groups": groups}


def grouped(library: Library, hits: Sequence[Hit], radii: Mapping[str, int] | None) -> Grouped:
    from hashgrain.search.groups import levels_of

    return Grouped(library.group(hits, radii=radii), levels_of(library.bundle, radii))


def print_groups(grouped: Grouped, form: Form, title: str, distance: str) -> None:
    """With `paths`, those of the hits that represent the groups of the finest grain: near copies are left out."""
    from hashgrain.search.groups import document_of

    groups = grouped.groups
    if form == "paths":
        print_paths(group.representative.path for group in finest_of(groups))
    elif form == "jsonl":
        for group in groups:
            print_json(document_of(group), indent=None)
    elif form == "json":
        print_json(grouped.as_dict())
    else:
        columns = ["group", "pictures", "", distance, "id", "path"]
        rows = [row for group in groups for row in _rows(group, "")]
        if not sys.stdout.isatty():  # for programs
            rows = [[str(grain).strip(), *cells] for grain, *cells in rows]
        print_table(title, columns, rows, [file_address(str(row[-1])) for row in rows])


def finest_of(groups: Sequence[Group[T]]) -> Iterator[Group[T]]:
    """The groups of the finest grain, in order."""
    for group in groups:
        if group.groups:
            yield from finest_of(group.groups)
        else:
            yield group


def _rows(group: Group[Hit], indent: str) -> Iterator[Row]:
    """A row for a group, then those of what is inside it. A group of one hit is a single row."""
    yield [indent + group.grain, group.count, *_cells(group.representative)]
    if group.count == 1:
        return
    for finer in group.groups:
        yield from _rows(finer, indent + INDENT)
    for hit in group.others:
        yield [indent + INDENT + COPY, 1, *_cells(hit)]


def _cells(hit: Hit) -> Row:
    return [hit.word or f"{hit.score:.3f}", hit.distance, hit.id, hit.path]
