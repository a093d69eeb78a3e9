"""Finding a picture by a piece of it with binary local features (ORB) and nothing else.

Each point of the question votes for the picture with the nearest point, if that is at most 64 of 256 bits away; most
votes come first. Questions and pictures are those of parts.py, of one seed; the search is exact.

python benchmarks/points_alone.py [--pictures N] [--every N]
"""

from __future__ import annotations

import argparse
import io
import sys
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from hashgrain.hamming import nearest, rows_of
from hashgrain.media.local_features import features_of
from parts import ABSENT, auroc, few
from pieces import TURNED, Question, asked_pictures, encoded, halves, other_pictures
from report import table, write_section

NEAR = 64
Words = NDArray[np.uint64]


def points_of(image: Image.Image) -> Words:
    return np.ascontiguousarray(features_of(np.asarray(image.convert("RGB"))).descriptors).view(np.uint64)


def named_pictures(files: dict[str, Image.Image], others: list[Image.Image], n: int) -> Iterator[tuple[str, Words]]:
    yield from ((name, points_of(Image.open(io.BytesIO(encoded(image))))) for name, image in files.items())
    for name, content in other_pictures(others, n):
        yield name, points_of(Image.open(io.BytesIO(content)))


def votes(asked: Words, rows: Sequence[object], picture_of: NDArray[np.int64], n: int) -> NDArray[np.int64]:
    """How many points of the question are nearest to one of each picture."""
    answers = nearest(asked, rows, 1, bits=256)  # type: ignore[arg-type]
    found = [picture_of[each.ids[0]] for each in answers if len(each) and each.distances[0] <= NEAR]
    return np.bincount(np.array(found, np.int64), minlength=n)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pictures", type=int, default=500)
    parser.add_argument("--every", type=int, default=12, help="ask so many-th question of each kind")
    given = parser.parse_args()
    reported, others = halves()
    files, questions = asked_pictures(0, reported)
    names, points = zip(*named_pictures(files, others, given.pictures), strict=True)
    picture_of = np.repeat(np.arange(len(names)), [len(each) for each in points])
    rows = [rows_of(np.concatenate(points), np.arange(len(picture_of)))]
    print(f"{len(names)} pictures, {len(picture_of):,} points", flush=True)
    found: dict[str, list[tuple[int, int]]] = {}  # by kind: the place of the picture, and the most votes
    asked = [each for each in few(questions, given.every) if each.kind != TURNED]
    for question in asked:
        found.setdefault(question.kind, []).append(place_of(question, rows, picture_of, names))
    most = {kind: [float(score) for _, score in places] for kind, places in found.items()}
    absent = most.pop("absent")
    lines = [
        [
            kind,
            f"{np.mean([place < 1 for place, _ in found[kind]]):.2f}",
            f"{np.mean([place < 5 for place, _ in found[kind]]):.2f}",
            f"{auroc(scores, absent):.2f}",
        ]
        for kind, scores in most.items()
    ]
    per_picture = 32 * len(picture_of) / len(names)
    text = f"""Seed 0, {given.pictures:,} other pictures, one question in {given.every} of each kind. A picture has
{len(picture_of) / len(names):.0f} points, {per_picture:,.0f} bytes. The last column
tells questions of the kind from {ABSENT} (AUROC of the most votes).

{table(["question", "found first", "among five", "AUROC"], lines)}
"""
    command = " ".join(["python benchmarks/points_alone.py", *sys.argv[1:]])
    write_section("9b-points", "Pieces by ORB alone", command, text)


def place_of(
    question: Question, rows: Sequence[object], picture_of: NDArray[np.int64], names: Sequence[str]
) -> tuple[int, int]:
    """The place of the picture that is looked for, the last if it has no votes; and the votes of the first."""
    counted = votes(points_of(question.picture), rows, picture_of, len(names))
    order = [n for n in np.argsort(-counted, kind="stable").tolist() if names[n] not in question.without]
    place = next((at for at, n in enumerate(order) if names[n] == question.target and counted[n]), len(names))
    return place, int(counted[order[0]])


if __name__ == "__main__":
    main()
