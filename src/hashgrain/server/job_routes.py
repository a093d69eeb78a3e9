"""The addresses of the jobs: what the server does beside answering."""

from __future__ import annotations

from typing import Annotated

from fastapi import FastAPI, Response
from fastapi import Path as PathValue

from hashgrain.server.answers import json_answer
from hashgrain.server.browse_schemas import JobOut, JobsAnswer
from hashgrain.server.change_routes import need_writable
from hashgrain.server.problems import ProblemError
from hashgrain.server.schemas import MAX_ID, JobRequest
from hashgrain.server.state import State


def job_routes(app: FastAPI, state: State) -> None:
    @app.get(
        "/api/v1/jobs",
        tags=["jobs"],
        summary="What the server does beside answering",
        responses={200: {"model": JobsAnswer}},
    )
    async def jobs() -> Response:
        return json_answer({"jobs": state.jobs.documents()})

    @app.post(
        "/api/v1/jobs",
        tags=["jobs"],
        summary="Add what is new in a folder",
        status_code=201,
        responses={201: {"model": JobOut}},
    )
    async def begun(body: JobRequest) -> Response:
        need_writable(state)
        return json_answer(state.adding.begin("add", body.add.folder, parts=body.add.parts).document(), 201)

    @app.delete("/api/v1/jobs/{id}", tags=["jobs"], summary="Stop a job", responses={200: {"model": JobOut}})
    async def stopped(number: Annotated[int, PathValue(ge=1, le=MAX_ID, alias="id")]) -> Response:
        need_writable(state)
        job = state.jobs.stop(number)
        if job is None:
            raise ProblemError(404, "job_unknown", "there is no such job, or no longer")
        return json_answer(job.document())
