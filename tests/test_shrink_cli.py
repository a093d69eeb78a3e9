"""`hashgrain shrink` and `hashgrain join` as a user meets them: what they make works, what goes wrong is one line."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import Result

import in_process
from conftest import fill, make_picture
from in_process import hashgrain

torch = pytest.importorskip("torch", reason="needs the train extra")
pytest.importorskip("onnx", reason="needs the train extra")

from hashgrain import Encoder, Grains, inside  # noqa: E402
from hashgrain.learn.backbones.compact import CompactBackbone  # noqa: E402
from hashgrain.learn.export import to_onnx  # noqa: E402
from hashgrain.learn.training.network import HashHead, HashNetwork  # noqa: E402
from hashgrain.models import Bundle  # noqa: E402

pytestmark = pytest.mark.train

SIZE, GRAINS = 16, Grains(kind=8, look=32)


@dataclasses.dataclass(frozen=True)
class Made:
    """A model, another of other grains, and pictures."""

    model: Path
    other: Path
    photos: Path


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    top = tmp_path_factory.mktemp("shrink")
    torch.set_num_threads(1)
    torch.manual_seed(0)
    photos = fill(top / "photos", 24)
    pixels = np.stack([np.asarray(make_picture(i, (SIZE, SIZE))) for i in range(24)])
    network = HashNetwork(CompactBackbone((8, 16), (1, 1), 24), HashHead(24, GRAINS.bits)).train()
    with torch.no_grad():
        network(torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255)  # for the statistics of normalization
    bundle = Bundle("tiny", to_onnx(network.eval(), SIZE), GRAINS, (SIZE, SIZE))
    bundle.write(top / "model")
    dataclasses.replace(bundle, grains=Grains(kind=16, look=32)).write(top / "other")
    return Made(top / "model", top / "other", photos)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def refused(result: Result, *said: str) -> str:
    return in_process.refused(result, "out", *said)


@pytest.mark.parametrize(("how", "at_most", "alike"), [("--half", 0.75, 0.97), ("--int8", 1.0, 0.8)])
def test_a_shrunk_model_is_smaller_and_says_how_many_bits_it_kept(
    how: str, at_most: float, alike: float, made: Made, here: Path
) -> None:
    result = hashgrain("shrink", made.model, how, "--pictures", made.photos, "--out", "out", "--json")
    assert result.exit_code == 0, result.output
    facts = json.loads(result.stdout)
    small, large = Encoder.load("out"), Encoder.load(made.model)
    assert facts["digest"] == small.digest != large.digest
    assert facts["bytes"] == len(small.bundle.onnx) < at_most * facts["bytes_before"]
    assert facts["pictures"] == 24
    assert small.grains == large.grains
    pixels = np.stack([np.asarray(Image.open(p).resize((SIZE, SIZE))) for p in sorted(made.photos.iterdir())])
    same = float(((small.outputs(pixels) >= 0) == (large.outputs(pixels) >= 0)).mean())
    assert alike < same
    assert facts["bits"]["look"] == pytest.approx(same, abs=0.05)  # thumbnails are made in another way here
    words = hashgrain("shrink", made.model, how, "--pictures", made.photos, "--out", "again")
    assert f"look\t{facts['bits']['look']:.2%} of the bits are the same" in words.stdout
    assert Encoder.load("again").digest == small.digest


def test_what_is_kept_to_ask_with_does_not_calibrate(made: Made, here: Path) -> None:
    """Of a set with parts, `train` alone is looked at; of one that has nothing else, all of it."""
    for name in ("train", "val"):
        rows = [f"{photo},a" for photo in sorted(made.photos.iterdir())[: 15 if name == "train" else 9]]
        (here / f"{name}.csv").write_text("\n".join(["path,label", *rows]), encoding="utf-8")
    shrink = ["shrink", made.model, "--int8", "--out", "out", "--json", "--pictures"]
    assert json.loads(hashgrain(*shrink, here).stdout)["pictures"] == 15
    assert json.loads(hashgrain(*shrink, here / "val.csv").stdout)["pictures"] == 9


def test_codes_of_a_shrunk_model_do_not_mix_with_those_of_the_large_one(made: Made, here: Path) -> None:
    assert hashgrain("shrink", made.model, "--half", "--pictures", made.photos, "--out", "out", "-q").exit_code == 0
    assert hashgrain("add", "own.hg", made.photos, "--model", "out", "-q", "--workers", "0").exit_code == 0
    query = made.photos / "00003.jpg"
    done = hashgrain("search", "own.hg", query, "-k", "1", "--json")
    assert done.exit_code == 0, done.stderr
    assert "00003.jpg" in done.stdout
    mixed = hashgrain("add", "own.hg", made.photos, "--model", made.model, "-q", "--workers", "0")
    assert mixed.exit_code == 1
    assert mixed.stderr.startswith("error: ")


@pytest.mark.parametrize("flags", [(), ("--int8", "--half")], ids=["neither", "both"])
def test_one_way_to_shrink_is_asked_for(flags: tuple[str, ...], made: Made, here: Path) -> None:
    refused(hashgrain("shrink", made.model, *flags, "--pictures", made.photos, "--out", "out"), "--int8 or --half")


def test_a_model_that_is_not_there_is_named(made: Made, here: Path) -> None:
    command = ["--half", "--pictures", made.photos, "--out", "out"]
    refused(hashgrain("shrink", "nowhere", *command), "nowhere", "model.onnx")
    (here / "damaged").mkdir()
    (here / "damaged/model.json").write_text("{", encoding="utf-8")
    refused(hashgrain("shrink", "damaged", *command), "damaged", "not JSON")


@pytest.mark.parametrize("verb", ["shrink", "join"])
def test_pictures_that_are_not_there_are_named(verb: str, made: Made, here: Path) -> None:
    command = [verb, made.model, *(["--half"] if verb == "shrink" else [made.model]), "--out", "out", "--pictures"]
    refused(hashgrain(*command, "nowhere"), "nowhere", "name a folder")
    (here / "empty").mkdir()
    refused(hashgrain(*command, "empty"), "empty")


def test_a_damaged_picture_is_skipped_and_said_and_nothing_but_such_is_an_error(made: Made, here: Path) -> None:
    fill(here / "some", 3)
    (here / "some/broken.jpg").write_bytes(b"no picture")
    result = hashgrain("shrink", made.model, "--half", "--pictures", "some", "--out", "kept")
    assert result.exit_code == 0, result.output
    assert [line for line in result.stderr.splitlines() if line.startswith("refused: broken.jpg")]
    assert "comparing on 3 pictures" in result.stderr
    (here / "none").mkdir()
    (here / "none/broken.jpg").write_bytes(b"no picture")
    result = hashgrain("shrink", made.model, "--half", "--pictures", "none", "--out", "out", "-q")
    assert result.exit_code == 1
    message = result.stderr.splitlines()[-1]
    assert message.startswith("error: no pictures that can be opened in none; broken.jpg: not a picture")
    assert not Path("out").exists()


def test_a_model_of_integers_already_is_told_so(made: Made, here: Path) -> None:
    command = ["--int8", "--pictures", made.photos, "-q", "--out"]
    assert hashgrain("shrink", made.model, *command, "small").exit_code == 0
    refused(hashgrain("shrink", "small", *command, "out"), "already")


@pytest.mark.parametrize("verb", ["shrink", "join"])
def test_a_place_that_cannot_be_written_is_named(verb: str, made: Made, here: Path) -> None:
    (here / "file").write_text("in the way", encoding="utf-8")
    command = [verb, made.model, *(["--half", "-q"] if verb == "shrink" else [made.model])]
    for out in ("file", "file/model"):
        refused(hashgrain(*command, "--pictures", made.photos, "--out", out), "file")
    assert (here / "file").read_text(encoding="utf-8") == "in the way"


@pytest.mark.parametrize("before", [False, True], ids=["nothing there", "a bundle there"])
def test_a_disk_that_fills_up_leaves_what_was_there(
    before: bool, made: Made, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = inside.write

    def full(folder: Path, *names: str, data: bytes) -> None:
        if names[-1] == "model.json":
            raise OSError(28, "No space left on device", names[-1])
        write(folder, *names, data=data)

    if before:
        Bundle.read(made.model).write("out")
    monkeypatch.setattr(inside, "write", full)
    result = hashgrain("shrink", made.model, "--half", "--pictures", made.photos, "--out", "out", "-q")
    assert (result.exit_code, len(result.stderr.splitlines())) == (1, 1)
    assert "No space left" in result.stderr
    if before:
        assert Encoder.load("out").digest == Encoder.load(made.model).digest
    else:
        assert not Path("out").exists()


def test_joined_models_give_the_mean_of_their_outputs(made: Made, here: Path) -> None:
    assert hashgrain("shrink", made.model, "--half", "--pictures", made.photos, "--out", "half", "-q").exit_code == 0
    result = hashgrain("join", made.model, "half", "--pictures", made.photos, "--out", "out", "--json")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["bits_alike"]["half"]["look"] > 0.97
    pixels = np.stack([np.asarray(make_picture(i, (SIZE, SIZE))) for i in range(4)])
    each = [Encoder.load(place).outputs(pixels) for place in (made.model, "half")]
    np.testing.assert_allclose(Encoder.load("out").outputs(pixels), np.mean(each, axis=0), atol=1e-4)


def test_models_that_cannot_be_joined_are_named(made: Made, here: Path) -> None:
    refused(hashgrain("join", made.model, "--pictures", made.photos, "--out", "out"), "two models")
    refused(hashgrain("join", made.model, made.other, "--pictures", made.photos, "--out", "out"), "grains")
    refused(hashgrain("join", made.model, "nowhere", "--pictures", made.photos, "--out", "out"), "nowhere")


def test_codes_side_by_side_are_those_of_each_model_and_searched_apart(made: Made, here: Path) -> None:
    """Two models whose bits mean nothing to each other, from `join` to an answer of the first, then the second."""
    result = hashgrain("join", made.model, made.other, "--side-by-side", "coarse,fine", "--out", "both", "--json")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["grains"] == {"coarse": 32, "fine": 64}
    pixels = np.stack([np.asarray(make_picture(i, (SIZE, SIZE))) for i in range(6)])
    parts = [Encoder.load(model).outputs(pixels) >= 0 for model in (made.model, made.other)]
    both = Encoder.load("both")
    assert np.array_equal(both.codes(pixels).bits(), np.concatenate(parts, axis=1))
    assert both.bundle.training["side by side"][1]["digest"] == Encoder.load(made.other).digest
    assert hashgrain("add", "some.hg", made.photos, "--model", "both", "-q").exit_code == 0
    asked = ("search", "some.hg", "--id", 1, "-k", 23, "--json")
    fine = json.loads(hashgrain(*asked, "--coarse-to-fine", "--separate").stdout)
    every = json.loads(hashgrain(*asked).stdout)
    own = {hit["id"]: hit["distances"]["fine"] - hit["distances"]["coarse"] for hit in every}
    assert [hit["distance"] for hit in fine] == sorted(own.values())
    assert all(hit["distance"] == own[hit["id"]] for hit in fine)


@pytest.mark.parametrize(
    ("names", "said"),
    [("coarse", "a name for each: 1 for 2"), ("fine,fine", "the same name"), ("coarse,fine one", "not a plain word")],
)
def test_names_that_do_not_fit_are_refused(names: str, said: str, made: Made, here: Path) -> None:
    refused(hashgrain("join", made.model, made.other, "--side-by-side", names, "--out", "out"), said)


def test_models_of_other_picture_sizes_do_not_stand_side_by_side(made: Made, here: Path) -> None:
    said = "both must take the same"
    refused(hashgrain("join", made.model, "small", "--side-by-side", "a,b", "--out", "out"), said)


def test_joining_by_the_mean_asks_for_pictures(made: Made, here: Path) -> None:
    refused(hashgrain("join", made.model, made.model, "--out", "out"), "--pictures FOLDER")
