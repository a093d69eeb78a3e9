"""Finding a picture by a piece of it: planted objects, mosaics, crops, absent queries, among 20,000 pictures.

python benchmarks/parts.py [--pictures N] [--details low,normal,high] [--seeds 0,1,2] [--closer N]
With --closer, every N-th question of each kind, of the first seed, is also asked with closer boxes, with verified hits,
and as if the very piece that is looked for had a code. Made pictures, libraries and figures are kept in
benchmarks/runs/parts; what was interrupted resumes.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from details import cost
from hashgrain import Hit, Library, Part
from hashgrain.models.detail import detail_named
from pieces import TURNED, Box, Question, asked_pictures, encoded, filled, halves, other_pictures
from report import HERE, table, write_section

RUNS = HERE / "runs" / "parts"
PICTURES = 20_000
ABSENT = "questions whose picture is not there"
Ask = Callable[[Question], list[Hit]]


def library_of_others(shared: Path, detail: str | None) -> Path:
    """The library of the other pictures; adding is resumed where it was stopped."""
    made = shared.with_name(f"{shared.name}-{detail or 'whole'}.hg")
    done = shared / f"{detail or 'whole'}.done"
    if not done.exists():
        with Library.open_or_create(made, "photo") as library:
            library.add(str(shared / "*.jpg"), parts=detail is not None, detail=detail)
        done.touch()
    return made


def library_of(seed_folder: Path, pictures: Path, others: Path, detail: str | None) -> Path:
    """The same with the pictures of a seed."""
    made = seed_folder / f"{others.stem}.hg"
    if not (seed_folder / f"{others.stem}.done").exists():
        shutil.rmtree(made, ignore_errors=True)
        shutil.copytree(others, made)
        with Library.open(made, "w") as library:
            library.add(str(pictures / "*.jpg"), parts=detail is not None)
        (seed_folder / f"{others.stem}.done").touch()
    return made


def overlap(one: Box, other: Box) -> float:
    """Intersection over union."""
    width = max(0.0, min(one[2], other[2]) - max(one[0], other[0]))
    height = max(0.0, min(one[3], other[3]) - max(one[1], other[1]))
    area = sum((box[2] - box[0]) * (box[3] - box[1]) for box in (one, other))
    return width * height / (area - width * height)


def figures(ask: Ask, questions: Sequence[Question]) -> dict[str, dict[str, float]]:
    """By kind of question: found first, among five, IoU >= .5 of those, mean IoU, and the AUROC of the score between it
    and absent ones; last, that between all of them, but for turned ones, and absent ones."""
    result: dict[str, dict[str, float]] = {}
    scores: dict[str, list[float]] = {}
    for kind in dict.fromkeys(question.kind for question in questions):
        firsts, fives, overlaps = [], [], []
        for question in (each for each in questions if each.kind == kind):
            hits = [hit for hit in ask(question) if Path(hit.path).name not in question.without]
            scores.setdefault(kind, []).append(hits[0].score - hits[0].distance / 1e4)
            names = [Path(hit.path).name for hit in hits]
            rank = names.index(question.target) if question.target in names else len(names)
            firsts.append(rank < 1)
            fives.append(rank < 5)
            if rank < 5 and question.box is not None:
                overlaps.append(overlap(box_of(hits[rank]), question.box))
        if kind != "absent":
            located = np.mean([each >= 0.5 for each in overlaps]) if overlaps else np.nan
            result[kind] = {"r1": float(np.mean(firsts)), "r5": float(np.mean(fives)), "loc": float(located)}
            result[kind]["iou"] = float(np.mean(overlaps)) if overlaps else np.nan
    absent = scores.pop("absent")
    for kind, there in scores.items():
        result[kind]["auroc"] = auroc(there, absent)
    every = [score for kind, there in scores.items() if not kind.startswith("turned") for score in there]
    result["absent"] = {"auroc": auroc(every, absent)}
    return result


def auroc(there: Sequence[float], absent: Sequence[float]) -> float:
    above = np.subtract.outer(np.array(there), np.array(absent))
    return float((above > 0).mean() + 0.5 * (above == 0).mean())


def box_of(hit: Hit) -> Box:
    return hit.part.box if hit.part and hit.part.box else (0, 0, 1, 1)


def verified_first(hits: list[Hit]) -> list[Hit]:
    """Verified hits before the others, those with more points first, with the edges of their outlines as boxes."""
    found = sorted((hit for hit in hits if hit.verified), key=lambda hit: -hit.verified.inliers if hit.verified else 0)
    placed = []
    for hit in found:
        assert hit.verified is not None
        assert hit.verified.outline is not None
        across, down = zip(*hit.verified.outline, strict=True)
        box = (max(0.0, min(across)), max(0.0, min(down)), min(1.0, max(across)), min(1.0, max(down)))
        placed.append(replace(hit, part=Part(0, box), score=1.0 + hit.verified.inliers))
    return [*placed, *(hit for hit in hits if not hit.verified)]


def with_the_very_piece(question: Question, hits: list[Hit], pictures: Path, library: Library) -> list[Hit]:
    """The hits by distance, as if the piece that is looked for were a part of its picture."""
    if question.box is None:
        return hits
    with Image.open(pictures / question.target) as image:
        left, top, right, bottom = question.box
        edges = (left * image.width, top * image.height, right * image.width, bottom * image.height)
        piece = library.code(image.convert("RGB").crop(tuple(map(round, edges))))
    distance = int(np.bitwise_count(piece.words ^ library.code(question.picture).words).sum())
    path = str(pictures / question.target)
    perfect = replace(hits[0], path=path, distance=distance, part=Part(1, question.box), score=0.0)
    return sorted(
        [*(hit for hit in hits if Path(hit.path).name != question.target), perfect], key=lambda hit: hit.distance
    )


def by_chance(
    result: dict[str, dict[str, float]], questions: Sequence[Question], detail: str
) -> dict[str, dict[str, float]]:
    """The same figures, but for boxes that are drawn among the windows by chance."""
    drawn = {kind: dict(figures) for kind, figures in result.items()}
    for kind in drawn:
        asked = [each.box for each in questions if each.kind == kind and each.box is not None]
        shared = np.array([overlap(window, box) for box in asked for window in detail_named(detail).windows])
        drawn[kind] |= {"loc": float((shared >= 0.5).mean()), "iou": float(shared.mean())} if len(shared) else {}
    return drawn


def rows_of(
    seed: int, details: Sequence[str], shared: Path, reported: list[Image.Image], closer: int
) -> dict[str, Any]:
    files, questions = asked_pictures(seed, reported)
    folder = RUNS / f"seed{seed}"
    own = filled(folder / "pictures", ((name, encoded(image)) for name, image in files.items()))
    rows: dict[str, Any] = {}
    for detail in (None, *details):
        base = library_of_others(shared, detail)
        with Library.open(library_of(folder, own, base, detail)) as library:
            for name, ask, some in asked_ways(library, own, detail, closer):
                row = f"{detail or 'no parts'}, {name}"
                rows[row] = kept(folder / f"{row}, 1 of {some}.json", partial(figures, ask, few(questions, some)))
                print(seed, row, json.dumps(rows[row]), flush=True)
        if detail is not None:
            rows[f"{detail}, all, box by chance"] = by_chance(rows[f"{detail}, all"], questions, detail)
    return rows


def kept(file: Path, make: Callable[[], dict[str, dict[str, float]]]) -> dict[str, dict[str, float]]:
    """What an earlier run that was interrupted has measured, or else what is measured now."""
    if not file.exists():
        file.write_text(json.dumps(make()))
    found: dict[str, dict[str, float]] = json.loads(file.read_text())
    return found


def few(questions: Sequence[Question], n: int) -> list[Question]:
    """Every n-th question of each kind; all absent ones."""
    kinds = dict.fromkeys(question.kind for question in questions)
    by_kind = ([each for each in questions if each.kind == kind] for kind in kinds)
    return [each for some in by_kind for each in (some if some[0].kind == "absent" else some[::n])]


def asked_ways(library: Library, pictures: Path, detail: str | None, closer: int) -> Iterator[tuple[str, Ask, int]]:
    """What a row is called, how it asks, and that it asks every so many questions."""

    def ask(question: Question, parts: Any, **options: Any) -> list[Hit]:
        how = {"turned": True} if question.kind == TURNED else options
        return library.search(question.picture, k=30, parts=parts, **how)

    if detail is None:
        yield "whole", partial(ask, parts="whole"), 1
        return
    yield "all", partial(ask, parts="all"), 1
    yield "auto", partial(ask, parts="auto"), 1
    yield "all, reranked", partial(ask, parts="all", rerank=100), 1
    if closer:
        yield "auto, refined", partial(ask, parts="auto", refine=True), closer
        yield "auto, verified", lambda q: verified_first(ask(q, "auto", verify=True)), closer
        yield "all, the very piece", lambda q: with_the_very_piece(q, ask(q, "all"), pictures, library), closer


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pictures", type=int, default=PICTURES)
    parser.add_argument("--details", default="low,normal,high")
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--closer", type=int, default=0, help="most of a second for each such question and row")
    given = parser.parse_args()
    reported, others = halves()
    shared = filled(RUNS / f"others-{given.pictures}", other_pictures(others, given.pictures))
    seeds = [int(seed) for seed in given.seeds.split(",")]
    details = given.details.split(",")
    by_seed = [rows_of(seed, details, shared, reported, 0 if i else given.closer) for i, seed in enumerate(seeds)]
    command = " ".join(["python benchmarks/parts.py", *sys.argv[1:]])
    few_others = "" if given.pictures == PICTURES else f"-{given.pictures}"
    write_section(f"9b-parts{few_others}", "Pictures found by a piece", command, about(given, by_seed))


def about(given: argparse.Namespace, by_seed: list[dict[str, Any]]) -> str:
    def mean(row: str, kind: str, figure: str) -> str:
        every = [each[row][kind][figure] for each in by_seed if row in each]
        values = [value for value in every if not np.isnan(value)]  # of what was found at all
        spread = f" ± {np.std(values, ddof=1):.2f}" if len(values) > 1 else ""
        return f"{np.mean(values):.2f}{spread}" if values else "-"

    rows = list(by_seed[0])
    costs = {name: cost(None if name == "no parts" else name) for name in {row.partition(",")[0] for row in rows}}
    kinds = [kind for kind in by_seed[0][rows[0]] if kind != "absent"]
    lines = [
        [row, f"{costs[row.partition(',')[0]][0]:.1f}", f"{costs[row.partition(',')[0]][1]:,.0f}"]
        + [f"{mean(row, kind, 'r1')} / {mean(row, kind, 'r5')} / {mean(row, kind, 'loc')}" for kind in kinds]
        for row in rows
    ]
    told = [
        [row, *(mean(row, kind, "auroc") for kind in kinds if kind != "turned 90"), mean(row, "absent", "auroc")]
        for row in rows
        if not row.endswith(("the very piece", "by chance"))
    ]
    overlaps = [[row, *(mean(row, kind, "iou") for kind in kinds if not kind.startswith("turned"))] for row in rows]
    closer = (
        f"""
"refined" fits the boxes of the first ten closer (`--refine`); "verified" puts hits first whose points agree
(`--verify`), with the edges of the outline as the box; "the very piece" takes the code of the piece itself into the
library, which no windows can surpass. These rows ask one question in {given.closer} of each kind, of the first seed."""
        if given.closer
        else ""
    )
    return f"""{given.pictures:,} other pictures, seeds {given.seeds}. Of each kind: found first / among five /
with a box of IoU >= .5, of those among five. `look` codes of 256 bits; "all" orders by the nearest of the whole and
all parts, "auto" by what is more probable; "reranked" orders the first 100 by the outputs of the query
(`--parts --rerank 100`); "box by chance" draws any of the windows.{closer}
"ms" is what a photograph takes to add, everything included: the median of three times all 160.

{table(["detail, parts", "ms a picture", "bytes of codes", *kinds], lines)}

How well the score of the first hit tells questions of a kind, and all but those that are turned, from
{ABSENT} (AUROC). Where the picture is not found, the first hit is a wrong one, too.

{table(["detail, parts", *(kind for kind in kinds if kind != "turned 90"), "all"], told)}

Mean intersection over union of the box and the piece, of hits among five:

{table(["detail, parts", *(kind for kind in kinds if not kind.startswith("turned"))], overlaps)}
"""


if __name__ == "__main__":
    main()
