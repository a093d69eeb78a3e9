"""Runs a bundle: pictures in, codes out, through ONNX Runtime. No torch."""

from __future__ import annotations

import itertools
import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from hashgrain import media
from hashgrain.codes import Codes, Grains
from hashgrain.errors import BundleError, ImageError
from hashgrain.media.cost import DEFAULT_MAX_PIXELS
from hashgrain.models.bundle import Bundle, check_bundle, is_shipped
from hashgrain.models.description import MAP
from hashgrain.models.session import batch_of, open_session, run, run_within_limits
from hashgrain.types import ImageLike, PathLike

if TYPE_CHECKING:
    import onnxruntime

T = TypeVar("T")
Arrays = list[NDArray[np.float32]]
MOST_STREAMS = 4  # batches run at once: each takes as much memory as one


class Encoder:
    """A model that is ready to encode pictures. Load it once; several threads may use it.

    A graph that did not come with the package is checked, and tried in a process of its own (once per machine), before
    it runs here.
    """

    def __init__(self, bundle: Bundle, *, threads: int | None = None) -> None:
        self.bundle = bundle
        self._run_batch = run
        self._batch = batch_of(bundle.size)
        if not is_shipped(bundle):
            from hashgrain.models.trial import check_by_trial  # for strangers only

            check_bundle(bundle, text=False)
            check_by_trial(bundle)
            self._run_batch = run_within_limits
        # Every core, though decoders run beside it: threads do not spin while they wait, and the network is
        # most of the work.
        self.threads = threads or os.cpu_count() or 1
        self._session = self._open(self.threads)
        self._streams = min(self.threads, MOST_STREAMS)
        self._stream_session: onnxruntime.InferenceSession | None = None
        self._opening = threading.Lock()

    @classmethod
    def load(cls, bundle: PathLike = "default", *, threads: int | None = None) -> Encoder:
        """Load a model of the package by its name, or a bundle from a folder."""
        return cls(Bundle.read(bundle), threads=threads)

    @property
    def grains(self) -> Grains:
        return self.bundle.grains

    @property
    def digest(self) -> str:
        return self.bundle.code_digest

    def open(self, image: ImageLike, *, max_pixels: int = DEFAULT_MAX_PIXELS, name: str = "picture") -> media.Picture:
        """Open a picture as the model takes it: of its input size, and fitted to it as its bundle says."""
        size, fit = self.bundle.size, self.bundle.fitted
        return media.open_picture(image, size=size, fit=fit, max_pixels=max_pixels, name=name)

    def decode_pool(self, *, workers: int, max_pixels: int = DEFAULT_MAX_PIXELS) -> media.DecodePool:
        """Processes that open pictures as the model takes them."""
        return media.DecodePool(self.bundle.size, fit=self.bundle.fitted, workers=workers, max_pixels=max_pixels)

    def outputs(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return the real-valued outputs (n, bits) for pictures (n, height, width, 3) of the model's input size."""
        return self._run(pixels, ["outputs"])[0]

    def outputs_and_features(self, pixels: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return the outputs, and the features (n, width) under the hash head."""
        outputs, features = self._run(pixels, ["outputs", "features"])
        return outputs, features

    def maps(self, pictures: Iterable[NDArray[np.uint8]], size: tuple[int, int]) -> Iterator[NDArray[np.float32]]:
        """Yield the map (width, rows, columns) that the features are the mean of, of each picture of this size."""
        if MAP not in self.bundle.outputs:
            raise BundleError(f"the model {self.bundle.name!r} gives no map of a picture, so that parts have no codes")
        stream, batch = iter(pictures), batch_of(size)
        batches = (np.stack(some) for some in iter(lambda: list(itertools.islice(stream, batch)), []))
        for (maps,) in self._run_each(batches, [MAP]):
            yield from maps

    def codes(self, pixels: NDArray[np.uint8]) -> Codes:
        """Return the codes of pictures that are decoded and have the model's input size."""
        return Codes.from_outputs(self.outputs(pixels), self.grains)

    def encode(
        self, images: ImageLike | Iterable[ImageLike], *, progress: Callable[[int], None] | None = None
    ) -> Codes:
        """Return the codes of a picture or of an iterable of pictures: paths, bytes, PIL images, arrays.

        The first picture that cannot be opened raises ImageError; `encode_each` continues instead.
        `progress` is called with the number of finished pictures.
        """
        parts: list[NDArray[np.uint64]] = []
        for _, result in self.encode_each(enumerate(_listed(images))):
            if isinstance(result, ImageError):
                raise result
            parts.append(result.words)
            if progress:
                progress(len(parts))
        words = np.concatenate(parts) if parts else np.empty((0, self.grains.n_words), np.uint64)
        return Codes(words, self.grains)

    def features(self, images: ImageLike | Iterable[ImageLike]) -> NDArray[np.float32]:
        """Return the float features (n, width) under the hash head, to compare or to train on.

        Pictures are given as for `encode`. The first that cannot be opened raises ImageError.
        """
        stream = iter(_listed(images))
        parts = []
        while batch := list(itertools.islice(stream, self._batch)):
            pixels = np.stack([self.open(each).pixels for each in batch])
            parts.append(self._run(pixels, ["features"])[0])
        return np.concatenate(parts) if parts else self._run(self._no_pixels(), ["features"])[0]

    def encode_each(
        self, items: Iterable[tuple[T, ImageLike]], *, workers: int = 0, max_pixels: int = DEFAULT_MAX_PIXELS
    ) -> Iterator[tuple[T, Codes | ImageError]]:
        """Take (token, picture) pairs; yield (token, code or refusal), in order. `workers` processes decode ahead."""
        if workers:
            with self.decode_pool(workers=workers, max_pixels=max_pixels) as pool:
                yield from self._encode_opened(pool.decode(_as_bytes(items)))
        else:
            yield from self._encode_opened(self._open_each(items, max_pixels))

    def outputs_each(
        self, opened: Iterable[tuple[T, media.Picture | ImageError]]
    ) -> Iterator[tuple[T, NDArray[np.float32] | ImageError]]:
        """Take pictures of the model's input size, or why there are none; yield outputs (bits,), in order.

        The next pictures are taken while the network runs.
        """
        stream = iter(opened)
        under_way: deque[list[tuple[T, media.Picture | ImageError]]] = deque()

        def batches() -> Iterator[NDArray[np.uint8]]:
            while batch := list(itertools.islice(stream, self._batch)):
                under_way.append(batch)
                pixels = [picture.pixels for _, picture in batch if isinstance(picture, media.Picture)]
                yield np.stack(pixels) if pixels else self._no_pixels()

        for (outputs,) in self._run_each(batches(), ["outputs"]):
            rows = iter(outputs)
            for token, picture in under_way.popleft():
                yield token, (next(rows) if isinstance(picture, media.Picture) else picture)

    def _open_each(
        self, items: Iterable[tuple[T, ImageLike]], max_pixels: int
    ) -> Iterator[tuple[T, media.Picture | ImageError]]:
        for token, image in items:
            try:
                yield token, self.open(image, max_pixels=max_pixels)
            except ImageError as error:
                yield token, error

    def _encode_opened(
        self, opened: Iterable[tuple[T, media.Picture | ImageError]]
    ) -> Iterator[tuple[T, Codes | ImageError]]:
        for token, found in self.outputs_each(opened):
            yield token, (found if isinstance(found, ImageError) else Codes.from_outputs(found[None], self.grains))

    def _run(self, pixels: NDArray[np.uint8], names: list[str]) -> Arrays:
        width, height = self.bundle.size
        if pixels.dtype != np.uint8 or pixels.ndim != 4 or pixels.shape[1:] != (height, width, 3):
            raise ImageError(
                f"the model takes uint8 pictures (n, {height}, {width}, 3), not {pixels.dtype} {pixels.shape}"
            )
        starts = range(0, max(1, len(pixels)), self._batch)  # an empty batch runs too, and gives the right shapes
        batches = (pixels[start : start + self._batch] for start in starts)
        parts = self._run_each(batches, names)
        return [np.concatenate(column) for column in zip(*parts, strict=True)]

    def _run_each(self, batches: Iterator[NDArray[np.uint8]], names: list[str]) -> Iterator[Arrays]:
        """What the network gives for each batch, in order.

        Where there are many, several run at once on a core or a few each: the threads of one run wait for one another
        after every layer, those of different runs do not. Two threads on one batch are 1.5 times as fast as one, on
        two batches twice.
        """
        first = list(itertools.islice(batches, self._streams))
        if self._streams == 1 or len(first) < self._streams or len(first[-1]) < len(first[0]):
            for batch in itertools.chain(first, batches):
                yield self._run_batch(self._session, self.bundle.name, names, batch)
            return
        session = self._session_of_streams()
        ahead: deque[Future[Arrays]] = deque()
        with ThreadPoolExecutor(self._streams, thread_name_prefix="hashgrain-network") as streams:
            try:
                for batch in itertools.chain(first, batches):
                    ahead.append(streams.submit(self._run_batch, session, self.bundle.name, names, batch))
                    if len(ahead) > self._streams:  # one waits, so that no stream does
                        yield ahead.popleft().result()
                while ahead:
                    yield ahead.popleft().result()
            finally:
                for future in ahead:
                    future.cancel()

    def _session_of_streams(self) -> onnxruntime.InferenceSession:
        with self._opening:
            if self._stream_session is None:
                self._stream_session = self._open(self.threads // self._streams)
            return self._stream_session

    def _open(self, threads: int) -> onnxruntime.InferenceSession:
        return open_session(self.bundle.onnx, self.bundle.name, self.bundle.grains.bits, threads)

    def _no_pixels(self) -> NDArray[np.uint8]:
        return np.empty((0, *self.bundle.size[::-1], 3), np.uint8)


def _listed(images: ImageLike | Iterable[ImageLike]) -> Iterable[ImageLike]:
    """One picture as a list of one; many as they are."""
    single = isinstance(images, (str, bytes, os.PathLike, np.ndarray)) or hasattr(images, "convert")
    return [cast("ImageLike", images)] if single else cast("Iterable[ImageLike]", images)


def _as_bytes(items: Iterable[tuple[T, ImageLike]]) -> Iterator[tuple[T, bytes]]:
    for token, image in items:
        yield token, image if isinstance(image, bytes) else Path(cast("PathLike", image)).read_bytes()
