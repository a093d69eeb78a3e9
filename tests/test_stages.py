"""Coarse search, then fine: exact at every stage, told by `explain`, with filters and removed items left out."""

from __future__ import annotations

import json
import math
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conftest import Run, fill
from hashgrain import Codes, Grains, Library
from hashgrain.errors import CodesError, HashgrainError, QueryError
from hashgrain.models import Bundle
from hashgrain.search.stages import SAMPLE, length_for
from hashgrain.store import New

pytestmark = pytest.mark.usefixtures("no_flushes")
GRAINS = Grains(kind=4, thing=9, look=70)
Row = tuple[int, str]  # id, and its code as text of zeros and ones


def filled(path: Path, seed: int, n: int) -> tuple[Library, list[Row]]:
    """A library of made codes, some of them the same, a third of the items removed; and what is left."""
    rng = np.random.default_rng(seed)
    bits = (rng.random((n, GRAINS.bits)) < rng.random((n, 1))).astype(np.uint8)
    if n > 4:
        bits[rng.integers(0, n, n // 3)] = bits[0]
    words = Codes.from_bits(bits.reshape(n, GRAINS.bits), GRAINS).words if n else np.empty((0, 2), np.uint64)
    library = Library.create(path, Bundle("made", Bundle.read("default").onnx, GRAINS, (64, 64)))
    new = [New(f"/p/{i}.jpg", f"{i:064x}", (i, i), 9 + i % 2, 9, "jpeg", None, words[i]) for i in range(n)]
    ids = library.store.commit(new) if new else []
    gone = {i for i in range(n) if rng.random() < 0.3}
    library.store.remove([ids[i] for i in gone])
    texts = ["".join(map(str, row)) for row in bits.tolist()]
    return library, [(ids[i], texts[i]) for i in range(n) if i not in gone]


def differing(one: str, other: str, low: int, high: int) -> int:
    return sum(a != b for a, b in zip(one[low:high], other[low:high], strict=True))


def brute(rows: list[Row], query: str, stages: list[tuple[str, int]], grain: str, separate: bool) -> Any:
    """(what each stage keeps, the order of the answer), by loops over text."""
    names = list(GRAINS)
    begins = {name: GRAINS[names[names.index(name) - 1]] if separate and names.index(name) else 0 for name in names}

    def apart(row: Row, at: str) -> int:
        return differing(row[1], query, begins[at], GRAINS[at])

    shortlists = []
    for name, n in stages:
        edge = sorted(apart(row, name) for row in rows)[:n][-1:]
        rows = [row for row in rows if edge and apart(row, name) <= edge[0]]
        shortlists.append((len(rows), max((apart(row, name) for row in rows), default=0)))
    order = sorted(rows, key=lambda row: (apart(row, grain), differing(row[1], query, 0, GRAINS.bits), row[0]))
    return shortlists, [(row[0], apart(row, grain)) for row in order]


QUESTIONS = st.fixed_dictionaries(
    {
        "stages": st.sampled_from(
            [["kind"], ["thing"], ["kind", "thing"], ["kind", "look"], ["kind", "thing", "look"]]
        ),
        "n": st.lists(st.integers(1, 12), min_size=3, max_size=3),
        "grain": st.sampled_from(["thing", "look"]),
        "k": st.sampled_from([1, 3, 100]),
        "even": st.booleans(),
        "itself": st.booleans(),
        "separate": st.booleans(),
        "within": st.sampled_from([None, 0, 2, 5]),
    }
)


@settings(max_examples=30)
@given(st.integers(0, 2**32 - 1), st.integers(0, 40), st.lists(QUESTIONS, min_size=6, max_size=6))
def test_each_stage_and_the_answer_are_those_of_brute_force(seed: int, n: int, questions: list[dict[str, Any]]) -> None:
    folder = Path(tempfile.mkdtemp())
    library, rows = filled(folder / "l.hg", seed, n)
    try:
        for asked in questions:
            check(library, rows, np.random.default_rng(seed), **asked)
    finally:
        library.close()
        shutil.rmtree(folder)


def check(
    library: Library,
    rows: list[Row],
    rng: np.random.Generator,
    *,
    stages: list[str],
    n: list[int],
    grain: str,
    k: int,
    even: bool,
    itself: bool,
    separate: bool,
    within: int | None,
) -> None:
    chosen = [(name, size) for name, size in zip(stages, n, strict=False) if GRAINS[name] <= GRAINS[grain]]
    if separate and chosen[0][0] != "kind":
        chosen = [("kind", n[0]), *chosen]
    there = [row for row in rows if not even or (row[0] - 1) % 2 == 0]
    if itself and rows:
        query: int | Codes
        query, text = rows[len(rows) // 2]
        there = [row for row in there if row[0] != query]
    else:
        text = "".join(map(str, rng.integers(0, 2, GRAINS.bits).tolist()))
        query = Codes.from_bits([[int(bit) for bit in text]], GRAINS)
    where = "width = 9" if even else None
    explained = library.explain(
        query, k=k, grain=grain, where=where, within=within, stages=chosen, separate=separate, threads=1
    )
    shortlists, order = brute(there, text, chosen, grain, separate)
    assert [(each.kept, each.distance) for each in explained.shortlists] == shortlists
    order = [row for row in order if within is None or row[1] <= within]
    assert [(hit.id, hit.distance) for hit in explained.hits] == order[:k]
    if within is not None:
        assert explained.total == len(order)
    if not isinstance(query, int):
        assert library.search_many(
            [query], k=k, grain=grain, where=where, within=within, stages=chosen, separate=separate
        ) == [explained.hits]


@pytest.fixture
def library(tmp_path: Path) -> Iterator[tuple[Library, list[Row]]]:
    made, rows = filled(tmp_path / "l.hg", 3, 120)
    yield made, rows
    made.close()


def test_a_shortlist_of_everything_changes_no_answer(library: tuple[Library, list[Row]]) -> None:
    opened, rows = library
    for item, _ in rows[:20]:
        plain = opened.search(item, k=7)
        assert opened.search(item, k=7, stages=[("kind", 1000), ("thing", 1000)]) == plain
    assert opened.search(rows[0][0], k=5, stages=[]) == opened.search(rows[0][0], k=5)


def test_separate_codes_are_compared_by_their_own_bits_with_and_without_a_shortlist(
    library: tuple[Library, list[Row]],
) -> None:
    opened, rows = library
    item, text = rows[0]
    others = [row for row in rows if row[0] != item]
    _, order = brute(others, text, [], "look", separate=True)
    for stages in (None, [("kind", 1000)]):
        hits = opened.search(item, k=20, separate=True, stages=stages)
        assert [(hit.id, hit.distance) for hit in hits] == order[:20]
        assert {hit.word for hit in hits} == {""}
        assert hits[-1].score == round(1 - hits[-1].distance / 61, 4)


@pytest.mark.parametrize("separate", [False, True])
@pytest.mark.parametrize("where", [None, "width = 9"])
def test_a_recall_is_reached_on_the_items_it_is_measured_on_by_the_shortest_list(
    library: tuple[Library, list[Row]], separate: bool, where: str | None
) -> None:
    opened, rows = library
    there = [row for row in rows if not where or (row[0] - 1) % 2 == 0]
    places = np.unique(np.linspace(0, len(there) - 1, min(SAMPLE, len(there))).astype(int))
    query = opened.code(rows[0][0])  # a code: an item would be left out where a filter is
    (shortlist,) = opened.explain(query, k=5, stages=[("kind", 0.9)], separate=separate, where=where).shortlists
    shares = {}
    for n in (shortlist.asked, shortlist.asked - 1):
        recalled = wanted = 0
        for item, text in (there[place] for place in places):
            others = [row for row in there if row[0] != item]
            _, best = brute(others, text, [], "look", separate)
            _, listed = brute(others, text, [("kind", n)], "look", separate) if n else ([], [])
            wanted += len(best[:5])
            recalled += len({row[0] for row in best[:5]} & {row[0] for row in listed})
        shares[n] = recalled / wanted
    assert shortlist.sampled == len(places)
    assert shares[shortlist.asked] >= 0.9 > shares[shortlist.asked - 1]


def test_the_length_for_a_recall_is_that_of_the_share_of_ranks() -> None:
    ranks = np.array([5, 1, 9, 3])
    assert [length_for(share, ranks) for share in (0.25, 0.5, 0.75, 0.76, 0.99)] == [1, 3, 5, 9, 9]
    assert length_for(0.9, ranks[:0]) == 1


BAD: list[tuple[Any, str]] = [
    ([("thing", 5), ("kind", 5)], "coarse grains to fine"),
    ([("kind", 5), ("kind", 5)], "coarse grains to fine"),
    ([("nose", 5)], "kind, thing, look"),
    ([("kind", 0)], "from 1 on"),
    ([("kind", True)], "from 1 on"),
    ([("kind", 1.0)], "between 0 and 1"),
    ([("kind", math.nan)], "between 0 and 1"),
    ([("kind", 0.9), ("thing", 0.9)], "one shortlist"),
    (["kind"], "pairs"),
    ("kind", "pairs"),
]


@pytest.mark.parametrize(("stages", "said"), BAD)
def test_stages_that_make_no_sense_are_refused(library: tuple[Library, list[Row]], stages: Any, said: str) -> None:
    with pytest.raises((QueryError, CodesError), match=said):
        library[0].search(1, stages=stages)


def test_what_stages_cannot_do_is_said(library: tuple[Library, list[Row]]) -> None:
    opened, rows = library
    for how, said in (
        ({"stages": [("look", 5)], "grain": "thing"}, "none finer than thing"),
        ({"stages": [("thing", 5)], "separate": True}, "begin with the grain kind"),
        ({"stages": [("kind", 0.9)], "k": None}, "at most 1,000"),
        ({"stages": [("kind", 5)], "within": 71}, "from 0 to 70"),
        ({"stages": [("kind", 5)], "within": 62, "separate": True}, "from 0 to 61"),
    ):
        with pytest.raises(HashgrainError, match=said):
            opened.search(rows[0][0], **how)  # type: ignore[arg-type]


# ---- by the command


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("staged")
    with Library.create(folder / "a.hg") as made:
        made.add([fill(folder / "pictures", 30)])
    return folder


def test_the_command_searches_coarse_to_fine_and_explains_both_stages(hashgrain: Run, place: Path) -> None:
    picture = place / "pictures/00003.jpg"
    asked = ("search", place / "a.hg", picture, "-k", 4, "--explain")
    done = hashgrain(*asked, "--coarse-to-fine", "--shortlist", 8, "--json")
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    (stage,) = document["explain"]["stages"]
    assert (stage["grain"], stage["asked"], stage["of"]) == ("kind", 8, 30)
    assert 8 <= stage["kept"] < 30
    with Library.open(place / "a.hg") as library:
        every = sorted(library.search(picture, k=None), key=lambda hit: hit.distances["kind"])
    near = [hit for hit in every if hit.distances["kind"] <= every[7].distances["kind"]]
    near.sort(key=lambda hit: (hit.distance, hit.id))
    assert [hit["id"] for hit in document["hits"]] == [hit.id for hit in near[:4]]
    lines = hashgrain(*asked, "--coarse-to-fine", "--recall", 0.99).stderr.decode().splitlines()
    assert lines[0].startswith("shortlist at kind: ")
    assert "for a recall of 0.99 on 30 items" in lines[0]
    assert lines[1].startswith("found by ")


def test_the_command_goes_level_by_level_with_a_folder_of_queries_too(hashgrain: Run, place: Path) -> None:
    levels = ("--stages", "kind:9,thing:4", "-k", 2)
    one = hashgrain("search", place / "a.hg", place / "pictures/00003.jpg", *levels, "--explain", "--json")
    document = json.loads(one.stdout)
    assert [(stage["grain"], stage["asked"]) for stage in document["explain"]["stages"]] == [("kind", 9), ("thing", 4)]
    every = json.loads(hashgrain("search", place / "a.hg", place / "pictures", *levels, "--json").stdout)
    assert [each["hits"] for each in every if each["query"].endswith("00003.jpg")] == [document["hits"]]


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--shortlist", "5"], "--coarse-to-fine"),
        (["--recall", "0.9"], "--coarse-to-fine"),
        (["--coarse-to-fine", "--shortlist", "5", "--recall", "0.9"], "one of the two"),
        (["--coarse-to-fine", "--stages", "kind:5"], "one of the two"),
        (["--coarse-to-fine", "-g", "kind"], "nothing coarser than kind"),
        (["--stages", "kind"], "kind:1000"),
        (["--stages", "kind:many"], "kind:1000"),
        (["--stages", "kind:5", "--also", "a.hg"], "--also"),
        (["--coarse-to-fine", "--recall", "1.5"], "between 0 and 1"),
    ],
)
def test_flags_that_do_not_go_together_are_refused(hashgrain: Run, place: Path, flags: list[str], said: str) -> None:
    done = hashgrain("search", "a.hg", "pictures/00003.jpg", *flags, cwd=place, env={"COLUMNS": "200"})
    assert done.returncode in (1, 2)
    assert said in done.stderr.decode()
    assert b"Traceback" not in done.stderr
