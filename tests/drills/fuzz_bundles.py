"""Hostile model bundles: graphs changed field by field, descriptions changed value by value, digests made right."""

from __future__ import annotations

import hashlib
import json
import os
import random
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

import tiny_model
from fuzzers import Broken, spoil
from hashgrain.codes import Grains
from tiny_model import Field, graph_fields, message, model, node, tensor

JSON_VALUES: tuple[Any, ...] = (
    None,
    -1,
    0,
    10**30,
    1e308,
    float("inf"),
    float("nan"),
    "",
    "x\x1b[31m\n",
    [],
    {},
    True,
    "9" * 100,
    {"kind": 64, "thing": 32},
    {"kind": 0},
    {"a": {"b": {}}},
    ["x"] * 3,
    "\ud800",
)
OPERATORS = ("Loop", "Scan", "If", "Tile", "Expand", "ConstantOfShape", "Resize", "Pad", "Range", "Evil", "Identity")
SECRET = 7777.0
EXTERNAL = ("secret.bin", "../secret.bin", "/etc/passwd", "/dev/zero", "model.json", "a/../secret.bin")


def make_bundle(draw: random.Random, folder: Path) -> str:
    secret = folder / "secret.bin"
    if not secret.exists():
        secret.write_bytes(np.full(100_000, SECRET, np.float32).tobytes())
    os.chdir(folder)  # where external data would be looked for
    place = folder / "bundle"
    place.mkdir(exist_ok=True)
    what, onnx = _graph(draw)
    described = _description(draw, onnx)
    (place / "model.onnx").write_bytes(onnx)
    text = json.dumps(described, indent=draw.choice((None, 1))).encode()
    (place / "model.json").write_bytes(spoil(draw, text) if draw.random() < 0.15 else text)
    return what


def read_bundle(folder: Path) -> None:
    """What `add --model` does with a bundle, up to the codes."""
    from hashgrain.models import Bundle, Encoder

    bundle = Bundle.read(folder / "bundle")
    encoder = Encoder(bundle, threads=1)
    width, height = bundle.size
    if width * height > 1 << 18:
        return
    outputs, features = encoder.outputs_and_features(np.full((2, height, width, 3), 129, np.uint8))
    if float(SECRET) in np.abs(features) / (width * height * 3) or np.isin(features, SECRET).any():
        raise Broken("the graph read a file outside it")
    if len(outputs) != 2:
        raise Broken(f"the graph gives {len(outputs)} codes for 2 pictures, and nobody minds")
    encoder.codes(np.zeros((1, height, width, 3), np.uint8))


def _graph(draw: random.Random) -> tuple[str, bytes]:
    """What it is, and the graph."""
    fields = graph_fields(1)
    how = draw.random()
    if how < 0.12:
        location = draw.choice(EXTERNAL)
        return f"external data at {location}", message(model(_external(draw, fields, location)))
    if how < 0.3:
        return _hungry(draw, fields)
    if how < 0.75:
        for _ in range(draw.randrange(1, 4)):
            fields = _changed(draw, fields)
        whole = model(fields, opset=draw.choice((17, 17, 17, 1, 99, 2**40)), version=draw.choice((8, 8, 8, 0, 99)))
        return "a changed graph", message(whole)
    return "a spoiled graph", spoil(draw, message(model(fields)))


def _external(draw: random.Random, fields: list[Field], location: str) -> list[Field]:
    """A tensor whose bytes are said to be in a file."""
    out: list[Field] = []
    for tag, value in fields:
        if tag == 5 and isinstance(value, list) and dict(value).get(8) == "first":
            wide = tiny_model.EDGE**2 * 3
            entries: list[Field] = [(13, [(1, "location"), (2, location)])]
            if draw.random() < 0.5:
                entries += [(13, [(1, "offset"), (2, draw.choice(("0", "-1", "9" * 20)))])]
            if draw.random() < 0.5:
                entries += [(13, [(1, "length"), (2, str(wide * tiny_model.FEATURES * 4))])]
            shape: list[Field] = [(1, wide), (1, tiny_model.FEATURES)]
            out.append((5, [*shape, (2, 1), (8, "first"), *entries, (14, 1)]))
        else:
            out.append((tag, value))
    return out


def _hungry(draw: random.Random, fields: list[Field]) -> tuple[str, bytes]:
    """A graph that asks for much time or memory, between the features and the outputs."""
    size = draw.choice((10**5, 10**8, 2**31, 2**40))
    kind = draw.choice(("expand", "tile", "constant", "loop", "range", "chain"))
    more: list[Field] = []
    last = "row"
    if kind == "expand":
        more = [(5, tensor("much", np.array([size, 1, 1], np.int64))), (1, node("Expand", ["row", "much"], "grown"))]
        last = "grown"
    elif kind == "tile":
        more = [(5, tensor("much", np.array([size, 1], np.int64))), (1, node("Tile", ["row", "much"], "grown"))]
        last = "grown"
    elif kind == "constant":
        more = [(5, tensor("much", np.array([size], np.int64))), (1, node("ConstantOfShape", ["much"], "unused"))]
    elif kind == "range":
        bounds = np.array([0, size, 1], np.int64)
        more = [(5, [(2, 7), (8, f"r{i}"), (9, bounds[i : i + 1].tobytes())]) for i in range(3)]
        more += [(1, node("Range", ["r0", "r1", "r2"], "unused"))]
    elif kind == "loop":
        body = [
            (1, node("Identity", ["go"], "on")),
            (2, "body"),
            (11, tiny_model.value("i", 7, [])),
            (11, tiny_model.value("go", 9, [])),
            (12, tiny_model.value("on", 9, [])),
        ]
        always: list[Field] = [(2, 9), (8, "always"), (9, b"\1")]
        loop = node("Loop", ["", "always"], "", [[(1, "body"), (6, body), (20, 5)]])  # type: ignore[list-item]
        more = [(5, always), (1, [field for field in loop if field != (2, "")])]
    else:
        steps = draw.choice((10, 300, 3000))
        for step in range(steps):
            more.append((1, node("Add" if step % 2 else "Mul", [last, last], f"s{step}")))
            last = f"s{step}"
    graph = [*more, *fields]
    graph = [(tag, _renamed(value, last) if tag == 1 else value) for tag, value in graph]
    # Nodes must stand in order: the first three, then ours, then the rest.
    nodes = [value for tag, value in graph if tag == 1]
    ours = [value for tag, value in more if tag == 1]
    theirs = [value for value in nodes if value not in ours]
    ordered: list[Field] = [(1, value) for value in (*theirs[:3], *ours, *theirs[3:])]
    return f"{kind} {size}", message(model([*ordered, *(field for field in graph if field[0] != 1)]))


def _renamed(value: Any, last: str) -> Any:
    """The product with the first matrix takes what was made last."""
    if last != "row" and (2, "features") in value:
        return [(1, last) if field == (1, "row") else field for field in value]
    return value


def _changed(draw: random.Random, fields: list[Field]) -> list[Field]:
    """One field of the graph, or of something in it, is changed, doubled or left out."""
    at = draw.randrange(len(fields))
    tag, value = fields[at]
    how = draw.randrange(6)
    if how == 0:
        return fields[:at] + fields[at + 1 :]
    if how == 1:
        return [*fields[:at], fields[at], *fields[at:]]
    if how == 2 and tag == 1:
        return [*fields[:at], (1, node(draw.choice(OPERATORS), ["row", "gray"], f"more{at}")), *fields[at:]]
    if isinstance(value, list) and value:
        return [*fields[:at], (tag, _changed(draw, value)), *fields[at + 1 :]]
    odd: Any = draw.choice((0, 1, 7, 2**31, 2**63 - 1, -1, b"", b"\xff" * 9, "x" * 500, "row", "pixels", "outputs", []))
    return [*fields[:at], (draw.choice((tag, tag, draw.randrange(1, 21))), odd), *fields[at + 1 :]]


def _description(draw: random.Random, onnx: bytes) -> dict[str, Any]:
    """A description with right digests, some of its values changed."""
    good = tiny_model.bundle(1, onnx)
    place = Path("good")
    good.write(place)
    described: dict[str, Any] = json.loads((place / "model.json").read_text())
    if draw.random() < 0.5:
        return described
    for _ in range(draw.randrange(1, 3)):
        target: Any = described
        key = draw.choice(list(target))
        while isinstance(target[key], dict) and target[key] and draw.random() < 0.6:
            target = target[key]
            key = draw.choice(list(target))
        how = draw.random()
        if how < 0.15:
            del target[key]
        elif how < 0.25:
            target[draw.choice(("more", "", "\x1b", "kind"))] = draw.choice(JSON_VALUES)
        else:
            target[key] = draw.choice(JSON_VALUES)
        if not described:
            break
    if draw.random() < 0.85:
        _redigest(described, onnx)
    return described


def _redigest(described: dict[str, Any], onnx: bytes) -> None:
    """The digests its author would name: they prove that a bundle is whole, not that it means well."""
    from hashgrain.models import description

    described["onnx_sha256"] = hashlib.sha256(onnx).hexdigest()
    with suppress(Exception):  # of what is no model at all, the codes have no digest
        size = (described["input"]["width"], described["input"]["height"])
        grains = Grains(described["grains"])
        described["code_digest"] = description.code_digest(described["onnx_sha256"], grains, size, described.get("fit"))
    with suppress(Exception):
        described["bundle_digest"] = description.bundle_digest(described)
