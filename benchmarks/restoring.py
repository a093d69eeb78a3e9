"""Restored photographs: PSNR of the missing pixels with a near copy in the library and without, beside OpenCV's
inpainting alone."""

from __future__ import annotations

import io
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from hashgrain import Library
from hashgrain.apps.restore import Restored, restore
from hashgrain.media.filling import inpainted
from hashgrain.media.quality import psnr
from report import need_data, table, write_section

PHOTOS, DAMAGED, EDGE = 40, 10, 320
SHARES = (0.1, 0.3, 0.5)
COPY_SCALE, COPY_QUALITY = 0.8, 80


def main() -> None:
    paths = sorted(need_data().glob("photos/*.jpg"))[:PHOTOS]
    photos = [
        ImageOps.contain(ImageOps.exif_transpose(Image.open(path)).convert("RGB"), (EDGE, EDGE)) for path in paths
    ]
    with tempfile.TemporaryDirectory() as named:
        folder = Path(named)
        rows = [_row(share, photos, folder) for share in SHARES]
    columns = ["missing", "with a copy", "without", "inpainting", "trusted with a copy", "trusted without"]
    text = (
        f"{DAMAGED} photographs of {EDGE} pixels along the longer edge, a box of each missing. The library has {PHOTOS}"
        f" photographs at {COPY_SCALE} of the size, as JPEG of quality {COPY_QUALITY}: all of them, or all but the"
        " damaged one. PSNR of the missing pixels in dB, the median.\n\n"
    )
    write_section("5-restoring", "Restoring", "python benchmarks/restoring.py", text + table(columns, rows))


def _row(share: float, photos: list[Image.Image], folder: Path) -> list[str]:
    dice = np.random.default_rng(round(100 * share))
    found: dict[str, list[float]] = {"with": [], "without": [], "inpainting": []}
    trusted = {"with": 0, "without": 0}
    for number in range(DAMAGED):
        truth = np.asarray(photos[number])
        missing = _box(truth.shape[:2], share, dice)
        damaged = folder / "damaged.png"
        Image.fromarray(np.where(missing[..., None], 128, truth).astype(np.uint8)).save(damaged)
        for name, left_out in (("with", None), ("without", number)):
            restored = _restored(photos, left_out, damaged, missing, folder)
            found[name].append(psnr(restored.pixels, truth, missing))
            trusted[name] += restored.trusted
        found["inpainting"].append(psnr(inpainted(np.asarray(Image.open(damaged)), missing), truth, missing))
    medians = [f"{float(np.median(values)):.1f}" for values in found.values()]
    return [f"{share:.0%}", *medians, *(f"{number} of {DAMAGED}" for number in trusted.values())]


def _restored(
    photos: list[Image.Image], left_out: int | None, damaged: Path, missing: np.ndarray, folder: Path
) -> Restored:
    place = folder / ("all.hg" if left_out is None else f"without-{left_out}.hg")
    if not place.exists():
        with Library.create(place, "small") as library:
            library.add(_copies(photos, left_out, folder))
    with Library.open(place) as library:
        return restore(library, damaged, missing)


def _copies(photos: list[Image.Image], left_out: int | None, folder: Path) -> list[Path]:
    files = []
    for i, photo in enumerate(photos):
        file = folder / f"{i}.jpg"
        if not file.exists():
            content = io.BytesIO()
            ImageOps.scale(photo, COPY_SCALE).save(content, "jpeg", quality=COPY_QUALITY)
            file.write_bytes(content.getvalue())
        if i != left_out:
            files.append(file)
    return files


def _box(shape: tuple[int, int], share: float, dice: np.random.Generator) -> np.ndarray:
    height, width = (round(edge * share**0.5) for edge in shape)
    top, left = int(dice.integers(0, shape[0] - height + 1)), int(dice.integers(0, shape[1] - width + 1))
    mask = np.zeros(shape, bool)
    mask[top : top + height, left : left + width] = True
    return mask


if __name__ == "__main__":
    main()
