"""Tags, several items at once, and the filter by ids: over HTTP against a server that may write, and in a library."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("fastapi", reason="needs hashgrain[serve]")
pytest.importorskip("uvicorn", reason="needs hashgrain[serve]")

from conftest import fill
from hashgrain import Client, Library
from hashgrain.codes import Grains
from hashgrain.errors import ItemMissingError, ServerError
from hashgrain.library.name_lists import change_names, undo_names
from hashgrain.library.taking_out import take_out
from hashgrain.server import schemas
from hashgrain.server.problems import ProblemError
from hashgrain.server.removals import Move, Removal, Removals
from hashgrain.store import New, Store
from made_duplicates import code_of
from serving import Served, running

pytestmark = pytest.mark.timeout(300)
COUNT = 12


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tags")
    with Library.create(folder / "photos.hg", workers=1) as library:
        library.add(fill(folder / "pictures", COUNT), meta={"album": "May"})
        library.meta([1, 2, 3], set={"stars": 4})
        library.meta([4], set={"place": {"city": "Oslo"}, "tag": "old"})
    return folder


@pytest.fixture(scope="module")
def served(place: Path) -> Iterator[Served]:
    with running(place / "photos.hg", place / "log.txt", "--writable", "--workers", 1) as server:
        yield server


@pytest.fixture(scope="module")
def client(served: Served) -> Iterator[Client]:
    with Client(served.address) as asking:
        yield asking


def test_tags_are_given_taken_counted_and_searched(client: Client, served: Served) -> None:
    assert client.tag([1, 2, 3, 4], add=["cat", "indoors"]) == 4
    assert client.tag([1, 2], add=["cat"], remove=["indoors"]) == 2
    assert client.tag([1, 2], add=["cat"]) == 0
    assert client.tags() == {"cat": 4, "indoors": 2, "old": 1}
    assert list(client.tags(k=1)) == ["cat"]
    assert client.item(4).meta["tag"] == ["old", "cat", "indoors"]
    assert [item.id for item in client.items(where="tag = 'indoors'")] == [3, 4]
    assert {hit.id for hit in client.search(9, where="tag in ('cat', 'dog')", k=COUNT)} == {1, 2, 3, 4}
    assert client.tag([1, 2, 3, 4], remove=["cat", "indoors", "old"]) == 4
    assert "tag" not in client.item(1).meta
    answer = served.ask("GET", "/api/v1/tags?key=tag").json
    assert answer == {"key": "tag", "tags": []}


def test_every_field_and_key_has_values(client: Client, served: Served) -> None:
    assert client.tags("album") == {"May": COUNT}
    assert client.tags("format") == {"jpeg": COUNT}
    assert client.tags("stars") == {4: 3}
    assert client.tags("place.city") == {"Oslo": 1}
    assert client.tags("place") == {}
    assert client.tags("keywords") == {}
    schemas.TagsAnswer.model_validate(served.ask("GET", "/api/v1/tags?key=width").json)
    refused = served.ask("GET", "/api/v1/tags?key=a..b")
    assert (refused.status, refused.json["code"]) == (422, "query")


def test_a_change_of_tags_is_undone_where_nothing_else_changed(client: Client, served: Served) -> None:
    before = {item.id: item.meta for item in client.items()}
    eleven, twelve = (client.item(each).path for each in (11, 12))
    answer = served.ask("POST", "/api/v1/tags", {"items": [3, 4, 11, 12], "add": ["gone"], "remove": ["old"]}).json
    assert answer["changed"] == 4
    client.meta([11], set={"album": "June"})
    (removed,) = client.remove([12])
    restored, left = client.undo_together(answer["undo"])
    assert restored == [3, 4]
    assert left == {
        eleven: f"the metadata of {eleven} changed since",
        twelve: f"{twelve} is not in the library any more",
    }
    assert {item.id: item.meta for item in client.items([3, 4])} == {each: before[each] for each in (3, 4)}
    assert client.item(11).meta == {"album": "June", "tag": ["gone"]}
    with pytest.raises(ServerError, match="cannot be undone"):
        client.undo_together(answer["undo"])
    nothing = served.ask("POST", "/api/v1/tags", {"items": [11], "add": ["gone"]}).json
    assert nothing == {"changed": 0, "undo": None}
    client.undo(removed)
    client.meta([11], set={"album": "May"}, unset=["tag"])


WRONG: dict[str, tuple[dict[str, Any], int, str]] = {
    "no items": ({"items": [], "add": ["x"]}, 422, "bad_request"),
    "no names": ({"items": [1]}, 422, "bad_request"),
    "added and removed": ({"items": [1], "add": ["x"], "remove": ["x"]}, 422, "bad_request"),
    "an empty name": ({"items": [1], "add": [""]}, 422, "bad_request"),
    "a number for a name": ({"items": [1], "add": [3]}, 422, "bad_request"),
    "an item that is not there": ({"items": [1, 999], "add": ["x"]}, 404, "item_missing"),
    "a key that holds a number": ({"items": [9, 1], "key": "stars", "add": ["x"]}, 422, "query"),
    "a key inside a text": ({"items": [1], "key": "album.name", "add": ["x"]}, 422, "query"),
    "an odd key": ({"items": [1], "key": "a..b", "add": ["x"]}, 422, "query"),
    "half a character": ({"items": [1], "add": ["\ud800"]}, 422, "bad_request"),
}


@pytest.mark.parametrize("name", WRONG)
def test_tags_that_cannot_be_changed_change_nothing(served: Served, client: Client, name: str) -> None:
    body, status, code = WRONG[name]
    before = client.items()
    answer = served.ask("POST", "/api/v1/tags", body)
    assert (answer.status, answer.json["code"]) == (status, code), answer.body
    assert client.items() == before


def test_several_items_are_removed_and_come_back_with_one_undo(client: Client, served: Served, place: Path) -> None:
    client.tag([5, 6], add=["back"])
    before = {item.path: item for item in client.items([5, 6, 7])}
    codes = {hit.path: hit.distance for hit in client.search(8, k=COUNT)}
    removal = client.remove_together([7, 5, 6, 5])
    assert {item.id for item in client.items()}.isdisjoint({5, 6, 7})
    assert all(Path(path).exists() for path in before)
    restored, left = client.undo_together(removal)
    assert (len(restored), left) == (3, {})
    for item in client.items(restored):
        old = before[item.path]
        assert (item.meta, item.content, item.size) == (old.meta, old.content, old.size)
    assert {hit.path: hit.distance for hit in client.search(8, k=COUNT)} == codes
    with pytest.raises(ServerError, match="cannot be undone"):
        client.undo_together(removal)
    with pytest.raises(ItemMissingError):
        client.remove_together([restored[0], 999])
    assert client.item(restored[0]).path in before
    with Library.open(place / "photos.hg") as library:
        assert library.verify() == []
        assert library.kept_out() == []


def test_what_is_there_again_is_left_when_the_others_come_back(tmp_path: Path) -> None:
    with Library.create(tmp_path / "photos.hg", workers=0) as library:
        library.add(fill(tmp_path / "pictures", 3))
        paths = [item.path for item in library.items()]
        taken = take_out(library, [1, 2])
        library.add([paths[0]], again=True)
        removals = Removals()
        name = removals.keep(Removal(taken))
        answer = removals.undo(library, name)
        assert [library.item(each).path for each in answer["restored"]] == [paths[1]]
        assert answer["left"] == [{"path": paths[0], "why": f"{paths[0]} is in the library again"}]
        again = removals.keep(Removal(taken))
        with pytest.raises(ProblemError) as refused:
            removals.undo(library, again)
        assert (refused.value.status_code, refused.value.code) == (409, "undo")
        assert len(library) == 3


def test_the_last_removals_are_kept_up_to_a_number_of_items() -> None:
    removals = Removals(most=3, most_items=10)
    names = [removals.keep(Move(Path("x"), count)) for count in (4, 4, 2, 1, 20)]
    for name in names[:-1]:
        with pytest.raises(ProblemError, match="404"):
            removals.undo(None, name)  # type: ignore[arg-type]
    assert len(removals._kept) == 1


# ---- the filter by ids


def test_a_search_among_items_is_the_search_of_the_library_among_them(client: Client, place: Path) -> None:
    with Library.open(place / "photos.hg", workers=0) as library:
        ids = [item.id for item in library.items()][::2]
        expected = library.search(10, k=100, where={"id": ids})
    assert client.search(10, k=100, items=ids) == expected
    assert client.search(10, k=100, items=ids, where="id > 4") == [hit for hit in expected if hit.id > 4]
    assert [item.id for item in client.items(ids, where="id > 4")] == [each for each in ids if each > 4]


def test_ten_thousand_ids_are_taken_and_more_are_refused(served: Served, client: Client) -> None:
    ids = [1, 2, *range(1_000_000, 1_009_998)]
    assert {hit.id for hit in client.search(10, k=50, items=ids)} == {1, 2}
    assert [item.id for item in client.items(ids)] == [1, 2]
    paged = served.ask("POST", "/api/v1/search", {"query": {"item": 10}, "k": 1, "items": ids}).json
    body = {"query": {"item": 10}, "k": 1, "items": ids, "cursor": paged["next"]}
    last = served.ask("POST", "/api/v1/search", body).json
    assert (len(last["hits"]), last["next"], last["total"]) == (1, None, 2)
    more = [*ids, 3]
    assert served.ask("POST", "/api/v1/search", {"query": {"item": 10}, "items": more}).status == 422
    assert served.ask("GET", "/api/v1/items?items=" + ",".join(map(str, more))).status == 422
    for odd in ("", "1,,2", "1;2", "-1", "one", "9" * 30):
        assert served.ask("GET", f"/api/v1/items?items={odd}").status == 422, odd


# ---- without a server: names in lists, and the values of keys


NAMES = st.lists(st.sampled_from("abc"), max_size=4)
VALUES = st.one_of(st.none(), st.sampled_from("abc"), NAMES, st.just(["a", "a", "b"]))


@settings(max_examples=30)
@given(st.lists(VALUES, min_size=1, max_size=6), NAMES, NAMES)
def test_names_are_in_a_list_once_or_not_at_all(values: list[Any], add: list[str], remove: list[str]) -> None:
    with made([{} if value is None else {"x": {"tag": value}} for value in values]) as store:
        before = all_meta(store)
        changes = change_names(store, range(1, len(values) + 1), "x.tag", add, remove)
        after = all_meta(store)
        assert undo_names(store, changes) == ([change.id for change in changes], [])
        assert json.dumps(all_meta(store)) == json.dumps(before)
    assert len(changes) == sum(json.dumps(a) != json.dumps(b) for a, b in zip(before, after, strict=True))
    for value, meta in zip(values, after, strict=True):
        names = [value] if isinstance(value, str) else value or []
        wanted = [name for name in dict.fromkeys([*names, *add]) if name not in remove]
        expected: list[Any] = [wanted] if wanted else [None, []]
        assert meta.get("x", {}).get("tag") in expected


def test_values_are_counted_as_a_loop_counts_them() -> None:
    draw = random.Random(3)
    some = ["cat", "dog", 1, 1.0, 2.5, True, False, None, {"a": 1}, ["cat", "cat", "dog", 1, None], [["cat"]], []]
    metas = [{"tag": draw.choice(some)} if draw.random() < 0.8 else {} for _ in range(200)]
    counts: Counter[tuple[str, Any]] = Counter()
    for meta in metas:
        value = meta.get("tag")
        entries = value if isinstance(value, list) else [value]
        plain = [each for each in entries if isinstance(each, (str, int, float))]
        counts.update({(str(type(each) is bool), each) for each in plain})
    with made(metas) as store, store.snapshot() as snapshot:
        values = snapshot.values(["tag"], 100)
        assert {(str(type(value) is bool), value): count for value, count in values} == dict(counts)
        assert [count for _, count in values] == sorted(counts.values(), reverse=True)
        assert snapshot.values(["tag"], 2) == values[:2]
        for value, count in values:
            assert len(snapshot.select({"tag": value})) == count


@contextmanager
def made(metas: list[dict[str, Any]]) -> Iterator[Store]:
    """A store of items without files, with this metadata."""
    facts = (10, 10, "png", None, code_of(()))
    with (
        TemporaryDirectory() as folder,
        Store.create(Path(folder) / "made.hg", grains=Grains(look=128), digest="d") as store,
    ):
        store.commit([New(f"/{n}.png", f"{n:064x}", None, *facts, meta) for n, meta in enumerate(metas)])
        yield store


def all_meta(store: Store) -> list[dict[str, Any]]:
    with store.snapshot() as snapshot:
        return [dict(item.meta) for item in snapshot.items(sorted(item.id for item in snapshot.paths()))]
