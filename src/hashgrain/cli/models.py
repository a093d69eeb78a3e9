"""`hashgrain models`: the models that come with the package."""

from __future__ import annotations

from hashgrain.cli.keys import snake_keys
from hashgrain.cli.output import Json, print_json, print_table


def models(as_json: Json = False) -> int:
    """List the models of the package: bits, size, speed, license, and what each is for.

    A new library uses the first. Choose another with --model NAME, or for good with HASHGRAIN_MODEL=NAME.

    Example: hashgrain models
    """
    from hashgrain.models.facts import shipped_facts

    shipped = shipped_facts()
    if as_json:
        print_json(snake_keys(shipped))
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
        for each in shipped
    ]
    print_table("models", columns, rows, [None] * len(rows))
    return 0
