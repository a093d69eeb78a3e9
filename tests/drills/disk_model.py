"""What a disk may hold after the power is cut, made from the shim's record of every change.

The bytes of a file are durable once that file is synced; a name in a folder is durable once the folder is synced
(or, on file systems that write names in order, once anything is). Whatever is not durable may be there, be missing,
or be there in part, sector by sector. A rename is one step: journals write both of its names together.
"""

from __future__ import annotations

import os
import random
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

HEAD = struct.Struct("<cQQqII")  # struct record of shim.c
SECTOR = 512
STYLES = ("nothing", "everything", "names only", "bytes only", "in order", "any", "any", "torn")


@dataclass(frozen=True)
class Change:
    kind: str
    first: int
    second: int
    offset: int
    text: bytes
    data: bytes


def read_log(log: Path) -> list[Change]:
    content, at, changes = log.read_bytes(), 0, []
    while at < len(content):
        kind, first, second, offset, length, more = HEAD.unpack_from(content, at)
        at += HEAD.size
        text, data = content[at : at + length], content[at + length : at + length + more]
        at += length + more
        changes.append(Change(kind.decode(), first, second, offset, text, data))
    return changes


@dataclass
class File:
    """The bytes that are durable, and what was done since: (offset, bytes), or (size, None) for a cut."""

    durable: bytes = b""
    pending: list[tuple[int, bytes | None]] = field(default_factory=list)


@dataclass
class Node:
    """What a number means at present: numbers of deleted files are used again."""

    folder: bool
    file: File


Entries = dict[tuple[int, bytes], Node | None]  # (folder, name) -> what stands there
Step = list[tuple[int, bytes, Node | None]]  # entries that change together


class Disk:
    """A folder and all below it, as of the changes applied so far."""

    def __init__(self, root: Path, *, in_order: bool) -> None:
        """`in_order`: the file system writes names in the order they were made, and a sync takes all along."""
        self.in_order = in_order
        self.root = root.stat().st_ino
        self.nodes: dict[int, Node] = {}
        self.numbers: dict[int, int] = {}  # id of a node -> its number
        self.durable: Entries = {}
        self.steps: list[Step] = []
        self._take(root)

    def _take(self, folder: Path) -> None:
        self._put(folder.stat().st_ino, Node(True, File()))
        for entry in os.scandir(folder):
            if entry.is_dir(follow_symlinks=False):
                self._take(Path(entry.path))
            else:
                self._put(entry.inode(), Node(False, File(Path(entry.path).read_bytes())))
            self.durable[folder.stat().st_ino, os.fsencode(entry.name)] = self.nodes[entry.inode()]

    def _put(self, number: int, node: Node) -> Node:
        self.nodes[number] = node
        self.numbers[id(node)] = number
        return node

    # ---- the record, one change at a time

    def apply(self, change: Change) -> None:
        kind, first, second = change.kind, change.first, change.second
        if kind in "WT" and first in self.nodes:
            self.nodes[first].file.pending.append((change.offset, change.data if kind == "W" else None))
        elif kind == "F":
            self._sync(first)
        elif kind in "CD":
            node = self._put(second, Node(kind == "D", File()))
            self.steps.append([(first, change.text, node)])
        elif kind == "L":
            self.steps.append([(first, change.text, self.nodes.get(second))])
        elif kind == "U":
            self.steps.append([(first, change.text, None)])
        elif kind in "RE":
            now = self._names(self.steps)
            moved, other = now.get((first, change.text)), now.get((second, change.data))
            left = other if kind == "E" else None
            self.steps.append([(first, change.text, left), (second, change.data, moved)])

    def _sync(self, number: int) -> None:
        node = self.nodes.get(number)
        if node is None:
            return
        node.file.durable = _bytes(node.file.durable, node.file.pending)
        node.file.pending.clear()
        reached = [step for step in self.steps if self.in_order or any(folder == number for folder, _, _ in step)]
        if node.folder or self.in_order:
            self.durable = self._names(reached)
            self.steps = [step for step in self.steps if step not in reached]

    def _names(self, steps: list[Step]) -> Entries:
        names = dict(self.durable)
        for step in steps:
            for folder, name, node in step:
                names[folder, name] = node
        return names

    # ---- what may be left

    def after_power_cut(self, style: str, draw: random.Random) -> dict[str, bytes | None]:
        """One possible content: relative path -> bytes, None for a folder."""
        steps = self._surviving_steps(style, draw)
        names = self._names(steps)
        tree: dict[str, bytes | None] = {}
        for path, node in _walk(self.root, names, self.numbers):
            tree[path] = None if node.folder else self._surviving_bytes(node.file, style, draw)
        return tree

    def _surviving_steps(self, style: str, draw: random.Random) -> list[Step]:
        if style in ("nothing", "bytes only"):
            return []
        if style in ("everything", "names only"):
            return self.steps
        if self.in_order or style == "in order":
            return self.steps[: draw.randint(0, len(self.steps))]
        return [step for step in self.steps if draw.random() < 0.5]

    def _surviving_bytes(self, file: File, style: str, draw: random.Random) -> bytes:
        if style in ("nothing", "names only") or not file.pending:
            return file.durable
        if style in ("everything", "bytes only"):
            return _bytes(file.durable, file.pending)
        if style == "in order":
            return _bytes(file.durable, file.pending[: draw.randint(0, len(file.pending))])
        chance = draw.choice((0.2, 0.5, 0.9))
        kept: list[tuple[int, bytes | None]] = []
        for offset, data in file.pending:
            if data is None or draw.random() < chance:
                kept.append((offset, data))
            elif style == "torn":
                kept += _torn(offset, data, draw)
            elif draw.random() < 0.3 and offset >= len(file.durable):
                kept.append((offset, bytes(len(data))))  # the size got there, the bytes did not
        return _bytes(file.durable, kept)


def _bytes(start: bytes, changes: list[tuple[int, bytes | None]]) -> bytes:
    content = bytearray(start)
    for offset, data in changes:
        end = offset if data is None else offset + len(data)
        if len(content) < end:
            content.extend(bytes(end - len(content)))
        if data is None:
            del content[offset:]
        else:
            content[offset:end] = data
    return bytes(content)


def _torn(offset: int, data: bytes, draw: random.Random) -> Iterator[tuple[int, bytes | None]]:
    """Some sectors of a write."""
    at = 0
    while at < len(data):
        end = min(len(data), at + SECTOR - (offset + at) % SECTOR)
        if draw.random() < 0.5:
            yield offset + at, data[at:end]
        at = end


def _walk(folder: int, names: Entries, numbers: dict[int, int], above: str = "") -> Iterator[tuple[str, Node]]:
    for (parent, name), node in sorted(names.items(), key=lambda entry: entry[0]):
        if parent == folder and node is not None:
            path = above + os.fsdecode(name)
            yield path, node
            if node.folder and path.count("/") < 20:
                yield from _walk(numbers[id(node)], names, numbers, path + "/")


def write_tree(root: Path, tree: dict[str, bytes | None]) -> None:
    for path, content in tree.items():
        if content is None:
            (root / path).mkdir(parents=True, exist_ok=True)
        else:
            (root / path).write_bytes(content)
