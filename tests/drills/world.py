"""The made-up world of the drills: a few tiny pictures, two models, libraries in several states, and every verb."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

import tiny_model
from client import Outcome, Zygote
from oracle import State
from test_store_trust import unpacked

PICTURES = 12
NO_LIBRARY, CLOSED, KILLED, READ, STALE = "none", "closed", "killed", "read", "stale"
PARTED, PARTED_KILLED = "closed with parts", "killed with parts"
# Libraries that older versions made, without a model: the fixture, the format to which it is brought, and its end then.
OLD: dict[str, tuple[str, int, int | None, str]] = {
    **{f"format {version}, {end}": (end, version, None, end) for version in (2, 3) for end in (CLOSED, KILLED)},
    "format 3 in 4": (CLOSED, 3, 4, CLOSED),
    "format 3 in 4, killed": (KILLED, 3, 4, KILLED),
    "format 2 in 3": (CLOSED, 2, 3, CLOSED),
}


def draw_picture(seed: int) -> Image.Image:
    coarse = np.random.default_rng(seed).integers(0, 256, (4, 5, 3), np.uint8)
    return Image.fromarray(coarse).resize((20, 14), Image.Resampling.BICUBIC)


def fill(folder: Path, seeds: range) -> Path:
    """Two JPEGs, then a PNG, and so on."""
    folder.mkdir(parents=True, exist_ok=True)
    for seed in seeds:
        suffix = "png" if seed % 3 == 2 else "jpg"
        draw_picture(seed).save(folder / f"{seed:03}.{suffix}")
    return folder


class World:
    """All that stays the same from trial to trial, and the place where each trial happens."""

    def __init__(self, scratch: Path, zygote: Zygote) -> None:
        self.scratch, self.zygote = scratch, zygote
        self.pictures = fill(scratch / "pictures", range(PICTURES))
        self.more = fill(scratch / "more", range(PICTURES, PICTURES + 4))
        self.model = tiny_model.write_bundle(scratch / "model-a", 1)
        self.other = tiny_model.write_bundle(scratch / "model-b", 2)
        self.root = scratch / "trial"
        self.library = self.root / "lib.hg"
        self.out = self.root / "out"
        self.bare = False  # whether the library of the trial is an old one without a model
        self._templates: dict[str, Path] = {}

    def begin(self, template: str) -> None:
        """An empty place with a fresh copy of a library in that state."""
        self.bare = template in OLD
        shutil.rmtree(self.root, ignore_errors=True)
        self.out.mkdir(parents=True)
        if template != NO_LIBRARY:
            shutil.copytree(self.template(template), self.library, symlinks=True)

    def template(self, name: str) -> Path:
        """A library that was closed, or whose writer was killed, or that a reader still had open, or whose pictures
        changed since, or one of an older format."""
        if name not in self._templates:
            kept = self.scratch / f"template-{name}.hg"
            if name in OLD:
                self._unpack(kept, *OLD[name])
                self._templates[name] = kept
                return kept
            pictures = self.changing if name == STALE else self.pictures
            self.make(kept, pictures, name)
            if name == STALE:
                self._change_pictures()
            self._templates[name] = kept
        return self._templates[name]

    def make(self, library: Path, pictures: Path, end: str) -> None:
        """A library with some history; `end` is how its writer ends."""
        shutil.rmtree(library, ignore_errors=True)
        made = self.zygote.call("writers:make_library", library, self.model, pictures, end)
        assert made.signal == 9 if end.startswith((KILLED, READ)) else made.code == 0, made.err

    def _unpack(self, kept: Path, name: str, version: int, brought_to: int | None, end: str) -> None:
        unpacked(name, self.scratch, version).rename(kept)
        if brought_to is not None:
            done = self.zygote.call("writers:bring_to", kept, brought_to, end)
            assert done.signal == 9 if end == KILLED else done.code == 0, done.err

    @cached_property
    def changing(self) -> Path:
        return fill(self.scratch / "changing", range(30, 30 + PICTURES))

    def _change_pictures(self) -> None:
        names = sorted(self.changing.iterdir())
        draw_picture(77).save(names[0])
        os.utime(names[1], (1, 1))
        names[3].unlink()
        names[4].rename(self.changing / "moved.jpg")

    def look(self) -> dict[str, Any]:
        seen = self.zygote.call("oracle:look", self.library, self.bare)
        assert not seen.traceback, seen.err
        assert seen.code == 0, (seen.code, seen.signal, seen.err)
        found: dict[str, Any] = seen.result
        return found


@dataclass
class Verb:
    """A command line, the state it starts from, and what of its output must be right."""

    name: str
    template: str
    argv: Callable[[World], list[Any]]
    reads: Callable[[Outcome, World], Any] | None = None  # the answer, for verbs that give one
    again: tuple[int, ...] = ()  # exit codes a second run may have, beside that of the first
    one_step: bool = False  # whether a library is as before or as after, and never between
    before: State | None = field(default=None, compare=False)
    after: State | None = field(default=None, compare=False)
    answer: Any = field(default=None, compare=False)
    code: int = 0

    def run(self, world: World, **options: Any) -> Outcome:
        """The command, or the program of `writers.py` that stands in its place."""
        first, *rest = self.argv(world)
        if str(first).startswith("writers:"):
            return world.zygote.call(first, *rest, **options)
        return world.zygote.command(first, *rest, **options)

    def learn(self, world: World) -> None:
        """Run it without a fault, and remember what it came to."""
        world.begin(self.template)
        self.before = world.look()["state"]
        world.begin(self.template)
        outcome = self.run(world)
        assert outcome.code in (0, 3), (self.name, outcome.code, outcome.signal, outcome.err)
        self.code = outcome.code
        self.answer = self.reads(outcome, world) if self.reads else None
        seen = world.look()
        assert seen["problems"] == [] or self.before is seen["state"] is None, seen
        self.after = seen["state"]


def _json(outcome: Outcome, world: World) -> Any:
    return json.loads(outcome.out)


def _hits(outcome: Outcome, world: World) -> Any:
    hits = json.loads(outcome.out)
    return [[hit["id"], hit["path"], hit["distance"]] for hit in hits]


def _page(outcome: Outcome, world: World) -> Any:
    text = (world.out / "page.html").read_text()
    lines = [line.split("\t")[:3] for line in outcome.out.splitlines()]
    return [lines, text.rstrip().endswith("</html>")]


def _facts(outcome: Outcome, world: World) -> Any:
    facts = json.loads(outcome.out)
    return {key: facts[key] for key in ("items", "grains", "digest", "model")}


def _lines(outcome: Outcome, world: World) -> Any:
    return [json.loads(line) for line in outcome.out.splitlines()]


def _sound(outcome: Outcome, world: World) -> Any:
    return json.loads(outcome.out)["ok"]


def _written(name: str) -> Callable[[Outcome, World], Any]:
    return lambda outcome, world: (world.out / name).read_bytes().hex()


IN_PROCESS = ("--workers", 0)


def every_verb() -> list[Verb]:
    """Each verb that touches a library or writes a file, `--model` and a bundle of one's own included."""
    verbs = [
        Verb("add, new", NO_LIBRARY, lambda w: ["add", w.library, w.pictures, *IN_PROCESS]),
        Verb(
            "add, new, own model",
            NO_LIBRARY,
            lambda w: ["add", w.library, w.pictures, "--model", w.model, "--meta", "season=2020", *IN_PROCESS],
        ),
        Verb("add, more", CLOSED, lambda w: ["add", w.library, w.pictures, w.more, *IN_PROCESS]),
        Verb("add, notes", CLOSED, lambda w: ["add", w.library, w.pictures, "--meta", "mood=green", *IN_PROCESS]),
        Verb("opening after a kill", PARTED_KILLED, lambda w: ["writers:open_and_close", w.library]),
        Verb("opening after a reader", READ, lambda w: ["writers:open_and_close", w.library]),
        Verb("add after a kill", KILLED, lambda w: ["add", w.library, w.more, *IN_PROCESS]),
        Verb("add, changed", STALE, lambda w: ["add", w.library, w.changing, *IN_PROCESS]),
        Verb("update", STALE, lambda w: ["update", w.library]),
        Verb("update --prune", STALE, lambda w: ["update", w.library, "--prune"]),
        Verb("remove", CLOSED, lambda w: ["remove", w.library, w.pictures / "004.jpg", "--id", 7], again=(1,)),
        Verb("rebuild", CLOSED, lambda w: ["rebuild", w.library]),
        Verb("rebuild after a kill", KILLED, lambda w: ["rebuild", w.library]),
        Verb("rebuild --model", PARTED, lambda w: ["rebuild", w.library, "--model", w.other]),
        Verb("change parts", PARTED, lambda w: ["writers:change_parts", w.library], one_step=True),
        Verb("remove parts", PARTED, lambda w: ["remove", w.library, "--id", 3, "--id", 1], again=(1,)),
        Verb("rebuild with parts", PARTED_KILLED, lambda w: ["rebuild", w.library], one_step=True),
        Verb("index", PARTED, lambda w: ["index", w.library]),
        Verb("search", CLOSED, lambda w: ["search", w.library, w.pictures / "005.png", "--json"], _hits),
        Verb("search parts", PARTED, lambda w: ["search", w.library, "--id", 2, "--parts", "--json"], _hits),
        Verb(
            "search after a kill",
            KILLED,
            lambda w: ["search", w.library, "--id", 2, "--where", "format = 'jpeg' and season >= 2004", "--json"],
            _hits,
        ),
        Verb(
            "search --html",
            CLOSED,
            lambda w: ["search", w.library, w.pictures / "005.png", "--html", w.out / "page.html"],
            _page,
        ),
        Verb("export", CLOSED, lambda w: ["export", w.library], _lines),
        Verb("export to a file", KILLED, lambda w: ["export", w.library, w.out / "codes.hgc"], _written("codes.hgc")),
        Verb("export to numpy", CLOSED, lambda w: ["export", w.library, w.out / "codes.npy"], _written("codes.npy")),
        Verb("verify", CLOSED, lambda w: ["verify", w.library, "--json"], _sound, again=(1,)),
        Verb("info", KILLED, lambda w: ["info", w.library, "--json"], _facts),
        Verb(
            "encode",
            NO_LIBRARY,
            lambda w: ["encode", w.pictures, "--out", w.out / "e.hgc", "--model", w.model, *IN_PROCESS],
            _written("e.hgc"),
        ),
        *(
            Verb(f"migrate, {name}", name, lambda w: ["migrate", w.library], one_step=True)
            for name, (_, _, brought_to, _) in OLD.items()
            if brought_to is None
        ),
        *(
            Verb(f"undo, {name}", name, lambda w, to=to: ["writers:undo_to", w.library, to], one_step=True)
            for name, to in (("format 3 in 4", 3), ("format 3 in 4, killed", 3), ("format 2 in 3", 2))
        ),
    ]
    if has_verb("meta"):
        verbs.append(
            Verb("meta", CLOSED, lambda w: ["meta", w.library, "--where", "season >= 2004", "--set", "mood=blue"])
        )
    return verbs


def has_verb(name: str) -> bool:
    from hashgrain.cli.app import VERBS

    return name in VERBS
