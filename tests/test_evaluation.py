"""`hashgrain evaluate`, `compare` and `protocols` as a person runs them, on pictures we drew."""

from __future__ import annotations

import json
import os
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from conftest import ROOT, Run
from hashgrain import Codes, Grains
from hashgrain.apps.drawn_scenes import write_scenes
from hashgrain.cli.keys import snake_keys
from hashgrain.codefiles import save_codes
from hashgrain.evaluate import Figure, as_labels, average_precision, precision, tally
from hashgrain.evaluate.manifest import Manifest
from hashgrain.evaluate.results import Result

WIDTHS = (16, 32)


@pytest.fixture(scope="module")
def drawings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """kind/thing/picture.jpg: 15 things in 5 kinds, 12 looks each."""
    return write_scenes(tmp_path_factory.mktemp("data") / "drawings", looks_per_thing=12, copies=0)


@pytest.fixture
def run(hashgrain: Run, drawings: Path) -> Run:
    def evaluate(*options: object, target: object = "default", fails: bool = False) -> Any:
        done = hashgrain("evaluate", target, "--data", drawings, *options)
        assert (done.returncode == 1) == fails, done.stderr.decode()
        assert b"Traceback" not in done.stderr
        return done

    return evaluate


@pytest.fixture(scope="module")
def runs(drawings: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two seeds with every reference method, made once."""
    from hashgrain.apps.evaluation import Plan, evaluate_model
    from hashgrain.models import Encoder

    out = tmp_path_factory.mktemp("runs")
    plan = Plan(seeds=(0, 1), widths=WIDTHS, references="all", asymmetric=True, label_noise=(0.4,))
    folders = evaluate_model(Encoder.load(), drawings, plan, out, lambda text: None, lambda done: None)
    assert [folder.name for folder in folders] == ["small-folder-seed0", "small-folder-seed1"]
    return out


def rows_by_name(result: Result) -> dict[str, Any]:
    return {row.name: row for row in result.rows}


def test_a_run_has_the_model_at_every_width_and_every_reference(runs: Path) -> None:
    rows = rows_by_name(Result.read(runs / "small-folder-seed0"))
    model = [f"small, {bits} bits{how}" for bits in WIDTHS for how in ("", ", asymmetric")]
    by_width = (
        "PCA + rotation",
        "ITQ",
        "LSH",
        "color histogram, PCA + rotation",
        "perceptual hash",
    )
    references = [f"{name}, {bits} bits" for bits in WIDTHS for name in by_width]
    references += [f"product quantizer, {bits} bits, asymmetric" for bits in WIDTHS]
    cosines = ["features, float cosine", "color histogram, cosine"]
    classifiers = ["classifier as code, 15 bits", "classifier as code, 40% of its labels wrong, 15 bits"]
    assert set(rows) == {*model, *references, *cosines, *classifiers}
    assert rows["small, 32 bits"].grain == "kind"
    right, wrong = (rows[name].figures["mAP@ALL hash"].value for name in classifiers)
    assert wrong < right
    chance = 1 / 15
    assert all(row.figures["P@1"].value > chance for row in rows.values())


def test_the_figures_are_those_of_the_codes(runs: Path, drawings: Path) -> None:
    """From the manifest and the encoder alone, by hand."""
    from hashgrain import Encoder

    manifest = Manifest.read(runs / "small-folder-seed0/manifest.json.gz")
    codes = Encoder.load().encode([drawings / name for name in manifest.names])
    prefix = Codes(codes.at("kind").words, Grains(look=32))
    labels = manifest.labels()
    counts = tally(
        prefix[manifest.queries], prefix[manifest.database], labels[manifest.queries], labels[manifest.database]
    )
    result = Result.read(runs / "small-folder-seed0")
    row = rows_by_name(result)["small, 32 bits"]
    assert row.figures["mAP@ALL hash"].value == pytest.approx(average_precision(counts).mean(), abs=1e-6)
    assert row.figures["P@10"].value == pytest.approx(precision(counts, 10).mean(), abs=1e-6)
    np.testing.assert_allclose(row.per_query, average_precision(counts), atol=1e-6)
    coarser = counts.relevant_at(1)
    assert row.figures["superclass: P@10"].value == pytest.approx(precision(coarser, 10).mean(), abs=1e-6)
    assert result.protocol["manifest"] == manifest.digest
    assert (result.protocol["queries"], result.protocol["database"]) == (15, 165)


def test_ties_bound_every_figure_and_curves_are_sane(runs: Path) -> None:
    for row in Result.read(runs / "small-folder-seed0").rows:
        for name, figure in row.figures.items():
            assert figure.value >= 0 or "nDCG" in name
            if figure.worst is not None and figure.best is not None:
                assert figure.worst - 1e-6 <= figure.value <= figure.best + 1e-6, (row.name, name)
        recall = row.curves["by rank"]["recall"]
        assert list(recall) == sorted(recall)
        assert recall[-1] == pytest.approx(1)
        if row.distance == "symmetric":
            pairs = sum(map(sum, row.curves["distances"].values()))
            assert pairs == 15 * 165


def test_p_at_10_stands_beside_the_most_it_can_be_where_classes_are_small(
    hashgrain: Run, run: Run, drawings: Path, tmp_path: Path
) -> None:
    few = tmp_path / "few"
    for picture in sorted(drawings.rglob("*.jpg")):
        if picture.stem.endswith(tuple("0123")) and not picture.stem.endswith("10"):
            (few / picture.parent.relative_to(drawings)).mkdir(parents=True, exist_ok=True)
            shutil.copy(picture, few / picture.relative_to(drawings))
    done = hashgrain("evaluate", "default", "--data", few, "--bits", 16, "--references", "none", "--json")
    assert done.returncode == 0, done.stderr
    (result,) = json.loads(done.stdout)
    manifest = Manifest.read(tmp_path / "runs/evaluate/small-folder-seed0/manifest.json.gz")
    searched = [manifest.classes[i] for i in manifest.database.tolist()]
    most = [min(10, searched.count(manifest.classes[i])) / 10 for i in manifest.queries.tolist()]
    figures = result["rows"][0]["figures"]
    assert figures["P@10 at most"]["value"] == pytest.approx(np.mean(most), abs=1e-6)
    assert np.mean(most) < 0.6
    assert figures["P@10"]["value"] <= figures["P@10 at most"]["value"]
    assert figures["P@10"]["value"] < figures["R-precision"]["value"] <= 1
    line = hashgrain("evaluate", "default", "--data", few, "--bits", 16, "--references", "none").stdout.decode()
    assert f"{np.mean(most):.4f}" in line
    (usual,) = json.loads(run("--bits", 16, "--references", "none", "--json", "--quiet").stdout)
    assert "P@10 at most" not in usual["rows"][0]["figures"]  # 11 of each class are searched


def test_a_width_that_a_reference_cannot_have_leaves_it_out(run: Run) -> None:
    (result,) = json.loads(run("--bits", "17", "--references", "all", "--json", "--quiet").stdout)
    methods = {row["method"] for row in result["rows"] if row["bits"] == 17}
    assert "perceptual hash" not in methods
    assert {"small", "ITQ", "LSH", "PCA + rotation"} <= methods


def test_a_finished_run_is_not_made_again(run: Run, tmp_path: Path) -> None:
    first = run("--bits", 16, "--references", "none", "--out", "out")
    file = tmp_path / "out/small-folder-seed0/result.json"
    before = file.stat().st_mtime_ns
    again = run("--bits", 16, "--references", "none", "--out", "out")
    assert b"finished already" in again.stderr
    assert file.stat().st_mtime_ns == before
    assert again.stdout == first.stdout
    other = run("--bits", 32, "--references", "none", "--out", "out")
    assert b"measuring small, 32 bits" in other.stderr


def test_a_bundle_cannot_choose_where_its_run_goes(drawings: Path, tmp_path: Path) -> None:
    from hashgrain.apps.evaluation import Plan, evaluate_model
    from hashgrain.models import Bundle, Encoder

    named = replace(Bundle.read("default"), name="../../away/../x y")
    plan = Plan(widths=(16,), references="none")
    (folder,) = evaluate_model(Encoder(named), drawings, plan, tmp_path / "out", lambda text: None, lambda done: None)
    assert folder.parent == tmp_path / "out"
    assert {place.name for place in tmp_path.iterdir()} == {"out"}


def test_json_is_what_the_run_holds(run: Run, tmp_path: Path) -> None:
    (printed,) = json.loads(run("--bits", "16", "--references", "usual", "--json", "--quiet").stdout)
    stored = json.loads((tmp_path / "runs/evaluate/small-folder-seed0/result.json").read_text())
    assert {name: value for name, value in printed.items() if name != "run"} == snake_keys(stored)


def test_the_page_shows_queries_that_went_well_and_badly(runs: Path) -> None:
    page = (runs / "small-folder-seed0/report.html").read_text()
    assert page.count("Went well") == page.count("Went badly") == 4
    assert page.count("data:image/jpeg;base64,") == 8 * 7
    assert "✓ right" in page
    assert str(runs) not in page


def test_a_browser_shows_the_page_of_a_run(browser: Any, runs: Path) -> None:
    said: list[str] = []
    tab = browser.new_page(viewport={"width": 1200, "height": 900})
    tab.on("console", lambda message: said.append(message.text))
    tab.on("request", lambda request: said.extend([request.url] * (not request.url.startswith(("file:", "data:")))))
    tab.goto((runs / "small-folder-seed0/report.html").as_uri())
    rows = tab.locator("[aria-label=Figures] tbody tr:not(.group)").all_inner_texts()
    pictures = tab.eval_on_selector_all("img", "all => all.filter(one => one.naturalWidth > 0).length")
    assert tab.evaluate("document.scrollingElement.scrollWidth <= innerWidth")
    tab.close()
    result = Result.read(runs / "small-folder-seed0")
    first = result.rows[0].figures["mAP@ALL hash"].value
    assert len(rows) == len(result.rows)
    assert f"{first:.3f}" in rows[0]
    assert pictures == 8 * 7
    assert said == []


def test_codes_of_another_program_are_scored_the_same(
    hashgrain: Run, runs: Path, drawings: Path, tmp_path: Path
) -> None:
    """Our own codes, written as another program would, come to our own figures."""
    from hashgrain import Encoder

    manifest = Manifest.read(runs / "small-folder-seed0/manifest.json.gz")
    bits = Encoder.load().encode([drawings / name for name in manifest.names]).bits()[:, :32]
    own = rows_by_name(Result.read(runs / "small-folder-seed0"))["small, 32 bits"].figures
    forms = {"signs": bits.astype(np.int8) * 2 - 1, "packed": np.packbits(bits, axis=1), "plain": bits.astype(bool)}
    for name, table in forms.items():
        (tmp_path / name).mkdir()
        np.save(tmp_path / name / "queries.npy", table[manifest.queries])
        np.save(tmp_path / name / "database.npy", table[manifest.database])
        done = hashgrain("evaluate", name, "--manifest", runs / "small-folder-seed0/manifest.json.gz", "--json")
        assert done.returncode == 0, done.stderr
        (result,) = json.loads(done.stdout)
        assert result["protocol"]["manifest"] == manifest.digest
        assert result["rows"][0]["figures"]["mAP@ALL ir"]["value"] == pytest.approx(own["mAP@ALL ir"].value, abs=1e-6)
    (tmp_path / "tables").mkdir()
    for side, index in (("queries", manifest.queries), ("database", manifest.database)):
        save_codes(tmp_path / f"tables/{side}.parquet", Codes.from_bits(bits[index], Grains(look=32)))
    done = hashgrain("evaluate", "tables", "--manifest", runs / "small-folder-seed0/manifest.json.gz", "--json")
    (result,) = json.loads(done.stdout)
    assert result["rows"][0]["figures"]["mAP@ALL ir"]["value"] == pytest.approx(own["mAP@ALL ir"].value, abs=1e-6)
    manifested = ("--manifest", runs / "small-folder-seed0/manifest.json.gz", "--data", drawings)
    assert hashgrain("evaluate", "signs", *manifested).returncode == 0
    page = (tmp_path / "runs/evaluate/signs/report.html").read_text()
    assert page.count("data:image/jpeg;base64,") == 8 * 7
    compared = hashgrain("compare", runs / "small-folder-seed0", "runs/evaluate/signs")
    assert compared.returncode == 0, compared.stderr
    assert b"signs, 32 bits" in compared.stdout


def test_codes_may_bring_labels_of_their_own(hashgrain: Run, tmp_path: Path) -> None:
    dice = np.random.default_rng(0)
    (tmp_path / "mine").mkdir()
    sets = {name: (dice.random((n, 7)) < 0.3) for name, n in (("query", 20), ("database", 300))}
    for name, table in sets.items():
        np.save(tmp_path / "mine" / f"{name}_labels.npy", table)
    np.save(tmp_path / "mine/queries.npy", dice.normal(size=(20, 24)).astype(np.float32))
    np.save(tmp_path / "mine/database.npy", dice.integers(0, 2, (300, 24), np.int8))
    done = hashgrain("evaluate", "mine", "--asymmetric", "--json")
    assert done.returncode == 0, done.stderr
    (result,) = json.loads(done.stdout)
    assert [row["distance"] for row in result["rows"]] == ["symmetric", "asymmetric"]
    assert result["protocol"]["relevance"] == "shares a label"
    queries = Codes.from_bits(np.load(tmp_path / "mine/queries.npy") >= 0, Grains(look=24))
    database = Codes.from_bits(np.load(tmp_path / "mine/database.npy"), Grains(look=24))
    counts = tally(queries, database, as_labels(sets["query"]), as_labels(sets["database"]))
    figure = result["rows"][0]["figures"]["mAP@ALL hash"]["value"]
    assert figure == pytest.approx(average_precision(counts).mean(), abs=1e-6)
    lost = int((counts.relevant == 0).sum())
    assert any(f"{lost} queries" in text for text in result["warnings"]) == (lost > 0)


def test_runs_are_compared_with_spreads_and_noise(hashgrain: Run, runs: Path) -> None:
    done = hashgrain("compare", runs / "small-folder-seed0", runs / "small-folder-seed1", "--json")
    assert done.returncode == 0, done.stderr
    (group,) = json.loads(done.stdout)
    assert group["seeds"] == [0, 1]
    assert len(group["manifests"]) == 2
    for method in group["methods"]:
        assert method["runs"] == 2
        assert method["figures"]["mAP@ALL hash"]["spread"] is not None
    best = [method for method in group["methods"] if method["against_the_best"] is None]
    assert sorted(method["bits"] or 0 for method in best) == [0, 15, 16, 32]
    page = hashgrain("compare", runs / "small-folder-seed0", runs / "small-folder-seed1").stdout.decode()
    assert "| **small, 32 bits** | 2 |" in page
    assert "within noise" in page


def test_the_pages_of_results_are_what_their_facts_make() -> None:
    """Nothing on them is typed by hand."""
    from hashgrain.report.comparison_page import comparison_page

    stored = sorted((ROOT / "docs/results").glob("*.json"))
    assert stored
    for file in stored:
        facts = json.loads(file.read_text())
        assert file.with_suffix(".md").read_text() == comparison_page(facts["groups"], facts["title"])


def test_two_models_have_references_of_their_own_in_one_table(hashgrain: Run, runs: Path) -> None:
    """PCA of one model's features is not PCA of another's; a perceptual hash is the same beside any model."""
    first = Result.read(runs / "small-folder-seed0")
    changed = {"P@10": Figure(0.5, 0.1), "mAP@ALL hash": Figure(0.1, 0.1, 0.1, 0.1)}
    rows = [
        row if row.method == "perceptual hash" else replace(row, figures={**row.figures, **changed})
        for row in first.rows
    ]
    made_by = {**first.made_by, "model": "other", "digest": "f" * 64}
    replace(first, rows=rows, made_by=made_by).write(runs.parent / "other")
    done = hashgrain("compare", runs / "small-folder-seed0", runs.parent / "other")
    assert done.returncode == 0, done.stderr
    page = done.stdout.decode()
    assert "PCA + rotation, 16 bits (other)" in page
    assert "PCA + rotation, 16 bits (small)" in page
    assert page.count("| perceptual hash, 16 bits |") == 1


def test_runs_on_other_pictures_are_not_compared(hashgrain: Run, runs: Path) -> None:
    """The model's row of seed 0 beside a row that exists for seed 1 only."""
    first, second = (Result.read(runs / f"small-folder-seed{seed}") for seed in (0, 1))
    place = runs.parent / "apart"
    shutil.rmtree(place, ignore_errors=True)
    for name, result, rows in (("a", first, first.rows[:1]), ("b", second, second.rows[1:2])):
        Result(result.protocol, rows, (), result.created).write(place / name)
    done = hashgrain("compare", place / "a", place / "b")
    assert done.returncode == 0
    assert b"not comparable" in done.stderr
    assert done.stdout.decode().count("## folder") == 2


def test_protocols_are_listed_shown_and_drawn(hashgrain: Run, drawings: Path, tmp_path: Path) -> None:
    assert b"cifar10-1" in hashgrain("protocols").stdout
    shown = hashgrain("protocols", "nuswide_21").stdout.decode()
    assert "193,734 database" in shown
    done = hashgrain("protocols", "folder", "--data", drawings, "--out", "split", "--features", "default")
    assert done.returncode == 0, done.stderr
    manifest = Manifest.read(tmp_path / "split/manifest.json.gz")
    features, labels = np.load(tmp_path / "split/queries.npy"), np.load(tmp_path / "split/queries_labels.npy")
    assert (features.shape, labels.shape) == ((15, 384), (15, 2))
    assert manifest.digest in done.stdout.decode()


def test_what_protocols_writes_is_what_evaluate_reads(hashgrain: Run, drawings: Path, tmp_path: Path) -> None:
    """Labels of a split that features were written of go beside codes as they are called, and bits are as asked for."""
    assert (
        hashgrain("protocols", "folder", "--data", drawings, "--out", "split", "--features", "default").returncode == 0
    )
    (tmp_path / "mine").mkdir()
    for side in ("queries", "database"):
        np.save(tmp_path / f"mine/{side}.npy", np.load(tmp_path / f"split/{side}.npy")[:, :48] - 0.1)
        shutil.copy(tmp_path / f"split/{side}_labels.npy", tmp_path / "mine")
    done = hashgrain("evaluate", "mine", "--bits", "16,32", "--asymmetric", "--json")
    assert done.returncode == 0, done.stderr
    (own,) = json.loads(done.stdout)
    assert [(row["bits"], row["distance"]) for row in own["rows"]] == [
        (bits, distance) for bits in (16, 32) for distance in ("symmetric", "asymmetric")
    ]
    assert own["made_by"]["bits"] == [16, 32]
    for bits, row in zip((16, 32), own["rows"][::2], strict=True):
        (tmp_path / f"cut-{bits}").mkdir()
        for side in ("queries", "database"):
            np.save(tmp_path / f"cut-{bits}/{side}.npy", np.load(tmp_path / f"mine/{side}.npy")[:, :bits] >= 0)
        cut = hashgrain("evaluate", f"cut-{bits}", "--manifest", "split/manifest.json.gz", "--json")
        (by_manifest,) = json.loads(cut.stdout)
        assert row["figures"]["mAP@ALL hash"] == by_manifest["rows"][0]["figures"]["mAP@ALL hash"]
    for wrong in ("49", "0,16", "16,x"):
        refused = hashgrain("evaluate", "mine", "--bits", wrong)
        assert refused.returncode == 1
        assert b"--bits" in refused.stderr
        assert b"Traceback" not in refused.stderr


def test_the_script_of_the_docs_makes_codes_that_are_scored(hashgrain: Run, drawings: Path, tmp_path: Path) -> None:
    pytest.importorskip("sklearn", reason="the script uses scikit-learn")
    made = hashgrain("protocols", "folder", "--data", drawings, "--out", "split", "--features", "default")
    assert made.returncode == 0, made.stderr
    (script,) = re.findall(r"```python title=\"outside.py\"\n(.*?)```", (ROOT / "docs/howto.md").read_text(), re.DOTALL)
    import subprocess
    import sys

    subprocess.run([sys.executable, "-c", script], cwd=tmp_path, check=True)
    done = hashgrain("evaluate", "sklearn-64", "--manifest", "split/manifest.json.gz", "--json")
    assert done.returncode == 0, done.stderr
    (result,) = json.loads(done.stdout)
    assert result["rows"][0]["bits"] == 64
    assert result["rows"][0]["figures"]["P@1"]["value"] > 0.5


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--protocol", "cifar10-3"), "cifar10-1"),
        (("--protocol", "cifar10-1"), "cifar10-1 has 60000 pictures, here are 180"),
        (("--bits", "16,x"), "--bits"),
        (("--bits", "0,16"), "1 to 128"),
        (("--bits", "256"), "1 to 128"),
        (("--references", "some"), "usual or all or none"),
        (("--label-noise", "1.5"), "label noise"),
        (("--manifest", "none.json.gz"), "none.json.gz"),
        (("--manifest", "none.json.gz", "--protocol", "folder"), "one or the other"),
        (("--seeds=0,-1",), "a seed of -1"),
        (("--seeds", ""), "a seed at least"),
        (("--references", "none", "--label-noise", "0.5"), "label noise"),
        (("--out", "/dev/null"), "/dev/null"),
        (("--out", "/dev/null/deep"), "/dev/null/deep"),
    ],
)
def test_what_makes_no_sense_is_said(run: Run, options: tuple[str, ...], says: str) -> None:
    done = run(*options, fails=True)
    assert says in done.stderr.decode()
    assert len(done.stderr.decode().strip().splitlines()) == 1  # before any picture is encoded


def test_a_changed_picture_is_named(run: Run, hashgrain: Run, drawings: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(drawings, copy)
    assert hashgrain("protocols", "folder", "--data", copy, "--out", "split").returncode == 0
    manifest = Manifest.read(tmp_path / "split/manifest.json.gz")
    changed, gone = (manifest.names[i] for i in manifest.database[:2].tolist())
    Image.new("RGB", (60, 60), "red").save(copy / changed)
    (copy / gone).unlink()
    done = hashgrain("evaluate", "default", "--data", copy, "--manifest", "split/manifest.json.gz")
    assert done.returncode == 1
    assert f"{changed} (changed), {gone} (missing)" in done.stderr.decode() or (
        f"{gone} (missing)" in done.stderr.decode() and f"{changed} (changed)" in done.stderr.decode()
    )


def test_broken_pictures_and_duplicates_are_told_in_the_result(hashgrain: Run, drawings: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(drawings, copy)
    some = sorted(copy.rglob("*.jpg"))
    (some[0].parent / "broken.jpg").write_bytes(b"\xff\xd8 no picture")
    for picture in some[:40]:  # three of each, and four of a class ask: one query at least has its like in the database
        for twin in ("twin-", "third-"):
            shutil.copy(picture, picture.with_name(twin + picture.name))
    done = hashgrain("evaluate", "default", "--data", copy, "--bits", 16, "--references", "none", "--json")
    assert done.returncode == 0, done.stderr
    (result,) = json.loads(done.stdout)
    warnings = " ".join(result["warnings"])
    assert "broken.jpg" in warnings
    assert "the same content as a query" in warnings


def test_pictures_that_cannot_be_read_do_not_stop_a_finished_run_from_being_found(
    hashgrain: Run, drawings: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(drawings, copy)
    (next(copy.rglob("*.jpg")).parent / "gone.jpg").symlink_to(tmp_path / "nowhere.jpg")
    for said in (b"measuring", b"finished already"):
        done = hashgrain("evaluate", "default", "--data", copy, "--bits", 16, "--references", "none")
        assert done.returncode == 0, done.stderr
        assert said in done.stderr
        assert b"1 pictures could not be opened" in done.stderr
    done = hashgrain("protocols", "folder", "--data", copy, "--out", "split", "--features", "default")
    assert done.returncode == 0, done.stderr
    assert b"gone.jpg" in done.stderr


def test_a_picture_of_a_manifest_that_cannot_be_opened_is_told_as_such(
    hashgrain: Run, drawings: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(drawings, copy)
    (next(copy.rglob("*.jpg")).parent / "broken.jpg").write_bytes(b"no picture")
    assert hashgrain("protocols", "folder", "--data", copy, "--out", "split").returncode == 0
    done = hashgrain("evaluate", "default", "--data", copy, "--manifest", "split/manifest.json.gz")
    assert done.returncode == 1
    assert b"broken.jpg (cannot be opened)" in done.stderr


def test_names_that_are_no_utf_8_are_evaluated(hashgrain: Run, drawings: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(drawings, copy)
    for picture in sorted(copy.rglob("bird-*.jpg")):
        os.rename(picture, os.fsencode(picture.parent) + b"/\xff" + os.fsencode(picture.name))
    done = hashgrain("evaluate", "default", "--data", copy, "--bits", 16, "--references", "none")
    assert done.returncode == 0, done.stderr


def test_the_examples_show_the_pictures_of_the_manifest_whatever_they_are_called_now(
    hashgrain: Run, drawings: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(drawings, copy)
    assert hashgrain("protocols", "folder", "--data", copy, "--out", "split").returncode == 0
    pages = []
    for _ in range(2):  # and once more with all names given to other pictures
        options = ("--manifest", "split/manifest.json.gz", "--bits", 16, "--references", "none", "--out", "out")
        done = hashgrain("evaluate", "default", "--data", copy, *options)
        assert done.returncode == 0, done.stderr
        pages.append((tmp_path / "out/small-folder-seed0/report.html").read_text().partition("<h2>Examples</h2>")[2])
        shutil.rmtree(tmp_path / "out")
        for folder in {picture.parent for picture in copy.rglob("*.jpg")}:
            names = sorted(folder.glob("*.jpg"))
            contents = [name.read_bytes() for name in names]
            for name, content in zip(names, [*contents[1:], contents[0]], strict=True):
                name.write_bytes(content)
    assert "data:image" in pages[0]
    assert sorted(re.findall('data:image[^"]*', pages[0])) == sorted(re.findall('data:image[^"]*', pages[1]))


def test_a_run_that_is_stopped_over_an_old_one_leaves_no_result(
    runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the figures of the old run would stand beside the queries of the new one."""
    from hashgrain.apps import evaluation

    result = Result.read(runs / "small-folder-seed0")
    evaluation.write_run(tmp_path, result, None, [])
    monkeypatch.setattr(evaluation, "report_page", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        evaluation.write_run(tmp_path, result, None, [])
    assert not (tmp_path / "result.json").exists()


def test_few_pictures_have_the_references_they_are_enough_for(hashgrain: Run, drawings: Path, tmp_path: Path) -> None:
    some = sorted(drawings.rglob("*.jpg"))
    for count, which in ((71, "usual"), (40, "all")):  # 64 and 36 to learn from
        rows = "".join(f"{picture},{i % 2}\n" for i, picture in enumerate(some[:count]))
        (tmp_path / "few.csv").write_text("path,label\n" + rows)
        done = hashgrain("evaluate", "default", "--data", "few.csv", "--bits", "16,64", "--references", which, "--json")
        assert done.returncode == 0, done.stderr
        (result,) = json.loads(done.stdout)
        assert [row["bits"] for row in result["rows"] if row["method"] == "PCA + rotation"] == [16]


def test_what_cannot_be_written_is_said_in_one_line(hashgrain: Run, runs: Path, drawings: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "folder.md").mkdir()
    for command in (
        ("compare", runs / "small-folder-seed0", "--out", "folder.md"),
        ("compare", runs / "small-folder-seed0", "--out", "file/page.md"),
        ("compare", runs / "small-folder-seed0", "--out", "page.json"),
        ("protocols", "folder", "--data", drawings, "--out", "file"),
        ("protocols", "folder", "--data", drawings, "--out", "file", "--features", "default"),
    ):
        done = hashgrain(*command)
        assert done.returncode == 1
        assert b"Traceback" not in done.stderr
        assert b"error: " in done.stderr


def test_options_of_models_are_not_silently_dropped_for_codes(hashgrain: Run, tmp_path: Path) -> None:
    (tmp_path / "codes").mkdir()
    for name, n in (("queries", 4), ("database", 6)):
        np.save(tmp_path / f"codes/{name}.npy", np.eye(n, 16) > 0)
    for name, n in (("query", 4), ("database", 6)):
        np.save(tmp_path / f"codes/{name}_labels.npy", np.arange(n) % 2)
    done = hashgrain("evaluate", "codes", "--protocol", "folder")
    assert done.returncode == 0
    assert b"warning: --protocol is of models" in done.stderr
    (tmp_path / "codes/database.npy").unlink()
    done = hashgrain("evaluate", "codes")
    assert (done.returncode, b"database.npy" in done.stderr) == (1, True)


def test_a_model_without_pictures_is_told_what_it_takes(hashgrain: Run, tmp_path: Path) -> None:
    assert b"--data" in hashgrain("evaluate", "default").stderr
    (tmp_path / "empty").mkdir()
    done = hashgrain("evaluate", "default", "--data", "empty")
    assert (done.returncode, b"no labelled pictures" in done.stderr) == (1, True)
    assert hashgrain("compare", "empty").returncode == 1
    assert hashgrain("protocols", "folder", "--data", "empty", "--out", "x").returncode == 1
