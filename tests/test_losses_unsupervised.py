"""Losses that need no labels, what is added to any loss, supervised contrast, and guessed labels: each its formula.

The oracles are written from the formulas, one element at a time, and gradients are checked by finite differences.
Where a loss looks at signs, its value is piecewise constant; there the promise is the gradient it has at the bits,
handed on to the outputs.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

torch = pytest.importorskip("torch", reason="needs the train extra")

from torch import Tensor  # noqa: E402

from hashgrain.errors import TrainingError  # noqa: E402
from hashgrain.learn.data.grain_labels import GrainLabels  # noqa: E402
from hashgrain.learn.data.semi import guess_from_neighbors, guess_from_scores, guessed_levels  # noqa: E402
from hashgrain.learn.losses.balance import balance, decorrelation  # noqa: E402
from hashgrain.learn.losses.bi_half import BiHalfLoss, half_and_half  # noqa: E402
from hashgrain.learn.losses.cib_hash import CibHashLoss, divergence  # noqa: E402
from hashgrain.learn.losses.code_distance import (  # noqa: E402
    code_distance,
    distance_distillation,
)
from hashgrain.learn.losses.coding_rate import CodingRateLoss  # noqa: E402
from hashgrain.learn.losses.feature_distances import FeatureDistancesLoss  # noqa: E402
from hashgrain.learn.losses.greedy_hash_unsupervised import GreedyHashUnsupervisedLoss  # noqa: E402
from hashgrain.learn.losses.instance import InstanceContrast  # noqa: E402
from hashgrain.learn.losses.loss import Loss  # noqa: E402
from hashgrain.learn.losses.neighbor_contrast import NeighborContrastLoss  # noqa: E402
from hashgrain.learn.losses.quantization import (  # noqa: E402
    absolute_quantization,
    cosine_quantization,
    cubic_quantization,
    log_cosh_quantization,
    quantization,
    scaled_quantization,
)
from hashgrain.learn.losses.supervised_contrast import SupervisedContrastLoss  # noqa: E402

pytestmark = pytest.mark.train

Rows = NDArray[np.float64]
UNSUPERVISED = (
    BiHalfLoss,
    CibHashLoss,
    GreedyHashUnsupervisedLoss,
    CodingRateLoss,
    NeighborContrastLoss,
    FeatureDistancesLoss,
)


def away_from_zero(n: int, width: int, seed: int = 0) -> Tensor:
    """Outputs at which no small step changes a sign, nor crosses |output| = 1."""
    dice = np.random.default_rng(seed)
    magnitudes = np.where(
        dice.random((n, width)) < 0.5, dice.uniform(0.2, 0.9, (n, width)), dice.uniform(1.1, 2, (n, width))
    )
    return torch.from_numpy(magnitudes * dice.choice([-1.0, 1.0], (n, width)))


def bits_of(outputs: Rows) -> Rows:
    return np.array([[1.0 if output >= 0 else -1.0 for output in row] for row in outputs])


def cosine(a: Rows, b: Rows) -> float:
    return float(sum(a * b) / math.sqrt(sum(a * a)) / math.sqrt(sum(b * b)))


def slope(function: Callable[[Rows], float], at: Rows, step: float = 1e-6) -> Rows:
    """The gradient by central differences."""
    gradient = np.zeros_like(at)
    for place in np.ndindex(at.shape):
        nudge = np.zeros_like(at)
        nudge[place] = step
        gradient[place] = (function(at + nudge) - function(at - nudge)) / (2 * step)
    return gradient


def gradient_of(loss: Callable[[Tensor], Tensor], outputs: Tensor) -> Rows:
    at = outputs.detach().clone().requires_grad_()
    (gradient,) = torch.autograd.grad(loss(at), at)
    return gradient.numpy()


def checked(loss: Callable[[Tensor], Tensor], outputs: Tensor) -> bool:
    return bool(torch.autograd.gradcheck(loss, outputs.detach().clone().requires_grad_()))


# What is added to any loss.


@pytest.mark.parametrize(
    ("penalty", "of_one"),
    [
        (quantization, lambda u: (abs(u) - 1) ** 2),
        (absolute_quantization, lambda u: abs(abs(u) - 1)),
        (log_cosh_quantization, lambda u: math.log(math.cosh(abs(u) - 1))),
        (cubic_quantization, lambda u: abs(abs(u) - 1) ** 3),
    ],
)
def test_each_quantization_is_its_formula(
    penalty: Callable[[Tensor], Tensor], of_one: Callable[[float], float]
) -> None:
    outputs = away_from_zero(5, 7)
    expected = np.mean([of_one(float(u)) for u in outputs.flatten()])
    assert float(penalty(outputs)) == pytest.approx(expected)
    assert checked(penalty, outputs)
    assert float(penalty(torch.tensor([[1.0, -1.0]]))) == pytest.approx(0, abs=1e-7)


def test_cosine_quantization_is_its_formula_and_knows_no_length() -> None:
    outputs = away_from_zero(5, 7)
    expected = np.mean(
        [1 - cosine(row, bits) for row, bits in zip(outputs.numpy(), bits_of(outputs.numpy()), strict=True)]
    )
    assert float(cosine_quantization(outputs)) == pytest.approx(expected)
    assert float(cosine_quantization(9 * outputs)) == pytest.approx(expected)
    assert checked(cosine_quantization, outputs)


def test_scaled_quantization_forces_no_magnitude() -> None:
    outputs = away_from_zero(5, 7)
    magnitudes = np.abs(outputs.numpy())
    scales = [np.mean([magnitudes[i, k] for i in range(5)]) for k in range(7)]
    expected = np.mean([(magnitudes[i, k] - scales[k]) ** 2 for i in range(5) for k in range(7)])
    assert float(scaled_quantization(outputs)) == pytest.approx(expected)
    assert checked(scaled_quantization, outputs)
    assert float(scaled_quantization(torch.tensor([[3.0, -0.2], [-3.0, -0.2]]))) == pytest.approx(0)


def test_log_cosh_of_far_outputs_does_not_overflow() -> None:
    assert float(log_cosh_quantization(torch.tensor([[1001.0]]))) == pytest.approx(1000 - math.log(2))


def test_code_distances_are_hamming_distances_where_outputs_are_bits() -> None:
    first, second = away_from_zero(6, 8, 1), away_from_zero(6, 8, 2)
    near = np.tanh(first.numpy()), np.tanh(second.numpy())
    expected = np.mean([(8 - sum(a * b)) / 2 for a, b in zip(*near, strict=True)])
    assert float(code_distance(first, second)) == pytest.approx(expected)
    hamming = np.mean([sum(a != b) for a, b in zip(bits_of(first.numpy()), bits_of(second.numpy()), strict=True)])
    assert float(code_distance(100 * first, 100 * second)) == pytest.approx(hamming)
    assert checked(lambda outputs: code_distance(outputs, second), first)


def test_distance_distillation_teaches_the_teachers_hamming_distances_and_not_the_teacher() -> None:
    student, teacher = away_from_zero(5, 4, 1), away_from_zero(5, 9, 2).requires_grad_()
    near, bits = np.tanh(student.numpy()), bits_of(teacher.detach().numpy())
    terms = [
        ((4 - sum(near[i] * near[j])) / 2 / 4 - sum(bits[i] != bits[j]) / 9) ** 2
        for i in range(5)
        for j in range(5)
        if i != j
    ]
    assert float(distance_distillation(student, teacher)) == pytest.approx(np.mean(terms))
    assert checked(lambda o: distance_distillation(o, teacher), student)
    distance_distillation(student.requires_grad_(), teacher).backward()
    assert teacher.grad is None
    assert float(distance_distillation(student[:1], teacher[:1]).detach()) == 0


def test_balance_is_over_pictures_and_not_over_bits() -> None:
    """Trap 9: averaged over bits, as DBDH's code has it, the first of these would be perfect."""
    dead = torch.tensor([[9.0, -9.0]] * 4)
    alive = torch.tensor([[9.0, 9.0]] * 2 + [[-9.0, -9.0]] * 2)
    assert float(balance(dead)) == pytest.approx(1)
    assert float(balance(alive)) == pytest.approx(0)
    outputs = away_from_zero(5, 7)
    near = np.tanh(outputs.numpy())
    expected = np.mean([np.mean([near[i, k] for i in range(5)]) ** 2 for k in range(7)])
    assert float(balance(outputs)) == pytest.approx(expected)
    assert checked(balance, outputs)


def test_decorrelation_subtracts_the_identity() -> None:
    """Trap 11: with a matrix of ones subtracted, bits that are all the same would be perfect."""
    same_bits = torch.tensor([[9.0, 9.0], [-9.0, -9.0]])
    free_bits = torch.tensor([[9.0, 9.0], [-9.0, -9.0], [9.0, -9.0], [-9.0, 9.0]])
    assert float(decorrelation(same_bits)) == pytest.approx(1)
    assert float(decorrelation(free_bits)) == pytest.approx(0)
    outputs = away_from_zero(5, 7)
    near = np.tanh(outputs.numpy())
    expected = sum(
        (np.mean([near[i, k] * near[i, m] for i in range(5)]) - (k == m)) ** 2 for k in range(7) for m in range(7)
    )
    assert float(decorrelation(outputs)) == pytest.approx(expected / 7)
    assert checked(decorrelation, outputs)


# Unsupervised.


def likeness_gap(codes: Rows, features: Rows) -> float:
    n = len(codes)
    partners = [(i, (i - n // 2) % n) for i in range(n)]
    return float(np.mean([(cosine(codes[i], codes[j]) - cosine(features[i], features[j])) ** 2 for i, j in partners]))


@pytest.mark.parametrize("n", [6, 7])
def test_greedy_hash_unsupervised_is_its_formula(n: int) -> None:
    outputs, features = away_from_zero(n, 8), away_from_zero(n, 5, 3)
    u, x = outputs.numpy(), features.numpy()
    loss = GreedyHashUnsupervisedLoss(8, 0, cubic=0.2)
    cubic = lambda u: 0.2 * float(np.mean([abs(abs(v) - 1) ** 3 for v in u.flatten()]))  # noqa: E731
    assert float(loss(outputs, features)) == pytest.approx(likeness_gap(bits_of(u), x) + cubic(u))
    # Straight through: the gradient at the bits, and that of the penalty at the outputs.
    expected = slope(lambda b: likeness_gap(b, x), bits_of(u)) + slope(cubic, u)
    np.testing.assert_allclose(gradient_of(lambda o: loss(o, features), outputs), expected, atol=1e-8)


def test_the_pairs_of_an_even_batch_are_one_half_against_the_other() -> None:
    outputs, features = away_from_zero(6, 8), away_from_zero(6, 5, 3)
    b, x = bits_of(outputs.numpy()), features.numpy()
    published = np.mean([(cosine(b[i], b[i + 3]) - cosine(x[i], x[i + 3])) ** 2 for i in range(3)])
    assert float(GreedyHashUnsupervisedLoss(8, 0, cubic=0)(outputs, features)) == pytest.approx(published)


def halves(u: Rows) -> Rows:
    bits = np.zeros_like(u)
    for k in range(u.shape[1]):
        order = sorted(range(len(u)), key=lambda i: (-u[i, k], i))
        for rank, i in enumerate(order):
            if 2 * rank + 1 == len(u):
                bits[i, k] = 1 if u[i, k] >= 0 else -1
            else:
                bits[i, k] = 1 if 2 * rank + 1 < len(u) else -1
    return bits


@pytest.mark.parametrize("n", [6, 7])
def test_bi_half_is_its_formula(n: int) -> None:
    outputs, features = away_from_zero(n, 8) + 0.7, away_from_zero(n, 5, 3)
    u, x = outputs.numpy(), features.numpy()
    b = halves(u)
    assert not np.array_equal(b, bits_of(u))
    loss = BiHalfLoss(8, 0, pull=6)
    distance = np.mean([(u[i, k] - b[i, k]) ** 2 for i in range(n) for k in range(8)])
    assert float(loss(outputs, features)) == pytest.approx(likeness_gap(b, x) + 3 * distance)
    # The layer of the paper: g + gamma (U - B) / numel, g at the half-and-half bits.
    expected = slope(lambda b: likeness_gap(b, x), b) + 6 * (u - b) / u.size
    np.testing.assert_allclose(gradient_of(lambda o: loss(o, features), outputs), expected, atol=1e-8)


def test_each_bit_of_bi_half_is_set_in_half_of_the_batch_ties_and_all() -> None:
    for outputs in (away_from_zero(8, 16) + 5, torch.zeros(8, 16), torch.full((8, 16), -3.0)):
        assert (half_and_half(outputs).sum(dim=0) == 0).all()
    odd = half_and_half(torch.tensor([[3.0], [1.0], [2.0]]))
    assert odd.tolist() == [[1], [-1], [1]]


def test_at_test_the_bits_of_bi_half_are_signs_and_know_of_no_batch() -> None:
    outputs, features = away_from_zero(6, 8) + 0.7, away_from_zero(6, 5, 3)
    loss = BiHalfLoss(8, 0, pull=0).eval()
    assert float(loss(outputs, features)) == pytest.approx(likeness_gap(bits_of(outputs.numpy()), features.numpy()))


def test_features_are_a_target_and_get_no_gradient() -> None:
    """Trap 15: a target that moves with what it teaches."""
    for kind in UNSUPERVISED:
        features = away_from_zero(6, 5, 3).requires_grad_()
        kind(8, 0)(away_from_zero(6, 8).requires_grad_(), features).backward()
        assert features.grad is None, kind


def nt_xent(codes: Rows, temperature: float) -> float:
    n, total = len(codes), 0.0
    for i in range(n):
        likely = [math.exp(cosine(codes[i], codes[j]) / temperature) if j != i else 0.0 for j in range(n)]
        total -= math.log(likely[(i + n // 2) % n] / sum(likely))
    return total / n


def test_the_instance_contrast_is_its_formula() -> None:
    outputs = away_from_zero(8, 6)
    assert float(InstanceContrast(0.4)(outputs)) == pytest.approx(nt_xent(outputs.numpy(), 0.4))
    assert checked(InstanceContrast(0.4), outputs)


def kl(p: float, q: float) -> float:
    return p * math.log(p / q) + (1 - p) * math.log((1 - p) / (1 - q))


def divergence_of(u: Rows) -> float:
    p = [[1 / (1 + math.exp(-v)) for v in row] for row in u]
    half = len(u) // 2
    both = [(kl(a, b) + kl(b, a)) / 2 for i in range(half) for a, b in zip(p[i], p[i + half], strict=True)]
    return sum(both) / half


def test_cib_hash_is_its_formula() -> None:
    outputs = away_from_zero(6, 8)
    u = outputs.numpy()
    loss = CibHashLoss(8, 0, temperature=0.4, bottleneck=0.05)
    unused = torch.zeros(6, 3)
    assert float(loss(outputs, unused)) == pytest.approx(nt_xent(bits_of(u), 0.4) + 0.05 * divergence_of(u))
    # Straight through sign(p - 1/2), then the slope of p = sigmoid(u).
    p = 1 / (1 + np.exp(-u))
    expected = slope(lambda b: nt_xent(b, 0.4), bits_of(u)) * p * (1 - p) + 0.05 * slope(divergence_of, u)
    np.testing.assert_allclose(gradient_of(lambda o: loss(o, unused), outputs), expected, atol=1e-7)


def test_the_divergence_is_finite_where_probabilities_are_0_and_1() -> None:
    far = torch.tensor([[200.0, -200.0]])
    assert float(divergence(far, -far)) == pytest.approx(400)
    assert float(divergence(far, far)) == 0


def coding_rate_loss(u: Rows, weight: float, distortion: float) -> float:
    half, bits = len(u) // 2, u.shape[1]
    total = 0.0
    for view, other in ((u[:half], u[half : 2 * half]), (u[half : 2 * half], u[:half])):
        cross = 0.0
        for row, true in zip(view, other, strict=True):
            for v, t in zip(row, true, strict=True):
                p = 1 / (1 + math.exp(-v))
                cross -= math.log(p) if t >= 0 else math.log(1 - p)
        z = np.array([row / math.sqrt(sum(row * row)) for row in view])
        # The determinant over pictures, not over bits: equal, and another computation.
        sign, log = np.linalg.slogdet(np.eye(half) + bits / (half * distortion) * z @ z.T)
        assert sign > 0
        total += cross / (half * bits) - weight * (half + bits) / (half * bits) * log / 2
    return total / 2


@pytest.mark.parametrize("n", [6, 7])
def test_the_coding_rate_loss_is_its_formula(n: int) -> None:
    outputs, unused = away_from_zero(n, 8), torch.zeros(n, 3)
    loss = CodingRateLoss(8, 0, weight=0.3, distortion=0.05)
    assert float(loss(outputs, unused)) == pytest.approx(coding_rate_loss(outputs.numpy(), 0.3, 0.05))
    assert checked(lambda o: loss(o, unused), outputs)
    defaults = CodingRateLoss(8, 0)
    assert float(defaults(outputs, unused)) == pytest.approx(coding_rate_loss(outputs.numpy(), 0.1, 0.05))


def test_the_coding_rate_keeps_codes_from_falling_into_one() -> None:
    unused = torch.zeros(8, 1)
    fallen = torch.full((8, 6), 2.0)
    spread = torch.from_numpy(2 * np.random.default_rng(0).choice([-1.0, 1.0], (4, 6))).float().repeat(2, 1)
    loss = CodingRateLoss(6, 0)
    assert float(loss(spread, unused)) < float(loss(fallen, unused))  # both views agree in either


def test_one_view_too_many_is_left_out() -> None:
    outputs = away_from_zero(7, 8)
    for loss in (CibHashLoss(8, 0), CodingRateLoss(8, 0)):
        assert torch.equal(loss(outputs, outputs), loss(outputs[:6], outputs[:6]))
    assert torch.equal(InstanceContrast(0.3)(outputs), InstanceContrast(0.3)(outputs[:6]))
    assert float(InstanceContrast(0.3)(outputs[:1])) == 0


# Supervised contrast.


def supervised_contrast(u: Rows, hot: Rows, temperature: float, sharpness: float) -> float:
    near = np.tanh(sharpness * u)
    terms = []
    for i in range(len(u)):
        others = [j for j in range(len(u)) if j != i]
        likely = {j: math.exp(cosine(near[i], near[j]) / temperature) for j in others}
        alike = [j for j in others if any(hot[i, c] and hot[j, c] for c in range(hot.shape[1]))]
        if alike:
            terms.append(np.mean([-math.log(likely[p] / sum(likely.values())) for p in alike]))
    return float(np.mean(terms)) if terms else 0.0


SEVERAL = torch.tensor(
    [[1, 1, 0], [0, 1, 0], [0, 0, 1], [0, 1, 1], [0, 0, 0], [1, 0, 0], [0, 0, 0]], dtype=torch.double
)


@pytest.mark.parametrize(
    "hot",
    [SEVERAL, torch.eye(7).double(), torch.ones(7, 1).double(), torch.zeros(7, 2).double()],
    ids=["several", "all different", "all same", "none"],
)
def test_the_supervised_contrast_is_its_formula_for_several_labels(hot: Tensor) -> None:
    """Trap 4: row 0 and row 1 share their second label, which an arg-max would miss; rows of zeros are like nothing."""
    outputs = away_from_zero(7, 8)
    loss = SupervisedContrastLoss(8, hot.shape[1], temperature=0.3, sharpness=1.5)
    assert float(loss(outputs, hot)) == pytest.approx(supervised_contrast(outputs.numpy(), hot.numpy(), 0.3, 1.5))
    assert checked(lambda o: loss(o, hot), outputs)


# Any batch there may be.


@pytest.mark.parametrize("kind", [*UNSUPERVISED, SupervisedContrastLoss])
@pytest.mark.parametrize("n", [1, 2, 3, 5])
def test_no_batch_gives_a_number_that_is_none(kind: type[Loss], n: int) -> None:
    """Traps 10, 14, 15: zeros, a batch of one, odd ones, equal rows, outputs so far out that sigmoids are 0 and 1."""
    for fill in (torch.zeros(n, 8), torch.full((n, 8), 300.0), torch.full((n, 8), -0.0), away_from_zero(n, 8).float()):
        outputs = fill.clone().requires_grad_()
        for truth in (torch.zeros(n, 3), torch.ones(n, 3)):
            value = kind(8, 3)(outputs, truth)
            assert value.shape == ()
            (gradient,) = torch.autograd.grad(value, outputs)
            assert bool(value.isfinite())
            assert bool(gradient.isfinite().all())


def test_an_output_of_zero_is_a_one() -> None:
    """Trap 10: sign(0) = 0 would make a code of no bits, half a bit away from everything."""
    zeros, ones, features = away_from_zero(4, 8), away_from_zero(4, 8), away_from_zero(4, 5, 3)
    zeros[:2, :3], ones[:2, :3], zeros[0, 0] = 0.0, 0.1, -0.0
    zeros[2:, :3] = ones[2:, :3] = -1.0
    greedy, cib = GreedyHashUnsupervisedLoss(8, 0, cubic=0), CibHashLoss(8, 0, bottleneck=0)
    for loss in (greedy, cib, BiHalfLoss(8, 0, pull=0).eval()):
        assert torch.equal(loss(zeros, features), loss(ones, features))
        assert not torch.equal(loss(-ones, features), loss(-zeros, features))  # or zeros would not have been looked at
    rate = CodingRateLoss(8, 0, weight=0)
    flat, high = torch.zeros(2, 8), torch.full((2, 8), 9.0)
    right, wrong = (float(rate(torch.cat([flat, view]), features)) for view in (high, -high))
    assert right < 0.4 < 4 < wrong  # zeros are ones: a view that is sure of ones was right


# Guessed labels.


def test_scores_that_are_sure_become_labels() -> None:
    scores = torch.tensor([[0.9, 0.8, 0.1], [0.4, 0.3, 0.3], [0.7, 0.7, 0.0], [0.1, 0.7, 0.2]])
    several = guess_from_scores(scores, threshold=0.7, single=False)
    assert several.hot.tolist() == [[1, 1, 0], [0, 0, 0], [1, 1, 0], [0, 1, 0]]
    assert several.accepted == 0.75
    one = guess_from_scores(scores, threshold=0.7, single=True)
    assert one.hot.tolist() == [[1, 0, 0], [0, 0, 0], [0, 0, 0], [0, 1, 0]]  # a draw is not a guess
    assert one.accepted == 0.5
    nothing = guess_from_scores(scores[:0], threshold=0.7, single=True)
    assert (nothing.hot.shape, nothing.accepted) == ((0, 3), 0.0)


def test_what_cannot_be_scores_is_refused() -> None:
    with pytest.raises(TrainingError, match="softmax or sigmoid"):
        guess_from_scores(torch.tensor([[3.0, -1.0]]), threshold=0.9, single=True)
    with pytest.raises(TrainingError, match="softmax or sigmoid"):
        guess_from_scores(torch.tensor([[math.nan, 0.5]]), threshold=0.9, single=True)
    for threshold in (0.0, 1.1):
        with pytest.raises(TrainingError, match="threshold"):
            guess_from_scores(torch.tensor([[0.5, 0.5]]), threshold=threshold, single=True)
    with pytest.raises(TrainingError, match="no neighbor would vote"):
        guess_from_neighbors(torch.ones(1, 4), torch.ones(2, 4), torch.eye(2), k=0, agreement=0.5, single=True)


@pytest.mark.parametrize("single", [True, False])
def test_neighbours_vote_by_hamming_distance(single: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hashgrain.learn.data.semi.ROWS_AT_ONCE", 7)
    dice = np.random.default_rng(4)
    outputs, labelled = dice.normal(size=(20, 6)), dice.normal(size=(30, 6))
    hot = (dice.random((30, 4)) < 0.4).astype(np.float32)
    hot[5] = 0
    expected = np.zeros((20, 4))
    for i in range(20):
        voters = [j for j in range(30) if hot[j].any()]
        distance = {j: sum((outputs[i] >= 0) != (labelled[j] >= 0)) for j in voters}
        nearest = sorted(voters, key=lambda j: (distance[j], j))[:5]
        shares = [sum(hot[j, c] for j in nearest) / 5 for c in range(4)]
        for c in range(4):
            best = shares.count(max(shares)) == 1 and shares[c] == max(shares)
            expected[i, c] = shares[c] >= 0.6 and (best or not single)
    guesses = guess_from_neighbors(
        torch.from_numpy(outputs), torch.from_numpy(labelled), torch.from_numpy(hot), k=5, agreement=0.6, single=single
    )
    np.testing.assert_array_equal(guesses.hot.numpy(), expected)
    assert guesses.accepted == pytest.approx(np.mean(expected.any(axis=1)))
    assert 0 < guesses.accepted < 1


def test_where_nobody_has_labels_nothing_is_guessed() -> None:
    guesses = guess_from_neighbors(
        torch.ones(3, 4), torch.ones(2, 4), torch.zeros(2, 5), k=3, agreement=0.5, single=True
    )
    assert (guesses.hot.tolist(), guesses.accepted) == ([[0.0] * 5] * 3, 0.0)
    few = guess_from_neighbors(torch.ones(3, 4), torch.ones(2, 4), torch.ones(2, 1), k=9, agreement=1, single=True)
    assert few.accepted == 1  # both of the two there are


def test_what_is_known_is_never_overruled() -> None:
    """The first picture has the other label than all that are near it."""
    ids = np.array([[0], *[[1]] * 12, [-1]], np.int32)
    labels = GrainLabels(("odd", "even"), ids.copy())
    found, accepted = guessed_levels({"thing": labels}, torch.ones(14, 4), {"thing": 4}, agreement=0.9)
    assert found["thing"].ids.tolist() == [[0], *[[1]] * 13]
    assert accepted == 1
    assert np.array_equal(labels.ids, ids)  # trap 16: labels are not edited in place


def test_guesses_teach_any_supervised_loss() -> None:
    outputs = away_from_zero(4, 8).requires_grad_()
    hot = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, 0.0], [0.0, 0.0]]).double()
    guesses = guess_from_neighbors(outputs[2:], outputs[:2], hot[:2], k=1, agreement=1, single=True)
    filled = torch.cat([hot[:2], guesses.hot])
    SupervisedContrastLoss(8, 2)(outputs, filled).backward()
    assert outputs.grad is not None
    assert guesses.accepted == 1


@pytest.mark.parametrize("n", [5, 12])
def test_neighbor_contrast_is_its_formula(n: int) -> None:
    dice = np.random.default_rng(n)
    outputs, features = dice.normal(0, 1, (n, 6)), dice.normal(2, 1, (n, 9))
    centered = features - features.mean(axis=0)
    codes = np.tanh(2.0 * outputs)
    total = 0.0
    for i in range(n):
        others = [j for j in range(n) if j != i]
        near = sorted(others, key=lambda j: -cosine(centered[i], centered[j]))[: round(0.25 * n)]
        below = sum(math.exp(cosine(codes[i], codes[j]) / 0.7) for j in others)
        total -= np.mean([math.log(math.exp(cosine(codes[i], codes[p]) / 0.7) / below) for p in near])
    loss = NeighborContrastLoss(6, 0, share=0.25, temperature=0.7)
    given = torch.from_numpy(outputs).requires_grad_()
    assert float(loss(given, torch.from_numpy(features)).detach()) == pytest.approx(total / n)
    assert torch.autograd.gradcheck(lambda o: loss(o, torch.from_numpy(features)), given)


def test_features_that_all_point_one_way_still_have_neighbours() -> None:
    """Two groups far from the origin: without their mean taken off, cosines hardly tell them apart."""
    dice = np.random.default_rng(0)
    groups = np.repeat([[0.0, 1.0], [1.0, 0.0]], 8, axis=0)
    features = torch.from_numpy(1000 + groups + dice.normal(0, 0.05, (16, 2)))
    own = torch.from_numpy(np.where(groups[:, :1] > 0, 1.0, -1.0).repeat(4, axis=1))
    mixed = own * torch.tensor([1.0, -1.0]).repeat(8)[:, None]
    loss = NeighborContrastLoss(4, 0, share=0.2)
    assert float(loss(own, features)) < float(loss(mixed, features)) - 0.5


@pytest.mark.parametrize("n", [2, 7])
def test_feature_distances_is_its_formula(n: int) -> None:
    dice = np.random.default_rng(n)
    outputs, features = dice.normal(0, 1, (n, 6)), dice.normal(2, 1, (n, 9))
    codes = np.tanh(outputs)
    couples = [(i, j) for i in range(n) for j in range(n) if i != j]
    apart = {(i, j): math.sqrt(sum((features[i] - features[j]) ** 2)) for i, j in couples}
    middle = sum(apart.values()) / len(couples)
    total = 0.0
    for i, j in couples:
        differing = (6 - sum(codes[i] * codes[j])) / 2 / 6
        total += (differing - min(1.0, apart[i, j] / (2 * middle))) ** 2
    loss = FeatureDistancesLoss(6, 0)
    given = torch.from_numpy(outputs).requires_grad_()
    assert float(loss(given, torch.from_numpy(features)).detach()) == pytest.approx(total / len(couples), rel=1e-5)
    assert torch.autograd.gradcheck(lambda o: loss(o, torch.from_numpy(features)), given)


def test_codes_as_far_apart_as_features_cost_least() -> None:
    """On a line of four features, each as far from the next: codes that differ in as many bits as steps."""
    features = torch.arange(4.0)[:, None].double()
    steps = torch.tensor([[1.0 if i < 2 * place else -1.0 for i in range(6)] for place in range(4)]).double() * 9
    mixed = steps[[0, 2, 1, 3]]
    loss = FeatureDistancesLoss(6, 0)
    assert float(loss(steps, features)) < float(loss(mixed, features)) - 0.02


def test_features_that_are_all_the_same_are_no_trap() -> None:
    outputs = torch.randn(5, 4, dtype=torch.double).requires_grad_()
    FeatureDistancesLoss(4, 0)(outputs, torch.ones(5, 3).double()).backward()
    assert outputs.grad is not None
    assert torch.isfinite(outputs.grad).all()
