"""A search over HTTP: from its JSON to what `Library.search` takes, and to a page of hits."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from typing import Any

from hashgrain.library import Library
from hashgrain.library.previews import encode
from hashgrain.search import Hit
from hashgrain.search.groups import document_of, levels_of
from hashgrain.search.query import Query
from hashgrain.search.run import Explained
from hashgrain.server import paging
from hashgrain.server.joining import Joined
from hashgrain.server.paging import Cursor, LongAnswer, LongAnswers, fingerprint, narrowed, read_cursor
from hashgrain.server.schemas import Example, SearchRequest
from hashgrain.server.uploads import Uploads
from hashgrain.store import Filter
from hashgrain.types import QueryLike

COUNTED = 1_000  # hits that are counted where there is a cut-off


@dataclass(frozen=True)
class Searcher:
    """What searches need beside the library."""

    uploads: Uploads
    answers: LongAnswers
    max_pixels: int
    joined: Joined = field(default_factory=Joined)


def answer(library: Library, request: SearchRequest, searcher: Searcher) -> dict[str, Any]:
    """The answer to a request, as JSON."""
    started = time.perf_counter()
    query = _query(library, request, searcher)
    if request.group:
        explained = searcher.joined.answer(library, replace(query, k=request.k))
        levels = [level.as_dict() for level in levels_of(library.bundle)]
        groups = [document_of(group) for group in library.group(explained.hits)]
        total = len(explained.hits) if len(explained.hits) < request.k else None
        return _document(library, query, explained, started, {"levels": levels, "groups": groups}, None, total)
    name = fingerprint(request.model_dump(exclude={"k", "cursor"}))
    if request.cursor is None:
        return _first_page(library, query, request, name, searcher.joined, started)
    return _next_page(library, query, request, read_cursor(request.cursor, name), searcher.answers, started)


def _first_page(
    library: Library, query: Query, request: SearchRequest, name: str, joined: Joined, started: float
) -> dict[str, Any]:
    with library.store.snapshot() as snapshot:
        cursor = Cursor(name, snapshot.last_id, 0, ())
    cut = request.min_score is not None or request.within is not None
    wanted = max(request.k + 1, COUNTED) if cut else request.k + 1
    explained = joined.answer(library, replace(query, k=wanted))
    page = explained.hits[: request.k]
    more = len(explained.hits) > len(page)
    total = len(explained.hits) if len(explained.hits) < wanted else None
    following = cursor.after(page).text() if more else None
    return _document(library, query, explained, started, _hits(page), following, total)


def _next_page(
    library: Library, query: Query, request: SearchRequest, cursor: Cursor, answers: LongAnswers, started: float
) -> dict[str, Any]:
    query = replace(query, refine=False)  # the hits that are fitted closer are on the first page
    with library.store.snapshot() as snapshot:
        sequence, last_id = snapshot.sequence, snapshot.last_id
    found = answers.get(cursor, sequence, request.k + 1)
    explained: Explained | None = None
    if found is None:
        wanted = min(paging.DEEPEST, max(cursor.given + request.k + 1, 2 * cursor.given, paging.AHEAD))
        explained = library.answer(replace(query, k=wanted, where=_up_to(request, cursor, last_id)))
        found = LongAnswer(sequence, explained.hits, len(explained.hits) < wanted)
        answers.keep(cursor, found)
    start = cursor.start_in(found.hits)
    page = found.hits[start : start + request.k]
    more = start + len(page) < len(found.hits) and bool(page)
    following = cursor.after(page).text() if more else None
    total = len(found.hits) if found.whole else None
    return _document(library, query, explained, started, _hits(page), following, total)


def _up_to(request: SearchRequest, cursor: Cursor, last_id: int) -> Filter | None:
    """The filter of a search that leaves out what was added since it began."""
    return narrowed(request.where, request.items, up_to=cursor.last_id if last_id > cursor.last_id else None)


def _hits(page: Any) -> dict[str, Any]:
    return {"hits": [hit.as_dict() for hit in page]}


def _document(
    library: Library,
    query: Query,
    explained: Explained | None,
    started: float,
    shown: dict[str, Any],
    following: str | None,
    total: int | None,
) -> dict[str, Any]:
    nothing = explained is not None and not explained.hits and query.min_score is not None
    closest = _closest(library, query) if nothing else None
    phrase = None if explained is None or explained.phrase is None else explained.phrase.as_dict()
    milliseconds = round(1000 * (time.perf_counter() - started), 3)
    more = {"next": following, "total": total, "closest": closest, "words": phrase, "milliseconds": milliseconds}
    return {**shown, **more}


def _closest(library: Library, query: Query) -> float | None:
    """The score of the nearest item, however small."""
    nearest: list[Hit] = library.answer(replace(query, k=1, min_score=None, refine=False, rerank=None)).hits
    return nearest[0].score if nearest else None


def _query(library: Library, request: SearchRequest, searcher: Searcher) -> Query:
    asked = request.query
    picture = asked is not None and (asked.upload is not None or asked.item is not None)
    pixels = bool(request.boxes or request.turned or request.refine or request.rerank)
    of = None
    if asked is not None and picture:
        of = picture_of(library, asked.upload, asked.item, searcher, as_code=not pixels)
    grain = None if request.grain is None else library.grains.named(request.grain)
    return Query(
        of=of,
        text=None if asked is None else asked.text,
        grain=grain,
        where=narrowed(request.where, request.items),
        within=request.within,
        max_pixels=searcher.max_pixels,
        parts=request.parts,
        boxes=[(box[0], box[1], box[2], box[3]) for box in request.boxes],
        match=request.match,
        turned=request.turned,
        like=[_example(library, each, searcher) for each in request.like],
        unlike=[_example(library, each, searcher) for each in request.unlike],
        min_score=request.min_score,
        refine=request.refine,
        rerank=request.rerank,
    )


def _example(library: Library, example: Example, searcher: Searcher) -> QueryLike:
    return picture_of(library, example.upload, example.item, searcher, as_code=True)


def picture_of(
    library: Library, upload: str | None, item: int | None, searcher: Searcher, *, as_code: bool
) -> QueryLike:
    """What stands for a picture in a search: the id of an item; of an upload its code, or else its bytes."""
    if upload is None:
        assert item is not None
        return item
    kept = searcher.uploads.get(upload)
    if not as_code:
        return kept.data
    digest = library.bundle.code_digest
    if kept.model != digest:  # the library has another model by now
        kept.encoded = encode(library, kept.data, max_pixels=searcher.max_pixels)
        kept.model = digest
    return kept.encoded.code
