"""Checking every file of a library again: what changed, what was moved, what is gone, and what may be removed."""

from __future__ import annotations

import hashlib
import itertools
import os
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from hashgrain.errors import ImageError, LibraryError, Remedy
from hashgrain.library.adding import best_match
from hashgrain.library.reading import is_gone
from hashgrain.library.report import AddReport
from hashgrain.library.roots import missing_part, roots_of
from hashgrain.sources import Refused, Source, file_of, find, reopen
from hashgrain.store import Item, Moved, Store

FEW = 10  # up to so many may be removed, whatever share of the library they are
MOVES_A_COMMIT = 1_000
LOOKED_AT, LOOKED_AT_AN_ITEM = 100_000, 20  # files that are looked at to find those that were moved


def update(
    store: Store, add: Callable[[Iterable[Source]], AddReport], *, prune: bool, even_most: bool
) -> tuple[AddReport, list[Item]]:
    """Add every file again that is there, and find those that were moved. Returns the report of `add`, and the items
    whose file is gone, which are removed if `prune` is set."""
    items = files_of(store)
    report = add(existing_sources(items))
    report.moved += find_moved(store, items)
    gone = missing_items(store, items)
    if prune:
        remove_missing(store, gone, items, even_most=even_most)
    return report, gone


def files_of(store: Store) -> list[Item]:
    """The items that came from a file, or from inside one, by path."""
    with store.snapshot() as snapshot:
        return [item for item in snapshot.paths() if item.size is not None]


def existing_sources(items: Iterable[Item]) -> Iterator[Source]:
    """The files that exist. What is inside archives and tables is checked when they are added again."""
    for item in items:
        if file_of(item.path) == item.path and not is_gone(item.path):
            source = reopen(item)
            stamp = source.stamp if os.path.isfile(item.path) else None  # a folder, say, is not as it was
            yield Source(source.path, source.load, stamp)  # without notes: they are not the file's


def find_moved(store: Store, items: Sequence[Item]) -> int:
    """Give pictures whose file was moved the path it has now. Returns how many.

    Searches the folders of the library's files, and only if a file is gone. A file that belongs to no item is read only
    if it has the size of a missing one.
    """
    gone = [item for item in items if file_of(item.path) == item.path and is_gone(item.path)]
    wanted: dict[str, list[Item]] = defaultdict(list)
    for item in gone:
        wanted[item.content].append(item)
    moves: list[Moved] = []
    moved = 0
    for source, content in _unknown_files(store, items, {item.size for item in gone}):
        if twins := wanted.get(content):
            mover = best_match(twins, source.path)
            twins.remove(mover)
            moves.append(Moved(mover.id, source.path, source.stamp))
            if len(moves) >= MOVES_A_COMMIT:
                moved += len(store.commit(moves))
                moves = []
    return moved + len(store.commit(moves))


def _unknown_files(store: Store, items: Sequence[Item], sizes: set[int | None]) -> Iterator[tuple[Source, str]]:
    """Files of no item below the library's folders that have one of these sizes, with their content's hash."""
    if not sizes:
        return
    passed_by = {item.path for item in items} | set(store.exclusions())
    roots = [root for root in roots_of(items) if os.path.isdir(root)]
    for source in itertools.islice(find([Path(root) for root in roots]), LOOKED_AT + LOOKED_AT_AN_ITEM * len(items)):
        if isinstance(source, Refused) or source.stamp is None or source.stamp[0] not in sizes:
            continue
        if source.path in passed_by:
            continue
        passed_by.add(source.path)  # where one root lies in another
        try:
            yield source, hashlib.sha256(source.load()).hexdigest()
        except (ImageError, OSError):
            continue


def missing_items(store: Store, items: Sequence[Item]) -> list[Item]:
    """Those whose file is gone; read again, since some were moved."""
    with store.snapshot() as snapshot:
        return [item for item in snapshot.items([item.id for item in items]) if is_gone(item.path)]


def remove_missing(store: Store, gone: Sequence[Item], items: Sequence[Item], *, even_most: bool) -> None:
    """Remove pictures whose file is gone, unless it seems that a disk is missing."""
    why_not = None if even_most else doubt(gone, items)
    if why_not is not None:
        words = "if they are gone for good, say so with even_most=True"
        remedy = Remedy(words, "prune_all", library=store.path)
        raise LibraryError(f"{store.path}: {why_not}, so nothing was forgotten", path=store.path, remedy=remedy)
    store.remove([item.id for item in gone])
    store.forget_refusals([path for path, _, _ in store.refusals() if is_gone(path)])


def doubt(gone: Sequence[Item], items: Sequence[Item]) -> str | None:
    """Why these files may not really be gone; None if there is no doubt."""
    part = missing_part((file_of(item.path) for item in gone), roots_of(items))
    if part is not None:
        state = "is empty" if os.path.isdir(part) else "is not there"
        return f"{part} {state}, and its disk may be one that is not mounted"
    if len(gone) > FEW and 2 * len(gone) > len(items):
        return f"{len(gone)} of its {len(items)} files are gone, which is most of them"
    return None
