"""`hashgrain shrink` and `hashgrain join`: smaller models, and several as one."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hashgrain.cli.output import Json, Quiet, print_json, print_line, print_row, say
from hashgrain.cli.remedies import reason_text
from hashgrain.cli.train import need_torch

ALIKE = 0.6  # share of equal bits above which bits of two models mean the same; by chance it is 0.5

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from hashgrain.models import Bundle


def shrink(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="'default', or a bundle's folder.")],
    out: Annotated[Path, typer.Option("--out", help="Where the smaller bundle goes.")],
    pictures: Annotated[
        Path, typer.Option("--pictures", help="Pictures like those the model will see, to calibrate and to compare on.")
    ],
    int8: Annotated[bool, typer.Option("--int8", help="Compute in 8-bit integers: a quarter of the size.")] = False,
    half: Annotated[
        bool, typer.Option("--half", help="Store weights in 16 bits and compute as before: half the size.")
    ] = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> int:
    """Make a model smaller without training it again, and report how many bits of its codes stay the same.

    Codes of the two models do not mix: a library uses one of them. To prune a model, or to imitate a larger one, see
    `hashgrain train --set pruned=` and `--set teacher=`.

    Example: hashgrain shrink my-model --int8 --pictures photos/ --out my-model-int8
    """
    from hashgrain.errors import TrainingError
    from hashgrain.models import Bundle

    need_torch()
    if int8 == half:
        raise TrainingError("say how to shrink it: --int8 or --half")
    from hashgrain.graphs.agreement import agreement
    from hashgrain.graphs.half import halve
    from hashgrain.graphs.int8 import quantize

    large = Bundle.read(model)
    pixels = _pixels(large, pictures)
    say(f"comparing on {len(pixels)} pictures", quiet)
    small = (quantize if int8 else halve)(large, pixels)
    small.write(out)
    facts = dataclasses.asdict(agreement(large, small, pixels))
    sizes = {"bytes": len(small.onnx), "bytes_before": len(large.onnx)}
    if as_json:
        print_json({"bundle": str(out), "digest": small.digest, **sizes, **facts})
        return 0
    print_line(f"{out}: {len(small.onnx) / 1e6:.1f} MB, was {len(large.onnx) / 1e6:.1f} MB")
    for grain, share in facts["bits"].items():
        print_row(grain, f"{share:.2%} of the bits are the same")
    return 0


def join(
    models: Annotated[list[str], typer.Argument(metavar="MODEL...", help="Two bundles or more.")],
    out: Annotated[Path, typer.Option("--out", help="Where the joined bundle goes.")],
    pictures: Annotated[
        Path | None, typer.Option("--pictures", help="Pictures on which to compare the bits of the models.")
    ] = None,
    side_by_side: Annotated[
        str,
        typer.Option("--side-by-side", help="Codes one after another instead, each a grain of this name: coarse,fine."),
    ] = "",
    as_json: Json = False,
) -> int:
    """Combine several models into one: the mean of their outputs, and all their features side by side.

    The mean makes sense if a bit means the same in every model: models fine-tuned from the same one, or trained with
    the same centers. Otherwise train a new head on the joined features: hashgrain train --set trained=head
    --set backbone=bundle:OUT

    With --side-by-side, codes are not averaged but stand one after another, such as coarse codes of one model before
    fine codes of another. Search them with: hashgrain search --coarse-to-fine --separate

    Example: hashgrain join one two --pictures photos/ --out both
    """
    from hashgrain.errors import TrainingError
    from hashgrain.models import Bundle

    need_torch()
    if len(models) < 2:
        raise TrainingError("joining takes two models or more")
    from hashgrain.graphs.agreement import agreement
    from hashgrain.graphs.ensemble import average

    bundles = [Bundle.read(model) for model in models]
    if side_by_side:
        return _side_by_side(bundles, side_by_side, out, as_json)
    if pictures is None:
        raise TrainingError("whether bits of the models mean the same is seen on pictures: --pictures FOLDER")
    joined = average(bundles)
    pixels = _pixels(bundles[0], pictures)
    alike = {
        name: agreement(bundles[0], other, pixels).bits for name, other in zip(models[1:], bundles[1:], strict=True)
    }
    joined.write(out)
    if as_json:
        print_json({"bundle": str(out), "digest": joined.digest, "bytes": len(joined.onnx), "bits_alike": alike})
        return 0
    print_line(f"{out}: {len(joined.onnx) / 1e6:.1f} MB")
    for name, bits in alike.items():
        least = min(bits.values())
        warning = "" if least > ALIKE else ": that is chance; train a new head on the joined features"
        print_row(name, f"{least:.0%} of the bits of {models[0]}{warning}")
    return 0


def _side_by_side(bundles: list[Bundle], names: str, out: Path, as_json: bool) -> int:
    from hashgrain.graphs.ensemble import side_by_side

    joined = side_by_side(bundles, [name.strip() for name in names.split(",")])
    joined.write(out)
    if as_json:
        facts = {"bundle": str(out), "digest": joined.digest, "bytes": len(joined.onnx), "grains": dict(joined.grains)}
        print_json(facts)
        return 0
    print_line(f"{out}: {len(joined.onnx) / 1e6:.1f} MB")
    for (grain, end), bundle in zip(joined.grains.items(), bundles, strict=True):
        print_row(grain, f"the {bundle.grains.bits} bits of {bundle.name}, up to bit {end}")
    return 0


def _pixels(bundle: Bundle, folder: Path) -> NDArray[np.uint8]:
    from hashgrain.apps.sample import sample_pixels

    pixels, refused = sample_pixels(bundle, folder)
    for name, reason in refused.items():
        say(f"refused: {name}: {reason_text(reason)}")
    return pixels
