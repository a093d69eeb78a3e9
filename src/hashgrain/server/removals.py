"""What can be undone as long as the server runs: removals and changes of tags, under random names."""

from __future__ import annotations

import secrets
import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hashgrain.apps.duplicates import undo as undo_moves
from hashgrain.errors import HashgrainError
from hashgrain.library import Library
from hashgrain.library.name_lists import NamesChange, undo_names
from hashgrain.library.taking_out import TakenOut, put_back
from hashgrain.server.items import item_document
from hashgrain.server.problems import ProblemError

Undone = tuple[list[int], dict[str, Any]]  # the ids that items have now, and the answer

MOST_UNDONE = 1_000  # removals and changes
MOST_ITEMS = 50_000  # of all of them together


@dataclass(frozen=True)
class OneRemoval:
    """An item that was taken out."""

    taken: TakenOut

    def __len__(self) -> int:
        return 1

    def undo(self, library: Library) -> Undone:
        restored, refused = put_back(library, [self.taken])
        if refused:
            raise ProblemError(409, "undo", refused[0].reason)
        return restored, item_document(library.item(restored[0]))


@dataclass(frozen=True)
class Removal:
    """Items that were taken out together."""

    taken: Sequence[TakenOut]

    def __len__(self) -> int:
        return len(self.taken)

    def undo(self, library: Library) -> Undone:
        ids, refused = put_back(library, self.taken)
        return _restored(ids, [(each.path, each.reason) for each in refused])


@dataclass(frozen=True)
class Move:
    """Files that were moved to the trash; the undo file says where from."""

    undo_file: Path
    count: int

    def __len__(self) -> int:
        return self.count

    def undo(self, library: Library) -> Undone:
        report = undo_moves(library, self.undo_file)
        known = [library.store.known(path) for path in report.restored]
        left = [(each.path, each.reason) for each in report.refused]
        return _restored([item.id for item in known if item is not None], left)


@dataclass(frozen=True)
class Tagging:
    """Items whose tags were changed together."""

    changes: Sequence[NamesChange]

    def __len__(self) -> int:
        return len(self.changes)

    def undo(self, library: Library) -> Undone:
        ids, left = undo_names(library.store, self.changes)
        return _restored(ids, [(each.path, each.reason) for each in left])


Undoable = OneRemoval | Removal | Move | Tagging


def _restored(ids: list[int], left: Sequence[tuple[str, str]]) -> Undone:
    if left and not ids:
        raise ProblemError(409, "undo", ": ".join(left[0]))
    return ids, {"restored": ids, "left": [{"path": path, "why": why} for path, why in left]}


class Removals:
    """The last removals and changes of tags."""

    def __init__(self, most: int = MOST_UNDONE, most_items: int = MOST_ITEMS) -> None:
        self.most, self.most_items = most, most_items
        self._lock = threading.Lock()
        self._kept: OrderedDict[str, Undoable] = OrderedDict()
        self._new_ids: OrderedDict[str, int] = OrderedDict()  # by path, of what was put back

    def keep(self, removal: Undoable) -> str:
        name = secrets.token_urlsafe(18)
        with self._lock:
            self._kept[name] = removal
            while len(self._kept) > 1 and self._too_many():
                self._kept.popitem(last=False)
        return name

    def _too_many(self) -> bool:
        return len(self._kept) > self.most or sum(map(len, self._kept.values())) > self.most_items

    def undo(self, library: Library, name: str) -> dict[str, Any]:
        """Undo what has this name, once; 409 if nothing of it can be put back."""
        with self._lock:
            removal = self._kept.get(name)
        if removal is None:
            raise ProblemError(404, "undo_unknown", "this cannot be undone any more")
        try:
            ids, answer = removal.undo(library)
        except HashgrainError as error:
            if error.code in ("library", "other_model"):
                raise ProblemError(409, "undo", error.message) from None
            raise
        with library.store.snapshot() as snapshot:
            restored = {item.path: item.id for item in snapshot.items(ids)}
        with self._lock:
            self._kept.pop(name, None)
            self._new_ids.update(restored)
            while len(self._new_ids) > self.most_items:
                self._new_ids.popitem(last=False)
        return answer

    def new_ids(self) -> dict[str, int]:
        """By path, the ids of items that were put back: they have new ones."""
        with self._lock:
            return dict(self._new_ids)
