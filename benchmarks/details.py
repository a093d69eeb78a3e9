"""What parts cost when pictures are added, by their detail.

python benchmarks/details.py
"""

from __future__ import annotations

import statistics
import tempfile
from pathlib import Path

from hashgrain import Library
from hashgrain.models.detail import DETAILS, detail_named
from report import need_data, table, write_section


def cost(detail: str | None) -> tuple[float, float]:
    """Milliseconds that a photograph takes to add, everything included, and bytes of its codes: the 160 photographs."""

    def add() -> None:
        with tempfile.TemporaryDirectory() as folder, Library.create(Path(folder) / "a.hg", "photo") as library:
            report = library.add(str(need_data() / "photos"), parts=detail is not None, detail=detail)
            times.append(1000 * report.seconds / report.encoded)

    times: list[float] = []
    for _ in range(3):
        add()
    parts = 0 if detail is None else len(detail_named(detail).windows)
    return statistics.median(times), 32.0 * (1 + parts)


def main() -> None:
    costs = {name: cost(name) for name in (None, *(detail.name for detail in DETAILS))}
    alone, _ = costs[None]
    rows = [
        [name or "no parts", f"{ms:.1f}", f"{ms / alone:.1f}x", f"{size:,.0f}"] for name, (ms, size) in costs.items()
    ]
    text = f"""160 photographs are added to a new library, everything included; medians of three times.

{table(["detail", "ms a picture", "of no parts", "bytes of codes"], rows)}
"""
    write_section("9b-details", "What parts cost", "python benchmarks/details.py", text)


if __name__ == "__main__":
    main()
