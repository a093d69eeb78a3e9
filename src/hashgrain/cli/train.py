"""`hashgrain train`: make a model of your own pictures."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hashgrain.cli.keys import snake_keys
from hashgrain.cli.output import Json, Quiet, print_json, print_line, print_row, say
from hashgrain.cli.spelling import american, american_setting

if TYPE_CHECKING:
    from hashgrain.learn.data.part import TrainingPart
    from hashgrain.learn.recipe import Recipe

PHOTO = "photo"  # the recipe of the default model; `--data` is then the folder of all its sets
ADAPT = "adapt"  # a head on an existing model, fitted on cached features
ABOUT_PHOTO = "the default model: a head distilled from EfficientNet-Lite0, without labels"


def train(
    data: Annotated[
        Path,
        typer.Option("--data", help="Labeled pictures: kind/thing/picture.jpg, a list, tables, shards, arrays."),
    ],
    out: Annotated[Path, typer.Option("--out", help="Folder for the bundle.")],
    protocol: Annotated[
        str,
        typer.Option(
            "--protocol", "-p", help="Train on the training part of this protocol only, see `hashgrain protocols`."
        ),
    ] = "",
    manifest: Annotated[Path | None, typer.Option("--manifest", help="The same, with a split drawn earlier.")] = None,
    protocol_seed: Annotated[int, typer.Option("--protocol-seed", min=0, help="Seed of the protocol's split.")] = 0,
    recipe: Annotated[
        str, typer.Option("--recipe", help="A name `hashgrain recipes` lists, or a .json file.")
    ] = "default",
    bits: Annotated[str, typer.Option("--bits", help="Widths of the grains, such as 16,32,64.")] = "",
    grains: Annotated[
        str,
        typer.Option("--grains", help="Grains of your own, coarse to fine: order:16,family:32,species:64,look:128."),
    ] = "",
    targets: Annotated[
        Path | None,
        typer.Option("--targets", help="A code of zeros and ones for each picture, .npy (n, bits), instead of labels."),
    ] = None,
    weights: Annotated[
        str,
        typer.Option("--weights", help="Initial weights of the backbone: a .safetensors file, pip, hub, or random."),
    ] = "",
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", help="Change a value of the recipe: learning_rate=0.001. Repeatable."),
    ] = None,
    run: Annotated[
        Path | None,
        typer.Option("--run", "--run-folder", help="Folder of checkpoint, log and curves. (default: runs/RECIPE)"),
    ] = None,
    seeds: Annotated[
        int,
        typer.Option(
            "--seeds", min=1, help="Train with this many seeds. OUT gets the model that is best on the validation set."
        ),
    ] = 1,
    label_noise: Annotated[
        float | None,
        typer.Option("--label-noise", min=0, max=1, help="Make this share of the training labels wrong, as a test."),
    ] = None,
    checkpoint_minutes: Annotated[
        float, typer.Option("--checkpoint-minutes", min=0, help="Minutes between two checkpoints.")
    ] = 2.0,
    as_json: Json = False,
    quiet: Quiet = False,
) -> int:
    """Train a model by a recipe and write its bundle. Run the same command again to resume after a stop.

    Needs the extra: pip install 'hashgrain[train]'. `hashgrain recipes` lists the recipes, `hashgrain recipes NAME`
    the settings of one. To measure on pictures that the model has not seen, train on the training part of a protocol,
    and evaluate with the same protocol.

    For several GPUs or processes: torchrun --nproc-per-node 2 -m hashgrain train ... There, name the folder of the run
    with --run-folder, since torchrun reads --run as an option of its own.

    Example: hashgrain train --data pictures/ --out my-model --recipe quick --protocol folder
    """
    need_torch()
    if recipe == PHOTO:
        if protocol or manifest:
            raise _not_of_photo()
        return _photo(data, out, run or Path("runs") / PHOTO, as_json, quiet)
    if recipe == ADAPT:
        if bits or grains or targets or weights or seeds > 1 or label_noise is not None:
            raise _not_of_adapt()
        part = _part(data, protocol, manifest, protocol_seed, quiet)
        return _adapt(data, out, run or Path("runs") / ADAPT, settings or [], part, as_json, quiet)
    named = {"label_noise": label_noise, "targets": targets, "weights": weights or None}
    more = [f"{name}={value}" for name, value in named.items() if value is not None]
    from hashgrain.learn.seeds import best_of, run_folder, seeded

    chosen = chosen_recipe(recipe, bits, [*(settings or []), *more], grains)
    part = _part(data, protocol, manifest, protocol_seed, quiet)
    made = _trained(seeded(chosen, seeds, run or run_folder(recipe), out), data, checkpoint_minutes, part, quiet)
    if not made:
        return 0
    if chosen.aim.separate:
        say("its grains are separate codes: search with hashgrain search --coarse-to-fine --separate", quiet)
    return print_made(best_of(made, out) if seeds > 1 else made[0], out, as_json)


def print_made(facts: dict[str, Any], out: Path, as_json: bool) -> int:
    """Print the figures on the validation set, and the place of what was made."""
    if as_json:
        print_json(snake_keys(facts))
        return 0
    for name, value in facts.get("validation", {}).items():
        print_row(name, f"{value:g}" + (f" ± {facts['spread'][name]:.2g}" if "spread" in facts else ""))
    print_line(str(out))
    return 0


def _part(data: Path, protocol: str, manifest: Path | None, seed: int, quiet: bool) -> TrainingPart | None:
    from hashgrain.learn.data.part import training_part

    return training_part(data, protocol, manifest, seed, lambda text: say(text, quiet))


def _photo(data: Path, out: Path, run: Path, as_json: bool, quiet: bool) -> int:
    """The default model: not a network that is trained, but a head fitted on the features of a pretrained one."""
    from hashgrain.learn.photo.make import make_photo

    try:
        facts = make_photo(data, out, run, lambda text: say(text, quiet))
    except KeyboardInterrupt:
        raise KeyboardInterrupt("stopped; run the same command again to resume: the features are cached") from None
    return print_made(facts, out, as_json)


def _adapt(
    data: Path, out: Path, run: Path, settings: list[str], part: TrainingPart | None, as_json: bool, quiet: bool
) -> int:
    """A new head on an existing model, which keeps what the model knows."""
    from hashgrain.learn.adapt.make import adapt_bundle
    from hashgrain.learn.adapt.settings import changed

    try:
        facts = adapt_bundle(changed(settings), data, out, run, lambda text: say(text, quiet), part)
    except KeyboardInterrupt:
        raise KeyboardInterrupt("stopped; run the same command again to resume: the features are cached") from None
    return print_made(facts, out, as_json)


def _not_of_photo() -> Exception:
    from hashgrain.errors import TrainingError

    return TrainingError(
        f"recipe {PHOTO} is fitted on sets of its own and takes no --protocol or --manifest; `--recipe {ADAPT}` learns"
        " from the training part of a protocol"
    )


def _not_of_adapt() -> Exception:
    from hashgrain.errors import TrainingError

    return TrainingError(
        "recipe adapt takes no --bits, --grains, --targets, --weights, --seeds or --label-noise: it keeps the grains of"
        " the model it adapts, and a seed is set by --set seed=2"
    )


def _trained(
    runs: list[tuple[Recipe, Path, Path]],
    data: Path,
    checkpoint_minutes: float,
    part: TrainingPart | None,
    quiet: bool,
) -> list[dict[str, Any]]:
    """The facts of each run. Only rank 0 of several processes has any."""
    from hashgrain.learn.run import train_bundle
    from hashgrain.learn.training.processes import leave
    from hashgrain.report.curves import write_curves

    made = []
    try:
        for one, place, where in runs:
            facts = train_bundle(one, data, where, place, lambda text: say(text, quiet), 60 * checkpoint_minutes, part)
            if facts is not None:
                made.append(facts)
                write_curves(place)
        leave()
    except KeyboardInterrupt:
        raise KeyboardInterrupt("stopped; run the same command again to resume from the last checkpoint") from None
    return made


def recipes(
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="Show the settings of this recipe.")] = None,
    as_json: Json = False,
) -> int:
    """List the recipes of `hashgrain train`, or show what one of them does and the values that --set can change.

    Example: hashgrain recipes default
    """
    from hashgrain.cli.output import print_table
    from hashgrain.learn.adapt.settings import ABOUT as ABOUT_ADAPT
    from hashgrain.learn.adapt.settings import changeable as changeable_of_adapt
    from hashgrain.learn.recipe import changeable
    from hashgrain.learn.recipes import RECIPES

    if name is None:
        rows = [[recipe.name, ",".join(map(str, recipe.grains.values())), recipe.about] for recipe in RECIPES.values()]
        others = {ADAPT: ABOUT_ADAPT, PHOTO: ABOUT_PHOTO}
        rows += [[each, "48,96,256", about] for each, about in others.items()]
        if as_json:
            documents = [{"name": r.name, "grains": dict(r.grains), "about": r.about} for r in RECIPES.values()]
            grains = {"kind": 48, "thing": 96, "look": 256}
            print_json(
                [*documents, *({"name": each, "grains": grains, "about": about} for each, about in others.items())]
            )
        else:
            print_table("recipes", ["name", "bits", "what it does"], rows, [None] * len(rows))
        return 0
    if name == PHOTO:
        print_json({"name": PHOTO, "about": ABOUT_PHOTO}) if as_json else print_line(f"{PHOTO}: {ABOUT_PHOTO}")
        return 0
    if name == ADAPT:
        return _print_recipe(name, ABOUT_ADAPT, "those of the model", changeable_of_adapt(), as_json)
    recipe = chosen_recipe(name, "", [])
    if not _has_torch():
        say("the settings of its loss are listed where torch is installed: pip install 'hashgrain[train]'")
    values = {"epochs": sum(p.epochs for p in recipe.schedule.phases)} | changeable(recipe)
    return _print_recipe(recipe.name, recipe.about, recipe.grains, values, as_json)


def _print_recipe(name: str, about: str, grains: Any, values: dict[str, Any], as_json: bool) -> int:
    if as_json:
        widths = grains if isinstance(grains, str) else dict(grains)
        print_json({"name": name, "about": about, "grains": widths, "values": values})
        return 0
    print_line(f"{name}: {about}")
    print_row("grains", grains)
    for key, value in values.items():
        print_row(key, ",".join(map(str, value)) if isinstance(value, tuple) else value)
    return 0


def need_torch() -> None:
    from hashgrain.errors import TrainingError

    if not _has_torch():
        raise TrainingError("training needs torch: pip install 'hashgrain[train]'")


def _has_torch() -> bool:
    try:
        import torch  # noqa: F401
    except ImportError:
        return False
    return True


def chosen_recipe(name: str, bits: str, settings: list[str], grains: str = "") -> Recipe:
    from difflib import get_close_matches

    from hashgrain.errors import TrainingError
    from hashgrain.learn.recipe import change, with_bits
    from hashgrain.learn.recipe_file import read_recipe
    from hashgrain.learn.recipes import RECIPES

    from_file = name.endswith(".json")
    name = name if from_file else american(name)
    settings = [american_setting(setting) for setting in settings]
    if name not in RECIPES and not from_file:
        near = get_close_matches(name, [*RECIPES, ADAPT, PHOTO]) or [*RECIPES, ADAPT, PHOTO]
        raise TrainingError(f"no recipe {name!r}; there is {', '.join(near)}; `hashgrain recipes` lists them all")
    if grains and bits:
        raise TrainingError("--grains names the widths already: leave --bits out")
    recipe = change(_with_grains(read_recipe(Path(name)) if from_file else RECIPES[name], grains), settings)
    if not bits:
        return recipe
    try:
        return with_bits(recipe, [int(part) for part in bits.split(",")])
    except ValueError:
        raise TrainingError(f"--bits {bits}: whole numbers joined by commas, please") from None


def _with_grains(recipe: Recipe, grains: str) -> Recipe:
    """The first of all changes, since the others must fit the grains."""
    from hashgrain.learn.data.own_grains import read_grains, with_grains

    return with_grains(recipe, read_grains(grains)) if grains else recipe
