"""All verbs, and what they have in common: errors, version, configuration."""

from __future__ import annotations

import functools
import importlib
import inspect
import os
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from hashgrain import __version__
from hashgrain.cli.config import is_configured, load_config
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


# Where the function of each verb is. A command imports that of its own verb alone, since all of them take a while.
VERBS = {
    "add": "add.add",
    "search": "search.search",
    "why": "why.why",
    "serve": "serve.serve",
    "scenes": "scenes.scenes",
    "info": "info.info",
    "update": "update.update",
    "remove": "remove.remove",
    "meta": "meta.meta",
    "parts": "parts.parts",
    "tag": "tag.tag",
    "classify": "classify.classify",
    "duplicates": "duplicates.duplicates",
    "restore": "restore.restore",
    "calibrate": "calibrate.calibrate",
    "index": "index.index",
    "verify": "verify.verify",
    "rebuild": "rebuild.rebuild",
    "migrate": "migrate.migrate",
    "models": "models.models",
    "encode": "encode.encode",
    "export": "export.export",
    "import": "import_codes.import_codes",
    "doctor": "doctor.doctor",
    "demo": "demo.demo",
    "train": "train.train",
    "recipes": "train.recipes",
    "shrink": "shrink.shrink",
    "join": "shrink.join",
    "evaluate": "evaluate.evaluate",
    "compare": "compare.compare",
    "protocols": "protocols.protocols",
}
GROUPS = {
    "bench": ("Measure speed on this machine, with your own data.", {"search": "bench.search"}),
    "model": (
        "Make a model out of any pretrained network, and show one.",
        {"make": "model.make", "show": "model.show"},
    ),
    "backup": (
        "Make backups of a library, while it is written to, and restore them.",
        {
            "make": "backup.make",
            "list": "backup.list_backups",
            "verify": "backup.verify",
            "restore": "backup.restore",
            "prune": "backup.prune",
        },
    ),
    "engine": (
        "Put the codes of a library into a database, bring them up to date there, remove them.",
        {name: f"engine.{name}" for name in ("attach", "status", "sync", "detach")},
    ),
    "features": (
        "Make codes of features that another program made.",
        {"train": "features.train", "encode": "features.encode"},
    ),
}


def application(only: str | None = None) -> typer.Typer:
    """The command line with every verb, or with one verb or group of verbs."""
    app = typer.Typer(
        cls=Verbs,
        name="hashgrain",
        help="Image similarity search with compact binary codes: coarse to fine, exact, on your own disk.",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
        epilog="Flags override HASHGRAIN_<VERB>_<OPTION> in the environment, which overrides the configuration file.",
    )
    app.callback()(_common)
    _add(app, {name: place for name, place in VERBS.items() if only in (None, name)})
    for name, (help_text, verbs) in GROUPS.items():
        if only in (None, name):
            group = typer.Typer(no_args_is_help=True, help=help_text)
            group.callback()(_of_group)
            _add(group, verbs)
            app.add_typer(group, name=name)
    return app


def _add(app: typer.Typer, verbs: Mapping[str, str]) -> None:
    for name, place in verbs.items():
        module, _, function = place.partition(".")
        verb: Callable[..., int] = getattr(importlib.import_module(f"hashgrain.cli.{module}"), function)
        app.command(name, help=_help(verb))(_ending(verb))


def _of_group() -> None:
    """Keeps the verb of a group a command of its own where it is the only one."""


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


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"hashgrain {__version__}")
        raise typer.Exit()


def _common(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    pass


def run() -> int:
    """Run the command line. Returns only if the configuration is broken."""
    command = with_variables(typer.main.get_command(application(_verb_asked_for())))
    try:
        settings = load_config(command)
    except HashgrainError as error:
        complain_of(error)
        return 1
    command(default_map=settings)
    return 0


def _verb_asked_for() -> str | None:
    """The verb of the command line, or None where all are needed: to list or complete them, or to check a file."""
    first = sys.argv[1] if len(sys.argv) > 1 else None
    every = "_HASHGRAIN_COMPLETE" in os.environ or is_configured()
    return None if every or first not in {*VERBS, *GROUPS} else first
