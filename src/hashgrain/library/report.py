"""What became of each picture of a run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hashgrain.sources import Refused


@dataclass
class AddReport:
    """The result of adding pictures, counted by outcome. `refused` lists the files that were left out, with reasons."""

    added: int = 0
    replaced: int = 0
    moved: int = 0
    touched: int = 0
    unchanged: int = 0
    noted: int = 0  # known pictures whose metadata changed
    duplicates: int = 0  # added pictures with the same bytes as another
    encoded: int = 0  # pictures that went through the network
    detected: int = 0  # boxes that a detector found in them
    refused: list[Refused] = field(default_factory=list)
    notes_refused: list[Refused] = field(default_factory=list)  # pictures added without the metadata of their source
    known_refused: int = 0  # refused before and unchanged since, so not tried again
    kept_out: int = 0  # left out because they were removed by hand
    passed: dict[str, int] = field(default_factory=dict)  # files that are no pictures, counted by suffix
    seconds: float = 0.0

    @property
    def seen(self) -> int:
        taken = self.added + self.replaced + self.moved + self.touched + self.unchanged
        return taken + len(self.refused) + self.known_refused + self.kept_out


Progress = Callable[[AddReport], None]
