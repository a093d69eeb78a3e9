"""Splits labelled pictures by a protocol, into a manifest. The split depends only on contents, labels and seed."""

from __future__ import annotations

import hashlib
import itertools
import os
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from hashgrain.errors import EvaluationError, ImageError, Remedy
from hashgrain.evaluate.manifest import Index, Manifest
from hashgrain.evaluate.open_sets import cut
from hashgrain.evaluate.protocols import PARTED, Protocol, Take
from hashgrain.labelled import LabelledPicture, same_part
from hashgrain.media import open_picture

Mask = NDArray[np.bool_]
MOST_NOTES = 5  # classes that a warning names
AT_ONCE = 256  # pictures read together
SMALL = (32, 32)  # pixels: decoding to this size is the fastest, and fails for the same pictures as other sizes


@dataclass(frozen=True, eq=False)
class Pool:
    """All pictures from which a split is drawn."""

    names: Sequence[str]
    hashes: Sequence[str]
    parts: NDArray[np.str_]
    classes: Sequence[tuple[str, ...]]
    in_sets: bool

    def members(self) -> dict[str, Index]:
        """The pictures of each class (at the last level), or with each label."""
        by_class: dict[str, list[int]] = defaultdict(list)
        for i, classes in enumerate(self.classes):
            for name in classes if self.in_sets else ("/".join(classes),):
                by_class[name].append(i)
        return {name: np.array(by_class[name], np.int64) for name in sorted(by_class)}


def read_pool(pictures: Iterable[LabelledPicture], progress: Callable[[int], None] | None = None) -> Pool:
    """Read every picture once, to hash it."""
    readable, hashes = [], []
    for picture in pictures:
        try:
            hashes.append(hashlib.sha256(picture.read()).hexdigest())
        except OSError as error:
            raise EvaluationError(f"cannot read {picture.name}: {error.strerror}") from None
        except ValueError as error:  # a NUL byte in its path
            raise EvaluationError(f"cannot read {picture.name!r}: {error}") from None
        readable.append(replace(picture, read=bytes))  # pictures of a table are in memory
        if progress:
            progress(len(readable))
    return pool_of(readable, hashes)


def openable_pool(pictures: Iterable[LabelledPicture]) -> tuple[Pool, dict[str, str]]:
    """The pool for an evaluation without pictures that cannot be opened, and these with the reason."""
    readable, hashes = [], []
    refused: dict[str, str] = {}
    stream = iter(pictures)
    with ThreadPoolExecutor(os.cpu_count()) as threads:
        while batch := list(itertools.islice(stream, AT_ONCE)):
            for picture, (content, why) in zip(batch, threads.map(_opened, batch), strict=True):
                if why:
                    refused[picture.name] = why
                    continue
                readable.append(replace(picture, read=bytes))
                hashes.append(content)
    return pool_of(readable, hashes), refused


def _opened(picture: LabelledPicture) -> tuple[str, str]:
    """(content hash, ""), or ("", the reason why it cannot be opened)."""
    try:
        content = picture.read()
        open_picture(content, size=SMALL, name=picture.name)
    except (ImageError, OSError, ValueError) as error:  # ValueError: a NUL byte in its path
        return "", str(error) or type(error).__name__
    return hashlib.sha256(content).hexdigest(), ""


def classes_of(picture: LabelledPicture) -> tuple[str, ...]:
    """The classes of a picture from the root down, or its sorted labels."""
    return picture.path if picture.labels is None else tuple(sorted(set(picture.labels)))


def pool_of(pictures: Sequence[LabelledPicture], hashes: Sequence[str]) -> Pool:
    """The pool of pictures with known hashes."""
    if not pictures:
        raise EvaluationError("no labelled pictures there")
    kinds = [0 if picture.labels is not None else len(picture.path) for picture in pictures]
    odd = next((i for i, kind in enumerate(kinds) if kind != kinds[0]), None)
    if odd is not None:
        raise EvaluationError(
            f"{pictures[odd].name} is labelled otherwise than the pictures before it: all need a set of labels, or all"
            " need as many classes from the root down"
        )
    classes = [classes_of(picture) for picture in pictures]
    parts = np.array([same_part(picture.part) for picture in pictures])
    return Pool([picture.name for picture in pictures], list(hashes), parts, classes, kinds[0] == 0)


def split(pool: Pool, protocol: Protocol, seed: int = 0) -> Manifest:
    """Draw queries, training pictures and database as the protocol says."""
    if seed < 0:
        raise EvaluationError(f"a seed of {seed}: it is 0 or more")
    if protocol.asks:
        members = pool.members()
        seen, _ = _seen(members, protocol, seed, len(pool.names))
        name = protocol.name.removesuffix(f"-{protocol.asks}@{protocol.searches}")
        base = replace(protocol, name=name, unseen=0, asks=None, searches=None)
        return cut(split(pool, base, seed), protocol, seen)
    if pool.in_sets != (protocol.relevance == "shares a label") and protocol.counts:
        raise EvaluationError(
            f"{protocol.name} takes {'sets of labels' if not pool.in_sets else 'one class a picture'}"
        )
    _check_parts(pool, protocol)
    members = pool.members()
    left_out, notes = _unlabelled(pool, protocol)
    notes += _under_two_classes(pool)
    seen, unseen = _seen(members, protocol, seed, len(pool.names))
    usable = ~left_out
    there = {"pictures": int(usable.sum()), "classes": len(members)}
    if "superclasses" in protocol.counts:
        there["superclasses"] = len({path[:-1] for path in pool.classes if len(path) > 1})
    _check_counts(protocol, there)
    order = _order(pool, seed)
    queries = _take(protocol.queries, pool, members, order, usable & unseen, protocol.name, "queries")
    free = usable & ~queries
    train = _take(protocol.train, pool, members, order, free & seen, protocol.name, "training pictures")
    searched = free & unseen & (pool.parts == protocol.pool if protocol.pool else True)
    database = {"all but queries": searched, "all but queries and train": searched & ~train, "train": train}
    splits = {"queries": queries, "train": train, "database": database[protocol.database]}
    indexes = {name: np.flatnonzero(mask) for name, mask in splits.items()}
    _check_counts(protocol, {name: len(index) for name, index in indexes.items()})
    rules = {
        "protocol": protocol.name,
        "version": protocol.version,
        "cutoff": protocol.cutoff,
        "convention": protocol.convention,
        "relevance": "shares a label" if pool.in_sets else "same class",
        "transform": protocol.transform,
    }
    drawn = (indexes["queries"], indexes["train"], indexes["database"])
    manifest = Manifest(rules, seed, pool.names, pool.hashes, pool.classes, pool.in_sets, *drawn)
    return replace(manifest, warnings=notes + _warnings(manifest, protocol, members))


def _check_parts(pool: Pool, protocol: Protocol) -> None:
    """Refuse to draw from several parts together: queries would come from a published training part."""
    if protocol.counts or protocol.queries.part or protocol.train.part:
        return
    parts = sorted({part or "train" for part in pool.parts.tolist()})  # pictures without a part are for training
    if len(parts) > 1:
        asking = next((name for part, name in PARTED.items() if part in parts), "")
        alone = Remedy("take one part alone: name its folder or list", "name_part")
        raise EvaluationError(
            f"{protocol.name} draws from all pictures alike, and here they are in the parts {' and '.join(parts)},"
            " which must not be mixed",
            remedy=Remedy(
                f"take the protocol {asking}, or name the folder (or list) of one part",
                "take_protocol",
                protocol=asking,
            )
            if asking
            else alone,
        )


def _under_two_classes(pool: Pool) -> list[str]:
    """A warning about equal pictures under two classes: each counts as a wrong answer for the other."""
    if pool.in_sets:
        return []
    classes: dict[str, set[str]] = defaultdict(set)
    for content, path in zip(pool.hashes, pool.classes, strict=True):
        classes[content].add("/".join(path))
    twice = [" and ".join(sorted(paths)) for paths in classes.values() if len(paths) > 1]
    if not twice:
        return []
    pairs = sorted(set(twice))
    more = f" and {len(pairs) - MOST_NOTES} more" if len(pairs) > MOST_NOTES else ""
    named = f"{'; '.join(pairs[:MOST_NOTES])}{more}"
    return [f"{len(twice)} pictures are under two classes, each a wrong answer for the other: {named}"]


def _order(pool: Pool, seed: int) -> NDArray[np.int64]:
    """An order that depends on the seed and the contents, not on paths. Copies are ordered by part and label."""
    keys = [hashlib.sha256(f"{seed}:{content}".encode()).hexdigest() for content in pool.hashes]
    ties = list(zip(keys, pool.parts.tolist(), pool.classes, strict=True))
    return np.array(sorted(range(len(ties)), key=ties.__getitem__), np.int64)


def _unlabelled(pool: Pool, protocol: Protocol) -> tuple[Mask, list[str]]:
    if not pool.in_sets or protocol.keeps_unlabelled:
        return np.zeros(len(pool.names), np.bool_), []
    empty = np.array([not labels for labels in pool.classes])
    return empty, [f"{int(empty.sum())} pictures without any label are left out"] if empty.any() else []


def _seen(members: Mapping[str, Index], protocol: Protocol, seed: int, n: int) -> tuple[Mask, Mask]:
    """The masks of pictures for training, and for queries and database."""
    everything = np.ones(n, np.bool_)
    if not protocol.unseen:
        return everything, everything
    names = sorted(
        members, key=lambda name: hashlib.sha256(f"{seed}:{name}".encode("utf-8", "surrogatepass")).hexdigest()
    )
    count = round(protocol.unseen * len(names))
    if not 1 <= count < len(names):
        raise EvaluationError(f"{protocol.name} keeps some classes from training; {len(names)} classes are too few")
    unseen = np.zeros(n, np.bool_)
    for name in names[:count]:
        unseen[members[name]] = True
    return ~unseen, unseen


def _take(
    take: Take,
    pool: Pool,
    members: Mapping[str, Index],
    order: NDArray[np.int64],
    free: Mask,
    protocol: str,
    what: str,
) -> Mask:
    """Select pictures by the rule, from those that are free."""
    free = free & (pool.parts == take.part if take.part else True)
    if take.part and not free.any():
        raise EvaluationError(
            f"{protocol} takes its {what} from the part {take.part!r}; there are {sorted(set(pool.parts.tolist()))}"
        )
    taken = np.zeros(len(free), np.bool_)
    ranked = order[free[order]]
    if take.total is not None:
        if len(ranked) < take.total:
            raise EvaluationError(f"{protocol} takes {take.total} {what}; there are {len(ranked)}")
        taken[ranked[: take.total]] = True
    elif take.per_class is not None or take.share is not None:
        rank = np.argsort(order)
        for name, own in members.items():
            rows = own[free[own] & ~taken[own]]
            if not len(rows) and not free[own].any():
                continue  # a class that this split excludes
            rows = rows[np.argsort(rank[rows])]
            share = (
                max(1, round((take.share or 0) * len(rows))) if len(rows) else 0
            )  # 0 if all were drawn for other labels
            count = take.per_class if take.per_class is not None else share
            if len(rows) < count:
                raise EvaluationError(f"{protocol} takes {count} {what} of each class; {name} has {len(rows)}")
            taken[rows[:count]] = True
    elif take.tail is not None:
        rank = np.argsort(order)
        for own, count in _long_tail({name: own[free[own]] for name, own in members.items()}, take.tail):
            taken[own[np.argsort(rank[own])][:count]] = True
    else:
        taken = free
    return taken


def _long_tail(members: Mapping[str, Index], factor: float) -> Iterator[tuple[Index, int]]:
    """The pictures of each class and how many to take: ever fewer, in the order of the classes' names."""
    names = sorted((name for name, own in members.items() if len(own)), key=lambda name: name.split("/")[::-1])
    most = max((len(members[name]) for name in names), default=0)
    for place, name in enumerate(names):
        count = int(most * factor ** (-place / max(1, len(names) - 1)))
        yield members[name], max(1, min(count, len(members[name])))


def _check_counts(protocol: Protocol, counts: Mapping[str, int]) -> None:
    for what, count in counts.items():
        if what in protocol.counts and protocol.counts[what] != count:
            raise EvaluationError(
                f"{protocol.name} has {protocol.counts[what]} {what}, here are {count}: these are not the pictures it"
                " is defined on. For pictures of your own take the protocol `folder`"
            )
        if not count:
            raise EvaluationError(f"{protocol.name} finds no {what} here: are there two pictures of a class at least?")


def _warnings(manifest: Manifest, protocol: Protocol, members: Mapping[str, Index]) -> list[str]:
    asks, answers = (np.zeros(len(manifest.names), np.int64) for _ in range(2))
    asks[manifest.queries], answers[manifest.database] = 1, 1
    lost = {name: int(asks[own].sum()) for name, own in members.items() if asks[own].any() and not answers[own].any()}
    notes = [f"{name} has {n} queries, and nothing of it can be found" for name, n in list(lost.items())[:MOST_NOTES]]
    if len(lost) > MOST_NOTES:
        notes.append(f"the same holds for {len(lost) - MOST_NOTES} more classes")
    asked = {manifest.hashes[i] for i in manifest.queries.tolist()}
    twice = sum(manifest.hashes[i] in asked for i in manifest.database.tolist())
    if twice:
        notes.append(f"{twice} pictures of the database have the same content as a query")
    pinned = protocol.manifests.get(manifest.seed)
    if pinned and pinned != manifest.digest:
        notes.append(
            f"these are not the pictures that {protocol.name} with seed {manifest.seed} was drawn from before"
            f" (manifest {manifest.digest[:12]}, not {pinned[:12]}): figures are not comparable with those"
        )
    return notes
