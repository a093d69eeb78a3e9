"""The page of `hashgrain serve`, used in a real Chromium as a person uses it, against the real server."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageEnhance

pytest.importorskip("fastapi", reason="needs hashgrain[serve]")
pytest.importorskip("uvicorn", reason="needs hashgrain[serve]")

from conftest import make_picture
from hashgrain import Library
from serving import Served, running, start
from watched_page import Open, tabs, violations, wait_until

pytestmark = pytest.mark.timeout(300)
PAGE = Path(__file__).parent.parent / "src" / "hashgrain" / "server" / "page"
COUNT = 130  # pictures: more than one page of hits
COPIES = 12  # of them have a near copy


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A library of made pictures, wide ones and tall ones, some of them with a near copy."""
    folder = tmp_path_factory.mktemp("page")
    pictures = folder / "pictures"
    pictures.mkdir()
    for seed in range(COUNT):
        size = [(120, 90), (90, 120), (160, 90), (400, 60)][seed % 4]
        picture = make_picture(seed, size)
        picture.save(pictures / f"{seed:05}.jpg", quality=90)
        if seed < COPIES:
            ImageEnhance.Brightness(picture).enhance(1.05).save(pictures / f"{seed:05}-copy.png")
    with Library.create(folder / "made.hg", workers=1) as library:
        library.add(pictures)
    return folder


@pytest.fixture(scope="module")
def served(folder: Path) -> Iterator[Served]:
    with running(folder / "made.hg", folder / "log.txt", "--workers", 1) as server:
        yield server


@pytest.fixture
def opened(browser: Any, served: Served) -> Iterator[Open]:
    """Open a tab on the server, with nothing kept from others. After the test it must be clean."""
    yield from tabs(browser, served)


def picture_bytes(seed: int, size: tuple[int, int] = (120, 90)) -> bytes:
    file = io.BytesIO()
    make_picture(seed, size).save(file, "jpeg", quality=90)
    return file.getvalue()


def told(page: Any) -> str:
    return str(page.locator(".count").inner_text())


def boxes_of(requests: list[Any]) -> list[Any]:
    return [request.get("boxes") for request in requests]


def searches_of(page: Any) -> list[dict[str, Any]]:
    """The searches that the page asks for from now on."""
    asked: list[dict[str, Any]] = []
    page.on("request", lambda each: each.url.endswith("/search") and asked.append(json.loads(each.post_data)))
    return asked


# What is sent.


def test_all_of_the_page_is_under_300_kilobytes() -> None:
    assert sum(each.stat().st_size for each in PAGE.rglob("*") if each.is_file()) < 300_000


def test_both_languages_have_the_same_texts_with_the_same_values() -> None:
    english, chinese = (json.loads((PAGE / "texts" / f"{name}.json").read_text("utf-8")) for name in ("en", "zh"))
    assert list(english) == list(chinese)
    for key, text in english.items():
        assert sorted(re.findall(r"{\w+}", text)) == sorted(re.findall(r"{\w+}", chinese[key])), key
        assert text.strip()
        assert chinese[key].strip()


def test_every_text_that_the_page_asks_for_is_there_and_no_other() -> None:
    keys = {re.sub(r"\.(one|other)$", "", key) for key in json.loads((PAGE / "texts" / "en.json").read_text("utf-8"))}
    code = "\n".join(each.read_text("utf-8") for each in (PAGE / "js").glob("*.js"))
    asked = set(re.findall(r"'([a-z]+(?:\.[a-z]+)*)'", code))
    spelled = set(re.findall(r"`([a-z]+(?:\.[a-z]+)*)\.\$", code))
    asked |= {f"{each}.hint" for each in asked}
    unused = {key for key in keys if key not in asked and not any(key.startswith(f"{each}.") for each in spelled)}
    assert unused == set()
    missing = {key for key in re.findall(r"\bt\('([a-z.]+)'", code) if key not in keys}
    assert missing == set()


def test_nothing_in_the_page_is_inline_or_from_outside() -> None:
    index = (PAGE / "index.html").read_text("utf-8")
    assert not re.search(r"<script(?![^>]*\bsrc=)|<style|\son\w+=|\sstyle=", index)
    for each in [*(PAGE / "js").glob("*.js"), *(PAGE / "css").glob("*.css"), PAGE / "index.html"]:
        text = each.read_text("utf-8")
        assert not re.search(r"https?://(?!www\.w3\.org/)", text), each.name
        assert not re.search(r"\sstyle=", text), f"{each.name}: a style attribute breaks the content policy"
    assert "BSD 3-Clause" in (PAGE / "vendor" / "LICENSE-lit.txt").read_text("utf-8")


# Asking.


def test_a_library_is_leafed_through_and_a_click_searches(opened: Open) -> None:
    own = opened()
    page = own.look()
    assert own.results()[0].startswith("00000")
    assert "142" in told(page)
    first = page.locator(".card").first
    first.hover()
    first.locator("[data-do=seek]").click()
    page.wait_for_url(re.compile(r"\?item=\d+$"))
    page.wait_for_selector(".caption .word")
    assert own.results()[0] == "00000.jpg", "the near copy of what was searched with"
    assert "pictures and more, nearest first" in told(page)
    assert page.locator(".caption").first.inner_text().split()[0] == "Same"
    assert page.get_by_role("status").first.inner_text() == told(page), "a reader of the screen hears the count"


def test_a_file_is_chosen_and_its_address_reloads(opened: Open, folder: Path) -> None:
    own = opened()
    page = own.look()
    page.locator(".pick input").first.set_input_files(folder / "pictures" / "00004.jpg")
    page.wait_for_url(re.compile(r"\?upload=.+"))
    assert sorted(own.results()[:2]) == ["00004-copy.png", "00004.jpg"]
    assert page.locator(".boxed img").get_attribute("alt") == "Query: 00004.jpg"
    page.reload()
    assert sorted(own.results()[:2]) == ["00004-copy.png", "00004.jpg"]
    wait_until(page, lambda: page.evaluate("document.querySelector('.boxed img').naturalWidth > 0"))


@pytest.mark.parametrize("way", ["drop", "paste"])
def test_a_picture_is_dropped_or_pasted(opened: Open, way: str) -> None:
    own = opened()
    page = own.look()
    own.results()
    data = page.evaluate_handle(
        """bytes => { const all = new DataTransfer();
        all.items.add(new File([new Uint8Array(bytes)], 'mine.jpg', {type: 'image/jpeg'})); return all; }""",
        list(picture_bytes(7, (400, 60))),
    )
    if way == "drop":
        page.dispatch_event("main", "dragenter", {"dataTransfer": data})
        page.wait_for_selector(".dropping")
        page.dispatch_event("main", "drop", {"dataTransfer": data})
        page.wait_for_selector(".dropping", state="detached")
    else:
        page.evaluate("data => dispatchEvent(new ClipboardEvent('paste', {clipboardData: data, bubbles: true}))", data)
    page.wait_for_url(re.compile(r"\?upload=.+"))
    assert sorted(own.results()[:2]) == ["00007-copy.png", "00007.jpg"]


def test_a_result_is_dragged_to_search_with_it(opened: Open) -> None:
    own = opened()
    page = own.look()
    name = own.results()[3]
    page.locator(".card .open").nth(3).drag_to(page.locator(".welcome"))
    page.wait_for_url(re.compile(r"\?item=\d+$"))
    page.wait_for_selector(f'.boxed img[alt="Query: {name}"]')


@pytest.mark.parametrize(("form", "source"), [("jpeg", "blob:"), ("tiff", "api/v1/uploads/")])
def test_what_a_browser_cannot_show_comes_back_from_the_server(opened: Open, form: str, source: str) -> None:
    own = opened()
    page = own.look()
    file = io.BytesIO()
    make_picture(4).save(file, form)
    sent = {"name": f"x.{form}", "mimeType": f"image/{form}", "buffer": file.getvalue()}
    page.locator(".pick input").first.set_input_files(sent)
    own.results()
    assert page.locator(".boxed img").get_attribute("src").startswith(source)
    wait_until(page, lambda: page.evaluate("document.querySelector('.boxed img').naturalWidth > 0"))


def test_a_file_that_is_no_picture_is_refused_in_words(opened: Open) -> None:
    own = opened(refusals=True)
    page = own.look()
    own.results()
    page.locator(".pick input").first.set_input_files({"name": "x.jpg", "mimeType": "image/jpeg", "buffer": b"no"})
    alert = page.get_by_role("alert")
    assert "picture" in alert.inner_text()
    alert.get_by_role("button", name="Close").click()
    assert page.get_by_role("alert").count() == 0
    assert own.results(), "what was there before is there still"


def test_a_picture_that_the_server_forgot_is_said_so(opened: Open) -> None:
    own = opened(refusals=True)
    page = own.look("?upload=forgotten")
    assert "no longer has the picture" in page.get_by_role("alert").inner_text()
    page.get_by_role("button", name="Start over").click()
    assert own.results()[0].startswith("00000")


# The box.


def draw(page: Any, start: tuple[float, float], end: tuple[float, float]) -> None:
    frame = page.locator(".boxed").bounding_box()
    points = [(frame["x"] + x * frame["width"], frame["y"] + y * frame["height"]) for x, y in (start, end)]
    page.mouse.move(*points[0])
    page.mouse.down()
    page.mouse.move(*points[1], steps=5)
    page.mouse.up()


def box_in_address(page: Any) -> list[float]:
    found = re.search(r"[?&]box=([\d.,]+)", page.url)
    return [float(each) for each in found[1].split(",")] if found else []


def test_a_box_is_drawn_moved_and_resized_by_the_mouse(opened: Open) -> None:
    own = opened()
    page = own.look("?item=1")
    whole = own.results()
    searched = searches_of(page)
    draw(page, (0.2, 0.2), (0.6, 0.7))
    page.wait_for_url(re.compile("box="))
    assert box_in_address(page) == pytest.approx([0.2, 0.2, 0.6, 0.7], abs=0.02)
    own.results()
    draw(page, (0.4, 0.4), (0.5, 0.5))
    wait_until(page, lambda: box_in_address(page) == pytest.approx([0.3, 0.3, 0.7, 0.8], abs=0.03))
    draw(page, (0.7, 0.8), (0.9, 0.9))
    wait_until(page, lambda: box_in_address(page) == pytest.approx([0.3, 0.3, 0.9, 0.9], abs=0.03))
    draw(page, (0.5, 0.5), (1.5, 0.5))
    wait_until(page, lambda: box_in_address(page)[2:3] == [1.0])
    own.results()
    assert boxes_of(searched)[-1] == [box_in_address(page)]
    page.get_by_role("button", name="Remove box").click()
    wait_until(page, lambda: not box_in_address(page))
    assert own.results() == whole


def test_a_box_is_drawn_and_changed_by_keys_and_numbers(opened: Open) -> None:
    own = opened()
    page = own.look("?item=1")
    own.results()
    page.keyboard.press("b")
    box = page.get_by_role("group", name=re.compile("^Box: left 25 %, top 25 %, 50 % wide, 50 % high"))
    wait_until(page, lambda: page.evaluate("document.activeElement.className") == "box")
    assert box.count() == 1
    for key in ("ArrowRight", "ArrowRight", "ArrowDown", "Shift+ArrowRight", "Shift+ArrowUp", "Control+ArrowLeft"):
        page.keyboard.press(key)
    wait_until(page, lambda: box_in_address(page) == pytest.approx([0.22, 0.26, 0.73, 0.75]))
    for _ in range(9):
        page.keyboard.press("Control+ArrowLeft")
    wait_until(page, lambda: box_in_address(page) == pytest.approx([0, 0.26, 0.51, 0.75]))
    page.get_by_text("Numbers").click()
    page.get_by_label("Height").fill("20")
    page.get_by_label("Height").press("Enter")
    wait_until(page, lambda: box_in_address(page) == pytest.approx([0, 0.26, 0.51, 0.46]))
    page.locator(".box").focus()
    page.keyboard.press("Delete")
    wait_until(page, lambda: not box_in_address(page))
    assert page.evaluate("document.activeElement.innerText").strip() == "Draw a box"


def test_a_box_is_drawn_by_touch_on_a_telephone(opened: Open) -> None:
    own = opened(viewport={"width": 390, "height": 800}, has_touch=True, is_mobile=True)
    page = own.look("?item=1")
    own.results()
    assert page.locator(".pick.camera").is_visible()
    assert page.locator(".pick.camera input").get_attribute("capture") == "environment"
    frame = page.locator(".boxed").bounding_box()
    touch = page.context.new_cdp_session(page)

    def at(kind: str, *places: tuple[float, float]) -> None:
        points = [{"x": frame["x"] + x * frame["width"], "y": frame["y"] + y * frame["height"]} for x, y in places]
        touch.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

    at("touchStart", (0.1, 0.1))
    for step in range(1, 6):
        at("touchMove", (0.1 + 0.08 * step, 0.1 + 0.1 * step))
    at("touchEnd")
    page.wait_for_url(re.compile("box="))
    assert box_in_address(page) == pytest.approx([0.1, 0.1, 0.5, 0.6], abs=0.03)
    assert page.evaluate("scrollY") == 0
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


# How to search.


def test_the_dial_goes_from_kind_to_look_and_back_goes_back(opened: Open) -> None:
    own = opened()
    page = own.look("?item=1")
    finest = own.results()
    dial = page.get_by_role("radio", name="Kind")
    page.get_by_role("radio", name="Look").focus()
    page.keyboard.press("ArrowLeft")
    page.wait_for_url(re.compile("grain=thing"))
    page.keyboard.press("ArrowLeft")
    page.wait_for_url(re.compile("grain=kind"))
    own.results()
    assert dial.is_checked()
    assert "The same kind of thing" in page.locator(".dial").inner_text()
    page.go_back()
    page.go_back()
    wait_until(page, lambda: page.get_by_role("radio", name="Look").is_checked())
    assert own.results() == finest


def test_the_cut_off_counts_what_is_left(opened: Open, served: Served) -> None:
    own = opened()
    page = own.look("?item=1")
    own.results()
    cut = page.get_by_role("slider", name="Least score")
    cut.focus()
    page.keyboard.press("End")
    for _ in range(20):
        page.keyboard.press("ArrowLeft")
    page.wait_for_url(re.compile(r"score=0\.8$"))
    page.wait_for_selector(".results[aria-busy=false]")
    body = {"query": {"item": 1}, "min_score": 0.8, "parts": "auto", "k": 1000}
    right = len(served.ask("POST", "/api/v1/search", body).json["hits"])
    wait_until(page, lambda: told(page).startswith(str(right)))
    assert page.locator("#cutoff-count").inner_text().startswith(str(right))
    page.keyboard.press("End")
    page.wait_for_selector(".empty")
    assert "Nothing close" in page.locator(".empty").inner_text()
    page.get_by_role("button", name="Show the nearest anyway").click()
    assert own.results()


def test_a_filter_is_typed_refused_and_mended(opened: Open) -> None:
    own = opened(refusals=True)
    page = own.look("?item=1")
    before = own.results()
    page.keyboard.press("f")
    page.keyboard.type("width >")
    page.keyboard.press("Enter")
    error = page.locator("#where-error")
    error.wait_for()
    assert "width >" in error.inner_text() or "expected" in error.inner_text() or "end" in error.inner_text()
    assert page.locator("#where").get_attribute("aria-invalid") == "true"
    page.locator("#where").fill("width = 400")
    page.keyboard.press("Enter")
    error.wait_for(state="detached")
    wait_until(page, lambda: own.results() != before)
    assert all(int(name[:5]) % 4 == 3 for name in own.results())
    page.locator("#where").fill("width = 401")
    page.keyboard.press("Enter")
    page.wait_for_selector(".empty")
    page.locator(".empty").get_by_role("button", name="Clear filter").click()
    wait_until(page, lambda: own.results() == before)


def test_examples_and_counter_examples_are_marked(opened: Open) -> None:
    own = opened()
    page = own.look("?item=1&box=0.2,0.2,0.6,0.6")
    own.results()
    searched = searches_of(page)
    page.locator(".card .open").nth(2).focus()
    page.keyboard.press("+")
    page.wait_for_url(re.compile("like="))
    assert not box_in_address(page), "examples are whole pictures"
    own.results()
    page.locator(".card .open").nth(5).focus()
    page.keyboard.press("-")
    page.wait_for_url(re.compile("unlike="))
    own.results()
    assert len(searched[-1]["like"]) == len(searched[-1]["unlike"]) == 1
    examples = page.get_by_role("region", name="Examples")
    assert examples.get_by_role("listitem").count() == 2
    examples.get_by_role("button").first.click()
    wait_until(page, lambda: examples.get_by_role("listitem").count() == 1)
    own.results()
    assert "like" not in searched[-1]
    draw(page, (0.2, 0.2), (0.6, 0.7))
    page.wait_for_url(re.compile(r"item=1&box=[\d.,]+$"))
    own.results()


def test_near_copies_are_folded_and_unfold(opened: Open) -> None:
    own = opened()
    page = own.look("?item=20")
    own.results()
    page.keyboard.press("g")
    page.wait_for_url(re.compile("group=1"))
    page.wait_for_selector(".results[aria-busy=false] .groupname")
    page.wait_for_selector(".copies")
    folded = page.locator(".copies").first
    before = page.evaluate("document.querySelector('hg-grid').entries.length")
    count = int(re.search(r"\d+", folded.inner_text())[0])  # type: ignore[index]
    folded.click()
    assert page.evaluate("document.querySelector('hg-grid').entries.length") == before + count
    assert page.locator(".card.copy").count() >= 1
    assert folded.get_attribute("aria-expanded") == "true"


# The detail view.


def test_a_picture_is_opened_compared_and_left_by_keys_alone(opened: Open) -> None:
    own = opened()
    page = own.look("?item=1")
    names = own.results()
    for _ in range(40):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.className") == "open":
            break
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    dialog = page.get_by_role("dialog", name=names[1])
    dialog.wait_for()
    item = page.evaluate("document.querySelector('hg-detail').item")
    assert page.url.endswith(f"open={item}")
    page.wait_for_selector("dialog .facts dd")
    assert re.search(r"\d+ of 128 bits agree", dialog.inner_text())
    page.keyboard.press("2")
    assert page.locator("dialog figure").count() == 2
    page.keyboard.press("3")
    shown = page.locator("dialog figcaption b")
    first = shown.inner_text()
    wait_until(page, lambda: shown.inner_text() != first)
    page.get_by_role("button", name="Stop").press("Enter")
    page.keyboard.press("4")
    wait_until(page, lambda: page.evaluate("document.querySelector('dialog canvas')?.width > 10"))
    page.keyboard.press("ArrowRight")
    page.get_by_role("dialog", name=names[2]).wait_for()
    page.keyboard.press("Escape")
    page.get_by_role("dialog").wait_for(state="detached")
    wait_until(page, lambda: page.evaluate("document.activeElement.title") == names[2])
    page.keyboard.press("s")
    page.wait_for_selector(f'.boxed img[alt="Query: {names[2]}"]')


def test_the_difference_of_a_picture_and_itself_is_black(opened: Open) -> None:
    own = opened()
    page = own.look("?item=1&open=1")
    page.get_by_role("radio", name="Difference").check()
    wait_until(page, lambda: page.evaluate("document.querySelector('dialog canvas')?.width > 10"))
    brightest = page.evaluate("""() => { const canvas = document.querySelector('dialog canvas');
        const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
        return Math.max(...data.filter((_, i) => i % 4 < 3)); }""")
    assert brightest == 0


@pytest.mark.slow
def test_a_heat_map_says_where_two_pictures_agree(opened: Open) -> None:
    own = opened()
    page = own.look("?item=1&open=2")
    page.get_by_role("radio", name="Heat map").check()
    wait_until(page, lambda: page.evaluate("document.querySelector('.heat img')?.naturalWidth > 100"), 100)
    assert page.locator(".heat img").get_attribute("alt").startswith("Where ")


def test_the_back_button_closes_what_was_opened_and_keeps_its_place(opened: Open) -> None:
    own = opened()
    page = own.look("?item=1")
    own.results()
    while page.evaluate("document.querySelector('hg-grid').entries.length") <= 100:
        page.mouse.wheel(0, 700)
        page.wait_for_timeout(100)
    assert page.evaluate("scrollY") > 1000
    link = page.locator(".card .open").filter(visible=True).nth(6)
    link.scroll_into_view_if_needed()
    link.click()
    page.get_by_role("dialog").wait_for()
    place = page.evaluate("scrollY")
    page.get_by_role("button", name="Search with this picture").click()
    wait_until(page, lambda: page.evaluate("scrollY === 0"))
    page.get_by_role("dialog").wait_for(state="detached")
    own.results()
    page.go_back()
    page.get_by_role("dialog").wait_for()
    page.go_back()
    page.get_by_role("dialog").wait_for(state="detached")
    wait_until(page, lambda: abs(page.evaluate("scrollY") - place) < 40)
    shown = page.evaluate("document.querySelector('hg-grid').entries.length")
    assert shown > 100, "the pages that were loaded are there still"
    page.wait_for_timeout(500)
    scroll = "new Promise((done) => { addEventListener('scrollend', () => done(scrollY)); scrollBy(0, -300); })"
    place = page.evaluate(scroll)
    page.reload()  # at once
    wait_until(page, lambda: page.evaluate(f"document.querySelector('hg-grid')?.entries.length === {shown}"))
    wait_until(page, lambda: abs(page.evaluate("scrollY") - place) < 60)


# Many, and every look.


def test_ten_thousand_results_are_a_few_elements(opened: Open) -> None:
    own = opened()
    page = own.page
    small = picture_bytes(1)
    base = {"path": "x", "width": 120, "height": 90, "format": "jpeg", "taken": None, "meta": {}, "details": {}}

    def answer(route: Any) -> None:
        start = int((re.search(r"cursor=(\d+)", route.request.url) or [0, 0])[1])
        items = [{**base, "id": start + i + 1, "path": f"/{start + i:05}.jpg"} for i in range(2500)]
        route.fulfill(json={"items": items, "next": str(start + 2500) if start < 7500 else None})

    page.route("**/api/v1/items?*", answer)
    page.route("**/thumbnail?*", lambda route: route.fulfill(body=small, content_type="image/jpeg"))
    own.look()
    wait_until(page, lambda: page.evaluate("document.querySelector('hg-grid')?.entries.length === 2500"))
    while page.evaluate("document.querySelector('hg-grid').entries.length") < 10_000:
        page.evaluate("scrollTo(0, document.documentElement.scrollHeight)")
        page.wait_for_timeout(50)
    assert page.locator(".card").count() < 100
    before = page.evaluate("scrollY")
    page.evaluate("scrollTo(0, document.documentElement.scrollHeight)")
    page.wait_for_selector('.card [title="09999.jpg"]')
    assert page.locator(".card").count() < 100
    assert page.evaluate("scrollY") >= before
    # Cards that come while the page scrolls have no buttons until it stands still.
    without = "document.querySelectorAll('.card:not(:has(.tools))').length"
    assert page.evaluate(
        f"""async () => {{
          for (let i = 0; i < 10; i += 1) {{
            scrollBy(0, -900);
            await new Promise(requestAnimationFrame);
          }}
          return {without};
        }}"""
    )
    wait_until(page, lambda: page.evaluate(f"{without} === 0"))


STATES = {
    "start": "",
    "results": "?item=1",
    "box": "?item=1&box=0.2,0.2,0.6,0.6",
    "examples": "?item=1&like=4&unlike=9",
    "groups": "?item=20&group=1",
    "empty": "?item=1&score=1&where=width = 120",
    "error": "?upload=forgotten",
    "detail": "?item=1&open=2",
}


@pytest.mark.slow
@pytest.mark.parametrize("look", ["light", "dark", "narrow", "zoomed", "chinese"])
def test_axe_finds_nothing_in_any_state(opened: Open, look: str) -> None:
    looks: dict[str, dict[str, Any]] = {
        "dark": {"color_scheme": "dark"},
        "narrow": {"viewport": {"width": 360, "height": 740}, "has_touch": True, "is_mobile": True},
        "zoomed": {"viewport": {"width": 640, "height": 400}, "device_scale_factor": 2},  # 1280 x 800 at 200 %
        "chinese": {"locale": "zh-CN"},
    }
    own = opened(refusals=True, reduced_motion="reduce", **looks.get(look, {}))
    for state, search in STATES.items():
        page = own.look(search)
        page.wait_for_selector(".results[aria-busy=false]")
        sign = {"detail": "dialog .facts dd", "error": ".problem", "empty": ".empty"}.get(state, ".card")
        page.wait_for_selector(sign)
        assert violations(page) == [], state
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), state
    page.keyboard.press("Escape")
    page.get_by_role("dialog").wait_for(state="detached")
    page.keyboard.press("?")
    page.get_by_role("dialog").wait_for()
    assert violations(page) == [], "help"


def test_the_language_follows_the_browser_and_is_switched(opened: Open) -> None:
    own = opened(locale="zh-CN")
    page = own.look()
    own.results()
    assert page.evaluate("document.documentElement.lang") == "zh-CN"
    assert "142 张图片" in told(page)
    page.get_by_role("button", name="English").click()
    wait_until(page, lambda: "142 pictures" in told(page))
    page.reload()
    own.results()
    assert "142 pictures" in told(page)


def test_light_and_dark_follow_the_system_and_are_switched(opened: Open) -> None:
    own = opened(color_scheme="dark")
    page = own.look()
    ground = "getComputedStyle(document.body).backgroundColor"
    dark = page.evaluate(ground)
    page.get_by_role("button", name="Colors: as the system").click()
    light = page.evaluate(ground)
    assert sum(map(int, re.findall(r"\d+", dark))) < 150 < 600 < sum(map(int, re.findall(r"\d+", light)))
    page.reload()
    page.wait_for_selector("hg-app main")
    assert page.evaluate(ground) == light


def test_the_keys_are_listed_and_single_ones_can_be_turned_off(opened: Open) -> None:
    own = opened()
    page = own.look("?item=1")
    own.results()
    page.keyboard.press("?")
    page.get_by_role("dialog", name="Keys").wait_for()
    assert page.locator("kbd").count() > 15
    page.get_by_role("switch", name="Single-key shortcuts").uncheck()
    page.keyboard.press("Escape")
    page.get_by_role("dialog").wait_for(state="detached")
    page.keyboard.press("b")
    page.wait_for_timeout(200)
    assert page.locator(".box").count() == 0


def test_a_server_that_stops_is_said_so_and_asked_again(opened: Open) -> None:
    own = opened(refusals=True)
    page = own.look("?item=1")
    own.results()
    page.route("**/api/v1/search", lambda route: route.abort())
    page.get_by_role("radio", name="Kind").check()
    alert = page.get_by_role("alert")
    alert.wait_for()
    assert "does not answer" in alert.inner_text()
    page.unroute("**/api/v1/search")
    page.get_by_role("button", name="Try again").click()
    alert.wait_for(state="detached")
    assert own.results()


@pytest.mark.slow
def test_words_find_pictures_and_a_part_that_matched_is_drawn(
    browser: Any, opened: Open, tmp_path: Path, data: Path
) -> None:
    names = ["n02110341_dalmatian", "n02037110_oystercatcher"]
    photos = [next((data / "photos").glob(f"{name.partition('_')[0]}*")) for name in names]
    with Library.create(tmp_path / "photos.hg", "photo", workers=1) as library:
        library.add(photos)
    server = start(tmp_path / "photos.hg", tmp_path / "log.txt", "--workers", 1)
    try:
        own = opened()
        own.address = server.address.rstrip("/")
        own.outside = []
        page = own.page
        page.goto(server.address)
        page.get_by_label("Search in words").fill("dalmatian xyzzy")
        page.keyboard.press("Enter")
        page.wait_for_url(re.compile("text=dalmatian"))
        own.results()
        words = page.locator(".query.words").inner_text()
        assert "dalmatian" in words
        assert "Not known to the model: xyzzy" in words
        with Image.open(photos[1]) as photo:
            width, height = photo.size
            part = photo.convert("RGB").crop((0, 0, width // 2, height // 2))
        part.save(tmp_path / "part.png")
        page.locator(".pick input").first.set_input_files(tmp_path / "part.png")
        page.wait_for_url(re.compile("upload="))
        own.results()
        page.locator(".choice select").select_option("all")
        page.wait_for_url(re.compile("parts=all"))
        own.results()
        page.wait_for_selector(".card .match rect")
    finally:
        own.outside = [each for each in own.outside if not each.startswith((own.address, f"blob:{own.address}"))]
        server.stop()
