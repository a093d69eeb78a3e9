"""`hashgrain protocols`: list the published protocols, and draw their splits."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hashgrain.cli.keys import snake_keys
from hashgrain.cli.output import Json, print_facts, print_json, print_table, progress_bar, say


def protocols(
    name: Annotated[str | None, typer.Argument(metavar="[PROTOCOL]", help="One protocol, with all its rules.")] = None,
    data: Annotated[Path | None, typer.Option("--data", help="Labeled pictures to draw its splits from.")] = None,
    seed: Annotated[int, typer.Option("--seed", help="Seed of the draw.")] = 0,
    out: Annotated[Path | None, typer.Option("--out", help="Folder for the manifest (and features).")] = None,
    features: Annotated[
        str | None, typer.Option("--features", help="Also write the features of this model: 'default' or a bundle.")
    ] = None,
    as_json: Json = False,
) -> int:
    """List the protocols, show one, or draw its splits from your pictures and write the manifest.

    A manifest lists the query, training and database pictures, by the hash of their content. With --features,
    queries.npy, train.npy and database.npy hold the features of a model in that order, with labels beside them, so
    that other programs can make codes from them.

    Example: hashgrain protocols cifar10-1 --data cifar-10/ --out cifar10-1/ --features default
    """
    from hashgrain.errors import EvaluationError
    from hashgrain.evaluate.protocols import PROTOCOLS, protocol

    if name is None:
        if as_json:
            print_json({each.name: snake_keys(each.facts()) for each in PROTOCOLS.values()})
        else:
            rows = [[each.name, each.about] for each in PROTOCOLS.values()]
            print_table("Protocols", ["name", "what it is"], rows, [None] * len(rows))
        return 0
    chosen = protocol(name)
    if data is None:
        print_json(snake_keys(chosen.facts())) if as_json else print_facts(chosen.facts())
        return 0
    if out is None:
        raise EvaluationError("say where the manifest goes with --out")
    from hashgrain.apps.evaluation import MANIFEST, export_features
    from hashgrain.evaluate.splitting import read_pool, split
    from hashgrain.labelled import labelled_pictures
    from hashgrain.models import Encoder

    with progress_bar("encoding" if features else "reading", None, False) as progress:
        if features:
            manifest = export_features(Encoder.load(features), data, chosen, seed, out, progress)
        else:
            manifest = split(read_pool(labelled_pictures(data), progress), chosen, seed)
            manifest.write(out / MANIFEST)
    for warning in manifest.warnings:
        say(f"warning: {warning}")
    counts = {split_name: len(index) for split_name, index in manifest.splits.items()}
    facts = {"manifest": str(out / MANIFEST), "digest": manifest.digest, **counts, "seed": seed}
    print_json(facts) if as_json else print_facts(facts)
    return 0
