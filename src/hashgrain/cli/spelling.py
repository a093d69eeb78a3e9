"""British spellings of options, which this version still takes, with a warning."""

from __future__ import annotations

from hashgrain.cli.output import say

AMERICAN = {
    "centre": "center",
    "colour": "color",
    "grey": "gray",
    "neighbour": "neighbor",
    "normalis": "normaliz",
    "quantis": "quantiz",
}


def american(name: str) -> str:
    """The name as it is spelled now."""
    spelled = name
    for old, new in AMERICAN.items():
        spelled = spelled.replace(old, new)
    if spelled != name:
        say(f"warning: {name} is spelled {spelled} now; the next version no longer takes {name}")
    return spelled


def american_setting(setting: str) -> str:
    """NAME=VALUE with its name spelled as now; of a loss its value, which is a name too."""
    name, equals, value = setting.partition("=")
    return american(name) + equals + (american(value) if name == "loss" else value)
