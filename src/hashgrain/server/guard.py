"""What is refused before a request is looked at: other names of the host, a missing token, other sites, too much."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, MutableMapping
from http.cookies import CookieError, SimpleCookie
from typing import Any
from urllib.parse import parse_qs, urlsplit

from hashgrain.server.problems import ProblemError
from hashgrain.server.settings import Settings

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

SAFE = ("GET", "HEAD", "OPTIONS")
OPEN = ("/healthz", "/readyz")  # answered without a token: they say nothing of the library
MAX_JSON = 256 << 10  # bytes of a body that is no picture
PICTURE_PATHS = ("/api/v1/uploads", "/api/v1/items")
IDLE_SECONDS = 15.0  # that a client may be silent in the middle of a body
BYTES_A_SECOND = 20_000  # that a body has to come with, after a first minute
BURST_SECONDS = 5.0  # of requests that may come at once
MOST_CLIENTS = 10_000  # whose rates are remembered
LOGIN = b"""<!doctype html><html lang="en"><meta charset="utf-8"><title>HashGrain</title>
<h1>HashGrain</h1><form action="./" method="get"><label>Token <input name="token" type="password" autocomplete="off">
</label> <button>Open</button></form></html>"""


class Guard:
    """An ASGI application around another, which gets only what may pass."""

    def __init__(self, app: App, settings: Settings) -> None:
        self.app, self.settings = app, settings
        self.names = settings.host_names()
        self.rates = Rates(settings.rate)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self.app(scope, receive, send)
            return  # there are no web sockets here
        headers = _headers(scope)
        self._check_host(headers)
        self._check_site(scope["method"], headers)
        self.rates.check((scope.get("client") or ("", 0))[0])
        if self.settings.token is not None and scope["path"] not in OPEN:
            answer = self._logged_in(scope, headers)
            if answer is not None:
                await _send(send, *answer)
                return
        await self.app(scope, _Body(receive, headers, self._most(scope)), send)

    def _check_host(self, headers: dict[str, str]) -> None:
        """Another name leads here only if somebody wants a browser to believe so (DNS rebinding)."""
        host = headers.get("host", "")
        try:
            name = (urlsplit(f"//{host}").hostname or "").lower()
        except ValueError:
            name = ""
        if name not in self.names:
            raise ProblemError(400, "host", "this server is not known by the name in the Host header")

    def _check_site(self, method: str, headers: dict[str, str]) -> None:
        """What changes something is asked for by our own page, or by a program that is no browser."""
        if method in SAFE:
            return
        if headers.get("sec-fetch-site", "none") not in ("same-origin", "none"):
            raise ProblemError(403, "cross_site", "another site asked for this")
        origin = headers.get("origin")
        if origin is not None and _authority(origin) != headers.get("host", "").lower():
            raise ProblemError(403, "cross_site", "another site asked for this")

    def _logged_in(self, scope: Scope, headers: dict[str, str]) -> tuple[int, list[tuple[bytes, bytes]], bytes] | None:
        """None if the client may pass; else an answer for a person. 401 for a program."""
        token = self.settings.token
        assert token is not None
        scheme, _, given = headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer" and _equal(given.strip(), token):
            return None
        name = cookie_name(scope)
        if _equal(_cookie(headers.get("cookie", ""), name), cookie_value(token)):
            return None
        if scope["path"] == "/" and scope["method"] in ("GET", "HEAD"):
            query = parse_qs(scope.get("query_string", b"").decode("latin-1"), max_num_fields=20)
            if _equal(query.get("token", [""])[0], token):
                secure = "; Secure" if scope.get("scheme") == "https" else ""
                cookie = f"{name}={cookie_value(token)}; Path=/; HttpOnly; SameSite=Strict{secure}"
                return 303, [(b"location", b"./"), (b"set-cookie", cookie.encode())], b""
            return 401, [(b"content-type", b"text/html; charset=utf-8")], LOGIN
        raise ProblemError(
            401,
            "token",
            "this server asks for its token: Authorization: Bearer TOKEN",
            headers={"WWW-Authenticate": "Bearer"},
        )

    def _most(self, scope: Scope) -> int:
        picture = scope["method"] == "POST" and scope["path"] in PICTURE_PATHS
        return self.settings.max_upload if picture else MAX_JSON


class Rates:
    """A bucket of requests for each address, which fills again as time passes."""

    def __init__(self, rate: float | None) -> None:
        self.rate = rate
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()  # what is left, and since when

    def check(self, client: str) -> None:
        if self.rate is None:
            return
        now, most = time.monotonic(), self.rate * BURST_SECONDS
        left, since = self._buckets.pop(client, (most, now))
        left = min(most, left + (now - since) * self.rate)
        self._buckets[client] = (max(0.0, left - 1), now)
        if len(self._buckets) > MOST_CLIENTS:
            self._buckets.popitem(last=False)
        if left < 1:
            wait = max(1, round((1 - left) / self.rate))
            raise ProblemError(429, "rate", f"more than {self.rate:g} requests a second", retry_after=wait)


class _Body:
    """A body that ends with an error where it is larger or slower than it may be. What is too much is not kept."""

    def __init__(self, receive: Receive, headers: dict[str, str], most: int) -> None:
        self.receive, self.most = receive, most
        self.taken, self.began, self.whole = 0, time.monotonic(), False
        length = headers.get("content-length", "0")
        if length.isdecimal() and int(length) > most:
            raise self._too_large()

    async def __call__(self) -> Message:
        if self.whole:  # what comes now is the end of the connection, some time
            return await self.receive()
        try:
            message = await asyncio.wait_for(self.receive(), IDLE_SECONDS)
        except asyncio.TimeoutError:
            raise ProblemError(408, "slow_body", f"nothing came for {IDLE_SECONDS:g} s", headers=CLOSE) from None
        self.whole = not message.get("more_body", False)
        if message["type"] == "http.request":
            self.taken += len(message.get("body", b""))
            if self.taken > self.most:
                raise self._too_large()
            seconds = time.monotonic() - self.began - 60
            if message.get("more_body") and seconds > 0 and self.taken < seconds * BYTES_A_SECOND:
                raise ProblemError(408, "slow_body", "the body comes too slowly", headers=CLOSE)
        return message

    def _too_large(self) -> ProblemError:
        size = f"{self.most / (1 << 20):g} MB" if self.most >= 1 << 20 else f"{self.most >> 10} kB"
        return ProblemError(413, "too_large", f"the body is larger than {size}")


CLOSE = {"Connection": "close"}


def cookie_name(scope: Scope) -> str:
    """Browsers share the cookies of a host among its ports, so the name has the port."""
    return f"hashgrain-{(scope.get('server') or ('', 0))[1]}"


def cookie_value(token: str) -> str:
    """What the cookie holds in place of the token."""
    return hmac.new(token.encode(), b"hashgrain page", hashlib.sha256).hexdigest()


def _equal(given: str, expected: str) -> bool:
    return hmac.compare_digest(given.encode("utf-8", "surrogateescape"), expected.encode())


def _cookie(header: str, name: str) -> str:
    try:
        morsel = SimpleCookie(header).get(name)
    except CookieError:
        return ""
    return "" if morsel is None else morsel.value


def _authority(origin: str) -> str:
    try:
        return urlsplit(origin).netloc.lower()
    except ValueError:
        return ""


def _headers(scope: Scope) -> dict[str, str]:
    headers: dict[str, str] = {}
    for name, value in scope["headers"]:
        key = name.decode("latin-1").lower()
        if key == "host" and key in headers:
            raise ProblemError(400, "host", "there are two Host headers")
        headers[key] = value.decode("latin-1")
    return headers


async def _send(send: Send, status: int, headers: list[tuple[bytes, bytes]], body: bytes) -> None:
    length = (b"content-length", str(len(body)).encode())
    await send({"type": "http.response.start", "status": status, "headers": [*headers, length]})
    await send({"type": "http.response.body", "body": body})
