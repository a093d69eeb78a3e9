"""What making a model smaller costs and gains: bundles side by side, such as `float=FOLDER int8=default`.

Bundles are made by `hashgrain shrink`, `hashgrain join` and `hashgrain train --set pruned=... --set teacher=...`.
The first is what the others are compared with.
"""

from __future__ import annotations

import sys
from statistics import median
from time import perf_counter

from hashgrain import Encoder
from hashgrain.evaluate import precision, tally
from hashgrain.learn.data.labelled import Labelled, load_labelled
from hashgrain.learn.data.splits import hold_out
from hashgrain.models import Bundle
from report import HERE, need_data, table, write_section

GRAINS = ("kind", "thing")
TIMED, ROUNDS = 200, 7


def milliseconds(encoders: dict[str, Encoder], held: Labelled) -> dict[str, float]:
    """A picture on one thread; models in turn, so that all see the same machine."""
    found: dict[str, list[float]] = {name: [] for name in encoders}
    for _ in range(ROUNDS):
        for name, encoder in encoders.items():
            started = perf_counter()
            encoder.outputs(held.inputs[:TIMED])
            found[name].append(1000 * (perf_counter() - started) / TIMED)
    return {name: median(each) for name, each in found.items()}


def quality(encoder: Encoder, queries: Labelled, database: Labelled) -> list[float]:
    asked, searched = encoder.codes(queries.inputs), encoder.codes(database.inputs)
    scores = []
    for grain in GRAINS:
        labels = [part.levels[grain].only() for part in (queries, database)]
        scores.append(float(precision(tally(asked.at(grain), searched.at(grain), *labels), 10).mean()))
    return scores


def cost_table(bundles: dict[str, Bundle]) -> str:
    folder, cache = need_data() / "tiny-imagenet-200", HERE / "runs" / "tiny"
    size = next(iter(bundles.values())).size[0]
    _, held = hold_out(load_labelled(folder, size, GRAINS, cache=cache), 50)
    queries = load_labelled(folder, size, GRAINS, part="val", cache=cache)
    times = milliseconds({name: Encoder(bundle, threads=1) for name, bundle in bundles.items()}, held)
    scores = {name: quality(Encoder(bundle, threads=2), queries, held) for name, bundle in bundles.items()}
    first = next(iter(bundles))
    rows = []
    for name, bundle in bundles.items():
        pairs = zip(scores[name], scores[first], strict=True)
        points = [f"{score:.3f} ({100 * (score - base):+.1f})" for score, base in pairs]
        speed = f"{times[name]:.2f} ({times[first] / times[name]:.2f}x)"
        rows.append([name, f"{len(bundle.onnx) / 1e6:.1f} MB", speed, *points])
    return (
        "Queries of `val` against 10,000 pictures kept out of training; in brackets the speed against the first row,"
        " and points of P@10 against it. One thread, pictures decoded beforehand.\n\n"
        + table(["model", "size", "ms a picture", "kind P@10", "thing P@10"], rows)
    )


def main() -> None:
    bundles = {name: Bundle.read(place) for name, _, place in (given.partition("=") for given in sys.argv[1:])}
    command = "python benchmarks/costs.py NAME=BUNDLE ..."
    write_section("4d-costs", "Smaller and larger models", command, cost_table(bundles))


if __name__ == "__main__":
    main()
