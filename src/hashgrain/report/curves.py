"""The curves of a training run, from its logs: curves.html in its folder."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hashgrain.report.charts import CHART_STYLE, Series, line_chart
from hashgrain.report.page import document, text

LOG, PAGE = "log.jsonl", "curves.html"
Lines = list[dict[str, Any]]


def write_curves(run: Path) -> Path | None:
    """Draw loss, validation figures and the health of the bits over the steps; None where there is no log.

    Stages after the network (pruning, the last step) have their own logs in folders of the run.
    """
    logs = sorted(run.rglob(LOG), key=lambda log: log.parent.parts)
    if not logs:
        return None
    stages = {
        "/".join(log.parent.relative_to(run).parts): [
            json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()
        ]
        for log in logs
    }
    page = run / PAGE
    page.write_text(curves_page(run.name, stages), encoding="utf-8")
    return page


def curves_page(name: str, stages: Mapping[str, Lines]) -> str:
    blocks = [f"<h1>Training {text(name)}</h1>"]
    for stage, lines in stages.items():
        if stage:
            blocks.append(f"<h2>{text(stage)}</h2>")
        blocks += [f"<p>Step {line['step']}: {text(line['warning'])}</p>" for line in lines if line.get("warning")]
        blocks += _charts(lines)
    return document(f"Training {name}", blocks, style=CHART_STYLE)


def _charts(lines: Lines) -> list[str]:
    steps = [line["step"] for line in lines]
    parts = {part for line in lines for part in line.get("parts", {})}
    losses = [Series("loss", steps, [line["loss"] for line in lines], strong=True)]
    losses += [Series(part, steps, [line["parts"].get(part) for line in lines]) for part in sorted(parts)]
    seen = [line for line in lines if line.get("validation")]
    at = [line["step"] for line in seen]
    figures = list(dict.fromkeys(figure for line in seen for figure in line["validation"]))
    quality = [
        Series(figure, at, [line["validation"].get(figure) for line in seen])
        for figure in figures
        if " " in figure and figure != "dead bits"
    ]
    health = [Series("entropy", at, [line["validation"].get("entropy") for line in seen])]
    charts = [line_chart(losses, x="step", y="loss", title="Loss and its parts")]
    if quality:  # bits trained without labels have none
        charts.append(line_chart(quality, x="step", y="figure", title="Pictures kept out of training"))
    return [*charts, line_chart(health, x="step", y="share", title="Entropy of the bits, 1 at best")]
