"""A smallest score: what is left is the answer without one, cut at the score, however it was asked."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from conftest import Run, fill, make_picture
from contracts.test_auto_parts import calibrate
from contracts.test_engine_of_a_library import GRAINS, new
from contracts.test_parts_of_a_library import MADE, asked_code, filled
from hashgrain import Codes, Hit, Library
from hashgrain.errors import QueryError
from hashgrain.library import NamedQuery, search_several
from hashgrain.models import Bundle
from in_process import hashgrain as in_process

pytestmark = pytest.mark.usefixtures("no_flushes")
# Scores of both calibrations and between them, one that all items have, one that hardly any has.
LEAST = (0.0, 0.3, 0.5, 0.7342, 0.9, 1.0)


@pytest.fixture(scope="module", params=["embedded", "numpy"])
def library(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, no_flushes: None) -> Any:
    place = filled(tmp_path_factory.mktemp("scores") / "a.hg", 80)
    with Library.open(place, engine=MADE[request.param](GRAINS)) as opened:
        calibrate(opened)
        yield opened


def plain(hits: list[Hit]) -> list[tuple[int, int, float, int | None]]:
    """All but the words: those shown depend on the hits before them."""
    return [(hit.id, hit.distance, hit.score, None if hit.part is None else hit.part.index) for hit in hits]


def check(library: Library, query: Any, **options: Any) -> int:
    """How many hits a score left out; the others are the answer to the same question, cut at the score."""
    left_out = 0
    every = plain(library.search(query, k=None, **options))
    for least in LEAST:
        expected = [row for row in every if row[2] >= least]
        left_out += len(every) - len(expected)
        explained = library.explain(query, k=None, min_score=least, **options)
        assert plain(explained.hits) == expected, (least, options)
        assert explained.total == len(expected)
        for k in (1, 4):
            assert plain(library.search(query, k=k, min_score=least, **options)) == expected[:k]
    return left_out


OPTIONS: list[dict[str, Any]] = [
    {},
    {"where": "label = 1"},
    {"within": 3, "grain": "kind"},
    {"within": 28},
    {"grain": "thing"},
]


@pytest.mark.parametrize("parts", ["auto", "whole", "all"])
@pytest.mark.parametrize("options", OPTIONS)
def test_the_answer_is_that_without_a_score_cut_at_it(library: Library, parts: str, options: dict[str, Any]) -> None:
    left_out = check(library, asked_code(library), parts=parts, **options)
    assert left_out > 0
    check(library, 5, parts=parts, **options)  # an item is not in its own answer


@pytest.mark.parametrize("parts", ["auto", "whole", "all"])
def test_without_calibration_the_share_of_equal_bits_counts(
    library: Library, parts: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(library, "bundle", replace(library.bundle, calibration={}, part_calibration={}))
    for grain in GRAINS:
        assert check(library, asked_code(library), parts=parts, grain=grain) > 0


@pytest.mark.parametrize("options", [{"stages": [("kind", 20)]}, {"separate": True}, {"separate": True, "within": 25}])
def test_a_score_goes_with_stages_and_separate_codes(library: Library, options: dict[str, Any]) -> None:
    assert check(library, asked_code(library), **options) > 0


@pytest.mark.parametrize("parts", ["auto", "whole", "all"])
def test_many_queries_are_each_cut(library: Library, parts: Any) -> None:
    queries = [asked_code(library), *(Codes(library.codes()[0].words[n : n + 1], GRAINS) for n in (3, 20))]
    for least in LEAST:
        answers = library.search_many(queries, k=6, parts=parts, min_score=least)
        assert answers == [library.search(query, k=6, parts=parts, min_score=least) for query in queries]
    named = [NamedQuery(str(at), query) for at, query in enumerate(queries)]
    several = search_several([library, library], named, k=None, min_score=0.7)
    for query, answer in zip(queries, several, strict=True):
        one = library.search(query, k=None, parts="whole", min_score=0.7)
        assert len(answer) == 2 * len(one)


@pytest.mark.parametrize("least", [-0.1, 1.5, float("nan"), True, "much"])
def test_what_is_no_score_is_an_error(tmp_path: Path, least: Any) -> None:
    with Library.create(tmp_path / "a.hg", Bundle("made", Bundle.read("small").onnx, GRAINS, (64, 64))) as library:
        library.store.commit([new(each) for each in range(3)])
        with pytest.raises(QueryError, match="a score is a number from 0 to 1"):
            library.search(1, min_score=least)
        with pytest.raises(QueryError, match="ask without distance, score"):
            library.search(1, min_score=0.5, weights={"kind": 1.0, "thing": 1.0, "look": 1.0})
        with pytest.raises(QueryError, match="makes no sense"):
            library.search(1, min_score=0.5, within=1000)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("scores")
    with Library.create(folder / "l.hg", "small") as made:
        made.add(fill(folder / "pictures", 25), workers=0)
    return folder


@pytest.mark.parametrize("match", ["any", "all"])
def test_boxes_and_rerank_are_cut(pictures: Path, match: str) -> None:
    picture = make_picture(3, (240, 180))
    with Library.open(pictures / "l.hg", workers=0) as library:
        boxes = [(0.0, 0.0, 0.6, 1.0), (0.3, 0.2, 1.0, 1.0)]
        every = plain(library.search(picture, k=None, boxes=boxes, match=match))
        least = float(np.median([row[2] for row in every]))
        cut = library.search(picture, k=None, boxes=boxes, match=match, min_score=least)
        assert plain(cut) == [row for row in every if row[2] >= least]
        assert 0 < len(cut) < 25
        for rerank in (5, 20):
            every = plain(library.search(picture, k=None, rerank=rerank))
            cut = library.search(picture, k=8, rerank=rerank, min_score=least)
            assert plain(cut) == [row for row in every if row[2] >= least][:8]


def test_a_text_is_cut_at_its_own_score(tmp_path: Path) -> None:
    with Library.create(tmp_path / "p.hg", "photo", workers=0) as library:
        library.add(fill(tmp_path / "pictures", 8), parts=False, workers=0)
        for within in (None, 170):
            every = plain(library.search(text="a dog", k=None, within=within))
            least = sorted(row[2] for row in every)[len(every) // 2]
            for k in (2, None):
                cut = library.search(text="a dog", k=k, within=within, min_score=least)
                assert plain(cut) == [row for row in every if row[2] >= least][:k]


def test_nothing_close_is_an_answer_of_the_command(hashgrain: Run, pictures: Path) -> None:
    with Library.open(pictures / "l.hg", workers=0) as library:
        (second,) = library.search(1, k=1)
    done = hashgrain("search", pictures / "l.hg", "--id", 1, "--min-score", 0.9999, "--json")
    assert (done.returncode, done.stdout) == (0, b"[]\n"), done.stderr
    assert done.stderr.decode() == f"nothing close (the nearest has {second.score:g})\n"


def test_the_command_keeps_what_is_close(pictures: Path) -> None:
    place, file = pictures / "l.hg", min((pictures / "pictures").iterdir())
    for form in ([], ["-0"], ["--json"]):
        itself = in_process("search", place, file, "--not-self", "--min-score", 1, *form)
        assert (itself.exit_code, itself.stdout) == (0, "[]\n" if form == ["--json"] else "")
        assert itself.stderr.startswith("nothing close (the nearest has 0.")
    none = in_process("search", place, file, "--min-score", 0.1, "--where", "width > 9000", "--json")
    assert (none.exit_code, none.stdout, none.stderr) == (0, "[]\n", "nothing close\n")
    every = json.loads(in_process("search", place, "--id", 1, "-k", 25, "--json").stdout)
    least = every[9]["score"]
    some = json.loads(in_process("search", place, "--id", 1, "--min-score", least, "-k", 25, "--json").stdout)
    assert some == [hit for hit in every if hit["score"] >= least]
    assert len(some) >= 10
    wrong = in_process("search", place, "--id", 1, "--min-score", 2)
    assert (wrong.exit_code, "from 0 to 1" in wrong.stderr) == (1, True)
