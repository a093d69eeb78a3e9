"""The files of the page: found by their name in a list, so that no path of a request is ever opened."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).parent / "page"
POLICY = (
    "default-src 'self'; img-src 'self' blob:; object-src 'none'; frame-ancestors 'none'; base-uri 'none';"
    " form-action 'self'"
)
MEDIA_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".ico": "image/x-icon",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
    ".webmanifest": "application/manifest+json",
    ".woff2": "font/woff2",
}


@dataclass(frozen=True)
class PageFile:
    """A file of the page as it is sent."""

    content: bytes
    media_type: str
    tag: str


def page_file(name: str, folder: Path = FOLDER) -> PageFile | None:
    """The file of this name, such as vendor/lit.js; None if the page has none."""
    path = dict(_files(folder)).get(name)
    if path is None:
        return None
    content = path.read_bytes()
    return PageFile(content, MEDIA_TYPES[path.suffix], '"' + hashlib.sha256(content).hexdigest()[:24] + '"')


def _files(folder: Path) -> Iterator[tuple[str, Path]]:
    """Every file that may be sent, by its name with slashes."""
    for here, _, names in os.walk(folder):
        for name in names:
            path = Path(here, name)
            if path.suffix in MEDIA_TYPES:
                yield path.relative_to(folder).as_posix(), path
