"""Would the `photo` model do in 8-bit integers? What its codes lose, and what time they gain.

python benchmarks/photo_integers.py CACHE   (the cache of photo.py: its features are the ones compared with)
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.calibrate import CalibrationDataReader
from onnxruntime.quantization.shape_inference import quant_pre_process

from hashgrain import Codes, Encoder
from hashgrain.learn.photo.features import FeatureCache, Traits
from hashgrain.learn.photo.fit import GRAINS
from hashgrain.learn.photo.graph import backbone_model
from hashgrain.learn.photo.make import SIZE, WEIGHTS, held_out
from hashgrain.learn.photo.sets import sharp_pictures
from hashgrain.media import open_picture
from hashgrain.models.weights import read_weights
from photo import shipped_head
from report import need_data, table, write_section

CALIBRATED_ON, COMPARED = 100, 1_500
FEATURES = ["features"]


class Pictures(CalibrationDataReader):  # type: ignore[misc]
    def __init__(self, pictures: list[NDArray[np.uint8]]) -> None:
        self.left: Iterator[NDArray[np.uint8]] = iter(pictures)

    def get_next(self) -> dict[str, NDArray[np.uint8]] | None:
        picture = next(self.left, None)
        return None if picture is None else {"pixels": picture[None]}


def session(path: str | bytes) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def milliseconds(run: onnxruntime.InferenceSession, pixels: NDArray[np.uint8]) -> float:
    times = []
    for _ in range(31):
        started = time.perf_counter()
        run.run(FEATURES, {"pixels": pixels[:1]})
        times.append(time.perf_counter() - started)
    return 1000 * float(np.median(times))


def found(codes: Codes, labels: NDArray[np.str_], grain: str) -> float:
    """P@10 of every picture among the others; ties by order."""
    words = codes.at(grain).words
    right = []
    for row in range(len(words)):
        apart = np.bitwise_count(words ^ words[row]).sum(axis=1).astype(float)
        apart[row] = np.inf
        right.append((labels[np.argsort(apart, kind="stable")[:10]] == labels[row]).mean())
    return float(np.mean(right))


def vnni() -> str:
    with_it = "vnni" in Path("/proc/cpuinfo").read_text()
    return "instructions for products of bytes" if with_it else "no instructions for products of bytes"


def main() -> None:
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    data, weights = need_data(), read_weights(WEIGHTS)
    cache, head = FeatureCache(Path(sys.argv[1]), weights), shipped_head(weights)
    held = held_out(data)
    shots = held[:COMPARED]
    labels = {
        grain: np.array([str(s.facts[f]) for s in shots]) for grain, f in (("kind", "superclass"), ("thing", "label"))
    }
    known = cache.traits("small held out", lambda: (shot.content for shot in held))[:COMPARED]
    plain = known.features
    pixels = np.stack([open_picture(shot.content, size=(SIZE, SIZE)).pixels for shot in shots])
    sharp = [open_picture(shot.content, size=(SIZE, SIZE)).pixels for shot in sharp_pictures(data)[:CALIBRATED_ON]]
    rows = []

    def add(name: str, features: NDArray[np.float32], took: float) -> None:
        cosine = (features * plain).sum(axis=1) / np.linalg.norm(features, axis=1) / np.linalg.norm(plain, axis=1)
        codes = head.codes(Traits(features, known.layouts))
        differing = np.bitwise_count(codes.words ^ head.codes(known).words).sum(axis=1).mean()
        scores = [f"{found(codes, labels[grain], grain):.3f}" for grain in labels]
        rows.append([name, f"{cosine.mean():.4f}", f"{differing:.1f} of {GRAINS.bits}", *scores, f"{took:.1f}"])

    with tempfile.TemporaryDirectory() as folder:
        whole, prepared, small = (str(Path(folder) / name) for name in ("whole.onnx", "prepared.onnx", "small.onnx"))
        Path(whole).write_bytes(backbone_model(weights))
        add("single precision", plain, milliseconds(session(whole), pixels))
        shipped = session(Encoder.load("photo").bundle.onnx)
        halves = np.concatenate([shipped.run(FEATURES, {"pixels": part})[0] for part in np.array_split(pixels, 50)])
        add("weights in half precision, as shipped", halves, milliseconds(shipped, pixels))
        quant_pre_process(whole, prepared, skip_symbolic_shape=True)
        for name, method, options in VARIANTS:
            quantize_static(
                prepared,
                small,
                Pictures(sharp),
                quant_format=QuantFormat.QDQ,
                per_channel=True,
                weight_type=QuantType.QInt8,
                calibrate_method=method,
                op_types_to_quantize=["Conv", "Add", "Clip"],
                **options,
            )
            run = session(small)
            features = np.concatenate([run.run(FEATURES, {"pixels": part})[0] for part in np.array_split(pixels, 50)])
            add(name, features, milliseconds(run, pixels))
    columns = [
        "numbers",
        "cosine to single precision",
        "bits that differ",
        "`kind` P@10",
        "`thing` P@10",
        "ms, one thread",
    ]
    text = (
        f"{COMPARED:,} small pictures held out, each asked among the others; ranges of activations from {CALIBRATED_ON}"
        f" sharp pictures of the choosing halves. The processor has {vnni()} (VNNI).\n\n" + table(columns, rows)
    )
    write_section("5f-photo-integers", "The photo model in integers", "python benchmarks/photo_integers.py CACHE", text)


VARIANTS = (
    ("8 bits, ranges by minimum and maximum", CalibrationMethod.MinMax, {}),
    ("8 bits, ranges by 99.99 %", CalibrationMethod.Percentile, {"extra_options": {"CalibPercentile": 99.99}}),
    (
        "the same, weights in 7 bits, for processors without VNNI",
        CalibrationMethod.Percentile,
        {"reduce_range": True, "extra_options": {"CalibPercentile": 99.99}},
    ),
)

if __name__ == "__main__":
    main()
