"""The options of `hashgrain search` for shortlists, coarse to fine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from hashgrain.codes import Grains

SHORTLIST = 1_000


def staged(
    grains: Grains,
    grain: str,
    coarse_to_fine: bool,
    shortlist: int | None,
    recall: float | None,
    stages: str | None,
    separate: bool,
) -> dict[str, Any]:
    """The arguments for a search; none if no option is given."""
    if (shortlist is not None or recall is not None) and not coarse_to_fine:
        raise typer.BadParameter("--shortlist and --recall go with --coarse-to-fine")
    if shortlist is not None and recall is not None:
        raise typer.BadParameter("--shortlist and --recall: give one of the two")
    if coarse_to_fine and stages is not None:
        raise typer.BadParameter("--coarse-to-fine and --stages: give one of the two")
    asked: dict[str, Any] = {"separate": True} if separate else {}
    if stages is not None:
        return asked | {"stages": [_stage(text) for text in stages.split(",") if text.strip()]}
    if not coarse_to_fine:
        return asked
    if grain == grains.coarsest:
        raise typer.BadParameter(f"there is nothing coarser than {grain} in this model: it has {', '.join(grains)}")
    length = SHORTLIST if shortlist is None else shortlist
    return asked | {"stages": [(grains.coarsest, length if recall is None else recall)]}


def _stage(text: str) -> tuple[str, int]:
    name, _, number = text.strip().partition(":")
    try:
        return name, int(number)
    except ValueError:
        raise typer.BadParameter(
            f"--stages {text}: it takes a grain and a number of items, such as kind:1000"
        ) from None
