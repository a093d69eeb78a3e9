"""Nested grains: no prefix outweighs by its length, long teaches short, and the shorter prefix wins a quarrel."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

torch = pytest.importorskip("torch", reason="needs the train extra")

from torch import Tensor, nn  # noqa: E402

from hashgrain.codes import Grains  # noqa: E402
from hashgrain.errors import TrainingError  # noqa: E402
from hashgrain.learn.losses.bi_half import BiHalfLoss  # noqa: E402
from hashgrain.learn.losses.loss import Loss  # noqa: E402
from hashgrain.learn.losses.supervised_contrast import SupervisedContrastLoss  # noqa: E402
from hashgrain.learn.training.nesting import long_to_short, nested_gradient, nested_loss, prefix_losses  # noqa: E402

pytestmark = pytest.mark.train

WIDTHS = {"kind": 4, "thing": 8, "look": 16}


class Aim(Loss):
    """strength * sum (output - aim)^2: the longer the prefix, the harder it pulls."""

    def __init__(self, bits: int, classes: int = 0, *, aim: float = 1.0, strength: float = 1.0) -> None:
        super().__init__(bits, classes)
        self.aim, self.strength = aim, strength

    def forward(self, outputs: Tensor, truth: Tensor) -> Tensor:
        return self.strength * (outputs - self.aim).square().sum()


class Classified(Loss):
    """A loss with weights of its own."""

    def __init__(self, bits: int, classes: int) -> None:
        super().__init__(bits, classes)
        self.classifier = nn.Linear(bits, classes)

    def forward(self, outputs: Tensor, truth: Tensor) -> Tensor:
        return nn.functional.binary_cross_entropy_with_logits(self.classifier(outputs), truth)


def some(n: int, seed: int = 0) -> Tensor:
    return torch.from_numpy(np.random.default_rng(seed).normal(size=(n, 16))).requires_grad_()


def norm_of(value: Tensor, outputs: Tensor) -> float:
    (gradient,) = torch.autograd.grad(value, outputs, retain_graph=True)
    return float(gradient.norm())


def nowhere(n: int) -> dict[str, Tensor]:
    return dict.fromkeys(WIDTHS, torch.zeros(n, 1))


def test_each_grain_has_its_own_loss_labels_and_prefix_coarse_to_fine() -> None:
    outputs = some(6)
    truths = {
        "look": torch.from_numpy(np.random.default_rng(1).normal(size=(6, 5))),
        "thing": torch.eye(3).double().repeat(2, 1),
        "kind": torch.eye(2).double().repeat(3, 1),
    }
    losses: dict[str, Loss] = {
        "look": BiHalfLoss(16, 0),
        "thing": SupervisedContrastLoss(8, 3),
        "kind": SupervisedContrastLoss(4, 2),
    }
    values = prefix_losses(losses, outputs.detach(), truths, Grains(WIDTHS))
    assert list(values) == ["kind", "thing", "look"]
    for grain, value in values.items():  # without gradients, as they are
        alone = losses[grain](outputs.detach()[:, : WIDTHS[grain]], truths[grain])
        assert value.item() == pytest.approx(float(alone))


def test_a_prefix_does_not_outweigh_by_its_length() -> None:
    outputs = torch.zeros(5, 16, dtype=torch.double, requires_grad=True)
    plain = {grain: Aim(bits) for grain, bits in WIDTHS.items()}
    pulls = {grain: norm_of(plain[grain](outputs[:, :bits], outputs), outputs) for grain, bits in WIDTHS.items()}
    assert pulls["look"] == pytest.approx(2 * pulls["kind"])
    values = prefix_losses(plain, outputs, nowhere(5), WIDTHS)
    for value in values.values():
        assert norm_of(value, outputs) == pytest.approx(pulls["kind"])


def test_only_length_is_made_up_for() -> None:
    outputs = torch.zeros(5, 16, dtype=torch.double, requires_grad=True)
    harsh = {grain: Aim(bits, strength=100 if grain == "look" else 1) for grain, bits in WIDTHS.items()}
    values = prefix_losses(harsh, outputs, nowhere(5), WIDTHS)
    assert values["look"].item() == pytest.approx(100 * 16 * 5 * 4 / 16)  # by the ratio of lengths and no more
    mild = {grain: Aim(bits, strength=1 if grain == "kind" else 0.01) for grain, bits in WIDTHS.items()}
    for grain, value in prefix_losses(mild, outputs, nowhere(5), WIDTHS).items():  # never up
        assert value.item() == pytest.approx(mild[grain](outputs[:, : WIDTHS[grain]], outputs).item())


def test_a_coarse_loss_at_its_goal_silences_nobody() -> None:
    outputs = torch.cat([torch.ones(5, 4), torch.zeros(5, 12)], dim=1).double().requires_grad_()
    values = prefix_losses({grain: Aim(bits) for grain, bits in WIDTHS.items()}, outputs, nowhere(5), WIDTHS)
    assert values["kind"].item() == 0
    assert values["look"].item() == pytest.approx(5 * 12 * 4 / 16)
    for value in values.values():
        assert bool(torch.autograd.grad(value, outputs, retain_graph=True)[0].isfinite().all())


def test_grains_that_do_not_fit_are_refused() -> None:
    outputs, truth = some(4), torch.zeros(4, 1)
    cases: list[tuple[dict[str, Loss], dict[str, Tensor], str]] = [
        ({}, {}, "no grain has a loss"),
        ({"other": Aim(4)}, {"other": truth}, "no width"),
        ({"kind": Aim(4)}, {}, "nothing to learn from"),
        ({"kind": Aim(8)}, {"kind": truth}, "is for 8 bits and kind has 4"),
        ({"wide": Aim(32)}, {"wide": truth}, "network gives 16"),
    ]
    for losses, truths, said in cases:
        with pytest.raises(TrainingError, match=said):
            prefix_losses(losses, outputs, truths, {**WIDTHS, "wide": 32})


def test_the_longer_prefix_teaches_the_shorter_what_is_near_what() -> None:
    outputs = some(5)
    u = outputs.detach().numpy()
    steps = []
    for short, long in ((4, 8), (8, 16)):
        terms = []
        for i in range(5):
            for j in range(5):
                if i != j:
                    near = (short - sum(np.tanh(u[i, :short]) * np.tanh(u[j, :short]))) / 2 / short
                    true = sum((u[i, :long] >= 0) != (u[j, :long] >= 0)) / long
                    terms.append((near - true) ** 2)
        steps.append(np.mean(terms))
    assert long_to_short(outputs, WIDTHS).item() == pytest.approx(np.mean(steps))
    assert torch.autograd.gradcheck(lambda o: long_to_short(o, WIDTHS), outputs)
    (gradient,) = torch.autograd.grad(long_to_short(outputs, WIDTHS), outputs)
    assert bool((gradient[:, 8:] == 0).all())  # the longest learns nothing from it
    assert bool((gradient[:, :8] != 0).any())


def test_with_one_length_or_one_picture_there_is_nothing_to_teach() -> None:
    for outputs, widths in ((some(5), {"all": 16}), (some(1), WIDTHS)):
        value = long_to_short(outputs, widths)
        assert value.item() == 0
        assert bool((torch.autograd.grad(value, outputs)[0] == 0).all())


Pulls = Sequence[NDArray[np.float64]]


def one_after_another(pulls: Pulls) -> NDArray[np.float64]:
    """The oracle: plain projections, finest-first within each, so that the coarsest has the last word."""
    kept: list[NDArray[np.float64]] = []
    for pull in pulls:
        left = pull.copy()
        for i in range(len(kept) - 1, -1, -1):
            inner = sum(float(left[place]) * float(kept[i][place]) for place in np.ndindex(left.shape))
            if inner < 0:
                length = sum(float(v) ** 2 for v in kept[i].flatten())
                left = left - inner / length * kept[i]
        kept.append(left)
    return np.sum(kept, axis=0)


def linear_losses(outputs: Tensor, seed: int) -> tuple[list[Tensor], list[NDArray[np.float64]]]:
    """Losses whose gradients are known: the inner product with a fixed table, on each prefix."""
    dice = np.random.default_rng(seed)
    pulls = []
    for width in WIDTHS.values():
        pull = np.zeros(outputs.shape)
        pull[:, :width] = dice.normal(size=(len(outputs), width))
        pulls.append(pull)
    return [(outputs * torch.from_numpy(pull)).sum() for pull in pulls], pulls


def test_what_would_undo_a_shorter_prefix_is_taken_away() -> None:
    outputs, quarrels = some(2), 0
    for seed in range(30):
        losses, pulls = linear_losses(outputs, seed)
        quarrels += bool((pulls[0] * pulls[1]).sum() < 0)
        result = nested_gradient(losses, outputs).numpy()
        np.testing.assert_allclose(result, one_after_another(pulls), atol=1e-12)
        # The coarsest loss falls along the result at least as fast as if it were alone.
        assert (result * pulls[0]).sum() >= (pulls[0] ** 2).sum() - 1e-9
        # Bits that only the longest has are its own.
        np.testing.assert_array_equal(result[:, 8:], pulls[2][:, 8:])
    assert 5 < quarrels < 25  # both cases were seen


def test_prefixes_that_agree_are_left_alone() -> None:
    outputs = some(3)
    losses = [(outputs[:, :width] ** 2).sum() for width in WIDTHS.values()]
    (total,) = torch.autograd.grad(torch.stack(losses).sum(), outputs, retain_graph=True)
    torch.testing.assert_close(nested_gradient(losses, outputs), total)


def test_a_longer_prefix_that_wants_the_opposite_gets_only_its_own_bits() -> None:
    outputs = torch.zeros(2, 16, dtype=torch.double, requires_grad=True)
    towards, away = (outputs[:, :4] - 1).square().sum(), (outputs + 1).square().sum()
    gradient = nested_gradient([towards, away], outputs)
    assert gradient[:, :4].tolist() == [[-2] * 4] * 2
    assert gradient[:, 4:].tolist() == [[2] * 12] * 2


def test_losses_without_a_gradient_change_nothing() -> None:
    outputs = some(3)
    loss = outputs[:, :8].square().sum()
    (alone,) = torch.autograd.grad(loss, outputs, retain_graph=True)
    constant, elsewhere = torch.tensor(3.0), torch.ones(1, requires_grad=True).sum()
    flat = (outputs[:, :4] * 0).sum()
    torch.testing.assert_close(nested_gradient([constant, flat, elsewhere, loss], outputs), alone)
    assert bool((nested_gradient([], outputs) == 0).all())


def test_one_backward_hands_the_nested_gradient_to_the_network_and_their_own_to_the_losses() -> None:
    torch.manual_seed(0)
    network, pictures = nn.Linear(6, 16), torch.randn(5, 6)
    losses: dict[str, Loss] = {"kind": Classified(4, 2), "look": Aim(16, aim=-1), "thing": Aim(8)}
    truths = {"kind": torch.eye(2).repeat(3, 1)[:5], "thing": torch.zeros(5, 1), "look": torch.zeros(5, 1)}
    outputs = network(pictures)
    values = prefix_losses(losses, outputs, truths, WIDTHS)
    expected = nested_gradient(list(values.values()), outputs)
    weights = [*network.parameters()]
    for_network = torch.autograd.grad(outputs, weights, expected, retain_graph=True)
    own = [*losses["kind"].parameters()]
    for_loss = torch.autograd.grad(values["kind"], own, retain_graph=True)
    (plain,) = torch.autograd.grad(torch.stack([*values.values()]).sum(), outputs, retain_graph=True)
    assert not torch.allclose(expected, plain)  # or there was no quarrel to test

    total = nested_loss(losses, network(pictures), truths, WIDTHS)
    assert float(total.detach()) == pytest.approx(sum(float(value.detach()) for value in values.values()))
    total.backward()
    for weight, gradient in zip([*weights, *own], [*for_network, *for_loss], strict=True):
        torch.testing.assert_close(weight.grad, gradient)
    with torch.no_grad():
        assert bool(nested_loss(losses, network(pictures), truths, WIDTHS).isfinite())
