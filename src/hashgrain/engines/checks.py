"""What every engine refuses, in the same words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from hashgrain.codes import Codes, Grains
from hashgrain.errors import CodesError, QueryError
from hashgrain.hamming import Weights
from hashgrain.store import Change
from hashgrain.store.spaces import MAX_PARTS


def check_change(change: Change, grains: Grains) -> None:
    words, parts = grains.n_words, change.parts
    if change.code is not None and change.code.shape != (words,):
        raise CodesError(f"a code of shape {change.code.shape} does not fit codes with {grains}")
    if parts is not None and (parts.ndim != 2 or parts.shape[1] != words or len(parts) > MAX_PARTS):
        raise CodesError(f"codes of parts of shape {parts.shape} do not fit codes with {grains}")


def check_codes(codes: Codes, grains: Grains) -> None:
    if codes.grains != grains:
        raise CodesError(f"a query with {codes.grains} cannot be asked of codes with {grains}")


def check_radius(radius: int, grains: Grains, grain: str) -> None:
    bits = grains.width(grain)
    if isinstance(radius, bool) or not isinstance(radius, (int, np.integer)) or not 0 <= radius <= bits:
        raise QueryError(f"a distance of {radius!r} bits makes no sense at {grain}; it is from 0 to {bits}")


def check_part_radii(radii: Sequence[int] | None, codes: Codes, weights: Mapping[str, float] | None) -> None:
    if radii is not None and (len(radii) != len(codes) or weights is not None):
        raise QueryError(f"{len(radii)} distances of parts for {len(codes)} codes; one for each, and no weights")


def bit_weights(weights: Mapping[str, float], grains: Grains, grain: str) -> Weights:
    """Weights of grains as weights of bits."""
    widths = grains.up_to(grain)
    if set(weights) != set(widths):
        raise QueryError(f"weights for {', '.join(weights) or 'nothing'}; they are for {', '.join(widths)}")
    return [(bits, weights[name]) for name, bits in widths.items()]
