"""Labelled pictures with their outputs, features and hashes: read, hashed and encoded in one pass, in chunks."""

from __future__ import annotations

import hashlib
import itertools
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from hashgrain.codes import Codes
from hashgrain.errors import EvaluationError, ImageError
from hashgrain.evaluate.references import color_histogram, has_perceptual_hash, perceptual_hash
from hashgrain.evaluate.splitting import Pool, pool_of
from hashgrain.hashers import Features
from hashgrain.labelled import LabelledPicture
from hashgrain.models import Encoder

PICTURES_AT_ONCE = 256


@dataclass(frozen=True, eq=False)
class Described:
    pool: Pool
    outputs: Features  # (n, bits) of the model, before the sign
    features: Features
    histograms: Features | None  # of colors, if requested
    hashes: dict[int, Codes]  # perceptual hashes by width
    refused: Mapping[str, str]  # pictures that could not be opened, with the reason


def describe(
    encoder: Encoder,
    pictures: Iterable[LabelledPicture],
    *,
    hash_widths: Sequence[int] = (),
    progress: Callable[[int], None] | None = None,
) -> Described:
    """Encode every picture. `hash_widths` also requests color histograms, and perceptual hashes of these widths where
    they exist."""
    readable: list[LabelledPicture] = []
    contents: list[str] = []
    refused: dict[str, str] = {}
    columns: list[list[Features]] = [[], [], []]
    hashes: dict[int, list[Codes]] = {bits: [] for bits in hash_widths if has_perceptual_hash(bits)}
    stream = iter(pictures)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        while batch := list(itertools.islice(stream, PICTURES_AT_ONCE)):
            pixels = []
            for picture, (content, opened) in zip(batch, pool.map(partial(_open, encoder), batch), strict=True):
                if isinstance(opened, str):
                    refused[picture.name] = opened
                    continue
                readable.append(replace(picture, read=bytes))  # pictures of a table are in memory
                contents.append(content)
                pixels.append(opened)
            if pixels:
                stacked = np.stack(pixels)
                for column, part in zip(columns, encoder.outputs_and_features(stacked), strict=False):
                    column.append(part)
                if hash_widths:
                    columns[2].append(color_histogram(stacked))
                for bits, parts in hashes.items():
                    parts.append(perceptual_hash(stacked, bits))
            if progress:
                progress(len(readable) + len(refused))
    if not readable:
        raise EvaluationError(
            "no labelled pictures that could be opened" + "".join(f"; {why}" for why in list(refused.values())[:3])
        )
    outputs, features = (np.concatenate(column) for column in columns[:2])
    histograms = np.concatenate(columns[2]) if hash_widths else None
    joined = {bits: Codes.concatenate(parts) for bits, parts in hashes.items()}
    return Described(pool_of(readable, contents), outputs, features, histograms, joined, refused)


def _open(encoder: Encoder, picture: LabelledPicture) -> tuple[str, NDArray[np.uint8] | str]:
    try:
        content = picture.read()
        opened = encoder.open(content, name=picture.name)
    except ImageError as error:
        return "", str(error)
    except (OSError, ValueError) as error:  # ValueError: a NUL byte in its path
        return "", str(error)
    return hashlib.sha256(content).hexdigest(), opened.pixels
