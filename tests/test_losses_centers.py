"""Losses of classes and centers: each is its formula, whatever the labels of the batch."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from loss_oracles import refuse_what_is_no_number

torch = pytest.importorskip("torch", reason="needs the train extra")

from torch import Tensor  # noqa: E402

from hashgrain.errors import TrainingError  # noqa: E402
from hashgrain.learn.losses import dsdh  # noqa: E402
from hashgrain.learn.losses.csq import CsqLoss  # noqa: E402
from hashgrain.learn.losses.distance_preserving import DistancePreservingLoss  # noqa: E402
from hashgrain.learn.losses.dpn import DpnLoss  # noqa: E402
from hashgrain.learn.losses.dsdh import DsdhLoss  # noqa: E402
from hashgrain.learn.losses.greedy_hash import GreedyHashLoss  # noqa: E402
from hashgrain.learn.losses.loss import Loss  # noqa: E402
from hashgrain.learn.losses.ortho_hash import OrthoHashLoss  # noqa: E402
from hashgrain.learn.training.centers import class_centers, tie_breaker  # noqa: E402

pytestmark = pytest.mark.train

Numbers = NDArray[np.float64]
BITS, CLASSES = 6, 5
CENTERS = np.random.default_rng(5).choice([-1.0, 1.0], (CLASSES, BITS))
SIMILARITY = np.eye(CLASSES) + 0.4 * (np.ones((CLASSES, CLASSES)) - np.eye(CLASSES))
SIMILARITY[0, 1] = SIMILARITY[1, 0] = 0.8

HOTS: dict[str, list[list[int]]] = {  # rows of class numbers; [] has no label
    "one label each, odd": [[0], [1], [2], [3], [0], [1], [4]],
    "several labels, and none": [[0, 1], [1], [], [2, 3, 4], [0, 4]],
    "all the same": [[2], [2], [2], [2]],
    "all different": [[0], [1], [2], [3], [4]],
    "one row": [[1, 3]],
    "one row without a label": [[]],
    "none has a label": [[], [], []],
}


def hot_of(labels: list[list[int]]) -> Tensor:
    return torch.tensor([[float(c in row) for c in range(CLASSES)] for row in labels])


def outputs_like(n: int) -> Tensor:
    values = np.random.default_rng(n).normal(0, 1.2, (n, BITS))
    return torch.from_numpy(values + 0.1 * np.sign(values))  # away from zero, where bits flip


def bit(value: float) -> float:
    return 1.0 if value >= 0 else -1.0


def dot(a: Numbers, b: Numbers) -> float:
    return float(sum(x * y for x, y in zip(a, b, strict=True)))


def mean(values: list[float]) -> float:
    return sum(values) / len(values) if values else 0.0


def cross_entropy(scores: list[float], shares: list[float]) -> float:
    total = sum(math.exp(score) for score in scores)
    return -sum(share * math.log(math.exp(score) / total) for score, share in zip(scores, shares, strict=True))


def target_bit(row: list[int], k: int) -> float:
    votes = sum(CENTERS[c, k] for c in row)
    return float(tie_breaker(BITS, 0)[k]) if votes == 0 else bit(votes)


def greedy_hash(loss: Loss, u: Numbers, labels: list[list[int]]) -> float:
    weights = loss.classifier.weight.detach().numpy()  # type: ignore[union-attr]
    classified = []
    for i, row in enumerate(labels):
        if row:
            code = np.array([bit(value) for value in u[i]])
            scores = [dot(code, weights[c]) for c in range(CLASSES)]
            classified.append(cross_entropy(scores, [(c in row) / len(row) for c in range(CLASSES)]))
    return mean(classified) + 0.1 * mean([abs(abs(value) - 1) ** 3 for value in u.flat])


def csq(_: Loss, u: Numbers, labels: list[list[int]]) -> float:
    entropies = []
    for i, row in enumerate(labels):
        for k in range(BITS):
            if row:
                on, wanted = (math.tanh(u[i, k]) + 1) / 2, (target_bit(row, k) + 1) / 2
                entropies.append(-wanted * math.log(on) - (1 - wanted) * math.log(1 - on))
    return mean(entropies) + 0.05 * mean([(abs(math.tanh(value)) - 1) ** 2 for value in u.flat])


def dpn(_: Loss, u: Numbers, labels: list[list[int]]) -> float:
    return mean(
        [max(0.0, 1 - u[i, k] * target_bit(row, k)) for i, row in enumerate(labels) if row for k in range(BITS)]
    )


def ortho_hash(_: Loss, u: Numbers, labels: list[list[int]]) -> float:
    entropies = []
    for i, row in enumerate(labels):
        if row:
            cosines = [dot(u[i], c) / math.sqrt(dot(u[i], u[i]) * dot(c, c)) for c in CENTERS]
            scores = [8 * (cosine - 0.2 * (c in row)) for c, cosine in enumerate(cosines)]
            entropies.append(cross_entropy(scores, [(c in row) / len(row) for c in range(CLASSES)]))
    return mean(entropies)


def distance_preserving(loss: Loss, u: Numbers, labels: list[list[int]]) -> float:
    alike = loss.similarity.numpy()  # type: ignore[union-attr]

    def shared(one: list[int], other: list[int]) -> float:
        return float(sum(alike[a, b] for a in one for b in other))

    errors = []
    for i, mine in enumerate(labels):
        for j, theirs in enumerate(labels):
            if i != j:
                lengths = shared(mine, mine) * shared(theirs, theirs)
                target = shared(mine, theirs) / math.sqrt(lengths) if lengths else 0.0
                errors.append((dot(np.tanh(u[i]), np.tanh(u[j])) / BITS - target) ** 2)
    return mean(errors)


def dsdh_objective(
    u: Numbers, labels: list[list[int]], codes: Numbers, weights: Numbers, classification: float, quantization: float
) -> float:
    pairs = []
    for i, mine in enumerate(labels):
        for j, theirs in enumerate(labels):
            if i != j:
                theta = dot(u[i], u[j]) / 2
                pairs.append(math.log(1 + math.exp(theta)) - (theta if set(mine) & set(theirs) else 0))
    rest = []
    for i, row in enumerate(labels):
        missed = [(c in row) - dot(codes[i], weights[:, c]) for c in range(CLASSES)]
        classified = classification * sum(miss**2 for miss in missed) if row else 0.0
        rest.append(classified + quantization * sum((b - value) ** 2 for b, value in zip(codes[i], u[i], strict=True)))
    return mean(pairs) + mean(rest) / 5000


def best_codes(
    u: Numbers, labels: list[list[int]], weights: Numbers, classification: float, quantization: float
) -> Numbers:
    """Cyclic coordinate descent by trying both values of each bit of each picture: the sign of the output first."""
    codes = np.where(u >= 0, 1.0, -1.0)
    for i, row in enumerate(labels):
        for _ in range(10):
            for k in range(BITS):
                costs = {}
                for value in (1.0, -1.0):
                    codes[i, k] = value
                    missed = np.array([(c in row) - dot(codes[i], weights[:, c]) for c in range(CLASSES)])
                    classified = classification * dot(missed, missed) if row else 0.0
                    costs[value] = classified + quantization * dot(codes[i] - u[i], codes[i] - u[i])
                codes[i, k] = min(costs, key=lambda value: costs[value])
    return codes


def seen(loss: DsdhLoss) -> DsdhLoss:
    """One that has seen pictures before."""
    dice = torch.Generator().manual_seed(0)
    for _ in range(3):
        labels = [[int(c)] for c in torch.randint(0, CLASSES, (12,), generator=dice)]
        loss(torch.randn(12, BITS, generator=dice, dtype=torch.double), hot_of(labels))
    return loss


def dsdh_loss(loss: Loss, u: Numbers, labels: list[list[int]]) -> float:
    assert isinstance(loss, DsdhLoss)
    weights = loss.classifier().numpy()
    codes = best_codes(u, labels, weights, loss.classification, loss.quantization)
    return dsdh_objective(u, labels, codes, weights, loss.classification, loss.quantization)


def double(loss: Loss) -> Loss:
    return loss.double().eval()


def made_greedy() -> Loss:
    torch.manual_seed(1)
    return double(GreedyHashLoss(BITS, CLASSES))


GIVEN = torch.from_numpy(CENTERS)
Oracle = Callable[[Loss, Numbers, list[list[int]]], float]
LOSSES: dict[str, tuple[Callable[[], Loss], Oracle]] = {
    "greedy_hash": (made_greedy, greedy_hash),
    "csq": (lambda: double(CsqLoss(BITS, CLASSES, centers=GIVEN)), csq),
    "dpn": (lambda: double(DpnLoss(BITS, CLASSES, centers=GIVEN)), dpn),
    "ortho_hash": (lambda: double(OrthoHashLoss(BITS, CLASSES, centers=GIVEN)), ortho_hash),
    "dsdh": (lambda: seen(DsdhLoss(BITS, CLASSES).double()).eval(), dsdh_loss),
    "dsdh of strong classes": (
        lambda: seen(DsdhLoss(BITS, CLASSES, classification=9.0, quantization=1.0).double()).eval(),
        dsdh_loss,
    ),
    "distance_preserving": (lambda: double(DistancePreservingLoss(BITS, CLASSES)), distance_preserving),
    "distance_preserving of like classes": (
        lambda: double(DistancePreservingLoss(BITS, CLASSES, similarity=torch.from_numpy(SIMILARITY))),
        distance_preserving,
    ),
}
every_loss = pytest.mark.parametrize("name", LOSSES)
every_batch = pytest.mark.parametrize("labels", HOTS.values(), ids=HOTS.keys())


@every_loss
@every_batch
def test_the_loss_is_its_formula(name: str, labels: list[list[int]]) -> None:
    make, oracle = LOSSES[name]
    loss, outputs = make(), outputs_like(len(labels))
    assert loss(outputs, hot_of(labels)).item() == pytest.approx(oracle(loss, outputs.numpy(), labels), abs=1e-7)


@pytest.mark.parametrize("name", [name for name in LOSSES if name != "greedy_hash"])
@every_batch
def test_the_gradient_is_that_of_the_formula(name: str, labels: list[list[int]]) -> None:
    loss, hot = LOSSES[name][0](), hot_of(labels)
    assert torch.autograd.gradcheck(lambda u: loss(u, hot), outputs_like(len(labels)).requires_grad_())


@every_batch
def test_the_gradient_of_greedy_hash_is_that_at_the_bits(labels: list[list[int]]) -> None:
    """Straight through: what a real number in place of the bit would get, and the penalty's own."""
    loss, hot, u = made_greedy(), hot_of(labels), outputs_like(len(labels)).requires_grad_()
    found = torch.autograd.grad(loss(u, hot), u)[0].numpy()
    weights = loss.classifier.weight.detach().numpy()  # type: ignore[union-attr]
    labelled = sum(1 for row in labels if row)
    for i, row in enumerate(labels):
        code = np.where(u[i].detach().numpy() >= 0, 1.0, -1.0)
        shares = [(c in row) / max(1, len(row)) for c in range(CLASSES)]
        for k in range(BITS):
            value, step = u[i, k].item(), 1e-5
            ways = [
                cross_entropy([dot(moved, weights[c]) for c in range(CLASSES)], shares)
                for moved in (code + step * np.eye(BITS)[k], code - step * np.eye(BITS)[k])
            ]
            through = (ways[0] - ways[1]) / (2 * step) / labelled if row else 0.0
            penalty = 0.1 * 3 * (abs(value) - 1) * abs(abs(value) - 1) * bit(value) / u.numel()
            assert found[i, k] == pytest.approx(through + penalty, abs=1e-7)


@every_loss
@every_batch
def test_nothing_is_not_a_number_not_even_at_zero(name: str, labels: list[list[int]]) -> None:
    loss, hot = LOSSES[name][0]().float().train(), hot_of(labels)
    refuse_what_is_no_number(loss, hot, outputs_like(len(labels)).float())


@every_loss
def test_the_second_label_of_a_picture_counts(name: str) -> None:
    """Trap 4: an arg-max of several labels keeps the first alone."""
    loss, outputs = LOSSES[name][0](), outputs_like(4)
    first, both = (hot_of([row, [1], [2], [3]]) for row in ([0], [0, 1, 2]))
    assert loss(outputs, first).item() != pytest.approx(loss(outputs, both).item(), abs=1e-9)


@every_loss
def test_the_order_of_the_pictures_does_not_matter(name: str) -> None:
    loss, labels, order = LOSSES[name][0](), [[0, 1], [1], [], [2], [4]], torch.tensor([3, 0, 4, 2, 1])
    outputs, hot = outputs_like(5), hot_of(labels)
    assert loss(outputs, hot).item() == pytest.approx(loss(outputs[order], hot[order]).item())


def test_what_a_loss_learns_itself_is_among_its_parameters() -> None:
    """Trap 2: a classifier kept from the optimizer stays random."""
    loss = GreedyHashLoss(BITS, CLASSES)
    assert [tuple(p.shape) for p in loss.parameters()] == [(CLASSES, BITS)]  # and no bias
    loss(outputs_like(3).float(), hot_of([[0], [1], [2]])).backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in loss.parameters())
    for fixed in (CsqLoss, DpnLoss, OrthoHashLoss, DsdhLoss, DistancePreservingLoss):
        assert not list(fixed(BITS, CLASSES).parameters())


@pytest.mark.parametrize("make", [CsqLoss, DpnLoss, OrthoHashLoss])
def test_without_centers_a_loss_makes_its_own_and_saves_them(make: Callable[..., Loss]) -> None:
    loss = make(12, 20)
    assert torch.equal(loss.centers, class_centers(20, 12, 0).tensor())
    assert "centers" in loss.state_dict()
    assert not torch.equal(loss.centers, make(12, 20, seed=1).centers)
    for wrong in (torch.ones(20, 11), torch.zeros(20, 12), torch.full((20, 12), 0.5)):
        with pytest.raises(TrainingError, match="centers of shape"):
            make(12, 20, centers=wrong)
    with pytest.raises(TrainingError, match="more than the 8 centers"):
        make(3, 9)


@pytest.mark.parametrize("make", [CsqLoss, DpnLoss, OrthoHashLoss])
def test_the_center_itself_is_the_best_output(make: Callable[..., Loss]) -> None:
    loss = make(16, 10)
    hot = torch.eye(10)
    at_home, elsewhere = (float(loss(3 * centers, hot)) for centers in (loss.centers, loss.centers.roll(1, 0)))
    assert at_home < 0.1 if make is not OrthoHashLoss else at_home < 0.5
    assert elsewhere > 1


def test_label_smoothing_asks_for_a_little_of_each_class() -> None:
    outputs, hot = outputs_like(2), hot_of([[0], [1, 2]])
    plain, none = (OrthoHashLoss(BITS, CLASSES, centers=GIVEN, label_smoothing=s).double() for s in (0.1, 0.0))
    expected = 0.0
    for i, row in enumerate(([0], [1, 2])):
        u = outputs[i].numpy()
        scores = [8 * (dot(u, c) / math.sqrt(dot(u, u) * BITS) - 0.2 * (n in row)) for n, c in enumerate(CENTERS)]
        expected += cross_entropy(scores, [0.9 * (c in row) / len(row) + 0.1 / CLASSES for c in range(CLASSES)]) / 2
    assert float(plain(outputs, hot)) == pytest.approx(expected)
    assert float(none(outputs, hot)) != pytest.approx(expected)
    assert float(plain(outputs[:1], hot_of([[]]))) == 0


def test_dsdh_holds_the_outputs_to_the_bits_and_the_bits_to_the_classes() -> None:
    """Trap 1: published code gives the network neither the quantization nor the classification."""
    outputs = outputs_like(1).requires_grad_()  # no pairs: what is left is the other two terms
    bits_alone = seen(DsdhLoss(BITS, CLASSES, classification=0.0).double()).eval()
    gradient = torch.autograd.grad(bits_alone(outputs, hot_of([[0]])), outputs)[0]
    codes = torch.where(outputs.detach() >= 0, 1.0, -1.0)
    torch.testing.assert_close(gradient, 2 * 55 * (outputs.detach() - codes) / 5000)
    strong = seen(DsdhLoss(BITS, CLASSES, classification=1e4).double()).eval()
    by_class = [torch.autograd.grad(strong(outputs, hot_of([[c]])), outputs)[0] for c in range(CLASSES)]
    assert len({tuple(gradient.flatten().tolist()) for gradient in by_class}) > 1


def test_dsdh_s_classifier_is_the_ridge_regression_on_the_bits_seen() -> None:
    loss, dice = DsdhLoss(BITS, CLASSES, ridge=0.3), np.random.default_rng(2)
    bits, labels = np.empty((0, BITS)), np.empty((0, CLASSES))
    assert not loss.classifier().any()
    rows: list[list[int]] = [[0], [1], [2, 3], [4], [], [0, 4]]
    for _ in range(3):
        outputs = torch.from_numpy(dice.normal(size=(len(rows), BITS)))
        codes = best_codes(outputs.numpy(), rows, loss.classifier().double().numpy(), 1.0, 55.0)
        kept = 1 - len(rows) / dsdh.PICTURES
        counted = np.array([bool(row) for row in rows])
        bits = np.concatenate([bits * math.sqrt(kept), codes[counted]])
        labels = np.concatenate([labels * math.sqrt(kept), hot_of(rows).numpy()[counted]])
        loss(outputs, hot_of(rows))
        expected = np.linalg.inv(bits.T @ bits + 0.3 * np.eye(BITS)) @ bits.T @ labels
        np.testing.assert_allclose(loss.classifier().numpy(), expected, atol=1e-4)
    before = loss.classifier()
    loss.eval()(outputs, hot_of(rows))
    assert torch.equal(loss.classifier(), before)  # it learns in training alone
    again = DsdhLoss(BITS, CLASSES, ridge=0.3)
    again.load_state_dict(loss.state_dict())
    assert torch.equal(again.classifier(), before)  # and goes on where it stopped


def test_distances_can_be_preserved_wholly() -> None:
    """Trap 9: the target of others cannot be reached, whatever the outputs."""
    alike = torch.tensor([[1, 0.5, 0], [0.5, 1, 0.5], [0, 0.5, 1]])
    codes = torch.tensor([[1, 1, 1, 1], [1, 1, 1, -1], [1, 1, -1, -1]]).float()  # 0, 1 and 2 of 4 bits apart
    loss = DistancePreservingLoss(4, 3, similarity=alike)
    assert float(loss(20 * codes, torch.eye(3))) == pytest.approx(0, abs=1e-9)
    with pytest.raises(TrainingError, match="cannot teach 4"):
        DistancePreservingLoss(4, 4, similarity=alike)
    with pytest.raises(TrainingError, match="the same both ways"):
        DistancePreservingLoss(4, 2, similarity=torch.tensor([[1, 0.2], [0.3, 1]]))
