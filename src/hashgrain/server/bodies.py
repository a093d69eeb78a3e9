"""Bodies that are pictures. The guard has capped them: what is too large or too slow ends with an error on the way."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from fastapi import Request
from starlette.requests import ClientDisconnect

from hashgrain.library.previews import is_picture
from hashgrain.server.problems import ProblemError

MOST_AT_ONCE = 16  # bodies that are received at the same time: each may take as much memory as a picture may have


class Receiving:
    """Counts the bodies under way."""

    def __init__(self, most: int = MOST_AT_ONCE) -> None:
        self.most, self.open = most, 0

    @contextmanager
    def one(self) -> Iterator[None]:
        if self.open >= self.most:
            raise ProblemError(503, "busy", f"{self.open} pictures are being sent at this moment", retry_after=1)
        self.open += 1
        try:
            yield
        finally:
            self.open -= 1


async def picture_body(request: Request, receiving: Receiving) -> bytes:
    """The bytes of a picture; 415 if they begin like none."""
    data = bytearray()
    with receiving.one():
        try:
            async for chunk in request.stream():
                data += chunk
        except ClientDisconnect:
            raise ProblemError(400, "cut_short", "the body ended early") from None
    return checked_picture(bytes(data), "the body")


def checked_picture(data: bytes, what: str) -> bytes:
    """The bytes, if they begin like a picture."""
    if not data:
        raise ProblemError(422, "no_picture", f"{what} is empty; it holds the bytes of a picture")
    if not is_picture(data[:64]):
        raise ProblemError(415, "no_picture", f"{what} is no picture of a known format")
    return data
