"""Creating and opening the store of a library, with the model that belongs to it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from hashgrain.library import codes_only, models
from hashgrain.models import Bundle, Encoder
from hashgrain.store import Store
from hashgrain.types import PathLike


def bundle_of(encoder: Encoder | Bundle | str | Path) -> Bundle:
    if isinstance(encoder, Encoder):
        return encoder.bundle
    return encoder if isinstance(encoder, Bundle) else Bundle.read(encoder)


@contextmanager
def created(path: PathLike, bundle: Bundle) -> Iterator[Store]:
    """A new store with a copy of the model, open for writing. It is closed only if the block fails."""
    store = Store.create(
        Path(path).expanduser(),
        grains=bundle.grains,
        digest=bundle.code_digest,
        prepare=lambda folder: codes_only.write(bundle, folder),
    )
    with _closed_on_error(store):
        yield store


@contextmanager
def opened(path: PathLike, mode: Literal["r", "w"]) -> Iterator[Store]:
    """An existing store. It is closed only if the block fails."""
    target = Path(path).expanduser()
    models.undo_rename(target)
    store = Store.open(target, mode)
    with _closed_on_error(store):
        yield store


@contextmanager
def _closed_on_error(store: Store) -> Iterator[None]:
    try:
        yield
    except BaseException:
        store.close()
        raise
