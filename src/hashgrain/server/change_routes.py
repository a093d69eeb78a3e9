"""The addresses that change the library. They are there for a server that may not write, too, and say so."""

from __future__ import annotations

from typing import Annotated

from fastapi import FastAPI, Query, Request, Response
from fastapi import Path as PathValue

from hashgrain.server import changes, describe
from hashgrain.server.answers import json_answer
from hashgrain.server.bodies import picture_body
from hashgrain.server.problems import ProblemError
from hashgrain.server.removals import Removals
from hashgrain.server.schemas import (
    MAX_ID,
    AddedOut,
    ChangedOut,
    ItemOut,
    ItemsRequest,
    ManyRemovedOut,
    MetaRequest,
    RemovedOut,
    RestoredOut,
    TagsRequest,
)
from hashgrain.server.state import State

ItemId = Annotated[int, PathValue(ge=1, le=MAX_ID, alias="id")]


def need_writable(state: State) -> None:
    if not state.settings.writable:
        raise ProblemError(403, "read_only", "this server only reads its library; it was not started to write")


def change_routes(app: FastAPI, state: State, removals: Removals) -> None:
    _one_item(app, state, removals)

    @app.post(
        "/api/v1/items/remove",
        tags=["changes"],
        summary="Remove several items; their files stay",
        responses={200: {"model": ManyRemovedOut}},
    )
    async def many_removed(body: ItemsRequest) -> Response:
        need_writable(state)
        return json_answer(await state.writing.run(state.with_library(changes.remove_many), body.items, removals))

    @app.post(
        "/api/v1/tags",
        tags=["changes"],
        summary="Give names to items, or take some",
        responses={200: {"model": ChangedOut}},
    )
    async def tags(body: TagsRequest) -> Response:
        need_writable(state)
        return json_answer(await state.writing.run(state.with_library(changes.change_tags), body, removals))

    @app.post(
        "/api/v1/undo/{undo}",
        tags=["changes"],
        summary="Put back what was removed, or take back a change of tags",
        responses={200: {"model": ItemOut | RestoredOut}},
    )
    async def undone(undo: Annotated[str, PathValue(max_length=64)]) -> Response:
        need_writable(state)
        return json_answer(await state.writing.run(state.with_library(removals.undo), undo))


def _one_item(app: FastAPI, state: State, removals: Removals) -> None:
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
        need_writable(state)
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
        need_writable(state)
        return json_answer(await state.writing.run(state.with_library(changes.remove), item, removals))

    @app.patch(
        "/api/v1/items/{id}/meta", tags=["changes"], summary="Change metadata", responses={200: {"model": ItemOut}}
    )
    async def meta(item: ItemId, body: MetaRequest) -> Response:
        need_writable(state)
        return json_answer(await state.writing.run(state.with_library(changes.change_meta), item, body))
