"""The indexes of a library, of its whole codes and of its parts: made on request, or in the background."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress

from hashgrain.codes import Grains
from hashgrain.engines import IndexManager, IndexPlan
from hashgrain.errors import HashgrainError, Remedy
from hashgrain.store import Problem, Store


class Indexing:
    def __init__(self, store: Store, grains: Grains) -> None:
        self._store = store
        self.whole = IndexManager(store.path, grains)
        self.parts = IndexManager(store.path, grains, parts=True)
        self._thread: threading.Thread | None = None

    def make(self, memory: int | None, dry_run: bool, on_plan: Callable[[IndexPlan, bool], None]) -> list[IndexPlan]:
        """Build what is worth having; returns the plans that do not fit into `memory`."""
        self.wait()  # what it makes need not be made twice
        with self._store.snapshot() as snapshot:
            left_out = self.whole.make_all(snapshot, memory, on_plan, dry_run)
            return left_out + self.parts.make_all(snapshot, memory, on_plan, dry_run)

    def make_soon(self) -> None:
        """Index in the background what was added, if that is worth it. What fails here costs time, not answers:
        `hashgrain index` says what is wrong."""
        before = self._thread
        with suppress(HashgrainError, OSError):
            with self._store.snapshot() as snapshot:
                if not (self.whole.plans(snapshot) or self.parts.plans(snapshot)):
                    return
            self._thread = threading.Thread(target=self._make_after, args=(before,), name="hashgrain-indexing")
            self._thread.start()

    def _make_after(self, before: threading.Thread | None) -> None:
        if before is not None:
            before.join()
        with suppress(HashgrainError, OSError, MemoryError), self._store.snapshot() as snapshot:
            self.whole.make_all(snapshot)
            self.parts.make_all(snapshot)

    def wait(self) -> None:
        """Wait for the index that is being built."""
        if self._thread is not None:
            self._thread.join()

    def damaged(self) -> list[Problem]:
        with self._store.snapshot() as snapshot:
            damaged = [*self.whole.damaged(snapshot), *self.parts.damaged(snapshot)]
        remedy = Remedy("build the index anew", "index", library=self._store.path)
        return [Problem(str(file), reason, remedy, harmless=True) for file, reason in damaged]
