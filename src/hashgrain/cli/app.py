"""The verbs in one place, and what is the same for all of them: errors, version, configuration."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Annotated

import typer

from hashgrain import __version__
from hashgrain.cli import (
    add,
    bench,
    compare,
    demo,
    doctor,
    encode,
    evaluate,
    export,
    index,
    info,
    meta,
    protocols,
    rebuild,
    remove,
    search,
    shrink,
    train,
    update,
    verify,
)
from hashgrain.cli.config import load_config
from hashgrain.cli.output import complain
from hashgrain.errors import HashgrainError

STOPPED = 130
app = typer.Typer(
    name="hashgrain",
    help="Find images by looking at them: short binary codes, coarse to fine, searched exactly.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "auto_envvar_prefix": "HASHGRAIN"},
    epilog="Settings: flags, then HASHGRAIN_<VERB>_<OPTION> in the environment, then the configuration file.",
)
VERBS: dict[str, Callable[..., int]] = {
    "add": add.add,
    "search": search.search,
    "info": info.info,
    "update": update.update,
    "remove": remove.remove,
    "meta": meta.meta,
    "index": index.index,
    "verify": verify.verify,
    "rebuild": rebuild.rebuild,
    "encode": encode.encode,
    "export": export.export,
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
    """The verb, ending with an exit code; what goes wrong on purpose is one line, never a traceback."""

    @functools.wraps(verb)
    def run(*arguments: object, **options: object) -> None:
        try:
            code = verb(*arguments, **options)
        except HashgrainError as error:
            complain(f"error: {error}")
            code = 1
        except BrokenPipeError:
            raise
        except OSError as error:  # a full disk, a folder that may not be written
            complain(f"error: {error.filename or verb.__name__}: {error.strerror or error}")
            code = 1
        except KeyboardInterrupt as stop:
            complain(str(stop) or "stopped")
            code = STOPPED
        raise typer.Exit(code)

    return run


for _name, _verb in VERBS.items():
    app.command(_name)(_ending(_verb))
_benches = typer.Typer(no_args_is_help=True, help="Measure how fast things are here, on your own data.")
_benches.command("search")(_ending(bench.search))
app.add_typer(_benches, name="bench")


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
    """Run the command line; returns only where the configuration is broken."""
    try:
        settings = load_config(tuple(VERBS))
    except HashgrainError as error:
        complain(f"error: {error}")
        return 1
    app(default_map=settings)
    return 0
