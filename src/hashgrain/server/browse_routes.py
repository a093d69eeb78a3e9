"""The addresses of what is computed for the whole library: scenes, duplicates, the map."""

from __future__ import annotations

from typing import Annotated

from fastapi import FastAPI, Query, Request, Response
from fastapi import Path as PathValue

from hashgrain.apps.duplicates import Word
from hashgrain.server import browse, copies, maps
from hashgrain.server.answers import bytes_with_tag, json_answer
from hashgrain.server.browse_schemas import DuplicatesAnswer, MakingOut, MapAnswer, ScenesAnswer, TrashedOut
from hashgrain.server.change_routes import need_writable
from hashgrain.server.problems import ProblemError
from hashgrain.server.removals import Removals
from hashgrain.server.schemas import MAX_K, ItemsAnswer, TrashRequest
from hashgrain.server.state import State

SceneId = Annotated[str, PathValue(alias="id", max_length=200, pattern=r"^\d{1,19}(\.\d{1,19}){0,9}$")]
PageCursor = Annotated[str | None, Query(max_length=4_000)]
MAKING = {"model": MakingOut, "description": "It is being made; ask again"}


def browse_routes(app: FastAPI, state: State, removals: Removals) -> None:
    @app.get(
        "/api/v1/scenes",
        tags=["browse"],
        summary="The library as a tree of kinds and things",
        responses={200: {"model": ScenesAnswer}, 202: MAKING},
    )
    async def scenes() -> Response:
        call = state.with_library(browse.scenes_document)
        status, document = await state.searching.run(call, state.computed)
        return json_answer(document, status)

    @app.get(
        "/api/v1/scenes/{id}",
        tags=["browse"],
        summary="The items of a kind or a thing",
        responses={200: {"model": ItemsAnswer}, 202: MAKING},
    )
    async def scene(
        name: SceneId, cursor: PageCursor = None, k: Annotated[int, Query(ge=1, le=MAX_K)] = 100
    ) -> Response:
        call = state.with_library(browse.scene_document)
        status, document = await state.searching.run(call, state.computed, name, cursor, k)
        return json_answer(document, status)

    @app.get(
        "/api/v1/duplicates",
        tags=["browse"],
        summary="Groups of copies",
        responses={200: {"model": DuplicatesAnswer}, 202: MAKING},
    )
    async def duplicates(
        word: Word = "same", cursor: PageCursor = None, k: Annotated[int, Query(ge=1, le=200)] = 20
    ) -> Response:
        call = state.with_library(copies.duplicates_document)
        status, document = await state.searching.run(call, state.computed, removals, word, cursor, k)
        return json_answer(document, status)

    _map(app, state)
    _trash(app, state, removals)


def _map(app: FastAPI, state: State) -> None:
    @app.get(
        "/api/v1/map",
        tags=["browse"],
        summary="The map: how many points, and where the kinds are",
        responses={200: {"model": MapAnswer}, 202: MAKING},
    )
    async def whole() -> Response:
        status, document = await state.searching.run(state.with_library(maps.map_document), state.computed)
        return json_answer(document, status)

    @app.get(
        "/api/v1/map/points",
        tags=["browse"],
        summary="The points of the map, 12 bytes each",
        response_class=Response,
        responses={200: {"content": {"application/octet-stream": {}}}},
    )
    async def points(request: Request, version: Annotated[str | None, Query(max_length=100)] = None) -> Response:
        kept = maps.kept_map(state.computed, version)

        async def content() -> bytes:
            return kept.value.points

        return await bytes_with_tag(request, f'"{kept.name}"', content, "application/octet-stream")


def _trash(app: FastAPI, state: State, removals: Removals) -> None:
    @app.post(
        "/api/v1/duplicates/trash",
        tags=["changes"],
        summary="Move copies to the trash",
        responses={200: {"model": TrashedOut}},
    )
    async def trash(body: TrashRequest) -> Response:
        need_writable(state)
        folder = state.settings.trash
        if folder is None:
            raise ProblemError(403, "no_trash", "this server was not started with a folder for the trash")
        call = state.with_library(copies.to_trash)
        return json_answer(await state.writing.run(call, body.items, folder, state.computed, removals))
