"""The items of a library that have labels, and those that have none."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

import numpy as np

from hashgrain.codes import Codes
from hashgrain.errors import QueryError, Remedy
from hashgrain.library import Library
from hashgrain.library.metadata import key_of
from hashgrain.store import Item
from hashgrain.types import WhereLike

FILE_KEYWORDS = "file.keywords"  # as in filters: what the file says, not metadata
MAX_SHOWN = 60  # characters of a value in a message
Labels = tuple[str, ...]


@dataclass(frozen=True, eq=False)
class LabelledItems:
    """The labels and codes of the items that have any, and the codes of others, both ordered by id."""

    key: str
    items: Sequence[Item]
    labels: Sequence[Labels]
    codes: Codes
    others: Sequence[Item]
    other_codes: Codes

    def __len__(self) -> int:
        return len(self.items)

    def names(self) -> list[str]:
        return sorted({label for labels in self.labels for label in labels})


def read_labels(library: Library, key: str, *, where: WhereLike | None = None) -> LabelledItems:
    """The labels under a key of the metadata, or under `file.keywords`. A filter selects among those without any."""
    path = key_of(key)
    codes, items = library.codes()
    matching = None if where is None else {item.id for item in library.items(where=where)}
    labels = [labels_of(item, key, path) for item in items]
    labelled = [row for row, own in enumerate(labels) if own]
    others = [row for row, item in enumerate(items) if not labels[row] and (matching is None or item.id in matching)]
    return LabelledItems(
        key,
        [items[row] for row in labelled],
        [labels[row] for row in labelled],
        codes[np.array(labelled, np.int64)],
        [items[row] for row in others],
        codes[np.array(others, np.int64)],
    )


def labels_of(item: Item, key: str, path: tuple[str, ...]) -> Labels:
    """The labels of one item, each once. A blank text and an empty list are none; what is no text is an error."""
    value = item.details.get("keywords") if key == FILE_KEYWORDS else value_at(item.meta, path)
    labels = value if isinstance(value, list) else [] if value is None else [value]
    for label in labels:
        if not isinstance(label, str):
            shown = repr(label)[:MAX_SHOWN]
            raise QueryError(
                f"{item.path}: {key} holds {shown}, which is no label: labels are a text, or a list of texts",
                path=item.path,
            )
    return tuple(dict.fromkeys(label for label in labels if label.strip()))


def check_labelled(library: Library, labelled: LabelledItems) -> None:
    """Raise if the labels of these items cannot tell other items apart."""
    if not labelled.items:
        there = sorted(_keys(library.items()))
        close = get_close_matches(labelled.key, there, 3)
        remedy = Remedy("label some first, with `Library.meta`", "label_some", library=library.path, name=labelled.key)
        message = f"no item of {library.path} has a label under {labelled.key}"
        hint = f"did you mean {' or '.join(close)}?" if close else remedy
        raise QueryError(message, path=library.path, remedy=hint)
    names = labelled.names()
    if len(names) == 1:
        raise QueryError(
            f"all {len(labelled)} labeled items of {library.path} have the label {names[0]!r}: give some another one",
            path=library.path,
        )


def usual_grain(library: Library, grain: str | None) -> str:
    """The grain that was asked for, or the finest, by which labels are right most often."""
    if grain is None:
        return library.grains.finest
    library.grains.width(grain)
    return grain


def value_at(meta: dict[str, Any], path: Iterable[str]) -> Any:
    """What metadata holds under a key, which may lie within others; None for nothing."""
    value: Any = meta
    for part in path:
        value = value.get(part) if isinstance(value, dict) else None
    return value


def _keys(items: Sequence[Item]) -> set[str]:
    """The keys under which some item has text, for a suggestion."""
    keys = {key for item in items for key in _text_keys(item.meta)}
    return keys | {FILE_KEYWORDS for item in items if item.details.get("keywords")}


def _text_keys(meta: dict[str, Any], above: str = "", depth: int = 0) -> Iterator[str]:
    for key, value in meta.items():
        name = f"{above}`{key}`" if "." in key else above + key
        if isinstance(value, dict) and depth < 4:
            yield from _text_keys(value, f"{name}.", depth + 1)
        elif isinstance(value, (str, list)):
            yield name
