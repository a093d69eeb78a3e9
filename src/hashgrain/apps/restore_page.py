"""A restored picture as a page: before, after, and where each pixel comes from."""

from __future__ import annotations

import os
from pathlib import Path

from hashgrain.apps.restore import Restored, shown_origins
from hashgrain.media import DecodePool, decode_workers, thumbnail
from hashgrain.report.page import PageGroup, PageHit, result_page
from hashgrain.types import PathLike

EDGE = 640


def restored_page(damaged: PathLike, restored: Restored) -> str:
    """The page as HTML."""
    with DecodePool(None, workers=decode_workers()) as pool:
        before = pool.thumbnail(damaged, edge=EDGE)
    after, origins = (thumbnail(each, edge=EDGE) for each in (restored.pixels, shown_origins(restored.source)))
    pictures = (("before", before), ("after", after), ("where each pixel comes from", origins))
    cards = [PageHit(name, "", picture, "", {}) for name, picture in pictures]
    counts = ", ".join(f"{count:,} {name}" for name, count in restored.counts().items() if count)
    lead = f"{'Trusted' if restored.trusted else 'Not trusted'}: {restored.reason}. Pixels: {counts}."
    if restored.relative is not None:
        lead += f" Relative: {restored.relative.path}."
    note = "Kept pixels are dark, copied ones green, guessed ones red."
    return result_page(None, [PageGroup(note, cards)], title=f"Restored: {Path(os.fspath(damaged)).name}", lead=lead)
