"""From a trained network to a bundle: the ONNX graph, its parity with the network, the calibrated words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from hashgrain.codes import Codes
from hashgrain.encoder import Bundle, Encoder, Threshold
from hashgrain.errors import TrainingError
from hashgrain.learn.data import LABELLED_GRAINS, Labelled
from hashgrain.learn.network import HashNetwork
from hashgrain.learn.recipes import Recipe

OPSET = 18
PAIRS = 2_000_000  # random pairs of pictures the words are calibrated on
# How often a word may be said of two pictures that do not deserve it.
FALSE_ALARMS = {"same": 1e-5, "near": 1e-3, "related": 2e-2}


class _Runtime(nn.Module):
    """What runs at search time: bytes in, so that no caller can get the scaling wrong."""

    def __init__(self, network: HashNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        outputs, features = self.network(pixels.permute(0, 3, 1, 2).float() / 255)
        return outputs, features


@dataclass(frozen=True)
class Parity:
    """How well the exported graph agrees with the network it came from."""

    pictures: int
    largest_difference: float
    bits_differing: int
    largest_output_of_those: float


def to_onnx(network: HashNetwork, size: int) -> bytes:
    """The graph as one self-contained file, for batches of any length."""
    example = torch.zeros(2, size, size, 3, dtype=torch.uint8)
    program = torch.onnx.export(
        _Runtime(network).eval().cpu(),
        (example,),
        dynamo=True,
        external_data=False,
        opset_version=OPSET,
        input_names=["pixels"],
        output_names=["outputs", "features"],
        dynamic_shapes={"pixels": {0: torch.export.Dim("batch", min=1)}},
        verbose=False,
    )
    if program is None:
        raise TrainingError("the network could not be exported to ONNX")
    program.optimize()
    return _stripped(program.model_proto.SerializeToString())


def _stripped(graph: bytes) -> bytes:
    """Without the exporter's notes: names of source files have no place in a published model."""
    import onnx

    model = onnx.load_from_string(graph)
    model.doc_string = ""
    del model.metadata_props[:]
    for part in (
        model.graph,
        *model.graph.node,
        *model.graph.value_info,
        *model.graph.input,
        *model.graph.output,
    ):
        part.doc_string = ""
        del part.metadata_props[:]
    return bytes(model.SerializeToString())


def export(network: HashNetwork, recipe: Recipe, held: Labelled, training: Mapping[str, Any]) -> tuple[Bundle, Parity]:
    """The bundle, calibrated on pictures held out of training, and its parity with the network on them."""
    from hashgrain.learn.train import outputs_of

    onnx = to_onnx(network, recipe.size)
    size = (recipe.size, recipe.size)
    encoder = Encoder(Bundle(recipe.name, onnx, recipe.grains, size))
    expected, _ = outputs_of(network, held.pixels, recipe.size)
    found = encoder.outputs(held.pixels)
    parity = _compare(expected, found)
    if parity.bits_differing and parity.largest_output_of_those > 1e-3:
        raise TrainingError(f"the exported graph does not compute what the network does: {parity}")
    codes = Codes.from_outputs(found, recipe.grains)
    bundle = Bundle(
        recipe.name,
        onnx,
        recipe.grains,
        size,
        words=calibrate(codes, held),
        labels={grain: prototypes(found, held, grain, recipe) for grain in LABELLED_GRAINS},
        training=training,
    )
    return bundle, parity


def _compare(expected: NDArray[np.float32], found: NDArray[np.float32]) -> Parity:
    differing = (expected >= 0) != (found >= 0)
    return Parity(
        pictures=len(expected),
        largest_difference=float(np.abs(expected - found).max()),
        bits_differing=int(differing.sum()),
        largest_output_of_those=float(np.abs(expected[differing]).max()) if differing.any() else 0.0,
    )


def calibrate(codes: Codes, held: Labelled) -> dict[str, Threshold]:
    """The largest distance at which each word is wrong no more often than FALSE_ALARMS allows.

    `same` is wrong of any two pictures, `near` of two things, `related` of two kinds.
    """
    generator = np.random.default_rng(0)
    left, right = generator.integers(0, len(codes), (2, PAIRS))
    kind, thing = (held.labels[grain][left] == held.labels[grain][right] for grain in LABELLED_GRAINS)
    other_picture = held.contents[left] != held.contents[right]
    undeserving = {
        "same": (codes.grains.finest, other_picture),
        "near": ("thing", ~thing),
        "related": ("kind", ~kind),
    }
    words = {}
    for word, (grain, wrong) in undeserving.items():
        prefix = codes.at(grain).words
        distances = np.bitwise_count(prefix[left[wrong]] ^ prefix[right[wrong]]).sum(axis=1)
        share = np.cumsum(np.bincount(distances, minlength=codes.grains[grain] + 1)) / max(1, len(distances))
        words[word] = Threshold(grain, max(0, int(np.searchsorted(share, FALSE_ALARMS[word], side="right")) - 1))
    return words


def prototypes(outputs: NDArray[np.float32], held: Labelled, grain: str, recipe: Recipe) -> dict[str, str]:
    """The code in the middle of each label's pictures, cut to the grain, in hexadecimal."""
    prefix = recipe.grains.up_to(grain)
    found = {}
    for number, name in enumerate(held.names[grain]):
        middle = outputs[held.labels[grain] == number, : prefix.bits].mean(axis=0)
        found[name] = Codes.from_outputs(middle, prefix).to_bytes().tobytes().hex()
    return found
