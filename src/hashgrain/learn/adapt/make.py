"""One command from a person's own pictures to a model that knows their classes."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
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

Say = Callable[[str], None]
ADAPTED = "-adapted"
LEAST_HELD = 40  # pictures kept out, of which near copies are made: fewer make no pairs enough


def adapt_bundle(
    recipe: Adaptation, data: Path, out: Path, run: Path, say: Say, part: TrainingPart | None = None
) -> dict[str, Any]:
    """Adapt a model to the labelled pictures of `data`, of `part` alone where there is one, and write the bundle to
    `out`. Features are kept in `run`."""
    check_writable(out)
    check_labels(part, True, NAME)
    base = Encoder.load(recipe.bundle)
    say(f"reading the pictures of {data}")
    listed = list_pictures(data, base.grains, part)
    if part:
        say(f"the split is written to {part.manifest.write(run / MANIFEST)}, for hashgrain evaluate --manifest")
    check_enough(choose(listed, np.ones(len(listed), np.bool_), 0), data)  # before an hour of decoding
    kept = KeptRows(base, run / "features", say)
    refused = _compute(kept, listed, say)
    opened = np.array([content not in refused for content in listed.contents.tolist()])
    if not opened.any():
        raise TrainingError(f"no pictures to train on in {data}; {'; '.join(_refusals(listed, refused)[:3])}")
    for line in _refusals(listed, refused):
        say(f"refused: {line}")
    chosen = choose(listed, opened, recipe.held_out)
    check_enough(chosen, data)
    for line in warnings_of(chosen, listed):
        say(f"warning: {line}")
    facts = _facts(recipe, base.bundle, data, chosen, len(refused) + len(listed.refused))
    facts["data"] |= part.facts() if part else {}
    say(_plan(chosen))
    return _adapted(recipe, base, kept, listed, chosen, facts, out, say)


def _adapted(
    recipe: Adaptation,
    base: Encoder,
    kept: KeptRows,
    listed: Listed,
    chosen: Chosen,
    facts: dict[str, Any],
    out: Path,
    say: Say,
) -> dict[str, Any]:
    torch.manual_seed(recipe.seed)
    rows, grains = kept.of(chosen.contents.tolist()), base.grains
    head = fit_head(rows[~chosen.held], chosen.levels_of(~chosen.held), grains, recipe)
    outputs = head.outputs(rows)
    before, after = Codes.from_outputs(rows[:, -grains.bits :], grains), Codes.from_outputs(outputs, grains)
    facts["validation"] = _figures(before, after, chosen)
    whole, edits = _edited(kept, listed, chosen.contents[chosen.held].tolist(), say)
    measured = Measured(
        after[chosen.held],
        chosen.levels_of(chosen.held),
        after[~chosen.held],
        _codes(head, kept, whole),
        [_codes(head, kept, keys) for keys in edits],
    )
    calibration, reasons = calibrated(measured, grains)
    words = queries_in_words(base.bundle, before, after)
    bundle = Bundle(
        f"{base.bundle.name.removesuffix(ADAPTED)}{ADAPTED}",
        adapted_graph(base.bundle.onnx, head),
        grains,
        base.bundle.size,
        labels={g: prototypes(outputs, labels, grains.up_to(g)) for g, labels in chosen.levels.items()},
        training={**facts, SEEN: Seen.of(chosen.contents[~chosen.held].tolist()).described()},
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
        say(line)
    say(f"wrote {out}: {len(bundle.onnx) / 1e6:.1f} MB, {parity}")
    return facts | {"bundle": str(out), "digest": bundle.code_digest, "parity": parity}


def _refusals(listed: Listed, refused: Mapping[str, str]) -> list[str]:
    named = zip(listed.names, listed.contents.tolist(), strict=True)
    return [*listed.refused, *(f"{name}: {refused[content]}" for name, content in named if content in refused)]


def _compute(kept: KeptRows, listed: Listed, say: Say) -> dict[str, str]:
    """The rows of all pictures; returns those that could not be opened, and why."""
    everything = set(listed.contents.tolist())
    missing = {content for content in everything if content not in kept}
    if len(missing) < len(everything):
        say(f"features of an earlier run: {len(everything) - len(missing):,} of {len(everything):,} pictures")
    return kept.add(listed.read(missing), len(missing)) if missing else {}


def _edited(kept: KeptRows, listed: Listed, held: Sequence[str], say: Say) -> tuple[list[str], list[list[str]]]:
    """Some pictures kept out, and for each mild edit the keys of their rows."""
    if len(held) < LEAST_HELD:
        return [], []
    wanted = {content for content in held[:EDITED] if not all(_key(content, name) in kept for name in MILD)}

    def edited() -> Iterator[tuple[str, NDArray[np.uint8]]]:
        for content, data in listed.read(wanted):
            with contextlib.suppress(ImageError):  # it was decoded before, by a process with other limits
                for name, pixels in edits_of(data, kept.encoder):
                    yield _key(content, name), pixels

    if wanted:
        say(f"near copies: {len(MILD)} mild edits of {len(wanted)} pictures kept out")
        kept.add_pixels(edited(), len(wanted) * len(MILD))
    whole = [content for content in held[:EDITED] if all(_key(content, name) in kept for name in MILD)]
    return whole, [[_key(content, name) for content in whole] for name in MILD]


def _key(content: str, edit: str) -> str:
    """The version of Pillow is part of the name of the folder that rows are kept in."""
    return hashlib.sha256(f"{EDITS_VERSION} {content} {edit}".encode()).hexdigest()


def _codes(head: AdaptedHead, kept: KeptRows, keys: Sequence[str]) -> Codes:
    grains = kept.encoder.grains
    outputs = head.outputs(kept.of(keys)) if keys else np.empty((0, grains.bits), np.float32)
    return Codes.from_outputs(outputs, grains)


def _figures(before: Codes, after: Codes, chosen: Chosen) -> dict[str, float]:
    """Pictures kept out, asked against those that were learned from: is the nearest of the same class, and mAP."""
    found: dict[str, float] = {}
    if not chosen.held.any():
        return found
    for grain, labels in chosen.levels.items():
        truth = relevance(labels)
        for name, codes in (("before", before.at(grain)), ("after", after.at(grain))):
            counts = tally(codes[chosen.held], codes[~chosen.held], truth[chosen.held], truth[~chosen.held])
            found[f"{grain} P@1 {name}"] = round(float(precision(counts, 1).mean()), 4)
            found[f"{grain} mAP {name}"] = round(float(average_precision(counts).mean()), 4)
    return found


def _facts(recipe: Adaptation, base: Bundle, data: Path, chosen: Chosen, refused: int) -> dict[str, Any]:
    return {
        "recipe": {"name": NAME, **dataclasses.asdict(recipe)},
        "data": {
            "folder": data.name,
            "pictures": int((~chosen.held).sum()),
            "held_out": int(chosen.held.sum()),
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
    kept_out = int(chosen.held.sum())
    told = f"{kept_out:,} are kept out" if kept_out else "too few to keep any out: no figures, and no words"
    return f"adapting to {len(chosen) - kept_out:,} pictures ({counts}); {told}"


def _lost(base: Bundle, made: Bundle) -> list[str]:
    """What the model before reads and this one does not."""
    if not reads_words(base) or TEXT in made.others:
        return []
    return [f"{base.name!r} reads phrases in a way that cannot be adapted: this model is not searched by words"]


def _about(base: Bundle, facts: Mapping[str, Any]) -> dict[str, Any]:
    about = base.others.get("about")
    told = dict(about) if isinstance(about, Mapping) else {}
    classes = ", ".join(f"{count} {grain}s" for grain, count in facts["data"]["classes"].items())
    told.pop("quality", None)  # which was of other bits
    return {**told, "summary": f"{base.name}, adapted to {classes}", "license": license_of(base)}
