"""A manifest lists the queries, training pictures and database of an evaluation by the SHA-256 of their contents.

Figures with the same digest are comparable. The digest covers contents, labels and counting rules, but not the names
of files, the machine, or the order of the pictures.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import zlib
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hashgrain.errors import EvaluationError
from hashgrain.evaluate.labels import Labels, Paths, sets_of
from hashgrain.files import write_atomically

FORMAT = 1
MOST_BYTES = 1 << 28  # a million pictures take 100 MB
NAMED = 20  # pictures that a message names before it only counts
Index = NDArray[np.int64]
RULES = ("protocol", "version", "cutoff", "convention", "relevance", "transform")
_DAMAGE = (
    KeyError,
    TypeError,
    ValueError,
    IndexError,
    EOFError,
    AttributeError,
    OverflowError,
    RecursionError,
    zlib.error,
)


@dataclass(frozen=True, eq=False)
class Manifest:
    rules: Mapping[str, Any]  # the protocol's name, version, cut-off, convention, relevance, transform
    seed: int
    names: Sequence[str]
    hashes: Sequence[str]
    classes: Sequence[tuple[str, ...]]  # each picture's classes from the root down, or its labels
    in_sets: bool  # whether `classes` are sets of labels
    queries: Index
    train: Index
    database: Index
    warnings: Sequence[str] = ()

    @property
    def splits(self) -> dict[str, Index]:
        return {"queries": self.queries, "train": self.train, "database": self.database}

    def class_names(self) -> list[str]:
        """All classes at the last level, or all labels, in order."""
        if self.in_sets:
            return sorted({label for labels in self.classes for label in labels})
        return sorted({"/".join(path) for path in self.classes})

    def labels(self) -> Labels:
        """The labels of every picture, in numbers."""
        if self.in_sets:
            number = {label: i for i, label in enumerate(self.class_names())}
            return sets_of(([number[label] for label in labels] for labels in self.classes), max(1, len(number)))
        depth = len(self.classes[0]) if self.classes else 1
        levels = [["/".join(path[: level + 1]) for path in self.classes] for level in range(depth)]
        return Paths(np.stack([np.unique(level, return_inverse=True)[1] for level in levels], 1).astype(np.int64))

    @property
    def database_holds_train(self) -> bool:
        """Whether the database contains training pictures, by content: publishers' lists repeat pictures."""
        searched = {self.hashes[i] for i in self.database.tolist()}
        return any(self.hashes[i] in searched for i in self.train.tolist())

    @property
    def digest(self) -> str:
        lines = self._lines()
        text = hashlib.sha256(json.dumps([self.rules[rule] for rule in RULES]).encode())
        for split, index in self.splits.items():
            text.update(f"\n{split}\n".encode())
            text.update("\n".join(sorted(lines[i] for i in index.tolist())).encode())
        return text.hexdigest()

    @property
    def pictures(self) -> str:
        """A digest of all pictures it was drawn from, which splits with other seeds share."""
        return hashlib.sha256("\n".join(sorted(self._lines())).encode()).hexdigest()

    def _lines(self) -> list[str]:
        """One line per picture: content and labels."""
        texts = {labels: json.dumps(sorted(labels) if self.in_sets else labels) for labels in set(self.classes)}
        return [f"{content} {texts[labels]}" for content, labels in zip(self.hashes, self.classes, strict=True)]

    def write(self, path: str | Path) -> Path:
        """Write it as JSON, compressed; the same manifest gives the same bytes."""
        target = Path(path)
        described = {
            "format": FORMAT,
            "digest": self.digest,
            "rules": self.rules,
            "seed": self.seed,
            "names": list(self.names),
            "sha256": list(self.hashes),
            "in_sets": self.in_sets,
            "classes": [list(each) for each in self.classes],
            "splits": {split: index.tolist() for split, index in self.splits.items()},
            "warnings": list(self.warnings),
        }
        target.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(target, gzip.compress(json.dumps(described).encode(), mtime=0))
        return target

    @classmethod
    def read(cls, path: str | Path) -> Manifest:
        source = Path(path)
        try:
            with gzip.open(source) as file:
                content = file.read(MOST_BYTES + 1)
            if len(content) > MOST_BYTES:
                raise EvaluationError(f"{source} is larger than a manifest may be")
            described = json.loads(content)
            if described["format"] > FORMAT:
                raise EvaluationError(
                    f"{source} has manifest format {described['format']}, this HashGrain reads up to {FORMAT}:"
                    " upgrade hashgrain"
                )
            manifest = _described(described)
            digest = manifest.digest
        except OSError as error:
            raise EvaluationError(f"cannot read the manifest {source} ({error.strerror or error})") from None
        except _DAMAGE as error:
            raise EvaluationError(f"{source} is not a manifest ({error!r})") from None
        if digest != described.get("digest"):
            raise EvaluationError(f"{source} was altered or damaged: it does not match the digest it names")
        return manifest

    def locate(self, hashes: Iterable[str], names: Sequence[str], refused: Container[str] = ()) -> Index:
        """The index of each picture of the manifest among pictures with these hashes; an error names what changed.
        `refused` are names of pictures that exist but could not be opened."""
        places: dict[str, int] = {}
        for i, content in enumerate(hashes):
            places.setdefault(content, i)
        needed = np.unique(np.concatenate(list(self.splits.values())))
        lost = [i for i in needed.tolist() if self.hashes[i] not in places]
        if lost:
            there = set(names)

            def what(name: str) -> str:
                return "cannot be opened" if name in refused else "changed" if name in there else "missing"

            changes = [f"{self.names[i]} ({what(self.names[i])})" for i in lost[:NAMED]]
            more = f" and {len(lost) - NAMED} more" if len(lost) > NAMED else ""
            raise EvaluationError(
                f"{len(lost)} pictures are not those of the manifest: {', '.join(changes)}{more}. Figures on other"
                " pictures are not comparable; get the data again, or build a manifest of your own"
            )
        at = np.full(len(self.hashes), -1, np.int64)
        at[needed] = [places[self.hashes[i]] for i in needed.tolist()]
        return at


def _described(described: Mapping[str, Any]) -> Manifest:
    splits = {split: np.array(described["splits"][split], np.int64) for split in ("queries", "train", "database")}
    n = len(described["sha256"])
    if len(described["names"]) != n or len(described["classes"]) != n:
        raise ValueError("columns of different lengths")
    if any(len(index) and not (index.min() >= 0 and index.max() < n) for index in splits.values()):
        raise ValueError("a split names pictures that are not there")
    return Manifest(
        rules={rule: described["rules"][rule] for rule in RULES},
        seed=int(described["seed"]),
        names=[str(name) for name in described["names"]],
        hashes=[str(each) for each in described["sha256"]],
        classes=[tuple(map(str, each)) for each in described["classes"]],
        in_sets=bool(described["in_sets"]),
        warnings=[str(text) for text in described.get("warnings", ())],
        **splits,
    )
