"""Finding a picture by a piece of it: planted objects, mosaics, crops, absent queries, among 20,000 pictures.

Photographs of the reporting half (an odd first byte of their SHA-256) make the questions; no choice has seen them, but
the pretrained backbone may have seen pictures like them in training. 5,000 of the other pictures in the library are
sharp crops and collages of photographs of the other half, the rest are of Tiny ImageNet (its `val`, and the 50 of each
class that nothing was fitted on).

python benchmarks/parts.py [--pictures N] [--details low,normal,high] [--seeds 0,1,2] [--refined]
Made pictures and libraries are kept in benchmarks/runs/parts; what was interrupted resumes.
"""

from __future__ import annotations

import argparse
import io
import json
import shutil
import statistics
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageEnhance, ImageFilter

from hashgrain import Hit, Library
from hashgrain.learn.photo.pictures import photographs, tiny_imagenet
from hashgrain.models.detail import detail_named
from report import HERE, need_data, table, write_section

RUNS = HERE / "runs" / "parts"
EDGE = 1000  # pixels of a photograph in the library, at most
PLANTED = (0.5, 0.25, 0.12, 0.06, 0.03)
CROPS = (0.3, 0.15, 0.05)
SHARP = 5_000
TURNED = "turned 90, --turned"
Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class Question:
    kind: str
    picture: Image.Image
    target: str  # the file name of the picture to find
    box: Box | None  # where in it; None for the whole
    without: frozenset[str]  # files that show it too, and do not count


def halves() -> tuple[list[Image.Image], list[Image.Image]]:
    """Photographs for questions, and those for other pictures."""
    reported, others = [], []
    for shot in photographs(need_data()):
        image = shot.open()
        image.thumbnail((EDGE, EDGE))
        (reported if shot.reported else others).append(image)
    return reported, others


def middle(image: Image.Image) -> Image.Image:
    width, height = image.size
    return image.crop((round(width * 0.15), round(height * 0.15), round(width * 0.85), round(height * 0.85)))


def recompressed(image: Image.Image, quality: int = 80) -> Image.Image:
    file = io.BytesIO()
    image.save(file, "JPEG", quality=quality)
    return Image.open(io.BytesIO(file.getvalue())).convert("RGB")


def planted(
    thing: Image.Image, page: Image.Image, share: float, random: np.random.Generator
) -> tuple[Image.Image, Box]:
    """A thing pasted into a page at this share of its area, somewhere, with another brightness and a soft edge."""
    scale = (share * page.width * page.height / (thing.width * thing.height)) ** 0.5
    scale = min(scale, 0.95 * page.width / thing.width, 0.95 * page.height / thing.height)
    width, height = round(thing.width * scale), round(thing.height * scale)
    small = ImageEnhance.Brightness(thing.resize((width, height), Image.Resampling.LANCZOS))
    soft = Image.new("L", (width, height), 0)
    soft.paste(255, (2, 2, width - 2, height - 2))
    left, top = int(random.integers(0, page.width - width + 1)), int(random.integers(0, page.height - height + 1))
    result = page.copy()
    blurred = soft.filter(ImageFilter.GaussianBlur(1))
    result.paste(small.enhance(float(random.uniform(0.8, 1.2))), (left, top), blurred)
    edges = (left / page.width, top / page.height, (left + width) / page.width, (top + height) / page.height)
    return recompressed(result), edges


def mosaic(tiles: Sequence[Image.Image]) -> Image.Image:
    page = Image.new("RGB", (EDGE, EDGE))
    half = EDGE // 2
    for place, tile in enumerate(tiles):
        page.paste(tile.resize((half, half), Image.Resampling.LANCZOS), (half * (place % 2), half * (place // 2)))
    return recompressed(page)


def asked_pictures(seed: int, reported: list[Image.Image]) -> tuple[dict[str, Image.Image], list[Question]]:
    """Pictures of the library by file name, and the questions about them. One in ten photographs stays out of the
    library with all that shows it: these are the absent questions."""
    random = np.random.default_rng(seed)
    order = random.permutation(len(reported)).tolist()
    absent, there = order[: len(order) // 10], order[len(order) // 10 :]
    files = {f"plain-{n}.jpg": reported[n] for n in there}
    shows: dict[int, set[str]] = {n: {f"plain-{n}.jpg"} for n in there}
    asked: list[tuple[str, Image.Image, str, Box | None, int]] = []
    for share in PLANTED:
        for place, n in enumerate(there):
            page = there[(place + len(there) // 2) % len(there)]
            name = f"planted-{share}-{n}.jpg"
            files[name], box = planted(middle(reported[n]), reported[page], share, random)
            shows[n].add(name)
            shows[page].add(name)
            asked.append((f"planted {share:.0%}", middle(reported[n]), name, box, n))
    for start in range(0, len(there) - 3, 4):
        four = there[start : start + 4]
        name = f"mosaic-{start}.jpg"
        files[name] = mosaic([reported[n] for n in four])
        for place, n in enumerate(four):
            left, top = place % 2 / 2, place // 2 / 2
            shows[n].add(name)
            asked.append(("tile of 2x2", reported[n], name, (left, top, left + 0.5, top + 0.5), n))
    for share in CROPS:
        for n in there:
            width, height = (share**0.5 * edge for edge in reported[n].size)
            x, y = random.uniform(0, reported[n].width - width), random.uniform(0, reported[n].height - height)
            crop = reported[n].crop((round(x), round(y), round(x + width), round(y + height)))
            wide, high = reported[n].size
            box = (x / wide, y / high, (x + width) / wide, (y + height) / high)
            asked.append((f"crop {share:.0%}", crop, f"plain-{n}.jpg", box, n))
    for kind in ("turned 90", TURNED):
        asked += [(kind, reported[n].rotate(90, expand=True), f"plain-{n}.jpg", None, n) for n in there]
    asked += [("absent", middle(reported[n]), "", None, -1) for n in absent]
    shows[-1] = set()
    return files, [
        Question(kind, picture, target, box, frozenset(shows[n] - {target})) for kind, picture, target, box, n in asked
    ]


def other_pictures(others: list[Image.Image], count: int) -> Iterator[tuple[str, bytes]]:
    """Sharp crops and collages of other photographs, then small pictures."""
    random = np.random.default_rng(99)
    for number in range(min(SHARP, count)):
        if number % 3 == 0:
            tiles = [others[int(n)] for n in random.integers(0, len(others), 4)]
            image = mosaic([_crop(tile, random) for tile in tiles])
        elif number % 3 == 1:
            thing, page = (others[int(n)] for n in random.integers(0, len(others), 2))
            image, _ = planted(middle(_crop(thing, random)), page, float(random.uniform(0.03, 0.5)), random)
        else:
            image = _crop(others[int(random.integers(0, len(others)))], random)
        file = io.BytesIO()
        image.save(file, "JPEG", quality=85)
        yield f"sharp-{number}.jpg", file.getvalue()
    small = [*tiny_imagenet(need_data(), "val"), *tiny_imagenet(need_data(), "kept")]
    for number, shot in enumerate(small[: max(0, count - SHARP)]):
        yield f"small-{number}.jpg", shot.content


def _crop(image: Image.Image, random: np.random.Generator) -> Image.Image:
    share = float(random.uniform(0.1, 0.9)) ** 0.5
    width, height = round(image.width * share), round(image.height * share)
    left, top = int(random.integers(0, image.width - width + 1)), int(random.integers(0, image.height - height + 1))
    return image.crop((left, top, left + width, top + height))


def filled(folder: Path, pictures: Iterator[tuple[str, bytes]]) -> Path:
    """A folder with these files, made once."""
    if not (folder / "done").exists():
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in pictures:
            (folder / name).write_bytes(content)
        (folder / "done").touch()
    return folder


def encoded(image: Image.Image) -> bytes:
    file = io.BytesIO()
    image.save(file, "JPEG", quality=90)
    return file.getvalue()


def library_of_others(shared: Path, detail: str | None) -> Path:
    """The library of the other pictures; adding is resumed where it was stopped."""
    made = shared.with_name(f"{shared.name}-{detail or 'whole'}.hg")
    done = shared / f"{detail or 'whole'}.done"
    if not done.exists():
        with Library.open_or_create(made, "photo") as library:
            library.add(str(shared / "*.jpg"), parts=detail is not None, detail=detail)
        done.touch()
    return made


def cost(detail: str | None) -> tuple[float, float]:
    """Milliseconds that a photograph takes to add, everything included, and bytes of its codes: the 160 photographs."""

    def add() -> None:
        with tempfile.TemporaryDirectory() as folder, Library.create(Path(folder) / "a.hg", "photo") as library:
            report = library.add(str(need_data() / "photos"), parts=detail is not None, detail=detail)
            times.append(1000 * report.seconds / report.encoded)

    times: list[float] = []
    for _ in range(3):
        add()
    parts = 0 if detail is None else len(detail_named(detail).windows)
    return statistics.median(times), 32.0 * (1 + parts)


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


def figures(ask: Callable[[Question], list[Hit]], questions: Sequence[Question]) -> dict[str, dict[str, float]]:
    """By kind of question: found first, among five, IoU >= .5 of those, mean IoU; and the AUROC of absent ones."""
    result: dict[str, dict[str, float]] = {}
    scores: dict[bool, list[float]] = {True: [], False: []}
    for kind in dict.fromkeys(question.kind for question in questions):
        firsts, fives, overlaps = [], [], []
        for question in (each for each in questions if each.kind == kind):
            hits = [hit for hit in ask(question) if Path(hit.path).name not in question.without]
            if not kind.startswith("turned"):
                scores[kind == "absent"].append(hits[0].score - hits[0].distance / 1e4)
            names = [Path(hit.path).name for hit in hits]
            rank = names.index(question.target) if question.target in names else len(names)
            firsts.append(rank < 1)
            fives.append(rank < 5)
            if rank < 5 and question.box is not None:
                part = hits[rank].part
                overlaps.append(overlap(part.box if part and part.box else (0, 0, 1, 1), question.box))
        if kind != "absent":
            located = np.mean([each >= 0.5 for each in overlaps]) if overlaps else np.nan
            result[kind] = {"r1": float(np.mean(firsts)), "r5": float(np.mean(fives)), "loc": float(located)}
            result[kind]["iou"] = float(np.mean(overlaps)) if overlaps else np.nan
    there, absent = np.array(scores[False]), np.array(scores[True])
    above = (there[:, None] > absent).mean() + 0.5 * (there[:, None] == absent).mean()
    result["absent"] = {"auroc": float(above)}
    return result


def rows_of(
    seed: int, details: Sequence[str], shared: Path, reported: list[Image.Image], refined: bool
) -> dict[str, Any]:
    files, questions = asked_pictures(seed, reported)
    folder = RUNS / f"seed{seed}"
    own = filled(folder / "pictures", ((name, encoded(image)) for name, image in files.items()))
    rows: dict[str, Any] = {}
    for detail in (None, *details):
        base = library_of_others(shared, detail)
        with Library.open(library_of(folder, own, base, detail)) as library:
            for parts in ("whole",) if detail is None else ("all", "auto"):
                for refine in (False, True) if refined and detail is not None and parts == "auto" else (False,):

                    def ask(
                        question: Question, library: Library = library, parts: Any = parts, refine: bool = refine
                    ) -> list[Hit]:
                        options: dict[str, Any] = {"turned": True} if question.kind == TURNED else {"refine": refine}
                        return library.search(question.picture, k=30, parts=parts, **options)

                    row = f"{detail or 'no parts'}, {parts}" + (", refined" if refine else "")
                    rows[row] = figures(ask, questions)
                    print(seed, row, json.dumps(rows[row]), flush=True)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pictures", type=int, default=20_000)
    parser.add_argument("--details", default="low,normal,high")
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--refined", action="store_true", help="a row with closer boxes: most of a second a question")
    given = parser.parse_args()
    reported, others = halves()
    shared = filled(RUNS / f"others-{given.pictures}", other_pictures(others, given.pictures))
    seeds = [int(seed) for seed in given.seeds.split(",")]
    by_seed = [rows_of(seed, given.details.split(","), shared, reported, given.refined) for seed in seeds]
    command = " ".join(["python benchmarks/parts.py", *sys.argv[1:]])
    write_section("9b-parts", "Pictures found by a piece", command, about(given, by_seed))


def about(given: argparse.Namespace, by_seed: list[dict[str, Any]]) -> str:
    def mean(row: str, kind: str, figure: str) -> str:
        values = [each[row][kind][figure] for each in by_seed]
        spread = f" ± {np.std(values, ddof=1):.2f}" if len(values) > 1 else ""
        return f"{np.nanmean(values):.2f}{spread}"

    rows = list(by_seed[0])
    costs = {name: cost(None if name == "no parts" else name) for name in {row.partition(",")[0] for row in rows}}
    kinds = [kind for kind in by_seed[0][rows[0]] if kind != "absent"]
    lines = [
        [row, f"{costs[row.partition(',')[0]][0]:.1f}", f"{costs[row.partition(',')[0]][1]:,.0f}"]
        + [f"{mean(row, kind, 'r1')} / {mean(row, kind, 'r5')} / {mean(row, kind, 'loc')}" for kind in kinds]
        + [mean(row, "absent", "auroc")]
        for row in rows
    ]
    return f"""{given.pictures:,} other pictures, seeds {given.seeds}. Of each kind: found first / among five /
with a box of IoU >= .5, of those among five. `look` codes of 256 bits; "all" orders by the nearest of the whole and
all parts, "auto" by what is more probable; "refined" fits the boxes of the first ten closer (`--refine`).
"ms" is what a photograph takes to add, everything included: the median of three times all 160.

{table(["detail, parts", "ms a picture", "bytes of codes", *kinds, "absent: AUROC"], lines)}
"""


if __name__ == "__main__":
    main()
