"""Every method on the same frozen features of CIFAR-10: rows for docs/results/cifar10.md.

The features are the default model's, which never saw CIFAR-10. Every method trains the same head, one linear layer, on
the training pictures of the protocol but for a tenth, which is kept out. On that tenth, at 32 bits, seed 0 of
`cifar10-1`, the learning rate of each supervised method is chosen; unsupervised ones take one rate, since choosing
takes labels. Queries choose nothing. Runs that stand finished are not made again.
"""

from __future__ import annotations

import dataclasses
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from hashgrain import Codes, Encoder, Grains
from hashgrain.apps.evaluation import write_run
from hashgrain.evaluate.cases import Asked, level_names, measured_row
from hashgrain.evaluate.described import Described, describe
from hashgrain.evaluate.manifest import Manifest
from hashgrain.evaluate.protocols import PROTOCOLS
from hashgrain.evaluate.results import FILE, Result, described_protocol, now
from hashgrain.evaluate.splitting import split
from hashgrain.labelled import labelled_pictures
from hashgrain.learn.augment import Augmentation
from hashgrain.learn.backbones import build
from hashgrain.learn.data import GrainLabels, Labelled, load_labelled
from hashgrain.learn.features import cached_features
from hashgrain.learn.heads import train_head
from hashgrain.learn.losses import SUPERVISED, UNSUPERVISED
from hashgrain.learn.network import HashHead
from hashgrain.learn.recipe import Network, Phase, Recipe, Schedule
from hashgrain.learn.recipes import METHODS, RECIPES
from hashgrain.learn.splits import hold_out
from hashgrain.learn.validation import score, validate
from report import HERE, need_data, table, write_section

RUNS = HERE / "runs" / "cifar10"
WIDTHS = (16, 32, 64)
SEEDS = (0, 1, 2)
STEPS = {"cifar10-1": 400, "cifar10-2": 800}
RATES = (0.0005, 0.002, 0.008)
RATE = 0.001  # of unsupervised methods
BATCH, BATCH_OF_TRIPLETS = 256, 64
TRIPLETS = ("triplet", "dtsh")
VIEWS = 4  # of each picture, for methods that compare views
Vectors = NDArray[np.float32]


def recipe_of(loss: str, bits: int, seed: int, rate: float, n: int, steps: int) -> Recipe:
    """The product's own recipe of the method, for a head on given features."""
    known = next(recipe for recipe in [*METHODS, RECIPES["triplet"], RECIPES["label-codes"]] if recipe.aim.loss == loss)
    batch = BATCH_OF_TRIPLETS if loss in TRIPLETS else max(BATCH, known.schedule.batch)
    return dataclasses.replace(
        known,
        grains=Grains({next(iter(known.grains)): bits}),
        network=Network("features", trained="head", hidden=known.network.hidden if not known.labelled else ()),
        schedule=Schedule(
            (Phase(steps * known.views * batch / n, 1),), batch=batch, learning_rate=rate, weight_decay=1e-3
        ),
        seed=seed + 1,
    )


@dataclasses.dataclass(frozen=True)
class Pictures:
    """CIFAR-10 through the default model: features, and views of the training part for methods that want some."""

    described: Described
    views: Vectors  # (views, n, width), in the order of `contents`
    contents: dict[str, int]

    def training(self, manifest: Manifest, at: NDArray[np.int64]) -> tuple[Labelled, Vectors]:
        names = tuple(manifest.class_names())
        ids = np.array([[names.index("/".join(manifest.classes[i]))] for i in manifest.train], np.int32)
        hashes = [manifest.hashes[i] for i in manifest.train]
        features = self.described.features[at[manifest.train]]
        seen = np.stack([features, *self.views[1:, [self.contents[content] for content in hashes]]])
        return Labelled(features, {"thing": GrainLabels(names, ids)}, np.array(hashes)), seen


def read_pictures(encoder: Encoder) -> Pictures:
    folder = need_data() / "cifar-10"
    described = describe(encoder, labelled_pictures(folder))
    pictures = load_labelled(folder, encoder.bundle.size[0], (), part=None, cache=RUNS)
    backbone = build("bundle:default", size=encoder.bundle.size[0])
    views = cached_features(backbone, pictures, encoder.bundle.size[0], VIEWS, Augmentation(), RUNS, print)
    return Pictures(described, views, {content: i for i, content in enumerate(pictures.contents.tolist())})


def trained(recipe: Recipe, data: Labelled, views: Vectors) -> tuple[HashHead, float]:
    """The head, and its mAP on the tenth that was kept out."""
    whole = dataclasses.replace(data, inputs=np.arange(len(data)))  # rows, so that views can be split alike
    training, held = hold_out(whole, max(1, len(data) // 10 // len(data.levels["thing"].names)))
    rows, asked = training.inputs, dataclasses.replace(held, inputs=data.inputs[held.inputs])
    learnt = dataclasses.replace(training, inputs=data.inputs[rows])
    if not recipe.labelled:
        learnt, nothing = dataclasses.replace(learnt, levels={}), dataclasses.replace(asked, levels={})
    with tempfile.TemporaryDirectory() as run:
        seen = views[: recipe.cached_views, rows]
        head = train_head(recipe, seen, learnt, asked if recipe.labelled else nothing, Path(run))
    grain = next(iter(recipe.grains))
    found = validate(
        outputs(head, asked.inputs), dataclasses.replace(asked, levels={grain: asked.levels["thing"]}), recipe.grains
    )
    return head, score(found)


@torch.no_grad()
def outputs(head: HashHead, features: Vectors) -> Vectors:
    return head.eval()(torch.from_numpy(features)).numpy()


def choose_rates(pictures: Pictures) -> dict[str, float]:
    """For each supervised method the learning rate that is best on the kept-out tenth."""
    manifest = split(pictures.described.pool, PROTOCOLS["cifar10-1"], 0)
    at = manifest.locate(pictures.described.pool.hashes, pictures.described.pool.names)
    data, views = pictures.training(manifest, at)
    file = RUNS / "rates.json"
    found: dict[str, dict[str, float]] = json.loads(file.read_text()) if file.exists() else {}
    for loss in SUPERVISED:
        for rate in RATES:
            if str(rate) not in found.setdefault(loss, {}):
                recipe = recipe_of(loss, 32, 0, rate, len(data), STEPS["cifar10-1"])
                found[loss][str(rate)] = round(trained(recipe, data, views)[1], 4)
                file.write_text(json.dumps(found, indent=1))
                print(loss, rate, found[loss][str(rate)], flush=True)
    return {loss: float(max(scores, key=lambda rate: scores[rate])) for loss, scores in found.items()}


def rows_of(pictures: Pictures, manifest: Manifest, rates: dict[str, float]) -> Iterator:
    described = pictures.described
    at = manifest.locate(described.pool.hashes, described.pool.names)
    labels = manifest.labels()
    asked = Asked(labels[manifest.queries], labels[manifest.database])
    data, views = pictures.training(manifest, at)
    protocol = str(manifest.rules["protocol"])
    for loss in [*SUPERVISED, *UNSUPERVISED]:
        for bits in WIDTHS:
            recipe = recipe_of(loss, bits, manifest.seed, rates.get(loss, RATE), len(data), STEPS[protocol])
            head, _ = trained(recipe, data, views)
            codes = [
                Codes.from_outputs(outputs(head, described.features[at[index]]), Grains(look=bits))
                for index in (manifest.queries, manifest.database)
            ]
            name = recipe.name + ("" if recipe.labelled else ", no labels")
            case = asked.by_codes(name, "codes", codes[0], codes[1], seeded=True)
            row = measured_row(case, manifest.rules, manifest.seed, level_names(labels))
            print(
                protocol,
                manifest.seed,
                row.name,
                f"{row.figures['mAP@ALL hash'].value:.4f}",
                flush=True,
            )
            yield row


def main() -> None:
    torch.set_num_threads(1)
    RUNS.mkdir(parents=True, exist_ok=True)
    encoder = Encoder.load("small")
    pictures = read_pictures(encoder)
    rates = choose_rates(pictures)
    for protocol in STEPS:
        for seed in SEEDS:
            folder = RUNS / f"methods-{protocol}-seed{seed}"
            made_by = {"codes": "heads on the features of default", "digest": encoder.digest, "rates": rates}
            if (folder / FILE).is_file() and Result.read(folder).made_by == made_by:
                continue
            manifest = split(pictures.described.pool, PROTOCOLS[protocol], seed)
            rows = list(rows_of(pictures, manifest, rates))
            facts = described_protocol(manifest, PROTOCOLS[protocol].about)
            write_run(folder, Result(facts, rows, [], now(), made_by=made_by), manifest, ())
    write_section("b-methods", "Methods on the same features", "python benchmarks/methods.py", summary())


def summary() -> str:
    """mAP@ALL of every method."""
    lines: dict[str, dict[tuple[str, int], list[float]]] = {}
    for folder in sorted(RUNS.glob("methods-*")):
        result = Result.read(folder)
        for row in result.rows:
            key = (str(result.protocol["name"]), int(row.bits or 0))
            lines.setdefault(row.method, {}).setdefault(key, []).append(row.figures["mAP@ALL hash"].value)
    columns = [(protocol, bits) for protocol in STEPS for bits in WIDTHS]
    best = columns[1]
    rows = []
    for method, found in sorted(lines.items(), key=lambda line: -np.mean(line[1][best])):
        cells = [f"{np.mean(found[c]):.3f} ± {np.std(found[c], ddof=1):.3f}" for c in columns]
        rows.append([method, *cells])
    heads = [f"{protocol}, {bits} bits" for protocol, bits in columns]
    return (
        "mAP@ALL (`hash`, expected over ties), means and standard deviations over 3 seeds. One linear layer on the"
        " frozen features of the default model. All conventions, tie bounds and reference rows:"
        " [docs/results/cifar10.md](../docs/results/cifar10.md).\n\n" + table(["method", *heads], rows)
    )


if __name__ == "__main__":
    main()
