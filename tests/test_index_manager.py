"""Index files beside a library: made when worth it, used when sound, never in the way of an answer."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from hamming_questions import listed
from hashgrain import Codes, Grains
from hashgrain.engines import EmbeddedEngine, IndexManager, index_manager
from hashgrain.errors import LibraryError
from hashgrain.hamming import Index, Lists, Tables, build_tables, compiled, plain, save
from hashgrain.hamming.question import ask_nearest
from hashgrain.library import Library
from hashgrain.store import New, Parts, PartsReplaced, Snapshot, Store, catalogue, disk, segments

GRAINS = Grains(kind=32, thing=64, look=128)
KINDS = {("tables", 64), ("lists", 128)}


@pytest.fixture(autouse=True)
def small_is_worth_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hundreds of rows stand for millions here; flushes to disk are left out."""
    monkeypatch.setattr(index_manager, "MIN_ROWS", 400)
    monkeypatch.setattr(index_manager, "MIN_NEW_ROWS", 100)
    monkeypatch.setattr(segments, "BLOCK_ROWS", 64)
    monkeypatch.setattr(disk, "sync", lambda file: None)
    monkeypatch.setattr(disk, "sync_folder", lambda folder: None)
    monkeypatch.setattr(catalogue, "SETTINGS", [each.replace("FULL", "OFF") for each in catalogue.SETTINGS])


def code(number: int) -> np.ndarray:
    """Twenty families of codes, a few bits apart."""
    rng = np.random.default_rng(number)
    family = np.random.default_rng(10_000 + number % 20).integers(0, 2**63, 2).astype(np.uint64)
    return family ^ (np.uint64(1) << rng.integers(0, 64, 2, np.uint64))


def add(store: Store, first: int, end: int, salt: int = 0) -> list[int]:
    ids = []
    for low in range(first, end, 100):
        numbers = range(low, min(end, low + 100))
        ids += store.commit(
            [New(f"/p/{n}.jpg", f"{n + salt:064x}", (n, n), 9, 9, "jpeg", None, code(n + salt)) for n in numbers]
        )
    return ids


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.create(tmp_path / "some.hg", grains=GRAINS, digest="d" * 64) as made:
        yield made


def index(store: Store, **how: int) -> IndexManager:
    made = IndexManager(Path(store.path), GRAINS)
    with store.snapshot() as snapshot:
        made.make_all(snapshot, **how)
    return made


def ranges(store: Store) -> dict[str, list[tuple[int, int]]]:
    by_kind: dict[str, list[tuple[int, int]]] = {}
    for file in sorted((Path(store.path) / index_manager.FOLDER).glob("*.hgi")):
        _, first, end, kind, _ = file.stem.split("-")
        by_kind.setdefault(kind, []).append((int(first), int(end)))
    return by_kind


def check_answers(snapshot: Snapshot, indexes: list, queries: int = 4, k: int = 20) -> set[str]:
    """Every grain against numpy over the same snapshot; the paths that were taken."""
    codes = Codes(np.stack([code(90_000 + i) for i in range(queries)]), GRAINS)
    paths: set[str] = set()
    for grain in GRAINS:
        answers = EmbeddedEngine(snapshot.segments, GRAINS, indexes).nearest(codes, k, grain=grain)
        question = ask_nearest(codes.words, snapshot.segments, k, GRAINS[grain], None)
        assert [listed(each) for each in answers] == [listed(each) for each in plain.scan(question, snapshot.segments)]
        paths |= {each.cost.path for each in answers}
    return paths


def opened(store: Store) -> set[tuple[str, int]]:
    with store.snapshot() as snapshot:
        indexes = IndexManager(Path(store.path), GRAINS).open_all(snapshot)
        check_answers(snapshot, indexes)
        return {(each.path, served(each)) for each in indexes}


def served(index: Index) -> int:
    """The bits of the widest grain that an index serves."""
    if isinstance(index, Tables):
        return 16 * len(index.starts)
    assert isinstance(index, Lists)
    return index.bits


def test_a_small_library_needs_no_index(store: Store) -> None:
    add(store, 0, 300)
    index(store)
    assert ranges(store) == {}


def test_a_large_one_gets_tables_for_short_grains_and_lists_for_the_whole_code(store: Store) -> None:
    add(store, 0, 500)
    made = index(store)
    assert set(ranges(store)) == {"tables", "lists"}
    assert opened(store) == KINDS
    assert made.bytes() == sum(file.stat().st_size for file in made.folder.iterdir())


def test_rows_added_since_are_found_and_indexes_stay_few(store: Store) -> None:
    add(store, 0, 500)
    index(store)
    first = ranges(store)["tables"][0]
    add(store, 500, 560)
    index(store)
    assert ranges(store)["tables"] == [first]  # too few to be worth it
    assert opened(store) == KINDS  # and found all the same
    parts = []
    for end in range(700, 3000, 200):
        add(store, end - 140 if end == 700 else end - 200, end)
        index(store)
        covered = ranges(store)["tables"]
        assert covered[0][0] == 0
        assert all(a[1] == b[0] for a, b in pairwise(covered))
        parts.append(len(covered))
        opened(store)
    assert max(parts) <= 4


def test_removed_and_replaced_rows_never_come_back_from_an_index(store: Store) -> None:
    ids = add(store, 0, 600)
    index(store)
    store.remove(ids[::3])
    with store.snapshot() as snapshot:
        indexes = IndexManager(Path(store.path), GRAINS).open_all(snapshot)
        check_answers(snapshot, indexes)
        everything = EmbeddedEngine(snapshot.segments, GRAINS, indexes).within(
            Codes(code(1)[None], GRAINS), 64, grain="thing"
        )
        assert not set(everything[0].ids.tolist()) & set(ids[::3])


def test_the_first_question_does_not_wait_for_an_index_and_later_ones_have_it(store: Store) -> None:
    add(store, 0, 600)
    index(store)
    fresh = IndexManager(Path(store.path), GRAINS)
    with store.snapshot() as snapshot:
        assert fresh.ready(snapshot) == []
        fresh.ready(snapshot)
        for _ in range(500):
            if len(fresh.ready(snapshot)) == 2:
                break
            time.sleep(0.01)
        assert {each.path for each in fresh.ready(snapshot)} == {"tables", "lists"}


def test_memory_is_reckoned_before_building_and_capped(store: Store) -> None:
    add(store, 0, 600)
    made, planned = IndexManager(Path(store.path), GRAINS), []
    with store.snapshot() as snapshot:
        left = made.make_all(snapshot, 0, lambda plan, fits: planned.append((plan.kind, fits)))
        assert planned == [("tables", False), ("lists", False)]
        assert {plan.kind for plan in left} == {"tables", "lists"}
        assert made.bytes() == 0
        lists = next(plan for plan in left if plan.kind == "lists")
        assert made.make_all(snapshot, lists.bytes, dry_run=True) != []
        assert made.bytes() == 0
        made.make_all(snapshot, lists.bytes)
        assert set(ranges(store)) == {"lists"}
        made.make_all(snapshot)
    assert opened(store) == KINDS


@pytest.mark.parametrize("harm", ["cut short", "flipped", "emptied", "swapped", "not an index"])
def test_a_damaged_index_costs_time_and_is_made_anew(store: Store, harm: str) -> None:
    add(store, 0, 600)
    made = index(store)
    tables, lists = (next(made.folder.glob(f"*{kind}*")) for kind in ("tables", "lists"))
    whole = bytearray(tables.read_bytes())
    if harm == "cut short":
        tables.write_bytes(whole[: len(whole) // 2])
    elif harm == "flipped":
        whole[len(whole) // 2] ^= 1
        tables.write_bytes(whole)
    elif harm == "emptied":
        tables.write_bytes(b"")
    elif harm == "swapped":
        tables.write_bytes(lists.read_bytes())
    else:
        (made.folder / "000001-x-y-tables-64.hgi").write_bytes(b"?")
        tables.write_bytes(b"\n" * 5000)
    assert opened(store) == {("lists", 128)}
    with store.snapshot() as snapshot:
        assert [file for file, _ in made.damaged(snapshot)] == [tables]
    index(store)
    assert opened(store) == KINDS
    with store.snapshot() as snapshot:
        assert list(made.damaged(snapshot)) == []


def test_an_index_of_another_library_is_never_used(store: Store, tmp_path: Path) -> None:
    add(store, 0, 600)
    with Store.create(tmp_path / "other.hg", grains=GRAINS, digest="d" * 64) as other:
        add(other, 0, 600, salt=7)
        made = index(other)
        shutil.copytree(made.folder, Path(store.path) / index_manager.FOLDER)
    assert opened(store) == set()
    index(store)
    assert opened(store) == KINDS


def test_a_library_restored_from_a_backup_does_not_believe_a_newer_index(store: Store, tmp_path: Path) -> None:
    add(store, 0, 600)
    shutil.copytree(store.path, tmp_path / "backup.hg")
    add(store, 600, 900)
    index(store)
    shutil.copytree(Path(store.path) / index_manager.FOLDER, tmp_path / "backup.hg" / index_manager.FOLDER)
    with Store.open(tmp_path / "backup.hg", "w") as restored:
        add(restored, 600, 900, salt=5000)  # other pictures in the same places
        assert opened(restored) == set()


def test_a_rebuilt_library_leaves_its_old_indexes_behind(store: Store) -> None:
    ids = add(store, 0, 900)
    index(store)
    store.remove(ids[:200])
    store.rebuild()
    assert opened(store) == set()
    made = index(store)
    assert opened(store) == KINDS
    assert len(list(made.folder.iterdir())) == 2


@pytest.mark.slow
def test_readers_see_one_moment_whatever_is_added_removed_rebuilt_or_indexed(store: Store) -> None:
    ids = add(store, 0, 500)
    index(store)
    shared, stop, wrong, answered = IndexManager(Path(store.path), GRAINS), threading.Event(), [], [0]

    def read() -> None:
        while not stop.is_set():
            try:
                with store.snapshot() as snapshot:
                    check_answers(snapshot, shared.ready(snapshot), queries=2, k=5)
                answered[0] += 1
            except BaseException as error:
                wrong.append(error)
                return

    readers = [threading.Thread(target=read) for _ in range(3)]
    for reader in readers:
        reader.start()
    rng = np.random.default_rng(0)
    try:
        for round_ in range(12):
            ids += add(store, 500 + 150 * round_, 650 + 150 * round_)
            gone = rng.choice(ids, 30, replace=False).tolist()
            store.remove(gone)
            ids = [each for each in ids if each not in set(gone)]
            if round_ % 4 == 3:
                store.rebuild()
            index(store)
    finally:
        stop.set()
        for reader in readers:
            reader.join()
    assert wrong == []
    assert answered[0] > 20


def test_adding_indexes_in_the_background_and_closing_waits_for_it(tmp_path: Path) -> None:
    with Library.create(tmp_path / "l.hg") as library:
        add(library.store, 0, 600)
        library._indexing.make_soon()
    with Library.open(tmp_path / "l.hg") as library:
        assert set(ranges(library.store)) == {"tables", "lists"}
        with library.store.snapshot() as snapshot:
            indexes = library.indexes.open_all(snapshot)
            assert len(indexes) == 2
        asked = Codes(code(3)[None], GRAINS)
        explained = library.explain(asked, k=5)
        assert [hit.id for hit in explained.hits] == [hit.id for hit in library.search(asked, k=5)]
        assert explained.items == 600
        assert explained.cost.path in (("lists", "scan") if compiled() else ("numpy",))
        assert library.verify() == []
        next(library.indexes.folder.glob("*lists*")).write_bytes(b"no")
        (problem,) = library.verify()
        assert problem.harmless
        assert "build the index anew" in problem.remedy


def test_two_who_build_at_once_do_not_get_into_each_others_way(tmp_path: Path) -> None:
    with Library.create(tmp_path / "l.hg") as library:
        add(library.store, 0, 600)
        library._indexing.make_soon()
        library.index()
        shelves = [threading.Thread(target=index, args=(library.store,)) for _ in range(3)]
        for file in library.indexes.folder.iterdir():
            file.unlink()
        for each in shelves:
            each.start()
        for each in shelves:
            each.join()
        assert set(ranges(library.store)) == {"tables", "lists"}
        assert opened(library.store) == KINDS
        assert not list(library.indexes.folder.glob("*.part"))


def test_a_script_that_ends_without_closing_ends_quietly_and_leaves_the_index(tmp_path: Path) -> None:
    script = f"""
import sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
import test_index_manager
from hashgrain.engines import index_manager
from hashgrain.library import Library
from hashgrain.store import segments
index_manager.MIN_ROWS, index_manager.MIN_NEW_ROWS, segments.BLOCK_ROWS = 400, 100, 64
library = Library.create({str(tmp_path / "l.hg")!r})
test_index_manager.add(library.store, 0, 600)
library._indexing.make_soon()
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert len(list((tmp_path / "l.hg" / index_manager.FOLDER).glob("*.hgi"))) == 2


def test_a_file_in_the_place_of_the_folder_is_an_error_only_for_who_builds(tmp_path: Path) -> None:
    with Library.create(tmp_path / "l.hg") as library:
        add(library.store, 0, 600)
        library.indexes.folder.write_text("mine")
        assert library.info()["bytes_of_indexes"] == 0
        assert library.verify() == []
        asked = Codes(code(3)[None], GRAINS)
        assert len(library.search(asked)) == len(library.search(asked)) == 10
        with pytest.raises(LibraryError, match="cannot be written"):
            library.index()
        library._indexing.make_soon()


def test_an_index_found_by_a_reader_of_an_older_moment_is_opened_later(store: Store) -> None:
    add(store, 0, 600)
    reader = IndexManager(Path(store.path), GRAINS)
    with store.snapshot() as old:
        add(store, 600, 900)
        index(store)
        assert reader.open_all(old) == []
    with store.snapshot() as now:
        assert len(reader.open_all(now)) == 2


def test_a_builder_of_an_older_moment_leaves_newer_indexes_alone(store: Store) -> None:
    add(store, 0, 600)
    with store.snapshot() as old:
        add(store, 600, 1300)
        newer = index(store)
        before = sorted(file.name for file in newer.folder.iterdir())
        newer.make_all(old)
        assert set(before) <= {file.name for file in newer.folder.iterdir()}
    assert opened(store) == KINDS


def test_what_a_plan_would_replace_counts_until_it_is_replaced(store: Store, tmp_path: Path) -> None:
    add(store, 0, 500)
    made = index(store)
    shutil.copytree(made.folder, tmp_path / "before")
    before = made.bytes()
    add(store, 500, 1400)
    with store.snapshot() as snapshot:
        for cap in range(before // 2, 2 * before, before // 40):
            shutil.rmtree(made.folder)
            shutil.copytree(tmp_path / "before", made.folder)
            made.make_all(snapshot, cap)
            assert made.bytes() <= max(cap + 3 * 4096, before)  # headers are not reckoned


def test_what_was_never_finished_is_swept_away_in_time(store: Store) -> None:
    add(store, 0, 600)
    made = index(store)
    name = next(made.folder.glob("*.hgi")).name
    old, young, foreign = (made.folder / each for each in (f"{name}.aa.part", f"{name}.bb.part", "notes.hgi.aa.part"))
    for file in (old, young, foreign):
        file.write_bytes(b"half")
    os.utime(old, (1, 1))
    os.utime(foreign, (1, 1))
    index(store)
    assert not old.exists()
    assert young.exists()
    assert foreign.exists()  # no name of ours


def test_an_index_under_a_name_that_is_not_its_own_is_not_used(store: Store) -> None:
    add(store, 0, 600)
    made = index(store)
    with store.snapshot() as snapshot:
        blocks = snapshot.complete_blocks()
        tables = next(made.folder.glob("*tables*"))
        _, first, end, kind, bits = index_manager._parse_name(tables.name)
        built = build_tables(snapshot.segments, first, end - 100, bits)
        save(built, tables, index_manager.fingerprint(blocks, first, end, kind, bits))
    assert opened(store) == {("lists", 128)}


def test_short_codes_get_tables_of_their_own_width(tmp_path: Path) -> None:
    grains = Grains(kind=16, look=32)
    with Store.create(tmp_path / "short.hg", grains=grains, digest="d" * 64) as store:
        words = np.random.default_rng(0).integers(0, 2**32, 600).astype(np.uint64)
        store.commit([New(f"/{i}", f"{i:064x}", (i, i), 9, 9, "jpeg", None, words[i : i + 1]) for i in range(600)])
        made = IndexManager(Path(store.path), grains)
        with store.snapshot() as snapshot:
            made.make_all(snapshot)
            indexes = made.open_all(snapshot)
            assert [file.stem.split("-")[3:] for file in made.folder.iterdir()] == [["tables", "32"]]
            codes = Codes(words[:3, None], grains)
            for grain in grains:
                answers = EmbeddedEngine(snapshot.segments, grains, indexes).nearest(codes, 9, grain=grain)
                question = ask_nearest(codes.words, snapshot.segments, 9, grains[grain], None)
                assert list(map(listed, answers)) == list(map(listed, plain.scan(question, snapshot.segments)))


def test_an_item_that_asks_does_not_count_itself(tmp_path: Path) -> None:
    with Library.create(tmp_path / "l.hg") as library:
        ids = add(library.store, 0, 300)
        near = library.explain(ids[0], k=10)
        assert (len(near.hits), near.total) == (10, 10)
        same = library.explain(ids[0], within=0)
        assert same.total == len(same.hits)


# ---- indexes of the codes of parts


def add_parts(store: Store, ids: list[int], count: int = 5) -> None:
    """Parts of each item near its own code."""
    flips = np.uint64(1) << np.arange(2 * count, dtype=np.uint64).reshape(count, 2)
    store.commit([PartsReplaced(each, Parts(code(each) ^ flips)) for each in ids])


def part_files(store: Store) -> list[str]:
    return sorted(file.name for file in (Path(store.path) / index_manager.FOLDER).glob("parts-*.hgi"))


def check_parts(store: Store, indexes: list, k: int = 20) -> set[str]:
    """The same items by the same parts as without indexes, in every grain; the paths that were taken."""
    codes = Codes(np.stack([code(90_000 + i) for i in range(4)]), GRAINS)
    paths: set[str] = set()
    with store.snapshot(parts=True) as snapshot:
        for grain in GRAINS:
            answers = []
            for used_indexes in ([], indexes):
                engine = EmbeddedEngine(snapshot.segments, GRAINS, (), None, 0, snapshot.part_segments, used_indexes)
                nearest = engine.nearest(codes, k, grain=grain, parts="all")
                close = engine.within(codes, 12, grain=grain, parts="all", cap=k)
                assert all(each.parts is not None for each in nearest + close)
                answers.append([(listed(e), e.parts.tolist(), e.total) for e in nearest + close if e.parts is not None])
                paths |= {each.cost.parts.path for each in nearest + close if each.cost.parts}
            assert answers[0] == answers[1]
    return paths


def test_parts_get_indexes_of_their_own_beside_those_of_whole_codes(store: Store) -> None:
    ids = add(store, 0, 600)
    index(store)
    whole = ranges(store)
    add_parts(store, ids[:300])
    made = IndexManager(Path(store.path), GRAINS, parts=True)
    with store.snapshot() as snapshot:
        plans = made.plans(snapshot)
        assert {(plan.kind, plan.parts, plan.first) for plan in plans} == {("tables", True, 0), ("lists", True, 0)}
        assert made.make_all(snapshot) == []
        assert made.plans(snapshot) == []
        indexes = IndexManager(Path(store.path), GRAINS, parts=True).open_all(snapshot)
        assert sorted(each.path for each in indexes) == ["lists", "tables"]
        assert list(made.damaged(snapshot)) == []
        others = IndexManager(Path(store.path), GRAINS).open_all(snapshot)
        check_answers(snapshot, others)
    assert len(part_files(store)) == 2
    paths = check_parts(store, indexes)
    assert not compiled() or paths & {"tables", "lists"}
    for name in part_files(store):
        (Path(store.path) / index_manager.FOLDER / name).unlink()
    assert ranges(store) == whole


def test_parts_that_came_since_the_index_are_scanned_and_those_that_died_left_out(store: Store) -> None:
    ids = add(store, 0, 400)
    add_parts(store, ids[:200])
    made = IndexManager(Path(store.path), GRAINS, parts=True)
    with store.snapshot() as snapshot:
        made.make_all(snapshot)
    store.remove(ids[:20])
    store.commit([PartsReplaced(ids[30], None), PartsReplaced(ids[31], Parts(code(5)[None]))])
    add_parts(store, ids[200:210])
    with store.snapshot() as snapshot:
        indexes = IndexManager(Path(store.path), GRAINS, parts=True).open_all(snapshot)
    assert len(indexes) == 2
    check_parts(store, indexes)


def test_a_rebuild_drops_indexes_of_parts_and_they_are_made_anew(store: Store) -> None:
    ids = add(store, 0, 400)
    add_parts(store, ids[:200])
    made = IndexManager(Path(store.path), GRAINS, parts=True)
    with store.snapshot() as snapshot:
        made.make_all(snapshot)
    before = part_files(store)
    store.remove(ids[100:110])
    store.rebuild()
    with store.snapshot() as snapshot:
        assert made.open_all(snapshot) == []
        assert len(list(made.damaged(snapshot))) == 2
        made.make_all(snapshot)
        indexes = made.open_all(snapshot)
    assert len(indexes) == 2
    assert len(part_files(store)) == 2
    assert not set(part_files(store)) & set(before)
    check_parts(store, indexes)


def test_indexes_of_parts_share_the_memory_that_all_may_take(store: Store) -> None:
    ids = add(store, 0, 500)
    add_parts(store, ids)
    whole, made = IndexManager(Path(store.path), GRAINS), IndexManager(Path(store.path), GRAINS, parts=True)
    with store.snapshot() as snapshot:
        cap = sum(plan.bytes for plan in whole.plans(snapshot)) + max(plan.bytes for plan in made.plans(snapshot))
        assert whole.make_all(snapshot, memory=cap) == []
        left_out = made.make_all(snapshot, memory=cap)
    assert len(left_out) == 1
    assert len(part_files(store)) == 1
    assert whole.bytes() == made.bytes() == sum(file.stat().st_size for file in whole.folder.glob("*.hgi"))


def test_a_library_indexes_its_parts_and_answers_by_them(tmp_path: Path) -> None:
    with Library.create(tmp_path / "l.hg") as library:
        ids = add(library.store, 0, 450)
        add_parts(library.store, ids)
        library._indexing.make_soon()
    with Library.open(tmp_path / "l.hg") as library:
        assert len(part_files(library.store)) == 2
        with library.store.snapshot() as snapshot:
            indexes = library.part_indexes.open_all(snapshot)
        assert len(indexes) == 2
        asked = Codes(code(3)[None], GRAINS)
        hits = library.search(asked, k=30, parts="all")
        for file in library.indexes.folder.iterdir():
            file.unlink()
        with Library.open(tmp_path / "l.hg") as other:
            assert other.search(asked, k=30, parts="all") == hits
        library.index()
        assert len(part_files(library.store)) == 2
        (library.indexes.folder / part_files(library.store)[0]).write_bytes(b"no")
        (problem,) = library.verify()
        assert problem.harmless
