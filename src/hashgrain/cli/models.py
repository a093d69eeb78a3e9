"""`hashgrain models`: the models that come with the package."""

from __future__ import annotations

from typing import Any

from hashgrain.cli.keys import snake_keys
from hashgrain.cli.output import Json, print_json, print_table


def models(as_json: Json = False) -> int:
    """List the models of the package: bits, size, speed, license, and what each is for.

    The first is what a new library takes. Choose another by --model NAME, or for good by HASHGRAIN_MODEL=NAME.

    Example: hashgrain models
    """
    from hashgrain.models.bundle import shipped_names

    found = [_facts(name) for name in shipped_names()]
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


def _facts(name: str) -> dict[str, Any]:
    from hashgrain.models import Bundle

    bundle = Bundle.read(name)
    about = bundle.others.get("about")
    told = about if isinstance(about, dict) else {}
    size = {"width": bundle.size[0], "height": bundle.size[1], "megabytes": round(len(bundle.onnx) / 1e6, 1)}
    return {"name": name, "grains": dict(bundle.grains), **size, "code_digest": bundle.code_digest, **told}
