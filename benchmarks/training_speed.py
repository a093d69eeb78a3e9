"""Our training loop beside the usual one, the same network on the same pictures and machine."""

from __future__ import annotations

import dataclasses
import tempfile
import time
from pathlib import Path
from statistics import median

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset

from hashgrain.learn.data.grain_labels import GrainLabels
from hashgrain.learn.data.inputs import PictureInputs
from hashgrain.learn.data.labelled import Labelled, load_labelled
from hashgrain.learn.recipe import Aim, Phase
from hashgrain.learn.recipes import RECIPES
from hashgrain.learn.run import build_backbone
from hashgrain.learn.training.heads import build_head, train_head
from hashgrain.learn.training.loop import Training
from hashgrain.learn.training.network import HashNetwork
from hashgrain.learn.training.precision import best_precision
from report import HERE, median_seconds, need_data, table, write_section

BATCH, SIZE, STEPS, ROUNDS = 256, 64, 8, 3


class Decoded(Dataset):
    def __init__(self, data: Labelled) -> None:
        from torchvision.transforms import v2

        self.pixels, self.labels = data.inputs, data.levels["thing"].only()
        self.seen = v2.Compose(
            [
                v2.RandomResizedCrop(SIZE, scale=(0.35, 1.0), antialias=True),
                v2.RandomHorizontalFlip(),
                v2.ColorJitter(0.3, 0.3, 0.2),
                v2.ToDtype(torch.float32, scale=True),
                v2.Normalize([0.45] * 3, [0.25] * 3),
            ]
        )

    def __len__(self) -> int:
        return len(self.pixels)

    def __getitem__(self, row: int) -> tuple[torch.Tensor, int]:
        return self.seen(torch.from_numpy(self.pixels[row].transpose(2, 0, 1).copy())), int(self.labels[row])


def usual_loop(data: Labelled, workers: int, half: bool) -> float:
    """Pictures per second: DataLoader, torchvision's transforms, cross-entropy, SGD."""
    recipe = RECIPES["default"]
    backbone = build_backbone(recipe)
    network = nn.Sequential(backbone, nn.Linear(backbone.width, 200)).to(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9, weight_decay=5e-4)
    loader = DataLoader(Decoded(data), BATCH, shuffle=True, num_workers=workers, drop_last=True)
    started = 0.0
    for step, (pixels, labels) in enumerate(loader):
        if step == 2:  # starting workers and memory is not counted
            started = time.perf_counter()
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            loss = nn.functional.cross_entropy(network(pixels.to(memory_format=torch.channels_last)).float(), labels)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        if step == STEPS + 1:
            break
    return STEPS * BATCH / (time.perf_counter() - started)


def our_loop(data: Labelled, aim: Aim | None = None, views: int = 1, nested: bool = False) -> float:
    """Pictures per second, our own augmentation, which does more, included."""
    known = RECIPES["default"]
    schedule = dataclasses.replace(
        known.schedule, phases=(Phase((STEPS + 2) * BATCH / len(data), SIZE),), batch=BATCH // views
    )
    grains = known.grains if aim is None else {"thing": 64}
    recipe = dataclasses.replace(known, schedule=schedule, tuning=None, views=views)
    if aim is not None:
        recipe = dataclasses.replace(recipe, aim=aim, labelled=("thing",), grains=type(known.grains)(grains))
        data = dataclasses.replace(data, levels={"thing": data.levels["thing"]})
    if nested:
        grains = RECIPES["nested"].grains
        recipe = dataclasses.replace(recipe, aim=Aim("csq"), labelled=tuple(grains), grains=grains)
        data = dataclasses.replace(data, levels=dict.fromkeys(grains, data.levels["thing"]))
    backbone = build_backbone(recipe)
    network = HashNetwork(backbone, build_head(recipe, backbone)).to(memory_format=torch.channels_last)
    nothing = data.take(np.arange(0))
    with tempfile.TemporaryDirectory() as run:
        work = Training(network, recipe, data, PictureInputs(data.inputs, recipe.augmentation), nothing, Path(run))
        for _ in range(2):
            work._train_once()
            work.step += 1
        started = time.perf_counter()
        for _ in range(STEPS):
            work._train_once()
            work.step += 1
    return STEPS * BATCH / (time.perf_counter() - started)


def head_epoch() -> float:
    """Seconds of one epoch of a head, 64 bits, on 50,000 features of 512 values."""
    dice = np.random.default_rng(0)
    features = dice.normal(0, 1, (50_000, 512)).astype(np.float32)
    labels = GrainLabels(tuple(map(str, range(10))), dice.integers(0, 10, (50_000, 1)).astype(np.int32))
    data = Labelled(features, {"thing": labels}, np.array([f"{i:064d}" for i in range(50_000)]))
    known = RECIPES["csq"]
    schedule = dataclasses.replace(known.schedule, phases=(Phase(1, 1),), batch=256)
    network = dataclasses.replace(known.network, backbone="features", trained="head")
    recipe = dataclasses.replace(known, schedule=schedule, network=network)
    nothing = data.take(np.arange(0))

    def epoch() -> None:
        with tempfile.TemporaryDirectory() as run:
            train_head(recipe, features[None], data, nothing, Path(run))

    return median_seconds(epoch, ROUNDS)


def main() -> None:
    torch.set_num_threads(2)
    data = load_labelled(need_data() / "tiny-imagenet-200", SIZE, ("kind", "thing"), cache=HERE / "runs" / "tiny")
    half = best_precision() == "bf16"
    numbers = "bf16" if half else "float32"  # a section for each: machines have the one or the other
    loops = {
        "ours, one loss (csq)": lambda: our_loop(data, Aim("csq")),
        "ours, nested: the same loss at 16, 32, 64 and 128 bits": lambda: our_loop(data, nested=True),
        "ours, the default recipe: three grains, two views": lambda: our_loop(data, views=2),
        "usual loop, no workers": lambda: usual_loop(data, 0, half=False),
        "usual loop, 2 workers": lambda: usual_loop(data, 2, half=False),
    }
    if half:
        loops["usual loop, 2 workers, bf16"] = lambda: usual_loop(data, 2, half=True)
    found: dict[str, list[float]] = {name: [] for name in loops}
    for _ in range(ROUNDS):
        for name, loop in loops.items():  # in turn, so that all see the same machine
            found[name].append(loop())
    ours = median(found["ours, one loss (csq)"])
    rows = [[name, f"{median(each):.0f}", f"{ours / median(each):.2f}x"] for name, each in found.items()]
    text = (
        f"The default backbone at {SIZE} px, batches of {BATCH}, pictures decoded before for both; medians of {ROUNDS}"
        " rounds in turn. The usual loop: DataLoader, torchvision's v2 transforms (crop, flip, color), cross-entropy,"
        " SGD. Ours turns, blurs and covers too, a batch at a time, and computes in"
        f" {numbers} here.\n\n"
        + table(["loop", "pictures/s", "ours against it"], rows)
        + "\n\nA head on frozen features, 50,000 x 512, 64 bits, batches of 256:"
        + f" {head_epoch():.2f} s an epoch, set-up included."
    )
    name, title = f"4b-training-speed-{numbers}", f"Training speed in {numbers}"
    write_section(name, title, "python benchmarks/training_speed.py", text)


if __name__ == "__main__":
    main()
