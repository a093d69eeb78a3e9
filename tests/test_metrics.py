"""Retrieval figures: equal to the text book's loops, the mean over every order of the ties, the same for any order."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import product
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

import metric_oracles as oracles
from hashgrain import Codes, Grains
from hashgrain.errors import CodesError, EvaluationError, QueryError
from hashgrain.evaluate import (
    CONVENTIONS,
    Figure,
    Labels,
    Paths,
    Sets,
    Tally,
    as_labels,
    average_cumulative_gain,
    average_precision,
    average_precision_bounds,
    average_precision_within,
    code_health,
    counting,
    hierarchical_average_precision,
    hierarchical_ndcg,
    hierarchical_precision,
    hit_rate,
    hit_rate_within,
    hypergeometric,
    mean_average_precision,
    measure,
    most_precision,
    ndcg,
    precision,
    precision_within,
    r_precision,
    recall,
    recall_within,
    sets_of,
    tallies_of_vectors,
    tally,
    weighted_average_precision,
)
from hashgrain.evaluate.means import mean
from hashgrain.hamming import compiled, count_ranges, count_shared, histograms, native, plain, rows_of
from metric_oracles import Order, Ranking, drawn, orders, tally_of

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Metric:
    """A figure of ours beside its oracle."""

    ours: Callable[[Tally, Any], Floats]
    oracle: Callable[[Order, Any], float]
    takes_none: bool = True


METRICS = {
    "AP hash": Metric(average_precision, oracles.average_precision),
    "AP hash-skip": Metric(
        partial(average_precision, convention="hash-skip"), partial(oracles.average_precision, convention="hash-skip")
    ),
    "AP ir": Metric(partial(average_precision, convention="ir"), partial(oracles.average_precision, convention="ir")),
    "AP min": Metric(
        partial(average_precision, convention="min"), partial(oracles.average_precision, convention="min")
    ),
    "P": Metric(precision, oracles.precision),
    "R-precision": Metric(r_precision, oracles.r_precision),
    "R": Metric(recall, oracles.recall),
    "hit": Metric(hit_rate, oracles.hit),
    "ACG": Metric(average_cumulative_gain, oracles.average_cumulative_gain),
    "nDCG": Metric(ndcg, oracles.ndcg),
    "nDCG linear": Metric(partial(ndcg, gain="linear"), partial(oracles.ndcg, exponential=False)),
    "WAP": Metric(weighted_average_precision, oracles.weighted_average_precision),
    "HP": Metric(hierarchical_precision, oracles.hierarchical_precision, takes_none=False),
    "AHP": Metric(hierarchical_average_precision, oracles.hierarchical_average_precision, takes_none=False),
    "hierarchical nDCG": Metric(hierarchical_ndcg, oracles.hierarchical_ndcg, takes_none=False),
}
WITHIN: list[tuple[Callable[[Tally], Floats], Callable[..., float]]] = [
    (precision_within, oracles.precision_within),
    (recall_within, oracles.recall_within),
    (hit_rate_within, oracles.hit_within),
    (average_precision_within, oracles.average_precision_within),
]
every_metric = pytest.mark.parametrize("metric", METRICS.values(), ids=METRICS.keys())


@st.composite
def rankings(
    draw: st.DrawFn, most_items: int = 7, most_ties: int = 4, most_queries: int = 3, most_grade: int = 3
) -> list[Ranking]:
    """A few queries over as many items each, in ties of every size, empty ones too."""
    n, ties = draw(st.integers(0, most_items)), draw(st.integers(1, most_ties))
    queries: list[Ranking] = []
    for _ in range(draw(st.integers(1, most_queries))):
        ranking: list[list[int]] = [[] for _ in range(ties)]
        for _ in range(n):
            ranking[draw(st.integers(0, ties - 1))].append(draw(st.integers(0, most_grade)))
        queries.append(ranking)
    return queries


def cut_offs(metric: Metric, n: int) -> st.SearchStrategy[int | None]:
    numbers = st.integers(1, n + 3)
    return st.one_of(st.none(), numbers) if metric.takes_none else numbers


@given(rankings(), st.one_of(st.none(), st.integers(1, 10)))
def test_the_most_that_precision_can_be_is_that_of_the_best_order(queries: list[Ranking], k: int | None) -> None:
    tally = tally_of(*queries, grades=3)
    best = [oracles.most_precision([grade for tie in ranking for grade in tie], k) for ranking in queries]
    np.testing.assert_allclose(most_precision(tally, k), best, atol=1e-12)
    assert (precision(tally, k) <= most_precision(tally, k) + 1e-12).all()


# --- against the text book ---------------------------------------------------------------------------------------


@every_metric
def test_without_ties_every_figure_is_that_of_the_text_book(metric: Metric) -> None:
    rng = np.random.default_rng(0)
    for n in (1, 2, 5, 40):
        lists = rng.integers(0, 4, (30, n)) * (rng.random((30, n)) < rng.random((30, 1)))
        found = tally_of(*([[grade] for grade in order] for order in lists.tolist()), grades=3)
        for k in (1, 2, 3, n // 2, n - 1, n, n + 7, None):
            if (k is None and not metric.takes_none) or (k is not None and k < 1):
                continue
            expected = [metric.oracle(order, k) for order in lists.tolist()]
            np.testing.assert_allclose(metric.ours(found, k), expected, atol=1e-12, err_msg=f"n {n}, k {k}")


@every_metric
@settings(max_examples=60)
@given(rankings(), st.data())
def test_under_ties_every_figure_is_the_mean_over_all_orders(
    metric: Metric, queries: list[Ranking], data: st.DataObject
) -> None:
    k = data.draw(cut_offs(metric, sum(map(len, queries[0]))))
    expected = [statistics.fmean(metric.oracle(order, k) for order in orders(ranking)) for ranking in queries]
    np.testing.assert_allclose(metric.ours(tally_of(*queries, grades=3), k), expected, atol=1e-12)


@settings(max_examples=60)
@given(rankings(), st.data(), st.integers(1, 3))
def test_relevant_may_begin_at_any_grade(queries: list[Ranking], data: st.DataObject, least: int) -> None:
    k = data.draw(st.one_of(st.none(), st.integers(1, 9)))
    found = tally_of(*queries, grades=3, relevant_from=least)
    again = tally_of(*queries, grades=3).relevant_at(least)
    for name in ("AP hash", "AP ir", "AP min", "P", "R", "hit"):
        metric = METRICS[name]
        expected = [
            statistics.fmean(metric.oracle([int(grade >= least) for grade in order], k) for order in orders(ranking))
            for ranking in queries
        ]
        np.testing.assert_allclose(metric.ours(found, k), expected, atol=1e-12, err_msg=name)
        np.testing.assert_allclose(metric.ours(again, k), expected, atol=1e-12, err_msg=name)
    for name in ("ACG", "nDCG", "WAP"):  # graded figures are about all grades, whatever is called relevant
        expected = METRICS[name].ours(tally_of(*queries, grades=3), k).tolist()
        np.testing.assert_array_equal(METRICS[name].ours(found, k), expected, err_msg=name)


@settings(max_examples=100)
@given(rankings())
def test_inside_a_radius_every_figure_is_the_mean_over_all_orders(queries: list[Ranking]) -> None:
    counts = tally_of(*queries, grades=3)
    for ours, oracle in WITHIN:
        found = ours(counts)
        assert found.shape == counts.all.shape
        for row, ranking in zip(found, queries, strict=True):
            distances = [distance for distance, tie in enumerate(ranking) for _ in tie]
            expected = [
                statistics.fmean(oracle(order, distances, radius) for order in orders(ranking))
                for radius in range(len(ranking))
            ]
            np.testing.assert_allclose(row, expected, atol=1e-12, err_msg=oracle.__name__)


# --- the tie that the cut-off splits -----------------------------------------------------------------------------

AHEAD: list[Ranking] = [[], [[1]], [[0]], [[0, 0], [1]], [[1, 0], [], [0, 1, 0]]]


@pytest.mark.parametrize("ahead", AHEAD, ids=str)
def test_a_split_tie_of_any_size_cut_anywhere_after_anything_is_the_mean_over_all_orders(ahead: Ranking) -> None:
    """Sizes 1 to 6, every number of relevant ones, every cut: before the tie, at both its ends, inside, beyond."""
    names = ("AP hash", "AP ir", "AP min", "P", "R", "hit", "WAP")
    for n in range(1, 7):
        queries = [[*ahead, [1] * good + [0] * (n - good), [1, 0]] for good in range(n + 1)]
        possible = [orders(ranking) for ranking in queries]
        counts = tally_of(*queries)
        for k in range(1, len(possible[0][0]) + 3):
            for name in names:
                oracle = METRICS[name].oracle
                expected = [statistics.fmean(oracle(order, k) for order in some) for some in possible]
                found = METRICS[name].ours(counts, k)
                np.testing.assert_allclose(found, expected, atol=1e-12, err_msg=f"{name}, n {n}, k {k}")


def block(good: int, bad: int) -> list[int]:
    return [1] * good + [0] * bad


# Rankings, with the cut-off: in the middle of a large tie, at its first and last place, after one and many ties.
LARGE: list[tuple[Ranking, int]] = [
    ([block(3, 5), block(20, 60), block(4, 4)], 30),
    ([block(0, 7), block(2, 90)], 40),
    ([block(1, 0), block(5, 195)], 60),
    ([block(12, 88)], 50),
    ([block(99, 1)], 2),
    ([block(1, 99)], 99),
    ([block(2, 98)], 1),
    ([block(2, 1), block(30, 30)], 4),
    ([block(2, 1), block(30, 30)], 62),
    ([block(1, 2), block(0, 3), block(2, 2), block(5, 0), block(0, 1), block(25, 75)], 41),
    ([block(0, 10), block(50, 50), block(10, 0)], 35),
    ([block(5, 5), block(0, 40), block(10, 0)], 30),
]


def test_a_cut_through_a_large_tie_is_the_mean_over_twenty_thousand_random_orders() -> None:
    rng = np.random.default_rng(12)
    for ranking, k in LARGE:
        sample = [oracles.average_precision(order, k) for order in drawn(ranking, 20_000, rng)]
        error = statistics.stdev(sample) / math.sqrt(len(sample))
        (expected,) = average_precision(tally_of(ranking), k)
        assert abs(expected - statistics.fmean(sample)) <= 4 * error + 1e-12, (ranking, k)


def test_a_cut_through_a_large_tie_is_the_closed_form_in_exact_binomials() -> None:
    for n, good, ahead, good_ahead, taken in [
        *((40, good, 0, 0, taken) for good in (0, 1, 2, 39, 40) for taken in (1, 2, 20, 39)),
        *((90, good, 30, good_ahead, taken) for good in (1, 45) for good_ahead in (0, 1, 30) for taken in (1, 44, 89)),
        (3000, 1500, 100, 7, 1000),
        (3000, 3, 0, 0, 1000),
        (3000, 2990, 50, 0, 20),
        (100_000, 2, 5, 0, 1000),
    ]:
        ranking = [block(good_ahead, 0), block(0, ahead - good_ahead), block(good, n - good)]
        whole = sum(j / j for j in range(1, good_ahead + 1))
        expected = oracles.average_precision_by_formula((n, good), (ahead, good_ahead), whole, taken)
        (found,) = average_precision(tally_of(ranking), ahead + taken)
        assert found == pytest.approx(expected, rel=1e-6, abs=1e-12), (n, good, ahead, good_ahead, taken)


def test_cases_are_the_same_however_many_are_reckoned_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(4)
    queries = [[rng.integers(0, 3, 4).tolist(), rng.integers(0, 3, 16).tolist()] for _ in range(30)]
    counts = tally_of(*queries, grades=2)
    for cells in (1, 5, 23):
        for k in (2, 9, 19):
            monkeypatch.setattr(hypergeometric, "CELLS_AT_ONCE", 1 << 21)
            expected = [METRICS[name].ours(counts, k) for name in METRICS]
            bounds = [average_precision_bounds(counts, k, convention) for convention in CONVENTIONS]
            monkeypatch.setattr(hypergeometric, "CELLS_AT_ONCE", cells)
            np.testing.assert_allclose([METRICS[name].ours(counts, k) for name in METRICS], expected, rtol=1e-12)
            np.testing.assert_allclose(
                [average_precision_bounds(counts, k, convention) for convention in CONVENTIONS], bounds, rtol=1e-12
            )


def test_the_probabilities_of_a_draw_match_counting_and_add_up_to_one() -> None:
    cases = [(n, good, taken) for n in range(9) for good in range(n + 1) for taken in range(n + 1)]
    n, good, taken = np.array(cases).T
    for likely in (True, False):
        totals = np.zeros(len(cases))
        for case, x, chance in hypergeometric.draws(n, good, taken, likely=likely):
            for i, found, share in zip(case.tolist(), x.tolist(), chance.tolist(), strict=True):
                size, many, drawn_ = cases[i]
                ways = math.comb(many, found) * math.comb(size - many, drawn_ - found) / math.comb(size, drawn_)
                assert share == pytest.approx(ways)
                totals[i] += share
        np.testing.assert_allclose(totals, 1)


@pytest.mark.parametrize(
    ("n", "good", "drawn_"),
    [
        (5000, 2500, 1000),
        (5000, 1, 130),
        (5000, 10, 13),
        (9000, 8990, 4000),
        (10**6, 5 * 10**5, 900),
        (3 * 10**6, 9, 5),
    ],
)
def test_a_draw_leaves_out_only_what_is_too_rare_and_adds_up_to_one(n: int, good: int, drawn_: int) -> None:
    found = []
    for likely in (True, False):
        ((_, x, chance),) = hypergeometric.draws(np.array([n]), np.array([good]), np.array([drawn_]), likely=likely)
        assert math.fsum(chance) == pytest.approx(1, rel=1e-12)
        found.append(dict(zip(x.tolist(), chance.tolist(), strict=True)))
    likely_ones, all_ = found
    assert math.fsum(all_[x] for x in all_.keys() - likely_ones.keys()) < 1e-9
    assert all(all_[x] == pytest.approx(share, rel=1e-8) for x, share in likely_ones.items())


def test_sums_and_factorials_are_right_inside_the_table_and_past_it() -> None:
    numbers = [
        0,
        1,
        2,
        3,
        10,
        1000,
        hypergeometric.TABLE - 1,
        hypergeometric.TABLE,
        hypergeometric.TABLE + 1,
        5_000_000,
    ]
    harmonics = hypergeometric.harmonic(np.array(numbers))
    factorials = hypergeometric.log_factorial(np.array(numbers))
    for number, harmonic, factorial in zip(numbers, harmonics, factorials, strict=True):
        if number <= 1000:
            assert harmonic == pytest.approx(math.fsum(1 / i for i in range(1, number + 1)), abs=1e-14)
        assert factorial == pytest.approx(math.lgamma(number + 1), rel=1e-13, abs=1e-12)
    table = hypergeometric.TABLE
    step = hypergeometric.harmonic(np.array([table + 3])) - hypergeometric.harmonic(np.array([table - 3]))
    assert step[0] == pytest.approx(math.fsum(1 / i for i in range(table - 2, table + 4)), rel=1e-5)
    chosen = hypergeometric.log_choose(np.array([3_000_000]), np.array([2]))[0]
    assert chosen == pytest.approx(math.log(math.comb(3_000_000, 2)), abs=1e-6)


@pytest.mark.parametrize(
    ("n", "good", "k"), [(100_000, 1, 1), (2_000_000, 3, 5), (3_000_000, 1, 1), (3_000_000, 9, 999)]
)
def test_a_rare_hit_in_a_huge_tie_has_its_small_chance(n: int, good: int, k: int) -> None:
    counts = Tally(np.array([[[n - good], [good]]]))
    missed = math.fsum(math.log1p(-good / (n - place)) for place in range(k))
    assert hit_rate(counts, k)[0] == pytest.approx(-math.expm1(missed), rel=1e-5)
    figure = mean_average_precision(counts, k, "hash-skip")
    assert figure.worst is not None
    assert figure.best is not None
    assert figure.worst - 1e-5 <= figure.value <= figure.best + 1e-5


# --- bounds ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("convention", CONVENTIONS)
@settings(max_examples=80)
@given(rankings(most_grade=1), st.one_of(st.none(), st.integers(1, 9)))
def test_bounds_of_ap_are_the_least_and_the_most_over_all_orders(
    convention: Any, queries: list[Ranking], k: int | None
) -> None:
    worst, best = average_precision_bounds(tally_of(*queries), k, convention)
    possible = [[oracles.average_precision(order, k, convention) for order in orders(ranking)] for ranking in queries]
    np.testing.assert_allclose(worst, [min(some) for some in possible], atol=1e-12)
    np.testing.assert_allclose(best, [max(some) for some in possible], atol=1e-12)
    if convention != "hash-skip":
        figure = mean_average_precision(tally_of(*queries), k, convention)
        assert figure.value == pytest.approx(statistics.fmean(map(statistics.fmean, possible)))
        assert figure.worst == pytest.approx(statistics.fmean(map(min, possible)))
        assert figure.best == pytest.approx(statistics.fmean(map(max, possible)))


def test_bounds_hold_for_a_tie_of_any_size_cut_anywhere() -> None:
    for ahead, n in product(AHEAD, range(1, 6)):
        queries = [[*ahead, [1] * good + [0] * (n - good), [1, 0]] for good in range(n + 1)]
        possible = [orders(ranking) for ranking in queries]
        for k, convention in product(range(1, len(possible[0][0]) + 2), CONVENTIONS):
            worst, best = average_precision_bounds(tally_of(*queries), k, convention)
            found = [[oracles.average_precision(order, k, convention) for order in some] for some in possible]
            where = f"{ahead}, n {n}, k {k}, {convention}"
            np.testing.assert_allclose(worst, [min(some) for some in found], atol=1e-12, err_msg=where)
            np.testing.assert_allclose(best, [max(some) for some in found], atol=1e-12, err_msg=where)


def test_bounds_are_reached_by_orders_too_rare_to_matter_for_the_mean() -> None:
    counts = tally_of([block(5000, 5000)])
    assert average_precision_bounds(counts, 1000, "hash") == ([0.0], [1.0])
    assert average_precision_bounds(counts, 1000, "ir") == ([0.0], [pytest.approx(1000 / 5000)])
    first = tally_of([block(1, 0), block(0, 9), block(5000, 5000)])  # best where the tie brings nothing relevant
    assert average_precision_bounds(first, 1000, "hash")[1] == [1.0]


@settings(max_examples=80)
@given(rankings(most_items=6, most_grade=1), st.one_of(st.none(), st.integers(1, 7)))
def test_where_queries_that_find_nothing_are_left_out_bounds_are_over_orders_that_count_any(
    queries: list[Ranking], k: int | None
) -> None:
    check_skipping(queries, k)


@pytest.mark.parametrize(
    ("queries", "k"),
    [
        # One relevant item must come before the cut: 49 of 50, 2 taken. The other query always finds it, at rank 2.
        ([[block(49, 1)], [block(0, 1), block(1, 0), block(0, 48)]], 2),
        ([[block(48, 2), []], [block(0, 2), block(1, 47)]], 3),
        ([[block(0, 2), block(49, 1)], [block(1, 0), block(0, 51)]], 4),
        # Either may find nothing, not at the same time the best.
        ([[block(1, 2)], [block(0, 1), block(1, 1)]], 2),
        ([[block(1, 2)], [block(1, 2)], [block(0, 1), block(2, 0)]], 2),
        ([[block(0, 1), block(1, 2)], [block(1, 3)]], 2),  # the second, which can be best, is not the first
        ([[block(0, 3)], [block(0, 3)]], 2),
        ([[block(0, 3)], [block(1, 2)]], 1),
    ],
)
def test_what_surely_counts_is_never_left_out_of_the_mean(queries: list[Ranking], k: int) -> None:
    check_skipping(queries, k)


def check_skipping(queries: list[Ranking], k: int | None) -> None:
    """mAP in `hash-skip` is the expected sum over the expected number, with bounds over all orders of all queries."""
    total, counted = 0.0, 0.0
    outcomes: list[list[float | None]] = []
    for ranking in queries:
        if sum(map(len, ranking)) > 10:  # those too many to go through differ in a first few places only
            assert k is not None
            some = [[*head, 0] for head in heads(ranking, k)]
        else:
            some = orders(ranking)
            total += statistics.fmean(oracles.average_precision(order, k) for order in some)
            counted += statistics.fmean(oracles.found(order, k) for order in some)
        outcomes.append(
            sorted({oracles.average_precision(order, k) for order in some if oracles.found(order, k)})
            + [None] * (not all(oracles.found(order, k) for order in some))
        )
    figure = mean_average_precision(tally_of(*queries), k, "hash-skip")
    if all(sum(map(len, ranking)) <= 10 for ranking in queries):
        assert figure.value == pytest.approx(total / counted if counted else 0.0)
    kept = [[value for value in picked if value is not None] for picked in product(*outcomes)]
    means = [statistics.fmean(values) for values in kept if values] or [0.0]
    assert figure.worst == pytest.approx(min(means))
    assert figure.best == pytest.approx(max(means))


def heads(ranking: Ranking, k: int) -> list[list[int]]:
    """All that the first k of a ranking of large ties can be."""
    found: list[list[int]] = [[]]
    for tie in ranking:
        room = min(k - len(found[0]), len(tie))
        found = [
            [*head, *marks]
            for head in found
            for marks in product((0, 1), repeat=room)
            if sum(marks) <= sum(tie) and room - sum(marks) <= len(tie) - sum(tie)
        ]
    return found


@pytest.mark.parametrize("name", ["P", "R", "hit", "ACG", "nDCG", "nDCG linear", "HP", "AHP", "hierarchical nDCG"])
@settings(max_examples=40)
@given(rankings(), st.integers(1, 9))
def test_ties_broken_for_and_against_the_method_are_the_bounds(name: str, queries: list[Ranking], k: int) -> None:
    metric, counts = METRICS[name], tally_of(*queries, grades=3)
    possible = [[metric.oracle(order, k) for order in orders(ranking)] for ranking in queries]
    worst, best = counts.untied(best=False), counts.untied(best=True)
    np.testing.assert_allclose(metric.ours(worst, k), [min(some) for some in possible], atol=1e-12)
    np.testing.assert_allclose(metric.ours(best, k), [max(some) for some in possible], atol=1e-12)


@settings(max_examples=60)
@given(rankings())
def test_ties_broken_for_and_against_the_method_are_the_bounds_of_wap_over_the_whole_list(
    queries: list[Ranking],
) -> None:
    counts = tally_of(*queries, grades=3)
    possible = [[oracles.weighted_average_precision(order, None) for order in orders(ranking)] for ranking in queries]
    worst, best = counts.untied(best=False), counts.untied(best=True)
    np.testing.assert_allclose(weighted_average_precision(worst), [min(some) for some in possible], atol=1e-12)
    np.testing.assert_allclose(weighted_average_precision(best), [max(some) for some in possible], atol=1e-12)


@settings(max_examples=60)
@given(rankings(), st.integers(1, 3), st.booleans())
def test_breaking_ties_leaves_none_between_grades_and_keeps_what_is_relevant(
    queries: list[Ranking], least: int, best: bool
) -> None:
    counts = tally_of(*queries, grades=3, relevant_from=least)
    broken = counts.untied(best=best)
    assert broken.relevant_from == least
    assert ((broken.graded > 0).sum(axis=1) <= 1).all()
    for query, ranking in enumerate(queries):
        order = [grade for tie in ranking for grade in sorted(tie, reverse=best)]
        listed = [
            grade
            for place in range(broken.graded.shape[2])
            for grade in range(4)
            for _ in range(broken.graded[query, grade, place])
        ]
        assert listed == order


# --- by hand -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("marks", "k", "usual", "ir", "least"),
    [
        ("+-+", 3, (1 + 2 / 3) / 2, (1 + 2 / 3) / 2, (1 + 2 / 3) / 2),
        ("+-+", 2, 1.0, 1 / 2, 1 / 2),
        ("+-+", 1, 1.0, 1 / 2, 1.0),
        ("+--", 3, 1.0, 1.0, 1.0),
        ("+--", None, 1.0, 1.0, 1.0),
        ("+--+", 3, 1.0, 1 / 2, 1 / 2),
        ("+--++++", 3, 1.0, 1 / 5, 1 / 3),
        ("-+-+", 2, 1 / 2, 1 / 4, 1 / 4),
        ("-+-+", None, 1 / 2, 1 / 2, 1 / 2),
        ("--+", 99, 1 / 3, 1 / 3, 1 / 3),
        ("---+", 3, 0.0, 0.0, 0.0),
        ("---", 3, 0.0, 0.0, 0.0),
        ("+++", 2, 1.0, 2 / 3, 1.0),
    ],
)
def test_the_conventions_differ_as_published(marks: str, k: int | None, usual: float, ir: float, least: float) -> None:
    database = codes_at(list(range(len(marks))))
    labels = np.array([5 if mark == "+" else 3 for mark in marks])
    counts = tally(codes_at([0]), database, np.array([5]), labels)
    for convention, expected in (("hash", usual), ("hash-skip", usual), ("ir", ir), ("min", least)):
        (found,) = average_precision(counts, k, convention)  # type: ignore[arg-type]
        assert found == pytest.approx(expected), convention
        assert oracles.average_precision([mark == "+" for mark in marks], k, convention) == pytest.approx(expected)
        figure = mean_average_precision(counts, k, convention)  # type: ignore[arg-type]
        assert figure == Figure(*(pytest.approx(x, abs=1e-15) for x in (expected, 0, expected, expected)))


def test_a_single_tie_has_figures_that_one_can_work_out() -> None:
    one_of_two = tally_of([[1, 0]])
    assert average_precision(one_of_two, 1).tolist() == [0.5]
    assert average_precision(one_of_two, 2).tolist() == [0.75]
    assert average_precision_bounds(one_of_two, 1, "hash") == ([0.0], [1.0])
    assert average_precision_bounds(one_of_two, 2, "hash") == ([0.5], [1.0])
    assert mean_average_precision(one_of_two, 1, "hash-skip") == Figure(1.0, 0.0, 1.0, 1.0)
    two_of_four = tally_of([[1, 1, 0, 0]])
    assert hit_rate(two_of_four, 2)[0] == pytest.approx(5 / 6)  # both wrong: one of six
    assert precision(two_of_four, 3)[0] == pytest.approx(1 / 2)
    assert recall(two_of_four, 3)[0] == pytest.approx(3 / 4)
    # One relevant item more, far down, lowers AP: its best order takes none of the tie.
    assert average_precision_bounds(tally_of([[1], [0], [1, 0]]), 3, "hash") == ([pytest.approx(5 / 6)], [1.0])


def test_graded_figures_of_one_two_and_nothing_are_those_by_hand() -> None:
    counts = tally_of([[1], [0], [2]], grades=2)
    log3 = math.log2(3)
    for found, expected in (
        (average_cumulative_gain(counts, 2), 1 / 2),
        (average_cumulative_gain(counts), 1.0),
        (ndcg(counts, 3), (1 + 3 / 2) / (3 + 1 / log3)),
        (ndcg(counts, 1), 1 / 3),
        (ndcg(counts, 3, gain="linear"), (1 + 2 / 2) / (2 + 1 / log3)),
        (weighted_average_precision(counts), (1 + 1) / 2),
        (weighted_average_precision(tally_of([[2], [0], [1]], grades=2), 3), (2 + 1) / 2),
        (weighted_average_precision(tally_of([[2], [0], [1]], grades=2), 2), 2.0),
        (hierarchical_precision(counts, 2), 1 / 3),
        (hierarchical_average_precision(counts, 3), (1 / 2 + 1 / 3 + 1) / 3),
        (hierarchical_average_precision(counts, 2), (1 / 2 + 1 / 3) / 2),
        (hierarchical_ndcg(counts, 3), (1 / 2 + 1 / 3 + (1 + 2 / log3) / 3) / 3),
        (hierarchical_ndcg(counts, 1), 1 / 2),
    ):
        assert found.tolist() == [pytest.approx(expected)]


def test_the_mean_and_its_error_are_over_queries() -> None:
    counts = tally_of([[1], [0], [0]], [[0], [1], [0]], [[0], [0], [1]], [[0], [0], [0]])
    values = [1, 1 / 2, 1 / 3, 0]
    figure = mean_average_precision(counts)
    assert figure.value == pytest.approx(statistics.fmean(values))
    assert figure.error == pytest.approx(statistics.stdev(values) / 2)
    assert figure == mean_average_precision(counts, None, "hash")
    skipping = mean_average_precision(counts, None, "hash-skip")
    assert skipping.value == pytest.approx(statistics.fmean(values[:3]))
    assert statistics.pstdev(values[:3]) / 3**0.5 <= skipping.error + 1e-12
    assert skipping.error <= statistics.stdev(values[:3]) / 3**0.5 + 1e-12
    assert mean_average_precision(counts, 1, "hash-skip") == Figure(1.0, 0.0, 1.0, 1.0)
    # All that count have the same AP, however sure it is that they count.
    assert mean_average_precision(tally_of([[1, 0]], [[1], [0]]), 1, "hash-skip") == Figure(1.0, 0.0, 1.0, 1.0)
    assert mean(precision(counts, 1)).value == 1 / 4
    assert mean(precision(counts, 1)).worst is None
    assert mean(np.array([0.25])) == Figure(0.25, 0.0)


# --- what must not matter ----------------------------------------------------------------------------------------


def random_codes(rng: np.random.Generator, n: int, bits: int) -> Codes:
    return Codes.from_bits(rng.integers(0, 2, (n, bits)), Grains(look=bits))


def codes_at(distances: list[int]) -> Codes:
    """Codes so far from zero."""
    return Codes.from_bits([[1] * d + [0] * (64 - d) for d in distances], Grains(look=64))


@every_metric
@pytest.mark.parametrize("kind", ["classes", "paths", "sets"])
def test_neither_the_order_of_items_nor_the_numbers_of_classes_matter(metric: Metric, kind: str) -> None:
    rng = np.random.default_rng(6)
    queries, database = random_codes(rng, 12, 9), random_codes(rng, 150, 9)
    wanted: NDArray[Any]
    labels: NDArray[Any]
    if kind == "sets":
        wanted, labels = (rng.random((n, 6)) < 0.3 for n in (12, 150))
    else:
        wanted, labels = (rng.integers(2, 5, (n, 3) if kind == "paths" else n) for n in (12, 150))
    there, here = rng.permutation(150), rng.permutation(12)
    # Classes get other numbers; of a set, the columns change places.
    names = rng.permutation(1000)
    columns = rng.permutation(6)
    again, anew = (wanted[:, columns], labels[:, columns]) if kind == "sets" else (names[wanted], names[labels])
    expected = metric.ours(tally(queries, database, wanted, labels), 5)
    assert expected.min() < expected.max()
    for found in (
        metric.ours(tally(queries, database[there], wanted, labels[there]), 5),
        metric.ours(tally(queries[here], database, wanted[here], labels), 5)[np.argsort(here)],
        metric.ours(tally(queries, database, again, anew), 5),
        [metric.ours(tally(queries[i], database, wanted[i : i + 1], labels), 5)[0] for i in range(12)],
    ):
        np.testing.assert_allclose(found, expected, rtol=1e-12)


# --- counting ----------------------------------------------------------------------------------------------------


def grades_by_loop(wanted: Labels, labels: Labels) -> list[list[int]]:
    """How much each query has to do with each item, one pair at a time."""
    if isinstance(wanted, Sets):
        mine, theirs = ([oracle_number(words) for words in each.words] for each in (wanted, labels))  # type: ignore[union-attr]
        return [[(a & b).bit_count() for b in theirs] for a in mine]
    found = []
    for mine in wanted.ids.tolist():
        row = []
        for theirs in labels.ids.tolist():  # type: ignore[union-attr]
            grade = 0
            while grade < len(mine) and mine[grade] == theirs[grade] >= 0:
                grade += 1
            row.append(grade)
        found.append(row)
    return found


def oracle_number(words: NDArray[np.uint64]) -> int:
    return sum(int(word) << (64 * i) for i, word in enumerate(words))


def counts_by_loop(queries: Codes, database: Codes, graded: list[list[int]], most: int) -> NDArray[np.int64]:
    """The distance of each pair by counting the bits of whole Python numbers."""
    counts = np.zeros((len(queries), most + 1, queries.grains.bits + 1), np.int64)
    theirs = [oracle_number(words) for words in database.words]
    for query, words in enumerate(queries.words):
        mine = oracle_number(words)
        for item, other in enumerate(theirs):
            counts[query, min(most, graded[query][item]), (mine ^ other).bit_count()] += 1
    return counts


@st.composite
def labels_of(draw: st.DrawFn, n_queries: int, n_database: int) -> tuple[Labels, Labels]:
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    kind = draw(st.sampled_from(["classes", "paths", "sets"]))
    if kind == "sets":
        width, share = draw(st.integers(2, 130)), draw(st.sampled_from([0.0, 0.02, 0.3, 1.0]))
        return as_labels(rng.random((n_queries, width)) < share), as_labels(rng.random((n_database, width)) < share)
    depth, least = draw(st.integers(1, 3)), draw(st.sampled_from([0, -1, -3]))
    high = draw(st.sampled_from([1, 2, 5, 10**12]))
    shapes = [(n,) if kind == "classes" else (n, depth) for n in (n_queries, n_database)]
    wanted, labels = (rng.integers(least, high, shape) for shape in shapes)
    # Not as_labels: paths of noughts and ones alone would be taken for sets.
    wanted, labels = (ids[:, None] if ids.ndim == 1 else ids for ids in (wanted, labels))
    return Paths(wanted), Paths(labels)


@settings(max_examples=120)
@given(st.integers(1, 300), st.integers(0, 5), st.integers(0, 120), st.integers(0, 2**32 - 1), st.data())
def test_counts_are_those_of_looking_at_every_pair(
    bits: int, n_queries: int, n_database: int, seed: int, data: st.DataObject
) -> None:
    rng = np.random.default_rng(seed)
    pool = rng.integers(0, 2, (10, bits))
    queries = Codes.from_bits(pool[rng.integers(0, 10, n_queries)].reshape(-1, bits), Grains(look=bits))
    rows = pool[rng.integers(0, 10, n_database)] ^ (rng.random((n_database, bits)) < rng.choice([0.0, 0.01, 0.5]))
    database = Codes.from_bits(rows.reshape(-1, bits), Grains(look=bits))
    wanted, labels = data.draw(labels_of(n_queries, n_database))
    graded = grades_by_loop(wanted, labels)
    assert wanted.grades(labels).tolist() == graded  # type: ignore[arg-type]
    expected = counts_by_loop(queries, database, graded, wanted.most_grades)
    found = tally(queries, database, wanted, labels)
    np.testing.assert_array_equal(found.graded, expected)
    assert found.relevant_from == (wanted.most_grades if isinstance(wanted, Paths) else 1)
    np.testing.assert_array_equal(tally(queries, database, wanted, labels, threads=1).graded, expected)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(native, "kernels", None)
        np.testing.assert_array_equal(tally(queries, database, wanted, labels).graded, expected)
    if len(found):
        assert found.database == n_database
        np.testing.assert_array_equal(found.all, expected.sum(axis=1))
        np.testing.assert_array_equal(found.good, expected[:, found.relevant_from :].sum(axis=1))


@pytest.mark.parametrize("bits", [30, 64, 128, 200])
@pytest.mark.parametrize("kind", ["paths", "sets"])
def test_more_rows_than_a_tile_and_more_queries_than_one_go_are_all_counted_by_any_threads(
    bits: int, kind: str
) -> None:
    rng = np.random.default_rng(bits)
    queries, near = random_codes(rng, 1030, bits), random_codes(rng, 2 * 2048 + 37, bits).bits()
    near[::40], near[1::40] = queries.bits()[0], 1 - queries.bits()[1029]  # as near and as far as can be
    database = Codes.from_bits(near, Grains(look=bits))
    if kind == "paths":  # a class of half of all rows, one of one row, some that no row has, some unknown
        wanted, labels = (
            rng.geometric(0.5, (len(codes), 2)) * rng.choice([1, -1], (len(codes), 2), p=[0.9, 0.1])
            for codes in (queries, database)
        )
        labels[17] = (40, 1)
        wanted[1029] = (40, 1)
    else:
        wanted, labels = (rng.random((len(codes), 70)) < 0.1 for codes in (queries, database))
    goals, truths = as_labels(wanted), as_labels(labels)
    most = goals.most_grades
    found = tally(queries, database, goals, truths, threads=1)
    for query in (0, 1, 511, 512, 513, 1023, 1024, 1029):
        distance = np.bitwise_count(database.words ^ queries.words[query]).sum(axis=1, dtype=np.int64)
        grade = goals[query : query + 1].grades(truths)[0]  # type: ignore[arg-type]
        for g in range(most + 1):
            expected = np.bincount(distance[grade == g], minlength=bits + 1)
            np.testing.assert_array_equal(found.graded[query, g], expected)
    assert (found.all.sum(axis=1) == len(database)).all()
    for threads in (2, 3, 7, None):
        np.testing.assert_array_equal(tally(queries, database, goals, truths, threads=threads).graded, found.graded)


@pytest.mark.skipif(not compiled(), reason="the kernels are not compiled here")
@settings(max_examples=60)
@given(
    st.sampled_from([1, 2, 3, 5]),
    st.integers(0, 2**32 - 1),
    st.integers(1, 5),
    st.sampled_from([0, 1, 9, 100, 2048, 2060]),
)
def test_the_kernels_count_as_their_twin_does(words: int, seed: int, grades: int, n: int) -> None:
    rng = np.random.default_rng(seed)
    queries, rows = rng.integers(0, 2**64, (7, words), np.uint64), rng.integers(0, 2**64, (n, words), np.uint64)
    # Nested: each range lies in the one before; some are empty, some are the whole.
    bounds, low, high = np.zeros((7, grades, 2), np.int64), np.zeros(7, np.int64), np.full(7, n)
    for grade in range(grades):
        low = rng.integers(low, high + 1)
        high = rng.integers(low, high + 1)
        bounds[:, grade] = np.stack([low, high], axis=1)
    expected = np.zeros((7, grades + 1, 64 * words + 1), np.int64)
    plain.count_ranges(queries, rows, bounds, expected)
    np.testing.assert_array_equal(count_ranges(queries, rows_of(rows), bounds), expected)
    mine, theirs = (
        rng.integers(0, 2**64, (count, 2), np.uint64) & rng.integers(0, 2**64, (count, 2), np.uint64)
        for count in (7, n)
    )
    expected = np.zeros((7, grades + 1, 64 * words + 1), np.int64)
    plain.count_shared(queries, rows, mine, theirs, expected)
    np.testing.assert_array_equal(count_shared(queries, rows_of(rows), mine, theirs, grades), expected)


def test_counting_takes_what_fits_and_refuses_the_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    rows, queries = rows_of(np.zeros((5, 2), np.uint64)), np.zeros((3, 2), np.uint64)
    for bounds in (
        np.zeros((2, 1, 2)),
        np.zeros((3, 1, 3)),
        np.zeros((3, 2)),
        np.full((3, 1, 2), 6),
        np.full((3, 1, 2), -1),
    ):
        with pytest.raises(CodesError):
            count_ranges(queries, rows, bounds.astype(np.int64))
    fitting = np.zeros((3, 1, 2), np.int64)
    for wrong in (queries[:, :1], queries.astype(np.int64), queries[0]):
        with pytest.raises(CodesError):
            count_ranges(wrong, rows, fitting[: len(wrong)])
    for mine, theirs in (((2, 1), (5, 1)), ((3, 1), (4, 1)), ((3, 1), (5, 2))):
        with pytest.raises(CodesError):
            count_shared(queries, rows, np.zeros(mine, np.uint64), np.zeros(theirs, np.uint64), 1)
    for threads in (0, -1, 1.5, True):
        with pytest.raises(QueryError):
            count_ranges(queries, rows, fitting, threads=threads)  # type: ignore[arg-type]
    monkeypatch.setattr(histograms, "QUERIES_AT_ONCE", 1)
    assert count_ranges(queries, rows, np.array([[[0, 5]], [[2, 4]], [[3, 3]]]))[:, :, 0].tolist() == [
        [0, 5],
        [3, 2],
        [5, 0],
    ]


# --- real-valued scores ------------------------------------------------------------------------------------------


def ranking_by_sorting(scores: list[float], grades: list[int]) -> list[list[int]]:
    """Ties of equal scores, the highest first."""
    found: list[list[int]] = []
    last = None
    for score, grade in sorted(zip(scores, grades, strict=True), key=lambda pair: -pair[0]):
        if score == last:
            found[-1].append(grade)
        else:
            found.append([grade])
        last = score
    return found


@settings(max_examples=60)
@given(st.integers(1, 5), st.integers(1, 40), st.integers(0, 2**32 - 1), st.data())
def test_ranks_of_scores_are_those_of_sorting_and_equal_scores_are_a_tie(
    n_queries: int, n_database: int, seed: int, data: st.DataObject
) -> None:
    rng = np.random.default_rng(seed)
    queries = rng.integers(-3, 4, (n_queries, 3)).astype(np.float32)  # whole numbers: ties abound, no rounding
    database = rng.integers(-3, 4, (n_database, 3)).astype(np.float32)
    wanted, labels = data.draw(labels_of(n_queries, n_database))
    graded = [[min(wanted.most_grades, g) for g in row] for row in grades_by_loop(wanted, labels)]
    found = list(tallies_of_vectors(queries, database, wanted, labels))
    rows = [row for each in found for row in each.graded]
    assert {each.database for each in found} == {n_database}
    for query in range(n_queries):
        scores = [sum(a * b for a, b in zip(queries[query].tolist(), row, strict=True)) for row in database.tolist()]
        expected = tally_of(ranking_by_sorting(scores, graded[query]), grades=wanted.most_grades).graded[0]
        assert without_idle_bounds(rows[query]) == without_idle_bounds(expected)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(counting, "LEAST_AT_ONCE", 1)
        patch.setattr(counting, "ROWS_AT_ONCE", 7)
        patch.setattr(counting, "CELLS_AT_ONCE", 1 if seed % 2 else 2 * n_database * (wanted.most_grades + 2))
        parts = list(tallies_of_vectors(queries, database, wanted, labels, threads=1))
        assert [len(part) for part in parts] != [n_queries] or n_queries <= 2
        apart = [row for part in parts for row in part.graded]
        assert list(map(without_idle_bounds, apart)) == list(map(without_idle_bounds, rows))
        assert {part.relevant_from for part in parts} == {found[0].relevant_from}


def without_idle_bounds(graded: NDArray[np.int64]) -> list[list[int]]:
    """The bins of a query, where neighbours that hold one grade only, the same one, are one bin: no order matters."""
    bins: list[list[int]] = []
    for counts in graded.T.tolist():
        pure = sum(count > 0 for count in counts) == 1
        if pure and bins and [count > 0 for count in bins[-1]] == [count > 0 for count in counts]:
            bins[-1] = [a + b for a, b in zip(bins[-1], counts, strict=True)]
        elif any(counts):
            bins.append(counts)
    return bins


@pytest.mark.parametrize("n_queries", [1, 5, 64])
@pytest.mark.parametrize("bits", [16, 64, 100])
def test_equal_vectors_and_equal_codes_tie_for_a_real_query_wherever_they_stand(n_queries: int, bits: int) -> None:
    rng = np.random.default_rng(n_queries * bits)
    queries, real = (rng.normal(size=(n, bits)).astype(np.float32) for n in (n_queries, 20))
    which = rng.integers(0, 20, 1003)
    for kinds in (real, np.where(real > 0, 1, -1).astype(np.float32)):
        (found,) = tallies_of_vectors(queries, kinds[which], np.zeros(n_queries, int), which % 2)
        assert ((found.all > 0).sum(axis=1) == 20).all()


def test_a_real_query_against_a_binary_database_ranks_by_the_sum_over_the_bits() -> None:
    rng = np.random.default_rng(3)
    outputs, bits = rng.normal(size=(9, 24)).astype(np.float32), rng.integers(0, 2, (60, 24))
    wanted, labels = rng.integers(0, 3, 9), rng.integers(0, 3, 60)
    signs = (2 * bits - 1).astype(np.float32)
    (real,) = tallies_of_vectors(outputs, signs, wanted, labels)
    for query in range(9):
        scores = [
            sum(float(o) if bit else -float(o) for o, bit in zip(outputs[query], row, strict=True)) for row in bits
        ]
        order = [int(labels[i] == wanted[query]) for i in sorted(range(60), key=lambda i: -scores[i])]
        assert average_precision(real, 10)[query] == pytest.approx(oracles.average_precision(order, 10))
    # With a binary query it is the Hamming distance again.
    (binary,) = tallies_of_vectors(np.where(outputs >= 0, 1, -1).astype(np.float32), signs, wanted, labels)
    codes, database = Codes.from_outputs(outputs, Grains(look=24)), Codes.from_bits(bits, Grains(look=24))
    symmetric = tally(codes, database, wanted, labels)
    for name, metric in METRICS.items():
        np.testing.assert_allclose(metric.ours(binary, 10), metric.ours(symmetric, 10), rtol=1e-12, err_msg=name)


def test_vectors_that_cannot_be_compared_are_refused() -> None:
    good, labels = np.ones((2, 3), np.float32), np.array([0, 1])
    for queries, database in (
        (np.full((2, 3), np.nan, np.float32), good),
        (good, np.full((2, 3), np.inf, np.float32)),
        (good[0], good),
        (good, good[:, :2]),
    ):
        with pytest.raises(EvaluationError):
            list(tallies_of_vectors(queries, database, labels[: len(queries)], labels))
    with pytest.raises(EvaluationError, match="labels"):
        list(tallies_of_vectors(good, good, labels[:1], labels))
    with pytest.raises(EvaluationError, match="grade"):
        list(tallies_of_vectors(good, good, labels, labels, relevant_from=2))
    with pytest.raises(QueryError):
        list(tallies_of_vectors(good, good, labels, labels, threads=0))


# --- labels ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([3, 1, 3], [[3], [1], [3]]),
        ((0, 1, 1), [[0], [1], [1]]),
        (np.array([3, 255], np.uint8), [[3], [255]]),
        (np.array([2.0, -1.0]), [[2], [-1]]),
        ([[3], [1]], [[3], [1]]),
        ([[1], [0]], [[1], [0]]),
        ([[0, 1], [2, 1]], [[0, 1], [2, 1]]),
        ([[0, -1], [1, 1]], [[0, -1], [1, 1]]),
        ([[1.0, 7.0, 8.0]], [[1, 7, 8]]),
        (np.array([True, False]), [[1], [0]]),
        ([], np.empty((0, 1))),
    ],
)
def test_classes_and_paths_are_taken_as_programs_write_them(values: Any, expected: Any) -> None:
    found = as_labels(values)
    assert isinstance(found, Paths)
    np.testing.assert_array_equal(found.ids, expected)
    assert found.ids.dtype == np.int64
    assert as_labels(found) is found
    assert len(found) == len(values)


@pytest.mark.parametrize(
    "values",
    [
        [[0, 1, 1], [1, 0, 0]],
        np.array([[False, True, True], [True, False, False]]),
        np.array([[0.0, 1.0, 1.0], [1.0, 0.0, 0.0]]),
        np.array([[0, 1, 1], [1, 0, 0]], np.uint8),
    ],
)
def test_label_sets_are_taken_as_programs_write_them(values: Any) -> None:
    found = as_labels(values)
    assert isinstance(found, Sets)
    np.testing.assert_array_equal(found.words, sets_of([[1, 2], [0]], 3).words)
    assert found.sizes.tolist() == [2, 1]
    assert found.most_grades == 2
    assert as_labels(found) is found
    assert found.grades(found).tolist() == [[2, 0], [0, 1]]
    assert found[1:].sizes.tolist() == [1]


def test_a_single_column_of_marks_is_a_set_only_if_it_is_of_truth_values() -> None:
    assert isinstance(as_labels([[1], [0]]), Paths)
    assert isinstance(as_labels([[True], [False]]), Sets)


def test_sets_may_be_empty_or_wide() -> None:
    assert sets_of([[], [129], [0, 64, 129, 129]], 130).sizes.tolist() == [0, 1, 3]
    assert sets_of([[], [129]], 130).words.shape == (2, 3)
    assert len(sets_of([], 5)) == 0
    assert sets_of([[]], 5).most_grades == 1
    assert as_labels(np.ones((1, 4096), bool)).most_grades == 4096


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ([1.0, float("nan")], "not numbers"),
        ([1.0, float("inf")], "numbers"),
        ([1.0, 1.5], "whole"),
        ([[0.5, 0.5]], "whole"),
        ([1e30], "labels"),
        (np.array([2**63], np.uint64), "labels"),
        (np.zeros((2, 2, 2), int), "shape"),
        (np.zeros((2, 0), int), "shape"),
        (5, "shape"),
        ([1j], "complex"),
        ([None, 1], "object"),
        ([["a", "b"]], "labels are"),
        (np.zeros((2, 4097), bool), "4097 labels"),
    ],
)
def test_what_is_no_label_is_refused(values: Any, words: str) -> None:
    with pytest.raises(EvaluationError, match=words) as caught:
        as_labels(values, name="labels of the queries")
    assert "labels of the queries" in str(caught.value)


@pytest.mark.parametrize(
    ("wanted", "labels", "words"),
    [
        ([1], [0, 1, 2], "1, not 2|as many labels"),
        ([1, 2], [0, 1], "as many labels"),
        ([1, 2], [[0, 1], [1, 1], [0, 0]], "both"),
        ([[0, 1], [1, 0]], [0, 1, 2], "both"),
        ([[0, 2], [1, 0]], [0, 1, 2], "levels"),
        ([[0, 2, 2], [1, 0, 1]], [[0, 2], [1, 0], [3, 4]], "levels"),
        (np.zeros((2, 64), bool), np.zeros((3, 65), bool), "width"),
        (np.zeros((2, 10), bool), np.zeros((3, 12), bool), "width"),
    ],
)
def test_labels_that_do_not_fit_each_other_are_refused(wanted: Any, labels: Any, words: str) -> None:
    with pytest.raises(EvaluationError, match=words):
        tally(codes_at([0, 1]), codes_at([1, 2, 3]), wanted, labels)
    with pytest.raises(EvaluationError, match=words):
        list(tallies_of_vectors(np.ones((2, 3), np.float32), np.ones((3, 3), np.float32), wanted, labels))


def test_codes_of_another_width_and_grades_that_do_not_exist_are_refused() -> None:
    with pytest.raises(EvaluationError, match="bits"):
        tally(codes_at([0]), Codes.from_bits([[1]], Grains(look=1)), [1], [1])
    for least in (0, -1, 3):
        with pytest.raises(EvaluationError, match="grade"):
            tally(codes_at([0]), codes_at([0]), [[4, 5]], [[4, 5]], relevant_from=least)


def test_relevant_means_the_last_level_unless_told_and_any_shared_label() -> None:
    query, database = codes_at([0]), codes_at([0, 1, 2])
    paths, wanted = [[7, 8], [7, 9], [6, 8]], [[7, 8]]
    assert tally(query, database, wanted, paths).good[0, :3].tolist() == [1, 0, 0]
    assert tally(query, database, wanted, paths, relevant_from=1).good[0, :3].tolist() == [1, 1, 0]
    sets, asked = [[1, 1, 0], [0, 1, 1], [0, 0, 1]], [[1, 1, 0]]
    assert tally(query, database, asked, sets).good[0, :3].tolist() == [1, 1, 0]
    assert tally(query, database, asked, sets, relevant_from=2).good[0, :3].tolist() == [1, 0, 0]


def test_an_unknown_level_agrees_with_nothing_nor_does_anything_below_it() -> None:
    database, paths = codes_at([0, 1, 2, 3]), [[7, 8, 9], [7, -1, 9], [-1, 8, 9], [-1, -1, -1]]
    wanted = [[7, 8, 9], [7, -1, 9], [-1, 8, 9], [-1, -1, -1], [7, 8, -2]]
    counts = tally(codes_at([0] * 5), database, wanted, paths)
    grades = [[int(row[:, d].argmax()) for d in range(4)] for row in counts.graded]
    assert grades == [[3, 1, 0, 0], [1, 1, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0], [2, 1, 0, 0]]


# --- nothing to find, nothing to ask -----------------------------------------------------------------------------


@every_metric
def test_a_query_with_nothing_relevant_counts_nought(metric: Metric) -> None:
    counts = tally(codes_at([0, 3]), codes_at([0, 1, 1, 2]), [9, 1], [1, 1, 2, 2])
    nothing, something = metric.ours(counts, 3)
    assert nothing == 0.0
    assert something > 0


def test_queries_with_nothing_relevant_lower_the_mean_but_where_they_are_skipped() -> None:
    counts = tally_of([[1], [0]], [[0], [0]], [[0], [1]])
    for convention, expected in (("hash", 0.5), ("ir", 0.5), ("min", 0.5), ("hash-skip", 0.75)):
        figure = mean_average_precision(counts, 2, convention)  # type: ignore[arg-type]
        assert (figure.value, figure.worst, figure.best) == (pytest.approx(expected),) * 3, convention
    assert mean_average_precision(tally_of([[0], [0]]), 2, "hash-skip") == Figure(0.0, 0.0, 0.0, 0.0)


@every_metric
@pytest.mark.parametrize(("n_queries", "n_database"), [(0, 3), (2, 0), (0, 0)])
@pytest.mark.parametrize("shape", [(), (2,)])
def test_no_queries_and_no_database_give_noughts_or_nothing(
    metric: Metric, n_queries: int, n_database: int, shape: tuple[int, ...]
) -> None:
    rng = np.random.default_rng(0)
    queries, database = random_codes(rng, 2, 20)[:n_queries], random_codes(rng, 3, 20)[:n_database]
    wanted, labels = (rng.integers(2, 5, (n, *shape)) for n in (n_queries, n_database))
    counts = tally(queries, database, wanted, labels)
    assert metric.ours(counts, 3).tolist() == [0.0] * n_queries
    assert [ours(counts).tolist() for ours, _ in WITHIN] == [[[0.0] * 21] * n_queries] * 4
    assert [bound.tolist() for bound in average_precision_bounds(counts, 3, "hash")] == [[0.0] * n_queries] * 2
    for convention in CONVENTIONS:
        figure = mean_average_precision(counts, 3, convention)
        assert (figure.value, figure.error) == (0.0, 0.0)
    vectors = [np.ones((n, 4), np.float32) for n in (n_queries, n_database)]
    if not n_database:  # whatever the queries have
        assert tally(queries, database, np.ones((n_queries, 2), bool), []).graded.shape[::2] == (n_queries, 21)
    for part in tallies_of_vectors(*vectors, wanted, labels):
        assert metric.ours(part, 3).tolist() == [0.0] * n_queries


@every_metric
@pytest.mark.parametrize("k", [0, -1, -100])
def test_a_cut_off_below_one_is_refused(metric: Metric, k: int) -> None:
    for counts in (tally_of([[1], [0]]), tally_of([[]])):
        with pytest.raises(EvaluationError, match="cut-off"):
            metric.ours(counts, k)
    for convention in CONVENTIONS:
        with pytest.raises(EvaluationError, match="cut-off"):
            mean_average_precision(tally_of([[1], [0]]), k, convention)
        with pytest.raises(EvaluationError, match="cut-off"):
            average_precision_bounds(tally_of([[1], [0]]), k, convention)


# --- against other libraries -------------------------------------------------------------------------------------


@pytest.fixture
def without_ties() -> tuple[Floats, NDArray[np.int64], Tally]:
    """Scores that all differ, the grades of the items, and our counts of them. Each query has something relevant."""
    rng = np.random.default_rng(8)
    scores = np.stack([rng.permutation(50) + 1.0 for _ in range(25)])
    graded = rng.integers(0, 4, (25, 50)) * (rng.random((25, 50)) < rng.uniform(0.1, 1, (25, 1)))
    graded[:, 7] = np.maximum(1, graded[:, 7])
    in_order = np.take_along_axis(graded, np.argsort(-scores), axis=1).tolist()
    return scores, graded, tally_of(*([[grade] for grade in order] for order in in_order), grades=3)


Known = tuple[Floats, NDArray[np.int64], Tally]


def test_ap_and_ndcg_are_those_of_scikit_learn(without_ties: Known) -> None:
    known = pytest.importorskip("sklearn.metrics", reason="scikit-learn is not installed")
    scores, graded, counts = without_ties
    expected = [known.average_precision_score(row > 0, score) for row, score in zip(graded, scores, strict=True)]
    np.testing.assert_allclose(average_precision(counts, None, "ir"), expected)
    for k in (1, 2, 10, 50, 60, None):
        for gain, worth in (("exponential", 2**graded - 1), ("linear", graded)):
            expected = [known.ndcg_score(w[None], s[None], k=k) for w, s in zip(worth, scores, strict=True)]
            np.testing.assert_allclose(ndcg(counts, k, gain), expected)  # type: ignore[arg-type]


def test_ndcg_under_ties_is_that_of_scikit_learn() -> None:
    known = pytest.importorskip("sklearn.metrics", reason="scikit-learn is not installed")
    rng = np.random.default_rng(9)
    scores, graded = rng.integers(0, 6, (20, 40)).astype(np.float64), rng.integers(0, 4, (20, 40))
    queries = [ranking_by_sorting(s, g) for s, g in zip(scores.tolist(), graded.tolist(), strict=True)]
    for k in (1, 5, 20, None):
        expected = [known.ndcg_score(2 ** g[None] - 1, s[None], k=k) for g, s in zip(graded, scores, strict=True)]
        np.testing.assert_allclose(ndcg(tally_of(*queries, grades=3), k), expected)


@pytest.mark.train
def test_figures_are_those_of_torchmetrics(without_ties: Known) -> None:
    torch = pytest.importorskip("torch", reason="needs the train extra")
    known = pytest.importorskip("torchmetrics.functional.retrieval", reason="torchmetrics is not installed")
    scores, graded, counts = without_ties
    for k in (1, 3, 20, 50):
        for ours, name, worth in (
            (average_precision, "average_precision", graded > 0),
            (precision, "precision", graded > 0),
            (recall, "recall", graded > 0),
            (hit_rate, "hit_rate", graded > 0),
            (partial(ndcg, gain="linear"), "normalized_dcg", graded),
            (ndcg, "normalized_dcg", 2**graded - 1),
        ):
            theirs = getattr(known, f"retrieval_{name}")
            expected = [
                float(theirs(torch.tensor(s, dtype=torch.float32), torch.tensor(w), top_k=k))
                for s, w in zip(scores, worth, strict=True)
            ]
            np.testing.assert_allclose(ours(counts, k), expected, rtol=1e-5, atol=1e-6, err_msg=f"{name}, {k}")


@pytest.mark.train
def test_figures_are_those_of_pytorch_metric_learning() -> None:
    torch = pytest.importorskip("torch", reason="needs the train extra")
    calculator = pytest.importorskip(
        "pytorch_metric_learning.utils.accuracy_calculator", reason="pytorch-metric-learning is not installed"
    )
    rng = np.random.default_rng(10)
    queries, database = (rng.normal(size=(n, 8)).astype(np.float32) for n in (30, 60))
    wanted, labels = rng.integers(0, 5, 30), np.repeat(np.arange(5), 12)  # of each class as many: R is 12 for all

    def nearest(query: Any, k: int, reference: Any, *_: object) -> tuple[Any, Any]:
        found = (query @ reference.T).topk(k, dim=1)
        return -found.values, found.indices

    (counts,) = tallies_of_vectors(queries, database, wanted, labels)
    for k in (12, 25, 60):
        names = ("precision_at_1", "r_precision", "mean_average_precision_at_r", "mean_average_precision")
        theirs = calculator.AccuracyCalculator(include=names, k=k, knn_func=nearest)
        expected = theirs.get_accuracy(*map(torch.tensor, (queries, wanted, database, labels)))
        assert precision(counts, 1).mean() == pytest.approx(expected["precision_at_1"])
        assert precision(counts, 12).mean() == pytest.approx(expected["r_precision"])
        assert recall(counts, 12).mean() == pytest.approx(expected["r_precision"])
        at_r = mean_average_precision(counts, 12, "ir").value
        assert at_r == pytest.approx(expected["mean_average_precision_at_r"])
        assert mean_average_precision(counts, k, "ir").value == pytest.approx(expected["mean_average_precision"])


# --- health ------------------------------------------------------------------------------------------------------


def test_health_tells_dead_bits_entropy_and_crowded_codes() -> None:
    grains = Grains(kind=2, look=4)
    codes = Codes.from_bits([[0, 1, 1, 0], [0, 1, 1, 0], [0, 0, 1, 0], [0, 0, 1, 1]], grains)
    kind, look = code_health(codes).values()
    assert (kind.dead_bits, kind.distinct, kind.largest_bucket) == (1, 2, 2)
    assert kind.mean_entropy == pytest.approx(0.5)
    assert (look.dead_bits, look.distinct, look.largest_bucket, look.least_entropy) == (2, 3, 2, 0.0)
    assert code_health(codes[:0])["look"].distinct == 0
    assert code_health(codes[0])["look"].dead_bits == 4


def test_queries_measured_some_at_a_time_have_the_same_figures_and_curves(monkeypatch: pytest.MonkeyPatch) -> None:
    dice = np.random.default_rng(0)
    queries, database = (Codes.from_bits(dice.random((n, 32)) < 0.5, Grains(look=32)) for n in (50, 300))
    classes, others = (dice.integers(0, 9, n) for n in (50, 300))
    for wanted, labels, levels in (
        (np.stack([classes // 3, classes], 1), np.stack([others // 3, others], 1), ["superclass"]),
        (dice.random((50, 9)) < 0.2, dice.random((300, 9)) < 0.2, []),
    ):
        counts = tally(queries, database, wanted, labels)
        whole = measure.measure([counts], 100, "symmetric", levels)
        with monkeypatch.context() as patch:
            patch.setattr(measure, "CELLS_AT_ONCE", 7 * counts.graded[0].size)
            parts = measure.measure([counts], 100, "symmetric", levels)
        assert list(parts.figures) == list(whole.figures)
        for name, figure in whole.figures.items():
            assert parts.figures[name].value == pytest.approx(figure.value, abs=1e-12), name
        assert parts.curves == whole.curves
        assert np.array_equal(parts.per_query, whole.per_query)
