"""Adding from folders that a server allows, stopping, watching, and what is not followed: against a real server."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

pytest.importorskip("fastapi", reason="needs hashgrain[serve]")
pytest.importorskip("uvicorn", reason="needs hashgrain[serve]")

from conftest import fill, make_picture
from hashgrain import Client, Library
from hashgrain.errors import ServerError
from hashgrain.library.allowed_folders import is_below, may_hold_pictures, pictures_in
from hashgrain.server import adding, browse_schemas
from hashgrain.server.adding import Adding
from hashgrain.server.jobs import Jobs
from serving import Served, running, start

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("jobs")
    with Library.create(folder / "photos.hg", workers=1) as library:
        library.add(fill(folder / "first", 3))
    fill(folder / "new" / "deep", 5, start=10)
    (folder / "new" / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 broken")
    fill(folder / "elsewhere", 2, start=50)
    (folder / "new" / "link").symlink_to(folder / "elsewhere")
    (folder / "new" / "one.jpg").symlink_to(folder / "elsewhere" / "00050.jpg")
    (folder / "new" / "same.jpg").symlink_to(folder / "new" / "deep" / "00010.jpg")
    (folder / "watched").mkdir()
    return folder


@pytest.fixture(scope="module")
def served(place: Path) -> Iterator[Served]:
    folders = ("--folder", f"new={place / 'new'}", "--folder", f"seen={place / 'watched'}")
    with running(place / "photos.hg", place / "log.txt", "--writable", "--workers", 1, *folders) as server:
        yield server


@pytest.fixture(scope="module")
def client(served: Served) -> Iterator[Client]:
    with Client(served.address) as asking:
        yield asking


def wait(condition: Callable[[], Any]) -> Any:
    for _ in range(1200):
        if (value := condition()) is not None and value is not False:
            return value
        time.sleep(0.05)
    raise AssertionError("it never came")


def ended(client: Client, number: object) -> Any:
    """A job when it is over."""

    def over() -> Any:
        job = next(each for each in client.jobs() if each["id"] == number)
        return job if job["state"] not in ("waiting", "running") else None

    return wait(over)


def test_a_folder_is_added_by_its_name_and_no_link_is_followed_out_of_it(
    served: Served, client: Client, place: Path
) -> None:
    assert client.info()["features"] == {"folders": ["new", "seen"], "trash": False, "urls": False}
    begun = client.add_folder("new")
    browse_schemas.JobOut.model_validate(begun)
    job = ended(client, begun["id"])
    assert (job["kind"], job["folder"], job["state"]) == ("add", "new", "done")
    assert (job["added"], job["done"], job["total"]) == (6, 7, 7)  # five, and a link inside; one is broken
    assert job["failed"] == 1 + 3
    paths = {item.path for item in client.items()}
    assert {str(place / "new" / "deep" / f"{seed:05}.jpg") for seed in range(10, 15)} <= paths
    assert not any("elsewhere" in path or "link" in path or "one.jpg" in path for path in paths)
    assert ended(client, client.add_folder("new")["id"])["added"] == 0
    with Library.open(place / "photos.hg") as library:
        assert [Path(each.path).name for each in library.refusals()] == ["broken.jpg"]
        assert library.verify() == []


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"add": {"folder": "other"}}, 404, "folder_unknown"),
        ({"add": {"folder": "../new"}}, 404, "folder_unknown"),
        ({"add": {"folder": "/etc"}}, 404, "folder_unknown"),
        ({"add": {"path": "/etc"}}, 422, "bad_request"),
        ({"add": {"folder": "new", "path": "/etc"}}, 422, "bad_request"),
        ({}, 422, "bad_request"),
    ],
)
def test_no_path_comes_from_a_request(served: Served, body: Any, status: int, code: str) -> None:
    answer = served.ask("POST", "/api/v1/jobs", body)
    assert (answer.status, answer.json["code"]) == (status, code)
    assert served.ask("DELETE", "/api/v1/jobs/999").json["code"] == "job_unknown"


def test_a_job_is_stopped_where_it_is_and_others_write_meanwhile(client: Client, place: Path) -> None:
    fill(place / "watched", 800, start=1000)
    first, second = client.add_folder("seen"), client.add_folder("seen")
    assert client.stop_job(int(str(second["id"])))["state"] == "stopped"  # it waited

    def some_added() -> bool:
        return int(str(next(each for each in client.jobs() if each["id"] == first["id"])["done"])) > 0

    wait(some_added)
    client.tag([1], add=["while it adds"])
    client.stop_job(int(str(first["id"])))
    job = ended(client, first["id"])
    assert job["state"] == "stopped"
    added = len(client.items(where="path like '%watched%'"))
    assert added == job["added"]
    assert 0 < added < 800
    assert client.item(1).meta["tag"] == ["while it adds"]
    assert client.stop_job(int(str(first["id"])))["state"] == "stopped"


def test_what_comes_into_a_watched_folder_is_added(place: Path, tmp_path: Path) -> None:
    pytest.importorskip("watchfiles", reason="needs hashgrain[serve]")
    watched = fill(tmp_path / "watched", 2)
    with Library.create(watched / "photos.hg", workers=0):
        pass  # a library inside the folder that is watched does not wake the server by its own changes
    options = ("--writable", "--workers", 1, "--folder", f"here={watched}", "--watch")
    server = start(watched / "photos.hg", tmp_path / "log.txt", *options)
    try:
        with Client(server.address) as client:

            def names() -> set[str]:
                return {Path(item.path).name for item in client.items()}

            wait(lambda: names() == {"00000.jpg", "00001.jpg"})
            make_picture(7).save(watched / "seven.png")
            (watched / "notes.txt").write_text("no picture")
            aside = fill(tmp_path / "aside", 2, start=20)
            os.rename(aside, watched / "moved in")
            wait(lambda: names() == {"00000.jpg", "00001.jpg", "seven.png", "00020.jpg", "00021.jpg"})
            before = {item.path: item.content for item in client.items()}
            make_picture(8).save(watched / "seven.png")
            wait(lambda: {item.path: item.content for item in client.items()} != before)
            (watched / "00000.jpg").unlink()
            time.sleep(3)
            assert "00000.jpg" in names()
            jobs = client.jobs()
            assert {job["kind"] for job in jobs} == {"watch"}
            assert len(jobs) < 8
    finally:
        assert server.stop() == 0


def test_a_server_that_ends_while_it_adds_ends_well(tmp_path: Path) -> None:
    with Library.create(tmp_path / "photos.hg", workers=0):
        pass
    options = ("--writable", "--workers", 1, "--folder", f"many={fill(tmp_path / 'many', 400)}")
    server = start(tmp_path / "photos.hg", tmp_path / "log.txt", *options)
    with Client(server.address) as client:
        client.add_folder("many")
        wait(lambda: len(client.items()) > 0)
    assert server.stop() == 0
    assert server.log.read_text().splitlines()[-1] == "stopped"
    with Library.open(tmp_path / "photos.hg", "w") as library:
        assert library.verify() == []


# ---- the command


def test_folders_are_checked_before_anything_is_served(place: Path) -> None:
    from hashgrain.cli.serve import serve
    from hashgrain.server.running import check_settings
    from hashgrain.server.settings import Settings

    def told(*folders: tuple[str, Path]) -> Settings:
        return Settings(place / "photos.hg", writable=True, folders=folders)

    check_settings(told(("a", place / "new")))
    with pytest.raises(ServerError, match="the folder a, "):
        check_settings(told(("a", place / "nothing")))
    with pytest.raises(ServerError, match="is inside the library"):
        check_settings(told(("a", place / "photos.hg")))
    options: list[tuple[dict[str, Any], str]] = [
        ({"folder": [f"a={place}"]}, "--folder goes with --writable"),
        ({"writable": True, "watch": True}, "--watch goes with --folder"),
        ({"writable": True, "folder": ["a/b=/tmp"]}, "give NAME=PATH"),
        ({"writable": True, "folder": ["/tmp"]}, "give NAME=PATH"),
        ({"writable": True, "folder": ["a=/tmp", "a=/"]}, "the name a is given twice"),
    ]
    for given, message in options:
        with pytest.raises(typer.BadParameter, match=message):
            serve(place / "photos.hg", **given)


# ---- without a server


def test_a_path_is_below_a_folder_where_it_really_is(tmp_path: Path) -> None:
    home = tmp_path / "home"
    (home / "inner").mkdir(parents=True)
    (tmp_path / "homes").mkdir()
    (home / "out").symlink_to(tmp_path / "homes")
    (home / "back").symlink_to(home / "inner")
    real = os.path.realpath(home)
    for path, inside in (("inner/x", True), ("back/x", True), ("out/x", False), ("../homes/x", False), (".", False)):
        assert is_below(str(home / path), real) == inside, path


def test_what_changed_is_added_with_what_is_below_it(tmp_path: Path) -> None:
    folder = fill(tmp_path / "a", 3)
    fill(folder / "b", 2, start=5)
    (folder / ".hashgrainignore").write_text("00006*\n")
    paths = [each.path for each in pictures_in(folder, frozenset({str(folder / "00001.jpg"), str(folder / "b")}))]
    assert [Path(path).name for path in paths] == ["00001.jpg", "00005.jpg"]
    assert list(pictures_in(folder, frozenset({str(folder / "none.jpg")}))) == []
    for name, worth in (("a.jpg", True), ("a.TXT", False), (".a.jpg", False), ("b", True), ("no suffix", True)):
        assert may_hold_pictures(str(folder / name)) == worth, name


def test_one_job_adds_at_a_time_in_slices(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adding, "SLICE", 3)
    fill(tmp_path / "some", 8)
    running, most = [0], [0]
    writes: list[int] = []
    with Library.create(tmp_path / "photos.hg", workers=0) as library:
        lock = threading.Lock()

        def write(call: Callable[[Library], None]) -> None:
            running[0] += 1
            most[0] = max(most[0], running[0])
            with lock:
                call(library)
            writes.append(len(library))
            running[0] -= 1

        jobs = Jobs()
        worker = Adding({"some": tmp_path / "some"}, jobs, write)
        for _ in range(2):
            worker.begin("add", "some", parts=False)
        worker._pool.shutdown(wait=True)
        assert [(job["state"], job["added"], job["done"]) for job in jobs.documents()] == [
            ("done", 0, 8),
            ("done", 8, 8),
        ]
    assert (most[0], writes[:3]) == (1, [3, 6, 8])
