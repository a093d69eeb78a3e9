"""The addresses that take pictures to search with."""

from __future__ import annotations

from typing import Annotated

from fastapi import FastAPI, Request, Response
from fastapi import Path as PathValue

from hashgrain.server import describe
from hashgrain.server.answers import json_answer
from hashgrain.server.bodies import checked_picture, picture_body
from hashgrain.server.problems import ProblemError
from hashgrain.server.schemas import UploadOut, UrlRequest
from hashgrain.server.state import State


def upload_routes(app: FastAPI, state: State) -> None:
    async def kept(data: bytes) -> Response:
        taken = await state.showing.run(state.with_library(state.uploads.take), data, state.searcher.max_pixels)
        facts = taken.encoded.facts
        shown = {"width": facts.width, "height": facts.height, "format": facts.format}
        return json_answer({"upload": taken.name, **shown}, 201)

    @app.post(
        "/api/v1/uploads",
        tags=["search"],
        summary="Send a picture to search with",
        status_code=201,
        responses={201: {"model": UploadOut}},
        openapi_extra=describe.PICTURE_BODY,
    )
    async def upload(request: Request) -> Response:
        data = await picture_body(request, state.receiving)
        return await kept(data)

    @app.post(
        "/api/v1/uploads/from-url",
        tags=["search"],
        summary="Fetch a picture to search with",
        status_code=201,
        responses={201: {"model": UploadOut}},
    )
    async def fetched(body: UrlRequest) -> Response:
        if not state.settings.urls:
            raise ProblemError(403, "no_urls", "this server was not started to fetch pictures from addresses")
        data = await state.fetching.run(state.fetcher.fetch, body.url)
        return await kept(checked_picture(data, "what is at this address"))

    @app.get(
        "/api/v1/uploads/{upload}/picture",
        tags=["search"],
        summary="A picture that was sent, as a JPEG of at most 1600 pixels",
        response_class=Response,
    )
    async def uploaded(upload: Annotated[str, PathValue(max_length=64)]) -> Response:
        shown = state.with_library(state.uploads.shown)
        jpeg = await state.showing.run(shown, upload, state.searcher.max_pixels)
        return Response(jpeg, media_type="image/jpeg", headers=describe.PRIVATE)
