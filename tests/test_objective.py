"""What a batch is worth is what the recipe says: each term by itself, its weight, and who has no say in it."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, get_args

import numpy as np
import pytest

if TYPE_CHECKING:
    from torch import Tensor

torch = pytest.importorskip("torch", reason="needs the train extra")
pytest.importorskip("accelerate", reason="needs the train extra")

from hashgrain import Grains  # noqa: E402
from hashgrain.errors import HashgrainError  # noqa: E402
from hashgrain.learn.data.grain_labels import GrainLabels  # noqa: E402
from hashgrain.learn.recipe import Aim, Phase, Quantization, Recipe, Schedule  # noqa: E402
from hashgrain.learn.training.objective import Objective  # noqa: E402

pytestmark = pytest.mark.train

NAMES = ("animal/cat", "animal/dog", "car/bus", "car/van")
LEVELS = {
    "kind": GrainLabels(("animal", "car"), np.array([[0], [1]], np.int32)),
    "thing": GrainLabels(NAMES, np.array([[0], [2]], np.int32)),
}
WIDTH = 6
HOT = torch.tensor([[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [1, 0, 0, 1], [0, 0, 0, 0]]).double()
TRUTHS = {"kind": torch.stack([HOT[:, :2].amax(dim=1), HOT[:, 2:].amax(dim=1)], dim=1), "thing": HOT}


def objective(**aim: object) -> Objective:
    recipe = Recipe(
        "tried",
        "for tests",
        grains=Grains(kind=8, thing=16, look=24),
        labelled=("kind", "thing"),
        aim=dataclasses.replace(Aim("csq"), **aim),  # type: ignore[arg-type]
        schedule=Schedule((Phase(1, 32),)),
        views=2 if aim.get("instance_weight") else 1,
    )
    torch.manual_seed(0)
    return Objective(recipe, LEVELS, WIDTH).double()


@pytest.fixture
def batch() -> tuple[Tensor, Tensor]:
    dice = torch.Generator().manual_seed(1)
    return (torch.randn(5, 24, dtype=torch.double, generator=dice), torch.rand(5, WIDTH, dtype=torch.double))


def log_shares(scores: np.ndarray) -> np.ndarray:
    return scores - np.log(np.exp(scores).sum(axis=1, keepdims=True))


def cross_entropy(made: Objective, features: Tensor, targets: np.ndarray) -> float:
    """Of the four pictures that have a label; the last one has none."""
    assert made.classifier is not None
    with torch.no_grad():
        scores = made.classifier(features).numpy()[:4]
    return float(np.mean([-(target * row).sum() for target, row in zip(targets, log_shares(scores), strict=True)]))


def test_the_total_is_the_weighted_sum_of_the_parts(batch: tuple[Tensor, Tensor]) -> None:
    weights = {
        "classifier": ("classifier_weight", 0.7),
        "quantization": ("quantization_weight", 0.3),
        "balance": ("balance_weight", 1.1),
        "decorrelation": ("decorrelation_weight", 0.2),
        "cascade": ("cascade_weight", 0.9),
        "teacher": ("teacher_weight", 0.4),
    }
    made = objective(coarse_weight=0.5, **dict(weights.values()))
    total, parts = made(*batch, TRUTHS, torch.randn(5, 24, dtype=torch.double))
    assert set(parts) == {"kind", "thing", *weights}
    expected = 0.5 * parts["kind"] + parts["thing"] + sum(w * parts[name] for name, (_, w) in weights.items())
    assert total.item() == pytest.approx(expected.item())


def test_every_term_left_out_costs_nothing(batch: tuple[Tensor, Tensor]) -> None:
    total, parts = objective()(*batch, TRUTHS)
    assert set(parts) == {"kind", "thing"}
    assert total.item() == pytest.approx(sum(part.item() for part in parts.values()))


def test_a_picture_without_a_label_has_no_say(batch: tuple[Tensor, Tensor]) -> None:
    outputs, features = batch
    made = objective(classifier_weight=1.0)
    total = made(outputs, features, TRUTHS)[0]
    others = made(outputs[:4], features[:4], {grain: hot[:4] for grain, hot in TRUTHS.items()})[0]
    assert total.item() == pytest.approx(others.item())
    nothing = made(outputs, features, {grain: torch.zeros_like(hot) for grain, hot in TRUTHS.items()})[0]
    assert nothing.item() == 0


BY_HAND = {
    "squared": lambda size: ((size - 1) ** 2).mean(),
    "absolute": lambda size: np.abs(size - 1).mean(),
    "log_cosh": lambda size: np.log(np.cosh(size - 1)).mean(),
    "cubic": lambda size: (np.abs(size - 1) ** 3).mean(),
    "cosine": lambda size: (1 - size.sum(axis=1) / np.sqrt((size**2).sum(axis=1) * size.shape[1])).mean(),
    "scaled": lambda size: ((size - size.mean(axis=0)) ** 2).mean(),
}


@pytest.mark.parametrize("form", get_args(Quantization))
def test_quantization_is_measured_as_the_recipe_says(form: str, batch: tuple[Tensor, Tensor]) -> None:
    parts = objective(quantization_form=form, quantization_weight=2.0)(*batch, TRUTHS)[1]
    assert parts["quantization"].item() == pytest.approx(BY_HAND[form](np.abs(batch[0].numpy())))


def test_several_labels_share_the_classifiers_target(batch: tuple[Tensor, Tensor]) -> None:
    made = objective(classifier_weight=1.0)
    targets = np.array([[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0.5, 0, 0, 0.5]])
    assert float(made(*batch, TRUTHS)[1]["classifier"]) == pytest.approx(cross_entropy(made, batch[1], targets))


def test_smoothing_gives_every_class_a_part_of_the_classifiers_target(
    batch: tuple[Tensor, Tensor],
) -> None:
    made = objective(classifier_weight=1.0, classifier_smoothing=0.2)
    targets = 0.8 * np.array([[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0.5, 0, 0, 0.5]]) + 0.2 / 4
    assert float(made(*batch, TRUTHS)[1]["classifier"]) == pytest.approx(cross_entropy(made, batch[1], targets))


@pytest.mark.parametrize("temperature", [0.2, 0.7])
def test_pictures_are_told_apart_by_the_bits_that_no_label_teaches(
    temperature: float, batch: tuple[Tensor, Tensor]
) -> None:
    outputs, features = (part[:4] for part in batch)  # two views of each of two pictures: rows 0 and 2, 1 and 3
    truths = {grain: hot[[0, 1, 0, 1]] for grain, hot in TRUTHS.items()}
    total, parts = objective(instance_weight=0.3, instance_temperature=temperature)(outputs, features, truths)
    own = outputs[:, 16:].numpy()
    own = own / np.sqrt((own**2).sum(axis=1, keepdims=True))
    likeness = np.exp(own @ own.T / temperature)
    expected = [-np.log(likeness[i, (i + 2) % 4] / (likeness[i].sum() - likeness[i, i])) for i in range(4)]
    assert parts["telling apart"].item() == pytest.approx(np.mean(expected))
    assert total.item() == pytest.approx(sum(parts[grain].item() for grain in LEVELS) + 0.3 * np.mean(expected))


def test_soft_targets_give_sisters_in_the_hierarchy_a_share(batch: tuple[Tensor, Tensor]) -> None:
    made = objective(classifier_weight=1.0, soft_targets=0.5)
    rows = np.exp(np.array([[1, 0.5, 0, 0], [0.5, 1, 0, 0], [0, 0, 1, 0.5], [0, 0, 0.5, 1]]) / 0.5)
    rows /= rows.sum(axis=1, keepdims=True)
    targets = np.stack([rows[0], rows[1], rows[2], (rows[0] + rows[3]) / 2])
    assert float(made(*batch, TRUTHS)[1]["classifier"]) == pytest.approx(cross_entropy(made, batch[1], targets))


def test_soft_targets_and_centers_go_by_a_file_where_one_is_given(batch: tuple[Tensor, Tensor], tmp_path: Path) -> None:
    """Here the cat is like the van, whatever the hierarchy says."""
    likeness = np.eye(4)
    likeness[0, 3] = likeness[3, 0] = 0.9
    np.save(tmp_path / "like.npy", likeness)
    made = objective(classifier_weight=1.0, soft_targets=0.2, similarity=str(tmp_path / "like.npy"))
    rows = np.exp(likeness / 0.2)
    rows /= rows.sum(axis=1, keepdims=True)
    targets = np.stack([rows[0], rows[1], rows[2], (rows[0] + rows[3]) / 2])
    assert float(made(*batch, TRUTHS)[1]["classifier"]) == pytest.approx(cross_entropy(made, batch[1], targets))

    recipe = Recipe(
        "placed",
        "for tests",
        grains=Grains(thing=32),
        labelled=("thing",),
        aim=Aim("csq", semantic_centers=True, similarity=str(tmp_path / "like.npy")),
        schedule=Schedule((Phase(1, 32),)),
    )
    centers = Objective(recipe, {"thing": LEVELS["thing"]}, WIDTH).losses["thing"].centers
    products = (centers @ centers.T).fill_diagonal_(-torch.inf)
    assert divmod(int(products.argmax()), 4) in ((0, 3), (3, 0))


@pytest.mark.parametrize(
    ("aim", "said"),
    [
        ({"soft_targets": 0.5}, "classifier_weight=1"),
        ({"soft_targets": -1.0, "classifier_weight": 1.0}, "soft_targets is -1.0"),
        ({"quantization_form": "cubed"}, "cubic"),
        ({"similarity": "like.npy"}, "semantic_centers=yes"),
        ({"loss": "dpsh", "semantic_centers": True}, "dpsh has no centers"),
        ({"similarity": "nowhere.npy", "soft_targets": 1.0, "classifier_weight": 1.0}, "cannot read nowhere.npy"),
    ],
)
def test_what_does_not_go_together_is_said(aim: dict[str, object], said: str) -> None:
    with pytest.raises(HashgrainError, match=said):
        objective(**aim)


@pytest.mark.parametrize(
    ("likeness", "said"),
    [
        (np.eye(3), r"shape \(3, 3\); there are 4 classes, animal/cat to car/van"),
        (np.triu(np.ones((4, 4))), "the same both ways"),
        (np.full((4, 4), np.nan), "finite"),
        (np.array([["a"] * 4] * 4), "it takes one number"),
        (np.array([[None] * 4] * 4, object), "not an array we read"),
    ],
)
def test_a_file_of_likeness_that_cannot_be_one_is_refused(likeness: np.ndarray, said: str, tmp_path: Path) -> None:
    np.save(tmp_path / "like.npy", likeness, allow_pickle=True)
    with pytest.raises(HashgrainError, match=said):
        objective(classifier_weight=1.0, soft_targets=1.0, similarity=str(tmp_path / "like.npy"))


def test_a_hierarchical_loss_sees_all_labelled_grains_at_once(batch: tuple[Tensor, Tensor]) -> None:
    from hashgrain.learn.losses.shdh import ShdhLoss

    total, parts = objective(loss="shdh")(*batch, TRUTHS)
    both = torch.cat([TRUTHS["kind"], TRUTHS["thing"]], dim=1)[:4]  # the last picture has no label
    expected = ShdhLoss((8, 16), (2, 4))(batch[0][:4, :16], both)
    assert total.item() == pytest.approx(expected.item())
    assert set(parts) == {"grains"}


def test_losses_meet_the_training_labels_and_are_told_which_pictures_come() -> None:
    """The pictures without a label among them: rows stay those of the pictures that are seen."""
    made = objective(loss="adsh")
    loss = made.losses["thing"]
    assert loss.labels.tolist() == [[1, 0, 0, 0], [0, 0, 1, 0]]
    shown = torch.tensor([1, 0])
    told: list[list[int]] = []
    loss.show = lambda rows: told.append(rows.tolist())  # type: ignore[method-assign]
    made.show(shown)
    made(torch.randn(2, 24).double(), torch.rand(2, WIDTH).double(), {g: t[[4, 0]] for g, t in TRUTHS.items()})
    assert told == [[0]]
