"""Finding the duplicates of a library: an exact self join of its codes, then groups around the best copies."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from hashgrain.apps.duplicates.comparing import Comparing
from hashgrain.apps.duplicates.found import Copy, Duplicates, Group, PartOf
from hashgrain.apps.duplicates.grouping import adjacency, around_best
from hashgrain.apps.duplicates.ranking import Keep, best_first, check_keep, why_kept, why_not_kept
from hashgrain.apps.duplicates.thresholds import Word, check_within, check_word, distance_of, part_distance_of
from hashgrain.codes import Codes, Words
from hashgrain.engines import EmbeddedEngine
from hashgrain.errors import QueryError, Remedy
from hashgrain.hamming import join, rows_of
from hashgrain.library import Library
from hashgrain.library.selecting import select_ids
from hashgrain.search.parts import matched
from hashgrain.store import Item, Snapshot
from hashgrain.types import WhereLike

AT_ONCE = 256  # pictures that are looked for among parts together
Told = Callable[[int], None]
Agree = Callable[[int, int], bool]


@dataclass(frozen=True)
class _Asked:
    """What counts as a copy: a grain and the largest distances at it, None for equal bytes and for no parts."""

    grain: str
    within: int | None
    parts_within: int | None
    keep: Keep
    threads: int | None


def find_duplicates(
    library: Library,
    *,
    word: Word = "same",
    within: int | None = None,
    grain: str | None = None,
    keep: Keep = "pixels",
    where: WhereLike | None = None,
    parts: bool = False,
    pixels: bool = True,
    threads: int | None = None,
    progress: Told | None = None,
) -> Duplicates:
    """Groups of copies among the items of a library, or among those for which `where` holds.

    Copies are at most as far apart at `grain` (the finest, unless given) as the model calls `word`, or `within` bits;
    with "exact" they have the same bytes. Files of the same bytes are always copies. `keep` says which copy is the
    best: the one with the most pixels or bytes, the oldest, or the newest. Every copy is near the best of its group.

    With "same", the pixels of a copy have to agree with those of the best, too, as far as both files are there: in a
    large library, some different pictures of one kind have codes as near as those of copies. `pixels=False` leaves that
    out, which is faster. "near" and `within` go by codes alone.

    `parts` also looks for pictures that another one shows in a part of itself, in a library that has parts: by the
    distance that the model calls `word` for parts. `progress` hears how many items were gone through; with `parts`,
    those that are looked for among parts come on top.
    """
    asked = _asked(library, word, within, grain, keep, parts, threads)
    with library.store.snapshot(parts=parts) as snapshot:
        if parts and not snapshot.any_item_has_parts:
            remedy = Remedy("give it parts with add_parts", "add_parts", library=library.path)
            raise QueryError(f"{library.path}: this library has no parts, only whole items", remedy=remedy)
        items = best_first(snapshot.items(select_ids(snapshot, library.path, None, where)), keep)
        codes = Codes(_words(snapshot, items), library.grains).at(asked.grain)
        agree = _agreement(library, items, progress) if pixels and word == "same" and within is None else None
        groups = _groups(items, codes, asked, agree)
        moved = {copy.item.id for group in groups for copy in group.copies}
        rest = [item for item in items if item.id not in moved]
        later = None if progress is None else lambda done: progress(len(items) + done)
        parts_of = _parts_of(snapshot, library, rest, asked, later) if parts else ()
    named = None if within is not None else word
    return Duplicates(groups, parts_of, len(items), asked.grain, named, asked.within, asked.parts_within, keep)


def _asked(
    library: Library, word: Word, within: int | None, grain: str | None, keep: Keep, parts: bool, threads: int | None
) -> _Asked:
    check_word(word)
    check_keep(keep)
    name = grain or library.grains.finest
    width = library.grains.width(name)
    radius = None
    if within is not None:
        radius = check_within(within, width, name)
    elif word != "exact":
        radius = distance_of(word, library.bundle, name)
    parts_word = "same" if word == "exact" else word
    parts_radius = part_distance_of(parts_word, library.bundle, name, within) if parts else None
    return _Asked(name, radius, parts_radius, keep, threads)


def _words(snapshot: Snapshot, items: Sequence[Item]) -> Words:
    """The code of each item. Items of the same bytes have that of the best of them, even where codes were imported."""
    place_of: dict[str, int] = {}
    places = [place_of.setdefault(item.content, place) for place, item in enumerate(items)]
    return snapshot.codes([item.id for item in items])[places]


def _agreement(library: Library, items: Sequence[Item], progress: Told | None) -> Agree:
    """Whether the pixels of two items agree, by their places."""
    comparing = Comparing(library)

    def agree(place: int, kept: int) -> bool:
        if progress:
            progress(place)
        return comparing.agree(items[place], items[kept])

    return agree


def _groups(items: Sequence[Item], codes: Codes, asked: _Asked, agree: Agree | None) -> tuple[Group, ...]:
    if not items:
        return ()
    if asked.within is None:
        content_of = {content: number for number, content in enumerate(dict.fromkeys(item.content for item in items))}
        members = around_best([content_of[item.content] for item in items], None)
    else:
        unique, numbers = np.unique(codes.words, axis=0, return_inverse=True)
        chunks = join([rows_of(unique)], asked.within, bits=codes.grains.bits, threads=asked.threads)
        near = adjacency(len(unique), chunks, asked.within)
        places = numbers.reshape(-1).tolist()
        members = around_best(places, near) if agree is None else around_best(places, near, agree)
    groups = [_group(items, codes.words, kept, places, asked.keep) for kept, places in members.items()]
    return tuple(sorted(groups, key=lambda group: group.kept.id))


def _group(items: Sequence[Item], words: Words, kept: int, places: Sequence[int], keep: Keep) -> Group:
    best, others = items[kept], [items[place] for place in places]
    distances = np.bitwise_count(words[list(places)] ^ words[kept]).sum(axis=1).tolist()
    copies = [
        Copy(item, distance, item.content == best.content, why_not_kept(item, best, keep))
        for item, distance in zip(others, distances, strict=True)
    ]
    return Group(best, why_kept(best, others, keep), tuple(copies))


def _parts_of(
    snapshot: Snapshot, library: Library, items: Sequence[Item], asked: _Asked, progress: Told | None
) -> tuple[PartOf, ...]:
    """Which of these items, no two of them copies, are a part of another. Of two that seem to be a part of each other,
    the nearer counts."""
    assert asked.parts_within is not None
    engine = EmbeddedEngine(
        snapshot.segments, library.grains, (), asked.threads, snapshot.sequence, snapshot.part_segments
    )
    by_id = {item.id: item for item in items}
    among = np.array(sorted(by_id), np.int64)
    nearest: dict[tuple[int, int], tuple[int, int, int, int]] = {}
    for start in range(0, len(among), AT_ONCE):
        ids = among[start : start + AT_ONCE].tolist()
        codes = Codes(snapshot.codes(ids), library.grains)
        answers = engine.within(codes, asked.parts_within, grain=asked.grain, parts="all", where=among)
        for item, answer in zip(ids, answers, strict=True):
            assert answer.parts is not None
            columns = (answer.ids.tolist(), answer.parts.tolist(), answer.distances.tolist())
            for whole, part, distance in zip(*columns, strict=True):
                if part and whole != item:
                    pair = (min(item, whole), max(item, whole))
                    entry = (int(distance), item, whole, part)
                    nearest[pair] = min(entry, nearest.get(pair, entry))
        if progress:
            progress(start + len(ids))
    found = sorted(nearest.values(), key=lambda entry: entry[1:])
    _, boxes = matched(snapshot, [whole for _, _, whole, _ in found], [part for *_, part in found])
    return tuple(
        PartOf(by_id[item], by_id[whole], box, distance)
        for (distance, item, whole, _), box in zip(found, boxes, strict=True)
    )
