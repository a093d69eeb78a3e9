"""The page of an evaluation: data and settings, figures, curves, bits, and example queries."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from hashgrain.report.bit_maps import BIT_STYLE, bit_strip, heat_map, heat_scale
from hashgrain.report.charts import CHART_STYLE, Series, finite, histogram_chart, line_chart
from hashgrain.report.page import PageHit, PageQuery, asked_with, cards, document, text
from hashgrain.report.report_table import (
    CODES,
    TABLE_STYLE,
    JsonRow,
    figures_table,
    health_facts,
    health_table,
    in_order,
    looks,
    number,
    row_names,
)

MOST_CLOSE_UPS = 6  # rows with their own charts of distances and bits
CONVENTIONS = {
    "hash": "divided by the relevant found before the cut-off",
    "hash-skip": "divided by the relevant found before the cut-off; queries that find none are left out",
    "ir": "divided by all that are relevant",
    "min": "divided by the most that fit before the cut-off",
}

REPORT_STYLE = """
h1 { overflow-wrap: anywhere; } h2 { font-size: 1.25rem; margin: 2.75rem 0 .4rem; }
h3 { font-size: 1.05rem; margin: 1.75rem 0 0; overflow-wrap: anywhere; } h3 small { font-weight: 400; }
p { max-width: 46rem; overflow-wrap: anywhere; } h2 + p { margin-top: 0; } .small { font-size: .85rem; }
/* Ten facts: five lines of two, or two of five. */
.facts { display: grid; grid-template-columns: repeat(2, 1fr); gap: 1px; margin: 1.25rem 0;
  background: var(--card); border: 1px solid var(--line); border-radius: .6rem; overflow: hidden; }
.facts div { background: var(--card); padding: .6rem .85rem; box-shadow: 0 0 0 1px var(--line); min-width: 0; }
.facts dt { color: var(--soft); font-size: .78rem; } .facts dd { margin: 0; overflow-wrap: anywhere; }
.facts dd b { font-weight: 650; font-variant-numeric: tabular-nums; }
.facts small { display: block; color: var(--soft); }
@media (min-width: 50rem) { .facts { grid-template-columns: repeat(5, 1fr); } }
.warnings { border: 1px solid var(--related); border-left-width: .4rem; border-radius: .6rem; margin: 1.25rem 0;
  padding: .8rem 1.1rem; background: var(--card); }
.warnings h2 { margin: 0; font-size: 1rem; color: var(--related); }
.warnings ul { margin: .35rem 0 0; padding-left: 1.1rem; }
.warnings li { overflow-wrap: anywhere; margin: .15rem 0; }
"""


@dataclass(frozen=True)
class Example:
    """One query and its hits. Hits with empty paths make cards without links."""

    title: str
    figure: str
    query: PageQuery
    hits: Sequence[PageHit]


def report_page(result: Mapping[str, Any], examples: Sequence[Example]) -> str:
    """The page as HTML, from the content of a `result.json`. Names are escaped, since they are untrusted."""
    protocol: Mapping[str, Any] = result.get("protocol") or {}
    rows = in_order(result.get("rows") or [])
    title = f"Evaluation on {protocol.get('name', 'an unnamed protocol')}"
    body = [f"<h1>{text(title)}</h1>"]
    if protocol.get("about"):
        body.append(f'<p class="soft">{text(str(protocol["about"]))}</p>')
    body += [_warnings(result.get("warnings") or []), _facts(result, protocol)]
    body += [_figures(rows), _plots(rows), _distances(rows), _bits(rows), _examples(examples)]
    return document(title, list(filter(None, body)), style=CHART_STYLE + BIT_STYLE + TABLE_STYLE + REPORT_STYLE)


def _warnings(warnings: Sequence[object]) -> str:
    if not warnings:
        return ""
    entries = "".join(f"<li>{text(str(warning))}</li>" for warning in warnings)
    return f'<section class="warnings"><h2>⚠ Read this before the figures</h2><ul>{entries}</ul></section>'


def _facts(result: Mapping[str, Any], protocol: Mapping[str, Any]) -> str:
    convention = str(protocol.get("convention", "–"))
    cutoff = protocol.get("cutoff")
    manifest = str(protocol.get("manifest") or "–")
    trained = protocol.get("train in database")
    known = isinstance(trained, bool)
    among = f"the training pictures {'' if trained else 'not '}among them" if known else ""
    facts = [
        ("Queries", f"<b>{number(protocol.get('queries'))}</b>", ""),
        ("Database", f"<b>{number(protocol.get('database'))}</b>", among),
        ("Training pictures", f"<b>{number(protocol.get('train'))}</b>", ""),
        ("Classes", f"<b>{number(protocol.get('classes'))}</b>", ""),
        ("Relevant is", text(str(protocol.get("relevance", "–"))), ""),
        ("Cut-off", "the whole list" if cutoff is None else f"the first <b>{number(cutoff)}</b>", ""),
        ("Average precision", text(convention), CONVENTIONS.get(convention, "")),
        ("Pictures are", text(str(protocol.get("transform", "–"))), ""),
        (
            "Protocol",
            text(f"{protocol.get('name', '–')}, version {protocol.get('version', '–')}"),
            text(f"seed {protocol.get('seed', '–')}"),
        ),
        ("The model learned from", *_learned_from(result)),
        ("Manifest", f'<code title="{text(manifest)}">{text(manifest[:12])}{"…" * (len(manifest) > 12)}</code>', ""),
    ]
    entries = "".join(
        f"<div><dt>{name}</dt><dd>{value}{f'<small>{more}</small>' if more else ''}</dd></div>"
        for name, value, more in facts
    )
    made = text(f"Made {result.get('created', 'at an unknown time')} with HashGrain {result.get('hashgrain', '?')}.")
    return f'<dl class="facts">{entries}</dl><p class="soft small">{made}</p>'


def _learned_from(result: Mapping[str, Any]) -> tuple[str, str]:
    """How many of the pictures the model was trained on, if its bundle has a record."""
    learned = result.get("learned from")
    if not isinstance(learned, Mapping):
        return "not recorded", ""
    queries, database = (
        f"<b>{number(learned.get(what))}</b> of {number(learned.get(f'of_{what}'))}" for what in ("queries", "database")
    )
    return f"{queries} queries", f"{database} pictures of the database"


def _figures(rows: Sequence[JsonRow]) -> str:
    if not rows:
        return "<h2>Figures</h2><p>Nothing was measured.</p>"
    return (
        '<h2>Figures</h2><p class="soft small">The best of each column stands out. ± is the standard error over the '
        "queries. Items at the same distance have no order of their own: a figure is the mean over all orders of "
        "such ties, and the small range below it runs from the worst order to the best, where that is visible."
        f"</p>{figures_table(rows)}"
    )


def _plots(rows: Sequence[JsonRow]) -> str:
    rank, radius = "by rank", "by radius"
    wanted = [
        ("Precision over recall, by rank", rank, "recall", "precision", "recall", "precision", False),
        ("Precision of the first k", rank, "rank", "precision", "k", "precision", True),
        ("Precision over recall, by radius", radius, "recall", "precision", "recall", "precision", False),
        ("Recall within a radius", radius, "radius", "recall", "radius in bits", "recall", False),
        ("Queries that find anything within a radius", radius, "radius", "hit rate", "radius in bits", "share", False),
    ]
    names, look = row_names(rows), looks(rows)
    drawn = []
    for title, curve, x, y, x_name, y_name, log in wanted:
        series = []
        for row, name, place in zip(rows, names, look, strict=True):
            points = (row.get("curves") or {}).get(curve) or {}
            if points.get(x) and points.get(y):
                series.append(Series(name, points[x], points[y], look=place, strong=row.get("kind") == "model"))
        if series:
            if x == "radius":
                series = _until_flat(series)
            drawn.append(line_chart(series, x=x_name, y=y_name, title=title, log_x=log))
    if not drawn:
        return ""
    lead = "A row keeps its color and dashes in every chart; the rows of the model are drawn thick."
    whole = " odd" * (len(drawn) % 2)
    return f'<h2>Curves</h2><p class="soft small">{lead}</p><div class="charts{whole}">{"".join(drawn)}</div>'


def _until_flat(series: Sequence[Series]) -> list[Series]:
    """Cut off the radii at which nothing changes any more: they would fill most of the chart."""
    ends = []
    for one in series:
        values = list(map(finite, one.y))
        top = max((value for value in values if value is not None), default=0.0)
        ends.append(next((at for at, value in enumerate(values) if value is not None and value > 0.999 * top), 0))
    end = max(ends) + 2
    return [replace(one, x=one.x[:end], y=one.y[:end]) for one in series]


def _distances(rows: Sequence[JsonRow]) -> str:
    shown = [
        (name, row["curves"]["distances"])
        for row, name in zip(rows, row_names(rows), strict=True)
        if row.get("kind") != "reference" and (row.get("curves") or {}).get("distances")
    ]
    if not shown:
        return ""
    drawn = "".join(
        histogram_chart(counts.get("same") or (), counts.get("different") or (), title=name)
        for name, counts in shown[:MOST_CLOSE_UPS]
    )
    return (
        '<h2>Distances</h2><p class="soft small">How far do relevant pictures lie from a query, and how far do those '
        f"that are not? The less the two overlap, the better a radius separates them.{_left_out(len(shown))}</p>"
        f'<div class="charts narrow">{drawn}</div>'
    )


def _bits(rows: Sequence[JsonRow]) -> str:
    codes: dict[tuple[str, ...], JsonRow] = {}
    for row in rows:
        if row.get("health"):  # once for each set of codes, however many distances search it
            codes.setdefault(tuple(str(row.get(word)) for word in CODES), row)
    rows = list(codes.values())
    if not rows:
        return ""
    shown = [
        (name, row["health"])
        for row, name in zip(rows, row_names(rows), strict=True)
        if row.get("kind") != "reference" and (row["health"].get("entropy") or row["health"].get("correlation"))
    ]
    lead = (
        "A bit says most where it is on for half of the pictures (entropy 1) and repeats no other bit (correlation r "
        "near 0). A dead bit never changes and has no correlation, which is drawn gray; the largest bucket is how "
        "many pictures share the most common code."
    )
    drawn = "".join(_close_up(name, health) for name, health in shown[:MOST_CLOSE_UPS])
    maps = f'<p class="soft small">{_left_out(len(shown))}</p><div class="charts narrow">{drawn}</div>'
    return f'<h2>Bits</h2><p class="soft small">{lead}</p>{health_table(rows)}{maps if shown else ""}'


def _close_up(name: str, health: Mapping[str, Any]) -> str:
    _, mean, least, _, _, correlated, most = health_facts(health)
    parts = []
    if health.get("entropy"):
        parts.append(f'<p class="soft">Entropy of each bit: mean {mean}, least {least}</p>')
        ones = health.get("share of ones") or ()
        parts.append(bit_strip(health["entropy"], title=f"Entropy of each bit, {name}", ones=ones))
    if health.get("correlation"):
        parts.append(f'<p class="soft">Correlation of the bits: mean {correlated}, largest {most}</p>')
        parts.append(heat_map(health["correlation"], title=f"Correlation of the bits, {name}"))
        parts.append(heat_scale())
    return f'<figure class="chart bits"><figcaption>{text(name)}</figcaption>{"".join(parts)}</figure>'


def _left_out(count: int) -> str:
    return f" Drawn are the first {MOST_CLOSE_UPS} of {count} rows." if count > MOST_CLOSE_UPS else ""


def _examples(examples: Sequence[Example]) -> str:
    if not examples:
        return ""
    shown = "".join(
        f"<section><h3>{text(one.title)} <small>{text(one.figure)}</small></h3>{asked_with(one.query)}"
        f"{cards(one.hits)}</section>"
        for one in examples
    )
    return f'<h2>Examples</h2><p class="soft small">Queries and their nearest pictures.</p>{shown}'
