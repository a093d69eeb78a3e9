"""Calibrating a library on its own pairs: what is fitted, what stays, what is refused, and how it is undone."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Iterable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from conftest import fill
from hashgrain import Codes, Grains, Library
from hashgrain.errors import BundleError, EvaluationError, ItemMissingError, LibraryError
from hashgrain.library.codes_only import codes_only
from hashgrain.models import Bundle, Calibration
from hashgrain.models.probabilities import FOLDS, Pairs, calibration_error, cross_validated, fitted
from in_process import hashgrain

pytestmark = pytest.mark.usefixtures("no_flushes")
GRAINS = Grains(kind=16, look=64)
BITS = 64


def drawn(together: int, apart: int, seed: int = 0) -> Pairs:
    """Pairs of which the probability for a distance is known: together 64 bits of 0.2 each, apart of 0.5."""
    random = np.random.default_rng(seed)
    return Pairs(random.binomial(BITS, 0.2, together), random.binomial(BITS, 0.5, apart))


def truth() -> NDArray[np.float64]:
    at = np.arange(BITS + 1)
    odds = (0.2 / 0.5) ** at * (0.8 / 0.5) ** (BITS - at)
    return np.asarray(odds / (1 + odds))


@given(st.lists(st.integers(0, 40), min_size=1, max_size=60), st.lists(st.integers(0, 40), min_size=1, max_size=60))
def test_probabilities_never_grow_with_the_distance_and_few_pairs_are_no_certainty(
    near: list[int], far: list[int]
) -> None:
    table = fitted(Pairs(np.array(near), np.array(far)), 40)
    assert len(table) == 41
    assert all(before >= after for before, after in pairwise(table))
    assert 0 < table[-1] <= table[0] < 1


def test_the_fit_comes_nearer_to_the_truth_with_more_pairs() -> None:
    random = np.random.default_rng(7)
    fresh = np.concatenate([random.binomial(BITS, 0.2, 5_000), random.binomial(BITS, 0.5, 5_000)])
    errors = []
    for count in (100, 1_000, 20_000):
        of_seeds = [
            np.abs(np.array(fitted(drawn(count, count, seed), BITS)) - truth())[fresh].mean() for seed in range(5)
        ]
        errors.append(np.mean(of_seeds))
    assert errors[0] > errors[1] > errors[2]
    assert errors[0] < 0.03
    assert errors[2] < 0.005


def test_one_kind_may_have_many_more_pairs() -> None:
    """If half of all pairs belong together is what counts, not how many of either kind were given."""
    even, uneven = (np.array(fitted(drawn(5_000, count), BITS)) for count in (5_000, 50_000))
    at = np.concatenate([drawn(5_000, 5_000, 1).together, drawn(5_000, 5_000, 1).apart])
    for table in (even, uneven):
        assert np.abs(table - truth())[at].mean() < 0.01


def plain_error(together: Iterable[float], apart: Iterable[float]) -> float:
    """The definition, pair by pair."""
    rows = [(likely, 1, 0.5 / len(list(together))) for likely in together]
    rows += [(likely, 0, 0.5 / len(list(apart))) for likely in apart]
    error = 0.0
    for low in range(10):
        inside = [row for row in rows if low / 10 <= row[0] < (low + 1) / 10 or (low == 9 and row[0] == 1)]
        weight = sum(row[2] for row in inside)
        if weight:
            error += weight * abs(sum(w * (s - p) for p, s, w in inside) / weight)
    return error


CHANCES = st.lists(st.sampled_from([0.0, 0.05, 0.125, 0.25, 0.5, 0.75, 0.95, 1.0]), min_size=1, max_size=30)


@given(CHANCES, CHANCES)
def test_the_calibration_error_is_its_definition(together: list[float], apart: list[float]) -> None:
    error = calibration_error(np.array(together), np.array(apart))
    assert error == pytest.approx(plain_error(together, apart))


def test_the_error_after_is_of_pairs_that_were_left_out() -> None:
    pairs = drawn(60, 45)
    likely = cross_validated(pairs, BITS)
    tables = set()
    for distances, chances in zip((pairs.together, pairs.apart), likely, strict=True):
        for distance, chance in zip(distances, chances, strict=True):
            tables.add((int(distance), float(chance)))
    own = fitted(pairs, BITS)
    assert any(chance != own[distance] for distance, chance in tables)
    assert max(np.unique(likely[0][pairs.together == d]).size for d in np.unique(pairs.together)) <= FOLDS
    # Were pairs in their own fit, labels drawn by lot would seem to be known.
    lot = np.random.default_rng(3).integers(0, 65, (2, 200))
    random = Pairs(lot[0], lot[1])
    assert calibration_error(*cross_validated(random, BITS)) < 0.12


# ---- a library


def filled(path: Path, bundle: Bundle | None = None) -> Library:
    """60 groups of 5 items; those of a group are 2 to 12 bits apart, others about 32."""
    random = np.random.default_rng(1)
    bits = np.repeat(random.integers(0, 2, (60, 64), np.uint8), 5, axis=0) ^ (random.random((300, 64)) < 0.07)
    library = Library.create(path, bundle or codes_only(GRAINS, made_by="a test"))
    library.import_codes(Codes.from_bits(bits, GRAINS), [f"p/{n}" for n in range(300)], look=False)
    return library


def pairs_of(count: int = 150) -> list[tuple[int, int, bool]]:
    random = np.random.default_rng(2)
    pairs: dict[tuple[int, int], bool] = {}
    while sum(pairs.values()) < count or len(pairs) - sum(pairs.values()) < count:
        a, b = sorted(random.integers(1, 301, 2).tolist())
        same = (a - 1) // 5 == (b - 1) // 5
        if a != b and sum(each == same for each in pairs.values()) < count:
            pairs[a, b] = same
        near = a + 1 if a % 5 else a - 1
        if sum(pairs.values()) < count:
            pairs[min(a, near), max(a, near)] = True
    return [(a, b, same) for (a, b), same in pairs.items()]


@pytest.fixture(scope="module")
def pairs() -> list[tuple[int, int, bool]]:
    return pairs_of()


def write(file: Path, rows: Iterable[tuple[Any, Any, Any]], header: tuple[str, ...] = ("a", "b", "same")) -> Path:
    with file.open("w", newline="") as out:
        writer = csv.writer(out)
        writer.writerow(header)
        writer.writerows(rows)
    return file


MADE = {
    "codes of another program": lambda: codes_only(GRAINS, made_by="a test"),
    "not calibrated": lambda: replace(Bundle.read("small"), grains=GRAINS, words={}, labels={}),
    "calibrated": lambda: replace(
        Bundle.read("small"),
        grains=GRAINS,
        labels={},
        words={},
        calibration={"look": Calibration({"near": 9}, tuple(np.linspace(1, 0, 65).tolist()))},
    ),
}


@pytest.mark.parametrize("kind", MADE)
def test_scores_become_the_probabilities_of_the_pairs_and_codes_stay(
    kind: str, tmp_path: Path, pairs: list[tuple[int, int, bool]]
) -> None:
    with filled(tmp_path / "l.hg", MADE[kind]()) as library:
        before, digest = library.search(1, k=None), library.bundle.code_digest
        dry = library.calibrate(pairs, dry_run=True)
        assert library.search(1, k=None) == before
        report = library.calibrate(pairs)
        assert report == dry
        assert (report.together, report.apart) == (150, 150)
        assert report.margin == pytest.approx(0.08, abs=0.001)
        for grain in GRAINS:
            assert report.grains[grain].error_after < report.grains[grain].error_before
        here = library.search(1, k=None)
    with Library.open(tmp_path / "l.hg") as library:
        after = library.search(1, k=None)
        assert after == here
        assert [(hit.id, hit.distances, hit.word) for hit in after] == [(h.id, h.distances, h.word) for h in before]
        assert after[0].score > 0.95
        assert after[-1].score < 0.05
        assert {hit.id for hit in library.search(1, k=None, min_score=0.5)} == {2, 3, 4, 5}
        assert library.bundle.code_digest == digest
        assert library.verify() == []
        with pytest.raises(LibraryError, match="open for reading"):
            library.calibrate(pairs)
    with Library.open(tmp_path / "l.hg", "w") as library:
        library.calibrate(pairs[:280], grain="kind")  # a second time: what was before stays what the model said
        library.reset_calibration()
        assert library.search(1, k=None) == before
        with pytest.raises(EvaluationError, match="no calibration of its own"):
            library.reset_calibration()
    with Library.open(tmp_path / "l.hg") as library:
        assert library.search(1, k=None) == before
        assert library.bundle.bundle_digest == MADE[kind]().bundle_digest or kind == "codes of another program"


def test_one_grain_alone_leaves_the_others(tmp_path: Path, pairs: list[tuple[int, int, bool]]) -> None:
    with filled(tmp_path / "l.hg") as library:
        kind = library.search(1, grain="kind")
        assert set(library.calibrate(pairs, grain="LOOK").grains) == {"look"}
        assert library.search(1, grain="kind") == kind
        assert set(library.bundle.calibration) == {"look"}


def test_a_write_that_fails_leaves_the_library_as_it_was(
    tmp_path: Path, pairs: list[tuple[int, int, bool]], monkeypatch: pytest.MonkeyPatch
) -> None:
    with filled(tmp_path / "l.hg", MADE["calibrated"]()) as library:
        before = library.search(1)

        def full(*arguments: object, **options: object) -> None:
            raise OSError(28, "No space left on device")

        with monkeypatch.context() as patch:
            patch.setattr(os, "replace", full)
            with pytest.raises(OSError, match="No space left"):
                library.calibrate(pairs)
        assert library.search(1) == before
    with Library.open(tmp_path / "l.hg") as library:
        assert library.search(1) == before
    assert not list((tmp_path / "l.hg/model").glob(".*"))


def test_pairs_that_cannot_be_used_are_an_error(tmp_path: Path, pairs: list[tuple[int, int, bool]]) -> None:
    few = [each for each in pairs if each[2]][:40] + [each for each in pairs if not each[2]]
    with filled(tmp_path / "l.hg") as library:
        for wrong, reason in [
            (few, r"40 that belong together, at least 100 .* within 0.10 \(95 %\), and of 40 within 0.15"),
            ([], "0 that belong together, at least 100"),
            ([*pairs, (1, 1, True)], "1 and 1 are the same item"),
            ([*pairs, (pairs[0][1], pairs[0][0], not pairs[0][2])], "one that does not"),
        ]:
            with pytest.raises(EvaluationError, match=reason):
                library.calibrate(wrong)
        unknowns: list[tuple[int | str, str]] = [(999, "no item 999"), ("p/none", "has the path p/none")]
        for unknown, reason in unknowns:
            with pytest.raises(ItemMissingError, match=reason):
                library.calibrate([*pairs, (1, unknown, True)])
        again = [*pairs, *((b, a, same) for a, b, same in pairs)]
        assert library.calibrate(again).together == 150
        assert library.search("p/1", k=1)


def test_what_a_stranger_wrote_as_the_calibration_before_is_checked(
    tmp_path: Path, pairs: list[tuple[int, int, bool]]
) -> None:
    with filled(tmp_path / "l.hg") as library:
        library.calibrate(pairs)
    file = tmp_path / "l.hg/model/codes.json"
    described = json.loads(file.read_text())
    befores: list[object] = [{"look": {"whole": {"words": {}, "chances": [2] * 65}}}, [], {"color": {}}]
    for before in befores:
        file.write_text(json.dumps({**described, "own_calibration": {"grains": ["look"], "before": before}}))
        with Library.open(tmp_path / "l.hg", "w") as library, pytest.raises(BundleError, match="not a description"):
            library.reset_calibration()
    file.write_text(json.dumps({**described, "own_calibration": 3}))
    with Library.open(tmp_path / "l.hg", "w") as library, pytest.raises(BundleError, match="does not say"):
        library.reset_calibration()


def test_the_command_calibrates_and_resets(
    tmp_path: Path, pairs: list[tuple[int, int, bool]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    filled(tmp_path / "l.hg").close()
    file = write(tmp_path / "pairs.csv", [(f"p/{a - 1}", b, int(same)) for a, b, same in pairs])

    def run(*arguments: object) -> str:
        done = hashgrain(*arguments)
        assert done.exit_code == 0, done.stderr
        return str(done.stdout)

    search = ("search", "l.hg", "--id", 1, "--json")
    plain = run(*search)
    dry = run("calibrate", "l.hg", "--pairs", file, "--dry-run", "--json")
    assert run(*search) == plain
    done = run("calibrate", "l.hg", "--pairs", file, "--json")
    assert json.loads(done) == {**json.loads(dry), "written": True}
    assert json.loads(run(*search))[0]["score"] > 0.95
    said = run("calibrate", "l.hg", "--pairs", file, "-g", "look")
    assert "look: calibration error 0.0" in said
    assert "150 pairs that belong together, 150 that do not" in said
    run("calibrate", "l.hg", "--reset")
    assert run(*search) == plain
    assert hashgrain("calibrate", "l.hg").exit_code == 2


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"a,b\n1,2\n", "has no column same"),
        (b"", "has no column a"),
        (b"a,b,same\n1,2,1\n1,3,maybe\n", "line 3: same is 'maybe'"),
        (b"a,b,same\n1,2\n", "line 2: same is None"),
        (b"a,b,same\n,2,1\n", "line 2: a and b are paths or ids"),
        (b"a,b,same\n\xff\xfe,2,1\n", "cannot be read"),
        (None, "cannot be read"),
    ],
)
def test_a_file_that_is_no_list_of_pairs_says_so(tmp_path: Path, content: bytes | None, reason: str) -> None:
    file = tmp_path / "pairs.csv"
    if content is not None:
        file.write_bytes(content)
    with filled(tmp_path / "l.hg") as library, pytest.raises(EvaluationError, match=reason):
        library.calibrate(file)


def test_the_packaged_model_is_calibrated_in_the_copy_of_the_library(tmp_path: Path) -> None:
    with Library.create(tmp_path / "p.hg", "small", workers=0) as library:
        library.add(fill(tmp_path / "pictures", 40), workers=0)
        ids = [item.id for item in library.items()]
        every = [(a, b, (a + b) % 2 == 0) for a in ids for b in ids if a < b]
        report = library.calibrate(every)
        assert report.grains["look"].error_after < 0.1
        model = (tmp_path / "p.hg/model/model.onnx").read_bytes()
    with Library.open(tmp_path / "p.hg", "w", workers=0) as library:
        assert library.verify() == []
        assert (tmp_path / "p.hg/model/model.onnx").read_bytes() == model
        assert library.bundle.code_digest == Bundle.read("small").code_digest
        scores = [hit.score for hit in library.search(1, k=None)]
        assert 0.3 < np.median(scores) < 0.7  # what is so by lot says nothing
        library.add(fill(tmp_path / "more", 2, start=50), workers=0)
        library.reset_calibration()
        assert library.bundle.bundle_digest == Bundle.read("small").bundle_digest
