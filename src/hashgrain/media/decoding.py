"""The code that runs in a worker process; `worker_group` describes the messages.

A worker starts while somebody waits for the first answer, so it imports Pillow and little else: no numpy.
"""

from __future__ import annotations

import contextlib
import json
import sys
from dataclasses import replace
from functools import lru_cache
from typing import IO, Any

from hashgrain.errors import ImageError, ImageTooLargeError
from hashgrain.media import image, processes  # noqa: F401  loaded before the first picture comes
from hashgrain.media.limits import Limits
from hashgrain.media.lookup import medium_named


def serve() -> None:
    """The worker's whole life: read a picture, answer, until the pipe ends."""
    stdin, stdout = sys.stdin.buffer, sys.stdout.buffer
    processes.ready()
    with contextlib.suppress(EOFError, BrokenPipeError):
        while True:
            _, text, data = processes.receive_text(stdin)
            limits = limits_of(text)
            processes.cap_memory(limits.memory)
            # Should the parent be gone, nobody else would end a hanging decoder.
            processes.set_alarm(limits.timeout + 5)
            answer(stdout, data, limits)
            processes.set_alarm(0)


@lru_cache(4)  # most pictures come with the limits of the one before
def limits_of(text: bytes) -> Limits:
    header = json.loads(text)
    return Limits(**{**header, **{key: header[key] and tuple(header[key]) for key in ("size", "detail", "box")}})


def answer(stdout: IO[bytes], data: bytes, limits: Limits) -> None:
    medium = medium_named(limits.medium)
    try:
        array, facts = medium.decode(data, limits)
        detail = None if limits.detail is None else medium.decode(data, replace(limits, size=limits.detail))[0]
        form, content = _plain(array)
        form_of_detail, content_of_detail = ({}, b"") if detail is None else _plain(detail)
    except ImageError as error:
        reason = error.message.removeprefix(": ")
        processes.send(stdout, b"R", {"reason": reason, "too_large": isinstance(error, ImageTooLargeError)})
    else:
        header = {**form, "facts": vars(facts), "detail": form_of_detail}
        processes.send(stdout, b"P", header, content + content_of_detail if content_of_detail else content)


def _plain(array: Any) -> tuple[dict[str, Any], bytes]:
    """The type, the shape and the bytes of an array; an image of Pillow passes for one, and needs no numpy."""
    interface = array.__array_interface__
    content = interface["data"] if isinstance(interface["data"], bytes) else array.tobytes()
    return {"dtype": interface["typestr"], "shape": interface["shape"]}, content
