"""The page of an evaluation and its charts: whatever the numbers and the names are, it stays readable."""

from __future__ import annotations

import io
import json
import math
import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from conftest import make_picture
from hashgrain.apps.drawn_scenes import scenes
from hashgrain.report.bit_maps import bit_strip, heat_map, heat_scale
from hashgrain.report.charts import LOOKS, Series, histogram_chart, line_chart
from hashgrain.report.page import PageGroup, PageHit, PageQuery, result_page
from hashgrain.report.report_page import Example, report_page
from hashgrain.report.report_table import in_order, looks, row_names
from made_result import made_result, made_row

NASTY = "</style></svg><script>alert(1)</script><b>\"' &\udcff\x00\x1b.jpg"
NAN, INF = math.nan, math.inf
NUMBERS: list[list[object]] = [
    [],
    [None],
    [0],
    [0.0, 0.0, 0.0],
    [NAN, None, INF, -INF],
    [1, None, 2, NAN, 3],
    [-5, -5],
    [0.3],
    [1e-320, 1e-300],
    [1e308, -1e308, 1],
    [1e14, 1e14 + 1],
    ["x", True, [], 0.5],
    [1, 1 + 2e-16],
    [3, 2, 1],
    [10**400, 1],
    list(range(2000)),
]


def jpeg(image: Image.Image) -> bytes:
    file = io.BytesIO()
    image.save(file, "jpeg")
    return file.getvalue()


def well_formed(chart: str) -> ElementTree.Element:
    drawn = ElementTree.fromstring(f"<all>{chart}</all>")
    assert not re.search(r"\b(nan|inf|None)\b", " ".join(v for e in drawn.iter() for v in e.attrib.values()))
    return drawn


@pytest.mark.parametrize("log_x", [False, True])
@pytest.mark.parametrize("x", NUMBERS, ids=lambda numbers: str(numbers)[:30])
def test_a_line_chart_takes_any_numbers(x: list[object], log_x: bool) -> None:
    for y in NUMBERS:
        drawn = well_formed(line_chart([Series(NASTY, x, y)], x=NASTY, y=NASTY, title=NASTY, log_x=log_x))
        assert drawn.find("figure/figcaption") is not None
        assert len(list(drawn.iter("text"))) < 40


@pytest.mark.parametrize("numbers", NUMBERS, ids=lambda numbers: str(numbers)[:30])
def test_the_other_charts_take_any_numbers(numbers: list[object]) -> None:
    well_formed(histogram_chart(numbers, [], title=NASTY))
    well_formed(histogram_chart([1, 2, 3], numbers, title=NASTY))
    well_formed(bit_strip(numbers, title=NASTY, ones=numbers[1:]))
    well_formed(heat_map([numbers[:9]] * 3, title=NASTY))
    well_formed(heat_map([[], numbers[:9], [0]], title=NASTY))
    well_formed(heat_map([], title=NASTY) + heat_scale())


def test_a_missing_number_breaks_the_line_and_a_lone_one_is_a_dot() -> None:
    drawn = well_formed(line_chart([Series("a", [0, 1, 2, 3], [0, 1, None, 1])], x="x", y="y", title="t"))
    whole, lone = (path.attrib for path in drawn.iter("path"))
    assert whole["d"].count("L") == 1
    assert "dot" in lone["class"].split()


def test_ticks_are_round_numbers_inside_the_plot() -> None:
    def ticks(x: list[object], *, log_x: bool = False) -> list[str]:
        drawn = well_formed(line_chart([Series("a", x, [0] * len(x))], x="x", y="y", title="t", log_x=log_x))
        return [str(text.text) for text in drawn.iter("text") if text.get("text-anchor") == "middle"]

    assert ticks([0, 1]) == ["0", "0.2", "0.4", "0.6", "0.8", "1"]
    assert ticks([0, 64]) == ["0", "20", "40", "60"]
    assert ticks([0, 0.03]) == ["0", "0.01", "0.02", "0.03"]
    assert ticks([1, 59_000], log_x=True) == ["1", "10", "100", "1,000", "10k"]
    assert ticks([1, 20], log_x=True) == ["1", "2", "5", "10", "20"]


def test_areas_stand_on_nothing_and_are_shares_of_their_own() -> None:
    drawn = well_formed(histogram_chart([5] * 17, [700] * 17, title="t"))
    up = [text.text for text in drawn.iter("text") if text.get("text-anchor") == "end"]
    assert up[0] == "0"
    told = "".join(drawn.itertext())
    assert "overlap by 100 %" in told
    assert "not relevant, median 8" in told
    assert "relevant, no pairs" in "".join(well_formed(histogram_chart([], [1], title="t")).itertext())


def test_forty_lines_are_all_drawn_and_the_first_told_apart() -> None:
    series = [Series(f"line {i}", [0, 1], [i, 2 * i]) for i in range(40)]
    drawn = well_formed(line_chart(series, x="x", y="y", title="t"))
    classes = [path.attrib["class"].split()[1] for path in drawn.iter("path")]
    assert classes.count("rest") == 40 - LOOKS
    assert {look for look in classes if look != "rest"} == {f"l{i}" for i in range(LOOKS)}
    assert classes[: 40 - LOOKS] == ["rest"] * (40 - LOOKS), "the gray ones lie behind"
    assert f"{40 - LOOKS} others" in "".join(drawn.itertext())


def test_rows_keep_their_look_whatever_chart_they_are_missing_from() -> None:
    rows = in_order(made_result()["rows"])
    assert [row["kind"] for row in rows] == ["model"] * 5 + ["reference"] * 4
    assert looks(rows)[:5] == [0, 1, 2, 3, 4]
    named = dict(zip(row_names(rows), looks(rows), strict=True))
    assert named["the outputs before the signs · 64 bits · cosine"] == 5, "the best reference comes next"
    assert named["perceptual hash · 64 bits"] >= LOOKS, "the least is gray"


def test_a_second_seed_gives_way_to_other_methods() -> None:
    rows = [made_row("default", "model", 32, 0.6, seed=seed) for seed in range(6)]
    rows += [made_row(f"reference {i}", "reference", 32, 0.3) for i in range(3)]
    assert looks(rows) == [0, 1, 2, 3, 4, 8, 5, 6, 7]
    assert row_names(rows)[1] == "default · 32 bits · seed 1"


def examples() -> list[Example]:
    pictures = [(scene, jpeg(scene.image)) for scene in scenes(looks_per_thing=1, copies=1)]
    scene, asked = pictures[0]
    hits = [
        PageHit(found.name, "", small, "near", {"kind": 3}, note=found.kind, right=found.kind == scene.kind)
        for found, small in pictures[1:9]
    ]
    hits.append(PageHit("gone.jpg", "", None, "", {}, right=False))
    return [
        Example("Where it does well", "AP 0.97", PageQuery(scene.name, asked), hits),
        Example("Where it fails", "AP 0.08", PageQuery(NASTY, None), []),
    ]


def hostile(value: Any) -> Any:
    """The same result with every word of it trying to break out."""
    if isinstance(value, dict):
        return {key: hostile(one) for key, one in value.items()}
    if isinstance(value, list):
        return [hostile(one) for one in value]
    return NASTY if isinstance(value, str) else value


def test_names_are_escaped_wherever_they_stand() -> None:
    result = hostile(made_result())
    for row in result["rows"]:
        row["figures"][NASTY] = {"value": 0.5}
    page = report_page(result, examples())
    assert "<script" not in page
    assert page.count("</style>") == 1
    assert "&lt;script&gt;alert(1)" in page
    page.encode()


@pytest.mark.parametrize(
    "result",
    [
        {},
        {"protocol": None, "rows": None, "warnings": None},
        {"rows": [{}]},
        {"rows": [{"method": None, "kind": "other", "figures": None, "curves": None, "health": None}]},
        {"rows": [{"kind": "model", "curves": {"by rank": None, "by radius": {}, "distances": {}}, "health": {}}]},
        {"rows": [{"kind": "model", "figures": {"mAP": {"value": None}, "P@1": {"value": NAN, "error": NAN}}}]},
        {"rows": [{"kind": "model", "curves": {"by radius": {"radius": [0], "recall": [None]}}}]},
        {"rows": [{"kind": "model", "health": {"entropy": [None, NAN], "correlation": [[None]]}}]},
    ],
)
def test_a_page_is_made_of_whatever_is_there(result: dict[str, Any]) -> None:
    assert "<h1>Evaluation on " in report_page(result, [])


def test_the_table_tells_values_errors_and_what_ties_may_do() -> None:
    figures = {
        "mAP": {"value": 0.41, "worst": 0.4, "best": 0.43, "error": 0.004},
        "P@10": {"value": 0.51234, "worst": 0.5123, "best": 0.5124},
    }
    rows = [
        {"method": "ours", "kind": "model", "bits": 32, "figures": figures},
        {"method": "theirs", "kind": "reference", "bits": 32, "figures": {"mAP": {"value": 0.3}}},
    ]
    page = report_page({**made_result(rows), "warnings": ["12 pictures stand on both sides"]}, [])
    for told in ("<strong>0.410</strong>", "± 0.004", "0.400 to 0.430", "<strong>0.512</strong>", ">0.300 <", "<td>–"):
        assert told in page
    assert "0.512 to" not in page, "what rounding hides is no range"
    assert page.index("12 pictures stand on both sides") < page.index("The model") < page.index("References")
    for fact in ("59,000", "the training pictures among them", "the whole list", "same class", "9f86d081884c…"):
        assert fact in page
    assert f'title="{made_result()["protocol"]["manifest"]}"' in page


def test_thirty_rows_of_64_bits_stay_small() -> None:
    rows = [made_row(f"method {i}", "model", 64, 0.2 + 0.02 * i) for i in range(30)]
    page = report_page(json.loads(json.dumps(made_result(rows))), [])
    assert len(page.encode()) < 1_500_000
    assert "first 6 of 30" in page


# In a real browser.

CONTRASTS = """() => {
  const numbers = color => (color.match(/[\\d.]+/g) || []).map(Number);
  const light = ([r, g, b]) => [r, g, b].map(c => c / 255)
    .map(c => c <= .04045 ? c / 12.92 : ((c + .055) / 1.055) ** 2.4)
    .reduce((sum, c, i) => sum + c * [.2126, .7152, .0722][i], 0);
  const behind = e => { for (; e; e = e.parentElement) { const c = numbers(getComputedStyle(e).backgroundColor);
    if (c.length == 3 || c[3] == 1) return c; } };
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT), worst = [];
  while (walker.nextNode()) {
    const e = walker.currentNode.parentElement;
    if (!walker.currentNode.data.trim() || e.tagName == 'title') continue;
    const style = getComputedStyle(e), ink = numbers(e instanceof SVGElement ? style.fill : style.color);
    const [a, b] = [light(ink), light(behind(e))].sort((x, y) => y - x);
    worst.push([(a + .05) / (b + .05), walker.currentNode.data.slice(0, 40)]);
  }
  return worst.sort((x, y) => x[0] - y[0])[0];
}"""
OVERLAPS = """() => [...document.querySelectorAll('.plot > svg')].flatMap(svg => {
  const boxes = [...svg.querySelectorAll(':scope > text')].map(t => [t.getBoundingClientRect(), t.textContent]);
  const card = svg.closest('.chart').getBoundingClientRect();
  const bad = boxes.filter(([b]) => b.left < card.left || b.right > card.right || b.bottom > card.bottom);
  boxes.forEach(([a, one], i) => boxes.slice(i + 1).forEach(([b, two]) => {
    if (a.left < b.right && b.left < a.right && a.top + 2 < b.bottom && b.top + 2 < a.bottom) bad.push([one, two]);
  }));
  return bad.map(String);
})"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1200, 400])
@pytest.mark.parametrize("names", ["plain", "hostile"])
def test_a_browser_shows_the_report(browser: Any, tmp_path: Path, width: int, scheme: str, names: str) -> None:
    result = made_result() if names == "plain" else hostile(made_result())
    (tmp_path / "report.html").write_text(report_page(result, examples()), encoding="utf-8")
    said: list[str] = []
    asked: list[str] = []
    tab = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
    tab.on("console", lambda message: said.append(message.text))
    tab.on("pageerror", lambda error: said.append(str(error)))
    tab.on("dialog", lambda dialog: said.append(dialog.message))
    tab.on("request", lambda request: asked.append(request.url))
    tab.goto((tmp_path / "report.html").as_uri())
    assert tab.evaluate("document.scrollingElement.scrollWidth <= innerWidth")
    assert tab.eval_on_selector_all("img", "all => all.every(one => one.alt && one.naturalWidth)")
    assert tab.locator("img").count() == 9
    assert tab.evaluate(OVERLAPS) == []
    contrast, where = tab.evaluate(CONTRASTS)
    assert contrast >= 4.5, where
    assert tab.locator("svg[role=img]").count() == tab.locator("svg[role=img][aria-label]").count() > 10
    if names == "plain":
        figures = tab.locator("[aria-label=Figures] tbody tr:not(.group)")
        best = max(row["figures"]["mAP@ALL hash"]["value"] for row in result["rows"])
        assert figures.count() == len(result["rows"])
        assert figures.locator("td:nth-child(2) strong").all_inner_texts() == [f"{best:.3f}"]
    tab.close()
    assert said == []
    assert [url for url in asked if not url.startswith(("file:", "data:"))] == []


def test_numbers_of_a_column_stand_under_one_another(browser: Any) -> None:
    rows = [{"method": str(i), "kind": "model", "figures": {"mAP": {"value": i / 9}}} for i in range(9)]
    rows[3]["figures"] = {"mAP": {"value": 0.3, "error": 0.1, "worst": 0.1, "best": 0.4}}
    tab = browser.new_page()
    tab.set_content(report_page(made_result(rows), []))
    ends = tab.eval_on_selector_all(
        "[aria-label=Figures] td",
        """all => all.map(td => { const range = document.createRange(), strong = td.querySelector('strong');
             range.setStart((strong || td).firstChild, 0); range.setEnd((strong || td).firstChild, 5);
             return range.getBoundingClientRect().right; })""",
    )
    tab.close()
    assert len(ends) == 9
    assert max(ends) - min(ends) < 0.6


def test_the_part_that_matched_is_drawn_where_it_lies_on_the_picture(browser: Any) -> None:
    box = (0.5, 0.25, 1.0, 0.75)
    hits = [
        PageHit("a.jpg", "/tmp/a.jpg", jpeg(make_picture(1, size)), "near", {"kind": 1}, box=box)
        for size in ((90, 400), (400, 90), (200, 150))
    ]
    hits.append(PageHit("gone.jpg", "/tmp/gone.jpg", None, "far", {"kind": 9}, box=box))
    tab = browser.new_page(viewport={"width": 900, "height": 700})
    tab.set_content(result_page(None, [PageGroup("found", hits)], title="found"))
    assert tab.locator(".shot polygon").count() == 3
    for place, (width, height) in enumerate(((90, 400), (400, 90), (200, 150))):
        shot = tab.locator(".shot").nth(place).bounding_box()
        scale = min(shot["width"] / width, shot["height"] / height)  # the whole picture is shown, in the middle
        left = shot["x"] + (shot["width"] - scale * width) / 2
        top = shot["y"] + (shot["height"] - scale * height) / 2
        drawn = tab.locator(".shot polygon").nth(place).bounding_box()
        assert drawn["x"] == pytest.approx(left + 0.5 * scale * width, abs=2)
        assert drawn["y"] == pytest.approx(top + 0.25 * scale * height, abs=2)
        assert drawn["width"] == pytest.approx(0.5 * scale * width, abs=4)
        assert drawn["height"] == pytest.approx(0.5 * scale * height, abs=4)
    assert "with the part that matched" in tab.locator("img").first.get_attribute("alt")
    tab.close()


def test_the_focus_ring_of_a_card_is_seen_whole_and_pictures_keep_to_their_place(browser: Any) -> None:
    tall, wide = (jpeg(make_picture(1, size)) for size in ((90, 400), (400, 90)))
    hits = [PageHit("a.jpg", "/tmp/a.jpg", small, "near", {"kind": 1}) for small in (tall, wide)]
    tab = browser.new_page(viewport={"width": 700, "height": 700}, color_scheme="light")
    tab.set_content(result_page(PageQuery("tall", tall), [PageGroup("found", hits)], title="found"))
    asked = tab.locator(".query img").bounding_box()
    assert asked["height"] / asked["width"] == pytest.approx(400 / 90, rel=0.03), "not squeezed"
    for place in range(2):
        shot, picture = (tab.locator(one).nth(place).bounding_box() for one in (".shot", ".shot img"))
        assert picture == pytest.approx(shot)
    tab.keyboard.press("Tab")
    seen = np.asarray(Image.open(io.BytesIO(tab.screenshot())).convert("RGB"))
    card = tab.locator(".cards > li").first.bounding_box()
    left, top = round(card["x"]), round(card["y"])
    right, bottom = left + round(card["width"]), top + round(card["height"])
    across, down = (left + right) // 2, (top + bottom) // 2
    ring = [seen[down, left - 3], seen[down, right + 2], seen[top - 3, across], seen[bottom + 2, across]]
    tab.close()
    assert [tuple(map(int, color)) for color in ring] == [(0x1F, 0x5A, 0xA6)] * 4
