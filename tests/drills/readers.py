"""Programs that keep a library open while it changes, is replaced or goes away. Runs in children.

Each function returns the promises that were broken.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import tempfile
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from made_parts import parts_of, plain
from questions import held_parts

Answer = Any  # plain data, or {"refused": why}
EVENTS = (
    "add",
    "remove",
    "parts",
    "rebuild",
    "rebuild with another model",
    "replaced",
    "made anew",
    "deleted",
    "cut",
    "nothing",
)


class Elsewhere:
    """Other processes, forked before this one opened anything: what SQLite knows of a file is not for a child."""

    def __init__(self) -> None:
        asking, self._asks = os.pipe()
        self._answers, answering = os.pipe()
        if os.fork() == 0:
            os.close(self._asks)
            with os.fdopen(asking) as requests, os.fdopen(answering, "w", buffering=1) as answers:
                for line in requests:
                    name, *arguments = json.loads(line)
                    answers.write(json.dumps(forked(lambda: globals()[name](*arguments))) + "\n")  # noqa: B023
            os._exit(0)
        os.close(asking)
        os.close(answering)
        self._reading = os.fdopen(self._answers)

    def do(self, function: str, *arguments: Any) -> Any:
        os.write(self._asks, json.dumps([function, *arguments]).encode() + b"\n")
        return json.loads(self._reading.readline())


def forked(work: Callable[[], Any]) -> Any:
    """Do it in a forked child, and hand back its result."""
    with tempfile.TemporaryFile("w+") as result:
        child = os.fork()
        if child == 0:
            code = 1
            try:
                result.write(json.dumps(work()))
                result.flush()
                code = 0
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(code)
        _, status = os.waitpid(child, 0)
        if status:
            raise RuntimeError(f"the other process ended with {status}")
        result.seek(0)
        return json.load(result)


def refusing(work: Callable[[], Any]) -> Answer:
    from hashgrain.errors import HashgrainError

    try:
        return json.loads(json.dumps(work()))
    except HashgrainError as error:
        return {"refused": str(error)}


def asked(library: Any, pixels: bytes) -> Answer:
    """What a reader says: its items with their codes, and two searches."""

    def answers() -> Any:
        codes, items = library.codes()
        found = [library.search(pixels, k=5), library.search(items[0].id, k=None, grain="kind")] if items else []
        hits = [[[hit.id, hit.path, dict(hit.distances)] for hit in each] for each in found]
        held = [[item.id, item.path, item.meta] for item in items]
        return [held, codes.to_bytes().tobytes().hex(), hits, held_parts(library.store)]

    return refusing(answers)


def fresh(path: str, query: str) -> Answer:
    """What somebody says who opens the library only now."""
    from hashgrain.library import Library

    def answer() -> Answer:
        with Library.open(path) as library:
            return asked(library, Path(query).read_bytes())

    return refusing(answer)


def held(snapshot: Any) -> Answer:
    def answers() -> Any:
        items = list(snapshot.paths())
        codes = snapshot.codes([item.id for item in items])
        parts = [plain(some) for some in snapshot.parts_of([item.id for item in items])]
        return [[[item.id, item.path] for item in items], codes.tobytes().hex(), parts]

    return refusing(answers)


def event(kind: str, path: str, places: dict[str, str], seed: str) -> None:
    """Something happens to the library."""
    from hashgrain.library import Library, rebuild_with
    from hashgrain.store import PartsReplaced

    draw = random.Random(seed)
    more = sorted(Path(places["more"]).iterdir())

    def write(work: Callable[[Any], object]) -> Callable[[], None]:
        def written() -> None:
            with Library.open(path, "w") as library:
                work(library)

        return written

    def replaced() -> None:
        shutil.rmtree(path)
        shutil.copytree(places["replacement"], path)

    def made_anew() -> None:
        shutil.rmtree(path)
        with Library.create(path, places["model"]) as library:
            library.add(more, workers=0)

    def cut() -> None:
        files = [file for file in Path(path).rglob("*") if file.is_file() and "segments" in file.parts]
        for file in files:
            os.truncate(file, draw.choice((0, 64, 70)))

    def part(library: Any) -> None:
        item, parts = draw.choice(library.items()).id, parts_of(draw.randrange(99), draw.randrange(1, 9), "box")
        library.store.commit([PartsReplaced(item, draw.choice((None, parts, parts)))])

    happenings: dict[str, Callable[[], object]] = {
        "add": write(lambda library: library.add(more[: draw.randrange(1, 4)], workers=0)),
        "remove": write(lambda library: library.remove([draw.choice(library.items()).id])),
        "parts": write(part),
        "rebuild": write(lambda library: library.rebuild()),
        "rebuild with another model": lambda: rebuild_with(path, places["other"]),
        "replaced": replaced,
        "made anew": made_anew,
        "deleted": lambda: shutil.rmtree(path),
        "cut": cut,
        "nothing": lambda: None,
    }
    happenings[kind]()


def live(path: str, places: dict[str, str], seed: str) -> list[str]:
    """Readers stay open through a few events; after each they are asked."""
    from hashgrain.library import Library

    other, draw = Elsewhere(), random.Random(seed)
    pixels = Path(places["query"]).read_bytes()
    broken: list[str] = []
    story: list[str] = []
    reader, keeper = Library.open(path), Library.open(path)
    with keeper.store.snapshot() as snapshot:
        kept = held(snapshot)
        last = asked(reader, pixels)
        for _ in range(draw.randrange(1, 4)):
            kind = draw.choice(EVENTS)
            story.append(kind)
            other.do("event", kind, path, places, f"{seed} {len(story)}")
            right, found, still = other.do("fresh", path, places["query"]), asked(reader, pixels), held(snapshot)
            told = f"{' then '.join(story)}:"
            allowed = [right, last] if kind in ("cut", "nothing") else [right]
            if not _refused(found) and found not in allowed:
                broken.append(f"{told} a reader says what {'was' if found == last else 'never was'} so")
            if not _refused(still) and still != kept:
                broken.append(f"{told} a snapshot changed under its reader")
            last = right
            if kind in ("deleted", "cut") or _refused(right):
                break
    return broken


def _refused(answer: Answer) -> bool:
    return isinstance(answer, dict)


def orphaned_writer(path: str, places: dict[str, str], kind: str, verb: str) -> list[str]:
    """A writer whose folder is deleted or replaced may acknowledge nothing, and not touch what stands there now."""
    from hashgrain.errors import HashgrainError
    from hashgrain.library import Library

    other = Elsewhere()
    more = sorted(Path(places["more"]).iterdir())
    library = Library.open(path, "w")
    other.do("event", kind, path, places, "1")
    before = other.do("fresh", path, places["query"])
    verbs: dict[str, Callable[[], object]] = {
        "remove": lambda: library.remove([1]),
        "add": lambda: library.add(more, workers=0),
        "rebuild": lambda: library.rebuild(),
    }
    broken = []
    try:
        verbs[verb]()
    except (HashgrainError, OSError):
        pass
    else:
        broken.append(f"{kind}, then {verb} by a writer that was open: acknowledged, and kept nowhere")
    if other.do("fresh", path, places["query"]) != before:
        broken.append(f"{kind}, then {verb} by a writer that was open: the library now there was changed")
    return broken


def forked_writer(path: str, places: dict[str, str], verb: str) -> list[str]:
    """A forked child may not write through the connection it inherited."""
    from hashgrain.library import Library

    pixels = Path(places["query"]).read_bytes()
    broken = []
    with Library.open(path, "w") as library:
        before = asked(library, pixels)
        work = {"remove": lambda: library.remove([1]), "rebuild": lambda: library.rebuild()}[verb]
        if not _refused(forked(lambda: refusing(work))):
            broken.append(f"{verb} by a forked child: acknowledged")
        if asked(library, pixels) != before:
            broken.append(f"{verb} by a forked child: changed the library")
        library.remove([2])
        if any(not problem.harmless for problem in library.verify()):
            broken.append(f"{verb} by a forked child: verify says {library.verify()[:1]}")
    return broken
