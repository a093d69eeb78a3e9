"""What pictures of 100 to 400 million pixels take: peak memory and time, each in a process of its own."""

from __future__ import annotations

import io
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

from report import table, write_section

MODEL, EDGE = (64, 64), 256
SIZES = {"200": (16_320, 12_240), "400": (23_088, 17_316)}
KINDS = {
    "JPEG": ("jpeg", {"quality": 90}),
    "JPEG, progressive": ("jpeg", {"quality": 90, "progressive": True}),
    "JPEG, progressive, 4:4:4": ("jpeg", {"quality": 90, "progressive": True, "subsampling": 0}),
    "PNG": ("png", {"compress_level": 1}),
}
OPEN = """
import io, sys, time
from PIL import Image
from hashgrain.media import open_picture, thumbnail
from hashgrain.media.cost import decoding_bytes
data = open(sys.argv[1], "rb").read()
image = Image.open(io.BytesIO(data))
image.draft("RGB", (128, 128))
told = decoding_bytes(image, data)
def peak():  # ru_maxrss would count what the process that started this one had
    return int(open("/proc/self/status").read().partition("VmHWM:")[2].split()[0])
before = peak()
started = time.perf_counter()
if sys.argv[2] == "thumbnail":
    thumbnail(data, edge=256)
else:
    open_picture(data, size=(64, 64))
seconds = time.perf_counter() - started
print(peak() - before, seconds, told)
"""


def made(size: tuple[int, int], kind: str, options: dict[str, object]) -> bytes:
    """A picture with some detail everywhere, as a photograph has."""
    tile = np.random.default_rng(1).integers(0, 256, (64, 64, 3), np.uint8)
    tile = np.asarray(Image.fromarray(tile).resize((1024, 1024), Image.Resampling.BICUBIC))
    image = Image.new("RGB", size)
    for left in range(0, size[0], 1024):
        for top in range(0, size[1], 1024):
            image.paste(Image.fromarray(tile), (left, top))
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def main() -> None:
    rows = []
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch, "picture")
        for million, size in SIZES.items():
            for name, (kind, options) in KINDS.items():
                path.write_bytes(made(size, kind, options))
                cells = []
                for what in ("model", "thumbnail"):
                    done = subprocess.run(
                        [sys.executable, "-c", OPEN, path, what], check=True, capture_output=True, text=True
                    )
                    kilobytes, seconds, told = done.stdout.split()
                    cells += [f"{int(kilobytes) / 1024:,.0f} MB", f"{float(seconds):.1f} s"]
                file = f"{path.stat().st_size / 1e6:,.0f} MB"
                rows.append([name, f"{million} million", file, f"{int(told) / 2**20:,.0f} MB", *cells])
    columns = ["picture", "pixels", "file", "reckoned", "for the model", "time", "thumbnail", "time"]
    text = table(columns, rows)
    text += (
        "\n\nPeak memory beyond the process with the file read. *Reckoned* is what the limit goes by: told from the"
        " header before anything is decoded. A JPEG is decoded at an eighth of its size; a progressive one holds"
        " all its coefficients meanwhile."
    )
    write_section("2b-large-pictures", "Large pictures", "python benchmarks/large_pictures.py", text)


if __name__ == "__main__":
    main()
