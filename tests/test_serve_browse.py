"""What a server computes for the whole library: scenes, duplicates and the trash. And the jobs that it lists."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

pytest.importorskip("fastapi", reason="needs hashgrain[serve]")
pytest.importorskip("uvicorn", reason="needs hashgrain[serve]")

from conftest import fill, make_picture
from hashgrain import Client, Library
from hashgrain.apps.duplicates import find_duplicates
from hashgrain.apps.scenes import scenes
from hashgrain.errors import QueryError, ServerError
from hashgrain.server import browse_schemas
from hashgrain.server.computed import Computed
from hashgrain.server.jobs import Job, Jobs
from hashgrain.server.problems import ProblemError
from hashgrain.server.shared import SharedLibrary
from serving import Served, running

pytestmark = pytest.mark.timeout(300)
COUNT = 14


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures, of which three have smaller copies, the first of them two."""
    folder = tmp_path_factory.mktemp("browse")
    pictures = fill(folder / "pictures", COUNT)
    for name, seed, size in (("a", 0, (60, 45)), ("b", 0, (40, 30)), ("c", 3, (60, 45)), ("d", 5, (60, 45))):
        make_picture(seed).resize(size).save(pictures / f"{name}.png")
    with Library.create(folder / "photos.hg", workers=1) as library:
        library.add(pictures)
    return folder


@pytest.fixture(scope="module")
def served(place: Path) -> Iterator[Served]:
    options = ("--writable", "--trash", place / "trash", "--workers", 1)
    with running(place / "photos.hg", place / "log.txt", *options) as server:
        yield server


@pytest.fixture(scope="module")
def client(served: Served) -> Iterator[Client]:
    with Client(served.address) as asking:
        yield asking


@pytest.fixture
def library(place: Path, served: Served) -> Iterator[Library]:
    with Library.open(place / "photos.hg", workers=0) as opened:
        yield opened


def until_made(served: Served, path: str) -> Any:
    while (answer := served.ask("GET", path)).status == 202:
        browse_schemas.MakingOut.model_validate(answer.json)
        time.sleep(0.1)
    assert answer.status == 200, answer.body
    return answer.json


def test_the_server_says_what_it_was_started_with(client: Client) -> None:
    assert client.info()["features"] == {"folders": [], "trash": True, "urls": False}


def test_the_tree_is_that_of_scenes_and_its_groups_hold_every_item_once(
    served: Served, client: Client, library: Library
) -> None:
    told = until_made(served, "/api/v1/scenes")
    browse_schemas.ScenesAnswer.model_validate(told)
    found = scenes(library)
    assert told["total"]["items"] == len(library)
    assert [(kind["count"], kind["item"]) for kind in told["kinds"]] == [
        (group.count, group.representative.id) for group in found.groups
    ]
    members: list[int] = []
    for kind, group in zip(told["kinds"], found.groups, strict=True):
        ids = [item.id for item in client.scene(kind["id"])]
        assert ids == [item.id for item in group.items()]
        assert len(ids) == kind["count"]
        assert [thing["item"] for thing in kind["things"]] == [thing.representative.id for thing in group.groups]
        for thing, finer in zip(kind["things"], group.groups, strict=True):
            assert [item.id for item in client.scene(thing["id"])] == [item.id for item in finer.items()]
        members += ids
    assert sorted(members) == [item.id for item in library.items()]


def test_a_group_comes_page_by_page_and_one_that_is_not_there_is_a_problem(served: Served, client: Client) -> None:
    largest = until_made(served, "/api/v1/scenes")["kinds"][0]
    whole = [item.id for item in client.scene(largest["id"])]
    paged, cursor = [], ""
    while cursor is not None:
        answer = served.ask("GET", f"/api/v1/scenes/{largest['id']}?k=2{cursor and '&cursor=' + cursor}").json
        paged += [item["id"] for item in answer["items"]]
        cursor = answer["next"]
    assert paged == whole
    for name, status, code in (("999", 404, "scene_gone"), ("1.999", 404, "scene_gone"), ("x", 422, "bad_request")):
        answer = served.ask("GET", f"/api/v1/scenes/{name}")
        assert (answer.status, answer.json["code"]) == (status, code)


def test_an_answer_of_the_library_as_it_was_is_given_until_the_next_is_ready(served: Served, client: Client) -> None:
    before = until_made(served, "/api/v1/scenes")
    client.tag([1], add=["seen"])
    assert served.ask("GET", "/api/v1/scenes").json["version"] == before["version"]  # codes did not change
    removal = client.remove_together([14])
    statuses: list[int] = []
    versions: list[Any] = []
    while not versions or versions[-1] == before["version"]:
        answer = served.ask("GET", "/api/v1/scenes")
        statuses.append(answer.status)
        versions.append(answer.json["version"])
        time.sleep(0.05)
    assert set(statuses) == {200}
    assert until_made(served, "/api/v1/scenes")["total"]["items"] == before["total"]["items"] - 1
    client.undo_together(removal)


def settled(client: Client) -> list[Any]:
    """The duplicates of the library as it is now."""
    client.duplicates()  # of the library as it was, perhaps
    while any(job["state"] in ("waiting", "running") for job in client.jobs()):
        time.sleep(0.05)
    return list(client.duplicates())


def test_the_duplicates_are_those_of_the_library(served: Served, client: Client, library: Library) -> None:
    told = until_made(served, "/api/v1/duplicates?word=same&k=2")
    browse_schemas.DuplicatesAnswer.model_validate(told)
    found = find_duplicates(library, word="same")
    assert len(found.groups) >= 3
    assert told["total"] == {"groups": len(found.groups), "copies": len(found.copies)}
    assert len(told["groups"]) == 2
    groups = settled(client)
    assert [(group["kept"]["id"], [copy["item"]["id"] for copy in group["copies"]]) for group in groups] == [
        (group.kept.id, [copy.item.id for copy in group.copies]) for group in found.groups
    ]
    assert groups[0]["copies"][0]["reasons"] == [found.groups[0].copies[0].reason]
    assert served.ask("GET", "/api/v1/duplicates?word=alike").status == 422


def members_of(group: Any) -> list[Any]:
    return [group["kept"], *(copy["item"] for copy in group["copies"])]


def test_copies_go_to_the_trash_and_come_back(served: Served, client: Client, place: Path) -> None:
    groups = settled(client)
    first = groups[0]
    copies = [copy["item"] for copy in first["copies"]]
    contents = {copy["path"]: Path(copy["path"]).read_bytes() for copy in copies}
    undo, left = client.trash([copy["id"] for copy in copies])
    assert undo is not None
    assert left == {}
    assert not any(Path(path).exists() for path in contents)
    assert {file.read_bytes() for file in (place / "trash").iterdir()} == set(contents.values())
    assert Path(first["kept"]["path"]).exists()
    assert {item.id for item in client.items()}.isdisjoint({copy["id"] for copy in copies})
    now: list[Any] = list(client.duplicates())
    assert [group["kept"]["id"] for group in now] == [group["kept"]["id"] for group in groups[1:]]
    restored, refused = client.undo_together(undo)
    assert (len(restored), refused) == (len(copies), {})
    assert {path: Path(path).read_bytes() for path in contents} == contents
    assert {item.path for item in client.items(restored)} == set(contents)
    again: list[Any] = list(client.duplicates())  # as they were found before, or by now anew
    assert [member["path"] for member in members_of(again[0])] == [member["path"] for member in members_of(first)]
    assert {copy["item"]["id"] for copy in again[0]["copies"]} == set(restored)


def test_only_copies_go_and_one_of_each_group_stays(served: Served, client: Client, place: Path) -> None:
    groups = settled(client)
    found = {item["id"] for group in groups for item in members_of(group)}
    other = next(item.id for item in client.items() if item.id not in found)
    group = groups[0]
    members = [item["id"] for item in members_of(group)]
    undo, left = client.trash([*members, other, 999])
    no_copy, last = "is no copy that was found", "is the last one of its copies"
    assert left == {other: no_copy, 999: no_copy, members[0]: last}
    assert Path(group["kept"]["path"]).exists()
    assert undo is not None
    client.undo_together(undo)
    group = settled(client)[0]
    undo, left = client.trash(group["kept"]["id"])  # another one is kept instead
    assert (Path(group["kept"]["path"]).exists(), left) == (False, {})
    assert Path(group["copies"][0]["item"]["path"]).exists()
    assert undo is not None
    client.undo_together(undo)


def test_a_copy_that_changed_since_stays_where_it_is(served: Served, client: Client) -> None:
    group = settled(client)[-1]
    copy = group["copies"][0]["item"]
    content = Path(copy["path"]).read_bytes()
    Path(copy["path"]).write_bytes(content + b"changed")
    try:
        undo, left = client.trash(copy["id"])
    finally:
        Path(copy["path"]).write_bytes(content)
    assert undo is None
    assert "changed" in left[copy["id"]]
    assert Path(copy["path"]).exists()


def test_what_was_computed_is_among_the_jobs(served: Served, client: Client) -> None:
    until_made(served, "/api/v1/scenes")
    settled(client)
    told = served.ask("GET", "/api/v1/jobs").json
    browse_schemas.JobsAnswer.model_validate(told)
    kinds = {(job["kind"], job["state"]) for job in told["jobs"]}
    assert {("scenes", "done"), ("duplicates", "done")} <= kinds
    assert [job["id"] for job in told["jobs"]] == sorted((job["id"] for job in told["jobs"]), reverse=True)


# ---- what is refused


def test_a_trash_needs_a_server_that_may_write_and_a_folder_outside(place: Path) -> None:
    from hashgrain.cli.serve import serve
    from hashgrain.server.running import check_settings
    from hashgrain.server.settings import Settings

    with pytest.raises(ServerError, match="inside the library"):
        check_settings(Settings(place / "photos.hg", trash=place / "photos.hg" / "trash"))
    with pytest.raises(ServerError, match="is not a folder"):
        check_settings(Settings(place / "photos.hg", trash=place / "log.txt"))
    with pytest.raises(typer.BadParameter, match="--trash goes with --writable"):
        serve(place / "photos.hg", trash=place / "trash")


# ---- the lane, without a server


@pytest.fixture
def shared(tmp_path: Path) -> Iterator[SharedLibrary]:
    with Library.create(tmp_path / "some.hg", workers=0) as library:
        library.add(fill(tmp_path / "some", 3))
    opened = SharedLibrary(tmp_path / "some.hg", writable=True, workers=0)
    yield opened
    opened.close()


def wait(condition: Any) -> None:
    for _ in range(1000):
        if condition():
            return
        time.sleep(0.01)
    raise AssertionError("it never came")


def test_each_state_of_the_library_is_computed_once_and_searches_do_not_wait(shared: SharedLibrary) -> None:
    computed, gate, made = Computed(shared, Jobs()), threading.Event(), []

    def make(library: Library, job: Job) -> int:
        job.total = 4
        job.reached(1)
        gate.wait(20)
        made.append(len(library))
        return len(library)

    with shared.using() as library:
        assert computed.get(library, "scenes", "x", make) in (0.0, 0.25)
        wait(lambda: computed.get(library, "scenes", "x", make) == 0.25)
        assert len(library.search(1, k=2)) == 2
        gate.set()
        wait(lambda: not isinstance(computed.get(library, "scenes", "x", make), float))
        first: Any = computed.get(library, "scenes", "x", make)
        assert (first.value, made) == (3, [3])
        gate.clear()
        library.remove([1])
        assert computed.get(library, "scenes", "x", make) == first  # as it was
        gate.set()
        wait(lambda: computed.get(library, "scenes", "x", make) != first)
        assert made == [3, 2]
    computed.close()


def test_what_cannot_be_computed_is_an_error_until_the_library_changes(shared: SharedLibrary) -> None:
    jobs = Jobs()
    computed, calls = Computed(shared, jobs), []

    def make(library: Library, job: Job) -> int:
        calls.append(len(library))
        if len(library) == 3:
            raise QueryError("three are too many")
        return len(library)

    def error(library: Library) -> Any:
        try:
            return computed.get(library, "scenes", "x", make)
        except Exception as raised:
            return raised

    with shared.using() as library:
        wait(lambda: getattr(error(library), "code", "") == "query")
        error(library)
        assert calls == [3]
        assert [(job["state"], job["text"]) for job in jobs.documents()] == [("failed", "three are too many")]
        library.remove([1])
        wait(lambda: getattr(error(library), "value", None) == 2)
    computed.close()


def test_what_failed_by_chance_is_tried_again(shared: SharedLibrary) -> None:
    computed, calls = Computed(shared, Jobs()), []

    def make(library: Library, job: Job) -> int:
        calls.append(1)
        if len(calls) == 1:
            raise MemoryError
        return 7

    def value(library: Library) -> Any:
        try:
            return getattr(computed.get(library, "scenes", "x", make), "value", None)
        except ProblemError as error:
            return error.code

    with shared.using() as library:
        wait(lambda: value(library) == "internal")
        wait(lambda: value(library) == 7)
    computed.close()


def test_a_server_that_ends_stops_what_is_computed(shared: SharedLibrary) -> None:
    jobs = Jobs()
    computed = Computed(shared, jobs)

    def make(library: Library, job: Job) -> None:
        for step in range(100_000):
            job.reached(step)
            time.sleep(0.01)

    with shared.using() as library:
        computed.get(library, "scenes", "x", make)
        wait(lambda: jobs.documents()[0]["done"] > 2)
    jobs.stop_all()
    computed.close()
    assert jobs.documents()[0]["state"] == "stopped"


def test_the_last_jobs_are_kept_and_none_that_is_not_over(tmp_path: Path) -> None:
    jobs = Jobs(most=3)
    lasting = jobs.new("add")
    for _ in range(6):
        jobs.new("scenes").state = "done"
    jobs.new("map")
    told = [(job["id"], job["kind"]) for job in jobs.documents()]
    assert told[-1] == (lasting.id, "add")
    assert [number for number, _ in told] == [8, 7, 1]
