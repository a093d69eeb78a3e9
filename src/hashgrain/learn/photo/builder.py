"""Builds graphs: nodes and constants in order, and a record of the constants that are cut out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto, helper

from hashgrain.learn.photo.torch_file import Record
from hashgrain.models.weights import computed

HALF, FLOAT = "<f2", "<f4"
TYPES = {HALF: TensorProto.FLOAT16, FLOAT: TensorProto.FLOAT}
Hole = tuple[str, str, dict[str, Any]]  # kind, dtype, records


@dataclass
class GraphBuilder:
    """Nodes and constants in order. Constants may be stored in half precision; computation is in full precision."""

    weights: bytes
    records: Mapping[str, Record]
    nodes: list[Any] = field(default_factory=list)
    numbers: list[Any] = field(default_factory=list)
    holes: dict[str, Hole] = field(default_factory=dict)

    def node(self, kind: str, inputs: list[str], output: str, **attributes: Any) -> str:
        self.nodes.append(helper.make_node(kind, inputs, [output], name=output, **attributes))
        return output

    def constant(self, name: str, values: NDArray[Any], dtype: str = FLOAT) -> str:
        """A constant of our own, which stays in our part of the graph."""
        return self._number(name, values, dtype)

    def indices(self, name: str, values: list[int]) -> str:
        self.numbers.append(helper.make_tensor(name, TensorProto.INT64, [len(values)], values))
        return name

    def pretrained(self, name: str, kind: str, dtype: str, **tensors: str) -> str:
        """A constant computed from tensors of the pretrained file, which is cut out of our part."""
        records = {role: self.records[tensor] for role, tensor in tensors.items()}
        placed = {role: [each.offset, list(each.shape), list(each.strides)] for role, each in records.items()}
        values = computed(self.weights, kind, placed)
        self.holes[name] = (kind, dtype, placed)
        return self._number(name, values, dtype)

    def _number(self, name: str, values: NDArray[Any], dtype: str) -> str:
        stored = name if dtype == FLOAT else f"{name}.half"
        raw = np.ascontiguousarray(values).astype(dtype).tobytes()
        self.numbers.append(helper.make_tensor(stored, TYPES[dtype], values.shape, raw, raw=True))
        if dtype == HALF:
            self.node("Cast", [stored], name, to=TensorProto.FLOAT)
        if name in self.holes and stored != name:
            self.holes[stored] = self.holes.pop(name)
        return name
