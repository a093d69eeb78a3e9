"""`Library`: the encoder, the store, the engine and the search behind a dozen methods."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property, partial
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Literal

from hashgrain.codes import Codes, Grains
from hashgrain.engines import Engine, IndexPlan, engine_of
from hashgrain.errors import LibraryError
from hashgrain.library import answering, contents, models
from hashgrain.library.engine import LibraryEngine
from hashgrain.library.indexing import Indexing
from hashgrain.library.opening import bundle_of, created, opened
from hashgrain.library.query_codes import QueryEncoder, check_workers
from hashgrain.media.cost import DEFAULT_MAX_PIXELS
from hashgrain.models import Bundle, Encoder
from hashgrain.search import Hit
from hashgrain.search.query import Query
from hashgrain.search.run import Explained
from hashgrain.store import CATALOGUE, Item, Problem, Store

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from hashgrain.library.adding_codes import ImportReport
    from hashgrain.library.adding_parts import PartsInfo, PartsReport
    from hashgrain.library.calibrating import CalibrationReport, Pair
    from hashgrain.library.database import Database
    from hashgrain.library.report import AddReport, Progress
    from hashgrain.library.selecting import ItemRef
    from hashgrain.library.thumbnails import Thumbnails
    from hashgrain.models.text_encoder import TextEncoder
    from hashgrain.search.groups import Group
    from hashgrain.search.text_search import TextQuery
    from hashgrain.sources import Refused
    from hashgrain.types import Box, JsonLike, Meta, PartsOption, PathLike, QueryLike, SourcesLike, WhereLike


class Library:
    """A collection on disk: a catalogue, the codes of its pictures, and the model that made them.

    One process at a time may open a library for writing. Any number of processes may read it meanwhile.
    """

    def __init__(
        self, store: Store, bundle: Bundle, engine: Engine | str | None = None, *, workers: int | None = None
    ) -> None:
        self.store = store
        self.bundle = bundle
        self._indexing = Indexing(store, self.grains)
        self.indexes, self.part_indexes = self._indexing.whole, self._indexing.parts
        self._engine = LibraryEngine(store, self.grains, self._indexing, engine)
        self._query_encoder = QueryEncoder(store, bundle, workers)

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
        given, workers, bundle = engine_of(engine), check_workers(workers), bundle_of(encoder)
        with created(path, bundle) as store:
            library = cls(store, bundle, given, workers=workers)
        if isinstance(encoder, Encoder):
            library._query_encoder.encoder = encoder  # already loaded: use it rather than load it again
        return library

    @classmethod
    def open(
        cls, path: PathLike, mode: str = "r", *, engine: Engine | str | None = None, workers: int | None = None
    ) -> Library:
        """An existing library: "r" to search, "w" to change it (one writer at a time).

        `engine` answers the searches: "embedded", the default, the address of one in a database, such as
        "postgresql://host/database?schema=photos", or an engine of your own. It gets the changes before each search and
        is closed with the library. One that holds the codes of another library is an error.
        At most `workers` processes decode pictures, those of questions too: half the cores, unless given. They are
        started when a picture comes and end with the library. 0 decodes in this process, for pictures you trust.
        """
        if mode not in ("r", "w"):
            raise LibraryError(f"a library is opened for reading, 'r', or writing, 'w', not {mode!r}")
        given, workers = engine_of(engine), check_workers(workers)
        with opened(path, "w" if mode == "w" else "r") as store:
            bundle = models.bundle_of_library(store)
            if mode == "w":
                models.finish_change(store)
                bundle = models.renew(store, bundle)
            return cls(store, bundle, given, workers=workers)

    @classmethod
    def open_or_create(cls, path: PathLike, encoder: Encoder | Bundle | str | Path | None = None) -> Library:
        """Open the library at `path` for writing, or create it. With `encoder`, an existing one must have it."""
        target = Path(path).expanduser()
        if not (target / CATALOGUE).exists():  # also where making one was cut short
            return cls.create(target, "default" if encoder is None else encoder)
        library = cls.open(target, "w")
        if encoder is not None and bundle_of(encoder).digest != library.bundle.digest:
            library.close()
            raise models.other_model(target)
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

    @property
    def text_encoder(self) -> TextEncoder:
        """The text tower of this library's model, loaded on first use."""
        return self._query_encoder.text_encoder

    @cached_property
    def _thumbnails(self) -> Thumbnails:
        from hashgrain.library.thumbnails import Thumbnails  # for who shows pictures

        return Thumbnails(self.path)

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
            self._indexing.wait()
        finally:
            self._query_encoder.close()
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
        detector: str | None = None,
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
        pictures have no parts gets none unless `detail` says so: see `add_parts`. A `detector`, onnx:FILE, finds things
        in the pictures; each box becomes a part, too.
        """
        from hashgrain.library.adding import add_sources  # what changes a library is loaded when it is used
        from hashgrain.library.adding_parts import part_maker_for
        from hashgrain.library.metadata import check_meta

        check_meta(meta)
        with self._query_encoder.pool_of(workers) as pool:
            if detector is not None and not parts:
                raise LibraryError("what a detector finds becomes parts, which are not wanted here")
            part_maker = part_maker_for(self.store, self.encoder, detail, detector) if parts else None
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
                part_maker=part_maker,
            )
        self._indexing.make_soon()
        return report

    def add_parts(
        self,
        *,
        detail: str | None = None,
        detector: str | None = None,
        workers: int | None = None,
        max_pixels: int = DEFAULT_MAX_PIXELS,
        progress: Callable[[PartsReport], None] | None = None,
    ) -> PartsReport:
        """Give parts to every item that has none, from its file. A stopped call resumes when repeated. Files that are
        gone or have changed are listed in the report."""
        from hashgrain.library.adding_parts import add_parts

        with self._query_encoder.pool_of(workers) as pool:
            return add_parts(
                self.store,
                self.encoder,
                pool,
                detail,
                detector=detector,
                max_pixels=max_pixels,
                progress=progress,
            )

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
        from hashgrain.library.adding_codes import import_codes

        named, pool = [os.fspath(path) for path in paths], self._query_encoder.pool
        report = import_codes(self.store, codes, named, pool, replace=replace, look=look, meta=meta)
        self._indexing.make_soon()
        return report

    def update(
        self, *, prune: bool = False, even_most: bool = False, retry: bool = False, progress: Progress | None = None
    ) -> tuple[AddReport, list[Item]]:
        """Check every file of the library again, and find those that were moved. Returns the report and the items
        whose file is gone.

        Such items are removed only if `prune` is set. If a disk seems not to be mounted, or most of the library would
        be removed, that is an error unless `even_most` is set too. To update archives and tables, add them again.
        """
        from hashgrain.library.updating import update

        return update(self.store, partial(self.add, retry=retry, progress=progress), prune=prune, even_most=even_most)

    def remove(self, items: Iterable[ItemRef], *, forget: bool = False) -> int:
        """Remove items by id or by path (a folder's path removes everything below it). The files are not changed, and
        `add` leaves them out from then on, unless `forget` is set.

        If an id or path is not in the library, that is an error, and nothing is removed.
        """
        from hashgrain.library.removing import remove_items

        return remove_items(self.store, items, forget=forget)

    def meta(
        self,
        items: Iterable[ItemRef] | None = None,
        *,
        where: WhereLike | None = None,
        set: Meta | None = None,
        unset: Iterable[str] = (),
    ) -> int:
        """Change the metadata of items given by id or path, of items that match a filter, or of all items.

        `place.city` is the key `city` inside `place`. Returns the number of items changed.
        """
        from hashgrain.library.metadata import change_meta
        from hashgrain.library.selecting import select_ids

        with self.store.snapshot() as snapshot:
            ids = select_ids(snapshot, self.path, items, where, "nothing was changed")
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
        parts: PartsOption = "auto",
        boxes: Sequence[Box] = (),
        match: Literal["any", "all", "mean"] = "any",
        turned: bool = False,
        like: Sequence[QueryLike] = (),
        unlike: Sequence[QueryLike] = (),
        like_weights: Sequence[float] | None = None,
        min_score: float | None = None,
        verify: bool = False,
        verify_seconds: float = 2.0,
        refine: bool = False,
    ) -> list[Hit]:
        """Return the nearest pictures, exactly, ordered by distance at `grain`, then over the whole code, then by id.

        `query` is a path, bytes, a PIL image, an array, a code, or the id of an item (which is then left out of the
        answer). `where` is a filter; `within` is the largest distance. `text` searches by words, alone or beside a
        picture, and orders by how well the codes agree. `stages` takes shortlists first, coarse to fine:
        [("kind", 1000)] orders by `grain` the 1,000 items nearest at kind, and those tied with the last;
        [("kind", 0.99)] as many as contain 99 % of the k nearest of a sample of items. With `separate`, each grain is
        compared by the bits that it adds.
        `weights` has a number for each grain up to `grain`: the weight of each bit that it adds to the one before.
        `rerank` is how many of the nearest are ordered by how well their codes agree with the real-valued outputs of
        the model for the picture; the others follow.
        In a library that has parts, an item is found by what is more probable: by its whole, or by the nearest of its
        parts. `Hit.part` says which, and the distances, the score and the word are that part's. With `parts="all"`
        the nearer of both counts, with "whole" the whole alone, as in searches by text, with stages, separate codes,
        weights or rerank, unless these say "all".
        `boxes` asks with parts of the query, each (left, top, right, bottom): fractions of the upright picture, or
        pixels where one is above 1. `match` is whether an item has to be near to "any" of them or to "all": then the
        distances are those to the box that is farthest from it.
        `turned` asks with the picture in all 8 orientations, turned and mirrored; the nearest counts.
        `like` are more examples of what to find. `match` is whether the nearest of them counts for an item ("any"), the
        farthest ("all"), or the mean of the distances to all, weighted by `like_weights`. `unlike` are examples of what
        not to find: an item is left out if what was found of it is nearer to one of these than to the example that
        counts. Items that are examples are left out.
        `min_score` leaves out hits with a smaller score, exactly: if nothing is so close, the answer is empty.
        `verify` matches the picture with the first 20 hits point by point, in order, for at most `verify_seconds`.
        `Hit.verified` says how many points agree and where the picture lies in the hit; None if a hit was not tried.
        The hits and their order stay. It needs OpenCV: pip install 'hashgrain[verify]'.
        `refine` looks again at the pictures of the first 10 hits that were found by a part, for boxes that fit closer.
        """
        examples = (like, unlike, like_weights, min_score)
        more = (weights, rerank, parts, boxes, match, turned, *examples, verify, verify_seconds, refine)
        options = (k, grain, where, within, threads, max_pixels, stages, separate, *more)
        return self.answer(Query(query, text, *options)).hits

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
        parts: PartsOption = "auto",
        boxes: Sequence[Box] = (),
        match: Literal["any", "all", "mean"] = "any",
        turned: bool = False,
        like: Sequence[QueryLike] = (),
        unlike: Sequence[QueryLike] = (),
        like_weights: Sequence[float] | None = None,
        min_score: float | None = None,
        verify: bool = False,
        verify_seconds: float = 2.0,
        refine: bool = False,
    ) -> Explained:
        """Like `search`, and report how the answer was found: by which path, over how many codes, in what time."""
        examples = (like, unlike, like_weights, min_score)
        more = (weights, rerank, parts, boxes, match, turned, *examples, verify, verify_seconds, refine)
        options = (k, grain, where, within, threads, max_pixels, stages, separate, *more)
        return self.answer(Query(query, text, *options))

    def answer(self, query: Query) -> Explained:
        """Like `explain`, for a question in one value, which can be stored and repeated."""
        return answering.answer(query, self.bundle, self._query_encoder, self._engine)

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
        parts: PartsOption = "auto",
        min_score: float | None = None,
    ) -> list[list[Hit]]:
        """Search with many queries: one answer per query, in order, at a fraction of the cost of single searches.

        Queries are pictures or codes, as for `search`. The first that cannot be used is an error.
        """
        options = (k, grain, where, within, threads, max_pixels, stages, separate, weights, rerank, parts)
        return answering.answer_many(
            queries, Query(None, None, *options, min_score=min_score), self.bundle, self._query_encoder, self._engine
        )

    def group(self, hits: Sequence[Hit], *, radii: Mapping[str, int] | None = None) -> tuple[Group[Hit], ...]:
        """Arrange hits of a search as a tree, coarse to fine: kinds contain things, things contain looks.

        A group of the finest grain is one picture with its near copies. Each group is represented by its first hit, and
        groups come in the order of these. At a grain, a hit joins the group of the nearest representative before it
        within a radius, or opens a group: the calibrated distance of `same` at the finest grain, `related` at the
        coarsest and `near` between them, an eighth of the bits where the model has no such word, or as in `radii`.
        The representatives of a grain are grouped at the next coarser one. Whole items are compared, not parts.
        """
        from hashgrain.library.grouping import group_hits

        return group_hits(self.store, self.bundle, hits, radii)

    def item(self, item: int) -> Item:
        return contents.item_of(self.store, item)

    def items(self, named: Iterable[ItemRef] | None = None, *, where: WhereLike | None = None) -> list[Item]:
        """Return all items, ordered by id; or those given by id or path, and those that match a filter."""
        return contents.items_of(self.store, named, where)

    def refusals(self) -> list[Refused]:
        """Return the files that are known to be unreadable. They are not tried again until they change."""
        return contents.refusals_of(self.store)

    def kept_out(self) -> list[str]:
        """Return the paths that were removed by hand. `add` leaves them out."""
        return self.store.exclusions()

    def codes(self) -> tuple[Codes, list[Item]]:
        """Return all codes and their items, ordered by id."""
        return contents.codes_of(self.store)

    def words(self, text: str) -> TextQuery:
        """Return how a phrase is searched: `phrase` (how it was read), its real-valued `outputs`, and its `code`."""
        return self._query_encoder.words(text)

    def code(self, query: QueryLike, *, max_pixels: int = DEFAULT_MAX_PIXELS) -> Codes:
        """Return the code that `search` would use for a picture or for the id of an item."""
        return self._query_encoder.code(query, max_pixels)

    def thumbnail(self, item: int, *, edge: int = 256) -> bytes:
        """Return a small JPEG of an item, made on first use and cached. Raises ImageError if the picture is gone."""
        return self._thumbnails.get(self.item(item), edge, lambda: self._query_encoder.pool)

    def verify(self) -> list[Problem]:
        """Run every check. An empty list means that all is well. Damage is reported and never raised."""
        problems = [*self.store.verify(), *models.problems(self.store)]
        # Indexes can be checked only if everything else is sound.
        return problems or self.damaged_indexes()

    def damaged_indexes(self) -> list[Problem]:
        return self._indexing.damaged()

    def rebuild(self) -> None:
        """Write the code segments again from the catalogue. This repairs damage and frees removed rows."""
        self.store.rebuild()
        self._indexing.make_soon()

    def calibrate(
        self, pairs: Iterable[Pair] | PathLike, *, grain: str | None = None, dry_run: bool = False
    ) -> CalibrationReport:
        """Fit what distances between whole items mean on pairs of this library's own items, at one grain or at all.

        A pair is (a, b, same): two items by id or path, and whether they belong together; or `pairs` is a .csv file
        with these columns. At least 100 pairs of either kind are needed. The scores of hits are then the probabilities
        for such pairs, if half of all pairs belong together; the words stay those of the model, and codes do not
        change. With `dry_run`, nothing is written. `reset_calibration` undoes it.
        """
        from hashgrain.library import calibrating

        given = calibrating.read_pairs(pairs) if isinstance(pairs, (str, os.PathLike)) else pairs
        report, self.bundle = calibrating.calibrate(self.store, self.bundle, given, grain, dry_run=dry_run)
        return report

    def reset_calibration(self) -> None:
        """Take the calibration from before `calibrate` again."""
        from hashgrain.library import calibrating

        self.bundle = calibrating.reset(self.store, self.bundle)

    def index(
        self,
        *,
        memory: int | None = None,
        dry_run: bool = False,
        on_plan: Callable[[IndexPlan, bool], None] = lambda plan, fits: None,
    ) -> list[IndexPlan]:
        """Build the indexes that are worth having and fit into `memory` bytes (a quarter of the machine's).

        They make search faster and never change an answer. `on_plan` is called before each index is built, with the
        plan and whether it fits. Returns the plans that do not fit. Needs no writer's lock.
        """
        return self._indexing.make(memory, dry_run, on_plan)

    def database(self, address: str) -> Database:
        """Where the codes of this library are, or will be, in a database: see `open` for addresses."""
        from hashgrain.library.database import Database

        return Database(self.store, self.grains, address)

    def info(self) -> dict[str, JsonLike]:
        return {**contents.info_of(self.store, self.bundle, self._indexing), **self._engine.facts()}
