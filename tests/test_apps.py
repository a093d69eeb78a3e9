"""What is shown to a person: the demo's pictures and the page of results."""

from __future__ import annotations

import io
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from conftest import make_picture
from hashgrain.apps.demo import PHRASES, run_demo
from hashgrain.apps.drawings import KINDS
from hashgrain.apps.drawn_scenes import scenes, write_scenes
from hashgrain.cli.demo import next_commands
from hashgrain.report.page import PageGroup, PageHit, PageQuery, result_page

NASTY = "<script>alert(1)</script>\"' &\udcff.jpg"


def jpeg(seed: int) -> bytes:
    file = io.BytesIO()
    make_picture(seed).save(file, "jpeg")
    return file.getvalue()


def page() -> str:
    hits = [
        PageHit(NASTY, f"/tmp/{NASTY}", jpeg(i), word, {"kind": i, "look": 3 * i}, note=NASTY, right=right)
        for i, (word, right) in enumerate([("same", True), ("near", False), ("related", None), ("far", None)])
    ]
    hits.append(PageHit("gone.jpg", "/tmp/gone.jpg", None, "far", {"kind": 9}))
    groups = [PageGroup(NASTY, hits), PageGroup("empty", [])]
    return result_page(PageQuery(NASTY, jpeg(9)), groups, title=NASTY, lead=NASTY)


class Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))


def test_the_page_carries_all_it_shows_and_runs_nothing() -> None:
    reader = Reader()
    reader.feed(page())
    tags = Counter(tag for tag, _ in reader.tags)
    assert (tags["script"], tags["link"], tags["iframe"]) == (0, 0, 0)
    pictures = [attributes for tag, attributes in reader.tags if tag == "img"]
    assert len(pictures) == 5
    assert all(str(a["src"]).startswith("data:image/jpeg;base64,") and a["alt"] for a in pictures)
    links = [str(attributes["href"]) for tag, attributes in reader.tags if tag == "a"]
    assert all(link.startswith("file:///tmp/") for link in links)
    assert "%FF.jpg" in links[0]
    policy = [a["content"] for tag, a in reader.tags if a.get("http-equiv") == "Content-Security-Policy"]
    assert policy == ["default-src 'none'; img-src data:; style-src 'unsafe-inline'"]


def test_a_browser_shows_every_picture_and_asks_for_nothing(browser: Any, tmp_path: Path) -> None:
    (tmp_path / "page.html").write_text(page(), encoding="utf-8")
    said: list[str] = []
    asked: list[str] = []
    tab = browser.new_page()
    tab.on("console", lambda message: said.append(message.text))
    tab.on("dialog", lambda dialog: said.append(dialog.message))
    tab.on("request", lambda request: asked.append(request.url))
    tab.goto((tmp_path / "page.html").as_uri())
    widths = tab.eval_on_selector_all("img", "all => all.map(one => one.naturalWidth)")
    cards = tab.locator("li a").count()
    tab.close()
    assert widths == [120] * 5
    assert cards == 5
    assert said == []
    assert [url for url in asked if not url.startswith(("file:", "data:"))] == []


def test_the_demos_pictures_are_the_same_every_time_and_all_different() -> None:
    first, second = ([np.asarray(s.image) for s in scenes(looks_per_thing=1, copies=1)] for _ in range(2))
    assert len(first) == 2 * sum(map(len, KINDS.values()))
    assert all((a == b).all() for a, b in zip(first, second, strict=True))
    assert len({a.tobytes() for a in first}) == len(first)
    other = next(iter(scenes(looks_per_thing=1, copies=0, seed=5)))
    assert (np.asarray(other.image) != first[0]).any()


def test_the_demos_pictures_are_written_with_their_labels(tmp_path: Path) -> None:
    folder = write_scenes(tmp_path / "pictures", looks_per_thing=2, copies=1)
    lines = (folder / "labels.csv").read_text().splitlines()
    assert lines[0] == "name,kind,thing,look"
    written = sorted(path.name for path in folder.rglob("*.jpg"))
    assert written == sorted(line.partition(",")[0] for line in lines[1:])
    assert len(written) == 2 * 2 * sum(map(len, KINDS.values()))
    assert (folder / "animal/cat/cat-01.jpg").exists()


def test_the_demo_asks_words_where_the_model_knows_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pictures = tmp_path / "few"
    pictures.mkdir()
    for seed in range(3):
        (pictures / f"{seed}.jpg").write_bytes(jpeg(seed))
    for model, knows in (("photo", True), ("small", False)):
        monkeypatch.setenv("HASHGRAIN_MODEL", model)
        story = "\n".join(run_demo(tmp_path / model, pictures, suggest=next_commands))
        shown = (tmp_path / model / "results.html").read_text(encoding="utf-8")
        for phrase in PHRASES:
            assert (f'The words "{phrase}" find ' in story) == knows
            assert (f"The words “{phrase}”" in shown) == knows
        assert ("--text" in story) == knows
