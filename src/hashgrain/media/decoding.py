"""What runs in a worker: see `workers` for what it says and hears.

A worker starts while somebody waits for the first answer, so it imports Pillow and little else: no numpy.
"""

from __future__ import annotations

import contextlib
import sys
from dataclasses import dataclass
from typing import IO

from hashgrain.errors import ImageError, ImageTooLargeError
from hashgrain.media import processes
from hashgrain.media.image import open_image


@dataclass(frozen=True)
class Limits:
    """Of one picture."""

    size: tuple[int, int] | None
    max_pixels: int
    timeout: float
    memory: int  # of the whole process
    decoding: int  # that the picture may take, as far as its header tells


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
        image, facts = open_image(data, size=limits.size, max_pixels=limits.max_pixels, memory=limits.decoding, name="")
        shape, pixels = (image.height, image.width, 3), image.tobytes()
    except ImageError as error:
        reason = error.message.removeprefix(": ")
        processes.send(stdout, b"R", {"reason": reason, "too_large": isinstance(error, ImageTooLargeError)})
    else:
        processes.send(stdout, b"P", {"shape": shape, "facts": vars(facts)}, pixels)
