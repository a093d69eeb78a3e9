"""What a library holds and answers, as plain data, and what it may hold after a fault. Runs in children."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from made_parts import plain

if TYPE_CHECKING:
    from hashgrain.store import Problem, Segment, Store

State = dict[str, Any]
PART_BITS, MAX_PARTS = 16, 0xFFFF  # of the id of a row in the segments of parts


def state(store: Store) -> State:
    """Every acknowledged fact of a library: its format and model, each item with its code and its parts, as the
    catalogue has them and as the segments have them, what `remove` keeps out."""
    facts = store.info()
    with store.snapshot(parts=True) as snapshot:
        items = sorted(snapshot.paths(), key=lambda item: item.id)
        ids = [item.id for item in items]
        codes, parts = snapshot.codes(ids), snapshot.parts_of(ids)
        rows = {item: {"0": code} for item, code in _live(snapshot.segments).items()}
        for number, code in _live(snapshot.part_segments).items():
            rows[number >> PART_BITS][str(number & MAX_PARTS)] = code
    assert facts["items"] == len(items), f"info counts {facts['items']} items, there are {len(items)}"
    held = {
        item.path: {
            "id": item.id,
            "content": item.content,
            "meta": item.meta,
            "facts": [item.width, item.height, item.format],
            "code": code.tobytes().hex(),
            "parts": plain(some),
            "rows": rows.pop(item.id),
        }
        for item, code, some in zip(items, codes, parts, strict=True)
    }
    assert not rows, f"live rows of no item: {rows}"
    return {
        "format": facts["format"],
        "digest": store.digest,
        "grid": store.grid and [list(cell) for cell in store.grid],
        "items": held,
        "kept out": sorted(store.exclusions()),
        "refused": sorted(list(each) for each in store.refusals()),
    }


def _live(segments: Sequence[Segment]) -> dict[int, str]:
    """id -> code of every live row."""
    found: dict[int, str] = {}
    for segment in segments:
        words = np.stack(segment.planes, axis=1)[segment.alive]
        found |= zip(segment.ids[segment.alive].tolist(), (word.tobytes().hex() for word in words), strict=True)
    return found


def look(path: str, bare: bool) -> dict[str, Any]:
    """The state, or why there is none to see, and what `verify` says of it. A `bare` library has no model."""
    from hashgrain.errors import HashgrainError
    from hashgrain.library import Library, verify_library
    from hashgrain.store import Store

    seen: dict[str, Any] = {"state": None, "error": None, "problems": [], "harmless": [], "exists": os.path.isdir(path)}
    try:
        if bare:
            with Store.open(path) as store:
                seen["state"] = state(store)
        else:
            with Library.open(path) as library:
                seen["state"] = state(library.store)
    except HashgrainError as error:
        seen["error"] = str(error)
    try:
        for problem in verify_store(path) if bare else verify_library(path):
            seen["harmless" if problem.harmless else "problems"].append(f"{problem.thing}: {problem.reason}")
    except HashgrainError as error:
        seen["problems"].append(f"no library: {error}")
    if bare and seen["state"] and seen["state"]["format"] == 2 and os.path.exists(os.path.join(path, "catalogue.sums")):
        seen["problems"].append("a program of format 2 would change pages and not their checksums")
    return seen


def verify_store(path: str) -> list[Problem]:
    from hashgrain.store import Store

    with Store.open(path) as store:
        return store.verify()


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
    for fact in ("format", "grid"):
        if found[fact] not in [each[fact] for each in (before, after) if each is not None]:
            return f"its {fact} is {found[fact]}"
    here, there = (set() if each is None else set(each["kept out"]) for each in (before, after))
    kept_out = set(found["kept out"])
    if not (here & there <= kept_out <= here | there):
        return f"kept out are {sorted(kept_out)}, not {sorted(here)} or {sorted(there)}"
    return None


def mixed(found: State | None, before: State | None, after: State | None) -> str | None:
    """How what is to be one step or none differs from both; None where it is either."""
    unlike = [same(found, each) or _other_refusals(found, each) for each in (before, after)]
    return None if None in unlike else f"neither as before ({unlike[0]}), nor as after ({unlike[1]})"


def _other_refusals(found: State | None, wanted: State | None) -> str | None:
    return "other files are refused" if found and wanted and found["refused"] != wanted["refused"] else None


def same(found: State | None, wanted: State | None, *, ids: bool = True) -> str | None:
    """How two states differ."""
    if found is None or wanted is None:
        return None if found is wanted else "one of them is no library"
    for fact, unlike in (("digest", "another model"), ("format", "another format"), ("grid", "another grid")):
        if found[fact] != wanted[fact]:
            return unlike
    if found["kept out"] != wanted["kept out"]:
        return "other pictures are kept out"
    here, there = ({path: _plain(item, ids) for path, item in each["items"].items()} for each in (found, wanted))
    if here == there:
        return None
    others = sorted(path for path in here.keys() & there.keys() if here[path] != there[path])
    return (
        f"missing {sorted(there.keys() - here.keys())}, too many {sorted(here.keys() - there.keys())}, unlike {others}"
    )
