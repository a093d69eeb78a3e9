"""Writing a library anew: its segments from its catalogue, or all its codes by another model."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from hashgrain.errors import LibraryError, Remedy, reason_of
from hashgrain.library import models
from hashgrain.library.adding_parts import has_parts
from hashgrain.library.library import Library
from hashgrain.library.opening import bundle_of
from hashgrain.library.report import AddReport, Progress
from hashgrain.models import Bundle, Encoder
from hashgrain.models.bundle import is_shipped
from hashgrain.models.detail import detail_of
from hashgrain.sources import reopen
from hashgrain.store import Item, Parts, Problem, Store

if TYPE_CHECKING:
    from hashgrain.store.mend import MendReport


def rebuild(path: str | Path) -> tuple[int, MendReport]:
    """Write the segments anew, with what the redo log and sound segments still hold of lost changes and damaged codes,
    and the copy of the model if the package has it. Returns how many codes there are, and what was mended."""
    with Store.open(Path(path).expanduser(), "w", mend=True) as store:
        mended = store.rebuild()
        models.restore_copy(store)
        models.finish_change(store)
        with store.snapshot() as snapshot:
            return len(snapshot), mended


def rebuild_with(
    path: str | Path, encoder: Encoder | Bundle | str | Path, progress: Progress | None = None
) -> AddReport:
    """Encode a whole library again with another model, and switch to it in one step; items keep ids and metadata.

    The new codes are collected in a library beside it, so a stopped run resumes. Every picture must be readable, or
    nothing is changed: an item without its file cannot be encoded.
    """
    model = bundle_of(encoder)
    target = Path(os.path.realpath(Path(path).expanduser()))
    aside = target.with_name(f".{target.name}.rebuilding")
    with Library.open(target, "w") as current:
        items = current.items()
        with _gathering(aside, model) as fresh:
            detail = detail_of(current.store.grid)
            name = detail.name if detail is not None and has_parts(model) and is_shipped(model) else None
            sources = [reopen(item) for item in items]
            report = fresh.add(sources, retry=True, parts=name is not None, detail=name, progress=progress)
            if report.refused:
                first = report.refused[0]
                many = f"{len(report.refused)} of its pictures cannot be read"
                message = f"{target} is as it was: {many}, such as {first.path} ({first.reason})"
                words = "bring them back and try again, or remove their items"
                raise LibraryError(message, path=target, remedy=Remedy(words, "bring_back", library=target))
            changed = [item.path for item in items if _known(fresh, item).content != item.content]
            model.write_inside(target, models.NEXT)
            current.store.change_model(
                _codes(fresh, items),
                grains=model.grains,
                digest=model.code_digest,
                parts=_parts(fresh, items),
                grid=fresh.store.grid,
            )
        models.finish_change(current.store)
    shutil.rmtree(aside)
    if changed:  # on disk since they were added; update their items
        with Library.open(target, "w") as library:
            library.add(changed)
    return report


def _gathering(aside: Path, model: Bundle) -> Library:
    """The library that collects the new codes: that of an earlier run, if it has the same model."""
    if (aside / "catalogue.sqlite").exists():
        try:
            gathered = Library.open(aside, "w")
        except LibraryError:
            shutil.rmtree(aside)
        else:
            if gathered.bundle.code_digest == model.code_digest:
                return gathered
            gathered.close()
            shutil.rmtree(aside)
    return Library.create(aside, model)


def _known(fresh: Library, item: Item) -> Item:
    encoded = fresh.store.known(item.path)
    if encoded is None:
        raise LibraryError(f"{item.path} was not encoded; run this again", path=item.path)
    return encoded


def _codes(fresh: Library, items: list[Item]) -> Iterator[tuple[int, bytes]]:
    with fresh.store.snapshot() as snapshot:
        for item in items:
            code = snapshot.code(_known(fresh, item).id)
            assert code is not None
            yield item.id, code.astype("<u8").tobytes()


def _parts(fresh: Library, items: list[Item]) -> Iterator[tuple[int, Parts]]:
    with fresh.store.snapshot() as snapshot:
        for item in items if snapshot.has_parts else ():
            (parts,) = snapshot.parts_of([_known(fresh, item).id])
            if parts is not None:
                yield item.id, parts


def verify_library(path: str | Path) -> list[Problem]:
    """Check a library that may be too damaged to open. Raises only where there is no library at all."""
    target = Path(path).expanduser()
    try:
        store = Store.open(target)
    except LibraryError as error:
        if not (target / "catalogue.sqlite").exists():
            raise
        return [Problem(str(target), reason_of(error), error.remedy or "")]
    with store:
        problems = [*store.verify(), *models.problems(store)]
    if not problems:  # indexes can be checked only if everything else is sound
        with Library.open(target) as library:
            problems = library.damaged_indexes()
    return problems
