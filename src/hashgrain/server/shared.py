"""The library that all requests share, opened anew where it was given another model or replaced."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hashgrain.errors import HashgrainError
from hashgrain.library import Library
from hashgrain.library.previews import workers_of

OUTDATED = ("other_model", "library_replaced")  # codes of errors that opening the library again may mend


class SharedLibrary:
    """One open library for many threads. One that has to be opened anew is closed when its last user is done."""

    def __init__(self, path: Path, *, writable: bool, workers: int | None) -> None:
        self.path, self.writable, self.workers = path, writable, workers
        self._lock = threading.Lock()
        self._users: dict[Library, int] = {}
        self._current = self._opened()
        self._users[self._current] = 0

    def _opened(self) -> Library:
        library = Library.open(self.path, "w" if self.writable else "r", workers=self.workers)
        workers_of(library)  # made once, before threads meet there
        return library

    @contextmanager
    def using(self) -> Iterator[Library]:
        """The library, which stays open as long as the block runs."""
        with self._lock:
            library = self._current
            self._users[library] += 1
        try:
            yield library
        except HashgrainError as error:
            if error.code in OUTDATED and not self.writable:
                self._open_anew(library)
            raise
        finally:
            self._leave(library)

    def _leave(self, library: Library) -> None:
        with self._lock:
            self._users[library] -= 1
            unused = library is not self._current and not self._users[library]
            if unused:
                del self._users[library]
        if unused:
            library.close()

    def _open_anew(self, outdated: Library) -> None:
        """The next request finds the library as it is now; if it cannot be opened, the error stays as it is."""
        with self._lock:
            if self._current is not outdated:
                return  # another thread did it
        try:
            renewed = self._opened()
        except (HashgrainError, OSError):
            return
        with self._lock:
            if self._current is outdated:
                self._current = renewed
                self._users[renewed] = 0
                return
        renewed.close()

    def close(self) -> None:
        with self._lock:
            libraries = list(self._users)
        for library in libraries:
            library.close()
