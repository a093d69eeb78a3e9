"""Charts as inline SVG text, colored by variables of the page so that light and dark both work.

Positions are in percent, and curves are stretched over the plot with strokes of constant width: a chart fills any
width, and its text keeps the size of the page's text. Labels are outside the SVG's box, in the padding of `.plot`, so
the code does not depend on the plot's width.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from hashgrain.report.page import text

LOOKS = 8  # lines with distinct colors and dashes; more cannot be distinguished
FINE = 1000  # curves are drawn on a grid with this many steps in each direction, finer than a screen
HUGE, TINY = 1e15, 1e-12  # numbers outside these limits are errors that no axis can show

CHART_STYLE = """
:root { --c0: #1f5aa6; --c1: #b8520a; --c2: #14783f; --c3: #a8327e; --c4: #0b6e80; --c5: #7a5c00; --c6: #c02f34;
  --c7: #6741b9; --grid: #ece9e3; --rest: #b4afa6; }
@media (prefers-color-scheme: dark) { :root { --c0: #86b7f5; --c1: #f2a65a; --c2: #5fd39a; --c3: #f08bc4;
  --c4: #4fc3d9; --c5: #d9c04a; --c6: #ff8f8f; --c7: #b79cf7; --grid: #2f2c29; --rest: #67625b; } }
.charts { display: grid; gap: 1.1rem; grid-template-columns: repeat(auto-fill, minmax(min(100%, 25rem), 1fr)); }
.charts.narrow { grid-template-columns: repeat(auto-fill, minmax(min(100%, 20rem), 1fr)); }
.charts.odd > :first-child { grid-column: 1 / -1; } .charts.odd > :first-child .plot > svg { height: 17rem; }
.chart { margin: 0; padding: 1rem 1.1rem; background: var(--card); border: 1px solid var(--line);
  border-radius: .6rem; break-inside: avoid; min-width: 0; }
.chart figcaption { font-weight: 650; overflow-wrap: anywhere; } .chart p { margin: .2rem 0 0; font-size: .85rem; }
.plot { padding: 2.1rem .9rem 2.9rem 2.9rem; }
.plot > svg { display: block; width: 100%; height: 13.5rem; overflow: visible; }
.chart text { fill: var(--soft); font-size: .75rem; font-variant-numeric: tabular-nums; }
.grid { stroke: var(--grid); } .axis { stroke: var(--rest); }
.line { fill: none; stroke-width: 1.75; stroke-linejoin: round; vector-effect: non-scaling-stroke; }
.strong { stroke-width: 3; } .area { vector-effect: non-scaling-stroke; stroke-width: 2; fill-opacity: .22; }
.l0 { stroke: var(--c0); } .l1 { stroke: var(--c1); stroke-dasharray: 8 4; }
.l2 { stroke: var(--c2); stroke-dasharray: 2 3; } .l3 { stroke: var(--c3); stroke-dasharray: 9 3 2 3; }
.l4 { stroke: var(--c4); stroke-dasharray: 15 4; } .l5 { stroke: var(--c5); stroke-dasharray: 5 2; }
.l6 { stroke: var(--c6); stroke-dasharray: 9 3 2 3 2 3; } .l7 { stroke: var(--c7); stroke-dasharray: 3 6; }
.rest { stroke: var(--rest); stroke-width: 1; }
.dot { stroke-width: 6; stroke-linecap: round; stroke-dasharray: none; vector-effect: non-scaling-stroke; }
.area.l0 { fill: var(--c0); } .area.l1 { fill: var(--c1); }
.key { list-style: none; margin: 0; padding: 0; display: flex; flex-wrap: wrap; gap: .15rem 1.1rem; font-size: .8rem; }
.key li { display: flex; gap: .45rem; align-items: center; overflow-wrap: anywhere; min-width: 0; }
.key svg { width: 2.1rem; height: .8rem; flex: none; }
"""


@dataclass(frozen=True)
class Series:
    """A line, broken where either number is missing."""

    name: str
    x: Sequence[object]
    y: Sequence[object]
    look: int | None = None  # index of color and dashes, the same in every chart; by default the position in the list
    strong: bool = False


@dataclass(frozen=True)
class Axis:
    low: float
    high: float
    ticks: Sequence[float]
    log: bool = False

    def share(self, value: float) -> float:
        low, high, value = map(math.log, (self.low, self.high, value)) if self.log else (self.low, self.high, value)
        return (value - low) / (high - low)


def line_chart(series: Sequence[Series], *, x: str, y: str, title: str, log_x: bool = False) -> str:
    """A line chart. The first `LOOKS` looks are distinct; other lines are thin and gray, behind them."""
    lines = [
        (one, place if one.look is None else one.look, _points(one, log_x=log_x)) for place, one in enumerate(series)
    ]
    lines = [line for line in lines if any(line[2])]
    if not lines:
        return _figure(title, '<p class="soft">There is nothing to draw.</p>')
    across = _axis([point[0] for _, _, parts in lines for part in parts for point in part], log=log_x)
    up = _axis([point[1] for _, _, parts in lines for part in parts for point in part], round_up=True)
    drawn = "".join(
        f'<path class="line {_look(look)}{" strong" if one.strong else ""}{" dot" if len(part) == 1 else ""}" '
        f'd="{_path(part, across, up)}"><title>{text(one.name)}</title></path>'
        for one, look, parts in sorted(lines, key=lambda line: (line[1] < LOOKS, line[0].strong))
        for part in parts
    )
    keys = [(_look(look), one.name, one.strong) for one, look, _ in lines if look < LOOKS]
    others = len(lines) - len(keys)
    if others:
        keys.append(("rest", f"{others} other{'s' * (others > 1)}, see the table", False))
    summary = f"{title}: {y} over {x}, {len(lines)} line{'s' * (len(lines) > 1)}"
    return _figure(title, _plot(drawn, across, up, x=x, y=y, summary=summary), _key(keys))


def histogram_chart(
    same: Sequence[object], different: Sequence[object], *, title: str, x: str = "distance in bits"
) -> str:
    """Histograms of distances for relevant and for other pairs, each as shares of its own total."""
    bins = max(len(same), len(different))
    shares = [_shares(counts, bins) for counts in (same, different)]
    if not any(map(any, shares)):
        return _figure(title, '<p class="soft">There are no pairs to draw.</p>')
    # Widths of codes are multiples of 8: quarters of them make rounder ticks than tens.
    step = (bins - 1) / 4 if bins > 1 and (bins - 1) % 8 == 0 else max(1.0, _step(0, bins))
    across = Axis(-0.5, bins - 0.5, _ticks(0, bins - 1, step))
    up = _axis([0.0, *(100 * share for part in shares for share in part)], round_up=True)
    drawn = "".join(
        f'<path class="area l{look}" d="{_steps([100 * share for share in part], up)}"/>'
        for look, part in reversed(list(enumerate(shares)))
        if any(part)
    )
    names = ("relevant", "not relevant")
    keys = [(f"l{look} area", f"{names[look]}, {_median(part)}", True) for look, part in enumerate(shares)]
    overlap = sum(map(min, *shares))
    about = f'<p class="soft">The two overlap by {100 * overlap:.0f} %.</p>' if all(map(any, shares)) else ""
    return _figure(title, about, _plot(drawn, across, up, x=x, y="% of such pairs", summary=title), _key(keys))


def finite(value: object) -> float | None:
    """The value as a float that a chart can show, or None."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return None if not -HUGE < value < HUGE else float(value) if abs(value) > TINY else 0.0  # NaN is not in between


def _figure(title: str, *parts: str) -> str:
    return f'<figure class="chart"><figcaption>{text(title)}</figcaption>{"".join(parts)}</figure>'


def _plot(drawn: str, across: Axis, up: Axis, *, x: str, y: str, summary: str) -> str:
    parts = []
    for tick in up.ticks:
        at = f"{100 * (1 - up.share(tick)):.2f}%"
        parts.append(f'<line class="grid" x1="0" x2="100%" y1="{at}" y2="{at}"/>')
        parts.append(f'<text x="0" y="{at}" dx="-8" dy="4" text-anchor="end">{_short(tick)}</text>')
    for tick in across.ticks:
        at = f"{100 * across.share(tick):.2f}%"
        parts.append(f'<line class="grid" x1="{at}" x2="{at}" y1="0" y2="100%"/>')
        parts.append(f'<text x="{at}" y="100%" dy="18" text-anchor="middle">{_short(tick)}</text>')
    parts.append('<line class="axis" x1="0" x2="100%" y1="100%" y2="100%"/>')
    parts.append(f'<text x="0" y="0" dx="-40" dy="-14">{text(y)}</text>')
    parts.append(f'<text x="100%" y="100%" dy="38" text-anchor="end">{text(x)} →</text>')
    return (
        f'<div class="plot"><svg role="img" aria-label="{text(summary)}">{"".join(parts)}'
        f'<svg width="100%" height="100%" viewBox="0 0 {FINE} {FINE}" preserveAspectRatio="none" overflow="visible">'
        f"{drawn}</svg></svg></div>"
    )


def _key(keys: Sequence[tuple[str, str, bool]]) -> str:
    entries = "".join(
        f'<li><svg aria-hidden="true"><line class="line {look}{" strong" if strong else ""}" x1="0" x2="100%" '
        f'y1="50%" y2="50%"/></svg>{text(name)}</li>'
        for look, name, strong in keys
    )
    return f'<ul class="key">{entries}</ul>'


def _look(look: int) -> str:
    return f"l{look}" if 0 <= look < LOOKS else "rest"


def _points(one: Series, *, log_x: bool) -> list[list[tuple[float, float]]]:
    """The unbroken parts of a line."""
    parts: list[list[tuple[float, float]]] = [[]]
    for raw_x, raw_y in zip(one.x, one.y, strict=False):
        x, y = finite(raw_x), finite(raw_y)
        if x is not None and y is not None and (x > 0 or not log_x):
            parts[-1].append((x, y))
        elif parts[-1]:
            parts.append([])
    return [part for part in parts if part]


def _path(part: Sequence[tuple[float, float]], across: Axis, up: Axis) -> str:
    grid = [(round(FINE * across.share(x)), round(FINE * (1 - up.share(y)))) for x, y in part]
    points = [point for place, point in enumerate(grid) if place == 0 or point != grid[place - 1]]
    if len(points) == 1:
        return f"M{points[0][0]} {points[0][1]}h0"  # a line of length 0, which round caps turn into a dot
    return "M" + "L".join(f"{x} {y}" for x, y in points)


def _steps(values: Sequence[float], up: Axis) -> str:
    corners = [
        f"V{FINE * (1 - up.share(value)):.0f}H{FINE * (place + 1) / len(values):.0f}"
        for place, value in enumerate(values)
    ]
    return f"M0 {FINE}{''.join(corners)}V{FINE}"


def _shares(counts: Sequence[object], bins: int) -> list[float]:
    numbers = [max(0.0, finite(count) or 0.0) for count in counts] + [0.0] * (bins - len(counts))
    whole = sum(numbers)
    return [number / whole if whole else 0.0 for number in numbers]


def _median(shares: Sequence[float]) -> str:
    seen = 0.0
    for place, share in enumerate(shares):
        seen += share
        if seen >= 0.5:
            return f"median {place}"
    return "no pairs"


def _axis(values: Sequence[float], *, log: bool = False, round_up: bool = False) -> Axis:
    low, high = min(values), max(values)
    constant = high - low <= 1e-9 * max(abs(low), abs(high))
    if log:
        low, high = (low / 2, high * 2) if constant else (low, high)
        return Axis(low, high, list(_log_ticks(low, high)), log=True)
    if low >= 0 and (high - low > high / 3 or high == 0):
        low = 0.0  # start the axis at 0 if differences stay visible
    if high == 0 == low:
        high = 1.0
    elif constant:
        low, high = low - abs(low) / 2, high + abs(high) / 2
    step = _step(low, high)
    if round_up:
        low, high = math.floor(low / step + 1e-9) * step, math.ceil(high / step - 1e-9) * step
    return Axis(low, high, _ticks(low, high, step))


def _step(low: float, high: float) -> float:
    """A round step that divides the range into about five parts."""
    rough = (high - low) / 5
    size: float = 10.0 ** math.floor(math.log10(rough))
    return next(size * times for times in (1, 2, 5, 10) if size * times >= rough * 0.999)


def _ticks(low: float, high: float, step: float) -> list[float]:
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [step * place for place in range(first, last + 1)]


def _log_ticks(low: float, high: float) -> Iterator[float]:
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    times = (1, 2, 5) if high / low < 200 else (1,)
    every = 1 + len(decades) // 8
    for ten in decades[::every]:
        yield from (10**ten * one for one in times if low <= 10**ten * one <= high)


def _short(value: float) -> str:
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e4, "k")):
        if abs(value) >= size:
            return f"{value / min(size, 1e3 if letter == 'k' else size):.4g}{letter}"
    return "0" if abs(value) < 1e-12 else f"{value:,.4g}" if abs(value) < 1000 else f"{value:,.0f}"
