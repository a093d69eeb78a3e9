"""Errors as `application/problem+json`: what is wrong, in words for a person and a code for a program."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from starlette.exceptions import HTTPException

from hashgrain.errors import HashgrainError

MEDIA_TYPE = "application/problem+json"
# By the code of an error of the library; 500 for one that is not here.
STATUS_OF = {
    "query": 422,
    "filter": 422,
    "codes": 422,
    "item_missing": 404,
    "image": 422,
    "image_too_large": 422,
    "sound": 422,
    "source": 422,
    "disk_full": 507,
    "worker": 503,
    "library": 503,
    "library_missing": 503,
    "library_damaged": 503,
    "library_locked": 503,
    "library_format": 503,
    "library_forbidden": 503,
    "library_replaced": 503,
    "other_model": 503,
    "bundle": 503,
    "bundle_missing": 503,
    "engine": 503,
}
NO_MODEL = "encode_with_model"  # the key of the remedy where a library has codes only
SHOWN_MISTAKES = 10  # of a request with many


class ProblemError(HTTPException):
    """A request that is refused. An HTTPException, so that no layer of the framework takes it for something else."""

    def __init__(
        self,
        status: int,
        code: str,
        detail: str,
        *,
        retry_after: int | None = None,
        headers: Mapping[str, str] | None = None,
        mistakes: Sequence[Mapping[str, str]] = (),
    ) -> None:
        retry = {} if retry_after is None else {"Retry-After": str(retry_after)}
        super().__init__(status, detail, {**(headers or {}), **retry})
        self.code = code
        self.mistakes = mistakes


def of_library(error: HashgrainError) -> ProblemError:
    """The problem for an error of the library."""
    if getattr(error.remedy, "key", "") == NO_MODEL:
        return ProblemError(422, "no_model", str(error))
    status = STATUS_OF.get(error.code, 500)
    return ProblemError(status, error.code, str(error), retry_after=5 if status == 503 else None)


def internal() -> ProblemError:
    """The problem for an error that nobody foresaw. What it was is for the log alone."""
    return ProblemError(500, "internal", "the server failed; its log has this request's id")


def of_validation(errors: Sequence[Mapping[str, Any]]) -> ProblemError:
    """The problem for a request that does not have the form of its schema. What was sent is not repeated."""
    mistakes = [
        {"field": ".".join(str(part) for part in each["loc"] if part != "body"), "reason": str(each["msg"])}
        for each in errors[:SHOWN_MISTAKES]
    ]
    if any(each["type"] == "json_invalid" for each in errors):
        return ProblemError(400, "bad_json", "the body is not JSON")
    detail = "; ".join(f"{each['field'] or 'the request'}: {each['reason']}" for each in mistakes)
    return ProblemError(422, "bad_request", detail, mistakes=mistakes)


def of_http(error: HTTPException) -> ProblemError:
    """The problem for what the framework refuses: an unknown address, a method that is not there."""
    if isinstance(error, ProblemError):
        return error
    codes = {404: "not_found", 405: "method_not_allowed", 400: "bad_request"}
    details = {404: "there is nothing at this address", 405: "this address does not take this method"}
    detail = details.get(error.status_code, str(error.detail))
    return ProblemError(error.status_code, codes.get(error.status_code, "http"), detail, headers=error.headers)


def document(problem: ProblemError, request_id: str) -> bytes:
    """The body of the answer."""
    more = {"errors": list(problem.mistakes)} if problem.mistakes else {}
    status = problem.status_code
    fields = {
        "type": f"urn:hashgrain:problem:{problem.code}",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": problem.detail,
        "code": problem.code,
        "request_id": request_id,
    }
    return json.dumps({**fields, **more}).encode()
