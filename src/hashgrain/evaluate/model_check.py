"""Checks whether a model is fit for use, on some pictures.

The thresholds are the constants below, which a healthy model easily passes. They catch models that are broken (outputs
that are not numbers, bits that depend on the batch), collapsed, or have many dead bits. Recall of edited pictures is
reported without a threshold: what is enough depends on the use.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from hashgrain.codes import Codes
from hashgrain.errors import BundleError, CodesError, ImageError, QueryError
from hashgrain.evaluate.health import code_health
from hashgrain.evaluate.near_copies import near_copy_recall
from hashgrain.media.picture import Pixels
from hashgrain.models import Bundle, Encoder
from hashgrain.models.text_encoder import TextEncoder

FEWEST = 32  # distinct pictures; with fewer, bits are not judged: even a balanced bit may be constant among a few
MOST_DEAD = 0.05  # share of bits
LEAST_ENTROPY = 0.5  # mean at a grain; a bit that is on for one picture in nine has this entropy
LEAST_DISTINCT = 0.9  # distinct codes among distinct pictures, at the finest grain
NEAR_ZERO = 1e-4  # relative to the spread of outputs: rounding on another processor may change the sign of such outputs
MOST_NEAR_ZERO = 1e-3  # share of outputs; of a normal distribution, 8e-5 are so near to zero
ALONE = 32  # pictures that are also encoded one by one
PHRASES = ("a dog in the snow", "a red car", "two people at a table")


@dataclass(frozen=True)
class Finding:
    """The result of one check. `passed` is None where it is reported without a threshold."""

    name: str
    passed: bool | None
    reason: str
    figures: Mapping[str, float] = field(default_factory=dict)


def check_model(encoder: Encoder, pictures: Sequence[Image.Image]) -> list[Finding]:
    """Check a model by encoding some pictures, as varied as possible."""
    if not pictures:
        raise ImageError("check a model: there are no pictures to check it on; give one or more")
    pixels = pixels_for(encoder, pictures)
    outputs = encoder.outputs(pixels)
    if not np.isfinite(outputs).all():
        broken = int((~np.isfinite(outputs)).any(axis=1).sum())
        reason = f"{broken} of {len(pixels)} pictures give outputs that are not numbers; the model is of no use"
        return [Finding("outputs", False, reason, {"broken": broken})]
    codes = Codes.from_outputs(outputs, encoder.grains)
    _, first = np.unique(pixels.reshape(len(pixels), -1), axis=0, return_index=True)
    return [
        _near_zero(outputs),
        _repeated(encoder, pixels, codes),
        _alone(encoder, pixels, codes),
        _other_order(encoder, pixels, codes),
        _grains(encoder.bundle, codes),
        *_bits(codes[np.sort(first)]),
        _distinct(codes[np.sort(first)]),
        _near_copies(encoder.encode, [picture.convert("RGB") for picture in pictures]),
        *_text(encoder.bundle),
    ]


def pixels_for(encoder: Encoder, pictures: Sequence[Image.Image]) -> Pixels:
    """(n, height, width, 3): the pictures as the model takes them."""
    return np.stack([encoder.open(picture).pixels for picture in pictures])


def _near_zero(outputs: NDArray[np.float32]) -> Finding:
    share = float((np.abs(outputs) <= NEAR_ZERO * outputs.std()).mean())
    reason = (
        f"{share:.4%} of the outputs are so near to zero that rounding could turn their bit"
        f" (allowed: {MOST_NEAR_ZERO:.1%} within {NEAR_ZERO:g} of the spread)"
    )
    return Finding("outputs", share <= MOST_NEAR_ZERO, reason, {"share_near_zero": share})


def _repeated(encoder: Encoder, pixels: Pixels, codes: Codes) -> Finding:
    return _same_bits("repeated", "encoded once more", encoder.codes(pixels), codes)


def _alone(encoder: Encoder, pixels: Pixels, codes: Codes) -> Finding:
    alone = Codes.concatenate([encoder.codes(picture[None]) for picture in pixels[:ALONE]])
    return _same_bits("alone", "each encoded alone instead of in a batch", alone, codes[:ALONE])


def _other_order(encoder: Encoder, pixels: Pixels, codes: Codes) -> Finding:
    order = np.random.default_rng(0).permutation(len(pixels))
    return _same_bits("order", "encoded in another order", encoder.codes(pixels[order]), codes[order])


def _same_bits(name: str, how: str, codes: Codes, expected: Codes) -> Finding:
    differing = int(np.bitwise_count(codes.words ^ expected.words).sum())
    total = len(expected) * expected.grains.bits
    reason = f"{len(expected)} pictures {how}: {differing} of {total} bits differ (allowed: none)"
    return Finding(name, differing == 0, reason, {"bits_differing": differing})


def _grains(bundle: Bundle, codes: Codes) -> Finding:
    """Check that each grain is a prefix of the next, and that the bundle's codes of labels have their grain's width."""
    bits = codes.bits()
    for grain, width in bundle.grains.items():
        if not np.array_equal(codes.at(grain).bits(), bits[:, :width]):
            return Finding("grains", False, f"{grain} is not the first {width} bits of the code")
    for grain, labels in bundle.labels.items():
        try:
            prefix = bundle.grains.up_to(grain)
            for code in labels.values():
                Codes.from_bytes(np.frombuffer(bytes.fromhex(code), np.uint8)[None], prefix)
        except (CodesError, ValueError, TypeError) as error:
            return Finding("grains", False, f"the codes kept for the labels of {grain} do not fit: {error}")
    named = ", ".join(f"{grain} {width}" for grain, width in bundle.grains.items())
    return Finding("grains", True, f"{named} bits, each the beginning of the next")


def _bits(codes: Codes) -> Iterator[Finding]:
    for grain, health in code_health(codes).items():
        figures = {"dead_bits": health.dead_bits, "mean_entropy": round(health.mean_entropy, 4)}
        reason = (
            f"{health.dead_bits} of {health.bits} never change, entropy {health.mean_entropy:.3f} a bit"
            f" (allowed: {MOST_DEAD:.0%} dead, {LEAST_ENTROPY} or more)"
        )
        passed = health.dead_bits <= MOST_DEAD * health.bits and health.mean_entropy >= LEAST_ENTROPY
        yield _judged(Finding(f"bits of {grain}", passed, reason, figures), len(codes))


def _distinct(codes: Codes) -> Finding:
    health = code_health(codes)[codes.grains.finest]
    share = health.distinct / len(codes)
    reason = (
        f"{health.distinct} codes of {len(codes)} different pictures, {health.largest_bucket} share the most common one"
        f" (allowed: {LEAST_DISTINCT:.0%} or more)"
    )
    figures = {"distinct": health.distinct, "pictures": len(codes), "largest_bucket": health.largest_bucket}
    return _judged(Finding("distinct codes", share >= LEAST_DISTINCT, reason, figures), len(codes))


def _judged(finding: Finding, pictures: int) -> Finding:
    """The finding, without a verdict if there were too few pictures."""
    if pictures >= FEWEST:
        return finding
    reason = f"{finding.reason}; not judged on {pictures} different pictures, that takes {FEWEST}"
    return Finding(finding.name, None, reason, finding.figures)


def _text(bundle: Bundle) -> Iterator[Finding]:
    """Check that the text tower, if there is one, distinguishes phrases."""
    if bundle.text_tower is None:
        return
    try:
        with closing(TextEncoder(bundle)) as text_encoder:
            outputs = np.stack([text_encoder.read(phrase).outputs for phrase in PHRASES])
    except QueryError as error:  # the tokenizer's package is missing, or the tower reads another language
        yield Finding("text", None, f"not judged: {error}")
    except BundleError as error:
        yield Finding("text", False, str(error))
    else:
        distinct = len(np.unique(outputs, axis=0))
        reason = f"{distinct} different outputs of {len(PHRASES)} phrases (allowed: as many as there are phrases)"
        yield Finding("text", distinct == len(PHRASES), reason, {"distinct": distinct})


def _near_copies(encode: Callable[[list[Image.Image]], Codes], pictures: Sequence[Image.Image]) -> Finding:
    recalls = near_copy_recall(encode, pictures)
    parts = ", ".join(f"{name} {recall:.3f}" for name, recall in recalls.items())
    reason = f"how often a changed picture finds its original first, among {len(pictures)}: {parts}"
    return Finding("near copies", None, reason, {name: round(recall, 4) for name, recall in recalls.items()})
