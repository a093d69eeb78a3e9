"""`hashgrain doctor`: is this machine, and this library, in good health?"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from hashgrain.cli.output import Json, as_labels, print_facts, print_json, print_line


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
    report = {"machine": machine} if library is None else {"machine": machine, **check_library(library)}
    if as_json:
        print_json(report)
    else:
        for part, facts in _parts(report).items():
            print_line(f"{part}:")
            print_facts({f"  {name}": value for name, value in as_labels(facts).items()})
    sound = machine["model"] == "works" and report.get("library", {}).get("sound", True)
    return 0 if sound else 1


def _parts(report: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """What a person reads: each grain is a part of its own, and so is each problem a line."""
    library = dict(report.get("library", {}))
    problems = {each["thing"]: each["reason"] for each in library.pop("problems", [])}
    parts = {"machine": report["machine"], **({"library": library | problems} if library else {})}
    return parts | {grain: _health(facts) for grain, facts in report.get("grains", {}).items()}


def _health(facts: dict[str, Any]) -> dict[str, object]:
    entropy = f"{facts['mean_entropy']:.3f} (least {facts['least_entropy']:.3f})"
    distinct = f"{facts['distinct_codes']} of {facts['codes']}"
    counts = {name: facts[name] for name in ("bits", "dead_bits")}
    return {**counts, "entropy per bit": entropy, "distinct codes": distinct, "largest_bucket": facts["largest_bucket"]}
