"""Adapt a model to the classes of the user's pictures, in one command."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from hashgrain import __version__
from hashgrain.codes import Codes
from hashgrain.errors import ImageError, TrainingError
from hashgrain.evaluate import average_precision, precision, tally
from hashgrain.evaluate.near_copies import MILD
from hashgrain.learn.adapt.card import SOURCE, license_of, write_card
from hashgrain.learn.adapt.graph import adapted_graph, check_parity
from hashgrain.learn.adapt.head import AdaptedHead, fit_head
from hashgrain.learn.adapt.kept import KeptRows
from hashgrain.learn.adapt.pictures import Chosen, check_enough, choose, list_pictures, warnings_of
from hashgrain.learn.adapt.settings import NAME, Adaptation
from hashgrain.learn.adapt.words import (
    EDITED,
    EDITS_VERSION,
    Measured,
    calibrated,
    edits_of,
    queries_in_words,
    reads_words,
)
from hashgrain.learn.data.labelled import Listed
from hashgrain.learn.data.part import FILE as MANIFEST
from hashgrain.learn.data.part import TrainingPart, check_labels
from hashgrain.learn.export import prototypes
from hashgrain.learn.run import check_writable
from hashgrain.learn.training.validation import relevance
from hashgrain.models import Bundle, Encoder
from hashgrain.models.seen import KEY as SEEN
from hashgrain.models.seen import Seen
from hashgrain.models.text import KEY as TEXT
from hashgrain.types import Log

ADAPTED = "-adapted"
LEAST_VALIDATION = 40  # held-out pictures from which near copies are made: fewer do not make enough pairs


def adapt_bundle(
    recipe: Adaptation, data: Path, out: Path, run: Path, log: Log, part: TrainingPart | None = None
) -> dict[str, Any]:
    """Adapt a model to the labelled pictures of `data`, or only to those of `part`, and write the bundle to `out`.
    Features are cached in `run`."""
    check_writable(out)
    check_labels(part, True, NAME)
    base = Encoder.load(recipe.bundle)
    log(f"reading the pictures of {data}")
    listed = list_pictures(data, base.grains, part)
    if part:
        log(f"the split is written to {part.manifest.write(run / MANIFEST)}; evaluate by it too")
    check_enough(choose(listed, np.ones(len(listed), np.bool_), 0), data)  # before an hour of decoding
    cache = KeptRows(base, run / "features", log)
    refused = _compute(cache, listed, log)
    opened = np.array([content not in refused for content in listed.contents.tolist()])
    if not opened.any():
        raise TrainingError(f"no pictures to train on in {data}; {'; '.join(_refusals(listed, refused)[:3])}")
    for line in _refusals(listed, refused):
        log(f"refused: {line}")
    chosen = choose(listed, opened, recipe.held_out)
    check_enough(chosen, data)
    for line in warnings_of(chosen, listed):
        log(f"warning: {line}")
    facts = _facts(recipe, base.bundle, data, chosen, len(refused) + len(listed.refused))
    facts["data"] |= part.facts() if part else {}
    log(_plan(chosen))
    return _adapted(recipe, base, cache, listed, chosen, facts, out, log)


def _adapted(
    recipe: Adaptation,
    base: Encoder,
    cache: KeptRows,
    listed: Listed,
    chosen: Chosen,
    facts: dict[str, Any],
    out: Path,
    log: Log,
) -> dict[str, Any]:
    torch.manual_seed(recipe.seed)
    rows, grains = cache.of(chosen.contents.tolist()), base.grains
    head = fit_head(rows[~chosen.validation], chosen.levels_of(~chosen.validation), grains, recipe)
    outputs = head.outputs(rows)
    before, after = Codes.from_outputs(rows[:, -grains.bits :], grains), Codes.from_outputs(outputs, grains)
    facts["validation"] = _figures(before, after, chosen)
    whole, edits = _edited(cache, listed, chosen.contents[chosen.validation].tolist(), log)
    measured = Measured(
        after[chosen.validation],
        chosen.levels_of(chosen.validation),
        after[~chosen.validation],
        _codes(head, cache, whole),
        [_codes(head, cache, keys) for keys in edits],
    )
    calibration, reasons = calibrated(measured, grains)
    words = queries_in_words(base.bundle, before, after)
    bundle = Bundle(
        f"{base.bundle.name.removesuffix(ADAPTED)}{ADAPTED}",
        adapted_graph(base.bundle.onnx, head),
        grains,
        base.bundle.size,
        labels={g: prototypes(outputs, labels, grains.up_to(g)) for g, labels in chosen.levels.items()},
        training={**facts, SEEN: Seen.of(chosen.contents[~chosen.validation].tolist()).described()},
        fit=base.bundle.fit,
        license=license_of(base.bundle, ""),
        provenance=f"{base.bundle.name} ({base.bundle.code_digest[:12]}), adapted to other classes",
        others={"about": _about(base.bundle, facts), **words},
        calibration=calibration,
    )
    parity = check_parity(bundle, base, head)
    bundle.write(out)
    reasons += _lost(base.bundle, bundle)
    write_card(out / "card.md", base.bundle, bundle, facts, parity, reasons)
    for line in reasons:
        log(line)
    log(f"wrote {out}: {len(bundle.onnx) / 1e6:.1f} MB, {parity}")
    return facts | {"bundle": str(out), "digest": bundle.code_digest, "parity": parity}


def _refusals(listed: Listed, refused: Mapping[str, str]) -> list[str]:
    named = zip(listed.names, listed.contents.tolist(), strict=True)
    return [*listed.refused, *(f"{name}: {refused[content]}" for name, content in named if content in refused)]


def _compute(cache: KeptRows, listed: Listed, log: Log) -> dict[str, str]:
    """Compute the rows of all pictures. Returns those that could not be opened, with the reason."""
    everything = set(listed.contents.tolist())
    missing = {content for content in everything if content not in cache}
    if len(missing) < len(everything):
        log(f"features of an earlier run: {len(everything) - len(missing):,} of {len(everything):,} pictures")
    return cache.add(listed.read(missing), len(missing)) if missing else {}


def _edited(cache: KeptRows, listed: Listed, validation: Sequence[str], log: Log) -> tuple[list[str], list[list[str]]]:
    """Some held-out pictures, and for each mild edit the keys of their rows."""
    if len(validation) < LEAST_VALIDATION:
        return [], []
    wanted = {content for content in validation[:EDITED] if not all(_key(content, name) in cache for name in MILD)}

    def edited() -> Iterator[tuple[str, NDArray[np.uint8]]]:
        for content, data in listed.read(wanted):
            with contextlib.suppress(ImageError):  # a worker with other limits decoded it before
                for name, pixels in edits_of(data, cache.encoder):
                    yield _key(content, name), pixels

    if wanted:
        log(f"near copies: {len(MILD)} mild edits of {len(wanted)} pictures kept out")
        cache.add_pixels(edited(), len(wanted) * len(MILD))
    whole = [content for content in validation[:EDITED] if all(_key(content, name) in cache for name in MILD)]
    return whole, [[_key(content, name) for content in whole] for name in MILD]


def _key(content: str, edit: str) -> str:
    """The cache key of an edit. It needs no version of Pillow, which the name of the cache folder contains."""
    return hashlib.sha256(f"{EDITS_VERSION} {content} {edit}".encode()).hexdigest()


def _codes(head: AdaptedHead, cache: KeptRows, keys: Sequence[str]) -> Codes:
    grains = cache.encoder.grains
    outputs = head.outputs(cache.of(keys)) if keys else np.empty((0, grains.bits), np.float32)
    return Codes.from_outputs(outputs, grains)


def _figures(before: Codes, after: Codes, chosen: Chosen) -> dict[str, float]:
    """P@1 and mAP of the held-out pictures as queries, with the training pictures as the database."""
    figures: dict[str, float] = {}
    if not chosen.validation.any():
        return figures
    for grain, labels in chosen.levels.items():
        truth = relevance(labels)
        for name, codes in (("before", before.at(grain)), ("after", after.at(grain))):
            counts = tally(
                codes[chosen.validation], codes[~chosen.validation], truth[chosen.validation], truth[~chosen.validation]
            )
            figures[f"{grain} P@1 {name}"] = round(float(precision(counts, 1).mean()), 4)
            figures[f"{grain} mAP {name}"] = round(float(average_precision(counts).mean()), 4)
    return figures


def _facts(recipe: Adaptation, base: Bundle, data: Path, chosen: Chosen, refused: int) -> dict[str, Any]:
    return {
        "recipe": {"name": NAME, **dataclasses.asdict(recipe)},
        "data": {
            "folder": data.name,
            "pictures": int((~chosen.validation).sum()),
            "held_out": int(chosen.validation.sum()),
            "refused": refused,
            "classes": {grain: len(labels.names) for grain, labels in chosen.levels.items()},
        },
        "backbone": {
            "name": base.name,
            "digest": base.code_digest,
            "license": license_of(base),
            "training": dict(base.training),
            **({SOURCE: base.others[SOURCE]} if SOURCE in base.others else {}),
        },
        "hashgrain": __version__,
        "torch": torch.__version__.partition("+")[0],
    }


def _plan(chosen: Chosen) -> str:
    counts = ", ".join(f"{len(labels.names)} {grain}s" for grain, labels in chosen.levels.items())
    kept_out = int(chosen.validation.sum())
    split = f"{kept_out:,} are kept out" if kept_out else "too few to keep any out: no figures, and no words"
    return f"adapting to {len(chosen) - kept_out:,} pictures ({counts}); {split}"


def _lost(base: Bundle, made: Bundle) -> list[str]:
    """What the base model could do and this one cannot."""
    if not reads_words(base) or TEXT in made.others:
        return []
    return [f"{base.name!r} reads phrases in a way that cannot be adapted: this model is not searched by words"]


def _about(base: Bundle, facts: Mapping[str, Any]) -> dict[str, Any]:
    about = base.others.get("about")
    new = dict(about) if isinstance(about, Mapping) else {}
    classes = ", ".join(f"{count} {grain}s" for grain, count in facts["data"]["classes"].items())
    new.pop("quality", None)  # it described other bits
    return {**new, "summary": f"{base.name}, adapted to {classes}", "license": license_of(base)}
