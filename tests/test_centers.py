"""Class centers are distinct and far apart at any width, begin with their parents', and follow similarities."""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np
import pytest
from numpy.typing import NDArray

torch = pytest.importorskip("torch", reason="needs the train extra")

from hashgrain import Grains  # noqa: E402
from hashgrain.errors import TrainingError  # noqa: E402
from hashgrain.learn.data.class_confusion import learnt_similarities  # noqa: E402
from hashgrain.learn.data.grain_labels import GrainLabels  # noqa: E402
from hashgrain.learn.recipe import Aim  # noqa: E402
from hashgrain.learn.recipes import RECIPES  # noqa: E402
from hashgrain.learn.training import centers as making  # noqa: E402
from hashgrain.learn.training.centers import (  # noqa: E402
    class_centers,
    gilbert_varshamov,
    minimum_distance,
    nested_centers,
    shared_centers,
    tie_breaker,
)
from hashgrain.learn.training.knowledge import semantic_centers, similarities_of_paths, soft_targets  # noqa: E402
from hashgrain.learn.training.teaching import centers_of  # noqa: E402

pytestmark = pytest.mark.train

TREE = [(f"{a}", f"{a}{b}", f"{a}{b}{c}") for a in "abcd" for b in "uvwx" for c in "123"]


def nearest_two(signs: NDArray[np.int8]) -> int:
    pairs = itertools.combinations(signs.tolist(), 2)
    return min((sum(a != b for a, b in zip(x, y, strict=True)) for x, y in pairs), default=signs.shape[1])


@pytest.mark.parametrize(
    ("classes", "bits"),
    [
        (1, 1),
        (2, 1),
        (1, 48),
        (2, 64),
        (3, 2),
        (7, 3),
        (8, 3),
        (10, 12),
        (100, 7),
        (10, 48),
        (100, 100),
        (64, 16),
        (9, 130),
    ],
)
def test_centers_are_distinct_and_their_distance_is_true_at_any_width(classes: int, bits: int) -> None:
    made = class_centers(classes, bits, seed=3)
    assert made.signs.shape == (classes, bits)
    assert made.signs.dtype == np.int8
    assert set(np.unique(made.signs)) <= {-1, 1}
    assert made.minimum_distance == nearest_two(made.signs)
    assert classes == 1 or made.minimum_distance >= 1


@pytest.mark.parametrize(("classes", "bits"), [(5, 8), (10, 64), (64, 64), (100, 64), (128, 64), (32, 16)])
def test_where_a_hadamard_matrix_suffices_centers_are_half_the_bits_apart(classes: int, bits: int) -> None:
    made = class_centers(classes, bits, seed=0)
    assert "Hadamard" in made.how
    products = made.signs.astype(int) @ made.signs.T.astype(int)
    assert set(products[~np.eye(classes, dtype=bool)].tolist()) <= ({0} if classes <= bits else {0, -bits})
    assert made.minimum_distance == bits // 2


def test_the_bound_is_gilbert_s_and_varshamov_s() -> None:
    for classes, bits in [(2, 5), (16, 7), (16, 8), (100, 12), (1000, 13), (128, 7)]:
        ball_of = [sum(1 for word in range(2**bits) if word.bit_count() < d) for d in range(bits + 1)]
        assert gilbert_varshamov(classes, bits) == max(
            d for d in range(1, bits + 1) if (classes - 1) * ball_of[d] < 2**bits
        )


@pytest.mark.parametrize(
    ("classes", "bits"),
    [
        (2, 64),
        (3, 64),
        (4, 64),
        (10, 12),
        (100, 12),
        (10, 48),
        (100, 48),
        (200, 64),
        (1000, 64),
        (1000, 32),
        (100, 100),
    ],
)
def test_centers_are_at_least_as_far_apart_as_any_code_is_known_to_be(classes: int, bits: int) -> None:
    for seed in range(3 if classes < 1000 else 1):
        assert class_centers(classes, bits, seed).minimum_distance >= gilbert_varshamov(classes, bits)


def test_ten_thousand_classes_of_64_bits_are_20_apart() -> None:
    made = class_centers(10_000, 64, seed=0)
    assert made.minimum_distance >= 20
    assert np.abs(made.signs.mean(axis=0)).max() < 0.05


def test_distances_are_counted_in_blocks_as_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    signs = np.random.default_rng(1).choice(np.array([-1, 1], np.int8), (90, 70))
    monkeypatch.setattr(making, "AT_ONCE", 250)
    assert minimum_distance(signs) == nearest_two(signs)
    signs[88] = signs[3]
    assert minimum_distance(signs) == 0


@pytest.mark.parametrize(("classes", "bits"), [(2, 48), (3, 24), (10, 64), (10, 48), (100, 48)])
def test_no_bit_is_the_same_for_all_classes(classes: int, bits: int) -> None:
    for seed in range(5):
        signs = class_centers(classes, bits, seed).signs
        assert (np.abs(signs.sum(axis=0)) < classes).all()


def test_centers_are_the_seed_s() -> None:
    one, same, other = (class_centers(30, 48, seed).signs for seed in (1, 1, 2))
    assert np.array_equal(one, same)
    assert not np.array_equal(one, other)


def test_more_classes_than_centers_are_refused() -> None:
    with pytest.raises(TrainingError, match="more than the 16 centers that 4 bits have; give the grain at least 5"):
        class_centers(17, 4, seed=0)
    with pytest.raises(TrainingError, match="at least one"):
        class_centers(0, 4, seed=0)


def test_a_center_begins_with_its_parent_s_down_a_chain_of_any_length() -> None:
    dice = np.random.default_rng(0)
    parents = [np.r_[0:5, dice.integers(0, 5, 20)], np.r_[0:25, dice.integers(0, 25, 40)], np.arange(65).repeat(2)]
    bits = [8, 20, 40, 75]
    grains = nested_centers(5, parents, bits, seed=1)
    assert [grain.signs.shape for grain in grains] == [(5, 8), (25, 20), (65, 40), (130, 75)]
    for coarse, fine, parent in zip(grains, grains[1:], parents, strict=False):
        assert np.array_equal(fine.signs[:, : coarse.signs.shape[1]], coarse.signs[parent])
        assert fine.minimum_distance == nearest_two(fine.signs) >= 1
        # Siblings, whom only the added bits tell apart, are as far apart in them as any code is known to be.
        most, added = int(np.bincount(parent).max()), fine.signs.shape[1] - coarse.signs.shape[1]
        for family in range(len(coarse.signs)):
            siblings = fine.signs[parent == family][:, coarse.signs.shape[1] :]
            if len(siblings) > 1:
                assert nearest_two(siblings) >= gilbert_varshamov(most, added)
    assert len(nested_centers(5, [], [8], seed=1)) == 1


def test_only_siblings_have_to_be_told_apart_by_the_added_bits() -> None:
    """200 classes do not fit into the 3 bits that are added; the 5 of one parent do."""
    grains = nested_centers(40, [np.arange(200) // 5], [16, 19], seed=0)
    assert len(np.unique(grains[1].signs, axis=0)) == 200


def test_hierarchies_that_cannot_be_nested_are_refused() -> None:
    with pytest.raises(TrainingError, match="5 classes share one parent, and only 2 bits"):
        nested_centers(2, [np.array([0, 0, 0, 0, 0, 1])], [8, 10], seed=0)
    with pytest.raises(TrainingError, match="parent is not one of the 2"):
        nested_centers(2, [np.array([0, 2])], [8, 16], seed=0)
    with pytest.raises(TrainingError, match="parent is not one of the 2"):
        nested_centers(2, [np.array([0, -1])], [8, 16], seed=0)
    with pytest.raises(TrainingError, match="each grain adds bits"):
        nested_centers(2, [np.array([0, 1])], [8, 8], seed=0)


def test_the_center_of_several_labels_is_their_majority_and_a_tie_is_a_whole_bit() -> None:
    """Trap 5: a tie breaker of zeros and ones asks for half a bit."""
    centers = class_centers(6, 16, seed=0).tensor()
    ties = tie_breaker(16, seed=0)
    assert set(ties.tolist()) == {-1.0, 1.0}
    hot = torch.tensor([[1, 0, 0, 0, 0, 0], [1, 1, 0, 0, 0, 0], [1, 1, 1, 0, 0, 0]]).float()
    wanted = shared_centers(hot, centers, ties)
    assert torch.equal(wanted[0], centers[0])
    for bit in range(16):
        both = {float(centers[0, bit]), float(centers[1, bit])}
        assert float(wanted[1, bit]) == (both.pop() if len(both) == 1 else float(ties[bit]))
        assert float(wanted[2, bit]) == (1 if float(centers[:3, bit].sum()) > 0 else -1)


def test_paths_are_alike_by_the_steps_they_share() -> None:
    found = similarities_of_paths(
        [("animal", "dog", "beagle"), ("animal", "dog"), ("animal", "cat", "beagle"), ("car",)]
    )
    expected = [[1, 4 / 5, 2 / 6, 0], [4 / 5, 1, 2 / 5, 0], [2 / 6, 2 / 5, 1, 0], [0, 0, 0, 1]]
    np.testing.assert_allclose(found, expected)
    with pytest.raises(TrainingError, match="without a path"):
        similarities_of_paths([("animal",), ()])


def test_soft_targets_give_the_like_of_a_label_a_share() -> None:
    similarity = torch.tensor([[1, 0.5, 0], [0.5, 1, 0], [0, 0, 1]])
    hot = torch.tensor([[1, 0, 0], [1, 0, 1], [0, 0, 0]]).float()
    found = soft_targets(hot, similarity, 0.5).numpy()
    rows = np.exp(similarity.numpy() / 0.5)
    rows /= rows.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(found, [rows[0], (rows[0] + rows[2]) / 2, [0, 0, 0]], rtol=1e-6)
    np.testing.assert_allclose(soft_targets(hot, similarity, 1e-3)[:2], [[1, 0, 0], [0.5, 0, 0.5]], atol=1e-6)
    with pytest.raises(TrainingError, match="temperature"):
        soft_targets(hot, similarity, 0.0)


@pytest.mark.parametrize("bits", [24, 48, 64])
def test_semantic_centers_follow_the_tree_and_keep_their_distance(bits: int) -> None:
    similarity = similarities_of_paths(TREE)
    made = semantic_centers(similarity, bits, seed=0)
    assert made.minimum_distance == nearest_two(made.signs) >= gilbert_varshamov(len(TREE), bits) // 2
    products = made.signs.astype(int) @ made.signs.T.astype(int)
    upper = np.triu_indices(len(TREE), 1)
    assert made.correlation == pytest.approx(np.corrcoef(products[upper], similarity[upper])[0, 1])
    assert made.correlation > 0.8
    plain = np.random.default_rng(0).choice([-1, 1], (len(TREE), bits))
    assert np.corrcoef((plain @ plain.T)[upper], similarity[upper])[0, 1] < 0.4
    by_similarity = [products[similarity == value].mean() for value in np.unique(similarity)]
    assert by_similarity == sorted(by_similarity)


def test_a_greater_least_distance_is_kept_too() -> None:
    similarity = similarities_of_paths(TREE)
    least = gilbert_varshamov(len(TREE), 48)
    made = semantic_centers(similarity, 48, seed=0, least=least)
    assert made.minimum_distance >= least
    assert made.correlation > 0.4
    with pytest.raises(TrainingError, match="could not be kept 40 bits apart"):
        semantic_centers(similarity, 48, seed=0, least=40)


def test_semantic_centers_of_classes_that_are_all_the_same_are_still_distinct() -> None:
    for similarity, bits in [(np.ones((5, 5)), 8), (np.eye(16), 4), (np.ones((1, 1)), 8), (np.ones((4, 4)), 2)]:
        assert semantic_centers(similarity, bits, seed=0).minimum_distance >= 1


def test_similarities_that_are_none_are_refused() -> None:
    for wrong in (np.ones((2, 3)), np.array([[1, 0.5], [0.4, 1]]), np.array([[1, np.nan], [np.nan, 1]])):
        with pytest.raises(TrainingError, match="similarities of shape"):
            semantic_centers(wrong, 8, seed=0)
    with pytest.raises(TrainingError, match="more than the 4 centers"):
        semantic_centers(np.eye(5), 2, seed=0)


def test_classes_that_a_classifier_mistakes_are_alike() -> None:
    """SHC: two near classes and two others, one of them of ten times as many pictures (trap: sums favor it)."""
    dice = np.random.default_rng(0)
    places = np.array([[0, 0, 0, 0], [1.0, 0, 0, 0], [0, 6, 0, 0], [0, 0, 0, 6]])
    classes = np.repeat([0, 1, 2, 3], [60, 60, 60, 600])
    features = torch.from_numpy((places[classes] + dice.normal(size=(len(classes), 4))).astype(np.float32))
    labels = GrainLabels(("a", "b", "c", "d"), classes[:, None].astype(np.int32))
    found = learnt_similarities(features, labels)
    apart = ~np.eye(4, dtype=bool)
    assert (found.diagonal() == 1).all()
    assert np.array_equal(found, found.T)
    assert np.abs(found[apart]).max() == pytest.approx(1)
    assert found[apart].mean() == pytest.approx(0, abs=1e-6)
    assert found[0, 1] == found[apart].max()
    assert semantic_centers(found, 16, 0, least=4).correlation > 0.5
    alone = learnt_similarities(features[:60], labels.take(np.arange(60)))  # classes that nobody saw
    assert np.isfinite(alone).all()


@pytest.mark.parametrize("share", [0.25, 0.5, 1.0])
def test_the_least_distance_of_semantic_centers_is_settable(share: float) -> None:
    names = tuple(f"{i // 5}/{i}" for i in range(20))
    levels = {"thing": GrainLabels(names, np.arange(20, dtype=np.int32)[:, None])}
    recipe = dataclasses.replace(
        RECIPES["csq"], grains=Grains(thing=32), aim=Aim("csq", semantic_centers=True, center_distance=share)
    )
    signs = centers_of(recipe, levels)["thing"]
    distances = (32 - signs @ signs.T)[~torch.eye(20, dtype=torch.bool)] / 2
    assert distances.min() >= int(share * gilbert_varshamov(20, 32))
