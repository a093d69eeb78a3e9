"""What the words and probabilities of the model in the package are worth, on pictures that nothing was fitted on.

Whole pictures: pairs of `val` of Tiny ImageNet with the same label and with different ones; for `look`, photographs of
the reporting half with mild edits of them, against pairs of different pictures. Parts: crops of photographs of the
reporting half, each edited a little, and the nearest part of each picture. Words: a library of all photographs with
parts, asked as anybody would with 13 edits of 40 photographs of the reporting half.

python benchmarks/calibration.py
"""

from __future__ import annotations

import tempfile
from collections import Counter
from pathlib import Path

import numpy as np

from hashgrain import Codes, Library
from hashgrain.evaluate.near_copies import CHANGES, MILD
from hashgrain.learn.photo.calibrate import by_labels, distances_between, every_pair
from hashgrain.learn.photo.make import LABELS, STRANGERS
from hashgrain.learn.photo.parts import part_pairs
from hashgrain.learn.photo.pictures import Shot, photographs, stamps, tiny_imagenet
from hashgrain.models import Encoder
from hashgrain.models.probabilities import Pairs, calibration_error
from hashgrain.search.calibration import calibrations_of
from report import need_data, table, write_section

ASKED = 40
WORDS = ("same", "near", "related", "far")


def whole_pairs(encoder: Encoder, reported: list[Shot], val: list[Shot]) -> dict[str, Pairs]:
    codes = encoder.encode(shot.content for shot in val)
    labels = {grain: np.array([str(shot.facts[fact]) for shot in val]) for grain, fact in LABELS.items()}
    pairs = {grain: by_labels({"val": codes}, {"val": of_grain}, grain, 0) for grain, of_grain in labels.items()}
    sharp = encoder.encode(shot.content for shot in reported)
    edited = [encoder.encode(change(shot.open()) for shot in reported) for change in MILD.values()]
    together = np.concatenate([distances_between(sharp, each) for each in edited])
    mixed = Codes(np.concatenate([sharp.words, codes.words]), codes.grains)
    return {"look": Pairs(together, np.concatenate([every_pair(sharp), every_pair(mixed)]))} | pairs


def error(probabilities: tuple[float, ...], pairs: Pairs) -> float:
    by_distance = np.array(probabilities)
    return calibration_error(by_distance[pairs.together], by_distance[pairs.apart])


def words_said(encoder: Encoder, every: list[Shot], reported: list[Shot]) -> dict[str, Counter[str]]:
    """By edit, how often each word is said of the original that was edited."""
    said: dict[str, Counter[str]] = {name: Counter() for name in CHANGES}
    with tempfile.TemporaryDirectory() as named:
        folder = Path(named) / "pictures"
        folder.mkdir()
        for shot in every:
            (folder / f"{shot.sha256}.jpg").write_bytes(shot.content)
        with Library.create(Path(named) / "library.hg", encoder) as library:
            library.add(folder)
            for name, change in CHANGES.items():
                for shot in reported[:ASKED]:
                    hits = library.search(change(shot.open()), k=len(library))
                    said[name][next(hit.word for hit in hits if Path(hit.path).stem == shot.sha256)] += 1
    return said


def main() -> None:
    data, encoder = need_data(), Encoder.load("photo")
    every = photographs(data)
    reported = [shot for shot in every if shot.reported]
    val = tiny_imagenet(data, "val")
    others = [*(shot for shot in stamps(data) if shot.reported), *val[:STRANGERS]]
    wholes, parts = whole_pairs(encoder, reported, val), part_pairs(encoder, reported, others)
    rows = []
    for grain in encoder.grains:
        whole, part = calibrations_of(encoder.bundle, grain)
        assert whole is not None
        assert part is not None
        for what, pairs, fitted in (("whole", wholes[grain], whole), ("part", parts[grain], part)):
            counts = f"{len(pairs.together):,} / {len(pairs.apart):,}"
            rows.append([grain, what, counts, f"{error(fitted.probabilities, pairs):.3f}"])
    said = words_said(encoder, every, reported)
    edits = [[name, *(of_edit[word] for word in WORDS)] for name, of_edit in said.items()]
    asked = ASKED * len(said)
    loose = sum(of_edit["related"] + of_edit["far"] for of_edit in said.values())
    text = (
        f"Expected calibration error in ten bins, where half of all pairs belong together; pictures that nothing was"
        f" fitted on.\n\n{table(['grain', 'of', 'pairs together / apart', 'error'], rows)}\n\n"
        f"Words said of the original, among {len(every)} photographs with parts, for 13 edits of {ASKED} photographs:"
        f" `related` or `far` in **{loose / asked:.3f}** of {asked}.\n\n{table(['edit', *WORDS], edits)}\n"
    )
    write_section("5h-calibration", "What words and probabilities are worth", "python benchmarks/calibration.py", text)


if __name__ == "__main__":
    main()
