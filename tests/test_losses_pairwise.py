"""Losses of pairs and triplets: each is its formula, whatever the labels of the batch."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial

import numpy as np
import pytest

import loss_oracles

torch = pytest.importorskip("torch", reason="needs the train extra")
pytest.importorskip("pytorch_metric_learning", reason="needs the train extra")

from torch import Tensor  # noqa: E402

from hashgrain.errors import TrainingError  # noqa: E402
from hashgrain.learn.losses.code_regression import CodeRegressionLoss  # noqa: E402
from hashgrain.learn.losses.contrastive import ContrastiveLoss  # noqa: E402
from hashgrain.learn.losses.dch import DchLoss  # noqa: E402
from hashgrain.learn.losses.dhn import DhnLoss  # noqa: E402
from hashgrain.learn.losses.dpsh import DpshLoss  # noqa: E402
from hashgrain.learn.losses.dsh import DshLoss, squared_distances  # noqa: E402
from hashgrain.learn.losses.dtsh import DtshLoss  # noqa: E402
from hashgrain.learn.losses.hashnet import HashNetLoss  # noqa: E402
from hashgrain.learn.losses.idhn import IdhnLoss  # noqa: E402
from hashgrain.learn.losses.loss import Loss  # noqa: E402
from hashgrain.learn.losses.n_pair import NPairLoss, unrelated_pairs  # noqa: E402
from hashgrain.learn.losses.relaxed import (  # noqa: E402
    balanced_weights,
    pairs,
    relaxed_hamming,
    same,
    signs,
    straight_through,
    triplets,
)
from hashgrain.learn.losses.triplet import TripletLoss  # noqa: E402

pytestmark = pytest.mark.train

BITS, CLASSES = 6, 5


def class_numbers(classes: int, bits: int) -> Tensor:
    """(classes, bits) the number of each class in binary, the highest bit first."""
    return (torch.arange(classes)[:, None] >> torch.arange(bits - 1, -1, -1) & 1).float()


CODES = class_numbers(CLASSES, BITS)

# The defaults stand here a second time, so that a changed one shows.
ORACLES: dict[type[Loss], loss_oracles.Oracle] = {
    ContrastiveLoss: partial(loss_oracles.contrastive, margin=3.0),
    TripletLoss: partial(loss_oracles.triplet, margin=0.3),
    NPairLoss: partial(loss_oracles.n_pair, norm=0.002),
    CodeRegressionLoss: partial(loss_oracles.code_regression, codes=CODES.numpy()),
    DshLoss: partial(loss_oracles.dsh, margin=12.0, quantization=0.01),
    DpshLoss: partial(loss_oracles.dpsh, quantization=0.1),
    DhnLoss: partial(loss_oracles.dhn, quantization=0.1),
    HashNetLoss: partial(loss_oracles.hashnet, odds=10.0, sharpness=1.0),
    DchLoss: partial(loss_oracles.dch, radius=20.0, quantization=0.1),
    DtshLoss: partial(loss_oracles.dtsh, margin=3.0, quantization=1.0),
    IdhnLoss: partial(loss_oracles.idhn, odds=5.0, partial=0.1, quantization=0.1),
}


def hot(*rows: set[int]) -> Tensor:
    labels = torch.zeros(len(rows), CLASSES)
    for row, classes in enumerate(rows):
        labels[row, list(classes)] = 1
    return labels


BATCHES = {
    "single labels": hot({0}, {1}, {0}, {2}, {1}, {0}),
    "several labels, odd": hot({0, 1}, {1, 2}, {2}, {0, 1}, {3}, {1, 2, 3, 4}, {4}),
    "some without": hot({0, 1}, set(), {1}, set(), {2, 3}, {3}),
    "all the same": hot({2}, {2}, {2}),
    "all different": hot({0}, {1}, {2}, {3}, {4}),
    "no labels": hot(set(), set(), set()),
    "two alike": hot({1, 4}, {0, 4}),
    "two unlike": hot({1}, {0}),
    "one": hot({1, 2}),
    "one without": hot(set()),
}


def random_outputs(n: int, bits: int = BITS, seed: int = 7) -> Tensor:
    """In double, and none near 0 or 1, where some losses have a kink that finite differences would see."""
    generator = np.random.default_rng(seed)
    size = generator.choice([0.4, 0.7, 1.6], (n, bits)) + generator.uniform(-0.1, 0.1, (n, bits))
    return torch.from_numpy(size * generator.choice([-1, 1], (n, bits)))


def build(kind: type[Loss], bits: int = BITS, classes: int = CLASSES) -> Loss:
    if kind is CodeRegressionLoss:
        return CodeRegressionLoss(bits, classes, codes=class_numbers(classes, bits))
    return kind(bits, classes)


every_loss = pytest.mark.parametrize("kind", ORACLES, ids=lambda kind: kind.__name__)
every_batch = pytest.mark.parametrize("labels", BATCHES.values(), ids=BATCHES)


@every_batch
@every_loss
def test_each_loss_is_its_formula(kind: type[Loss], labels: Tensor) -> None:
    outputs = random_outputs(len(labels))
    expected = ORACLES[kind](outputs.numpy(), labels.double().numpy())
    assert build(kind)(outputs, labels.double()).item() == pytest.approx(expected, rel=1e-6, abs=1e-9)


@every_loss
def test_each_gradient_is_that_of_finite_differences(kind: type[Loss]) -> None:
    # where an output is rounded to a bit the bit is a target, not a path: away from 0 its derivative is 0
    labels = BATCHES["several labels, odd"].double()
    outputs = random_outputs(len(labels)).requires_grad_()
    assert torch.autograd.gradcheck(lambda given: build(kind)(given, labels), outputs)


@pytest.mark.parametrize("make", [torch.zeros, torch.ones, lambda *shape: 60 * torch.ones(shape)])
@every_batch
@every_loss
def test_loss_and_gradient_are_finite_when_all_outputs_are_equal(
    kind: type[Loss], labels: Tensor, make: Callable[[int, int], Tensor]
) -> None:
    outputs = make(len(labels), BITS).requires_grad_()
    loss = build(kind)(outputs, labels)
    loss.backward()
    assert loss.isfinite()
    assert outputs.grad is not None
    assert outputs.grad.isfinite().all()
    assert outputs.grad.abs().max() < 1e6


@every_loss
def test_training_brings_alike_codes_together_and_others_apart(kind: type[Loss]) -> None:
    labels = BATCHES["single labels"].repeat(2, 1)
    outputs = (random_outputs(len(labels), 16).float() / 4).requires_grad_()
    loss, optimizer = build(kind, 16), torch.optim.Adam([outputs], 0.05)
    generator = torch.Generator().manual_seed(3)
    for step in range(100):
        loss.advance(step / 100)
        order = torch.randperm(len(labels), generator=generator)
        optimizer.zero_grad()
        loss(outputs[order], labels[order]).backward()
        optimizer.step()
    apart = relaxed_hamming(signs(outputs))
    alike, counted = same(labels), pairs(labels)
    assert apart[~alike].mean() > 5 * apart[alike & counted].mean()


@every_loss
def test_every_label_counts_whatever_its_column(kind: type[Loss]) -> None:
    """Trap: toolboxes take the arg-max of several labels, which is the first of them."""
    labels, outputs = BATCHES["several labels, odd"].double(), random_outputs(7)
    order = torch.tensor([4, 2, 0, 3, 1])
    loss, moved = build(kind), build(kind)
    if isinstance(moved, CodeRegressionLoss):
        moved.codes = moved.codes[order]
    assert moved(outputs, labels[:, order]).item() == pytest.approx(loss(outputs, labels).item(), rel=1e-6)
    assert loss(outputs, labels).item() != pytest.approx(loss(outputs, first_label(labels)).item(), rel=1e-3)


def first_label(labels: Tensor) -> Tensor:
    return torch.nn.functional.one_hot(labels.argmax(dim=1), CLASSES).double()


@every_loss
def test_classes_nobody_has_change_nothing(kind: type[Loss]) -> None:
    """Trap: HashNet's code multiplies by a number of classes that is not in the paper."""
    labels, outputs = BATCHES["some without"], random_outputs(6).float()
    wider = torch.cat([labels, torch.zeros(6, 20)], dim=1)
    assert build(kind, classes=25)(outputs, wider).item() == pytest.approx(build(kind)(outputs, labels).item())


@every_loss
def test_labels_and_outputs_are_left_as_they_were(kind: type[Loss]) -> None:
    """Trap: labels edited in place."""
    labels, outputs = BATCHES["some without"].clone(), random_outputs(6).float()
    before = labels.clone(), outputs.clone()
    build(kind)(outputs, labels)
    assert torch.equal(labels, before[0])
    assert torch.equal(outputs, before[1])


@every_loss
def test_a_batch_owes_nothing_to_the_batch_before(kind: type[Loss]) -> None:
    """Trap: a memory of outputs that starts with zeros counts pictures that were never seen as unlike ones."""
    loss, labels = build(kind), BATCHES["single labels"].double()
    first = loss(random_outputs(6), labels)
    loss(random_outputs(6, seed=8), labels.roll(1, dims=0))
    assert loss(random_outputs(6), labels).item() == first.item()
    assert not {name for name, _ in loss.named_buffers()} - {"codes"}


# -- what the losses share ---------------------------------------------------------------------------------------------


def test_zero_is_a_one_everywhere() -> None:
    """Trap: torch.sign(0) is 0, half a bit away from both."""
    assert signs(torch.tensor([0.0, -0.0, 1e-9, -1e-9])).tolist() == [1, 1, 1, -1]
    zeros = torch.zeros(1, BITS, requires_grad=True)
    DpshLoss(BITS, CLASSES)(zeros, hot({0})).backward()
    assert zeros.grad is not None
    assert (zeros.grad < 0).all(), "descent must lead a zero to +1"


def test_straight_through_is_exactly_a_sign_with_the_gradient_of_the_identity() -> None:
    outputs = torch.tensor([[0.3, -7.1, 0.0, 1e-8]], requires_grad=True)
    bits = straight_through(outputs)
    assert bits.tolist() == [[1, -1, 1, 1]]
    (bits * torch.tensor([1.0, 2.0, 3.0, 4.0])).sum().backward()
    assert outputs.grad is not None
    assert outputs.grad.tolist() == [[1, 2, 3, 4]]
    assert not signs(outputs).requires_grad


def test_relaxed_distances_of_bits_are_hamming_distances() -> None:
    codes = signs(random_outputs(9))
    hamming = (codes[:, None] != codes[None, :]).sum(dim=2).double()
    assert torch.equal(relaxed_hamming(codes), hamming)
    assert torch.equal(squared_distances(codes), 4 * hamming)


def test_a_picture_without_labels_is_like_nothing_not_even_itself() -> None:
    assert same(hot({0, 1}, set(), {1}, set())).tolist() == [
        [True, False, True, False],
        [False, False, False, False],
        [True, False, True, False],
        [False, False, False, False],
    ]


def test_balanced_weights_let_both_sorts_weigh_the_same() -> None:
    alike = same(BATCHES["single labels"])
    counted = pairs(alike)
    weights = balanced_weights(alike, counted)
    assert weights[alike & counted].sum().item() == pytest.approx(30)
    assert weights[~alike].sum().item() == pytest.approx(30)
    assert weights.diagonal().eq(0).all()


def test_triplets_are_all_there_are_and_no_picture_is_its_own_positive() -> None:
    labels = BATCHES["some without"]
    found = list(zip(*(rows.tolist() for rows in triplets(same(labels))), strict=True))
    assert sorted(found) == sorted(loss_oracles.triples(labels.double().numpy()))
    assert all(anchor != positive for anchor, positive, _ in found)


# -- one loss at a time ------------------------------------------------------------------------------------------------


def test_margins_are_bits() -> None:
    codes = torch.ones(2, 16)
    codes[1, :3] = -1
    outputs, unlike = 20 * codes, hot({0}, {1})
    assert ContrastiveLoss(16, CLASSES, margin=5)(outputs, unlike).item() == pytest.approx(5 - 3)
    assert ContrastiveLoss(16, CLASSES, margin=3)(outputs, unlike).item() == 0
    assert ContrastiveLoss(16, CLASSES)(outputs, hot({0}, {0})).item() == pytest.approx(3)
    trio = torch.cat([outputs, outputs[1:]])  # an alike picture 3 bits away, and another in the same place
    assert TripletLoss(16, CLASSES, margin=2)(trio, hot({0}, {0}, {1})).item() == pytest.approx((2 + 5) / 2)
    assert DshLoss(16, CLASSES, quantization=0)(codes, unlike).item() == pytest.approx((2 * 16 - 4 * 3) / 2)


def test_n_pairs_have_no_label_in_common_though_their_pictures_have_several() -> None:
    labels = hot({0, 1}, {1}, {1, 2}, {2}, {3}, {2, 3}, {3}, {4}, {4})
    anchors, positives, *rest = unrelated_pairs(same(labels))
    assert list(zip(anchors.tolist(), positives.tolist(), strict=True)) == [(0, 1), (3, 5), (7, 8)]
    assert all(len(rows) == 0 for rows in rest)


def test_metric_learning_losses_say_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pytorch_metric_learning", None)
    for kind in (ContrastiveLoss, TripletLoss, NPairLoss):
        with pytest.raises(TrainingError, match=r"pytorch-metric-learning.*install"):
            kind(BITS, CLASSES)


def test_code_regression_ends_at_the_code_of_the_class() -> None:
    loss = CodeRegressionLoss(BITS, CLASSES)
    outputs = 40 * (2 * loss.codes - 1)
    assert loss(outputs, torch.eye(CLASSES)).item() == pytest.approx(0)
    assert len({tuple(code) for code in loss.codes.tolist()}) == CLASSES
    assert torch.equal(CodeRegressionLoss(BITS, CLASSES).codes, loss.codes)
    assert not torch.equal(CodeRegressionLoss(BITS, CLASSES, seed=1).codes, loss.codes)


@pytest.mark.parametrize("codes", [torch.zeros(CLASSES, 3), torch.full((CLASSES, BITS), -1.0)])
def test_target_codes_must_fit(codes: Tensor) -> None:
    with pytest.raises(TrainingError, match="5 classes by 6 bits"):
        CodeRegressionLoss(BITS, CLASSES, codes=codes)


def test_hashnet_grows_from_a_tanh_to_a_sign() -> None:
    """Trap: a toolbox never raised the sharpness for years, and needed more epochs than steps."""
    loss, seen = HashNetLoss(BITS, CLASSES), []
    for share in np.linspace(0, 1, 101):
        loss.advance(float(share))
        seen.append(loss.sharpness)
    assert seen == sorted(seen)
    assert seen[0] == 1
    assert seen[-1] == pytest.approx(51**0.5), "sqrt(1 + 0.005 * 10,000)"
    assert len(set(seen)) == 51, "every 200 of 10,000 iterations"
    labels, outputs = BATCHES["some without"].double(), random_outputs(6)
    expected = loss_oracles.hashnet(outputs.numpy(), labels.numpy(), odds=10, sharpness=51**0.5)
    assert loss(outputs, labels).item() == pytest.approx(expected, rel=1e-6)


def test_hashnet_balances_pairs_and_dpsh_does_not() -> None:
    """Trap: a toolbox gives DPSH the weights of HashNet."""
    few_alike = hot({0}, {0}, {1}, {2}, {3}, {4})
    outputs = torch.full((6, BITS), 0.5)
    # all products are one: the loss of a pair depends on its sort only
    dpsh = DpshLoss(BITS, CLASSES, quantization=0)(outputs, few_alike).item()
    alike = DpshLoss(BITS, CLASSES, quantization=0)(outputs[:2], hot({0}, {0})).item()
    unlike = DpshLoss(BITS, CLASSES, quantization=0)(outputs[:2], hot({0}, {1})).item()
    assert dpsh == pytest.approx((2 * alike + 28 * unlike) / 30)
    balanced = HashNetLoss(BITS, CLASSES)
    alike, unlike = balanced(outputs[:2], hot({0}, {0})).item(), balanced(outputs[:2], hot({0}, {1})).item()
    assert balanced(outputs, few_alike).item() == pytest.approx(alike + unlike)


def test_dch_separates_unlike_pictures_however_close_they_are() -> None:
    """Trap: the toolbox cuts the cosine at 0.99, beyond which nothing is learned."""
    outputs = torch.ones(2, 64, dtype=torch.double)
    outputs[1, 0] = 0.6
    assert torch.nn.functional.cosine_similarity(outputs[:1], outputs[1:]) > 0.99
    outputs.requires_grad_()
    DchLoss(64, CLASSES, quantization=0)(outputs, hot({0}, {1}).double()).backward()
    assert outputs.grad is not None
    assert outputs.grad[1, 0] > 0.1


def test_dch_leaves_a_picture_and_itself_out_and_sums_bits_as_bits() -> None:
    """Trap: the toolbox counts each picture as its own neighbour."""
    outputs = torch.ones(2, 64)
    outputs[1, :16] = -1
    loss = DchLoss(64, CLASSES)(outputs, hot({0}, {0}))
    assert loss.item() == pytest.approx(np.log(1 + 16 / 20))


def test_dch_knows_no_length() -> None:
    labels, outputs = BATCHES["several labels, odd"].double(), random_outputs(7)
    loss = DchLoss(BITS, CLASSES)
    assert loss(outputs, labels).item() == pytest.approx(loss(outputs * 9, labels).item())


@pytest.mark.parametrize("name", ["all the same", "all different", "no labels", "one"])
def test_dtsh_without_triplets_is_a_zero_that_can_be_trained(name: str) -> None:
    """Trap: the toolbox returns the integer 0, and takes a picture for its own positive."""
    labels = BATCHES[name]
    outputs = random_outputs(len(labels)).requires_grad_()
    loss = DtshLoss(BITS, CLASSES, quantization=0)(outputs, labels.double())
    loss.backward()
    assert loss.item() == 0
    assert outputs.grad is not None
    assert outputs.grad.eq(0).all()


def test_idhn_meets_every_degree_of_likeness() -> None:
    """Trap: a product scaled by 1/2 against a target that is not cannot meet degrees below 1/4 or above 3/4."""
    labels = torch.tensor([[1, 1, 1, 1, 1, 0], [1, 1, 1, 1, 0, 1.0]])  # cosine 4/5: 2 of 10 bits apart
    outputs = torch.full((2, 10), 1e7)
    outputs[1, :2] *= -1
    assert IdhnLoss(10, 6)(outputs, labels).item() == pytest.approx(0, abs=1e-6)
    outputs[1, 2] *= -1
    assert IdhnLoss(10, 6)(outputs, labels).item() == pytest.approx(0.1 * 10 * 0.1**2, abs=1e-6)


def test_idhn_knows_equal_labels_from_nearly_equal_ones() -> None:
    """Trap: a cosine above 0.99 is not 1."""
    many = torch.ones(2, 60)
    outputs = signs(random_outputs(2, 8)).float() * 1e7
    equal = IdhnLoss(8, 60)(outputs, many)
    many[1, 59] = 0
    nearly = IdhnLoss(8, 60)(outputs, many)
    assert nearly.item() != pytest.approx(equal.item(), rel=1e-2)
