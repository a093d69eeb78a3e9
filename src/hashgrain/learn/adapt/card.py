"""The card beside an adapted model: its data, its figures before and after, and the license of its network."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from hashgrain.files import write_atomically
from hashgrain.learn.adapt.settings import BUNDLE, NAME, changeable
from hashgrain.learn.card import part_of
from hashgrain.learn.command import as_option, joined
from hashgrain.learn.data.choices import FITTED
from hashgrain.models import Bundle
from hashgrain.models.bundle import is_shipped

UNKNOWN = "not told by the model"
SOURCE = "source"  # the key of model.json in which `model make` records the network's origin
# Addresses of the licenses that models name.
LICENSES = {"Apache-2.0": "https://www.apache.org/licenses/LICENSE-2.0"}


def license_of(base: Bundle, unknown: str = UNKNOWN) -> str:
    """The license that the model states for itself, or for the network it was made from."""
    if base.license:
        return base.license
    for about in (base.others.get("about"), base.others.get(SOURCE)):
        if isinstance(about, Mapping) and about.get("license"):
            return str(about["license"])
    return unknown


def write_card(
    path: Path, base: Bundle, made: Bundle, facts: Mapping[str, Any], parity: str, reasons: Sequence[str] = ()
) -> None:
    write_atomically(
        path, card(base, made, facts, parity, path.parent.name, reasons).encode("utf-8", "backslashreplace")
    )


def card(
    base: Bundle, made: Bundle, facts: Mapping[str, Any], parity: str, out: str = "", reasons: Sequence[str] = ()
) -> str:
    data, grains = facts["data"], " ⊂ ".join(f"`{grain}` {bits}" for grain, bits in made.grains.items())
    classes = ", ".join(f"{count} {grain}s" for grain, count in data["classes"].items())
    changed = {name: value for name, value in facts["recipe"].items() if name != "name"}
    lines = [
        f"# Model card: {made.name}",
        "",
        f"`{base.name}` ({base.code_digest[:12]}), taught {classes} of `{data['folder']}`{part_of(data).rstrip(',')}.",
        "",
        "| | |",
        "|---|---|",
        f"| takes | RGB pictures, {FITTED[made.fitted]} {made.size[0]} x {made.size[1]} |",
        f"| gives | codes of {made.grains.bits} bits: {grains} |",
        f"| pictures | {data['pictures']:,} learned from, {data['held_out']:,} kept out, {data['refused']:,} refused |",
        f"| settings | {', '.join(f'{name} {value}' for name, value in changed.items())} |",
        f"| made by | HashGrain {facts['hashgrain']}, torch {facts['torch']}; {parity} |",
        "",
        f"`{_command(base, facts, out)}` makes it again.",
        "",
        "## License",
        "",
        _license(base),
        "",
        "## Figures",
        "",
        *_figures(facts["validation"]),
        "",
        *_words(made, reasons),
        "## Limits",
        "",
        "Measured on pictures like those it was taught. It is no lock, and must not be used to identify people.",
        "",
    ]
    return "\n".join(lines)


def _words(made: Bundle, reasons: Sequence[str]) -> Iterator[str]:
    """The calibrated words of each grain, and why others are missing."""
    yield from ("## Words", "")
    for grain, each in made.calibration.items():
        words = ", ".join(f"*{word}* up to {most}" for word, most in each.words.items())
        yield f"- `{grain}` says {words}, else *far*."
    yield from (f"- {reason[:1].upper()}{reason[1:]}." for reason in reasons)
    yield ""


def _command(base: Bundle, facts: Mapping[str, Any], out: str) -> str:
    """The command that makes the model again. It names a bundled model explicitly, since the default may change."""
    values = {name: value for name, value in facts["recipe"].items() if changeable().get(name, value) != value}
    if is_shipped(base):
        values = {"backbone": f"{BUNDLE}{base.name}", **{n: v for n, v in values.items() if n != "backbone"}}
    return joined(
        NAME, facts["data"], out, [part for n, v in values.items() for part in ("--set", f"{n}={as_option(v)}")]
    )


def _license(base: Bundle) -> str:
    license_name, source = license_of(base), base.others.get(SOURCE)
    where = f", {LICENSES[license_name]}" if license_name in LICENSES else ""
    backbone = base.training.get("backbone")
    name = backbone.get("name", "") if isinstance(backbone, Mapping) else ""
    weights = backbone.get("weights", "") if isinstance(backbone, Mapping) else ""
    of_backbone = f" Its backbone is {name}{f' of the package {weights}' if weights else ''}." if name else ""
    if isinstance(source, Mapping) and source.get("source"):
        of_backbone += f" It was made from {source['source']}."
    return (
        f"The bundle holds the whole network of `{base.name}`, which is under this license: {license_name}{where}."
        f"{of_backbone} What was added is a head fitted to the pictures; whoever passes the bundle on passes on both."
    )


def _figures(validation: Mapping[str, float]) -> list[str]:
    if not validation:
        return ["No picture was kept out: there are none."]
    return [
        "Pictures kept out, asked against those learned from: whether the nearest is of the same class (P@1), and mAP.",
        "",
        "| figure | value |",
        "|---|---|",
        *(f"| {name} | {value:g} |" for name, value in validation.items()),
    ]
