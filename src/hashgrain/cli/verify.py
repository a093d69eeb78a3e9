"""`hashgrain verify`: check a library for damage."""

from __future__ import annotations

import dataclasses

from hashgrain.cli.output import Json, LibraryPath, print_json, print_line


def verify(library: LibraryPath, as_json: Json = False) -> int:
    """Check everything in LIBRARY: catalogue, checksums, counts, model. Exit code 1 where something is wrong."""
    from hashgrain.library import verify_library

    problems = verify_library(library)
    wrong = [problem for problem in problems if not problem.harmless]
    if as_json:
        print_json({"ok": not wrong, "problems": [dataclasses.asdict(problem) for problem in problems]})
    else:
        for problem in problems:
            print_line(f"{problem.thing}: {problem.reason}. {problem.remedy}")
        if not wrong:
            print_line(f"{library} is sound")
    return 1 if wrong else 0
