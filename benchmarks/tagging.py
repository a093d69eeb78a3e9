"""`classify` on CIFAR-10 and Tiny ImageNet, beside a linear classifier on the float features of the same model.

Features are kept in a folder, which makes a second run quick: python benchmarks/tagging.py CACHE. For a try at small
size: --labelled 200 --asked 100 --classes 10.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from hashgrain import Codes, Encoder
from hashgrain.apps.label_next import doubts_of, known_of, nearest_of, pick
from hashgrain.apps.votes import Ballot, Voters, leave_one_out, weights_at
from hashgrain.learn.adapt.kept import KeptRows
from hashgrain.learn.photo.pictures import Shot, cifar, tiny_imagenet
from hashgrain.models import Bundle
from hashgrain.models.probabilities import expected_calibration_error
from report import need_data, table, write_section

KS = (1, 5, 10, 20)
STRENGTHS = (0.0001, 0.001, 0.01)  # C of the linear classifiers; a fifth of the labelled pictures chooses one
FIRST, MORE, DRAWS = 20, 20, 5  # labels known before asking, asked for, and random draws beside them
GRAIN = "look"
Rows = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Task:
    """Labelled pictures, and others to classify."""

    title: str
    labelled: Rows
    labels: NDArray[np.str_]
    asked: Rows
    wanted: NDArray[np.str_]


class Bench:
    def __init__(self, folder: Path) -> None:
        self.bundle = Bundle.read("photo")
        self.kept = KeptRows(Encoder(self.bundle), folder, print)
        self.grains = self.bundle.grains

    def rows(self, shots: Sequence[Shot]) -> Rows:
        missing = {shot.sha256: shot.content for shot in shots if shot.sha256 not in self.kept}
        self.kept.add(missing.items(), len(missing))
        return self.kept.of([shot.sha256 for shot in shots])

    def task(self, title: str, labelled: Sequence[Shot], asked: Sequence[Shot]) -> Task:
        both = [np.array([str(shot.facts["label"]) for shot in shots]) for shots in (labelled, asked)]
        return Task(title, self.rows(labelled), both[0], self.rows(asked), both[1])

    def codes(self, rows: Rows) -> Codes:
        return Codes.from_outputs(rows[:, -self.grains.bits :], self.grains)

    def features(self, rows: Rows) -> Rows:
        return rows[:, : -self.grains.bits]

    def voters(self, task: Task, rows: NDArray[np.int64], grain: str, k: int) -> Voters:
        labels = [(str(label),) for label in task.labels[rows]]
        return Voters(self.codes(task.labelled[rows]), labels, grain, min(k, len(rows)), weights_at(self.bundle, grain))


def tasks(bench: Bench, given: argparse.Namespace) -> list[Task]:
    data, random = need_data(), np.random.default_rng(0)
    train, test = cifar(data, "train"), cifar(data, "test")
    known = [train[i] for i in random.permutation(len(train))[: given.labelled]]
    asked = [test[i] for i in random.permutation(len(test))[: given.asked]]
    every = tiny_imagenet(data, "val")
    val = [every[i] for i in random.permutation(len(every))]
    names = sorted({shot.facts["label"] for shot in val})[: given.classes]
    val = [shot for shot in val if shot.facts["label"] in names]
    halves: dict[bool, list[Shot]] = {True: [], False: []}
    seen: dict[object, int] = {}
    for shot in val:  # 15 of each class are labelled, 10 asked
        seen[shot.facts["label"]] = seen.get(shot.facts["label"], 0) + 1
        halves[seen[shot.facts["label"]] <= 15].append(shot)
    tiny = f"Tiny ImageNet `val`, {len(names)} classes"
    return [bench.task("CIFAR-10", known, asked), bench.task(tiny, halves[True], halves[False])]


def of_vote(bench: Bench, task: Task, grain: str, k: int) -> list[str]:
    voters = bench.voters(task, np.arange(len(task.labels)), grain, k)
    ballots = list(voters.ask(bench.codes(task.asked)))
    confidences, right = sureness(ballots), rights(ballots, task)
    figures = f"{right.mean():.3f}", f"{expected_calibration_error(confidences, right):.3f}"
    among_labelled = f"{leave_one_out(voters).accuracy:.3f}"
    return [f"`classify`, {grain}, k {k}", f"{bench.grains[grain]} bits", among_labelled, *figures]


def sureness(ballots: Sequence[Ballot]) -> NDArray[np.float64]:
    return np.array([ballot[0].confidence for ballot in ballots])


def rights(ballots: Sequence[Ballot], task: Task) -> NDArray[np.bool_]:
    return np.array([ballot[0].label for ballot in ballots]) == task.wanted


def of_linear(task: Task, name: str, size: str, labelled: Rows, asked: Rows) -> list[str]:
    linear = fitted(labelled, task.labels)
    probabilities = linear.predict_proba(asked)
    right = linear.classes_[probabilities.argmax(axis=1)] == task.wanted
    error = expected_calibration_error(probabilities.max(axis=1).astype(np.float64), right)
    return [name, size, "", f"{right.mean():.3f}", f"{error:.3f}"]


def fitted(rows: Rows, labels: NDArray[np.str_]) -> Pipeline:
    """A linear classifier whose regularization is chosen on a fifth of the pictures, fitted to all."""

    def fit(strength: float, chosen: NDArray[np.bool_]) -> Pipeline:
        made = make_pipeline(StandardScaler(), LogisticRegression(C=strength, max_iter=300))
        return made.fit(rows[chosen], labels[chosen])

    kept_out = np.arange(len(rows)) % 5 == 0
    scores = [fit(strength, ~kept_out).score(rows[kept_out], labels[kept_out]) for strength in STRENGTHS]
    return fit(STRENGTHS[int(np.argmax(scores))], np.ones(len(rows), np.bool_))


def of_task(bench: Bench, task: Task) -> str:
    rows = [of_vote(bench, task, grain, k) for grain in bench.grains for k in (KS if grain == GRAIN else (10,))]
    features, bits = [bench.features(side) for side in (task.labelled, task.asked)], bench.grains.bits
    rows.append(of_linear(task, "linear, float features", f"{features[0].shape[1]} floats", *features))
    signs = [bench.codes(side).bits().astype(np.float32) for side in (task.labelled, task.asked)]
    rows.append(of_linear(task, "linear, bits of the code", f"{bits} bits", *signs))
    head = f"### {task.title}\n\n{len(task.labels):,} labeled pictures, {len(task.wanted):,} others classified.\n\n"
    return head + table(
        ["method", "reads", "accuracy, labeled, each left out", "accuracy, others", "calibration error"], rows
    )


def of_asking(bench: Bench, task: Task) -> list[str]:
    """Accuracy with the labels that `tag --ask` asks for, beside as many random ones."""
    codes = bench.codes(task.labelled)
    weights = weights_at(bench.bundle, GRAIN)
    taught, by_chance, before = [], [], []
    for seed in range(DRAWS):
        random = np.random.default_rng(seed)
        order = random.permutation(len(codes))
        start, rest = np.sort(order[:FIRST]), np.sort(order[FIRST:])
        voters = bench.voters(task, start, GRAIN, 5)
        ids, distances = nearest_of(codes[rest], codes[rest], GRAIN, 100)
        known = known_of(voters.codes, codes[rest], GRAIN, weights)
        picks = pick(ids, weights[distances], doubts_of(voters, codes[rest]), known, MORE)
        chosen = [start, np.concatenate([start, rest[[place for place, _ in picks]]]), order[: FIRST + MORE]]
        for kept, rows in zip((before, taught, by_chance), chosen, strict=True):
            ballots = list(bench.voters(task, np.sort(rows), GRAIN, 1).ask(bench.codes(task.asked)))
            kept.append(float(rights(ballots, task).mean()))
    shown = [f"{np.mean(each):.3f} ± {np.std(each, ddof=1):.3f}" for each in (before, by_chance, taught)]
    return [task.title, *shown]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("cache", type=Path)
    parser.add_argument("--labelled", type=int, default=5_000)
    parser.add_argument("--asked", type=int, default=10_000)
    parser.add_argument("--classes", type=int, default=200)
    parser.add_argument("--dry-run", action="store_true", help="print the section, and write nothing")
    given = parser.parse_args()
    bench = Bench(given.cache)
    every = tasks(bench, given)
    head = (
        "The model is `photo`. Pictures of ImageNet classes were seen by its backbone: Tiny ImageNet is easier for it"
        " than other pictures are. The default grain was changed to `look` after accuracies on the other pictures had"
        " been seen; the labeled pictures, each asked of the others, say the same. The linear classifier is logistic"
        " regression of scikit-learn on standardized inputs; a fifth of the labeled pictures chooses its"
        " regularization, of"
        f" C = {', '.join(map(str, STRENGTHS))}."
    )
    asking = (
        f"### Labels that are asked for\n\nAccuracy of the nearest labeled picture at `{GRAIN}`: with {FIRST} random"
        f" labels, with {MORE} more at random, and with {MORE} more that `tag --ask` chose. Mean and standard deviation"
        f" of {DRAWS} draws."
    )
    columns = ["pictures", "before", "more at random", "more asked for"]
    asked = table(columns, [of_asking(bench, task) for task in every])
    parts = [head, *(of_task(bench, task) for task in every), asking, asked]
    text = "\n\n".join(parts)
    if given.dry_run:
        print(text)
    else:
        write_section(
            "5h-tagging", "Labels from neighbors", " ".join(["python benchmarks/tagging.py", *sys.argv[1:]]), text
        )


if __name__ == "__main__":
    main()
