"""A bundle says which pictures its model learned from, and `evaluate` refuses to ask with those."""

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
from hashgrain.apps.drawn_scenes import write_scenes
from hashgrain.apps.evaluation import Plan, evaluate_model
from hashgrain.errors import BundleError, EvaluationError
from hashgrain.evaluate.manifest import Manifest
from hashgrain.evaluate.overlap import Overlap
from hashgrain.evaluate.results import Result
from hashgrain.models import Bundle, seen
from hashgrain.models.seen import KEY, Seen, seen_by


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
    wrong: tuple[object, ...] = (None, [], "x", 7)
    for odd in wrong:
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


def measured(model: Path | str, drawings: Path, out: Path, **options: Any) -> Result:
    plan = Plan(references="none", **options)
    (folder,) = evaluate_model(Encoder.load(model), drawings, plan, out, lambda text: None, lambda done: None)
    return Result.read(folder)


def learned_warnings(result: Result) -> list[str]:
    return [text for text in result.warnings if "learned" in text]


def split_of(runs: Path) -> Manifest:
    return Manifest.read(next(runs.rglob("manifest.json.gz")))


def pictures_of(drawings: Path) -> list[Path]:
    return [path for path in drawings.rglob("*") if path.is_file()]


def test_queries_that_the_model_learned_from_are_refused_and_allowed_by_name(
    hashgrain: Run, drawings: Path, tmp_path: Path
) -> None:
    model = model_that_learnt_from(pictures_of(drawings), tmp_path / "model")
    command = ("evaluate", model, "--data", drawings, "--references", "none", "--out", tmp_path / "runs")
    refused = hashgrain(*command)
    assert refused.returncode == 1
    assert refused.stdout == b""
    (line,) = refused.stderr.decode().splitlines()  # before any picture is encoded
    assert "learned from 15 of the 15 queries (100.0%) and 45 of the 45 pictures of the database (100.0%)" in line
    assert "hashgrain train --protocol NAME" in line
    assert line.endswith("--allow-seen")
    assert not list((tmp_path / "runs").rglob("result.json"))

    allowed = hashgrain(*command, "--allow-seen", "--json")
    assert allowed.returncode == 0, allowed.stderr.decode()
    (result,) = json.loads(allowed.stdout)
    assert result["learned_from"] == {"queries": 15, "of_queries": 15, "database": 45, "of_database": 45, "beyond": 0}
    assert any("do not tell how it does on pictures new to it" in text for text in result["warnings"])
    page = next((tmp_path / "runs").rglob("report.html")).read_text()
    assert "<b>15</b> of 15 queries" in page

    again = hashgrain(*command)  # the run that stands is no way around it
    assert again.returncode == 1
    assert b"--allow-seen" in again.stderr


def test_a_few_queries_that_were_learned_from_are_refused_too(drawings: Path, tmp_path: Path) -> None:
    measured("default", drawings, tmp_path / "first")
    manifest = split_of(tmp_path / "first")
    model = model_that_learnt_from([drawings / manifest.names[manifest.queries[0]]], tmp_path / "model")
    with pytest.raises(EvaluationError, match=r"learned from 1 of the 15 queries \(6.7%\) and 0 of the 45"):
        measured(model, drawings, tmp_path / "second")
    with pytest.raises(EvaluationError, match="learned from 1 of the 15 queries"):
        measured(model, drawings, tmp_path / "third", manifest=next((tmp_path / "first").rglob("manifest.json.gz")))


def test_a_database_that_was_learned_from_is_stated_and_only_what_goes_beyond_the_protocol_is_warned_of(
    drawings: Path, tmp_path: Path
) -> None:
    measured("default", drawings, tmp_path / "first")
    manifest = split_of(tmp_path / "first")
    some = [drawings / manifest.names[i] for i in manifest.database[:3]]
    assert {manifest.hashes[i] for i in manifest.queries}.isdisjoint(manifest.hashes[i] for i in manifest.database[:3])
    result = measured(model_that_learnt_from(some, tmp_path / "some"), drawings, tmp_path / "second")
    assert result.learned_from == Overlap(0, 15, 3, 45, 0)
    assert learned_warnings(result) == []
    manifest = dataclasses.replace(manifest, train=manifest.train[2:])  # of which the third is still one
    file = manifest.write(tmp_path / "fewer.json.gz")
    result = measured(tmp_path / "some", drawings, tmp_path / "third", manifest=file)
    assert result.learned_from == Overlap(0, 15, 3, 45, 2)
    (warning,) = learned_warnings(result)
    assert "2 of the 45 pictures of the database that are not of the protocol's training part" in warning


def test_other_pictures_are_no_reason_to_refuse_and_a_model_without_a_record_is_said_to_have_none(
    hashgrain: Run, drawings: Path, tmp_path: Path
) -> None:
    (tmp_path / "other").write_bytes(b"none of them")
    model = model_that_learnt_from([tmp_path / "other"], tmp_path / "none")
    for which, said in ((model, b"learned from 0 of the 15 queries (0.0%) and 0 of the 45"), ("small", b"no record")):
        done = hashgrain("evaluate", which, "--data", drawings, "--references", "none", "--bits", 16)
        assert done.returncode == 0, done.stderr.decode()
        assert said in done.stderr
        assert b"warning: the model learned" not in done.stderr


def test_a_result_whose_counts_are_damaged_is_an_error_of_ours() -> None:
    assert Overlap.read(None) is None
    for odd in ({"queries": 1}, {**Overlap(0, 1, 0, 1, 0).described(), "queries": "many"}):
        with pytest.raises(EvaluationError, match="damaged"):
            Overlap.read(odd)
