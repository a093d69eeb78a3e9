"""All verbs, and what they have in common: errors, version, configuration."""

from __future__ import annotations

import functools
import inspect
import os
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from hashgrain import __version__
from hashgrain.cli import (
    add,
    bench,
    calibrate,
    classify,
    compare,
    demo,
    doctor,
    duplicates,
    encode,
    evaluate,
    export,
    features,
    import_codes,
    index,
    info,
    meta,
    migrate,
    model,
    models,
    parts,
    protocols,
    rebuild,
    remove,
    restore,
    scenes,
    search,
    serve,
    shrink,
    tag,
    train,
    update,
    verify,
    why,
)
from hashgrain.cli.config import load_config
from hashgrain.cli.exit_codes import FAILED, STOPPED
from hashgrain.cli.output import complain, complain_in_json, complain_of, escape
from hashgrain.cli.remedies import as_command
from hashgrain.cli.variables import with_variables
from hashgrain.errors import HashgrainError

WRITING = "writing "


class Verbs(TyperGroup):
    """The group of verbs. Messages about a wrong command line are escaped: `*` may expand to hostile names."""

    def make_context(self, *arguments: Any, **options: Any) -> Any:
        with _printable_mistakes():
            return super().make_context(*arguments, **options)

    def invoke(self, *arguments: Any, **options: Any) -> Any:
        with _printable_mistakes():
            return super().invoke(*arguments, **options)


@contextmanager
def _printable_mistakes() -> Iterator[None]:
    try:
        yield
    except Exception as error:
        message = getattr(error, "message", None)  # of click's own exceptions, which Typer may bring itself
        if isinstance(message, str):
            error.message = escape(message)  # type: ignore[attr-defined]
        raise


app = typer.Typer(
    cls=Verbs,
    name="hashgrain",
    help="Image similarity search with compact binary codes: coarse to fine, exact, on your own disk.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Flags override HASHGRAIN_<VERB>_<OPTION> in the environment, which overrides the configuration file.",
)
VERBS: dict[str, Callable[..., int]] = {
    "add": add.add,
    "search": search.search,
    "why": why.why,
    "serve": serve.serve,
    "scenes": scenes.scenes,
    "info": info.info,
    "update": update.update,
    "remove": remove.remove,
    "meta": meta.meta,
    "parts": parts.parts,
    "tag": tag.tag,
    "classify": classify.classify,
    "duplicates": duplicates.duplicates,
    "restore": restore.restore,
    "calibrate": calibrate.calibrate,
    "index": index.index,
    "verify": verify.verify,
    "rebuild": rebuild.rebuild,
    "migrate": migrate.migrate,
    "models": models.models,
    "encode": encode.encode,
    "export": export.export,
    "import": import_codes.import_codes,
    "doctor": doctor.doctor,
    "demo": demo.demo,
    "train": train.train,
    "recipes": train.recipes,
    "shrink": shrink.shrink,
    "join": shrink.join,
    "evaluate": evaluate.evaluate,
    "compare": compare.compare,
    "protocols": protocols.protocols,
}


def _ending(verb: Callable[..., int]) -> Callable[..., None]:
    """The verb with an exit code. A known error is one line, never a traceback."""

    @functools.wraps(verb)
    def run(*arguments: object, **options: object) -> None:
        try:
            code = verb(*arguments, **options)
        except HashgrainError as error:
            _fail(error, options)
            code = FAILED
        except BrokenPipeError:
            raise
        except OSError as error:  # a full disk, a folder that may not be written
            _fail_of_system(error, _file_of(error, options), verb.__name__, options)
            code = FAILED
        except KeyboardInterrupt as stop:
            complain(str(stop) or "stopped")
            code = STOPPED
        raise typer.Exit(code)

    return run


def _fail(error: HashgrainError, options: Mapping[str, object]) -> None:
    """Report an error: one line for a person, a JSON document for a program."""
    if _wants_json(options):
        remedy = None if error.remedy is None else as_command(error.remedy)
        complain_in_json(error.code, error.message, error.path, remedy)
    else:
        complain_of(error)


def _fail_of_system(error: OSError, file: str | None, verb: str, options: Mapping[str, object]) -> None:
    message = f"{file or verb}: {error.strerror or error}"
    if _wants_json(options):
        complain_in_json("system", message, None if file is None else file.removeprefix(WRITING))
    else:
        complain(f"error: {message}")


def _wants_json(options: Mapping[str, object]) -> bool:
    return any(options.get(name) is True for name in ("as_json", "as_jsonl"))


def _file_of(error: OSError, options: Mapping[str, object]) -> str | None:
    """The file the error names, or else what the verb was writing: a full disk names none."""
    if error.filename is not None:
        return os.fsdecode(error.filename) if isinstance(error.filename, (str, bytes)) else str(error.filename)
    written = [options[name] for name in ("html", "out", "folder", "library") if isinstance(options.get(name), Path)]
    return f"{WRITING}{written[0]}" if written else None


def _help(verb: Callable[..., int]) -> str:
    """The docstring, one line a paragraph, which Typer wraps to the terminal; brackets would be markup."""
    return re.sub(r"(?<!\n)\n(?!\n)", " ", inspect.getdoc(verb) or "").replace("[", r"\[")


for _name, _verb in VERBS.items():
    app.command(_name, help=_help(_verb))(_ending(_verb))
_benches = typer.Typer(no_args_is_help=True, help="Measure speed on this machine, with your own data.")
_benches.command("search", help=_help(bench.search))(_ending(bench.search))
app.add_typer(_benches, name="bench")
_making = typer.Typer(no_args_is_help=True, help="Make a model out of any pretrained network, and show one.")
_making.command("make", help=_help(model.make))(_ending(model.make))
_making.command("show", help=_help(model.show))(_ending(model.show))
app.add_typer(_making, name="model")
_features = typer.Typer(no_args_is_help=True, help="Make codes of features that another program made.")
_features.command("train", help=_help(features.train))(_ending(features.train))
_features.command("encode", help=_help(features.encode))(_ending(features.encode))
app.add_typer(_features, name="features")


@_benches.callback()
def _measuring() -> None:
    """Keeps `search` a command of its own while it is the only one."""


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"hashgrain {__version__}")
        raise typer.Exit()


@app.callback()
def _common(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    pass


def run() -> int:
    """Run the command line. Returns only if the configuration is broken."""
    command = with_variables(typer.main.get_command(app))
    try:
        settings = load_config(command)
    except HashgrainError as error:
        complain_of(error)
        return 1
    command(default_map=settings)
    return 0
