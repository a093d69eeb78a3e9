"""XMP sidecars: the keywords of a picture in a file beside it, `picture.jpg.xmp`.

A sidecar may come from anywhere. It is parsed without entities, and only the keywords are spliced in: everything else
in the file stays as it was, byte for byte. Keywords that a machine gave are listed a second time, under a name of our
own, so that they can be told from a person's, and taken back.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from xml.parsers import expat
from xml.sax.saxutils import escape

from hashgrain.files import read_regular, write_atomically

SUFFIX = ".xmp"
MAX_BYTES = 4 << 20
MAX_DEPTH = 100
RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
DC = "http://purl.org/dc/elements/1.1/"
OURS = "urn:hashgrain:xmp/"
# A name in the parser's form is namespace and local name with a space between, which neither can hold.
ROOT, DESCRIPTION, ITEM = f"{RDF} RDF", f"{RDF} Description", f"{RDF} li"
LISTS = (f"{RDF} Bag", f"{RDF} Seq", f"{RDF} Alt")
SUBJECT, BY_MACHINE = f"{DC} subject", f"{OURS} machineSubject"
PREFIXES = {DC: "dc", OURS: "hashgrain"}
TAG = re.compile(rb"<[^\"'>]*(?:\"[^\"]*\"[^\"'>]*|'[^']*'[^\"'>]*)*>")
NOT_IN_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
BOM = b"\xef\xbb\xbf"
EMPTY = f"""<?xml version="1.0" encoding="UTF-8"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/">
 <rdf:RDF xmlns:rdf="{RDF}">
  <rdf:Description rdf:about="">
  </rdf:Description>
 </rdf:RDF>
</x:xmpmeta>
""".encode()


@dataclass(frozen=True)
class Keywords:
    """The keywords of a sidecar, and which of them a machine gave."""

    words: tuple[str, ...]
    by_machine: tuple[str, ...]


@dataclass
class _Element:
    """Where an element lies: its first tag, and its end tag, which one without content does not have."""

    start: int
    opened: int
    empty: bool
    closing: int = 0
    end: int = 0


def sidecar_of(picture: str) -> str:
    return picture + SUFFIX


def write_keywords(picture: str, by_machine: Sequence[str]) -> bool:
    """Make these the machine's keywords in the sidecar of a picture. Returns whether the file changed.

    ValueError or OSError says why the sidecar cannot be used; then it is as it was.
    """
    path = sidecar_of(picture)
    if os.path.islink(path):
        raise ValueError("is a link, and what it leads to is left alone")
    try:
        content = read_regular(path, MAX_BYTES)
    except FileNotFoundError:
        if not by_machine:
            return False
        content = EMPTY
    if not by_machine and OURS.encode() not in content:
        return False  # nothing to take back, whatever else it is
    changed = with_keywords(content, by_machine)
    if changed == content:
        return False
    write_atomically(path, changed)
    return True


def keywords_of(content: bytes) -> Keywords:
    """The keywords of a sidecar; ValueError if it is no XMP."""
    reader = _Reader(content)
    return Keywords(tuple(reader.words[SUBJECT]), tuple(reader.words[BY_MACHINE]))


def with_keywords(content: bytes, by_machine: Sequence[str]) -> bytes:
    """The sidecar with these as the machine's keywords. A person's stay, and are not listed as the machine's."""
    if odd := next((word for word in by_machine if NOT_IN_XML.search(word)), None):
        raise ValueError(f"cannot hold the label {odd!r}, which has characters that XML does not allow")
    known, by_machine = keywords_of(content), [word.strip() for word in by_machine]
    own = [word for word in known.words if word not in known.by_machine]
    added = [word for word in dict.fromkeys(by_machine) if word not in own]
    wanted = Keywords((*own, *added), tuple(added))
    if (set(known.words), set(known.by_machine)) == (set(wanted.words), set(wanted.by_machine)):
        return content
    changed = _Reader(content).spliced({SUBJECT: wanted.words, BY_MACHINE: wanted.by_machine})
    if keywords_of(changed) != wanted:
        raise ValueError("cannot be changed without harm to the rest of it")
    return changed


class _Reader:
    """Finds the keywords of a sidecar, and where in the file they are listed."""

    def __init__(self, content: bytes) -> None:
        self._mark = BOM if content.startswith(BOM) else b""
        self._body = content.removeprefix(BOM)
        self.words: dict[str, list[str]] = {SUBJECT: [], BY_MACHINE: []}
        self.places: dict[str, _Element] = {}  # the first element of each name that matters
        self._open: list[tuple[str, _Element]] = []
        self._text: list[str] | None = None  # of the keyword that is being read
        self._parser = parser = expat.ParserCreate("utf-8", " ")
        parser.XmlDeclHandler = self._declared
        parser.StartDoctypeDeclHandler = self._doctype
        parser.StartElementHandler = self._started
        parser.EndElementHandler = self._ended
        parser.CharacterDataHandler = self._read
        try:
            parser.Parse(self._body, True)
        except expat.ExpatError as error:
            raise ValueError(f"is not XML that can be read ({error})") from None
        if ROOT not in self.places:
            raise ValueError("holds no XMP")

    def spliced(self, listed: dict[str, Sequence[str]]) -> bytes:
        """The file with these keywords under each name, in place of those it has."""
        edits = []
        new = b""
        for name, words in listed.items():
            element = _written(name, words)
            if (place := self.places.get(name)) is not None:
                edits.append((place.start, place.end, element))
            elif element:
                new += b" " + element + b"\n  "
        if new and DESCRIPTION in self.places:
            edits.append(self._inserted(self.places[DESCRIPTION], new))
        elif new:
            described = (
                f'<rdf:Description xmlns:rdf="{RDF}" rdf:about="">\n  '.encode() + new + b"</rdf:Description>\n "
            )
            edits.append(self._inserted(self.places[ROOT], described))
        changed = self._body
        for start, end, text in sorted(edits, reverse=True):
            changed = changed[:start] + text + changed[end:]
        return self._mark + changed

    def _inserted(self, place: _Element, text: bytes) -> tuple[int, int, bytes]:
        """The edit that puts a text at the end of an element."""
        if not place.empty:
            return place.closing, place.closing, text
        tag = self._body[place.start : place.opened]
        name = re.split(rb"[\s/>]", tag[1:], maxsplit=1)[0]
        return place.start, place.opened, tag[:-2] + b">\n  " + text + b"</" + name + b">"

    def _declared(self, version: str, encoding: str | None, standalone: int) -> None:
        if encoding is not None and encoding.lower() not in ("utf-8", "utf8", "us-ascii"):
            raise ValueError(f"is in {encoding!r}; only UTF-8 is changed")

    def _doctype(self, *declared: object) -> None:
        raise ValueError("declares a document type, which XMP has not: it may hold entities")

    def _started(self, name: str, attributes: dict[str, str]) -> None:
        start = self._parser.CurrentByteIndex
        tag = TAG.match(self._body, start)
        assert tag is not None  # the parser has read it
        place = _Element(start, tag.end(), tag[0].endswith(b"/>"))
        above = [each for each, _ in self._open[-2:]]
        if len(self._open) > MAX_DEPTH or self._text is not None:
            raise ValueError(
                "has more than words among its keywords" if self._text is not None else "is nested too deep"
            )
        if name in self.words and above == [ROOT, DESCRIPTION]:
            if name in self.places:
                raise ValueError("lists its keywords twice")
            self.places[name] = place
        elif name == ROOT or (name == DESCRIPTION and above[-1:] == [ROOT]):
            self.places.setdefault(name, place)
            if any(each in self.words for each in attributes):
                raise ValueError("has its keywords as an attribute, not as a list")
        elif name == ITEM and self._listed() and above[-1] in LISTS:
            self._text = []
        self._open.append((name, place))

    def _listed(self) -> str | None:
        """Under which name a list lies whose entry begins or ends here."""
        name, place = self._open[-2] if len(self._open) > 1 else ("", None)
        return name if name in self.words and self.places.get(name) is place else None

    def _read(self, text: str) -> None:
        if self._text is not None:
            self._text.append(text)

    def _ended(self, name: str) -> None:
        _, place = self._open.pop()
        place.closing = place.opened if place.empty else self._parser.CurrentByteIndex
        closing = None if place.empty else TAG.match(self._body, place.closing)
        place.end = place.opened if closing is None else closing.end()
        if name == ITEM and self._text is not None:
            word, listed = "".join(self._text).strip(), self._listed()
            if word and listed and word not in self.words[listed]:
                self.words[listed].append(word)
            self._text = None


def _written(name: str, words: Sequence[str]) -> bytes:
    """A list of keywords, with the prefixes it uses; nothing for no keywords."""
    if not words:
        return b""
    uri, _, local = name.partition(" ")
    tag = f"{PREFIXES[uri]}:{local}"
    items = "".join(f"\n     <rdf:li>{escape(word, {chr(13): '&#13;'})}</rdf:li>" for word in words)
    opened = f'<{tag} xmlns:{PREFIXES[uri]}="{uri}" xmlns:rdf="{RDF}">'
    return f"{opened}\n    <rdf:Bag>{items}\n    </rdf:Bag>\n   </{tag}>".encode()
