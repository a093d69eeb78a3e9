"""Stand-ins for the published datasets: as many pictures, parts and labels as they have, without the pictures."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Sequence
from functools import cache

import numpy as np
from numpy.typing import NDArray

from hashgrain.evaluate.protocols import PROTOCOLS
from hashgrain.evaluate.splitting import Pool


def pool_of(
    classes: Sequence[tuple[str, ...]], parts: Sequence[str] | None = None, *, in_sets: bool = False, start: int = 0
) -> Pool:
    """Pictures with these labels, each with contents of its own."""
    hashes = [hashlib.sha256(f"picture {i}".encode()).hexdigest() for i in range(start, start + len(classes))]
    names = [f"{i:06}.jpg" for i in range(start, start + len(classes))]
    return Pool(names, hashes, np.array(parts or [""] * len(classes)), classes, in_sets)


def some_of(pool: Pool, index: Sequence[int] | NDArray[np.int64]) -> Pool:
    """These pictures of a pool, in this order."""
    columns = {name: [getattr(pool, name)[i] for i in index] for name in ("names", "hashes", "classes")}
    return dataclasses.replace(pool, **columns, parts=pool.parts[np.asarray(index)])


def _in_classes(sizes: dict[str, Sequence[int]], paths: Sequence[tuple[str, ...]]) -> Pool:
    """So many pictures of each class in each part."""
    found = [
        (path, part) for part, each in sizes.items() for path, n in zip(paths, each, strict=True) for _ in range(n)
    ]
    return pool_of([path for path, _ in found], [part for _, part in found])


def _in_sets(labelled: int, labels: int, empty: int = 0) -> Pool:
    """Overlapping labels, the first ones common and the last ones rare; then pictures without any."""
    dice = np.random.default_rng(labels)
    shares = np.geomspace(0.25, 0.01, labels)
    table = dice.random((labelled, labels)) < shares
    table[np.arange(labelled), dice.choice(labels, labelled, p=shares / shares.sum())] = True
    names = np.array([f"label {i:02}" for i in range(labels)])
    return pool_of([*(tuple(names[row].tolist()) for row in table), *[()] * empty], in_sets=True)


@cache
def stand_in(protocol: str) -> Pool:
    """Pictures to draw a protocol from; those of one dataset are the same for all its protocols."""
    if protocol.startswith("cifar10-") or protocol == "cifar10":
        return _cifar10()
    if protocol == "cifar100-h":
        paths = [(f"super {i // 5:02}", f"class {i:03}") for i in range(100)]
        return _in_classes({"train": [500] * 100, "test": [100] * 100}, paths)
    if protocol == "tiny-imagenet":
        paths = [(f"super {i % 27:02}", f"class {i:03}") for i in range(200)]
        return _in_classes({"train": [400] * 200, "val": [25] * 200}, paths)
    if protocol == "imagenet100":
        uneven = [1300] * 96 + [732, 800, 1035, 1136]
        return _in_classes({"train": uneven, "val": [50] * 100}, [(f"n{i:08}",) for i in range(100)])
    if protocol == "nuswide_21":
        return _in_sets(195_834, 21)
    if protocol in ("nuswide_21_m", "nuswide_81_m"):
        asked, learnt, others, labels = {"2": (2_100, 10_500, 40_000, 21), "8": (5_000, 10_000, 208_496, 81)}[
            protocol[8]
        ]
        whole = _in_sets(asked + learnt + others, labels)
        # As in the published lists: what is learnt from stands among what is searched, too.
        places = [*range(asked + learnt), *range(asked, asked + learnt + others)]
        parts = ["test"] * asked + ["train"] * learnt + ["database"] * (learnt + others)
        return dataclasses.replace(some_of(whole, places), parts=np.array(parts))
    if protocol == "voc2012":
        return _in_sets(11_540, 20)
    if protocol.startswith("cifar100-"):
        return stand_in("cifar100-h")
    if protocol in ("cub", "cars", "nabirds"):
        queries, train, classes = {"cub": (5794, 5994, 200), "cars": (8041, 8144, 196), "nabirds": (24633, 23929, 555)}[
            protocol
        ]
        sizes = {
            part: [len(each) for each in np.array_split(np.arange(n), classes)]
            for part, n in (("train", train), ("test", queries))
        }
        return _in_classes(sizes, [(f"class {i:03}",) for i in range(classes)])
    if protocol == "coco":
        return _in_sets(122_218, 80, empty=1_069)
    if protocol.startswith("mirflickr-"):
        return _in_sets(24_000, int(protocol[-2:]), empty=1_000)
    if protocol in ("parts", "parts-val"):
        asking = "test" if protocol == "parts" else "val"
        return _in_classes({"train": [40, 25, 7], asking: [5, 6, 1]}, [(f"class {i}",) for i in range(3)])
    assert protocol in ("folder", "folder-unseen"), f"{protocol} of {list(PROTOCOLS)} has no stand-in yet: add one"
    return _in_classes({"": [40, 25, 12, 100, 7, 1, 60]}, [(f"class {i}",) for i in range(7)])


@cache
def _cifar10() -> Pool:
    paths = [("animal" if i in (2, 3, 4, 5, 6, 7) else "vehicle", f"class {i}") for i in range(10)]
    return _in_classes({"train": [5000] * 10, "test": [1000] * 10}, paths)
