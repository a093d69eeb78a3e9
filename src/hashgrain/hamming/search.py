"""Nearest and within: by whatever path is expected to be quickest, with the same answer on every one."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import numpy as np

from hashgrain.codes import Words
from hashgrain.hamming import plain
from hashgrain.hamming.index import Index, covering, rest_of
from hashgrain.hamming.native import compiled, scan, search_index
from hashgrain.hamming.neighbours import Neighbours, merge
from hashgrain.hamming.pool import check_threads, run
from hashgrain.hamming.question import Question, Weights, ask_nearest, ask_within
from hashgrain.hamming.rows import Rows, pieces
from hashgrain.hamming.speed import scan_ns

GROUP = 64  # queries that share one pass over the codes
MOST_KEPT = 1 << 22  # neighbours kept by the queries of a group: with their spare room, 300 MB
WORTH_SPLITTING = 1 << 19  # words of codes; with fewer, starting another thread costs more than it saves


def nearest(
    queries: Words,
    parts: Sequence[Rows],
    k: int,
    *,
    bits: int,
    weights: Weights | None = None,
    radius: int | None = None,
    indexes: Sequence[Index] = (),
    threads: int | None = None,
) -> list[Neighbours]:
    """For each query the k rows nearest over the first `bits` bits, exactly; fewer where there are fewer.

    `weights` makes some bits count more than others: (up to which bit, what each counts), ending at `bits`. Rows
    farther than `radius` are not wanted; it does not go with weights.
    """
    question = ask_nearest(queries, parts, k, bits, weights)
    if radius is not None and weights is None:
        question = replace(question, radius=min(question.radius, int(radius)))
    return _search(question, parts, indexes, check_threads(threads))


def within(
    queries: Words,
    parts: Sequence[Rows],
    radius: int,
    *,
    bits: int,
    cap: int | None = None,
    indexes: Sequence[Index] = (),
    threads: int | None = None,
) -> list[Neighbours]:
    """For each query all rows at most `radius` away: the `cap` nearest of them, and how many there are."""
    return _search(ask_within(queries, parts, radius, bits, cap), parts, indexes, check_threads(threads))


def _search(question: Question, parts: Sequence[Rows], indexes: Sequence[Index], threads: int) -> list[Neighbours]:
    if not len(question.queries):
        return []
    if not compiled():
        return plain.scan(question, parts)
    usable = covering(question, parts, indexes)
    if not usable:
        return _scan(question, parts, threads)
    return _by_index(question, parts, usable, threads)


def _scan(question: Question, parts: Sequence[Rows], threads: int) -> list[Neighbours]:
    """Threads divide the queries and, if these are few, the rows."""
    groups = _groups(question, threads)
    words = sum(len(part.ids) for part in parts) * ((question.bits + 63) // 64)
    shares = max(1, min(threads // len(groups), words // WORTH_SPLITTING))
    cut = list(pieces(parts, shares)) if shares > 1 else [list(parts)]
    tasks = [partial(scan, group, share) for group in groups for share in cut or [[]]]
    answers = run(tasks, threads)
    step = len(cut) or 1
    shared = (answers[start : start + step] for start in range(0, len(answers), step))
    return [
        merge(each, question.k or None, counted=question.counting)
        for group in shared
        for each in zip(*group, strict=True)
    ]


def _by_index(question: Question, parts: Sequence[Rows], indexes: Sequence[Index], threads: int) -> list[Neighbours]:
    """Search by index or by scan, whichever has been faster for similar questions."""
    groups = _groups(question, threads)
    cost, timings = scan_ns(question, parts, threads), indexes[0].timings
    alone = len(question.queries) == 1
    masked = any(part.mask is not None for part in parts)
    asked_at_once = len(groups[0].queries).bit_length()
    kind = (question.bits, question.k.bit_length(), question.radius, asked_at_once, threads, masked)
    way = timings.way(kind, cost, can_share=alone and threads > 1)
    begun = time.perf_counter_ns()
    if way == "scan":
        answers = _scan(question, parts, threads)
    else:
        answers = _probe(question, parts, indexes, threads, cost, shares=threads if way == "shared" else 1)
    timings.record(way, kind, (time.perf_counter_ns() - begun) * min(threads, len(groups)) / len(answers))
    return answers


def _probe(
    question: Question, parts: Sequence[Rows], indexes: Sequence[Index], threads: int, cost: float, shares: int
) -> list[Neighbours]:
    """Search by index; queries for which the index expects a scan to be faster are scanned."""
    covered = sum(index.n for index in indexes) / max(1, sum(len(part.ids) for part in parts))
    described, path = [index.described() for index in indexes], indexes[0].path
    rests: list[list[Rows]] = [[] for _ in range(shares)]
    for i, some in enumerate(pieces(rest_of(parts, indexes), shares)):
        rests[i % shares] += some
    limits = np.full(len(question.queries), question.radius) if shares > 1 else None
    tasks = [
        partial(search_index, group, parts, rests[share], path, described, cost * covered, None, limits, share, shares)
        for group in _groups(question, threads)
        for share in range(shares)
    ]
    done = run(tasks, threads)
    by_group = (done[start : start + shares] for start in range(0, len(done), shares))
    answers = [_together(each, question) for group in by_group for each in zip(*group, strict=True)]
    missing = [i for i, answer in enumerate(answers) if answer is None]
    if missing:
        again = replace(question, queries=np.ascontiguousarray(question.queries[missing]))
        for i, answer in zip(missing, _scan(again, parts, threads), strict=True):
            answers[i] = answer
    return [answer for answer in answers if answer is not None]


def _together(parts: Sequence[Neighbours | None], question: Question) -> Neighbours | None:
    """Merge the shares of one answer; None if one of them gave up."""
    whole = [part for part in parts if part is not None]
    return merge(whole, question.k or None, counted=question.counting) if len(whole) == len(parts) else None


def _groups(question: Question, threads: int) -> list[Question]:
    n = len(question.queries)
    size = max(1, min(GROUP, MOST_KEPT // max(1, question.k), -(-n // threads)))
    return [replace(question, queries=question.queries[start : start + size]) for start in range(0, n, size)]
