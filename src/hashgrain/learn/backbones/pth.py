"""Read the numbers of a file that torch saved (.pth). Its pickle is parsed, and nothing in it runs.

Only files of known origin are read: their SHA-256 is the publisher's (torchvision puts its first 8 digits into the
file's name) or the user's. Newer files are a zip of `data.pkl`, which describes each tensor, and one file per storage;
older ones are pickles followed by the storages.
"""

from __future__ import annotations

import hashlib
import io
import math
import re
import zipfile
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hashgrain.errors import TrainingError
from hashgrain.files import read_regular
from hashgrain.learn.photo.torch_file import Call, read_pickle, tensors_of

MAX_BYTES = 8 << 30
MAX_PICKLE_BYTES = 64 << 20
SHARED = 4  # tensors that share storages may take so many times the file's size
STORAGES = {
    "FloatStorage": torch.float32,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "DoubleStorage": torch.float64,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
}
TENSOR, PARAMETER = "torch._utils _rebuild_tensor_v2", "torch._utils _rebuild_parameter"
INSIDE = ("state_dict", "model", "model_state_dict", "model_state", "net", "weights")  # keys of checkpoints
NAMED = re.compile(r"(.+)#([0-9a-fA-F]{64})")


def named(path: str | Path) -> tuple[Path, str]:
    """Split `FILE.pth#SHA256` into the file and the digest that the user expects."""
    match = NAMED.fullmatch(str(path))
    file, digest = (match[1], match[2].lower()) if match else (str(path), "")
    return Path(file).expanduser(), digest


def read_pth(file: Path, digest: str, published: Collection[str]) -> dict[str, Tensor]:
    """Every tensor by name, of a file with this digest, or with a digest that starts with a `published` one."""
    try:
        content = read_regular(file, MAX_BYTES)
    except OSError as error:
        raise TrainingError(f"cannot read {file} ({error.strerror})") from None
    own = hashlib.sha256(content).hexdigest()
    if digest and own != digest:
        raise TrainingError(f"{file} has the SHA-256 {own}, not {digest}: it is another file, or a damaged one")
    if not digest and not any(own.startswith(each) for each in published):
        raise TrainingError(
            f"{file} is a pickle, which can run any code when it is opened, and not one that is published with this"
            f" model. If you know where it comes from, give the publisher's checksum, weights={file}#SHA256, and only"
            " its numbers are read; or convert it to safetensors where you trust it"
        )
    try:
        return _of_zip(content) if content[:4] == b"PK\x03\x04" else tensors_of_pickles(content)
    except TrainingError as error:
        raise TrainingError(f"{file}: {error}") from None
    except Exception as error:  # a file made to be wrong raises anything
        raise TrainingError(
            f"{file} is no file of weights that can be read ({type(error).__name__}: {error})"
        ) from None


def _of_zip(content: bytes) -> dict[str, Tensor]:
    with zipfile.ZipFile(io.BytesIO(content)) as opened:
        entries = {each.filename: each for each in opened.infolist()}
        data = [name for name in entries if name.split("/")[1:] == ["data.pkl"]]
        if len(data) != 1 or any(each.compress_type != zipfile.ZIP_STORED for each in entries.values()):
            raise TrainingError("this is no zip that torch writes")
        folder = data[0].removesuffix("data.pkl")
        if entries.get(folder + "byteorder") and opened.read(folder + "byteorder") != b"little":
            raise TrainingError("its numbers are in another byte order; save it again on another machine")
        if entries[data[0]].file_size > MAX_PICKLE_BYTES:
            raise TrainingError("it describes more tensors than any network has")
        state = _state(read_pickle(io.BytesIO(opened.read(data[0]))))
        stored: dict[str, Tensor] = {}
        tensors: dict[str, Tensor] = {}
        taken = 0
        for name, call in state.items():
            (_, storage, key, *_), start, shape, strides, *_ = call.arguments
            if not isinstance(storage, str) or not isinstance(key, str):
                raise TrainingError(f"{name} does not say where its numbers are")
            if key not in stored:
                stored[key] = _numbers(opened.read(f"{folder}data/{key}"), storage)
            tensors[name] = _strided(name, stored[key], start, shape, strides)
            taken += tensors[name].nbytes
            if taken > SHARED * len(content):
                raise TrainingError("its tensors take many times the numbers that it holds")
        return tensors


def tensors_of_pickles(content: bytes) -> dict[str, Tensor]:
    """Read the older format; `photo.torch_file` locates its tensors."""
    tensors = {}
    for record in tensors_of(content):
        count = math.prod(record.shape)
        span = (
            1 + sum((edge - 1) * step for edge, step in zip(record.shape, record.strides, strict=True)) if count else 0
        )
        room = (len(content) - record.offset) // np.dtype(record.dtype).itemsize
        if not 0 <= span <= room or record.offset < 0 or count > room or min(record.strides, default=0) < 0:
            raise TrainingError(f"{record.name} does not lie within the file")
        flat = np.frombuffer(content, record.dtype, span, record.offset)
        tensors[record.name] = torch.from_numpy(flat.copy()).as_strided(record.shape, record.strides).clone()
    return tensors


def _state(top: Any) -> dict[str, Call]:
    """The tensors of a state dict, or of a checkpoint that contains one."""
    pairs = _pairs(top)
    for inside in INSIDE:
        if inside in pairs and isinstance(pairs[inside], list):
            pairs = _pairs(pairs[inside])
            break
    tensors = {}
    for name, value in pairs.items():
        call = value
        if isinstance(call, Call) and call.function == PARAMETER and isinstance(call.arguments[0], Call):
            call = call.arguments[0]
        if isinstance(call, Call) and call.function == TENSOR:
            tensors[name] = call
        elif not isinstance(call, (int, float, str, list, tuple, type(None))):
            raise TrainingError(f"{name} is no tensor, but {getattr(call, 'function', type(call).__name__)}")
    if not tensors:
        raise TrainingError("it holds no tensors by name; save the state_dict() of the network")
    if all(name.startswith("module.") for name in tensors):  # the names of a training on several GPUs
        tensors = {name.removeprefix("module."): call for name, call in tensors.items()}
    return tensors


def _pairs(value: Any) -> dict[str, Any]:
    if not isinstance(value, list) or not all(isinstance(pair, tuple) and len(pair) == 2 for pair in value):
        raise TrainingError("it holds no tensors by name; save the state_dict() of the network")
    return {name: each for name, each in value if isinstance(name, str)}


def _numbers(raw: bytes, storage: str) -> Tensor:
    kind = STORAGES.get(storage.rsplit(" ", 1)[-1])
    if kind is None:
        raise TrainingError(f"it has numbers of a kind that is not read here ({storage[:80]})")
    return torch.frombuffer(bytearray(raw), dtype=kind) if raw else torch.empty(0, dtype=kind)


def _strided(name: str, stored: Tensor, start: Any, shape: Sequence[Any], strides: Sequence[Any]) -> Tensor:
    numbers = [start, *shape, *strides]
    whole = all(isinstance(each, int) and not isinstance(each, bool) and each >= 0 for each in numbers)
    if not whole or len(shape) != len(strides):
        raise TrainingError(f"{name} has no shape that can be read")
    count = math.prod(shape)
    last = start + sum((edge - 1) * step for edge, step in zip(shape, strides, strict=True)) if count else 0
    if last >= max(1, len(stored)) or count > len(stored):
        raise TrainingError(f"{name} does not lie within its storage")
    return stored.as_strided(tuple(shape), tuple(strides), start).clone()
