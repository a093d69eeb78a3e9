"""A library that another machine serves: `Client` asks `hashgrain serve` and answers like `Library`.

    from hashgrain import Client

    with Client("http://127.0.0.1:8080") as client:
        for hit in client.search("cat.jpg", k=5):
            print(hit.distance, hit.word, hit.path)

It needs no package beside the core.
"""

from __future__ import annotations

import io
import json
import os
import struct
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, cast
from urllib.parse import quote, urlencode, urlsplit

from hashgrain.errors import HashgrainError, QueryError, ServerError
from hashgrain.search import Hit
from hashgrain.store import Item
from hashgrain.types import Part, Verified

if TYPE_CHECKING:
    from hashgrain.types import Box, ImageLike, JsonLike, Meta, PartsOption

PAGE = 500  # hits or items of one request
TRIES = 6  # of a request that the server is too busy for
MAKING_WAIT = 0.3  # seconds, before what is being computed is asked for again
LONGEST_WAIT = 10.0  # seconds before the next of them
JSON = "application/json"
BYTES = "application/octet-stream"


class Client:
    """What a server offers of its library. Any number of threads may use it, each over a connection of its own.

    `url` is the address that `hashgrain serve` prints, and `token` the one it asks for, if it does. Errors are those of
    `Library`, with the same codes; ServerError where there is no answer.
    """

    def __init__(self, url: str, token: str | None = None, *, timeout: float = 60.0) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ServerError(f"{url!r} is no address of a server, such as http://127.0.0.1:8080")
        self.url = url.rstrip("/")
        self._secure, self._host, self._port = parts.scheme == "https", parts.hostname, parts.port
        self._below = parts.path.rstrip("/")
        self._headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        self._timeout = timeout
        self._local = threading.local()
        self._lock = threading.Lock()
        self._open: list[HTTPConnection] = []

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections of all threads."""
        with self._lock:
            for connection in self._open:
                connection.close()

    def __len__(self) -> int:
        return int(cast("int", self.info()["pictures"]))

    def info(self) -> dict[str, JsonLike]:
        """Return what is served: name, number of pictures, grains, model, fields to filter by."""
        return cast("dict[str, JsonLike]", self._json("GET", "/api/v1/library"))

    def search(
        self,
        query: ImageLike | int | None = None,
        *,
        text: str | None = None,
        k: int | None = 10,
        grain: str | None = None,
        where: str | None = None,
        items: Iterable[int] | None = None,
        within: int | None = None,
        parts: PartsOption = "auto",
        boxes: Sequence[Box] = (),
        match: Literal["any", "all", "mean"] = "any",
        turned: bool = False,
        like: Sequence[ImageLike | int] = (),
        unlike: Sequence[ImageLike | int] = (),
        min_score: float | None = None,
        refine: bool = False,
        rerank: int | None = None,
    ) -> list[Hit]:
        """Return the nearest pictures, as `Library.search` does. A path is read here and sent, an id is an item's,
        and an https address is fetched by the server, if it was started to.

        `items` are ids among which to search. With `k` None, all hits that a cut-off (`within`,
        `min_score`) leaves, or all items.
        """
        if k is not None and (isinstance(k, bool) or not isinstance(k, int) or k < 1):
            raise QueryError(f"k is {k!r}; ask for 1 hit or more")
        asked = {} if query is None else self._example(query)
        asked |= {} if text is None else {"text": text}
        options: dict[str, Any] = {"query": asked or None, "grain": grain, "where": where, "within": within}
        options |= {"parts": parts, "boxes": [list(box) for box in boxes], "match": match, "turned": turned}
        options |= {"like": [self._example(each) for each in like], "unlike": [self._example(each) for each in unlike]}
        options |= {"min_score": min_score, "refine": refine, "rerank": rerank}
        options |= {"items": None if items is None else _ids(items)}
        hits: list[Hit] = []
        cursor = None
        while k is None or len(hits) < k:
            page = {"k": PAGE if k is None else min(PAGE, k - len(hits)), "cursor": cursor}
            answer = self._json("POST", "/api/v1/search", {**options, **page})
            hits += [_hit(each) for each in answer["hits"]]
            cursor = answer["next"]
            if cursor is None:
                break
        return hits

    def item(self, item: int) -> Item:
        return Item(**self._json("GET", f"/api/v1/items/{int(item)}"))

    def items(self, items: Iterable[int] | None = None, *, where: str | None = None) -> list[Item]:
        """Return all items, ordered by id, or those that are among some ids and match a filter."""
        return list(self._items(items, where))

    def _items(self, items: Iterable[int] | None, where: str | None) -> Iterator[Item]:
        values: dict[str, str] = {"k": str(PAGE)} | ({} if where is None else {"where": where})
        values |= {} if items is None else {"items": ",".join(map(str, _ids(items)))}
        yield from (Item(**each) for each in self._pages("/api/v1/items", "items", values))

    def tags(self, key: str = "tag", *, k: int = 200) -> dict[JsonLike, int]:
        """Return the values that a field or a key of metadata has, with the number of items that have each, most
        frequent first."""
        answer = self._json("GET", f"/api/v1/tags?{urlencode({'key': key, 'k': str(int(k))})}")
        return {each["name"]: each["count"] for each in answer["tags"]}

    def tag(
        self, items: int | Iterable[int], *, add: Iterable[str] = (), remove: Iterable[str] = (), key: str = "tag"
    ) -> int:
        """Give names to items, or take some, in a list under a key of their metadata. Returns how many changed."""
        body = {"items": _ids(items), "key": key, "add": list(add), "remove": list(remove)}
        return int(self._json("POST", "/api/v1/tags", body)["changed"])

    def thumbnail(self, item: int, *, edge: int = 256) -> bytes:
        """Return a small JPEG of an item; `edge` is 128, 256, 512 or 1024."""
        return self._bytes("GET", f"/api/v1/items/{int(item)}/thumbnail?edge={int(edge)}")

    def original(self, item: int) -> bytes:
        """Return the file of an item. Raises ServerError if it is gone or has changed."""
        return self._bytes("GET", f"/api/v1/items/{int(item)}/original")

    def add(self, picture: ImageLike, *, name: str | None = None) -> Item:
        """Send a picture to the library, and return its item. One that is there already is not added again."""
        data, own = _data(picture)
        values = urlencode({"name": own if name is None else name})
        answer = self._json("POST", f"/api/v1/items?{values}", data)
        return Item(**answer["item"])

    def remove(self, items: int | Iterable[int]) -> list[str]:
        """Remove items, and return for each what `undo` takes. Their files stay where they are."""
        return [self._json("DELETE", f"/api/v1/items/{each}")["undo"] for each in _ids(items)]

    def remove_together(self, items: Iterable[int]) -> str:
        """Remove items, all or none, and return what `undo_together` takes. Their files stay where they are."""
        return str(self._json("POST", "/api/v1/items/remove", {"items": _ids(items)})["undo"])

    def scenes(self) -> dict[str, JsonLike]:
        """Return the library as a tree of kinds and things, see GET /api/v1/scenes. Waits until it is made."""
        return self._made("/api/v1/scenes")

    def scene(self, scene: str) -> list[Item]:
        """Return the items of a kind or a thing of `scenes`, by its id."""
        return [Item(**each) for each in self._pages(f"/api/v1/scenes/{quote(scene, safe='')}", "items", {})]

    def duplicates(self, word: Literal["exact", "same", "near"] = "same") -> list[dict[str, JsonLike]]:
        """Return groups of copies, see GET /api/v1/duplicates. Waits until they are found."""
        return list(self._pages("/api/v1/duplicates", "groups", {"word": word}))

    def trash(self, items: int | Iterable[int]) -> tuple[str | None, dict[int, str]]:
        """Move copies that `duplicates` answered with to the trash of the server. Returns what `undo_together` takes,
        and for each item that stays why."""
        answer = self._json("POST", "/api/v1/duplicates/trash", {"items": _ids(items)})
        return answer["undo"], {each["item"]: each["why"] for each in answer["left"]}

    def map(self) -> dict[str, JsonLike]:
        """Return what is on the map of the library, see GET /api/v1/map. Waits until it is made."""
        return self._made("/api/v1/map")

    def map_points(self) -> list[tuple[int, float, float]]:
        """Return the points of the map: the id of an item, and its place, from -1 to 1."""
        version = quote(str(self.map()["version"]), safe="")
        return list(struct.iter_unpack("<Iff", self._bytes("GET", f"/api/v1/map/points?version={version}")))

    def jobs(self) -> list[dict[str, JsonLike]]:
        """Return what the server does beside answering, the newest first."""
        return list(self._json("GET", "/api/v1/jobs")["jobs"])

    def add_folder(self, folder: str, *, parts: bool = True) -> dict[str, JsonLike]:
        """Begin to add what is new in a folder that the server allows, by its name. Returns the job: `jobs` says how
        far it is."""
        return self._json("POST", "/api/v1/jobs", {"add": {"folder": folder, "parts": parts}})

    def stop_job(self, job: int) -> dict[str, JsonLike]:
        """Stop a job where it is. What was added stays."""
        return self._json("DELETE", f"/api/v1/jobs/{int(job)}")

    def undo(self, removal: str) -> Item:
        """Put a removed item back. It has a new id."""
        return Item(**self._json("POST", f"/api/v1/undo/{quote(removal, safe='')}", b""))

    def undo_together(self, removal: str) -> tuple[list[int], dict[str, str]]:
        """Put back what was removed together. Returns the new ids, and for each path that could not be put
        back why."""
        answer = self._json("POST", f"/api/v1/undo/{quote(removal, safe='')}", b"")
        return list(answer["restored"]), {each["path"]: each["why"] for each in answer["left"]}

    def meta(self, items: int | Iterable[int], *, set: Meta | None = None, unset: Iterable[str] = ()) -> int:
        """Change the metadata of items, and return how many were asked for."""
        ids = _ids(items)
        for each in ids:
            self._json("PATCH", f"/api/v1/items/{each}/meta", {"set": dict(set or {}), "unset": list(unset)})
        return len(ids)

    def _made(self, target: str) -> dict[str, Any]:
        """What the server computes when it is asked for: asked again until it is there."""
        while (answer := self._json("GET", target)).get("state") == "making":
            time.sleep(MAKING_WAIT)
        return answer

    def _pages(self, address: str, key: str, values: Mapping[str, str]) -> Iterator[dict[str, Any]]:
        """The entries on all pages."""
        asked = dict(values)
        while True:
            answer = self._made(f"{address}?{urlencode(asked)}" if asked else address)
            yield from answer[key]
            if answer["next"] is None:
                return
            asked["cursor"] = answer["next"]

    def _example(self, example: ImageLike | int) -> dict[str, object]:
        if isinstance(example, int) and not isinstance(example, bool):
            return {"item": example}
        if isinstance(example, str) and example.startswith("https://"):
            return {"upload": self._json("POST", "/api/v1/uploads/from-url", {"url": example})["upload"]}
        return {"upload": self._json("POST", "/api/v1/uploads", _data(cast("ImageLike", example))[0])["upload"]}

    def _json(self, method: str, target: str, body: Mapping[str, object] | bytes | None = None) -> dict[str, Any]:
        return cast("dict[str, Any]", json.loads(self._bytes(method, target, body)))

    def _bytes(self, method: str, target: str, body: Mapping[str, object] | bytes | None = None) -> bytes:
        """The body of an answer. A server that is too busy is asked again after the time that it names."""
        content = body if isinstance(body, bytes) or body is None else _encoded(body)
        kind = {} if content is None else {"Content-Type": BYTES if isinstance(body, bytes) else JSON}
        for left in range(TRIES - 1, -1, -1):
            answer, data = self._asked(method, target, content, {**self._headers, **kind})
            if answer.status < 400:
                return data
            error, busy = _error_of(answer, data)
            if not left or not busy:
                raise error
            time.sleep(min(LONGEST_WAIT, _seconds(answer.headers.get("Retry-After"))))
        raise AssertionError("unreachable")

    def _asked(
        self, method: str, target: str, content: bytes | None, headers: dict[str, str]
    ) -> tuple[HTTPResponse, bytes]:
        """One answer. A connection that the server closed meanwhile is opened again, once, for what changes nothing."""
        used = getattr(self._local, "connection", None)
        connection = used or self._connected()
        try:
            connection.request(method, self._below + target, content, headers)
            answer = connection.getresponse()
            return answer, answer.read()
        except (OSError, HTTPException) as error:
            self._drop(connection)
            safe = method == "GET" or target in ("/api/v1/search", "/api/v1/uploads")
            if used is not None and safe and not isinstance(error, TimeoutError):
                return self._asked(method, target, content, headers)
            raise ServerError(f"{self.url} gives no answer ({error or type(error).__name__})") from None

    def _drop(self, connection: HTTPConnection) -> None:
        connection.close()
        self._local.connection = None
        with self._lock:
            self._open.remove(connection)

    def _connected(self) -> HTTPConnection:
        kind = HTTPSConnection if self._secure else HTTPConnection
        connection = kind(self._host, self._port, timeout=self._timeout)
        self._local.connection = connection
        with self._lock:
            self._open.append(connection)
        return connection


def _ids(items: int | Iterable[int]) -> list[int]:
    return [items] if isinstance(items, int) else [int(each) for each in items]


def _hit(fields: Mapping[str, Any]) -> Hit:
    part, verified = fields["part"], fields["verified"]
    own = {
        "part": None if part is None else Part(part["index"], _tuple(part["box"]), _tuple(part["span"])),
        "verified": None if verified is None else Verified(verified["inliers"], _corners(verified["outline"])),
    }
    return Hit(**{**fields, **own})


def _tuple(values: Sequence[float] | None) -> Any:
    return None if values is None else tuple(values)


def _corners(values: Sequence[Sequence[float]] | None) -> Any:
    return None if values is None else tuple(map(tuple, values))


def _data(picture: ImageLike) -> tuple[bytes, str]:
    """The bytes of a picture, and its name. What is no file is sent as PNG, which loses nothing."""
    if isinstance(picture, (bytes, bytearray)):
        return bytes(picture), "picture"
    if isinstance(picture, (str, os.PathLike)):
        try:
            with open(picture, "rb") as file:
                return file.read(), os.path.basename(os.fspath(picture))
        except OSError as error:
            raise QueryError(f"{os.fspath(picture)}: {error.strerror or error}", path=picture) from None
    from PIL import Image

    encoded = io.BytesIO()
    (picture if isinstance(picture, Image.Image) else Image.fromarray(cast("Any", picture))).save(encoded, "png")
    return encoded.getvalue(), "picture.png"


def _encoded(body: Mapping[str, object]) -> bytes:
    try:
        return json.dumps({key: value for key, value in body.items() if value is not None}, allow_nan=False).encode()
    except (TypeError, ValueError) as error:
        raise QueryError(f"what is asked cannot be sent: {error}") from None


def _error_of(answer: HTTPResponse, data: bytes) -> tuple[HashgrainError, bool]:
    """The error that an answer tells of, and whether the server asks to come again."""
    try:
        problem = json.loads(data)
        code, detail = str(problem["code"]), str(problem["detail"])
    except (ValueError, KeyError, TypeError):
        code, detail = "", f"the server answered {answer.status} {answer.reason}"
    family = next((each for each in _families(HashgrainError) if each.code == code), ServerError)
    if code == "bad_request":
        family = QueryError
    return family(detail), code in ("busy", "rate")


def _families(family: type[HashgrainError]) -> Iterator[type[HashgrainError]]:
    for each in family.__subclasses__():
        yield each
        yield from _families(each)


def _seconds(text: str | None) -> float:
    return float(text) if text is not None and text.isdecimal() else 1.0
