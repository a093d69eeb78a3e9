"""Answers: JSON, and bytes that a client may have already."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping

from fastapi import Request, Response

CACHED = {"Cache-Control": "private, max-age=60, must-revalidate"}


def json_answer(document: object, status: int = 200) -> Response:
    """ASCII only, since names may hold halves of characters. Never NaN."""
    body = json.dumps(document, allow_nan=False, separators=(",", ":")).encode()
    return Response(body, status, {"Cache-Control": "no-store"}, "application/json")


async def bytes_with_tag(
    request: Request,
    tag: str,
    content: Callable[[], Awaitable[bytes]],
    media_type: str,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """The content, which is made only if the client does not have it; 304 where it has."""
    more = {**CACHED, **(headers or {}), "ETag": tag}
    if _has(request.headers.get("if-none-match", ""), tag):
        return Response(status_code=304, headers=more)
    return Response(await content(), headers={**more, "Content-Type": media_type})


def _has(given: str, tag: str) -> bool:
    tags = [each.strip().removeprefix("W/") for each in given.split(",")]
    return tag in tags or "*" in tags
