"""What answers hold that are computed for the whole library, and those about jobs."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel

from hashgrain.server.schemas import ItemOut


class MakingOut(BaseModel):
    """What was asked for is being computed, and how far it is, from 0 to 1."""

    state: Literal["making"]
    done: float


class ThingOut(BaseModel):
    """A group of similar items. `item` represents it; `name` is null where the model has no word for it."""

    id: str
    name: str | None
    count: int
    item: int


class KindOut(ThingOut):
    names: list[str]
    things: list[ThingOut]


class ScenesTotal(BaseModel):
    items: int
    kinds: int
    things: int


class ScenesAnswer(BaseModel):
    """The largest kinds first, with the largest things of each. `version` changes with the library."""

    version: str
    kinds: list[KindOut]
    total: ScenesTotal


class CopyOut(BaseModel):
    item: ItemOut
    distance: int
    reasons: list[str]


class CopiesOut(BaseModel):
    """Copies, and which of them is best: it is `kept`, and `reasons` say why."""

    kept: ItemOut
    reasons: list[str]
    copies: list[CopyOut]


class DuplicatesTotal(BaseModel):
    groups: int
    copies: int


class DuplicatesAnswer(BaseModel):
    version: str
    groups: list[CopiesOut]
    next: str | None
    total: DuplicatesTotal


class LeftItemOut(BaseModel):
    """An item that stays, and why."""

    item: int
    why: str


class TrashedOut(BaseModel):
    """`undo` is null if nothing was moved."""

    undo: str | None
    moved: int
    left: list[LeftItemOut]


class MapKindOut(BaseModel):
    """A kind on the map, at the middle of its points: `count` of them, from the point `start` on."""

    id: str
    name: str | None
    x: float
    y: float
    count: int
    start: int


class MapAnswer(BaseModel):
    """How many points GET /api/v1/map/points answers with, and the largest kinds."""

    version: str
    points: int
    kinds: list[MapKindOut]


class JobOut(BaseModel):
    """A piece of work. `total` is null as long as it is unknown."""

    id: int
    kind: Literal["add", "watch", "map", "scenes", "duplicates"]
    folder: str | None
    state: Literal["running", "waiting", "done", "stopped", "failed"]
    done: int
    total: int | None
    added: int
    failed: int
    text: str
    started: str | None
    ended: str | None


class JobsAnswer(BaseModel):
    """The last 50, the newest first."""

    jobs: list[JobOut]
