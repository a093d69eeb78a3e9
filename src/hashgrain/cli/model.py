"""`hashgrain model`: make a model out of any network, and show what a model is made of."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hashgrain.cli.keys import snake_keys
from hashgrain.cli.output import Json, Quiet, print_facts, print_json, print_line, say
from hashgrain.cli.train import need_torch


def make(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of the model, and of its folder.")],
    source: Annotated[
        str,
        typer.Option(
            "--from",
            metavar="SOURCE",
            help="timm:ARCH.TAG, hf:OWNER/REPO@SHA, openclip:ARCH/TAG, onnx:FILE, keras:FILE, or folder:PATH.",
        ),
    ],
    pictures: Annotated[
        Path, typer.Option("--pictures", help="Pictures like those the model will see: some thousands, without labels.")
    ],
    bits: Annotated[str, typer.Option("--bits", help="Widths of the grains, one to three.")] = "32,64,128",
    size: Annotated[
        int | None,
        typer.Option("--size", min=1, max=2048, help="Edge of the picture in pixels. (default: the source's own)"),
    ] = None,
    fit: Annotated[
        str, typer.Option("--fit", metavar="FIT", help="How a picture is brought to that size: squash, fit or crop.")
    ] = "squash",
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            help="Of onnx: and keras: mean=, std= of the colors, layout=nhwc or nchw; of keras: layer=. Repeatable.",
        ),
    ] = None,
    download: Annotated[bool, typer.Option("--download", help="Download what is not on this machine yet.")] = False,
    out: Annotated[Path | None, typer.Option("--out", help="Where the bundle goes. (default: ./NAME)")] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Seed of the head.")] = 0,
    limit: Annotated[int, typer.Option("--limit", min=1, help="Use at most this many pictures.")] = 5000,
    run: Annotated[Path | None, typer.Option("--run", help="Folder that caches features. (default: runs/NAME)")] = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> int:
    """Make a model out of a pretrained network: DINOv2, SigLIP2, CLIP, any network of timm, any ONNX file.

    The network gives features; a head is distilled from them on your pictures, without labels, so that short codes
    rank pictures as the features do. If the network has a text half, the model has it too, and `search --text` works.
    `hashgrain model show NAME` tells where a model comes from: checksums, license, preprocessing.

    Weights are read from safetensors and ONNX files only, no code of a source is run, and nothing is downloaded without
    --download. Run the same command again to resume after a stop. Needs the extra: pip install 'hashgrain[train]'.

    Example: hashgrain model make dino --from timm:vit_small_patch14_dinov2.lvd142m --size 224 --pictures photos/
    --download
    """
    need_torch()
    from hashgrain.learn.encoders.make import Order, make_model

    out, run = out or Path(name), run or Path("runs") / name
    order = Order(
        name=name,
        source=source,
        pictures=pictures,
        out=out,
        run=run,
        bits=_widths(bits),
        size=size,
        download=download,
        seed=seed,
        limit=limit,
        fit=fit,  # type: ignore[arg-type]  # check_order refuses another word
        settings=tuple(settings or ()),
    )
    try:
        facts = make_model(order, lambda text: say(text, quiet))
    except KeyboardInterrupt:
        raise KeyboardInterrupt("stopped; run the same command again to resume: the features are cached") from None
    if as_json:
        print_json(snake_keys(facts))
        return 0
    if facts["refused"]:
        say(f"{len(facts['refused'])} pictures could not be opened and were left out", quiet)
    if not facts["words"]:
        say("too few pictures to tell what distances mean: hits have no words such as 'same' or 'near'", quiet)
    print_line(str(order.out))
    return 0


def show(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="A name `hashgrain models` lists, or a folder.")],
    as_json: Json = False,
) -> int:
    """Show what a model is: its grains, its input and outputs, its license and origin; for a model made by
    `model make`, also its source with checksums.

    Example: hashgrain model show dino
    """
    from hashgrain.models import Bundle
    from hashgrain.models.facts import bundle_facts

    facts = bundle_facts(Bundle.read(model))
    if as_json:
        print_json(snake_keys(facts))
    else:
        print_facts({key: _plain(value) for key, value in facts.items()})
    return 0


def _plain(value: object) -> object:
    if value is None:
        return "none"
    if isinstance(value, dict):
        inner = "; " if any(isinstance(each, dict) for each in value.values()) else ", "
        return inner.join(f"{key} {_plain(each)}" for key, each in value.items())
    return ", ".join(map(str, value)) if isinstance(value, list) else value


def _widths(bits: str) -> tuple[int, ...]:
    from hashgrain.errors import TrainingError

    try:
        return tuple(int(part) for part in bits.split(","))
    except ValueError:
        raise TrainingError(f"--bits {bits}: whole numbers joined by commas, please") from None
