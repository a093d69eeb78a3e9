"""Around every request: an id, headers for safety, a line in the log, figures, and an answer whatever goes wrong."""

from __future__ import annotations

import json
import re
import secrets
import sys
import time
from contextlib import suppress
from datetime import datetime, timezone

from starlette.exceptions import HTTPException

from hashgrain.errors import HashgrainError
from hashgrain.server import problems
from hashgrain.server.guard import App, Message, Receive, Scope, Send
from hashgrain.server.metrics import Metrics
from hashgrain.server.page_files import POLICY
from hashgrain.server.problems import ProblemError
from hashgrain.server.settings import Settings

HEADERS = {
    b"content-security-policy": POLICY.encode(),
    b"x-content-type-options": b"nosniff",
    b"referrer-policy": b"no-referrer",
    b"cross-origin-opener-policy": b"same-origin",
    b"cross-origin-resource-policy": b"same-origin",
    b"x-frame-options": b"DENY",
}
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
ODD = re.compile(r"[^ -~]")


class Access:
    """An ASGI application around another."""

    def __init__(self, app: App, settings: Settings, metrics: Metrics) -> None:
        self.app, self.settings, self.metrics = app, settings, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        request_id, started = secrets.token_hex(8), time.perf_counter()
        scope.setdefault("state", {})["request_id"] = request_id
        status = 0

        async def send_with_headers(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                own = {name.lower() for name, _ in message["headers"]}
                more = [(name, value) for name, value in HEADERS.items() if name not in own]
                message["headers"] = [*message["headers"], *more, (b"x-request-id", request_id.encode())]
            await send(message)

        self.metrics.began()
        problem: ProblemError | None = None
        failure = ""
        try:
            try:
                await self.app(scope, receive, send_with_headers)
            except Exception as error:  # whatever it is: a client gets an answer, and never a traceback
                problem, failure = _problem_of(error)
                if not status:
                    await send_problem(send_with_headers, problem, request_id)
        finally:
            problem = problem or scope["state"].get("problem")
            seconds = time.perf_counter() - started
            route = getattr(scope.get("route"), "path", "other")
            method = scope["method"] if scope["method"] in METHODS else "other"
            code = None if problem is None else problem.code
            self.metrics.ended(method, route, status or 499, seconds, code)
            self._log(scope, status or 499, seconds, request_id, code, failure)

    def _log(self, scope: Scope, status: int, seconds: float, request_id: str, code: str | None, failure: str) -> None:
        """One line. Of the address only the path: the query of `/` may hold the token."""
        if self.settings.quiet and not failure:
            return
        path = ODD.sub("?", scope["path"][:200])
        if self.settings.log_json:
            line = {"time": _now(), "status": status, "method": scope["method"], "path": path}
            line |= {"milliseconds": round(1000 * seconds, 2), "request_id": request_id}
            line |= {"client": (scope.get("client") or [""])[0]}
            line |= {"code": code} if code else {}
            line |= {"failure": failure} if failure else {}
            text = json.dumps(line)
        else:
            more = " ".join(filter(None, (code, failure)))
            text = f"{_now()} {status} {scope['method']} {path} {1000 * seconds:.1f} ms {request_id} {more}".rstrip()
        with suppress(OSError, ValueError):  # who reads the log may be gone
            print(text, file=sys.stderr, flush=True)


def _problem_of(error: Exception) -> tuple[ProblemError, str]:
    """The problem to answer with; and for the log, what failed, if it is nothing that is refused on purpose."""
    if isinstance(error, HTTPException):
        return problems.of_http(error), ""
    if isinstance(error, HashgrainError):
        return problems.of_library(error), ""
    trace, place = error.__traceback__, ""
    while trace is not None:
        place = f"{trace.tb_frame.f_code.co_filename.rpartition('/')[2]}:{trace.tb_lineno}"
        trace = trace.tb_next
    failure = ODD.sub("?", f"{type(error).__name__} at {place}: {error}"[:300])
    return problems.internal(), failure


async def send_problem(send: Send, problem: ProblemError, request_id: str) -> None:
    body = problems.document(problem, request_id)
    headers = {"Content-Type": problems.MEDIA_TYPE, "Content-Length": str(len(body)), **(problem.headers or {})}
    encoded = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": problem.status_code, "headers": encoded})
    await send({"type": "http.response.body", "body": body})


def _now() -> str:
    return datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
