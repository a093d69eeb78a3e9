"""Concepts: learned parts of a picture, each with its share of the bits, and the loss that is made for them."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs the train extra")
pytest.importorskip("accelerate", reason="needs the train extra")

from torch import Tensor  # noqa: E402

from hashgrain import Grains  # noqa: E402
from hashgrain.errors import TrainingError  # noqa: E402
from hashgrain.learn.backbones.zoo import build  # noqa: E402
from hashgrain.learn.data.augment import Augmentation  # noqa: E402
from hashgrain.learn.data.grain_labels import GrainLabels  # noqa: E402
from hashgrain.learn.data.labelled import load_labelled  # noqa: E402
from hashgrain.learn.data.splits import hold_out  # noqa: E402
from hashgrain.learn.losses.concept_hash import ConceptHashLoss  # noqa: E402
from hashgrain.learn.recipe import Network, Phase, Recipe, Schedule, change  # noqa: E402
from hashgrain.learn.recipes import RECIPES, RETRIEVAL  # noqa: E402
from hashgrain.learn.run import build_backbone, train_bundle, train_network  # noqa: E402
from hashgrain.learn.training.concepts import KEYS, ConceptHead, Concepts  # noqa: E402
from hashgrain.learn.training.feature_head import on_features  # noqa: E402
from hashgrain.learn.training.heads import build_network  # noqa: E402
from hashgrain.learn.training.network import HashNetwork  # noqa: E402
from hashgrain.learn.training.objective import Objective  # noqa: E402
from hashgrain.models import Bundle, Encoder  # noqa: E402
from labelled_folder import draw_folder  # noqa: E402

pytestmark = pytest.mark.train

COUNT, WIDTH, BITS, CLASSES = 3, 5, 6, 4
SMALL = dataclasses.replace(
    RECIPES["concept-hash"],
    grains=Grains(thing=32),
    size=32,
    network=Network(channels=(8, 16), blocks=(0, 0), width=24, concepts=4),
    schedule=Schedule((Phase(12, 32),), batch=24, learning_rate=5e-3),
    augmentation=Augmentation.none(),
    held_out=5,
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw_folder(tmp_path_factory.mktemp("labelled"))


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, dtype=torch.double, generator=torch.Generator().manual_seed(seed))


def softmax(scores: list[float]) -> list[float]:
    total = sum(math.exp(score) for score in scores)
    return [math.exp(score) / total for score in scores]


def cosine(one: np.ndarray, other: np.ndarray) -> float:
    return float(one @ other / np.sqrt((one @ one) * (other @ other)))


# -- the network -------------------------------------------------------------------------------------------------------


def test_a_concept_is_the_mean_of_the_places_by_how_much_it_looks_there() -> None:
    concepts, places = Concepts(WIDTH, COUNT).double(), random(2, 7, WIDTH)
    found = concepts(places).detach().numpy()
    for picture in range(2):
        keys = places[picture].numpy() @ concepts.keys.weight.detach().numpy().T
        keys = (keys - keys.mean(axis=1, keepdims=True)) / np.sqrt(keys.var(axis=1, keepdims=True) + 1e-5)
        for concept, question in enumerate(concepts.questions.detach().numpy()):
            looks = softmax([float(question @ key) / math.sqrt(KEYS) for key in keys])
            expected = sum(look * place for look, place in zip(looks, places[picture].numpy(), strict=True))
            assert found[picture, concept * WIDTH : (concept + 1) * WIDTH] == pytest.approx(expected)


def test_the_order_of_the_places_does_not_count() -> None:
    """So a network for one size of picture takes another."""
    concepts, places = Concepts(WIDTH, COUNT).double(), random(2, 7, WIDTH)
    assert torch.allclose(concepts(places), concepts(places[:, torch.randperm(7)]))


@pytest.mark.parametrize("normalize", [True, False])
def test_each_concept_gives_its_own_bits_and_no_others(normalize: bool) -> None:
    head = ConceptHead(WIDTH, COUNT, BITS, normalize=normalize).double().eval()
    features = random(4, COUNT * WIDTH)
    before = head(features)
    features[:, WIDTH : 2 * WIDTH] += 1
    changed = (head(features) != before).any(dim=0).tolist()
    assert changed == [False, False, True, True, False, False]


def test_concepts_of_one_feature_have_bits_of_their_own() -> None:
    """Trap: one layer for all concepts, behind which the normalization takes away what tells them apart."""
    outputs = ConceptHead(WIDTH, COUNT, BITS).double()(random(4, WIDTH).repeat(1, COUNT))
    assert not torch.allclose(outputs[:, :2], outputs[:, 2:4], atol=0.1)


@pytest.mark.parametrize(
    "name", ["compact", "timm:resnet18", "timm:tf_efficientnet_lite0", "timm:swin_tiny_patch4_window7_224"]
)
def test_the_mean_of_the_places_is_the_pooled_feature(name: str) -> None:
    size = 224 if "swin" in name else 64
    backbone, pixels = build(name, size=size).eval(), torch.rand(2, 3, size, size)
    with torch.no_grad():
        assert torch.allclose(backbone.places(pixels).mean(dim=1), backbone(pixels), atol=1e-5)


def test_the_places_of_a_transformer_are_its_patches() -> None:
    backbone = build("timm:vit_tiny_patch16_224", size=224).eval()
    with torch.no_grad():
        assert backbone.places(torch.rand(1, 3, 224, 224)).shape == (1, 196, 192)


@pytest.mark.parametrize("name", ["torchvision:alexnet", "features"])
def test_a_network_without_a_map_says_so(name: str) -> None:
    with pytest.raises(TrainingError, match="no feature map, and concepts need one; compact and networks of timm"):
        build(name, width=8, size=64).places(torch.rand(2, 3, 64, 64))


# -- the loss ----------------------------------------------------------------------------------------------------------


def made(**settings: float) -> ConceptHashLoss:
    loss = ConceptHashLoss(BITS, CLASSES, concept_shape=(COUNT, WIDTH), **settings).double()  # type: ignore[arg-type]
    with torch.no_grad():
        loss.centers += 0.3 * random(CLASSES, BITS)
    return loss


ROWS = [[0], [1, 3], [], [2], [0]]
HOT = torch.tensor([[float(c in row) for c in range(CLASSES)] for row in ROWS]).double()


def test_the_loss_is_its_formula() -> None:
    loss, outputs, features = made(concepts_weight=0.7), random(5, BITS), random(5, COUNT * WIDTH, seed=1)
    centers, own, of_classes = (part.detach().numpy() for part in (loss.centers, loss.own, loss.of_classes))

    def entropy(cosines: list[float], labels: list[int]) -> float:
        shares = softmax([8 * (value - 0.2 * (c in labels)) for c, value in enumerate(cosines)])
        return -sum(math.log(shares[label]) for label in labels) / len(labels)

    total, labelled = 0.0, [row for row in ROWS if row]
    for i, labels in enumerate(ROWS):
        if not labels:
            continue
        u, x = outputs[i].numpy(), features[i].numpy().reshape(COUNT, WIDTH)
        total += entropy([cosine(u, center) for center in centers], labels)
        total += entropy([cosine(u, np.where(center >= 0, 1.0, -1.0)) for center in centers], labels)
        total += (
            0.7 * sum(entropy([cosine(x[m] + own[m], w) for w in of_classes], labels) for m in range(COUNT)) / COUNT
        )
    loss.see(features)
    assert loss(outputs, HOT).item() == pytest.approx(total / len(labelled))


def test_the_gradient_is_that_of_the_formula_for_outputs_features_and_weights() -> None:
    loss, outputs, features = made(), random(5, BITS).requires_grad_(), random(5, COUNT * WIDTH).requires_grad_()

    def worth(u: Tensor, x: Tensor) -> Tensor:
        loss.see(x)
        return loss(u, HOT)  # type: ignore[no-any-return]

    assert torch.autograd.gradcheck(worth, (outputs, features))
    worth(outputs, features).backward()
    assert all(part.grad is not None and bool(part.grad.any()) for part in loss.parameters())


def test_every_concept_must_tell_the_class() -> None:
    """Trap: with one term for all concepts together, one concept can do the work of all."""
    telling = torch.eye(CLASSES, WIDTH).double()
    loss = made()
    with torch.no_grad():
        loss.of_classes.copy_(telling)
        loss.own.zero_()
    outputs, hot = random(CLASSES, BITS), torch.eye(CLASSES).double()

    def worth(count: int) -> float:
        loss.see(torch.cat([telling] * count + [torch.ones(CLASSES, WIDTH)] * (COUNT - count), dim=1))
        return float(loss(outputs, hot).detach())

    assert worth(0) > worth(1) > worth(2) > worth(3)
    assert worth(0) - worth(1) == pytest.approx(worth(2) - worth(3))


def test_pictures_without_a_label_are_left_out_with_their_features() -> None:
    names = ("a", "b", "c", "d")
    levels = {"thing": GrainLabels(names, np.array([[0], [1]], np.int32))}
    recipe = dataclasses.replace(SMALL, grains=Grains(thing=BITS), network=Network(concepts=COUNT))
    made = Objective(recipe, levels, COUNT * WIDTH).double()
    outputs, features, labelled = random(5, BITS), random(5, COUNT * WIDTH, seed=1), [0, 1, 3, 4]
    whole, _ = made(outputs, features, {"thing": HOT})
    some, _ = made(outputs[labelled], features[labelled], {"thing": HOT[labelled]})
    assert whole.item() == pytest.approx(some.item())


def test_the_loss_asks_for_the_features_of_its_batch() -> None:
    loss = made()
    loss.see(random(3, COUNT * WIDTH))
    with pytest.raises(TrainingError, match="shown the features of the concepts"):
        loss(random(5, BITS), HOT)


# -- from pictures to a bundle -----------------------------------------------------------------------------------------


def test_training_makes_a_bundle_whose_codes_tell_the_classes(folder: Path, tmp_path: Path) -> None:
    torch.set_num_threads(1)
    facts = train_bundle(SMALL, folder, tmp_path / "made", tmp_path / "run", lambda text: None)
    assert facts is not None
    assert facts["validation"]["thing mAP"] > 0.9
    assert "0 of " in facts["parity"]
    bundle = Bundle.read(tmp_path / "made")
    encoder = Encoder(bundle)
    pixels = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), dtype=np.uint8)
    assert encoder.outputs_and_features(pixels)[1].shape == (3, 4 * 24)
    card = (tmp_path / "made" / "card.md").read_text()
    assert "4 concepts on the feature map, and one linear layer for each" in card
    kept = json.loads((tmp_path / "made" / "model.json").read_text())["training"]["recipe"]
    assert kept["network"]["concepts"] == 4


def test_a_run_cut_short_goes_on_to_the_same_network(folder: Path, tmp_path: Path) -> None:
    torch.set_num_threads(1)
    data, held = hold_out(load_labelled(folder, 32, ("thing",)), 5)
    short = dataclasses.replace(SMALL, schedule=dataclasses.replace(SMALL.schedule, phases=(Phase(3, 32),)))

    def trained(run: Path, stop_at: str = "") -> HashNetwork:
        def log(text: str) -> None:
            if stop_at and text.startswith(stop_at):
                raise KeyboardInterrupt

        return train_network(short, build_backbone(short), data, held, run, log, checkpoint_seconds=0.0)

    whole = trained(tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        trained(tmp_path / "cut", stop_at="step 5/")
    for one, other in zip(whole.state_dict().values(), trained(tmp_path / "cut").state_dict().values(), strict=True):
        assert torch.equal(one, other)


def test_concepts_learn_at_the_full_rate_beside_a_backbone_that_learns_slowly(folder: Path, tmp_path: Path) -> None:
    torch.set_num_threads(1)
    data, held = hold_out(load_labelled(folder, 32, ("thing",)), 5)
    recipe = change(SMALL, ["trained=last", "backbone_rate=0.000001", "epochs=1"])
    before = build_network(recipe, build_backbone(recipe))
    made = train_network(recipe, build_backbone(recipe), data, held, tmp_path, lambda text: None)
    first = before.backbone.stages()[0][0]
    assert torch.equal(before.backbone.state_dict()[first], made.backbone.state_dict()[first])
    last = before.backbone.stages()[-1][0]
    moved = before.backbone.state_dict()[last] - made.backbone.state_dict()[last]
    assert 0 < moved.abs().max() < 1e-5
    assert before.concepts is not None
    assert made.concepts is not None
    assert (before.concepts.questions - made.concepts.questions).abs().max() > 1e-3


def test_two_grains_have_a_loss_each(folder: Path, tmp_path: Path) -> None:
    torch.set_num_threads(1)
    recipe = dataclasses.replace(SMALL, grains=Grains(kind=8, thing=32), labelled=("kind", "thing"))
    data, held = hold_out(load_labelled(folder, 32, recipe.labelled), 5)
    for nesting in ("sum", "even", "dominant"):
        each = change(recipe, [f"nesting={nesting}", "epochs=1"])
        train_network(each, build_backbone(each), data, held, tmp_path / nesting, lambda text: None)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (["trained=head"], "trained with them.*trained=all"),
        (["hidden=32"], "a head of their own"),
        (["dropout=0.1"], "a head of their own"),
        (["concepts=5"], "32 bits cannot be shared equally by 5 concepts"),
        (["concepts=-1"], "concepts is -1, and must be 0 or more"),
    ],
)
def test_what_does_not_go_with_concepts_is_refused(settings: list[str], said: str) -> None:
    with pytest.raises(TrainingError, match=said):
        change(SMALL, settings)


@pytest.mark.parametrize("more", [{"tuning": RETRIEVAL}, {"pruned": 0.3}])
def test_no_step_after_the_network_goes_with_concepts(more: dict[str, Any]) -> None:
    with pytest.raises(TrainingError, match="a head of their own"):
        dataclasses.replace(SMALL, **more)


def refused(recipe: Recipe, folder: Path, place: Path) -> str:
    with pytest.raises(TrainingError) as error:
        train_bundle(recipe, folder, place / "made", place / "run", lambda text: None)
    return str(error.value)


def test_a_plan_that_cannot_be_is_refused_before_the_pictures_are_read(folder: Path, tmp_path: Path) -> None:
    assert "concepts=4" in refused(change(SMALL, ["concepts=0"]), folder, tmp_path)
    alexnet = change(SMALL, ["backbone=torchvision:alexnet", "size=64"])
    assert "no feature map" in refused(alexnet, folder, tmp_path)
    assert not (tmp_path / "run").exists()
    with pytest.raises(TrainingError, match="trains a network on pictures"):
        on_features(SMALL)
