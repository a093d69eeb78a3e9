"""Weights from a safetensors file, checked against the network before any is loaded.

A pickle (.pt, .pth, .bin) can run any code when it is opened, so none is: pth.py reads the numbers of files of known
origin without unpickling. A safetensors file is a header and numbers; its library checks that the header is bounded,
that the numbers fill the file and that none overlap.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from hashgrain.errors import TrainingError
from hashgrain.files import sha256_of
from hashgrain.learn.backbones.pth import named, read_pth

MAX_BYTES = 8 << 30
PICKLES = frozenset((".pt", ".pth", ".bin", ".pkl", ".pickle", ".ckpt", ".tar"))
PICKLE_STARTS = (b"PK\x03\x04", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")  # as torch saves; plain ones
SHOWN = 3  # names of tensors in a message


def read_weights(path: str | Path, published: Collection[str] = ()) -> dict[str, Tensor]:
    """Every tensor of a .safetensors file, by name. A .pth file is read if its origin is known: its SHA-256 is given
    after a `#`, or starts with one of those `published` with the network."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    file, digest = named(path)
    if not file.is_file():
        raise TrainingError(f"no weights at {file}: give a .safetensors file, or 'hub' to download them")
    if file.suffix.lower() in (".pth", ".pt"):
        return _checked(read_pth(file, digest, published), file)
    refuse_pickle(file)
    try:
        size = file.stat().st_size
    except OSError as error:
        raise TrainingError(f"cannot read {file} ({error.strerror})") from None
    if size > MAX_BYTES:
        raise TrainingError(f"{file} is larger than {MAX_BYTES >> 30} GB, more than weights may be")
    if digest and (own := sha256_of(file)) != digest:
        raise TrainingError(f"{file} has the SHA-256 {own}, not {digest}: it is another file, or a damaged one")
    try:
        weights = load_file(file)
    except (SafetensorError, OSError, ValueError, KeyError) as error:
        raise TrainingError(f"{file} is not a safetensors file, or a damaged one ({error}); get it again") from None
    return _checked(weights, file)


def _checked(weights: dict[str, Tensor], file: Path) -> dict[str, Tensor]:
    broken = [name for name, weight in weights.items() if weight.is_floating_point() and not _finite(weight)]
    if broken:
        raise TrainingError(f"{file} holds weights that are not numbers: {_some(broken)}; get it again")
    return weights


def refuse_pickle(file: Path) -> None:
    try:
        with file.open("rb") as opened:
            start = opened.read(4)
    except OSError as error:
        raise TrainingError(f"cannot read {file} ({error.strerror})") from None
    if file.suffix.lower() in PICKLES or start.startswith(PICKLE_STARTS):
        raise TrainingError(
            f"{file} is a pickle, which can run any code when it is opened; convert it where you trust it, with"
            " safetensors.torch.save_file(torch.load(FILE, weights_only=True), 'weights.safetensors')"
        )


def put_weights(network: nn.Module, weights: Mapping[str, Tensor], where: str, dropped: Collection[str] = ()) -> None:
    """Load all weights, or raise an error that lists what does not fit. `dropped` are parts that were removed."""
    state = network.state_dict()
    # Files of old torch versions lack the counts of batches, which nothing here uses.
    missing = [name for name in state if name not in weights and not name.endswith("num_batches_tracked")]
    extra = [
        name
        for name in weights
        if name not in state and not any(name == part or name.startswith(part + ".") for part in dropped)
    ]
    common = [name for name in state if name in weights]
    shapes = [
        f"{name} {_shape(weights[name])} for {_shape(state[name])}"
        for name in common
        if weights[name].shape != state[name].shape
    ]
    kinds = [
        f"{name} {weights[name].dtype} for {state[name].dtype}"
        for name in common
        if weights[name].is_floating_point() != state[name].is_floating_point()
    ]
    faults = (("missing", missing), ("not of it", extra), ("of another shape", shapes), ("of another kind", kinds))
    differences = [f"{what}: {_some(names)}" for what, names in faults if names]
    if differences:
        raise TrainingError(f"{where} holds the weights of another architecture; {'; '.join(differences)}")
    network.load_state_dict({name: weights[name] for name in common}, strict=False)


def fits(network: nn.Module, weights: Mapping[str, Tensor]) -> bool:
    """Whether every weight that the network has by name has the same shape there."""
    state = network.state_dict()
    return all(weight.shape == state[name].shape for name, weight in weights.items() if name in state)


def _finite(weight: Tensor) -> bool:
    return bool(torch.isfinite(weight.float()).all())


def _shape(tensor: Tensor) -> str:
    return "x".join(map(str, tensor.shape)) or "one number"


def _some(names: Sequence[str]) -> str:
    more = len(names) - SHOWN
    return ", ".join(names[:SHOWN]) + (f" and {more} more" if more > 0 else "")
