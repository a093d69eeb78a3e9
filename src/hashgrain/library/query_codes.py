"""The codes of queries: pictures go through the workers and the model; items and codes are used as they are."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np
from numpy.typing import NDArray

from hashgrain import media
from hashgrain.codes import Codes
from hashgrain.errors import HashgrainError, ImageError, ItemMissingError, LibraryError, QueryError
from hashgrain.library import codes_only
from hashgrain.library.contents import item_of
from hashgrain.models import Bundle
from hashgrain.store import Snapshot, Store

if TYPE_CHECKING:
    from hashgrain.models import Encoder
    from hashgrain.models.text_encoder import TextEncoder
    from hashgrain.search.text_search import TextQuery
    from hashgrain.types import Box, ImageLike, QueryLike

Outputs = NDArray[np.float32]


@dataclass(frozen=True)
class QueryCode:
    """The code of a query, and the outputs of the model if a picture was encoded for it."""

    code: Codes
    outputs: Outputs | None = None


def check_workers(workers: int | None) -> int | None:
    """Check the number of processes that may decode."""
    whole = isinstance(workers, (int, np.integer)) and not isinstance(workers, bool)
    if workers is not None and not (whole and workers >= 0):
        raise LibraryError(f"workers is {workers!r}; it is the number of processes that decode, 0 or more")
    return workers


def stored_code(snapshot: Snapshot, store: Store, item: int) -> Codes:
    code = snapshot.code(item)
    if code is None:
        raise ItemMissingError(f"no item {item} in {store.path}", path=store.path)
    return Codes(code[None], store.grains)


def _picture_of(store: Store, item: int) -> ImageLike:
    """The picture of an item, as its file has it now."""
    from hashgrain.library.reading import reason_of  # sources are loaded when they are used
    from hashgrain.sources import reopen

    known = item_of(store, item)
    try:
        return cast("ImageLike", reopen(known).load())
    except OSError as error:
        raise ImageError(f"{known.path}: cannot be read ({reason_of(error)})", path=known.path) from None


def orientations(pixels: NDArray[np.uint8]) -> list[NDArray[np.uint8]]:
    """A picture of a model's input size in its 8 orientations: turned, and mirrored and turned."""
    if pixels.shape[0] != pixels.shape[1]:
        raise QueryError("turned takes a model of square pictures")
    mirrored = pixels[:, ::-1]
    return [np.rot90(each, quarter) for each in (pixels, mirrored) for quarter in range(4)]


class QueryEncoder:
    """Encodes queries. The pool decodes files and bytes; Python objects are converted in this process."""

    def __init__(self, store: Store, bundle: Bundle, workers: int | None) -> None:
        self._store, self._bundle = store, bundle
        self._workers = workers
        self._closed = False

    @cached_property
    def encoder(self) -> Encoder:
        """The model, loaded on first use."""
        from hashgrain.models import Encoder

        codes_only.need_model(self._bundle, self._store.path)
        return Encoder(self._bundle)

    @cached_property
    def text_encoder(self) -> TextEncoder:
        """The text tower of the model, loaded on first use."""
        from hashgrain.models.text_encoder import TextEncoder

        return TextEncoder(self._bundle)

    @cached_property
    def pool(self) -> media.DecodePool:
        """The workers that decode pictures to add or to search with. They start with the first picture."""
        workers = media.decode_workers() if self._workers is None else self._workers
        return media.DecodePool(self._bundle.size, fit=self._bundle.fitted, workers=workers)

    @contextmanager
    def pool_of(self, workers: int | None) -> Iterator[media.DecodePool]:
        """The pool; or a temporary one, if another number of workers is asked for."""
        if workers is None or workers == self.pool.workers:
            yield self.pool
        else:
            with media.DecodePool(self._bundle.size, fit=self._bundle.fitted, workers=workers) as pool:
                yield pool

    def close(self) -> None:
        self._closed = True
        if "pool" in self.__dict__:
            self.pool.close()
        if "text_encoder" in self.__dict__:
            self.text_encoder.close()

    def words(self, text: str) -> TextQuery:
        """How a phrase is read, and its outputs."""
        from hashgrain.search import text_search  # the dictionary is loaded when it is used

        codes_only.need_model(self._bundle, self._store.path)
        if self._bundle.text_tower is None:
            return text_search.read_nouns(self._bundle, text)
        return text_search.read_sentence(self.text_encoder, text)

    def code(self, query: QueryLike, max_pixels: int) -> Codes:
        """The code of one query, which may be the id of an item."""
        if isinstance(query, (int, np.integer)) and not isinstance(query, bool):
            with self._store.snapshot() as snapshot:
                return stored_code(snapshot, self._store, int(query))
        return self.codes([query], max_pixels)[0].code

    def codes(self, queries: Iterable[QueryLike], max_pixels: int, *, outputs: bool = False) -> list[QueryCode]:
        """The code of each query, in order; the first that cannot be used is an error. With `outputs` each must be a
        picture."""
        encoded: list[QueryCode | None] = []
        failed: list[HashgrainError] = []
        pictures = self._pictures(queries, encoded, failed, outputs)
        for place, result in self._encoded(pictures, max_pixels):
            if isinstance(result, ImageError):
                raise result
            encoded[place] = QueryCode(Codes.from_outputs(result[None], self._bundle.grains), result)
        if failed:  # behind all pictures that were sent
            raise failed[0]
        return [each for each in encoded if each is not None]

    def codes_of_views(self, query: QueryLike, boxes: Sequence[Box], max_pixels: int, *, turned: bool) -> Codes:
        """The codes of parts of a picture, or of the whole without boxes; with `turned`, of each in 8 orientations. The
        picture may be that of an item."""
        if isinstance(query, Codes):
            raise QueryError("boxes and turned are of a picture: of a code it is not known what is where")
        if isinstance(query, (int, np.integer)) and not isinstance(query, bool):
            query = _picture_of(self._store, int(query))
        if self._closed:
            raise LibraryError(f"{self._store.path} is closed; open it again", path=self._store.path)
        views: list[NDArray[np.uint8]] = []
        for box in boxes or (None,):
            for _, picture in self.pool.open([(0, query)], max_pixels=max_pixels, box=box):
                if isinstance(picture, ImageError):
                    raise picture
                views += orientations(picture.pixels) if turned else [picture.pixels]
        return self.encoder.codes(np.stack(views))

    def pixels(
        self, query: QueryLike, edge: int, max_pixels: int, *, box: Box | None = None, timeout: float | None = None
    ) -> NDArray[np.uint8]:
        """The upright picture, or a part of it, at most `edge` pixels either way; of an item as its file is now."""
        if isinstance(query, (int, np.integer)) and not isinstance(query, bool):
            query = _picture_of(self._store, int(query))
        if self._closed:
            raise LibraryError(f"{self._store.path} is closed; open it again", path=self._store.path)
        return self.pool.shrunk(query, edge=edge, max_pixels=max_pixels, box=box, timeout=timeout).pixels

    def _pictures(
        self, queries: Iterable[QueryLike], encoded: list[QueryCode | None], failed: list[HashgrainError], outputs: bool
    ) -> Iterator[tuple[int, QueryLike]]:
        """The queries that must be encoded, by their place; the others go into `found` at once."""
        for place, query in enumerate(queries):
            try:
                code = self._known(query, outputs)
            except HashgrainError as error:
                failed.append(error)
                return
            encoded.append(code)
            if code is None:
                yield place, query

    def _known(self, query: QueryLike, outputs: bool) -> QueryCode | None:
        """The code of a query that need not be encoded."""
        if outputs and isinstance(query, (Codes, int, np.integer)):
            raise QueryError("rerank takes a picture: of a code it is not known how sure the model was of each bit")
        if isinstance(query, Codes):
            if query.grains != self._bundle.grains or len(query) != 1:
                raise QueryError(f"a query is one code with {self._bundle.grains}, not {query!r}")
            return QueryCode(query)
        if outputs or not isinstance(query, (str, os.PathLike)) or (self._bundle.onnx and Path(query).exists()):
            return None
        known = self._store.known(os.path.abspath(query)) or self._store.known(str(query))
        if known is None:
            return None
        with self._store.snapshot() as snapshot:  # the file is gone, or cannot be encoded here, but its code is stored
            return QueryCode(stored_code(snapshot, self._store, known.id))

    def _encoded(
        self, pictures: Iterator[tuple[int, QueryLike]], max_pixels: int
    ) -> Iterator[tuple[int, Outputs | ImageError]]:
        if self._closed:
            raise LibraryError(f"{self._store.path} is closed; open it again", path=self._store.path)
        first = next(pictures, None)
        if first is None:
            return
        if isinstance(first[1], (str, os.PathLike, bytes, bytearray)):
            self.pool.warm()  # a worker starts while the model is loaded
        decoded = self.pool.open(itertools.chain([first], pictures), max_pixels=max_pixels)
        yield from self.encoder.outputs_each(decoded)
