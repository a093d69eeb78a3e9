"""A library with parts is searched by them: the nearest part decides, and hits say which it was and where it lies."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from conftest import make_picture
from contracts.test_engine_of_a_library import GRAINS, new, word
from hashgrain import Codes, Encoder, Grains, Hit, Library
from hashgrain.cli.remedies import as_command
from hashgrain.engines import EmbeddedEngine, Engine
from hashgrain.errors import LibraryDamagedError, QueryError
from hashgrain.hamming import rerank
from hashgrain.library import NamedQuery, search_several
from hashgrain.models import Bundle
from hashgrain.search.query import Query
from hashgrain.store import Parts, PartsReplaced, Replaced, Store
from hashgrain.types import Part
from in_process import hashgrain
from plain_engine import NumpyEngine

pytestmark = pytest.mark.usefixtures("no_flushes")
GRID = ((0.0, 0.0, 0.5, 0.5), (0.5, 0.0, 1.0, 0.5), (0.0, 0.5, 0.5, 1.0), (0.5, 0.5, 1.0, 1.0))
MADE: dict[str, Callable[[Grains], Engine | None]] = {
    "embedded": lambda grains: None,
    "embedded in memory": lambda grains: EmbeddedEngine([], grains),
    "numpy": NumpyEngine,
}


@pytest.fixture(params=MADE)
def make(request: pytest.FixtureRequest) -> Callable[[Grains], Engine | None]:
    return MADE[request.param]


def parts(n: int) -> Parts | None:
    """Of every third item none; by the grid; with boxes or spans of its own."""
    count = (0, 4, 7)[n % 3]
    if not count:
        return None
    codes = np.stack([word(31 * n + at) for at in range(count)])
    if count == 4:
        return Parts(codes)
    numbers = np.arange(count, dtype=np.float32) / 8
    ends = numbers + np.float32(0.125)
    columns = (numbers, ends) if n % 2 else (numbers, numbers / 2, ends, ends)
    return Parts(codes, np.stack(columns, axis=1))


def filled(path: Path, n: int = 50) -> Path:
    with Library.create(path, Bundle("made", Bundle.read("default").onnx, GRAINS, (64, 64))) as library:
        library.store.set_grid(GRID)
        library.store.commit([new(each) for each in range(n)])
        library.store.commit([PartsReplaced(each + 1, parts(each)) for each in range(n)])
        library.store.remove([3, 4, 40])
        library.store.commit([Replaced(id=7, **{**vars(new(200)), "parts": parts(200)})])
    return path


def right(library: Library, code: Codes, grain: str, where: str | None = None) -> list[tuple[int, int, int, int]]:
    """(distance, whole distance, item, part) of every item by its nearest part, from the catalogue."""
    with library.store.snapshot() as snapshot:
        ids = snapshot.select(where).tolist() if where else [item.id for item in snapshot.paths()]
        wholes, others = snapshot.codes(ids), snapshot.parts_of(ids)
    best = []
    for item, whole, own in zip(ids, wholes, others, strict=True):
        words = whole[None] if own is None else np.concatenate([whole[None], own.codes])
        unlike = Codes(words ^ code.words[0], GRAINS)
        near = np.bitwise_count(unlike.at(grain).words).sum(axis=1)
        full = np.bitwise_count(unlike.words).sum(axis=1)
        best.append(min((int(near[at]), int(full[at]), item, at) for at in range(len(words))))
    return sorted(best)


def seen(hits: list[Hit]) -> list[tuple[int, int, int, int]]:
    rows = []
    for hit in hits:
        assert hit.part is not None
        rows.append((hit.distance, hit.distances["look"], hit.id, hit.part.index))
    return rows


def asked_code(library: Library) -> Codes:
    """The code of a part of the grid of item 5."""
    with library.store.snapshot() as snapshot:
        (own,) = snapshot.parts_of([5])
    assert own is not None
    return Codes(own.codes[2:3], GRAINS)


def test_hits_come_by_their_nearest_part_in_every_engine(tmp_path: Path, make: Callable[..., Any]) -> None:
    path = filled(tmp_path / "a.hg")
    with Library.open(path, engine=make(GRAINS)) as library:
        code = asked_code(library)
        for grain in GRAINS:
            expected = right(library, code, grain)
            assert seen(library.search(code, grain=grain, parts="all")) == expected[:10]
            assert seen(library.search(code, grain=grain, k=None, parts="all")) == expected
            (many, _) = library.search_many([code, code], grain=grain, k=7, parts="all")
            assert seen(many) == expected[:7]
            near = [hit for hit in expected if hit[0] <= 2]
            explained = library.explain(code, grain=grain, within=2, k=3, parts="all")
            assert (seen(explained.hits), explained.total) == (near[:3], len(near))
            expected = right(library, code, grain, "label = 1")
            assert seen(library.search(code, grain=grain, where="label = 1", parts="all")) == expected[:10]
        numbers = {hit.part.index for hit in library.search(code, k=None, parts="all") if hit.part}
        assert 0 in numbers
        assert len(numbers) > 3


def test_a_hit_says_where_its_part_lies(tmp_path: Path) -> None:
    with Library.open(filled(tmp_path / "a.hg")) as library:
        code = asked_code(library)
        best = library.search(code, parts="all", k=1)[0]
        assert (best.id, best.distance, best.part) == (5, 0, Part(3, box=GRID[2]))
        assert best.as_dict()["part"] == {"index": 3, "box": list(GRID[2]), "span": None}
        placed = [(hit.id, hit.part) for hit in library.search(code, parts="all", k=None) if hit.part]
        assert all(part == Part(0) for _, part in placed if not part.index)
        spans = [part for _, part in placed if part.span]
        assert len(spans) > 3
        assert all(part == Part(part.index, span=((part.index - 1) / 8, part.index / 8)) for part in spans)
        boxes = [part for item, part in placed if part.box and item % 3 == 0]  # of their own
        assert len(boxes) > 3
        for part in boxes:
            low, high = (part.index - 1) / 8, part.index / 8
            assert part.box == (low, low / 2, high, high)


def test_without_parts_asked_for_hits_have_none_and_are_as_before(tmp_path: Path) -> None:
    path = filled(tmp_path / "a.hg")
    with Library.open(path) as library:
        code = asked_code(library)
        before = library.search(code, k=None)
        assert all(hit.part is None for hit in before)
        assert before[0].as_dict()["part"] is None
        assert library.explain(code).cost.parts is None
        assert "parts" not in library.explain(code).as_dict()


def test_distances_word_and_score_are_those_of_the_part(tmp_path: Path) -> None:
    with Library.open(filled(tmp_path / "a.hg")) as library:
        code = asked_code(library)
        for hit in library.search(code, grain="thing", k=None, parts="all"):
            assert hit.part is not None
            with library.store.snapshot() as snapshot:
                (own,) = snapshot.parts_of([hit.id])
                whole = snapshot.codes([hit.id])[0]
            words = whole if own is None or not hit.part.index else own.codes[hit.part.index - 1]
            unlike = Codes(words[None] ^ code.words, GRAINS)
            assert hit.distances == {name: int(np.bitwise_count(unlike.at(name).words).sum()) for name in GRAINS}
            assert hit.score == round(1 - hit.distance / GRAINS["thing"], 4)


def test_an_item_asks_with_its_whole_code_and_is_left_out_with_all_its_parts(tmp_path: Path) -> None:
    with Library.open(filled(tmp_path / "a.hg")) as library:
        code = library.code(5)
        expected = [hit for hit in right(library, code, "look") if hit[2] != 5]
        assert seen(library.search(5, k=8, parts="all")) == expected[:8]
        explained = library.answer(Query(5, k=None, within=40, parts="all"))
        assert 5 not in [hit.id for hit in explained.hits]
        assert explained.total == len([hit for hit in expected if hit[0] <= 40])


def test_weights_and_parts_go_together(tmp_path: Path, make: Callable[..., Any]) -> None:
    path = filled(tmp_path / "a.hg")
    weights = {"kind": 0.0, "thing": 1.0, "look": 0.5}
    with Library.open(path) as plain, Library.open(path, engine=make(GRAINS)) as library:
        both = [seen(each.search(5, weights=weights, parts="all", k=None)) for each in (plain, library)]
        assert both[0] == both[1]
        assert both[0] != seen(library.search(5, parts="all", k=None))


def test_several_libraries_are_asked_for_parts_as_one(tmp_path: Path) -> None:
    with Library.open(filled(tmp_path / "a.hg")) as one, Library.open(filled(tmp_path / "b.hg", 20)) as other:
        code = asked_code(one)
        (answer,) = search_several([one, other], [NamedQuery("", code)], k=9, parts="all")
        both = [(*hit[:2], at, *hit[2:]) for at, each in enumerate((one, other)) for hit in right(each, code, "look")]
        expected = [(distance, full, item, part) for distance, full, _, item, part in sorted(both)[:9]]
        assert seen([located.hit for located in answer]) == expected


def test_the_account_tells_of_parts_and_widenings(tmp_path: Path) -> None:
    with Library.open(filled(tmp_path / "a.hg")) as library:
        explained = library.explain(5, parts="all")
        cost = explained.cost.parts
        assert cost is not None
        document = explained.as_dict()["parts"]
        assert document == {"path": cost.path, "rows": cost.rows, "bytes": cost.bytes, "widenings": cost.widenings}
        with library.store.snapshot() as snapshot:
            rows = sum(len(segment.ids) for segment in snapshot.part_segments)
        assert cost.rows == rows * (1 + cost.widenings)
        assert f"; parts by {cost.path}: {rows:,} codes" in explained.summary()


def test_reranking_compares_the_part_that_was_found(tmp_path: Path) -> None:
    with with_pictures(tmp_path / "a.hg") as library:
        picture = make_picture(50)
        plain = library.search(picture, k=8, grain="thing", parts="all")
        from hashgrain import media

        opened = media.open_picture(picture, size=library.encoder.bundle.size)
        outputs = library.encoder.outputs(opened.pixels[None])[0]
        words = np.array([code_of(library, hit) for hit in plain[:5]])
        ids = np.array([hit.id for hit in plain[:5]])
        best = rerank(outputs[: library.grains["thing"]], ids, words)
        hits = library.search(picture, k=8, grain="thing", rerank=5, parts="all")
        assert [hit.id for hit in hits] == [*best.ids.tolist(), *(hit.id for hit in plain[5:])]
        assert {hit.id: hit.part for hit in hits} == {hit.id: hit.part for hit in plain}


def test_words_find_the_part_that_shows_it(tmp_path: Path) -> None:
    """A part with the code of the word itself agrees best, however far the rest of the picture is from it."""
    with with_pictures(tmp_path / "a.hg", "photo") as library:
        dog = library.words("dog").code.words[0]
        library.store.commit([PartsReplaced(4, Parts(np.stack([np.zeros_like(dog), dog])))])
        engines = [None, NumpyEngine(library.grains)]
        library.close()
        answers = []
        for engine in engines:
            with Library.open(tmp_path / "a.hg", engine=engine) as asked:
                hits = asked.search(text="dog", k=5, parts="all")
                assert hits[0].id == 4
                assert hits[0].part == Part(2, box=GRID[1])
                assert hits[0].score == 1.0
                near = asked.search(text="dog", within=0, parts="all")
                assert [(hit.id, hit.part) for hit in near] == [(4, Part(2, box=GRID[1]))]
                assert asked.search(text="dog", k=5)[0].score < 1
                beside = asked.search(3, text="dog", k=5, parts="all", where="id > 1")
                answers.append([(hit.id, hit.part, hit.score) for hit in hits + beside])
        assert answers[0] == answers[1]


def with_pictures(path: Path, model: str = "small") -> Library:
    """Eight pictures with parts, whose codes are those of other pictures."""
    encoder = Encoder.load(model)
    library = Library.create(path, encoder)
    library.add([(f"{n}.jpg", make_picture(n), {"n": n}) for n in range(8)], parts=False)
    codes = encoder.encode([make_picture(n) for n in range(20, 28)]).words
    library.store.set_grid(GRID)
    library.store.commit([PartsReplaced(item, Parts(codes[item % 4 : item % 4 + 4])) for item in range(1, 8)])
    return library


def code_of(library: Library, hit: Hit) -> Any:
    with library.store.snapshot() as snapshot:
        (own,) = snapshot.parts_of([hit.id])
        return snapshot.codes([hit.id])[0] if not hit.part or not hit.part.index else own.codes[hit.part.index - 1]  # type: ignore[union-attr]


@pytest.mark.parametrize("own", [True, False])
def test_a_library_without_parts_says_so(tmp_path: Path, own: bool) -> None:
    with Library.create(tmp_path / "a.hg", engine=NumpyEngine(Encoder.load().grains) if own else None) as library:
        library.add([("a.jpg", make_picture(1))])
        with pytest.raises(QueryError, match="this library has no parts") as caught:
            library.search(1, parts="all")
        assert "without parts" in caught.value.remedy
        with pytest.raises(QueryError, match="this library has no parts"):
            library.search_many([library.code(1)], parts="all")
    done = hashgrain("search", tmp_path / "a.hg", "--id", 1, "--parts")
    assert done.exit_code != 0
    assert "this library has no parts" in done.stderr
    assert "search it without --parts" in done.stderr


@pytest.mark.parametrize(
    ("options", "message"),
    [({"parts": "some"}, "'whole' or 'all'"),
     ({"parts": "all", "stages": [("kind", 3)]}, "without parts"),
     ({"parts": "all", "separate": True}, "without parts")],
)  # fmt: skip
def test_what_does_not_go_with_parts_is_refused(tmp_path: Path, options: dict[str, Any], message: str) -> None:
    with Library.open(filled(tmp_path / "a.hg", 20)) as library:
        with pytest.raises(QueryError, match=message):
            library.search(5, **options)
        with pytest.raises(QueryError, match=message):
            library.search_many([library.code(5)], **options)


def test_an_engine_follows_changes_of_parts(tmp_path: Path, make: Callable[..., Any]) -> None:
    path = filled(tmp_path / "a.hg")
    with Library.open(path, "w", engine=make(GRAINS)) as library:
        code = asked_code(library)
        library.search(code, parts="all")
        library.store.commit([PartsReplaced(5, None), PartsReplaced(8, parts(8)), new(80)])
        library.store.remove([11])
        library.store.commit([PartsReplaced(9, Parts(code.words))])
        assert seen(library.search(code, k=None, parts="all")) == right(library, code, "look")
        library.rebuild()
        assert seen(library.search(code, k=None, parts="all")) == right(library, code, "look")


def test_parts_that_the_catalogue_does_not_have_are_damage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Library.open(filled(tmp_path / "a.hg")) as library:
        code = asked_code(library)
        monkeypatch.setattr("hashgrain.store.Snapshot.parts_of", lambda self, ids: [None] * len(list(ids)))
        with pytest.raises(LibraryDamagedError, match="has no part") as raised:
            library.search(code, parts="all")
        assert raised.value.path == str(library.path)
        assert as_command(raised.value.remedy) == f"`hashgrain rebuild {library.path}` mends it"


def test_the_codes_of_parts_are_mapped_only_for_who_asks_for_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = filled(tmp_path / "a.hg")
    asked: list[bool] = []
    real = Store.snapshot

    def snapshot(self: Store, *, parts: bool = False) -> Any:
        asked.append(parts)
        return real(self, parts=parts)

    monkeypatch.setattr(Store, "snapshot", snapshot)
    with Library.open(path) as library:
        for _ in range(3):
            library.search(5)
        assert not any(asked)
        library.search(5, parts="all")
        assert asked[-1]


def test_the_command_names_the_part_of_each_hit(tmp_path: Path) -> None:
    with with_pictures(tmp_path / "a.hg") as library:
        expected = library.search(2, k=8, parts="all")
    done = hashgrain("search", tmp_path / "a.hg", "--id", 2, "-k", 8, "--parts")
    assert done.exit_code == 0, done.output
    rows = [line.split("\t") for line in done.stdout.splitlines()]
    assert [int(row[3]) for row in rows] == [hit.id for hit in expected]
    words = {"whole" if not hit.part or not hit.part.index else f"{hit.part.box[0]:.2f}" for hit in expected}  # type: ignore[index]
    assert {row[2].split(",")[0] for row in rows} == words
    assert hashgrain("search", tmp_path / "a.hg", "--id", 2, "--parts", "--stages", "kind:3").exit_code == 1
