"""What a library on disk promises while nothing goes wrong: round trips, one writer, many readers, one moment."""

from __future__ import annotations

import hashlib
import os
import sqlite3
import subprocess
import sys
import tempfile
import textwrap
import threading
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, multiple, rule

from hashgrain.codes import Grains, Words
from hashgrain.errors import LibraryError, QueryError
from hashgrain.store import (
    FORMAT,
    Block,
    Moved,
    New,
    Replaced,
    Segment,
    Snapshot,
    Store,
    Touched,
    catalogue,
    disk,
    page_checksums,
    segments,
)

GRAINS = Grains(kind=32, look=128)
SOURCE = Path(__file__).parent.parent / "src"


@pytest.fixture(scope="module", autouse=True)
def no_waiting_for_the_disk() -> Iterator[None]:
    """Flushes are left out here: they protect from power loss, which no test has. One test sees that they are made."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(disk, "sync", lambda file: None)
        patch.setattr(disk, "sync_folder", lambda folder: None)
        patch.setattr(catalogue, "SETTINGS", [each.replace("FULL", "OFF") for each in catalogue.SETTINGS])
        yield


def code_of(number: int) -> Words:
    return np.random.default_rng(number).integers(0, 2**63, 2).astype(np.uint64)


def content_of(number: int) -> str:
    return hashlib.sha256(str(number).encode()).hexdigest()


def new(number: int, **facts: Any) -> New:
    """A made-up picture; its code tells its number."""
    made = New(
        path=f"/pictures/{number:05}.jpg",
        content=content_of(number),
        stamp=(1000 + number, 10**18 + number),
        width=640,
        height=480,
        format="jpeg",
        taken=None,
        code=code_of(number),
        meta={"number": number},
    )
    return replace(made, **facts)


def replaced(item: int, number: int, **facts: Any) -> Replaced:
    return Replaced(id=item, **{**vars(new(number)), **facts})


def make(path: Path, count: int = 0) -> Store:
    store = Store.create(path, grains=GRAINS, digest="d1")
    store.segment_rows = 10
    store.commit([new(number) for number in range(count)])
    return store


def live(snapshot: Snapshot) -> dict[int, bytes]:
    """id -> code of all live rows of the segments; no id may be there twice."""
    code_bytes: dict[int, bytes] = {}
    for segment in snapshot.segments:
        words = np.stack(segment.planes, axis=1)[segment.alive]
        for item, code in zip(segment.ids[segment.alive], words, strict=True):
            assert int(item) not in code_bytes
            code_bytes[int(item)] = code.tobytes()
    assert len(code_bytes) == len(snapshot)
    return code_bytes


def replayed(snapshot: Snapshot, since: int = 0, codes: dict[int, bytes] | None = None) -> dict[int, bytes]:
    """id -> code of who applies the log of changes after a number to what it has."""
    code_bytes = {**(codes or {})}
    for change in snapshot.changes(since):
        code_bytes.pop(change.item, None)
        if change.code is not None:
            code_bytes[change.item] = change.code.tobytes()
    return code_bytes


def child(script: str, *arguments: object) -> subprocess.Popen[str]:
    """A real process that runs a script against the store; `new` and friends are at hand in it."""
    start = "from pathlib import Path\nfrom test_store import *\n"
    environment = {**os.environ, "PYTHONPATH": f"{SOURCE}{os.pathsep}{Path(__file__).parent}"}
    return subprocess.Popen(
        [sys.executable, "-c", start + textwrap.dedent(script), *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
    )


def test_what_was_committed_is_there_after_reopening(tmp_path: Path) -> None:
    taken = "2021-05-01T13:20:11"
    meta = {"label": 3, "camera": {"model": "X\u00e9"}, "flag": True, "none": None, "tags": ["a", 1.5]}
    with make(tmp_path / "a.hg") as store:
        first = store.commit([new(1, taken=taken, meta=meta), new(2, stamp=None)])
        second = store.commit([new(3)])
    assert first + second == [1, 2, 3]
    with Store.open(tmp_path / "a.hg") as store, store.snapshot() as snapshot:
        assert (store.grains, store.digest, store.mode, store.path) == (GRAINS, "d1", "r", tmp_path / "a.hg")
        one, two = snapshot.items([1, 2])
        assert (one.path, one.content, one.taken, one.meta) == ("/pictures/00001.jpg", content_of(1), taken, meta)
        assert (one.size, one.mtime_ns, one.width, one.height, one.format) == (1001, 10**18 + 1, 640, 480, "jpeg")
        assert one.added.endswith("Z")
        assert (two.size, two.mtime_ns) == (None, None)
        assert live(snapshot) == {number: code_of(number).tobytes() for number in (1, 2, 3)}
        assert snapshot.code(2) is not None
        assert np.array_equal(snapshot.codes([3, 1]), [code_of(3), code_of(1)])
        assert [item.id for item in snapshot.items([3, 1, 3])] == [3, 1, 3]
        assert store.known("/pictures/00002.jpg") == two
        assert store.known("/pictures/nothing.jpg") is None
        assert store.by_content(content_of(1)) == [one]
        assert store.by_content("nonsense") == []
        assert store.verify() == []


def test_an_empty_library_answers(tmp_path: Path) -> None:
    with make(tmp_path / "a.hg") as store:
        assert store.commit([]) == []
        assert store.remove([]) == 0
        store.rebuild()
        with store.snapshot() as snapshot:
            assert (len(snapshot), list(snapshot.segments), list(snapshot.paths())) == (0, [], [])
            assert snapshot.codes([]).shape == (0, 2)
            assert snapshot.select("width > 0").tolist() == []
        assert store.verify() == []


def test_segments_are_mapped_read_only_and_outlive_snapshot_and_store(tmp_path: Path) -> None:
    with make(tmp_path / "a.hg", 25) as store, store.snapshot() as snapshot:
        segments = snapshot.segments
    assert [plane.shape for plane in segments[0].planes] == [(25,)] * 2
    assert {plane.dtype for plane in segments[0].planes} == {np.dtype(np.uint64)}
    assert segments[0].ids.dtype == np.int64
    assert [int(i) for segment in segments for i in segment.ids] == list(range(1, 26))
    for array in (*segments[0].planes, segments[0].ids, segments[0].alive):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 0


def test_each_word_of_the_codes_has_a_file_of_its_own(tmp_path: Path) -> None:
    path = tmp_path / "a.hg"
    with Store.create(path, grains=Grains(kind=32, look=200), digest="d1") as store:
        wide = np.arange(20, dtype=np.uint64).reshape(5, 4)
        for rows in (range(2), range(2, 5)):
            store.commit([new(row, code=wide[row]) for row in rows])
        with store.snapshot() as snapshot:
            assert [plane.tolist() for plane in snapshot.segments[0].planes] == wide.T.tolist()
        assert store.verify() == []
    files = {file.suffix: file.read_bytes()[64:] for file in (path / "segments").iterdir()}
    assert files == {
        **{f".w{word:02d}": wide[:, word].astype("<u8").tobytes() for word in range(4)},
        ".ids": np.arange(1, 6, dtype="<i8").tobytes(),
    }


def test_a_segment_tells_its_dead_rows_as_bits(tmp_path: Path) -> None:
    with make(tmp_path / "a.hg", 70) as store, Store.open(tmp_path / "a.hg") as reader:
        with reader.snapshot() as before:
            assert before.segments[0].mask is None
        store.remove([1, 10, 66])
        with reader.snapshot() as removed:
            check_mask(removed.segments[0], 16, dead=[0, 9, 65])
        store.segment_rows = 1000
        store.commit([replaced(2, 500), *(new(number) for number in range(70, 130))])
        with reader.snapshot() as grown:
            check_mask(grown.segments[0], 24, dead=[0, 1, 9, 65])
        store.rebuild()
        with reader.snapshot() as rebuilt:
            assert [segment.mask for segment in rebuilt.segments] == [None]
        assert before.segments[0].mask is None
        check_mask(removed.segments[0], 16, dead=[0, 9, 65])


def check_mask(segment: Segment, size: int, dead: list[int]) -> None:
    mask = segment.mask
    assert mask is not None
    assert (mask.dtype, mask.shape, mask.flags.writeable) == (np.uint8, (size,), False)
    bits = np.unpackbits(mask, bitorder="little")
    assert np.flatnonzero(~segment.alive).tolist() == dead
    assert np.array_equal(bits[: len(segment.alive)].astype(bool), segment.alive)
    assert not bits[len(segment.alive) :].any()


def test_a_segment_tells_whether_its_ids_ascend(tmp_path: Path) -> None:
    with make(tmp_path / "a.hg", 8) as store, Store.open(tmp_path / "a.hg") as reader:

        def ascending() -> list[bool]:
            with reader.snapshot() as snapshot:
                return [segment.ascending for segment in snapshot.segments]

        assert ascending() == [True]
        store.commit([new(8), new(9)])
        assert ascending() == [True]
        store.commit([new(10)])
        assert ascending() == [True, True]
        store.commit([replaced(3, 50)])
        assert ascending() == [True, False]
        store.remove([3, 5])
        assert ascending() == [True, False]
        store.rebuild()
        assert ascending() == [True]


def test_what_a_segment_knows_of_itself_is_worked_out_once(tmp_path: Path) -> None:
    with make(tmp_path / "a.hg", 12) as store:
        store.commit([new(number) for number in range(12, 16)])

        def segments() -> Sequence[Segment]:
            with store.snapshot() as snapshot:
                return snapshot.segments

        store.remove([2, 14])
        first, second = segments()
        masks = (first.mask, second.mask)
        assert (first.ascending, second.ascending) == (True, True)
        store.commit([Touched(1, None), new(16)])
        again, grown = segments()
        assert again is first
        assert again.mask is masks[0]
        assert grown.mask is not masks[1]
        assert grown.ascending
        store.remove([13])
        again, less = segments()
        assert again is first
        assert vars(less)["ascending"] is True  # carried over, not yet asked for
        assert less.planes is grown.planes
        assert less.mask is not grown.mask


def test_full_segments_are_followed_by_new_ones(tmp_path: Path) -> None:
    with make(tmp_path / "a.hg") as store:
        for start in range(0, 42, 3):
            store.commit([new(number) for number in range(start, start + 3)])
        with store.snapshot() as snapshot:
            assert [len(segment.ids) for segment in snapshot.segments] == [12, 12, 12, 6]
            assert [segment.first_row for segment in snapshot.segments] == [0, 12, 24, 36]
        assert store.info()["segments"] == 4
        assert store.verify() == []


def test_removed_items_are_gone_and_their_ids_never_come_back(tmp_path: Path) -> None:
    with make(tmp_path / "a.hg", 5) as store:
        with store.snapshot() as before:
            assert store.remove([2, 5, 5, 99, -1, 2**70]) == 2
            assert sorted(live(before)) == [1, 2, 3, 4, 5]
            assert before.item(5) is not None
        with store.snapshot() as snapshot:
            assert sorted(live(snapshot)) == [1, 3, 4]
            assert (snapshot.item(2), snapshot.code(2), snapshot.item(2**70)) == (None, None, None)
            with pytest.raises(QueryError, match="no item 2"):
                snapshot.items([1, 2])
            with pytest.raises(QueryError, match="no item 2"):
                snapshot.codes([2])
        assert store.commit([new(4)]) == [6]
        assert (store.info()["rows"], store.info()["dead_rows"], store.info()["items"]) == (6, 2, 4)
        assert store.verify() == []


def test_a_replaced_item_keeps_its_id_and_its_day_and_has_the_new_code(tmp_path: Path) -> None:
    with make(tmp_path / "a.hg", 3) as store:
        with store.snapshot() as snapshot:
            added = snapshot.items([2])[0].added
        assert store.commit([replaced(2, 7, path="/pictures/00001.jpg"), new(8)]) == [2, 4]
        with store.snapshot() as snapshot:
            assert live(snapshot)[2] == code_of(7).tobytes()
            assert (snapshot.items([2])[0].content, snapshot.items([2])[0].added) == (content_of(7), added)
        assert store.commit([replaced(2, 9), replaced(2, 10)]) == [2, 2]
        with store.snapshot() as snapshot:
            assert live(snapshot)[2] == code_of(10).tobytes()
        assert store.verify() == []


def test_moved_and_touched_items_keep_their_codes(tmp_path: Path) -> None:
    with make(tmp_path / "a.hg", 3) as store:
        assert store.commit([Moved(1, "/other/a.jpg", (5, 6)), Touched(2, (7, 8)), Touched(3, None)]) == [1, 2, 3]
        with store.snapshot() as snapshot:
            moved, touched, without = snapshot.items([1, 2, 3])
            assert (moved.path, moved.size, moved.mtime_ns, moved.meta) == ("/other/a.jpg", 5, 6, {"number": 0})
            assert (touched.path, touched.size, touched.mtime_ns) == ("/pictures/00001.jpg", 7, 8)
            assert without.size is None
            assert live(snapshot) == {i + 1: code_of(i).tobytes() for i in range(3)}
            assert snapshot.select("name = 'a.jpg'").tolist() == [1]
        assert store.known("/pictures/00000.jpg") is None
        assert store.info()["rows"] == 3
        assert store.verify() == []


def test_names_may_change_hands_within_a_batch(tmp_path: Path) -> None:
    with make(tmp_path / "a.hg", 3) as store:
        one, two, three = (f"/pictures/0000{number}.jpg" for number in range(3))
        store.commit([Moved(1, two, None), Moved(2, three, None), Moved(3, one, None)])
        assert [store.known(path).id for path in (one, two, three)] == [3, 1, 2]  # type: ignore[union-attr]
        store.commit([new(9, path=one), Moved(3, "/pictures/new.jpg", None)])
        assert store.known(one).id == 4  # type: ignore[union-attr]
        assert store.verify() == []


BAD_BATCHES = {
    "the path is there": (lambda: [new(7), new(1)], "00001.jpg is in the library already"),
    "the path is twice in it": (lambda: [new(7), new(7)], "00007.jpg is in the library already"),
    "it moves onto another": (lambda: [new(7), Moved(1, "/pictures/00001.jpg", None)], "00001.jpg is in the library"),
    "no such item": (lambda: [new(7), Touched(99, None)], "no item 99"),
    "a code too wide": (lambda: [new(7), new(8, code=np.zeros(3, np.uint64))], "uint64 of shape"),
    "a code of floats": (lambda: [new(7), new(8, code=np.zeros(2))], "its code is float64"),
    "no hash": (lambda: [new(7), new(8, content="x")], "not a SHA-256"),
    "metadata not a number": (lambda: [new(7), new(8, meta={"a": float("nan")})], "metadata cannot be kept"),
    "metadata an object": (lambda: [new(7), new(8, meta={"a": object()})], "object is not plain data"),
    "metadata too deep": (lambda: [new(7), new(8, meta=deep(100))], "deeper than 64"),
    "metadata too long": (lambda: [new(7), new(8, meta={"a": "x" * 1_000_001})], "at most 1000000"),
    "half a character": (lambda: [new(7), new(8, path="/a\ud800b.jpg")], "half a character"),
    "a size past all numbers": (lambda: [new(7), new(8, stamp=(2**70, 1))], "00008.jpg cannot be kept"),
}


def deep(levels: int) -> dict[str, Any]:
    return {"a": deep(levels - 1)} if levels else {}


@pytest.mark.parametrize(("batch", "reason"), BAD_BATCHES.values(), ids=list(BAD_BATCHES))
def test_a_bad_batch_changes_nothing_and_the_store_goes_on(tmp_path: Path, batch: Any, reason: str) -> None:
    with make(tmp_path / "a.hg", 3) as store:
        with store.snapshot() as snapshot:
            before = (live(snapshot), snapshot.items([1, 2, 3]))
        with pytest.raises(LibraryError, match=reason):
            store.commit(batch())
        with store.snapshot() as snapshot:
            assert (live(snapshot), snapshot.items([1, 2, 3])) == before
        assert store.verify() == []
        assert store.commit([new(7)]) == [4]


def test_numpy_scalars_in_metadata_become_plain_numbers(tmp_path: Path) -> None:
    with make(tmp_path / "a.hg") as store:
        store.commit([new(1, width=np.int64(7), meta={"a": np.int64(3), "b": np.float32(0.5), "c": np.True_})])
        with store.snapshot() as snapshot:
            assert snapshot.items([1])[0].meta == {"a": 3, "b": 0.5, "c": True}
            assert snapshot.select("a = 3 and b = 0.5 and c = true and width = 7").tolist() == [1]


def test_names_that_are_not_utf8_survive(tmp_path: Path) -> None:
    odd = os.fsdecode(b"/pictures/\xff\xfe.jpg")
    with make(tmp_path / "a.hg") as store:
        store.commit([new(1, path=odd, meta={"half": "\ud800", "ключ": "é"})])
    with Store.open(tmp_path / "a.hg") as store, store.snapshot() as snapshot:
        assert snapshot.items([1])[0].path == odd
        assert snapshot.items([1])[0].meta == {"half": "\ud800", "ключ": "é"}
        assert [item.path for item in snapshot.paths()] == [odd]
        assert store.known(odd) is not None


@pytest.mark.parametrize("name", ["sp ace?x=1#y%20.hg", "ключ.hg", "d/../e.hg"])
def test_a_library_may_have_an_odd_name(tmp_path: Path, name: str) -> None:
    make(tmp_path / name, 2).close()
    with Store.open(tmp_path / name) as store, store.snapshot() as snapshot:
        assert len(snapshot) == 2


def test_paths_lists_every_item_by_path(tmp_path: Path) -> None:
    with make(tmp_path / "a.hg", 1203) as store, store.snapshot() as snapshot:
        store.remove([5])
        assert [item.path for item in snapshot.paths()] == [f"/pictures/{number:05}.jpg" for number in range(1203)]


def test_a_rebuild_drops_dead_rows_and_keeps_every_answer(tmp_path: Path) -> None:
    with make(tmp_path / "a.hg", 30) as store:
        store.remove(range(1, 11))
        store.commit([replaced(12, 50)])
        with store.snapshot() as old:
            before = live(old)
            files = set((tmp_path / "a.hg/segments").iterdir())
            store.rebuild()
            assert live(old) == before
            with store.snapshot() as snapshot:
                assert live(snapshot) == before
                assert all(segment.alive.all() for segment in snapshot.segments)
                ids = [int(i) for segment in snapshot.segments for i in segment.ids]
                assert ids == sorted(ids)
                assert [len(segment.ids) for segment in snapshot.segments] == [10, 10]
        assert not files & set((tmp_path / "a.hg/segments").iterdir())
        assert (store.info()["rows"], store.info()["dead_rows"]) == (20, 0)
        assert store.commit([new(60)]) == [31]
        assert store.verify() == []


def test_sealed_blocks_stay_as_they_are_until_a_rebuild(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(segments, "BLOCK_ROWS", 4)
    with make(tmp_path / "a.hg", 3) as store, Store.open(tmp_path / "a.hg") as reader:

        def stand() -> tuple[int, list[Block]]:
            with reader.snapshot() as snapshot:
                return snapshot.generation, snapshot.complete_blocks()

        def spans(blocks: list[Block]) -> list[tuple[int, int, int]]:
            return [(block.segment, block.first_row, block.rows) for block in blocks]

        assert stand() == (1, [])
        store.commit([new(3), new(4)])
        era, first = stand()
        assert (era, spans(first), len(first[0].crcs)) == (1, [(1, 0, 5)], 3)
        with reader.snapshot() as before:
            for number in range(5, 8):
                store.commit([new(number)])
                assert stand() == (1, first)
            store.commit([new(8), new(9)])
            later = stand()
            assert (later[0], later[1][0], spans(later[1])) == (1, first[0], [(1, 0, 5), (1, 5, 5)])
            store.commit([new(10)])
            store.remove([2])
            assert stand() == later
            store.rebuild()
            assert (before.generation, before.complete_blocks()) == (1, first)
        era, rebuilt = stand()
        assert (era, spans(rebuilt)) == (2, [(3, 0, 10)])
    with pytest.raises(LibraryError, match="snapshot has ended"):
        before.complete_blocks()


def test_the_last_block_of_a_full_segment_is_sealed_by_the_next(tmp_path: Path) -> None:
    with make(tmp_path / "a.hg", 12) as store:
        with store.snapshot() as snapshot:
            assert snapshot.complete_blocks() == []  # a writer with longer segments would extend it
        store.commit([new(12)])
        with store.snapshot() as snapshot:
            assert [(block.segment, block.end) for block in snapshot.complete_blocks()] == [(1, 12)]


# ---- readers and writers at once


def test_a_snapshot_does_not_see_what_another_process_writes_meanwhile(tmp_path: Path) -> None:
    path = tmp_path / "a.hg"
    make(path, 20).close()
    writer = child(
        """
        with Store.open(sys.argv[1], "w") as store:
            store.segment_rows = 10
            for line in sys.stdin:
                exec(line)
                print("done", flush=True)
        """,
        path,
    )
    assert writer.stdin
    assert writer.stdout
    steps = [
        "store.commit([new(number) for number in range(100, 107)])",
        "store.remove([3, 4])",
        "store.commit([replaced(5, 77), Moved(6, '/moved.jpg', None)])",
        "store.rebuild()",
        "store.commit([new(number) for number in range(107, 140)])",
    ]
    with Store.open(path) as reader:
        reader_view = []
        for step in steps:
            with reader.snapshot() as snapshot:
                before = (live(snapshot), list(snapshot.paths()), snapshot.select("width > 0").tolist())
                writer.stdin.write(step + "\n")
                writer.stdin.flush()
                assert writer.stdout.readline() == "done\n"
                assert (live(snapshot), list(snapshot.paths()), snapshot.select("width > 0").tolist()) == before
                with reader.snapshot() as later:
                    changed = (live(later), list(later.paths())) != before[:2]
                    assert changed == (step != "store.rebuild()")
                    assert later.select("width > 0").tolist() == sorted(live(later))
                reader_view.append(before[0])
        writer.communicate()
        assert writer.returncode == 0
        assert [len(view) for view in reader_view] == [20, 27, 25, 25, 25]
        with reader.snapshot() as snapshot:
            assert len(live(snapshot)) == 58
        assert reader.verify() == []


def test_many_threads_read_while_one_writes(tmp_path: Path) -> None:
    """Every snapshot agrees with itself: segments, items and filter name the same ids with the same codes."""
    failures: list[BaseException] = []
    stop = threading.Event()
    with make(tmp_path / "a.hg", 30) as store:

        def read() -> None:
            try:
                while not stop.is_set():
                    with store.snapshot() as snapshot:
                        codes = live(snapshot)
                        numbers = {item.id: item.meta["number"] for item in snapshot.paths()}
                        assert codes == {i: code_of(number).tobytes() for i, number in numbers.items()}
                        assert snapshot.select("number >= 0").tolist() == sorted(codes)
            except BaseException as error:
                failures.append(error)

        threads = [threading.Thread(target=read) for _ in range(3)]
        for thread in threads:
            thread.start()
        for step in range(12):
            ids = store.commit([new(100 + 3 * step + i) for i in range(3)])
            store.commit([replaced(ids[0], 500 + step)])
            store.remove([step + 1])
            if step % 4 == 3:
                store.rebuild()
        stop.set()
        for thread in threads:
            thread.join()
        assert not failures
        assert store.verify() == []


def test_a_second_writer_is_refused_at_once_and_told_who_has_it(tmp_path: Path) -> None:
    path = tmp_path / "a.hg"
    make(path, 3).close()
    script = "store = Store.open(sys.argv[1], 'w')\nprint('open', flush=True)\nsys.stdin.read()"
    holder = child(script, path)
    assert holder.stdout
    assert holder.stdout.readline() == "open\n"
    with pytest.raises(LibraryError, match=f"being written to by process {holder.pid}"):
        Store.open(path, "w")
    with Store.open(path) as reader, reader.snapshot() as snapshot:
        assert len(snapshot) == 3
        with pytest.raises(LibraryError, match="open for reading"):
            reader.commit([new(7)])
    holder.kill()
    holder.wait()
    with Store.open(path, "w") as store:
        assert store.commit([new(7)]) == [4]
        with pytest.raises(LibraryError, match="already open for writing in this program"):
            Store.open(path, "w")
    Store.open(path, "w").close()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_forked_worker_does_not_hold_the_lock_after_its_parent_was_killed(tmp_path: Path) -> None:
    path = tmp_path / "a.hg"
    make(path, 3).close()
    parent = child(
        """
        store = Store.open(sys.argv[1], "w")
        if os.fork() == 0:
            print("open", flush=True)
            sys.stdin.read()
            os._exit(0)
        os.wait()
        """,
        path,
    )
    assert parent.stdin
    assert parent.stdout
    assert parent.stdout.readline() == "open\n"
    with pytest.raises(LibraryError, match="written to"):
        Store.open(path, "w")
    parent.kill()
    os.waitpid(parent.pid, 0)
    with Store.open(path, "w") as store:  # the worker still lives, waiting on its stdin
        assert store.commit([new(7)]) == [4]
    parent.stdin.close()


# ---- doors


def test_what_is_no_library_is_refused_with_the_remedy(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder/cat.jpg").write_bytes(b"x")
    (tmp_path / "file").write_bytes(b"x")
    for name, reason in [
        ("nothing", "no library at .*nothing; make one with Library.create"),
        ("folder", "is a folder but not a library"),
        ("file", "is a file; a library is a folder"),
    ]:
        for mode in ("r", "w"):
            with pytest.raises(LibraryError, match=reason):
                Store.open(tmp_path / name, mode)  # type: ignore[arg-type]
    assert sorted(os.listdir(tmp_path / "folder")) == ["cat.jpg"]
    with pytest.raises(LibraryError, match="mode"):
        Store.open(tmp_path, "a")  # type: ignore[arg-type]


def test_create_refuses_what_is_there_already(tmp_path: Path) -> None:
    make(tmp_path / "a.hg", 2).close()
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder/cat.jpg").write_bytes(b"x")
    (tmp_path / "file").write_bytes(b"x")
    for name, reason in [("a.hg", "is a library already"), ("folder", "other things in it"), ("file", "is a file")]:
        with pytest.raises(LibraryError, match=reason):
            make(tmp_path / name)
    with Store.open(tmp_path / "a.hg") as store:
        assert store.info()["items"] == 2
    (tmp_path / "empty").mkdir()
    make(tmp_path / "empty" / "deeper", 1).close()
    make(tmp_path / "bare").close()


@pytest.mark.parametrize(
    ("number", "reason"),
    [
        (FORMAT + 1, f"format {FORMAT + 1}, .* up to {FORMAT}; upgrade hashgrain"),
        (1, f"format 1, .* reads formats 2 to {FORMAT}; build the library anew from its pictures"),
    ],
)
def test_another_format_is_refused_naming_both(tmp_path: Path, number: int, reason: str) -> None:
    import sqlite3

    make(tmp_path / "a.hg", 2).close()
    with sqlite3.connect(tmp_path / "a.hg/catalogue.sqlite") as connection:
        connection.execute(f"PRAGMA user_version = {number}")
    connection.close()
    for mode in ("r", "w"):
        with pytest.raises(LibraryError, match=reason):
            Store.open(tmp_path / "a.hg", mode)  # type: ignore[arg-type]


def test_a_closed_store_says_so(tmp_path: Path) -> None:
    store = make(tmp_path / "a.hg", 2)
    with store.snapshot() as snapshot:
        pass
    with pytest.raises(LibraryError, match="snapshot has ended"):
        snapshot.items([1])
    store.close()
    store.close()
    for use in (store.info, store.verify, store.rebuild, lambda: store.known("/a"), lambda: store.commit([new(9)])):
        with pytest.raises(LibraryError, match="is closed; open it again"):
            use()
    with pytest.raises(LibraryError, match="is closed"), store.snapshot():
        pass


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="permissions are others here")
def test_a_library_in_a_folder_without_write_permission_can_be_read() -> None:
    """Root may write anywhere, so the reader is nobody."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.hg"
        make(path, 20).close()
        for each in (Path(folder), path, path / "segments"):
            each.chmod(0o555)
        sees = """
            if os.geteuid() == 0:
                os.setuid(65534)
            with Store.open(sys.argv[1]) as store:
                for _ in range(2):
                    with store.snapshot() as snapshot:
                        print(len(live(snapshot)), snapshot.select("number < 3").tolist(), store.verify())
            try:
                Store.open(sys.argv[1], "w")
            except LibraryError as error:
                print(error)
        """
        try:
            first, second, refused = child(sees, path).communicate()[0].splitlines()
        finally:
            for each in (Path(folder), path, path / "segments"):
                each.chmod(0o755)
        assert first == second == "20 [1, 2, 3] []"
        assert "check the permissions" in refused


# ---- anything in any order


class AgainstADictionary(RuleBasedStateMachine):
    """The store after any changes is what a dictionary would be."""

    ids = Bundle("ids")

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.path = Path(self.folder.name) / "a.hg"
        self.store = make(self.path)
        self.model: dict[int, tuple[str, int]] = {}  # id -> path, number of its code
        self.next = 0

    def fresh(self) -> int:
        self.next += 1
        return self.next

    @rule(target=ids, count=st.integers(1, 13))
    def add(self, count: int) -> Any:
        batch = [new(self.fresh()) for _ in range(count)]
        ids = self.store.commit(batch)
        assert not set(ids) & set(self.model)
        self.model.update({i: (change.path, change.meta["number"]) for i, change in zip(ids, batch, strict=True)})
        return multiple(*ids)

    @rule(item=ids)
    def replace(self, item: int) -> None:
        number = self.fresh()
        self.store.commit([replaced(item, number, path=self.model[item][0])])
        self.model[item] = (self.model[item][0], number)

    @rule(item=ids, other=ids)
    def swap(self, item: int, other: int) -> None:
        if item != other:
            (left, a), (right, b) = self.model[item], self.model[other]
            self.store.commit([Moved(item, right, None), Moved(other, left, None)])
            self.model.update({item: (right, a), other: (left, b)})

    @rule(item=ids, good=ids)
    def fail(self, item: int, good: int) -> None:
        with pytest.raises(LibraryError):
            self.store.commit(
                [
                    new(self.fresh()),
                    replaced(good, self.fresh(), path=self.model[good][0]),
                    new(0, path=self.model[item][0]),
                ]
            )

    @rule(item=consumes(ids))
    def remove(self, item: int) -> None:
        assert self.store.remove([item, item + 10**6]) == 1
        del self.model[item]

    @rule()
    def rebuild(self) -> None:
        self.store.rebuild()

    @rule()
    def reopen(self) -> None:
        self.store.close()
        self.store = Store.open(self.path, "w")
        self.store.segment_rows = 10

    @invariant()
    def agrees(self) -> None:
        with self.store.snapshot() as snapshot:
            assert live(snapshot) == {i: code_of(number).tobytes() for i, (_, number) in self.model.items()}
            for segment in snapshot.segments:
                if not segment.alive.all():
                    check_mask(segment, -(-len(segment.ids) // 64) * 8, np.flatnonzero(~segment.alive).tolist())
                assert segment.ascending == (np.unique(segment.ids).tolist() == segment.ids.tolist())
            assert {item.id: item.path for item in snapshot.paths()} == {i: path for i, (path, _) in self.model.items()}

    def teardown(self) -> None:
        assert self.store.verify() == []
        self.store.close()
        with Store.open(self.path) as self.store:
            self.agrees()
            assert self.store.verify() == []
        self.folder.cleanup()


TestAgainstADictionary = AgainstADictionary.TestCase
TestAgainstADictionary.settings = settings(
    max_examples=30, stateful_step_count=15, deadline=None, suppress_health_check=list(HealthCheck)
)


def test_a_library_that_another_took_the_place_of_is_not_mixed_with_it(tmp_path: Path) -> None:
    for name, digest in (("a.hg", "a" * 64), ("b.hg", "b" * 64)):
        with Store.create(tmp_path / name, grains=GRAINS, digest=digest) as made:
            made.commit([new(number) for number in range(5)])
    with Store.open(tmp_path / "a.hg") as reader, reader.snapshot() as before:
        (tmp_path / "a.hg").rename(tmp_path / "old.hg")
        (tmp_path / "b.hg").rename(tmp_path / "a.hg")
        with pytest.raises(LibraryError, match="replaced"), reader.snapshot():
            pass
        assert len(before) == 5


# ---- the log of changes


def test_the_log_tells_each_change_of_codes_in_order_and_nothing_else(tmp_path: Path) -> None:
    with make(tmp_path / "a.hg", 3) as store:
        store.commit([new(3), replaced(2, 40), Moved(1, "/moved.jpg", (1, 2)), Touched(3, (5, 6))])
        store.remove([1, 99])
        store.exclude(["/x"])
        with store.snapshot() as snapshot:
            changes = list(snapshot.changes(0))
            # Item 1 is gone by now, so that its being added is told as that, and none of its codes.
            assert [each[:3] for each in changes] == [
                (1, "removed", 1), (2, "added", 2), (3, "added", 3), (4, "added", 4), (5, "changed", 2),
                (6, "removed", 1),
            ]  # fmt: skip
            assert snapshot.sequence == 6
            assert replayed(snapshot) == live(snapshot)
            assert [each.number for each in snapshot.changes(4)] == [5, 6]
            assert list(snapshot.changes(6)) == []


def test_whoever_applies_the_log_from_any_moment_has_what_the_library_has(tmp_path: Path) -> None:
    draw = np.random.default_rng(5)
    moments: list[tuple[int, dict[int, bytes]]] = []
    number = 0
    with make(tmp_path / "a.hg") as store:
        for step in range(30):
            with store.snapshot() as snapshot:
                there = live(snapshot)
                moments.append((snapshot.sequence, there))
                history = snapshot.history()
            action = draw.integers(0, 4)
            some = [int(each) for each in draw.permutation(sorted(there))[:3]]
            number += 10
            if action < 2 or not some:
                store.commit([new(number + each) for each in range(3)])
            elif action == 2:
                store.commit([replaced(each, number + place) for place, each in enumerate(some)])
            else:
                store.remove(some)
            if step == 20:
                store.rebuild()  # which drops what later entries make superfluous
        with store.snapshot() as snapshot:
            assert snapshot.history() == history
            for since, had in moments:
                assert replayed(snapshot, since, had) == live(snapshot)
        assert store.verify() == []


def test_a_change_that_fails_leaves_the_log_as_it_was(tmp_path: Path) -> None:
    with make(tmp_path / "a.hg", 2) as store:
        with pytest.raises(LibraryError):
            store.commit([new(7), new(0)])
        with store.snapshot() as snapshot:
            assert [each.item for each in snapshot.changes(0)] == [1, 2]
        store.commit([new(8)])
        with store.snapshot() as snapshot:
            assert [each[:3] for each in snapshot.changes(2)] == [(3, "added", 3)]


def test_another_model_begins_another_history(tmp_path: Path) -> None:
    path = tmp_path / "a.hg"
    with make(path, 3) as store, make(tmp_path / "b.hg", 3) as other:
        store.remove([2])
        with store.snapshot() as snapshot, other.snapshot() as another:
            before = snapshot.history()
            assert before != another.history()
        store.change_model([(1, bytes(8)), (3, bytes(8))], grains=Grains(kind=64), digest="d2")
        with store.snapshot() as snapshot:
            assert snapshot.history() != before
            assert replayed(snapshot) == live(snapshot)
            assert snapshot.sequence == 2
        assert store.verify() == []


@pytest.mark.parametrize(
    "damage",
    ["DELETE FROM changes WHERE number = 2", "DELETE FROM changes WHERE number = 3", "UPDATE changes SET item = 'x'",
     "UPDATE changes SET kind = 'eaten' WHERE number = 1", "UPDATE changes SET kind = 'removed' WHERE number = 1",
     "INSERT INTO changes VALUES (9, 'added', 1)"],
)  # fmt: skip
def test_a_damaged_log_is_found_and_begun_anew_by_rebuild(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "a.hg"
    make(path, 3).close()
    with closing(sqlite3.connect(path / "catalogue.sqlite")) as connection:
        connection.execute(damage)
        connection.commit()
    page_checksums.forget(path)
    with Store.open(path, "w") as store:
        assert [problem.remedy for problem in store.verify()] == ["rebuild the library to mend it"]
        with store.snapshot() as snapshot:
            before = snapshot.history()
        store.rebuild()
        assert store.verify() == []
        with store.snapshot() as snapshot:
            assert snapshot.history() != before
            assert replayed(snapshot) == live(snapshot)
