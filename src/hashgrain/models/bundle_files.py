"""The files of a bundle: their names and size limits, finding those that a description names, and writing them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from hashgrain import files, inside
from hashgrain.errors import BundleError
from hashgrain.models import description
from hashgrain.models.tower import KEY as TOWER

MAX_ONNX_BYTES = 1 << 30
MAX_JSON_BYTES = 16 << 20
MAX_TEXT_BYTES = 3 << 29
MAX_TOKENIZER_BYTES = 64 << 20
GRAPH, DESCRIPTION = "model.onnx", "model.json"
TEXT, TOKENIZER = "text.onnx", "tokenizer.json"
# The files that a description names by digest, and the name that each has until that description is in place.
NEXT = {GRAPH: "model.next.onnx", TEXT: "text.next.onnx", TOKENIZER: "tokenizer.next.json"}
ReadFile = Callable[[str, int], bytes]


def read_described(folder: Path, read: ReadFile, name: str, digest: str) -> bytes:
    """The file that the description names. After a crash it may still have its temporary name."""
    problem = altered_error(folder)
    try:
        content = read_file(folder, name, cap_of(name), read)
        if hashlib.sha256(content).hexdigest() == digest:
            return content
    except BundleError as error:
        problem = error
    with suppress(BundleError):
        left = read_file(folder, NEXT[name], cap_of(name), read)
        if hashlib.sha256(left).hexdigest() == digest:
            return left
    raise problem


def altered_error(folder: Path) -> BundleError:
    return BundleError(
        f"{folder} was altered or damaged: its files do not match the digest it names. Get the bundle again",
        path=folder,
    )


def digests_of(described: Mapping[str, Any]) -> dict[str, str]:
    """The digests of the files that a description names; the description may hold any nonsense."""
    entry = described.get(TOWER)
    tower = entry if isinstance(entry, dict) else {}
    digests = {
        GRAPH: described.get("onnx_sha256"),
        TEXT: tower.get("onnx_sha256"),
        TOKENIZER: tower.get("tokenizer_sha256"),
    }
    return {name: str(digest) for name, digest in digests.items() if name == GRAPH or digest is not None}


def cap_of(name: str) -> int:
    caps = {GRAPH: MAX_ONNX_BYTES, TEXT: MAX_TEXT_BYTES, TOKENIZER: MAX_TOKENIZER_BYTES, DESCRIPTION: MAX_JSON_BYTES}
    return caps[name]


def read_file(folder: Path, name: str, cap: int, read: ReadFile) -> bytes:
    try:
        return read(name, cap)
    except files.TooLargeError:
        raise BundleError(
            f"{folder / name} is larger than {cap >> 20} MB, more than a bundle may be", path=folder / name
        ) from None
    except OSError as error:
        raise BundleError(f"cannot read {folder / name} ({error.strerror})", path=folder / name) from None


def check_caps(model: str, size: tuple[int, int], lengths: Mapping[str, int]) -> None:
    """Refuse what no bundle may be: pictures too large, or a file of too many bytes."""
    if max(size) > description.MAX_INPUT_EDGE:
        raise BundleError(
            f"model {model!r} takes pictures of {size[0]}x{size[1]} px; in a bundle an edge has at most"
            f" {description.MAX_INPUT_EDGE:,} px: take a smaller size"
        )
    for name, length in lengths.items():
        if length > (cap := cap_of(name)):
            raise BundleError(f"{name} of model {model!r} is larger than {cap >> 20} MB, more than a bundle may be")


def write_files(folder: Path, below: tuple[str, ...], contents: Mapping[str, bytes]) -> None:
    """New files stand beside the old ones until the description, which is replaced in one step, names them."""
    try:
        _settle(folder, below)
        for name, content in contents.items():
            inside.write(folder, *below, NEXT.get(name, name), data=content)
    except OSError:
        with suppress(OSError):
            _settle(folder, below)
        raise
    for name in filter(contents.__contains__, NEXT):
        inside.rename(folder, below, NEXT[name], name)
    for name in {TEXT, TOKENIZER}.difference(contents).intersection(inside.names(folder, *below)):
        with suppress(OSError):  # of a previous bundle; no description names it
            inside.remove(folder, *below, name)
    inside.sync_names(folder, *below)


def _settle(folder: Path, below: tuple[str, ...]) -> None:
    """Finish or undo an interrupted write: a file takes its place if the description names it, or is removed."""
    for name, aside in NEXT.items():
        try:
            left = inside.read(folder, *below, aside, cap=cap_of(name))
        except FileNotFoundError:
            continue
        except (inside.LinkError, files.NotRegularError):  # not ours; writing replaces it or fails with a reason
            continue
        if hashlib.sha256(left).hexdigest() == digests_of(_described(folder, below)).get(name):
            inside.rename(folder, below, aside, name)
            inside.sync_names(folder, *below)
        else:
            inside.remove(folder, *below, aside)


def _described(folder: Path, below: tuple[str, ...]) -> dict[str, Any]:
    try:
        text = inside.read(folder, *below, DESCRIPTION, cap=MAX_JSON_BYTES)
        return description.parse(text, folder / DESCRIPTION)
    except (FileNotFoundError, inside.LinkError, files.NotRegularError, files.TooLargeError, BundleError):
        return {}
