"""The rows of an evaluation: their names, order and groups, and their figures as tables."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from hashgrain.report.charts import LOOKS, finite
from hashgrain.report.page import text

JsonRow = Mapping[str, Any]
CODES = ("kind", "method", "grain", "bits", "seed")  # these identify a set of codes
GROUPS = {"model": "The model", "codes": "Codes", "reference": "References"}

TABLE_STYLE = """
.scroll { overflow-x: auto; border: 1px solid var(--line); border-radius: .6rem; background: var(--card); }
table { border-collapse: collapse; width: 100%; font-size: .88rem; font-variant-numeric: tabular-nums; }
th, td { padding: .5rem .8rem; text-align: right; vertical-align: baseline; border-top: 1px solid var(--line);
  white-space: nowrap; }
thead th { border-top: 0; color: var(--soft); font-weight: 600; }
th:first-child { text-align: left; } th small { display: block; color: var(--soft); font-weight: 400; }
tbody th:first-child { font-weight: 600; white-space: normal; overflow-wrap: anywhere; min-width: 8rem;
  max-width: 18rem; }
tbody tr.group th { background: var(--paper); color: var(--soft); font-size: .78rem; padding: .35rem .8rem; }
tr.group th span { position: sticky; left: .8rem; }
td small, th small { font-size: .78rem; } td small { color: var(--soft); }
td .error { display: inline-block; width: 4em; text-align: left; }
td .ties { display: block; } td.best strong { color: var(--right); font-weight: 750; }
@media (min-width: 45rem) { tbody th:first-child, thead th:first-child { position: sticky; left: 0;
  background: var(--card); } }
"""


def in_order(rows: Sequence[JsonRow]) -> list[JsonRow]:
    """The model first, then other codes, then references; each group keeps its order."""
    groups = list(GROUPS)
    return sorted(rows, key=lambda row: groups.index(row["kind"]) if row.get("kind") in groups else len(groups))


def row_names(rows: Sequence[JsonRow]) -> list[str]:
    """A short name for each row, with only the words that distinguish rows."""
    seeds = _several_seeds(rows)
    return [" · ".join([_method(row), *_variant(row, seeds, plain=False)]) for row in rows]


def _method(row: JsonRow) -> str:
    return str(row.get("method", "?"))


def _variant(row: JsonRow, seeds: bool, *, plain: bool) -> list[str]:
    """The attributes of a row besides its method; `plain` includes the usual distance."""
    distance = str(row.get("distance") or "symmetric")
    words = [
        str(row["grain"]) if row.get("grain") else "",
        f"{row['bits']} bits" if row.get("bits") else "",
        distance if plain or distance != "symmetric" else "",
        f"seed {row.get('seed')}" if seeds else "",
    ]
    return list(filter(None, words))


def _several_seeds(rows: Sequence[JsonRow]) -> bool:
    return len({str(row.get("seed")) for row in rows}) > 1


def looks(rows: Sequence[JsonRow]) -> list[int]:
    """The look of each row, the same in every chart; rows with low numbers get distinct looks.

    The order is: the first few rows of the model, then the best of the others, then further seeds.
    """
    seen: Counter[tuple[Any, ...]] = Counter()
    figure = next(iter(figure_names(rows)), "")
    keys = []
    for place, row in enumerate(rows):
        same = tuple(str(row.get(word)) for word in ("method", "bits", "grain", "distance"))
        value = part(row, figure, "value")
        own = row.get("kind") == "model"
        keys.append((seen[same], place if own else -(value or 0.0), own, place))
        seen[same] += 1
    own_places = [key[3] for key in sorted(key for key in keys if key[2])]
    others = [key[3] for key in sorted(key for key in keys if not key[2])]
    some = LOOKS * 5 // 8  # the rest is for the rows that the model is compared with
    order = [*own_places[:some], *others[: LOOKS - some], *own_places[some:], *others[LOOKS - some :]]
    return [order.index(place) for place in range(len(rows))]


def figure_names(rows: Sequence[JsonRow]) -> list[str]:
    return list(dict.fromkeys(name for row in rows for name in row.get("figures") or {}))


def part(row: JsonRow, figure: str, which: str) -> float | None:
    entry = (row.get("figures") or {}).get(figure)
    return finite(entry.get(which)) if isinstance(entry, Mapping) else None


def figures_table(rows: Sequence[JsonRow]) -> str:
    """Every figure of every row, with the best of each column marked."""
    names = figure_names(rows)
    values = {name: [part(row, name, "value") for row in rows] for name in names}
    best = {name: max((round(v, 3) for v in column if v is not None), default=None) for name, column in values.items()}
    errors = {name for name in names for row in rows if part(row, name, "error") is not None}

    def cells(row: JsonRow) -> list[str]:
        return [_figure(row, name, best[name], name in errors) for name in names]

    return _table("Figures", _heads(names), rows, cells)


def health_table(rows: Sequence[JsonRow]) -> str:
    """The health of the bits, one line per row."""
    heads = (
        "Dead bits",
        "Mean entropy",
        "Least",
        "Distinct codes",
        "Largest bucket",
        "Mean |r|",
        "Largest |r|",
    )

    def cells(row: JsonRow) -> list[str]:
        return [f"<td>{fact}</td>" for fact in health_facts(row["health"])]

    return _table("Health of the bits", _heads(heads), rows, cells)


def health_facts(health: Mapping[str, Any]) -> list[str]:
    """Dead bits, mean and least entropy, distinct codes, largest bucket, mean and largest correlation."""
    entropy = [value for value in map(finite, health.get("entropy") or ()) if value is not None]
    return [
        number(health.get("dead bits")),
        number(sum(entropy) / len(entropy) if entropy else None, 2),
        number(min(entropy, default=None), 2),
        number(health.get("distinct")),
        number(health.get("largest bucket")),
        number(health.get("mean correlation"), 2),
        number(health.get("largest correlation"), 2),
    ]


def number(value: object, digits: int = 0) -> str:
    """A formatted number, or a dash."""
    shown = finite(value)
    return "–" if shown is None else f"{shown:,.{digits}f}"


def _figure(row: JsonRow, name: str, best: float | None, errors: bool) -> str:
    value, error = part(row, name, "value"), part(row, name, "error")
    worst, top = part(row, name, "worst"), part(row, name, "best")
    if value is None:
        return "<td>–" + ('<small class="error"></small>' if errors else "") + "</td>"
    wins = best is not None and round(value, 3) == best
    shown = f"<strong>{value:.3f}</strong>" if wins else f"{value:.3f}"
    if errors:  # even if empty, so that values are aligned
        shown += f' <small class="error">{"" if error is None else f"± {error:.3f}"}</small>'
    if worst is not None and top is not None and f"{worst:.3f}" != f"{top:.3f}":
        shown += f'<small class="ties">{worst:.3f} to {top:.3f}</small>'
    return f'<td class="best">{shown}</td>' if wins else f"<td>{shown}</td>"


def _heads(names: Sequence[str]) -> list[str]:
    return [f'<th scope="col">{text(name)}</th>' for name in names]


def _table(label: str, heads: Sequence[str], rows: Sequence[JsonRow], cells: Callable[[JsonRow], Sequence[str]]) -> str:
    """A table in its own scrollable box, also by keyboard, for narrow pages."""
    lines, group, seeds = [], None, _several_seeds(rows)
    for row in rows:
        if row.get("kind") != group:
            group = row.get("kind")
            title = text(GROUPS.get(str(group), str(group)))
            lines.append(f'<tr class="group"><th colspan="{len(heads) + 1}"><span>{title}</span></th></tr>')
        variant = text(" · ".join(_variant(row, seeds, plain=True)))
        head = f'<th scope="row">{text(_method(row))} <small>{variant}</small></th>'
        lines.append(f"<tr>{head}{''.join(cells(row))}</tr>")
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{label}"><table><thead><tr>'
        f'<th scope="col">Method</th>{"".join(heads)}</tr></thead><tbody>{"".join(lines)}</tbody></table></div>'
    )
