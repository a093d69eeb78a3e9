"""Runs side by side: what may be compared, and which differences are more than noise."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pytest

from hashgrain.errors import EvaluationError
from hashgrain.evaluate import Figure
from hashgrain.evaluate.comparison import Group, Method, difference, group, incomparable
from hashgrain.evaluate.results import Result, Row

MAP = "mAP@ALL hash"


def row(method: str, value: float = 0.5, *, seed: int = 0, bits: int = 32, queries: Sequence[float] = ()) -> Row:
    return Row(method, "model", bits, "symmetric", seed, {MAP: Figure(value, 0.01, value - 0.1, value + 0.1)},
               per_query=np.array(queries, np.float64))  # fmt: skip


def run(
    *rows: Row, name: str = "cifar10-1", manifest: str = "a", seed: int = 0, version: int = 1, notes: Sequence[str] = ()
) -> Result:
    protocol = {"name": name, "version": version, "manifest": manifest * 64, "seed": seed, "cutoff": None,
                "convention": "hash", "database": 90}  # fmt: skip
    return Result(protocol, rows, notes)


def method(
    values: Sequence[float] | Mapping[int, float], queries: Sequence[Sequence[float]] = (), name: str = "m"
) -> Method:
    """A run for each value, each on a manifest of its own."""
    found = dict(enumerate(values)) if not isinstance(values, Mapping) else values
    each = list(queries) or [()] * len(found)
    return Method(name, "model", 32, {
        (f"manifest {seed}", seed): row(name, value, seed=seed, queries=aps)
        for (seed, value), aps in zip(found.items(), each, strict=True)
    })  # fmt: skip


def named(groups: Sequence[Group]) -> list[tuple[str, list[str]]]:
    return [(each.protocol["name"], [method.name for method in each.methods]) for each in groups]


# --- what belongs together


def test_runs_of_one_protocol_on_the_same_pictures_are_one_group() -> None:
    groups = group([run(row("A"), row("ITQ")), run(row("B"), row("A", bits=64))])
    assert named(groups) == [("cifar10-1", ["A, 32 bits", "ITQ, 32 bits", "B, 32 bits", "A, 64 bits"])]
    assert groups[0].manifests == ("a" * 64,)
    assert groups[0].seeds == (0,)
    assert incomparable(groups) == []


def test_seeds_of_a_method_are_its_runs() -> None:
    results = [run(row(name, 0.5 + seed / 10, seed=seed), manifest="abc"[seed], seed=seed)
               for name in ("A", "B") for seed in range(3)]  # fmt: skip
    (only,) = group(results)
    assert only.seeds == (0, 1, 2)
    assert len(only.manifests) == 3
    for each in only.methods:
        assert each.values(MAP) == [0.5, 0.6, 0.7]
        assert each.mean(MAP) == pytest.approx(0.6)
        assert each.spread(MAP) == pytest.approx(0.1)
        assert each.bounds(MAP) == pytest.approx((0.5, 0.7))


def test_training_seeds_on_the_same_pictures_are_runs_too() -> None:
    (only,) = group([run(row("A", seed=0)), run(row("A", seed=1)), run(row("B", seed=0))])
    assert [len(each.rows) for each in only.methods] == [2, 1]
    assert difference(only.methods[0], only.methods[1], MAP).noise_of == "unknown"


def test_one_seed_on_two_data_sets_is_not_two_runs_of_a_method() -> None:
    groups = group([run(row("A", 0.9), manifest="a"), run(row("A", 0.1), manifest="b")])
    assert [each.methods[0].values(MAP) for each in groups] == [[0.9], [0.1]]
    assert len(incomparable(groups)) == 1


def test_seeds_drawn_from_other_pictures_are_kept_apart() -> None:
    def drawn(manifest: str, seed: int, pictures: str | None) -> Result:
        made = run(row("A", seed=seed), manifest=manifest, seed=seed)
        return Result({**made.protocol, "pictures": pictures} if pictures else made.protocol, made.rows)

    assert len(group([drawn("a", 0, "x"), drawn("b", 1, "x"), drawn("c", 2, None)])) == 1
    groups = group([drawn("a", 0, "x"), drawn("b", 1, "y"), drawn("c", 2, "y")])
    assert [each.seeds for each in groups] == [(0,), (1, 2)]
    assert len(incomparable(groups)) == 1


def test_means_over_other_runs_are_told_apart() -> None:
    both = [run(row("A", seed=seed), row("B", seed=seed), manifest="ab"[seed], seed=seed) for seed in range(2)]
    assert group(both)[0].warnings == []
    (only,) = group([both[0], run(row("A", seed=1), manifest="b", seed=1)])
    assert "not every method has every run" in only.warnings[0]


def test_other_protocols_are_other_groups_and_nothing_to_warn_of() -> None:
    groups = group([run(row("A")), run(row("A"), name="coco", manifest="b")])
    assert named(groups) == [("cifar10-1", ["A, 32 bits"]), ("coco", ["A, 32 bits"])]
    assert incomparable(groups) == []


def test_other_pictures_are_shown_apart_with_what_and_why() -> None:
    groups = group([run(row("A")), run(row("B"), row("C"), manifest="b")])
    assert named(groups) == [("cifar10-1", ["A, 32 bits"]), ("cifar10-1", ["B, 32 bits", "C, 32 bits"])]
    (said,) = incomparable(groups)
    assert said == (
        "cifar10-1: B, 32 bits, C, 32 bits ran on other pictures (manifests bbbbbbbbbbbb, not aaaaaaaaaaaa):"
        " not comparable with the others, shown apart"
    )


def test_another_version_of_a_protocol_is_shown_apart() -> None:
    groups = group([run(row("A")), run(row("A"), manifest="b", version=2)])
    assert len(groups) == 2
    (said,) = incomparable(groups)
    assert "version 2" in said
    assert "version 1" in said


def test_warnings_stay_with_their_pictures_and_are_said_once() -> None:
    first, second = group(
        [run(row("A"), notes=["x", "y"]), run(row("B"), notes=["y", "z"]), run(row("C"), manifest="b")]
    )
    assert first.warnings == ["x", "y", "z"]
    assert second.warnings == []


def test_a_run_that_stands_twice_counts_once_and_is_refused_with_other_figures() -> None:
    with pytest.raises(EvaluationError, match=r"^A, 32 bits occurs twice with the same pictures and seed 0"):
        group([run(row("A", 0.5)), run(row("A", 0.6))])
    (only,) = group([run(row("A", 0.5)), run(row("A", 0.5), row("B"))])
    assert [len(each.rows) for each in only.methods] == [1, 1]


def test_no_results_are_no_groups() -> None:
    assert group([]) == []
    assert incomparable([]) == []


# --- differences


def test_over_seeds_noise_is_half_of_students_interval() -> None:
    one, other = method([0.50, 0.53, 0.59]), method([0.48, 0.50, 0.52])
    found = difference(one, other, MAP)
    assert found.mean == pytest.approx(0.04)  # of 0.02, 0.03, 0.07: deviation 0.026458
    assert found.noise == pytest.approx(4.303 * 0.0264575 / 3**0.5, rel=1e-4)
    assert found.noise_of == "seeds"
    assert found.within_noise is True
    assert difference(other, one, MAP).mean == pytest.approx(-0.04)


@pytest.mark.parametrize(("runs", "student"), [(2, 12.706), (3, 4.303), (5, 2.776), (11, 2.228), (16, 2.131)])
def test_students_points_are_those_of_the_tables(runs: int, student: float) -> None:
    values = np.random.default_rng(runs).normal(0.5, 0.1, runs)
    noise = difference(method(values.tolist()), method([0.4] * runs), MAP).noise
    assert noise == pytest.approx(student * values.std(ddof=1) / runs**0.5)


def test_over_queries_noise_is_half_of_the_interval_of_the_pairs() -> None:
    one, other = method([0.65], [[0.9, 0.8, 0.5, 0.4]]), method([0.5], [[0.5, 0.7, 0.5, 0.3]])
    found = difference(one, other, MAP, MAP)  # the pairs: 0.4, 0.1, 0, 0.1; their deviation 0.173205
    assert found.mean == pytest.approx(0.15)
    assert found.noise == pytest.approx(1.96 * 0.173205 / 2, rel=1e-4)
    assert found.noise_of == "queries"


def test_the_larger_noise_counts() -> None:
    calm, wild = [[0.5, 0.5, 0.5]] * 3, [[0.0, 0.5, 1.0]] * 3
    assert difference(method([0.4, 0.5, 0.9], calm), method([0.5] * 3, calm), MAP, MAP).noise_of == "seeds"
    assert difference(method([0.5] * 3, wild), method([0.5] * 3, calm), MAP, MAP).noise_of == "queries"


def test_one_seed_without_queries_says_nothing_of_noise() -> None:
    found = difference(method([0.9]), method([0.1]), MAP)
    assert (found.noise, found.noise_of, found.within_noise) == (None, "unknown", None)
    for one, other in (([[0.1, 0.2]], [[0.1, 0.2, 0.3]]), ([[0.1]], [[0.2]])):  # queries that make no pairs
        assert difference(method([0.9], one), method([0.1], other), MAP, MAP).noise_of == "unknown"
    # The figures of the queries belong to another figure than the one that is compared.
    assert difference(method([0.9], [[0.9, 0.8]]), method([0.1], [[0.1, 0.2]]), MAP, "mAP@5000 hash").noise is None


def test_the_same_codes_differ_by_nothing_and_are_within_noise() -> None:
    one = method([0.5, 0.5], [[0.2, 0.8], [0.3, 0.7]])
    found = difference(one, one, MAP, MAP)
    assert (found.mean, found.noise, found.within_noise) == (0, 0, True)


def test_only_runs_on_the_same_pictures_with_the_same_seed_are_compared() -> None:
    assert difference(method({0: 0.5, 1: 0.6, 2: 0.9}), method({1: 0.5, 2: 0.8, 3: 0}), MAP).mean == pytest.approx(0.1)
    with pytest.raises(EvaluationError, match="m and other have no run on the same pictures with the same seed"):
        difference(method({0: 0.5}), method({1: 0.5}, name="other"), MAP)


def test_a_figure_that_a_method_lacks_is_named() -> None:
    with pytest.raises(EvaluationError, match="m has no figure 'P@10'"):
        difference(method([0.5]), method([0.5]), "P@10")
    assert method([0.5]).values("P@10") == []
    assert method([0.5]).bounds("P@10") is None
    assert method([0.5]).spread(MAP) is None


# --- are the intervals honest


def made_runs(dice: np.random.Generator, runs: int, better: float = 0) -> tuple[Method, Method]:
    """Two methods on the same queries: how hard a query is counts for both, luck for each alone."""
    sides: list[list[list[float]]] = [[], []]
    for _ in range(runs):
        hard = dice.normal(0.5, 0.2, 100)
        for side, gain in zip(sides, (better, 0), strict=True):
            side.append((hard + gain + dice.normal(0, 0.05) * (runs > 1) + dice.normal(0, 0.1, 100)).tolist())
    one, other = (method(np.mean(side, axis=1).tolist(), side) for side in sides)
    return one, other


@pytest.mark.parametrize(("runs", "over_queries"), [(1, True), (3, False), (5, False), (10, False)])
def test_two_draws_of_one_method_are_within_noise_in_95_of_100_trials(runs: int, over_queries: bool) -> None:
    dice = np.random.default_rng(runs)
    within = [difference(*made_runs(dice, runs), MAP, MAP if over_queries else None).within_noise for _ in range(300)]
    assert 0.92 <= np.mean(within) <= 0.98  # 0.95, give or take 2.4 deviations of 300 trials


def test_both_noises_together_are_no_bolder_than_one() -> None:
    dice = np.random.default_rng(0)
    within = [difference(*made_runs(dice, 3), MAP, MAP).within_noise for _ in range(300)]
    assert np.mean(within) >= 0.94


@pytest.mark.parametrize("runs", [1, 3, 5])
def test_a_real_difference_is_beyond_noise(runs: int) -> None:
    dice = np.random.default_rng(runs)
    found = [difference(*made_runs(dice, runs, better=0.4), MAP, MAP) for _ in range(50)]
    assert np.mean([each.within_noise is False and each.mean > 0 for each in found]) >= 0.95
