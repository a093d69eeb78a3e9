"""The hits of a search as a tree of groups."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from hashgrain.errors import ItemMissingError
from hashgrain.search.groups import Group, levels_of, tree

if TYPE_CHECKING:
    from hashgrain.models import Bundle
    from hashgrain.search import Hit
    from hashgrain.store import Snapshot, Store


def group_hits(
    store: Store, bundle: Bundle, hits: Sequence[Hit], radii: Mapping[str, int] | None
) -> tuple[Group[Hit], ...]:
    """The hits, grouped by the codes of their whole items. Items that were removed since the search are left out."""
    levels = levels_of(bundle, radii)
    with store.snapshot() as snapshot:
        try:
            words = snapshot.codes([hit.id for hit in hits])
        except ItemMissingError:
            hits = _there(snapshot, hits)
            words = snapshot.codes([hit.id for hit in hits])
    return tree(hits, words, bundle.grains, levels)


def _there(snapshot: Snapshot, hits: Sequence[Hit]) -> list[Hit]:
    return [hit for hit in hits if snapshot.code(hit.id) is not None]
