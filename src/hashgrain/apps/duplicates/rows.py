"""Duplicates as rows, for the terminal, spreadsheets and pages, and as a document for programs."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from hashgrain.apps.duplicates.acting import ActionReport, Outcome
from hashgrain.apps.duplicates.found import Duplicates
from hashgrain.codefiles import spreadsheet
from hashgrain.files import write_atomically
from hashgrain.store import Item
from hashgrain.types import Box, JsonLike, PathLike

Role = Literal["kept", "copy", "part of"]
DONE = {"move": "moved to", "delete": "deleted to", "link": "linked to"}
PLANNED = {"move": "would move to", "delete": "would delete to", "link": "would link to"}
NAMES = (
    "group",
    "role",
    "distance",
    "same_bytes",
    "id",
    "path",
    "width",
    "height",
    "bytes",
    "taken",
    "reason",
    "of",
    "box",
    "action",
    "target",
    "skipped",
)


@dataclass(frozen=True)
class Row:
    """One picture of a group: the kept one, then its copies; or a picture that is a part of another."""

    group: int
    role: Role
    item: Item
    reason: str
    distance: int = 0
    same_bytes: bool = True
    of: Item | None = None  # the kept picture, or the whole
    box: Box | None = None  # where the part is in the whole
    outcome: Outcome | None = None
    action: str | None = None  # in words: moved to, would move to

    @property
    def note(self) -> str:
        """The reason, and what was done."""
        if self.outcome is None:
            return self.reason
        if self.outcome.skipped is not None:
            return f"{self.reason}; skipped: {self.outcome.skipped}"
        return f"{self.reason}; {self.action} {self.outcome.target}"


def rows_of(duplicates: Duplicates, report: ActionReport | None = None) -> Iterator[Row]:
    """All rows, by group; then the parts, each a group of its own."""
    outcomes = _by_pair(report)
    words = _words(report)
    for number, group in enumerate(duplicates.groups, 1):
        yield Row(number, "kept", group.kept, group.reason)
        for copy in group.copies:
            outcome = outcomes.get((copy.item.id, group.kept.id))
            found = (copy.distance, copy.same_bytes, group.kept, None)
            yield Row(number, "copy", copy.item, copy.reason, *found, outcome, words if outcome else None)
    for number, part in enumerate(duplicates.parts, len(duplicates.groups) + 1):
        outcome = outcomes.get((part.item.id, part.whole.id))
        reason = f"part of {os.path.basename(part.whole.path)}"
        more = (part.distance, False, part.whole, part.part.box)
        yield Row(number, "part of", part.item, reason, *more, outcome, words if outcome else None)


def write_csv(file: PathLike, duplicates: Duplicates, report: ActionReport | None = None) -> None:
    """A line a picture, for spreadsheets."""
    Path(file).parent.mkdir(parents=True, exist_ok=True)
    write_atomically(file, spreadsheet(NAMES, map(_cells, rows_of(duplicates, report))))


def as_document(duplicates: Duplicates, report: ActionReport | None = None) -> dict[str, JsonLike]:
    """All of it for JSON. The keys are stable."""
    outcomes = _by_pair(report)
    return {
        "grain": duplicates.grain,
        "word": duplicates.word,
        "within": duplicates.within,
        "parts_within": duplicates.parts_within,
        "keep": duplicates.keep,
        "items": duplicates.items,
        "copies": len(duplicates.copies),
        "bytes": duplicates.bytes,
        "groups": [
            {
                "kept": {**_facts(group.kept), "reason": group.reason},
                "copies": [
                    {
                        **_facts(copy.item),
                        "distance": copy.distance,
                        "same_bytes": copy.same_bytes,
                        "reason": copy.reason,
                        **_result(outcomes.get((copy.item.id, group.kept.id))),
                    }
                    for copy in group.copies
                ],
            }
            for group in duplicates.groups
        ],
        "parts": [
            {
                **_facts(part.item),
                "whole": _facts(part.whole),
                "part": part.part.as_dict(),
                "distance": part.distance,
                **_result(outcomes.get((part.item.id, part.whole.id))),
            }
            for part in duplicates.parts
        ],
        "action": None if report is None else report.action,
        "dry_run": report is None or report.dry_run,
        "done": 0 if report is None else report.done,
        "skipped": 0 if report is None else report.skipped,
        "undo_file": None if report is None or report.undo_file is None else str(report.undo_file),
    }


def _by_pair(report: ActionReport | None) -> Mapping[tuple[int, int], Outcome]:
    return {} if report is None else {(each.item.id, each.kept.id): each for each in report.outcomes}


def _words(report: ActionReport | None) -> str | None:
    return None if report is None else (PLANNED if report.dry_run else DONE)[report.action]


def _facts(item: Item) -> dict[str, JsonLike]:
    return {
        "id": item.id,
        "path": item.path,
        "width": item.width,
        "height": item.height,
        "size": item.size,
        "taken": item.taken,
    }


def _result(outcome: Outcome | None) -> dict[str, JsonLike]:
    return {
        "target": None if outcome is None else outcome.target,
        "skipped": None if outcome is None else outcome.skipped,
    }


def _cells(row: Row) -> list[object]:
    item, outcome = row.item, row.outcome
    kept = row.role == "kept"
    return [
        row.group,
        row.role,
        None if kept else row.distance,
        None if kept else row.same_bytes,
        item.id,
        item.path,
        item.width,
        item.height,
        item.size,
        item.taken,
        row.reason,
        None if row.of is None else row.of.path,
        None if row.box is None else list(row.box),
        None if outcome is None or not outcome.done else row.action,
        None if outcome is None else outcome.target,
        None if outcome is None else outcome.skipped,
    ]
