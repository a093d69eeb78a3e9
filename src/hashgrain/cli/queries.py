"""The query of a search: a picture, a folder, stdin or an item; and the error if it is none of these."""

from __future__ import annotations

import hashlib
import os
import re
import shlex
import sys
from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hashgrain.cli.output import complain
from hashgrain.cli.remedies import reason_text
from hashgrain.errors import ItemMissingError, QueryError

if TYPE_CHECKING:
    from hashgrain.library import Library, LibraryHit, NamedQuery

AT_ONCE = 256  # queries that share one pass over the codes
MAX_NAMES = 20_000  # of a folder, among which the nearest is looked for


def asked_with(query: str | None, item: int | None, library: Library) -> Any:
    """The picture, path or id of the query, checked to exist."""
    if query is None:
        return item
    if query == "-":
        return _stdin()
    if not os.path.lexists(query) and not _known(query, library):
        raise QueryError(_no_such(query))
    return Path(query)


def item_of(name: str, library: Library, option: str = "--like") -> int:
    """The id of the item of this path or id."""
    known = library.store.known(os.path.abspath(name)) or library.store.known(name)
    if known is not None:
        return known.id
    if not name.isdecimal():
        remedy = f"{option} takes the path or the id of an item"
        raise ItemMissingError(f"nothing in {library.path} has the path {name}", path=name, remedy=remedy)
    return library.item(int(name)).id


def ask_codes(library: Library, file: Path, options: Mapping[str, Any]) -> list[tuple[str, list[LibraryHit]]]:
    """The hits of each code of a file. A query is named by its path, or by the number of its row."""
    from hashgrain.library import NamedQuery, search_several
    from hashgrain.library.codes_only import bit_order_of
    from hashgrain.library.importing import read_codes

    query_codes = read_codes(file, library.grains, bit_order_of(library.bundle))
    if query_codes.digest is not None and query_codes.digest != library.store.digest:
        raise QueryError(
            f"{file} holds codes of another model than {library.path}, and codes of two models do not compare"
        )
    names = (
        [str(row) for row in range(len(query_codes.codes))] if query_codes.paths is None else list(query_codes.paths)
    )
    answers: list[tuple[str, list[LibraryHit]]] = []
    for start in range(0, len(names), AT_ONCE):
        part = names[start : start + AT_ONCE]
        queries = [NamedQuery(name, query_codes.codes[start + row]) for row, name in enumerate(part)]
        answers += zip(part, search_several([library], queries, **options), strict=True)
    return answers


def ask_several(
    libraries: Sequence[Library], asked: Any, max_pixels: int, not_self: bool, options: Mapping[str, Any]
) -> tuple[list[tuple[str, list[LibraryHit]]], int]:
    """The hits of each query, which is one picture or each of a folder; and the number of refused pictures."""
    from hashgrain.library import NamedQuery, refuse_mixed, search_several

    refuse_mixed(libraries)
    if not (isinstance(asked, Path) and asked.is_dir()):
        one = _query(libraries, asked, max_pixels, not_self)
        return [(one.name, matches) for matches in search_several(libraries, [one], **options)], 0
    answers: list[tuple[str, list[LibraryHit]]] = []
    refused = 0
    queries = _queries_below(libraries, asked, max_pixels, not_self)
    while batch := list(islice(queries, AT_ONCE)):
        for each in batch:
            if not isinstance(each, NamedQuery):
                refused += 1
                complain(f"refused: {each[0]}: {reason_text(str(each[1]))}")
        good = [each for each in batch if isinstance(each, NamedQuery)]
        names = [query.name for query in good]
        answers += zip(names, search_several(libraries, good, **options), strict=True)
    if not answers and not refused:
        raise QueryError(f"there are no pictures in {asked}")
    return answers, refused


def _query(libraries: Sequence[Library], asked: Any, max_pixels: int, not_self: bool) -> NamedQuery:
    """One query. An item is left out of its own answer, and with `not_self` every item with the same bytes."""
    from hashgrain.library import NamedQuery, items_of_query

    first = libraries[0]
    itself = {0: frozenset([asked])} if isinstance(asked, int) else {}
    if not_self and isinstance(asked, int):
        item = first.item(asked)
        itself = items_of_query(libraries, item.path, item.content)
    elif not_self and isinstance(asked, bytes):
        itself = items_of_query(libraries, None, hashlib.sha256(asked).hexdigest())
    elif not_self:
        itself = items_of_query(libraries, os.path.abspath(asked), _content(asked))
    return NamedQuery("", first.code(asked, max_pixels=max_pixels), itself)


def _queries_below(
    libraries: Sequence[Library], folder: Path, max_pixels: int, not_self: bool
) -> Iterator[NamedQuery | tuple[str, str]]:
    """A query for each picture in a folder; a picture that cannot be opened is yielded as its path and the reason."""
    from hashgrain.codes import Codes
    from hashgrain.library import NamedQuery, encode_sources, items_of_query
    from hashgrain.media import decode_workers

    encoder = libraries[0].encoder
    for path, code in encode_sources(encoder, [folder], workers=decode_workers(), max_pixels=max_pixels):
        if isinstance(code, Codes):
            yield NamedQuery(path, code, items_of_query(libraries, path, _content(path)) if not_self else {})
        else:
            yield path, str(code)


def _content(path: str | os.PathLike[str]) -> str | None:
    """The SHA-256 of a file; None where there is none to read, such as a member of an archive."""
    from hashgrain.files import read_regular
    from hashgrain.sources.source import MAX_BYTES

    try:
        return hashlib.sha256(read_regular(path, MAX_BYTES)).hexdigest()
    except OSError:
        return None


def _stdin() -> bytes:
    from hashgrain.sources.source import MAX_BYTES

    content = sys.stdin.buffer.read(MAX_BYTES + 1)
    if len(content) > MAX_BYTES:
        raise QueryError(f"what comes from stdin is larger than {MAX_BYTES >> 20} MB; that is no picture")
    return content


def _known(query: str, library: Library) -> bool:
    """Whether the library has it though the file is gone: its code still answers."""
    store = library.store
    return store.known(os.path.abspath(query)) is not None or store.known(query) is not None


def _no_such(query: str) -> str:
    """Why this is not a query, and what to do. People try addresses, words, and names with a typo."""
    if re.match(r"[A-Za-z][A-Za-z0-9+.-]+://", query):
        return f"{query} is an address, and a query is a file: download it first"
    folder, name = os.path.split(query)
    if not os.path.isdir(folder or "."):
        return f"there is no file {query}: there is no folder {folder}"
    with os.scandir(folder or ".") as entries:
        names = [entry.name for entry in islice(entries, MAX_NAMES)]
    if near := get_close_matches(name, names, 3):
        return f"there is no file {query}; did you mean {' or '.join(os.path.join(folder, one) for one in near)}?"
    if not folder and not os.path.splitext(name)[1]:
        return f"there is no file {query}; to search by words: --text {shlex.quote(name)}"
    return f"there is no file {query}; a query is the path of a picture"
