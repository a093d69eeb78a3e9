"""What public functions take and give: named, and never just anything."""

from __future__ import annotations

import dataclasses
import inspect
import json
import re
import typing
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import hashgrain
from hashgrain import Library, Part, Query
from hashgrain.errors import QueryError

SPECIAL = ("__init__", "__call__", "__getitem__", "__len__", "__enter__")


def public() -> Iterator[tuple[str, object]]:
    """The public names, and the methods and properties of those that are classes."""
    for name in hashgrain.__all__:
        value = getattr(hashgrain, name)
        if callable(value):
            yield name, value
        for member, held in vars(value).items() if inspect.isclass(value) else ():
            if not member.startswith("_") or member in SPECIAL:
                yield f"{name}.{member}", held


def function_of(held: object) -> object:
    if isinstance(held, property):
        return held.fget
    if isinstance(held, cached_property):
        return held.func
    return held.__func__ if isinstance(held, (classmethod, staticmethod)) else held


def signatures() -> dict[str, inspect.Signature]:
    found = {}
    for name, held in public():
        function = function_of(held)
        if callable(function):
            found[name] = inspect.signature(function)
    return found


def test_no_public_signature_says_any() -> None:
    every = signatures()
    assert {"Library.search", "Library.encoder", "Library.open", "Encoder.encode", "Hit", "Codes.__getitem__"} <= set(
        every
    )
    assert [name for name, signature in every.items() if re.search(r"\bAny\b", str(signature))] == []


def test_every_public_parameter_is_annotated() -> None:
    for name, signature in signatures().items():
        for parameter in list(signature.parameters.values()):
            if parameter.name not in ("self", "cls"):
                assert parameter.annotation is not parameter.empty, f"{name}: {parameter}"


def test_no_alias_says_any() -> None:
    from hashgrain import types

    aliases = {name: value for name, value in vars(types).items() if name.endswith(("Like", "Meta", "Image"))}
    assert {"PathLike", "ImageLike", "QueryLike", "SourcesLike", "WhereLike", "JsonLike"} <= set(aliases)
    assert not any(re.search(r"\bAny\b", str(value)) for value in aliases.values())


@pytest.fixture
def library(tmp_path: Path, pictures: Path) -> Iterator[Library]:
    with Library.create(tmp_path / "a.hg") as made:
        made.add(pictures, meta={"set": {"name": "drawn", "tags": ["a", 1]}})
        yield made


def test_a_query_is_asked_as_a_search_is(library: Library, pictures: Path) -> None:
    picture = pictures / "00003.jpg"
    with Image.open(picture) as opened:
        pixels = np.asarray(opened)
    for of in (picture, str(picture), picture.read_bytes(), pixels, 4, np.int64(4), library.code(4)):
        query = Query(of, k=3, grain="thing", where="width > 5", within=40)
        asked = library.search(of, k=3, grain="thing", where="width > 5", within=40)
        assert library.answer(query).hits == asked == library.answer(dataclasses.replace(query)).hits
    assert (Query(4).item, Query(np.int64(4)).item, Query(True).item, Query(picture).item) == (4, 4, None, None)
    with pytest.raises(QueryError, match="nothing was asked"):
        library.answer(Query(k=3))


def test_a_query_has_every_setting_of_a_search() -> None:
    settings = [name for name in inspect.signature(Library.search).parameters if name not in ("self", "query")]
    assert [field.name for field in dataclasses.fields(Query)] == ["of", *settings]
    defaults = {name: each.default for name, each in inspect.signature(Library.search).parameters.items()}
    assert {field.name: field.default for field in dataclasses.fields(Query)[1:]} == {
        name: defaults[name] for name in settings
    }


def test_a_hit_is_a_dictionary_that_json_can_hold(library: Library) -> None:
    hit = library.search(1, k=1)[0]
    document = hit.as_dict()
    assert list(document) == [field.name for field in dataclasses.fields(hit)]
    assert document == dataclasses.asdict(hit) == json.loads(json.dumps(document))
    typing.cast(dict, document["meta"]).clear()
    assert hit.meta == {"set": {"name": "drawn", "tags": ["a", 1]}}


def test_part_0_is_the_whole() -> None:
    assert (Part(0).box, Part(0).span) == (None, None)
    assert Part(1, box=(0.0, 0.0, 0.5, 1.0)) == Part(1, (0.0, 0.0, 0.5, 1.0), None)
