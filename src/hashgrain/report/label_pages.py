"""Pages about labels: those proposed for pictures, and how often a vote of neighbors is right."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from hashgrain.report.page import PageGroup, cards, document, text
from hashgrain.report.report_table import TABLE_STYLE

PAGE_STYLE = TABLE_STYLE + "p { max-width: 46rem; overflow-wrap: anywhere; } .scroll { max-width: 46rem; }"
Cell = str | int | float | None


def labels_page(groups: Sequence[PageGroup], *, title: str, lead: Sequence[str]) -> str:
    """The page of pictures, grouped by label."""
    parts = [f"<section><h2>{text(group.title)}</h2>{cards(group.hits)}</section>" for group in groups]
    return document(title, [*_head(title, lead), *parts], style=PAGE_STYLE)


def classes_page(
    *, title: str, lead: Sequence[str], tables: Mapping[str, tuple[Sequence[str], Sequence[Sequence[Cell]]]]
) -> str:
    """The page of a report on classes: tables under their headings, each with columns and rows."""
    parts = [f"<section><h2>{text(name)}</h2>{_table(*table)}</section>" for name, table in tables.items()]
    return document(title, [*_head(title, lead), *parts], style=PAGE_STYLE)


def _head(title: str, lead: Sequence[str]) -> list[str]:
    return [f"<h1>{text(title)}</h1>", *(f'<p class="soft">{text(line)}</p>' for line in lead)]


def _table(columns: Sequence[str], rows: Sequence[Sequence[Cell]]) -> str:
    if not rows:
        return '<p class="soft">none</p>'
    head = "".join(f'<th scope="col">{text(column)}</th>' for column in columns)
    body = "".join(f"<tr>{_cells(row)}</tr>" for row in rows)
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def _cells(row: Sequence[Cell]) -> str:
    first, *rest = (text(_shown(cell)) for cell in row)
    return f'<th scope="row">{first}</th>' + "".join(f"<td>{cell}</td>" for cell in rest)


def _shown(cell: Cell) -> str:
    if cell is None:
        return "–"
    return f"{cell:.3f}" if isinstance(cell, float) else str(cell)
