"""How many pictures of an evaluation the model learned from, by the record in its bundle.

Queries are to be new to the model: figures of others say how well it remembers. The database is another matter.
Published protocols search the training pictures too (`cifar10-1`), so their share is stated and nothing is refused;
but a model that learned from more of the database than the training part of the protocol is warned of.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from hashgrain.errors import EvaluationError, Remedy
from hashgrain.evaluate.manifest import Index, Manifest
from hashgrain.models.seen import Seen

NOT_RECORDED = "the model has no record of the pictures it learned from: whether the queries are new to it is not known"


@dataclass(frozen=True)
class Overlap:
    """Pictures that the model learned from. Counts that false answers of the record explain are 0."""

    queries: int
    of_queries: int
    database: int
    of_database: int
    beyond: int  # of those of the database: not of the protocol's training part

    @classmethod
    def of(cls, records: Sequence[Seen], manifest: Manifest) -> Overlap | None:
        """None where the model has no record of what it learned from."""
        if not records:
            return None
        learned = {manifest.hashes[i] for i in manifest.train.tolist()}
        others = np.array([i for i in manifest.database.tolist() if manifest.hashes[i] not in learned], np.int64)
        parts = (manifest.queries, manifest.database, others)
        queries, database, beyond = (_known(records, manifest, part) for part in parts)
        return cls(queries, len(manifest.queries), database, len(manifest.database), beyond)

    @classmethod
    def read(cls, described: Mapping[str, Any] | None) -> Overlap | None:
        """As a result has it; None where it does not tell."""
        if described is None:
            return None
        try:
            overlap = cls(**described)
            if all(isinstance(count, int) for count in asdict(overlap).values()):
                return overlap
        except TypeError:
            pass
        raise EvaluationError("the result's count of pictures that the model learned from is damaged")

    def described(self) -> dict[str, Any]:
        """As a result has it."""
        return asdict(self)

    def told(self) -> str:
        """One line for people."""
        return (
            f"the model learned from {self.queries:,} of the {self.of_queries:,} queries"
            f" ({_share(self.queries, self.of_queries)}) and {self.database:,} of the {self.of_database:,} pictures of"
            f" the database ({_share(self.database, self.of_database)})"
        )

    def warnings(self) -> list[str]:
        if self.queries:
            return [f"{self.told()}: the figures do not tell how it does on pictures new to it"]
        if self.beyond:
            count = f"{self.beyond:,} of the {self.of_database:,} pictures of the database"
            told = f"the model learned from {count} that are not of the protocol's training part"
            return [f"{told}: methods that keep to it are at a disadvantage"]
        return []

    def refuse_queries(self, model: str) -> None:
        """An error where queries were learned from."""
        if self.queries:
            raise EvaluationError(
                f"{self.told()}: figures on queries that {model!r}, or a model it is made of, learned from do not tell"
                " how it does on new pictures",
                remedy=Remedy(
                    "train by the protocol and evaluate by the same, measure on other pictures, or allow pictures that"
                    " the model has seen",
                    "measure_unseen",
                ),
            )


def told_of(overlap: Overlap | None) -> str:
    """The line for people, of a model without a record too."""
    return overlap.told() if overlap else NOT_RECORDED


def _known(records: Sequence[Seen], manifest: Manifest, index: Index) -> int:
    contents = [manifest.hashes[i] for i in index.tolist()]
    count = int(np.any([record.holds(contents) for record in records], axis=0).sum())
    by_chance = len(contents) * sum(record.false_yes for record in records)
    return count if count > by_chance + 3 * by_chance**0.5 else 0


def _share(count: int, of: int) -> str:
    return f"{count / max(1, of):.1%}"
