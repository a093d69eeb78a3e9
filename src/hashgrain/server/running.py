"""Running a server: its socket, its signals, and an end that finishes what was begun."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
from collections.abc import Callable, Generator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from hashgrain.errors import LibraryLockedError, Remedy, ServerError
from hashgrain.server.app import application
from hashgrain.server.settings import Settings, is_loopback
from hashgrain.server.shared import SharedLibrary
from hashgrain.server.state import State

if TYPE_CHECKING:
    from hashgrain.server.watching import Watching

GRACE_SECONDS = 20  # that requests under way have after the signal to stop
HEADER_SECONDS = 15.0  # that a client may take to send the head of a request
HEAD_BYTES = 256 << 10  # of a request: the address may name 10,000 items
READ_SECONDS = 30.0  # that a client may take nothing of an answer
KEEP_ALIVE_SECONDS = 15
MOST_CONNECTIONS = 1_000
BACKLOG = 256


def check_settings(settings: Settings) -> None:
    """Refuse what would let strangers in, and a trash in which nothing can be put."""
    if settings.token is None and not is_loopback(settings.host):
        message = f"{settings.host} can be reached from other machines, so a token is needed"
        raise ServerError(message, remedy=Remedy("give it one", "give_token"))
    for name, folder in settings.folders:
        if not folder.is_dir():
            raise ServerError(f"the folder {name}, {folder}, is not there")
        if Path(os.path.realpath(folder)).is_relative_to(os.path.realpath(settings.library)):
            raise ServerError(f"the folder {name}, {folder}, is inside the library; name a folder outside")
    if settings.trash is not None:
        place, home = Path(os.path.realpath(settings.trash)), Path(os.path.realpath(settings.library))
        if place.is_relative_to(home):
            raise ServerError(f"the trash, {settings.trash}, is inside the library; name a folder outside")
        if place.exists() and not place.is_dir():
            raise ServerError(f"the trash, {settings.trash}, is not a folder")


def serve(settings: Settings, on_ready: Callable[[str, State], None]) -> None:
    """Serve until the process is told to stop. `on_ready` gets the address once requests are answered. A library that
    another process writes to is only read, as `state.settings.writer` says then."""
    check_settings(settings)
    listening = _bound(settings.host, settings.port)
    state: State | None = None
    watching: Watching | None = None
    try:
        settings, library = _opened(settings)
        state = State(settings, library)
        config = uvicorn.Config(
            application(state),
            http=Protocol,
            ws="none",
            lifespan="off",
            log_config=None,
            log_level=60,  # above critical: the access log says what there is to say
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_keep_alive=KEEP_ALIVE_SECONDS,
            timeout_graceful_shutdown=GRACE_SECONDS,
            limit_concurrency=MOST_CONNECTIONS,
            h11_max_incomplete_event_size=HEAD_BYTES,
        )
        state.warm()
        watching = _watching(settings, state)
        Server(config, lambda: on_ready(_address(settings.host, listening), state)).run(sockets=[listening])
    finally:
        listening.close()
        if watching is not None:
            watching.close()
        if state is not None:
            state.close()


def _watching(settings: Settings, state: State) -> Watching | None:
    """What watches the folders, if any are to be watched. Whoever watches none needs no package for it."""
    if not settings.watch:
        return None
    from hashgrain.server.watching import Watching

    watching = Watching(state.adding, dict(settings.folders), settings.library)
    watching.start()
    return watching


def _opened(settings: Settings) -> tuple[Settings, SharedLibrary]:
    """The library, and the settings as they can be: without writing if another process writes."""
    try:
        return settings, SharedLibrary(settings.library, writable=settings.writable, workers=settings.workers)
    except LibraryLockedError as error:
        if not settings.writable:
            raise
        writer = error.message.partition(";")[0]
        reading = replace(settings, writable=False, folders=(), watch=False, trash=None, writer=writer)
        return reading, SharedLibrary(settings.library, writable=False, workers=settings.workers)


def _bound(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        family, _, _, _, address = socket.getaddrinfo(host.strip("[]"), port, type=socket.SOCK_STREAM)[0]
        # Named as TCP: only then asyncio turns off the waiting that would delay each answer by 40 ms.
        listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    except (OSError, UnicodeError) as error:
        raise ServerError(f"{host}: no such address ({error})") from None
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
        listening.listen(BACKLOG)
    except OSError as error:
        listening.close()
        message = f"cannot listen at {host}, port {port}: {error.strerror or error}"
        raise ServerError(message, remedy=Remedy("take another port", "other_port")) from None
    return listening


def _address(host: str, listening: socket.socket) -> str:
    port = listening.getsockname()[1]
    shown = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host and host[0] != "[" else host)
    return f"http://{shown}:{port}/"


class Server(uvicorn.Server):
    """A server that ends well: a signal is an order to stop, and no reason to die of."""

    def __init__(self, config: uvicorn.Config, on_ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._on_ready = on_ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._on_ready()

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        before = {each: signal.signal(each, self.handle_exit) for each in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for each, handler in before.items():
                signal.signal(each, handler)


class Protocol(H11Protocol):
    """HTTP, with an end for a client that does not finish the head of its request, or does not read its answer."""

    _head: asyncio.TimerHandle | None = None
    _answers = 0

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._expect_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_waiting()
        super().connection_lost(exc)

    def handle_events(self) -> None:
        super().handle_events()
        if self.cycle is None or self.cycle.response_complete:
            self._expect_head()
        else:
            self._stop_waiting()

    def on_response_complete(self) -> None:
        self._answers += 1
        super().on_response_complete()
        self._watch_reader(self._answers, None)

    def _watch_reader(self, answer: int, before: int | None) -> None:
        """Drop a client that took nothing of its answer for a while: the rest of it lies in memory here."""
        left = self.transport.get_write_buffer_size()
        if not left or answer != self._answers:
            return
        if before is not None and left >= before:
            self.transport.abort()
            return
        self.loop.call_later(READ_SECONDS, self._watch_reader, answer, left)

    def _expect_head(self) -> None:
        if self._head is None:
            self._head = self.loop.call_later(HEADER_SECONDS, self._close_unfinished)

    def _stop_waiting(self) -> None:
        if self._head is not None:
            self._head.cancel()
            self._head = None

    def _close_unfinished(self) -> None:
        self._head = None
        if (self.cycle is None or self.cycle.response_complete) and not self.transport.is_closing():
            self.transport.close()
