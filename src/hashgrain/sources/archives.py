"""Pictures in tar archives, webdataset style: files of one key belong together, `.json` describes the rest.

Members are read one after the other and never written to disk, so no name in an archive can lead anywhere. An archive
is read twice: first for the notes whose picture stands elsewhere in it, then for its pictures.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, MutableMapping
from contextlib import suppress
from dataclasses import dataclass, field

from hashgrain.errors import ImageError
from hashgrain.media.medium import Medium
from hashgrain.media.pictures import PICTURES
from hashgrain.sources.notes import MAX_APART, NOTES, Notes, SeparateNotes, suffix_of
from hashgrain.sources.source import MAX_BYTES, Refused, Source
from hashgrain.sources.suffix_counts import count_suffix
from hashgrain.sources.tar import DAMAGED, Member, Tar, open_tar

ARCHIVES = (".tar", ".tar.gz", ".tgz")


@dataclass
class _Group:
    """What stands together under one key, waiting for the rest of it."""

    key: str = ""
    pictures: list[tuple[str, bytes | str]] = field(
        default_factory=list
    )  # name, and content or the reason for refusing it
    notes: Notes = field(default_factory=Notes)
    room: int = field(
        default_factory=lambda: MAX_BYTES
    )  # for all of them: a hostile archive has one key for everything

    def take(self, tar: Tar, member: Member) -> None:
        content = _content(tar, member, self.room)
        self.room -= len(content)  # a refusal takes room too
        self.pictures.append((member.name, content))


def archive_sources(
    path: str, passed: MutableMapping[str, int] | None = None, medium: Medium = PICTURES
) -> Iterator[Source | Refused]:
    """The pictures of an archive, each with the metadata of its key; `passed` counts the other files by suffix."""
    changed, apart, group = 0, SeparateNotes(), _Group()
    try:
        changed = os.stat(path).st_mtime_ns
        _collect_separate(path, apart, medium)
        with open_tar(path) as tar:
            for member in tar.members():
                if (key := _key(member)) != group.key:
                    yield from _sources(path, group, changed, apart)
                    group = _Group(key)
                if not _is_file(member):
                    continue
                if suffix_of(member.name) in NOTES:
                    group.notes.take(tar, member)
                elif suffix_of(member.name) in medium.suffixes:
                    group.take(tar, member)
                else:
                    count_suffix(passed, member.name)
    except DAMAGED as error:
        yield from _sources(path, group, changed, apart)
        yield Refused(path, f"the archive is damaged or cut short ({reason_for(error)})")
        return
    yield from _sources(path, group, changed, apart)
    if apart.full:
        yield Refused(path, f"notes apart from their pictures take more than {MAX_APART >> 20} MB; some are left out")


def read_member(path: str, name: str) -> bytes:
    """One picture of an archive; of several with one name the last, which is the one a library holds."""
    content: bytes | str | None = None
    try:
        with open_tar(path) as tar:
            for member in tar.members():
                if member.name == name and _is_file(member):
                    content = _content(tar, member)
    except DAMAGED as error:
        if content is None:
            raise ImageError(
                f"{path}!{name}: cannot be read from its archive ({reason_for(error)})", path=path
            ) from None
    if not isinstance(content, bytes):
        raise ImageError(f"{path}!{name}: {content or 'is not in its archive any more'}", path=path)
    return content


def reason_for(error: BaseException) -> str:
    if isinstance(error, EOFError):
        return "unexpected end of data"
    return (error.strerror if isinstance(error, OSError) else None) or str(error) or type(error).__name__


def _collect_separate(path: str, apart: SeparateNotes, medium: Medium) -> None:
    """Collect the notes that do not stand beside a picture of their key. Damage is reported with the pictures."""
    key, notes, pictures = "", Notes(), False
    with suppress(*DAMAGED), open_tar(path) as tar:
        for member in tar.members():
            if _key(member) != key:
                if notes.files and not pictures:
                    apart.keep(key, notes)
                key, notes, pictures = _key(member), Notes(), False
            if _is_file(member) and suffix_of(member.name) in NOTES:
                notes.take(tar, member)
            pictures = pictures or (_is_file(member) and suffix_of(member.name) in medium.suffixes)
    if notes.files and not pictures:
        apart.keep(key, notes)


def _sources(path: str, group: _Group, changed: int, apart: SeparateNotes) -> Iterator[Source | Refused]:
    if not group.pictures:
        return
    notes = apart.with_others(group.key, group.notes)
    values = notes.values()
    for name, content in group.pictures:
        if isinstance(content, str):
            yield Refused(f"{path}!{name}", content)
        else:
            yield Source(f"{path}!{name}", lambda content=content: content, (len(content), changed), dict(values))  # type: ignore[misc]
    for name, reason in notes.refused:
        yield Refused(f"{path}!{name}", reason)


def _key(member: Member) -> str:
    folder, _, name = member.name.rpartition("/")
    return f"{folder}/{name.partition('.')[0]}"


def _is_file(member: Member) -> bool:
    return member.regular or member.sparse


def _content(tar: Tar, member: Member, room: int | None = None) -> bytes | str:
    """The bytes, or why they are refused."""
    if member.sparse:
        return "is stored as a sparse file"
    if "\0" in member.name:
        return "its name holds a zero byte"
    if member.size > MAX_BYTES:
        return f"the file is larger than {MAX_BYTES >> 20} MB"
    if room is not None and member.size > room:
        return f"the files of its key are larger than {MAX_BYTES >> 20} MB together"
    return tar.content(member)
