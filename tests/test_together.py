"""Searches that are answered together have the answers that each has alone."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hashgrain import Codes, Library
from hashgrain.errors import FilterError, HashgrainError, ItemMissingError
from hashgrain.library import together
from hashgrain.library.together import answer_together, shared_of
from hashgrain.search.query import Query
from hashgrain.store import New, Parts

COUNT = 60


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Library]:
    """Items around a few centers, most of them with parts, in two segments; one was removed."""
    draw = np.random.default_rng(3)
    centers = draw.integers(0, 2**64, (6, 4), np.uint64)

    def near(shape: tuple[int, ...], center: int) -> Any:
        flips = draw.integers(0, 2**64, shape, np.uint64) & draw.integers(0, 2**64, shape, np.uint64)
        return centers[center] ^ (flips & draw.integers(0, 2**64, shape, np.uint64))

    def item(number: int) -> New:
        content = hashlib.sha256(str(number).encode()).hexdigest()
        parts = Parts(near((int(draw.integers(1, 9)), 4), number % 5)) if number % 4 else None
        facts = (content, (1000, number), 640, 480, "JPEG", None)
        return New(f"/made/{number}.jpg", *facts, near((4,), number % 6), {"even": number % 2 == 0}, parts=parts)

    with Library.create(tmp_path_factory.mktemp("together") / "made.hg", "photo") as made:
        made.store.commit([item(number) for number in range(COUNT - 10)])
        made.store.commit([item(number) for number in range(COUNT - 10, COUNT)])
        made.remove([7])
        yield made


def alone(library: Library, query: Query) -> Any:
    try:
        return seen(library.answer(query))
    except HashgrainError as error:
        return seen(error)


def seen(answer: Any) -> Any:
    return (
        (type(answer), str(answer)) if isinstance(answer, HashgrainError) else (answer.hits, answer.total, answer.items)
    )


questions = st.builds(
    Query,
    k=st.sampled_from([1, 3, 20, 100, None]),
    grain=st.sampled_from([None, "kind", "thing", "look"]),
    where=st.sampled_from([None, "even = true", "id > 30", "width < 1"]),
    within=st.sampled_from([None, 0, 20, 90]),
    parts=st.sampled_from(["auto", "all", "whole"]),
    min_score=st.sampled_from([None, 0.3, 0.9]),
)


@settings(max_examples=60, deadline=None)
@given(questions, st.booleans(), st.lists(st.integers(1, COUNT + 2), min_size=1, max_size=8))
def test_the_answers_are_those_of_each_alone(library: Library, shared: Query, items: bool, ids: list[int]) -> None:
    ids = ids if items else [each for each in ids if each <= COUNT and each != 7] or [1]  # of those there is a code
    queries = [replace(shared, of=each if items else library.code(each)) for each in ids]
    assert len({str(shared_of(query)) for query in queries}) == 1
    expected = [alone(library, query) for query in queries]
    try:
        assert [seen(answer) for answer in answer_together(library, queries)] == expected
    except HashgrainError as error:  # the question itself is wrong, such as a distance of more bits than there are
        assert {seen(error)} == {each for each in expected if each[0] is not ItemMissingError}


def test_a_question_that_is_wrong_is_an_error_for_all(library: Library) -> None:
    with pytest.raises(FilterError):
        answer_together(library, [Query(1, where="nowhere = 1"), Query(2, where="nowhere = 1")])


@pytest.mark.parametrize(
    "more",
    [
        {"text": "a dog"},
        {"boxes": [(0.0, 0.0, 0.5, 0.5)]},
        {"turned": True},
        {"like": [2]},
        {"unlike": [2]},
        {"stages": [("kind", 10)]},
        {"separate": True},
        {"rerank": 5},
        {"verify": True},
        {"refine": True},
        {"of": None},
        {"of": "picture.jpg"},
        {"of": True},
    ],
)
def test_other_questions_are_asked_alone(more: dict[str, Any]) -> None:
    assert shared_of(Query(**{"of": 1} | more)) is None
    assert shared_of(Query(1)) == Query()


def test_what_comes_during_a_search_is_answered_by_one_pass(library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("fastapi", reason="needs hashgrain[serve]")
    from hashgrain.server import joining

    batches: list[int] = []
    begun, free = threading.Event(), threading.Event()

    def slowly(given: Library, queries: list[Query]) -> list[together.Answer]:
        batches.append(len(queries))
        begun.set()
        assert free.wait(60)
        return answer_together(given, queries)

    monkeypatch.setattr(joining, "answer_together", slowly)
    joined = joining.Joined()
    with ThreadPoolExecutor(16) as threads:
        first = threads.submit(joined.answer, library, Query(1))
        assert begun.wait(60)
        ids = [2, 3, 7, 4, 5, 6]
        others = [threads.submit(joined.answer, library, Query(each)) for each in ids]
        code = threads.submit(joined.answer, library, Query(library.code(8)))
        while sum(map(len, joined._waiting.values())) < len(ids) + 1:
            time.sleep(0.01)
        free.set()
        assert first.result(60).hits == library.search(1)
        assert code.result(60).hits == library.search(library.code(8))
        for each, other in zip(ids, others, strict=True):
            if each == 7:  # was removed; that is an error for who asked with it
                with pytest.raises(ItemMissingError):
                    other.result(60)
            else:
                assert other.result(60).hits == library.search(each)
    assert sorted(batches) == [1, 1, len(ids)]
    assert not joined._waiting


def test_an_error_of_the_pass_reaches_all_who_wait(library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("fastapi", reason="needs hashgrain[serve]")
    from hashgrain.server import joining

    def failing(given: Library, queries: list[Query]) -> list[together.Answer]:
        raise MemoryError

    monkeypatch.setattr(joining, "answer_together", failing)
    joined = joining.Joined()
    with ThreadPoolExecutor(4) as threads:
        for asked in [threads.submit(joined.answer, library, Query(each)) for each in (1, 2, 3)]:
            with pytest.raises(MemoryError):
                asked.result(60)
    monkeypatch.undo()
    assert joined.answer(library, Query(Codes.concatenate([library.code(3)]))).hits == library.search(library.code(3))
