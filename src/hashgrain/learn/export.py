"""From a trained network to a bundle: the ONNX graph, its parity with the network, the calibrated words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hashgrain.codes import Codes, Grains
from hashgrain.encoder import Bundle, Encoder, Threshold
from hashgrain.errors import TrainingError
from hashgrain.learn.data import GrainLabels, Labelled
from hashgrain.learn.network import HashNetwork
from hashgrain.learn.validation import outputs_of

OPSET = 18
PAIRS = 2_000_000  # random pairs of pictures the words are calibrated on
# How often a word may be said of two pictures that do not deserve it.
FALSE_ALARMS = {"same": 1e-5, "near": 1e-3, "related": 2e-2}
ROUNDING = 1e-3  # of outputs, which are of the order of 1


class _Runtime(torch.nn.Module):
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
    bits: int
    bits_differing: int
    largest_output_of_those: float

    def __str__(self) -> str:
        return f"{self.bits_differing} of {self.bits} bits of {self.pictures} pictures differ from the network's"


def to_onnx(network: HashNetwork, size: int) -> bytes:
    """The graph as one self-contained file, for batches of any length."""
    example = torch.zeros(2, size, size, 3, dtype=torch.uint8)
    return graph_of(_Runtime(network), example, "pixels", ["outputs", "features"])


def graph_of(
    network: torch.nn.Module,
    example: Tensor,
    takes: str,
    gives: Sequence[str],
    open_axes: Mapping[int, str] | None = None,
) -> bytes:
    """Any network with one input as a graph for batches of any length. `open_axes` of the input are of any length too;
    they must not be those of the example alone."""
    axes = {0: torch.export.Dim("batch", min=1)} | {
        axis: torch.export.Dim(name, min=16) for axis, name in (open_axes or {}).items()
    }
    program = torch.onnx.export(
        network.eval().cpu(),
        (example,),
        dynamo=True,
        external_data=False,
        opset_version=OPSET,
        input_names=[takes],
        output_names=list(gives),
        dynamic_shapes=(axes,),
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


def export(
    network: HashNetwork, name: str, grains: Grains, size: int, held: Labelled, training: Mapping[str, Any]
) -> tuple[Bundle, Parity]:
    """The bundle, calibrated on pictures held out of training, and its parity with the network on them."""
    bare = Bundle(name, to_onnx(network, size), grains, (size, size), training=training)
    parity = parity_of(network, bare, held.inputs)
    return calibrated(bare, held), parity


def parity_of(network: HashNetwork, bundle: Bundle, pixels: NDArray[np.uint8]) -> Parity:
    """Refuses a graph that computes something else; bits may differ where an output is within rounding of zero."""
    expected, _ = outputs_of(network, pixels, bundle.size[0])
    found = Encoder(bundle).outputs(pixels)
    differing = (expected >= 0) != (found >= 0)
    parity = Parity(
        pictures=len(expected),
        largest_difference=float(np.abs(expected - found).max(initial=0)),
        bits=expected.size,
        bits_differing=int(differing.sum()),
        largest_output_of_those=float(np.abs(expected[differing]).max(initial=0)),
    )
    if parity.largest_output_of_those > ROUNDING * max(1.0, float(np.abs(expected).mean())):
        raise TrainingError(f"the exported graph does not compute what the network does: {parity}")
    return parity


def calibrated(bundle: Bundle, held: Labelled) -> Bundle:
    """The bundle with words and prototypes from pictures it was not trained on; its codes stay what they are."""
    outputs = Encoder(bundle).outputs(held.inputs)
    codes = Codes.from_outputs(outputs, bundle.grains)
    labels = {grain: prototypes(outputs, labels, bundle.grains.up_to(grain)) for grain, labels in held.levels.items()}
    return replace(bundle, words=calibrate(codes, held), labels=labels, calibration={})


def calibrate(codes: Codes, held: Labelled) -> dict[str, Threshold]:
    """The largest distance at which each word is wrong no more often than FALSE_ALARMS allows.

    `same` is wrong of any two pictures, `near` of two that share no label at the finest labelled grain, `related` of
    two that share none at the coarsest. Without labels there is only `same`.
    """
    generator = np.random.default_rng(0)
    left, right = generator.integers(0, len(codes), (2, PAIRS))
    undeserving = {"same": (codes.grains.finest, held.contents[left] != held.contents[right])}
    if held.levels:
        coarsest, *_, finest = [*held.levels, *held.levels]
        undeserving["near"] = finest, ~share_label(held.levels[finest], left, right)
        undeserving["related"] = coarsest, ~share_label(held.levels[coarsest], left, right)
    words = {}
    for word, (grain, wrong) in undeserving.items():
        prefix = codes.at(grain).words
        distances = np.bitwise_count(prefix[left[wrong]] ^ prefix[right[wrong]]).sum(axis=1)
        share = np.cumsum(np.bincount(distances, minlength=codes.grains[grain] + 1)) / max(1, len(distances))
        words[word] = Threshold(grain, max(0, int(np.searchsorted(share, FALSE_ALARMS[word], side="right")) - 1))
    return words


def share_label(labels: GrainLabels, left: NDArray[np.int64], right: NDArray[np.int64]) -> NDArray[np.bool_]:
    found = np.zeros(len(left), bool)
    for mine in labels.ids.T:
        for theirs in labels.ids.T:
            found |= (mine[left] == theirs[right]) & (mine[left] >= 0)
    return found


def prototypes(outputs: NDArray[np.float32], labels: GrainLabels, prefix: Grains) -> dict[str, str]:
    """The code in the middle of each label's pictures, cut to the grain, in hexadecimal."""
    found = {}
    for number, name in enumerate(labels.names):
        own = (labels.ids == number).any(axis=1)
        if own.any():
            middle = outputs[own, : prefix.bits].mean(axis=0)
            found[name] = Codes.from_outputs(middle, prefix).to_bytes().tobytes().hex()
    return found
