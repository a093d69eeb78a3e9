"""One nested model against four dedicated ones, each a whole network trained from random weights.

The recipe `nested` with the small network of `quick`, on CIFAR-10 and on Tiny ImageNet at 32 px. Queries are searched
in pictures that no model learns from. How much classifier and cascade the recipe has was chosen on CIFAR-10 among those
pictures. Models that stand finished in benchmarks/runs/nesting-whole are not trained again.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch

from hashgrain import Codes, Grains
from hashgrain.evaluate import average_precision, precision, tally
from hashgrain.learn.data.labelled import Labelled, load_labelled
from hashgrain.learn.data.splits import hold_out
from hashgrain.learn.recipe import Phase, Recipe
from hashgrain.learn.recipes import RECIPES
from hashgrain.learn.run import build_backbone, train_network
from hashgrain.learn.training.validation import outputs_of
from report import HERE, need_data, table, write_section

SIZE, EPOCHS = 32, 8
NESTED = RECIPES["nested"]
SMALL = dataclasses.replace(
    NESTED,
    size=SIZE,
    network=RECIPES["quick"].network,
    schedule=dataclasses.replace(NESTED.schedule, phases=(Phase(EPOCHS, SIZE),)),
)
Trained = tuple[list[list[float]], float]  # mAP@ALL and P@10 at each length, and seconds
Figures = dict[str, list[Trained]]
FIRST, ONE, LONGER = "four dedicated models", "one nested model", "… trained longer"


@dataclasses.dataclass(frozen=True)
class Pictures:
    folder: str
    queries: str  # the part that asks
    searched: int  # pictures of each class, kept out of training
    longer: int  # epochs of a nested model that gets more of the time that it saves


SEEDS = (0, 1, 2)
SETS = (Pictures("cifar-10", "test", 1000, 9), Pictures("tiny-imagenet-200", "val", 50, 10))


def recipe_of(grains: Mapping[str, int], seed: int) -> Recipe:
    """Of one length: the same loss and classifier, each once."""
    aim = SMALL.aim if len(grains) > 1 else dataclasses.replace(SMALL.aim, classifier_weight=1.0, cascade_weight=0.0)
    return dataclasses.replace(SMALL, grains=Grains(grains), labelled=tuple(grains), seed=seed + 1, aim=aim)


def kept(pictures: Pictures, recipes: Sequence[Recipe], parts: dict[str, Labelled]) -> Trained:
    """What `trained` finds of each recipe, in order, and the seconds of them all."""
    name = hashlib.sha256(repr((pictures.folder, recipes)).encode()).hexdigest()[:16]
    file = HERE / "runs" / "nesting-whole" / f"{name}.json"
    if not file.exists():
        made = [trained(recipe, parts) for recipe in recipes]
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps([[each for scores, _ in made for each in scores], sum(took for _, took in made)]))
    scores, took = json.loads(file.read_text())
    return scores, took


def trained(recipe: Recipe, parts: dict[str, Labelled]) -> Trained:
    """mAP@ALL and P@10 at each length of the recipe, and the seconds of training."""
    data = dataclasses.replace(
        parts["training"], levels=dict.fromkeys(recipe.grains, parts["training"].levels["thing"])
    )
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as run:
        nothing = data.take(np.arange(0))
        network = train_network(recipe, build_backbone(recipe), data, nothing, Path(run), lambda text: None)
    took = time.perf_counter() - started
    asked, searched = (outputs_of(network, parts[part].inputs, SIZE)[0] for part in ("queries", "database"))
    labels = [parts[part].levels["thing"].only() for part in ("queries", "database")]
    scores = []
    for bits in recipe.grains.values():
        codes = [Codes.from_outputs(outputs[:, :bits], Grains(look=bits)) for outputs in (asked, searched)]
        counts = tally(codes[0], codes[1], *labels)
        scores.append([float(average_precision(counts).mean()), float(precision(counts, 10).mean())])
    return scores, took


def compared(pictures: Pictures) -> Figures:
    folder, cache = need_data() / pictures.folder, HERE / "runs" / f"{pictures.folder}-{SIZE}"
    training, database = hold_out(load_labelled(folder, SIZE, ("thing",), cache=cache), pictures.searched)
    queries = load_labelled(folder, SIZE, ("thing",), part=pictures.queries, cache=cache)
    parts = {"training": training, "database": database, "queries": queries}
    found: Figures = {FIRST: [], ONE: [], LONGER: []}
    for seed in SEEDS:
        nested = recipe_of(NESTED.grains, seed)
        schedule = dataclasses.replace(nested.schedule, phases=(Phase(pictures.longer, SIZE),))
        found[ONE].append(kept(pictures, [nested], parts))
        found[LONGER].append(kept(pictures, [dataclasses.replace(nested, schedule=schedule)], parts))
        alone = [recipe_of({"longest": bits}, seed) for bits in NESTED.grains.values()]
        found[FIRST].append(kept(pictures, alone, parts))
        print(f"{pictures.folder}, seed {seed}: {[(name, each[-1]) for name, each in found.items()]}", flush=True)
    return found


def figures_table(found: Figures, measure: int) -> str:
    scores = {name: np.array([each for each, _ in values])[..., measure] for name, values in found.items()}
    times = {name: float(np.mean([took for _, took in values])) for name, values in found.items()}
    rows = []
    for name, each in scores.items():  # (seeds, lengths)
        points = 100 * (each.mean(axis=0) - scores[FIRST].mean(axis=0))
        columns = zip(each.mean(axis=0), each.std(axis=0, ddof=1), points, strict=True)
        cells = [f"{mean:.4f} ± {std:.4f} ({point:+.2f})" for mean, std, point in columns]
        rows.append([name, *cells, f"{times[name]:.0f} s", f"{times[name] / times[FIRST]:.2f}"])
    lengths = [f"{bits} bits" for bits in NESTED.grains.values()]
    return table(["method", *lengths, "training", "of the four"], rows)


def main() -> None:
    torch.set_num_threads(2)
    text = (
        f"The recipe `nested` with the small network of `quick`, {EPOCHS} epochs at {SIZE} px from random weights, and"
        " a few more in the last row; queries against pictures kept out of training. Means and standard deviations"
        f" over {len(SEEDS)} seeds, expected over ties; in brackets points against the dedicated models. The last row"
        " was added when the others had been seen."
    )
    for pictures in SETS:
        found = compared(pictures)
        for measure, title in enumerate(("mAP@ALL", "P@10")):
            text += (
                f"\n\n`{pictures.queries}` of `{pictures.folder}` against {pictures.searched} pictures of each class,"
                f" {title} of `thing`; {pictures.longer} epochs in the last row:\n\n"
            ) + figures_table(found, measure)
    write_section("4c-nesting-whole", "Nested codes, trained whole", "python benchmarks/nesting_whole.py", text)


if __name__ == "__main__":
    main()
