"""The curves of a training run, from its log: curves.html beside it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from hashgrain.apps.charts import CHART_STYLE, Series, line_chart
from hashgrain.apps.page import document, text

LOG, PAGE = "log.jsonl", "curves.html"


def write_curves(run: Path) -> Path | None:
    """Draw loss, validation figures and the health of the bits over the steps; None where nothing was logged."""
    log = run / LOG
    if not log.is_file():
        return None
    lines = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
    page = run / PAGE
    page.write_text(curves_page(run.name, lines), encoding="utf-8")
    return page


def curves_page(name: str, lines: list[dict[str, Any]]) -> str:
    steps = [line["step"] for line in lines]
    parts = {part for line in lines for part in line.get("parts", {})}
    losses = [Series("loss", steps, [line["loss"] for line in lines], strong=True)]
    losses += [Series(part, steps, [line["parts"].get(part) for line in lines]) for part in sorted(parts)]
    seen = [line for line in lines if line.get("validation")]
    at = [line["step"] for line in seen]
    figures = list(dict.fromkeys(figure for line in seen for figure in line["validation"]))
    quality = [
        Series(figure, at, [line["validation"].get(figure) for line in seen]) for figure in figures if " " in figure
    ]
    quality = [series for series in quality if series.name != "dead bits"]
    health = [Series("entropy", at, [line["validation"].get("entropy") for line in seen])]
    charts = [
        line_chart(losses, x="step", y="loss", title="Loss and its parts"),
        line_chart(quality, x="step", y="figure", title="Pictures kept out of training"),
        line_chart(health, x="step", y="share", title="Entropy of the bits, 1 at best"),
    ]
    warnings = [f"<p>Step {line['step']}: {text(line['warning'])}</p>" for line in lines if line.get("warning")]
    return document(f"Training {name}", [f"<h1>Training {text(name)}</h1>", *warnings, *charts], style=CHART_STYLE)
