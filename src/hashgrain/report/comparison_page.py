"""The comparison of runs as facts (plain data that can be stored), and a Markdown page generated from the facts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from hashgrain.errors import EvaluationError
from hashgrain.evaluate.comparison import Group, Method, difference, main_figure, share_a_run

COLUMNS = (
    "mAP@ALL hash",
    "mAP@1000 hash",
    "mAP@1000 hash-skip",
    "mAP@1000 ir",
    "mAP@1000 min",
    "P@10",
    "P@10 at most",
    "R-precision",
    "P within 2",
)
VISIBLE = 0.0005  # bounds that are closer are not printed
NOISE = (
    "± is the standard deviation over the runs (seeds of the split and of the method). The small range is what the"
    " order inside ties could make of a figure; the figure is the mean over all orders. Average precision is divided"
    " by the relevant items found (`hash`; `hash-skip` leaves out queries that found none), by all there are (`ir`), or"
    " by the most that fit (`min`); over the whole list `hash`, `ir` and `min` are the same. The last column is the"
    " difference from the best of the same width, and *within noise* where it is smaller than half of its 95 %"
    " interval, over queries or over seeds, whichever is wider."
)
JsonFacts = Mapping[str, Any]


def comparison_facts(groups: Sequence[Group], figure: str | None = None) -> list[dict[str, Any]]:
    """The facts of each comparable group, with methods sorted by width (those without one last), then best first."""
    return [_facts(group, _figure(group, figure)) for group in groups]


def comparison_page(facts: Sequence[JsonFacts], title: str = "Results") -> str:
    """The page for the facts."""
    return "\n\n".join([f"# {title}", NOISE, *("\n".join(_section(group)).strip() for group in facts)]) + "\n"


def _figure(group: Group, asked: str | None) -> str:
    figure = asked or main_figure(group.protocol)
    there = sorted({name for method in group.methods for row in method.rows.values() for name in row.figures})
    if figure not in there:
        raise EvaluationError(f"no figure {figure!r} in these runs; there are {', '.join(there)}")
    return figure


def _facts(group: Group, figure: str) -> dict[str, Any]:
    scored = [method for method in group.methods if method.values(figure)]
    methods = []
    for bits in sorted({method.bits for method in scored}, key=lambda bits: (bits is None, bits or 0)):
        ranked = sorted((m for m in scored if m.bits == bits), key=lambda m: -m.mean(figure))
        methods += [_method(method, ranked[0], figure, main_figure(group.protocol)) for method in ranked]
    return {
        "protocol": dict(group.protocol),
        "manifests": list(group.manifests),
        "seeds": list(group.seeds),
        "made by": [dict(each) for each in group.made_by],
        "figure": figure,
        "warnings": list(group.warnings),
        "methods": methods,
    }


def _method(method: Method, best: Method, figure: str, own: str) -> dict[str, Any]:
    names = dict.fromkeys(name for row in method.rows.values() for name in row.figures)
    figures = {
        name: {"mean": _short(method.mean(name)), "spread": _short(method.spread(name))}
        | ({"worst": _short(bounds[0]), "best": _short(bounds[1])} if (bounds := method.bounds(name)) else {})
        for name in names
    }
    against: dict[str, Any] | None = None
    if method is not best and not share_a_run(best, method):
        against = {"difference": None, "noise": None, "over": "unknown", "within noise": None}
    elif method is not best:
        behind = difference(best, method, figure, own)
        against = {
            "difference": _short(-behind.mean),
            "noise": _short(behind.noise),
            "over": behind.noise_of,
            "within noise": behind.within_noise,
        }
    facts = {"method": method.name, "kind": method.kind, "bits": method.bits, "runs": len(method.rows)}
    return facts | {"against the best": against, "figures": figures}


def _short(value: float | None) -> float | None:
    return None if value is None else round(value, 6)


def _section(group: JsonFacts) -> Iterator[str]:
    p = group["protocol"]
    among = {True: ", the training pictures among them", False: ", none of them a training picture"}
    trained = among.get(bool(p["train in database"]), "") if "train in database" in p else ""
    cutoff = "the whole list" if p["cutoff"] is None else f"the first {p['cutoff']}"
    yield f"## {p['name']}"
    yield ""
    yield (
        f"{p['about'][:1].upper()}{p['about'][1:]}. {p['queries']:,} queries, {p['database']:,} pictures in the"
        f" database{trained}. Counted over {cutoff}; relevant: {p['relevance']}; pictures: {p['transform']}. Version"
        f" {p['version']}; manifests {', '.join(f'`{manifest[:12]}`' for manifest in group['manifests'])}."
    )
    yield ""
    for command in filter(None, (_command(made_by, group) for made_by in group["made by"])):
        yield f"`{command}`"
        yield ""
    for warning in group["warnings"]:
        yield f"- **Note:** {warning}"
    if group["warnings"]:
        yield ""
    columns = list(dict.fromkeys((group["figure"], *COLUMNS)))
    for bits in dict.fromkeys(method["bits"] for method in group["methods"]):
        yield f"### {bits} bits" if bits else "### Real-valued"
        yield ""
        yield from _table([method for method in group["methods"] if method["bits"] == bits], columns)
        yield ""


def _table(methods: Sequence[JsonFacts], columns: Sequence[str]) -> Iterator[str]:
    columns = [name for name in columns if any(name in method["figures"] for method in methods)]
    yield "| method | runs | " + " | ".join(columns) + " | against the best of its width |"
    yield "|---|---|" + "---|" * (len(columns) + 1)
    for method in methods:
        name = method["method"] if method["kind"] == "reference" else f"**{method['method']}**"
        cells = [_cell(method["figures"].get(column)) for column in columns]
        yield f"| {name} | {method['runs']} | {' | '.join(cells)} | {_verdict(method['against the best'])} |"


def _command(made_by: JsonFacts, group: JsonFacts) -> str | None:
    """The command line of a run, with a placeholder for the folder of pictures."""
    if not made_by.keys() >= {"model", "bits", "references", "asymmetric", "label noise"}:
        return None
    seeds, bits = (",".join(map(str, values)) for values in (group["seeds"], made_by["bits"]))
    noise = ",".join(map(str, made_by["label noise"]))
    return (
        f"hashgrain evaluate {made_by['model']} --data DATA --protocol {group['protocol']['name']} --seeds {seeds}"
        f" --bits {bits} --references {made_by['references']}"
        + (" --asymmetric" if made_by["asymmetric"] else "")
        + (f" --label-noise {noise}" if noise else "")
    )


def _cell(figure: JsonFacts | None) -> str:
    if figure is None:
        return ""
    text = f"{figure['mean']:.4f}" + (f" ± {figure['spread']:.4f}" if figure["spread"] is not None else "")
    if "worst" in figure and figure["best"] - figure["worst"] >= VISIBLE:
        text += f" <small>{figure['worst']:.3f}–{figure['best']:.3f}</small>"
    return text


def _verdict(against: JsonFacts | None) -> str:
    if against is None:
        return "best"
    if against["difference"] is None:
        return "no run on the same pictures"
    if against["noise"] is None:
        return f"{against['difference']:+.4f}, noise unknown (one run)"
    size = f"{against['difference']:+.4f} (noise {against['noise']:.4f}, {against['over']})"
    return f"within noise: {size}" if against["within noise"] else size
