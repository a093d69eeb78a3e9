"""Notes about a picture in the files beside it in an archive: `key.json`, `key.txt`, `key.cls`, webdataset style."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from typing import Any

from hashgrain.sources.tar import Member, Tar

NOTES = (".json", ".txt", ".cls")
MAX_NOTES = 1 << 20  # bytes of all notes of one key
MAX_VALUES = 20_000  # in the notes of one key: a bracket is a byte in the file and a hundred in memory
MAX_APART = 64 << 20  # of notes that stand apart from their picture, all of them together
MAX_REFUSED = 3  # refused notes of one key that are reported
TOO_LARGE = f"the notes of its key are larger than {MAX_NOTES >> 20} MB together"
ENTRY = 400  # what keeping a note costs beside its bytes


@dataclass
class Notes:
    """The notes of one key, unparsed but capped, and why some are left out."""

    files: list[tuple[str, bytes]] = field(default_factory=list)  # name of a member and its content
    refused: list[tuple[str, str]] = field(default_factory=list)  # name of a member and why
    room: int = MAX_NOTES

    def take(self, tar: Tar, member: Member) -> None:
        if member.size > self.room:
            self._refuse(member.name, TOO_LARGE)
            return
        self.room -= member.size + ENTRY
        self.files.append((member.name, tar.content(member)))

    def values(self) -> dict[str, Any]:
        """All of them as one object. What cannot be read, or holds too much, is refused."""
        values: dict[str, Any] = {}
        room, space = MAX_VALUES, MAX_NOTES
        for name, content in self.files:
            space -= len(content)
            if space < 0:
                self._refuse(name, TOO_LARGE)
                break
            suffix, text = suffix_of(name), content.decode("utf-8", "replace")
            if suffix == ".txt":
                values["text"] = text.strip()
                continue
            room -= sum(map(text.count, "[{,"))
            if room < 0:
                self._refuse(name, f"the notes of its key hold more than {MAX_VALUES:,} values")
                break
            try:
                value = json.loads(text)
            except (ValueError, RecursionError) as error:
                if suffix == ".cls":  # a class by its name
                    values["cls"] = text.strip()
                else:
                    self._refuse(name, f"is no JSON ({error})")
                continue
            if suffix == ".cls":
                values["cls"] = value
            elif isinstance(value, dict):
                values.update(value)
        return values

    def _refuse(self, name: str, reason: str) -> None:
        if len(self.refused) < MAX_REFUSED:
            self.refused.append((name, reason))


def suffix_of(name: str) -> str:
    return os.path.splitext(name)[1].lower()


class SeparateNotes:
    """Notes of keys whose picture stands elsewhere in the archive, which a first pass collects."""

    def __init__(self) -> None:
        self.by_key: dict[str, Notes] = {}
        self.room = MAX_APART
        self.full = False

    def keep(self, key: str, notes: Notes) -> None:
        cost = sum(len(content) + ENTRY for _, content in notes.files) + len(key) + ENTRY
        if cost > self.room:
            self.full = True
            return
        self.room -= cost
        known = self.by_key.setdefault(key, Notes())
        known.files += notes.files
        known.refused = (known.refused + notes.refused)[:MAX_REFUSED]

    def with_others(self, key: str, notes: Notes) -> Notes:
        """All notes of a key: those from elsewhere, then those that stand beside its picture."""
        others = self.by_key.get(key)
        if others is None:
            return notes
        return Notes(others.files + notes.files, others.refused + notes.refused)
