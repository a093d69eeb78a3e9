"""A page of groups inside groups, each opened and closed by the browser itself: no script runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from hashgrain.report.page import PageHit, PageQuery, asked_with, cards, document, picture, text

PICTURES = 1000  # on a page of a library, unless told otherwise
OPEN = 3  # groups that are open when the page is loaded
STYLE = """
details { margin: .6rem 0; padding: 0 .9rem; background: var(--card); border: 1px solid var(--line);
  border-radius: .6rem; }
details details { background: var(--paper); }
summary { display: flex; gap: .9rem; align-items: center; padding: .55rem 0; cursor: pointer; list-style: none; }
summary::-webkit-details-marker { display: none; }
summary::before { content: "▸"; color: var(--soft); width: 1em; }
details[open] > summary::before { content: "▾"; }
summary > img { width: 4.5rem; height: 3.6rem; object-fit: cover; border-radius: .35rem; }
summary strong { overflow-wrap: anywhere; }
summary .soft { display: block; font-size: .85rem; }
details > .cards { padding-bottom: .9rem; }
"""


@dataclass(frozen=True)
class PageBranch:
    """A group: its title, a line about it, and the JPEG thumbnail of what represents it; inside, other groups or
    cards. `unshown` says what was left out, or is empty."""

    title: str
    note: str
    thumbnail: bytes | None
    branches: Sequence[PageBranch] = ()
    hits: Sequence[PageHit] = ()
    unshown: str = ""


def tree_page(
    branches: Sequence[PageBranch], *, title: str, lead: str = "", query: PageQuery | None = None, unshown: str = ""
) -> str:
    """The page as HTML. Names are escaped, since they are untrusted."""
    body = [f"<h1>{text(title)}</h1>"]
    if lead:
        body.append(f'<p class="soft">{text(lead)}</p>')
    if query:
        body.append(asked_with(query))
    body.extend(_branch(branch, is_open=place < OPEN) for place, branch in enumerate(branches))
    if unshown:
        body.append(f'<p class="soft">{text(unshown)}</p>')
    return document(title, body, style=STYLE)


def _branch(branch: PageBranch, *, is_open: bool) -> str:
    shown = picture(branch.thumbnail, "") if branch.thumbnail is not None else ""
    about = f'<span><strong>{text(branch.title)}</strong><span class="soft">{text(branch.note)}</span></span>'
    inside = "".join(_branch(each, is_open=False) for each in branch.branches)
    if branch.hits:
        inside += cards(branch.hits)
    if branch.unshown:
        inside += f'<p class="soft">{text(branch.unshown)}</p>'
    return f"<details{' open' if is_open else ''}><summary>{shown}{about}</summary>{inside}</details>"
