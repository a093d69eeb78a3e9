"""`hashgrain serve --writable` with a token: who may ask, what changes the library, and how the server ends."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("fastapi", reason="needs hashgrain[serve]")
pytest.importorskip("uvicorn", reason="needs hashgrain[serve]")

from conftest import Run, fill, make_picture
from hashgrain import Client, Library
from hashgrain.errors import HashgrainError, ImageError, ServerError
from serving import Answer, Served, running, start

pytestmark = pytest.mark.timeout(300)
TOKEN = "correct-horse-battery-staple"
BEARER = {"Authorization": f"Bearer {TOKEN}"}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("serve")
    with Library.create(folder / "photos.hg", workers=1) as library:
        library.add(fill(folder / "pictures", 12))
    (folder / "token").write_text(f"{TOKEN}\n")
    (folder / "token").chmod(0o600)
    return folder


@pytest.fixture(scope="module")
def served(place: Path) -> Iterator[Served]:
    options = ("--writable", "--token-file", place / "token", "--log-json", "--allow-host", "photos.example")
    server = start(place / "photos.hg", place / "log.txt", *options, "--workers", 1)
    yield server
    server.stop()


@pytest.fixture(scope="module")
def client(served: Served) -> Iterator[Client]:
    with Client(served.address, TOKEN) as asking:
        yield asking


def png(seed: int) -> bytes:
    import io

    file = io.BytesIO()
    make_picture(seed).save(file, "png")
    return file.getvalue()


# ---- who may ask


@pytest.mark.parametrize(
    "path", ["/api/v1/library", "/api/v1/items/1/thumbnail", "/metrics", "/openapi.json", "/static/x"]
)
@pytest.mark.parametrize(
    "headers",
    [{}, {"Authorization": f"Bearer {TOKEN}x"}, {"Authorization": f"Basic {TOKEN}"}, {"Cookie": f"x={TOKEN}"}],
)
def test_who_has_no_token_learns_nothing(served: Served, path: str, headers: dict[str, str]) -> None:
    answer = served.ask("GET", path, headers=headers)
    assert (answer.status, answer.json["code"]) == (401, "token")
    assert answer.headers["www-authenticate"] == "Bearer"


def test_who_looks_after_servers_needs_no_token(served: Served) -> None:
    assert served.ask("GET", "/healthz").status == 200
    assert served.ask("GET", "/readyz").status == 200
    assert served.ask("GET", "/api/v1/library", headers=BEARER).status == 200


def test_a_browser_changes_the_token_for_a_cookie(served: Served) -> None:
    asked = served.ask("GET", "/")
    assert (asked.status, asked.headers["content-type"]) == (401, "text/html; charset=utf-8")
    assert served.ask("GET", "/?token=wrong").status == 401
    answer = served.ask("GET", f"/?token={TOKEN}")
    assert (answer.status, answer.headers["location"]) == (303, "./")
    cookie, *rest = answer.headers["set-cookie"].split("; ")
    assert {"HttpOnly", "SameSite=Strict", "Path=/"} <= set(rest)
    assert TOKEN not in cookie
    assert served.ask("GET", "/", headers={"Cookie": cookie}).status == 200
    assert served.ask("GET", "/api/v1/library", headers={"Cookie": cookie}).status == 200
    assert served.ask("GET", "/api/v1/library", headers={"Cookie": cookie[:-1]}).status == 401


def test_a_browser_of_another_site_changes_nothing(served: Served, place: Path) -> None:
    (host, port), cookie = served.place, served.ask("GET", f"/?token={TOKEN}").headers["set-cookie"].split(";")[0]
    for headers in (
        {"Origin": "http://evil.example"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Origin": f"http://{host}:1"},
    ):
        answer = served.ask("DELETE", "/api/v1/items/1", headers={"Cookie": cookie, **headers})
        assert (answer.status, answer.json["code"]) == (403, "cross_site")
    own = {"Cookie": cookie, "Origin": f"http://{host}:{port}", "Sec-Fetch-Site": "same-origin"}
    assert served.ask("PATCH", "/api/v1/items/1/meta", {"set": {"seen": True}}, own).status == 200
    assert served.ask("GET", "/healthz", headers={"Host": "photos.example"}).status == 200


# ---- changes


def test_a_picture_is_added_and_found_at_once(client: Client, place: Path) -> None:
    content = png(100)
    item = client.add(content, name="../../etc/new one.png")
    assert Path(item.path).parent == place / "photos.hg" / "pictures"
    assert Path(item.path).name.endswith("-new one.png")
    assert Path(item.path).read_bytes() == content
    assert client.search(content, k=1)[0].id == item.id
    assert client.original(item.id) == content
    assert client.add(content, name="again.png") == item
    with Library.open(place / "photos.hg") as library:
        assert library.item(item.id) == item
        assert library.verify() == []


def test_what_is_no_picture_leaves_nothing_behind(client: Client, place: Path) -> None:
    before = sorted((place / "photos.hg" / "pictures").iterdir())
    with pytest.raises(ImageError):
        client.add(png(101)[:200], name="cut.png")
    assert sorted((place / "photos.hg" / "pictures").iterdir()) == before
    with Library.open(place / "photos.hg") as library:
        assert library.refusals() == []


def test_a_full_disk_refuses_what_comes_and_loses_nothing(tmp_path: Path) -> None:
    """No file of the server may grow, which is what a full disk looks like from inside."""
    resource = pytest.importorskip("resource")
    if not hasattr(resource, "prlimit"):
        pytest.skip("limits of another process can be set on Linux alone")
    with Library.create(tmp_path / "photos.hg", workers=1) as library:
        library.add(fill(tmp_path / "pictures", 4))
    with running(tmp_path / "photos.hg", tmp_path / "log.txt", "--writable", "--workers", 1) as served:

        def add(seed: int) -> Answer:
            return served.ask("POST", f"/api/v1/items?name={seed}.png", png(seed))

        def let_files_grow(size: int) -> None:
            resource.prlimit(served.process.pid, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))

        acknowledged = [add(100).json["item"]["id"]]
        let_files_grow(1_000)
        for method, path, body in (
            ("POST", "/api/v1/items?name=101.png", png(101)),
            ("PATCH", "/api/v1/items/1/meta", {"set": {"seen": True}}),
            ("DELETE", "/api/v1/items/2", None),
        ):
            refused = served.ask(method, path, body)
            # Of some writes SQLite says that they failed, and not why.
            assert (refused.status, refused.json["code"]) in ((507, "disk_full"), (503, "library")), path
            assert re.search("the disk (is|may be) full", refused.json["detail"])
        assert len(served.ask("POST", "/api/v1/search", {"query": {"item": 1}}).json["hits"]) == 4
        assert served.ask("GET", "/api/v1/items/3/thumbnail").status == 200
        let_files_grow(resource.RLIM_INFINITY)
        acknowledged.append(add(102).json["item"]["id"])
    with Library.open(tmp_path / "photos.hg") as library:
        assert library.verify() == []
        assert [each.id for each in library.items()] == [1, 2, 3, 4, *acknowledged]
        assert library.item(1).meta == {}


def test_a_removed_item_comes_back_as_it_was(client: Client, place: Path) -> None:
    before = client.item(4)
    client.meta(4, set={"place.city": "Bergen", "stars": 4})
    changed = client.item(4)
    assert changed.meta == {**before.meta, "place": {"city": "Bergen"}, "stars": 4}
    hits = client.search(5, k=20)
    (removal,) = client.remove(4)
    assert 4 not in [hit.id for hit in client.search(5, k=20)]
    back = client.undo(removal)
    assert (back.path, back.meta, back.content) == (changed.path, changed.meta, changed.content)
    again = client.search(5, k=20)
    assert sorted((hit.distance, hit.path) for hit in again) == sorted((hit.distance, hit.path) for hit in hits)
    with pytest.raises(ServerError, match="cannot be undone"):
        client.undo(removal)
    with Library.open(place / "photos.hg") as library:
        assert library.kept_out() == []


def test_metadata_that_cannot_be_kept_is_refused(served: Served) -> None:
    for values in ({"x": float("nan")}, {"": 1}, {"deep": json.loads("[" * 80 + "]" * 80)}):
        answer = served.ask("PATCH", "/api/v1/items/2/meta", {"set": values}, BEARER)
        assert answer.status == 422, answer.body
    assert served.ask("PATCH", "/api/v1/items/123456/meta", {"set": {"x": 1}}, BEARER).status == 404


def test_many_add_at_once_and_each_picture_that_was_acknowledged_is_there(served: Served, place: Path) -> None:
    added: list[str] = []

    def add(first: int) -> None:
        with Client(served.address, TOKEN) as own:
            added.extend(own.add(png(seed), name=f"{seed}.png").path for seed in range(first, first + 3))

    threads = [threading.Thread(target=add, args=(first,)) for first in (200, 210, 220)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with Library.open(place / "photos.hg") as library:
        assert set(added) <= {item.path for item in library.items()}
    assert len(set(added)) == 9


def test_a_second_writer_only_reads_and_says_who_writes(served: Served, place: Path, tmp_path: Path) -> None:
    more = ("--writable", "--workers", 1, "--trash", tmp_path / "trash")
    second = start(place / "photos.hg", tmp_path / "log.txt", *more)
    told = second.ask("GET", "/api/v1/library").json
    assert (told["writable"], told["features"]["trash"]) == (False, False)
    assert second.ask("POST", "/api/v1/search", {"query": {"item": 2}}).status == 200
    refused = second.ask("POST", "/api/v1/items?name=a.png", png(77))
    assert (refused.status, refused.json["code"]) == (403, "read_only")
    assert second.stop() == 0
    said = second.log.read_text().splitlines()[0]
    assert f"written to by process {served.process.pid}, so this server only reads" in said


# ---- the end


def test_a_search_that_was_begun_is_finished_when_the_server_is_stopped(served: Served, place: Path) -> None:
    """The last test of this server. The log is read, too: it has neither the token nor bytes of pictures."""
    upload = served.ask("POST", "/api/v1/uploads", png(5), BEARER).json["upload"]
    boxes = [[x / 10, 0.0, x / 10 + 0.3, 0.9] for x in range(7)]
    request = {"query": {"upload": upload}, "boxes": boxes, "turned": True}
    answers: list[Answer] = []
    asking = [
        threading.Thread(target=lambda: answers.append(served.ask("POST", "/api/v1/search", request, BEARER)))
        for _ in range(3)
    ]
    open_calls = 0
    for thread in asking:
        thread.start()
    while open_calls < 1 and any(thread.is_alive() for thread in asking):
        counted = served.ask("GET", "/metrics", headers=BEARER).body.decode()
        line = next(each for each in counted.splitlines() if each.startswith('hashgrain_calls_open{lane="search"}'))
        open_calls = int(float(line.split()[-1]))
    served.process.terminate()
    for thread in asking:
        thread.join()
    assert served.process.wait(100) == 0
    assert [answer.status for answer in answers] == [200, 200, 200]
    assert all(len(answer.json["hits"]) > 10 for answer in answers)
    *lines, last = served.log.read_text().splitlines()
    assert last == "stopped"
    assert TOKEN not in served.log.read_text()
    parsed = [json.loads(line) for line in lines]
    assert {"time", "status", "method", "path", "milliseconds", "request_id", "client"} <= set(parsed[0])
    assert not any("failure" in line for line in parsed)
    with Library.open(place / "photos.hg", "w") as library:  # the lock is free again
        assert library.verify() == []


# ---- the command


def test_a_public_address_takes_a_token(monkeypatch: pytest.MonkeyPatch, place: Path, tmp_path: Path) -> None:
    from hashgrain.server.running import check_settings
    from hashgrain.server.settings import Settings, is_loopback

    for host in ("0.0.0.0", "::", "192.168.1.5", "photos.example"):
        with pytest.raises(ServerError, match="a token is needed"):
            check_settings(Settings(place / "photos.hg", host=host))
        check_settings(Settings(place / "photos.hg", host=host, token=TOKEN))
    assert all(map(is_loopback, ("localhost", "127.0.0.1", "127.1.2.3", "::1", "[::1]")))


def test_a_token_is_long_and_nobody_elses(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from hashgrain.cli.serve import _token

    monkeypatch.delenv("HASHGRAIN_SERVE_TOKEN", raising=False)
    assert _token(None) is None
    monkeypatch.setenv("HASHGRAIN_SERVE_TOKEN", TOKEN)
    assert _token(None) == TOKEN
    monkeypatch.setenv("HASHGRAIN_SERVE_TOKEN", "short")
    with pytest.raises(HashgrainError, match="HASHGRAIN_SERVE_TOKEN holds no token"):
        _token(None)
    file = tmp_path / "token"
    file.write_text(f"  {TOKEN}\n")
    file.chmod(0o600)
    assert _token(file) == TOKEN
    file.chmod(0o644)
    with pytest.raises(HashgrainError, match="can be read by other users"):
        _token(file)
    file.write_text("two words of a token")
    file.chmod(0o600)
    with pytest.raises(HashgrainError, match="holds no token"):
        _token(file)


def test_without_the_extra_the_command_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import sys

    from hashgrain.cli.serve import serve

    for name in [name for name in sys.modules if name.startswith("hashgrain.server.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    with pytest.raises(HashgrainError, match=r"serving needs uvicorn: pip install 'hashgrain\[serve\]'"):
        serve(tmp_path / "none.hg")


def test_what_cannot_be_served_is_an_error_of_one_line(hashgrain: Run, tmp_path: Path) -> None:
    import socket

    done = hashgrain("serve", "none.hg", "--port", 0, timeout=200)
    assert (done.returncode, len(done.stderr.splitlines())) == (1, 1), done.stderr
    assert b"none.hg" in done.stderr
    with socket.create_server(("127.0.0.1", 0)) as taken:
        from hashgrain.server.running import serve
        from hashgrain.server.settings import Settings

        settings = Settings(tmp_path / "none.hg", port=taken.getsockname()[1])
        with pytest.raises(ServerError, match=r"cannot listen at 127\.0\.0\.1"):
            serve(settings, lambda address, state: None)
