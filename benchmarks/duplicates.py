"""Finding copies: thirteen edits of photographs among other pictures, pair by pair, beside perceptual hashes.

Each photograph comes with its 13 edits of `hashgrain.evaluate.near_copies`, ten of them mild. All photographs are of
different things, so a pair is right if both come from one photograph. The other pictures are of Tiny ImageNet (64
pixels wide, since there are not as many sharp ones here), its `val` and the 50 of each class that nothing was fitted
on. They may hold copies of their own, which count as wrong.

python benchmarks/duplicates.py [--photographs N] [--others N] [--model photo]
The files and the library are kept in benchmarks/runs/duplicates; what was interrupted resumes.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from hashgrain import Codes, Library
from hashgrain.apps.duplicates import Word, find_duplicates
from hashgrain.apps.duplicates.thresholds import distance_of
from hashgrain.evaluate.near_copies import CHANGES, MILD
from hashgrain.hamming import join, rows_of
from hashgrain.learn.photo.pictures import photographs, tiny_imagenet
from references import perceptual_codes
from report import HERE, need_data, table, write_section

RUNS = HERE / "runs" / "duplicates"
EDGE = 1000  # pixels of a photograph, at most
# Distances of a perceptual hash that programs for finding duplicates offer, and their share of 256 bits.
USUAL = {8: (0, 4, 8, 10), 16: (0, 16, 32, 40)}
NAMES = ["original", *CHANGES]
WORDS: tuple[Word, ...] = ("same", "near")


def photograph_files(count: int) -> Iterator[tuple[str, Image.Image]]:
    """Each photograph and its edits; photographs of the reporting half come first."""
    shots = sorted(photographs(need_data()), key=lambda shot: (not shot.reported, shot.sha256))
    for number, shot in enumerate(shots[:count]):
        image = shot.open()
        image.thumbnail((EDGE, EDGE))
        yield f"{number:04}-00.jpg", image
        for edit, change in enumerate(CHANGES.values(), 1):
            yield f"{number:04}-{edit:02}.jpg", change(image)


def filled(folder: Path, files: Iterator[tuple[str, Image.Image]]) -> Path:
    if not (folder / "done").exists():
        folder.mkdir(parents=True, exist_ok=True)
        for name, image in files:
            image.convert("RGB").save(folder / name, quality=90)
        (folder / "done").touch()
    return folder


def other_files(count: int) -> Iterator[tuple[str, Image.Image]]:
    shots = [*tiny_imagenet(need_data(), "val"), *tiny_imagenet(need_data(), "kept")]
    for number, shot in enumerate(shots[:count]):
        yield f"{number:06}.jpg", shot.open()


class Truth:
    """From which photograph each file is, and by which edit; -1 for other pictures."""

    def __init__(self, paths: Sequence[str]) -> None:
        names = [Path(path).stem.partition("-") for path in paths]
        self.photograph = np.array([int(name) if dash else -1 for name, dash, _ in names])
        self.edit = np.array([int(edit) if dash else -1 for _, dash, edit in names])
        self.mild = np.array([edit <= 0 or NAMES[edit] in MILD for edit in self.edit.tolist()])

    def right(self, one: NDArray[np.int64], other: NDArray[np.int64]) -> NDArray[np.bool_]:
        return (self.photograph[one] == self.photograph[other]) & (self.photograph[one] >= 0)

    def pairs(self, *, mild: bool) -> int:
        taken = (self.photograph >= 0) & (self.mild | (not mild))
        counts = np.bincount(self.photograph[taken])
        return int((counts * (counts - 1) // 2).sum())


def pair_row(name: str, codes: Codes, within: int, truth: Truth) -> list[str]:
    """Precision and recall of all pairs up to a distance; recall also of pairs of mild edits."""
    found = right = mild = 0
    started = time.perf_counter()
    for pairs in join([rows_of(codes.words)], within, bits=codes.grains.bits):
        correct = truth.right(pairs.first, pairs.second)
        found, right = found + len(pairs), right + int(correct.sum())
        mild += int((correct & truth.mild[pairs.first] & truth.mild[pairs.second]).sum())
    seconds = time.perf_counter() - started
    precision = f"{right / found:.4f}" if found else "no pairs"
    recalls = (right / truth.pairs(mild=False), mild / truth.pairs(mild=True))
    return [name, str(within), f"{found:,}", precision, *(f"{each:.3f}" for each in recalls), f"{seconds:.2f}"]


def group_row(library: Library, word: Word, truth: Truth, place_of: dict[int, int], *, pixels: bool) -> list[str]:
    """What the app does: of the copies that it would act upon, how many are right; how many of the edits it finds."""
    started = time.perf_counter()
    found = find_duplicates(library, word=word, pixels=pixels)
    seconds = time.perf_counter() - started
    pairs = [(place_of[copy.item.id], place_of[group.kept.id]) for group in found.groups for copy in group.copies]
    one, other = np.array(pairs, np.int64).reshape(-1, 2).T
    right = truth.right(one, other)
    photos = int((truth.edit == 0).sum())
    mild = int((right & truth.mild[one] & truth.mild[other]).sum())
    precision = f"{right.mean():.4f}" if len(right) else "no copies"
    shares = (int(right.sum()) / (photos * len(CHANGES)), mild / (photos * len(MILD)))
    name = f"{word}, pixels compared" if pixels else f"{word}, by codes"
    counts = [name, str(found.within), f"{len(pairs):,}", precision]
    return [*counts, *(f"{share:.3f}" for share in shares), f"{seconds:.2f}"]


def edit_rows(truth: Truth, methods: dict[str, tuple[Codes, int]]) -> list[list[str]]:
    """For each edit the share of photographs whose edited picture is a pair with the original."""
    original = {int(p): place for place, (p, e) in enumerate(zip(truth.photograph, truth.edit, strict=True)) if e == 0}
    rows = []
    for edit, name in enumerate(CHANGES, 1):
        places = np.flatnonzero(truth.edit == edit)
        origins = np.array([original[int(truth.photograph[place])] for place in places])
        shares = [
            float((np.bitwise_count(codes.words[places] ^ codes.words[origins]).sum(axis=1) <= within).mean())
            for codes, within in methods.values()
        ]
        rows.append([name if name in MILD else f"{name} (not mild)", *(f"{share:.3f}" for share in shares)])
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--photographs", type=int, default=160)
    parser.add_argument("--others", type=int, default=20_000)
    parser.add_argument("--model", default="photo")
    given = parser.parse_args()
    folders = [
        filled(RUNS / f"photographs-{given.photographs}", photograph_files(given.photographs)),
        filled(RUNS / f"others-{given.others}", other_files(given.others)),
    ]
    home = RUNS / f"{given.model}-{given.photographs}-{given.others}.hg"
    with Library.open_or_create(home, given.model) as library:
        library.add(folders, parts=False)
        text = figures(library)
    title, command = "Duplicates", " ".join(["python benchmarks/duplicates.py", *sys.argv[1:]])
    head = (
        f"{given.photographs} photographs of at most {EDGE} pixels, each with {len(CHANGES)} edits, {len(MILD)} of them"
        f" mild, among {given.others:,} other pictures of 64 pixels (Tiny ImageNet; its own copies count as wrong).\n\n"
    )
    write_section("5h-duplicates", title, command, head + text)


def figures(library: Library) -> str:
    codes, items = library.codes()
    truth, place_of = Truth([item.path for item in items]), {item.id: place for place, item in enumerate(items)}
    hashed = {edge: hashes([item.path for item in items], edge) for edge in USUAL}
    finest = library.grains.finest
    words = {word: distance_of(word, library.bundle, finest) for word in WORDS}
    rows = [
        pair_row(f"{finest}, {codes.grains.bits} bits, {word}", codes, within, truth) for word, within in words.items()
    ]
    for edge, distances in USUAL.items():
        rows += [pair_row(f"perceptual hash, {edge * edge} bits", hashed[edge], within, truth) for within in distances]
    columns = ["pairs by", "up to", "found", "precision", "recall", "recall, mild edits", "s"]
    kinds: list[tuple[Word, bool]] = [("same", True), ("same", False), ("near", False)]
    groups = [group_row(library, word, truth, place_of, pixels=pixels) for word, pixels in kinds]
    group_columns = ["word", "up to", "copies", "right", "found", "found, mild edits", "s"]
    methods = {f"{finest}, {word}": (codes, within) for word, within in words.items()}
    methods |= {f"perceptual hash {edge * edge}, {USUAL[edge][2]}": (hashed[edge], USUAL[edge][2]) for edge in USUAL}
    pairs = "All pairs, each photograph and its edits with one another:"
    grouped = """Groups as `hashgrain duplicates` makes them, and as codes alone would: a copy is right if it is of the
same photograph as the one that is kept. The best of each is kept, so 13 others can be found, 10 of them mild:"""
    edits = "Edited photographs within the distance of their original:"
    tables = (table(columns, rows), table(group_columns, groups), table(["edit", *methods], edit_rows(truth, methods)))
    return "\n\n".join(part for pair in zip((pairs, grouped, edits), tables, strict=True) for part in pair)


def hashes(paths: Sequence[str], edge: int) -> Codes:
    """Perceptual hashes of files, a few pictures in memory at a time."""
    parts = []
    for start in range(0, len(paths), 256):
        images = [Image.open(path).convert("RGB") for path in paths[start : start + 256]]
        parts.append(perceptual_codes(images, edge))
    return Codes.concatenate(parts)


if __name__ == "__main__":
    main()
