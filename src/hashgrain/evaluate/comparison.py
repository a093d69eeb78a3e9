"""Comparison of runs: means and spreads over seeds, and which differences exceed the noise.

Two methods are compared run by run, on the same manifests with the same seed. Noise is half of the 95 % interval of
the mean difference: over queries (pairs of APs) and, with several seeds, over seeds (Student's t). The larger one
counts. A single seed gives no spread over seeds, and the comparison says so.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from hashgrain.errors import EvaluationError
from hashgrain.evaluate.hypergeometric import Floats
from hashgrain.evaluate.results import Result, Row

# 97.5 % points of Student's t for 1, 2, 3 ... degrees of freedom; beyond, it is close to the normal distribution
STUDENT = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131)
PAST = 2.120  # for 16 degrees of freedom: slightly conservative for more
NORMAL = 1.96
PARTLY = "not every method has every run: a mean is over the runs it has, a difference over those that two share"
NoiseOf = Literal["seeds", "queries", "unknown"]  # what the larger interval is over
Run = tuple[str, int]  # manifest and seed


@dataclass(frozen=True, eq=False)
class Method:
    """One method at one width, over its runs."""

    name: str
    kind: str
    bits: int | None
    rows: Mapping[Run, Row]

    def values(self, figure: str) -> list[float]:
        return [row.figures[figure].value for row in self.rows.values() if figure in row.figures]

    def mean(self, figure: str) -> float:
        return float(np.mean(self.values(figure)))

    def spread(self, figure: str) -> float | None:
        """The standard deviation over runs."""
        values = self.values(figure)
        return float(np.std(values, ddof=1)) if len(values) > 1 else None

    def bounds(self, figure: str) -> tuple[float, float] | None:
        """The lowest and highest mean over the orders of ties."""
        figures = [row.figures[figure] for row in self.rows.values() if figure in row.figures]
        if not figures or any(each.worst is None or each.best is None for each in figures):
            return None
        return float(np.mean([each.worst for each in figures])), float(np.mean([each.best for each in figures]))


@dataclass(frozen=True)
class Difference:
    mean: float
    noise: float | None  # half of the 95 % interval
    noise_of: NoiseOf

    @property
    def within_noise(self) -> bool | None:
        return None if self.noise is None else abs(self.mean) <= self.noise


@dataclass(frozen=True, eq=False)
class Group:
    """Comparable runs: of one protocol on the same manifests."""

    protocol: Mapping[str, Any]
    manifests: tuple[str, ...]
    seeds: tuple[int, ...]
    methods: Sequence[Method]
    warnings: Sequence[str]
    made_by: Sequence[Mapping[str, Any]]  # the models and options of the runs


def group(results: Sequence[Result]) -> list[Group]:
    """Group comparable methods: of one protocol, with shared pictures, directly or through others."""
    by_protocol: dict[tuple[str, int], list[Result]] = defaultdict(list)
    for result in results:
        by_protocol[result.protocol["name"], result.protocol.get("version", 1)].append(result)
    groups = []
    for same in (data_set for runs in by_protocol.values() for data_set in _data_sets(runs)):
        for methods in _connected(_methods(same)):
            manifests = tuple(sorted({manifest for method in methods for manifest, _ in method.rows}))
            inside = [result for result in same if result.manifest in manifests]
            notes = list(dict.fromkeys(note for result in inside for note in result.warnings))
            if len({frozenset(method.rows) for method in methods}) > 1:
                notes.append(PARTLY)
            seeds = tuple(sorted({seed for method in methods for _, seed in method.rows}))
            asked = [result.made_by for result in inside]
            made_by = [each for i, each in enumerate(asked) if each not in asked[:i]]
            groups.append(Group(inside[0].protocol, manifests, seeds, methods, notes, made_by))
    return groups


def _data_sets(results: Sequence[Result]) -> list[list[Result]]:
    """Group runs by the pictures of their splits: a seed means something only for the same pictures."""
    data_sets: list[list[Result]] = []
    for result in results:
        home = next((runs for runs in data_sets if all(_may_be_of_one(result, other) for other in runs)), None)
        if home is None:
            data_sets.append([result])
        else:
            home.append(result)
    return data_sets


def _may_be_of_one(one: Result, other: Result) -> bool:
    """Whether both have one manifest, or different seeds of the same pictures (which older results do not name)."""
    if one.manifest == other.manifest:
        return True
    pictures = {result.protocol["pictures"] for result in (one, other) if result.protocol.get("pictures")}
    return len(pictures) < 2 and one.protocol["seed"] != other.protocol["seed"]


def _methods(results: Sequence[Result]) -> list[Method]:
    """Rows with the same name are one method, unless they come from different models and have different figures: PCA
    of one model's features is another method than PCA of another's."""
    rows_of: dict[str, dict[str, dict[Run, Row]]] = defaultdict(lambda: defaultdict(dict))
    models: dict[str, str] = {}
    for result in results:
        digest = str(result.made_by.get("digest") or result.made_by.get("codes") or "")
        models[digest] = str(result.made_by.get("model") or result.made_by.get("codes") or "")
        for row in result.rows:
            runs = rows_of[row.name][digest]
            before = runs.get((result.manifest, row.seed))
            if before and dict(before.figures) != dict(row.figures):
                raise EvaluationError(
                    f"{row.name} occurs twice with the same pictures and seed {row.seed}, but with different figures:"
                    " leave one of the two runs out"
                )
            runs[result.manifest, row.seed] = row
    methods = []
    for name, by_digest in rows_of.items():
        distinct: dict[str, dict[Run, Row]] = {}
        for digest, runs in by_digest.items():
            twin = next((other for other, theirs in distinct.items() if _say_the_same(runs, theirs)), digest)
            distinct.setdefault(twin, {}).update(runs)
        names = [models[digest] for digest in distinct]
        for digest, runs in distinct.items():
            first = next(iter(runs.values()))
            model = models[digest] if names.count(models[digest]) == 1 else f"{models[digest]} {digest[:6]}"
            full = name if len(distinct) == 1 else f"{name} ({model})"
            methods.append(Method(full, first.kind, first.bits, runs))
    return methods


def _say_the_same(one: Mapping[Run, Row], other: Mapping[Run, Row]) -> bool:
    shared = [run for run in one if run in other]
    return bool(shared) and all(dict(one[run].figures) == dict(other[run].figures) for run in shared)


def _connected(methods: Sequence[Method]) -> list[list[Method]]:
    """Group methods that share a manifest, directly or through others."""
    groups: list[tuple[set[str], list[Method]]] = []
    for method in methods:
        manifests, members = {manifest for manifest, _ in method.rows}, [method]
        for group in [group for group in groups if group[0] & manifests]:
            manifests |= group[0]
            members = group[1] + members
            groups.remove(group)
        groups.append((manifests, members))
    return [members for _, members in groups]


def incomparable(groups: Sequence[Group]) -> list[str]:
    """Lines on runs of one protocol that are not comparable, with the reason."""
    names: dict[str, list[Group]] = defaultdict(list)
    for each in groups:
        names[each.protocol["name"]].append(each)
    return [
        f"{name}: {', '.join(method.name for method in other.methods[:4])} ran on {_apart(other, parts[0])}:"
        " not comparable with the others, shown apart"
        for name, parts in names.items()
        for other in parts[1:]
    ]


def share_a_run(one: Method, other: Method) -> bool:
    """Whether they can be compared at all."""
    return any(run in other.rows for run in one.rows)


def difference(one: Method, other: Method, figure: str, per_query: str | None = None) -> Difference:
    """How much better `one` is, over the shared runs. `per_query` names the figure of the APs of single queries."""
    shared = [run for run in one.rows if run in other.rows]
    if not shared:
        raise EvaluationError(f"{one.name} and {other.name} have no run on the same pictures with the same seed")
    pairs = [(one.rows[run], other.rows[run]) for run in shared]
    for method, rows in zip((one, other), zip(*pairs, strict=True), strict=True):
        if any(figure not in row.figures for row in rows):
            raise EvaluationError(f"{method.name} has no figure {figure!r}")
    differences = np.array([mine.figures[figure].value - yours.figures[figure].value for mine, yours in pairs])
    intervals: list[tuple[float, NoiseOf]] = []
    if len(differences) > 1:
        student = STUDENT[len(differences) - 2] if len(differences) - 2 < len(STUDENT) else PAST
        intervals.append((student * float(differences.std(ddof=1)) / len(differences) ** 0.5, "seeds"))
    if figure == per_query and all(len(mine.per_query) == len(yours.per_query) > 1 for mine, yours in pairs):
        over_queries = [_error(mine.per_query - yours.per_query) for mine, yours in pairs]
        intervals.append((NORMAL * float(np.mean(over_queries)), "queries"))
    if not intervals:
        return Difference(float(differences.mean()), None, "unknown")
    return Difference(float(differences.mean()), *max(intervals))


def _error(values: Floats) -> float:
    return float(values.std(ddof=1) / np.sqrt(len(values)))


def main_figure(protocol: Mapping[str, Any]) -> str:
    """The main figure of a protocol."""
    cutoff = protocol["cutoff"]
    if cutoff is not None and cutoff >= protocol["database"]:
        cutoff = None
    return f"mAP@{'ALL' if cutoff is None else cutoff} {protocol['convention']}"


def _apart(one: Group, other: Group) -> str:
    versions = [each.protocol.get("version", 1) for each in (one, other)]
    if versions[0] != versions[1]:
        return f"version {versions[0]} of the protocol, not version {versions[1]}"
    return f"other pictures (manifests {_short(one)}, not {_short(other)})"


def _short(group: Group) -> str:
    return " ".join(manifest[:12] for manifest in group.manifests)
