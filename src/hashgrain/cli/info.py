"""`hashgrain info`: what a library holds."""

from __future__ import annotations

from hashgrain.cli.output import Json, LibraryPath, as_labels, print_facts, print_json


def info(library: LibraryPath, as_json: Json = False) -> int:
    """Show what LIBRARY holds: pictures, model, grains, size on disk."""
    from hashgrain.library import Library

    with Library.open(library) as opened:
        facts = opened.info()
    if as_json:
        print_json(facts)
    else:
        grains = ", ".join(f"{name} {bits}" for name, bits in opened.grains.items())
        print_facts({**as_labels(facts), "grains": grains})
    return 0
