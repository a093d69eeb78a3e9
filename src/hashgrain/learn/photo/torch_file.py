"""Locates the tensors in a weights file of PyTorch's old format, without unpickling it.

Such a file is five pickles (a magic number, the protocol, facts of the system, the state dict, the keys of the
storages), then every storage in the order of the keys: its length as 8 bytes, and its numbers, little-endian. The
pickle of the state dict is parsed opcode by opcode: nothing in it is imported or called.
"""

from __future__ import annotations

import io
import pickletools
import struct
from dataclasses import dataclass
from typing import Any

from hashgrain.errors import TrainingError

DTYPES = {"FloatStorage": "<f4", "LongStorage": "<i8"}
NOTHING = object()


@dataclass(frozen=True)
class Record:
    """One tensor: the offset of its first element, and its strides (in elements)."""

    name: str
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    dtype: str


@dataclass(frozen=True)
class Call:
    """A call that unpickling would make, recorded instead."""

    function: str
    arguments: tuple[Any, ...]


def tensors_of(content: bytes) -> list[Record]:
    """The tensors of a state dict, in its order."""
    file = io.BytesIO(content)
    for _ in range(3):
        read_pickle(file)
    state = read_pickle(file)
    keys = read_pickle(file)
    starts, at = {}, file.tell()
    if not isinstance(keys, list) or not isinstance(state, list):
        raise TrainingError("this is no file of weights in PyTorch's old format")
    sizes = {"<f4": 4, "<i8": 8}
    dtypes = {}
    tensors = []
    for name, call in state:
        (_, storage, key, *_), start, shape, strides, *_ = call.arguments
        dtypes[key] = DTYPES[storage.rsplit(" ", 1)[1]]
        tensors.append((name, key, start, shape, strides))
    for key in keys:
        (count,) = struct.unpack_from("<q", content, at)
        starts[key] = at + 8
        at += 8 + count * sizes[dtypes[key]]
    return [
        Record(name, starts[key] + start * sizes[dtypes[key]], tuple(shape), tuple(strides), dtypes[key])
        for name, key, start, shape, strides in tensors
    ]


def read_pickle(file: io.BytesIO) -> Any:
    """The content of the next pickle, with calls recorded as `Call`; a dict is a list of pairs."""
    stack: list[Any] = []
    memo: dict[Any, Any] = {}
    for opcode, argument, _ in pickletools.genops(file):
        name = opcode.name
        if name in ("PROTO", "BUILD"):
            if name == "BUILD":
                stack.pop()
        elif name == "STOP":
            return stack.pop()
        elif name == "MARK":
            stack.append(NOTHING)
        elif name == "GLOBAL":
            stack.append(argument)
        elif name in ("BINPUT", "LONG_BINPUT"):
            memo[argument] = stack[-1]
        elif name in ("BINGET", "LONG_BINGET"):
            stack.append(memo[argument])
        elif name in ("EMPTY_DICT", "EMPTY_LIST"):
            stack.append([])
        elif name == "EMPTY_TUPLE":
            stack.append(())
        elif name in ("TUPLE1", "TUPLE2", "TUPLE3"):
            count = int(name[-1])
            stack[-count:] = [tuple(stack[-count:])]
        elif name in ("TUPLE", "SETITEMS", "APPENDS"):
            _gather(stack, name)
        elif name == "SETITEM":
            value, key = stack.pop(), stack.pop()
            stack[-1].append((key, value))
        elif name == "APPEND":
            value = stack.pop()
            stack[-1].append(value)
        elif name == "REDUCE":
            arguments, function = stack.pop(), stack.pop()
            ordered = isinstance(function, str) and function.endswith("OrderedDict")
            stack.append([] if ordered else Call(function, arguments))
        elif name == "BINPERSID":
            pass  # (storage, type, key, place, size, ...), as it is
        elif name == "NONE":
            stack.append(None)
        elif name in ("NEWTRUE", "NEWFALSE"):
            stack.append(name == "NEWTRUE")
        elif opcode.arg is not None:  # a number or a text
            stack.append(argument)
        else:
            raise TrainingError(f"a file of weights does not use the pickle opcode {name}")
    raise TrainingError("the file of weights ends within a pickle")


def _gather(stack: list[Any], name: str) -> None:
    """Pop everything since the last mark, as a tuple, as items, or as pairs."""
    mark = next(place for place in range(len(stack) - 1, -1, -1) if stack[place] is NOTHING)
    items = stack[mark + 1 :]
    del stack[mark:]
    if name == "TUPLE":
        stack.append(tuple(items))
    elif name == "APPENDS":
        stack[-1].extend(items)
    else:
        stack[-1].extend(zip(items[::2], items[1::2], strict=True))
