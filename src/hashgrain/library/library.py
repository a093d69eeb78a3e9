"""`Library`: the encoder, the store, the engine and the search behind a dozen methods."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Literal

import numpy as np

from hashgrain.codes import Codes, Grains
from hashgrain.engines import Engine, IndexManager, IndexPlan, engine_of
from hashgrain.errors import HashgrainError, ItemMissingError, LibraryError, OtherModelError, QueryError, Remedy
from hashgrain.library import codes_only, models
from hashgrain.library.engine import LibraryEngine
from hashgrain.library.query_codes import QueryEncoder, check_workers, stored_code
from hashgrain.library.selecting import chosen
from hashgrain.library.thumbnails import Thumbnails
from hashgrain.media.cost import DEFAULT_MAX_PIXELS
from hashgrain.models import Bundle, Encoder
from hashgrain.search import Hit, check_k
from hashgrain.search.query import Query
from hashgrain.search.run import Clock, Explained, Question, ask, hits, reranked
from hashgrain.store import CATALOGUE, Item, Problem, Snapshot, Store, parse_filter

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from hashgrain.library.adding_codes import ImportReport
    from hashgrain.library.adding_parts import PartsInfo, PartsReport
    from hashgrain.library.report import AddReport, Progress
    from hashgrain.library.selecting import Named
    from hashgrain.models.text_encoder import TextEncoder
    from hashgrain.search.stages import Stage
    from hashgrain.search.wording import Worded
    from hashgrain.sources import Refused
    from hashgrain.types import JsonLike, Meta, PathLike, QueryLike, SourcesLike, WhereLike


class Library:
    """A collection on disk: a catalogue, the codes of its pictures, and the model that made them.

    One process at a time may open a library for writing. Any number of processes may read it meanwhile.
    """

    def __init__(
        self, store: Store, bundle: Bundle, engine: Engine | None = None, *, workers: int | None = None
    ) -> None:
        self.store = store
        self.bundle = bundle
        self._thumbnails = Thumbnails(self.path)
        self.indexes = IndexManager(self.path, self.grains)
        self.part_indexes = IndexManager(self.path, self.grains, parts=True)
        self._engine = LibraryEngine(store, self.grains, self.indexes, self.part_indexes, engine)
        self._query_encoder = QueryEncoder(store, bundle, workers)
        self._indexing: threading.Thread | None = None

    @classmethod
    def create(
        cls,
        path: PathLike,
        encoder: Encoder | Bundle | str | Path = "default",
        *,
        engine: Engine | str | None = None,
        workers: int | None = None,
    ) -> Library:
        """A new, empty library, open for writing. It keeps a copy of the model, so it can always be searched.

        `engine` is what answers searches, and `workers` how many processes decode pictures, see `open`.
        """
        given, workers = engine_of(engine), check_workers(workers)
        bundle = bundle_of(encoder)
        store = Store.create(
            Path(path).expanduser(),
            grains=bundle.grains,
            digest=bundle.code_digest,
            prepare=lambda folder: codes_only.write(bundle, folder),
        )
        try:
            library = cls(store, bundle, given, workers=workers)
        except BaseException:
            store.close()
            raise
        if isinstance(encoder, Encoder):
            library._query_encoder.encoder = encoder  # already loaded: use it rather than load it again
        return library

    @classmethod
    def open(
        cls, path: PathLike, mode: str = "r", *, engine: Engine | str | None = None, workers: int | None = None
    ) -> Library:
        """An existing library: "r" to search, "w" to change it (one writer at a time).

        `engine` answers the searches: "embedded", the default, or an engine of yours, which is told of what changed
        before each search and is closed with the library. One that holds the codes of another library is an error.
        At most `workers` processes decode pictures, those of questions too: half the cores, unless given. They are
        started when a picture comes and end with the library. 0 decodes in this process, for pictures you trust.
        """
        if mode not in ("r", "w"):
            raise LibraryError(f"a library is opened for reading, 'r', or writing, 'w', not {mode!r}")
        given, workers = engine_of(engine), check_workers(workers)
        target = Path(path).expanduser()
        models.undo_rename(target)
        store = Store.open(target, "w" if mode == "w" else "r")
        try:
            library = cls(store, models.own_bundle(store), given, workers=workers)
            if mode == "w":
                models.settle(store)
            return library
        except BaseException:
            store.close()
            raise

    @classmethod
    def open_or_create(cls, path: PathLike, encoder: Encoder | Bundle | str | Path | None = None) -> Library:
        """Open the library at `path` for writing, or create it. With `encoder`, an existing one must have it."""
        target = Path(path).expanduser()
        if not (target / CATALOGUE).exists():  # also where making one was cut short
            return cls.create(target, "default" if encoder is None else encoder)
        library = cls.open(target, "w")
        if encoder is not None and bundle_of(encoder).digest != library.bundle.digest:
            library.close()
            remedy = models.to_encode_anew(target)
            raise OtherModelError(f"{target} was built with another model", path=target, remedy=remedy)
        return library

    @property
    def path(self) -> Path:
        return Path(self.store.path)

    @property
    def grains(self) -> Grains:
        return self.bundle.grains

    @property
    def encoder(self) -> Encoder:
        """The model of this library, loaded on first use: searching by id or code does not need it."""
        return self._query_encoder.encoder

    @cached_property
    def text_encoder(self) -> TextEncoder:
        """The text tower of this library's model, loaded on first use."""
        from hashgrain.models.text_encoder import TextEncoder

        return TextEncoder(self.bundle)

    def __len__(self) -> int:
        with self.store.snapshot() as snapshot:
            return len(snapshot)

    def __enter__(self) -> Library:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Release the files and the lock. Waits for an index that is being built."""
        try:
            if self._indexing is not None:
                self._indexing.join()
        finally:
            self._query_encoder.close()
            if "text_encoder" in self.__dict__:
                self.text_encoder.close()
            self._engine.close()
            self.store.close()

    def add(
        self,
        sources: SourcesLike,
        *,
        ignore: Sequence[str] = (),
        meta: Meta | None = None,
        retry: bool = False,
        again: bool = False,
        parts: bool = True,
        detail: str | None = None,
        workers: int | None = None,
        max_pixels: int = DEFAULT_MAX_PIXELS,
        progress: Progress | None = None,
    ) -> AddReport:
        """Add files, folders, globs, archives, tables or Python pictures. A stopped call resumes when repeated.

        Unchanged files are skipped, changed ones are encoded again, and moved ones are recognized. `meta` also updates
        the metadata of known pictures. Files that cannot be opened are listed in the report and not tried again until
        they change, unless `retry` is set. Removed items stay out, unless `again` is set. After many new pictures, an
        index is built in the background.

        New pictures get codes of their parts where the model gives any, unless `parts` is False: at "low", "normal" or
        "high" `detail`, "normal" unless given, in an empty library; as in the others elsewhere. A library whose
        pictures have no parts gets none unless `detail` says so: see `add_parts`.
        """
        from hashgrain.library.adding import add_sources  # what changes a library is loaded when it is used
        from hashgrain.library.adding_parts import part_encoder_for
        from hashgrain.library.noting import check_meta

        check_meta(meta)
        with self._query_encoder.pool_of(workers) as pool:
            part_encoder = part_encoder_for(self.store, self.encoder, detail) if parts else None
            report = add_sources(
                self.store,
                self.encoder,
                sources,
                pool,
                ignore=ignore,
                meta=meta,
                retry=retry,
                again=again,
                max_pixels=max_pixels,
                progress=progress,
                part_encoder=part_encoder,
            )
        self._index_soon()
        return report

    def add_parts(
        self,
        *,
        detail: str | None = None,
        workers: int | None = None,
        max_pixels: int = DEFAULT_MAX_PIXELS,
        progress: Callable[[PartsReport], None] | None = None,
    ) -> PartsReport:
        """Give parts to every item that has none, from its file. A stopped call resumes when repeated. Files that are
        gone or have changed are listed in the report."""
        from hashgrain.library.adding_parts import add_parts

        with self._query_encoder.pool_of(workers) as pool:
            return add_parts(self.store, self.encoder, pool, detail, max_pixels=max_pixels, progress=progress)

    def drop_parts(self) -> PartsReport:
        """Remove the codes of all parts; those of whole items stay. `rebuild` frees the space they took."""
        from hashgrain.library.adding_parts import drop_parts

        return drop_parts(self.store)

    def parts_info(self) -> PartsInfo:
        """How many items have parts, and how they were made."""
        from hashgrain.library.adding_parts import parts_info

        return parts_info(self.store)

    def import_codes(
        self,
        codes: Codes | ArrayLike,
        paths: Sequence[PathLike],
        *,
        replace: bool = False,
        look: bool = True,
        meta: Meta | None = None,
    ) -> ImportReport:
        """Add codes that another program made, each under its path: all of them, or none.

        An array holds packed bits (uint8) or one value per bit. The caller must know that this library's model made it.
        A path may be any text. If it is a file, its size, content hash and facts are stored too, unless `look` is
        False. Existing items get new codes if `replace` is set, and are an error otherwise.
        """
        from hashgrain.codefiles import codes_of
        from hashgrain.library.adding_codes import import_codes

        given = codes if isinstance(codes, Codes) else codes_of(np.asarray(codes), self.grains)
        named = [os.fspath(path) for path in paths]
        report = import_codes(self.store, given, named, replace=replace, look=look, meta=meta)
        self._index_soon()
        return report

    def update(
        self, *, prune: bool = False, even_most: bool = False, retry: bool = False, progress: Progress | None = None
    ) -> tuple[AddReport, list[Item]]:
        """Check every file of the library again, and find those that were moved. Returns the report and the items
        whose file is gone.

        Such items are removed only if `prune` is set. If a disk seems not to be mounted, or most of the library would
        be removed, that is an error unless `even_most` is set too. To update archives and tables, add them again.
        """
        from hashgrain.library import updating

        items = updating.files_of(self.store)
        report = self.add(updating.present(items), retry=retry, progress=progress)
        report.moved += updating.find_moved(self.store, items)
        gone = updating.gone_of(self.store, items)
        if prune:
            updating.forget_gone(self.store, gone, items, even_most=even_most)
        return report, gone

    def remove(self, items: Iterable[Named], *, forget: bool = False) -> int:
        """Remove items by id or by path (a folder's path removes everything below it). The files are not changed, and
        `add` leaves them out from then on, unless `forget` is set.

        If an id or path is not in the library, that is an error, and nothing is removed.
        """
        from hashgrain.library.removing import remove_items

        return remove_items(self.store, items, forget=forget)

    def meta(
        self,
        items: Iterable[Named] | None = None,
        *,
        where: WhereLike | None = None,
        set: Meta | None = None,
        unset: Iterable[str] = (),
    ) -> int:
        """Change the metadata of items given by id or path, of items that match a filter, or of all items.

        `place.city` is the key `city` inside `place`. Returns the number of items changed.
        """
        from hashgrain.library.noting import change_meta

        with self.store.snapshot() as snapshot:
            ids = chosen(snapshot, self.path, items, where, "nothing was changed")
        return change_meta(self.store, ids, set or {}, unset)

    def search(
        self,
        query: QueryLike | None = None,
        *,
        text: str | None = None,
        k: int | None = 10,
        grain: str | None = None,
        where: WhereLike | None = None,
        within: int | None = None,
        threads: int | None = None,
        max_pixels: int = DEFAULT_MAX_PIXELS,
        stages: Sequence[tuple[str, int | float]] | None = None,
        separate: bool = False,
        weights: Mapping[str, float] | None = None,
        rerank: int | None = None,
        parts: Literal["whole", "all"] = "whole",
    ) -> list[Hit]:
        """Return the nearest pictures, exactly, ordered by distance at `grain`, then over the whole code, then by id.

        `query` is a path, bytes, a PIL image, an array, a code, or the id of an item (which is then left out of the
        answer). `where` is a filter; `within` is the largest distance. `text` searches by words, alone or beside a
        picture, and orders by how well the codes agree. `stages` takes shortlists first, coarse to fine:
        [("kind", 1000)] orders by `grain` the 1,000 items nearest at kind, and those tied with the last;
        [("kind", 0.99)] as many as contain 99 % of the k nearest of a sample of items. With `separate`, each grain is
        compared by the bits that it adds.
        `weights`, a number for each grain up to `grain`, say what a bit counts that the grain adds to the one before.
        `rerank` orders so many of the nearest by how well their codes agree with what the model says of the picture
        before that is cut down to bits; the others follow.
        With `parts="all"`, items are found by their nearest part, in a library that has parts: `Hit.part` says which,
        and the distances and the word are that part's. It does not go with stages and separate codes.
        """
        more = (stages, separate, weights, rerank, parts)
        whole = Query(query, text, k, grain, where, within, threads, max_pixels, *more)
        return self.answer(whole).hits

    def explain(
        self,
        query: QueryLike | None = None,
        *,
        text: str | None = None,
        k: int | None = 10,
        grain: str | None = None,
        where: WhereLike | None = None,
        within: int | None = None,
        threads: int | None = None,
        max_pixels: int = DEFAULT_MAX_PIXELS,
        stages: Sequence[tuple[str, int | float]] | None = None,
        separate: bool = False,
        weights: Mapping[str, float] | None = None,
        rerank: int | None = None,
        parts: Literal["whole", "all"] = "whole",
    ) -> Explained:
        """Like `search`, and report how the answer was found: by which path, over how many codes, in what time."""
        more = (stages, separate, weights, rerank, parts)
        whole = Query(query, text, k, grain, where, within, threads, max_pixels, *more)
        return self.answer(whole)

    def answer(self, query: Query) -> Explained:
        """Like `explain`, for a question in one value, which can be stored and repeated."""
        if query.of is None and query.text is None:
            raise QueryError("nothing was asked: search takes a picture, a code, the id of an item, or a text")
        question = self._question(query)
        itself = query.item
        clock = Clock()
        words = None if query.text is None else self.words(query.text)
        _check_together(question, text=query.text is not None, item=itself is not None)
        code, outputs = None, None
        if query.of is not None and itself is None:
            (asked,) = self._query_encoder.codes([query.of], query.max_pixels, outputs=bool(question.rerank))
            code, outputs = asked.code, asked.outputs if question.rerank else None
        clock.stop("encode")
        with self._engine.asked(query.threads, question.parts) as (snapshot, engine):
            clock.stop("open")
            if itself is not None:
                code = stored_code(snapshot, self.store, itself)
            if words is not None:
                return (words if code is None else words.beside(code)).ask(snapshot, engine, question, clock, itself)
            assert code is not None
            if question.stages or question.separate:
                return self._in_stages(snapshot, engine, code, question, clock, itself)
            more = int(itself is not None)
            (found,) = ask(snapshot, engine, code, question, clock, more)
            if outputs is not None:
                found = reranked(snapshot, found, outputs, question, self.grains)
            told = hits(snapshot, code, found, question, self.bundle, itself)
            clock.stop("fetch")
            total = found.total - int(itself is not None and itself in found.ids)
            return Explained(told, found.cost, len(snapshot), max(total, len(told)), clock.seconds)

    def search_many(
        self,
        queries: Iterable[QueryLike],
        *,
        k: int | None = 10,
        grain: str | None = None,
        where: WhereLike | None = None,
        within: int | None = None,
        threads: int | None = None,
        max_pixels: int = DEFAULT_MAX_PIXELS,
        stages: Sequence[tuple[str, int | float]] | None = None,
        separate: bool = False,
        weights: Mapping[str, float] | None = None,
        rerank: int | None = None,
        parts: Literal["whole", "all"] = "whole",
    ) -> list[list[Hit]]:
        """Search with many queries: one answer per query, in order, at a fraction of the cost of single searches.

        Queries are pictures or codes, as for `search`. The first that cannot be used is an error.
        """
        more = (stages, separate, weights, rerank, parts)
        whole = Query(None, None, k, grain, where, within, threads, max_pixels, *more)
        question = self._question(whole)
        asked = self._query_encoder.codes(queries, max_pixels, outputs=bool(question.rerank))
        if not asked:
            return []
        codes = [each.code for each in asked]
        with self._engine.asked(threads, question.parts) as (snapshot, engine):
            if question.stages or question.separate:
                return [self._in_stages(snapshot, engine, code, question, Clock()).hits for code in codes]
            found = ask(snapshot, engine, Codes.concatenate(codes), question, Clock())
            answers = []
            for query, each in zip(asked, found, strict=True):
                if question.rerank and query.outputs is not None:
                    each = reranked(snapshot, each, query.outputs, question, self.grains)
                answers.append(hits(snapshot, query.code, each, question, self.bundle))
            return answers

    def item(self, item: int) -> Item:
        with self.store.snapshot() as snapshot:
            found = snapshot.item(item)
        if found is None:
            raise ItemMissingError(f"no item {item} in {self.path}", path=self.path)
        return found

    def items(self, named: Iterable[Named] | None = None, *, where: WhereLike | None = None) -> list[Item]:
        """Return all items, ordered by id; or those given by id or path, and those that match a filter."""
        with self.store.snapshot() as snapshot:
            if named is None and where is None:
                return _by_id(snapshot)
            return snapshot.items(chosen(snapshot, self.path, named, where))

    def refusals(self) -> list[Refused]:
        """Return the files that are known to be unreadable. They are not tried again until they change."""
        from hashgrain.sources import Refused

        return [Refused(path, reason) for path, _, reason in self.store.refusals()]

    def kept_out(self) -> list[str]:
        """Return the paths that were removed by hand. `add` leaves them out."""
        return self.store.exclusions()

    def codes(self) -> tuple[Codes, list[Item]]:
        """Return all codes and their items, ordered by id."""
        with self.store.snapshot() as snapshot:
            items = _by_id(snapshot)
            words = snapshot.codes([item.id for item in items])
        return Codes(words, self.grains), items

    def words(self, text: str) -> Worded:
        """Return how a phrase is searched: `phrase` (how it was read), its real-valued `outputs`, and its `code`."""
        from hashgrain.search import wording  # the dictionary is loaded when it is used

        codes_only.need_model(self.bundle, self.path)
        if self.bundle.text_tower is None:
            return wording.worded(self.bundle, text)
        return wording.sentence(self.text_encoder, text)

    def code(self, query: QueryLike, *, max_pixels: int = DEFAULT_MAX_PIXELS) -> Codes:
        """Return the code that `search` would use for a picture or for the id of an item."""
        if isinstance(query, (int, np.integer)) and not isinstance(query, bool):
            with self.store.snapshot() as snapshot:
                return stored_code(snapshot, self.store, int(query))
        return self._query_encoder.codes([query], max_pixels)[0].code

    def thumbnail(self, item: int, *, edge: int = 256) -> bytes:
        """Return a small JPEG of an item, made on first use and cached. Raises ImageError if the picture is gone."""
        return self._thumbnails.get(self.item(item), edge)

    def verify(self) -> list[Problem]:
        """Run every check. An empty list means that all is well. Damage is reported and never raised."""
        problems = [*self.store.verify(), *models.problems(self.store)]
        # What indexes are of can only be told where all else is sound.
        return problems or self.damaged_indexes()

    def damaged_indexes(self) -> list[Problem]:
        with self.store.snapshot() as snapshot:
            damaged = [*self.indexes.damaged(snapshot), *self.part_indexes.damaged(snapshot)]
        remedy = Remedy("build the index anew", "index", library=self.path)
        return [Problem(str(file), why, remedy, harmless=True) for file, why in damaged]

    def rebuild(self) -> None:
        """Write the code segments again from the catalogue. This repairs damage and frees removed rows."""
        self.store.rebuild()
        self._index_soon()

    def index(
        self,
        *,
        memory: int | None = None,
        dry_run: bool = False,
        tell: Callable[[IndexPlan, bool], None] = lambda plan, fits: None,
    ) -> list[IndexPlan]:
        """Build the indexes that are worth having and fit into `memory` bytes (a quarter of the machine's).

        They make search faster and never change an answer. `tell` is called before each index is built, with the plan
        and whether it fits. Returns the plans that do not fit. Needs no writer's lock.
        """
        if self._indexing is not None:
            self._indexing.join()  # what it makes need not be made twice
        with self.store.snapshot() as snapshot:
            left_out = self.indexes.make_all(snapshot, memory, tell, dry_run)
            return left_out + self.part_indexes.make_all(snapshot, memory, tell, dry_run)

    def _index_soon(self) -> None:
        """Index in the background what was added, if that is worth it. What fails here costs time, not answers:
        `hashgrain index` says what is wrong."""
        before = self._indexing
        with suppress(HashgrainError, OSError):
            with self.store.snapshot() as snapshot:
                if not (self.indexes.plans(snapshot) or self.part_indexes.plans(snapshot)):
                    return
            self._indexing = threading.Thread(target=self._index_after, args=(before,), name="hashgrain-indexing")
            self._indexing.start()

    def _index_after(self, before: threading.Thread | None) -> None:
        if before is not None:
            before.join()
        with suppress(HashgrainError, OSError, MemoryError), self.store.snapshot() as snapshot:
            self.indexes.make_all(snapshot)
            self.part_indexes.make_all(snapshot)

    def info(self) -> dict[str, JsonLike]:
        return {
            "path": str(self.path),
            **self.store.info(),
            "bytes_of_indexes": self.indexes.bytes(),
            "model": self.bundle.name,
            "reads": models.reads(self.bundle),
            "unreadable_files": len(self.store.refusals()),
            "kept_out": len(self.store.exclusions()),
            **self._engine.facts(),
        }

    def _question(self, query: Query) -> Question:
        grain = query.grain or self.grains.finest
        self.grains.width(grain)
        wanted = check_k(query.k)
        kept = None if query.where is None else parse_filter(query.where)
        stages: tuple[Stage, ...] = ()
        if query.stages:
            from hashgrain.search.stages import check_stages

            stages = check_stages(query.stages, grain, self.grains, query.separate)
        more = (query.weights, query.rerank, query.parts)
        return Question(wanted, grain, kept, query.within, query.threads, stages, query.separate, *more)

    def _in_stages(
        self,
        snapshot: Snapshot,
        engine: Engine,
        code: Codes,
        question: Question,
        clock: Clock,
        itself: int | None = None,
    ) -> Explained:
        from hashgrain.search.staged import ask_in_stages

        return ask_in_stages(snapshot, engine, code, question, self.bundle, clock, itself)


def _check_together(question: Question, *, text: bool, item: bool) -> None:
    """Raise where an option does not go with a text, or with the id of an item."""
    if question.rerank and (text or item):
        raise QueryError("rerank takes a picture: a text is ordered by agreement as it is, an item is a code")
    if text and (question.stages or question.separate or question.weights is not None):
        raise QueryError("a text is asked of all pictures at once, without stages, weights and separate codes")


def _by_id(snapshot: Snapshot) -> list[Item]:
    return sorted(snapshot.paths(), key=lambda item: item.id)


def bundle_of(encoder: Encoder | Bundle | str | Path) -> Bundle:
    if isinstance(encoder, Encoder):
        return encoder.bundle
    return encoder if isinstance(encoder, Bundle) else Bundle.read(encoder)
