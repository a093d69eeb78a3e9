"""The small model on pictures it never saw, beside the reference rows."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from hashgrain import Codes, Encoder
from hashgrain.evaluate import average_precision, code_health, precision, tallies_of_vectors, tally
from hashgrain.learn.data.labelled import Labelled, load_labelled
from hashgrain.learn.data.splits import hold_out
from references import PcaRotation, histogram_and_hog, perceptual_codes, unit
from report import need_data, table, write_section

SEEDS = (0, 1, 2)
GRAINS = ("kind", "thing")
Score = Callable[[NDArray[np.int64], NDArray[np.int64]], tuple[float, float]]


def by_codes(queries: Codes, database: Codes) -> Score:
    def score(wanted: NDArray[np.int64], labels: NDArray[np.int64]) -> tuple[float, float]:
        counts = tally(queries, database, wanted, labels)
        return float(precision(counts, 10).mean()), float(average_precision(counts, 1000).mean())

    return score


def by_cosine(queries: NDArray[np.float32], database: NDArray[np.float32]) -> Score:
    left, right = unit(queries).astype(np.float32), unit(database).astype(np.float32)

    def score(wanted: NDArray[np.int64], labels: NDArray[np.int64]) -> tuple[float, float]:
        found = [
            (precision(counts, 10), average_precision(counts, 1000))
            for counts in tallies_of_vectors(left, right, wanted, labels)
        ]
        means = [float(np.concatenate(column).mean()) for column in zip(*found, strict=True)]
        return means[0], means[1]

    return score


def spread(scores: list[Score]) -> Score:
    """The mean over seeds."""

    def score(wanted: NDArray[np.int64], labels: NDArray[np.int64]) -> tuple[float, float]:
        found = np.array([one(wanted, labels) for one in scores])
        return float(found[:, 0].mean()), float(found[:, 1].mean())

    return score


class Described:
    """A set of pictures in every form the rows need."""

    def __init__(self, pictures: Labelled, encoder: Encoder) -> None:
        self.labels = {grain: labels.only() for grain, labels in pictures.levels.items()}
        outputs, self.features = encoder.outputs_and_features(pictures.inputs)
        self.codes = Codes.from_outputs(outputs, encoder.grains)
        self.hog = histogram_and_hog(pictures.inputs)
        self.hash = perceptual_codes(pictures.inputs, 8)


def rows(queries: Described, database: Described, fitted: Described, grain: str, bits: int) -> list[list[str]]:
    rotations = [PcaRotation(fitted.features, bits, seed) for seed in SEEDS]
    methods: dict[str, Score] = {
        f"**codes, {bits} bits**": by_codes(queries.codes.at(grain), database.codes.at(grain)),
        "float cosine, same features": by_cosine(queries.features, database.features),
        f"PCA + random rotation, {bits} bits, same features": spread(
            [by_codes(r.codes(queries.features), r.codes(database.features)) for r in rotations]
        ),
        "color histogram + HOG, cosine": by_cosine(queries.hog, database.hog),
        "perceptual hash, 64 bits": by_codes(queries.hash, database.hash),
    }
    wanted, labels = queries.labels[grain], database.labels[grain]
    return [[grain, name, *(f"{value:.3f}" for value in score(wanted, labels))] for name, score in methods.items()]


def main() -> None:
    folder = need_data() / "tiny-imagenet-200"
    encoder = Encoder.load("small")
    trained, held = hold_out(load_labelled(folder, 64, GRAINS), 50)
    queries = Described(load_labelled(folder, 64, GRAINS, part="val"), encoder)
    fitted = Described(trained, encoder)
    parts = []
    databases = {
        f"Database: the {len(trained)} pictures it was trained on": fitted,
        f"Database: {len(held)} pictures kept out of training": Described(held, encoder),
    }
    for title, database in databases.items():
        found = [
            row for grain in ("kind", "thing") for row in rows(queries, database, fitted, grain, encoder.grains[grain])
        ]
        parts.append(f"### {title}\n\n" + table(["grain", "method", "P@10", "mAP@1000"], found))
    health = [
        [
            name,
            h.bits,
            h.dead_bits,
            f"{h.mean_entropy:.3f}",
            f"{h.least_entropy:.3f}",
            h.distinct,
            h.largest_bucket,
        ]
        for name, h in code_health(fitted.codes).items()
    ]
    columns = [
        "grain",
        "bits",
        "dead",
        "entropy per bit",
        "least",
        f"distinct of {len(trained)}",
        "largest bucket",
    ]
    text = (
        "Queries: the 5,000 pictures of `val`, never used to choose anything. Relevant: same superclass for"
        " `kind`, same class for `thing`. Tie-aware expectation; AP@k in the `hash` convention (divided by the"
        " relevant pictures among the first k). One model, one training seed; PCA + rotation is the mean of"
        f" {len(SEEDS)} rotations, fitted on the training pictures.\n\n" + "\n\n".join(parts)
    )
    text += "\n\n### Health of the bits, training pictures\n\n" + table(columns, health)
    write_section("4-quality", "Quality of the small model", "python benchmarks/quality.py", text)


if __name__ == "__main__":
    main()
