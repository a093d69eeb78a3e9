"""`hashgrain train`: make a model of your own pictures."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from hashgrain.cli.output import Quiet, print_line, say


def train(
    data: Annotated[
        Path, typer.Option("--data", help="A folder of kind/thing/picture.jpg, or of labelled parquet files.")
    ],
    out: Annotated[Path, typer.Option("--out", help="Where the bundle goes.")],
    recipe: Annotated[str, typer.Option("--recipe", help="default, or quick.")] = "default",
    run: Annotated[
        Path | None, typer.Option("--run", help="Folder of checkpoint and log. [default: runs/RECIPE]")
    ] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="Change a number of the recipe: seed=2. Repeatable.")
    ] = None,
    label_noise: Annotated[
        float | None,
        typer.Option(
            "--label-noise", min=0, max=1, help="Make this share of the training labels wrong, as a test: 0.2."
        ),
    ] = None,
    quiet: Quiet = False,
) -> int:
    """Train a model from random weights and write its bundle. Run it again after a stop: it goes on.

    Needs the extra: pip install 'hashgrain[train]'

    Example: hashgrain train --data pictures/ --out my-model --recipe quick
    """
    from hashgrain.errors import TrainingError

    try:
        import torch  # noqa: F401
    except ImportError:
        raise TrainingError("training needs torch: pip install 'hashgrain[train]'") from None
    from hashgrain.learn.recipes import RECIPES, change
    from hashgrain.learn.run import train_bundle

    if recipe not in RECIPES:
        raise TrainingError(f"no recipe {recipe!r}; there are {', '.join(RECIPES)}")
    settings = [*(settings or []), *([] if label_noise is None else [f"label_noise={label_noise}"])]
    chosen = change(RECIPES[recipe], settings)
    try:
        facts = train_bundle(chosen, data, out, run or Path("runs") / recipe, say=lambda text: say(text, quiet))
    except KeyboardInterrupt:
        raise KeyboardInterrupt("stopped; run the same command again to go on from the last checkpoint") from None
    print_line(json.dumps(facts, indent=2))
    return 0
