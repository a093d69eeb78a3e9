"""Labels for items that have none, from their nearest labelled neighbors."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from hashgrain.apps.labels import FILE_KEYWORDS, LabelledItems, check_labelled, read_labels, usual_grain, value_at
from hashgrain.apps.votes import Ballot, LeaveOneOut, Vote, leave_one_out, voters_of
from hashgrain.errors import QueryError
from hashgrain.library import Library
from hashgrain.library.metadata import KeyPath, MetaChange, change_each, key_of
from hashgrain.media.sidecar import write_keywords
from hashgrain.sources import Refused
from hashgrain.sources.reopen import file_of
from hashgrain.store import Item
from hashgrain.types import WhereLike

BY_MACHINE = "machine"  # the key above those that a machine writes
CONFIDENCE = "_confidence"  # the end of the key that holds how sure each label is
MIN_CONFIDENCE = 0.5


@dataclass(frozen=True)
class Proposal:
    """The labels proposed for one item, the most confident first."""

    item: Item
    votes: tuple[Vote, ...]

    @property
    def labels(self) -> list[str]:
        return [vote.label for vote in self.votes]

    def as_dict(self) -> dict[str, Any]:
        votes = [{"label": vote.label, "confidence": round(vote.confidence, 4)} for vote in self.votes]
        return {"id": self.item.id, "path": self.item.path, "labels": votes}


@dataclass(frozen=True)
class Measured:
    """How good the labels are, on the labelled items, each asked of the others."""

    asked: int
    accuracy: float  # how often the most confident label is right
    calibration_error: float  # of the confidence of that label
    proposed: int  # labels that reach the least confidence
    precision: float | None  # the share of those that are right
    recall: float  # the share of the labels of the items that are among them

    def summary(self) -> str:
        precision = "none" if self.precision is None else f"{self.precision:.0%}"
        return (
            f"measured on {self.asked:,} labeled items, each asked of the others: the first label is right for"
            f" {self.accuracy:.0%}, calibration error {self.calibration_error:.3f}; of labels as confident as asked for"
            f" {precision} are right, and {self.recall:.0%} of all labels are found"
        )


@dataclass(frozen=True, eq=False)
class Tagging:
    """Proposals for the items that have no labels, and how good they are."""

    key: str
    grain: str
    k: int
    min_confidence: float
    labelled: int
    names: Sequence[str]
    proposals: Sequence[Proposal]
    without: Sequence[Item]  # items for which no label is confident enough
    by_people: Sequence[Item]  # those that have labels
    measured: Measured


def tag(
    library: Library,
    key: str,
    *,
    k: int | None = None,
    grain: str | None = None,
    min_confidence: float = MIN_CONFIDENCE,
    where: WhereLike | None = None,
) -> Tagging:
    """Propose labels for the items without any under `key`, from their `k` nearest neighbors that have some.

    `key` is a key of the metadata that holds a text or a list of texts, or `file.keywords`. Nothing is written. `where`
    selects the items that get labels; all labelled items vote.
    """
    if not 0 <= min_confidence <= 1:
        raise QueryError(f"the least confidence is {min_confidence!r}; it is a number from 0 to 1")
    grain = usual_grain(library, grain)
    labelled = read_labels(library, key, where=where)
    check_labelled(library, labelled)
    voters = voters_of(labelled, library.bundle, grain, k)
    proposals, without = [], []
    for item, ballot in zip(labelled.others, voters.ask(labelled.other_codes), strict=True):
        votes = _confident(ballot, min_confidence)
        if votes:
            proposals.append(Proposal(item, votes))
        else:
            without.append(item)
    measured = _measured(labelled, leave_one_out(voters), min_confidence)
    return Tagging(
        key=key,
        grain=grain,
        k=voters.k,
        min_confidence=min_confidence,
        labelled=len(labelled),
        names=labelled.names(),
        proposals=proposals,
        without=without,
        by_people=labelled.items,
        measured=measured,
    )


def usual_target(key: str) -> str:
    """The key for a machine's labels, where those of people are under `key`: `machine.label` for `label`."""
    return f"{BY_MACHINE}.{'keywords' if key == FILE_KEYWORDS else key}"


def write_meta(library: Library, tagging: Tagging, to: str | None = None) -> int:
    """Write the proposals into the metadata, under a key of their own: a label, or a list of several, and beside it, in
    a key that ends in `_confidence`, how sure each is. Returns how many items changed.

    Labels that a machine gave before to the same items are replaced, or removed if none is confident enough any more,
    or if the item has labels of people now. An error changes nothing.
    """
    target, sure = _targets(tagging.key, to)
    emptied = [*tagging.without, *tagging.by_people]
    changes: dict[int, MetaChange] = {item.id: ({}, _to_drop(item, target, sure)) for item in emptied}
    for each in tagging.proposals:
        confidences = {vote.label: round(vote.confidence, 4) for vote in each.votes}
        labels = each.labels if len(each.labels) > 1 else each.labels[0]  # a filter compares texts, not lists of one
        changes[each.item.id] = ({target: labels, sure: confidences}, [])
    return change_each(library.store, changes)


def undo_meta(library: Library, key: str, to: str | None = None, *, where: WhereLike | None = None) -> int:
    """Remove the labels that `write_meta` wrote. Returns how many items changed."""
    target, sure = _targets(key, to)
    changes: dict[int, MetaChange] = {
        item.id: ({}, _to_drop(item, target, sure)) for item in library.items(where=where)
    }
    return change_each(library.store, changes)


def undo_sidecars(
    library: Library, *, where: WhereLike | None = None, progress: Callable[[int], None] | None = None
) -> tuple[int, list[Refused]]:
    """Remove the keywords that `write_sidecars` wrote. Returns how many sidecars changed, and those that cannot be."""
    return _write_each([Proposal(item, ()) for item in library.items(where=where)], progress)


def _targets(key: str, to: str | None) -> tuple[KeyPath, KeyPath]:
    """The keys for labels of a machine, and for how sure they are; never that of people's labels."""
    target = key_of(usual_target(key) if to is None else to)
    sure = (*target[:-1], target[-1] + CONFIDENCE)
    if key != FILE_KEYWORDS and key_of(key) in (target, sure):
        raise QueryError(f"{key} holds the labels of people; those of a machine go under another key")
    return target, sure


def _to_drop(item: Item, target: KeyPath, sure: KeyPath) -> list[KeyPath]:
    """The keys to unset; with the one above them, if it holds nothing else."""
    above = value_at(item.meta, target[:-1])
    if len(target) > 1 and isinstance(above, dict) and above.keys() <= {target[-1], sure[-1]}:
        return [target[:-1]]
    return [target, sure]


def write_sidecars(tagging: Tagging, progress: Callable[[int], None] | None = None) -> tuple[int, list[Refused]]:
    """Write the proposals into XMP sidecars beside the files, as keywords. Returns how many sidecars changed, and the
    items that have no file of their own, or whose sidecar cannot be used."""
    emptied = [Proposal(item, ()) for item in (*tagging.without, *tagging.by_people)]
    return _write_each([*tagging.proposals, *emptied], progress)


def _write_each(proposals: Sequence[Proposal], progress: Callable[[int], None] | None) -> tuple[int, list[Refused]]:
    changed, refused = 0, []
    for done, proposal in enumerate(proposals, 1):
        try:
            changed += _write_sidecar(proposal)
        except (ValueError, OSError) as error:
            reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
            refused.append(Refused(proposal.item.path, f"its sidecar {reason}"))
        if progress:
            progress(done)
    return changed, refused


def _write_sidecar(proposal: Proposal) -> bool:
    path = proposal.item.path
    if file_of(path) != path or not os.path.isabs(path):
        if not proposal.votes:
            return False
        raise ValueError("has no place: the item is not a file of its own")
    if proposal.votes and not os.path.isfile(path):
        raise ValueError("is not written: the file of the item is gone")
    return write_keywords(path, proposal.labels)


def _confident(ballot: Ballot, least: float) -> tuple[Vote, ...]:
    """The labels that reach the least confidence, and got any vote."""
    return tuple(vote for vote in ballot if vote.confidence >= least and vote.confidence > 0)


def _measured(labelled: LabelledItems, asked: LeaveOneOut, least: float) -> Measured:
    pairs = [
        (ballot, set(labelled.labels[row])) for row, ballot in zip(asked.rows.tolist(), asked.ballots, strict=True)
    ]
    right = list(_rights(pairs, least))
    there = sum(len(labels) for _, labels in pairs)
    return Measured(
        asked=len(pairs),
        accuracy=asked.accuracy,
        calibration_error=asked.calibration_error,
        proposed=len(right),
        precision=sum(right) / len(right) if right else None,
        recall=sum(right) / there,
    )


def _rights(pairs: Sequence[tuple[Ballot, set[str]]], least: float) -> Iterator[bool]:
    """Of each label that would be proposed, whether the item has it."""
    for ballot, labels in pairs:
        for vote in _confident(ballot, least):
            yield vote.label in labels
