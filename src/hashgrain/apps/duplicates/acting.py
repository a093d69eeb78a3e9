"""Acting upon duplicates: moving copies away, or making them links, so that every step can be undone.

For each copy: the kept one and the copy are checked, the undo file gets a line, the copy is moved. So whenever this is
stopped, each file is at its old place or at the one that the undo file names. The library forgets what was moved.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from hashgrain.apps.duplicates import checks, moving
from hashgrain.apps.duplicates.checks import Look
from hashgrain.apps.duplicates.found import Copy, Duplicates, PartOf
from hashgrain.apps.duplicates.undo_file import ACTIONS, Entry, Header, UndoWriter
from hashgrain.errors import LibraryError, QueryError
from hashgrain.library import Library
from hashgrain.sources import file_of
from hashgrain.store import Item, Snapshot, Touched
from hashgrain.types import PathLike

Action = Literal["move", "link", "delete"]
TRASH = "-trash"
AT_ONCE = 64  # items that the library forgets together
Told = Callable[[int], None]


@dataclass(frozen=True)
class Outcome:
    """What was done with a copy, or in a dry run would be."""

    item: Item
    kept: Item
    target: str | None  # its new path, or the file of which it is a link; None where it was skipped
    skipped: str | None  # why nothing was done

    @property
    def done(self) -> bool:
        return self.skipped is None


@dataclass(frozen=True)
class ActionReport:
    """One outcome for each copy."""

    action: Action
    dry_run: bool
    outcomes: tuple[Outcome, ...]
    undo_file: Path | None  # None where nothing was done

    @property
    def done(self) -> int:
        return sum(outcome.done for outcome in self.outcomes)

    @property
    def skipped(self) -> int:
        return len(self.outcomes) - self.done

    @property
    def bytes(self) -> int:
        """Of the files that were moved or became links."""
        return sum(outcome.item.size or 0 for outcome in self.outcomes if outcome.done)


def act_on(
    library: Library,
    duplicates: Duplicates,
    action: Action,
    *,
    folder: PathLike | None = None,
    parts: bool = False,
    dry_run: bool = True,
    progress: Told | None = None,
) -> ActionReport:
    """Move the copies to `folder`, replace them by hard links to the kept file, or delete them into a trash folder
    beside the library; the kept pictures are never touched. With `parts` also pictures that are a part of another.

    A dry run, the default, changes nothing. Otherwise the library must be open for writing, and an undo file is written
    beside it. A file that changed since it was added, is gone, in an archive, a link or in a read-only folder is
    skipped, and so is every copy whose kept picture cannot be read. Links are made of equal bytes alone.
    """
    place = _folder(library, action, folder)
    if not dry_run and library.store.mode != "w":
        raise LibraryError(f"{library.path} is open for reading; open it with 'w' to act on copies", path=library.path)
    pairs = [(copy, group.kept) for group in duplicates.groups for copy in group.copies]
    part_pairs = [(part, part.whole) for part in _nearest(duplicates.parts)] if parts else []
    acting = _Acting(library, action, place, dry_run, [*pairs, *part_pairs])
    outcomes: list[Outcome] = []
    try:
        for outcome in acting.outcomes():
            outcomes.append(outcome)
            if progress:
                progress(len(outcomes))
    except OSError as error:
        message = f"{error.filename or place}: {error.strerror or error}; {_so_far(acting.undo)}"
        raise LibraryError(message, path=error.filename or place) from error
    except KeyboardInterrupt:
        raise KeyboardInterrupt(f"stopped; {_so_far(acting.undo)}") from None
    finally:
        acting.finish()
    return ActionReport(action, dry_run, tuple(outcomes), acting.undo.made)


def _nearest(parts: Iterable[PartOf]) -> list[PartOf]:
    """Each picture once, as a part of the one in which it is nearest."""
    nearest: dict[int, PartOf] = {}
    for part in parts:
        known = nearest.setdefault(part.item.id, part)
        if part.distance < known.distance:
            nearest[part.item.id] = part
    return list(nearest.values())


def _so_far(undo: UndoWriter) -> str:
    return "nothing was done" if undo.made is None else f"what was done can be undone with {undo.made}"


def _folder(library: Library, action: Action, folder: PathLike | None) -> str:
    """Where copies go."""
    if action not in ACTIONS:
        raise QueryError(f"{action!r} is no action; an action is {', '.join(ACTIONS)}")
    if (folder is None) == (action == "move"):
        raise QueryError("a folder is for moving copies there, and moving needs one")
    home = os.path.realpath(library.path)
    if folder is None:
        return os.path.join(home + TRASH, time.strftime("%Y-%m-%d-%H%M%S"))
    place = os.path.abspath(os.path.expanduser(os.fspath(folder)))
    if os.path.lexists(place) and not os.path.isdir(place):
        raise QueryError(f"{place} is not a folder; nothing was moved")
    if Path(os.path.realpath(place)).is_relative_to(home):
        raise QueryError(f"{place} is inside the library; nothing was moved. Name a folder outside")
    return place


class _Acting:
    """One run: the files that must not be touched, what the library has to forget, the undo file."""

    def __init__(
        self,
        library: Library,
        action: Action,
        folder: str,
        dry_run: bool,
        pairs: list[tuple[Copy | PartOf, Item]],
    ) -> None:
        self.library, self.action, self.folder, self.dry_run = library, action, folder, dry_run
        self.pairs = pairs
        self.part_ids = {copy.item.id for copy, _ in pairs if isinstance(copy, PartOf)}
        of_part = self.part_ids  # a whole that is itself a part of another picture keeps nothing
        kept = {item.id: item for copy, item in pairs if isinstance(copy, Copy) or item.id not in of_part}
        self.kept_ids, self.kept_files = set(kept), checks.ids_of(kept.values())
        self.sound: dict[int, tuple[str | None, Look | None]] = {}  # of kept pictures: why not, and how the file looked
        self.names: set[str] = set()  # that a dry run has given away
        self.moved: list[tuple[int, str]] = []  # to forget: item, and where its file is now
        self.linked: list[Touched] = []
        with library.store.snapshot() as snapshot:
            self.known = {copy.item.id: _current(snapshot, copy.item) for copy, _ in pairs}
            header = Header(action, os.path.realpath(library.path), snapshot.history())
        self.undo = UndoWriter(_undo_path(library), header)

    def outcomes(self) -> Iterator[Outcome]:
        for copy, kept in self.pairs:
            try:
                target, reason = self._outcome(copy, kept)
            except OSError as error:
                if error.filename not in (copy.item.path, os.path.realpath(kept.path)):
                    raise  # it is not about these files: no undo file can be written, the disk is full
                target, reason = None, (error.strerror or str(error)).lower()
            yield Outcome(copy.item, kept, target, reason)
            if len(self.moved) + len(self.linked) >= AT_ONCE:
                self.forget()

    def _outcome(self, copy: Copy | PartOf, kept: Item) -> tuple[str | None, str | None]:
        reason = self._why_kept_fails(kept) or self._why_not(copy, kept)
        if reason is not None:
            return None, reason
        reason, look = checks.why_not_touched(copy.item, self.kept_files, thorough=not self.dry_run)
        if reason is not None or look is None:
            return None, reason
        if self.dry_run:
            return self._planned(copy.item, kept), None
        return self._done(copy.item, kept, look), None

    def _why_kept_fails(self, kept: Item) -> str | None:
        """A kept picture is read again where its file looks other than when it was read last."""
        try:
            status = os.stat(file_of(kept.path))
            look: Look | None = checks.look_of(status)
        except (OSError, ValueError):
            look = None
        known = self.sound.get(kept.id)
        if known is None or known[1] != look:
            self.sound[kept.id] = known = (checks.why_changed(kept, thorough=not self.dry_run), look)
        return None if known[0] is None else f"the picture to keep, {kept.path}, {known[0]}"

    def _why_not(self, copy: Copy | PartOf, kept: Item) -> str | None:
        item = copy.item
        if item.id in self.kept_ids:
            return "is kept for another picture"
        if self.known[item.id] is None:
            return "is no longer in the library as it was found"
        if isinstance(copy, PartOf):
            if kept.id in self.part_ids:
                return f"is part of {kept.path}, which is itself a part of another picture"
            if (item.width or 0) * (item.height or 0) > (kept.width or 0) * (kept.height or 0):
                return f"has more pixels than {kept.path}, of which it shows a part"
        if self.action == "link":
            if item.content != kept.content:
                return "has other bytes than the kept picture, so a link would change it"
            if file_of(kept.path) != kept.path:
                return "the kept picture is inside an archive or a table, to which there are no links"
            if _device(item.path) != _device(kept.path):
                return "is on another disk than the kept picture, to which there are no links"
        elif os.path.realpath(os.path.dirname(item.path)) == os.path.realpath(self.folder):
            return "is in that folder already"
        return None

    def _planned(self, item: Item, kept: Item) -> str:
        if self.action == "link":
            return kept.path
        target = moving.free_name(self.folder, os.path.basename(item.path), self.names)
        self.names.add(target)
        return target

    def _done(self, item: Item, kept: Item, look: Look) -> str:
        status = os.lstat(item.path)
        entry = (item.content, status.st_mode & 0o7777, status.st_mtime_ns, item.meta)
        if self.action == "link":
            self.undo.write(Entry(item.path, kept.path, *entry))
            moving.link(item.path, kept.path, look)
            self.linked.append(Touched(item.id, _stamp(item.path)))
            return kept.path
        os.makedirs(self.folder, exist_ok=True)
        target = moving.reserve(self.folder, os.path.basename(item.path))
        try:
            self.undo.write(Entry(item.path, target, *entry))
            moving.move(item.path, target, look)
        except BaseException:
            with suppress(OSError):  # the empty file that held the name
                if os.path.lexists(item.path) and os.path.getsize(target) == 0:
                    os.unlink(target)
            raise
        self.moved.append((item.id, target))
        return target

    def forget(self) -> None:
        """Let the library forget what was moved, and leave the files out where they are now."""
        self.library.store.exclude([target for _, target in self.moved])
        if self.moved:
            self.library.remove([item for item, _ in self.moved], forget=True)
        self.library.store.commit(self.linked)
        self.moved, self.linked = [], []

    def finish(self) -> None:
        self.undo.close()
        if self.moved or self.linked:
            self.forget()


def _current(snapshot: Snapshot, item: Item) -> Item | None:
    """The item, if it is still what was found."""
    now = snapshot.item(item.id)
    return now if now is not None and (now.path, now.content) == (item.path, item.content) else None


def _device(path: str) -> int | None:
    try:
        return os.stat(path).st_dev
    except OSError:
        return None


def _stamp(path: str) -> tuple[int, int]:
    status = os.stat(path)
    return status.st_size, status.st_mtime_ns


def _undo_path(library: Library) -> Path:
    """A new name beside the library."""
    home = Path(os.path.realpath(library.path))
    stem = f"{home.name}-undo-{time.strftime('%Y-%m-%d-%H%M%S')}"
    return Path(moving.free_name(str(home.parent), f"{stem}.jsonl", set()))
