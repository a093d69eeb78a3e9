"""Every method on frozen features: the table of docs/results/methods.md, and rows for cifar10.md.

    python benchmarks/methods.py [CACHE]

Pictures are those of CIFAR-10, features those of the photograph model and of `small`, computed once and kept in CACHE.
Each method trains the head of its recipe, one linear layer, for 400 steps on the training pictures of `cifar10-1` but
for a tenth, which is kept out. On that tenth, at 32 bits and seed 0, its learning rate is chosen; queries choose
nothing. *seen@seen* is the protocol itself. For *unseen@all*, at 64 bits, the pictures of three of the ten classes are
taken out of the training pictures; their queries search the same database, which has all classes. One process a
model. Runs that stand finished are not made again.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import sys
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import cached_property
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from hashgrain import Codes, Encoder, Grains
from hashgrain.apps.evaluation import write_run
from hashgrain.evaluate import average_precision, tally
from hashgrain.evaluate.cases import Asked, Case, level_names, measured_row, reference_cases
from hashgrain.evaluate.described import Described
from hashgrain.evaluate.manifest import Manifest
from hashgrain.evaluate.protocols import PROTOCOLS
from hashgrain.evaluate.results import FILE, Result, Row, described_protocol, now
from hashgrain.evaluate.splitting import pool_of, split
from hashgrain.labelled import labelled_pictures
from hashgrain.learn.adapt.kept import KeptRows
from hashgrain.learn.data.grain_labels import GrainLabels
from hashgrain.learn.data.labelled import Labelled
from hashgrain.learn.data.splits import hold_out
from hashgrain.learn.losses import LOSSES
from hashgrain.learn.losses.adsh import AdshLoss
from hashgrain.learn.recipe import Network, Phase, Recipe, Schedule
from hashgrain.learn.recipes import METHODS, RECIPES
from hashgrain.learn.training.heads import follow, head_training, settled_head
from hashgrain.learn.training.loop import Training
from hashgrain.learn.training.validation import score, validate
from hashgrain.media import open_picture
from report import HERE, need_data, table, write_section

MODELS = ("photo", "small")
RUNS = HERE / "runs" / "cifar10"
PAGE = HERE.parent / "docs" / "results" / "methods.md"
WIDTHS, CHOOSING, UNSEEN_BITS = (16, 64), 32, 64
SEEDS = (0, 1)
STEPS, BATCH, BATCH_OF_TRIPLETS = 400, 256, 64
RATES = (0.0005, 0.002)
RATE = 0.001  # of methods without labels
TRIPLETS = ("triplet", "dtsh")
FLOOR = "PCA + rotation"
PROTOCOL = "cifar10-1"
UNSEEN = 0.3  # of the classes
Vectors = NDArray[np.float32]
Index = NDArray[np.int64]


def methods() -> dict[str, Recipe]:
    """The recipes of one loss and one level, those that learn from labels first."""
    known = [*METHODS, RECIPES["triplet"], RECIPES["label-codes"]]
    known = [recipe for recipe in known if len(recipe.grains) == 1 and LOSSES[recipe.aim.loss].views != 2]
    return {recipe.name: recipe for recipe in sorted(known, key=lambda recipe: not recipe.labelled)}


def recipe_of(known: Recipe, bits: int, seed: int, rate: float, pictures: int) -> Recipe:
    """The product's own recipe of the method, for a head on given features."""
    batch = BATCH_OF_TRIPLETS if known.aim.loss in TRIPLETS else BATCH
    hidden = () if known.labelled else known.network.hidden
    return dataclasses.replace(
        known,
        grains=Grains(thing=bits) if known.labelled else Grains(look=bits),
        network=Network("features", trained="head", hidden=hidden, normalize=known.network.normalize),
        schedule=Schedule((Phase(STEPS * batch / pictures, 1),), batch=batch, learning_rate=rate, weight_decay=1e-3),
        seed=seed + 1,
    )


def described(model: str, cache: Path) -> Described:
    """All pictures of CIFAR-10 through a model; those the cache knows are not computed again."""
    encoder = Encoder.load(model)
    pictures = list(labelled_pictures(need_data() / "cifar-10"))
    contents = [picture.read() for picture in pictures]
    pool = pool_of([dataclasses.replace(each, read=bytes) for each in pictures], [_hash(each) for each in contents])
    kept = KeptRows(encoder, cache, print)
    fresh = {found: content for found, content in zip(pool.hashes, contents, strict=True) if found not in kept}
    opened = ((found, open_picture(content, size=encoder.bundle.size).pixels) for found, content in fresh.items())
    kept.add_pixels(opened, len(fresh))
    rows, bits = kept.of(pool.hashes), encoder.grains.bits
    return Described(pool, rows[:, -bits:], np.ascontiguousarray(rows[:, :-bits]), None, {}, {})


def _hash(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@dataclasses.dataclass(frozen=True, eq=False)
class Bench:
    """A model's features of one split, and what is measured on them."""

    model: str
    pictures: Described
    seed: int

    @cached_property
    def manifest(self) -> Manifest:
        return split(self.pictures.pool, PROTOCOLS[PROTOCOL], self.seed)

    @cached_property
    def at(self) -> Index:
        return self.manifest.locate(self.pictures.pool.hashes, self.pictures.pool.names)

    @cached_property
    def classes(self) -> Index:
        """Of every picture of the manifest, by number."""
        names = self.manifest.class_names()
        return np.array([names.index("/".join(path)) for path in self.manifest.classes])

    @cached_property
    def unseen(self) -> Index:
        """The classes that are kept from training in *unseen@all*: those whose hash with the seed sorts first."""
        names = self.manifest.class_names()
        order = sorted(range(len(names)), key=lambda i: _hash(f"{self.seed}:{names[i]}".encode()))
        return np.array(order[: round(UNSEEN * len(names))])

    def features(self, index: Index) -> Vectors:
        return self.pictures.features[self.at[index]]

    def training(self, but: Index | None = None) -> Labelled:
        """The training pictures, without those of some classes."""
        rows = self.manifest.train
        rows = rows if but is None else rows[~np.isin(self.classes[rows], but)]
        kept, ids = np.unique(self.classes[rows], return_inverse=True)
        names = tuple(np.array(self.manifest.class_names())[kept].tolist())
        contents = np.array([self.manifest.hashes[i] for i in rows])
        return Labelled(self.features(rows), {"thing": GrainLabels(names, ids[:, None].astype(np.int32))}, contents)

    def trained(self, recipe: Recipe, data: Labelled) -> tuple[Callable[[Vectors], Codes], float, Training]:
        """What encodes features, the mAP on the tenth that was kept out, and the training itself."""
        learnt, held = hold_out(data, max(1, len(data) // 10 // len(data.levels["thing"].names)))
        if not recipe.labelled:
            learnt = dataclasses.replace(learnt, levels={})
        nothing = dataclasses.replace(learnt, inputs=held.inputs[:0], contents=held.contents[:0], levels={})
        with tempfile.TemporaryDirectory() as run:
            work = head_training(recipe, learnt.inputs[None], learnt, nothing, Path(run))
            follow(work, lambda text: None, 1e9)
        head = settled_head(work).eval()

        @torch.no_grad()
        def outputs(features: Vectors) -> Vectors:
            found: Vectors = head(torch.from_numpy(features)).numpy()
            return found

        quality = score(validate(outputs(held.inputs), held, recipe.grains)) if recipe.labelled else 0.0
        return lambda features: Codes.from_outputs(outputs(features), recipe.grains), quality, work


def chosen_rates(bench: Bench) -> dict[str, float]:
    """For each method the learning rate that is best on the tenth kept out."""
    data, file = bench.training(), RUNS / f"rates-{bench.model}.json"
    found: dict[str, dict[str, float]] = json.loads(file.read_text()) if file.exists() else {}
    for name, known in methods().items():
        if not known.labelled:
            continue
        for rate in RATES:
            if str(rate) not in found.setdefault(name, {}):
                recipe = recipe_of(known, CHOOSING, 0, rate, len(data))
                found[name][str(rate)] = round(bench.trained(recipe, data)[1], 4)
                file.write_text(json.dumps(found, indent=1))
        print(bench.model, name, found[name], flush=True)
    return {name: float(max(scores, key=lambda rate: scores[rate])) for name, scores in found.items()}


def seen_rows(bench: Bench, rates: dict[str, float]) -> Iterator[Row]:
    """Every method, then the reference rows, by the protocol."""
    manifest, data = bench.manifest, bench.training()
    labels = manifest.labels()
    asked = Asked(labels[manifest.queries], labels[manifest.database])
    queries, database = bench.features(manifest.queries), bench.features(manifest.database)

    def measured(case: Case) -> Row:
        row = measured_row(case, manifest.rules, manifest.seed, level_names(labels))
        print(bench.model, bench.seed, row.name, f"{row.figures['mAP@ALL hash'].value:.4f}", flush=True)
        return row

    for name, known in methods().items():
        for bits in WIDTHS:
            encode, _, work = bench.trained(recipe_of(known, bits, bench.seed, rates.get(name, RATE), len(data)), data)
            codes = encode(queries), encode(database)
            yield measured(asked.by_codes(f"{name} on {bench.model}", "codes", *codes, seeded=True))
            loss = next(iter(work.plain.objective.losses.values()))
            if isinstance(loss, AdshLoss):
                learnt = learnt_codes(bench, codes[1], loss, work.data)
                yield measured(asked.by_codes(f"{name}, learnt codes on {bench.model}", "codes", codes[0], learnt))
    for case in reference_cases(bench.pictures, bench.at, manifest, WIDTHS, "all"):
        if case.database is None and bench.seed != SEEDS[0]:
            continue  # real-valued ones take as long as many methods together, and hardly differ between seeds
        yield measured(dataclasses.replace(case, method=f"{case.method} on {bench.model}"))


def learnt_codes(bench: Bench, database: Codes, loss: AdshLoss, data: Labelled) -> Codes:
    """The codes of the database as ADSH has them: those it learnt of the pictures that it was trained with."""
    bits = database.bits().copy()
    own = {content: i for i, content in enumerate(data.contents.tolist())}
    for row, i in enumerate(bench.manifest.database.tolist()):
        if bench.manifest.hashes[i] in own:
            bits[row] = loss.codes[own[bench.manifest.hashes[i]]].numpy() > 0
    return Codes.from_bits(bits, database.grains)


def unseen_figures(bench: Bench, rates: dict[str, float]) -> dict[str, float]:
    """mAP@ALL of queries of classes that were not learnt from, in the whole database."""
    manifest, data = bench.manifest, bench.training(but=bench.unseen)
    labels = manifest.labels()
    asking = manifest.queries[np.isin(bench.classes[manifest.queries], bench.unseen)]
    queries, database = bench.features(asking), bench.features(manifest.database)
    found = {}

    def measured(name: str, codes: tuple[Codes, Codes]) -> None:
        counts = tally(*codes, labels[asking], labels[manifest.database])
        found[name] = round(float(average_precision(counts).mean()), 5)
        print(bench.model, bench.seed, name, "unseen@all", found[name], flush=True)

    for name, known in methods().items():
        encode, _, _ = bench.trained(recipe_of(known, UNSEEN_BITS, bench.seed, rates.get(name, RATE), len(data)), data)
        measured(name, (encode(queries), encode(database)))
    floor = references_of(data.inputs, bench.seed)
    measured(FLOOR, (floor(queries), floor(database)))
    return found


def references_of(fitted: Vectors, seed: int) -> Callable[[Vectors], Codes]:
    from hashgrain.evaluate.references import pca_rotation

    return pca_rotation(fitted, UNSEEN_BITS, seed)


def measure_model(model: str, cache: Path) -> None:
    torch.set_num_threads(1)
    pictures = described(model, cache)
    rates = chosen_rates(Bench(model, pictures, 0))
    for seed in SEEDS:
        bench, folder = Bench(model, pictures, seed), RUNS / f"methods-{model}-{PROTOCOL}-seed{seed}"
        made_by = {"codes": f"heads on the features of {model}", "digest": Encoder.load(model).digest, "rates": rates}
        if not ((folder / FILE).is_file() and Result.read(folder).made_by == made_by):
            rows = list(seen_rows(bench, rates))
            facts = described_protocol(bench.manifest, PROTOCOLS[PROTOCOL].about)
            write_run(folder, Result(facts, rows, [], now(), made_by=made_by), bench.manifest, ())
        file = folder / "unseen.json"
        if not (file.is_file() and json.loads(file.read_text())["rates"] == rates):
            file.write_text(json.dumps({"rates": rates, "mAP@ALL": unseen_figures(bench, rates)}, indent=1))


def summary(model: str) -> str:
    """A line a method: mAP@ALL at each width, the gain of the longer code, and unseen@all."""
    seen: dict[tuple[str, int | None], list[float]] = {}
    unseen: dict[str, list[float]] = {}
    for folder in sorted(RUNS.glob(f"methods-{model}-{PROTOCOL}-seed*")):
        for row in Result.read(folder).rows:
            name = row.method.removesuffix(f" on {model}")
            seen.setdefault((name, row.bits), []).append(row.figures["mAP@ALL hash"].value)
        for name, value in json.loads((folder / "unseen.json").read_text())["mAP@ALL"].items():
            unseen.setdefault(name, []).append(value)
    heads = {name: "normalized" if recipe.network.normalize else "plain" for name, recipe in methods().items()}
    heads = {name: heads[name] + ("" if methods()[name].labelled else ", no labels") for name in heads}
    short, long = WIDTHS
    names = sorted({name for name, bits in seen if bits == long}, key=lambda name: -np.mean(seen[name, long]))
    rows = []
    for name in names:
        gains = np.mean(seen[name, long]) - np.mean(seen[name, short])
        cells = [spread(seen[name, bits]) for bits in WIDTHS]
        beside = spread(unseen[name]) if name in unseen else ""
        rows.append([name, heads.get(name.partition(",")[0], ""), *cells, f"{gains:+.3f}", beside])
    for name, bits in seen:
        if bits not in WIDTHS:
            told = f"{name}, {bits} bits" if bits else name
            rows.append([told, "", "", spread(seen[name, bits]), "", ""])
    columns = ["method", "head", *(f"{bits} bits" for bits in WIDTHS), "gain", f"unseen@all, {UNSEEN_BITS} bits"]
    return table(columns, rows) + "\n\n" + doubts(seen)


def doubts(seen: dict[tuple[str, int | None], list[float]]) -> str:
    """What should not be: a longer code that is worse by more than the spread, a method below the floor."""
    short, long = WIDTHS
    wrong = []
    for name in (name for name, recipe in methods().items() if recipe.labelled):
        worse = np.mean(seen[name, short]) - np.mean(seen[name, long])
        if worse > np.std(seen[name, short], ddof=1) + np.std(seen[name, long], ddof=1):
            wrong.append(f"{name} is worse at {long} bits than at {short}")
        wrong += [f"{name} is below {FLOOR} at {b} bits" for b in WIDTHS if _below(seen, name, b)]
    return "; ".join(wrong) or f"No method is worse at {long} bits than at {short}, and none is below {FLOOR}."


def _below(seen: dict[tuple[str, int | None], list[float]], name: str, bits: int) -> bool:
    return bool(np.mean(seen[name, bits]) < np.mean(seen[FLOOR, bits]))


def spread(values: list[float]) -> str:
    if len(values) == 1:
        return f"{values[0]:.3f}, one seed"
    return f"{np.mean(values):.3f} ± {np.std(values, ddof=1):.3f}"


def main() -> None:
    cache = Path(sys.argv[1]) if len(sys.argv) > 1 else HERE / "runs" / "features"
    RUNS.mkdir(parents=True, exist_ok=True)
    with ProcessPoolExecutor(len(MODELS), get_context("spawn")) as processes:
        for work in [processes.submit(measure_model, model, cache) for model in MODELS]:
            work.result()
    text = (
        f"mAP@ALL on `{PROTOCOL}` (expected over ties), means and standard deviations over {len(SEEDS)} seeds, one"
        " linear layer on frozen features. *unseen@all*: queries of three classes that were not learnt from, in the"
        " database of all ten. Discussed in [docs/results/methods.md](../docs/results/methods.md).\n"
    )
    tables = "".join(f"### On the features of `{model}`\n\n{summary(model)}\n\n" for model in MODELS)
    text += f"\n{tables}"
    start, end = (f"<!-- benchmarks/methods.py: {where} here -->\n" for where in ("from", "to"))
    before, _, rest = PAGE.read_text().partition(start)
    PAGE.write_text(f"{before}{start}\n{tables.replace('### ', '## ')}{end}{rest.partition(end)[2]}")
    write_section("b-methods", "Methods on the same features", "python benchmarks/methods.py", text)


if __name__ == "__main__":
    main()
