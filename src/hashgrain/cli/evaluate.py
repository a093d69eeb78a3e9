"""`hashgrain evaluate`: how good is a model, or the codes of another program?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hashgrain.cli.keys import snake_keys
from hashgrain.cli.output import Json, Quiet, print_json, print_line, print_table, progress_bar, say

if TYPE_CHECKING:
    from hashgrain.apps.evaluation import Plan


def evaluate(
    target: Annotated[
        str,
        typer.Argument(
            metavar="MODEL|CODES", help="'default', a bundle's folder, or a folder of codes, .npy or .parquet."
        ),
    ],
    data: Annotated[
        Path | None, typer.Option("--data", help="Labeled pictures: class/picture.jpg, parquet tables, or a list.")
    ] = None,
    protocol: Annotated[
        list[str] | None,
        typer.Option("--protocol", "-p", help="As `hashgrain protocols` lists them; repeatable. (default: folder)"),
    ] = None,
    seeds: Annotated[str, typer.Option("--seeds", help="Seeds of the split, such as 0,1,2.")] = "0",
    manifest: Annotated[
        Path | None, typer.Option("--manifest", help="A split drawn earlier, instead of a protocol.")
    ] = None,
    bits: Annotated[
        str, typer.Option("--bits", help="Widths, such as 16,32,64. (default: the model's grains, or whole codes)")
    ] = "",
    references: Annotated[
        str, typer.Option("--references", help="Reference methods to compare with: usual, all or none.")
    ] = "usual",
    asymmetric: Annotated[
        bool, typer.Option("--asymmetric", help="Also real-valued queries against binary codes, in rows of their own.")
    ] = False,
    label_noise: Annotated[
        str,
        typer.Option(
            "--label-noise", help="Also the reference classifier with these shares of its labels wrong: 0.2,0.4."
        ),
    ] = "",
    allow_seen: Annotated[
        bool, typer.Option("--allow-seen", help="Allow queries that the model learned from.")
    ] = False,
    out: Annotated[Path, typer.Option("--out", help="Folder for the runs, which get a folder each.")] = Path(
        "runs/evaluate"
    ),
    as_json: Json = False,
    quiet: Quiet = False,
) -> int:
    """Measure retrieval: mAP in every convention with its tie bounds, precision, recall, the health of the bits.

    A model is measured on labeled pictures, beside reference methods on its own features. Each run is a folder:
    result.json, report.html to look at, and the manifest, which lists the queries and the database. Queries that the
    model learned from, by the record in its bundle, are refused.

    Codes of another program are a folder with queries.npy and database.npy (or .parquet), in the order of --manifest,
    or with queries_labels.npy and database_labels.npy. --bits measures their first bits. With --data, their
    page shows example queries.

    Example: hashgrain evaluate default --data pictures/ --bits 16,32,64
    """
    from hashgrain.apps.evaluation import Plan
    from hashgrain.errors import EvaluationError
    from hashgrain.evaluate.outside import is_codes
    from hashgrain.evaluate.protocols import expanded
    from hashgrain.evaluate.results import Result

    if is_codes(Path(target)):
        for option, value in {"--protocol": protocol, "--label-noise": label_noise}.items():
            if value:
                say(f"warning: {option} is of models; codes are measured as they are")
        widths = _numbers(bits, "--bits", int)
        folders = [_measure_codes(Path(target), manifest, data, widths, asymmetric, out, quiet)]
    elif data is None:
        raise EvaluationError("a model is measured on labeled pictures: say where they are with --data")
    elif manifest and protocol:
        raise EvaluationError("a --manifest is of one protocol already: give one or the other")
    else:
        plan = Plan(
            protocols=[each for name in protocol or ["folder"] for each in expanded(name)],
            seeds=_numbers(seeds, "--seeds", int),
            manifest=manifest,
            widths=_numbers(bits, "--bits", int),
            references=references,  # type: ignore[arg-type]
            asymmetric=asymmetric,
            label_noise=_numbers(label_noise, "--label-noise", float),
            allow_seen=allow_seen,
        )
        folders = _measure_model(target, data, plan, out, quiet)
    results = [Result.read(folder) for folder in folders]
    if as_json:
        documents = [{"run": str(f), **result.described()} for f, result in zip(folders, results, strict=True)]
        print_json(snake_keys(documents))
        return 0
    for folder, result in zip(folders, results, strict=True):
        _print_result(folder, result)
    return 0


def _measure_codes(
    codes: Path,
    manifest: Path | None,
    data: Path | None,
    widths: list[int],
    asymmetric: bool,
    out: Path,
    quiet: bool,
) -> Path:
    from hashgrain.apps.evaluation import evaluate_codes
    from hashgrain.evaluate.manifest import Manifest
    from hashgrain.evaluate.outside import read_outside

    def log(text: str) -> None:
        say(text, quiet)

    name = codes.resolve().name
    drawn = Manifest.read(manifest) if manifest else None
    outside = read_outside(codes)
    return evaluate_codes(outside, drawn, name, out / name, log, widths=widths, asymmetric=asymmetric, data=data)


def _measure_model(model: str, data: Path, plan: Plan, out: Path, quiet: bool) -> list[Path]:
    from hashgrain.apps.evaluation import evaluate_model
    from hashgrain.models import Encoder

    with progress_bar("encoding", None, quiet) as progress:
        return evaluate_model(Encoder.load(model), data, plan, out, lambda text: say(text, quiet), progress)


def _print_result(folder: Path, result: Any) -> None:
    from hashgrain.evaluate.comparison import main_figure
    from hashgrain.evaluate.overlap import summary_of

    main = main_figure(result.protocol)
    for warning in result.warnings:
        say(f"warning: {warning}")
    if any(row.kind == "model" for row in result.rows):
        say(summary_of(result.learned_from))
    wanted = (main, "mAP@1000 hash", "P@10", "P@10 at most", "R-precision")
    shown = [name for name in wanted if all(name in row.figures for row in result.rows)]
    levels = [name for name in result.rows[0].figures if ": mAP@" in name]  # those above the class, coarse to fine
    shown += [name for name in levels if all(name in row.figures for row in result.rows)]
    columns = ["method", *dict.fromkeys(shown), "worst to best order of ties"]
    rows = []
    for row in result.rows:
        figures = [f"{row.figures[name].value:.4f}" for name in dict.fromkeys(shown)]
        first = row.figures[main]
        called = f"{row.name}: {row.grain}" if row.grain else row.name
        rows.append([called, *figures, f"{first.worst:.4f} to {first.best:.4f}"])
    print_table(f"{result.protocol['name']}, seed {result.protocol['seed']}", columns, rows, [None] * len(rows))
    print_line(f"{folder / 'report.html'}")


def _numbers(text: str, option: str, kind: type[Any]) -> list[Any]:
    from hashgrain.errors import EvaluationError

    try:
        return [kind(part) for part in text.split(",") if part.strip()]
    except ValueError:
        raise EvaluationError(f"{option} {text}: numbers joined by commas, please") from None
