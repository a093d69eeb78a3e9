"""What the store promises of items with parts: the same as of whole codes, in a row space of their own."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, multiple, rule

from hashgrain.codes import Grains
from hashgrain.errors import LibraryError
from hashgrain.store import Parts, PartsReplaced, Store, catalogue
from made_parts import GRID, Plain, live_parts, parts_of, plain
from test_store import GRAINS, code_of, live, make, new, replaced
from test_store import no_waiting_for_the_disk as no_waiting_for_the_disk

SHAPE: dict[str, Any] = {"count": st.integers(0, 7), "kind": st.sampled_from(["grid", "box", "span"])}


def check(store: Store, expected: dict[int, Plain | None]) -> None:
    """The parts that the library has, by every way to ask for them."""
    with store.snapshot() as snapshot:
        assert dict(zip(expected, map(plain, snapshot.parts_of(expected)), strict=True)) == expected
        some = {item: parts[0] for item, parts in expected.items() if parts}
        assert live_parts(snapshot) == some
        assert snapshot.with_parts().tolist() == sorted(some)
        logged: dict[int, Any] = {}
        for change in snapshot.changes(0):
            logged[change.item] = None if change.parts is None else change.parts.tolist()
        assert {item: codes for item, codes in logged.items() if codes is not None} == some
    assert store.verify() == []


def test_parts_are_there_after_reopening(tmp_path: Path) -> None:
    given = {1: parts_of(1, 4), 2: None, 3: parts_of(3, 30, "box"), 4: parts_of(4, 1, "span")}
    with Store.create(tmp_path / "a.hg", grains=GRAINS, digest="d1", grid=GRID) as store:
        store.commit([new(item, parts=parts) for item, parts in given.items()])
    with Store.open(tmp_path / "a.hg") as store:
        assert store.grid == tuple(GRID)
        check(store, {item: plain(parts) for item, parts in given.items()})
        assert store.info()["parts"] == 35
        with store.snapshot() as snapshot:
            assert live(snapshot) == {item: code_of(item).tobytes() for item in given}
            assert snapshot.parts_of([99, 3, 3])[0] is None


def test_a_library_without_parts_has_no_files_of_parts_and_maps_none(tmp_path: Path) -> None:
    with make(tmp_path / "a.hg", 5) as store:
        assert {file.name for file in (tmp_path / "a.hg" / "segments").iterdir()} == {
            "000001.w00",
            "000001.w01",
            "000001.ids",
        }
        store.commit([PartsReplaced(2, parts_of(2, 3))])
        with store.snapshot() as snapshot:
            assert snapshot._parts is None
            assert [len(segment.ids) for segment in snapshot.part_segments] == [3]


def test_a_change_of_parts_alone_is_logged_as_a_change_of_the_item(tmp_path: Path) -> None:
    with make(tmp_path / "a.hg", 3) as store:
        store.commit([PartsReplaced(2, parts_of(2, 3)), PartsReplaced(3, None)])
        with store.snapshot() as snapshot:
            (change,) = snapshot.changes(3)
            assert (change.number, change.kind, change.item) == (4, "changed", 2)
            assert change.code is not None
            assert np.array_equal(change.code, code_of(1))
            assert np.array_equal(np.array(change.parts), parts_of(2, 3).codes)


class PartsAgainstADict(RuleBasedStateMachine):
    """A library of items with parts does what a dict of them would, whatever happens in whichever order."""

    items = Bundle("items")

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.path = Path(self.folder.name) / "a.hg"
        self.store = Store.create(self.path, grains=GRAINS, digest="d1")
        self.store.segment_rows = 10
        self.expected: dict[int, Plain | None] = {}
        self.number = 0

    def teardown(self) -> None:
        self.store.close()
        self.folder.cleanup()

    def some_parts(self, count: int, kind: str) -> Parts | None:
        self.number += 1
        return parts_of(self.number, count, kind) if count else None

    @rule(target=items, shapes=st.lists(st.tuples(*SHAPE.values()), min_size=1, max_size=5))
    def add(self, shapes: list[tuple[int, str]]) -> Any:
        given = [self.some_parts(*shape) for shape in shapes]
        ids = self.store.commit([new(self.number * 10 + at, parts=parts) for at, parts in enumerate(given)])
        self.expected.update(zip(ids, map(plain, given), strict=True))
        return multiple(*ids)

    @rule(item=items, **SHAPE)
    def replace(self, item: int, count: int, kind: str) -> None:
        parts = self.some_parts(count, kind)
        self.store.commit([replaced(item, 10**6 + self.number * 10, parts=parts)])
        self.number += 1
        self.expected[item] = plain(parts)

    @rule(item=items, twice=st.booleans(), **SHAPE)
    def set_parts(self, item: int, twice: bool, count: int, kind: str) -> None:
        edits = [PartsReplaced(item, self.some_parts(count, kind)) for _ in range(1 + twice)]
        self.store.commit(edits)
        self.expected[item] = plain(edits[-1].parts)

    @rule(item=consumes(items))
    def remove(self, item: int) -> None:
        self.store.remove([item])
        del self.expected[item]

    @rule()
    def rebuild(self) -> None:
        self.store.rebuild()

    @rule()
    def reopen(self) -> None:
        self.store.close()
        self.store = Store.open(self.path, "w")
        self.store.segment_rows = 10

    @invariant()
    def the_same(self) -> None:
        check(self.store, self.expected)
        with Store.open(self.path) as reader:
            check(reader, self.expected)


TestPartsAgainstADict = PartsAgainstADict.TestCase
TestPartsAgainstADict.settings = settings(
    max_examples=25, stateful_step_count=12, deadline=None, suppress_health_check=list(HealthCheck)
)


@pytest.mark.parametrize(
    ("parts", "reason"),
    [
        (Parts(np.zeros((0, 2), np.uint64)), "of shape"),
        (Parts(np.zeros((3, 1), np.uint64)), "of shape"),
        (Parts(np.zeros((65_536, 2), np.uint64)), "of shape"),
        (Parts(np.zeros((3, 2), np.int64)), "int64"),  # type: ignore[arg-type]
        (Parts(np.zeros((5, 2), np.uint64)), "the grid of the library has 4"),
        (Parts(np.zeros((2, 2), np.uint64), np.zeros((1, 4), np.float32)), "one for each part"),
        (Parts(np.zeros((1, 2), np.uint64), np.array([[0, 0, np.nan, 1]], np.float32)), "numbers of at least 0"),
        (Parts(np.zeros((1, 2), np.uint64), np.array([[0, 0, 1, 2]], np.float32)), "fractions"),
        (Parts(np.zeros((1, 2), np.uint64), np.array([[5, 4]], np.float32)), "each ends where it begins"),
    ],
)
def test_parts_that_cannot_be_kept_are_refused_and_change_nothing(tmp_path: Path, parts: Parts, reason: str) -> None:
    with Store.create(tmp_path / "a.hg", grains=GRAINS, digest="d1", grid=GRID) as store:
        store.commit([new(1)])
        for edit in (new(2, parts=parts), PartsReplaced(1, parts)):
            with pytest.raises(LibraryError, match=reason):
                store.commit([new(3), edit])
        check(store, {1: None})


def test_the_grid_of_a_library_changes_only_where_no_parts_lie_on_it(tmp_path: Path) -> None:
    with make(tmp_path / "a.hg", 2) as store:
        assert store.grid is None
        store.set_grid(GRID)
        store.commit([PartsReplaced(1, parts_of(1, 4)), PartsReplaced(2, parts_of(2, 9, "box"))])
        store.set_grid(GRID)
        for other in (GRID[:2], None):
            with pytest.raises(LibraryError, match="lie on it"):
                store.set_grid(other)
        store.commit([PartsReplaced(1, None)])
        store.set_grid([(0.0, 1.5), (1.0, 2.5)])
        assert store.verify() == []
    with Store.open(tmp_path / "a.hg") as store:
        assert store.grid == ((0.0, 1.5), (1.0, 2.5))


def test_a_change_of_model_takes_the_parts_that_it_is_given_and_no_others(tmp_path: Path) -> None:
    with make(tmp_path / "a.hg", 3) as store:
        store.set_grid(GRID)
        store.commit([PartsReplaced(item, parts_of(item, 4)) for item in (1, 2)])
        codes = np.arange(12, dtype=np.uint64).reshape(3, 4)
        wide = Parts(np.arange(20, dtype=np.uint64).reshape(5, 4))
        other: dict[str, Any] = {"grains": Grains(kind=32, look=200), "digest": "d2", "parts": [(3, wide)]}
        whole = [(item, codes[item - 1].tobytes()) for item in (1, 2, 3)]
        with pytest.raises(LibraryError, match="the grid of the library has 4"):
            store.change_model(whole, **other, grid=GRID)
        assert (store.digest, store.grid) == ("d1", tuple(GRID))
        store.change_model(whole, **other, grid=[(0, 1)] * 5)
        assert store.grid == ((0.0, 1.0),) * 5
        check(store, {1: None, 2: None, 3: plain(wide)})


def test_what_has_no_width_and_height_says_so_and_no_filter_on_them_finds_it(tmp_path: Path) -> None:
    with make(tmp_path / "a.hg") as store:
        store.commit([new(1), new(2, width=None, height=None, format="wav")])
        with store.snapshot() as snapshot:
            assert [(item.width, item.height) for item in snapshot.items([1, 2])] == [(640, 480), (None, None)]
            assert snapshot.select("width < 1000").tolist() == [1]
            assert snapshot.select("height is null").tolist() == [2]


def test_a_library_without_parts_is_asked_nothing_of_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither by opening, nor by searching whole codes, nor by changes."""
    asked: list[str] = []

    class Noting(catalogue.Connection):
        def execute(self, sql: str, *values: Any) -> Any:
            asked.append(sql)
            return super().execute(sql, *values)

    make(tmp_path / "a.hg", 5).close()
    monkeypatch.setattr(catalogue, "Connection", Noting)
    with Store.open(tmp_path / "a.hg", "w") as store:
        store.commit([new(9), replaced(2, 8)])
        store.remove([1])
        with store.snapshot() as snapshot:
            assert len(live(snapshot)) == 5
            assert snapshot.parts_of([1, 2]) == [None, None]
            assert len(list(snapshot.changes(0))) == 8
            assert [item.id for item in snapshot.items([2, 3])] == [2, 3]
    assert len(asked) > 10
    assert [sql for sql in asked if "part" in sql] == []
