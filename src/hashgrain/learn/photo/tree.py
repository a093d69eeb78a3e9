"""The part of WordNet's hierarchy above the 1,000 classes of ImageNet, and the similarities of classes from it.

`tree.json` is derived from WordNet 3.0; its license is `models/words/LICENSE-WordNet.txt`.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

TABLE = Path(__file__).parent / "tree.json"


class Tree:
    """Synsets by their offset in WordNet; a class of ImageNet is one of them."""

    def __init__(self, table: dict[str, Any]) -> None:
        self.classes: list[str] = table["classes"]
        self.parents: dict[str, list[str]] = table["parents"]
        self.below: dict[str, int] = table["below"]  # the number of synsets below a synset, including itself
        self.nouns: int = table["nouns"]

    def ancestors(self, synset: str) -> set[str]:
        """All synsets above it, and itself."""
        reached, waiting = set(), [synset]
        while waiting:
            each = waiting.pop()
            if each not in reached:
                reached.add(each)
                waiting += self.parents.get(each, [])
        return reached

    def information(self, synset: str) -> float:
        """Intrinsic information content (Seco et al., 2004): 1 for a leaf, 0 for the root."""
        return 1 - math.log(self.below[synset]) / math.log(self.nouns)


@lru_cache(maxsize=1)
def shipped() -> Tree:
    return Tree(json.loads(TABLE.read_text()))


def lin_similarity(tree: Tree) -> NDArray[np.float64]:
    """(n, n) of Lin (1998): twice the information of the closest common ancestor, over that of both classes."""
    count = len(tree.classes)
    under: dict[str, list[int]] = {}
    for position, synset in enumerate(tree.classes):
        for above in tree.ancestors(synset):
            under.setdefault(above, []).append(position)
    shared = np.zeros((count, count))
    for synset in sorted(under, key=tree.information):
        positions = np.array(under[synset])
        cell = np.ix_(positions, positions)
        shared[cell] = np.maximum(shared[cell], tree.information(synset))
    own = np.array([tree.information(synset) for synset in tree.classes])
    similar: NDArray[np.float64] = 2 * shared / (own[:, None] + own[None, :] + 1e-9)
    return similar


def read_wordnet(folder: Path, classes: list[str]) -> dict[str, Any]:
    """The content of `tree.json`, from WordNet's own files."""
    # Nothing calls it: it documents how the shipped table was made, and makes the same table again.
    parents: dict[str, list[str]] = {}
    for line in (folder / "data.noun").read_text(encoding="utf-8").splitlines():
        if line.startswith(" "):
            continue
        words = line.partition(" | ")[0].split(" ")
        at = 5 + 2 * int(words[3], 16)
        pointers = [words[at + 4 * i : at + 4 * i + 2] for i in range(int(words[at - 1]))]
        parents[words[0]] = [target for kind, target in pointers if kind in ("@", "@i")]
    whole = Tree({"classes": classes, "parents": parents, "below": {}, "nouns": len(parents)})
    below = Counter(above for synset in parents for above in whole.ancestors(synset))
    used = sorted({above for synset in classes for above in whole.ancestors(synset)})
    return {
        "classes": classes,
        "parents": {synset: parents[synset] for synset in used},
        "below": {synset: below[synset] for synset in used},
        "nouns": len(parents),
    }
