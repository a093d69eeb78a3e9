"""Protocols with classes that nothing is learnt from: the same draw as without, cut to the classes that ask and are
searched, so that one model answers to all of them.

A model that writes the label into its bits is good at `seen@seen`, and only there; `unseen@all` asks with classes it
never saw, among pictures of all classes, which is what a library meets.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from hashgrain.errors import EvaluationError
from hashgrain.evaluate.manifest import Index, Manifest
from hashgrain.evaluate.protocols import Protocol


def cut(base: Manifest, protocol: Protocol, seen: np.ndarray) -> Manifest:
    """The manifest of the base protocol with its splits cut; `seen` says of each picture whether its classes are.

    Learnt from are the seen classes alone, whatever asks: the training pictures of all four are the same.
    """
    sides: dict[str, Callable[[Index], Index]] = {
        "seen": lambda index: index[seen[index]],
        "unseen": lambda index: index[~seen[index]],
        "all": lambda index: index,
    }
    queries = sides[str(protocol.asks)](base.queries)
    database = sides[str(protocol.searches)](base.database)
    train = sides["seen"](base.train)
    for what, index in {"queries": queries, "training pictures": train, "pictures to search": database}.items():
        if not len(index):
            raise EvaluationError(f"{protocol.name} finds no {what} here: too few pictures of some classes")
    rules = {**base.rules, "protocol": protocol.name}
    return replace(base, rules=rules, queries=queries, train=train, database=database)
