"""What readers see of a library: a connection within a read transaction, and views that fit it."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from hashgrain.errors import LibraryError, OtherModelError
from hashgrain.store import catalogue
from hashgrain.store.catalogue import Connection
from hashgrain.store.counters import Counters, read_counters
from hashgrain.store.errors import MendableError, told
from hashgrain.store.readers import Readers
from hashgrain.store.spaces import PARTS, SPACES, WHOLE, Space
from hashgrain.store.views import View, view_of

TRIES = 10  # a reader that meets a rebuild looks again; ten rebuilds in a row it has not seen yet


@dataclass(frozen=True)
class Moment:
    """A connection within a read transaction, where the library stands in it, and the views that are mapped."""

    connection: Connection
    counters: Counters
    views: Mapping[Space, View]


class Moments:
    """The views of one library, kept from one moment to the next."""

    def __init__(self, library: Path, readers: Readers) -> None:
        self.library = library
        self._readers = readers
        self._lock = threading.Lock()
        self._views: dict[Space, View] = {}

    def forget(self) -> None:
        with self._lock:
            self._views.clear()

    def look(self, *, parts: bool) -> Moment:
        """The library as it is now; the caller gives the connection back."""
        with told(self.library):
            connection = self._readers.borrow()
            try:
                for _ in range(TRIES):
                    try:
                        # One at a time from its beginning: an earlier moment than that of the views would map anew.
                        with self._lock:
                            connection.execute("BEGIN")
                            counters = read_counters(connection, self.library)
                            spaces = SPACES if parts else (WHOLE,)
                            views = {space: self._view(connection, counters, space) for space in spaces}
                        return Moment(connection, counters, views)
                    except MendableError:
                        connection.execute("ROLLBACK")
                        if read_counters(connection, self.library).era == counters.era:
                            raise  # not deleted by a rebuild: real damage
                raise LibraryError(f"{self.library} is being rebuilt again and again; try later", path=self.library)
            except BaseException:
                self._readers.give_back(connection)
                raise

    def parts_at(self, moment: Moment) -> View:
        """The view of parts of a moment that was looked at without it."""
        try:
            with self._lock:
                return self._view(moment.connection, moment.counters, PARTS)
        except MendableError as error:
            with self._readers.borrowed() as connection:
                if read_counters(connection, self.library).era == moment.counters.era:
                    raise
            message = f"{self.library} was rebuilt before its parts were looked at"
            raise LibraryError(message, path=self.library, remedy="search again") from error

    def _view(self, connection: Connection, counters: Counters, space: Space) -> View:
        """One space at the moment of a read transaction, grown from what is mapped already; under the lock."""
        old = self._views.get(space)
        if old is None or old.era != counters.era:
            self._check_model(connection)
        view = view_of(connection, self.library, self._readers.facts.grains.n_words, space, counters, old)
        if old is None or old.moment <= view.moment or old.identity != view.identity:
            self._views[space] = view
        return view

    def _check_model(self, connection: Connection) -> None:
        """Raise where the codes are of another model by now: who opened the library asks with that of before."""
        if catalogue.facts(connection, self.library).digest != self._readers.facts.digest:
            message = f"{self.library} was given another model meanwhile"
            raise OtherModelError(message, path=self.library, remedy="open it again")
