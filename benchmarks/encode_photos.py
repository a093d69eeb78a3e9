"""160 photographs to codes: decoding alone, the network alone, both overlapped, and a torch loop beside.

python encode_photos.py [photo|small]
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from hashgrain import Encoder
from hashgrain.media import DecodePool, decode_workers
from report import median_seconds, need_data, table, write_section

# The folder is gone through this often in one run, so that starting up does not count.
REPEATS = {"photo": 4, "small": 16}
PEERS = {"photo": "tf_efficientnet_lite0", "small": "mobilenetv3_small_100"}  # names of timm


def contents(repeat: int) -> list[bytes]:
    return [path.read_bytes() for path in sorted(need_data().glob("photos/*.jpg"))] * repeat


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


def peak_memory_of_command(model: str) -> float:
    """Peak of the whole command `hashgrain encode photos`, its workers included, in MB."""
    command = [
        sys.executable,
        "-m",
        "hashgrain",
        "encode",
        str(need_data() / "photos"),
        "--model",
        model,
        "--out",
        str(Path(tempfile.gettempdir()) / f"peak-{os.getpid()}.npy"),
    ]
    child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    peak = 0
    while child.poll() is None:
        peak = max(peak, resident(child.pid))
        time.sleep(0.005)
    Path(command[-1]).unlink()
    assert child.returncode == 0
    return peak / 1e6


def torch_loop(files: list[bytes], architecture: str) -> float:
    """The usual loop: Pillow in loader processes, a network of timm at 224 px in torch, batches of 32."""
    import io

    import timm
    import torch

    torch.set_num_threads(os.cpu_count() or 1)
    net = timm.create_model(architecture, pretrained=False, num_classes=0).eval()

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
    model = sys.argv[1] if len(sys.argv) > 1 else "photo"
    files = contents(REPEATS[model])
    n, workers, cores = len(files), decode_workers(), os.cpu_count() or 1
    encoder, narrow = Encoder.load(model), Encoder.load(model, threads=cores - workers or 1)

    def numbered() -> Iterator[tuple[int, bytes]]:
        return enumerate(files)

    with DecodePool(encoder.bundle.size, workers=workers) as pool:
        pixels = np.stack([picture.pixels for _, picture in pool.decode(numbered())])
        decode = median_seconds(lambda: [None for _ in pool.decode(numbered())])
    with DecodePool(encoder.bundle.size, workers=cores) as pool:
        decode_all = median_seconds(lambda: [None for _ in pool.decode(numbered())])
    infer = median_seconds(lambda: narrow.codes(pixels))
    infer_all = median_seconds(lambda: encoder.codes(pixels))
    both = median_seconds(lambda: [None for _ in encoder.encode_each(numbered(), workers=workers)])
    few = files[: 160 * 4]
    peer = torch_loop(few, PEERS[model]) * n / len(few)
    rows = [
        [f"decoding alone, {workers} process(es)", f"{n / decode:.0f}"],
        [f"network alone, {cores - workers or 1} thread(s)", f"{n / infer:.0f}"],
        [f"**both, overlapped: {workers} decoding process(es) and {cores} threads**", f"**{n / both:.0f}**"],
        [f"decoding alone, {cores} processes", f"{n / decode_all:.0f}"],
        [f"network alone, {cores} threads", f"{n / infer_all:.0f}"],
        [f"torch loop, {PEERS[model]} at 224 px, {workers} loader(s) and {cores} threads", f"{n / peer:.0f}"],
    ]
    text = (
        f"160 photographs, {REPEATS[model]} times over to make starting workers count little; medians.\n\n"
        + table(["stage", "pictures/s"], rows)
        + f"\n\n- Overlapped against the slower stage, decoding and network each with half of the cores:"
        f" **{max(decode, infer) / both:.2f}**; each with every core: {max(decode_all, infer_all) / both:.2f}."
        f"\n- Against the most that all cores could do, the work of both stages shared out evenly:"
        f" {(decode_all + infer_all) / both:.2f}."
        f"\n- Against the torch loop: **{peer / both:.1f}x**."
        f"\n- Peak memory of `hashgrain encode photos`, worker processes included:"
        f" {peak_memory_of_command(model):.0f} MB."
    )
    name = {"photo": "2-encode", "small": "2-encode-small"}[model]
    write_section(name, f"Encoding photographs, `{model}`", f"python benchmarks/encode_photos.py {model}", text)


if __name__ == "__main__":
    assert threading.active_count() == 1
    main()
