"""What all requests of one server share."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

from hashgrain.library import Library
from hashgrain.library.previews import warm
from hashgrain.server.adding import Adding
from hashgrain.server.bodies import Receiving
from hashgrain.server.computed import Computed
from hashgrain.server.fetching import Fetcher
from hashgrain.server.jobs import Jobs
from hashgrain.server.metrics import Metrics
from hashgrain.server.paging import LongAnswers
from hashgrain.server.search import Searcher
from hashgrain.server.settings import Settings
from hashgrain.server.shared import SharedLibrary
from hashgrain.server.uploads import Uploads
from hashgrain.server.work import Lane

T = TypeVar("T")
MAX_PIXELS = 400_000_000
SEARCHES = 16  # threads for them


def _searching() -> Lane:
    # Most of these threads wait: what they ask is answered together with others.
    return Lane("search", max(SEARCHES, os.cpu_count() or 1), waiting=64, seconds=30)


def _showing() -> Lane:
    return Lane("pictures", max(4, os.cpu_count() or 1), waiting=256, seconds=60)


def _fetching() -> Lane:
    return Lane("fetching", 4, waiting=8, seconds=60)


def _writing() -> Lane:
    return Lane("changes", 1, waiting=32, seconds=300)


@dataclass
class State:
    """The library, the pictures that were sent, and the threads that work."""

    settings: Settings
    library: SharedLibrary
    uploads: Uploads = field(default_factory=Uploads)
    answers: LongAnswers = field(default_factory=LongAnswers)
    metrics: Metrics = field(default_factory=Metrics)
    receiving: Receiving = field(default_factory=Receiving)
    searching: Lane = field(default_factory=_searching)
    showing: Lane = field(default_factory=_showing)
    writing: Lane = field(default_factory=_writing)
    fetching: Lane = field(default_factory=_fetching)

    jobs: Jobs = field(default_factory=Jobs)

    def __post_init__(self) -> None:
        self.fetcher = Fetcher(self.settings.max_upload)
        self.computed = Computed(self.library, self.jobs)
        self.adding = Adding(dict(self.settings.folders), self.jobs, self._write)
        self.searcher = Searcher(self.uploads, self.answers, MAX_PIXELS)
        lanes = (self.searching, self.showing, self.writing, self.fetching)
        lanes_open = [(lane.name, lambda lane=lane: float(lane.open)) for lane in lanes]
        self.metrics.watch_each("calls_open", "Calls that run or wait for a thread.", "lane", lanes_open)
        self.metrics.watch("jobs_open", "Jobs that run or wait.", lambda: self.jobs.open)
        self.metrics.watch("uploads", "Pictures that are kept to search with.", lambda: self.uploads.count)
        self.metrics.watch("upload_bytes", "Bytes of these pictures.", lambda: self.uploads.bytes)

    def with_library(self, call: Callable[..., T]) -> Callable[..., T]:
        """The call with the library before its other arguments, for a thread."""

        def run(*arguments: object) -> T:
            with self.library.using() as library:
                return call(library, *arguments)

        return run

    def _write(self, call: Callable[[Library], None]) -> None:
        self.writing.wait_for(self.with_library(call))

    def warm(self) -> None:
        """Load the model and start a worker before the first picture comes."""
        self.showing.begin(self.with_library(warm))

    def close(self) -> None:
        """Finish what runs, stop jobs where they are, then close the library and end its workers."""
        self.jobs.stop_all()
        self.adding.close()
        self.computed.close()
        for lane in (self.searching, self.showing, self.writing, self.fetching):
            lane.close()
        self.library.close()
