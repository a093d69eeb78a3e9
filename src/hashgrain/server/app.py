"""The application: every address, what it takes, and which function answers."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import FastAPI, Request, Response
from fastapi import Path as PathValue
from fastapi import Query as QueryValue
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from hashgrain import __version__
from hashgrain.errors import HashgrainError
from hashgrain.library import Library
from hashgrain.server import describe, items, problems, search
from hashgrain.server.access import Access
from hashgrain.server.answers import bytes_with_tag, json_answer
from hashgrain.server.browse_routes import browse_routes
from hashgrain.server.change_routes import change_routes
from hashgrain.server.docs_page import docs_page
from hashgrain.server.guard import App, Guard
from hashgrain.server.job_routes import job_routes
from hashgrain.server.metrics import CONTENT_TYPE
from hashgrain.server.page_files import page_file
from hashgrain.server.problems import ProblemError
from hashgrain.server.removals import Removals
from hashgrain.server.schemas import (
    MAX_ID,
    MAX_K,
    MAX_NAME,
    ItemOut,
    ItemsAnswer,
    LibraryOut,
    Problem,
    SearchAnswer,
    SearchRequest,
    TagsAnswer,
    WhyRequest,
)
from hashgrain.server.state import State
from hashgrain.server.upload_routes import upload_routes
from hashgrain.server.why import why_picture

ItemId = Annotated[int, PathValue(ge=1, le=MAX_ID, alias="id")]
PROBLEMS: dict[int | str, dict[str, Any]] = {"default": {"model": Problem, "description": "What went wrong."}}


def application(state: State) -> App:
    """The whole server as an ASGI application."""
    app = FastAPI(
        title="HashGrain",
        version=__version__,
        docs_url=None,
        redoc_url=None,
        responses=PROBLEMS,
        redirect_slashes=False,
    )
    answer_with_problems(app)
    _about(app, state)
    upload_routes(app, state)
    _searching(app, state)
    _items(app, state)
    _tags(app, state)
    removals = Removals()
    change_routes(app, state, removals)
    browse_routes(app, state, removals)
    job_routes(app, state)
    _page(app)
    describe.tidy(app)
    return Access(Guard(app, state.settings), state.settings, state.metrics)


def answer_with_problems(app: FastAPI) -> None:
    """Let every error become `application/problem+json`."""

    def answered(request: Request, problem: ProblemError) -> Response:
        request.scope["state"]["problem"] = problem
        body = problems.document(problem, request.scope["state"]["request_id"])
        return Response(body, problem.status_code, problem.headers, problems.MEDIA_TYPE)

    @app.exception_handler(HTTPException)
    async def refused(request: Request, error: HTTPException) -> Response:
        return answered(request, problems.of_http(error))

    @app.exception_handler(RequestValidationError)
    async def malformed(request: Request, error: RequestValidationError) -> Response:
        return answered(request, problems.of_validation(error.errors()))

    @app.exception_handler(HashgrainError)
    async def failed(request: Request, error: HashgrainError) -> Response:
        return answered(request, problems.of_library(error))

    @app.exception_handler(Exception)
    async def unforeseen(request: Request, error: Exception) -> Response:
        return answered(request, problems.internal())


def _about(app: FastAPI, state: State) -> None:
    @app.get("/healthz", tags=["server"], summary="Whether the server runs")
    async def healthz() -> Response:
        return json_answer({"status": "ok"})

    @app.get("/readyz", tags=["server"], summary="Whether the library can be searched")
    async def readyz() -> Response:
        pictures = await state.searching.run(state.with_library(len))
        return json_answer({"status": "ok", "pictures": pictures})

    @app.get(
        "/metrics",
        tags=["server"],
        summary="Figures for Prometheus",
        response_class=Response,
        responses={200: {"content": {"text/plain": {}}}},
    )
    async def metrics() -> Response:
        return Response(state.metrics.text(), headers={"Content-Type": CONTENT_TYPE})

    @app.get("/api/v1/library", tags=["library"], summary="What is served", responses={200: {"model": LibraryOut}})
    async def library() -> Response:
        return json_answer(await state.searching.run(state.with_library(describe.library_document), state.settings))


def _searching(app: FastAPI, state: State) -> None:
    @app.post("/api/v1/search", tags=["search"], summary="Search", responses={200: {"model": SearchAnswer}})
    async def searched(body: SearchRequest) -> Response:
        return json_answer(await state.searching.run(state.with_library(search.answer), body, state.searcher))

    @app.post(
        "/api/v1/why",
        tags=["search"],
        summary="Why a hit was found, as a PNG",
        response_class=Response,
        responses={200: {"content": {"image/png": {}}}},
    )
    async def why(body: WhyRequest) -> Response:
        picture = await state.showing.run(state.with_library(why_picture), body, state.searcher)
        return Response(picture, media_type="image/png", headers=describe.PRIVATE)


def _items(app: FastAPI, state: State) -> None:
    @app.get("/api/v1/items", tags=["items"], summary="Items by id", responses={200: {"model": ItemsAnswer}})
    async def listed(
        where: Annotated[str | None, QueryValue(max_length=10_000)] = None,
        among: Annotated[
            str | None,
            QueryValue(
                alias="items",
                max_length=110_000,
                pattern=r"^[0-9]{1,18}(,[0-9]{1,18})*$",
                description="Ids: among these, such as 3,17,20.",
            ),
        ] = None,
        cursor: Annotated[str | None, QueryValue(max_length=4_000)] = None,
        k: Annotated[int, QueryValue(ge=1, le=MAX_K)] = 100,
    ) -> Response:
        ids = items.read_ids(among)
        return json_answer(await state.searching.run(state.with_library(items.items_page), where, ids, cursor, k))

    @app.api_route("/api/v1/items/remove", methods=["GET", "DELETE"], include_in_schema=False)
    async def not_an_item() -> Response:
        raise HTTPException(405, headers={"Allow": "POST"})  # or else it would be taken for the id of an item

    @app.get("/api/v1/items/{id}", tags=["items"], summary="One item", responses={200: {"model": ItemOut}})
    async def one(item: ItemId) -> Response:
        return json_answer(items.item_document(await state.searching.run(state.with_library(Library.item), item)))

    @app.get("/api/v1/items/{id}/thumbnail", tags=["items"], summary="A small JPEG", response_class=Response)
    async def thumbnail(request: Request, item: ItemId, edge: int = 256) -> Response:
        if edge not in items.EDGES:
            raise ProblemError(422, "bad_request", f"edge is one of {', '.join(map(str, items.EDGES))}")
        known = await state.searching.run(state.with_library(Library.item), item)
        small = state.with_library(items.thumbnail)
        return await bytes_with_tag(
            request, items.thumbnail_tag(known, edge), lambda: state.showing.run(small, item, edge), "image/jpeg"
        )

    @app.get("/api/v1/items/{id}/original", tags=["items"], summary="The bytes of the file", response_class=Response)
    async def original(request: Request, item: ItemId) -> Response:
        known = await state.searching.run(state.with_library(Library.item), item)
        media_type = items.media_type_of(known)
        content = state.with_library(items.original)
        headers = {"Content-Disposition": "inline", "Content-Security-Policy": describe.SANDBOX}
        return await bytes_with_tag(
            request, items.original_tag(known), lambda: state.showing.run(content, known), media_type, headers
        )


def _tags(app: FastAPI, state: State) -> None:
    @app.get("/api/v1/tags", tags=["items"], summary="Values of a field", responses={200: {"model": TagsAnswer}})
    async def tags(
        key: Annotated[str, QueryValue(min_length=1, max_length=MAX_NAME)] = "tag",
        k: Annotated[int, QueryValue(ge=1, le=MAX_K)] = 200,
    ) -> Response:
        return json_answer(await state.searching.run(state.with_library(items.tags_document), key, k))


def _page(app: FastAPI) -> None:
    async def sent(request: Request, name: str) -> Response:
        file = page_file(name)
        if file is None:
            raise HTTPException(404)

        async def content() -> bytes:
            return file.content

        return await bytes_with_tag(request, file.tag, content, file.media_type, {"Cache-Control": "no-cache"})

    @app.get("/docs", include_in_schema=False)
    async def docs() -> Response:
        return Response(docs_page(app.openapi()), headers={"Content-Type": "text/html; charset=utf-8"})

    @app.get("/", include_in_schema=False)
    async def index(request: Request) -> Response:
        return await sent(request, "index.html")

    @app.get("/static/{name:path}", include_in_schema=False)
    async def static(request: Request, name: str) -> Response:
        return await sent(request, name)
