"""`hashgrain serve`, which reads: a real server in its own process, asked by a client that is polite and ones that are
not."""

from __future__ import annotations

import json
import shutil
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("fastapi", reason="needs hashgrain[serve]")
pytest.importorskip("uvicorn", reason="needs hashgrain[serve]")

from conftest import fill, make_picture
from hashgrain import Client, Library
from hashgrain.errors import FilterError, ItemMissingError, QueryError, ServerError
from hashgrain.server import schemas
from serving import Served, start

pytestmark = pytest.mark.timeout(300)
COUNT = 40


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a library of COUNT pictures, of which the last is gone and the one before changed."""
    folder = tmp_path_factory.mktemp("serve")
    with Library.create(folder / "photos.hg", workers=1) as library:
        library.add(fill(folder / "pictures", COUNT), meta={"place": {"city": "Oslo"}})
        library.meta(range(1, 11), set={"chosen": True})
    (folder / "pictures" / f"{COUNT - 1:05}.jpg").unlink()
    make_picture(999).save(folder / "pictures" / f"{COUNT - 2:05}.jpg")
    return folder


@pytest.fixture(scope="module")
def served(place: Path) -> Iterator[Served]:
    server = start(place / "photos.hg", place / "log.txt", "--workers", 1, "--max-upload", 1)
    yield server
    assert server.stop() == 0
    log = server.log.read_text()
    assert "Traceback" not in log
    assert "internal" not in log
    assert log.splitlines()[-1] == "stopped"


@pytest.fixture(scope="module")
def library(place: Path) -> Iterator[Library]:
    with Library.open(place / "photos.hg", workers=1) as opened:
        yield opened


@pytest.fixture(scope="module")
def client(served: Served) -> Iterator[Client]:
    with Client(served.address) as asking:
        yield asking


@pytest.fixture(scope="module")
def upload(served: Served, place: Path) -> str:
    sent = served.ask("POST", "/api/v1/uploads", (place / "pictures" / "00005.jpg").read_bytes())
    assert sent.status == 201, sent.body
    schemas.UploadOut.model_validate(sent.json)
    assert (sent.json["width"], sent.json["height"], sent.json["format"]) == (120, 90, "jpeg")
    return str(sent.json["upload"])


# ---- what is there


def test_the_library_is_described(served: Served, library: Library) -> None:
    told = served.ask("GET", "/api/v1/library").json
    schemas.LibraryOut.model_validate(told)
    assert (told["name"], told["pictures"], told["writable"], told["text"]) == ("photos.hg", COUNT, False, False)
    assert [(grain["name"], grain["bits"]) for grain in told["grains"]] == list(library.grains.items())
    assert told["default_grain"] == library.grains.finest
    assert {"width", "taken", "chosen", "place"} <= set(told["fields"])


def test_the_server_says_that_it_lives_and_is_ready_and_counts(served: Served) -> None:
    assert served.ask("GET", "/healthz").json == {"status": "ok"}
    assert served.ask("GET", "/readyz").json == {"status": "ok", "pictures": COUNT}
    counted = served.ask("GET", "/metrics")
    assert counted.headers["content-type"].startswith("text/plain; version=0.0.4")
    assert b'hashgrain_requests_total{method="GET",route="/readyz",status="200"}' in counted.body
    assert b"hashgrain_uploads " in counted.body


def test_an_upload_comes_back_as_a_jpeg(served: Served, upload: str) -> None:
    shown = served.ask("GET", f"/api/v1/uploads/{upload}/picture")
    assert (shown.status, shown.headers["content-type"]) == (200, "image/jpeg")
    assert shown.body[:2] == b"\xff\xd8"
    gone = served.ask("GET", "/api/v1/uploads/never-sent/picture")
    assert (gone.status, gone.json["code"]) == (404, "upload_gone")


def test_items_their_thumbnails_and_originals_come_by_id(served: Served, library: Library, place: Path) -> None:
    told = served.ask("GET", "/api/v1/items/3").json
    schemas.ItemOut.model_validate(told)
    assert (told["path"], told["meta"]) == (library.item(3).path, library.item(3).meta)
    small = served.ask("GET", "/api/v1/items/3/thumbnail?edge=128")
    assert (small.body, small.headers["content-type"]) == (library.thumbnail(3, edge=128), "image/jpeg")
    original = served.ask("GET", "/api/v1/items/3/original")
    assert original.body == (place / "pictures" / "00002.jpg").read_bytes()
    assert original.headers["content-type"] == "image/jpeg"
    assert original.headers["content-disposition"] == "inline"
    assert "sandbox" in original.headers["content-security-policy"]


@pytest.mark.parametrize("address", ["/api/v1/items/3/thumbnail", "/api/v1/items/3/original", "/"])
def test_what_a_browser_has_is_not_sent_again(served: Served, address: str) -> None:
    tag = served.ask("GET", address).headers["etag"]
    again = served.ask("GET", address, headers={"If-None-Match": f'"other", W/{tag}'})
    assert (again.status, again.body, again.headers["etag"]) == (304, b"", tag)
    assert served.ask("GET", address, headers={"If-None-Match": '"other"'}).status == 200


@pytest.mark.parametrize("item", [COUNT, COUNT - 1], ids=["gone", "changed"])
def test_a_file_that_is_gone_or_changed_is_gone(served: Served, item: int) -> None:
    answer = served.ask("GET", f"/api/v1/items/{item}/original")
    assert (answer.status, answer.json["code"]) == (410, "picture_gone")


def test_why_a_hit_was_found_is_a_picture(served: Served, upload: str) -> None:
    answer = served.ask("POST", "/api/v1/why", {"query": {"upload": upload}, "item": 6})
    assert (answer.status, answer.headers["content-type"]) == (200, "image/png")
    assert answer.body.startswith(b"\x89PNG")


def test_every_answer_has_an_id_and_headers_for_safety(served: Served) -> None:
    answers = [served.ask("GET", each) for each in ("/", "/api/v1/library", "/nothing", "/healthz")]
    for answer in answers:
        assert answer.headers["content-security-policy"].startswith("default-src 'self'; img-src 'self' blob:;")
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert answer.headers["cross-origin-opener-policy"] == "same-origin"
        assert "access-control-allow-origin" not in answer.headers
    assert len({answer.headers["x-request-id"] for answer in answers}) == len(answers)


def test_the_description_names_every_address_and_nothing_from_outside(served: Served) -> None:
    described = served.ask("GET", "/openapi.json").json
    assert {"/api/v1/search", "/api/v1/items/{id}/thumbnail", "/api/v1/undo/{undo}"} <= set(described["paths"])
    assert described["components"]["schemas"]["SearchRequest"]["examples"]
    for methods in described["paths"].values():
        for call in methods.values():
            assert "application/problem+json" in call["responses"]["default"]["content"]
            assert "422" not in call["responses"]
    page = served.ask("GET", "/docs").body.decode()
    assert "/api/v1/search" in page
    assert "http:" not in page.replace(served.address, "")
    assert "<script" not in page


# ---- searches


SEARCHES: dict[str, dict[str, Any]] = {
    "an item": {"query": 3},
    "a grain": {"query": 3, "grain": "thing", "k": 5},
    "a filter": {"query": 3, "where": "chosen = true and width > 8"},
    "a distance": {"query": 3, "within": 60, "k": None},
    "a score": {"query": 3, "min_score": 0.6, "k": 20},
    "a picture": {"query": "file"},
    "a box": {"query": "file", "boxes": [(0.1, 0.2, 0.6, 0.9)], "k": 4},
    "boxes": {"query": "file", "boxes": [(0.0, 0.0, 0.5, 0.5), (0.5, 0.5, 1.0, 1.0)], "match": "all"},
    "a box of an item": {"query": 3, "boxes": [(0.1, 0.2, 0.6, 0.9)]},
    "turned": {"query": "file", "turned": True},
    "reranked": {"query": "file", "rerank": 12, "k": 5},
    "examples": {"query": 3, "like": ["file"], "unlike": [9], "match": "any"},
    "the mean": {"like": [1, 2, 3], "match": "mean", "k": 7},
}


@pytest.mark.parametrize("name", SEARCHES)
def test_a_search_answers_as_the_library_does(client: Client, library: Library, place: Path, name: str) -> None:
    file = place / "pictures" / "00005.jpg"
    asked = SEARCHES[name]
    if "query" in asked:
        asked = asked | {"query": file if asked["query"] == "file" else asked["query"]}
    if "like" in asked:
        asked = asked | {"like": [file if each == "file" else each for each in asked["like"]]}
    assert client.search(**asked) == library.search(**_of_bytes(asked))


def _of_bytes(asked: dict[str, Any]) -> dict[str, Any]:
    """The same with bytes in place of paths: a file that is an item is left out of its own answer, bytes are not."""

    def read(value: Any) -> Any:
        return value.read_bytes() if isinstance(value, Path) else value

    given = {key: read(value) for key, value in asked.items()}
    return given | ({"like": [read(each) for each in given["like"]]} if "like" in given else {})


def test_many_searches_at_once_answer_as_one_after_the_other(client: Client, library: Library) -> None:
    ids = [*range(1, 21)] * 2
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda item: client.search(item, k=7), ids))
    assert answers == [library.search(item, k=7) for item in ids]


def test_a_search_has_the_form_of_its_schema(served: Served, upload: str) -> None:
    answer = served.ask("POST", "/api/v1/search", {"query": {"upload": upload}, "k": 3})
    assert answer.headers["cache-control"] == "no-store"
    schemas.SearchAnswer.model_validate(answer.json)
    assert set(answer.json) == {"hits", "next", "total", "closest", "words", "milliseconds"}
    grouped = served.ask("POST", "/api/v1/search", {"query": {"upload": upload}, "k": 9, "group": True}).json
    assert sum(group["count"] for group in grouped["groups"]) == 9
    assert (grouped["next"], "hits" in grouped) == (None, False)


def test_an_answer_without_hits_says_how_near_the_nearest_is(served: Served, library: Library) -> None:
    nearest = library.search(3, k=1)[0].score
    request = {"query": {"item": 3}, "min_score": 1.0, "where": "id != 3"}
    answer = served.ask("POST", "/api/v1/search", request).json
    assert (answer["hits"], answer["total"], answer["closest"]) == ([], 0, nearest)


# ---- pages


def pages(served: Served, request: dict[str, Any], between: Any = lambda page: None) -> list[list[dict[str, Any]]]:
    """All pages of a search. `between` is called with the number of pages so far."""
    found: list[list[dict[str, Any]]] = []
    cursor = None
    while cursor is not None or not found:
        answer = served.ask("POST", "/api/v1/search", {**request, "cursor": cursor}).json
        found.append(answer["hits"])
        cursor = answer["next"]
        between(len(found))
    return found


@pytest.mark.parametrize(
    "more", [{}, {"where": "id > 5 or chosen = true"}, {"min_score": 0.5}, {"match": "any", "like": [{"item": 4}]}]
)
def test_pages_together_are_one_long_search(served: Served, more: dict[str, Any]) -> None:
    request = {"query": {"item": 3}, "k": 7, **more}
    found = pages(served, request)
    whole = served.ask("POST", "/api/v1/search", {**request, "k": 1000}).json
    assert [hit for page in found for hit in page] == whole["hits"]
    assert {len(page) for page in found[:-1]} == {7}
    assert whole["total"] == len(whole["hits"])


def test_items_are_listed_page_by_page(client: Client, library: Library, served: Served) -> None:
    assert client.items() == library.items()
    assert client.items(where="chosen = true") == library.items(where="chosen = true")
    first = served.ask("GET", "/api/v1/items?k=15&where=chosen%20%3D%20true").json
    schemas.ItemsAnswer.model_validate(first)
    assert first["next"] is None
    second = served.ask("GET", "/api/v1/items?k=15").json
    third = served.ask("GET", f"/api/v1/items?k=15&cursor={second['next']}").json
    assert [each["id"] for each in second["items"] + third["items"]] == [*range(1, 31)]


def test_pages_stay_the_same_search_while_another_program_adds_and_removes(
    served: Served, place: Path, tmp_path: Path
) -> None:
    """What is added is not seen before the next search; what is removed is left out; nothing comes twice or is lost."""
    request = {"query": {"item": 3}, "k": 6}
    before = [hit["id"] for hit in served.ask("POST", "/api/v1/search", {**request, "k": 1000}).json["hits"]]
    removed = {before[4], before[5], before[13], before[30]}

    def between(count: int) -> None:
        with Library.open(place / "photos.hg", "w", workers=0) as library:
            if count == 1:  # near copies of the query, which come first from now on, and the last of the first page
                library.add([(f"copy {n}", make_picture(2).resize((60 + n, 45))) for n in range(8)])
                library.remove([before[4], before[5]])
            if count == 3:
                library.add([("another", make_picture(2).resize((80, 60)))])
                library.remove([before[13], before[30]])

    found = [hit["id"] for page in pages(served, request, between) for hit in page]
    assert found == [item for item in before if item not in removed or before.index(item) in (4, 5, 13)]
    now = [hit["id"] for hit in served.ask("POST", "/api/v1/search", {**request, "k": 1000}).json["hits"]]
    assert len(now) == COUNT - 1 + 9 - 4
    assert set(now[:5]) - set(before)


def test_a_cursor_is_of_one_search(served: Served) -> None:
    request = {"query": {"item": 3}, "k": 2}
    cursor = served.ask("POST", "/api/v1/search", request).json["next"]
    assert served.ask("POST", "/api/v1/search", {**request, "k": 9, "cursor": cursor}).status == 200
    other = served.ask("POST", "/api/v1/search", {"query": {"item": 4}, "k": 2, "cursor": cursor})
    assert (other.status, other.json["code"]) == (422, "cursor")


# ---- what is refused


SEARCH, UPLOADS = "/api/v1/search", "/api/v1/uploads"
JPEG = b"\xff\xd8\xff\xe0" + b"\0" * 200
REFUSED: dict[str, tuple[str, str, Any, dict[str, str], int, str]] = {
    "an address that is not there": ("GET", "/nothing", None, {}, 404, "not_found"),
    "a method that is not there": ("PUT", SEARCH, {}, {}, 405, "method_not_allowed"),
    "the name of another host": ("GET", "/", None, {"Host": "evil.example"}, 400, "host"),
    "no host": ("GET", "/", None, {"Host": ""}, 400, "host"),
    "a host with a login": ("GET", "/", None, {"Host": "localhost@evil.example"}, 400, "host"),
    "another site": ("POST", SEARCH, {}, {"Origin": "http://evil.example"}, 403, "cross_site"),
    "no site": ("POST", SEARCH, {}, {"Origin": "null"}, 403, "cross_site"),
    "a fetch of another site": ("POST", SEARCH, {}, {"Sec-Fetch-Site": "cross-site"}, 403, "cross_site"),
    "a fetch of a sibling": ("POST", SEARCH, {}, {"Sec-Fetch-Site": "same-site"}, 403, "cross_site"),
    "a path in place of an id": ("GET", "/api/v1/items/..%2f..%2fetc%2fpasswd/original", None, {}, 404, "not_found"),
    "a word in place of an id": ("GET", "/api/v1/items/one/original", None, {}, 422, "bad_request"),
    "an id below one": ("GET", "/api/v1/items/0", None, {}, 422, "bad_request"),
    "an id past all": ("GET", f"/api/v1/items/{2**70}", None, {}, 422, "bad_request"),
    "an item that is not there": ("GET", "/api/v1/items/123456", None, {}, 404, "item_missing"),
    "an odd edge": ("GET", "/api/v1/items/1/thumbnail?edge=100000", None, {}, 422, "bad_request"),
    "a path above the page": ("GET", "/static/..%2fapp.py", None, {}, 404, "not_found"),
    "a path far above": ("GET", "/static/../../../../etc/passwd", None, {}, 404, "not_found"),
    "an absolute path": ("GET", "/static//etc/passwd", None, {}, 404, "not_found"),
    "a path with a zero": ("GET", "/static/index.html%00.js", None, {}, 404, "not_found"),
    "a method that would be an id": ("GET", "/api/v1/items/remove", None, {}, 405, "method_not_allowed"),
    "no JSON": ("POST", SEARCH, b"{", {"Content-Type": "application/json"}, 400, "bad_json"),
    "no UTF-8": ("POST", SEARCH, b'{"query": "\xff"}', {"Content-Type": "application/json"}, 400, "bad_request"),
    "JSON without end": ("POST", SEARCH, b"[" * 200_000, {"Content-Type": "application/json"}, 400, "bad_request"),
    "a list": ("POST", SEARCH, [], {}, 422, "bad_request"),
    "nothing asked": ("POST", SEARCH, {}, {}, 422, "query"),
    "an unknown key": ("POST", SEARCH, {"query": {"item": 1}, "kk": 1}, {}, 422, "bad_request"),
    "an unknown key inside": ("POST", SEARCH, {"query": {"item": 1, "path": "/etc/passwd"}}, {}, 422, "bad_request"),
    "two queries": ("POST", SEARCH, {"query": {"item": 1, "upload": "x"}}, {}, 422, "bad_request"),
    "an upload that was never sent": ("POST", SEARCH, {"query": {"upload": "x"}}, {}, 404, "upload_gone"),
    "a number in quotes": ("POST", SEARCH, {"query": {"item": "1"}}, {}, 422, "bad_request"),
    "true for a number": ("POST", SEARCH, {"query": {"item": 1}, "k": True}, {}, 422, "bad_request"),
    "no number": ("POST", SEARCH, {"query": {"item": 1}, "min_score": float("nan")}, {}, 422, "bad_request"),
    "an endless box": (
        "POST",
        SEARCH,
        {"query": {"item": 1}, "boxes": [[0, 0, 1, float("inf")]]},
        {},
        422,
        "bad_request",
    ),
    "an empty box": ("POST", SEARCH, {"query": {"item": 1}, "boxes": [[0.5, 0.5, 0.5, 0.5]]}, {}, 422, "query"),
    "a box of three": ("POST", SEARCH, {"query": {"item": 1}, "boxes": [[0, 0, 1]]}, {}, 422, "bad_request"),
    "too many boxes": ("POST", SEARCH, {"query": {"item": 1}, "boxes": [[0, 0, 1, 1]] * 17}, {}, 422, "bad_request"),
    "too many examples": ("POST", SEARCH, {"like": [{"item": 1}] * 101}, {}, 422, "bad_request"),
    "too many hits": ("POST", SEARCH, {"query": {"item": 1}, "k": 1001}, {}, 422, "bad_request"),
    "an unknown grain": ("POST", SEARCH, {"query": {"item": 1}, "grain": "hair"}, {}, 422, "codes"),
    "half a character": ("POST", SEARCH, {"query": {"text": "\ud800"}}, {}, 422, "bad_request"),
    "words without a model for them": ("POST", SEARCH, {"query": {"text": "dog"}}, {}, 422, "query"),
    "a bad filter": ("POST", SEARCH, {"query": {"item": 1}, "where": "width >"}, {}, 422, "filter"),
    "a filter that closes another": ("GET", "/api/v1/items?where=width>1)%20or%20(id>0", None, {}, 422, "filter"),
    "a made-up cursor": ("POST", SEARCH, {"query": {"item": 1}, "cursor": "e30"}, {}, 422, "cursor"),
    "a large request": ("POST", SEARCH, {"query": {"text": "x" * 300_000}}, {}, 413, "too_large"),
    "no picture": ("POST", UPLOADS, b"hello, this is text", {}, 415, "no_picture"),
    "an empty picture": ("POST", UPLOADS, b"", {}, 422, "no_picture"),
    "a broken picture": ("POST", UPLOADS, JPEG, {}, 422, "image"),
    "a large picture": ("POST", UPLOADS, JPEG + b"\0" * (1 << 20), {}, 413, "too_large"),
    "why of nothing": ("POST", "/api/v1/why", {"query": {"item": 1}, "item": 123456}, {}, 404, "item_missing"),
    "why of words": ("POST", "/api/v1/why", {"query": {"text": "dog"}, "item": 1}, {}, 422, "query"),
    "adding": ("POST", "/api/v1/items?name=x.jpg", JPEG, {}, 403, "read_only"),
    "removing": ("DELETE", "/api/v1/items/1", None, {}, 403, "read_only"),
    "metadata": ("PATCH", "/api/v1/items/1/meta", {"set": {"x": 1}}, {}, 403, "read_only"),
    "tagging": ("POST", "/api/v1/tags", {"items": [1], "add": ["x"]}, {}, 403, "read_only"),
    "removing several": ("POST", "/api/v1/items/remove", {"items": [1]}, {}, 403, "read_only"),
    "the trash": ("POST", "/api/v1/duplicates/trash", {"items": [1]}, {}, 403, "read_only"),
    "adding a folder": ("POST", "/api/v1/jobs", {"add": {"folder": "x"}}, {}, 403, "read_only"),
    "stopping": ("DELETE", "/api/v1/jobs/1", None, {}, 403, "read_only"),
    "fetching": ("POST", "/api/v1/uploads/from-url", {"url": "https://x.example/"}, {}, 403, "no_urls"),
    "undoing": ("POST", "/api/v1/undo/x", None, {}, 403, "read_only"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_wrong_is_told_as_a_problem(served: Served, name: str) -> None:
    method, path, body, headers, status, code = REFUSED[name]
    answer = served.ask(method, path, body, headers)
    assert (answer.status, answer.json["code"]) == (status, code), answer.body
    assert answer.headers["content-type"] == "application/problem+json"
    schemas.Problem.model_validate(answer.json)
    assert answer.json["status"] == status
    assert answer.json["request_id"] == answer.headers["x-request-id"]
    assert b"Traceback" not in answer.body


def test_a_picture_of_too_many_pixels_is_refused_before_it_is_decoded(served: Served) -> None:
    import struct
    import zlib

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", 60_000, 60_000, 1, 0, 0, 0, 0))
    bomb = b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(b"\0" * 1000)) + chunk(b"IEND", b"")
    answer = served.ask("POST", UPLOADS, bomb)
    assert (answer.status, answer.json["code"]) == (422, "image_too_large")


def head(method: str, path: str, *lines: str) -> bytes:
    return "\r\n".join([f"{method} {path} HTTP/1.1", "Host: localhost", *lines, "", ""]).encode()


RAW = {
    "a length that is too large": (head("POST", UPLOADS, "Content-Length: 99999999"), b" 413 "),
    "chunks that are too many": (
        head("POST", UPLOADS, "Transfer-Encoding: chunked") + (b"10000\r\n" + b"x" * 65536 + b"\r\n") * 20,
        b" 413 ",
    ),
    "a length that is no number": (head("POST", UPLOADS, "Content-Length: -5"), b" 400 "),
    "two lengths": (head("POST", UPLOADS, "Content-Length: 5", "Content-Length: 6") + b"hello", b" 400 "),
    "two hosts": (head("GET", "/", "Host: evil.example"), b" 400 "),
    "no HTTP": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", b" 400 "),
    "a head without end": (head("GET", "/", "X-Long: " + "x" * 400_000)[:-4], b" 400 "),
}


@pytest.mark.parametrize("name", RAW)
def test_what_no_client_sends_is_refused(served: Served, name: str) -> None:
    content, status = RAW[name]
    answered = served.raw(content)
    assert status in answered.split(b"\r\n")[0], answered[:200]
    assert served.ask("GET", "/healthz").status == 200


def test_clients_that_go_away_in_the_middle_cost_nothing(served: Served) -> None:
    for _ in range(5):
        with socket.create_connection(served.place, timeout=20) as connection:
            connection.sendall(head("POST", UPLOADS, "Content-Length: 5000") + JPEG)
    truncated = served.raw(head("POST", UPLOADS, "Content-Length: 5000") + JPEG, end=True)
    assert b"201" not in truncated
    assert served.ask("GET", "/readyz").status == 200


def test_five_hundred_open_pages_are_answered_and_another_searches_meanwhile(served: Served) -> None:
    """Each has a connection of its own, and all ask at once, as pages do when a server is back. Who is told that the
    server is busy asks again."""
    pages = [HTTPConnection(*served.place, timeout=100) for _ in range(500)]
    waiting, pictures = pages, served.ask("GET", "/api/v1/library").json["pictures"]
    try:
        while waiting:
            for page in waiting:
                page.request("GET", "/api/v1/library")
            assert served.ask("POST", SEARCH, {"query": {"item": 3}}).status == 200
            answers = [page.getresponse() for page in waiting]
            told = [json.loads(answer.read()) for answer in answers]
            for answer, each in zip(answers, told, strict=True):
                assert (answer.status, each.get("pictures"), each.get("code")) in (
                    (200, pictures, None),
                    (503, None, "busy"),
                )
            refused = [page for page, answer in zip(waiting, answers, strict=True) if answer.status == 503]
            assert len(refused) < len(waiting)
            waiting = refused
    finally:
        for page in pages:
            page.close()
    assert served.ask("GET", "/readyz").status == 200


def test_more_bodies_at_once_than_there_is_room_for_are_refused_until_one_ends(served: Served) -> None:
    begun = [socket.create_connection(served.place, timeout=20) for _ in range(16)]
    try:
        for connection in begun:
            connection.sendall(head("POST", UPLOADS, "Content-Length: 5000") + JPEG)
        for _ in range(100):  # until all of them have begun
            answer = served.ask("POST", UPLOADS, JPEG)
            if answer.status == 503:
                break
        assert (answer.status, answer.json["code"], answer.headers["retry-after"]) == (503, "busy", "1")
        assert served.ask("POST", SEARCH, {"query": {"item": 3}}).status == 200
    finally:
        for connection in begun:
            connection.close()
    for _ in range(100):
        answer = served.ask("POST", UPLOADS, JPEG)
        if answer.status != 503:
            break
        time.sleep(0.1)
    assert (answer.status, answer.json["code"]) == (422, "image")


def test_the_client_raises_the_errors_of_the_library(client: Client, served: Served) -> None:
    with pytest.raises(FilterError):
        client.search(1, where="width >")
    with pytest.raises(ItemMissingError):
        client.item(123456)
    with pytest.raises(QueryError, match=r"like\.0\.item: "):
        client.search(1, like=[-1])
    with pytest.raises(QueryError, match="No such file"):
        client.search("/no/such/file.jpg")
    with pytest.raises(ServerError, match=r"gone|cannot be shown"):
        client.original(COUNT)
    silent = Client("http://127.0.0.1:1")
    for _ in range(3):
        with pytest.raises(ServerError, match="no answer"):
            silent.info()
    assert silent._open == []  # a connection that failed is not kept
    with pytest.raises(ServerError, match="no address"):
        Client("photos.hg")
    assert len(client) >= COUNT


def test_a_library_that_is_deleted_is_told_and_one_that_comes_back_is_searched(served: Served, place: Path) -> None:
    shutil.move(place / "photos.hg", place / "away.hg")
    try:
        for method, path, body in (("GET", "/readyz", None), ("POST", SEARCH, {"query": {"item": 3}})):
            answer = served.ask(method, path, body)
            assert (answer.status, answer.json["code"]) == (503, "library_missing"), answer.body
            assert answer.headers["retry-after"]
        assert served.ask("GET", "/healthz").status == 200
    finally:
        shutil.move(place / "away.hg", place / "photos.hg")
    assert served.ask("POST", SEARCH, {"query": {"item": 3}}).status == 200


def test_one_request_is_one_line_of_the_log(served: Served) -> None:
    before = len(served.log.read_text().splitlines())
    answer = served.ask("GET", "/nothing/here?secret=1")
    for _ in range(100):
        lines = served.log.read_text().splitlines()[before:]
        if lines:
            break
        time.sleep(0.1)
    (line,) = lines
    assert " 404 GET /nothing/here " in line
    assert answer.headers["x-request-id"] in line
    assert "secret" not in line
