"""Pictures from addresses: which addresses are refused, and what a real https server of the test's own may do."""

from __future__ import annotations

import asyncio
import io
import json
import shutil
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("fastapi", reason="needs hashgrain[serve]")
pytest.importorskip("uvicorn", reason="needs hashgrain[serve]")

from conftest import fill, make_picture
from hashgrain import Client, Library
from hashgrain.errors import HashgrainError
from hashgrain.server import schemas
from hashgrain.server.app import application
from hashgrain.server.fetching import Fetcher, checked_url, is_public, public_address, resolved
from hashgrain.server.problems import ProblemError
from hashgrain.server.settings import Settings
from hashgrain.server.shared import SharedLibrary
from hashgrain.server.state import State
from serving import start

pytestmark = pytest.mark.timeout(300)
HOST = "pictures.example"
PUBLIC = "93.184.215.14"


# ---- the table of addresses


REFUSED = [
    "http://pictures.example/a.jpg",
    "ftp://pictures.example/a.jpg",
    "file:///etc/passwd",
    "data:image/png;base64,AAAA",
    "//pictures.example/a.jpg",
    "pictures.example/a.jpg",
    "https:///a.jpg",
    "https://",
    "https://:443/",
    "https://user@pictures.example/",
    "https://user:password@pictures.example/",
    "https://@pictures.example/",
    "https://pictures.example@127.0.0.1/",
    "https://pictures.example:80/",
    "https://pictures.example:8443/",
    "https://pictures.example:99999/",
    "https://pictures.example:x/",
    "https://2130706433/",
    "https://0x7f000001/",
    "https://0177.0.0.1/",
    "https://127.1/",
    "https://0x7f.1/",
    "https://127.0.0.1.nip.0x1/",
    "https://[::1/",
    "https://[fe80::1%25eth0]/",
    "https://[fe80::1%eth0]/",
    "https://[127.0.0.1]/",
    "https://pictures..example/",
    "https://pictures .example/",
    "https://pictures.example/a b",
    "https://pictures.example\\@127.0.0.1/",
    "https://pictures.example/\r\nHost: evil",
    "https://pictures.example/\0",
    "https://pict\u00fcres.example/",
    "https://\u2487\u2488.example/",
    "https://-a.example/",
    "https://%31%32%37.0.0.1/",
    "https://pictures.example/" + "a" * 2000,
]


@pytest.mark.parametrize("url", REFUSED)
def test_an_address_of_another_form_is_refused_before_its_name_is_looked_up(url: str) -> None:
    def never(*_: object) -> Any:
        raise AssertionError("it was looked up")

    with pytest.raises(ProblemError) as refused:
        Fetcher(1 << 20, resolve=never, connect=never).fetch(url)
    assert (refused.value.status_code, refused.value.code) == (422, "url")


NOT_PUBLIC = [
    *("127.0.0.1", "127.1.2.3", "0.0.0.0", "10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1"),
    *("169.254.169.254", "100.64.0.1", "192.0.0.1", "192.0.2.1", "198.18.0.1", "198.51.100.1", "203.0.113.1"),
    *("224.0.0.1", "239.255.255.255", "240.0.0.1", "255.255.255.255", "192.88.99.1"),
    *("::", "::1", "::127.0.0.1", "::ffff:127.0.0.1", "::ffff:8.8.8.8", "::ffff:0:127.0.0.1"),
    *("64:ff9b::127.0.0.1", "64:ff9b::8.8.8.8", "64:ff9b:1::1", "2002:7f00:1::", "2002:a00:1::1", "2001:0:1::1"),
    *("fe80::1", "fe80::1%lo", "fec0::1", "fc00::1", "fd12::1", "ff02::1", "2001:db8::1", "3fff::1", "100::1"),
    *("5f00::1", "4000::1", "", "localhost", "8.8.8.8 ", "08.8.8.8", "1.2.3"),
]


@pytest.mark.parametrize("address", NOT_PUBLIC)
def test_a_name_that_leads_to_an_address_that_is_not_public_is_not_connected_to(address: str) -> None:
    connected: list[str] = []

    def connect(to: str, seconds: float) -> socket.socket:
        connected.append(to)
        raise OSError("refused")

    for addresses in ([address], [PUBLIC, address], [address, PUBLIC]):
        fetcher = Fetcher(1 << 20, resolve=lambda host, some=addresses: some, connect=connect)
        with pytest.raises(ProblemError) as refused:
            fetcher.fetch(f"https://{HOST}/a.jpg")
        assert (refused.value.status_code, refused.value.code) == (422, "url")
    assert connected == []
    assert not is_public(address)


@pytest.mark.parametrize("address", ["8.8.8.8", PUBLIC, "1.1.1.1", "2606:4700::1111", "2a00:1450:4001::64"])
def test_public_addresses_are_public(address: str) -> None:
    assert is_public(address)
    assert public_address([address, "9.9.9.9"], HOST) == address


@given(st.ip_addresses())
def test_what_is_public_is_global_by_the_tables_of_python(address: Any) -> None:
    if is_public(str(address)):
        assert address.is_global
        assert not any((address.is_private, address.is_multicast, address.is_reserved, address.is_loopback))
        assert address.version == 4 or (address.ipv4_mapped, address.sixtofour, address.teredo) == (None, None, None)


@pytest.mark.parametrize("url", ["https://127.0.0.1/", "https://[::1]/", "https://localhost/", "https://localhost./"])
def test_this_machine_is_not_asked_whatever_it_is_called(url: str) -> None:
    with pytest.raises(ProblemError) as refused:
        Fetcher(1 << 20).fetch(url)
    assert (refused.value.status_code, refused.value.code) == (422, "url")


def test_usual_addresses_pass() -> None:
    for url in ("https://a.example/", "https://a.example:443/x?y=1#z", "HTTPS://A.EXAMPLE", "https://[2606::1]/a"):
        checked_url(url)
    assert "127.0.0.1" in resolved("127.0.0.1")


def test_no_host_and_no_answer_are_told() -> None:
    def nothing(host: str) -> list[str]:
        raise socket.gaierror(-2, "Name or service not known")

    def refusing(address: str, seconds: float) -> socket.socket:
        raise ConnectionRefusedError(111, "Connection refused")

    for fetcher in (
        Fetcher(10, resolve=nothing),
        Fetcher(10, resolve=lambda host: []),
        Fetcher(10, resolve=lambda host: [PUBLIC], connect=refusing),
    ):
        with pytest.raises(ProblemError, match="502") as failed:
            fetcher.fetch(f"https://{HOST}/")
        assert failed.value.code == "url_failed"


# ---- a real https server


Speak = Callable[[ssl.SSLSocket], None]


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A key, and a certificate for HOST that nobody but this test trusts."""
    if shutil.which("openssl") is None:
        pytest.skip("no openssl on this machine")
    folder = tmp_path_factory.mktemp("tls")
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    command += ["-keyout", "key.pem", "-out", "cert.pem", "-days", "2", "-subj", f"/CN={HOST}"]
    command += ["-addext", f"subjectAltName=DNS:{HOST}"]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    return folder / "cert.pem", folder / "key.pem"


class Serving:
    """An https server that says one thing to whoever connects, and what it was asked."""

    def __init__(self, certificate: tuple[Path, Path], speak: Speak) -> None:
        self.asked: list[bytes] = []
        self.speak = speak
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(*certificate)
        self.listening = socket.create_server(("127.0.0.1", 0))
        self.port = self.listening.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                plain, _ = self.listening.accept()
            except OSError:
                return
            try:
                with self.context.wrap_socket(plain, server_side=True) as connection:
                    self.asked.append(connection.recv(65536))
                    self.speak(connection)
            except OSError:
                continue

    def fetcher(self, certificate: Path, **options: Any) -> Fetcher:
        context = ssl.create_default_context(cafile=str(certificate))
        given: dict[str, Any] = {"most": 1 << 20, "seconds": 10.0, "context": context}
        given |= {"resolve": lambda host: [PUBLIC], "connect": self.connect}
        return Fetcher(**(given | options))

    def connect(self, address: str, seconds: float) -> socket.socket:
        assert address == PUBLIC
        return socket.create_connection(("127.0.0.1", self.port), timeout=seconds)


@pytest.fixture
def serving(certificate: tuple[Path, Path]) -> Iterator[Callable[[Speak], Serving]]:
    started: list[Serving] = []

    def begin(speak: Speak) -> Serving:
        started.append(Serving(certificate, speak))
        return started[-1]

    yield begin
    for each in started:
        each.listening.close()


def picture() -> bytes:
    file = io.BytesIO()
    make_picture(3).save(file, "png")
    return file.getvalue()


def answer(body: bytes, head: str = "200 OK", **headers: str) -> Speak:
    named = {"Content-Length": str(len(body)), **{key.replace("_", "-"): value for key, value in headers.items()}}
    lines = "".join(f"{name}: {value}\r\n" for name, value in named.items() if value)

    def speak(connection: ssl.SSLSocket) -> None:
        connection.sendall(f"HTTP/1.1 {head}\r\n{lines}\r\n".encode() + body)

    return speak


def chunked(connection: ssl.SSLSocket) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    for _ in range(200):
        connection.sendall(b"4000\r\n" + b"x" * 0x4000 + b"\r\n")


def drop_by_drop(connection: ssl.SSLSocket) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
    for _ in range(300):
        connection.sendall(b"x")
        time.sleep(0.1)


def endless_head(connection: ssl.SSLSocket) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\n")
    for number in range(300):
        connection.sendall(f"X-{number % 50}: ".encode())
        time.sleep(0.1)


def test_a_picture_is_fetched_from_the_address_that_was_checked(
    serving: Callable[[Speak], Serving], certificate: tuple[Path, Path]
) -> None:
    server = serving(answer(picture()))
    assert server.fetcher(certificate[0]).fetch(f"https://{HOST}/a%20b.png?x=1#part") == picture()
    head, *lines = server.asked[0].decode().split("\r\n")
    assert head == "GET /a%20b.png?x=1 HTTP/1.1"
    assert {f"Host: {HOST}", "Accept-Encoding: identity", "Connection: close"} <= set(lines)
    assert not any(line.lower().startswith(("cookie", "authorization", "referer")) for line in lines)


FAILING: dict[str, tuple[Speak, int, str]] = {
    "a redirect": (answer(b"", "302 Found", Location="https://pictures.example/b.png"), 502, "url_failed"),
    "a redirect inside": (answer(b"", "301 Moved", Location="https://169.254.169.254/latest"), 502, "url_failed"),
    "nothing there": (answer(b"", "404 Not Found"), 502, "url_failed"),
    "too many bytes, as promised": (answer(b"", Content_Length=str(1 << 30)), 413, "too_large"),
    "too many bytes, in chunks": (chunked, 413, "too_large"),
    "fewer bytes than promised": (answer(b"x", Content_Length="100"), 502, "url_failed"),
    "no HTTP": (lambda connection: connection.sendall(b"hello\r\n\r\n"), 502, "url_failed"),
    "nothing": (lambda connection: None, 502, "url_failed"),
    "a long head": (answer(b"", X_Long="x" * 100_000), 502, "url_failed"),
}


@pytest.mark.parametrize("name", FAILING)
def test_an_answer_that_is_no_picture_is_told(
    serving: Callable[[Speak], Serving], certificate: tuple[Path, Path], name: str
) -> None:
    speak, status, code = FAILING[name]
    server = serving(speak)
    with pytest.raises(ProblemError) as failed:
        server.fetcher(certificate[0]).fetch(f"https://{HOST}/")
    assert (failed.value.status_code, failed.value.code) == (status, code)
    assert len(server.asked) == 1  # no redirect was followed


@pytest.mark.parametrize("speak", [drop_by_drop, endless_head])
def test_the_time_ends_for_a_server_that_sends_drop_by_drop(
    serving: Callable[[Speak], Serving], certificate: tuple[Path, Path], speak: Speak
) -> None:
    began = time.monotonic()
    with pytest.raises(ProblemError) as failed:
        serving(speak).fetcher(certificate[0], seconds=1.0).fetch(f"https://{HOST}/")
    assert failed.value.code == "url_failed"
    assert time.monotonic() - began < 6


def test_a_certificate_that_nobody_trusts_or_of_another_name_is_refused(
    serving: Callable[[Speak], Serving], certificate: tuple[Path, Path]
) -> None:
    server = serving(answer(picture()))
    for fetcher, host in (
        (server.fetcher(certificate[0], context=ssl.create_default_context()), HOST),
        (server.fetcher(certificate[0]), "other.example"),
    ):
        with pytest.raises(ProblemError, match="502") as failed:
            fetcher.fetch(f"https://{host}/")
        assert failed.value.code == "url_failed"
    assert server.asked == []


# ---- over HTTP


def posted(state: State, url: str) -> tuple[int, Any]:
    """The answer of the application to an address."""
    body = json.dumps({"url": url}).encode()
    headers = [(b"host", b"localhost"), (b"content-type", b"application/json")]
    scope = {"type": "http", "method": "POST", "path": "/api/v1/uploads/from-url", "query_string": b"", "state": {}}
    scope |= {"raw_path": b"/api/v1/uploads/from-url", "root_path": "", "scheme": "http", "http_version": "1.1"}
    scope |= {"headers": headers, "client": ("127.0.0.1", 1), "server": ("localhost", 80)}
    sent: list[Any] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    with ThreadPoolExecutor(1) as thread:  # tests of the page leave an event loop behind in this one
        thread.submit(asyncio.run, application(state)(scope, receive, send)).result()
    return sent[0]["status"], json.loads(b"".join(each.get("body", b"") for each in sent[1:]))


def test_a_picture_from_an_address_is_searched_with_like_one_that_was_sent(
    serving: Callable[[Speak], Serving], certificate: tuple[Path, Path], tmp_path: Path
) -> None:
    with Library.create(tmp_path / "photos.hg", workers=0) as library:
        library.add(fill(tmp_path / "pictures", 4))
    settings = Settings(tmp_path / "photos.hg", urls=True, quiet=True)
    state = State(settings, SharedLibrary(settings.library, writable=False, workers=1))
    try:
        server = serving(answer(picture()))
        state.fetcher = server.fetcher(certificate[0])
        status, told = posted(state, f"https://{HOST}/a.png")
        assert status == 201
        schemas.UploadOut.model_validate(told)
        assert state.uploads.get(told["upload"]).data == picture()
        server.speak = answer(b"<html>no picture</html>")
        assert posted(state, f"https://{HOST}/a.png")[1]["code"] == "no_picture"
        state.settings = replace(settings, urls=False)
        status, told = posted(state, f"https://{HOST}/a.png")
        assert (status, told["code"]) == (403, "no_urls")
    finally:
        state.close()


def test_a_real_server_asks_no_machine_of_its_own_network(tmp_path: Path) -> None:
    with Library.create(tmp_path / "photos.hg", workers=0) as library:
        library.add(fill(tmp_path / "pictures", 2))
    served = start(tmp_path / "photos.hg", tmp_path / "log.txt", "--urls", "--workers", 1)
    try:
        host, port = served.place
        for url in (f"https://{host}:{port}/", "https://127.0.0.1/", "https://[::ffff:127.0.0.1]/", "https://0/"):
            told = served.ask("POST", "/api/v1/uploads/from-url", {"url": url})
            assert (told.status, told.json["code"]) == (422, "url"), url
        assert served.ask("GET", "/api/v1/library").json["features"]["urls"] is True
        with Client(served.address) as client, pytest.raises(HashgrainError, match="not public"):
            client.search("https://localhost/cat.jpg")
        assert "cat.jpg" not in served.log.read_text()
    finally:
        assert served.stop() == 0
