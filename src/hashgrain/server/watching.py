"""Watching the folders that are allowed: what is new or changed is added. What is gone stays in the library."""

from __future__ import annotations

import os
import threading
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path

from watchfiles import Change, watch

from hashgrain.library.allowed_folders import may_hold_pictures
from hashgrain.server.adding import Adding
from hashgrain.server.problems import ProblemError

QUIET_MS = 1_600  # for which changes are gathered
POLL_MS = 500  # after which the end of the server is noticed


class Watching:
    """The thread that watches, from now on; at its start, whole folders are brought up to date."""

    def __init__(self, adding: Adding, folders: Mapping[str, Path], library: Path) -> None:
        self.adding = adding
        self.roots = {name: os.path.abspath(folder) for name, folder in folders.items()}
        self.library = os.path.realpath(library) + os.sep
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="hashgrain-watching", daemon=True)

    def start(self) -> None:
        self._thread.start()
        for name in self.roots:
            self.adding.begin("watch", name)

    def _watch(self) -> None:
        changes = watch(
            *self.roots.values(),
            watch_filter=self._matters,
            debounce=QUIET_MS,
            rust_timeout=POLL_MS,
            stop_event=self._end,
            raise_interrupt=False,
            ignore_permission_denied=True,
        )
        waiting: dict[str, set[str]] = defaultdict(set)
        for some in changes:
            for _, path in some:
                for name, root in self.roots.items():
                    if path == root or path.startswith(root.rstrip(os.sep) + os.sep):
                        waiting[name].add(path)
            for name in list(waiting):
                try:
                    self.adding.begin("watch", name, changed=frozenset(waiting[name]))
                except ProblemError:  # too many jobs wait: with the next change
                    continue
                del waiting[name]

    def _matters(self, change: Change, path: str) -> bool:
        below_library = (os.path.realpath(path) + os.sep).startswith(self.library)
        return change is not Change.deleted and not below_library and may_hold_pictures(path)

    def close(self) -> None:
        self._end.set()
        if self._thread.is_alive():
            self._thread.join(10)
