"""The part that matched: its code, from which distances are told, and its place in the item."""

from __future__ import annotations

from collections.abc import Sequence

from hashgrain.codes import Words
from hashgrain.errors import LibraryDamagedError
from hashgrain.store import Parts, Snapshot
from hashgrain.store.errors import to_rebuild
from hashgrain.types import Part


def matched(snapshot: Snapshot, ids: Sequence[int], numbers: Sequence[int]) -> tuple[Words, list[Part]]:
    """The codes (n, n_words) of these parts of these items, and where they lie."""
    words = snapshot.codes(ids)
    later = [place for place, number in enumerate(numbers) if number]
    found = [Part(0)] * len(ids)
    for place, parts in zip(later, snapshot.parts_of([ids[place] for place in later]), strict=True):
        number = numbers[place]
        if parts is None or number > len(parts.codes):
            message = f"{snapshot.path}: item {ids[place]} has no part {number}, which its codes say it has"
            raise LibraryDamagedError(message, path=snapshot.path, remedy=to_rebuild(snapshot.path))
        words[place] = parts.codes[number - 1]
        found[place] = _part(number, parts, snapshot)
    return words, found


def _part(number: int, parts: Parts, snapshot: Snapshot) -> Part:
    """With the position of its own, or that which the grid of the library gives it, where there is one."""
    if parts.positions is not None:
        position = tuple(float(each) for each in parts.positions[number - 1])
    elif snapshot.grid is not None and number <= len(snapshot.grid):
        position = tuple(snapshot.grid[number - 1])
    else:
        position = ()
    if len(position) == 4:
        return Part(number, box=(position[0], position[1], position[2], position[3]))
    return Part(number, span=(position[0], position[1])) if len(position) == 2 else Part(number)
