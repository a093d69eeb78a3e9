"""160 photographs to codes: decoding alone, the network alone, both overlapped, and a torch loop beside."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from hashgrain import Encoder
from hashgrain.images import DecodePool, decode_workers
from report import median_seconds, need_data, table, write_section

REPEAT = 16  # the folder is gone through this often in one run, so that starting up does not count


def contents() -> list[bytes]:
    return [path.read_bytes() for path in sorted(need_data().glob("photos/*.jpg"))] * REPEAT


def resident(pid: int) -> int:
    """Bytes a process and its children hold now."""
    total = 0
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
            if int(entry.name) == pid or int(fields[1]) == pid:
                total += int((entry / "statm").read_text().split()[1]) * resource.getpagesize()
        except OSError:
            continue
    return total


def peak_memory_of_command() -> float:
    """Peak of the whole command `hashgrain encode photos`, its workers included, in MB."""
    command = [
        sys.executable,
        "-m",
        "hashgrain",
        "encode",
        str(need_data() / "photos"),
        "--out",
        os.devnull + ".npy",
    ]
    command[-1] = str(Path("/tmp") / f"peak-{os.getpid()}.npy")
    child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    peak = 0
    while child.poll() is None:
        peak = max(peak, resident(child.pid))
        time.sleep(0.005)
    Path(command[-1]).unlink()
    assert child.returncode == 0
    return peak / 1e6


def torch_loop(files: list[bytes]) -> float:
    """The usual loop: Pillow in two loader threads, MobileNetV3-small at 224 px in torch, batches of 32."""
    import io

    import timm
    import torch

    torch.set_num_threads(os.cpu_count() or 1)
    net = timm.create_model("mobilenetv3_small_100", pretrained=False, num_classes=0).eval()

    class Files(torch.utils.data.Dataset):  # type: ignore[misc]
        def __len__(self) -> int:
            return len(files)

        def __getitem__(self, i: int) -> torch.Tensor:
            image = Image.open(io.BytesIO(files[i])).convert("RGB").resize((224, 224), Image.Resampling.BILINEAR)
            return torch.from_numpy(np.asarray(image).copy()).permute(2, 0, 1).float() / 255

    loader = torch.utils.data.DataLoader(Files(), 32, num_workers=decode_workers())

    @torch.inference_mode()
    def work() -> None:
        for batch in loader:
            net(batch)

    return median_seconds(work, 3)


def main() -> None:
    files = contents()
    n, workers, cores = len(files), decode_workers(), os.cpu_count() or 1
    threads = max(1, cores - workers)
    encoder = Encoder.load("small")

    def numbered() -> Iterator[tuple[int, bytes]]:
        return enumerate(files)

    with DecodePool(encoder.bundle.size, workers=workers) as pool:
        pixels = np.stack([picture.pixels for _, picture in pool.decode(numbered())])
        decode = median_seconds(lambda: [None for _ in pool.decode(numbered())])
    with DecodePool(encoder.bundle.size, workers=cores) as pool:
        decode_all = median_seconds(lambda: [None for _ in pool.decode(numbered())])
    infer = median_seconds(lambda: encoder.codes(pixels))
    wide = Encoder.load(threads=cores)
    infer_all = median_seconds(lambda: wide.codes(pixels))
    both = median_seconds(lambda: [None for _ in encoder.encode_each(numbered(), workers=workers)])
    few = files[: 160 * 4]
    peer = torch_loop(few) * n / len(few)
    slower = max(decode, infer)
    rows = [
        ["decoding alone", f"{workers} worker process(es)", f"{n / decode:.0f}"],
        ["network alone", f"{threads} thread(s)", f"{n / infer:.0f}"],
        ["**both, overlapped**", f"{workers} worker(s) and {threads} thread(s)", f"**{n / both:.0f}**"],
        ["decoding alone, every core", f"{cores} worker processes", f"{n / decode_all:.0f}"],
        ["network alone, every core", f"{cores} threads", f"{n / infer_all:.0f}"],
        ["torch loop, MobileNetV3-small at 224 px", f"{workers} loader(s) and {cores} threads", f"{n / peer:.0f}"],
    ]
    text = (
        f"160 photographs, {REPEAT} times over to make starting workers count little; medians, pictures/s.\n\n"
        + table(["stage", "with", "pictures/s"], rows)
        + f"\n\n- Overlapped against the slower stage, each with its cores of the pipeline: **{slower / both:.2f}**."
        f"\n- Against the most that all cores could do, the work of both stages shared out evenly:"
        f" {(decode_all + infer_all) / both:.2f}."
        f"\n- Against the torch loop: **{peer / both:.1f}x**."
        f"\n- Peak memory of `hashgrain encode photos`, worker processes included: {peak_memory_of_command():.0f} MB."
    )
    write_section("2-encode", "Encoding photographs", "python benchmarks/encode_photos.py", text)


if __name__ == "__main__":
    assert threading.active_count() == 1
    main()
