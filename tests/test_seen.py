"""A bundle says which pictures its model learnt from, and `evaluate` warns where it is asked about those."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from conftest import Run
from hashgrain import Encoder
from hashgrain.apps.evaluation import Plan, evaluate_model
from hashgrain.apps.scenes import write_scenes
from hashgrain.encoder import Bundle, seen
from hashgrain.encoder.seen import KEY, Seen, seen_by
from hashgrain.errors import BundleError
from hashgrain.evaluate.manifest import Manifest
from hashgrain.evaluate.results import Result


def contents(start: int, end: int) -> list[str]:
    return [hashlib.sha256(b"%d" % i).hexdigest() for i in range(start, end)]


def test_every_picture_learnt_from_is_known_and_one_in_ten_thousand_others() -> None:
    made = Seen.read(json.loads(json.dumps(Seen.of(contents(0, 20_000)).described())))
    assert made.holds(contents(0, 20_000)).all()
    assert made.pictures == 20_000
    wrong = int(made.holds(contents(20_000, 220_000)).sum())
    assert 5 <= wrong <= 45  # 20 expected
    assert made.false_yes == pytest.approx(seen.FALSE_YES, rel=0.05)
    assert len(made.bits) < 2.5 * 20_000


def test_a_record_is_as_the_formula_has_it() -> None:
    """The oracle: Bloom's filter, one picture and one bit at a time."""
    names = contents(0, 50)
    made = Seen.of([*names, *names])
    size = 8 * len(made.bits)
    expected = np.zeros(size, np.uint8)
    for name in names:
        first, step = (int.from_bytes(bytes.fromhex(name)[at : at + 8], "little") for at in (0, 8))
        for i in range(made.hashes):
            expected[(first + i * (step | 1)) % 2**64 % size] = 1
    assert np.array_equal(np.unpackbits(made.bits, bitorder="little"), expected)
    assert made.pictures == 50


def test_a_record_of_nothing_knows_nothing_and_of_too_many_stays_within_its_bounds(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert not Seen.of([]).holds(contents(0, 1000)).any()
    assert Seen.of([]).holds([]).shape == (0,)
    monkeypatch.setattr(seen, "MAX_BYTES", 2000)
    full = Seen.of(contents(0, 9000))
    assert len(full.bits) == 2000
    assert full.holds(contents(0, 9000)).all()
    assert full.false_yes > 0.1


@pytest.mark.parametrize(
    "change",
    [
        {"bloom": "not base64 !"},
        {"bloom": ""},
        {"bloom": 7},
        {"bloom": "A" * (12 << 20)},
        {"hashes": 10**9},
        {"hashes": 0},
        {"hashes": True},
        {"hashes": 1.5},
        {"pictures": -1},
        {"pictures": "many"},
    ],
)
def test_a_damaged_record_is_an_error_of_ours(change: dict[str, Any]) -> None:
    described = {**Seen.of(contents(0, 9)).described(), **change}
    with pytest.raises(BundleError, match="damaged"):
        seen_by({KEY: described})
    for odd in (None, [], "x", 7):
        with pytest.raises(BundleError, match="damaged"):
            seen_by({KEY: odd})


def test_what_a_model_stands_on_was_learnt_from_too() -> None:
    first, second, third = (Seen.of(contents(i, i + 1)).described() for i in range(3))
    training = {
        KEY: first,
        "backbone": {"training": {KEY: second}},
        "average of": [{"name": "a"}, {"name": "b", KEY: third}],
    }
    known = np.any([each.holds(contents(0, 4)) for each in seen_by(training)], axis=0)
    assert known.tolist() == [True, True, True, False]
    assert seen_by({"backbone": 3, "average of": None}) == []
    endless: dict[str, Any] = {KEY: first}
    for _ in range(1000):
        endless = {KEY: first, "backbone": {"training": endless}}
    assert len(seen_by(endless)) == seen.MAX_FILTERS


@pytest.fixture(scope="module")
def drawings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_scenes(tmp_path_factory.mktemp("data") / "drawings", looks_per_thing=4, copies=0)


def model_that_learnt_from(files: list[Path], folder: Path) -> Path:
    """The model in the package, said to have learnt from these files."""
    default = Bundle.read("default")
    record = Seen.of([hashlib.sha256(file.read_bytes()).hexdigest() for file in files]).described()
    return dataclasses.replace(default, training={**default.training, KEY: record}).write(folder)


def warnings_of(model: Path | str, drawings: Path, out: Path) -> list[str]:
    plan = Plan(references="none")
    (folder,) = evaluate_model(Encoder.load(model), drawings, plan, out, lambda text: None, lambda done: None)
    return [text for text in Result.read(folder).warnings if "learnt" in text]


def test_evaluate_on_the_pictures_a_model_learnt_from_warns_with_the_count(drawings: Path, tmp_path: Path) -> None:
    """Issue line C7."""
    files = sorted(drawings.rglob("*.jpg")) or sorted(path for path in drawings.rglob("*") if path.is_file())
    (warning,) = warnings_of(model_that_learnt_from(files, tmp_path / "all"), drawings, tmp_path / "runs")
    manifest = Manifest.read(next((tmp_path / "runs").rglob("manifest.json.gz")))
    queries, database = len(manifest.queries), len(manifest.database)
    assert f"{queries:,} of the {queries:,} queries (100.0%)" in warning
    assert f"{database:,} of the {database:,} pictures of the database (100.0%)" in warning


def test_the_warning_counts_only_what_was_learnt_from(drawings: Path, tmp_path: Path) -> None:
    assert warnings_of("default", drawings, tmp_path / "first") == []
    manifest = Manifest.read(next((tmp_path / "first").rglob("manifest.json.gz")))
    some = [drawings / manifest.names[i] for i in manifest.database[:3]]
    assert {manifest.hashes[i] for i in manifest.queries}.isdisjoint(manifest.hashes[i] for i in manifest.database[:3])
    (warning,) = warnings_of(model_that_learnt_from(some, tmp_path / "some"), drawings, tmp_path / "second")
    assert "queries" not in warning
    assert f"3 of the {len(manifest.database):,} pictures of the database" in warning
    others = tmp_path / "others"
    others.mkdir()
    (others / "other").write_bytes(b"none of them")
    model = model_that_learnt_from([others / "other"], tmp_path / "none")
    assert warnings_of(model, drawings, tmp_path / "third") == []


def test_the_command_prints_the_warning(hashgrain: Run, drawings: Path, tmp_path: Path) -> None:
    files = [path for path in drawings.rglob("*") if path.is_file()]
    model = model_that_learnt_from(files, tmp_path / "model")
    done = hashgrain("evaluate", model, "--data", drawings, "--references", "none", "--out", tmp_path / "runs")
    assert done.returncode == 0, done.stderr.decode()
    assert b"warning: the model learnt from" in done.stderr
