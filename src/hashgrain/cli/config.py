"""The configuration file: a TOML table a verb, an entry an option. Flags and environment win over it."""

from __future__ import annotations

import importlib
import inspect
import os
import sys
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, get_args, get_origin, get_type_hints

from hashgrain.errors import HashgrainError
from hashgrain.files import read_regular

MAX_BYTES = 1 << 20
WANTED = {bool: "true or false", int: "a whole number", float: "a number"}


def config_path() -> Path:
    """HASHGRAIN_CONFIG, or config.toml in the user's configuration folder."""
    if named := os.environ.get("HASHGRAIN_CONFIG"):
        return Path(named)
    from platformdirs import user_config_path

    return user_config_path("hashgrain") / "config.toml"


def is_configured() -> bool:
    """Whether there is a configuration file."""
    path = config_path()
    return str(path) != os.devnull and os.path.lexists(path)


def load_config(command: Any) -> dict[str, Any]:
    """What the file sets, as defaults for the verbs of the command line: `[search]` then `k = 20`.

    Every entry must be an option of its verb, and of its type: an ignored entry would go unnoticed.
    """
    if not is_configured():
        return {}
    path = config_path()
    tomllib = importlib.import_module("tomllib" if sys.version_info >= (3, 11) else "tomli")
    try:
        settings = tomllib.loads(read_regular(path, MAX_BYTES).decode())
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise HashgrainError(f"the configuration file {path} cannot be used: {error}") from None
    try:
        return _defaults(command, settings, "")
    except ValueError as error:
        raise HashgrainError(f"the configuration file {path}: {error}") from None


def _defaults(group: Any, settings: Mapping[str, Any], place: str) -> dict[str, Any]:
    """The tables of a group of verbs, checked, by the names the verbs have for their options."""
    defaults: dict[str, Any] = {}
    for verb, table in settings.items():
        if verb not in group.commands:
            raise ValueError(f"there is no verb {place}{verb}{_instead(verb, group.commands)}")
        if not isinstance(table, dict):
            raise ValueError(f"{place}{verb} is no table; write [{place}{verb}], and its options below")
        below = group.commands[verb]
        if hasattr(below, "commands"):
            defaults[verb] = _defaults(below, table, f"{place}{verb}.")
            continue
        options, kinds = options_of(below), _kinds(below)
        defaults[verb] = {}
        for key, value in table.items():
            name = key.replace("_", "-")
            if name not in options:
                raise ValueError(f"[{place}{verb}] has no option {key!r}{_instead(name, options)}")
            parameter = options[name].name
            defaults[verb][parameter] = _checked(f"[{place}{verb}] {key}", *kinds[parameter], value)
    return defaults


def options_of(verb: Any) -> dict[str, Any]:
    """The options of a verb by their long names, or the short one where there is no other."""
    options = {}
    for parameter in verb.params:
        names = [name.lstrip("-") for name in parameter.opts] if parameter.param_type_name == "option" else []
        options.update({name: parameter for name in [n for n in names if len(n) > 1] or names if name != "help"})
    return options


def _kinds(verb: Any) -> dict[str, tuple[bool, type]]:
    """Of each parameter of a verb, whether it takes a list, and of what."""
    kinds = {}
    for name, hint in get_type_hints(inspect.unwrap(verb.callback)).items():
        (kind,) = [part for part in get_args(hint) if part is not NoneType] if type(hint) is UnionType else [hint]
        listed = get_origin(kind) is list
        kinds[name] = listed, get_args(kind)[0] if listed else kind
    return kinds


def _checked(place: str, listed: bool, kind: type, value: Any) -> Any:
    """The value, if the option takes such a one. What else it asks of it, it says itself."""
    if listed and not isinstance(value, list):
        raise ValueError(f"{place} is a list of values, such as [{value!r}], not {value!r}")
    taken: Any = {bool: bool, int: int, float: (int, float)}.get(kind, str)
    for one in value if listed else [value]:
        if not isinstance(one, taken) or (isinstance(one, bool) and kind is not bool):  # True is an int to Python
            raise ValueError(f"{place} is {WANTED.get(kind, 'text')}, not {one!r}")
    return value


def _instead(name: str, known: Iterable[str]) -> str:
    near = get_close_matches(name, known, 3)
    return f"; did you mean {' or '.join(near)}?" if near else f"; there is {', '.join(known)}"
