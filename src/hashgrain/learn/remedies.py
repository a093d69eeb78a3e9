"""A remedy that changes a setting: `set views=2` in Python's words, an option on the command line."""

from __future__ import annotations

from hashgrain.errors import Remedy


def set_to(setting: str) -> Remedy:
    """Change a value of the recipe, such as `trained=head`."""
    return Remedy(f"set {setting}", "set", setting=setting)
