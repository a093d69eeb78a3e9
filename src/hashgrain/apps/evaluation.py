"""A whole evaluation: from a model (or codes of another program) and labeled pictures to runs on disk, each a folder
with result.json, per_query.npz, manifest.json.gz and report.html."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from hashgrain import __version__
from hashgrain.codes import Codes, Grains
from hashgrain.errors import EvaluationError, Remedy
from hashgrain.evaluate.cases import (
    Asked,
    Case,
    References,
    level_names,
    measured_row,
    model_cases,
    reference_cases,
    signs,
)
from hashgrain.evaluate.described import Described, describe
from hashgrain.evaluate.labels import Labels
from hashgrain.evaluate.manifest import Manifest
from hashgrain.evaluate.outside import OutsideCodes
from hashgrain.evaluate.overlap import Overlap
from hashgrain.evaluate.protocols import CROPPED, Protocol, about, protocol
from hashgrain.evaluate.results import FILE, Result, Row, described_protocol, now
from hashgrain.evaluate.splitting import Pool, pool_of, read_pool, split
from hashgrain.labelled import labelled_pictures
from hashgrain.models import Encoder
from hashgrain.models.seen import Seen, seen_by
from hashgrain.report.examples import pick_examples, shown_examples
from hashgrain.report.report_page import Example, report_page
from hashgrain.types import Log

MANIFEST, PAGE = "manifest.json.gz", "report.html"
SURE = 0.5  # share of the queries: a picture that cannot be opened shifts a draw by one or two, not by half
MOST_REFUSED = 5  # pictures that could not be opened, named in a warning
OnCount = Callable[[int], None]
Known = dict[tuple[str, str, str], Row]


@dataclass(frozen=True)
class Plan:
    """What to evaluate a model on, and which reference methods to measure beside it."""

    protocols: Sequence[str] = ("folder",)
    seeds: Sequence[int] = (0,)
    manifest: Path | None = None  # a split that was drawn before, instead of protocols and seeds
    widths: Sequence[int] = ()  # none: the grains of the model
    references: References = "usual"
    asymmetric: bool = False
    label_noise: Sequence[float] = ()
    allow_seen: bool = False  # queries that the model learned from


def evaluate_model(encoder: Encoder, data: Path, plan: Plan, out: Path, log: Log, progress: OnCount) -> list[Path]:
    """Evaluate on every protocol with every seed. Finished runs in `out` are not repeated."""
    _check_plan(plan)
    widths, seen = _widths(encoder, plan), seen_by(encoder.bundle.training)
    made_by = _made_by(encoder, plan, widths)
    model = re.sub(r"[^\w.-]+|^\.+", "_", encoder.bundle.name)  # a bundle's name can be anything
    folders = [out / f"{model}-{name}-seed{seed}" for name, seed in _runs(plan)]
    _check_protocols(plan, data)
    _make_folder(out)
    _refuse_early(seen, plan, data, encoder.bundle.name)
    if all(_is_finished(folder, made_by, plan, seen) for folder in folders) and _are_of(folders, plan, data):
        log("every run is finished already; name another folder to measure again")
        return folders
    log(f"encoding the pictures of {data}")
    hash_widths = widths if plan.references == "all" else ()
    described = describe(encoder, labelled_pictures(data), hash_widths=hash_widths, progress=progress)
    known: Known = {}
    for folder, (name, manifest) in zip(folders, _manifests(plan, described.pool), strict=True):
        if _is_finished(folder, made_by, plan, seen) and Result.read(folder).manifest == manifest.digest:
            log(f"{folder} is finished already")
            continue
        if (folder / FILE).is_file():
            log(f"{folder} holds a run of other pictures, another model or other options; this one takes its place")
        log(f"{name}, seed {manifest.seed}: {_counts(manifest)}")
        at = manifest.locate(described.pool.hashes, described.pool.names, described.refused)
        overlap = Overlap.of(seen, manifest)
        if overlap and not plan.allow_seen:
            overlap.refuse_queries(encoder.bundle.name)
        rows = list(_rows(encoder, described, manifest, at, widths, plan, known, log))
        notes = [
            *(overlap.warnings() if overlap else ()),
            *_crop(encoder, manifest),
            *_refusals(described),
            *_lost(rows),
        ]
        warnings = [*manifest.warnings, *notes]
        facts = described_protocol(manifest, about(name))
        result = Result(facts, rows, warnings, now(), made_by=made_by, learned_from=overlap)
        own = [row for row in rows if row.kind == "model" and row.distance == "symmetric"][-1]
        outputs, grains = described.outputs[:, : own.bits], Grains(look=widths[-1])
        queries, database = (
            Codes.from_outputs(outputs[at[index]], grains) for index in (manifest.queries, manifest.database)
        )
        picked = pick_examples(own, manifest, queries, database)
        names = [described.pool.names[place] for place in at.tolist()]  # of today: a manifest may know others
        write_run(folder, result, manifest, shown_examples(picked, manifest, names, data))
    return folders


def evaluate_codes(
    codes: OutsideCodes,
    manifest: Manifest | None,
    name: str,
    out: Path,
    log: Log,
    *,
    widths: Sequence[int] = (),
    asymmetric: bool = False,
    data: Path | None = None,
) -> Path:
    """Score codes that another program made, in the order of the manifest, or with labels of their own; with `widths`,
    by the first so many bits of each. With a manifest and its pictures, the page shows queries that went well and
    badly."""
    wanted, labels, facts = _truths(codes, manifest)
    asked = Asked(wanted, labels)
    if asymmetric and codes.outputs is None:
        raise EvaluationError(f"{name}: asymmetric distances take real-valued queries; these are bits")
    bits = codes.queries.grains.bits
    if widths and not 1 <= min(widths) <= max(widths) <= bits:
        raise EvaluationError(
            f"{name} has codes of {bits} bits, not of all widths in {','.join(map(str, widths))}",
            remedy=Remedy(f"ask for widths of 1 to {bits}", "give_widths", bits=bits),
        )
    rows = []
    for width in sorted(set(widths)) or [bits]:
        part = codes.at(width)
        cases = [asked.by_codes(name, "codes", part.queries, part.database)]
        if asymmetric and part.outputs is not None:
            cases.append(asked.by_vectors(name, "codes", "asymmetric", part.outputs, signs(part.database), width))
        for case in cases:
            log(f"measuring {case.title}")
            rows.append(measured_row(case, facts, int(facts["seed"]), level_names(labels)))
    warnings = [*(manifest.warnings if manifest else ()), *_lost(rows)]
    result = Result(facts, rows, warnings, now(), made_by={"codes": name, "bits": sorted(set(widths)) or bits})
    examples: Sequence[Example] = ()
    if manifest and data:
        pool = read_pool(labelled_pictures(data))
        names = [pool.names[place] for place in manifest.locate(pool.hashes, pool.names).tolist()]
        widest = [row for row in rows if row.distance == "symmetric"][-1]
        picked = pick_examples(widest, manifest, part.queries, part.database)
        examples = shown_examples(picked, manifest, names, data)
    write_run(out, result, manifest, examples)
    return out


def write_run(folder: Path, result: Result, manifest: Manifest | None, examples: Sequence[Example]) -> None:
    """Write a run. The result is written last: a run that has one is complete."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / FILE).unlink(missing_ok=True)  # of the run that stood here: not beside parts of this one
    if manifest:
        manifest.write(folder / MANIFEST)
    (folder / PAGE).write_text(report_page(result.described(), examples), encoding="utf-8")
    result.write(folder)


def export_features(
    encoder: Encoder, data: Path, chosen: Protocol, seed: int, out: Path, progress: OnCount
) -> Manifest:
    """Features and labels as .npy, in the order of the manifest: for programs that make codes of their own. It is
    drawn from the pictures that can be opened."""
    _check_protocols(Plan((chosen.name,), (seed,)), data)
    _make_folder(out)
    described = describe(encoder, labelled_pictures(data), progress=progress)
    drawn = split(described.pool, chosen, seed)
    manifest = replace(drawn, warnings=[*drawn.warnings, *_refusals(described)])
    labels = _numbers(manifest)
    for split_name, index in manifest.splits.items():
        np.save(out / f"{split_name}.npy", described.features[index])
        np.save(out / f"{split_name}_labels.npy", labels[index])
    manifest.write(out / MANIFEST)
    return manifest


def _rows(
    encoder: Encoder,
    described: Described,
    manifest: Manifest,
    at: NDArray[np.int64],
    widths: Sequence[int],
    plan: Plan,
    known: Known,
    log: Log,
) -> Iterator[Row]:
    """The rows of one run. What no seed changes is measured once for the same pictures, and kept in `known`."""
    labels = manifest.labels()
    asked = Asked(labels[manifest.queries], labels[manifest.database])
    outputs = described.outputs[at[manifest.queries]], described.outputs[at[manifest.database]]
    levels = level_names(labels, [grain for grain in encoder.grains if grain in encoder.bundle.labels])

    def cases() -> Iterator[Case]:
        yield from model_cases(asked, encoder.bundle.name, outputs, encoder.grains, widths, plan.asymmetric)
        yield from reference_cases(described, at, manifest, widths, plan.references, plan.label_noise)

    for case in cases():
        place = manifest.digest, case.title, case.distance
        if case.seeded or place not in known:
            log(f"  measuring {case.title}{'' if case.distance == 'symmetric' else f', {case.distance}'}")
            known[place] = measured_row(case, manifest.rules, manifest.seed, levels)
        yield replace(known[place], seed=manifest.seed)


def _check_plan(plan: Plan) -> None:
    if not plan.seeds or not plan.protocols:
        raise EvaluationError("name a protocol and a seed at least")
    if plan.references not in get_args(References):
        raise EvaluationError(f"references {plan.references!r}: it is {' or '.join(get_args(References))}")
    if not all(0 <= share <= 1 for share in plan.label_noise):
        raise EvaluationError(f"label noise of {list(plan.label_noise)}: it is shares of the labels, from 0 to 1")


def _check_protocols(plan: Plan, data: Path) -> None:
    """Whether every protocol can be drawn, before anything is read or encoded: names stand for contents here."""
    pictures = [replace(picture, read=bytes) for picture in labelled_pictures(data)]
    pool = pool_of(pictures, [json.dumps(picture.name) for picture in pictures])  # a name need not be UTF-8
    for name in () if plan.manifest else plan.protocols:
        split(pool, protocol(name), min(plan.seeds))
    if plan.label_noise and (pool.in_sets or plan.references == "none"):
        raise EvaluationError("label noise is of the reference classifier of one class a picture: there is none here")


def _runs(plan: Plan) -> list[tuple[str, int]]:
    if plan.manifest:
        manifest = Manifest.read(plan.manifest)
        return [(str(manifest.rules["protocol"]), manifest.seed)]
    return [(name, seed) for name in plan.protocols for seed in plan.seeds]


def _manifests(plan: Plan, pool: Pool) -> Iterator[tuple[str, Manifest]]:
    if plan.manifest:
        manifest = Manifest.read(plan.manifest)
        yield str(manifest.rules["protocol"]), manifest
        return
    for name, seed in _runs(plan):
        yield name, split(pool, protocol(name), seed)


def _widths(encoder: Encoder, plan: Plan) -> list[int]:
    widths = sorted(set(plan.widths)) or list(encoder.grains.values())
    if widths[0] < 1 or widths[-1] > encoder.grains.bits:
        bits = encoder.grains.bits
        raise EvaluationError(
            f"{encoder.bundle.name} has codes of {bits} bits, not of all widths in {','.join(map(str, widths))}",
            remedy=Remedy(f"ask for widths of 1 to {bits}", "give_widths", bits=bits),
        )
    return widths


def _made_by(encoder: Encoder, plan: Plan, widths: Sequence[int]) -> dict[str, Any]:
    return {
        "model": encoder.bundle.name,
        "digest": encoder.digest,
        "bits": list(widths),
        "references": plan.references,
        "asymmetric": plan.asymmetric,
        "label noise": list(plan.label_noise),
    }


def _is_finished(folder: Path, made_by: Mapping[str, Any], plan: Plan, seen: Sequence[Seen]) -> bool:
    if not (folder / FILE).is_file():
        return False
    result = Result.read(folder)
    overlap = result.learned_from
    if bool(overlap) != bool(seen) or (overlap and overlap.queries and not plan.allow_seen):
        return False
    return result.hashgrain == __version__ and dict(result.made_by) == dict(made_by)


def _are_of(folders: Sequence[Path], plan: Plan, data: Path) -> bool:
    """Whether the runs are of these very pictures, as far as reading tells, which is quicker than encoding."""
    try:
        pool = read_pool(labelled_pictures(data))
    except EvaluationError:  # one that cannot be read was left out then, and will be now
        return False
    manifests = [manifest for _, manifest in _manifests(plan, pool)]
    return all(Result.read(f).manifest == m.digest for f, m in zip(folders, manifests, strict=True))


def _make_folder(folder: Path) -> None:
    """Make the folder before an hour of encoding, not after."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise EvaluationError(f"cannot make the folder {folder} ({error.strerror})") from None
    if not os.access(folder, os.W_OK):
        raise EvaluationError(f"the folder {folder} may not be written to")


def _counts(manifest: Manifest) -> str:
    return ", ".join(f"{len(index):,} {name}" for name, index in manifest.splits.items())


def _refuse_early(seen: Sequence[Seen], plan: Plan, data: Path, model: str) -> None:
    """Refuse seen queries before an hour of encoding, if the split is known by then, or leaves no doubt."""
    if plan.allow_seen or not seen:
        return
    try:
        pool = Pool([], [], np.empty(0, np.str_), [], False) if plan.manifest else read_pool(labelled_pictures(data))
        overlaps = [Overlap.of(seen, manifest) for _, manifest in _manifests(plan, pool)]
    except EvaluationError:  # one that cannot be read is left out below
        return
    for overlap in overlaps:
        if overlap and (plan.manifest or overlap.queries > overlap.of_queries * SURE):
            overlap.refuse_queries(model)


def _crop(encoder: Encoder, manifest: Manifest) -> list[str]:
    """A model of ours sees the whole picture, whatever the protocol crops."""
    if manifest.rules["transform"] != CROPPED:
        return []
    width, height = encoder.bundle.size
    seen = f"this model saw each whole, scaled to {width} x {height}: not the published transform"
    return [f"the protocol has pictures cropped ({CROPPED}); {seen}"]


def _refusals(described: Described) -> list[str]:
    if not described.refused:
        return []
    refusals = [why if why.startswith(name) else f"{name}: {why}" for name, why in described.refused.items()]
    examples = "; ".join(refusals[:MOST_REFUSED])
    return [f"{len(described.refused)} pictures could not be opened and are left out: {examples}"]


def _lost(rows: Sequence[Row]) -> list[str]:
    lost = max((row.without_relevant for row in rows), default=0)
    if not lost:
        return []
    return [f"{lost} queries have nothing relevant in the database: they count 0, and nothing in `hash-skip`"]


def _truths(codes: OutsideCodes, manifest: Manifest | None) -> tuple[Labels, Labels, dict[str, Any]]:
    if manifest:
        labels = manifest.labels()
        facts = described_protocol(manifest)
        for part, split_name in ((codes.queries, "queries"), (codes.database, "database")):
            if len(part) != facts[split_name]:
                raise EvaluationError(
                    f"{len(part)} codes in {split_name}.npy, but the manifest has {facts[split_name]} {split_name}:"
                    " codes stand in the order of the manifest"
                )
        return labels[manifest.queries], labels[manifest.database], facts
    if codes.wanted is None or codes.labels is None:
        raise EvaluationError(
            "codes take labels",
            remedy=Remedy(
                "name their manifest, or put queries_labels.npy and database_labels.npy beside them", "name_labels"
            ),
        )
    return codes.wanted, codes.labels, codes.facts()


def _numbers(manifest: Manifest) -> NDArray[np.int64]:
    """Labels as plain numbers: (n, depth) classes, or (n, labels) zeros and ones."""
    if not manifest.in_sets:
        return manifest.labels().ids  # type: ignore[union-attr]
    names = manifest.class_names()
    return np.array([[name in classes for name in names] for classes in manifest.classes], np.int64)
