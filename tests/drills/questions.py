"""Everything a library can be asked, and whether what it says of a damaged one is right. Runs in children."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from made_parts import Plain, plain

if TYPE_CHECKING:
    from hashgrain.store import Store

FILTERS = (
    "format = 'jpeg'",
    "format = 'png'",
    "season >= 2012",
    "mood = 'blue'",
    "mood = 'red' and season < 2020",
    "width > 0",
    "name = '2001.jpg'",
    "path like '%flipped%'",
)


def asked(path: str, query: str, wanted: dict[str, Any] | None = None) -> dict[str, Any]:
    """Every answer by the name of its question. What is refused is {"refused": why}.

    What to look up is taken from the right answers, where there are any yet.
    """
    from hashgrain.codes import Codes
    from hashgrain.errors import HashgrainError
    from hashgrain.library import Library

    answers: dict[str, Any] = {}

    def ask(name: str, question: Callable[[], Any]) -> None:
        try:
            answers[name] = question()
        except HashgrainError as error:
            answers[name] = {"refused": str(error)}

    def hits(found: Any) -> list[Any]:
        return [
            [hit.id, hit.path, hit.distance, dict(hit.distances), hit.word, hit.meta, hit.part and hit.part.as_dict()]
            for hit in found
        ]

    try:
        library = Library.open(path)
    except HashgrainError as error:
        return {"open": {"refused": str(error)}}
    with library:
        store = library.store
        pixels = Path(query).read_bytes()
        ask("items", lambda: [[i.id, i.path, i.content, i.width, i.height, i.format, i.meta] for i in library.items()])
        ask("codes", lambda: library.codes()[0].to_bytes().tobytes().hex())
        ask("count", lambda: library.info()["items"])
        ask("length", lambda: len(library))
        items = (wanted or answers)["items"]
        for item in items[::9]:
            ask(f"known {item[0]}", lambda item=item: getattr(store.known(item[1]), "id", None))
            ask(f"content {item[0]}", lambda item=item: [each.id for each in store.by_content(item[2])])
        ask("parts", lambda: held_parts(store))
        if any((wanted or answers)["parts"].values()):
            for grain in ("kind", "look"):
                ask(f"parts by id, {grain}", lambda grain=grain: hits(library.search(2, k=9, grain=grain, parts="all")))
            ask("parts by picture", lambda: hits(library.search(pixels, k=None, parts="all")))
        for grain in ("kind", "thing", "look"):
            ask(f"by picture, {grain}", lambda grain=grain: hits(library.search(pixels, k=8, grain=grain)))
            ask(f"by id, {grain}", lambda grain=grain: hits(library.search(3, k=None, grain=grain)))
        ask("by code", lambda: hits(library.search(Codes(library.codes()[0].words[:1], library.grains), k=20)))
        ask("within", lambda: hits(library.search(1, k=None, within=60)))
        for where in FILTERS:
            ask(where, lambda where=where: hits(library.search(pixels, k=None, where=where)))
        ask("words", lambda: {word: [t.grain, t.distance] for word, t in library.bundle.words.items()})
        ask("labels", lambda: {grain: dict(codes) for grain, codes in library.bundle.labels.items()})
    return answers


def held_parts(store: Store) -> dict[str, Plain | None]:
    """id -> the parts of each item."""
    with store.snapshot() as snapshot:
        ids = sorted(item.id for item in snapshot.paths())
        return {str(item): plain(parts) for item, parts in zip(ids, snapshot.parts_of(ids), strict=True)}


def compared(path: str, query: str, right: str) -> dict[str, Any]:
    """How the answers compare with the right ones (a JSON file), and what `verify` says."""
    from hashgrain.errors import HashgrainError
    from hashgrain.library import verify_library

    wanted = json.loads(Path(right).read_text())
    found = json.loads(json.dumps(asked(path, query, wanted)))
    refused = [name for name, answer in found.items() if isinstance(answer, dict) and "refused" in answer]
    wrong = [name for name, answer in found.items() if name not in refused and answer != wanted[name]]
    try:
        problems = [f"{p.thing}: {p.reason}" for p in verify_library(path) if not p.harmless]
    except HashgrainError as error:
        problems = [str(error)]
    return {"refused": refused, "wrong": wrong, "problems": problems}


def rebuilt(path: str, query: str, right: str) -> dict[str, Any]:
    """The same after `rebuild`; "said" is why it could not."""
    from hashgrain.errors import HashgrainError
    from hashgrain.library import Library

    try:
        with Library.open(path, "w") as library:
            library.rebuild()
    except HashgrainError as error:
        return {"said": str(error), "refused": [], "wrong": [], "problems": [str(error)]}
    return {"said": None, **compared(path, query, right)}
