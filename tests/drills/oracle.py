"""What a library holds and answers, as plain data, and what it may hold after a fault. Runs in children."""

from __future__ import annotations

import os
from typing import Any

State = dict[str, Any]


def state(path: str) -> State:
    """Every acknowledged fact of a library: which model, each item with its code, what `remove` keeps out."""
    from hashgrain.library import Library

    with Library.open(path) as library:
        codes, items = library.codes()
        count, digest = library.info()["items"], library.store.digest
        kept_out = sorted(library.store.exclusions()) if hasattr(library.store, "exclusions") else []
        rows = codes.to_bytes()
    assert count == len(items), f"info counts {count} items, there are {len(items)}"
    held = {
        item.path: {
            "id": item.id,
            "content": item.content,
            "meta": item.meta,
            "facts": [item.width, item.height, item.format],
            "code": row.tobytes().hex(),
        }
        for item, row in zip(items, rows, strict=True)
    }
    return {"digest": digest, "items": held, "kept out": kept_out}


def look(path: str) -> dict[str, Any]:
    """The state, or why there is none to see, and what `verify` says of it."""
    from hashgrain.errors import HashgrainError
    from hashgrain.library import verify_library

    seen: dict[str, Any] = {"state": None, "error": None, "problems": [], "harmless": [], "exists": os.path.isdir(path)}
    try:
        seen["state"] = state(path)
    except HashgrainError as error:
        seen["error"] = str(error)
    try:
        for problem in verify_library(path):
            seen["harmless" if problem.harmless else "problems"].append(f"{problem.thing}: {problem.reason}")
    except HashgrainError as error:
        seen["problems"].append(f"no library: {error}")
    return seen


def _plain(item: dict[str, Any], with_id: bool) -> dict[str, Any]:
    return item if with_id else {key: value for key, value in item.items() if key != "id"}


def lost_or_wrong(found: State | None, before: State | None, after: State | None) -> str | None:
    """What is not as it was, nor as the interrupted verb would have made it; None where nothing is."""
    if found is None:
        return None if before is None else "the library cannot be opened any more"
    states = [each for each in (before, after) if each is not None]
    if found["digest"] not in {each["digest"] for each in states}:
        return "its model is neither the old nor the new one"
    if len({each["digest"] for each in states}) > 1:  # codes of two models never mix
        states = [each for each in states if each["digest"] == found["digest"]]
        before = after = states[0]
    earlier, later = (({} if each is None else each["items"]) for each in (before, after))
    for path, item in found["items"].items():
        known = path in earlier
        right = [_plain(each[path], known) for each in (earlier, later) if path in each]
        if _plain(item, known) not in right:
            return f"{path} is {item}, not {right}"
    for path, item in earlier.items():
        if path in later and path not in found["items"]:
            return f"{path} is lost (it was item {item['id']})"
    here, there = (set() if each is None else set(each["kept out"]) for each in (before, after))
    kept_out = set(found["kept out"])
    if not (here & there <= kept_out <= here | there):
        return f"kept out are {sorted(kept_out)}, not {sorted(here)} or {sorted(there)}"
    return None


def same(found: State | None, wanted: State | None, *, ids: bool = True) -> str | None:
    """How two states differ."""
    if found is None or wanted is None:
        return None if found is wanted else "one of them is no library"
    if found["digest"] != wanted["digest"]:
        return "another model"
    if found["kept out"] != wanted["kept out"]:
        return "other pictures are kept out"
    here, there = ({path: _plain(item, ids) for path, item in each["items"].items()} for each in (found, wanted))
    if here == there:
        return None
    unlike = [path for path in here.keys() & there.keys() if here[path] != there[path]]
    return (
        f"missing {sorted(there.keys() - here.keys())}, too many {sorted(here.keys() - there.keys())}, unlike {unlike}"
    )
