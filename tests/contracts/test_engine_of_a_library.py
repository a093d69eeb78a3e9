"""A library asks its engine everything, keeps it in step, and refuses one that cannot follow it."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from conftest import make_picture
from hashgrain import Codes, Encoder, Grains, Hit, Library
from hashgrain.engines import EmbeddedEngine, Engine, lag, synced_snapshot
from hashgrain.errors import EngineError, FilterError, HashgrainError, QueryError
from hashgrain.hamming import Neighbours
from hashgrain.models import Bundle
from hashgrain.store import Change, Filter, New, Replaced, Snapshot, Store
from hashgrain.store.conditions import OneOf
from plain_engine import NumpyEngine
from test_store import GRAINS as STORED
from test_store import live
from test_store_trust import unpacked

GRAINS = Grains(kind=4, thing=9, look=70)
pytestmark = pytest.mark.usefixtures("no_flushes")
MADE: dict[str, Callable[[], Engine]] = {
    "numpy": lambda: NumpyEngine(GRAINS),
    "embedded": lambda: EmbeddedEngine([], GRAINS),
}


@pytest.fixture(params=MADE)
def engine(request: pytest.FixtureRequest) -> Engine:
    return MADE[request.param]()


def word(seed: int) -> NDArray[np.uint64]:
    bits = np.random.default_rng(seed % 30).random((1, GRAINS.bits)) < 0.4  # some are the same
    bits[0, seed % 70] ^= seed % 3 == 0
    return Codes.from_bits(bits.astype(np.uint8), GRAINS).words[0]


def new(n: int) -> New:
    return New(f"/p/{n}.jpg", f"{n:064x}", (n, n), 9 + n % 2, 9, "jpeg", None, word(n), {"label": n % 3})


def filled(path: Path, n: int = 60) -> Path:
    with Library.create(path, Bundle("made", Bundle.read("default").onnx, GRAINS, (64, 64))) as library:
        library.store.commit([new(each) for each in range(n)])
        library.store.remove([3, 4, 40])
        library.store.commit([Replaced(id=7, **vars(new(200)))])
    return path


QUESTIONS: list[dict[str, Any]] = [
    {},
    {"k": 1},
    {"k": None, "grain": "kind"},
    {"grain": "thing", "where": "label = 1"},
    {"where": {"label": [0, 2], "width": 10}},
    {"within": 25, "k": None},
    {"within": 2, "grain": "kind", "where": "label != 0", "k": 4},
    {"weights": {"kind": 3.0, "thing": 1.0, "look": 0.5}},
    {"weights": {"kind": 0.0, "thing": 2.0}, "grain": "thing", "where": "label = 2"},
    {"stages": [("kind", 20), ("thing", 9)]},
    {"stages": [("thing", 0.9)], "where": "label < 2"},
    {"separate": True, "grain": "thing"},
]


def summary(hits: list[Hit]) -> list[tuple[int, int, float]]:
    return [(hit.id, hit.distance, hit.score) for hit in hits]


def same_answers(one: Library, other: Library) -> None:
    code = Codes(word(11)[None], GRAINS)
    for question in QUESTIONS:
        for query in (code, 5):
            assert summary(one.search(query, **question)) == summary(other.search(query, **question)), question
        summaries = [[summary(hits) for hits in each.search_many([code, code], **question)] for each in (one, other)]
        assert summaries[0] == summaries[1]
        totals = [each.explain(5, **question).total for each in (one, other)]
        assert totals[0] == totals[1]


def test_every_question_is_answered_the_same_by_every_engine(tmp_path: Path, engine: Engine) -> None:
    path = filled(tmp_path / "a.hg")
    with Library.open(path) as plain, Library.open(path, engine=engine) as library:
        same_answers(plain, library)
    with Library.open(path, engine="embedded") as library:
        assert len(library.search(5)) == 10


def test_words_are_asked_of_the_engine_too(tmp_path: Path) -> None:
    encoder = Encoder.load("photo")
    with Library.create(tmp_path / "a.hg", encoder) as library:
        library.add([(f"{n}.jpg", make_picture(n), {"n": n}) for n in range(12)])

    class Counting(NumpyEngine):
        asked = 0

        def agreeing(self, *args: Any, **options: Any) -> Any:
            Counting.asked += 1
            return super().agreeing(*args, **options)

    own = Library.open(tmp_path / "a.hg", engine=Counting(encoder.grains))
    with Library.open(tmp_path / "a.hg") as plain, own as library:
        for options in ({}, {"where": "n < 7", "grain": "thing"}, {"within": encoder.grains.bits}):
            both = [summary(each.search(text="dog", k=5, **options)) for each in (plain, library)]  # type: ignore[arg-type]
            assert both[0] == both[1]
            assert both[0]
        beside = [summary(each.search(3, text="dog", k=5)) for each in (plain, library)]
        assert beside[0] == beside[1]
    assert Counting.asked == 3


def test_an_engine_sees_what_was_changed_since_it_was_last_asked(tmp_path: Path, engine: Engine) -> None:
    path = filled(tmp_path / "a.hg")
    with Library.open(path) as plain, Library.open(path, "w", engine=engine) as library:
        library.search(5)
        library.store.remove([8, 9])
        library.store.commit([new(70), new(71), Replaced(id=5, **vars(new(80)))])
        assert library.info()["changes_the_engine_is_behind"] == 5
        same_answers(plain, library)
        assert library.info()["changes_the_engine_is_behind"] == 0
        library.rebuild()
        same_answers(plain, library)


def test_an_engine_that_was_away_catches_up_from_where_it_was(tmp_path: Path) -> None:
    path = filled(tmp_path / "a.hg")
    away = NumpyEngine(GRAINS)
    away.close = lambda: None  # type: ignore[method-assign]  # as one that keeps its codes elsewhere
    with Library.open(path, engine=away) as library:
        library.search(5)
    at = away.sequence
    with Library.open(path, "w") as library:
        library.store.commit([new(90)])
        library.store.remove([10])
        library.rebuild()
    given: list[Change] = []

    def apply(changes: Any) -> None:
        given.extend(changes)
        NumpyEngine.apply(away, given)

    away.apply = apply  # type: ignore[method-assign]
    with Library.open(path) as plain, Library.open(path, engine=away) as library:
        same_answers(plain, library)
    assert [each[:3] for each in given] == [(at + 1, "added", 61), (at + 2, "removed", 10)]


def test_an_engine_of_another_library_is_refused(tmp_path: Path, engine: Engine) -> None:
    first, second = filled(tmp_path / "a.hg"), filled(tmp_path / "b.hg")
    library = Library.open(first, engine=engine)
    library.search(5)
    for _ in range(2):
        with pytest.raises(EngineError, match=r"another library than .*b\.hg.*; give it an empty engine"):
            Library.open(second, engine=engine)
    assert len(library.search(5)) == 10
    with Library.open(second, "w"):  # nothing is left open
        pass


def test_an_engine_ahead_of_its_library_is_refused(tmp_path: Path, engine: Engine) -> None:
    path = filled(tmp_path / "a.hg")
    shutil.copytree(path, tmp_path / "backup.hg")
    with Library.open(path, "w") as library:
        library.store.commit([new(90)])
    first = Library.open(path, engine=engine)
    first.search(5)
    with pytest.raises(
        EngineError, match=r"ahead of .*: it has applied change 65, and the last one of the library is 64"
    ):
        Library.open(tmp_path / "backup.hg", engine=engine)


def test_an_engine_is_refused_after_its_library_was_given_another_model(tmp_path: Path, engine: Engine) -> None:
    with Library.open(filled(tmp_path / "a.hg"), "w", engine=engine) as library:
        library.search(5)
        codes = [(item.id, word(0).tobytes()) for item in library.items()]
        library.store.change_model(codes, grains=GRAINS, digest="another")
        with pytest.raises(EngineError, match="before its model was changed"):
            library.search(6)


def test_an_engine_that_does_not_apply_what_it_is_told_is_named(tmp_path: Path) -> None:
    class Deaf(NumpyEngine):
        def apply(self, changes: Any) -> None:
            super().apply([change for change in changes if change.number <= 10])

    message = r"behind .*it did not apply the last 54 of 64 changes"
    library = Library.open(filled(tmp_path / "a.hg"), engine=Deaf(GRAINS))
    with library, pytest.raises(EngineError, match=message):
        library.search(5)


def test_an_engine_that_was_told_by_another_process_meanwhile_is_no_error(tmp_path: Path) -> None:
    path = filled(tmp_path / "a.hg")
    engine = NumpyEngine(GRAINS)
    with Store.open(path) as reader:
        real, moments = reader.snapshot, []

        @contextmanager
        def snapshot() -> Iterator[Snapshot]:
            with real() as real_snapshot:
                moments.append(real_snapshot.sequence)
                if len(moments) == 1:  # between this moment and the question somebody writes, and tells the engine
                    with Store.open(path, "w") as writer:
                        writer.commit([new(91)])
                        with synced_snapshot(engine, writer):
                            pass
                yield real_snapshot

        reader.snapshot = snapshot  # type: ignore[method-assign, assignment]
        with synced_snapshot(engine, reader) as moment:
            assert moment.sequence == engine.sequence == 65
        assert moments == [64, 65]


@pytest.mark.parametrize(
    ("given", "message"),
    [("faiss", "no engine 'faiss'; there is embedded"), (7, "int is no engine"), (object(), "object is no engine"),
     (NumpyEngine, "type is no engine")],
)  # fmt: skip
def test_what_is_no_engine_is_refused(tmp_path: Path, given: Any, message: str) -> None:
    with pytest.raises(EngineError, match=message):
        Library.open(filled(tmp_path / "a.hg"), engine=given)
    with pytest.raises(EngineError, match=message):
        Library.create(tmp_path / "b.hg", engine=given)
    assert not (tmp_path / "b.hg").exists()


def test_an_engine_is_closed_with_its_library(tmp_path: Path) -> None:
    engine = NumpyEngine(GRAINS)
    with Library.open(filled(tmp_path / "a.hg"), engine=engine) as library:
        library.search(5)
        assert engine.bits
    assert not engine.bits


def test_an_engine_is_asked_by_one_thread_at_a_time(tmp_path: Path) -> None:
    class Watched(NumpyEngine):
        inside, most = 0, 0

        def nearest(self, *args: Any, **options: Any) -> list[Neighbours]:
            Watched.inside += 1
            Watched.most = max(Watched.most, Watched.inside)
            neighbours = super().nearest(*args, **options)
            Watched.inside -= 1
            return neighbours

    with Library.open(filled(tmp_path / "a.hg"), "w", engine=Watched(GRAINS)) as library:
        failed: list[BaseException] = []

        def search() -> None:
            try:
                for _ in range(5):
                    assert len(library.search(5)) == 10
            except BaseException as error:
                failed.append(error)

        threads = [threading.Thread(target=search) for _ in range(4)]
        for thread in threads:
            thread.start()
        for number in range(100, 110):
            library.store.commit([new(number)])
        for thread in threads:
            thread.join()
    assert not failed
    assert Watched.most == 1


def test_an_engine_that_takes_filters_is_given_the_tree(tmp_path: Path) -> None:
    given: list[Any] = []

    class Filtering(NumpyEngine):
        takes_filters = True

        def nearest(self, codes: Codes, k: int, **options: Any) -> list[Neighbours]:
            given.append(options["where"])
            if isinstance(options["where"], Filter):
                options["where"] = ids
            return super().nearest(codes, k, **options)

    path = filled(tmp_path / "a.hg")
    with Library.open(path) as plain, Library.open(path, engine=Filtering(GRAINS)) as library:
        with plain.store.snapshot() as snapshot:
            ids = snapshot.select("label = 1")
        assert summary(library.search(5, where="label = 1")) == summary(plain.search(5, where="label = 1"))
        (filter_,) = given
        assert isinstance(filter_, Filter)
        assert isinstance(filter_.condition, OneOf)
        assert filter_.condition.values == (1,)
        with pytest.raises(FilterError, match="did you mean label"):
            library.search(5, where="lable = 1")


@pytest.mark.parametrize("version", [2, 3])
def test_an_engine_follows_a_library_of_an_older_format_before_and_after_its_upgrade(
    tmp_path: Path, version: int
) -> None:
    path = unpacked("closed", tmp_path, version)
    engine = NumpyEngine(STORED)
    with Store.open(path) as store:
        with synced_snapshot(engine, store) as snapshot:
            assert {item: Codes.from_bits(b[None], STORED).words.tobytes() for item, b in engine.bits.items()} == live(
                snapshot
            )
        assert store.info()["format"] == version
    with Store.open(path, "w") as store:
        with store.snapshot() as snapshot:
            assert lag(engine, snapshot, path) == 0
        store.remove([1])
        with synced_snapshot(engine, store):
            assert 1 not in engine.bits


# ---- rerank and weights


def test_weights_change_the_order_and_not_what_a_hit_says(tmp_path: Path) -> None:
    with Library.open(filled(tmp_path / "a.hg")) as library:
        code = library.code(5)
        weights = {"kind": 0.0, "thing": 0.0, "look": 1.0}
        hits = library.search(code, k=None, weights=weights)
        late = {hit.id: hit.distances["look"] - hit.distances["thing"] for hit in hits}
        expected = sorted(hits, key=lambda hit: (late[hit.id], hit.distances["look"], hit.id))
        assert [hit.id for hit in hits] == [hit.id for hit in expected]
        assert {hit.id: hit.distance for hit in hits} == {h.id: h.distance for h in library.search(code, k=None)}
        assert [hit.id for hit in hits] != [hit.id for hit in library.search(code, k=None)]


@pytest.mark.parametrize(
    ("options", "message"),
    [({"weights": {"kind": 1.0}}, "weights for kind; they are for kind, thing, look"),
     ({"weights": {}}, "weights for nothing"),
     ({"weights": 3}, "they name a number for each grain"),
     ({"weights": {"kind": 1.0, "thing": 1.0, "look": -1.0}}, "weight"),
     ({"weights": {"kind": 1.0, "thing": 1.0, "look": float("nan")}}, "weight"),
     ({"weights": {"kind": 1.0, "thing": 1.0, "look": 1.0}, "within": 4}, "without distance"),
     ({"weights": {"kind": 1.0, "thing": 1.0, "look": 1.0}, "separate": True}, "without distance"),
     ({"weights": {"kind": 1.0, "thing": 1.0, "look": 1.0}, "stages": [("kind", 3)]}, "without distance"),
     ({"rerank": 5}, "rerank takes a picture"), ({"rerank": 0}, "1 or more"), ({"rerank": 2.5}, "1 or more"),
     ({"rerank": True}, "1 or more"), ({"rerank": 5, "stages": [("kind", 3)]}, "without stages")],
)  # fmt: skip
def test_weights_and_reranking_that_make_no_sense_are_refused(
    tmp_path: Path, options: dict[str, Any], message: str
) -> None:
    with Library.open(filled(tmp_path / "a.hg", 20)) as library:
        for query in (5, library.code(5)):
            with pytest.raises(HashgrainError, match=message):
                library.search(query, **options)
            with pytest.raises(QueryError):
                library.search_many([library.code(5)], **options)


@pytest.mark.parametrize("own", [True, False])
def test_reranking_orders_the_nearest_by_what_the_model_says_before_it_is_cut_to_bits(
    tmp_path: Path, own: bool
) -> None:
    encoder = Encoder.load()
    with Library.create(tmp_path / "a.hg", encoder, engine=NumpyEngine(encoder.grains) if own else None) as library:
        library.add([(f"{n}.jpg", make_picture(n)) for n in range(12)])
        picture = make_picture(50)
        codes, items = library.codes()
        plain = library.search(picture, k=None, grain="thing")
        from hashgrain import media

        outputs = encoder.outputs(media.open_picture(picture, size=encoder.bundle.size).pixels[None])[0]
        sure = outputs[: library.grains["thing"]].astype(float)
        signs = dict(zip([item.id for item in items], codes.at("thing").bits() * 2.0 - 1, strict=True))
        head = [hit.id for hit in plain[:7]]
        expected = sorted(head, key=lambda item: (-float(signs[item] @ sure), item))
        assert expected != head
        assert [hit.id for hit in library.search(picture, k=None, grain="thing", rerank=7)] == [
            *expected,
            *(hit.id for hit in plain[7:]),
        ]
        assert [hit.id for hit in library.search(picture, k=3, grain="thing", rerank=7)] == expected[:3]
        (many,) = library.search_many([picture], k=3, grain="thing", rerank=7)
        assert [hit.id for hit in many] == expected[:3]
        assert [hit.id for hit in library.search(picture, k=3, grain="thing", rerank=900)] == sorted(
            signs, key=lambda item: (-float(signs[item] @ sure), item)
        )[:3]
        assert library.search(picture, grain="thing", rerank=7, within=0) == []
