"""Results on disk: what is written is read, and what is no result is refused by name."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hashgrain.codes import Codes, Grains
from hashgrain.errors import EvaluationError
from hashgrain.evaluate import Figure, code_health, tally
from hashgrain.evaluate.comparison import main_figure
from hashgrain.evaluate.measure import measure
from hashgrain.evaluate.protocols import protocol
from hashgrain.evaluate.results import Result, Row, described_health, described_protocol, now, row_of
from hashgrain.evaluate.splitting import split
from made_pools import pool_of

PROTOCOL = {"name": "made", "version": 1, "manifest": "a" * 64, "seed": 0, "cutoff": None, "convention": "hash",
            "database": 90, "queries": 10, "train": 90, "relevance": "same class", "transform": "none",
            "about": "made"}  # fmt: skip


def measured_row(seed: int = 0, bits: int = 16) -> Row:
    dice = np.random.default_rng((seed, bits))
    codes = Codes.from_bits(dice.integers(0, 2, (60, bits)), Grains(look=bits))
    label = np.arange(60) % 3
    measured = measure([tally(codes[:12], codes[12:], label[:12], label[12:])], None, "symmetric")
    health = code_health(codes)["look"]
    return row_of(measured, method="made", kind="model", bits=bits, distance="symmetric", seed=seed, grain="look",
                  health=health)  # fmt: skip


def test_what_is_written_is_read(tmp_path: Path) -> None:
    rows = [measured_row(0), measured_row(1), Row("cosine", "reference", None, "cosine", 0, {"mAP@ALL hash": Figure(
        0.5, 0.1)})]  # fmt: skip
    result = Result(PROTOCOL, rows, ["a warning"], now())
    folder = result.write(tmp_path / "new/run")
    assert sorted(each.name for each in folder.iterdir()) == ["per_query.npz", "result.json"]
    for place in (folder, folder / "result.json"):
        found = Result.read(place)
        assert found.described() == result.described()
        assert found.manifest == "a" * 64
        for mine, yours in zip(found.rows, rows, strict=True):
            assert np.array_equal(mine.per_query, yours.per_query.astype(np.float32))
            assert mine.per_query.dtype == np.float64
    assert Result.read(found.write(tmp_path / "again")).described() == result.described()


VALUE = st.floats(0, 1)
FIGURES = st.dictionaries(st.text(st.characters(exclude_categories=["Cs"]), max_size=8), st.builds(
    Figure, VALUE, VALUE, st.none() | VALUE, st.none() | VALUE), max_size=4)  # fmt: skip


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40)
@given(st.lists(st.tuples(FIGURES, st.lists(VALUE, max_size=5)), max_size=4))
def test_any_figures_come_back_to_six_digits(tmp_path: Path, rows: list[tuple[dict[str, Figure], list[float]]]) -> None:
    made = [Row(f"ÄÖ {i}", "codes", 8, "asymmetric", i, figures, per_query=np.array(values)) for i, (figures, values)
            in enumerate(rows)]  # fmt: skip
    found = Result.read(Result(PROTOCOL, made).write(tmp_path))
    assert len(found.rows) == len(made)
    for mine, yours in zip(found.rows, made, strict=True):
        assert mine.name == yours.name
        assert set(mine.figures) == set(yours.figures)
        for name, figure in yours.figures.items():
            assert mine.figures[name].value == pytest.approx(figure.value, abs=6e-7)
            assert (mine.figures[name].worst is None) == (figure.worst is None)
        assert np.allclose(mine.per_query, yours.per_query, atol=1e-6)


def test_a_row_is_told_apart_by_method_width_and_distance_not_by_seed() -> None:
    row = Row("ITQ", "reference", 32, "symmetric", 0, {})
    assert row.name == replace(row, seed=5).name == "ITQ, 32 bits"
    assert replace(row, distance="asymmetric").name == "ITQ, 32 bits, asymmetric"
    assert replace(row, bits=None, distance="cosine").name == "ITQ"


def test_figures_that_are_no_numbers_are_not_written(tmp_path: Path) -> None:
    row = Row("made", "model", 8, "symmetric", 0, {"mAP": Figure(float("nan"), 0)})
    with pytest.raises(ValueError):
        Result(PROTOCOL, [row]).write(tmp_path)
    assert not (tmp_path / "result.json").exists()


def test_a_protocol_is_described_with_its_counts_and_rules(tmp_path: Path) -> None:
    manifest = split(pool_of([(f"class {i % 4}",) for i in range(40)]), protocol("folder"), 3)
    described = described_protocol(manifest, "about it")
    assert described["name"] == "folder"
    assert described["manifest"] == manifest.digest
    assert (described["queries"], described["train"], described["database"]) == (4, 36, 36)
    assert (described["classes"], described["seed"], described["train in database"]) == (4, 3, True)
    assert described["about"] == "about it"
    assert main_figure(described) == "mAP@ALL hash"
    assert Result.read(Result(described, []).write(tmp_path)).protocol == described


def test_the_main_figure_is_one_that_is_measured() -> None:
    row = measured_row()
    for cutoff, name in ((None, "mAP@ALL hash"), (1000, "mAP@ALL hash"), (48, "mAP@ALL hash")):
        assert main_figure(PROTOCOL | {"cutoff": cutoff, "database": 48}) == name
        assert name in row.figures
    assert main_figure(PROTOCOL | {"cutoff": 47, "database": 48, "convention": "ir"}) == "mAP@47 ir"


# --- what is no result


def written(folder: Path) -> Path:
    return Result(PROTOCOL, [measured_row(0), measured_row(1)]).write(folder)


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "1", "null", "{}", '"format"', '{"format": 1}', '{"format": "1"}', '{"format": 1, "rows": 3}',
     '{"format": 1, "rows": [1], "protocol": {}}', "[" * 100_000],
)  # fmt: skip
def test_other_json_is_refused_with_the_files_name(tmp_path: Path, text: str) -> None:
    (tmp_path / "result.json").write_text(text)
    with pytest.raises(EvaluationError, match=r"result\.json is not the result of an evaluation"):
        Result.read(tmp_path)


def without(described: dict[str, Any], *path: Any) -> dict[str, Any]:
    inner = described
    for step in path[:-1]:
        inner = inner[step]
    inner.pop(path[-1])
    return described


MISSING: list[tuple[str | int, ...]] = [
    ("protocol",),
    ("rows",),
    ("warnings",),
    ("created",),
    ("hashgrain",),
    ("format",),
]
MISSING += [("protocol", key) for key in PROTOCOL if key != "train"]
MISSING += [("rows", 0, key) for key in ("method", "kind", "bits", "distance", "seed", "figures", "curves", "health")]
MISSING += [("rows", 1, "figures", "mAP@ALL hash", "value")]


@pytest.mark.parametrize("path", MISSING)
def test_a_result_that_lacks_something_is_refused_and_says_what(tmp_path: Path, path: tuple[Any, ...]) -> None:
    file = written(tmp_path) / "result.json"
    file.write_text(json.dumps(without(json.loads(file.read_text()), *path)))
    with pytest.raises(EvaluationError, match=rf"result\.json is not the result of an evaluation.*{path[-1]}"):
        Result.read(tmp_path)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("made by",), [1]),
        (("protocol", "name"), [1]),
        (("protocol", "cutoff"), "x"),
        (("protocol", "queries"), "x"),
        (("protocol", "version"), True),
        (("rows", 0, "bits"), "x"),
        (("rows", 0, "seed"), [1]),
        (("rows", 0, "method"), 5),
        (("rows", 0, "figures", "mAP@ALL hash", "value"), "x"),
        (("rows", 0, "figures", "mAP@ALL hash", "value"), None),
        (("rows", 0, "figures", "mAP@ALL hash", "value"), float("nan")),
    ],
)
def test_what_is_of_another_kind_is_refused(tmp_path: Path, path: tuple[Any, ...], value: object) -> None:
    file = written(tmp_path) / "result.json"
    described = inner = json.loads(file.read_text())
    for step in path[:-1]:
        inner = inner[step]
    inner[path[-1]] = value
    file.write_text(json.dumps(described))
    with pytest.raises(EvaluationError, match=r"result\.json is not the result of an evaluation"):
        Result.read(tmp_path)


def test_wide_codes_keep_no_correlation_of_every_pair() -> None:
    dice = np.random.default_rng(0)
    for bits, drawn in ((512, 512), (520, 0)):
        health = code_health(Codes.from_bits(dice.integers(0, 2, (30, bits)), Grains(look=bits)))["look"]
        described = described_health(health)
        assert len(described["correlation"]) == drawn
        assert described["largest correlation"] > 0


def test_a_newer_format_asks_for_an_upgrade(tmp_path: Path) -> None:
    file = written(tmp_path) / "result.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"format": 2}))
    with pytest.raises(EvaluationError, match=r"result\.json has result format 2, .* reads up to 1: upgrade"):
        Result.read(tmp_path)


def test_a_missing_result_is_named(tmp_path: Path) -> None:
    for place in (tmp_path, tmp_path / "gone"):
        with pytest.raises(EvaluationError, match=r"cannot read the result .*No such file"):
            Result.read(place)


def test_figures_of_queries_may_be_missing_altogether(tmp_path: Path) -> None:
    (written(tmp_path) / "per_query.npz").unlink()
    assert [len(row.per_query) for row in Result.read(tmp_path).rows] == [0, 0]


def test_damaged_figures_of_queries_are_named(tmp_path: Path) -> None:
    file = written(tmp_path) / "per_query.npz"
    whole = file.read_bytes()
    dice = np.random.default_rng(0)
    for n in (0, 1, 10, len(whole) // 2, len(whole) - 5):
        file.write_bytes(whole[:n])
        with pytest.raises(EvaluationError, match=r"per_query\.npz is damaged, or belongs to another result"):
            Result.read(tmp_path)
    for place in dice.integers(0, len(whole), 300).tolist():
        file.write_bytes(whole[:place] + bytes([whole[place] ^ 255]) + whole[place + 1 :])
        try:
            Result.read(tmp_path)
        except EvaluationError as error:
            assert "per_query.npz" in str(error)


def test_figures_of_queries_of_another_result_are_named(tmp_path: Path) -> None:
    file = written(tmp_path) / "per_query.npz"
    np.savez(file, row0=np.zeros(3))
    with pytest.raises(EvaluationError, match=r"per_query\.npz is damaged, or belongs to another result"):
        Result.read(tmp_path)
    np.savez(file, row0=np.zeros(3), row1=np.array(["a"]))
    with pytest.raises(EvaluationError, match=r"per_query\.npz is damaged, or belongs to another result"):
        Result.read(tmp_path)
    with file.open("wb") as plain:
        np.save(plain, np.zeros(3))
    with pytest.raises(EvaluationError, match=r"per_query\.npz is damaged, or belongs to another result"):
        Result.read(tmp_path)
