"""A recipe out of JSON, of a file or a request: everything in it checked by pydantic, with one kind of error.

What JSON cannot say of a recipe, its types, is checked here; its values are checked by the recipe itself, so that one
written in Python, changed by settings, or read from JSON is refused in the same words.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hashgrain import files
from hashgrain.codes import Grains
from hashgrain.errors import CodesError, TrainingError
from hashgrain.learn.recipe import Recipe

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

MAX_BYTES = 16 << 20  # of a description of a model, which has its recipe too
MOST = 80  # characters of a value that a message shows


def read_recipe(path: Path) -> Recipe:
    """Of a JSON file: a recipe, or the `model.json` of a model that was trained by one."""
    try:
        described = json.loads(files.read_regular(path, MAX_BYTES))
    except OSError as error:
        raise TrainingError(f"cannot read {path} ({error.strerror or error})", path=path) from None
    except (ValueError, RecursionError) as error:
        raise TrainingError(f"{path} is not JSON ({_cut(error)})", path=path) from None
    training = described.get("training") if isinstance(described, dict) else None
    return recipe_of(training.get("recipe") if isinstance(training, dict) else described)


def recipe_of(described: Any) -> Recipe:
    """The recipe that a JSON object describes, as `training.recipe` of a model has it."""
    from pydantic import TypeAdapter, ValidationError

    if not isinstance(described, Mapping):
        raise TrainingError(f"a recipe is an object of JSON, not {_cut(described)}")
    try:
        grains = Grains(described.get("grains"))
    except (CodesError, TypeError, ValueError, AttributeError) as error:
        raise TrainingError(f"grains of the recipe: {_cut(error)}") from None
    try:
        recipe: Recipe = TypeAdapter(Recipe).validate_python({**described, "grains": grains})
    except ValidationError as error:
        raise TrainingError(f"recipe {_cut(described.get('name'))}: {_in_words(error.errors()[0])}") from None
    return recipe


def _in_words(error: ErrorDetails) -> str:
    """Which value, and what is allowed."""
    name = ".".join(map(str, error["loc"]))
    if error["type"] == "missing":
        return f"there is no {name}"
    if error["type"] == "unexpected_keyword_argument":
        return f"there is no value {_cut(name)!r} in a recipe"
    return f"{name} is {_cut(error['input'])!r}; {error['msg'][:1].lower()}{error['msg'][1:]}"


def _cut(value: Any) -> str:
    text = str(value)
    return text if len(text) <= MOST else text[:MOST] + "…"
