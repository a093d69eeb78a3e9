"""Every figure and curve of one method: from its tallies to a row of a result."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from hashgrain.evaluate.counting import Tally
from hashgrain.evaluate.graded import (
    average_cumulative_gain,
    hierarchical_average_precision,
    hierarchical_ndcg,
    ndcg,
    weighted_average_precision,
)
from hashgrain.evaluate.hypergeometric import Floats
from hashgrain.evaluate.means import Figure, Precisions, mean
from hashgrain.evaluate.ranking import (
    CONVENTIONS,
    Convention,
    Ranking,
    cumulated,
    hit_rate,
    most_precision,
    precision,
    r_precision,
    recall,
)
from hashgrain.evaluate.within import average_precision_within, hit_rate_within, precision_within, recall_within

RADIUS = 2  # the radius of lookups in hash tables, which papers report
RANKS = (1, 10, 100, 1000)
CAPPED_AT = 10  # classes of few pictures limit this precision
MOST = f"P@{CAPPED_AT} at most"
GRADED_AT = 100
HIERARCHICAL_AT = 2500
MOST_RANKS = 60  # points of a curve
CELLS_AT_ONCE = 1 << 20  # counts processed together: 8 MB
Distance = Literal["symmetric", "asymmetric", "cosine"]  # binary both; real-valued queries; real-valued both
Curves = dict[str, dict[str, Sequence[float]]]


@dataclass(frozen=True, eq=False)
class Measured:
    figures: dict[str, Figure]
    curves: Curves
    per_query: Floats  # AP at the protocol's cut-off and convention, from which noise is estimated
    without_relevant: int  # queries without a relevant item in the database


def name_of(cutoff: int | None) -> str:
    return "ALL" if cutoff is None else str(cutoff)


def cutoffs_of(protocol_cutoff: int | None, database: int) -> list[int | None]:
    """The protocol's own cut-off first, then the whole list and the first thousand."""
    wanted = [protocol_cutoff, None, 1000]
    return list(dict.fromkeys(None if cutoff is not None and cutoff >= database else cutoff for cutoff in wanted))


@dataclass
class _Gathered:
    """Collects the figures of queries, chunk by chunk."""

    precisions: dict[str, list[Precisions]] = field(default_factory=dict)
    columns: dict[str, list[Floats]] = field(default_factory=dict)
    sums: dict[str, Floats] = field(default_factory=dict)  # over queries, of curves

    def add(self, name: str, values: Floats) -> None:
        self.columns.setdefault(name, []).append(values)

    def add_curve(self, name: str, values: Floats) -> None:
        self.sums[name] = self.sums.get(name, 0.0) + values.sum(axis=0)


def measure(
    tallies: Iterable[Tally],
    cutoff: int | None,
    distance: Distance,
    levels: Sequence[str] = (),
    convention: Convention = "hash",
) -> Measured:
    """All figures of a method. `levels` names the levels of a hierarchy above the last, coarse to fine; `cutoff` and
    `convention` are the protocol's, and the result stores their AP for every query."""
    gathered, ranks = _Gathered(), np.empty(0, np.int64)
    for tally in (part for whole in tallies for part in _parts(whole)):
        ranks = _ranks(tally.database)
        for k in cutoffs_of(cutoff, tally.database):
            ranking = Ranking(tally, k)
            for each in CONVENTIONS:
                gathered.precisions.setdefault(f"mAP@{name_of(k)} {each}", []).append(Precisions.of(ranking, each))
        for k in RANKS:
            if k <= tally.database:
                ranking = Ranking(tally, k)
                gathered.add(f"P@{k}", precision(ranking))
                gathered.add(f"R@{k}", recall(ranking))
                gathered.add(f"hit@{k}", hit_rate(ranking))
                if k == CAPPED_AT:
                    gathered.add(MOST, most_precision(ranking))
        gathered.add("R-precision", r_precision(tally))
        if tally.graded.shape[1] > 2:
            _add_graded(gathered, tally, cutoff, levels)
        if distance == "symmetric":
            _add_within(gathered, tally)
        hits, relevant = cumulated(tally.all, tally.good, ranks), tally.relevant
        gathered.add_curve("by rank precision", hits / ranks)
        gathered.add_curve("by rank recall", hits / np.maximum(1, relevant)[:, None])
        gathered.add("without relevant", (relevant == 0).astype(np.float64))
    if not gathered.columns:
        return Measured({}, {}, np.empty(0), 0)
    joined = {name: Precisions.joined(parts) for name, parts in gathered.precisions.items()}
    columns = {name: np.concatenate(parts) for name, parts in gathered.columns.items()}
    figures = {name: each.figure() for name, each in joined.items()}
    figures |= {name: mean(values) for name, values in columns.items()}
    lost = columns["without relevant"]
    del figures["without relevant"]
    if MOST in figures and figures[MOST].value == 1:
        del figures[MOST]
    own = next(each.values for each in joined.values() if each.convention == convention)
    return Measured(figures, _curves(gathered.sums, len(lost), ranks), own, int(lost.sum()))


def _parts(whole: Tally) -> Iterator[Tally]:
    """Chunks of queries: a figure takes a dozen arrays as large as the counts."""
    step = max(1, CELLS_AT_ONCE // max(1, whole.graded[:1].size))
    for start in range(0, max(1, len(whole)), step):
        yield Tally(whole.graded[start : start + step], whole.relevant_from)


def _add_graded(gathered: _Gathered, tally: Tally, cutoff: int | None, levels: Sequence[str]) -> None:
    k = GRADED_AT
    gathered.add(f"nDCG@{k}", ndcg(tally, k))
    gathered.add(f"ACG@{k}", average_cumulative_gain(tally, k))
    gathered.add(f"WAP@{k}", weighted_average_precision(tally, k))
    if not levels:
        return
    gathered.add(f"hierarchical nDCG@{k}", hierarchical_ndcg(tally, k))
    gathered.add(f"mAHP@{HIERARCHICAL_AT}", hierarchical_average_precision(tally, HIERARCHICAL_AT))
    for depth, level in enumerate(levels, 1):
        coarser = tally.relevant_at(depth)
        for at in cutoffs_of(cutoff, tally.database)[:1]:
            name = f"{level}: mAP@{name_of(at)} hash"
            gathered.precisions.setdefault(name, []).append(Precisions.of(Ranking(coarser, at), "hash"))
        gathered.add(f"{level}: P@10", precision(coarser, 10))


def _add_within(gathered: _Gathered, tally: Tally) -> None:
    measures: dict[str, Callable[[Tally], Floats]] = {
        "P": precision_within,
        "R": recall_within,
        "hit": hit_rate_within,
        "mAP": average_precision_within,
    }
    for name, compute in measures.items():
        values = compute(tally)
        gathered.add_curve(f"by radius {name}", values)
        at_radius = values[:, min(RADIUS, values.shape[1] - 1)].copy()  # a view would keep the whole array alive
        gathered.add(f"{name} within {RADIUS}", at_radius)
    gathered.add_curve("by distance same", tally.good.astype(np.float64))
    gathered.add_curve("by distance different", (tally.all - tally.good).astype(np.float64))


def _ranks(database: int) -> NDArray[np.int64]:
    """Ranks for a curve, evenly spaced on a logarithmic axis."""
    if not database:
        return np.empty(0, np.int64)
    return np.unique(np.round(np.geomspace(1, database, MOST_RANKS)).astype(np.int64))


def _curves(sums: dict[str, Floats], queries: int, ranks: NDArray[np.int64]) -> Curves:
    def means(name: str) -> list[float]:
        return [round(float(value), 6) for value in sums[name] / max(1, queries)]

    curves: Curves = {
        "by rank": {
            "rank": ranks.tolist(),
            "precision": means("by rank precision"),
            "recall": means("by rank recall"),
        }
    }
    if "by radius P" in sums:
        radii = list(range(len(sums["by radius P"])))
        named = {"precision": "P", "recall": "R", "hit rate": "hit"}
        curves["by radius"] = {"radius": radii} | {name: means(f"by radius {column}") for name, column in named.items()}
        curves["distances"] = {kind: sums[f"by distance {kind}"].astype(int).tolist() for kind in ("same", "different")}
    return curves
