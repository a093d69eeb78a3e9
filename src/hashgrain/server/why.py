"""Why a hit was found, as a picture."""

from __future__ import annotations

from hashgrain.apps.why import drawn, explain_hit
from hashgrain.errors import ImageError
from hashgrain.library import Library
from hashgrain.server.problems import ProblemError
from hashgrain.server.schemas import WhyRequest
from hashgrain.server.search import Searcher, picture_of


def why_picture(library: Library, request: WhyRequest, searcher: Searcher) -> bytes:
    """A PNG; 410 if the picture of an item is gone or has changed."""
    if request.query.upload is None and request.query.item is None:
        raise ProblemError(422, "query", "words are no picture: only a hit of a picture can be explained")
    asked = picture_of(library, request.query.upload, request.query.item, searcher, as_code=False)
    grain = None if request.grain is None else library.grains.named(request.grain)
    try:
        account = explain_hit(library, asked, request.item, grain=grain, max_pixels=searcher.max_pixels)
    except ImageError as error:
        raise ProblemError(410, "picture_gone", str(error)) from None
    return drawn(account)
