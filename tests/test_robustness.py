"""How a model stands up to changed pictures, wrong labels and attacks, and the report that says so."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from conftest import Run, make_picture
from hashgrain import Codes, Encoder, Grains
from hashgrain.errors import CodesError, TrainingError
from hashgrain.evaluate import flip_labels, near_copy_recall
from hashgrain.evaluate.near_copies import CHANGES, recall_at_1


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    return Encoder.load(threads=1)


@pytest.fixture(scope="module")
def pixels() -> np.ndarray:
    return np.stack([np.asarray(make_picture(seed, (64, 64))) for seed in range(12)])


# --- near copies


def codes_of(*bits: str) -> Codes:
    return Codes.from_bits([[int(bit) for bit in row] for row in bits], Grains(look=4))


def test_ties_count_as_the_chance_of_being_drawn_first() -> None:
    originals, none = codes_of("0000", "1111"), codes_of("0000")[:0]
    assert recall_at_1(originals, originals, none) == 1
    assert recall_at_1(originals, originals, codes_of("0000", "0000")) == pytest.approx((1 / 3 + 1) / 2)
    assert recall_at_1(codes_of("0001", "0001"), originals, none) == 0.5  # the second is nearer to the first
    with pytest.raises(CodesError, match="one original"):
        recall_at_1(originals, originals[:1], none)


def test_every_change_changes_a_picture_and_the_model_still_finds_most(encoder: Encoder) -> None:
    photos = [make_picture(seed) for seed in range(20)]
    for name, change in CHANGES.items():
        changed = change(photos[0])
        assert changed.mode == "RGB", name
        assert changed.tobytes() != photos[0].tobytes(), name
        assert change(Image.new("RGB", (1, 1))).size >= (1, 1), name
    found = near_copy_recall(encoder.encode, photos, encoder.encode([make_picture(seed) for seed in range(50, 70)]))
    assert list(found) == list(CHANGES)
    assert all(0 <= recall <= 1 for recall in found.values())
    assert found["resize to 25 %"] > 0.9
    with pytest.raises(CodesError, match="no pictures"):
        near_copy_recall(encoder.encode, [])


# --- label noise


@given(st.integers(2, 9), st.integers(0, 60), st.floats(0, 1), st.integers(0, 1000))
def test_just_the_share_asked_for_gets_another_class(n_classes: int, n: int, share: float, seed: int) -> None:
    dice = np.random.default_rng(seed)
    labels = 10 * np.r_[np.arange(n_classes), dice.integers(0, n_classes, n)]
    before = labels.copy()
    flipped = flip_labels(labels, share, seed)
    assert (flipped != labels).sum() == round(share * len(labels))
    assert set(flipped) <= set(labels)
    assert np.array_equal(labels, before)
    assert np.array_equal(flipped, flip_labels(labels, share, seed))


def test_the_other_classes_are_drawn_evenly() -> None:
    labels = np.repeat(np.arange(5), 20_000)
    flipped = flip_labels(labels, 0.5, 3)
    for label in range(5):
        went = np.bincount(flipped[(labels == label) & (flipped != labels)], minlength=5)
        share = np.delete(went / went.sum(), label)
        np.testing.assert_allclose(share, 0.25, atol=0.02)


@pytest.mark.parametrize("share", [-0.1, 1.1, float("nan")])
def test_a_share_that_is_none_is_refused(share: float) -> None:
    with pytest.raises(TrainingError, match="from 0 to 1"):
        flip_labels(np.array([0, 1]), share, 0)


def test_one_class_alone_cannot_be_flipped() -> None:
    with pytest.raises(TrainingError, match="no other"):
        flip_labels(np.zeros(9, np.int64), 0.5, 0)
    assert flip_labels(np.zeros(9, np.int64), 0, 0).tolist() == [0] * 9
    assert flip_labels(np.zeros(0, np.int64), 0.5, 0).tolist() == []
