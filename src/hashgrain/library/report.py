"""What became of each picture of a run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from hashgrain.sources import Refused


@dataclass
class AddReport:
    """What became of each picture. `refused` names the files left out, and why."""

    added: int = 0
    replaced: int = 0
    moved: int = 0
    touched: int = 0
    unchanged: int = 0
    duplicates: int = 0  # of those added: same bytes as another picture
    encoded: int = 0  # pictures that went through the network
    refused: list[Refused] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def seen(self) -> int:
        return self.added + self.replaced + self.moved + self.touched + self.unchanged + len(self.refused)


Progress = Callable[[AddReport], None]
