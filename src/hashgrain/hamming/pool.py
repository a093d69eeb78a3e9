"""The threads of searches: one pool for the whole process."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import lru_cache
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from hashgrain.errors import QueryError

if TYPE_CHECKING:
    from concurrent.futures import Future, ThreadPoolExecutor

T = TypeVar("T")
MOST_THREADS = 256  # more shares cost more than they gain


def cores() -> int:
    """The number of cores that this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not on this system
        return os.cpu_count() or 1


def check_threads(threads: int | None) -> int:
    """The number of threads: as requested, or one per core."""
    if threads is None:
        return cores()
    if isinstance(threads, bool) or not isinstance(threads, (int, np.integer)) or threads < 1:
        raise QueryError(f"threads is {threads!r}; it is 1 or more, or left out for one per core")
    return min(int(threads), MOST_THREADS)


def run(tasks: Sequence[Callable[[], T]], threads: int) -> list[T]:
    """All results in order. The caller works too, and tasks never wait for other tasks, so none can starve."""
    results: dict[int, T] = {}
    todo = iter(range(len(tasks)))

    def work() -> None:
        for i in todo:
            results[i] = tasks[i]()

    helpers: list[Future[None]] = []
    with suppress(RuntimeError):  # Python is shutting down: the caller does all the work
        helpers.extend(_helpers().submit(work) for _ in range(min(threads, len(tasks)) - 1))
    try:
        work()
    finally:
        for _ in todo:  # after a failure, the helpers start no further tasks
            pass
        for helper in helpers:
            if not helper.cancel():  # started: its buffers are in use until it ends
                helper.exception()
    for helper in helpers:
        if not helper.cancelled():
            helper.result()
    return [results[i] for i in range(len(tasks))]


@lru_cache(maxsize=1)
def _helpers() -> ThreadPoolExecutor:
    from concurrent.futures import ThreadPoolExecutor  # loaded by the first search that is shared among cores

    return ThreadPoolExecutor(max(1, cores() - 1), thread_name_prefix="hashgrain-search")


if hasattr(os, "register_at_fork"):  # a forked child has the pool but not its threads
    os.register_at_fork(after_in_child=_helpers.cache_clear)
