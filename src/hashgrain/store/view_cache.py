"""Read transactions of a library, and the mapped views of its segments, which are reused from one to the next."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from hashgrain.errors import LibraryError, OtherModelError
from hashgrain.store import catalogue
from hashgrain.store.catalogue import Connection
from hashgrain.store.counters import Counters, read_counters
from hashgrain.store.errors import MendableError, translate_errors
from hashgrain.store.readers import Readers
from hashgrain.store.spaces import PARTS, SPACES, WHOLE, Space
from hashgrain.store.views import View, view_of

TRIES = 10  # a reader that meets a rebuild tries again; ten rebuilds in a row have never been seen


@dataclass(frozen=True)
class ReadTransaction:
    """A connection within a read transaction, the counters of the library in it, and the mapped views."""

    connection: Connection
    counters: Counters
    views: Mapping[Space, View]


class ViewCache:
    """The views of one library, reused from one read transaction to the next."""

    def __init__(self, library: Path, readers: Readers) -> None:
        self.library = library
        self._readers = readers
        self._lock = threading.Lock()
        self._views: dict[Space, View] = {}

    def forget(self) -> None:
        with self._lock:
            self._views.clear()

    def begin(self, *, parts: bool) -> ReadTransaction:
        """Begin a read transaction of the present library. The caller gives the connection back."""
        with translate_errors(self.library):
            connection = self._readers.borrow()
            try:
                for _ in range(TRIES):
                    try:
                        # The lock covers BEGIN too: a transaction older than the views would map everything anew.
                        with self._lock:
                            connection.execute("BEGIN")
                            counters = read_counters(connection, self.library)
                            spaces = SPACES if parts else (WHOLE,)
                            views = {space: self._view(connection, counters, space) for space in spaces}
                        return ReadTransaction(connection, counters, views)
                    except MendableError:
                        connection.execute("ROLLBACK")
                        if read_counters(connection, self.library).generation == counters.generation:
                            raise  # not deleted by a rebuild: real damage
                raise LibraryError(f"{self.library} is being rebuilt again and again; try later", path=self.library)
            except BaseException:
                self._readers.give_back(connection)
                raise

    def parts_view(self, transaction: ReadTransaction) -> View:
        """The view of parts, for a transaction that began without it."""
        try:
            with self._lock:
                return self._view(transaction.connection, transaction.counters, PARTS)
        except MendableError as error:
            with self._readers.borrowed() as connection:
                if read_counters(connection, self.library).generation == transaction.counters.generation:
                    raise
            message = f"{self.library} was rebuilt before its parts were looked at"
            raise LibraryError(message, path=self.library, remedy="search again") from error

    def _view(self, connection: Connection, counters: Counters, space: Space) -> View:
        """The view of one space in a read transaction, grown from the view that is mapped already. Needs the lock."""
        old = self._views.get(space)
        if old is None or old.generation != counters.generation:
            self._check_model(connection)
        view = view_of(connection, self.library, self._readers.facts.grains.n_words, space, counters, old)
        if old is None or old.version <= view.version or old.identity != view.identity:
            self._views[space] = view
        return view

    def _check_model(self, connection: Connection) -> None:
        """Raise if the codes are of another model now, since queries come from the model at opening."""
        if catalogue.library_facts(connection, self.library).digest != self._readers.facts.digest:
            message = f"{self.library} was given another model meanwhile"
            raise OtherModelError(message, path=self.library, remedy="open it again")
