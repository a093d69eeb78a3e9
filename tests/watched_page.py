"""A tab of a real Chromium on the page of `hashgrain serve`, and everything about it that nobody should see."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from serving import Served

WAIT = 60_000  # milliseconds: a busy machine is slow
RENDERING = "GPU stall due to ReadPixels"  # what it says where it draws WebGL without a GPU
REFUSED = "Failed to load resource"  # what Chromium says of an answer with an error, by itself
WATCH = """
window.broken = [];
addEventListener('securitypolicyviolation',
  (event) => window.broken.push(`${event.violatedDirective} ${event.blockedURI}`));
"""


@dataclass
class Watched:
    """A page, and everything about it that nobody should see."""

    page: Any
    address: str
    complaints: list[str] = field(default_factory=list)
    outside: list[str] = field(default_factory=list)
    refusals: bool = False  # whether the server is to refuse something

    def look(self, search: str = "") -> Any:
        self.page.goto(f"{self.address}/{search}")
        self.page.wait_for_selector("hg-app main")
        return self.page

    def results(self) -> list[str]:
        """The names of the pictures that are shown, once a search is done."""
        self.page.wait_for_selector(".results[aria-busy=false] .card .open")
        names = self.page.locator(".card .open").evaluate_all(
            "links => links.map(each => [Number(each.closest('.card').dataset.index), each.title])"
        )
        return [name for _, name in sorted(names)]

    def check(self) -> None:
        broken = self.page.evaluate("window.broken")
        assert broken == []
        assert self.outside == []
        expected = [each for each in self.complaints if self.refusals and REFUSED in each]
        assert self.complaints == expected


Open = Callable[..., Watched]


def tabs(browser: Any, served: Served) -> Iterator[Open]:
    """For a fixture: opens tabs on the server, with nothing kept from others. After the test they must be clean."""
    watched: list[Watched] = []

    def make(*, refusals: bool = False, **options: Any) -> Watched:
        context = browser.new_context(**{"viewport": {"width": 1200, "height": 800}, "locale": "en-US", **options})
        context.add_init_script(WATCH)
        page = context.new_page()
        page.set_default_timeout(WAIT)
        own = Watched(page, served.address.rstrip("/"), refusals=refusals)
        page.on("console", lambda message: RENDERING in message.text or own.complaints.append(message.text))
        page.on("pageerror", lambda error: own.complaints.append(str(error)))
        inside = (own.address, f"blob:{own.address}")
        page.on("request", lambda asked: asked.url.startswith(inside) or own.outside.append(asked.url))
        watched.append(own)
        return own

    yield make
    for own in watched:
        own.check()
        own.page.context.close()


def wait_until(page: Any, holds: Callable[[], bool], seconds: float = WAIT / 1000) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "waited in vain"
        page.wait_for_timeout(50)


def violations(page: Any) -> list[str]:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="needs axe-playwright-python")
    found = axe.Axe().run(page).response["violations"]
    return [f"{each['id']}: {node['html'][:200]}" for each in found for node in each["nodes"]]
