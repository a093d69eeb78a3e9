"""The systems that HashGrain grew from, by the commands of the how-to, from drawn pictures to an answer."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import in_process
from in_process import hashgrain
from labelled_folder import draw_folder

torch = pytest.importorskip("torch", reason="needs the train extra")
pytest.importorskip("accelerate", reason="needs the train extra")

from hashgrain import Encoder, Library  # noqa: E402
from hashgrain.errors import TrainingError  # noqa: E402
from hashgrain.learn.backbones.compact import CompactBackbone  # noqa: E402
from hashgrain.learn.data.labelled import load_labelled  # noqa: E402
from hashgrain.learn.recipe import change  # noqa: E402
from hashgrain.learn.recipes import RECIPES  # noqa: E402
from hashgrain.learn.run import build_backbone  # noqa: E402
from hashgrain.learn.training.heads import build_head  # noqa: E402
from hashgrain.learn.training.network import HashHead  # noqa: E402
from hashgrain.learn.training.objective import Objective  # noqa: E402
from hashgrain.learn.training.validation import distance_correlation  # noqa: E402

pytestmark = pytest.mark.train
TINY = ["size=32", "batch=16", "held_out=3", "channels=8,16,32", "blocks=0,1,0", "width=32"]
LOUD = "WEIGHTS AT RANDOM: backbone compact begins with random weights"


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.set_num_threads(1)
    return draw_folder(tmp_path_factory.mktemp("labelled") / "drawn", each=10, size=32)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def train(data: Path, recipe: str, *settings: str, more: tuple[object, ...] = ()):
    sets = [part for each in [*TINY, *settings] for part in ("--set", each)]
    return hashgrain("train", "--data", data, "--out", "model", "--recipe", recipe, *sets, *more)


def right_of(hits: list[dict], level: int) -> float:
    """The share of hits in the folder of item 1, at a level of the folders: 2 for the kind, 1 for the thing."""
    with Library.open("some.hg") as library:
        own = Path(library.item(1).path).parts[-1 - level]
    return float(np.mean([Path(hit["path"]).parts[-1 - level] == own for hit in hits]))


def test_coarse_and_fine_codes_are_searched_coarse_then_fine(drawn: Path, here: Path) -> None:
    done = train(drawn, "coarse-fine", "epochs=12", "learning_rate=0.01")
    assert done.exit_code == 0, done.output
    assert LOUD in done.stderr
    assert hashgrain("add", "some.hg", drawn, "--model", "model", "-q").exit_code == 0
    asked = ("search", "some.hg", "--id", 1, "-k", 8, "--coarse-to-fine", "--shortlist", 12)
    document = json.loads(hashgrain(*asked, "--json", "--explain").stdout)
    (stage,) = document["explain"]["stages"]
    assert (stage["grain"], stage["of"]) == ("kind", 59)
    assert stage["kept"] >= 12
    assert right_of(document["hits"], 2) > 0.8
    lines = hashgrain(*asked, "--explain").stderr.splitlines()
    assert [line.partition(" ")[0] for line in lines] == ["shortlist", "found"]


def test_bits_of_three_depths_are_written_as_text_and_searched_level_by_level(drawn: Path, here: Path) -> None:
    done = train(drawn, "levels", "epochs=10", "learning_rate=0.01")
    assert done.exit_code == 0, done.output
    encoder = Encoder.load("model")
    lines = hashgrain("encode", drawn, "--model", "model", "--format", "bits").stdout.splitlines()
    texts = {each["path"]: each["code"] for each in map(json.loads, lines)}
    assert len(texts) == 60
    path, text = next(iter(texts.items()))
    assert text == "".join(map(str, encoder.encode(path).bits()[0].tolist()))
    assert hashgrain("add", "some.hg", drawn, "--model", "model", "-q").exit_code == 0
    asked = ("search", "some.hg", "--id", 1, "-k", 6, "--stages", "deep:30,middle:15", "--explain", "--json")
    document = json.loads(hashgrain(*asked).stdout)
    assert [stage["grain"] for stage in document["explain"]["stages"]] == ["deep", "middle"]
    assert {hit["grain"] for hit in document["hits"]} == {"shallow"}
    assert right_of(document["hits"], 1) > 0.5


def test_features_that_would_be_noise_are_refused_unless_asked_for(drawn: Path, here: Path) -> None:
    refused = train(drawn, "resnet-lsh", "backbone=compact", more=("-q",))
    said = in_process.refused(refused, "model", "whose weights would be random", "--weights random says that noise")
    assert "--set backbone=bundle:photo" in said
    frozen = train(drawn, "csq", "trained=head", more=("-q",))
    in_process.refused(frozen, "model", "whose weights would be random")
    meant = train(drawn, "resnet-lsh", "backbone=compact", more=("--weights", "random", "--bits", "16", "--json"))
    assert meant.exit_code == 0, meant.output
    assert LOUD + ", and they stay as they are" in meant.stderr
    assert Encoder.load("model").bundle.training["weights"] == {"from": "random"}


def test_weights_of_a_file_give_the_features_that_are_hashed_and_are_recorded(drawn: Path, here: Path) -> None:
    import hashlib

    from safetensors.torch import save_file

    torch.manual_seed(5)
    backbone = CompactBackbone((8, 16, 32), (0, 1, 0), 32).eval()
    save_file(backbone.state_dict(), "some.safetensors")
    done = train(drawn, "resnet-lsh", "backbone=compact", more=("--weights", "some.safetensors", "--bits", "64"))
    assert done.exit_code == 0, done.output
    assert "begins with the weights of some.safetensors" in done.stderr
    assert "AT RANDOM" not in done.stderr
    encoder = Encoder.load("model")
    digest = hashlib.sha256(Path("some.safetensors").read_bytes()).hexdigest()
    assert encoder.bundle.training["weights"] == {"from": "some.safetensors", "sha256": digest}
    pixels = np.random.default_rng(0).integers(0, 256, (5, 32, 32, 3), np.uint8)
    with torch.no_grad():
        wanted = backbone(torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255).numpy()
    np.testing.assert_allclose(encoder.outputs_and_features(pixels)[1], wanted, rtol=1e-3, atol=1e-4)
    assert hashgrain("add", "some.hg", drawn, "--model", "model", "-q").exit_code == 0
    assert right_of(json.loads(hashgrain("search", "some.hg", "--id", 1, "-k", 5, "--json").stdout), 2) > 0.5


def test_distances_of_codes_learn_to_follow_those_of_features(drawn: Path, here: Path) -> None:
    settings = ("backbone=bundle:small", "size=64", "epochs=60", "batch=48")
    done = train(drawn, "feature-distances", *settings, more=("--bits", "32", "--json", "-q"))
    assert done.exit_code == 0, done.output
    correlation = json.loads(done.stdout)["validation"]["distance correlation"]
    pixels = np.stack([_at_64(path) for path in sorted(drawn.rglob("*.png"))])
    outputs, features = Encoder.load("model").outputs_and_features(pixels)
    random = features @ np.random.default_rng(0).normal(size=(features.shape[1], 32))
    assert distance_correlation(outputs, features) > distance_correlation(random - random.mean(axis=0), features)
    assert correlation > 0.5


def _at_64(path: Path) -> np.ndarray:
    from PIL import Image

    return np.asarray(Image.open(path).convert("RGB").resize((64, 64)))


def test_the_correlation_of_distances_is_that_of_all_pairs() -> None:
    dice = np.random.default_rng(3)
    outputs, features = dice.normal(size=(9, 12)), dice.normal(size=(9, 4)).astype(np.float32)
    pairs = [(i, j) for i in range(9) for j in range(i)]
    apart = [np.sum((outputs[i] >= 0) != (outputs[j] >= 0)) for i, j in pairs]
    far = [np.linalg.norm(features[i] - features[j]) for i, j in pairs]
    assert distance_correlation(outputs, features) == pytest.approx(np.corrcoef(apart, far)[0, 1], abs=1e-4)
    assert distance_correlation(outputs, np.ones_like(features)) == 0.0


def test_an_embedding_is_learnt_end_to_end_by_triplets(drawn: Path, here: Path) -> None:
    settings = ("backbone=compact", "epochs=15", "learning_rate=0.005", "hidden=32")
    done = train(drawn, "triplet", *settings)
    assert done.exit_code == 0, done.output
    assert LOUD + ", and it learns from nothing" in done.stderr
    assert hashgrain("add", "some.hg", drawn, "--model", "model", "-q").exit_code == 0
    assert right_of(json.loads(hashgrain("search", "some.hg", "--id", 1, "-k", 5, "--json").stdout), 1) > 0.5


def test_alexnet_has_its_embedding_layer_and_all_of_it_learns() -> None:
    recipe = change(RECIPES["triplet"], ["size=64"])
    backbone = build_backbone(recipe)
    head = build_head(recipe, backbone)
    assert isinstance(head, HashHead)
    assert (backbone.width, head.hidden[0].out_features, head.bits.out_features) == (4096, 512, 16)
    assert recipe.network.trained == "all"
    head(backbone(torch.rand(2, 3, 64, 64))).square().sum().backward()
    first = next(backbone.parameters())
    assert first.grad is not None
    assert float(first.grad.abs().max()) > 0


def test_separate_codes_are_taught_measured_and_searched_by_their_own_bits(drawn: Path, here: Path) -> None:
    done = train(drawn, "coarse-fine", "separate=yes", "epochs=12", "learning_rate=0.01")
    assert done.exit_code == 0, done.output
    assert "search --coarse-to-fine --separate" in done.stderr
    assert hashgrain("add", "some.hg", drawn, "--model", "model", "-q").exit_code == 0
    asked = ("search", "some.hg", "--id", 1, "-k", 5, "--coarse-to-fine", "--separate", "--shortlist", 20, "--json")
    hits = json.loads(hashgrain(*asked).stdout)
    assert right_of(hits, 2) > 0.7
    assert all(hit["distance"] == hit["distances"]["thing"] - hit["distances"]["kind"] for hit in hits)


def test_the_loss_of_a_separate_code_sees_its_own_bits_alone(drawn: Path) -> None:
    data = load_labelled(drawn, 32, ["kind", "thing"])
    recipe = change(RECIPES["coarse-fine"], ["separate=yes"])
    objective = Objective(recipe, data.levels, 4)
    outputs = torch.randn(6, 48, generator=torch.Generator().manual_seed(0))
    truths = {grain: torch.from_numpy(labels.hot(np.arange(6) * 9)) for grain, labels in data.levels.items()}
    _, parts = objective(outputs, torch.zeros(6, 4), truths)
    other = torch.cat([outputs[:, :16].flip(0), outputs[:, 16:]], dim=1)
    _, after = objective(other, torch.zeros(6, 4), truths)
    assert float(after["thing"]) == float(parts["thing"])
    assert float(after["kind"]) != float(parts["kind"])
    fine = objective.losses["thing"]
    expected = (torch.sigmoid(outputs[:, 16:]) - truths["thing"] @ fine.codes).square().mean()
    assert float(parts["thing"]) == pytest.approx(float(expected), rel=1e-5)


def test_separate_codes_do_not_go_with_what_binds_prefixes() -> None:
    for recipe, change_ in (("coarse-fine", "cascade_weight=1"), ("coarse-fine", "nesting=even"), ("default", "")):
        with pytest.raises(TrainingError, match="separate codes are of recipes without"):
            change(RECIPES[recipe], [each for each in (change_, "separate=yes") if each])
