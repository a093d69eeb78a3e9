"""Verified hits: how often unrelated photographs are verified, and changed copies are."""

from __future__ import annotations

import io
import time
from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np
from PIL import Image, ImageOps

from hashgrain.media.local_features import EDGE, LEAST_INLIERS, Features, features_of, register
from report import need_data, table, write_section

OTHERS = 20  # unrelated photographs that each query is matched with
LEAST = (5, 6, 7, LEAST_INLIERS)
COPIES = 40  # photographs that are changed
Picture = Image.Image


def main() -> None:
    photos = [_opened(path) for path in sorted(need_data().glob("photos/*.jpg"))]
    dice = np.random.default_rng(0)
    order = dice.permutation(len(photos))
    halves = order[: len(photos) // 2], order[len(photos) // 2 :]
    choosing, reporting = (unrelated([photos[i] for i in half], dice) for half in halves)
    rows = [
        [
            name,
            f"{sum(counts.values()):,}",
            *(str(_at_least(counts, n)) for n in LEAST),
            str(max(counts)),
        ]
        for name, counts in (("choosing", choosing), ("reporting", reporting))
    ]
    columns = ["half", "pairs", *(f"{n} points or more" for n in LEAST), "most"]
    found = copies([photos[i] for i in halves[1][:COPIES]], dice)
    text = (
        f"{len(photos)} photographs in two halves; each, and a crop of it, matched with {OTHERS} others of its half."
        f" The least number of points that verifies, {LEAST_INLIERS}, was chosen on the first half.\n\n"
        f"{table(columns, rows)}\n\n{COPIES} photographs of the reporting half, changed, matched with their originals"
        " (pasted: the original asks, and the hit is another photograph that it is pasted into).\n\n"
    )
    shown = [[name, f"{share:.2f}", f"{1000 * seconds:.0f} ms"] for name, share, seconds in found]
    write_section(
        "5-verifying",
        "Verified hits",
        "python benchmarks/verifying.py",
        text + table(["copy", "verified", "a pair"], shown),
    )


def unrelated(photos: Sequence[Picture], dice: np.random.Generator) -> Counter[int]:
    """How many points agree, of pairs of different photographs; 0 for maps that are not plausible."""
    hits = [features_of(np.asarray(photo)) for photo in photos]
    counts: Counter[int] = Counter()
    for place, photo in enumerate(photos):
        for asked in (photo, _crop(photo, dice.choice([0.05, 0.1, 0.25]), dice)):
            query = features_of(np.asarray(asked), coarse=True)
            others = [i for i in range(len(photos)) if i != place]
            for other in dice.choice(others, OTHERS, replace=False):
                found = register(query, hits[other], least=1)
                counts[0 if found is None else found.inliers] += 1
    return counts


def copies(photos: Sequence[Picture], dice: np.random.Generator) -> list[tuple[str, float, float]]:
    """For each change: its name, the share that is verified, and the seconds a pair takes."""
    changes: dict[str, Callable[[Picture], Picture]] = {
        **{f"crop to {area:.0%} of the area": lambda p, area=area: _crop(p, area, dice) for area in (0.25, 0.1, 0.05)},
        "64 pixels wide or high": lambda p: ImageOps.contain(p, (64, 64)),
        "JPEG, quality 15": _jpeg,
        "turned by 20 degrees": lambda p: p.rotate(20, expand=True),
        "seen from the side": lambda p: _tilted(p, dice),
    }
    pairs: dict[str, list[tuple[Picture, Picture]]] = {
        name: [(change(photo), photo) for photo in photos] for name, change in changes.items()
    }
    for area in (0.25, 0.12, 0.06):
        others = [*photos[1:], photos[0]]
        pairs[f"pasted at {area:.0%} of the area"] = [
            (photo, _pasted(photo, other, area, dice)) for photo, other in zip(photos, others, strict=True)
        ]
    rows = []
    for name, asked in pairs.items():
        start = time.perf_counter()
        verified = [register(_features(a, coarse=True), _features(b)) is not None for a, b in asked]
        rows.append((name, float(np.mean(verified)), (time.perf_counter() - start) / len(asked)))
    return rows


def _features(picture: Picture, *, coarse: bool = False) -> Features:
    return features_of(np.asarray(picture), coarse=coarse)


def _opened(path: object) -> Picture:
    image = ImageOps.exif_transpose(Image.open(str(path))).convert("RGB")
    return image if max(image.size) <= EDGE else ImageOps.contain(image, (EDGE, EDGE))


def _at_least(counts: Counter[int], n: int) -> int:
    return sum(number for inliers, number in counts.items() if inliers >= n)


def _crop(photo: Picture, area: float, dice: np.random.Generator) -> Picture:
    width, height = (max(16, round(edge * area**0.5)) for edge in photo.size)
    left, top = int(dice.integers(0, photo.width - width + 1)), int(dice.integers(0, photo.height - height + 1))
    return photo.crop((left, top, left + width, top + height))


def _jpeg(photo: Picture) -> Picture:
    file = io.BytesIO()
    photo.save(file, "jpeg", quality=15)
    return Image.open(file).convert("RGB")


def _tilted(photo: Picture, dice: np.random.Generator) -> Picture:
    width, height = photo.size
    moved = dice.uniform(0, 0.15, (4, 2)) * [width, height] * [[1, 1], [1, -1], [-1, -1], [-1, 1]]
    corners = np.array([[0, 0], [0, height], [width, height], [width, 0]]) + moved
    return photo.transform(photo.size, Image.Transform.QUAD, corners.ravel().tolist(), Image.Resampling.BICUBIC)


def _pasted(photo: Picture, into: Picture, area: float, dice: np.random.Generator) -> Picture:
    scene = into.copy()
    share = (area * scene.width * scene.height / (photo.width * photo.height)) ** 0.5
    small = photo.resize((min(scene.width, round(photo.width * share)), min(scene.height, round(photo.height * share))))
    left, top = (
        int(dice.integers(0, scene.width - small.width + 1)),
        int(dice.integers(0, scene.height - small.height + 1)),
    )
    scene.paste(small, (left, top))
    return scene


if __name__ == "__main__":
    main()
