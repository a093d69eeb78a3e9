"""What a user meets at `hashgrain train` when something is wrong: one line that helps, nothing half-done at --out."""

from __future__ import annotations

import csv
import json
import math
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import Result

import in_process
from in_process import hashgrain
from labelled_folder import KINDS, THINGS, draw_folder

torch = pytest.importorskip("torch", reason="needs the train extra")
pytest.importorskip("accelerate", reason="needs the train extra")

from hashgrain import Encoder  # noqa: E402
from hashgrain.errors import TrainingError  # noqa: E402
from hashgrain.learn.training import checkpoint  # noqa: E402
from hashgrain.learn.training.loop import Training  # noqa: E402

pytestmark = pytest.mark.train

TINY = ["size=32", "epochs=1", "batch=8", "held_out=3", "channels=8,16,32", "blocks=0,1,0", "width=32"]
EXPORTED = "it was trained and exported"


def train(data: Path, *settings: str, recipe: str = "csq", more: tuple[object, ...] = ()) -> Result:
    named = [part for setting in [*TINY, *settings] for part in ("--set", setting)]
    return hashgrain("train", "--data", data, "--out", "model", "--run", "run", "--recipe", recipe, *named, *more)


def refused(result: Result, *said: str) -> str:
    return in_process.refused(result, "model", *said)


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.set_num_threads(1)
    return draw_folder(tmp_path_factory.mktemp("labelled") / "drawn", each=6)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def no_export(monkeypatch: pytest.MonkeyPatch) -> None:
    """Export takes seconds, and what is refused must be so before it."""

    def exported(*given: object) -> None:
        raise AssertionError(EXPORTED)

    monkeypatch.setattr("hashgrain.learn.run.export", exported)
    monkeypatch.setattr("hashgrain.learn.run.to_onnx", exported)


@pytest.fixture
def stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    """Training ends by itself before the export, and its checkpoint stays."""

    def stop(*given: object) -> None:
        raise TrainingError("stopped before the export")

    monkeypatch.setattr("hashgrain.learn.run.export", stop)


def thing_of(picture: Path) -> str:
    return picture.parent.name


def listed(place: Path, drawn: Path, **columns: Callable[[Path], str]) -> Path:
    """A list of the drawn pictures with columns made of their paths."""
    with place.open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(["path", *columns])
        for picture in sorted(drawn.rglob("*.png")):
            rows.writerow([picture, *(of(picture) for of in columns.values())])
    return place


# --- data


def test_a_single_class_teaches_nothing(drawn: Path, here: Path) -> None:
    shutil.copytree(drawn / "warm/warm-wide", here / "one/warm-wide")
    refused(train(here / "one", more=("-q",)), "one thing only (warm-wide)", "two")
    refused(train(here / "one/warm-wide", more=("-q",)), "0.png", "folders named after their class")


def test_classes_of_one_picture_each_leave_nothing_to_learn_from(drawn: Path, here: Path) -> None:
    for picture in drawn.rglob("0.png"):
        place = here / "lonely" / thing_of(picture)
        place.mkdir(parents=True)
        shutil.copy(picture, place)
    refused(train(here / "lonely", more=("-q",)), "every thing has at most 3 pictures", "hold out fewer")


def test_a_picture_beside_the_classes_is_named(drawn: Path, here: Path) -> None:
    shutil.copytree(drawn, here / "loose")
    shutil.copy(drawn / "warm/warm-wide/0.png", here / "loose/stray.png")
    refused(train(here / "loose", more=("-q",)), "stray.png")


def test_a_row_without_a_label_is_named(drawn: Path, here: Path) -> None:
    place = listed(here / "list.csv", drawn, label=lambda p: "" if p.name == "4.png" else thing_of(p))
    refused(train(place, more=("-q",)), "list.csv, row 6", "4.png", "neither label nor labels")


@pytest.mark.parametrize("missing", ["kind", "thing"])
def test_a_label_missing_at_a_grain_is_named_with_the_grain(missing: str, drawn: Path, here: Path) -> None:
    def at(grain: str, label: Callable[[Path], str]) -> Callable[[Path], str]:
        return lambda p: "" if (grain, p.name) == (missing, "4.png") else label(p)

    columns = {"kind": at("kind", lambda p: p.parent.parent.name), "thing": at("thing", thing_of)}
    refused(train(listed(here / "list.csv", drawn, **columns), recipe="quick", more=("-q",)), "4.png", missing)


def test_a_column_missing_for_a_grain_is_named(drawn: Path, here: Path) -> None:
    refused(train(listed(here / "list.csv", drawn, thing=thing_of), recipe="quick", more=("-q",)), "0.png", "kind")


def test_a_thing_of_two_kinds_is_named_with_both(drawn: Path, here: Path) -> None:
    columns = {"kind": lambda p: "odd" if p.name == "0.png" else p.parent.parent.name, "thing": thing_of}
    refused(
        train(listed(here / "list.csv", drawn, **columns), recipe="quick", more=("-q",)), "'odd'", "give each thing one"
    )


def test_data_that_is_not_there_is_named_with_what_to_give(here: Path) -> None:
    refused(train(here / "nowhere", more=("-q",)), "nowhere", "name a folder")
    (here / "empty").mkdir()
    refused(train(here / "empty", more=("-q",)), "empty")


def test_pictures_that_are_all_damaged_are_told_with_the_reason(drawn: Path, here: Path) -> None:
    for name in ("one", "two"):
        (here / "broken" / name).mkdir(parents=True)
        (here / "broken" / name / "0.png").write_bytes(b"no picture")
    refused(train(here / "broken", more=("-q",)), "broken", "0.png")


def test_arrays_of_two_lengths_are_refused(here: Path) -> None:
    np.save("images.npy", np.zeros((6, 32, 32, 3), np.uint8))
    np.save("labels.npy", np.arange(5))
    refused(train(here, more=("-q",)), "labels.npy", "5 labels for 6")


def test_labels_cannot_be_made_wrong_where_pictures_have_several(drawn: Path, here: Path) -> None:
    place = listed(here / "list.csv", drawn, labels=lambda p: f"{p.parent.parent.name}|{thing_of(p)}")
    refused(train(place, more=("-q", "--label-noise", "0.3")), "several labels", "one class")


# --- what is asked for


@pytest.mark.usefixtures("no_export")
@pytest.mark.parametrize(
    ("recipe", "settings", "bits", "said"),
    [
        ("csq", [], "2", ["6 classes", "4 centers", "at least 3 bits"]),
        ("csq", [], "many", ["--bits many", "whole numbers"]),
        ("csq", [], "16,32", ["bits 16,32", "thing", "give 1"]),
        ("resnet-lsh", ["backbone=compact", "weights=random", "hasher=ITQ"], "256", ["PCA", "256", "take from 1 to"]),
        (
            "resnet-lsh",
            ["backbone=compact", "weights=random", "hasher=PCAHash"],
            "256",
            ["PCA", "256", "take from 1 to"],
        ),
        ("resnet-lsh", ["backbone=compact", "weights=random", "hasher=ITK"], "16", ["'ITK'", "ITQ"]),
        ("csg", [], "16", ["'csg'", "csq", "hashgrain recipes"]),
    ],
)
def test_bits_and_methods_that_cannot_be_had_are_refused_with_those_that_can(
    recipe: str, settings: list[str], bits: str, said: list[str], drawn: Path, here: Path
) -> None:
    refused(train(drawn, *settings, recipe=recipe, more=("-q", "--bits", bits)), *said)


@pytest.mark.usefixtures("no_export")
@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("learning_rat=1", ["'learning_rat'", "learning_rate"]),
        ("learning_rate", ["NAME=VALUE"]),
        ("batch=eight", ["batch=eight", "whole number"]),
        ("loss=cqs", ["'cqs'", "csq"]),
        ("backbone=compct", ["'compct'", "compact"]),
        ("backbone=timm:resnet5O", ["'resnet5O'", "resnet50"]),
        ("backbone=bundle:nowhere", ["nowhere", "trained=head"]),
        ("backbone=onnx:nowhere.onnx", ["nowhere.onnx", "trained=head"]),
        ("backbone=features", ["a bundle takes pictures", "train_head"]),
        ("trained=heads", ["'heads'", "head"]),
        ("sampling=balancd", ["balancd", "balanced"]),
        ("nesting=dominnt", ["dominnt", "dominant"]),
        ("similarity=learnt", ["trained=head", ".npy"]),
        ("center_distance=-1", ["center_distance", "0 or more"]),
        ("weights=hub", ["published nowhere", ".safetensors"]),
        ("teacher=nowhere", ["nowhere", "model.onnx"]),
        ("teacher=default", ["default", "grains", "the same"]),
    ],
)
def test_a_word_mistyped_is_answered_with_the_right_ones(
    setting: str, said: list[str], drawn: Path, here: Path
) -> None:
    refused(train(drawn, setting, more=("-q",)), *said)


@pytest.mark.usefixtures("no_export")
@pytest.mark.parametrize(
    "setting",
    [
        *("batch=0", "batch=-1", "accumulate=0", "views=0", "views=-1", "seed=-1", "held_out=-1"),
        *("epochs=-1", "epochs=nan", "epochs=inf", "learning_rate=-1", "learning_rate=nan", "learning_rate=inf"),
        *("dropout=2", "averaging=2", "mixup=-1", "label_noise=2", "pruned=1", "classifier_smoothing=2"),
        *("width=0", "channels=8", "hidden=0", "smallest_crop=0", "smallest_crop=2", "size=1"),
    ],
)
def test_a_number_that_makes_no_sense_is_named_with_what_would(setting: str, drawn: Path, here: Path) -> None:
    line = refused(train(drawn, setting, more=("-q",)))
    assert any(word in line for word in setting.replace("_", " ").partition("=")[0].split()), line


def test_hidden_layers_that_the_last_step_would_throw_away_are_refused(drawn: Path, here: Path) -> None:
    refused(train(drawn, "hidden=64", recipe="quick", more=("-q",)), "recipe quick", "last step", "hidden")


def test_holding_nothing_out_is_done_or_refused(drawn: Path, here: Path, no_export: None) -> None:
    """No pictures to validate on is what `held_out=0` says, and the message about -1 offers it."""
    result = train(drawn, "held_out=0", more=("-q",))
    if EXPORTED not in repr(result.exception):
        refused(result, "held_out")


def test_weights_of_another_network_or_in_a_pickle_are_refused(drawn: Path, here: Path) -> None:
    safetensors = pytest.importorskip("safetensors.torch")
    safetensors.save_file({"layer.weight": torch.zeros(3, 3)}, "other.safetensors")
    refused(
        train(drawn, "weights=other.safetensors", more=("-q",)),
        "other.safetensors",
        "another architecture",
        "layer.weight",
    )
    torch.save({"layer.weight": torch.zeros(3, 3)}, "weights.pt")
    refused(train(drawn, "weights=weights.pt", more=("-q",)), "weights.pt is a pickle", "safetensors")


def test_a_loss_that_is_not_a_number_is_told_with_the_batch_and_the_remedy(drawn: Path, here: Path) -> None:
    """Also where the outputs are the first to break, in the validation after the step."""
    line = refused(train(drawn, "learning_rate=1e30", more=("-q",)), "not a number", "step", "--set learning_rate=")
    assert "bad-batch.txt" in line
    assert Path("run/bad-batch.txt").read_text(encoding="utf-8")


def test_weights_that_are_no_numbers_do_not_take_the_place_of_the_last_good_checkpoint(
    drawn: Path, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A gradient may overflow where the loss does not: the loss of the step after is the first to tell."""
    whole = Training._train_once

    def overflowing(self: Training) -> object:
        found = whole(self)
        if self.step == 2:
            with torch.no_grad():
                next(self.plain.network.parameters()).fill_(math.nan)
        return found

    monkeypatch.setattr(Training, "_train_once", overflowing)
    refused(train(drawn, "epochs=30", more=("-q", "--checkpoint-minutes", "0")), "not a number", "last good state")
    state = checkpoint.load(here / "run")
    assert state is not None
    assert state["step"] == 2
    for name, weights in state["network"].items():
        assert torch.isfinite(weights.float()).all(), name


# --- places


def test_a_bundle_that_cannot_be_written_is_told_before_the_training(
    drawn: Path, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not after hours of it."""

    def trained(*given: object) -> None:
        raise AssertionError("it was trained first")

    monkeypatch.setattr("hashgrain.learn.run.train_network", trained)
    (here / "file").write_text("in the way", encoding="utf-8")
    command = ["train", "--data", drawn, "--run", "run", "--recipe", "csq", "-q"]
    for out in ("file", "file/model"):
        refused(hashgrain(*command, *(p for s in TINY for p in ("--set", s)), "--out", out), "file")
    assert (here / "file").read_text(encoding="utf-8") == "in the way"


def test_a_run_that_cannot_be_written_is_told_with_the_remedy(drawn: Path, here: Path) -> None:
    (here / "run").write_text("in the way", encoding="utf-8")
    refused(train(drawn, more=("-q",)), "run", "another folder")


def test_a_disk_that_fills_up_leaves_no_half_of_a_bundle(
    drawn: Path, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The older bundle at --out, or none: never a new graph beside an old description."""
    from hashgrain import inside
    from hashgrain.models import Bundle

    write = inside.write

    def full(folder: Path, *names: str, data: bytes, durable: bool = True) -> None:
        if names[-1] == "model.json":
            raise OSError(28, "No space left on device", str(folder))
        write(folder, *names, data=data, durable=durable)

    made = Bundle.read("default")
    monkeypatch.setattr("hashgrain.learn.run.export", lambda *given: (made, "made"))
    monkeypatch.setattr(inside, "write", full)
    refused(train(drawn, more=("-q",)), "No space left")
    assert not Path("model/model.json").exists()


# --- a run that is gone on with


@pytest.mark.usefixtures("stopped")
def test_a_run_of_another_recipe_is_left_alone(drawn: Path, here: Path) -> None:
    assert "stopped before" in train(drawn).stderr
    good = Path("run/checkpoint.pt").read_bytes()
    for recipe, setting in (("dpn", "seed=1"), ("csq", "learning_rate=0.5")):
        refused(train(drawn, setting, recipe=recipe, more=("-q",)), "run holds a run of another recipe", "--run")
    refused(train(drawn, more=("-q", "--bits", "32")), "another recipe")
    assert Path("run/checkpoint.pt").read_bytes() == good
    assert "resuming at step 2 of 2" in train(drawn).stderr


@pytest.mark.usefixtures("stopped")
@pytest.mark.parametrize("held", [False, True], ids=["learnt from", "kept out"])
def test_labels_that_change_before_a_run_goes_on_stop_it(held: bool, drawn: Path, here: Path) -> None:
    """Also those of pictures kept for validation: the best so far was found by the old ones."""
    from hashgrain.learn.data.labelled import load_labelled
    from hashgrain.learn.data.splits import validation_rows

    wrong: set[Path] = set()

    def labels(picture: Path) -> str:
        kind, thing = picture.parent.parent.name, thing_of(picture)
        return f"{kind}|{'else' if picture in wrong else thing}"

    place = listed(here / "list.csv", drawn, labels=labels)
    kept = validation_rows(load_labelled(place, 32, ("thing",)), 3)
    assert "stopped before" in train(place).stderr
    pictures = sorted(drawn.rglob("*.png"))
    kind, other = KINDS[0][0], KINDS[1][0]
    chosen = next(p for p, out in zip(pictures, kept, strict=True) if out == held and p.parent.parent.name == kind)
    lines = place.read_text(encoding="utf-8").replace(f"{chosen},{kind}|", f"{chosen},{other}|")
    place.write_text(lines, encoding="utf-8")
    assert np.array_equal(validation_rows(load_labelled(place, 32, ("thing",)), 3), kept)
    refused(train(place, more=("-q",)), "labels that have changed", "--run")


@pytest.mark.slow
def test_a_run_that_is_interrupted_goes_on_with_the_same_command(drawn: Path, here: Path) -> None:
    settings = [part for setting in [*TINY, "epochs=60"] for part in ("--set", setting)]
    command = ["train", "--data", str(drawn), "--out", "model", "--recipe", "csq", *settings]
    command += ["--checkpoint-minutes", "0"]
    place = here / "runs/csq/checkpoint.pt"
    # A suite that was started in the background hands on that Ctrl-C is ignored.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}  # as in this process: the very same steps
    with subprocess.Popen(
        [sys.executable, "-m", "hashgrain", *command], stderr=subprocess.PIPE, text=True, env=environment
    ) as running:
        patience = time.monotonic() + 60
        while not place.exists() and running.poll() is None and time.monotonic() < patience:
            time.sleep(0.02)
        running.send_signal(signal.SIGINT)
        _, said = running.communicate(timeout=60)
    assert running.returncode == 130, said
    assert said.splitlines()[-1] == "stopped; run the same command again to resume from the last checkpoint"
    assert "Traceback" not in said
    assert not Path("model").exists()
    assert not list(Path().rglob("*.part"))
    state = checkpoint.load(place.parent)
    assert state is not None
    again = hashgrain(*command)
    assert again.exit_code == 0, again.stderr
    assert f"resuming at step {state['step']} of " in again.stderr
    last = json.loads((place.parent / "log.jsonl").read_text(encoding="utf-8").splitlines()[-1])
    assert 0 < state["step"] < last["step"] == last["steps"]
    assert Encoder.load("model").grains.bits == 64


# --- from beginning to end


@pytest.fixture(scope="module")
def uneven(drawn: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Result]:
    """A run on pictures of which two are damaged, one is no picture, and one has a class to itself; 48 bits by CSQ."""
    top = tmp_path_factory.mktemp("uneven")
    shutil.copytree(drawn, top / "pictures")
    whole = (top / "pictures/warm/warm-wide/0.png").read_bytes()
    (top / "pictures/warm/warm-wide/0.png").write_bytes(whole[: len(whole) // 2])
    (top / "pictures/cold/cold-wide/0.png").write_bytes(b"")
    (top / "pictures/cold/cold-wide/notes.txt").write_text("no picture", encoding="utf-8")
    (top / "pictures/cold/lonely").mkdir()
    Image.new("RGB", (40, 40), (0, 250, 0)).save(top / "pictures/cold/lonely/0.png")
    before = Path.cwd()
    os.chdir(top)
    try:
        return top, train(top / "pictures", more=("--bits", "48", "--json"))
    finally:
        os.chdir(before)


def test_centers_are_of_any_width(uneven: tuple[Path, Result]) -> None:
    """48 is no order that Sylvester's construction has."""
    top, result = uneven
    assert result.exit_code == 0, result.output
    assert dict(Encoder.load(top / "model").grains) == {"thing": 48}


def test_damaged_pictures_are_skipped_listed_and_counted(uneven: tuple[Path, Result]) -> None:
    top, result = uneven
    lines = [line for line in result.stderr.splitlines() if line.startswith("refused: ")]
    assert len(lines) == 2, result.stderr
    for line, name in zip(sorted(lines), ("cold/cold-wide/0.png", "warm/warm-wide/0.png"), strict=True):
        assert name in line
        assert line.rpartition(": ")[2].strip(), "the reason"
    data = json.loads(result.stdout)["data"]
    assert (data["refused"], data["pictures"] + data["held_out"]) == (2, 35)
    assert "2 could not be opened and were left out" in (top / "model/card.md").read_text(encoding="utf-8")


def test_a_class_of_one_picture_is_learnt_from_and_it_is_said(uneven: tuple[Path, Result]) -> None:
    top, result = uneven
    assert "lonely" in result.stderr, "that nothing can be said of how well it is learnt"
    assert "cold/lonely" not in Encoder.load(top / "model").bundle.labels["thing"]


@pytest.mark.slow
def test_pictures_of_several_labels_go_from_train_to_evaluate(drawn: Path, here: Path) -> None:
    place = listed(here / "list.csv", drawn, labels=lambda p: "|".join(thing_of(p).split("-")))
    trained = train(place, "epochs=25", recipe="idhn", more=("--bits", "16", "--protocol", "folder", "--json"))
    assert trained.exit_code == 0, trained.stderr
    facts = json.loads(trained.stdout)
    assert "(5 things)" in trained.stderr  # two colors and three stripes, not six pairs
    assert set(Encoder.load("model").bundle.labels["thing"]) == {kind for kind, _ in KINDS} | {t for t, _ in THINGS}
    assert 0 < facts["validation"]["thing mAP"] <= 1
    measured = hashgrain("evaluate", "model", "--data", place, "--references", "none", "--json", "-q")
    assert measured.exit_code == 0, measured.stderr
    (result,) = json.loads(measured.stdout)
    assert Path(result["run"], "report.html").is_file()
    figures = next(iter(result["rows"]))["figures"]
    assert all(math.isfinite(figure["value"]) for figure in figures.values())


@pytest.mark.slow
def test_a_pair_of_arrays_goes_from_train_to_evaluate(drawn: Path, here: Path) -> None:
    pictures = sorted(drawn.rglob("*.png"))
    names = sorted({thing_of(p) for p in pictures})
    (here / "arrays").mkdir()
    np.save("arrays/images.npy", np.stack([np.asarray(Image.open(p)) for p in pictures]))
    np.save("arrays/labels.npy", np.array([names.index(thing_of(p)) for p in pictures]))
    trained = train(here / "arrays", more=("--bits", "16", "--protocol", "folder"))
    assert trained.exit_code == 0, trained.stderr
    assert "12 pictures (6 things)" in trained.stderr
    assert set(Encoder.load("model").bundle.labels["thing"]) == set("012345")
    measured = hashgrain("evaluate", "model", "--data", "arrays", "--references", "none", "--json", "-q")
    assert measured.exit_code == 0, measured.stderr
    (result,) = json.loads(measured.stdout)
    assert Path(result["run"], "report.html").is_file()


@pytest.mark.slow
def test_several_seeds_of_a_hasher_are_made_or_refused(drawn: Path, here: Path) -> None:
    """A hasher has no validation to choose the best seed by."""
    result = train(
        drawn, "backbone=compact", "weights=random", recipe="resnet-lsh", more=("--bits", "16", "--seeds", "2", "-q")
    )
    if result.exit_code:
        refused(result, "--seeds")
    else:
        assert Encoder.load("model").grains.bits == 16
