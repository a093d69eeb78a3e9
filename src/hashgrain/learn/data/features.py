"""Features computed once and cached on disk, so that a head on a frozen backbone trains in seconds."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from hashgrain.files import writing_atomically
from hashgrain.learn.data.augment import Augmentation, random_views
from hashgrain.learn.data.labelled import Labelled, data_digest
from hashgrain.learn.training.precision import best_precision
from hashgrain.types import Fit, Log

BATCH = 256


def cached_features(
    backbone: nn.Module,
    data: Labelled,
    size: int,
    views: int,
    augmentation: Augmentation,
    folder: Path,
    log: Log = lambda text: None,
    *,
    fit: Fit = "squash",
) -> NDArray[np.float32]:
    """(views, n, width): features of the unchanged pictures, then of random views. They are cached in `folder` for the
    next run with the same pictures, backbone and views."""
    key = _key(backbone, data, str(size) if fit == "squash" else f"{size} {fit}", views, augmentation)
    file = folder / f"features-{key}.npy"
    if file.exists():
        try:
            features: NDArray[np.float32] = np.load(file, allow_pickle=False)
        except (OSError, ValueError):
            log(f"{file} is damaged and is computed again")
        else:
            log(f"features of an earlier run: {file}")
            return features
    by_view = []
    for view in range(views):
        log(f"features of {len(data):,} pictures, view {view + 1} of {views}")
        by_view.append(_features(backbone, data.inputs, size, augmentation if view else None, view))
    folder.mkdir(parents=True, exist_ok=True)
    with writing_atomically(file) as out:
        np.save(out, np.stack(by_view))
    return np.stack(by_view)


@torch.no_grad()
def _features(
    backbone: nn.Module, pixels: NDArray[np.uint8], size: int, augmentation: Augmentation | None, seed: int
) -> NDArray[np.float32]:
    backbone.eval()
    home = next((tensor.device for tensor in backbone.buffers()), torch.device("cpu"))
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    backbone.to(device)
    generator = torch.Generator().manual_seed(seed)
    still = Augmentation.none()
    parts = []
    for start in range(0, len(pixels), BATCH):
        batch = torch.from_numpy(pixels[start : start + BATCH]).to(device)
        shown = random_views(batch, size, generator, augmentation or still)
        with torch.autocast(device.type, torch.bfloat16, enabled=best_precision() == "bf16"):
            parts.append(backbone(shown.contiguous(memory_format=torch.channels_last)).float().cpu().numpy())
    backbone.to(home)
    return np.concatenate(parts)


def _key(backbone: nn.Module, data: Labelled, size: str, views: int, augmentation: Augmentation) -> str:
    of = f"{data_digest(data)} {size} {views} {augmentation} {best_precision()} {digest_of(backbone)}"
    return hashlib.sha256(of.encode()).hexdigest()[:16]


def digest_of(network: nn.Module) -> str:
    """The digest of a network's weights and buffers. An ONNX graph has none in torch: its file's digest counts."""
    seen = hashlib.sha256(type(network).__name__.encode())
    tensors = [*network.named_parameters(), *network.named_buffers()]
    for name, tensor in sorted(tensors, key=lambda entry: entry[0]):
        seen.update(name.encode() + tensor.detach().cpu().contiguous().float().numpy().tobytes())
    for module in network.modules():
        seen.update(str(getattr(module, "graph_digest", "")).encode())
    return seen.hexdigest()
