"""The configuration file: a TOML table a verb, an entry an option. Flags and environment win over it."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hashgrain.errors import HashgrainError


def config_path() -> Path:
    """HASHGRAIN_CONFIG, or config.toml in the user's configuration folder."""
    if named := os.environ.get("HASHGRAIN_CONFIG"):
        return Path(named)
    from platformdirs import user_config_path

    return user_config_path("hashgrain") / "config.toml"


def load_config(verbs: Sequence[str]) -> dict[str, Any]:
    """What the file sets, as defaults for the verbs: `[search]` then `k = 20`."""
    path = config_path()
    tomllib = importlib.import_module("tomllib" if sys.version_info >= (3, 11) else "tomli")
    try:
        settings = tomllib.loads(path.read_text())
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise HashgrainError(f"the configuration file {path} cannot be used: {error}") from None
    unknown = [name for name, table in settings.items() if name not in verbs or not isinstance(table, dict)]
    if unknown:
        raise HashgrainError(
            f"the configuration file {path} has {unknown[0]!r}; it holds a table for a verb, such as [search]"
        )
    return {verb: {key.replace("-", "_"): value for key, value in table.items()} for verb, table in settings.items()}
