"""The rows of each batch of an epoch, from (seed, epoch) alone, so that a resumed run has the same batches."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from hashgrain.errors import TrainingError
from hashgrain.learn.data.grain_labels import GrainLabels

RowNumbers = NDArray[np.int64]
_Drawn = dict[int, None]  # rows of a batch, in the order they were drawn


def shuffled(n: int, batch: int, seed: int, epoch: int) -> list[RowNumbers]:
    """Every row at most once. Rows that do not fill a batch are left out of this epoch."""
    _check(batch, 1)
    order = np.random.default_rng((seed, epoch)).permutation(n)
    return [order[place * batch : (place + 1) * batch] for place in range(batches_per_epoch(n, batch))]


def class_balanced(labels: GrainLabels, batch: int, per_class: int, seed: int, epoch: int) -> list[RowNumbers]:
    """Batches of batch / per_class classes with `per_class` pictures each, no picture twice in one batch.

    Classes take turns, and so do the pictures of each, so small classes are seen as often as large ones. A picture with
    several labels counts for the one it was drawn for. A class with fewer than `per_class` pictures gives them all, and
    further classes fill the batch; if there are no more, the classes take another turn. Pictures without a label are
    never drawn.
    """
    _check(batch, per_class)
    members = _members(labels)
    dice = np.random.default_rng((seed, epoch))
    classes, pictures = _Deck(list(members), dice), {name: _Deck(rows, dice) for name, rows in members.items()}

    def some(drawn: _Drawn) -> None:
        for name in _round(classes):
            _draw(pictures[name], drawn, min(per_class, batch - len(drawn)))
            if len(drawn) == batch:
                return

    return [_filled(batch, some) for _ in range(batches_per_epoch(len(labels.ids), batch))]


def square_root(labels: GrainLabels, batch: int, seed: int, epoch: int) -> list[RowNumbers]:
    """Batches that draw a class in proportion to the square root of its size (Mahajan et al., 2018).

    A compromise between the shuffled order, where rare classes are hardly seen, and `class_balanced`, where their few
    pictures are repeated often. The pictures of a class take turns; none is twice in a batch. A picture with several
    labels counts for the one it was drawn for. Pictures without a label are never drawn.
    """
    _check(batch, 1)
    members = _members(labels)
    dice = np.random.default_rng((seed, epoch))
    roots = np.sqrt([len(rows) for rows in members.values()])
    decks = [_Deck(rows, dice) for rows in members.values()]

    def some(drawn: _Drawn) -> None:
        for name in dice.choice(len(decks), batch - len(drawn), p=roots / roots.sum()).tolist():
            _draw(decks[name], drawn, 1)
        if len(drawn) < batch:  # all pictures of small classes may be in the batch already: fill up with any other
            for name in dice.permutation(len(decks)).tolist():
                _draw(decks[name], drawn, batch - len(drawn))

    return [_filled(batch, some) for _ in range(batches_per_epoch(len(labels.ids), batch))]


def hierarchical(
    coarse: GrainLabels, fine: GrainLabels, batch: int, fine_per_coarse: int, per_class: int, seed: int, epoch: int
) -> list[RowNumbers]:
    """Batches of some coarse classes, `fine_per_coarse` fine classes of each, `per_class` pictures of each of those.

    So every grain has pairs to learn from: the same thing, another thing of the same kind, another kind. A fine class
    belongs to every coarse class with which some picture has it.
    """
    _check(batch, fine_per_coarse * per_class)
    dice = np.random.default_rng((seed, epoch))
    pictures = {pair: _Deck(rows, dice) for pair, rows in _pairs(coarse, fine).items()}
    below: dict[int, list[int]] = {}
    for above, under in pictures:
        below.setdefault(above, []).append(under)
    kinds, things = _Deck(list(below), dice), {above: _Deck(under, dice) for above, under in below.items()}

    def some(drawn: _Drawn) -> None:
        for above in _round(kinds):
            for under in _round(things[above], fine_per_coarse):
                _draw(pictures[above, under], drawn, min(per_class, batch - len(drawn)))
            if len(drawn) == batch:
                return

    return [_filled(batch, some) for _ in range(batches_per_epoch(len(fine.ids), batch))]


def batches_per_epoch(n: int, batch: int) -> int:
    return max(1, n // batch)


class _Deck:
    """Items dealt in turn, reshuffled after each round."""

    def __init__(self, items: Sequence[int], dice: np.random.Generator) -> None:
        self.items, self.dice = items, dice
        self.waiting: list[int] = []

    def deal(self, but: Container[int]) -> int | None:
        """The next item that is not in `but`; skipped items keep their turn. None where there is no other."""
        for _ in range(2):
            for place in range(len(self.waiting) - 1, -1, -1):
                if self.waiting[place] not in but:
                    return self.waiting.pop(place)
            due = set(self.waiting)
            fresh = [item for item in self.items if item not in due]
            self.waiting = [fresh[i] for i in self.dice.permutation(len(fresh))] + self.waiting
        return None


def _round(deck: _Deck, most: int | None = None) -> Iterator[int]:
    """Items until each was dealt once, or `most` of them."""
    dealt: set[int] = set()
    while most is None or len(dealt) < most:
        item = deck.deal(dealt)
        if item is None:
            return
        dealt.add(item)
        yield item


def _filled(batch: int, some: Callable[[_Drawn], None]) -> RowNumbers:
    """A full batch, or one with every picture that can be drawn."""
    drawn: _Drawn = {}
    before = -1
    while before < len(drawn) < batch:
        before = len(drawn)
        some(drawn)
    return np.array(list(drawn), np.int64)


def _draw(deck: _Deck, drawn: _Drawn, count: int) -> None:
    for _ in range(count):
        row = deck.deal(drawn)
        if row is None:
            return
        drawn[row] = None


def _members(labels: GrainLabels) -> Mapping[int, list[int]]:
    """The rows of each class that has any."""
    rows, columns = np.nonzero(labels.ids >= 0)
    members: dict[int, list[int]] = {}
    for row, name in zip(rows.tolist(), labels.ids[rows, columns].tolist(), strict=True):
        members.setdefault(name, []).append(row)
    if not members:
        raise TrainingError("no picture has a label to draw batches by; take the shuffled order")
    return dict(sorted(members.items()))


def _pairs(coarse: GrainLabels, fine: GrainLabels) -> Mapping[tuple[int, int], list[int]]:
    """The rows of each fine class under each coarse one."""
    pairs: dict[tuple[int, int], list[int]] = {}
    for row, (above, under) in enumerate(zip(coarse.ids.tolist(), fine.ids.tolist(), strict=True)):
        for pair in ((a, b) for a in above for b in under if a >= 0 and b >= 0):
            pairs.setdefault(pair, []).append(row)
    if not pairs:
        raise TrainingError("no picture has labels at both grains to draw batches by; take the shuffled order")
    return dict(sorted(pairs.items()))


def _check(batch: int, part: int) -> None:
    if batch < 1 or part < 1 or batch % part:
        raise TrainingError(f"batches of {batch} do not come in parts of {part}; choose a batch that is a multiple")
