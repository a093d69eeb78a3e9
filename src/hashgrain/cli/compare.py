"""`hashgrain compare`: runs side by side, and which differences are more than noise."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from hashgrain.cli.keys import snake_keys
from hashgrain.cli.output import Json, print_json, print_page, say


def compare(
    runs: Annotated[
        list[Path], typer.Argument(metavar="RUN...", help="Folders that `hashgrain evaluate` wrote, or result files.")
    ],
    figure: Annotated[
        str | None, typer.Option("--figure", help="The figure to order by. (default: the protocol's own mAP)")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", help="Write the page, in Markdown, to this file, and its facts to .json beside it."),
    ] = None,
    title: Annotated[str, typer.Option("--title", help="Title of the page.")] = "Results",
    as_json: Json = False,
) -> int:
    """Show runs side by side: means and spreads over seeds, bounds over ties, and what is within noise of the best.

    Only runs on exactly the same pictures are compared. A warning names the others.

    Example: hashgrain compare runs/evaluate/*
    """
    from hashgrain.errors import EvaluationError
    from hashgrain.evaluate.comparison import group, incomparable
    from hashgrain.evaluate.results import Result
    from hashgrain.report.comparison_page import comparison_facts, comparison_page

    if out is not None and out.suffix == ".json":
        raise EvaluationError(f"--out {out}: the page is Markdown, and its facts go to .json beside it; name it .md")
    groups = group([Result.read(run) for run in runs])
    for warning in incomparable(groups):
        say(f"warning: {warning}")
    facts = comparison_facts(groups, figure)
    if as_json:
        print_json(snake_keys(facts))
        return 0
    page = comparison_page(facts, title)
    if out is None:
        print_page(page)
        return 0
    out.parent.mkdir(parents=True, exist_ok=True)
    out.with_suffix(".json").write_text(
        json.dumps({"title": title, "groups": facts}, indent=1) + "\n", encoding="utf-8"
    )
    out.write_text(page, encoding="utf-8")
    say(f"wrote {out} and {out.with_suffix('.json')}")
    return 0
