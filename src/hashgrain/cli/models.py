"""`hashgrain models`: the models that come with the package."""

from __future__ import annotations

from hashgrain.cli.keys import snake_keys
from hashgrain.cli.output import Json, print_json, print_table


def models(as_json: Json = False) -> int:
    """List the models of the package: bits, size, speed, license, and what each is for.

    The first is what a new library takes. Choose another by --model NAME, or for good by HASHGRAIN_MODEL=NAME.

    Example: hashgrain models
    """
    from hashgrain.models.facts import shipped_facts

    found = shipped_facts()
    if as_json:
        print_json(snake_keys(found))
        return 0
    columns = ["name", "bits", "takes", "MB", "ms a picture", "license", "what for"]
    rows = [
        [
            each["name"],
            ", ".join(f"{grain} {bits}" for grain, bits in each["grains"].items()),
            f"{each['width']} x {each['height']} px",
            f"{each['megabytes']:.1f}",
            str(each.get("milliseconds", "")),
            str(each.get("license", "")),
            str(each.get("summary", "")),
        ]
        for each in found
    ]
    print_table("models", columns, rows, [None] * len(rows))
    return 0
