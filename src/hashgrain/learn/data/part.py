"""The training part of a protocol: training uses its pictures and no others.

Pictures are identified by content and label, so files may be renamed. A training picture with the same content as a
query is left out: queries must be new to the model.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from hashgrain.errors import EvaluationError, Remedy, TrainingError
from hashgrain.evaluate.manifest import Manifest
from hashgrain.evaluate.protocols import expanded, protocol
from hashgrain.evaluate.splitting import classes_of, openable_pool, split
from hashgrain.labelled import LabelledPicture, labelled_pictures
from hashgrain.types import Log

FILE = "manifest.json.gz"
NAMED = 5  # pictures that a message names before it only counts
Key = tuple[str, tuple[str, ...]]  # content and classes of a picture


@dataclass(frozen=True, eq=False)
class TrainingPart:
    manifest: Manifest
    drawn: bool = False  # for this training, by the protocol's name; else the manifest was read from a file

    @cached_property
    def wanted(self) -> Mapping[Key, str]:
        """The manifest's name of each training picture."""
        rows = [i for i in self.manifest.train.tolist() if self.manifest.hashes[i] not in self._asked]
        return {(self.manifest.hashes[i], self.manifest.classes[i]): self.manifest.names[i] for i in rows}

    @cached_property
    def counts(self) -> Mapping[Key, int]:
        """The number of copies of each training picture."""
        keys = ((self.manifest.hashes[i], self.manifest.classes[i]) for i in self.manifest.train.tolist())
        return Counter(key for key in keys if key in self.wanted)

    @cached_property
    def left_out(self) -> int:
        """The number of training pictures with the content of a query."""
        return sum(self.manifest.hashes[i] in self._asked for i in self.manifest.train.tolist())

    @cached_property
    def _asked(self) -> frozenset[str]:
        return frozenset(self.manifest.hashes[i] for i in self.manifest.queries.tolist())

    def choice(self) -> Choice:
        return Choice(self, Counter(self.counts))

    def facts(self) -> dict[str, Any]:
        """What a bundle records of it."""
        rules = self.manifest.rules
        name, digest = str(rules["protocol"]), self.manifest.digest
        return {"protocol": name, "seed": self.manifest.seed, "manifest": digest, "drawn": self.drawn}


@dataclass(eq=False)
class Choice:
    """Selects pictures while they are read one by one, and records the others for error messages."""

    part: TrainingPart
    left: Counter[Key]  # copies that are still to come
    contents: set[str] = field(default_factory=set)
    names: set[str] = field(default_factory=set)
    unreadable: set[str] = field(default_factory=set)

    def takes(self, picture: LabelledPicture, content: str) -> bool:
        """Whether it belongs to the training part. `content` is "" where it could not be read."""
        self.names.add(picture.name)
        if not content:
            self.unreadable.add(picture.name)
            return False
        self.contents.add(content)
        key = (content, classes_of(picture))
        if not self.left[key]:
            return False
        self.left[key] -= 1
        return True

    def check(self) -> None:
        """Refuse data in which pictures of the training part have changed or are missing."""
        missing = [key for key, count in self.left.items() if count]
        if not missing:
            return
        named = [f"{self.part.wanted[key]} ({self._why(key)})" for key in missing[:NAMED]]
        more = f" and {len(missing) - NAMED} more" if len(missing) > NAMED else ""
        raise TrainingError(
            f"{len(missing)} training pictures are not those of the manifest: {', '.join(named)}{more}",
            remedy=Remedy("get the data again, or draw a new split", "draw_split"),
        )

    def _why(self, key: Key) -> str:
        name = self.part.wanted[key]
        if key[0] in self.contents:
            return "of another class now, or fewer copies"
        if name in self.unreadable:
            return "cannot be read"
        return "changed" if name in self.names else "missing"


def training_part(data: Path, name: str, manifest: Path | None, seed: int, log: Log) -> TrainingPart | None:
    """The part that a protocol or a manifest names; None where neither is given."""
    if not name and manifest is None:
        return None
    if name and manifest is not None:
        raise TrainingError("a manifest is of one protocol already: give a protocol or a manifest, not both")
    read = Manifest.read(manifest) if manifest is not None else _drawn(data, name, seed, log)
    part = TrainingPart(read, drawn=manifest is None)
    where = manifest if manifest is not None else f"protocol {name}"
    if not len(part.manifest.train):
        raise TrainingError(
            f"{where} has no training part: it only says what is asked and searched",
            remedy=Remedy("name a protocol that has one, such as folder", "trained_protocol"),
        )
    if not part.counts:
        raise TrainingError(f"{where}: every training picture has the contents of a query, so none may be learned from")
    for warning in part.manifest.warnings:
        log(f"warning: {warning}")
    if part.left_out:
        log(f"warning: {part.left_out} training pictures have the same content as a query and are left out")
    return part


def check_labels(part: TrainingPart | None, uses_labels: bool, recipe: str) -> None:
    """Refuse labels under a protocol for unsupervised methods: figures would not be comparable with published ones."""
    if part is None or not uses_labels:
        return
    try:
        known = protocol(str(part.manifest.rules["protocol"]))
    except EvaluationError:  # one of somebody else's, in a file
        return
    if known.unlabelled:
        raise TrainingError(
            f"protocol {known.name} is for methods that learn from no label, and recipe {recipe} learns from labels",
            remedy=Remedy("take a recipe without labels, or another protocol", "other_protocol"),
        )


def _drawn(data: Path, name: str, seed: int, log: Log) -> Manifest:
    chosen = protocol(expanded(name)[0])  # protocols of one base have the same training pictures
    log(f"reading the pictures of {data} to draw {name}, seed {seed}")
    pool, refused = openable_pool(labelled_pictures(data))
    if refused:
        log(f"warning: {len(refused)} pictures cannot be opened and are left out of {name}")
    try:
        return split(pool, chosen, seed)
    except EvaluationError as error:
        raise TrainingError(str(error)) from None
