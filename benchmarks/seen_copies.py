"""Would a filter of codes know edited copies of the pictures a model learned from? It prints; nothing is kept."""

from __future__ import annotations

import io
import itertools

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from hashgrain import Encoder
from hashgrain.evaluate import pixels_for
from hashgrain.evaluate.near_copies import MILD
from hashgrain.labelled import labelled_pictures
from report import need_data

PICTURES, EVERY, EDITED = 600, 100, 60
BANDS = (16, 32, 64)  # bits that would have to be equal


def bands_equal(left: NDArray[np.uint8], right: NDArray[np.uint8], width: int) -> NDArray[np.bool_]:
    """(left, right): whether any band of so many bits is the same."""
    mine, theirs = (bits.reshape(len(bits), -1, width) for bits in (left, right))
    equal = np.zeros((len(left), len(right)), np.bool_)
    for band in range(mine.shape[1]):
        equal |= (mine[:, None, band] == theirs[None, :, band]).all(axis=2)
    return equal


def main() -> None:
    encoder = Encoder.load("small")
    stream = itertools.islice(labelled_pictures(need_data() / "tiny-imagenet-200"), 0, PICTURES * EVERY, EVERY)
    photos = [Image.open(io.BytesIO(picture.read())).convert("RGB") for picture in stream]

    def bits_of(pictures: list[Image.Image]) -> NDArray[np.uint8]:
        return encoder.codes(pixels_for(encoder, pictures)).bits()

    known = bits_of(photos)
    edits = [bits_of([change(photo) for photo in photos[:EDITED]]) for change in MILD.values()]
    apart = np.concatenate([(edit != known[:EDITED]).sum(axis=1) for edit in edits])
    median, none = np.median(apart), (apart == 0).mean()
    print(f"{len(apart)} edits: median {median:g} of {known.shape[1]} bits differ, of {none:.1%} none")
    for width in BANDS:
        found = np.mean([np.diagonal(bands_equal(edit, known[:EDITED], width)).mean() for edit in edits])
        others = bands_equal(known, known, width) & ~np.eye(len(known), dtype=np.bool_)
        print(
            f"a band of {width} bits is equal: {found:.1%} of edits, {others.any(axis=1).mean():.1%} of other pictures"
        )


if __name__ == "__main__":
    main()
