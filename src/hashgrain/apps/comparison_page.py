"""Runs side by side as a page in Markdown, or as facts. Nothing on it is typed by hand."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from hashgrain.errors import EvaluationError
from hashgrain.evaluate.comparison import Difference, Group, Method, difference, main_figure

COLUMNS = ("mAP@ALL hash", "mAP@1000 hash", "mAP@1000 hash-skip", "mAP@1000 ir", "mAP@1000 min", "P@10", "P within 2")
NOISE = (
    "± is the standard deviation over the runs (seeds of the split and of the method). The small range is what the"
    " order inside ties could make of a figure; the figure is the mean over all orders. Average precision is divided"
    " by the relevant items found (`hash`; `hash-skip` leaves out queries that found none), by all there are (`ir`), or"
    " by the most that fit (`min`). *Within noise* of the best of its width: the difference is smaller than half of its"
    " 95 % interval, over queries or over seeds, whichever is wider."
)
Pair = tuple[Method, Difference | None]  # and how far it is behind the best of its width


def comparison_page(groups: Sequence[Group], figure: str | None = None) -> str:
    """The page."""
    parts = ["\n".join(_group(group, _figure(group, figure))) for group in groups]
    return "\n\n".join([NOISE, *parts]) + "\n"


def comparison_facts(groups: Sequence[Group], figure: str | None = None) -> list[dict[str, Any]]:
    """The same as plain data."""
    return [_facts(group, _figure(group, figure)) for group in groups]


def _figure(group: Group, asked: str | None) -> str:
    figure = asked or main_figure(group.protocol)
    there = sorted({name for method in group.methods for row in method.rows.values() for name in row.figures})
    if figure not in there:
        raise EvaluationError(f"no figure {figure!r} in these runs; there are {', '.join(there)}")
    return figure


def _ranked(group: Group, figure: str) -> Iterator[Sequence[Pair]]:
    """Methods of one width after another, those without a width last, each best first."""
    scored = [method for method in group.methods if method.values(figure)]
    widths = sorted({method.bits for method in scored}, key=lambda bits: (bits is None, bits or 0))
    for bits in widths:
        methods = sorted((m for m in scored if m.bits == bits), key=lambda m: -m.mean(figure))
        own = main_figure(group.protocol)
        yield [(m, difference(methods[0], m, figure, own) if m is not methods[0] else None) for m in methods]


def _group(group: Group, figure: str) -> Iterator[str]:
    p = group.protocol
    yield f"## {p['name']}"
    yield ""
    among = {True: ", the training pictures among them", False: ", none of them a training picture"}
    trained = among.get(bool(p["train in database"]), "") if "train in database" in p else ""
    cutoff = "the whole list" if p["cutoff"] is None else f"the first {p['cutoff']}"
    yield (
        f"{p['about'].capitalize()}. {p['queries']:,} queries, {p['database']:,} pictures in the database{trained}."
        f" Counted over {cutoff}; relevant: {p['relevance']}; pictures: {p['transform']}."
        f" Version {p['version']}; seeds {', '.join(map(str, group.seeds))}; manifests"
        f" {', '.join(f'`{manifest[:12]}`' for manifest in group.manifests)}."
    )
    yield ""
    for warning in group.warnings:
        yield f"- **Note:** {warning}"
    if group.warnings:
        yield ""
    shown = [figure, *(name for name in COLUMNS if name != figure)]
    shown = [name for name in shown if any(method.values(name) for method in group.methods)]
    yield "| method | runs | " + " | ".join(shown) + " | against the best of its width |"
    yield "|---|---|" + "---|" * (len(shown) + 1)
    for methods in _ranked(group, figure):
        for method, behind in methods:
            cells = [_cell(method, name) for name in shown]
            name = f"**{method.name}**" if method.kind != "reference" else method.name
            yield f"| {name} | {len(method.rows)} | " + " | ".join(cells) + f" | {_verdict(behind)} |"


def _cell(method: Method, figure: str) -> str:
    if not method.values(figure):
        return ""
    spread, bounds = method.spread(figure), method.bounds(figure)
    text = f"{method.mean(figure):.4f}" + (f" ± {spread:.4f}" if spread is not None else "")
    if bounds and bounds[1] - bounds[0] >= 0.0005:
        text += f" <small>{bounds[0]:.3f}–{bounds[1]:.3f}</small>"
    return text


def _verdict(behind: Difference | None) -> str:
    if behind is None:
        return "best"
    if behind.noise is None:
        return f"{-behind.mean:+.4f}, noise unknown (one run)"
    size = f"{-behind.mean:+.4f} (noise {behind.noise:.4f}, {behind.noise_of})"
    return f"within noise: {size}" if behind.within_noise else size


def _facts(group: Group, figure: str) -> dict[str, Any]:
    methods = []
    for ranked in _ranked(group, figure):
        for method, behind in ranked:
            names = dict.fromkeys(name for row in method.rows.values() for name in row.figures)
            figures = {
                name: {"mean": method.mean(name), "spread": method.spread(name), "bounds": method.bounds(name)}
                for name in names
            }
            noise = behind and {
                "difference": -behind.mean,
                "noise": behind.noise,
                "over": behind.noise_of,
                "within noise": behind.within_noise,
            }
            facts = {"method": method.name, "bits": method.bits, "runs": len(method.rows), "against the best": noise}
            methods.append(facts | {"figures": figures})
    head = {"protocol": dict(group.protocol), "manifests": list(group.manifests), "seeds": list(group.seeds)}
    return head | {"figure": figure, "warnings": list(group.warnings), "methods": methods}
