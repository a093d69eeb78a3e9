"""The verbs in one place, and what is the same for all of them: errors, version, configuration."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import click
import typer

from hashgrain import __version__
from hashgrain.cli import (
    add,
    demo,
    doctor,
    encode,
    export,
    info,
    rebuild,
    remove,
    search,
    train,
    update,
    verify,
)
from hashgrain.cli.config import load_config
from hashgrain.cli.output import complain
from hashgrain.errors import HashgrainError

app = typer.Typer(
    name="hashgrain",
    help="Find images by looking at them: short binary codes, coarse to fine, searched exactly.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"], "auto_envvar_prefix": "HASHGRAIN"},
    epilog="Settings: flags, then HASHGRAIN_<VERB>_<OPTION> in the environment, then the configuration file.",
)
VERBS = (add, search, info, update, remove, verify, rebuild, encode, export, doctor, demo, train)
for verb in VERBS:
    name = verb.__name__.rpartition(".")[2]
    app.command(name)(getattr(verb, name))


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


def run(arguments: Sequence[str]) -> int:
    """Run one command line and return its exit code."""
    command = typer.main.get_command(app)
    try:
        result: Any = command.main(
            list(arguments), prog_name="hashgrain", standalone_mode=False, default_map=load_config(VERB_NAMES)
        )
    except click.exceptions.Exit as stop:
        return stop.exit_code
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except click.exceptions.Abort:
        complain("stopped")
        return 130
    except KeyboardInterrupt as stop:
        complain(str(stop) or "stopped")
        return 130
    except HashgrainError as error:
        complain(f"error: {error}")
        return 1
    return result if isinstance(result, int) else 0


VERB_NAMES = tuple(verb.__name__.rpartition(".")[2] for verb in VERBS)
