"""A page of results in one file: pictures are embedded, nothing is loaded, no scripts run."""

from __future__ import annotations

import base64
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from urllib.parse import quote_from_bytes

from hashgrain.types import Box, Corners

# Lone surrogates, which occur in names with undecodable bytes, and control characters: UTF-8 and XML forbid them.
NO_TEXT = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff\ufffe\uffff]")

STYLE = """
:root { color-scheme: light dark; --paper: #faf9f7; --ink: #1d1c1a; --soft: #6b6862; --card: #fff; --line: #e4e1db;
  --same: #14683f; --near: #1f5aa6; --related: #8a4b08; --far: #5f5c57; --right: #14683f; --wrong: #a3262a; }
@media (prefers-color-scheme: dark) { :root { --paper: #171614; --ink: #edeae4; --soft: #a29e96; --card: #211f1d;
  --line: #35322e; --same: #5fd39a; --near: #86b7f5; --related: #f0b16b; --far: #b5b0a8; --right: #5fd39a;
  --wrong: #ff9a9d; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 76rem; padding: 2rem 1.25rem 4rem; background: var(--paper); color: var(--ink);
  font: 16px/1.45 system-ui, sans-serif; }
h1 { font-size: 1.6rem; margin: 0 0 .25rem; text-wrap: balance; }
h2 { font-size: 1.05rem; margin: 2.25rem 0 .75rem; }
h2 small, .soft { color: var(--soft); font-weight: 400; }
.query { display: flex; gap: 1.25rem; align-items: center; margin: 1.25rem 0; }
.query img { width: auto; height: auto; max-width: min(14rem, 45%); max-height: 14rem;
  border-radius: .6rem; border: 1px solid var(--line); }
.cards { list-style: none; margin: 0; padding: 0; display: grid; gap: .9rem;
  grid-template-columns: repeat(auto-fill, minmax(10.5rem, 1fr)); }
.cards > li { background: var(--card); border: 1px solid var(--line); border-radius: .6rem; }
.cards > li > a { display: block; color: inherit; text-decoration: none; height: 100%; border-radius: inherit; }
:focus-visible { outline: 3px solid var(--near); outline-offset: 2px; }
.shot { display: grid; grid-template: minmax(0, 1fr) / minmax(0, 1fr); place-items: center; height: 8.5rem;
  background: var(--paper); border-radius: .55rem .55rem 0 0; overflow: hidden; }
.shot > * { grid-area: 1 / 1; width: 100%; height: 100%; }
.shot img { object-fit: cover; } .shot.part img { object-fit: contain; }
.shot polygon { fill: none; stroke: var(--near); stroke-width: 3; stroke-linejoin: round;
  vector-effect: non-scaling-stroke; }
.shot .soft { display: grid; place-items: center; }
.caption { display: block; padding: .55rem .7rem .7rem; font-size: .82rem; overflow-wrap: anywhere; }
.word { font-weight: 700; } .same { color: var(--same); } .near { color: var(--near); }
.related { color: var(--related); } .far { color: var(--far); }
.right { color: var(--right); } .wrong { color: var(--wrong); }
.name { display: block; margin: .15rem 0; }
"""


@dataclass(frozen=True)
class PageQuery:
    """The query; the thumbnail is JPEG."""

    name: str
    thumbnail: bytes | None


@dataclass(frozen=True)
class PageHit:
    """One card. With an empty path it has no link, as on a page for other machines; without distances it is no answer
    to a query."""

    name: str
    path: str
    thumbnail: bytes | None
    word: str
    distances: Mapping[str, int]
    note: str | None = None
    right: bool | None = None  # if the truth is known
    box: Box | None = None  # the part that matched, drawn on the picture
    outline: Corners | None = None  # where the query lies in it, drawn instead of the part


@dataclass(frozen=True)
class PageGroup:
    """The hits of one query, nearest first, and the query picture if it differs by group."""

    title: str
    hits: Sequence[PageHit]
    query: PageQuery | None = None


def result_page(query: PageQuery | None, groups: Sequence[PageGroup], *, title: str, lead: str = "") -> str:
    """The page as HTML. Names are escaped, since they are untrusted."""
    body = [f"<h1>{text(title)}</h1>"]
    if lead:
        body.append(f'<p class="soft">{text(lead)}</p>')
    if query:
        body.append(asked_with(query))
    body.extend(map(_group, groups))
    return document(title, body)


def document(title: str, body: Sequence[str], *, style: str = "") -> str:
    """The complete HTML file around a body of HTML parts; `style` is appended to our own."""
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; img-src data:;'
        " style-src 'unsafe-inline'\">"
        f"<title>{text(title)}</title><style>{STYLE}{style}</style></head>\n<body><main>"
        + "\n".join(body)
        + "</main></body></html>\n"
    )


def asked_with(query: PageQuery) -> str:
    """The query picture, large, with its name."""
    shown = picture(query.thumbnail, f"The picture asked with: {query.name}")
    return f'<div class="query">{shown}<div><div class="soft">asked with</div>{text(query.name)}</div></div>'


def cards(hits: Sequence[PageHit]) -> str:
    """The hits in a grid, nearest first."""
    inside = "".join(_card(rank, hit) for rank, hit in enumerate(hits, 1)) or '<li class="caption">nothing found</li>'
    return f'<ol class="cards">{inside}</ol>'


def _group(group: PageGroup) -> str:
    asked = asked_with(group.query) if group.query else ""
    return f"<section><h2>{text(group.title)}</h2>{asked}{cards(group.hits)}</section>"


def _card(rank: int, hit: PageHit) -> str:
    distances = " · ".join(f"{text(grain)} {distance}" for grain, distance in hit.distances.items())
    mark = {True: '<span class="right">✓ right</span>', False: '<span class="wrong">✗ wrong</span>', None: ""}[
        hit.right
    ]
    note = f'<span class="name">{text(hit.note)}</span>' if hit.note else ""
    corners = hit.outline or (_corners(hit.box) if hit.box is not None else None)
    part = corners if hit.thumbnail is not None else None
    alt = f"Hit {rank}: {hit.name}" if hit.distances else hit.name
    alt += "" if part is None else ", with the part that matched"
    shown = picture(hit.thumbnail, alt) + ("" if part is None else _outline(part, hit.thumbnail or b""))
    place = f'<span class="soft">{rank}.</span> ' if hit.distances else ""
    inside = (
        f'<span class="shot{"" if part is None else " part"}">{shown}</span><span class="caption">'
        f'{place}<span class="word {text(hit.word)}">{text(hit.word)}</span> {mark}'
        f'<span class="name">{text(hit.name)}</span>{note}<span class="soft">{distances}</span></span>'
    )
    return f'<li><a href="{escape(file_address(hit.path))}">{inside}</a></li>' if hit.path else f"<li>{inside}</li>"


def picture(jpeg: bytes | None, alt: str) -> str:
    """A JPEG inside the page, or a note that there is none."""
    if jpeg is None:
        return '<span class="soft">the file is gone</span>'
    width, height = _size(jpeg)
    source = f"data:image/jpeg;base64,{base64.b64encode(jpeg).decode()}"
    return f'<img src="{source}" alt="{text(alt)}" width="{width}" height="{height}">'


def _corners(box: Box) -> Corners:
    left, top, right, bottom = box
    return (left, top), (right, top), (right, bottom), (left, bottom)


def _outline(corners: Corners, jpeg: bytes) -> str:
    """Four corners over a picture that is shown whole."""
    width, height = _size(jpeg)
    points = " ".join(f"{x * width:.1f},{y * height:.1f}" for x, y in corners)
    return f'<svg viewBox="0 0 {width} {height}" aria-hidden="true"><polygon points="{points}"/></svg>'


def _size(jpeg: bytes) -> tuple[int, int]:
    import io

    from PIL import Image

    return Image.open(io.BytesIO(jpeg), formats=["JPEG"]).size


def file_address(path: str) -> str:
    """A file:// address, for names of any bytes."""
    return "file://" + quote_from_bytes(os.fsencode(path))


def text(raw: str) -> str:
    """Escape text for HTML and XML, and replace characters that these forbid."""
    return escape(NO_TEXT.sub("\N{REPLACEMENT CHARACTER}", raw))
