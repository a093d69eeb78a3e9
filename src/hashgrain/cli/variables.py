"""The environment variable of each option: HASHGRAIN_<VERB>_<OPTION>, as the option is called on the command line."""

from __future__ import annotations

from typing import Any


def with_variables(command: Any, prefix: str = "HASHGRAIN") -> Any:
    """The command with a variable for each option of its verbs. Options that end it, such as --version, have none."""
    for parameter in command.params:
        ends = parameter.is_eager or not parameter.expose_value
        if parameter.param_type_name == "option" and not ends and parameter.envvar is None:
            name = next((each[2:] for each in parameter.opts if each.startswith("--")), parameter.name)
            parameter.envvar = f"{prefix}_{name}".upper().replace("-", "_")
    for name, verb in getattr(command, "commands", {}).items():
        with_variables(verb, f"{prefix}_{name}")
    return command
