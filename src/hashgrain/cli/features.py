"""`hashgrain features`: codes of features that another program made, by a head trained or fitted on such."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any

import typer

from hashgrain.cli.output import Json, Quiet, print_json, print_line, say

DEFAULT = "csq"
WHOLE = re.compile("[0-9]{1,9}")


def train(
    features: Annotated[Path, typer.Option("--features", help="A .npy of (n, width) numbers, a row a picture.")],
    out: Annotated[Path, typer.Option("--out", help="Where the head goes, a .npz of numbers.")],
    labels: Annotated[
        Path | None,
        typer.Option(
            "--labels", help="A .npy: (n,) classes, (n, depth) from the root down, or (n, labels) of 0 and 1."
        ),
    ] = None,
    recipe: Annotated[
        str, typer.Option("--recipe", help="The recipe whose loss is used, see `hashgrain recipes`.")
    ] = "",
    hasher: Annotated[
        str,
        typer.Option(
            "--hasher", help="Fit a hasher without labels instead: LSH, PCAHash, PCARotation, ITQ, SpectralHash."
        ),
    ] = "",
    bits: Annotated[str, typer.Option("--bits", help="Widths of the grains of the recipe, or of the hasher.")] = "",
    grains: Annotated[str, typer.Option("--grains", help="Grains of your own instead: order:16,family:32.")] = "",
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="Change a value of the recipe or hasher: seed=3. Repeatable.")
    ] = None,
    run: Annotated[
        Path | None, typer.Option("--run", help="Folder of checkpoint and log. (default: runs/features)")
    ] = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> int:
    """Train a head on features of any model, or fit a hasher to them. `features encode` makes codes with it.

    With labels and a recipe it takes the extra: pip install 'hashgrain[train]'. A hasher takes none, and no labels.

    Example: hashgrain features train --features x.npy --labels y.npy --bits 64 --out head.npz
    """
    if hasher:
        if recipe or labels or grains:
            raise typer.BadParameter("a hasher takes no --recipe, --labels or --grains", param_hint="--hasher")
        return _fit(hasher, features, bits, settings or [], out, as_json)
    from hashgrain.cli.train import chosen_recipe, need_torch, print_made

    need_torch()
    from hashgrain.learn.training.feature_head import train_on_features

    chosen = chosen_recipe(recipe or DEFAULT, bits, settings or [], grains)
    log = lambda text: say(text, quiet)  # noqa: E731
    facts = train_on_features(chosen, features, labels, out, run or Path("runs/features"), log)
    return print_made(facts, out, as_json)


def encode(
    features: Annotated[Path, typer.Argument(metavar="FEATURES", help="A .npy of (n, width) numbers.")],
    head: Annotated[Path, typer.Option("--head", help="The .npz that `features train` or a hasher wrote.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Write .hgc, .npy, .parquet or .csv.")],
    paths: Annotated[
        Path | None, typer.Option("--paths", help="A file with a path a line, to store with the codes.")
    ] = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> int:
    """Turn features into codes with a head.

    `hashgrain import` makes a library of them. An .hgc or .parquet file names its head, so that codes of two heads do
    not mix.

    Example: hashgrain features encode x.npy --head head.npz --paths paths.txt --out codes.hgc
    """
    from hashgrain.codefiles import save_codes
    from hashgrain.errors import CodesError
    from hashgrain.hashers import load_head
    from hashgrain.labelled.arrays import open_array
    from hashgrain.library.importing import read_paths

    made = load_head(head)
    names = None if paths is None else read_paths(paths)
    codes = made.codes(open_array(features))
    if names is not None and len(names) != len(codes):
        raise CodesError(f"{features} has {len(codes)} rows and {paths} {len(names)} paths; one for each, please")
    save_codes(out, codes, paths=names, digest=made.digest)
    if as_json:
        print_json({"file": str(out), "codes": len(codes), "grains": dict(made.grains), "digest": made.digest})
    else:
        say(f"wrote {len(codes)} codes to {out}", quiet)
    return 0


def _fit(name: str, features: Path, bits: str, settings: list[str], out: Path, as_json: bool) -> int:
    from hashgrain.errors import TrainingError
    from hashgrain.hashers import HASHERS, load_head
    from hashgrain.labelled.arrays import open_array

    if name not in HASHERS:
        raise TrainingError(f"there is no hasher {name!r}; there are {', '.join(HASHERS)}")
    values = {"bits": bits or "64"} | dict(setting.partition("=")[::2] for setting in settings)
    known = HASHERS[name].__dataclass_fields__
    odd = [setting for setting, value in values.items() if setting not in known or not WHOLE.fullmatch(value)]
    if odd:
        raise TrainingError(
            f"{name} takes whole numbers of up to nine digits for {', '.join(known)}, not {odd[0]}={values[odd[0]]:.40}"
        )
    make: Any = HASHERS[name]
    make(**{setting: int(value) for setting, value in values.items()}).fit(open_array(features)).save(out)
    made = load_head(out)
    facts = {"head": str(out), "digest": made.digest, "grains": dict(made.grains), "method": name}
    print_json(facts) if as_json else print_line(str(out))
    return 0
