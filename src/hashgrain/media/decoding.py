"""The code that runs in a worker process; `worker_group` describes the messages.

A worker starts while somebody waits for the first answer, so it imports Pillow and little else: no numpy.
"""

from __future__ import annotations

import contextlib
import sys
from typing import IO

from hashgrain.errors import ImageError, ImageTooLargeError
from hashgrain.media import image, processes  # noqa: F401  loaded before the first picture comes
from hashgrain.media.limits import Limits
from hashgrain.media.medium import Medium
from hashgrain.media.pictures import PICTURES


def serve() -> None:
    """The worker's whole life: read a picture, answer, until the pipe ends."""
    stdin, stdout = sys.stdin.buffer, sys.stdout.buffer
    processes.ready()
    with contextlib.suppress(EOFError, BrokenPipeError):
        while True:
            _, header, data = processes.receive(stdin)
            limits = Limits(**{**header, "size": header["size"] and tuple(header["size"])})
            processes.cap_memory(limits.memory)
            # Should the parent be gone, nobody else would end a hanging decoder.
            processes.set_alarm(limits.timeout + 5)
            answer(stdout, data, limits)
            processes.set_alarm(0)


def answer(stdout: IO[bytes], data: bytes, limits: Limits) -> None:
    try:
        array, facts = medium_named(limits.medium).decode(data, limits)
        interface = array.__array_interface__  # an image of Pillow has one too, and needs no numpy
        content = interface["data"] if isinstance(interface["data"], bytes) else array.tobytes()
    except ImageError as error:
        reason = error.message.removeprefix(": ")
        processes.send(stdout, b"R", {"reason": reason, "too_large": isinstance(error, ImageTooLargeError)})
    else:
        header = {"dtype": interface["typestr"], "shape": interface["shape"], "facts": vars(facts)}
        processes.send(stdout, b"P", header, content)


def medium_named(name: str) -> Medium:
    """The medium of this name. No other is loaded: sounds need numpy."""
    if name == PICTURES.name:
        return PICTURES
    from hashgrain.media.registry import named

    return named(name)
