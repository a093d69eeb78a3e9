"""Groups as a page to browse: those of an answer, and those of a whole library."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Generic, TypeVar

from hashgrain.apps.answer_page import page_hit, picture_asked_with, title_of
from hashgrain.apps.page_files import write_page
from hashgrain.apps.scenes import Scenes
from hashgrain.errors import ImageError
from hashgrain.library import Library
from hashgrain.report.page import PageHit
from hashgrain.report.tree_page import PICTURES, PageBranch, tree_page
from hashgrain.search import Hit
from hashgrain.search.groups import Group
from hashgrain.store import Item
from hashgrain.types import PathLike

EDGE = 160  # of a thumbnail, on the page of a library
INSIDE = 12  # there, groups that are shown of a group
CARDS = 6  # there, pictures that are shown of a group
COPIES = 3  # near copies that a card names
T = TypeVar("T", Hit, Item)


def write_grouped_answer(
    library: Library, asked: Any, groups: Sequence[Group[Hit]], file: PathLike | None, text: str | None = None
) -> Path:
    """Write the page of a whole answer to `file`, or to a new temporary one, and return its path."""
    branches = _Branches[Hit](
        title=lambda group: Path(group.representative.path).name,
        card=lambda hit, note: page_hit(library, hit, note=note),
        folded=library.grains.finest,
    )
    query = None if asked is None else picture_asked_with(library, asked)
    lead = f"{summary(groups)}. The first of each group is its best hit." if groups else "Nothing was found."
    shown, _ = branches.of_page(groups)
    return write_page(tree_page(shown, title=title_of(query, text), lead=lead, query=query), file)


def write_scenes_page(
    library: Library,
    found: Scenes,
    file: PathLike | None,
    *,
    pictures: int = PICTURES,
    progress: Callable[[int], None] = lambda drawn: None,
) -> Path:
    """Write the page of a library to `file`, or to a new temporary one, and return its path.

    It shows a few pictures of each group, the largest groups first, until it has about as many as `pictures`. Groups of
    a single item come last, together. `progress` is told how many pictures are drawn.
    """
    drawn = 0

    def card(item: Item, note: str | None) -> PageHit:
        nonlocal drawn
        drawn += 1
        progress(drawn)
        return PageHit(Path(item.path).name, item.path, _thumbnail(library, item), "", {}, note)

    branches = _Branches[Item](
        title=lambda group: found.name(group) or Path(group.representative.path).name,
        card=card,
        folded=library.grains.finest,
        most_groups=INSIDE,
        most_cards=CARDS,
        is_full=lambda: drawn >= pictures,
    )
    lead = f"{summary(found.groups)}." if found.groups else "There are no pictures to show."
    shown, unshown = branches.of_page(found.groups)
    return write_page(tree_page(shown, title=f"Scenes of {library.path.name}", lead=lead, unshown=unshown), file)


def summary(groups: Sequence[Group[T]]) -> str:
    """How many items there are, and how many groups at each grain: "41 pictures; groups: 3 at kind, 12 at thing"."""
    counts: Counter[str] = Counter()
    level = list(groups)
    while level:
        counts.update(group.grain for group in level)
        level = [finer for group in level for finer in group.groups]
    at_each = ", ".join(f"{count:,} at {grain}" for grain, count in counts.items())
    return f"{_pictures(groups)}; groups: {at_each}"


def _pictures(groups: Iterable[Group[T]]) -> str:
    count = sum(group.count for group in groups)
    return f"{count:,} picture" + "s" * (count != 1)


@dataclass(frozen=True)
class _Branches(Generic[T]):
    """How groups become branches of a page."""

    title: Callable[[Group[T]], str]
    card: Callable[[T, str | None], PageHit]
    folded: str  # the grain of near copies: such a group inside another one is a single card
    most_groups: int | None = None  # that are shown of a group
    most_cards: int | None = None
    is_full: Callable[[], bool] = lambda: False  # whether the page has room for no more groups

    def of_page(self, groups: Sequence[Group[T]]) -> tuple[list[PageBranch], str]:
        """The branches of a page, those of a single item together in the last one; and what had no room."""
        several = [group for group in groups if group.count > 1]
        single = [group for group in groups if group.count == 1]
        branches = []
        for group in several:
            if self.is_full():
                break
            branches.append(self._branch(group))
        skipped = several[len(branches) :]
        if single:
            note = f"{_pictures(single)}, each near to no other"
            branches.append(self._filled(PageBranch("On their own", note, None), [], single))
        return branches, f"Not shown: {summary(skipped)}." if skipped else ""

    def _branch(self, group: Group[T]) -> PageBranch:
        cover = self.card(group.representative, None).thumbnail
        inside = group
        while len(inside.groups) == 1 and inside.groups[0].groups:
            inside = inside.groups[0]
        if not inside.groups:
            branch = PageBranch(self.title(group), _pictures([group]), cover)
            return self._filled(branch, [], [Group(group.grain, item, 1) for item in group.items()])
        branch = PageBranch(self.title(group), summary(inside.groups), cover)
        groups = [each for each in inside.groups if each.count > 1 and each.grain != self.folded]
        cards = [each for each in inside.groups if each.count == 1 or each.grain == self.folded]
        return self._filled(branch, groups, cards)

    def _filled(self, branch: PageBranch, groups: Sequence[Group[T]], cards: Sequence[Group[T]]) -> PageBranch:
        """A branch with groups as branches, and with groups of which each is a card."""
        unshown = [*groups[len(groups[: self.most_groups]) :], *cards[len(cards[: self.most_cards]) :]]
        return replace(
            branch,
            branches=[self._branch(group) for group in groups[: self.most_groups]],
            hits=[self.card(group.representative, _copies(group)) for group in cards[: self.most_cards]],
            unshown=f"And {_pictures(unshown)} more." if unshown else "",
        )


def _copies(group: Group[T]) -> str | None:
    """What a card says of near copies."""
    if not group.others:
        return None
    names = [Path(item.path).name for item in group.others[:COPIES]]
    more = len(group.others) - len(names)
    return f"+ {len(group.others)} near: " + ", ".join(names) + (f" and {more} more" if more else "")


def _thumbnail(library: Library, item: Item) -> bytes | None:
    try:
        return library.thumbnail(item.id, edge=EDGE)
    except ImageError:  # the file is gone; its code still has its place
        return None
