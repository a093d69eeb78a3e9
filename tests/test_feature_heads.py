"""Features of other programs, from the command line: a head that is trained or fitted, and codes that are searched."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from typer.testing import Result

from hashgrain.codefiles import load_codes
from hashgrain.codes import Grains
from hashgrain.errors import TrainingError
from hashgrain.hashers import ITQ, FeatureHead, Projection, SpectralHash, load_head
from in_process import hashgrain

WIDTH, CLASSES = 24, 6


def clusters(count: int, seed: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Rows around six centers, which stand by threes in two halves."""
    dice = np.random.default_rng(seed)
    ids = dice.integers(0, CLASSES, count)
    centers = np.random.default_rng(99).normal(0, 1, (CLASSES, WIDTH))
    return (centers[ids] + dice.normal(0, 1.4, (count, WIDTH))).astype(np.float32), ids


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "1000")
    for name, count, seed in (("train", 600, 0), ("new", 200, 1)):
        rows, ids = clusters(count, seed)
        np.save(tmp_path / f"{name}.npy", rows)
        np.save(tmp_path / f"{name}_labels.npy", ids)
        np.save(tmp_path / f"{name}_levels.npy", np.stack([ids // 3, ids], axis=1))
    (tmp_path / "paths.txt").write_text("".join(f"new/{i}.jpg\n" for i in range(200)))
    return tmp_path


def nearest_agree(bits: NDArray[np.uint8], ids: NDArray[np.int64]) -> float:
    """How often the ten nearest are of the class."""
    distance = (bits[:, None] != bits[None]).sum(axis=2) + np.eye(len(bits)) * 999
    return float((ids[np.argsort(distance, axis=1)[:, :10]] == ids[:, None]).mean())


def train(*more: object, features: str = "train.npy", out: str = "head.npz") -> Result:
    return hashgrain("features", "train", "--features", features, "--out", out, *more)


@pytest.mark.train
def test_a_head_is_trained_on_labels_and_its_codes_are_searched(files: Path) -> None:
    pytest.importorskip("torch", reason="needs the train extra")
    done = train("--labels", "train_labels.npy", "--bits", "32", "--json", "-q")
    assert done.exit_code == 0, done.stderr
    facts = json.loads(done.stdout)
    assert (facts["rows"] + facts["held_out"], facts["recipe"], facts["grains"]) == (600, "csq", {"thing": 32})
    made = hashgrain("features", "encode", "new.npy", "--head", "head.npz", "--paths", "paths.txt", "-o", "new.hgc")
    assert made.exit_code == 0, made.stderr
    codes = load_codes("new.hgc")
    head = load_head("head.npz")
    assert (codes.digest, head.digest) == (facts["digest"], facts["digest"])
    rows, ids = clusters(200, 1)
    assert codes.codes == head.codes(rows)
    assert np.array_equal(codes.codes.bits(), head.transform(rows) >= 0)
    learnt, plain = (nearest_agree(bits, ids) for bits in (codes.codes.bits(), ITQ(16).fit(rows).codes(rows).bits()))
    assert learnt > max(0.7, plain + 0.1)
    assert hashgrain("import", "new.hg", "new.hgc").exit_code == 0
    hits = json.loads(hashgrain("search", "new.hg", "--like", "new/0.jpg", "-k", "5", "--json").stdout)
    assert len(hits) == 5
    # Codes of another head are of another space, and do not get in.
    train("--hasher", "ITQ", "--bits", "16", out="itq.npz")
    hashgrain("features", "encode", "new.npy", "--head", "itq.npz", "--paths", "paths.txt", "-o", "itq.hgc")
    refused = hashgrain("import", "new.hg", "itq.hgc")
    assert refused.exit_code == 1
    assert "not Grains(thing=32)" in refused.stderr


@pytest.mark.train
def test_grains_of_ones_own_follow_the_levels_of_the_labels(files: Path) -> None:
    pytest.importorskip("torch", reason="needs the train extra")
    done = train(
        "--labels", "train_levels.npy", "--grains", "side:8,kind:24", "-q", "--set", "hidden=32", "--recipe", "dpsh"
    )
    assert done.exit_code == 0, done.stderr
    head = load_head("head.npz")
    assert (dict(head.grains), len(head.layers), head.method) == ({"side": 8, "kind": 24}, 2, "dpsh")
    rows, ids = clusters(200, 1)
    codes = head.codes(rows)
    assert nearest_agree(codes.at("side").bits(), ids // 3) > 0.9
    assert nearest_agree(codes.bits(), ids) > 0.8


def test_a_hasher_is_fitted_without_labels_and_without_torch(files: Path) -> None:
    for name, kind, seed in (("ITQ", ITQ, 3), ("SpectralHash", SpectralHash, None)):
        done = train("--hasher", name, "--bits", "16", *(("--set", f"seed={seed}") if seed else ()), out="h.npz")
        assert done.exit_code == 0, done.stderr
        rows, fitted = clusters(200, 1)[0], kind(16, **({"seed": seed} if seed else {})).fit(clusters(600, 0)[0])
        made = hashgrain("features", "encode", "new.npy", "--head", "h.npz", "--out", "new.npy.hgc", "--json")
        assert json.loads(made.stdout)["codes"] == 200
        assert load_codes("new.npy.hgc").codes == fitted.codes(rows)


@pytest.mark.train
@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("--labels", "train_labels.npy", "--recipe", "default"), "recipe default trains a network on pictures"),
        (("--recipe", "cib-hash"), "compares two views of each picture"),
        (("--recipe", "bi-half", "--labels", "train_labels.npy"), "recipe bi-half learns from no labels"),
        ((), "recipe csq learns from labels; give them (--labels)"),
        (("--labels", "new_labels.npy"), "has 200 labels for 600 items"),
        (("--labels", "none.npy"), "cannot read none.npy"),
        (("--labels", "train_labels.npy", "--bits", "a"), "whole numbers"),
        (("--labels", "train_labels.npy", "--grains", "a:8", "--bits", "8"), "leave --bits out"),
        (("--labels", "train_labels.npy", "--recipe", "none"), "no recipe 'none'"),
        (("--hasher", "none"), "there is no hasher 'none'"),
        (("--hasher", "ITQ", "--labels", "train_labels.npy"), "a hasher takes no"),
        (
            ("--hasher", "ITQ", "--set", "odd=1"),
            "whole numbers of up to nine digits for bits, seed, iterations, not odd=1",
        ),
        (("--hasher", "ITQ", "--set", f"seed={'9' * 30}"), "not seed=999"),
        (("--hasher", "ITQ", "--bits", "99"), "gives no 99 directions"),
    ],
)
def test_what_cannot_be_trained_is_told_in_a_line(files: Path, arguments: tuple, reason: str) -> None:
    pytest.importorskip("torch", reason="needs the train extra")
    done = train(*arguments)
    assert done.exit_code in (1, 2)
    assert reason in done.stderr, done.stderr
    assert not Path("head.npz").exists()


def test_features_that_do_not_fit_are_told_in_a_line(files: Path) -> None:
    train("--hasher", "ITQ", "--bits", "8")
    np.save("narrow.npy", np.zeros((3, 5), np.float32))
    np.save("broken.npy", np.full((3, WIDTH), np.nan, np.float32))
    (files / "two.txt").write_text("a\nb\n")
    for features, more, reason in (
        ("narrow.npy", (), "have 5 values a row, this head was fitted on 24"),
        ("broken.npy", (), "are NaN or infinite in 3 rows"),
        ("none.npy", (), "cannot read none.npy"),
        ("new.npy", ("--paths", "two.txt"), "has 200 rows and two.txt 2 paths"),
        ("new.npy", ("--head", "paths.txt"), "is not a saved hasher"),
    ):
        done = hashgrain("features", "encode", features, "--head", "head.npz", "-o", "codes.hgc", *more)
        assert (done.exit_code, reason in done.stderr) == (1, True), done.stderr
        assert not Path("codes.hgc").exists()
    assert train("--hasher", "ITQ", "--bits", "8", features="broken.npy", out="b.npz").exit_code == 1


def test_a_head_on_disk_is_checked(tmp_path: Path) -> None:
    layer = Projection(np.zeros(3, np.float32), np.eye(3, 4), np.zeros(4))
    head = FeatureHead(Grains(look=4), [layer], "made")
    head.save(tmp_path / "head.npz")
    assert load_head(tmp_path / "head.npz").digest == head.digest
    other = FeatureHead(Grains(kind=2, look=4), [layer], "made")
    assert other.digest != head.digest
    with pytest.raises(TrainingError, match="make no codes of 5 bits"):
        FeatureHead(Grains(look=5), [layer], "made")
    with pytest.raises(TrainingError, match="make no codes"):
        FeatureHead(Grains(look=4), [layer, layer], "made")
    with np.load(tmp_path / "head.npz") as file:
        arrays = dict(file)
    for change in ({"head": "[]"}, {"head": '{"layers": 2, "grains": {"look": 4}, "facts": {}}'}, {"format": 9}):
        np.savez(tmp_path / "bad.npz", **(arrays | change))
        with pytest.raises(TrainingError, match=r"is not a saved head|upgrade hashgrain"):
            load_head(tmp_path / "bad.npz")
