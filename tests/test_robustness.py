"""How a model stands up to changed pictures, wrong labels and attacks, and the report that says so."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from conftest import Run, fill, make_picture
from hashgrain import Codes, Encoder, Grains
from hashgrain.apps.drawn_scenes import scenes
from hashgrain.errors import CodesError, ImageError, TrainingError
from hashgrain.evaluate import Finding, check_model, flip_labels, near_copy_recall
from hashgrain.evaluate.near_copies import CHANGES, recall_at_1
from hashgrain.models import Bundle


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    return Encoder.load(threads=1)


@pytest.fixture(scope="module")
def drawings() -> list[Image.Image]:
    return [scene.image for scene in scenes(looks_per_thing=3, copies=0)]


# --- near copies


def codes_of(*bits: str) -> Codes:
    return Codes.from_bits([[int(bit) for bit in row] for row in bits], Grains(look=4))


def test_ties_count_as_the_chance_of_being_drawn_first() -> None:
    originals, none = codes_of("0000", "1111"), codes_of("0000")[:0]
    assert recall_at_1(originals, originals, none) == 1
    assert recall_at_1(originals, originals, codes_of("0000", "0000")) == pytest.approx((1 / 3 + 1) / 2)
    assert recall_at_1(codes_of("0001", "0001"), originals, none) == 0.5  # the second is nearer to the first
    with pytest.raises(CodesError, match="one original"):
        recall_at_1(originals, originals[:1], none)


def test_every_change_changes_a_picture_and_the_model_still_finds_most(encoder: Encoder) -> None:
    photos = [make_picture(seed) for seed in range(20)]
    for name, change in CHANGES.items():
        changed = change(photos[0])
        assert changed.mode == "RGB", name
        assert changed.tobytes() != photos[0].tobytes(), name
        assert change(Image.new("RGB", (1, 1))).size >= (1, 1), name
    found = near_copy_recall(encoder.encode, photos, encoder.encode([make_picture(seed) for seed in range(50, 70)]))
    assert list(found) == list(CHANGES)
    assert all(0 <= recall <= 1 for recall in found.values())
    assert found["resize to 25 %"] > 0.9
    with pytest.raises(CodesError, match="no pictures"):
        near_copy_recall(encoder.encode, [])


# --- label noise


@given(st.integers(2, 9), st.integers(0, 60), st.floats(0, 1), st.integers(0, 1000))
def test_just_the_share_asked_for_gets_another_class(n_classes: int, n: int, share: float, seed: int) -> None:
    dice = np.random.default_rng(seed)
    labels = 10 * np.r_[np.arange(n_classes), dice.integers(0, n_classes, n)]
    before = labels.copy()
    flipped = flip_labels(labels, share, seed)
    assert (flipped != labels).sum() == round(share * len(labels))
    assert set(flipped) <= set(labels)
    assert np.array_equal(labels, before)
    assert np.array_equal(flipped, flip_labels(labels, share, seed))


def test_the_other_classes_are_drawn_evenly() -> None:
    labels = np.repeat(np.arange(5), 20_000)
    flipped = flip_labels(labels, 0.5, 3)
    for label in range(5):
        went = np.bincount(flipped[(labels == label) & (flipped != labels)], minlength=5)
        share = np.delete(went / went.sum(), label)
        np.testing.assert_allclose(share, 0.25, atol=0.02)


@pytest.mark.parametrize("share", [-0.1, 1.1, float("nan")])
def test_a_share_that_is_none_is_refused(share: float) -> None:
    with pytest.raises(TrainingError, match="from 0 to 1"):
        flip_labels(np.array([0, 1]), share, 0)


def test_one_class_alone_cannot_be_flipped() -> None:
    with pytest.raises(TrainingError, match="no other"):
        flip_labels(np.zeros(9, np.int64), 0.5, 0)
    assert flip_labels(np.zeros(9, np.int64), 0, 0).tolist() == [0] * 9
    assert flip_labels(np.zeros(0, np.int64), 0.5, 0).tolist() == []


@pytest.mark.slow
@pytest.mark.train
def test_a_model_is_trained_on_wrong_labels_and_judged_by_right_ones(
    tmp_path: Path, hashgrain: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("torch", reason="needs the train extra")
    from hashgrain.learn.data.hierarchy import parents_of
    from hashgrain.learn.data.labelled import load_labelled
    from hashgrain.learn.data.splits import hold_out, mislabel
    from hashgrain.learn.recipes import RECIPES
    from hashgrain.learn.run import train_bundle

    for thing, start in (("a/one", 0), ("a/two", 100), ("b/three", 200)):
        fill(tmp_path / "labelled" / thing, 16, start=start)
    training, held = hold_out(load_labelled(tmp_path / "labelled", 32, ("kind", "thing")), 4)
    wrong = mislabel(training, 0.25, 7)
    flipped = wrong.levels["thing"].ids != training.levels["thing"].ids
    assert flipped.sum() == round(0.25 * len(training)) == 9
    same = [parents_of(data.levels)["thing"].tolist() for data in (wrong, training)]
    assert same[0] == same[1]  # the kind went with the thing
    assert wrong.inputs is training.inputs

    given_to_train: list[Any] = []
    recipe = dataclasses.replace(RECIPES["quick"], size=32, held_out=4, label_noise=0.25, seed=7)

    def seen(recipe: object, backbone: object, *parts: object) -> None:
        given_to_train.extend(parts[:2])
        raise InterruptedError

    monkeypatch.setattr("hashgrain.learn.run.train_network", seen)
    with pytest.raises(InterruptedError):
        train_bundle(recipe, tmp_path / "labelled", tmp_path / "none", tmp_path / "none", lambda text: None)
    for part, expected in zip(given_to_train, (wrong, held), strict=True):
        for grain in ("kind", "thing"):
            assert np.array_equal(part.levels[grain].ids, expected.levels[grain].ids)

    small = [part for pair in ("batch=8", "held_out=4") for part in ("--set", pair)]
    ask = ("train", "--data", "labelled", "--out", "model", "--recipe", "quick", *small)
    done = hashgrain(*ask, "--label-noise", 0.25)
    assert done.returncode == 0, done.stderr
    assert b"9 of the training labels are made wrong" in done.stderr
    facts = Bundle.read(tmp_path / "model").training
    assert (facts["recipe"]["label_noise"], facts["data"]["mislabelled"]) == (0.25, 9)
    other = hashgrain(*ask)
    assert (other.returncode, b"another recipe" in other.stderr) == (1, True)
    for share in (1.5, -1):
        refused = hashgrain(*ask, "--label-noise", share)
        assert (refused.returncode, b"--label-noise" in refused.stderr) == (2, True)
    late = hashgrain(*ask, "--set", "label_noise=3", "--run", "other")
    assert (late.returncode, b"from 0 to 1" in late.stderr) == (1, True)


# --- the check of a model


class Twisted(Encoder):
    """The model in the package with something wrong about its outputs."""

    def __init__(self, twist: Callable[[np.ndarray], np.ndarray]) -> None:
        super().__init__(Bundle.read(), threads=1)
        self.twist = twist

    def outputs(self, pixels: np.ndarray) -> np.ndarray:
        return self.twist(super().outputs(pixels))


def named(findings: list[Finding]) -> dict[str, Finding]:
    assert len({finding.name for finding in findings}) == len(findings)
    return {finding.name: finding for finding in findings}


def failed(findings: list[Finding]) -> set[str]:
    return {finding.name for finding in findings if finding.passed is False}


def test_the_default_model_is_fit_for_use(encoder: Encoder, drawings: list[Image.Image]) -> None:
    findings = named(check_model(encoder, drawings))
    told = {"near copies"}
    assert {name for name, finding in findings.items() if finding.passed} == set(findings) - told
    assert findings["near copies"].passed is None
    assert set(findings["near copies"].figures) == set(CHANGES)
    assert {f"bits of {grain}" for grain in encoder.grains} < set(findings)


def test_a_collapsed_model_is_found(drawings: list[Image.Image]) -> None:
    same = Twisted(lambda outputs: np.repeat(np.linspace(-1, 1, 128, dtype=np.float32)[None], len(outputs), 0))
    findings = named(check_model(same, drawings))
    assert failed([*findings.values()]) == {"bits of kind", "bits of thing", "bits of look", "distinct codes"}
    assert findings["bits of kind"].figures["dead_bits"] == 32
    assert findings["distinct codes"].figures["largest_bucket"] == len(drawings)


@pytest.mark.slow
def test_bits_asleep_at_one_grain_are_found_there(drawings: list[Image.Image]) -> None:
    def asleep(outputs: np.ndarray) -> np.ndarray:
        return np.where(np.arange(128) < 32, 1, outputs).astype(np.float32)

    assert "bits of kind" in failed(check_model(Twisted(asleep), drawings))
    assert "distinct codes" not in failed(check_model(Twisted(asleep), drawings))


@pytest.mark.slow
def test_bits_that_hang_on_the_batch_are_found(drawings: list[Image.Image]) -> None:
    by_size = Twisted(lambda outputs: outputs + (len(outputs) == 1))
    assert "alone" in failed(check_model(by_size, drawings))
    by_place = Twisted(lambda outputs: outputs + np.linspace(0, 1, len(outputs), dtype=np.float32)[:, None])
    assert {"alone", "order"} <= failed(check_model(by_place, drawings))
    dice = np.random.default_rng(0)
    by_chance = Twisted(lambda outputs: outputs + dice.normal(size=outputs.shape).astype(np.float32))
    assert "repeated" in failed(check_model(by_chance, drawings))


def test_outputs_that_are_no_numbers_or_nothing_are_found(drawings: list[Image.Image]) -> None:
    (broken,) = check_model(Twisted(lambda outputs: np.where(outputs < 0, np.nan, outputs)), drawings)
    assert (broken.name, broken.passed, "not numbers" in broken.reason) == ("outputs", False, True)
    timid = Twisted(lambda outputs: np.where(np.arange(128) < 3, 0, outputs).astype(np.float32))
    assert "outputs" in failed(check_model(timid, drawings))


@pytest.mark.slow
def test_label_codes_of_another_width_are_found(drawings: list[Image.Image]) -> None:
    wrong: list[dict[str, dict[str, str]]] = [{"kind": {"cat": "ff"}}, {"kind": {"cat": "no hex"}}, {"nonsense": {}}]
    for labels in wrong:
        bundle = dataclasses.replace(Bundle.read(), labels=labels)
        assert failed(check_model(Encoder(bundle, threads=1), drawings)) == {"grains"}


def test_a_few_pictures_are_no_ground_for_a_judgement_on_bits(encoder: Encoder) -> None:
    few = [make_picture(seed) for seed in (1, 2, 3)] * 20  # copies do not make them more
    findings = named(check_model(encoder, few))
    assert not failed([*findings.values()])
    assert findings["distinct codes"].passed is None
    assert "not judged on 3 different pictures" in findings["bits of kind"].reason
    with pytest.raises(ImageError, match="no pictures"):
        check_model(encoder, [])


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return Bundle.read().write(tmp_path / "model")


@pytest.mark.slow
def test_the_command_checks_a_model_on_drawn_pictures(hashgrain: Run, bundle: Path) -> None:
    done = hashgrain("verify", bundle)
    assert done.returncode == 0, done.stderr
    said = done.stdout.decode()
    assert "drawn for the purpose" in said
    assert said.strip().endswith("is fit for use")
    assert "WRONG" not in said


@pytest.mark.slow
def test_the_command_checks_a_model_on_one_s_own_pictures(hashgrain: Run, bundle: Path, pictures: Path) -> None:
    (pictures / "broken.jpg").write_bytes(b"broken")
    done = hashgrain("verify", bundle, "--pictures", pictures, "--json")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert (report["ok"], report["pictures"]) == (True, f"20 pictures of {pictures}")
    by_name = {finding["name"]: finding for finding in report["findings"]}
    assert by_name["files"]["passed"] is True
    assert by_name["near copies"]["passed"] is None
    assert by_name["near copies"]["figures"]["resize to 25 %"] > 0.9
    default = hashgrain("verify", "default", "--pictures", pictures)
    assert (default.returncode, b"fit for use" in default.stdout) == (0, True)


def test_without_torch_the_attack_is_not_checked(hashgrain: Run, bundle: Path, pictures: Path, tmp_path: Path) -> None:
    (tmp_path / "none").mkdir()
    (tmp_path / "none/torch.py").write_text("raise ImportError('as if it were not installed')")
    places = [str(tmp_path / "none"), os.environ.get("PYTHONPATH", "")]
    done = hashgrain(
        "verify", bundle, "--pictures", pictures, env={"PYTHONPATH": os.pathsep.join(filter(None, places))}
    )
    assert done.returncode == 0, done.stderr
    assert b"not checked: needs hashgrain[train]" in done.stdout


def flip_a_byte(bundle: Path) -> None:
    content = bytearray((bundle / "model.onnx").read_bytes())
    content[len(content) // 2] ^= 1
    (bundle / "model.onnx").write_bytes(content)


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (flip_a_byte, "altered or damaged"),
        (lambda bundle: (bundle / "model.onnx").unlink(), "cannot read"),
        (lambda bundle: (bundle / "model.json").unlink(), "cannot read"),
        (lambda bundle: (bundle / "model.json").write_text("{"), "not JSON"),
    ],
    ids=["a byte", "no graph", "no description", "half a description"],
)
def test_a_damaged_model_is_told_and_is_a_failure(
    hashgrain: Run, bundle: Path, damage: Callable[[Path], None], reason: str
) -> None:
    damage(bundle)
    done = hashgrain("verify", bundle)
    assert (done.returncode, reason in done.stdout.decode()) == (1, True), done.stderr
    assert b"NOT fit for use" in done.stdout
    report = json.loads(hashgrain("verify", bundle, "--json").stdout)
    assert (report["ok"], report["findings"][0]["passed"]) == (False, False)


@pytest.mark.slow
def test_a_check_that_cannot_be_made_says_why(hashgrain: Run, bundle: Path, pictures: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for folder, reason in (("empty", b"no pictures"), ("missing", b"no such file or folder")):
        done = hashgrain("verify", bundle, "--pictures", folder)
        assert (done.returncode, reason in done.stderr, b"Traceback" in done.stderr) == (1, True, False)
    hashgrain("add", "test.hg", pictures)
    assert b"sound" in hashgrain("verify", "test.hg").stdout
    done = hashgrain("verify", "test.hg", "--pictures", pictures)
    assert (done.returncode, b"--pictures" in done.stderr) == (2, True)
