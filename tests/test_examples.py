"""Several examples: like any, like all, near on average, and not nearer to others; exactly, as a brute force has it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from conftest import fill, make_picture
from contracts.test_auto_parts import calibrate
from contracts.test_engine_of_a_library import GRAINS
from contracts.test_parts_of_a_library import MADE, asked_code, filled
from hashgrain import Codes, Hit, Library, Query
from hashgrain.errors import ImageError, ItemMissingError, QueryError
from hashgrain.search.calibration import calibrations_of
from hashgrain.search.scores import scores_of
from in_process import hashgrain

pytestmark = pytest.mark.usefixtures("no_flushes")
Row = tuple[int, float, int]  # item, distance at the grain, part


@pytest.fixture(scope="module", params=["embedded", "numpy"])
def library(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, no_flushes: None) -> Any:
    place = filled(tmp_path_factory.mktemp("examples") / "a.hg", 60)
    with Library.open(place, engine=MADE[request.param](GRAINS)) as opened:
        calibrate(opened)
        yield opened


def code_of(library: Library, item: int) -> Codes:
    return library.code(item)


def brute(
    library: Library,
    like: list[Codes],
    unlike: list[Codes],
    *,
    match: str,
    grain: str,
    parts: str,
    weights: list[float] | None = None,
    where: str | None = None,
    least: float | None = None,
    within: int | None = None,
    left_out: tuple[int, ...] = (),
) -> list[Row]:
    """Every item of the answer in its order, from the catalogue, by the definition."""
    whole, part = calibrations_of(library.bundle, grain)
    scores, shares = scores_of(library.bundle, grain), weights or [1.0] * len(like)
    auto = parts == "auto" and match != "mean"
    with library.store.snapshot() as snapshot:
        ids = snapshot.select(where).tolist() if where else [item.id for item in snapshot.paths()]
        wholes, others = snapshot.codes(ids), snapshot.parts_of(ids)
    answer = []
    for item, own, more in zip(ids, wholes, others, strict=True):
        one = more is None or parts == "whole" or (match == "mean" and parts != "all")
        words = own[None] if one else np.concatenate([own[None], more.codes])  # type: ignore[union-attr]

        def apart(example: Codes, at: str, words: NDArray[np.uint64] = words) -> list[int]:
            return np.bitwise_count(Codes(words ^ example.words[0], GRAINS).at(at).words).sum(axis=1).tolist()

        def rank(number: int, distance: int) -> float:
            if not auto:
                return distance
            assert whole is not None
            assert part is not None
            return -(part if number else whole).probabilities[distance]

        nearest = []  # of each example: what of the item is found by it
        for example in like:
            near, over_code = apart(example, grain), apart(example, "look")
            nearest.append(min((rank(at, near[at]), near[at], over_code[at], at) for at in range(len(words))))
        if match == "mean":
            sums = [[w * d for d in apart(e, g)] for g in (grain, "look") for w, e in zip(shares, like, strict=True)]
            at_grain, over_all = np.sum(sums[: len(like)], axis=0), np.sum(sums[len(like) :], axis=0)
            means = np.stack([at_grain, over_all], axis=1) / sum(shares)
            number = min(range(len(words)), key=lambda at: (*np.round(means[at], 9).tolist(), at))
            distance, full = np.round(means[number], 9).tolist()
            first = distance
        else:
            first, distance, full, number = (min if match == "any" else max)(nearest, key=lambda row: row[:3])
        score = float((scores.part if number else scores.whole)[round(distance)])
        nearer = any(apart(each, grain)[number] < distance for each in unlike)
        far = within is not None and distance > within
        if nearer or far or item in left_out or (least is not None and score < least):
            continue
        answer.append((first, distance, full, item, number))
    return [(item, distance, number) for _, distance, _, item, number in sorted(answer)]


def rows(hits: list[Hit]) -> list[Row]:
    return [(hit.id, hit.distance, 0 if hit.part is None else hit.part.index) for hit in hits]


def check(library: Library, like: list[Any], unlike: list[Any], **options: Any) -> list[Row]:
    """The whole answer, which is that of the brute force for every k."""
    asked = {name: value for name, value in options.items() if name not in ("left_out", "least", "weights")}
    asked |= {"min_score": options.get("least"), "like_weights": options.get("weights")}
    codes = [[each if isinstance(each, Codes) else code_of(library, each) for each in many] for many in (like, unlike)]
    expected = brute(library, codes[0], codes[1], **options)
    whole_bits = [(item, round(distance), number) for item, distance, number in expected]
    for k in (2, None):
        hits = library.search(like=like, unlike=unlike, k=k, **asked)
        assert rows(hits) == whole_bits[:k], (k, options)
    scores = scores_of(library.bundle, options["grain"])
    for hit, (_, distance, number) in zip(hits, expected, strict=True):
        assert hit.score == float((scores.part if number else scores.whole)[round(distance)])
    return expected


@pytest.mark.parametrize("match", ["any", "all", "mean"])
@pytest.mark.parametrize("parts", ["auto", "whole", "all"])
def test_examples_are_combined_as_a_brute_force_combines_them(library: Library, match: str, parts: str) -> None:
    outside = asked_code(library)
    for grain in GRAINS:
        check(library, [outside, 9, 21], [], match=match, parts=parts, grain=grain, left_out=(9, 21))
    options = {"match": match, "parts": parts, "grain": "look", "left_out": (9, 21)}
    check(library, [outside, 9, 21], [], where="label = 1", **options)
    check(library, [outside, 9, 21], [], least=0.6, **options)
    check(library, [outside, 9, 21], [], within=30, **options)
    everything = check(library, [outside, 9, 21], [], match=match, parts=parts, grain="look", left_out=(9, 21))
    some = check(library, [outside, 9, 21], [12, 33], match=match, parts=parts, grain="look", left_out=(9, 12, 21, 33))
    assert 0 < len(some) < len(everything)
    check(library, [outside], [12], match=match, parts=parts, grain="look", where="label > 0", left_out=(12,))


@pytest.mark.parametrize("weights", [[1.0, 1.0, 1.0], [3.0, 1.0, 0.5], [0.3, 0.7, 0.1], [1000.0, 0.001, 1.0]])
@pytest.mark.parametrize("parts", ["whole", "all"])
def test_weights_are_of_the_mean(library: Library, weights: list[float], parts: str) -> None:
    like = [asked_code(library), 9, 21]
    for grain in GRAINS:
        check(library, like, [], match="mean", parts=parts, grain=grain, weights=weights, left_out=(9, 21))
    options = {"match": "mean", "parts": parts, "grain": "look", "weights": weights}
    check(library, like, [33], left_out=(9, 21, 33), least=0.6, **options)


def test_one_example_is_a_query_and_a_query_is_one_more_example(library: Library) -> None:
    code = asked_code(library)
    for parts in ("auto", "whole", "all"):
        alone = library.search(code, k=None, parts=parts)
        for match in ("any", "all"):
            assert rows(library.search(like=[code], k=None, match=match, parts=parts)) == rows(alone)
        assert rows(library.search(like=[5], k=None, parts=parts)) == rows(library.search(5, k=None, parts=parts))
        both = library.search(like=[code, 5], unlike=[9], k=None, parts=parts)
        assert library.search(code, like=[5], unlike=[9], k=None, parts=parts) == both
    assert library.answer(Query(code, like=[5], unlike=[9])).hits == library.search(code, like=[5], unlike=[9])


def test_without_calibration_distances_alone_decide(library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(library, "bundle", replace(library.bundle, calibration={}, part_calibration={}))
    options: dict[str, Any] = {"match": "any", "parts": "whole", "grain": "thing"}
    check(library, [5, 9], [21], least=0.6, left_out=(5, 9, 21), **options)
    assert library.search(like=[5, 9], grain="thing") == library.search(like=[5, 9], grain="thing", parts="whole")


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("examples")
    with Library.create(folder / "l.hg", "small") as made:
        made.add(fill(folder / "pictures", 25), workers=0)
    fill(folder / "outside", 3, start=100)
    return folder


@settings(max_examples=30)
@given(st.data())
def test_any_examples_agree_with_the_brute_force(pictures: Path, data: Any) -> None:
    numbers = st.lists(st.integers(1, 25), min_size=1, max_size=5, unique=True)
    like, unlike = data.draw(numbers), data.draw(numbers)
    unlike = [each for each in unlike if each not in like]
    match = data.draw(st.sampled_from(["any", "all", "mean"]))
    grain = data.draw(st.sampled_from(["kind", "thing", "look"]))
    weights = [data.draw(st.integers(1, 8)) / 4 for _ in like] if match == "mean" else None
    with Library.open(pictures / "l.hg", workers=0) as library:
        wholes = {item: library.code(item) for item in (*like, *unlike)}
        clash = {tuple(wholes[a].at(grain).words[0]) for a in like} & {
            tuple(wholes[b].at(grain).words[0]) for b in unlike
        }
        asked: dict[str, Any] = {"like": like, "unlike": unlike, "match": match, "grain": grain, "k": None}
        if clash:
            with pytest.raises(QueryError, match="contradict"):
                library.search(like_weights=weights, **asked)
            return
        codes, items = library.codes()
        shares = weights or [1.0] * len(like)
        expected = []
        for place, item in enumerate(items):
            at = {
                g: [int(np.bitwise_count((codes[place].words ^ wholes[e].words) & mask(codes, g)).sum()) for e in like]
                for g in (grain, "look")
            }
            pairs = list(zip(at[grain], at["look"], strict=True))
            if match == "mean":
                means = (
                    sum(w * d for w, d in zip(shares, of, strict=True)) / sum(shares) for of in zip(*pairs, strict=True)
                )
                key = tuple(round(each, 6) for each in means)
            else:
                key = (min if match == "any" else max)(pairs)
            others = [
                int(np.bitwise_count((codes[place].words ^ wholes[e].words) & mask(codes, grain)).sum()) for e in unlike
            ]
            if item.id not in (*like, *unlike) and min(others, default=10**6) >= key[0]:
                expected.append((*key, item.id))
        hits = library.search(like_weights=weights, **asked)
        assert [hit.id for hit in hits] == [row[-1] for row in sorted(expected)]
        assert [hit.distance for hit in hits] == [round(row[0]) for row in sorted(expected)]


def mask(codes: Codes, grain: str) -> NDArray[np.uint64]:
    ones = np.ones((1, codes.grains.bits), np.uint8)
    ones[:, codes.grains[grain] :] = 0
    return Codes.from_bits(ones, codes.grains).words


def test_examples_are_pictures_paths_items_and_codes_and_items_are_left_out(pictures: Path) -> None:
    files = sorted((pictures / "pictures").iterdir())
    outside = sorted((pictures / "outside").iterdir())
    with Library.open(pictures / "l.hg", workers=0) as library:
        code = library.code(files[4])
        hits = library.search(like=[files[2], 8, make_picture(101), code, outside[0].read_bytes()], k=None)
        left = {hit.id for hit in hits}
        known = {Path(item.path): item.id for item in library.items()}
        assert left == set(known.values()) - {known[files[2]], 8}  # a code or a picture is not known to be an item
        assert known[files[3]] not in {hit.id for hit in library.search(like=[8], unlike=[str(files[3])], k=None)}


def test_examples_that_contradict_each_other_are_an_error_that_names_both(pictures: Path) -> None:
    files = sorted((pictures / "pictures").iterdir())
    with Library.open(pictures / "l.hg", workers=0) as library:
        for like, unlike, names in [
            ([files[1]], [files[1]], f"{files[1]} and {files[1]}"),
            ([7, 3], [5, 3], "item 3 and item 3"),
            ([make_picture(50)], [9, make_picture(50)], "example 1 of like and example 2 of unlike"),
        ]:
            with pytest.raises(QueryError, match=r"contradict each other.*the same code$") as error:
                library.search(like=like, unlike=unlike)
            assert names in str(error.value)
        half = library.code(3)
        bits = half.bits().copy()
        bits[0, -1] ^= 1
        with pytest.raises(QueryError, match="the same code at kind; ask at a finer grain"):
            library.search(like=[3], unlike=[Codes.from_bits(bits, library.grains)], grain="kind")
        assert library.search(like=[3], unlike=[Codes.from_bits(bits, library.grains)], grain="look")
        opposite = Codes.from_bits(1 - half.bits(), library.grains)
        with pytest.raises(QueryError, match="cancel out"):
            library.search(like=[3, opposite], match="mean")


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"unlike": [1]}, "give one of what to find"),
    ({"like": "a.jpg"}, "like is a list of examples, not str"),
    ({"like": [1] * 101}, "at most 100"),
    ({"like": [1, 2], "match": "both"}, "'any' or 'all' of the examples"),
    ({"like": [1, 2], "like_weights": [1.0, 2.0]}, "match is 'mean' then"),
    ({"like": [1, 2], "match": "mean", "like_weights": [1.0]}, "a number for each of the 2"),
    ({"like": [1, 2], "match": "mean", "like_weights": [1.0, -1.0]}, "no number from 0.001 to 1,000"),
    ({"like": [1, 2], "match": "mean", "like_weights": [1.0, float("nan")]}, "no number from 0.001 to 1,000"),
    ({"like": [1, 2], "match": "mean", "within": 1000}, "makes no sense at look"),
    ({"like": [1, 2], "boxes": [(0, 0, 1, 1)]}, "without text, boxes"),
    ({"like": [1, 2], "turned": True}, "without text, boxes"),
    ({"like": [1, 2], "text": "a dog"}, "without text, boxes"),
    ({"like": [1, 2], "stages": [("kind", 5)]}, "without text, boxes"),
    ({"like": [1, 2], "weights": {"kind": 1.0, "thing": 1.0, "look": 1.0}}, "without text, boxes"),
    ({"like": [1, 2], "rerank": 5}, "without text, boxes"),
]


@pytest.mark.parametrize(("options", "reason"), WRONG)
def test_what_makes_no_sense_is_refused(pictures: Path, options: dict[str, Any], reason: str) -> None:
    with Library.open(pictures / "l.hg", workers=0) as library, pytest.raises(QueryError, match=reason):
        library.search(**options)


def test_an_example_that_cannot_be_used_is_an_error(pictures: Path, tmp_path: Path) -> None:
    (tmp_path / "broken.jpg").write_bytes(b"\xff\xd8\xff nonsense")
    with Library.open(pictures / "l.hg", workers=0) as library:
        with pytest.raises(ImageError, match=r"broken.jpg"):
            library.search(like=[1, tmp_path / "broken.jpg"])
        with pytest.raises(ItemMissingError, match="no item 99"):
            library.search(like=[1], unlike=[99])


def test_the_command_line_asks_with_examples(pictures: Path) -> None:
    inside, outside = sorted((pictures / "pictures").iterdir()), sorted((pictures / "outside").iterdir())
    place = pictures / "l.hg"

    def asked(*arguments: object) -> list[dict[str, Any]]:
        done = hashgrain("search", place, *arguments, "-k", 25, "--json")
        assert done.exit_code == 0, done.stderr
        answer: list[dict[str, Any]] = json.loads(done.stdout)
        return answer

    def plain(hits: list[Hit]) -> list[dict[str, Any]]:
        return [json.loads(json.dumps(hit.as_dict())) for hit in hits]

    with Library.open(place, workers=0) as library:
        both = library.search(like=[3, outside[0]], unlike=[7], k=25)
        assert asked("--like", inside[2], "--like", outside[0], "--unlike", 7) == plain(both)
        every = library.search(like=[outside[0], 3], unlike=[7], k=25, match="all")
        assert asked(outside[0], "--like", 3, "--unlike", 7, "--match", "all") == plain(every)
        mean = library.search(like=[3, 4], k=25, match="mean", like_weights=[3, 1])
        assert asked("--like", 3, "--like", 4, "--like-weight", 3, "--like-weight", 1) == plain(mean)
        assert asked("--like", outside[1]) == plain(library.search(outside[1], k=25))
    page = hashgrain("search", place, "--like", 3, "--like", 4, "--html", pictures / "page.html", "-k", 3)
    assert page.exit_code == 0, page.stderr
    assert (pictures / "page.html").read_text().count("<li>") == 3


def test_the_command_line_refuses_what_makes_no_sense(pictures: Path) -> None:
    place, first = pictures / "l.hg", min((pictures / "pictures").iterdir())
    clash = hashgrain("search", place, "--like", first, "--unlike", 1, "--json")
    assert (clash.exit_code, clash.stdout) == (1, "")
    assert "contradict each other" in clash.stderr
    none = hashgrain("search", place, "--like", "nothing.jpg", "--like", 3)
    assert "--like takes a picture, or the path or the id of an item" in none.stderr
    for wrong in (["--also", place], ["--text", "a"], ["--box", "0,0,1,1"], ["--stages", "kind:3"], ["--not-self"]):
        done = hashgrain("search", place, "--like", 3, "--like", 4, *wrong)
        assert (done.exit_code, done.stdout) == (2, ""), wrong
    for wrong in (["--like", 3, "--like-weight", 2], ["--like", 3, "--like", 4, "--like-weight", 2, "--match", "all"]):
        assert hashgrain("search", place, *wrong).exit_code == 2
    assert hashgrain("search", place, first.parent, "--like", 3).exit_code == 2
