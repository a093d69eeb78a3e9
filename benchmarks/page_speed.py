"""How fast the page feels in a real Chromium, drawn by software, on the same cores as the server.

First paint and the first pictures of a library; from a drop to the pictures found, among 100,000 items with parts
(serve_grown.py), and zooming the map of these; scrolling through 5,000 results of Tiny ImageNet, whose thumbnails are
there.

python benchmarks/page_speed.py
"""

from __future__ import annotations

import base64
import contextlib
import itertools
import shutil
import statistics
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from playwright.sync_api import sync_playwright

from hashgrain import Library
from hashgrain.learn.photo.pictures import tiny_imagenet
from report import HERE, need_data, table, write_section
from serve_grown import grown_library
from serve_load import commands, free_port, serving

RUNS = HERE / "runs" / "serve"
ITEMS, RESULTS, DROPS, LOADS = 100_000, 5_000, 20, 5
SPEED, SECONDS = 3_000, 15  # pixels a second while scrolling, and how long

PAINT = """() => new Promise((resolve) => new PerformanceObserver((list) => {
  const found = list.getEntriesByName('first-contentful-paint')[0];
  if (found) resolve(found.startTime);
}).observe({ type: 'paint', buffered: true }))"""

PICTURES = """async () => {
  const drawn = () => [...document.querySelectorAll('.card img')].some((each) => each.complete && each.naturalWidth);
  while (!drawn()) await new Promise(requestAnimationFrame);
  return performance.now();
}"""

DROP = """async ({ data, name }) => {
  const bytes = Uint8Array.from(atob(data), (each) => each.charCodeAt(0));
  const carried = new DataTransfer();
  carried.items.add(new File([bytes], name, { type: 'image/jpeg' }));
  performance.clearResourceTimings();
  const answered = () => performance.getEntriesByType('resource').some((each) => each.name.endsWith('/search'));
  const shown = () => document.querySelector('.results[aria-busy=false] .card');
  const began = performance.now();
  document.body.dispatchEvent(new DragEvent('drop', { bubbles: true, cancelable: true, dataTransfer: carried }));
  while (!answered() || !shown()) await new Promise(requestAnimationFrame);
  await new Promise(requestAnimationFrame);
  return performance.now() - began;
}"""

SCROLL = """async ({ speed, seconds }) => {
  const frames = [];
  let last = await new Promise(requestAnimationFrame);
  const began = last;
  while (last - began < 1000 * seconds) {
    const now = await new Promise(requestAnimationFrame);
    frames.push(now - last);
    scrollBy(0, (speed * (now - last)) / 1000);
    last = now;
  }
  return frames;
}"""


ZOOM = """async (seconds) => {
  const map = document.querySelector('.mapbox');
  const [left, top] = [map.clientWidth / 2, map.clientHeight / 2];
  const frames = [], drawn = [];
  let last = await new Promise(requestAnimationFrame);
  const began = last;
  while (last - began < 1000 * seconds) {
    const now = await new Promise(requestAnimationFrame);
    frames.push(now - last);
    drawn.push(map.closest('hg-map').shown);
    last = now;
    const deltaY = (now - began) % 2000 < 1000 ? -20 : 20;
    const turn = { deltaY, clientX: left, clientY: top, bubbles: true, cancelable: true };
    map.dispatchEvent(new WheelEvent('wheel', turn));
  }
  return { frames: frames.slice(frames.length / 2), drawn: drawn.slice(frames.length / 2) };
}"""
PLAIN = """() => {
  const grid = document.querySelector('hg-grid');
  const box = document.createElement('div');
  box.style.cssText = `position:relative;height:${grid.layout.height}px`;
  for (const [index, { hit }] of grid.entries.entries()) {
    const { x, y, picture } = grid.layout.places[index];
    const image = new Image();
    image.loading = 'lazy';
    image.decoding = 'async';
    image.style.cssText = `position:absolute;left:${x}px;top:${y}px`;
    [image.width, image.height] = [picture.width, picture.height];
    image.src = grid.querySelector('img').src.replace(/items\\/\\d+/, `items/${hit.id}`);
    box.append(image);
  }
  document.body.replaceChildren(box);
}"""
FEW = """() => {
  const map = document.querySelector('hg-map');
  const { gl } = map.points;
  map.labels.draw = () => {};
  map.points.draw = () => {
    gl.clear(gl.COLOR_BUFFER_BIT);
    gl.drawArrays(gl.POINTS, 0, 100);
    return 100;
  };
}"""
RENDERER = """() => {
  const gl = document.createElement('canvas').getContext('webgl2');
  return gl.getParameter(gl.getExtension('WEBGL_debug_renderer_info').UNMASKED_RENDERER_WEBGL);
}"""


def tiny_library() -> Path:
    place, pictures = RUNS / "tiny.hg", RUNS / "tiny"
    if not (RUNS / "tiny.done").exists():
        pictures.mkdir(parents=True, exist_ok=True)
        for number, shot in enumerate(itertools.islice(tiny_imagenet(need_data(), "val"), RESULTS)):
            (pictures / f"{number:05}.jpg").write_bytes(shot.content)
        with Library.open_or_create(place) as library:
            library.add(pictures, parts=False)
        (RUNS / "tiny.done").touch()
    return place


@contextlib.contextmanager
def page_of(browser: Any, place: Path) -> Iterator[tuple[Any, str]]:
    port = free_port()
    command, ready = commands(place, port)["hashgrain serve"]
    with serving(command, ready, port):
        page = browser.new_page(viewport={"width": 1400, "height": 900})
        page.set_default_timeout(120_000)
        yield page, f"http://127.0.0.1:{port}/"
        page.close()


def first_paint(page: Any, address: str) -> tuple[float, float]:
    """Milliseconds to the first contentful paint and to the first pictures; medians."""
    paints, pictures = [], []
    for _ in range(LOADS):
        page.goto("about:blank")
        page.goto(address)
        paints.append(page.evaluate(PAINT))
        pictures.append(page.evaluate(PICTURES))
    return statistics.median(paints), statistics.median(pictures)


def drops(page: Any, address: str) -> list[float]:
    page.goto(address)
    page.wait_for_selector(".card")
    found = []
    for number, file in enumerate(sorted((need_data() / "photos").glob("*.jpg"))[: DROPS + 2]):
        data = base64.b64encode(file.read_bytes()).decode()
        found.append(page.evaluate(DROP, {"data": data, "name": f"{number}.jpg"}))
    return found[2:]  # the first ones load what is needed


def scrolled(page: Any, address: str) -> tuple[list[float], list[float]]:
    """Frames of the page, and of a plain one that has the same pictures in the same places and runs no script."""
    page.goto(address)
    page.wait_for_selector(".card")
    loaded = -1
    while (now := page.evaluate("document.querySelector('hg-grid').entries.length")) != loaded and now < RESULTS:
        loaded = now
        for _ in range(40):  # until the next page of hits is there
            page.evaluate("scrollTo(0, document.body.scrollHeight)")
            page.wait_for_timeout(50)
            if page.evaluate("document.querySelector('hg-grid').entries.length") != loaded:
                break
    print(f"{now:,} results are loaded")
    page.evaluate("scrollTo(0, 0)")
    page.wait_for_timeout(1000)
    frames = page.evaluate(SCROLL, {"speed": SPEED, "seconds": SECONDS})
    page.evaluate(PLAIN)
    page.evaluate("scrollTo(0, 0)")
    page.wait_for_timeout(1000)
    return sorted(frames), sorted(page.evaluate(SCROLL, {"speed": SPEED, "seconds": SECONDS}))


def zoomed(page: Any, address: str) -> list[list[str]]:
    """Frames while the map is zoomed. The first half is left out: the page learns there how many points it can draw.
    Then those of a canvas of the same size with 100 points and no labels: what the browser takes by itself."""
    page.goto(f"{address}?view=map")
    page.wait_for_selector(".mapbox canvas", timeout=600_000)
    page.wait_for_timeout(1000)
    seen = page.evaluate(ZOOM, SECONDS)
    frame = statistics.median(seen["frames"])
    on_time = sum(each <= 1000 / 30 + 1 for each in seen["frames"]) / len(seen["frames"])
    drawn = statistics.median(seen["drawn"])
    more = f"{on_time:.1%} within 1/30 s; {drawn:,.0f} points drawn; {page.evaluate(RENDERER)}"
    page.evaluate(FEW)
    few = page.evaluate(ZOOM, SECONDS)["frames"]
    return [
        [f"a frame while zooming the map of {ITEMS:,}", f"{frame:.1f} ms", more],
        ["the same canvas with 100 points and no labels", f"{statistics.median(few):.1f} ms", ""],
    ]


def frame_times(frames: list[float]) -> tuple[str, str]:
    on_time = sum(each <= 1000 / 60 + 1 for each in frames) / len(frames)
    slow = f"99 of 100 within {frames[int(0.99 * len(frames))]:.0f} ms"
    return f"{statistics.median(frames):.1f} ms", f"{on_time:.1%} within 1/60 s; {slow}"


def main() -> None:
    large, tiny = grown_library(RUNS, ITEMS), tiny_library()
    with sync_playwright() as playwright:
        path = shutil.which("chromium")
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-gpu"])
        with page_of(browser, large) as (page, address):
            dropped = sorted(drops(page, address))
        with page_of(browser, tiny) as (page, address):
            paint, pictures = first_paint(page, address)
            frames, plain = scrolled(page, address)
        version = browser.version
        browser.close()
        drawn_by_software = ["--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]
        browser = playwright.chromium.launch(executable_path=path, args=drawn_by_software)
        with page_of(browser, large) as (page, address):
            map_rows = zoomed(page, address)
        browser.close()
    rows = [
        ["first paint", f"{paint:.0f} ms", ""],
        ["first pictures", f"{pictures:.0f} ms", ""],
        [
            f"from a drop to the results, {ITEMS:,} items with parts",
            f"{statistics.median(dropped):.0f} ms",
            f"most of {DROPS}: {dropped[-1]:.0f} ms",
        ],
        [
            f"a frame while scrolling {RESULTS:,} results, {SPEED:,} pixels a second",
            *frame_times(frames),
        ],
        ["the same pictures in a plain page without a script", *frame_times(plain)],
        *map_rows,
    ]
    text = f"Chromium {version}, drawn by software, beside the server on the same cores.\n\n"
    write_section(
        "i-page", "The page", "python benchmarks/page_speed.py", text + table(["what", "median", "more"], rows)
    )


if __name__ == "__main__":
    main()
