"""Pictures that were sent to search with: the last ones, in memory, under random names."""

from __future__ import annotations

import secrets
import threading
import time
from collections import OrderedDict
from dataclasses import dataclass

from hashgrain.library import Library
from hashgrain.library.previews import Encoded, encode, preview_of
from hashgrain.server.problems import ProblemError

MOST = 512
MOST_BYTES = 256 << 20
SECONDS = 1800.0
EDGE = 1600  # pixels of the preview, either way, at most


@dataclass
class Upload:
    """A picture that was sent, with its code and the digest of the model that made it."""

    name: str
    data: bytes
    encoded: Encoded
    model: str
    since: float
    jpeg: bytes = b""  # once it was asked for

    @property
    def size(self) -> int:
        return len(self.data) + len(self.jpeg)


class Uploads:
    """The last pictures sent, at most MOST of them and MOST_BYTES, each for SECONDS after its last use."""

    def __init__(self, most: int = MOST, most_bytes: int = MOST_BYTES, seconds: float = SECONDS) -> None:
        self.most, self.most_bytes, self.seconds = most, most_bytes, seconds
        self._lock = threading.Lock()
        self._kept: OrderedDict[str, Upload] = OrderedDict()  # the one used last is the last

    def take(self, library: Library, data: bytes, max_pixels: int) -> Upload:
        """Keep a picture, once it was decoded and has a code: a search with it follows."""
        encoded = encode(library, data, max_pixels=max_pixels)
        upload = Upload(secrets.token_urlsafe(18), data, encoded, library.bundle.code_digest, time.monotonic())
        with self._lock:
            self._kept[upload.name] = upload
            self._trim()
        return upload

    def shown(self, library: Library, name: str, max_pixels: int) -> bytes:
        """A JPEG of the picture of this name."""
        upload = self.get(name)
        if not upload.jpeg:
            upload.jpeg = preview_of(library, upload.data, edge=EDGE, max_pixels=max_pixels)
        return upload.jpeg

    def get(self, name: str) -> Upload:
        """The picture of this name; 404 if it was never here, or was dropped."""
        with self._lock:
            self._trim()
            upload = self._kept.get(name)
            if upload is None:
                raise ProblemError(404, "upload_gone", "this picture is no longer on the server; send it again")
            upload.since = time.monotonic()
            self._kept.move_to_end(name)
            return upload

    def _trim(self) -> None:
        """Drop what is too old or too much. One that is larger than all there is room for stays until the next."""
        oldest = time.monotonic() - self.seconds
        while self._kept:
            first = next(iter(self._kept.values()))
            too_much = len(self._kept) > self.most or sum(each.size for each in self._kept.values()) > self.most_bytes
            if first.since > oldest and not (too_much and len(self._kept) > 1):
                return
            self._kept.popitem(last=False)

    @property
    def count(self) -> int:
        return len(self._kept)

    @property
    def bytes(self) -> int:
        with self._lock:
            return sum(each.size for each in self._kept.values())
