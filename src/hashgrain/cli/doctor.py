"""`hashgrain doctor`: is this machine, and this library, in good health?"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hashgrain.cli.output import Json, print_facts, print_json, print_line


def doctor(
    library: Annotated[
        Path | None,
        typer.Argument(metavar="LIBRARY", help="Also check this library and the health of its bits."),
    ] = None,
    as_json: Json = False,
) -> int:
    """Report what is installed, whether the model works, and how healthy the codes of a library are.

    Healthy bits are on half of the time (entropy near 1), none is dead, and few pictures share a code.
    """
    from hashgrain.apps.checkup import check_library, check_machine

    machine = check_machine()
    found = {"machine": machine} if library is None else {"machine": machine, **check_library(library)}
    if as_json:
        print_json(found)
    else:
        for part, facts in found.items():
            print_line(f"{part}:")
            print_facts({f"  {name}": value for name, value in facts.items()})
    sound = machine["model"] == "works" and found.get("library", {}).get("sound", True)
    return 0 if sound else 1
