"""The hits of one search as a page to look at."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hashgrain.apps.page_files import write_page
from hashgrain.errors import ImageError
from hashgrain.library import Library
from hashgrain.media import DecodePool, decode_workers
from hashgrain.report.page import PageGroup, PageHit, PageQuery, result_page
from hashgrain.search import Hit


def write_answer_page(
    library: Library, asked: Any, hits: Sequence[Hit], file: Path | None, text: str | None = None
) -> Path:
    """Write the page to `file`, or to a new temporary one, and return its path. With `text`, the query is words, alone
    or with a picture."""
    query = None if asked is None else picture_asked_with(library, asked)
    grain = hits[0].grain if hits else library.grains.finest
    group = PageGroup(title=f"Nearest at {grain}", hits=[page_hit(library, hit) for hit in hits])
    return write_page(result_page(query, [group], title=title_of(query, text)), file)


def title_of(query: PageQuery | None, text: str | None) -> str:
    """The title of a page for a query: a picture, words, or both."""
    asked_with = [] if text is None else [f"“{text}”"]
    if query is not None:
        asked_with.append(query.name)
    title = "Pictures of " if text is not None else "Pictures like "
    return title + " and ".join(asked_with)


def picture_asked_with(library: Library, asked: Any) -> PageQuery:
    """The query picture: a file, bytes, or the id of an item."""
    picture: bytes | None
    if isinstance(asked, int):
        name = library.item(asked).path
        try:
            picture = library.thumbnail(asked)
        except ImageError:
            picture = None  # the file is gone; its code still asks
    else:
        name = str(asked) if isinstance(asked, (str, os.PathLike)) else "the picture from stdin"
        with DecodePool(None, workers=decode_workers()) as pool:
            picture = pool.thumbnail(asked)
    return PageQuery(name=Path(name).name, thumbnail=picture)


def page_hit(library: Library, hit: Hit, *, note: str | None = None, right: bool | None = None) -> PageHit:
    try:
        small = library.thumbnail(hit.id)
    except ImageError:
        small = None  # the file is gone; its code still answers
    return PageHit(
        name=Path(hit.path).name,
        path=hit.path,
        thumbnail=small,
        word=hit.word or f"{hit.score:.3f}",
        distances=hit.distances,
        note=note or (f"{hit.verified.inliers} points agree" if hit.verified else None),
        right=right,
        outline=hit.verified.outline if hit.verified else None,
        box=None if hit.part is None else hit.part.box,
    )
