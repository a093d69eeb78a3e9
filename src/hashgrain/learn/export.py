"""From a trained network to a bundle: the ONNX graph, its parity with the network, the calibrated words."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hashgrain.codes import Codes, Grains
from hashgrain.errors import TrainingError
from hashgrain.learn.data.labelled import GrainLabels, Labelled
from hashgrain.learn.training.network import HashNetwork
from hashgrain.learn.training.validation import outputs_of
from hashgrain.models import Bundle, Encoder, Threshold
from hashgrain.models.description import named
from hashgrain.types import Fit

OPSET = 18
PAIRS = 2_000_000  # random pairs of pictures the words are calibrated on
# How often a word may be said of two pictures that do not deserve it.
FALSE_ALARMS = {"same": 1e-5, "near": 1e-3, "related": 2e-2}
ENOUGH = 3  # over the share of false alarms: so many pairs tell of it
MOST_STRANGERS = 2_000  # pictures learned from that are encoded for it
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
    network: HashNetwork,
    name: str,
    grains: Grains,
    size: int,
    held: Labelled,
    training: Mapping[str, Any],
    others: NDArray[np.uint8] | None = None,
    fit: Fit = "squash",
) -> tuple[Bundle, Parity]:
    """The bundle, calibrated on pictures held out of training, and its parity with the network on them."""
    bare = Bundle(name, to_onnx(network, size), grains, (size, size), training=training, fit=named(fit))
    parity = parity_of(network, bare, held.inputs)
    return calibrated(bare, held, others), parity


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


def calibrated(bundle: Bundle, held: Labelled, others: NDArray[np.uint8] | None = None) -> Bundle:
    """The bundle with words and prototypes from pictures it was not trained on; its codes stay what they are. Of
    `others`, pictures it was trained on, as many are taken as make pairs enough with those."""
    encoder = Encoder(bundle)
    outputs = encoder.outputs(held.inputs)
    codes = Codes.from_outputs(outputs, bundle.grains)
    labels = {grain: prototypes(outputs, labels, bundle.grains.up_to(grain)) for grain, labels in held.levels.items()}
    wanted = strangers_wanted(len(held), 0 if others is None else len(others))
    strangers = encoder.codes(others[:wanted]) if others is not None and wanted else None
    return replace(bundle, words=calibrate(codes, held, strangers), labels=labels, calibration={})


def strangers_wanted(held: int, others: int) -> int:
    """How many pictures are to be paired with those held out, so that *same* can be told; 0 where that is no use."""
    missing = ENOUGH / FALSE_ALARMS["same"] - held * (held - 1) / 2
    wanted = math.ceil(missing / max(1, held))
    return wanted if 0 < wanted <= min(others, MOST_STRANGERS) else 0


def calibrate(codes: Codes, held: Labelled, strangers: Codes | None = None) -> dict[str, Threshold]:
    """The largest distance at which each word is wrong no more often than FALSE_ALARMS allows.

    `same` is wrong of any two pictures, `near` of two that share no label at the finest labelled grain, `related` of
    two that share none at the coarsest. Without labels there is only `same`. A word that too few pairs can judge is
    left out: 3 / p of them, none wrong, bound the share by p (the rule of three).
    """
    left, right = pairs_of(len(codes))
    words = {}
    for word, (grain, wrong) in undeserving(held, codes.grains, left, right).items():
        prefix = codes.at(grain).words
        distances = np.bitwise_count(prefix[left[wrong]] ^ prefix[right[wrong]]).sum(axis=1)
        if word == "same" and strangers is not None:
            others = strangers.at(grain).words
            across = [np.bitwise_count(others ^ row).sum(axis=1) for row in prefix]
            distances = np.concatenate([distances, *across])
        if len(distances) < ENOUGH / FALSE_ALARMS[word]:
            continue
        share = np.cumsum(np.bincount(distances, minlength=codes.grains[grain] + 1)) / max(1, len(distances))
        words[word] = Threshold(grain, max(0, int(np.searchsorted(share, FALSE_ALARMS[word], side="right")) - 1))
    return words


def pairs_of(count: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """All pairs of so many pictures, or some at random."""
    if count * (count - 1) // 2 <= PAIRS:
        left, right = np.triu_indices(count, 1)
        return left, right
    left, right = np.random.default_rng(0).integers(0, count, (2, PAIRS))
    return left, right


def undeserving(
    held: Labelled, grains: Grains, left: NDArray[np.int64], right: NDArray[np.int64]
) -> dict[str, tuple[str, NDArray[np.bool_]]]:
    """For each word the grain it is told at, and which pairs do not deserve it."""
    found = {"same": (grains.finest, np.asarray(held.contents[left] != held.contents[right]))}
    if held.levels:
        coarsest, *_, finest = [*held.levels, *held.levels]
        found["near"] = finest, ~share_label(held.levels[finest], left, right)
        found["related"] = coarsest, ~share_label(held.levels[coarsest], left, right)
    return found


def missing_words(words: Mapping[str, Threshold], held: Labelled, grains: Grains) -> list[str]:
    """Why a word is left out, a line for each."""
    left, right = pairs_of(len(held))
    return [
        f"*{word}* is never said: {int(wrong.sum()):,} pairs of the {len(held):,} pictures kept out must not be called"
        f" so, and to know how often they would be takes {ENOUGH / FALSE_ALARMS[word]:,.0f}"
        for word, (_, wrong) in undeserving(held, grains, left, right).items()
        if word not in words
    ]


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
