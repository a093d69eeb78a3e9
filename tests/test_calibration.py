"""Words and scores of hits: measured for each grain, never against the order, none where nothing was measured."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from conftest import fill
from hashgrain import Library
from hashgrain.errors import BundleError
from hashgrain.models import Bundle, Calibration
from hashgrain.search.hits import never_closer

CLOSENESS = ["same", "near", "related", "far"]


def calibrated(words: dict[str, dict[str, int]]) -> Bundle:
    small = Bundle.read("small")
    return replace(
        small,
        words={},
        calibration={
            grain: Calibration(thresholds, tuple(np.linspace(1, 0, small.grains[grain] + 1).tolist()))
            for grain, thresholds in words.items()
        },
    )


EVERY = {
    "kind": {"near": 2, "related": 9},
    "thing": {"same": 3, "near": 12, "related": 20},
    "look": {"same": 8, "near": 30, "related": 50},
}


@pytest.fixture
def library(tmp_path: Path):
    with Library.create(tmp_path / "test.hg", calibrated(EVERY)) as made:
        made.add(fill(tmp_path / "pictures", 40), workers=0)
        yield made


@pytest.mark.parametrize("grain", EVERY)
def test_words_never_contradict_the_order_at_the_grain_asked_for(library: Library, grain: str) -> None:
    for item in range(1, 41):
        hits = library.search(item, k=39, grain=grain)
        closeness = [CLOSENESS.index(hit.word) for hit in hits]
        assert closeness == sorted(closeness)
        scores = [hit.score for hit in hits]
        assert scores == sorted(scores, reverse=True)
        assert all(hit.word == "far" or hit.distance <= EVERY[grain][hit.word] for hit in hits)


def test_words_of_a_model_calibrated_once_do_not_contradict_the_order_either(tmp_path: Path) -> None:
    with Library.create(tmp_path / "old.hg", "small") as library:
        library.add(fill(tmp_path / "pictures", 40), workers=0)
        for item in range(1, 41):
            for grain in library.grains:
                closeness = [CLOSENESS.index(hit.word) for hit in library.search(item, k=39, grain=grain)]
                assert closeness == sorted(closeness)


@given(st.lists(st.sampled_from(CLOSENESS)))
def test_no_word_is_closer_than_the_one_before_and_none_is_closer_than_it_was(words: list[str]) -> None:
    shown = never_closer(words)
    assert [CLOSENESS.index(word) for word in shown] == sorted(CLOSENESS.index(word) for word in shown)
    assert all(CLOSENESS.index(after) >= CLOSENESS.index(before) for before, after in zip(words, shown, strict=True))
    assert shown[:1] == words[:1]


def test_a_model_that_was_not_calibrated_has_no_words(tmp_path: Path) -> None:
    with Library.create(tmp_path / "bare.hg", replace(Bundle.read("small"), words={})) as library:
        library.add(fill(tmp_path / "pictures", 3), workers=0)
        assert {hit.word for hit in library.search(1)} == {""}


def test_calibration_changes_no_codes_and_survives_writing(tmp_path: Path) -> None:
    bundle = calibrated(EVERY)
    assert bundle.code_digest == Bundle.read("small").code_digest
    assert bundle.bundle_digest != Bundle.read("small").bundle_digest
    assert Bundle.read(bundle.write(tmp_path / "bundle")).calibration == bundle.calibration


def flat(**changes: Any) -> dict[str, Any]:
    return {"kind": {"whole": {"words": {"near": 2}, "chances": [1.0] * 33, **changes}}}


@pytest.mark.parametrize(
    ("calibration", "said"),
    [
        ({"color": {"whole": {}}}, "of the grain 'color'"),
        ({"kind": {}}, "calibration of kind"),
        (flat(words={"alike": 2}), "the words of kind"),
        (flat(words={"near": 33}), "the words of kind"),
        (flat(words={"near": True}), "the words of kind"),
        (flat(words={"near": 3, "related": 2}), "not in order"),
        (flat(chances=[1.0] * 32), "33 numbers of 0 to 1"),
        (flat(chances=[2.0] * 33), "33 numbers of 0 to 1"),
        (flat(chances=[0.0] * 32 + [1.0]), "grow with the distance"),
        (flat(chances="1"), "33 numbers of 0 to 1"),
    ],
)
def test_a_calibration_that_makes_no_sense_is_refused(tmp_path: Path, calibration: dict[str, Any], said: str) -> None:
    folder = Bundle.read("small").write(tmp_path / "bundle")
    described = json.loads((folder / "model.json").read_text())
    (folder / "model.json").write_text(json.dumps({**described, "calibration": calibration}))
    with pytest.raises(BundleError, match=said):
        Bundle.read(folder)
