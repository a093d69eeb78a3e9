"""The overlap of an evaluation with the model's training pictures, from the record in its bundle.

Queries must be new to the model: figures on training pictures measure memory. The database is different: published
protocols include the training pictures (`cifar10-1`), so their share is reported and nothing is refused. But there is a
warning if the model learned from pictures of the database outside the protocol's training part.
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
    """Counts of pictures that the model learned from; 0 where false positives of the record explain the count."""

    queries: int
    of_queries: int
    database: int
    of_database: int
    beyond: int  # pictures of the database outside the protocol's training part

    @classmethod
    def of(cls, records: Sequence[Seen], manifest: Manifest) -> Overlap | None:
        """Count the overlap; None where the model has no record of its training pictures."""
        if not records:
            return None
        learned = {manifest.hashes[i] for i in manifest.train.tolist()}
        others = np.array([i for i in manifest.database.tolist() if manifest.hashes[i] not in learned], np.int64)
        parts = (manifest.queries, manifest.database, others)
        queries, database, beyond = (_known(records, manifest, part) for part in parts)
        return cls(queries, len(manifest.queries), database, len(manifest.database), beyond)

    @classmethod
    def read(cls, described: Mapping[str, Any] | None) -> Overlap | None:
        """The overlap in a result; None where it has none."""
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
        """The form in which a result stores it."""
        return asdict(self)

    def summary(self) -> str:
        """One line for the log."""
        return (
            f"the model learned from {self.queries:,} of the {self.of_queries:,} queries"
            f" ({_share(self.queries, self.of_queries)}) and {self.database:,} of the {self.of_database:,} pictures of"
            f" the database ({_share(self.database, self.of_database)})"
        )

    def warnings(self) -> list[str]:
        if self.queries:
            return [f"{self.summary()}: the figures do not tell how it does on pictures new to it"]
        if self.beyond:
            count = f"{self.beyond:,} of the {self.of_database:,} pictures of the database"
            message = f"the model learned from {count} that are not of the protocol's training part"
            return [f"{message}: methods that keep to it are at a disadvantage"]
        return []

    def refuse_queries(self, model: str) -> None:
        """Raise an error if the model learned from queries."""
        if self.queries:
            raise EvaluationError(
                f"{self.summary()}: figures on queries that {model!r}, or a model it is made of, learned from do not"
                " tell how it does on new pictures",
                remedy=Remedy(
                    "train by the protocol and evaluate by the same, measure on other pictures, or allow pictures that"
                    " the model has seen",
                    "measure_unseen",
                ),
            )


def summary_of(overlap: Overlap | None) -> str:
    """One line for the log, also for a model without a record."""
    return overlap.summary() if overlap else NOT_RECORDED


def _known(records: Sequence[Seen], manifest: Manifest, index: Index) -> int:
    contents = [manifest.hashes[i] for i in index.tolist()]
    count = int(np.any([record.holds(contents) for record in records], axis=0).sum())
    by_chance = len(contents) * sum(record.false_yes for record in records)
    return count if count > by_chance + 3 * by_chance**0.5 else 0


def _share(count: int, of: int) -> str:
    return f"{count / max(1, of):.1%}"
