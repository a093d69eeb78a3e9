"""The limits of a server one by one, without a socket: lanes, rates, slow bodies, uploads, cursors, names of files."""

from __future__ import annotations

import ast
import asyncio
import re
import socket
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, TypeVar

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("fastapi", reason="needs hashgrain[serve]")
pytest.importorskip("prometheus_client", reason="needs hashgrain[serve]")

from conftest import ROOT
from hashgrain import Codes, Grains, Hit
from hashgrain.library.previews import Encoded
from hashgrain.library.sent_pictures import safe_name
from hashgrain.media import Facts
from hashgrain.server import guard, search, uploads
from hashgrain.server.access import Access
from hashgrain.server.app import answer_with_problems
from hashgrain.server.guard import Guard, Rates
from hashgrain.server.metrics import Metrics
from hashgrain.server.paging import Cursor, LongAnswer, LongAnswers, read_cursor
from hashgrain.server.problems import STATUS_OF, ProblemError
from hashgrain.server.settings import Settings
from hashgrain.server.uploads import Upload, Uploads
from hashgrain.server.work import Lane

SETTINGS = Settings(Path("photos.hg"))
T = TypeVar("T")


def run_apart(work: Coroutine[Any, Any, T]) -> T:
    """In a thread of its own: tests of the page leave an event loop behind in this one."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, work).result()


# ---- lanes


def test_a_full_lane_refuses_at_once_and_takes_more_when_it_is_free() -> None:
    gate = threading.Event()

    async def fill() -> list[Any]:
        lane = Lane("search", 2, waiting=1, seconds=30)
        begun = [asyncio.create_task(lane.run(gate.wait, 30)) for _ in range(3)]
        await asyncio.sleep(0.05)
        with pytest.raises(ProblemError) as refused:
            await lane.run(int)
        gate.set()
        answers = await asyncio.gather(*begun)
        while lane.open:
            await asyncio.sleep(0.01)
        again = await lane.run(lambda: "free")
        lane.close()
        return [*answers, refused.value, again]

    *waited, error, again = run_apart(fill())
    assert (waited, again) == ([True, True, True], "free")
    assert (error.status_code, error.code, error.headers) == (503, "busy", {"Retry-After": "1"})


def test_what_takes_too_long_is_answered_and_counts_until_it_ends() -> None:
    gate = threading.Event()

    async def wait() -> tuple[ProblemError, int, int]:
        lane = Lane("search", 1, waiting=1, seconds=0.05)
        with pytest.raises(ProblemError) as refused:
            await lane.run(gate.wait, 30)
        during = lane.open
        gate.set()
        while lane.open:
            await asyncio.sleep(0.01)
        lane.close()
        return refused.value, during, lane.open

    error, during, after = run_apart(wait())
    assert (error.status_code, error.code, during, after) == (503, "too_slow", 1, 0)


def test_an_error_in_a_lane_is_the_error_of_its_caller() -> None:
    async def fail() -> None:
        lane = Lane("search", 1, waiting=1, seconds=5)
        try:
            await lane.run(int, "no number")
        finally:
            lane.close()

    with pytest.raises(ValueError, match="no number"):
        run_apart(fail())


# ---- rates, bodies, hosts


def test_an_address_may_ask_so_often_and_others_do_not_wait_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1000.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    rates = Rates(2.0)
    for _ in range(10):  # five seconds' worth at once
        rates.check("a")
    with pytest.raises(ProblemError) as refused:
        rates.check("a")
    assert (refused.value.status_code, refused.value.code, refused.value.headers) == (429, "rate", {"Retry-After": "1"})
    rates.check("b")
    now[0] += 0.5
    rates.check("a")
    with pytest.raises(ProblemError):
        rates.check("a")
    Rates(None).check("a")


def asked(
    told: Settings, app: Any, path: str = "/", receive: Any = None, headers: list[tuple[bytes, bytes]] | None = None
) -> tuple[int, dict[bytes, bytes], bytes]:
    """The answer of a guarded application."""
    scope = {"type": "http", "method": "POST", "path": path, "query_string": b"", "state": {}, "scheme": "http"}
    scope |= {"headers": headers or [(b"host", b"localhost:8080")], "client": ("127.0.0.1", 1), "server": ("x", 8080)}
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    run_apart(Access(Guard(app, told), replace(told, quiet=True), Metrics())(scope, receive, send))
    return sent[0]["status"], dict(sent[0]["headers"]), b"".join(each.get("body", b"") for each in sent[1:])


async def read_all(scope: Any, receive: Callable[[], Any], send: Callable[[Any], Any]) -> None:
    while (await receive()).get("more_body"):
        pass
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"read"})


def test_a_body_in_which_nothing_comes_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard, "IDLE_SECONDS", 0.05)

    async def never() -> None:
        await asyncio.sleep(60)

    status, headers, body = asked(SETTINGS, read_all, receive=never)
    assert (status, b"slow_body" in body, headers[b"connection"]) == (408, True, b"close")


def test_a_body_that_comes_drop_by_drop_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])

    async def drop() -> dict[str, Any]:
        now[0] += 10
        return {"type": "http.request", "body": b"x", "more_body": True}

    status, _, body = asked(SETTINGS, read_all, receive=drop)
    assert (status, b"slow_body" in body, now[0]) == (408, True, 70.0)


def test_a_body_without_a_length_is_cut_where_it_is_too_large() -> None:
    taken = [0]

    async def more() -> dict[str, Any]:
        taken[0] += 1 << 16
        return {"type": "http.request", "body": b"x" * (1 << 16), "more_body": True}

    status, _, body = asked(replace(SETTINGS, max_upload=1 << 20), read_all, "/api/v1/uploads", more)
    assert (status, b"larger than 1 MB" in body) == (413, True)
    assert taken[0] == (1 << 20) + (1 << 16)


@pytest.mark.parametrize(
    ("told", "host", "status"),
    [
        (SETTINGS, b"localhost", 200),
        (SETTINGS, b"127.0.0.1:1234", 200),
        (SETTINGS, b"[::1]:1234", 200),
        (SETTINGS, b"LOCALHOST:8080", 200),
        (SETTINGS, b"192.168.0.1", 400),
        (SETTINGS, b"localhost.evil.example", 400),
        (SETTINGS, b"[::1", 400),
        (replace(SETTINGS, host="192.168.0.1"), b"192.168.0.1:8080", 200),
        (replace(SETTINGS, host="0.0.0.0"), b"0.0.0.0:8080", 400),
        (replace(SETTINGS, host="0.0.0.0", allowed_hosts=("Photos.example",)), b"photos.example", 200),
    ],
)
def test_a_server_answers_to_its_names(told: Settings, host: bytes, status: int) -> None:
    async def one() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    assert asked(told, read_all, receive=one, headers=[(b"host", host)])[0] == status


def test_an_error_nobody_foresaw_is_an_answer_and_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    async def broken(scope: Any, receive: Any, send: Any) -> None:
        raise RuntimeError("secret\nof the house")

    status, _, body = asked(SETTINGS, broken)
    assert (status, b'"internal"' in body, b"secret" in body) == (500, True, False)
    (line,) = capsys.readouterr().err.splitlines()
    assert "RuntimeError at test_serve_limits.py:" in line


# ---- clients that do not read


@pytest.mark.parametrize(
    ("buffered", "answers", "aborted"),
    [
        ([100, 60, 20, 0], 1, False),
        ([100, 60, 60], 1, True),
        ([100, 100], 1, True),
        ([0], 1, False),
        ([100, 900], 2, False),
    ],
    ids=["slow", "stuck later", "stuck", "done", "the next answer"],
)
def test_a_client_that_takes_nothing_of_its_answer_is_dropped(buffered: list[int], answers: int, aborted: bool) -> None:
    from hashgrain.server.running import Protocol

    left, later, dropped = iter(buffered), [], []

    class Transport:
        def get_write_buffer_size(self) -> int:
            return next(left)

        def abort(self) -> None:
            dropped.append(True)

    class Loop:
        def call_later(self, seconds: float, call: Any, *arguments: Any) -> None:
            later.append((call, arguments))

    protocol: Any = object.__new__(Protocol)
    protocol.transport, protocol.loop, protocol._answers = Transport(), Loop(), 1
    protocol._watch_reader(1, None)
    protocol._answers = answers
    while later:
        call, arguments = later.pop()
        call(*arguments)
    assert bool(dropped) == aborted


def test_an_error_that_nobody_foresaw_is_a_problem_too_and_only_the_log_says_what(
    capsys: pytest.CaptureFixture[str],
) -> None:
    from fastapi import FastAPI

    failing = FastAPI()
    answer_with_problems(failing)

    @failing.post("/")
    async def fail() -> None:
        raise OSError(5, "the secret")

    async def nothing() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    status, headers, body = asked(SETTINGS, failing, receive=nothing)
    assert (status, headers[b"content-type"]) == (500, b"application/problem+json")
    assert b'"code": "internal"' in body
    assert b"secret" not in body
    assert re.search(r"internal OSError at test_serve_limits.py:\d+: .*the secret", capsys.readouterr().err)


# ---- uploads


def test_the_last_uploads_stay_within_number_bytes_and_time(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    code = Codes(np.zeros((1, 1), np.uint64), Grains(look=64))
    monkeypatch.setattr(uploads, "encode", lambda *_, **__: Encoded(Facts(1, 1, "png", None), code))
    library = SimpleNamespace(bundle=SimpleNamespace(code_digest="0"))
    kept = Uploads(most=3, most_bytes=1000, seconds=60)

    def take(size: int) -> Upload:
        return kept.take(library, b"x" * size, 1)  # type: ignore[arg-type]

    def is_there(upload: Upload) -> bool:
        try:
            return kept.get(upload.name) is upload
        except ProblemError:
            return False

    first, second, third = take(10), take(10), take(10)
    assert is_there(first)  # used last from now on
    fourth = take(10)
    assert [is_there(each) for each in (second, third, fourth, first)] == [False, True, True, True]
    large = take(990)
    assert [is_there(each) for each in (third, fourth, first, large)] == [False, False, True, True]
    assert kept.bytes <= 1000
    now[0] += 61
    assert not is_there(large)
    assert kept.count == 0


def test_a_picture_that_another_model_encoded_is_encoded_again(monkeypatch: pytest.MonkeyPatch) -> None:
    made = [Codes(np.full((1, 1), number, np.uint64), Grains(look=64)) for number in range(2)]
    codes = iter(made)
    for module in (uploads, search):
        monkeypatch.setattr(module, "encode", lambda *_, **__: Encoded(Facts(1, 1, "png", None), next(codes)))
    library: Any = SimpleNamespace(bundle=SimpleNamespace(code_digest="first"))
    searcher = search.Searcher(Uploads(), LongAnswers(), 1)
    name = searcher.uploads.take(library, b"x", 1).name

    def code() -> Any:
        return search.picture_of(library, name, None, searcher, as_code=True)

    assert code() is made[0]
    library.bundle.code_digest = "second"
    assert code() is made[1]
    assert code() is made[1]


# ---- cursors


def hit(item: int) -> Hit:
    return Hit(item, str(item), 0, "look", {"look": 0}, "", 1.0, 1, 1, "png", None, {}, {})


@settings(max_examples=40)
@given(st.data())
def test_pages_lose_nothing_and_repeat_nothing_while_items_are_removed(data: st.DataObject) -> None:
    """As long as fewer are removed between two pages than a cursor remembers."""
    ids = list(range(1, 1 + data.draw(st.integers(0, 90))))
    there, cursor, given_out, removed = list(ids), Cursor("s", 10**6, 0, ()), [], set()
    while True:
        start = cursor.start_in([hit(item) for item in there])
        page = [hit(item) for item in there[start : start + data.draw(st.integers(1, 40))]]
        given_out += [each.id for each in page]
        if not page:
            break
        cursor = read_cursor(cursor.after(page).text(), "s")
        gone = set(data.draw(st.lists(st.sampled_from(ids), max_size=20)))
        removed |= gone - set(given_out)
        there = [item for item in there if item not in gone]
    assert given_out == [item for item in ids if item not in removed]


@settings(max_examples=30)
@given(st.text(max_size=60))
def test_a_made_up_cursor_is_refused(text: str) -> None:
    with pytest.raises(ProblemError) as refused:
        read_cursor(text, "a search that no text has")
    assert refused.value.status_code == 422


def test_a_long_answer_is_used_for_its_library_only_and_as_far_as_it_reaches() -> None:
    answers = LongAnswers(most=25)
    hits = [hit(item) for item in range(1, 21)]
    cursor = Cursor("s", 20, 5, (4, 5))
    answers.keep(cursor, LongAnswer(7, hits, whole=False))
    assert answers.get(cursor, 7, 15) is not None
    assert answers.get(cursor, 7, 16) is None
    assert answers.get(cursor, 8, 1) is None
    answers.keep(Cursor("t", 20, 5, (5,)), LongAnswer(7, hits, whole=True))
    assert answers.get(cursor, 7, 1) is None  # there is no room for both
    assert answers.get(Cursor("t", 20, 5, (5,)), 7, 100) is not None


# ---- names of files


@settings(max_examples=50)
@given(st.text(max_size=300))
def test_a_name_of_a_client_is_the_name_of_a_file_and_no_path(name: str) -> None:
    safe = safe_name(name)
    assert safe not in ("", ".", "..")
    assert not set(safe) & set('/\\:*?"<>|\0\n')
    assert len(safe.encode()) <= 240
    assert safe == safe.strip(" .")


def test_names_stay_what_they_were_where_they_may() -> None:
    assert safe_name("C:\\photos\\my cat.jpg") == "my cat.jpg"
    assert safe_name("../../.ssh/id") == "id"
    assert safe_name("猫.JPG") == "猫.JPG"
    assert safe_name("x" * 100 + ".jpeg") == "x" * 56 + ".jpeg"
    assert safe_name("...") == "picture"


# ---- the documentation


def test_every_code_of_a_problem_is_documented_with_its_status() -> None:
    page = (ROOT / "docs/reference/http.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (\d{3}) \| ([^|]+) \|", page, re.MULTILINE)
    documented = {(int(status), code) for status, codes in rows for code in re.findall(r"`(\w+)`", codes)}
    raised = set()
    for path in (ROOT / "src/hashgrain/server").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "ProblemError":
                status, code = node.args[:2]
                if isinstance(status, ast.Constant) and isinstance(code, ast.Constant):
                    raised.add((status.value, code.value))
    assert len(raised) > 15
    assert raised <= documented
    assert {(status, code) for code, status in STATUS_OF.items() if status in (422, 404, 507)} - documented <= {
        (422, "sound"),
        (422, "source"),
    }


def test_an_answer_is_not_held_back_until_the_client_confirms_its_head() -> None:
    """asyncio turns off Nagle's algorithm for connections that are known as TCP alone."""
    from hashgrain.server.running import _bound

    with _bound("127.0.0.1", 0) as listening:
        assert listening.proto == socket.IPPROTO_TCP
        with socket.create_connection(listening.getsockname()):
            accepted, _ = listening.accept()
            with accepted:
                assert accepted.proto == socket.IPPROTO_TCP
