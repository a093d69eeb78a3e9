"""Lanes: threads for one kind of work, with room for some more to wait. What does not fit is refused at once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from hashgrain.server.problems import ProblemError

T = TypeVar("T")
RETRY_SECONDS = 1


class Lane:
    """Threads for one kind of work. `waiting` is how many calls may wait for a thread."""

    def __init__(self, name: str, threads: int, waiting: int, seconds: float) -> None:
        self.name, self.threads, self.waiting, self.seconds = name, threads, waiting, seconds
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix=f"hashgrain-{name}")
        self._open = 0  # calls that run or wait

    @property
    def open(self) -> int:
        return self._open

    async def run(self, call: Callable[..., T], *arguments: object) -> T:
        """The result of a call in a thread. 503 if the lane is full, or if the result takes too long to come."""
        if self._open >= self.threads + self.waiting:
            detail = f"{self.name}: {self._open} requests are under way, which is all this server takes at once"
            raise ProblemError(503, "busy", detail, retry_after=RETRY_SECONDS)
        loop = asyncio.get_running_loop()
        self._open += 1
        submitted: Future[T] = self._pool.submit(call, *arguments)
        submitted.add_done_callback(lambda _: _later(loop, self._end))
        future = asyncio.wrap_future(submitted)
        try:
            return await asyncio.wait_for(asyncio.shield(future), self.seconds)
        except asyncio.TimeoutError:
            submitted.cancel()  # if it has not begun; a thread cannot be stopped
            future.add_done_callback(lambda done: done.cancelled() or done.exception())
            detail = f"{self.name}: no answer within {self.seconds:g} s"
            raise ProblemError(503, "too_slow", detail, retry_after=5 * RETRY_SECONDS) from None

    def begin(self, call: Callable[[], object]) -> None:
        """Run a call in a thread for which nobody waits. What goes wrong there, the next request will say."""
        self._pool.submit(call)

    def wait_for(self, call: Callable[[], T]) -> T:
        """Run a call in a thread, for another thread that waits for its result."""
        return self._pool.submit(call).result()

    def _end(self) -> None:
        self._open -= 1

    def close(self) -> None:
        """Wait for what runs; drop what waits."""
        self._pool.shutdown(wait=True, cancel_futures=True)


def _later(loop: asyncio.AbstractEventLoop, call: Callable[[], None]) -> None:
    if not loop.is_closed():
        loop.call_soon_threadsafe(call)
