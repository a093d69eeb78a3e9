"""`hashgrain index`: build indexes that make large libraries faster to search."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from hashgrain.cli.exit_codes import OK, PARTLY
from hashgrain.cli.output import Json, LibraryPath, Quiet, print_json, say
from hashgrain.errors import QueryError

if TYPE_CHECKING:
    from hashgrain.engines import IndexPlan

UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
Memory = Annotated[
    str | None,
    typer.Option("--memory", help="Limit for all indexes together, such as 500M or 4G. (default: a quarter of RAM)"),
]


def index(
    library: LibraryPath,
    memory: Memory = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would be built and how large it is.")] = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> int:
    """Build indexes for LIBRARY where they pay: from about a million pictures on.

    An index never changes an answer, only the time it takes. `hashgrain add` builds indexes by itself after many new
    pictures. The folder `indexes` in the library may be deleted at any time. Building takes up to three times as much
    memory for a while. Exit code 3 means that an index did not fit into --memory.

    Indexes help programs that keep running. A single `hashgrain search` scans faster than an index can be checked.

    Example: hashgrain index archive.hg --memory 2G
    """
    from hashgrain.library import Library

    cap = None if memory is None else parse_size(memory)
    plans: list[dict[str, object]] = []

    def on_plan(plan: IndexPlan, fits: bool) -> None:
        rows = plan.end - plan.first
        about = {"kind": plan.kind, "bits": plan.bits, "parts": plan.parts, "rows": rows, "bytes": plan.bytes}
        plans.append(about | {"fits": fits})
        of = " of parts" if plan.parts else ""
        action = "left out (see --memory)" if not fits else "would build" if dry_run else "building"
        say(f"{action}: {plan.kind} of {plan.bits} bits over {rows:,} codes{of}, {size(plan.bytes)}", quiet)

    with Library.open(library) as opened:
        left_out = opened.index(memory=cap, on_plan=on_plan, dry_run=dry_run)
        if as_json:
            print_json({"indexes": plans, "bytes": opened.indexes.bytes()})
        elif not plans:
            say("nothing to build", quiet)
    return PARTLY if left_out else OK


def parse_size(text: str) -> int:
    """Bytes from "500M" and the like."""
    number = text.strip().upper().removesuffix("IB").removesuffix("B")
    unit = number[-1:] if number[-1:] in UNITS else ""
    try:
        amount = float(number.removesuffix(unit)) * UNITS[unit]
        if not 0 <= amount < 1 << 60:
            raise ValueError
    except ValueError:
        raise QueryError(f"{text!r} is no amount of memory; write it as 500M or 4G") from None
    return int(amount)


def size(bytes: int) -> str:
    """Bytes in a readable unit."""
    for unit in ("TB", "GB", "MB"):
        if bytes >= UNITS[unit[0]]:
            return f"{bytes / UNITS[unit[0]]:.1f} {unit}"
    return f"{bytes / 1024:.0f} KB"
