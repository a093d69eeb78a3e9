"""The `photo` model on pictures that its head never saw, beside float features, `small`, ITQ, rotated PCA and hashes.

Features are computed once and kept: python benchmarks/photo.py CACHE
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper
from PIL import Image
from scipy.stats import chi2

from hashgrain import Codes, Encoder
from hashgrain.evaluate import average_precision, precision, tallies_of_vectors, tally
from hashgrain.evaluate.near_copies import CHANGES, MILD
from hashgrain.hashers import ITQ, PCARotation
from hashgrain.learn.photo.features import FeatureCache, Traits
from hashgrain.learn.photo.fit import GRAINS, Head, classifier_of, fitted
from hashgrain.learn.photo.graph import HeadNumbers
from hashgrain.learn.photo.head import Classifier
from hashgrain.learn.photo.make import WEIGHTS, check_nothing_reported, held_out
from hashgrain.learn.photo.pictures import (
    cifar,
    kinds_of_photographs,
    photographs,
    random_crop,
    stamps,
    tiny_imagenet,
    view,
)
from hashgrain.learn.photo.sets import SMALL, fitting_sets
from hashgrain.models import Bundle
from hashgrain.models.weights import read_weights
from references import histogram_and_hog, perceptual_codes, unit
from report import need_data, table, write_section

SEEDS = (0, 1, 2)
BROAD = {"household", "animals/mammals", "plants", "clothes", "sports", "military", "vehicles"}
RESAMPLES = 10_000
Numbers = NDArray[np.float64]
Distances = Callable[[NDArray[np.int64]], Numbers]  # between the pictures of these rows


class Described:
    """A set of pictures in every form that a row of a table needs."""

    def __init__(self, name: str, pictures: Callable[[], Iterable[Image.Image | bytes]], to: Bench) -> None:
        self.traits = to.cache.traits(name, pictures)
        self.features = self.traits.features
        self.photo = [head.codes(self.traits) for head in to.heads]
        self.small = to.small_codes(name, pictures)
        self.pictures = pictures

    def plain(self, size: int) -> NDArray[np.uint8]:
        from hashgrain.media import open_picture

        return np.stack([open_picture(each, size=(size, size)).pixels for each in self.pictures()])


class Bench:
    """The models, and where features are kept."""

    def __init__(self, data: Path, folder: Path) -> None:
        weights = read_weights(WEIGHTS)
        self.data = data
        self.cache = FeatureCache(folder, weights)
        self.folder = folder
        self.sets = fitting_sets(self.cache, data)
        check_nothing_reported(self.sets, data)
        self.heads = [self._head(seed, weights) for seed in SEEDS]
        self.small = Encoder.load("small")
        self.fitted = {
            f"{kind.__name__}, {bits} bits": kind(bits, seed=0).fit(self.sets.pictures.features)
            for kind in (ITQ, PCARotation)
            for bits in GRAINS.values()
        }

    def _head(self, seed: int, weights: bytes) -> Head:
        """Seed 0 is the model in the package; others are fitted once, and kept like the features."""
        if seed == 0:
            return shipped_head(weights)
        path, classifier = self.cache.folder / f"head-{seed}.npz", classifier_of(weights)
        if not path.exists():
            np.savez(path, **vars(fitted(self.sets, classifier, seed).numbers))
        return head_of(HeadNumbers(**np.load(path)), classifier)

    def kept(self, name: str) -> Traits:
        """Of a set that was described before."""
        return self.cache.traits(name, lambda: iter(()))

    def small_codes(self, name: str, pictures: Callable[[], Iterable[Image.Image | bytes]]) -> Codes:
        path = self.cache.folder / f"{name}.small.npy"
        if not path.exists():
            np.save(path, self.small.encode(pictures()).words)
        return Codes(np.load(path), self.small.grains)


def shipped_head(weights: bytes) -> Head:
    """The head of the model in the package, out of its graph."""
    held = onnx.load_from_string(Bundle.read("photo").onnx).graph.initializer
    of = {each.name: numpy_helper.to_array(each).astype(np.float32) for each in held}
    names = (
        "mean.root",
        "kinds.half",
        "looks.half",
        "directions.half",
        "head.w.half",
        "head.b",
        "layout.w",
        "layout.b",
    )
    return head_of(HeadNumbers(*(of[name] for name in names)), classifier_of(weights))


def head_of(numbers: HeadNumbers, classifier: Classifier) -> Head:
    """With the tables that it was fitted with: another number of threads may give other signs of their columns."""
    tables = {"kinds": numbers.kinds, "looks": numbers.looks, "directions": numbers.directions}
    return Head(numbers, replace(classifier, **tables))


def hamming(codes: Codes) -> Distances:
    return lambda rows: np.bitwise_count(codes.words[rows, None] ^ codes.words[None, rows]).sum(axis=2).astype(float)


def cosine(vectors: NDArray[np.float32]) -> Distances:
    scaled = unit(vectors)
    return lambda rows: 1 - scaled[rows] @ scaled[rows].T


def leave_one_out(distances: Distances, rows: NDArray[np.int64], labels: NDArray[np.str_], k: int) -> Numbers:
    """Precision among the k nearest others, for each row, in the expectation over the order of ties."""
    apart = distances(rows)
    np.fill_diagonal(apart, np.inf)
    found = np.empty(len(rows))
    for i, row in enumerate(apart):
        last = np.partition(row, k - 1)[k - 1]
        right = labels[rows] == labels[rows[i]]
        sure, tied = row < last - 1e-9, np.abs(row - last) <= 1e-9
        found[i] = (right[sure].sum() + (k - sure.sum()) * right[tied].mean()) / k
    return found


def compared(values: list[Numbers], against: Numbers) -> str:
    """The mean of the seeds, and the 95 % interval of its difference from `against`, pictures drawn anew."""
    mean = np.mean(values, axis=0)
    draws = np.random.default_rng(0).integers(0, len(mean), (RESAMPLES, len(mean)))
    low, high = np.percentile((mean - against)[draws].mean(axis=1), [2.5, 97.5])
    spread = np.std([value.mean() for value in values])
    return f"{mean.mean():.3f} ± {spread:.3f} ({low:+.3f} to {high:+.3f})"


def rows_of(described: Described, bench: Bench, score: Callable[[Distances], Numbers]) -> list[list[str]]:
    plain = score(cosine(described.features))
    rows = [["float features, cosine", f"{plain.mean():.3f}"]]
    for grain, bits in GRAINS.items():
        values = [score(hamming(codes.at(grain))) for codes in described.photo]
        rows.append([f"**photo, {grain}, {bits} bits**", compared(values, plain)])
    for grain, bits in bench.small.grains.items():
        rows.append([f"small, {grain}, {bits} bits", f"{score(hamming(described.small.at(grain))).mean():.3f}"])
    for name, hasher in bench.fitted.items():
        rows.append([name, f"{score(hamming(hasher.codes(described.features))).mean():.3f}"])
    hog = score(cosine(histogram_and_hog(described.plain(64))))
    hashes = score(hamming(perceptual_codes(described.plain(256), 8)))
    return [
        *rows,
        ["color histogram + HOG, cosine", f"{hog.mean():.3f}"],
        ["perceptual hash, 64 bits", f"{hashes.mean():.3f}"],
    ]


def on_stamps(bench: Bench) -> str:
    shots = stamps(bench.data)
    described = Described("all stamps", lambda: (shot.content for shot in shots), bench)
    groups = np.array([shot.facts["group"] for shot in shots])
    coarse = np.array([group.split("/")[0] for group in groups])
    photographed = np.array([not shot.facts["drawn"] for shot in shots])
    reported = np.array([shot.reported for shot in shots])
    parts = []
    for title, chosen in (("the reporting half", photographed & reported), ("both halves", photographed)):
        for what, labels in (("folder", groups), ("coarser folder", coarse)):
            rows = in_groups(np.flatnonzero(chosen), labels)
            found = rows_of(described, bench, lambda d, r=rows, y=labels: leave_one_out(d, r, y, 3))
            parts.append(f"{title}, by {what}, {len(rows)} pictures:\n\n" + table(["method", "P@3"], found))
    return "### Stamps, photographs\n\n" + "\n\n".join(parts)


def in_groups(rows: NDArray[np.int64], labels: NDArray[np.str_]) -> NDArray[np.int64]:
    """The rows whose group has three or more, without the folders that hold a bit of everything."""
    names, counts = np.unique(labels[rows], return_counts=True)
    large = set(names[counts >= 3]) - (BROAD if any("/" in label for label in labels) else set())
    return np.array([row for row in rows if labels[row] in large])


def on_photographs(bench: Bench) -> str:
    shots = photographs(bench.data)
    described = Described("all photographs", lambda: (shot.content for shot in shots), bench)
    kinds = np.array(kinds_of_photographs(bench.data, shots))
    everything = np.arange(len(shots))
    reported = np.array([shot.reported for shot in shots])
    parts = []
    for title, asked in (("asked: the reporting half, of all 160", reported), ("asked: all 160", reported | True)):
        found = rows_of(described, bench, lambda d, a=asked: leave_one_out(d, everything, kinds, 5)[a])
        parts.append(f"{title}:\n\n" + table(["method", "P@5"], found))
    return f"### Photographs, {len(set(kinds))} kinds (the backbone may have seen them)\n\n" + "\n\n".join(parts)


def by_tally(queries: Codes, database: Codes, wanted: NDArray, labels: NDArray, k: int | None) -> float:
    counts = tally(queries, database, wanted, labels)
    return float((average_precision(counts) if k is None else precision(counts, k)).mean())


def float_tally(queries: NDArray, database: NDArray, wanted: NDArray, labels: NDArray, k: int | None) -> float:
    tallies = tallies_of_vectors(unit(queries).astype(np.float32), unit(database).astype(np.float32), wanted, labels)
    return float(np.concatenate([average_precision(t) if k is None else precision(t, k) for t in tallies]).mean())


def asked(
    queries: Described,
    database: Described,
    bench: Bench,
    wanted: NDArray,
    labels: NDArray,
    k: int | None,
    grains: Iterable[str],
) -> list[list[str]]:
    plain = float_tally(queries.features, database.features, wanted, labels, k)
    rows = [["float features, cosine", f"{plain:.3f}", ""]]
    for grain in grains:
        bits = GRAINS[grain]
        pairs = zip(queries.photo, database.photo, strict=True)
        values = [by_tally(q.at(grain), d.at(grain), wanted, labels, k) for q, d in pairs]
        told = f"{np.mean(values):.3f} ± {np.std(values):.3f}"
        rows.append([f"**photo, {grain}, {bits} bits**", told, f"{np.mean(values) / plain:.3f}"])
        value = by_tally(queries.small.at(grain), database.small.at(grain), wanted, labels, k)
        rows.append([f"small, {grain}, {bench.small.grains[grain]} bits", f"{value:.3f}", f"{value / plain:.3f}"])
        for name, hasher in bench.fitted.items():
            if name.endswith(f" {bits} bits"):
                value = by_tally(hasher.codes(queries.features), hasher.codes(database.features), wanted, labels, k)
                rows.append([name, f"{value:.3f}", f"{value / plain:.3f}"])
    return rows


def on_cifar(bench: Bench) -> str:
    test, train = cifar(bench.data, "test"), cifar(bench.data, "train")
    shots = [[s for s in test if s.facts["label"] == label][:100] for label in range(10)]
    questions = [shot for of_class in shots for shot in of_class]
    queries = Described("cifar queries", lambda: (shot.content for shot in questions), bench)
    others = train[:5_000]
    database = Described("cifar database", lambda: (shot.content for shot in others), bench)
    wanted, labels = (np.array([shot.facts["label"] for shot in s]) for s in (questions, others))
    rows = asked(queries, database, bench, wanted, labels, None, GRAINS)
    head = "### CIFAR-10, 1,000 test pictures against 5,000 of the training pictures, as they come\n\n"
    return head + table(["method", "mAP@ALL", "of float"], rows)


def on_tiny_imagenet(bench: Bench) -> str:
    sides = {part: tiny_imagenet(bench.data, part) for part in ("val", "kept")}
    queries, database = (
        Described(f"tiny {part}", lambda s=shots: (shot.content for shot in s), bench) for part, shots in sides.items()
    )
    parts = []
    for grain, fact in (("kind", "superclass"), ("thing", "label")):
        wanted, labels = (np.array([str(s.facts[fact]) for s in shots]) for shots in sides.values())
        _, numbers = np.unique(np.concatenate([wanted, labels]), return_inverse=True)
        rows = asked(queries, database, bench, numbers[: len(wanted)], numbers[len(wanted) :], 10, [grain])
        parts.append(f"`{grain}`:\n\n" + table(["method", "P@10", "of float"], rows))
    head = "### Tiny ImageNet, `val` against 10,000 pictures kept out (the backbone has seen their originals)\n\n"
    return head + "\n\n".join(parts)


def on_near_copies(bench: Bench) -> str:
    shots = photographs(bench.data)
    whole = Described("all photographs", lambda: (shot.content for shot in shots), bench)
    # Nothing made of the photographs is among the others: it would be a right answer counted as wrong.
    views, collages = (
        bench.cache.traits("views of stamps", lambda: stamp_views(bench.data)),
        bench.cache.traits("collages of stamps", lambda: stamp_collages(bench.data)),
    )
    others = Traits.joined(views, collages, *small_pictures(bench))
    look = [(head.codes(whole.traits), head.codes(others)) for head in bench.heads]
    floats = unit(whole.features), unit(others.features)
    hashed = {edge: perceptual_codes([shot.open() for shot in shots], edge) for edge in (8, 16)}
    rows = []
    for name, change in CHANGES.items():
        edited = bench.cache.traits(f"photographs, {name}", lambda c=change: (c(shot.open()) for shot in shots))
        found = [recall(head.codes(edited), *sides) for head, sides in zip(bench.heads, look, strict=True)]
        cosines = unit(edited.features) @ np.concatenate(floats).T
        own = np.diag(cosines[:, : len(shots)])[:, None]
        plain = float(((cosines > own + 1e-7).sum(axis=1) == 0).mean())
        images = [change(shot.open()) for shot in shots]
        row = [f"{name}{' (mild)' if name in MILD else ''}", f"**{np.mean(found):.3f}**", f"{plain:.3f}"]
        rows.append([*row, *(f"{recall(perceptual_codes(images, edge), hashed[edge]):.3f}" for edge in hashed)])
    mild = np.mean([float(row[1].strip("*")) for row in rows if row[0].endswith("(mild)")])
    columns = ["edit", f"look, {GRAINS.bits} bits", "float", "perceptual hash, 64 bits", "256 bits"]
    head = (
        f"### Near copies: 160 photographs among {len(others):,} others: {len(views):,} sharp crops and edits and"
        f" {len(collages):,} collages of stamps, the rest small pictures\n\nRecall@1; mean over the mild edits:"
    )
    about = f" **{mild:.3f}**. The perceptual hashes are asked among the 160 photographs alone.\n\n"
    return head + about + table(columns, rows)


def small_pictures(bench: Bench) -> list[Traits]:
    """Every set of small pictures that has traits by now, and 40,000 more of Tiny ImageNet."""
    rest = tiny_imagenet(bench.data, "rest")
    order = np.random.default_rng(1).permutation(len(rest))[SMALL : SMALL + 40_000]
    more = bench.cache.traits("tiny others", lambda: (rest[i].content for i in order))
    names = ("small", "tiny kept", "tiny val", "cifar database")
    held = bench.cache.traits("small held out", lambda: (shot.content for shot in held_out(bench.data)))
    return [more, held, *(bench.kept(name) for name in names)]


def on_words_said(bench: Bench) -> str:
    """How often `same` is said, rightly and wrongly, by the model in the package."""
    most = Bundle.read("photo").calibration["look"].words["same"]
    head = bench.heads[0]
    sets = {"photographs": photographs(bench.data), "stamps": stamps(bench.data)}
    traits = {name: bench.kept(f"all {name}") for name in sets}
    reported = {name: np.array([shot.reported for shot in shots]) for name, shots in sets.items()}
    drawn = np.array([shot.facts["drawn"] for shot in sets["stamps"]])
    stamped, photographed = head.codes(traits["stamps"]), head.codes(traits["photographs"])
    sharp = np.concatenate([photographed.words[reported["photographs"]], stamped.words[reported["stamps"] & ~drawn]])
    every = np.concatenate([sharp, stamped.words[reported["stamps"] & drawn]])
    rows = [
        wrongly("pairs of `val`", head.codes(bench.kept("tiny val")).words, most),
        wrongly("pairs of photographs of the reporting halves", sharp, most),
        wrongly("the same with drawings, letters among them", every, most),
    ]
    asked_rows = reported["photographs"]
    right = []
    for name in MILD:
        edited = head.codes(bench.kept(f"photographs, {name}"))
        apart = np.bitwise_count(edited.words ^ photographed.words).sum(axis=1)[asked_rows]
        right.append([name, f"{(apart <= most).mean():.3f}"])
    mean = np.mean([float(row[1]) for row in right])
    head_line = (
        f"### What `same` is worth: `look` within {most} bits\n\nOf mild edits of the {asked_rows.sum()} photographs of"
        f" the reporting half it is said of **{mean:.3f}**:\n\n"
    )
    wrong = table(["different pictures", "pairs", "called the same", "share", "95 % upper bound"], rows)
    return head_line + table(["edit", "same"], right) + "\n\n" + wrong


def wrongly(name: str, words: NDArray[np.uint64], most: int) -> list[str]:
    pairs = len(words) * (len(words) - 1) // 2
    close = sum(
        int((np.bitwise_count(words[i + 1 :] ^ words[i]).sum(axis=1) <= most).sum()) for i in range(len(words) - 1)
    )
    upper = chi2.ppf(0.95, 2 * (close + 1)) / 2 / pairs  # of a Poisson count
    return [name, f"{pairs:,}", f"{close:,}", f"{close / pairs:.1e}", f"{upper:.1e}"]


def stamp_views(data: Path) -> Iterator[Image.Image]:
    for number, shot in enumerate(stamps(data) * 8):
        yield view(shot.open(), np.random.default_rng([20, number]))


def stamp_collages(data: Path) -> Iterator[Image.Image]:
    shots = stamps(data)
    for number in range(2_000):
        random = np.random.default_rng([21, number])
        yield collage([shots[i].open() for i in random.choice(len(shots), 4, replace=False)], random)


def collage(images: list[Image.Image], random: np.random.Generator, edge: int = 320) -> Image.Image:
    """Four pictures in one, cut where they meet."""
    x, y = (int(edge * random.uniform(0.35, 0.65)) for _ in range(2))
    page = Image.new("RGB", (edge, edge))
    boxes = [(0, 0, x, y), (x, 0, edge, y), (0, y, x, edge), (x, y, edge, edge)]
    for image, (left, top, right, bottom) in zip(images, boxes, strict=True):
        piece = random_crop(image, random, 0.4)
        page.paste(piece.resize((right - left, bottom - top), Image.Resampling.BICUBIC), (left, top))
    return page


def recall(edited: Codes, originals: Codes, others: Codes | None = None) -> float:
    from hashgrain.evaluate.near_copies import recall_at_1

    return recall_at_1(edited, originals, originals[:0] if others is None else others)


def main() -> None:
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    bench = Bench(need_data(), Path(sys.argv[1]))
    parts = [on_stamps, on_photographs, on_cifar, on_tiny_imagenet, on_near_copies, on_words_said]
    head = (
        "Three seeds of the head, the first being the model in the package: mean ± standard deviation; in brackets the"
        " 95 % interval of the difference from the"
        f" float features, pictures drawn anew. The head was fitted on {len(bench.sets.contents):,} pictures without"
        " labels; none of them is asked or found here unless said. ITQ and rotated PCA are fitted on the same"
        " features of the same pictures. Precision is the expectation over the order of ties.\n\n"
    )
    text = head + "\n\n".join(part(bench) for part in parts)
    write_section("5-photo", "The photo model", "python benchmarks/photo.py CACHE", text)


if __name__ == "__main__":
    main()
