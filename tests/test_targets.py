"""Target codes: pictures and codes as arrays, a network that regresses to them, and bits for pictures it never saw."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import in_process
from in_process import hashgrain
from labelled_folder import KINDS, THINGS

torch = pytest.importorskip("torch", reason="needs the train extra")
pytest.importorskip("accelerate", reason="needs the train extra")

from hashgrain import Encoder, Library  # noqa: E402
from hashgrain.learn.data.labelled import load_labelled  # noqa: E402
from hashgrain.learn.data.targets import bits_right, codes_of, names_of, read_targets  # noqa: E402
from hashgrain.learn.losses.code_regression import CodeRegressionLoss  # noqa: E402
from hashgrain.learn.training.teaching import centers_of  # noqa: E402

pytestmark = pytest.mark.train
BITS = 16
TINY = ["size=32", "backbone=compact", "channels=8,16,32", "blocks=0,1,0", "width=32", "batch=16", "held_out=3"]
SETS = [part for each in [*TINY, "learning_rate=0.005"] for part in ("--set", each)]


def stripes(kind: int, thing: int, each: int, seed: int, size: int = 32) -> np.ndarray:
    dice = np.random.default_rng(seed)
    period, color = THINGS[thing][1], np.array(KINDS[kind][1])
    lines = (np.arange(size)[None, :] + dice.integers(0, 16, (each, 1))) // (period // 2) % 2 * 0.5 + 0.5
    pixels = lines[:, None, :, None] * color + dice.normal(0, 12, (each, size, size, 3))
    return pixels.clip(0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def arrays(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """data.npy, labels.npy with a code a picture, and test_data.npy with its codes kept aside."""
    torch.set_num_threads(1)
    top = tmp_path_factory.mktemp("arrays")
    codes = np.random.default_rng(7).integers(0, 2, (6, BITS), np.uint8)
    for name, each, seed in (("", 12, 0), ("test_", 4, 9)):
        things = [(kind, thing) for kind in range(2) for thing in range(3)]
        parts = [stripes(kind, thing, each, seed + i) for i, (kind, thing) in enumerate(things)]
        order = np.random.default_rng(seed).permutation(6 * each)
        np.save(top / f"{name}data.npy", np.concatenate(parts)[order])
        np.save(top / f"{name}codes.npy" if name else top / "labels.npy", np.repeat(codes, each, axis=0)[order])
    return top


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def train(data: Path, targets: Path, *more: object):
    asked = ("train", "--data", data, "--targets", targets, "--out", "model", "--recipe", "label-codes", *SETS)
    return hashgrain(*asked, *more)


def test_pictures_get_the_codes_they_were_shown_and_so_do_new_ones(arrays: Path, here: Path) -> None:
    """From arrays to bits and an answer, by the commands of the how-to."""
    trained = train(arrays, arrays / "labels.npy", "--set", "epochs=25", "--json", "-q")
    assert trained.exit_code == 0, trained.output
    assert json.loads(trained.stdout)["validation"]["bits right"] > 0.9
    asked = ("encode", arrays / "test_data.npy", "--model", "model", "--format", "bits")
    done = hashgrain(*asked, "--out", "bits.npy", "-q")
    assert done.exit_code == 0, done.output
    bits, wanted = np.load("bits.npy"), np.load(arrays / "test_codes.npy")
    assert bits.shape == wanted.shape
    assert (bits == wanted).mean() > 0.9
    assert len(np.unique(bits, axis=0)) > 3  # not one code for all
    encoder = Encoder.load("model")
    outputs = encoder.outputs(np.load(arrays / "test_data.npy"))
    assert np.array_equal(bits, 1 / (1 + np.exp(-outputs)) >= 0.5)
    lines = [json.loads(line)["code"] for line in hashgrain(*asked).stdout.splitlines()]
    assert lines == ["".join(map(str, row)) for row in bits.tolist()]
    assert encoder.bundle.labels == {}
    assert hashgrain("add", "some.hg", arrays / "data.npy", "--model", "model", "-q").exit_code == 0
    with Library.open("some.hg") as library:
        hits = library.search(np.load(arrays / "test_data.npy")[0], k=5)
        rows = [int(hit.path.rpartition("#")[2]) for hit in hits]
        codes = np.load(arrays / "labels.npy")
        assert np.mean([np.array_equal(codes[row], wanted[0]) for row in rows]) > 0.5
        assert library.thumbnail(hits[0].id)[:2] == b"\xff\xd8"


def test_every_picture_may_have_a_code_of_its_own(arrays: Path, here: Path) -> None:
    """Then no class has enough pictures to keep some of each out, and a tenth of all is."""
    np.save("own.npy", (np.arange(72)[:, None] >> np.arange(BITS)) & 1)
    trained = train(arrays, here / "own.npy", "--set", "epochs=1", "--json", "-q")
    assert trained.exit_code == 0, trained.output
    facts = json.loads(trained.stdout)
    assert (facts["data"]["pictures"], facts["data"]["held_out"]) == (65, 7)
    assert 0 <= facts["validation"]["bits right"] <= 1


def test_the_loss_is_the_squared_error_of_sigmoids_to_the_targets(arrays: Path) -> None:
    targets = np.load(arrays / "labels.npy")
    data = load_labelled(arrays, 32, ["thing"], targets=names_of(targets))
    labels = data.levels["thing"]
    recipe = _recipe(arrays / "labels.npy")
    (centers,) = centers_of(recipe, data.levels).values()
    loss = CodeRegressionLoss(BITS, len(labels.names), codes=(centers + 1) / 2)
    outputs = torch.randn(len(data), BITS, generator=torch.Generator().manual_seed(0))
    hot = torch.from_numpy(labels.hot(np.arange(len(data))))
    expected = np.mean((1 / (1 + np.exp(-outputs.numpy())) - targets) ** 2)
    assert float(loss(outputs, hot)) == pytest.approx(expected, rel=1e-5)
    assert torch.equal(codes_of(labels.names), centers)
    assert bits_right(targets.astype(np.float32) - 0.5, labels.names, labels.only()) == 1.0


def _recipe(targets: Path):
    from hashgrain.learn.recipe import change
    from hashgrain.learn.recipes import RECIPES

    return change(RECIPES["label-codes"], [f"targets={targets}"])


def test_targets_follow_their_pictures_where_some_cannot_be_read(here: Path) -> None:
    from PIL import Image

    (here / "pictures").mkdir()
    for i in range(6):
        Image.fromarray(np.full((32, 32, 3), 40 * i, np.uint8)).save(here / f"pictures/{i}.png")
    (here / "pictures/2.png").write_bytes(b"nothing")
    data = load_labelled(here / "pictures", 32, ["thing"], targets=[f"{i:03b}" for i in range(6)])
    labels = data.levels["thing"]
    assert [labels.names[i] for i in labels.only()] == ["000", "001", "011", "100", "101"]
    assert data.inputs[:, 0, 0, 0].tolist() == [0, 40, 120, 160, 200]


BAD = {
    "a row has another number": (lambda codes: np.where(np.arange(72)[:, None] == 5, 2, codes), "row 5"),
    "real numbers": (lambda codes: codes * 0.5, "zeros and ones"),
    "not numbers": (lambda codes: codes * np.nan, "row 0"),
    "another width": (lambda codes: codes[:, :12], "codes of 12 bits, the recipe codes of 16; --bits 12"),
    "all alike": (lambda codes: np.ones_like(codes), "all target codes are the same"),
    "too few": (lambda codes: codes[:70], "70 targets for the 72 pictures"),
    "one column": (lambda codes: codes[:, 0], "a row a picture"),
    "texts": (lambda codes: codes.astype(str), "a row a picture"),
    "objects": (lambda codes: codes.astype(object), "not an array we read"),
}


@pytest.mark.parametrize("what", BAD)
def test_targets_that_cannot_be_are_told_in_a_line(what: str, arrays: Path, here: Path) -> None:
    change, said = BAD[what]
    np.save("bad.npy", change(np.load(arrays / "labels.npy").astype(np.float64)), allow_pickle=True)
    in_process.refused(train(arrays, here / "bad.npy", "-q"), "model", said)


def test_targets_that_are_not_there_or_of_another_loss_are_refused(arrays: Path, here: Path) -> None:
    in_process.refused(train(arrays, here / "none.npy", "-q"), "model", "cannot read")
    other = hashgrain(
        "train", "--data", arrays, "--targets", arrays / "labels.npy", "--out", "model", "--recipe", "csq"
    )
    in_process.refused(other, "model", "--recipe label-codes")
    both = train(arrays, arrays / "labels.npy", "--bits", "8", "-q")
    in_process.refused(both, "model", "--bits 16")


def test_zeros_and_ones_that_are_read_as_labels_are_told_to_be(arrays: Path, here: Path) -> None:
    asked = ("train", "--data", arrays, "--out", "model", "--recipe", "label-codes", *SETS, "--set", "epochs=1")
    done = hashgrain(*asked)
    assert done.exit_code == 0, done.output
    assert "labels; if they are target codes, a row of bits for each picture, set targets=" in done.stderr
    assert read_targets(arrays / "labels.npy", BITS).shape == (72, BITS)


@pytest.mark.parametrize("out", ["codes.hgc", "codes.parquet"])
def test_bits_are_written_where_they_can_be_read(out: str, arrays: Path, here: Path) -> None:
    done = hashgrain("encode", arrays / "test_data.npy", "--format", "bits", "--out", out, "-q", "--model", "small")
    assert done.exit_code == 1
    assert ".npy, .txt, .csv" in done.stderr


def test_bits_as_text_and_table_are_those_of_the_array(arrays: Path, here: Path) -> None:
    asked = ("encode", arrays / "test_data.npy", "--format", "bits", "-q", "--model", "small")
    for out in ("bits.npy", "bits.txt", "bits.csv"):
        assert hashgrain(*asked, "--out", out).exit_code == 0
    texts = ["".join(map(str, row)) for row in np.load("bits.npy").tolist()]
    assert Path("bits.txt").read_text().splitlines() == texts
    assert [line.rpartition(",")[2] for line in Path("bits.csv").read_text().splitlines()] == ["code", *texts]


def test_an_array_that_is_none_of_pictures_is_refused(here: Path) -> None:
    np.save("data.npy", np.zeros((4, 5), np.float32))
    done = hashgrain("encode", "data.npy", "--model", "small")
    assert done.exit_code == 1
    assert "pictures are uint8" in done.stderr
