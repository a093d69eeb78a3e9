"""Pictures in tar archives, webdataset style: files of one key belong together, `.json` describes the rest.

Members are read one after the other and never written to disk, so no name in an archive can lead anywhere.
"""

from __future__ import annotations

import json
import os
import tarfile
from collections.abc import Iterator
from typing import Any

from hashgrain.errors import ImageError
from hashgrain.sources.source import MAX_BYTES, SUFFIXES, Refused, Source

ARCHIVES = (".tar", ".tar.gz", ".tgz")
MAX_NOTES = 16 << 20


def archive_sources(path: str) -> Iterator[Source | Refused]:
    """The pictures of an archive, each with the metadata of its key."""
    changed = os.stat(path).st_mtime_ns
    key = ""
    pictures: list[tuple[str, bytes | str]] = []
    notes: dict[str, Any] = {}
    room = MAX_BYTES  # for all that wait for the rest of their key: a hostile archive has one key for everything

    def group() -> Iterator[Source | Refused]:
        for name, content in pictures:
            if isinstance(content, str):
                yield Refused(f"{path}!{name}", content)
            else:
                yield Source(f"{path}!{name}", lambda content=content: content, (len(content), changed), dict(notes))  # type: ignore[misc]

    try:
        with tarfile.open(path, "r:*") as archive:
            for member in archive:
                if not member.isreg():
                    continue
                folder, _, name = member.name.rpartition("/")
                own_key = f"{folder}/{name.partition('.')[0]}"
                if own_key != key:
                    yield from group()
                    key, pictures, notes, room = own_key, [], {}, MAX_BYTES
                suffix = os.path.splitext(name)[1].lower()
                if suffix in SUFFIXES:
                    content = _content(archive, member, room)
                    room -= len(content)  # of a refusal too, which is also kept
                    pictures.append((member.name, content))
                else:
                    notes.update(_notes(archive, member, suffix))
            _check_end(archive)
    except (tarfile.TarError, OSError, EOFError, ValueError) as error:
        yield from group()
        yield Refused(path, f"the archive is damaged or cut short ({error})")
        return
    yield from group()


def _check_end(archive: tarfile.TarFile) -> None:
    """tarfile takes an archive that just stops for one that is complete; a complete one ends in zeros."""
    assert archive.fileobj is not None
    archive.fileobj.seek(archive.offset)
    if len(archive.fileobj.read(tarfile.BLOCKSIZE)) < tarfile.BLOCKSIZE:
        raise tarfile.ReadError("it ends without an end mark")


def read_member(path: str, name: str) -> bytes:
    """One picture of an archive."""
    try:
        with tarfile.open(path, "r:*") as archive:
            content = _content(archive, archive.getmember(name))
    except (tarfile.TarError, KeyError, EOFError) as error:
        raise ImageError(f"{path}!{name}: cannot be read from its archive ({error})") from None
    if isinstance(content, str):
        raise ImageError(f"{path}!{name}: {content}")
    return content


def _content(archive: tarfile.TarFile, member: tarfile.TarInfo, room: int | None = None) -> bytes | str:
    """The bytes, or why not."""
    if member.size > MAX_BYTES:
        return f"the file is larger than {MAX_BYTES >> 20} MB"
    if room is not None and member.size > room:
        return f"the files of its key are larger than {MAX_BYTES >> 20} MB together"
    file = archive.extractfile(member)
    content = file.read() if file else b""
    if len(content) < member.size:
        raise tarfile.ReadError("unexpected end of data")
    return content


def _notes(archive: tarfile.TarFile, member: tarfile.TarInfo, suffix: str) -> dict[str, Any]:
    if suffix not in (".json", ".txt", ".cls") or member.size > MAX_NOTES:
        return {}
    content = _content(archive, member)
    text = content.decode("utf-8", "replace") if isinstance(content, bytes) else ""
    if suffix == ".txt":
        return {"text": text.strip()}
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    if suffix == ".cls":
        return {"cls": value}
    return value if isinstance(value, dict) else {}
