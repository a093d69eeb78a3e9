"""Made-up parts of items, and how they look as plain data."""

from __future__ import annotations

import numpy as np

from hashgrain.store import Parts, Snapshot

GRID = [(x, y, x + 0.5, y + 0.5) for y in (0.0, 0.5) for x in (0.0, 0.5)]
Plain = tuple[list[list[int]], list[list[float]] | None]


def parts_of(number: int, count: int, kind: str = "grid") -> Parts:
    """Made-up parts; their codes tell number and index."""
    draw = np.random.default_rng([number, count])
    codes = draw.integers(0, 2**63, (count, 2)).astype(np.uint64)
    if kind == "grid":
        return Parts(codes)
    first = draw.random((count, 2 if kind == "box" else 1)).astype(np.float32) / 2
    return Parts(codes, np.concatenate([first, first + np.float32(0.25)], axis=1))


def plain(parts: Parts | None) -> Plain | None:
    if parts is None:
        return None
    return parts.codes.tolist(), None if parts.positions is None else parts.positions.tolist()


def live_parts(snapshot: Snapshot) -> dict[int, list[list[int]]]:
    """item -> codes of its live rows in the part segments, which must be the parts 1, 2, ... without a gap."""
    found: dict[int, list[tuple[int, list[int]]]] = {}
    for segment in snapshot.part_segments:
        words = np.stack(segment.planes, axis=1)[segment.alive]
        for number, code in zip(segment.ids[segment.alive].tolist(), words.tolist(), strict=True):
            found.setdefault(number >> 16, []).append((number & 0xFFFF, code))
    for rows in found.values():
        assert [part for part, _ in rows] == list(range(1, len(rows) + 1))
    return {item: [code for _, code in rows] for item, rows in found.items()}
