"""Losses of 2017 to 2026: each is its formula, and none makes the mistake that its toolbox does."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from loss_oracles import refuse_what_is_no_number

torch = pytest.importorskip("torch", reason="needs the train extra")
pytest.importorskip("accelerate", reason="needs the train extra")

from torch import Tensor  # noqa: E402

from hashgrain import Grains  # noqa: E402
from hashgrain.errors import TrainingError  # noqa: E402
from hashgrain.learn.data.grain_labels import GrainLabels  # noqa: E402
from hashgrain.learn.data.labelled import Labelled  # noqa: E402
from hashgrain.learn.losses.adsh import AdshLoss  # noqa: E402
from hashgrain.learn.losses.crh import CrhLoss, head_width  # noqa: E402
from hashgrain.learn.losses.dfh import DfhLoss, moved_centers  # noqa: E402
from hashgrain.learn.losses.hpdh import HpdhLoss  # noqa: E402
from hashgrain.learn.losses.hyp2 import Hyp2Loss  # noqa: E402
from hashgrain.learn.losses.logit_adjusted import LogitAdjustedLoss  # noqa: E402
from hashgrain.learn.losses.loss import Loss  # noqa: E402
from hashgrain.learn.losses.mds import MdsLoss  # noqa: E402
from hashgrain.learn.losses.mihash import MiHashLoss  # noqa: E402
from hashgrain.learn.losses.relaxed import pairs, relaxed_hamming, same, signs  # noqa: E402
from hashgrain.learn.losses.sdc import SdcLoss, calibration  # noqa: E402
from hashgrain.learn.losses.shdh import ShdhLoss, level_weights  # noqa: E402
from hashgrain.learn.recipe import Network, Phase, Schedule  # noqa: E402
from hashgrain.learn.recipes import RECIPES  # noqa: E402
from hashgrain.learn.training.centers import class_centers, gilbert_varshamov  # noqa: E402
from hashgrain.learn.training.loop import Training  # noqa: E402

pytestmark = pytest.mark.train

Numbers = NDArray[np.float64]
BITS, CLASSES = 6, 5
CENTERS = np.random.default_rng(5).choice([-1.0, 1.0], (CLASSES, BITS))
COUNTS = np.array([50.0, 20.0, 5.0, 1.0, 0.0])

HOTS: dict[str, list[list[int]]] = {  # rows of class numbers; [] has no label
    "one label each, odd": [[0], [1], [2], [3], [0], [1], [4]],
    "several labels, and none": [[0, 1], [1], [], [2, 3, 4], [0, 4]],
    "all the same": [[2], [2], [2], [2]],
    "all different": [[0], [1], [2], [3], [4]],
    "one row": [[1, 3]],
    "none has a label": [[], [], []],
}


def hot_of(labels: list[list[int]]) -> Tensor:
    return torch.tensor([[float(c in row) for c in range(CLASSES)] for row in labels], dtype=torch.double)


def outputs_like(n: int) -> Tensor:
    values = np.random.default_rng(n).normal(0, 1.2, (n, BITS))
    return torch.from_numpy(values + 0.1 * np.sign(values))  # away from zero, where bits flip


def bit(value: float) -> float:
    return 1.0 if value >= 0 else -1.0


def dot(a: Numbers, b: Numbers) -> float:
    return float(sum(x * y for x, y in zip(a, b, strict=True)))


def cosine(a: Numbers, b: Numbers) -> float:
    return dot(a, b) / math.sqrt(dot(a, a) * dot(b, b))


def mean(values: list[float]) -> float:
    return sum(values) / len(values) if values else 0.0


def couples(labels: list[list[int]]) -> list[tuple[int, int, bool]]:
    n = len(labels)
    return [(i, j, bool(set(labels[i]) & set(labels[j]))) for i in range(n) for j in range(n) if i != j]


def cross_entropy(scores: list[float], row: list[int]) -> float:
    total = sum(math.exp(score) for score in scores)
    return mean([-math.log(math.exp(scores[c]) / total) for c in row])


def hyp2(loss: Loss, u: Numbers, labels: list[list[int]]) -> float:
    assert isinstance(loss, Hyp2Loss)
    proxies, least = loss.proxies.detach().numpy(), loss.threshold
    near, far, apart = [], [], []
    for i, row in enumerate(labels):
        for c in range(CLASSES):
            if c in row:
                near.append(1 - cosine(u[i], proxies[c]))
            elif row:
                far.append(max(0.0, cosine(u[i], proxies[c]) - least))
    for i, j, alike in [*couples(labels), *((i, i, True) for i in range(len(labels)))]:
        if len(labels[i]) > 1 and len(labels[j]) > 1 and not alike:
            apart.append(max(0.0, cosine(u[i], u[j]) - least))
    return mean(near) + mean(far) + 0.5 * mean(apart)


def mihash(loss: Loss, u: Numbers, labels: list[list[int]]) -> float:
    """The histograms of one anchor after the other."""
    n, codes = len(labels), np.tanh(u / 2)

    def entropy(shares: Numbers) -> float:
        return -sum(p * math.log(p) for p in shares if p > 0)

    informations = []
    for i in range(n):
        found = {True: np.zeros(BITS + 1), False: np.zeros(BITS + 1)}
        for a, j, alike in couples(labels):
            if a == i:
                distance = (BITS - dot(codes[i], codes[j])) / 2
                low = math.floor(distance)
                found[alike][low] += 1 - (distance - low)
                if distance > low:
                    found[alike][low + 1] += distance - low
        given = sum(h.sum() / (n - 1) * entropy(h / h.sum()) for h in found.values() if h.sum()) if n > 1 else 0.0
        informations.append(entropy((found[True] + found[False]) / (n - 1)) - given if n > 1 else 0.0)
    return -mean(informations)


def dfh(loss: Loss, u: Numbers, labels: list[list[int]]) -> float:
    pairwise = [
        math.log(1 + math.exp(3 + (-1 if alike else 1) * dot(u[i], u[j]) / 2)) for i, j, alike in couples(labels)
    ]
    off = []
    for i, row in enumerate(labels):
        off += [(bit(0.1 * sum(CENTERS[c, k] for c in row) + u[i, k]) - u[i, k]) ** 2 for k in range(BITS)]
    return mean(pairwise) + 0.5 * mean(off)


def mds(_: Loss, u: Numbers, labels: list[list[int]]) -> float:
    logs, together = [], []
    for i, row in enumerate(labels):
        scores = [math.sqrt(BITS) * cosine(u[i], center) for center in CENTERS]
        total = sum(math.exp(score) for score in scores)
        for c, score in enumerate(scores):
            share = math.exp(score) / total
            if row:
                logs.append(-math.log(share if c in row else 1 - share))
    for i, j, alike in couples(labels):
        if alike:
            together.append(math.log(1 + math.exp((1 - cosine(u[i], u[j])) / 2)))
    return mean(logs) + mean(together) + 1e-4 * mean([(abs(value) - 1) ** 2 for value in u.flat])


def crh(loss: Loss, u: Numbers, labels: list[list[int]]) -> float:
    assert isinstance(loss, CrhLoss)
    centers, entropies = loss.centers.double().numpy(), []
    for i, row in enumerate(labels):
        if row:
            entropies.append(
                cross_entropy([8 * (cosine(u[i], c) - 0.2 * (n in row)) for n, c in enumerate(centers)], row)
            )
    return mean(entropies) + 0.1 * mean([(abs(math.tanh(value)) - 1) ** 2 for value in u.flat])


def logit_adjusted(_: Loss, u: Numbers, labels: list[list[int]]) -> float:
    shares, entropies = np.maximum(COUNTS, 1) / np.maximum(COUNTS, 1).sum(), []
    for i, row in enumerate(labels):
        if row:
            scores = [8 * cosine(u[i], center) + math.log(shares[c]) for c, center in enumerate(CENTERS)]
            entropies.append(cross_entropy(scores, row))
    return mean(entropies)


LEVELS = (2, 3)  # classes of each grain: columns 0 and 1, then 2 to 4
SEGMENTS = (2, BITS)  # widths of the grains


def shdh(_: Loss, u: Numbers, labels: list[list[int]]) -> float:
    codes, errors = np.tanh(u), []
    for i, j, _alike in couples(labels):
        shared = set(labels[i]) & set(labels[j])
        levels = [any(c < 2 for c in shared), any(c >= 2 for c in shared)]
        wanted = 2 * (2 / 3 * levels[0] + 1 / 3 * levels[1]) - 1
        found = 2 / 3 * dot(codes[i, :2], codes[j, :2]) / 2 + 1 / 3 * dot(codes[i, 2:], codes[j, 2:]) / 4
        errors.append((found - wanted) ** 2)
    return mean(errors) + 0.1 * mean([mean(codes[:, k].tolist()) ** 2 for k in range(BITS)])


def hpdh(loss: Loss, u: Numbers, labels: list[list[int]]) -> float:
    assert isinstance(loss, HpdhLoss)
    total = 0.0
    for level, classes in enumerate((range(2), range(2, 5))):
        centers, entropies = loss.centers(level).numpy(), []
        for i, row in enumerate(labels):
            own = [c - classes[0] for c in row if c in classes]
            if own:
                scores = [-(level + 1) / 4 * float(((u[i] - center) ** 2).sum()) for center in centers]
                entropies.append(cross_entropy(scores, own))
        total += mean(entropies)
    outside = mean([sum(max(abs(x) - 1.1, 0) for x in row) for row in u])
    off = mean([sum((abs(x) - 1) ** 2 for x in row) for row in u])
    return total + (10 * outside + 0.1 * off) / BITS


def adsh(loss: Loss, u: Numbers, labels: list[list[int]]) -> float:
    assert isinstance(loss, AdshLoss)
    own, everyone = loss.codes.double().numpy(), [set(np.flatnonzero(row)) for row in loss.labels.numpy()]
    errors, anchored = [], 0.0
    for i, row in enumerate(labels):
        for j, others in enumerate(everyone):
            wanted = BITS if set(row) & others else -BITS
            errors.append((dot(np.tanh(u[i]), own[j]) - wanted) ** 2)
        anchored += sum((own[SHOWN[i], k] - math.tanh(u[i, k])) ** 2 for k in range(BITS))
    return (sum(errors) + 200 * anchored) / (len(errors) * BITS**2)


SHOWN = [4, 2, 9, 7, 0, 5, 1]  # training pictures that the rows of a batch are
TRAINING = [[0], [1], [2], [3, 1], [0, 4], [], [2], [1], [0], [4]]


def made(kind: Callable[..., Loss], **settings: object) -> Callable[[], Loss]:
    def make() -> Loss:
        loss = kind(BITS, CLASSES, **settings).double().eval()
        if "centers" in dict(loss.named_buffers()) and kind is DfhLoss:
            loss.centers.copy_(torch.from_numpy(CENTERS))
        if isinstance(loss, LogitAdjustedLoss):
            loss.meet(torch.from_numpy(np.repeat(np.eye(CLASSES), COUNTS.astype(int), axis=0)))
        return loss

    return make


def made_adsh() -> Loss:
    loss = AdshLoss(BITS, CLASSES).eval()
    loss.meet(hot_of(TRAINING))
    return Shown(loss)


class Shown(AdshLoss):
    """As the trainer uses it: it says which pictures come before each batch."""

    def __init__(self, loss: AdshLoss) -> None:
        super().__init__(BITS, CLASSES)
        self.meet(loss.labels)
        self.eval()

    def forward(self, outputs: Tensor, truth: Tensor) -> Tensor:
        self.show(torch.tensor(SHOWN[: len(outputs)]))
        return super().forward(outputs, truth)


GIVEN = torch.from_numpy(CENTERS)
Oracle = Callable[[Loss, Numbers, list[list[int]]], float]
LOSSES: dict[str, tuple[Callable[[], Loss], Oracle]] = {
    "hyp2": (made(Hyp2Loss), hyp2),
    "mihash": (made(MiHashLoss, bins=0), mihash),
    "dfh": (made(DfhLoss), dfh),
    "mds": (made(MdsLoss, centers=GIVEN), mds),
    "crh": (made(CrhLoss), crh),
    "logit_adjusted": (made(LogitAdjustedLoss, centers=GIVEN), logit_adjusted),
    "shdh": (lambda: ShdhLoss(SEGMENTS, LEVELS).double(), shdh),
    "hpdh": (lambda: HpdhLoss(SEGMENTS, LEVELS).double().eval(), hpdh),
    "adsh": (made_adsh, adsh),
}
every_loss = pytest.mark.parametrize("name", LOSSES)
every_batch = pytest.mark.parametrize("labels", HOTS.values(), ids=HOTS.keys())


@every_loss
@every_batch
def test_the_loss_is_its_formula(name: str, labels: list[list[int]]) -> None:
    make, oracle = LOSSES[name]
    loss, outputs = make(), outputs_like(len(labels))
    assert loss(outputs, hot_of(labels)).item() == pytest.approx(oracle(loss, outputs.numpy(), labels), abs=1e-6)


@every_loss
@every_batch
def test_the_gradient_is_that_of_the_formula(name: str, labels: list[list[int]]) -> None:
    loss, hot = LOSSES[name][0](), hot_of(labels)
    assert torch.autograd.gradcheck(lambda u: loss(u, hot), outputs_like(len(labels)).requires_grad_())


@every_loss
@every_batch
def test_nothing_is_not_a_number_not_even_at_zero(name: str, labels: list[list[int]]) -> None:
    loss, hot = LOSSES[name][0]().float().train(), hot_of(labels).float()
    refuse_what_is_no_number(loss, hot, outputs_like(len(labels)).float())


@every_loss
def test_training_brings_alike_codes_together_and_others_apart(name: str) -> None:
    """Trap of MIHash: a toolbox adds the mutual information where it is to be taken away."""
    labels = hot_of([[0], [1], [2], [0], [1], [2]] * 4).float()
    if name == "adsh":
        loss: Loss = AdshLoss(16, CLASSES, anchoring=1.0)  # 200 is for thousands of pictures
    elif name in ("shdh", "hpdh"):
        loss = (ShdhLoss if name == "shdh" else HpdhLoss)((8, 16), LEVELS)
        labels = hot_of([[0, 2], [0, 3], [1, 4]] * 8).float()
    else:
        loss = {"hyp2": Hyp2Loss, "mihash": MiHashLoss, "dfh": DfhLoss, "mds": MdsLoss, "crh": CrhLoss}.get(
            name, LogitAdjustedLoss
        )(16, CLASSES)
    loss.meet(labels)
    outputs = (torch.randn(24, 16, generator=torch.Generator().manual_seed(2)) / 4).requires_grad_()
    optimizer = torch.optim.Adam([outputs, *loss.parameters()], 0.05)
    for step in range(120):
        loss.advance(step / 120)
        optimizer.zero_grad()
        loss.show(torch.arange(24))
        loss(outputs, labels).backward()
        optimizer.step()
    apart, counted = relaxed_hamming(signs(outputs)), pairs(outputs)
    alike = same(labels[:, 2:] if name in ("shdh", "hpdh") else labels)
    assert apart[~alike].mean() > 4 * apart[alike & counted].mean()


@every_loss
def test_the_second_label_of_a_picture_counts(name: str) -> None:
    """Trap: an arg-max of several labels keeps the first alone."""
    loss, outputs = LOSSES[name][0](), outputs_like(4)
    first, both = (hot_of([row, [1], [2], [3]]) for row in ([0], [0, 1, 2]))
    assert loss(outputs, first).item() != pytest.approx(loss(outputs, both).item(), abs=1e-9)


# -- one by one --------------------------------------------------------------------------------------------------------


def test_proxies_are_trained_and_pictures_of_one_label_have_no_pairs() -> None:
    loss = Hyp2Loss(BITS, CLASSES)
    assert [tuple(p.shape) for p in loss.parameters()] == [(CLASSES, BITS)]
    single, outputs = hot_of([[0], [1], [2]]), outputs_like(3)
    assert loss(outputs, single).item() == pytest.approx(Hyp2Loss(BITS, CLASSES, pairs=9.0)(outputs, single).item())


@pytest.mark.parametrize(("classes", "bits"), [(10, 16), (10, 64), (100, 32), (200, 64)])
def test_the_threshold_of_proxies_is_one_that_a_code_can_keep(classes: int, bits: int) -> None:
    """Trap: with a threshold below it, no placement of the proxies is without loss."""
    centers = class_centers(classes, bits, 0)
    loss = Hyp2Loss(bits, classes)
    with torch.no_grad():
        loss.proxies.copy_(centers.tensor())
    assert loss(centers.tensor(), torch.eye(classes)).item() == pytest.approx(0, abs=1e-5)
    assert centers.minimum_distance >= gilbert_varshamov(classes, bits)  # what MDS asks of centers


def test_no_distance_falls_out_of_the_histogram() -> None:
    """Trap: bins that end before the greatest distance lose the pairs that are farthest apart."""
    outputs = torch.tensor([[30.0] * 8, [-30.0] * 8, [30.0] * 8])
    labels = torch.tensor([[1.0, 0], [0, 1], [1, 0]])
    for bins in (0, 1, 4, 8, 16):  # of each picture, distance tells likeness wholly: 1 bit for two of the three
        assert MiHashLoss(8, 2, bins=bins)(outputs, labels).item() == pytest.approx(-2 / 3 * math.log(2), abs=1e-5)


def test_fisher_centers_are_the_best_words_one_after_the_other() -> None:
    """By trying both values of each bit; a class that the batch lacks keeps its center (trap: it is pushed about)."""
    labels = [[0], [1], [0, 1], [3], [0], []]
    codes = np.random.default_rng(3).choice([-1.0, 1.0], (6, BITS))

    def cost(centers: Numbers, k: int) -> float:
        left = [(codes[i, k] - sum(centers[c, k] for c in row)) ** 2 for i, row in enumerate(labels)]
        others = sum(centers[a, k] * centers[b, k] for a in range(CLASSES) for b in range(a))
        return sum(left) + 2 * 0.7 * others  # each pair of classes both ways

    expected = CENTERS.copy()
    for c in (0, 1, 3):
        for k in range(BITS):
            costs = {}
            for value in (1.0, -1.0):
                expected[c, k] = value
                costs[value] = cost(expected, k)
            expected[c, k] = min(costs, key=lambda value: (round(costs[value], 9), -value))
    found = moved_centers(torch.from_numpy(CENTERS), torch.from_numpy(codes), hot_of(labels), 0.7)
    np.testing.assert_array_equal(found.numpy(), expected)


def test_calibrated_similarities_are_quantiles_of_the_beta_distribution() -> None:
    draws = np.sort(np.random.default_rng(0).beta(5, 5, 200_001))
    expected = np.maximum(2 * draws[((np.arange(64) + 0.5) / 64 * 200_001).astype(int)] - 1, 0)
    np.testing.assert_allclose(calibration(64, 5.0), expected, atol=0.01)
    np.testing.assert_allclose(calibration(10, 1.0), np.maximum(2 * (np.arange(10) + 0.5) / 10 - 1, 0), atol=1e-6)


def test_sdc_gives_the_similarities_in_the_order_of_the_features() -> None:
    dice = torch.Generator().manual_seed(4)
    outputs, features = torch.randn(9, BITS, generator=dice), torch.rand(9, 12, generator=dice)
    cosines = torch.nn.functional.cosine_similarity
    order = cosines(features[:4], features[4:8]).numpy().argsort()
    found = cosines(outputs[:4], outputs[4:8]).numpy()[order]
    bits = mean([1 - cosine(row, np.where(row >= 0, 1.0, -1.0)) for row in outputs.numpy().astype(float)])
    expected = mean(np.abs(found - calibration(4, 5.0)).tolist()) + bits
    assert SdcLoss(BITS, 0)(outputs, features).item() == pytest.approx(expected, abs=1e-5)


def test_calibration_leaves_no_similarity_of_features_that_are_all_alike() -> None:
    """Trap: copied as they are, cosines of features that are all above 0.9 leave codes no room."""
    dice = torch.Generator().manual_seed(1)
    features = 5 + torch.rand(64, 8, generator=dice)
    outputs = torch.randn(64, 32, generator=dice).requires_grad_()
    optimizer, loss = torch.optim.Adam([outputs], 0.05), SdcLoss(32, 0, quantization=0.1)
    for _ in range(200):
        optimizer.zero_grad()
        loss(outputs, features).backward()
        optimizer.step()
    found = torch.nn.functional.cosine_similarity(outputs[:32], outputs[32:])
    assert found.min() < 0.05
    assert found.max() > 0.4


def test_classes_take_the_words_that_their_pictures_are_nearest_to() -> None:
    """Part by part, in a random order, never one that is taken (trap: like classes would fall together)."""
    loss, dice = CrhLoss(8, 4, heads=2), np.random.default_rng(6)
    rows = [[0], [1], [0, 2], [3], [2], [1, 3], [0]]
    hot = torch.tensor([[float(c in row) for c in range(4)] for row in rows])
    outputs = dice.normal(size=(len(rows), 8))
    loss(torch.from_numpy(outputs).float(), hot)
    bits, words, order = np.where(outputs >= 0, 1, -1), loss.codebook.numpy(), np.random.default_rng((0, 0))
    expected = []
    for head in range(2):
        own = bits[:, 4 * head : 4 * head + 4]
        taken: dict[int, int] = {}
        for c in order.permutation([0, 1, 2, 3]):
            costs = {
                w: sum(((own[i] - words[head, w]) ** 2).sum() / len(row) for i, row in enumerate(rows) if c in row)
                for w in range(len(words[head]))
                if w not in taken.values()
            }
            taken[int(c)] = min(costs, key=lambda w: (round(costs[w], 6), w))
        expected.append([taken[c] for c in range(4)])
    loss.advance(1.0)
    assert loss.chosen.tolist() == expected
    centers = [np.concatenate([words[head, expected[head][c]] for head in range(2)]) for c in range(4)]
    np.testing.assert_array_equal(loss.centers.numpy(), centers)


def test_a_class_that_was_not_seen_keeps_its_word_and_stages_are_done_once() -> None:
    loss = CrhLoss(8, 4, stages=10)
    before = loss.chosen.clone()
    loss(torch.randn(3, 8, generator=torch.Generator().manual_seed(0)), torch.eye(4)[:3])
    loss.advance(0.05)
    assert torch.equal(loss.chosen, before)
    assert loss.sums.any()
    loss.advance(0.1)
    assert torch.equal(loss.chosen[:, 3], before[:, 3])
    assert not loss.sums.any()
    resumed = CrhLoss(8, 4, stages=10)
    resumed.load_state_dict(loss.state_dict())
    resumed.advance(0.1)
    assert torch.equal(resumed.chosen, loss.chosen)


def test_parts_of_the_code_have_words_for_all_classes() -> None:
    assert [head_width(bits, 10, 0) for bits in (16, 24, 64)] == [8, 6, 8]
    assert head_width(4, 10, 0) == 4
    assert head_width(64, 10, 16) == 4
    for bits, classes, heads in ((3, 10, 0), (64, 10, 32), (64, 10, 7)):
        with pytest.raises(TrainingError, match="cannot be told apart by each part"):
            head_width(bits, classes, heads)


def test_balanced_classes_are_not_adjusted() -> None:
    loss, outputs, labels = LogitAdjustedLoss(BITS, CLASSES), outputs_like(5), torch.eye(CLASSES)
    plain = loss(outputs, labels)
    loss.meet(torch.eye(CLASSES).repeat(7, 1))
    assert loss(outputs, labels).item() == pytest.approx(plain.item())
    loss.meet(torch.eye(CLASSES)[[0, 0, 0, 0, 0, 0, 1, 2, 3, 4]])
    rare, frequent = (loss(outputs, labels[[c] * 5]).item() for c in (1, 0))
    base = LogitAdjustedLoss(BITS, CLASSES)
    assert rare > base(outputs, labels[[1] * 5]).item()  # trap: with the sign wrong it is the frequent one that gains
    assert frequent < base(outputs, labels[[0] * 5]).item()


def test_coarse_levels_weigh_more_and_together_1() -> None:
    assert level_weights(3) == pytest.approx([1 / 2, 1 / 3, 1 / 6])
    for levels in (1, 2, 5):
        assert sum(level_weights(levels)) == pytest.approx(1)
    perfect = torch.tensor([[1.0, 1, 1, 1], [1, 1, -1, -1], [-1, -1, 1, 1]]) * 20
    truth = torch.tensor([[1.0, 0, 1, 0, 0], [1, 0, 0, 1, 0], [0, 1, 0, 0, 1]])
    found = ShdhLoss((2, 4), (2, 3), balance=0.0)(perfect[:2], truth[:2])
    assert found.item() == pytest.approx((2 / 3 - 1 / 3 - (2 * 2 / 3 - 1)) ** 2, abs=1e-6)  # which is 0


def test_the_codes_of_the_database_are_found_bit_by_bit() -> None:
    """By trying both values of each bit of each picture (trap: scored by the network's codes, half is left out)."""
    loss = AdshLoss(BITS, CLASSES, anchoring=3.0)
    loss.meet(hot_of(TRAINING).float())
    outputs = outputs_like(7).float()
    loss.show(torch.tensor(SHOWN))
    loss(outputs, hot_of([TRAINING[i] for i in SHOWN]).float())
    codes, h = loss.codes.double().numpy().copy(), np.tanh(outputs.double().numpy())

    def cost(j: int, own: Numbers) -> float:
        total = 0.0
        for row, i in enumerate(SHOWN):
            wanted = BITS if set(TRAINING[i]) & set(TRAINING[j]) else -BITS
            total += (dot(h[row], own) - wanted) ** 2 + (3.0 * dot(own - h[row], own - h[row]) if i == j else 0.0)
        return total

    for j in range(len(TRAINING)):
        for k in range(BITS):
            costs = {}
            for value in (1.0, -1.0):
                codes[j, k] = value
                costs[value] = cost(j, codes[j])
            codes[j, k] = min(costs, key=lambda value: costs[value])
    loss.solve()
    np.testing.assert_array_equal(loss.codes.numpy(), codes)
    assert not loss.seen.any()


def test_centers_of_a_hierarchy_are_means_of_those_below() -> None:
    loss, outputs = HpdhLoss((2, BITS), (2, 4)), outputs_like(5).float()
    labels = torch.tensor([[1, 0, 1, 0, 0, 0], [1, 0, 1, 0, 0, 0], [1, 0, 0, 1, 0, 0], [0, 1, 0, 0, 1, 0]]).float()
    both = torch.tensor([[1, 1, 0, 1, 1, 0]]).float()  # says nothing of which is below which
    unseen = loss.centers(1)[3].clone()
    loss(outputs, torch.cat([labels, both]))
    loss.advance(1 / 30)
    fine = [outputs[:2].mean(0), (outputs[2] + outputs[4]) / 2, (outputs[3] + outputs[4]) / 2, unseen]
    assert torch.allclose(loss.centers(1), torch.stack(fine))
    assert torch.allclose(loss.centers(0), torch.stack([(fine[0] + fine[1]) / 2, fine[2]]))
    before = loss.centers(1).clone()
    loss.advance(2 / 30)  # due, and nothing was seen since
    assert torch.equal(loss.centers(1), before)
    loss(outputs.flip(0), torch.cat([labels, both]))
    loss.advance(2 / 30 + 0.001)  # not due again
    assert torch.equal(loss.centers(1), before)


def test_a_picture_far_from_all_centers_is_still_pulled_to_its_own() -> None:
    """Trap: in the authors' code exponentials of distances come first. Far away all are 0, and so is the gradient."""
    loss = HpdhLoss((2, BITS), (2, 3), cube=0.0, vertex=0.0)
    far = (60 * loss.centers(1)[1:2]).requires_grad_()
    loss(far, torch.tensor([[1.0, 0, 1, 0, 0]])).backward()
    assert far.grad is not None
    assert far.grad.norm() > 0.5


def test_adsh_asked_outside_of_training_knows_of_no_other_pictures() -> None:
    loss = AdshLoss(BITS, CLASSES)
    assert torch.isfinite(loss(outputs_like(3), hot_of([[0], [1], [0]])))


@pytest.mark.parametrize("name", ["adsh", "crh", "dfh", "hpdh", "shc", "logit-adjusted"])
def test_a_run_cut_short_goes_on_to_the_same_head(name: str, tmp_path: Path) -> None:
    """What a loss remembers of earlier batches stands in the checkpoint."""
    from hashgrain.learn.training.heads import head_training, settled_head

    torch.set_num_threads(1)
    dice = np.random.default_rng(0)
    ids = dice.integers(0, 4, 64).astype(np.int32)[:, None]
    features = (np.eye(4, 10)[ids[:, 0]] + dice.normal(0, 0.5, (64, 10))).astype(np.float32)
    contents = np.array([f"{i:064x}" for i in range(64)])
    data = Labelled(features, {"thing": GrainLabels(("a", "b", "c", "d"), ids)}, contents)
    recipe = dataclasses.replace(
        RECIPES[name],
        grains=Grains(thing=16),
        labelled=("thing",),
        network=Network("features", trained="head", normalize=RECIPES[name].network.normalize),
        schedule=Schedule((Phase(10, 1),), batch=16, learning_rate=0.01),
    )

    def work(run: str) -> Training:
        return head_training(recipe, features[None], data, data.take(np.arange(0)), tmp_path / run)

    whole, cut = work("whole"), work("cut")
    list(whole.steps(1e9))
    for at in cut.steps(0.0):  # a checkpoint after every step
        if at.step >= 21:
            break
    resumed = work("cut")
    assert 20 <= resumed.step < len(resumed.sizes)
    list(resumed.steps(1e9))
    for one, other in zip(
        settled_head(whole).state_dict().values(), settled_head(resumed).state_dict().values(), strict=True
    ):
        assert torch.equal(one, other)
    states = (each.plain.objective.state_dict() for each in (whole, resumed))
    assert all(torch.equal(one, other) for one, other in zip(*(state.values() for state in states), strict=True))
