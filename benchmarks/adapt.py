"""What `--recipe adapt` gains with 5 and 50 pictures a class, on a near and on far domains, and what is forgotten.

Everything is asked of pictures that neither the model nor the new head saw. Features are kept in a folder, which is
what makes a second run quick: python benchmarks/adapt.py CACHE. Spectrograms are made where `soundfile` is installed.
"""

from __future__ import annotations

import hashlib
import io
import itertools
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as parquet
from numpy.typing import NDArray
from PIL import Image

from hashgrain import Codes, Encoder
from hashgrain.evaluate import average_precision, precision, tallies_of_vectors, tally
from hashgrain.evaluate.near_copies import MILD, recall_at_1
from hashgrain.learn.adapt.head import AdaptedHead, fit_head
from hashgrain.learn.adapt.kept import KeptRows
from hashgrain.learn.adapt.settings import Adaptation
from hashgrain.learn.adapt.words import queries_in_words
from hashgrain.learn.data.grain_labels import GrainLabels
from hashgrain.learn.photo.head import unit
from hashgrain.learn.photo.pictures import (
    Shot,
    cifar,
    kinds_of_photographs,
    photographs,
    stamps,
    tiny_imagenet,
)
from hashgrain.models import Bundle
from hashgrain.models.phrases import read_phrase
from hashgrain.models.text import read_table, text_code
from photo import in_groups
from report import need_data, table, write_section

SEEDS = (1, 2, 3)
POOL = 100  # pictures of a class that those to learn from are drawn from
ASKED, SEARCHED = 60, 140  # of a class of CIFAR-10's test pictures
CLASSES = 50  # of Tiny ImageNet
SETTINGS = Adaptation()
RIDGE = 1.0  # of the linear classifier, times the mean square of a feature vector
TRAINING_KITS = ("The Black Pearl 1.0", "ColomboAcousticDrumkit", "Millo-Drums_v.1", "Audiophob")
HEIGHT, WIDTH = 64, 96  # of a spectrogram, in bands and moments
Labels = NDArray[np.str_]
Rows = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Domain:
    """Pictures to learn from, and others: those that are asked, among those that are searched."""

    title: str
    pool: Rows
    of_pool: Labels
    asked: Rows
    of_asked: Labels
    searched: Rows
    of_searched: Labels
    sizes: Sequence[int]  # pictures of a class that are learned from
    unlike: tuple[Labels, Labels] | None = None  # what a query and an answer must not have in common

    def drawn(self, size: int, seed: int) -> NDArray[np.int64]:
        """As many of each class, or all there are."""
        random = np.random.default_rng(seed)
        rows = [np.flatnonzero(self.of_pool == name) for name in np.unique(self.of_pool)]
        return np.concatenate([random.permutation(own)[:size] for own in rows])


class Bench:
    def __init__(self, data: Path, folder: Path) -> None:
        self.data = data
        self.base = Bundle.read("photo")
        self.kept = KeptRows(Encoder(self.base, threads=2), folder, print)
        self.bits = self.base.grains.bits
        self._heads: dict[tuple[str, int, int], AdaptedHead] = {}

    def rows(self, pictures: Sequence[bytes]) -> Rows:
        by_content = {hashlib.sha256(each).hexdigest(): each for each in pictures}
        missing = [(content, each) for content, each in by_content.items() if content not in self.kept]
        if missing:
            refused = self.kept.add(iter(missing), len(missing))
            assert not refused, refused
        return self.kept.of([hashlib.sha256(each).hexdigest() for each in pictures])

    def codes(self, outputs: Rows) -> Codes:
        return Codes.from_outputs(outputs, self.base.grains)

    def fitted(self, domain: Domain, size: int, seed: int) -> AdaptedHead:
        """What the command fits, to the pictures drawn."""
        known = domain.title, size, seed
        if known not in self._heads:
            chosen = domain.drawn(size, seed)
            names, ids = np.unique(domain.of_pool[chosen], return_inverse=True)
            level = GrainLabels(tuple(names.tolist()), ids[:, None].astype(np.int32))
            recipe = replace(SETTINGS, seed=seed)
            self._heads[known] = fit_head(domain.pool[chosen], {"thing": level}, self.base.grains, recipe)
        return self._heads[known]


# ---- domains


def of_shots(bench: Bench, shots: Sequence[Shot]) -> tuple[Rows, Labels]:
    return bench.rows([shot.content for shot in shots]), np.array([str(shot.facts["label"]) for shot in shots])


def some(shots: Sequence[Shot], count: int, skip: int = 0) -> list[Shot]:
    """So many of each class, in their order."""
    seen: dict[str, int] = {}
    found = []
    for shot in shots:
        label = str(shot.facts["label"])
        seen[label] = seen.get(label, 0) + 1
        if skip < seen[label] <= skip + count:
            found.append(shot)
    return found


def cifar_10(bench: Bench) -> Domain:
    train, test = cifar(bench.data, "train"), cifar(bench.data, "test")
    # The first 5,000 training pictures were chosen on.
    sides = [some(train[5_000:10_000], POOL), some(test, ASKED), some(test, SEARCHED, ASKED)]
    return Domain("CIFAR-10, ten classes", *(x for side in sides for x in of_shots(bench, side)), (5, 50))


def tiny_imagenet_classes(bench: Bench) -> Domain:
    """Fifty classes that no choice was made on."""
    kept, val = tiny_imagenet(bench.data, "kept"), tiny_imagenet(bench.data, "val")
    wanted = set(sorted({str(shot.facts["label"]) for shot in val})[2::4])
    kept, val = ([shot for shot in part if str(shot.facts["label"]) in wanted] for part in (kept, val))
    sides = [kept, some(val, 10), some(val, 15, 10)]
    title = f"Tiny ImageNet, {CLASSES} classes (the backbone has seen their originals)"
    return Domain(title, *(x for side in sides for x in of_shots(bench, side)), (5, 50))


def drawn_stamps(bench: Bench) -> Domain:
    """Learned from: the choosing half. Asked: the reporting half, each among the others."""
    shots = [Shot(s.content, {"label": s.facts["group"]}) for s in stamps(bench.data) if s.facts["drawn"]]
    halves = [[s for s in shots if s.reported is reported] for reported in (False, True)]
    counts = [
        {g: sum(s.facts["label"] == g for s in half) for g in {s.facts["label"] for s in shots}} for half in halves
    ]
    groups = {group for group in counts[0] if counts[0][group] >= 2 and counts[1][group] >= 3}
    pool, other = ([s for s in half if s.facts["label"] in groups] for half in halves)
    rows, labels = of_shots(bench, other)
    title = f"Drawn stamps, {len(groups)} groups (letters, signs, coins, chess, houses)"
    alone = np.arange(len(labels)).astype(str)
    return Domain(title, *of_shots(bench, pool), rows, labels, rows, labels, (5,), (alone, alone))


def drums(bench: Bench) -> Domain:
    """Spectrograms of drum samples. Learned from: four kits. Asked: the others, each among those of other kits."""
    rows = parquet.read_table(bench.data / "sounds/drums.parquet").to_pylist()
    names = [row["label"] for row in rows]
    rows = [row for row in rows if names.count(row["label"]) > 8]
    sides: list[Any] = []
    for learned in (True, False):
        side = [row for row in rows if (row["kit"] in TRAINING_KITS) is learned]
        pictures = bench.rows([spectrogram(row["audio"]["bytes"]) for row in side])
        sides += [pictures, np.array([row["label"] for row in side])]
    kits = np.array([row["kit"] for row in rows if row["kit"] not in TRAINING_KITS])
    title = "Spectrograms of drums, asked across kits"
    return Domain(title, *sides, *sides[2:], (5, 20), (kits, kits))


def languages(bench: Bench) -> Domain:
    """Spectrograms of spoken words: which language is it? Learned from: some words. Asked: other words."""
    rows = parquet.read_table(bench.data / "sounds/speech.parquet").to_pylist()
    odd = [hashlib.sha256(row["stamp"].encode()).digest()[0] % 3 for row in rows]
    sides: list[Any] = []
    for part in range(3):
        side = [row for row, place in zip(rows, odd, strict=True) if place == part]
        sides += [
            bench.rows([spectrogram(row["audio"]["bytes"]) for row in side]),
            np.array([r["language"] for r in side]),
        ]
    return Domain("Spectrograms of spoken words, three languages", *sides, (5, 50))


def spectrogram(sound: bytes) -> bytes:
    """A PNG of loudness over pitch (on a scale of octaves) and the first second and a half."""
    import soundfile

    wave, rate = soundfile.read(io.BytesIO(sound))
    wave = np.pad(wave, (0, max(0, int(1.5 * rate) - len(wave))))[: int(1.5 * rate)]
    window = 1024
    starts = np.linspace(0, len(wave) - window, WIDTH).astype(int)
    frames = np.stack([wave[start : start + window] for start in starts]) * np.hanning(window)
    power = np.abs(np.fft.rfft(frames)) ** 2
    edges = np.geomspace(2, power.shape[1] - 1, HEIGHT + 1).astype(int)
    bands = np.stack([power[:, a : max(a + 1, b)].mean(axis=1) for a, b in itertools.pairwise(edges)])
    loud = 10 * np.log10(bands + 1e-9)
    gray = ((loud - loud.max() + 80) / 80).clip(0, 1)[::-1] * 255
    file = io.BytesIO()
    Image.fromarray(gray.astype(np.uint8)).resize((224, 224), Image.Resampling.BILINEAR).save(file, "PNG")
    return file.getvalue()


# ---- figures


def on_domain(bench: Bench, domain: Domain) -> str:
    width = domain.pool.shape[1] - bench.bits
    asked, searched = domain.asked[:, :width], domain.searched[:, :width]
    rows = [["float features, cosine", "", *as_text(of_vectors(domain, asked, searched)), ""]]
    before = [side[:, width:] for side in (domain.asked, domain.searched)]
    for grain in bench.base.grains:
        codes = [bench.codes(each).at(grain) for each in before]
        rows.append([f"photo, {grain}, {codes[0].grains.bits} bits", "", *as_text(of_codes(domain, *codes)), ""])
    for size in domain.sizes:
        found = [after(bench, domain, size, seed, width) for seed in SEEDS]
        columns = {name: zip(*(each[name] for each in found), strict=True) for name in found[0]}
        rows += [[name, str(size), *map(spread, column)] for name, column in columns.items()]
    head = (
        f"{len(np.unique(domain.of_pool))} classes; {len(domain.asked):,} pictures asked among"
        f" {len(domain.searched):,}, none of which was learned from."
    )
    columns = ["codes", "pictures a class", f"P@{places(domain)}", "mAP", "class told"]
    return f"### {domain.title}\n\n{head}\n\n" + table(columns, rows)


def after(bench: Bench, domain: Domain, size: int, seed: int, width: int) -> dict[str, list[float]]:
    """P@k and mAP of codes and of a linear classifier, and how often the class of a picture that is asked is told: by
    the nearest picture learned from, by the classifier."""
    chosen = domain.drawn(size, seed)
    learned, labels = domain.pool[chosen], domain.of_pool[chosen]
    scores = linear(learned[:, :width], labels)
    told = scores(domain.asked[:, :width])
    right = float((np.unique(labels)[told.argmax(axis=1)] == domain.of_asked).mean())
    found = {
        "a linear classifier's scores, cosine": [*of_vectors(domain, told, scores(domain.searched[:, :width])), right]
    }
    nearest = unit(domain.asked[:, :width]) @ unit(learned[:, :width]).T
    told_by_floats = float((labels[nearest.argmax(axis=1)] == domain.of_asked).mean())
    found["nearest picture learned from, float"] = [np.nan, np.nan, told_by_floats]
    before = [bench.codes(rows[:, width:]).at("thing") for rows in (domain.asked, learned)]
    own = float(precision(of_sides(*before, domain.of_asked, labels), 1).mean())
    found[f"photo, thing, {before[0].grains.bits} bits"] = [np.nan, np.nan, own]
    head = bench.fitted(domain, size, seed)
    asked, searched, known = (bench.codes(head.outputs(r)) for r in (domain.asked, domain.searched, learned))
    for grain in bench.base.grains:
        by_nearest = of_sides(asked.at(grain), known.at(grain), domain.of_asked, labels)
        own = float(precision(by_nearest, 1).mean())
        name = f"**adapted, {grain}, {asked.at(grain).grains.bits} bits**"
        found[name] = [*of_codes(domain, asked.at(grain), searched.at(grain)), own]
    return found


def linear(features: Rows, labels: Labels) -> Any:
    """Ridge regression to the classes, on unit vectors less their mean."""
    names, ids = np.unique(labels, return_inverse=True)
    rows = unit(features)
    mean = rows.mean(axis=0)
    centered, wanted = rows - mean, np.eye(len(names))[ids] - 1 / len(names)
    products = centered @ centered.T
    ridge = RIDGE * np.trace(products) / len(rows) * np.eye(len(rows))
    weights = (centered.T @ np.linalg.solve(products + ridge, wanted)).astype(np.float32)
    return lambda other: (unit(other) - mean) @ weights


def places(domain: Domain) -> int:
    return 3 if len(domain.searched) < 150 else 10


def of_sides(queries: Codes, database: Codes, wanted: Labels, labels: Labels) -> Any:
    _, numbers = np.unique(np.concatenate([wanted, labels]), return_inverse=True)
    return tally(queries, database, numbers[: len(wanted)], numbers[len(wanted) :])


def of_codes(domain: Domain, queries: Codes, database: Codes) -> list[float]:
    if domain.unlike is None:
        counts = of_sides(queries, database, domain.of_asked, domain.of_searched)
        return [float(precision(counts, places(domain)).mean()), float(average_precision(counts).mean())]
    apart = np.bitwise_count(queries.words[:, None] ^ database.words[None]).sum(axis=2).astype(float)
    return by_distance(domain, apart)


def of_vectors(domain: Domain, queries: Rows, database: Rows) -> list[float]:
    if domain.unlike is not None:
        return by_distance(domain, 1 - (unit(queries) @ unit(database).T).astype(float))
    _, numbers = np.unique(np.concatenate([domain.of_asked, domain.of_searched]), return_inverse=True)
    sides = numbers[: len(queries)], numbers[len(queries) :]
    tallies = list(tallies_of_vectors(unit(queries), unit(database), *sides))
    k = places(domain)
    return [
        float(np.concatenate([f(t) for t in tallies]).mean()) for f in (lambda t: precision(t, k), average_precision)
    ]


def by_distance(domain: Domain, apart: NDArray[np.float64]) -> list[float]:
    """The same where some answers are not allowed; ties are ordered at random, the mean of ten orders."""
    assert domain.unlike is not None
    relevant = domain.of_asked[:, None] == domain.of_searched[None]
    allowed = domain.unlike[0][:, None] != domain.unlike[1][None]
    random, k = np.random.default_rng(0), places(domain)
    found = []
    for _ in range(10):
        for distances, right, may in zip(apart, relevant, allowed, strict=True):
            if not (right & may).any():
                continue
            hits = right[may][np.lexsort((random.random(may.sum()), distances[may]))]
            precisions = np.cumsum(hits) / np.arange(1, len(hits) + 1)
            found.append([hits[:k].mean(), precisions[hits].mean()])
    p, ap = np.mean(found, axis=0)
    return [float(p), float(ap)]


def as_text(values: Sequence[float]) -> list[str]:
    return [f"{value:.3f}" for value in values]


def spread(values: Sequence[float]) -> str:
    return "" if np.isnan(values).any() else f"{np.mean(values):.3f} ± {np.std(values):.3f}"


# ---- what is forgotten


class Remembered:
    """Pictures that have nothing to do with what was taught."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        shots, sharp = photographs(bench.data), stamps(bench.data)
        self.photographs = bench.rows([shot.content for shot in shots])
        self.asked = np.array([shot.reported for shot in shots])
        self.kinds = np.array(kinds_of_photographs(bench.data, shots))
        self.stamps = bench.rows([shot.content for shot in sharp])
        photographed = np.array([not s.facts["drawn"] and s.reported for s in sharp])
        self.groups = np.array(
            [s.facts["group"] if chosen else "" for s, chosen in zip(sharp, photographed, strict=True)]
        )
        self.captions = [read_phrase(s.facts["caption"]) for s in sharp]
        self.readable = photographed & np.array([phrase.weights is not None for phrase in self.captions])
        self.edits = [bench.rows([png(change(shot.open())) for shot in shots]) for change in MILD.values()]
        self.others = np.concatenate(
            [self.stamps, bench.rows([s.content for s in some(cifar(bench.data, "test"), 200)])]
        )

    def figures(self, head: AdaptedHead | None, learned: Rows | None) -> list[float]:
        def codes(rows: Rows) -> Codes:
            return self.bench.codes(rows[:, -self.bench.bits :] if head is None else head.outputs(rows))

        whole, sharp = codes(self.photographs), codes(self.stamps)
        chosen = in_groups(np.flatnonzero(self.groups != ""), self.groups)
        others = codes(self.others)
        text = self.bench.base.others
        if head is not None and learned is not None:
            text = queries_in_words(self.bench.base, self.bench.codes(learned[:, -self.bench.bits :]), codes(learned))
        return [
            float(leave_one_out(whole.at("kind"), self.kinds, 5)[self.asked].mean()),
            float(leave_one_out(sharp[chosen].at("thing"), self.groups[chosen], 3).mean()),
            float(leave_one_out(sharp[chosen], self.groups[chosen], 3).mean()),
            float(np.mean([recall_at_1(codes(edit), whole, others) for edit in self.edits])),
            self.found_by_words(sharp, text),
        ]

    def found_by_words(self, sharp: Codes, text: Mapping[str, Any]) -> float:
        """Captions of photographed stamps of the reporting half: is the own picture among the first ten of those?"""
        rows = read_table(text, self.bench.bits, "photo")
        assert rows is not None
        chosen = np.flatnonzero(self.readable)
        wanted = np.stack([text_code(rows, self.captions[i].weights) for i in chosen])
        scores = wanted @ (sharp[chosen].bits() * 2.0 - 1).T
        return float(((scores > np.diag(scores)[:, None]).sum(axis=1) < 10).mean())


def leave_one_out(codes: Codes, labels: Labels, k: int) -> NDArray[np.float64]:
    apart = np.bitwise_count(codes.words[:, None] ^ codes.words[None]).sum(axis=2).astype(float)
    np.fill_diagonal(apart, np.inf)
    found = np.empty(len(apart))
    for i, row in enumerate(apart):
        last = np.partition(row, k - 1)[k - 1]
        right, sure, tied = labels == labels[i], row < last, row == last
        found[i] = (right[sure].sum() + (k - sure.sum()) * right[tied].mean()) / k
    return found


def png(image: Image.Image) -> bytes:
    """As large as the model takes it, or the files would be slow to write."""
    file = io.BytesIO()
    image.resize((448, 448), Image.Resampling.BILINEAR, reducing_gap=2.0).save(file, "PNG", compress_level=1)
    return file.getvalue()


def forgotten(bench: Bench, domains: Sequence[Domain]) -> str:
    remembered = Remembered(bench)
    rows = [["nothing: photo", "", *as_text(remembered.figures(None, None))]]
    for domain in domains:
        for size in domain.sizes:
            found = []
            for seed in SEEDS:
                learned = domain.pool[domain.drawn(size, seed)]
                found.append(remembered.figures(bench.fitted(domain, size, seed), learned))
            rows.append([domain.title.partition(",")[0], str(size), *map(spread, zip(*found, strict=True))])
    columns = [
        "taught",
        "pictures a class",
        "photographs, `kind` P@5",
        "stamps, `thing` P@3",
        "stamps, `look` P@3",
        "near copies, `look` recall@1",
        "captions, R@10",
    ]
    head = (
        "Photographs and photographed stamps of the reporting halves; near copies are ten mild edits of 160 photographs"
        f" among {len(remembered.others):,} others; words ask with captions of the same stamps."
    )
    return f"### What is forgotten\n\n{head}\n\n" + table(columns, rows)


def parts(bench: Bench) -> Iterator[str]:
    near = [cifar_10(bench), tiny_imagenet_classes(bench)]
    far = [drawn_stamps(bench)]
    try:
        far += [drums(bench), languages(bench)]
    except ImportError:
        print("no spectrograms: pip install soundfile")
    for domain in [*near, *far]:
        print(domain.title)
        yield on_domain(bench, domain)
    yield forgotten(bench, [*near, far[-1]])


def main() -> None:
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    bench = Bench(need_data(), Path(sys.argv[1]))
    head = (
        f"{len(SEEDS)} seeds, each with other pictures to learn from: mean ± standard deviation. *Class told*: how"
        " often the class of a picture that is asked is that of the nearest picture learned from, or what a linear"
        " classifier says. All pictures drawn were learned from; the command keeps out a fifth. The"
        " settings were chosen on other pictures."
    )
    found = [head, *parts(bench)]
    write_section("5d-adapt", "Your own classes", "python benchmarks/adapt.py CACHE", "\n\n".join(found))


if __name__ == "__main__":
    main()
