"""The addresses that change the library. They are there for a server that may not write, too, and say so."""

from __future__ import annotations

from typing import Annotated

from fastapi import FastAPI, Query, Request, Response
from fastapi import Path as PathValue

from hashgrain.server import changes, describe
from hashgrain.server.answers import json_answer
from hashgrain.server.bodies import picture_body
from hashgrain.server.problems import ProblemError
from hashgrain.server.schemas import MAX_ID, AddedOut, ItemOut, MetaRequest, RemovedOut
from hashgrain.server.state import State

ItemId = Annotated[int, PathValue(ge=1, le=MAX_ID, alias="id")]


def change_routes(app: FastAPI, state: State) -> None:
    removals = changes.Removals()

    def need_writable() -> None:
        if not state.settings.writable:
            raise ProblemError(403, "read_only", "this server only reads its library; it was not started to write")

    @app.post(
        "/api/v1/items",
        tags=["changes"],
        summary="Add a picture",
        status_code=201,
        responses={200: {"model": AddedOut, "description": "It was there already"}, 201: {"model": AddedOut}},
        openapi_extra=describe.PICTURE_BODY,
    )
    async def added(
        request: Request, name: Annotated[str, Query(max_length=1_000, description="The name of its file.")] = "picture"
    ) -> Response:
        need_writable()
        data = await picture_body(request, state.receiving)
        answer = await state.writing.run(state.with_library(changes.add), data, name, state.searcher.max_pixels)
        return json_answer(answer, 201 if answer["added"] else 200)

    @app.delete(
        "/api/v1/items/{id}",
        tags=["changes"],
        summary="Remove an item; its file stays",
        responses={200: {"model": RemovedOut}},
    )
    async def removed(item: ItemId) -> Response:
        need_writable()
        return json_answer(await state.writing.run(state.with_library(changes.remove), item, removals))

    @app.post(
        "/api/v1/undo/{undo}", tags=["changes"], summary="Put a removed item back", responses={200: {"model": ItemOut}}
    )
    async def undone(undo: Annotated[str, PathValue(max_length=64)]) -> Response:
        need_writable()
        return json_answer(await state.writing.run(state.with_library(changes.undo), undo, removals))

    @app.patch(
        "/api/v1/items/{id}/meta", tags=["changes"], summary="Change metadata", responses={200: {"model": ItemOut}}
    )
    async def meta(item: ItemId, body: MetaRequest) -> Response:
        need_writable()
        return json_answer(await state.writing.run(state.with_library(changes.change_meta), item, body))
