"""The engine that a library searches with: over its own segments, or a given one that is kept in sync."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from hashgrain.codes import Grains
from hashgrain.engines import EmbeddedEngine, Engine, connected, lag, synced_snapshot
from hashgrain.errors import QueryError, Remedy
from hashgrain.library.indexing import Indexing
from hashgrain.store import Snapshot, Store
from hashgrain.types import PartsOption


class LibraryEngine:
    """The engine of one open library; `given` is None for the embedded one, which is created for each search. An
    address is that of one in a database."""

    def __init__(self, store: Store, grains: Grains, indexes: Indexing, given: Engine | str | None) -> None:
        self.store, self.grains = store, grains
        self.given = connected(given, grains) if isinstance(given, str) else given
        self.indexes = indexes
        self._asking = threading.Lock()
        try:
            self.behind()  # raises if the given engine cannot follow this library
        except BaseException:
            if isinstance(given, str):  # nobody else has it
                self.close()
            raise

    def behind(self) -> int:
        """The number of changes that the engine has not applied yet. It applies them before each search."""
        if self.given is None:
            return 0
        with self._asking, self.store.snapshot() as snapshot:
            return lag(self.given, snapshot, self.store.path)

    def facts(self) -> dict[str, Any]:
        """What `info` reports about a given engine."""
        if self.given is None:
            return {}
        return {"engine": type(self.given).__name__, "changes_the_engine_is_behind": self.behind()}

    @contextmanager
    def snapshot_and_engine(
        self, threads: int | None, parts: PartsOption = "whole"
    ) -> Iterator[tuple[Snapshot, Engine]]:
        """A snapshot of the library, and the engine in the same state. `threads` is for the embedded engine; one thread
        at a time uses a given one. The codes of parts are opened only if parts are searched, which for "auto" are those
        that there are."""
        if self.given is None:
            with self.store.snapshot(parts=parts != "whole") as snapshot:
                if parts == "auto":
                    parts = "all" if snapshot.any_item_has_parts else "whole"
                yield snapshot, self._embedded(snapshot, threads, parts)
            return
        with self._asking, synced_snapshot(self.given, self.store) as snapshot:
            if parts == "all":
                self._need_parts(snapshot)
            yield snapshot, self.given

    def _embedded(self, snapshot: Snapshot, threads: int | None, parts: PartsOption) -> EmbeddedEngine:
        own = (snapshot.segments, self.grains, self.indexes.whole.ready(snapshot), threads, snapshot.sequence)
        if parts == "whole":
            return EmbeddedEngine(*own)
        self._need_parts(snapshot)
        return EmbeddedEngine(*own, snapshot.part_segments, self.indexes.parts.ready(snapshot))

    def _need_parts(self, snapshot: Snapshot) -> None:
        if not snapshot.any_item_has_parts:
            remedy = Remedy("search it without parts", "without_parts")
            raise QueryError(f"{self.store.path}: this library has no parts, only whole items", remedy=remedy)

    def close(self) -> None:
        if self.given is not None:
            self.given.close()
