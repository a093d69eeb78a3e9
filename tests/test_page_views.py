"""The views of the page beside the search, in a real Chromium against a real server that may write."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import ImageEnhance

pytest.importorskip("fastapi", reason="needs hashgrain[serve]")
pytest.importorskip("uvicorn", reason="needs hashgrain[serve]")

from conftest import make_picture
from hashgrain import Library
from serving import Served, running
from watched_page import Open, Watched, tabs, violations, wait_until

pytestmark = pytest.mark.timeout(300)
COUNT = 40
COPIES = 6  # of them have a near copy
NEW = 5  # pictures of the folder from which the server may add


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("views")
    for folder, seeds in {"pictures": range(COUNT), "camera": range(1000, 1000 + NEW)}.items():
        (place / folder).mkdir()
        for seed in seeds:
            picture = make_picture(seed, (120, 90))
            picture.save(place / folder / f"{seed:05}.jpg", quality=90)
            if seed < COPIES:
                ImageEnhance.Brightness(picture).enhance(1.05).save(place / folder / f"{seed:05}-copy.jpg", quality=70)
    with Library.create(place / "made.hg", workers=1) as library:
        library.add(place / "pictures")
        library.meta([1, 2, 3], set={"tag": ["cat"]})
        library.meta([3, 4], set={"tag": ["dog", "it's"]})
    return place


@pytest.fixture(scope="module")
def served(place: Path) -> Iterator[Served]:
    more = ("--writable", "--folder", f"camera={place / 'camera'}", "--trash", place / "trash")
    with running(place / "made.hg", place / "log.txt", "--workers", 1, *more) as server:
        yield server


@pytest.fixture
def opened(browser: Any, served: Served) -> Iterator[Open]:
    yield from tabs(browser, served)


def made(served: Served, path: str, page: Any) -> Any:
    """What the server computes for the whole library as it is now, once it is there."""
    kind = re.split(r"\W", path)[0]

    def at_rest() -> bool:
        answer = served.ask("GET", f"/api/v1/{path}")
        assert answer.status in (200, 202), answer.body
        jobs = served.ask("GET", "/api/v1/jobs").json["jobs"]
        return not any(each["kind"] == kind and each["state"] in ("waiting", "running") for each in jobs)

    wait_until(page, at_rest)
    return served.ask("GET", f"/api/v1/{path}")


def ids_shown(own: Watched) -> list[int]:
    own.results()
    return list(own.page.evaluate("document.querySelector('hg-grid').entries.map(each => each.hit.id)"))


def there(served: Served) -> set[str]:
    return {Path(each["path"]).name for each in served.ask("GET", "/api/v1/items?k=1000").json["items"]}


def some_item(served: Served) -> int:
    """An item of the library: other tests take some out, and what comes back has a new id."""
    return int(served.ask("GET", "/api/v1/items?k=1").json["items"][0]["id"])


# The bar.


def test_the_bar_goes_from_view_to_view_and_back(opened: Open, served: Served) -> None:
    own, item = opened(), some_item(served)
    page = own.look(f"?item={item}")
    own.results()
    page.keyboard.press("m")
    wait_until(page, lambda: page.evaluate("document.activeElement.innerText").strip() == "Search")
    for name in ("Browse", "Duplicates", "Map", "Activity", "Settings"):
        page.keyboard.press("Tab")
        page.keyboard.press("Enter")
        page.wait_for_url(re.compile(f"view={name.lower()}$"))
        page.get_by_role("heading", name=name, level=1).wait_for()
        assert page.locator(".views [aria-current=page]").inner_text().startswith(name)
    page.get_by_role("link", name="Search", exact=True).click()
    page.wait_for_url(re.compile(rf"\?item={item}$"))
    assert own.results(), "the search is as it was"
    for _ in range(6):
        page.go_back()
    wait_until(page, lambda: page.locator(".views [aria-current=page]").inner_text() == "Search")
    assert own.results()


def test_the_list_is_sorted_by_name_and_back(opened: Open, served: Served) -> None:
    own = opened()
    page = own.look(f"?item={some_item(served)}")
    nearest = own.results()
    page.get_by_label("Order of what is loaded").select_option("name")
    page.wait_for_url(re.compile("sort=name"))
    wait_until(page, lambda: own.results() != nearest)
    in_order = own.results()
    assert [each[:5] for each in in_order] == sorted(each[:5] for each in in_order)
    page.reload()
    assert own.results() == in_order
    page.get_by_label("Order of what is loaded").select_option("score")
    wait_until(page, lambda: own.results() == nearest)


# Tags, and what is selected.


def test_a_tag_is_given_and_taken_off_in_the_detail_view(opened: Open, served: Served) -> None:
    own = opened()
    page = own.look("?open=10")
    field = page.get_by_role("dialog").get_by_role("combobox", name="Add a tag to this picture")
    field.fill("bird")
    field.press("Enter")
    page.get_by_role("dialog").get_by_text("bird", exact=True).wait_for()
    assert served.ask("GET", "/api/v1/items/10").json["meta"] == {"tag": ["bird"]}
    offered = page.locator("dialog datalist option").evaluate_all("all => all.map(each => each.value)")
    assert {"cat", "dog"} <= set(offered)
    page.get_by_role("button", name="Remove the tag bird").click()
    page.get_by_role("dialog").get_by_text("bird", exact=True).wait_for(state="detached")
    assert not served.ask("GET", "/api/v1/items/10").json["meta"].get("tag")


def test_selected_pictures_are_tagged_together_and_a_chip_finds_them(opened: Open, served: Served) -> None:
    own = opened()
    page = own.look()
    own.results()
    page.locator(".card .open").nth(5).focus()
    page.keyboard.press("x")
    page.locator(".card").nth(8).hover()
    page.locator(".card").nth(8).locator("[data-do=choose]").click(modifiers=["Shift"])
    bar = page.get_by_role("region", name="Selected pictures")
    assert "4 selected" in bar.inner_text()
    wait_until(page, lambda: page.locator(".card.chosen [data-do=choose][aria-pressed=true]").count() == 4)
    bar.get_by_role("button", name="Tags").click()
    page.keyboard.type("tree")
    page.keyboard.press("Enter")
    page.get_by_text("Tags of 4 pictures changed").wait_for()
    chip = page.get_by_role("region", name="Tags").get_by_role("button", name=re.compile("^tree"))
    chip.click()
    page.wait_for_url(re.compile("where=tag"))
    wait_until(page, lambda: ids_shown(own) == [6, 7, 8, 9])
    assert chip.get_attribute("aria-pressed") == "true"
    chip.click()
    wait_until(page, lambda: len(own.results()) > 4)
    page.get_by_role("button", name="Select none").click()
    bar.wait_for(state="detached")
    assert served.ask("GET", "/api/v1/items/6").json["meta"] == {"tag": ["tree"]}


def test_tags_of_selected_pictures_are_taken_back(opened: Open, served: Served) -> None:
    own = opened()
    page = own.look()
    own.results()
    before = served.ask("GET", "/api/v1/items/12").json["meta"]
    page.locator(".card .open").nth(11).focus()
    page.keyboard.press("x")
    page.get_by_role("region", name="Selected pictures").get_by_role("button", name="Tags").click()
    page.keyboard.type("mistake")
    page.keyboard.press("Enter")
    page.get_by_text("Tags of 1 picture changed").wait_for()
    chip = page.get_by_role("region", name="Tags").get_by_role("button", name=re.compile("^mistake"))
    chip.wait_for()
    page.get_by_role("button", name="Undo").click()
    page.get_by_text("Undone", exact=True).wait_for()
    chip.wait_for(state="detached")
    assert served.ask("GET", "/api/v1/items/12").json["meta"] == before
    page.locator(".chosenbar .tagged").wait_for(state="detached")


def test_chips_join_a_filter_that_was_typed(opened: Open) -> None:
    own = opened()
    page = own.look("?where=" + "width = 1 or width = 120")
    own.results()
    chips = page.get_by_role("region", name="Tags")
    chips.get_by_role("button", name=re.compile("^cat")).click()
    wait_until(page, lambda: ids_shown(own) == [1, 2])
    page.go_back()
    chips.get_by_role("button", name=re.compile("^it's")).click()
    wait_until(page, lambda: ids_shown(own) == [3, 4])
    chips.get_by_role("button", name=re.compile("^dog")).click()
    wait_until(page, lambda: page.url.count("tag") == 2)
    assert ids_shown(own) == [3, 4]


def test_selected_pictures_are_taken_out_and_put_back(opened: Open, served: Served, place: Path) -> None:
    own = opened()
    page = own.look()
    own.results()
    names = there(served)
    page.locator(".card .open").last.focus()
    page.keyboard.press("x")
    page.get_by_role("button", name="Take out of the library").click()
    page.get_by_text("1 picture taken out of the library. Its file stays.").wait_for()
    assert len(there(served)) == len(names) - 1
    assert all((place / "pictures" / name).exists() for name in names)
    page.get_by_role("button", name="Undo").click()
    page.get_by_text("Undone", exact=True).wait_for()
    assert there(served) == names


def test_a_server_that_only_reads_offers_no_changes(opened: Open, served: Served) -> None:
    own = opened()
    page = own.page
    known = {**served.ask("GET", "/api/v1/library").json, "writable": False}
    page.route("**/api/v1/library", lambda route: route.fulfill(json=known))
    own.look("?open=1")
    page.wait_for_selector("dialog .facts dd")
    assert page.get_by_role("dialog").get_by_text("cat", exact=True).count() == 1
    assert page.locator("dialog .tags input, [data-do=choose], dialog .tags button").count() == 0
    page.goto(f"{own.address}/?view=duplicates")
    page.wait_for_selector(".copygroup")
    assert page.locator("input[type=checkbox]").count() == 0
    assert page.get_by_role("button", name=re.compile("trash|library")).count() == 0
    page.goto(f"{own.address}/?view=activity")
    page.get_by_text("This server only reads its library").wait_for()


# Browse.


def test_kinds_and_things_are_browsed(opened: Open, served: Served) -> None:
    own = opened()
    tree = made(served, "scenes", own.page).json
    page = own.look("?view=browse")
    page.wait_for_selector(".tile")
    assert page.locator(".tile").count() == len(tree["kinds"])
    kind = next(each for each in tree["kinds"] if each["count"] > 1 and any(one["count"] > 1 for one in each["things"]))
    number = tree["kinds"].index(kind)
    assert str(kind["count"]) in page.locator(".tile").nth(number).inner_text()
    page.locator(".tile a").first.focus()
    for _ in range(number):
        page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    page.wait_for_url(re.compile(rf"in={kind['id']}$"))
    members = [each["id"] for each in served.ask("GET", f"/api/v1/scenes/{kind['id']}?k=1000").json["items"]]
    assert ids_shown(own) == members
    assert len(members) == kind["count"]
    thing = next(each for each in kind["things"] if each["count"] > 1)
    page.locator(f'.tree a[href$="in={thing["id"]}"]').click()
    page.wait_for_url(re.compile(rf"in={re.escape(thing['id'])}$"))
    wait_until(page, lambda: len(ids_shown(own)) == thing["count"])
    page.locator(".card .open").first.focus()
    page.keyboard.press("Enter")
    page.get_by_role("dialog").wait_for()
    page.go_back()
    page.go_back()
    wait_until(page, lambda: ids_shown(own) == members)
    page.get_by_role("link", name="All kinds").click()
    page.wait_for_selector(".tile")


# Duplicates.


def test_copies_are_reviewed_by_keys_taken_out_and_put_back(opened: Open, served: Served) -> None:
    own = opened()
    groups = made(served, "duplicates?word=same&k=100", own.page).json["groups"]
    page = own.look("?view=duplicates")
    page.wait_for_selector(".copygroup")
    names = there(served)
    assert page.locator(".copygroup").count() == len(groups)
    assert sum(len(each["copies"]) for each in groups) >= COPIES
    page.keyboard.press("n")
    page.keyboard.press("n")
    wait_until(
        page, lambda: page.locator(".copygroup").nth(1).evaluate("each => each.contains(document.activeElement)")
    )
    page.keyboard.press("a")
    page.keyboard.press("p")
    page.keyboard.press("x")
    marked = [Path(copy["item"]["path"]).name for copy in [groups[0]["copies"][0], *groups[1]["copies"]]]
    page.get_by_text(f"{len(marked)} marked").wait_for()
    page.get_by_role("button", name="Take out of the library").click()
    page.get_by_text("pictures taken out of the library").wait_for()
    assert there(served) == names - set(marked)
    assert page.locator(".copygroup").count() == len(groups) - (2 if len(groups[0]["copies"]) == 1 else 1)
    page.get_by_role("button", name="Undo").click()
    page.get_by_text("Undone", exact=True).wait_for()
    assert there(served) == names


def test_copies_are_moved_to_the_trash_and_brought_back(opened: Open, served: Served, place: Path) -> None:
    own = opened()
    page = own.look("?view=duplicates")
    page.wait_for_selector(".copygroup")
    name = Path(page.locator(".copyshot:not(.kept) .path").first.get_attribute("title")).name
    page.locator(".mark input").first.check()
    page.get_by_role("button", name="Move files to trash").click()
    page.get_by_text("1 file moved to the trash").wait_for()
    assert not (place / "pictures" / name).exists()
    assert any(each.name == name for each in (place / "trash").rglob("*"))
    assert name not in there(served)
    page.get_by_role("button", name="Undo").click()
    page.get_by_text("Undone", exact=True).wait_for()
    assert (place / "pictures" / name).exists()
    assert name in there(served)


def test_a_copy_is_compared_with_the_one_that_is_kept(opened: Open) -> None:
    own = opened()
    page = own.look("?view=duplicates")
    page.wait_for_selector(".copygroup")
    group = page.locator(".copygroup").first
    kept = group.locator(".kept .path").inner_text()
    group.locator(".copyshot:not(.kept) a").first.click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_role("radio", name="Side by side").check()
    assert kept in dialog.locator("figure").first.inner_text()
    page.keyboard.press("Escape")
    dialog.wait_for(state="detached")
    assert page.evaluate("document.activeElement.closest('.copygroup').dataset.number") == "0"


# The map.


def points_of(content: bytes) -> np.ndarray[Any, Any]:
    return np.frombuffer(content, np.dtype([("id", "<u4"), ("x", "<f4"), ("y", "<f4")]))


def map_of(served: Served, page: Any) -> np.ndarray[Any, Any]:
    version = made(served, "map", page).json["version"]
    return points_of(served.ask("GET", f"/api/v1/map/points?version={version}").body)


def on_screen(page: Any, x: float, y: float) -> tuple[float, float]:
    frame = page.locator(".mapbox").bounding_box()
    left, top = page.evaluate("([x, y]) => document.querySelector('hg-map').view.toPixels(x, y)", [float(x), float(y)])
    return frame["x"] + left, frame["y"] + top


def test_a_line_around_points_shows_their_pictures(opened: Open, served: Served) -> None:
    own = opened()
    points = map_of(served, own.page)
    page = own.look("?view=map")
    wait_until(page, lambda: page.evaluate("document.querySelector('hg-map')?.shown") is not None)
    middle = float(np.median(points["x"]))
    inside = sorted(int(each["id"]) for each in points if each["x"] < middle - 0.02)
    assert 2 < len(inside) < len(points)
    corners = [(-1.05, -1.02), (middle - 0.02, -1.02), (middle - 0.02, 1.02), (-1.05, 1.02)]
    page.get_by_role("button", name=re.compile("^Draw a line")).click()
    page.mouse.move(*on_screen(page, *corners[0]))
    page.mouse.down()
    for corner in [*corners[1:], corners[0]]:
        page.mouse.move(*on_screen(page, *corner), steps=3)
    page.mouse.up()
    page.wait_for_url(re.compile("area="))
    page.get_by_role("heading", name="In this area").wait_for()
    assert ids_shown(own) == inside
    page.reload()
    assert ids_shown(own) == inside
    page.get_by_role("button", name="Search only in these").click()
    page.wait_for_url(re.compile(r"\?area="))
    assert ids_shown(own) == inside
    page.locator(".card .open").first.focus()
    page.keyboard.press("s")
    page.wait_for_url(re.compile("item="))
    wait_until(page, lambda: sorted(ids_shown(own)) == inside[1:])
    page.get_by_role("button", name="Search the whole library").click()
    wait_until(page, lambda: len(ids_shown(own)) > len(inside))


def test_a_point_shows_its_picture_and_a_click_opens_it(opened: Open, served: Served) -> None:
    own = opened()
    points = map_of(served, own.page)
    page = own.look("?view=map")
    wait_until(page, lambda: page.evaluate("document.querySelector('hg-map')?.shown") is not None)
    away = np.hypot(points["x"][:, None] - points["x"], points["y"][:, None] - points["y"]) + 9 * np.eye(len(points))
    lonely = points[int(np.argmax(away.min(axis=1)))]
    page.mouse.move(*on_screen(page, lonely["x"], lonely["y"]))
    page.wait_for_selector(".peek img")
    assert f"/items/{lonely['id']}/" in page.locator(".peek img").get_attribute("src")
    page.mouse.down()
    page.mouse.up()
    page.wait_for_url(re.compile(rf"open={lonely['id']}$"))
    page.get_by_role("dialog").wait_for()


def test_the_map_is_moved_and_taken_by_keys_alone(opened: Open, served: Served) -> None:
    own = opened()
    points = map_of(served, own.page)
    page = own.look("?view=map")
    wait_until(page, lambda: page.evaluate("document.querySelector('hg-map')?.shown") is not None)
    page.locator(".mapbox").focus()
    before = page.evaluate("document.querySelector('hg-map').view.box")
    for key in ("+", "+", "ArrowRight", "ArrowUp"):
        page.keyboard.press(key)
    left, low, right, high = page.evaluate("document.querySelector('hg-map').view.box")
    assert right - left < (before[2] - before[0]) / 1.9
    assert left + right > before[0] + before[2]
    assert low + high > before[1] + before[3]
    page.keyboard.press("0")
    assert page.evaluate("document.querySelector('hg-map').view.box") == pytest.approx(before)
    page.get_by_role("button", name="Take what is in view").focus()
    page.keyboard.press("Enter")
    page.wait_for_url(re.compile("area="))
    assert ids_shown(own) == sorted(int(each) for each in points["id"])
    page.keyboard.press("Escape")
    wait_until(page, lambda: "area" not in page.url)


def test_the_map_is_moved_by_touch(opened: Open) -> None:
    own = opened(viewport={"width": 390, "height": 800}, has_touch=True, is_mobile=True)
    page = own.look("?view=map")
    wait_until(page, lambda: page.evaluate("document.querySelector('hg-map')?.shown") is not None)
    frame = page.locator(".mapbox").bounding_box()
    touch = page.context.new_cdp_session(page)

    def at(kind: str, *places: tuple[float, float]) -> None:
        points = [{"x": frame["x"] + x * frame["width"], "y": frame["y"] + y * frame["height"]} for x, y in places]
        touch.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

    at("touchStart", (0.4, 0.5), (0.6, 0.5))
    for step in range(1, 5):
        at("touchMove", (0.4 - 0.07 * step, 0.5), (0.6 + 0.07 * step, 0.5))
    at("touchEnd")
    wait_until(page, lambda: page.evaluate("document.querySelector('hg-map').view.near") > 2)
    assert page.evaluate("scrollY") == 0


def test_without_webgl2_the_kinds_are_listed(opened: Open, served: Served) -> None:
    own = opened()
    page = own.page
    kinds = made(served, "map", page).json["kinds"]
    page.add_init_script("HTMLCanvasElement.prototype.getContext = () => null")
    own.look("?view=map")
    page.get_by_text("This browser cannot draw the map").wait_for()
    assert page.locator(".kinds li").count() == len(kinds)
    page.locator(".kinds a").first.click()
    page.wait_for_url(re.compile("view=browse&in="))


def test_of_many_points_a_share_is_drawn_and_all_of_a_part(opened: Open) -> None:
    own = opened()
    page = own.page
    many = 150_000
    random = np.random.default_rng(5)
    places = random.uniform(-1, 1, (many, 2)).astype("<f4")
    points = b"".join(struct.pack("<Iff", i + 1, x, y) for i, (x, y) in enumerate(places.tolist()))
    kinds = [{"id": "7", "name": "seven", "count": many, "start": 0, "x": 0, "y": 0}]
    page.route("**/api/v1/map", lambda route: route.fulfill(json={"version": "m", "points": many, "kinds": kinds}))
    binary = "application/octet-stream"
    page.route("**/api/v1/map/points?*", lambda route: route.fulfill(body=points, content_type=binary))
    page.route("**/thumbnail?*", lambda route: route.fulfill(body=b"", content_type="image/jpeg"))
    own.look("?view=map")
    wait_until(page, lambda: page.evaluate("document.querySelector('hg-map')?.shown") is not None)
    assert page.evaluate("document.querySelector('hg-map').shown") == pytest.approx(100_000, rel=0.02)
    page.locator(".mapbox").focus()
    page.keyboard.press("+")
    page.keyboard.press("+")
    page.keyboard.press("+")
    box = page.evaluate("document.querySelector('hg-map').view.box")
    sight = (places[:, 0] > box[0]) & (places[:, 0] < box[2]) & (places[:, 1] > box[1]) & (places[:, 1] < box[3])
    wait_until(page, lambda: int(sight.sum()) <= page.evaluate("document.querySelector('hg-map').shown") < 90_000)


# Activity.


def test_a_folder_is_added_and_a_server_that_was_away_comes_back(opened: Open, served: Served) -> None:
    own = opened(refusals=True)
    page = own.look("?view=activity")
    page.route("**/api/v1/jobs", lambda route: route.abort())
    page.get_by_text("The server does not answer").wait_for()
    page.unroute("**/api/v1/jobs")
    page.get_by_text("The server does not answer").wait_for(state="detached")
    page.get_by_role("button", name="camera").click()
    job = page.locator(".job").first
    page.get_by_text(f"{NEW} added").first.wait_for()
    wait_until(page, lambda: job.locator(".state").inner_text() == "done")
    assert {f"{seed:05}.jpg" for seed in range(1000, 1000 + NEW)} <= there(served)
    page.get_by_role("link", name="Search", exact=True).click()
    wait_until(page, lambda: str(len(there(served))) in page.locator(".count").inner_text())


def test_a_job_that_runs_is_seen_in_the_bar_and_stopped(opened: Open) -> None:
    own = opened()
    page = own.page
    job = {
        "id": 7,
        "kind": "add",
        "folder": "camera",
        "state": "running",
        "done": 3,
        "total": 12,
        "added": 2,
        "failed": 1,
    }
    job |= {"text": "", "started": "2026-01-01T10:00:00+00:00", "ended": None}
    stopped: list[str] = []
    page.route("**/api/v1/jobs", lambda route: route.fulfill(json={"jobs": [job]}))
    page.route("**/api/v1/jobs/7", lambda route: (stopped.append(route.request.method), route.fulfill(json=job)))
    own.look("?view=activity")
    page.get_by_text("3 of 12 · 2 added · 1 could not be read").wait_for()
    assert page.locator(".job progress").evaluate("each => each.value") == 0.25
    page.wait_for_selector(".views .busy")
    page.get_by_role("button", name="Stop: Adding camera").click()
    wait_until(page, lambda: stopped == ["DELETE"])
    job |= {"state": "stopped"}
    page.wait_for_selector(".views .busy", state="detached")
    assert page.locator(".job .state").inner_text() == "stopped"


# Settings.


def test_settings_are_kept_and_reset(opened: Open, served: Served) -> None:
    own, item = opened(color_scheme="light"), some_item(served)
    page = own.look("?view=settings")
    page.get_by_role("radio", name="Dark").check()
    page.get_by_role("radio", name="Large").check()
    page.get_by_label("Start a search with").select_option("kind")
    page.get_by_label("Language").select_option("zh")
    page.get_by_role("heading", name="设置", level=1).wait_for()
    page.goto(f"{own.address}/?item={item}")
    own.results()
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"
    assert page.locator("input[name=grain][value=kind]").is_checked()
    large = page.locator(".card .frame").first.bounding_box()["height"]
    page.goto(f"{own.address}/?view=settings")
    page.get_by_role("button", name="全部重置").click()
    page.get_by_role("heading", name="Settings", level=1).wait_for()
    page.goto(f"{own.address}/?item={item}")
    own.results()
    assert page.evaluate("document.documentElement.dataset.theme") == "auto"
    assert not page.locator("input[name=grain][value=kind]").is_checked()
    assert page.locator(".card .frame").first.bounding_box()["height"] < large


# Every look.

STATES = {
    "browse": ("?view=browse", ".tile"),
    "kind": ("?view=browse&in={kind}", ".card"),
    "duplicates": ("?view=duplicates", ".copygroup"),
    "map": ("?view=map", ".mapbox"),
    "area": ("?view=map&area=-1,-1,1,-1,1,1,-1,1", ".card"),
    "activity": ("?view=activity", ".job"),
    "settings": ("?view=settings", ".settings"),
    "tags": ("?where=tag = 'cat'&open={item}", "dialog .facts dd"),
    "selected": ("?where=tag = 'cat'", ".card"),
}
LOOKS: dict[str, tuple[dict[str, Any], tuple[str, ...]]] = {
    "light": ({}, ("browse", "tags")),
    "dark": ({"color_scheme": "dark"}, ("duplicates", "area")),
    "narrow": (
        {"viewport": {"width": 360, "height": 740}, "has_touch": True, "is_mobile": True},
        ("map", "kind", "selected"),
    ),
    "chinese": ({"locale": "zh-CN"}, ("settings", "activity")),
}


@pytest.mark.slow
@pytest.mark.parametrize("look", LOOKS)
def test_axe_finds_nothing_in_any_view(opened: Open, served: Served, look: str) -> None:
    options, states = LOOKS[look]
    own = opened(reduced_motion="reduce", **options)
    made(served, "map", own.page)
    kind = made(served, "scenes", own.page).json["kinds"][0]["id"]
    for state in states:
        search, sign = STATES[state]
        page = own.look(search.replace("{kind}", kind).replace("{item}", str(some_item(served))))
        page.wait_for_selector(sign)
        if state == "selected":
            page.locator("[data-do=choose]").first.click()
            page.locator(".chosenbar button").first.click()
            page.wait_for_selector(".chosenbar .tags input")
        assert violations(page) == [], state
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), state
