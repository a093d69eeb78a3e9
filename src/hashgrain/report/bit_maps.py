"""Charts of the bits of a code: the entropy of each, and their correlations."""

from __future__ import annotations

from collections.abc import Sequence

from hashgrain.report.charts import finite
from hashgrain.report.page import text

# Correlations below the first level are not drawn: a map of good codes is nearly empty, and small.
LEVELS = (0.05, 0.15, 0.3, 0.5, 0.75)

BIT_STYLE = """
.map { display: block; width: 100%; aspect-ratio: 1; background: var(--paper); border: 1px solid var(--line); }
.map path { fill: none; stroke-width: 1; shape-rendering: crispEdges; }
.p { stroke: var(--c1); } .n { stroke: var(--c0); } .u { stroke: var(--line); }
.s0 { stroke-opacity: .18; } .s1 { stroke-opacity: .36; } .s2 { stroke-opacity: .58; } .s3 { stroke-opacity: .8; }
.strip { display: block; width: 100%; height: 2.6rem; margin: .15rem 0 .6rem; border: 1px solid var(--line);
  background: var(--paper); }
.strip rect { fill: var(--c0); } .strip .weak { fill: var(--c6); }
.bits { max-width: 28rem; } .bits p { margin: .6rem 0 .2rem; }
.scale { display: grid; grid-template-columns: repeat(11, 1fr); font-size: .75rem; color: var(--soft);
  text-align: center; margin-top: .5rem; font-variant-numeric: tabular-nums; }
.scale svg { width: 100%; height: .7rem; display: block; background: var(--paper);
  box-shadow: 0 0 0 1px var(--line); }
.scale line { stroke-width: 40; }
"""
WEAK = 0.5  # entropy below which a bit is marked


def heat_map(matrix: Sequence[Sequence[object]], *, title: str) -> str:
    """Correlations of every bit with every other, from -1 to 1; cells that are not numbers are gray."""
    size = max([len(matrix), *map(len, matrix)], default=0)
    if not size:
        return f'<p class="soft">{text(title)}: nothing to draw.</p>'
    runs: dict[str, list[str]] = {}
    for row, cells in enumerate(matrix):
        start = 0
        looks = ["" if row == column else _look(cell) for column, cell in enumerate(cells)]
        for column, look in enumerate(looks):
            if column + 1 == len(looks) or looks[column + 1] != look:
                if look:
                    runs.setdefault(look, []).append(f"M{start} {row}h{column + 1 - start}")
                start = column + 1
    # One path per level and one stroke per run: a 64 x 64 map takes at most 20 kB; with one element per cell, 250 kB.
    paths = "".join(f'<path class="{look}" d="{"".join(runs[look])}"/>' for look in sorted(runs))
    return (
        f'<svg class="map" role="img" aria-label="{text(title)}" viewBox="0 -.5 {size} {size}">'
        f"<title>{text(title)}</title>{paths}</svg>"
    )


def heat_scale() -> str:
    """The legend of a heat map. Each color is labelled with its lower bound, since the steps are not equal."""
    looks = [f"n s{place}" for place in reversed(range(5))] + [""] + [f"p s{place}" for place in range(5)]
    labels = ["−.75", "", "−.3", "", "−.05", "0", ".05", "", ".3", "", ".75"]
    cells = (
        f'<div><svg aria-hidden="true"><line class="{look}" x1="0" x2="100%" y1="50%" y2="50%"/></svg>{label}</div>'
        for look, label in zip(looks, labels, strict=True)
    )
    return f'<div class="scale">{"".join(cells)}</div>'


def bit_strip(entropy: Sequence[object], *, title: str, ones: Sequence[object] = ()) -> str:
    """One bar per bit, as high as its entropy; weak bits have another color, and a tooltip shows a bit's figures."""
    if not len(entropy):
        return f'<p class="soft">{text(title)}: nothing to draw.</p>'
    bars = []
    for bit, raw in enumerate(entropy):
        value, share = finite(raw), finite(ones[bit]) if bit < len(ones) else None
        height = min(1.0, max(0.0, value or 0.0))
        tooltip = f"bit {bit}: entropy {'unknown' if value is None else f'{value:.2f}'}"
        tooltip += "" if share is None else f", on in {100 * share:.0f} %"
        weak = ' class="weak"' if height < WEAK else ""
        drawn = max(height, 0.06)  # keeps a dead bit visible
        bars.append(
            f'<rect{weak} x="{bit + 0.1:.1f}" y="{1 - drawn:.3g}" width=".8" height="{drawn:.3g}">'
            f"<title>{tooltip}</title></rect>"
        )
    return (
        f'<svg class="strip" role="img" aria-label="{text(title)}" viewBox="0 0 {len(entropy)} 1" '
        f'preserveAspectRatio="none">{"".join(bars)}</svg>'
    )


def _look(cell: object) -> str:
    value = finite(cell)
    if value is None:
        return "u"
    level = sum(abs(value) >= bound for bound in LEVELS)
    return f"{'p' if value > 0 else 'n'} s{level - 1}" if level else ""
