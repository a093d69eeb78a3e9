"""Searches that come while another one runs are answered together, by one pass over the codes."""

from __future__ import annotations

import threading
from concurrent.futures import Future

from hashgrain.errors import HashgrainError
from hashgrain.library import Library
from hashgrain.library.together import answer_together, shared_of
from hashgrain.search.query import Query
from hashgrain.search.run import Explained

Waiting = list[tuple[Query, "Future[Explained]"]]


class Joined:
    """Answers queries for many threads. A query that can be joined waits for the one that runs, which uses every core
    anyway, and is then answered with all that wait for the same but with another picture."""

    def __init__(self) -> None:
        self._running = threading.Lock()
        self._changing = threading.Lock()
        self._waiting: dict[str, Waiting] = {}

    def answer(self, library: Library, query: Query) -> Explained:
        """What `library.answer` gives."""
        shared = shared_of(query)
        if shared is None:
            return library.answer(query)
        name, future = f"{query.item is not None} {shared}", Future[Explained]()
        with self._changing:
            first = name not in self._waiting
            self._waiting.setdefault(name, []).append((query, future))
        if first:
            with self._running:
                with self._changing:
                    batch = self._waiting.pop(name)
                _settle(library, batch)
        return future.result()


def _settle(library: Library, batch: Waiting) -> None:
    """Answer a batch. Whatever happens, nobody waits for ever."""
    try:
        answers = answer_together(library, [query for query, _ in batch])
    except BaseException as error:
        for _, future in batch:
            future.set_exception(error)
        return
    for (_, future), answer in zip(batch, answers, strict=True):
        if isinstance(answer, HashgrainError):
            future.set_exception(answer)
        else:
            future.set_result(answer)
