"""Which options of `hashgrain search` go together."""

from __future__ import annotations

from collections.abc import Mapping

import typer

FOLDER = "a folder or file of queries"
SEVERAL = "several examples (--like, --unlike)"

# An option, and those without which it means nothing: one of them is enough.
NEEDS: dict[str, tuple[str, ...]] = {
    "--like-weight": (SEVERAL,),
    "--match": ("--box", SEVERAL),
    "--radius": ("--group",),
    "--verify-seconds": ("--verify",),
}
MORE_THAN_ONE = ("--also", "--not-self", FOLDER)
STAGES = ("--stages", "--coarse-to-fine", "--separate")
# An option, and those that it does not go with.
APART: dict[str, tuple[str, ...]] = {
    "--text": MORE_THAN_ONE,
    "--codes": ("--also", "--not-self"),
    "--html": ("--also", FOLDER),
    "--open": ("--also", FOLDER),
    "--explain": MORE_THAN_ONE,
    "--group": (*MORE_THAN_ONE, "--verify"),
    "--box": (*MORE_THAN_ONE, "--text"),
    "--turned": (*MORE_THAN_ONE, "--text"),
    "--verify": MORE_THAN_ONE,
    "--refine": MORE_THAN_ONE,
    "--rerank": (*MORE_THAN_ONE, "--text", "--codes", "--box", "--turned", SEVERAL, *STAGES),
    "--engine": ("--also",),
    "--also": STAGES,
    SEVERAL: ("--text", "--codes", *MORE_THAN_ONE, "--box", "--turned", *STAGES),
}


def check_together(given: Mapping[str, object]) -> None:
    """Refuse options that do not go together. `given` says of each whether it is given."""
    for option, others in NEEDS.items():
        if given.get(option) and not any(given.get(other) for other in others):
            raise typer.BadParameter(f"{option} goes with {' or '.join(others)}")
    for option, others in APART.items():
        for other in others:
            if given.get(option) and given.get(other):
                one = " takes one query and one library: it" if option != SEVERAL and other in MORE_THAN_ONE else ""
                raise typer.BadParameter(f"{option}{one} does not go with {other}")
