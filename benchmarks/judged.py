"""Are the answers sensible? Twenty photographs, five answers of each model, judged by somebody who is not told whose.

python benchmarks/judged.py sheets FOLDER   draws what is to be judged: a sheet a photograph, and sheets.json
python benchmarks/judged.py score           writes the section, from what was judged: results/judged.json

The rule, written before the first look: an answer is sensible if somebody who asks for more pictures of what the first
one shows would keep it. It must show the same sort of thing by its everyday name (bird, dog, boat, guitar, bread), or a
close relative that a person might take for it or would look for beside it (wolf for dog, bus for truck, violin for
guitar). The same color, background or pose is not enough, nor is a category as wide as animal, tool or food.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from hashgrain import Encoder
from hashgrain.learn.photo.pictures import Shot, photographs
from report import need_data, table, write_section

MODELS = ("photo", "small")
GRAINS = ("kind", "thing", "look")
ASKED, ANSWERS = 20, 5
EDGE = 260  # of a picture on a sheet
JUDGED = Path(__file__).parent / "results" / "judged.json"


def answers(shots: list[Shot], asked: list[int], grain: str) -> dict[str, list[list[int]]]:
    """For each model and photograph asked, the nearest others; of those as near the one whose name sorts first."""
    found = {}
    for name in MODELS:
        words = Encoder.load(name).encode([shot.content for shot in shots]).at(grain).words
        found[name] = []
        for row in asked:
            apart = np.bitwise_count(words ^ words[row]).sum(axis=1)
            nearest = [int(i) for i in np.argsort(apart, kind="stable") if i != row]
            found[name].append(nearest[:ANSWERS])
    return found


def drawn(shots: list[Shot]) -> list[int]:
    """Twenty of the reporting half: those whose SHA-256 sort first."""
    reported = [i for i, shot in enumerate(shots) if shot.reported]
    return sorted(reported, key=lambda i: shots[i].sha256)[:ASKED]


def write_sheets(data: Path, folder: Path) -> None:
    """The answers of all models at all grains together, each once, in an order that tells nothing."""
    folder.mkdir(parents=True, exist_ok=True)
    shots = photographs(data)
    asked = drawn(shots)
    at = {grain: answers(shots, asked, grain) for grain in GRAINS}
    known = judgements()
    sheets = []
    for place, row in enumerate(asked):
        every = {i for of_grain in at.values() for of_model in of_grain.values() for i in of_model[place]}
        query = shots[row].facts["name"]
        candidates = [i for i in sorted(every) if shots[i].facts["name"] not in known.get(query, {})]
        np.random.default_rng(place).shuffle(candidates)
        if candidates:
            sheet(shots[row], [shots[i] for i in candidates]).save(folder / f"{place:02}.jpg", quality=88)
            names = [shots[i].facts["name"] for i in candidates]
            sheets.append({"sheet": f"{place:02}.jpg", "asked": query, "answers": names})
    (folder / "sheets.json").write_text(json.dumps(sheets, indent=1) + "\n")
    print(f"{len(sheets)} sheets in {folder}: judge every numbered picture, and add to {JUDGED.name}")


def sheet(query: Shot, candidates: list[Shot], columns: int = 5) -> Image.Image:
    """The photograph asked, large, above the numbered answers."""
    rows = -(-len(candidates) // columns)
    page = Image.new("RGB", (columns * EDGE, (rows + 1) * EDGE + EDGE // 2), "white")
    draw = ImageDraw.Draw(page)
    page.paste(thumbnail(query, EDGE + EDGE // 2), (0, 0))
    for number, candidate in enumerate(candidates):
        x, y = number % columns * EDGE, EDGE + EDGE // 2 + number // columns * EDGE
        page.paste(thumbnail(candidate, EDGE - 6), (x, y))
        draw.rectangle((x, y, x + 34, y + 24), fill="black")
        draw.text((x + 4, y + 2), str(number + 1), fill="white", font_size=20)
    return page


def thumbnail(shot: Shot, edge: int) -> Image.Image:
    image = shot.open()
    image.thumbnail((edge, edge))
    return image


def judgements() -> Mapping[str, Mapping[str, bool]]:
    """By the name of the photograph asked and of the answer."""
    found: Mapping[str, Mapping[str, bool]] = json.loads(JUDGED.read_text()) if JUDGED.exists() else {}
    return found


def score(data: Path) -> None:
    shots, known = photographs(data), judgements()
    asked = drawn(shots)
    rows = []
    for grain in GRAINS:
        found = answers(shots, asked, grain)
        counts = []
        for name in MODELS:
            pairs = [
                (shots[row].facts["name"], shots[i].facts["name"])
                for row, of in zip(asked, found[name], strict=True)
                for i in of
            ]
            missing = [pair for pair in pairs if pair[1] not in known.get(pair[0], {})]
            if missing:
                sys.exit(f"{len(missing)} answers were never judged, such as {missing[0]}: draw sheets and judge them")
            counts.append(sum(known[query][answer] for query, answer in pairs))
        rows.append([grain, *(f"{count} of {ASKED * ANSWERS}" for count in counts)])
    head = (
        f"{ASKED} photographs of the reporting half, those whose SHA-256 sort first; for each the {ANSWERS} nearest of"
        " the 159 others. The answers of both models at all grains were shuffled and judged together, by somebody who"
        f" was not told whose they are; the judgements are kept in `results/{JUDGED.name}`.\n\n"
    )
    rule = (__doc__ or "").split("\n\n")[-1].strip().replace("\n", " ")
    text = head + rule + "\n\n" + table(["grain", *MODELS], rows)
    write_section("5e-judged", "Sensible answers, judged", "python benchmarks/judged.py score", text)


def main() -> None:
    if sys.argv[1:2] == ["sheets"] and len(sys.argv) == 3:
        write_sheets(need_data(), Path(sys.argv[2]))
    elif sys.argv[1:] == ["score"]:
        score(need_data())
    else:
        sys.exit(__doc__)


if __name__ == "__main__":
    main()
