"""`hashgrain verify`: check a library for damage, or whether a model is fit for use."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hashgrain.cli.output import Json, print_json, print_line
from hashgrain.cli.remedies import as_command

if TYPE_CHECKING:
    from PIL.Image import Image

    from hashgrain.evaluate import Finding
    from hashgrain.models import Encoder
    from hashgrain.store.items import Problem

STATUS = {True: "ok", False: "WRONG", None: "info"}


def verify(
    target: Annotated[
        Path,
        typer.Argument(metavar="LIBRARY", help="A library's folder, or a model: 'default', or a bundle's folder."),
    ],
    pictures: Annotated[
        Path | None,
        typer.Option("--pictures", help="Check a model on the pictures of this folder, instead of drawn ones."),
    ] = None,
    as_json: Json = False,
) -> int:
    """Check everything in LIBRARY: catalogue, checksums, counts, model. Exit code 1 means that something is wrong.

    Of a model: whether its files are whole, whether the same picture always has the same bits, and whether bits and
    codes are in use. How it stands up to changed and attacked pictures is reported (info), not judged.

    Example: hashgrain verify my-model --pictures photos/
    """
    from hashgrain.apps.model_checkup import is_bundle
    from hashgrain.models.bundle import shipped_folder

    if not target.exists() and shipped_folder(str(target)) is not None:
        return _verify_model(str(target), pictures, as_json)
    if is_bundle(target):
        return _verify_model(target, pictures, as_json)
    if pictures is not None:
        raise typer.BadParameter(f"--pictures is for checking a model, and {target} is not one")
    return _verify_library(target, as_json)


def _verify_library(library: Path, as_json: bool) -> int:
    from hashgrain.library import verify_library

    problems = verify_library(library)
    wrong = [problem for problem in problems if not problem.harmless]
    if as_json:
        print_json({"ok": not wrong, "problems": [_document(problem) for problem in problems]})
    else:
        for problem in problems:
            print_line(f"{problem.thing}: {problem.reason}. {as_command(problem.remedy)}")
        if not wrong:
            print_line(f"{library} is sound")
    return 1 if wrong else 0


def _document(problem: Problem) -> dict[str, Any]:
    return {**dataclasses.asdict(problem), "remedy": as_command(problem.remedy)}


def _verify_model(bundle: str | Path, folder: Path | None, as_json: bool) -> int:
    from hashgrain.apps.model_checkup import open_bundle, pictures_to_check
    from hashgrain.evaluate import check_model

    finding, encoder = open_bundle(bundle)
    findings, what = [finding], "no pictures"
    if encoder is not None:
        pictures, what = pictures_to_check(folder)
        findings += [*check_model(encoder, pictures), _attack_finding(encoder, pictures)]
    wrong = any(finding.passed is False for finding in findings)
    if as_json:
        documents = [dataclasses.asdict(finding) for finding in findings]
        print_json({"ok": not wrong, "model": str(bundle), "pictures": what, "findings": documents})
    else:
        print_line(f"model {bundle}, on {what}")
        width = max(len(finding.name) for finding in findings)
        for finding in findings:
            print_line(f"{STATUS[finding.passed]:<5}  {finding.name:<{width}}  {finding.reason}")
        print_line(f"{bundle} is {'NOT fit for use' if wrong else 'fit for use'}")
    return 1 if wrong else 0


def _attack_finding(encoder: Encoder, pictures: list[Image]) -> Finding:
    from hashgrain.errors import TrainingError
    from hashgrain.evaluate import Finding, pixels_for

    try:
        import onnx  # noqa: F401
        import torch  # noqa: F401
    except ImportError:
        return Finding("attack", None, "not checked: needs hashgrain[train]")
    from hashgrain.learn.model_check import check_attack

    try:
        return check_attack(encoder, pixels_for(encoder, pictures))
    except TrainingError as error:
        return Finding("attack", None, f"not checked: {error}")
