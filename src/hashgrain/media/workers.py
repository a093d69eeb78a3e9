"""Decoding in processes of our own, so that a picture can cost at most itself.

A decoder is C code fed by strangers: it may crash, hang or eat all memory. Each worker is a process with a cap
on its memory, and a deadline per picture; when it dies its picture is refused, a new worker takes its place and
the run goes on. `multiprocessing` would import the user's main module again in every worker, which a script
without a guard does not survive, so workers are plain subprocesses that speak over their pipes (see `worker_group`).
"""

from __future__ import annotations

import os
import weakref
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future
from dataclasses import replace
from itertools import chain, islice
from types import TracebackType
from typing import Any, TypeVar

import numpy as np

from hashgrain.errors import ImageError
from hashgrain.media.contents import read_file
from hashgrain.media.cost import DEFAULT_MAX_PIXELS, budget
from hashgrain.media.formats import MAX_BYTES
from hashgrain.media.limits import Limits
from hashgrain.media.lookup import medium_named
from hashgrain.media.medium import Medium
from hashgrain.media.picture import Facts, Picture
from hashgrain.media.pictures import PICTURES
from hashgrain.media.worker_group import Worker, WorkerGroup, opened_as, with_detail
from hashgrain.types import Box, Fit

T = TypeVar("T")
Size = tuple[int, int]
LOOK_AHEAD = 96  # pictures that may be on their way: a batch in the network, one waiting, one being decoded
LOOK_AHEAD_BYTES = 128 << 20
BASE_MEMORY = 512 << 20  # address space of an idle worker, generously
TIMEOUT = 60.0  # a PNG of 400 million pixels takes ten, and other programs may be at work


def decode_workers() -> int:
    """How many processes may decode ahead: half the cores, and on two both, since the network leaves what it can."""
    cores = os.cpu_count() or 1
    return max(min(2, cores), cores // 2)


class DecodePool:
    """Workers behind ordered streams of pictures, each started when there is work for it and kept until `close`.

    A context manager. Any number of threads may decode at once. With no workers it decodes right here.
    """

    def __init__(
        self,
        size: Size | None,
        *,
        fit: Fit = "squash",
        workers: int = 1,
        timeout: float = TIMEOUT,
        max_pixels: int = DEFAULT_MAX_PIXELS,
        memory: int | None = None,
        medium: Medium = PICTURES,
    ) -> None:
        self.workers = workers
        self._medium = medium
        self._fit = fit
        self._memory = memory
        self.limits = self._limits(size, timeout, max_pixels)
        self._group = WorkerGroup(workers)
        # Who forgets to close a pool leaves no process behind: threads of the group know nothing of the pool.
        self._end = weakref.finalize(self, self._group.stop)

    @property
    def _workers(self) -> list[Worker]:
        return self._group.workers

    def __enter__(self) -> DecodePool:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the workers, whatever they are doing."""
        self._end()
        self._group.join()

    def warm(self) -> None:
        """Start a worker, without waiting for it, if none has been started yet."""
        if self.workers:
            self._group.begin()

    def open(
        self,
        items: Iterable[tuple[T, Any]],
        *,
        max_pixels: int | None = None,
        detail: Size | None = None,
        box: Box | None = None,
    ) -> Iterator[tuple[T, Picture | ImageError]]:
        """Like `decode`, of pictures given as for `open_picture`, whose errors name them.

        Files and bytes are decoded by the workers; PIL images and arrays, which the caller opened, right here.
        """
        return self._opened(items, self._limits_for(max_pixels, detail, box))

    def thumbnail(self, source: Any, *, edge: int = 256) -> bytes:
        """A JPEG of at most `edge` pixels either way of a picture given as for `open_picture`."""
        ((_, picture),) = self._opened([(None, source)], replace(self.limits, size=None, edge=edge))
        if isinstance(picture, ImageError):
            raise picture
        from hashgrain.media.thumbnails import jpeg_of

        return jpeg_of(picture.pixels)

    def shrunk(
        self,
        source: Any,
        *,
        edge: int,
        max_pixels: int | None = None,
        box: Box | None = None,
        timeout: float | None = None,
    ) -> Picture:
        """A picture given as for `open_picture`, or a part of it, of at most `edge` pixels either way, in its own
        proportions. A worker that takes longer than `timeout` seconds is ended, which is an error."""
        limits = self._limits_for(max_pixels, None, box)
        limits = replace(limits, size=None, edge=edge, timeout=min(limits.timeout, timeout or limits.timeout))
        ((_, picture),) = self._opened([(None, source)], limits)
        if isinstance(picture, ImageError):
            raise picture
        return picture

    def facts(self, items: Iterable[tuple[T, bytes | ImageError]]) -> Iterator[tuple[T, Facts | ImageError]]:
        """Like `decode`, but only what the files say of themselves: no more than their headers is decoded."""
        for token, result in self._decoded(items, replace(self.limits, header=True)):
            yield token, (result if isinstance(result, ImageError) else result.facts)

    def _opened(self, items: Iterable[tuple[T, Any]], limits: Limits) -> Iterator[tuple[T, Picture | ImageError]]:
        def contents() -> Iterator[tuple[tuple[T, str | None, bool], bytes | Picture | ImageError]]:
            for token, source in items:
                path = os.fspath(source) if isinstance(source, (str, os.PathLike)) else None
                content = _content(source, path, limits)
                yield (token, path, isinstance(content, bytes)), content

        for (token, path, nameless), result in self._decoded(contents(), limits):
            if nameless and isinstance(result, ImageError):
                yield token, type(result)(f"{path or 'picture'}: {result.message}", path=path)
            else:
                yield token, result

    def decode(
        self,
        items: Iterable[tuple[T, bytes | Picture | ImageError]],
        *,
        max_pixels: int | None = None,
        detail: Size | None = None,
        box: Box | None = None,
    ) -> Iterator[tuple[T, Picture | ImageError]]:
        """(token, bytes) in, (token, picture or refusal) out, in the same order, decoded ahead of the reader.

        What is a picture or a refusal already is passed on. `max_pixels` is for these pictures, where it differs from
        that of the pool. With `detail`, a larger (width, height), each picture comes at that size too; with
        `box`, a part of each, instead of the whole.
        """
        return self._decoded(items, self._limits_for(max_pixels, detail, box))

    def _decoded(
        self, items: Iterable[tuple[T, bytes | Picture | ImageError]], limits: Limits
    ) -> Iterator[tuple[T, Picture | ImageError]]:
        if not self.workers:
            for token, content in items:
                yield token, (_decode(content, limits) if isinstance(content, bytes) else content)
            return
        items = iter(items)
        begin = list(islice(items, 2))
        if len(begin) == 1 and isinstance(begin[0][1], bytes):
            alone = self._group.decode_here(begin[0][1], limits)
            if alone is not None:
                yield begin[0][0], alone
                return
        expected = sum(3 * width * height for width, height in filter(None, (limits.size, limits.detail)))
        under_way: deque[tuple[T, int, Future[Picture | ImageError]]] = deque()
        ahead_bytes = 0
        try:
            for token, content in chain(begin, items):
                under_way.append((token, _size(content) + expected, self._sent(content, limits)))
                ahead_bytes += under_way[-1][1]
                while under_way and (len(under_way) >= LOOK_AHEAD or ahead_bytes > LOOK_AHEAD_BYTES):
                    first, size, done = under_way.popleft()
                    ahead_bytes -= size
                    yield first, done.result()
            while under_way:
                first, _, done = under_way.popleft()
                yield first, done.result()
        finally:
            for _, _, abandoned in under_way:
                abandoned.cancel()

    def _sent(self, content: bytes | Picture | ImageError, limits: Limits) -> Future[Picture | ImageError]:
        if isinstance(content, bytes):
            return self._group.submit(content, limits)
        done: Future[Picture | ImageError] = Future()
        done.set_result(content)
        return done

    def _limits_for(self, max_pixels: int | None, detail: Size | None, box: Box | None) -> Limits:
        limits = self.limits
        if max_pixels is not None and max_pixels != limits.max_pixels:
            limits = self._limits(limits.size, limits.timeout, max_pixels)
        return limits if detail is None and box is None else replace(limits, detail=detail, box=box)

    def _limits(self, size: Size | None, timeout: float, max_pixels: int) -> Limits:
        decoding = budget(max_pixels, self.workers)
        memory = BASE_MEMORY + MAX_BYTES + decoding if self._memory is None else self._memory
        return Limits(size, max_pixels, timeout, memory, decoding, self._medium.name, self._fit)


def _content(source: Any, path: str | None, limits: Limits) -> bytes | Picture | ImageError:
    """What there is to decode; of a Python object, the picture."""
    try:
        if path is not None:
            return read_file(path)
        if isinstance(source, (bytes, bytearray, memoryview)):
            return bytes(source)
        from hashgrain.media.image import open_picture  # Pillow is loaded here for what the workers do not open

        options: Any = {"fit": limits.fit, "max_pixels": limits.max_pixels, "box": limits.box, "edge": limits.edge}
        picture = open_picture(source, size=limits.size, **options)
        if limits.detail is None:
            return picture
        return replace(picture, detail=open_picture(source, size=limits.detail, **options).pixels)
    except ImageError as error:
        return error


def _size(content: bytes | Picture | ImageError) -> int:
    if isinstance(content, bytes):
        return len(content)
    if isinstance(content, ImageError):
        return 0
    return content.pixels.nbytes + (0 if content.detail is None else content.detail.nbytes)


def _decode(data: bytes, limits: Limits) -> Picture | ImageError:
    """In this process."""
    if limits.detail is not None:
        larger = replace(limits, size=limits.detail, detail=None)
        return with_detail(_decode(data, replace(limits, detail=None)), _decode(data, larger))
    medium = medium_named(limits.medium)
    try:
        decoded, facts = medium.decode(data, limits)
    except ImageError as error:
        error.message = error.message.removeprefix(": ")
        return error
    array = np.asarray(decoded)
    return opened_as(medium, array.dtype.str, array.shape, array.tobytes(), vars(facts))
