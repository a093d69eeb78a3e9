"""What groups of pictures show, where the model has words for it: labels that it was trained with, or the classes by
which it reads phrases."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from hashgrain.codes import Codes
from hashgrain.models import Bundle
from hashgrain.models.dictionary import dictionary
from hashgrain.models.text import read_table
from hashgrain.search.groups import Group, Level
from hashgrain.store import Item

Names: TypeAlias = Mapping[tuple[str, int], str]  # by grain, and the id of the item that represents the group
Groups: TypeAlias = Sequence[Group[Item]]
CLASSES = 2  # in a name
AT_ONCE = 1024  # groups


def names_of(
    bundle: Bundle, levels: Sequence[Level], groups: Groups, items: Sequence[Item], codes: Codes
) -> dict[tuple[str, int], str]:
    """The names of all groups of two items or more; `codes` has the code of each item.

    The label whose prototype is nearest to the item that represents the group, if it is within the radius of the level;
    otherwise the classes with which the codes of the group agree best, as "like tabby, tiger cat". A model with neither
    gives no names.
    """
    rows = {item.id: row for row, item in enumerate(items)}
    by_label, by_class = _Labels(bundle), _Classes(bundle)
    names = {}
    for level in levels:
        named = [group for group in groups if group.count > 1]
        for low in range(0, len(named), AT_ONCE):
            some = named[low : low + AT_ONCE]
            labels = by_label.names([rows[group.representative.id] for group in some], codes, level)
            classes = by_class.names([[rows[item.id] for item in group.items()] for group in some], codes)
            for group, label, like in zip(some, labels, classes, strict=True):
                if (name := label or like) is not None:
                    names[level.grain, group.representative.id] = name
        groups = [finer for group in groups for finer in group.groups]
    return names


class _Labels:
    """The labels of a model, each with the code of a typical picture."""

    def __init__(self, bundle: Bundle) -> None:
        self.bundle = bundle

    def names(self, rows: Sequence[int], codes: Codes, level: Level) -> Iterator[str | None]:
        known = self.bundle.labels.get(level.grain)
        if not known:
            return iter([None] * len(rows))
        labels, asked = list(known), codes[np.array(rows, np.int64)].at(level.grain)
        packed = np.stack([np.frombuffer(bytes.fromhex(known[label]), np.uint8) for label in labels])
        prototypes = Codes.from_bytes(packed, asked.grains)
        apart = np.bitwise_count(asked.words[:, None] ^ prototypes.words[None]).sum(axis=2)
        nearest = apart.argmin(axis=1)
        return (
            labels[best].rpartition("/")[2] if distances[best] <= level.radius else None
            for best, distances in zip(nearest.tolist(), apart.tolist(), strict=True)
        )


class _Classes:
    """The classes of ImageNet, as a model says that they look like."""

    def __init__(self, bundle: Bundle) -> None:
        table = read_table(bundle.others, bundle.grains.bits, bundle.name)
        self.outputs: NDArray[np.float32] | None = None
        if table is not None:
            outputs = table - table.mean(axis=0)
            self.outputs = outputs / np.linalg.norm(outputs, axis=1, keepdims=True)
            self.classes = dictionary().class_names

    def names(self, groups: Sequence[Sequence[int]], codes: Codes) -> Iterator[str | None]:
        if self.outputs is None:
            return iter([None] * len(groups))
        mean = np.stack([codes[np.array(rows, np.int64)].bits().mean(axis=0, dtype=np.float32) for rows in groups])
        agreement = (2 * mean - 1) @ self.outputs.T
        best = np.argsort(-agreement, axis=1, kind="stable")[:, :CLASSES]
        return ("like " + ", ".join(self.classes[each] for each in classes) for classes in best.tolist())
