"""What `hashgrain model make` makes of a network: codes beside float features, ITQ and rotated PCA at equal bits.

The network is the backbone of `photo` as an ONNX file, taken as any other is. Features are kept in CACHE:
python benchmarks/model_make.py CACHE
"""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hashgrain import Codes
from hashgrain.evaluate.near_copies import MILD, recall_at_1
from hashgrain.hashers import ITQ, PCARotation
from hashgrain.learn.data.kept_features import KeptFeatures
from hashgrain.learn.encoders.fitting import Head, Sets, features_of, fit, unit
from hashgrain.learn.encoders.make import BITS, LIMIT, grains_of
from hashgrain.learn.encoders.pictures import shots_of
from hashgrain.learn.encoders.sources import network_of
from hashgrain.learn.photo.graph import backbone_model
from hashgrain.learn.photo.make import WEIGHTS
from hashgrain.learn.photo.pictures import photographs, stamps, tiny_imagenet
from hashgrain.models.weights import read_weights
from photo import compared, cosine, hamming, in_groups, leave_one_out
from report import need_data, table, write_section

SEEDS = (0, 1, 2)
SMALL = 2_500  # pictures of Tiny ImageNet, of those that are neither reported on nor kept out
GRAINS = grains_of(BITS)
Features = NDArray[np.float32]


def user_folder(folder: Path, data: Path) -> Path:
    """The pictures a user would bring: the choosing halves of stamps and photographs, and small pictures."""
    folder.mkdir(parents=True, exist_ok=True)
    rest = tiny_imagenet(data, "rest")
    order = np.random.default_rng(1).permutation(len(rest))[:SMALL]
    sharp = [shot for shot in [*stamps(data), *photographs(data)] if not shot.reported]
    for shot in [*sharp, *(rest[i] for i in order)]:
        (folder / f"{shot.sha256[:16]}.jpg").write_bytes(shot.content)
    return folder


class Bench:
    def __init__(self, cache: Path, data: Path) -> None:
        self.data = data
        network_file = cache / "backbone.onnx"
        network_file.write_bytes(backbone_model(read_weights(WEIGHTS)))
        network = network_of(f"onnx:{network_file}", None, False, print)
        edges = (network.size, network.size)
        self.kept = KeptFeatures(cache / "run", network.graph, edges, kept_as=np.float32, skip=True)
        shots = shots_of(user_folder(cache / "pictures", data), LIMIT)
        self.sets: Sets = features_of(shots, self.kept, GRAINS.bits)
        reported = {shot.sha256 for shot in [*stamps(data), *photographs(data)] if shot.reported}
        assert not reported & set(self.sets.contents), "pictures that are reported on would be fitted on"
        self.heads = [fit(self.sets, GRAINS, seed) for seed in SEEDS]
        self.hashers = [kind(bits, seed=0).fit(self.sets.fitted) for kind in (ITQ, PCARotation) for bits in BITS]


def codes(head: Head, features: Features) -> Codes:
    return Codes.from_outputs(head.outputs(features), GRAINS)


def on_stamps(bench: Bench) -> str:
    shots = [shot for shot in stamps(bench.data) if shot.reported and not shot.facts["drawn"]]
    features = bench.kept.of("stamps reported on", lambda: (shot.content for shot in shots))
    labels = np.array([shot.facts["group"] for shot in shots])
    rows = in_groups(np.arange(len(shots)), labels)
    plain = leave_one_out(cosine(features), rows, labels, 3)
    centered = leave_one_out(cosine(unit(features - bench.sets.fitted.mean(axis=0))), rows, labels, 3)
    found = [
        ["float features, cosine", f"{plain.mean():.3f}"],
        ["float features, centered, cosine (the teacher)", f"{centered.mean():.3f}"],
    ]
    for grain, bits in GRAINS.items():
        values = [leave_one_out(hamming(codes(head, features).at(grain)), rows, labels, 3) for head in bench.heads]
        found.append([f"**model make, {bits} bits**", compared(values, plain)])
    for hasher in bench.hashers:
        value = leave_one_out(hamming(hasher.codes(features)), rows, labels, 3)
        found.append([f"{type(hasher).__name__}, {hasher.bits} bits", f"{value.mean():.3f}"])
    return f"Stamps, the reporting half of the photographs, by folder, {len(rows)} pictures:\n\n" + table(
        ["method", "P@3"], found
    )


def on_near_copies(bench: Bench) -> str:
    shots = [shot for shot in photographs(bench.data) if shot.reported]
    whole = bench.kept.of("photographs reported on", lambda: (shot.content for shot in shots))
    others = np.concatenate([bench.sets.validation, bench.sets.fitted])
    edits = [
        bench.kept.of(f"photographs reported on, edit {number}", lambda c=change: (c(shot.open()) for shot in shots))
        for number, change in enumerate(MILD.values())
    ]
    found = []
    for grain, bits in GRAINS.items():
        means = []
        for head in bench.heads:
            sides = [codes(head, each).at(grain) for each in (whole, others)]
            means.append(np.mean([recall_at_1(codes(head, each).at(grain), *sides) for each in edits]))
        found.append([f"**model make, {bits} bits**", f"{np.mean(means):.3f} ± {np.std(means):.3f}"])
    for hasher in bench.hashers:
        sides = [hasher.codes(each) for each in (whole, others)]
        mean = np.mean([recall_at_1(hasher.codes(each), *sides) for each in edits])
        found.append([f"{type(hasher).__name__}, {hasher.bits} bits", f"{mean:.3f}"])
    return (
        f"Near copies, {len(MILD)} mild edits of the {len(shots)} photographs of the reporting half, asked among them"
        f" and {len(others):,} others, mean recall@1:\n\n" + table(["method", "recall@1"], found)
    )


def main() -> None:
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    cache = Path(sys.argv[1])
    cache.mkdir(parents=True, exist_ok=True)
    bench = Bench(cache, need_data())
    entered = hashlib.sha256("".join(bench.sets.contents).encode()).hexdigest()[:12]
    head = (
        f"The backbone of `photo` as `onnx:FILE`, its head fitted on {len(bench.sets.contents):,} pictures without"
        f" labels ({entered}): {SMALL:,} of Tiny ImageNet and the choosing halves of stamps and photographs. Three"
        " seeds: mean ± standard deviation; in brackets the 95 % interval of the difference from the float features,"
        " pictures drawn anew. ITQ and rotated PCA are fitted on the same features, once a width. Precision is the"
        " expectation over the order of ties.\n\n"
    )
    text = head + "\n\n".join(part(bench) for part in (on_stamps, on_near_copies))
    write_section("5d-model-make", "A model made of any network", "python benchmarks/model_make.py CACHE", text)


if __name__ == "__main__":
    main()
