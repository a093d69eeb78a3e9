"""The cases of an evaluation, one per row: the model at each width, then the reference methods."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from hashgrain.codes import MAX_BITS, Codes, Grains
from hashgrain.evaluate import references
from hashgrain.evaluate.counting import Tally, tallies_of_vectors, tally
from hashgrain.evaluate.described import Described
from hashgrain.evaluate.health import code_health
from hashgrain.evaluate.label_noise import flip_labels
from hashgrain.evaluate.labels import Labels, Paths
from hashgrain.evaluate.manifest import Manifest
from hashgrain.evaluate.measure import Distance, measure
from hashgrain.evaluate.product_quantizer import ProductQuantizer
from hashgrain.evaluate.results import Row, row_of
from hashgrain.hashers import Features

References = Literal["usual", "all", "none"]
USUAL = ("kind", "thing")  # their levels have the publishers' names: superclass and class


@dataclass(frozen=True, eq=False)
class Case:
    """One method at one width, ready to be measured."""

    method: str
    kind: str
    distance: Distance
    tallies: Callable[[], Iterable[Tally]]
    database: Codes | None = None  # the codes whose health is measured
    bits: int | None = None
    grain: str | None = None
    seeded: bool = False  # whether the codes depend on the seed

    @property
    def title(self) -> str:
        return f"{self.method}, {self.bits} bits" if self.bits else self.method


@dataclass(frozen=True, eq=False)
class Asked:
    """The labels of queries and database, which all cases of a manifest share."""

    wanted: Labels
    labels: Labels

    def by_codes(
        self, method: str, kind: str, queries: Codes, database: Codes, grain: str | None = None, seeded: bool = False
    ) -> Case:
        def count() -> Iterable[Tally]:
            return [tally(queries, database, self.wanted, self.labels)]

        return Case(method, kind, "symmetric", count, database, queries.grains.bits, grain, seeded)

    def by_vectors(
        self, method: str, kind: str, distance: Distance, queries: Features, database: Features, bits: int | None = None
    ) -> Case:
        def count() -> Iterable[Tally]:
            return tallies_of_vectors(queries, database, self.wanted, self.labels)

        return Case(method, kind, distance, count, bits=bits)


def signs(codes: Codes) -> Features:
    """Codes as -1 and +1, for real-valued queries."""
    return codes.bits().astype(np.float32) * 2 - 1


def model_cases(
    asked: Asked,
    method: str,
    outputs: tuple[Features, Features],
    grains: Grains,
    widths: Sequence[int],
    asymmetric: bool,
) -> Iterator[Case]:
    """A model at each width: prefixes of its outputs for queries and database."""
    named = {bits: grain for grain, bits in grains.items()}
    for bits in widths:
        queries, database = (Codes.from_outputs(part[:, :bits], Grains(look=bits)) for part in outputs)
        yield asked.by_codes(method, "model", queries, database, named.get(bits))
        if asymmetric:
            yield asked.by_vectors(method, "model", "asymmetric", outputs[0][:, :bits], signs(database), bits)


def reference_cases(
    described: Described,
    at: NDArray[np.int64],
    manifest: Manifest,
    widths: Sequence[int],
    which: References,
    label_noise: Sequence[float] = (),
) -> Iterator[Case]:
    """The reference methods, fitted on the manifest's training pictures. `at` maps its pictures to those described."""
    if which == "none":
        return
    labels = manifest.labels()
    queries, train, database = (at[index] for index in manifest.splits.values())
    asked = Asked(labels[manifest.queries], labels[manifest.database])
    features = references.check_features(described.features, "features of the model")
    fitted, truths = features[train], labels[manifest.train]

    def hashed(name: str, encode: references.Hash, source: Features, *, seeded: bool = True) -> Case:
        return asked.by_codes(name, "reference", encode(source[queries]), encode(source[database]), seeded=seeded)

    classes = int(truths.ids[:, -1].max()) + 1 if isinstance(truths, Paths) else 1
    if classes <= MAX_BITS:  # data sets of faces or products have more classes than a code has bits
        yield hashed("classifier as code", references.classifier(fitted, truths), features, seeded=False)
    if isinstance(truths, Paths) and classes <= MAX_BITS:
        for share in label_noise:
            wrong = truths.ids.copy()
            wrong[:, -1] = flip_labels(wrong[:, -1], share, manifest.seed)
            name = f"classifier as code, {share:.0%} of its labels wrong"
            yield hashed(name, references.classifier(fitted, Paths(wrong)), features)
    unit = references.unit(features)
    yield asked.by_vectors("features, float cosine", "reference", "cosine", unit[queries], unit[database])
    for bits in widths:
        if bits <= references.most_directions(fitted):
            yield hashed("PCA + rotation", references.pca_rotation(fitted, bits, manifest.seed), features)
    if which == "usual":
        return
    for bits in widths:
        if bits <= references.most_directions(fitted):
            yield hashed("ITQ", references.itq(fitted, bits, manifest.seed), features)
        yield hashed("LSH", references.lsh(fitted, bits, manifest.seed), features)
        if bits % 8 == 0:
            compared = ProductQuantizer.fit(unit[train], bits, manifest.seed).to_compare(unit[queries], unit[database])
            yield asked.by_vectors("product quantizer", "reference", "asymmetric", *compared, bits)
    colors = described.histograms
    if colors is None:
        return
    yield asked.by_vectors("color histogram, cosine", "reference", "cosine", colors[queries], colors[database])
    for bits in widths:
        if bits <= references.most_directions(colors[train]):
            encode = references.pca_rotation(colors[train], bits, manifest.seed)
            yield hashed("color histogram, PCA + rotation", encode, colors)
        if bits in described.hashes:
            hashes = described.hashes[bits]
            yield asked.by_codes("perceptual hash", "reference", hashes[queries], hashes[database])


def measured_row(case: Case, rules: Mapping[str, Any], seed: int, levels: Sequence[str]) -> Row:
    """Measure a case with its protocol's cut-off and convention."""
    measured = measure(case.tallies(), rules["cutoff"], case.distance, levels, rules["convention"])
    health = code_health(case.database)[case.database.grains.finest] if case.database is not None else None
    return row_of(
        measured,
        method=case.method,
        kind=case.kind,
        bits=case.bits,
        distance=case.distance,
        seed=seed,
        grain=case.grain,
        health=health,
    )


def level_names(labels: Labels, grains: Sequence[str] = ()) -> list[str]:
    """Names of the levels above the last: those of the grains that labels teach, if there is one for each level."""
    depth = labels.ids.shape[1] if isinstance(labels, Paths) else 1
    if len(grains) == depth and tuple(grains) != USUAL:
        return list(grains)[:-1]
    return ["superclass"] if depth == 2 else [f"level {level}" for level in range(1, depth)]
