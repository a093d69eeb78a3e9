"""Duplicates over HTTP: groups of copies to look at, and moving copies to the trash."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from hashgrain.apps.duplicates import Copy, Duplicates, Group, Word, act_on, find_duplicates
from hashgrain.library import Library
from hashgrain.server.browse import making
from hashgrain.server.computed import Computed
from hashgrain.server.items import item_document, items_there
from hashgrain.server.jobs import Job
from hashgrain.server.paging import fingerprint, page_of
from hashgrain.server.problems import ProblemError
from hashgrain.server.removals import Move, Removals
from hashgrain.store import Item

WORDS: tuple[Word, ...] = ("same", "near", "exact")
LAST = "is the last one of its copies"
NO_COPY = "is no copy that was found"


@dataclass(frozen=True)
class _Listed:
    """A group under the id of the item that is kept."""

    id: int
    group: Group


def _key(word: str) -> str:
    return f"duplicates {word}"


def duplicates_document(
    library: Library, computed: Computed, removals: Removals, word: Word, cursor: str | None, k: int
) -> tuple[int, dict[str, Any]]:
    """Groups of copies, page by page, as status and JSON. What was removed since they were found is left out, until
    it is put back."""

    def make(own: Library, job: Job) -> Duplicates:
        job.total = len(own)
        return find_duplicates(own, word=word, threads=computed.threads, progress=job.reached)

    answer = computed.get(library, "duplicates", _key(word), make)
    if isinstance(answer, float):
        return making(answer)
    groups, there = _still_there(library, _with_new_ids(answer.value.groups, removals))
    listed = [_Listed(group.kept.id, group) for group in groups]
    page, following = page_of(listed, fingerprint([_key(word)]), cursor, k)
    total = {"groups": len(groups), "copies": sum(len(group.copies) for group in groups)}
    shown = [_group(each.group, there) for each in page]
    return 200, {"version": answer.name, "groups": shown, "next": following, "total": total}


def _with_new_ids(groups: Sequence[Group], removals: Removals) -> list[Group]:
    """The groups, with the ids of now for items that were taken out and put back since the groups were found."""
    new_ids = removals.new_ids()

    def now(item: Item) -> Item:
        return replace(item, id=max(item.id, new_ids.get(item.path, 0)))  # a smaller one is of an item before it

    def renumbered(group: Group) -> Group:
        copies = tuple(replace(copy, item=now(copy.item)) for copy in group.copies)
        return replace(group, kept=now(group.kept), copies=copies)

    return [renumbered(each) if any(item.path in new_ids for item in _members(each)) else each for each in groups]


def _still_there(library: Library, groups: Sequence[Group]) -> tuple[list[Group], dict[int, Item]]:
    """The groups of which the kept item and a copy are in the library, with the bytes that they had."""
    there = items_there(library, [item.id for group in groups for item in _members(group)])

    def is_there(item: Item) -> bool:
        now = there.get(item.id)
        return now is not None and now.content == item.content

    left = []
    for group in groups:
        copies = tuple(copy for copy in group.copies if is_there(copy.item))
        if copies and is_there(group.kept):
            left.append(Group(group.kept, group.reason, copies))
    return left, there


def _members(group: Group) -> list[Item]:
    return [group.kept, *(copy.item for copy in group.copies)]


def _group(group: Group, there: dict[int, Item]) -> dict[str, Any]:
    copies = [
        {"item": item_document(there[copy.item.id]), "distance": copy.distance, "reasons": [copy.reason]}
        for copy in group.copies
    ]
    return {"kept": item_document(there[group.kept.id]), "reasons": group.reason.split(", then "), "copies": copies}


def to_trash(library: Library, items: list[int], trash: Path, computed: Computed, removals: Removals) -> dict[str, Any]:
    """Move the files of copies to the trash, and take their items out of the library. Of each group one stays: the best
    one, if all are named."""
    answers = [answer for word in WORDS if (answer := computed.kept(_key(word))) is not None]
    if not answers:
        raise ProblemError(409, "no_duplicates", "no copies were found yet; ask for the duplicates first")
    found: dict[int, Group] = {}
    for answer in answers:
        for group in _with_new_ids(answer.value.groups, removals):
            for item in _members(group):
                found.setdefault(item.id, group)
    wanted = dict.fromkeys(items)
    left = [{"item": item, "why": NO_COPY} for item in wanted if item not in found]
    chosen, last = _chosen(library, {id(found[item]): found[item] for item in wanted if item in found}.values(), wanted)
    left += [{"item": item, "why": LAST} for item in last]
    duplicates = Duplicates(tuple(chosen), (), len(found), library.grains.finest, None, None, None, "pixels")
    report = act_on(library, duplicates, "move", folder=trash, dry_run=False)
    left += [{"item": each.item.id, "why": each.skipped} for each in report.outcomes if not each.done]
    undo = None if report.undo_file is None else removals.keep(Move(report.undo_file, report.done))
    return {"undo": undo, "moved": report.done, "left": left}


def _chosen(library: Library, groups: Any, wanted: dict[int, None]) -> tuple[list[Group], list[int]]:
    """For each group what to keep of it and what to move; and the items that stay although they are named."""
    chosen, last = [], []
    taken: set[int] = set()  # a copy may be in groups of two words
    there = items_there(library, [item.id for group in groups for item in _members(group)])
    for group in groups:
        members = [item for item in _members(group) if item.id in there]
        staying = [item for item in members if item.id not in wanted]
        if not staying and members:
            staying = members[:1]
            last.append(members[0].id)
        moving = [item for item in members if item not in staying and item.id not in taken]
        taken |= {item.id for item in moving}
        if staying and moving:
            copies = tuple(Copy(item, 0, item.content == staying[0].content, "") for item in moving)
            chosen.append(Group(staying[0], "", copies))
    return chosen, last
