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
from hashgrain.learn.data.grain_labels import GrainLabels
from hashgrain.learn.data.labelled import Labelled
from hashgrain.learn.training.network import HashNetwork
from hashgrain.learn.training.validation import outputs_of
from hashgrain.models import Bundle, Encoder, Threshold
from hashgrain.models.description import named
from hashgrain.types import Fit

OPSET = 18
PAIRS = 2_000_000  # random pairs of pictures the words are calibrated on
# The share of pairs that may get each word without deserving it.
FALSE_ALARMS = {"same": 1e-5, "near": 1e-3, "related": 2e-2}
ENOUGH = 3  # divided by the share of false alarms: the pairs that it takes to measure that share (rule of three)
MOST_STRANGERS = 2_000  # training pictures encoded to make more pairs
ROUNDING = 1e-3  # of outputs, which are of the order of 1


class _Runtime(torch.nn.Module):
    """The network at search time. It takes bytes, so that no caller can get the scaling wrong."""

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
    """Any network with one input as a graph for batches of any length. `open_axes` of the input may have any length
    too: the graph must not depend on those of the example."""
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
    """The graph without the exporter's notes: a published model must not name source files."""
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
    validation: Labelled,
    training: Mapping[str, Any],
    others: NDArray[np.uint8] | None = None,
    fit: Fit = "squash",
) -> tuple[Bundle, Parity]:
    """The bundle, calibrated on the validation set, and its parity with the network on that set."""
    bare = Bundle(name, to_onnx(network, size), grains, (size, size), training=training, fit=named(fit))
    parity = parity_of(network, bare, validation.inputs)
    return calibrated(bare, validation, others), parity


def parity_of(network: HashNetwork, bundle: Bundle, pixels: NDArray[np.uint8]) -> Parity:
    """Refuse a graph that computes something else. Bits may differ where an output is within rounding of zero."""
    expected, _ = outputs_of(network, pixels, bundle.size[0])
    outputs = Encoder(bundle).outputs(pixels)
    differing = (expected >= 0) != (outputs >= 0)
    parity = Parity(
        pictures=len(expected),
        largest_difference=float(np.abs(expected - outputs).max(initial=0)),
        bits=expected.size,
        bits_differing=int(differing.sum()),
        largest_output_of_those=float(np.abs(expected[differing]).max(initial=0)),
    )
    if parity.largest_output_of_those > ROUNDING * max(1.0, float(np.abs(expected).mean())):
        raise TrainingError(f"the exported graph does not compute what the network does: {parity}")
    return parity


def calibrated(bundle: Bundle, validation: Labelled, others: NDArray[np.uint8] | None = None) -> Bundle:
    """The bundle with words and prototypes from pictures it was not trained on; its codes stay the same.

    `others` are training pictures: as many are used as it takes to make enough pairs with the validation set.
    """
    encoder = Encoder(bundle)
    outputs = encoder.outputs(validation.inputs)
    codes = Codes.from_outputs(outputs, bundle.grains)
    labels = {
        grain: prototypes(outputs, labels, bundle.grains.up_to(grain)) for grain, labels in validation.levels.items()
    }
    wanted = strangers_wanted(len(validation), 0 if others is None else len(others))
    strangers = encoder.codes(others[:wanted]) if others is not None and wanted else None
    return replace(bundle, words=calibrate(codes, validation, strangers), labels=labels, calibration={})


def strangers_wanted(held_out: int, others: int) -> int:
    """How many training pictures to pair with those held out, so that *same* can be calibrated; 0 if none helps."""
    missing = ENOUGH / FALSE_ALARMS["same"] - held_out * (held_out - 1) / 2
    wanted = math.ceil(missing / max(1, held_out))
    return wanted if 0 < wanted <= min(others, MOST_STRANGERS) else 0


def calibrate(codes: Codes, validation: Labelled, strangers: Codes | None = None) -> dict[str, Threshold]:
    """The largest distance at which each word is wrong no more often than FALSE_ALARMS allows.

    `same` is wrong for any two different pictures, `near` for two that share no label at the finest labelled grain,
    `related` for two that share none at the coarsest. Without labels there is only `same`. A word with too few pairs
    is left out: it takes 3 / p of them, none wrong, to bound the share by p (the rule of three).
    """
    left, right = pairs_of(len(codes))
    words = {}
    for word, (grain, wrong) in undeserving(validation, codes.grains, left, right).items():
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
    """All pairs of `count` pictures, or a random sample of them."""
    if count * (count - 1) // 2 <= PAIRS:
        left, right = np.triu_indices(count, 1)
        return left, right
    left, right = np.random.default_rng(0).integers(0, count, (2, PAIRS))
    return left, right


def undeserving(
    validation: Labelled, grains: Grains, left: NDArray[np.int64], right: NDArray[np.int64]
) -> dict[str, tuple[str, NDArray[np.bool_]]]:
    """For each word, its grain and the pairs that do not deserve it."""
    pairs = {"same": (grains.finest, np.asarray(validation.contents[left] != validation.contents[right]))}
    if validation.levels:
        coarsest, *_, finest = [*validation.levels, *validation.levels]
        pairs["near"] = finest, ~share_label(validation.levels[finest], left, right)
        pairs["related"] = coarsest, ~share_label(validation.levels[coarsest], left, right)
    return pairs


def missing_words(words: Mapping[str, Threshold], validation: Labelled, grains: Grains) -> list[str]:
    """Why a word is left out, a line for each."""
    left, right = pairs_of(len(validation))
    return [
        f"*{word}* is never said: {int(wrong.sum()):,} pairs of the {len(validation):,} pictures kept out must not be"
        f" called so, and to know how often they would be takes {ENOUGH / FALSE_ALARMS[word]:,.0f}"
        for word, (_, wrong) in undeserving(validation, grains, left, right).items()
        if word not in words
    ]


def share_label(labels: GrainLabels, left: NDArray[np.int64], right: NDArray[np.int64]) -> NDArray[np.bool_]:
    shared = np.zeros(len(left), bool)
    for mine in labels.ids.T:
        for theirs in labels.ids.T:
            shared |= (mine[left] == theirs[right]) & (mine[left] >= 0)
    return shared


def prototypes(outputs: NDArray[np.float32], labels: GrainLabels, prefix: Grains) -> dict[str, str]:
    """The code in the middle of each label's pictures, cut to the grain, in hexadecimal."""
    codes = {}
    for number, name in enumerate(labels.names):
        own = (labels.ids == number).any(axis=1)
        if own.any():
            middle = outputs[own, : prefix.bits].mean(axis=0)
            codes[name] = Codes.from_outputs(middle, prefix).to_bytes().tobytes().hex()
    return codes
