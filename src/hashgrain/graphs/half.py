"""Weights in half precision: half the file size, the same computation.

Each weight is stored as float16, and the graph casts it to float32. ONNX Runtime does the casts once, when it loads the
model, so the model is as fast as before. The only loss is the rounding of weights (one part in 2048).
"""

from __future__ import annotations

import dataclasses

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from hashgrain.errors import TrainingError
from hashgrain.graphs.agreement import agreement, check_pixels
from hashgrain.models import Bundle

SUFFIX = ".float16"


def halve(bundle: Bundle, pixels: NDArray[np.uint8]) -> Bundle:
    """The model with its weights in float16; `training` records how many bits of these pictures agree.

    Biases and other vectors stay in float32: they are small, and include the thresholds of bits.
    """
    check_pixels(bundle, pixels)
    model = onnx.load_from_string(bundle.onnx)
    weights = [tensor for tensor in model.graph.initializer if _is_weight(tensor)]
    if not weights:
        raise TrainingError(f"{bundle.name} has no weights in float32; there is nothing to halve")
    casts = []
    for tensor in weights:
        name = tensor.name
        exact = numpy_helper.to_array(tensor)
        tensor.CopyFrom(numpy_helper.from_array(exact.astype(np.float16), name + SUFFIX))
        casts.append(helper.make_node("Cast", [name + SUFFIX], [name], name + SUFFIX, to=TensorProto.FLOAT))
    nodes = list(model.graph.node)
    del model.graph.node[:]
    model.graph.node.extend([*casts, *nodes])
    small = dataclasses.replace(bundle, name=f"{bundle.name}-half", onnx=bytes(model.SerializeToString()))
    facts = dataclasses.asdict(agreement(bundle, small, pixels))
    return dataclasses.replace(small, training={**bundle.training, "half": {"of": bundle.code_digest, **facts}})


def _is_weight(tensor: onnx.TensorProto) -> bool:
    """Whether a tensor is a float32 matrix or kernel whose values fit: the largest float16 is 65504."""
    if tensor.data_type != TensorProto.FLOAT or len(tensor.dims) < 2:
        return False
    return bool(np.abs(numpy_helper.to_array(tensor)).max(initial=0) <= np.finfo(np.float16).max)
