"""The training loop. All randomness comes from (seed, step), so a resumed run takes the very same steps."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import math
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from hashgrain.codes import Codes
from hashgrain.errors import TrainingError
from hashgrain.evaluate import precision, tally
from hashgrain.learn.augment import random_views
from hashgrain.learn.data import LABELLED_GRAINS, Labelled
from hashgrain.learn.losses import InstanceContrast, NestedCentreLoss, nested_centres, quantisation
from hashgrain.learn.network import Backbone, HashNetwork
from hashgrain.learn.recipes import HeadTuning, Recipe

CHECKPOINT_SECONDS = 120
VALIDATION_QUERIES = 2_000


@dataclass(frozen=True)
class Progress:
    """What the loop says after every so many steps."""

    step: int
    steps: int
    epoch: float
    loss: float
    parts: dict[str, float]
    pictures_per_second: float
    validation: dict[str, float] | None = None


def build_network(recipe: Recipe) -> HashNetwork:
    torch.manual_seed(recipe.seed)
    return HashNetwork(Backbone(recipe.channels, recipe.blocks), recipe.grains)


class NestedLoss(nn.Module):
    """The sum over the grains: kind and thing by their centres, look by telling pictures apart."""

    def __init__(self, recipe: Recipe, parents: NDArray[np.int64], n_kinds: int) -> None:
        super().__init__()
        self.recipe = recipe
        kind_bits, self.thing_bits = (recipe.grains[grain] for grain in LABELLED_GRAINS)
        kinds, things = nested_centres(parents, n_kinds, (kind_bits, self.thing_bits), recipe.seed)
        self.kind = NestedCentreLoss(kinds, scale=recipe.scale, margin=recipe.margin)
        self.thing = NestedCentreLoss(things, scale=recipe.scale, margin=recipe.margin)
        self.look = InstanceContrast(recipe.temperature)
        # Fixed binary centres alone teach a new backbone slowly; a plain classifier on its features shows the way.
        self.classifier = nn.Linear(recipe.channels[-1], len(parents))

    def forward(
        self, outputs: Tensor, features: Tensor, kinds: Tensor, things: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        parts = {
            "classifier": F.cross_entropy(self.classifier(features), things),
            "kind": self.kind(outputs, kinds),
            "thing": self.thing(outputs, things),
            "look": self.look(outputs[:, self.thing_bits :]),
            "quantisation": quantisation(outputs),
        }
        recipe = self.recipe
        total = parts["thing"] + recipe.kind_weight * parts["kind"] + recipe.classifier_weight * parts["classifier"]
        total = total + recipe.instance_weight * parts["look"] + recipe.quantisation_weight * parts["quantisation"]
        return total, parts


def plan(recipe: Recipe, n_pictures: int) -> list[int]:
    """The picture size of every step. An epoch is as many views as there are pictures."""
    sizes: list[int] = []
    for phase in recipe.phases:
        sizes += [phase.size] * max(1, round(phase.epochs * n_pictures / (2 * recipe.batch)))
    return sizes


def learning_rate(recipe: Recipe, step: int, steps: int) -> float:
    """Linear warm-up, then half a cosine to zero."""
    warm_up = max(1, round(recipe.warm_up * steps))
    if step < warm_up:
        return recipe.learning_rate * (step + 1) / warm_up
    return recipe.learning_rate * 0.5 * (1 + math.cos(math.pi * (step - warm_up) / max(1, steps - warm_up)))


def train(recipe: Recipe, data: Labelled, validation: Labelled, run: Path) -> Iterator[Progress]:
    """Train in the folder `run`, or go on with what stands there. The result is run/checkpoint.pt."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    # Half precision only where the hardware has it: on a CPU without it, it is ten times slower.
    half = device.type == "cuda" and torch.cuda.is_bf16_supported()
    precision = torch.autocast("cuda", torch.bfloat16) if half else contextlib.nullcontext()
    network = build_network(recipe).to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    loss = NestedLoss(recipe, data.parents(), len(data.names["kind"])).to(device)
    optimiser = torch.optim.AdamW(_parameter_groups(network, loss, recipe.weight_decay), lr=recipe.learning_rate)
    sizes = plan(recipe, len(data))
    step = _resume(run, recipe, data, network, loss, optimiser)

    kinds, things = (torch.from_numpy(data.labels[grain]) for grain in LABELLED_GRAINS)
    pixels = torch.from_numpy(data.pixels)
    batches_per_epoch = max(1, len(data) // recipe.batch)
    saved = reported = time.monotonic()
    since, losses, parts = step, 0.0, {}
    network.train()
    while step < len(sizes):
        generator = torch.Generator().manual_seed(recipe.seed * 1_000_003 + step)
        rows = _rows(recipe, len(data), step, batches_per_epoch)
        batch = pixels[rows].to(device)
        views = torch.cat([random_views(batch, sizes[step], generator, recipe.augmentation) for _ in range(2)])
        for group in optimiser.param_groups:
            group["lr"] = learning_rate(recipe, step, len(sizes))
        with precision:
            outputs, features = network(views.contiguous(memory_format=torch.channels_last))
        labels = kinds[rows].repeat(2).to(device), things[rows].repeat(2).to(device)
        total, parts = loss(outputs.float(), features.float(), *labels)
        _check_finite(total, step, run)
        optimiser.zero_grad(set_to_none=True)
        total.backward()
        optimiser.step()
        step += 1
        losses += float(total.detach())

        epoch_over = step % (2 * batches_per_epoch) == 0 or step == len(sizes)
        now = time.monotonic()
        if epoch_over or now - saved > CHECKPOINT_SECONDS:
            _save(run, recipe, data, network, loss, optimiser, step)
            saved = now
        if epoch_over or step % 50 == 0:
            quality = validate(network, validation, recipe, sizes[step - 1]) if epoch_over else None
            progress = Progress(
                step=step,
                steps=len(sizes),
                epoch=step * 2 * recipe.batch / len(data),
                loss=losses / (step - since),
                parts={name: round(float(part.detach()), 4) for name, part in parts.items()},
                pictures_per_second=2 * recipe.batch * (step - since) / max(1e-9, now - reported),
                validation=quality,
            )
            _log(run, progress)
            yield progress
            network.train()
            since, losses, reported = step, 0.0, time.monotonic()


def _check_finite(loss: Tensor, step: int, run: Path) -> None:
    if not torch.isfinite(loss):
        raise TrainingError(
            f"the loss is not a number at step {step}; the last good state is {run / 'checkpoint.pt'}."
            " Try a lower rate: --set learning_rate=0.001"
        )


def _log(run: Path, progress: Progress) -> None:
    with (run / "log.jsonl").open("a") as log:
        log.write(json.dumps(dataclasses.asdict(progress)) + "\n")


def _rows(recipe: Recipe, n: int, step: int, batches_per_epoch: int) -> Tensor:
    epoch, place = divmod(step, batches_per_epoch)
    order = np.random.default_rng((recipe.seed, epoch)).permutation(n)
    return torch.from_numpy(order[place * recipe.batch : (place + 1) * recipe.batch])


def _parameter_groups(network: nn.Module, loss: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Decay the weights of convolutions and layers, not the scales and shifts of normalisations."""
    trained = [*network.parameters(), *loss.parameters()]  # the loss holds the classifier
    matrices = [p for p in trained if p.ndim > 1]
    vectors = [p for p in trained if p.ndim <= 1]
    return [{"params": matrices, "weight_decay": weight_decay}, {"params": vectors, "weight_decay": 0.0}]


@torch.no_grad()
def outputs_of(
    network: HashNetwork, pixels: NDArray[np.uint8], size: int, batch: int = 256
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """(outputs, features) of pictures as they are, without augmentation."""
    network.eval()
    device = next(network.parameters()).device
    parts = []
    for start in range(0, len(pixels), batch):
        views = torch.from_numpy(pixels[start : start + batch]).to(device).permute(0, 3, 1, 2).float() / 255
        if views.shape[-1] != size:
            views = F.interpolate(views, size=(size, size), mode="area")
        parts.append([part.float().cpu().numpy() for part in network(views)])
    return np.concatenate([part[0] for part in parts]), np.concatenate([part[1] for part in parts])


def validate(network: HashNetwork, held: Labelled, recipe: Recipe, size: int) -> dict[str, float]:
    """Expected precision among the 10 nearest, at each labelled grain: held-out pictures against one another."""
    codes = Codes.from_outputs(outputs_of(network, held.pixels, size)[0], recipe.grains)
    chosen = np.random.default_rng(0).permutation(len(held))
    queries, database = np.split(chosen, [min(VALIDATION_QUERIES, len(held) // 2)])
    found = {}
    for grain in LABELLED_GRAINS:
        labels, prefix = held.labels[grain], codes.at(grain)
        counts = tally(prefix[queries], prefix[database], labels[queries], labels[database])
        found[f"{grain} P@10"] = round(float(precision(counts, 10).mean()), 4)
    return found


def _identity(recipe: Recipe, data: Labelled) -> dict[str, Any]:
    """What must be the same for a checkpoint to be gone on with: all but the tuning, which comes after it."""
    same = dataclasses.replace(recipe, tuning=HeadTuning())
    return {"recipe": repr(same), "pictures": len(data), "things": len(data.names["thing"])}


def _save(
    run: Path,
    recipe: Recipe,
    data: Labelled,
    network: nn.Module,
    loss: nn.Module,
    optimiser: torch.optim.Optimizer,
    step: int,
) -> None:
    state = {
        "network": network.state_dict(),
        "loss": loss.state_dict(),
        "optimiser": optimiser.state_dict(),
        "step": step,
        "identity": _identity(recipe, data),
    }
    part = run / "checkpoint.part"
    torch.save(state, part)
    os.replace(part, run / "checkpoint.pt")


def _resume(
    run: Path,
    recipe: Recipe,
    data: Labelled,
    network: nn.Module,
    loss: nn.Module,
    optimiser: torch.optim.Optimizer,
) -> int:
    run.mkdir(parents=True, exist_ok=True)
    checkpoint = run / "checkpoint.pt"
    if not checkpoint.exists():
        return 0
    state = torch.load(checkpoint, weights_only=True, map_location="cpu")
    if state["identity"] != _identity(recipe, data):
        raise TrainingError(f"{run} holds a run of another recipe or other data; choose another folder with --run")
    network.load_state_dict(state["network"])
    loss.load_state_dict(state["loss"])
    optimiser.load_state_dict(state["optimiser"])
    return int(state["step"])
