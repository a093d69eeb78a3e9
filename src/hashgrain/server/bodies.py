"""Bodies that are pictures. The guard has capped them: what is too large or too slow ends with an error on the way."""

from __future__ import annotations

from fastapi import Request
from starlette.requests import ClientDisconnect

from hashgrain.library.previews import is_picture
from hashgrain.server.problems import ProblemError


async def picture_body(request: Request) -> bytes:
    """The bytes of a picture; 415 if they begin like none."""
    data = bytearray()
    try:
        async for chunk in request.stream():
            data += chunk
    except ClientDisconnect:
        raise ProblemError(400, "cut_short", "the body ended early") from None
    if not data:
        raise ProblemError(422, "no_picture", "the body is empty; it holds the bytes of a picture")
    if not is_picture(bytes(data[:64])):
        raise ProblemError(415, "no_picture", "the body is no picture of a known format")
    return bytes(data)
