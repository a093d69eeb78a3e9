"""Protocols with classes that are unseen in training: the base protocol's splits, restricted to the classes of queries
and database, so that one model can be evaluated on all of them.

A model that encodes its training labels does well at `seen@seen` only. `unseen@all` has queries of unseen classes and
a database of all classes, as in real libraries.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from hashgrain.errors import EvaluationError
from hashgrain.evaluate.manifest import Index, Manifest
from hashgrain.evaluate.protocols import Protocol


def cut(base: Manifest, protocol: Protocol, seen: np.ndarray) -> Manifest:
    """The manifest of the base protocol with restricted splits; `seen` marks the pictures of seen classes.

    Training pictures are always of seen classes, so they are the same in all four protocols.
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
