"""`Library`: the encoder, the store, the engine and the search behind a dozen methods."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, cast

import numpy as np

from hashgrain import media
from hashgrain.codes import Codes, Grains
from hashgrain.engines import Engine, IndexManager, IndexPlan, engine_of
from hashgrain.errors import HashgrainError, ItemMissingError, LibraryError, OtherModelError, QueryError, Remedy
from hashgrain.library import codes_only, models
from hashgrain.library.engine import LibraryEngine
from hashgrain.library.selecting import chosen
from hashgrain.library.thumbnails import Thumbnails
from hashgrain.media.cost import DEFAULT_MAX_PIXELS
from hashgrain.models import Bundle, Encoder
from hashgrain.search import Hit, check_k
from hashgrain.search.query import Query
from hashgrain.search.run import Clock, Explained, Question, ask, hits, reranked
from hashgrain.store import CATALOGUE, Item, Problem, Snapshot, Store, parse_filter

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from hashgrain.library.adding_codes import ImportReport
    from hashgrain.library.report import AddReport, Progress
    from hashgrain.library.selecting import Named
    from hashgrain.models.text_encoder import TextEncoder
    from hashgrain.search.stages import Stage
    from hashgrain.search.wording import Worded
    from hashgrain.sources import Refused
    from hashgrain.types import ImageLike, JsonLike, Meta, PathLike, QueryLike, SourcesLike, WhereLike


class Library:
    """A collection on disk: a catalogue, the codes of its pictures, and the model that made them.

    One process may hold a library open for writing; any number may read it meanwhile.
    """

    def __init__(self, store: Store, bundle: Bundle, engine: Engine | None = None) -> None:
        self.store = store
        self.bundle = bundle
        self._thumbnails = Thumbnails(self.path)
        self.indexes = IndexManager(self.path, self.grains)
        self._engine = LibraryEngine(store, self.grains, self.indexes, engine)
        self._indexing: threading.Thread | None = None

    @classmethod
    def create(
        cls,
        path: PathLike,
        encoder: Encoder | Bundle | str | Path = "default",
        *,
        engine: Engine | str | None = None,
    ) -> Library:
        """A new, empty library, open for writing. It keeps a copy of the model, so it can always be searched.

        `engine` is what answers searches, see `open`.
        """
        given = engine_of(engine)
        bundle = bundle_of(encoder)
        store = Store.create(
            Path(path).expanduser(),
            grains=bundle.grains,
            digest=bundle.code_digest,
            prepare=lambda folder: codes_only.write(bundle, folder),
        )
        try:
            library = cls(store, bundle, given)
        except BaseException:
            store.close()
            raise
        if isinstance(encoder, Encoder):
            library.__dict__["encoder"] = encoder  # already loaded: use it rather than load it again
        return library

    @classmethod
    def open(cls, path: PathLike, mode: str = "r", *, engine: Engine | str | None = None) -> Library:
        """An existing library: "r" to search, "w" to change it (one writer at a time).

        `engine` answers the searches: "embedded", the default, or an engine of yours, which is told of what changed
        before each search and is closed with the library. One that holds the codes of another library is an error.
        """
        if mode not in ("r", "w"):
            raise LibraryError(f"a library is opened for reading, 'r', or writing, 'w', not {mode!r}")
        given = engine_of(engine)
        target = Path(path).expanduser()
        models.undo_rename(target)
        store = Store.open(target, "w" if mode == "w" else "r")
        try:
            library = cls(store, models.own_bundle(store), given)
            if mode == "w":
                models.settle(store)
            return library
        except BaseException:
            store.close()
            raise

    @classmethod
    def open_or_create(cls, path: PathLike, encoder: Encoder | Bundle | str | Path | None = None) -> Library:
        """For adding to: the library there, or a new one. With `encoder` given, an existing one must be of it."""
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

    @cached_property
    def encoder(self) -> Encoder:
        """The model of this library, loaded on first use: searching by id or code does not need it."""
        codes_only.need_model(self.bundle, self.path)
        return Encoder(self.bundle)

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
        """Let go of files and lock; waits for an index that is being built."""
        try:
            if self._indexing is not None:
                self._indexing.join()
        finally:
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
        workers: int | None = None,
        max_pixels: int = DEFAULT_MAX_PIXELS,
        progress: Progress | None = None,
    ) -> AddReport:
        """Add files, folders, globs, archives, tables or Python pictures; resumes where it was stopped.

        Unchanged files are skipped, changed ones encoded again, moved ones recognised; `meta` goes over what those
        known before have. Files that cannot be opened are left out and listed in the report; until they change they
        are not tried again, unless by `retry`. What was removed stays out, unless `again` brings it back. After many
        new pictures an index is built in the background.
        """
        from hashgrain.library.adding import add_sources  # what changes a library is loaded when it is used
        from hashgrain.library.noting import check_meta

        check_meta(meta)
        report = add_sources(
            self.store,
            self.encoder,
            sources,
            ignore=ignore,
            meta=meta,
            retry=retry,
            again=again,
            workers=media.decode_workers() if workers is None else workers,
            max_pixels=max_pixels,
            progress=progress,
        )
        self._index_soon()
        return report

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

        An array is uint8 of packed bits, or a value a bit; that it is of this library's model is for the caller to
        know. A path may be any text; of one that is a file, unless `look` is off, size, content and the picture's
        facts are kept, too. Items that are there get their new codes with `replace`, and are an error without.
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
        """Look again at every file of the library, and for those that were moved. Returns the report and the items
        whose file is gone.

        Those are kept unless `prune` is set: a disk that is not mounted today may be back tomorrow. Where that is
        what it looks like, or most of the library would go, it is an error unless `even_most` is set, too. For
        changes inside archives and tables, add them again.
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
        """Remove items by id or by path (a folder's path removes all below it). The files are not touched, and
        `add` leaves them out from then on, unless `forget` is set.

        An id or path that is not in the library is an error, and nothing is removed.
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
        """Change the metadata of items, by id or path, and of those a filter holds for; of all without either.

        `place.city` names a key inside another. Returns how many items it changed.
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
    ) -> list[Hit]:
        """The nearest pictures, exactly: by distance at `grain`, then over the whole code, then id.

        `query` is a path, bytes, a PIL image, an array, a code, or the id of an item (which is then left out
        of its own answer). `where` keeps the items a filter holds for; `within` those at most so far away.
        With `text`, what pictures show in words, alone or beside a picture: by how well their codes agree.
        `stages` are shortlists that are taken first, coarse to fine: [("kind", 1000)] orders by `grain` the 1,000
        items nearest at kind, and those tied with the last; [("kind", 0.99)] as many as hold 99 % of the k nearest of
        a sample of items. With `separate`, grains are codes of their own: each is compared by the bits that it adds.
        `weights`, a number for each grain up to `grain`, say what a bit counts that the grain adds to the one before.
        `rerank` orders so many of the nearest by how well their codes agree with what the model says of the picture
        before that is cut down to bits; the others follow.
        """
        whole = Query(query, text, k, grain, where, within, threads, max_pixels, stages, separate, weights, rerank)
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
    ) -> Explained:
        """As `search`, and how the answer was found: by which path, over how many codes, in what time."""
        whole = Query(query, text, k, grain, where, within, threads, max_pixels, stages, separate, weights, rerank)
        return self.answer(whole)

    def answer(self, query: Query) -> Explained:
        """As `explain`, of a question that is one value, to keep and to ask again."""
        if query.of is None and query.text is None:
            raise QueryError("nothing was asked: search takes a picture, a code, the id of an item, or a text")
        question = self._question(query)
        itself = query.item
        clock = Clock()
        words = None if query.text is None else self.words(query.text)
        _check_together(question, text=query.text is not None, item=itself is not None)
        given = None if itself is not None or query.of is None else self._asked(query.of, query.max_pixels, question)
        code, outputs = given or (None, None)
        clock.stop("encode")
        with self._engine.asked(query.threads) as (snapshot, engine):
            clock.stop("open")
            if itself is not None:
                code = self._stored(snapshot, itself)
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
    ) -> list[list[Hit]]:
        """An answer for each query, in order, at a fraction of the cost of asking one by one.

        Queries are pictures or codes, as for `search`; the first that cannot be used is an error.
        """
        whole = Query(None, None, k, grain, where, within, threads, max_pixels, stages, separate, weights, rerank)
        question = self._question(whole)
        asked = [self._asked(query, max_pixels, question) for query in queries]
        if not asked:
            return []
        codes = [code for code, _ in asked]
        with self._engine.asked(threads) as (snapshot, engine):
            if question.stages or question.separate:
                return [self._in_stages(snapshot, engine, code, question, Clock()).hits for code in codes]
            found = ask(snapshot, engine, Codes.concatenate(codes), question, Clock())
            answers = []
            for (code, outputs), each in zip(asked, found, strict=True):
                near = each if outputs is None else reranked(snapshot, each, outputs, question, self.grains)
                answers.append(hits(snapshot, code, near, question, self.bundle))
            return answers

    def item(self, item: int) -> Item:
        with self.store.snapshot() as snapshot:
            found = snapshot.item(item)
        if found is None:
            raise ItemMissingError(f"no item {item} in {self.path}", path=self.path)
        return found

    def items(self, named: Iterable[Named] | None = None, *, where: WhereLike | None = None) -> list[Item]:
        """Everything in the library, by id; or what is named by id or path, and what a filter holds for."""
        with self.store.snapshot() as snapshot:
            if named is None and where is None:
                return _by_id(snapshot)
            return snapshot.items(chosen(snapshot, self.path, named, where))

    def refusals(self) -> list[Refused]:
        """The files that are known to be unreadable, and are not tried again until they change."""
        from hashgrain.sources import Refused

        return [Refused(path, reason) for path, _, reason in self.store.refusals()]

    def kept_out(self) -> list[str]:
        """The files that were removed by hand, and do not come back by `add`."""
        return self.store.exclusions()

    def codes(self) -> tuple[Codes, list[Item]]:
        """All codes and their items, by id."""
        with self.store.snapshot() as snapshot:
            items = _by_id(snapshot)
            words = snapshot.codes([item.id for item in items])
        return Codes(words, self.grains), items

    def words(self, text: str) -> Worded:
        """A phrase as it is asked with: `phrase`, how it was read, its real-valued `outputs`, and its `code`."""
        from hashgrain.search import wording  # the dictionary is loaded when it is used

        codes_only.need_model(self.bundle, self.path)
        if self.bundle.text_tower is None:
            return wording.worded(self.bundle, text)
        return wording.sentence(self.text_encoder, text)

    def code(self, query: QueryLike, *, max_pixels: int = DEFAULT_MAX_PIXELS) -> Codes:
        """The code that `search` would ask with, of a picture or of the id of an item."""
        if isinstance(query, (int, np.integer)) and not isinstance(query, bool):
            with self.store.snapshot() as snapshot:
                return self._stored(snapshot, int(query))
        return self._code_of(query, max_pixels)

    def thumbnail(self, item: int, *, edge: int = 256) -> bytes:
        """A small JPEG of an item, made on first use and cached. Raises ImageError when the picture is gone."""
        return self._thumbnails.get(self.item(item), edge)

    def verify(self) -> list[Problem]:
        """Every check there is; an empty list means all is well. Never raises on damage."""
        problems = [*self.store.verify(), *models.problems(self.store)]
        # What indexes are of can only be told where all else is sound.
        return problems or self.damaged_indexes()

    def damaged_indexes(self) -> list[Problem]:
        with self.store.snapshot() as snapshot:
            damaged = [*self.indexes.damaged(snapshot)]
        remedy = Remedy("build the index anew", "index", library=self.path)
        return [Problem(str(file), why, remedy, harmless=True) for file, why in damaged]

    def rebuild(self) -> None:
        """Write the code segments anew from the catalogue: mends damage, frees what was removed."""
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

        They make searching quicker and never change an answer. `tell` hears of each before it is built, with
        whether it fits; those that do not are returned. Needs no writer's lock.
        """
        if self._indexing is not None:
            self._indexing.join()  # what it makes need not be made twice
        with self.store.snapshot() as snapshot:
            return self.indexes.make_all(snapshot, memory, tell, dry_run)

    def _index_soon(self) -> None:
        """Index in the background what was added, if that is worth it. What fails here costs time, not answers:
        `hashgrain index` says what is wrong."""
        before = self._indexing
        with suppress(HashgrainError, OSError):
            with self.store.snapshot() as snapshot:
                if not self.indexes.plans(snapshot):
                    return
            self._indexing = threading.Thread(target=self._index_after, args=(before,), name="hashgrain-indexing")
            self._indexing.start()

    def _index_after(self, before: threading.Thread | None) -> None:
        if before is not None:
            before.join()
        with suppress(HashgrainError, OSError, MemoryError), self.store.snapshot() as snapshot:
            self.indexes.make_all(snapshot)

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
        more = (query.weights, query.rerank)
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

    def _asked(self, query: QueryLike, max_pixels: int, question: Question) -> tuple[Codes, NDArray[np.float32] | None]:
        """The code that is asked with, and to rerank what the model gave for it."""
        if not question.rerank:
            return self._code_of(query, max_pixels), None
        if isinstance(query, (Codes, int, np.integer)):
            raise QueryError("rerank takes a picture: of a code it is not known how sure the model was of each bit")
        opened = media.open_picture(query, size=self.encoder.bundle.size, max_pixels=max_pixels)
        outputs = self.encoder.outputs(opened.pixels[None])
        return Codes.from_outputs(outputs, self.grains), outputs[0]

    def _code_of(self, query: QueryLike, max_pixels: int) -> Codes:
        if isinstance(query, Codes):
            if query.grains != self.grains or len(query) != 1:
                raise QueryError(f"a query is one code with {self.grains}, not {query!r}")
            return query
        if isinstance(query, (str, os.PathLike)) and (not self.bundle.onnx or not Path(query).exists()):
            known = self.store.known(os.path.abspath(query)) or self.store.known(str(query))
            if known:  # the file is gone, or cannot be encoded here; its code is there
                with self.store.snapshot() as snapshot:
                    return self._stored(snapshot, known.id)
        ((_, result),) = self.encoder.encode_each([(None, cast("ImageLike", query))], max_pixels=max_pixels)
        if not isinstance(result, Codes):
            raise result
        return result

    def _stored(self, snapshot: Snapshot, item: int) -> Codes:
        code = snapshot.code(item)
        if code is None:
            raise ItemMissingError(f"no item {item} in {self.path}", path=self.path)
        return Codes(code[None], self.grains)


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
