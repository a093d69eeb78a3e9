"""Ensembles: outputs averaged or concatenated in one graph.

An average makes sense only if bit j means the same in every model. That holds for checkpoints of one run, for
models compressed or fine-tuned from one of them, and for runs with the same centers if no head was tuned afterwards.
Runs with other seeds have other centers, and heads learned by contrast have their bits in arbitrary order: their
average is noise. `agreement` shows it: models whose bits mean the same agree on far more than half of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from typing import Any, Literal

import onnx
from onnx import TensorProto, compose, helper

from hashgrain.codes import Grains
from hashgrain.errors import TrainingError
from hashgrain.models import Bundle
from hashgrain.models.description import MAX_PROVENANCE
from hashgrain.models.seen import KEY


def average(bundles: Sequence[Bundle]) -> Bundle:
    """One bundle that runs every model and gives the mean of their outputs, and their concatenated features.

    Our heads normalize each output to variance 1 over the training pictures, so every model has equal weight. The cost
    is the sum of all costs. Words and labels are left out: distances change, so calibrate again.
    """
    first = _alike(bundles)
    onnx = _joined(bundles, "Mean", first.grains.bits)
    training = {"average of": [_named(bundle) for bundle in bundles]}
    name = f"average of {len(bundles)}"
    return Bundle(name, onnx, first.grains, first.size, training=training, **_shared(bundles))


def side_by_side(bundles: Sequence[Bundle], names: Sequence[str]) -> Bundle:
    """One bundle that runs every model and concatenates their codes, with one grain of these names for each.

    Bits need not mean the same in two models. A grain is still a prefix: all codes up to its own. `separate` search
    compares a grain's own code alone. Words and labels are left out.
    """
    if len(bundles) < 2 or len(names) != len(bundles):
        raise TrainingError(
            f"codes side by side take two models or more, and a name for each: {len(names)} for {len(bundles)}"
        )
    first = bundles[0]
    for other in bundles[1:]:
        if _takes(other) != _takes(first):
            raise TrainingError(
                f"{first.name} takes pictures of {_takes(first)} and {other.name} of {_takes(other)}: both must take"
                " the same"
            )
    ends = accumulate(bundle.grains.bits for bundle in bundles)
    if len(set(names)) < len(names):
        raise TrainingError(f"two of the grains {', '.join(names)} have the same name; name each once")
    grains = Grains(dict(zip(names, ends, strict=True)))
    training = {"side by side": [_named(bundle) for bundle in bundles]}
    onnx = _joined(bundles, "Concat", grains.bits)
    return Bundle(" and ".join(names), onnx, grains, first.size, training=training, **_shared(bundles))


def _takes(bundle: Bundle) -> str:
    """Their input in words, of which a joined model has one."""
    return f"{bundle.size}, {bundle.fitted}"


def _shared(bundles: Sequence[Bundle]) -> dict[str, Any]:
    """What holds of a joined model too: a fit is the same in all; a license, where all have the same."""
    licenses = {bundle.license for bundle in bundles}
    joined = f"joined from {', '.join(bundle.name for bundle in bundles)}"
    return {
        "fit": bundles[0].fit,
        "license": licenses.pop() if len(licenses) == 1 else "",
        "provenance": joined[:MAX_PROVENANCE],
    }


def _joined(bundles: Sequence[Bundle], operator: Literal["Mean", "Concat"], bits: int) -> bytes:
    """One graph with the averaged or concatenated outputs of all models, and their concatenated features."""
    models = [onnx.load_from_string(bundle.onnx) for bundle in bundles]
    opsets = _opsets(models)
    nodes, initializers = [], []
    for number, model in enumerate(models):
        # Drop the exporter's shapes: the models may have different names for the batch axis.
        del model.graph.value_info[:]
        prefixed = compose.add_prefix(model, f"model{number}.", rename_inputs=False)
        if prefixed.functions or any(entry.name != "pixels" for entry in prefixed.graph.input):
            raise TrainingError(
                f"{bundles[number].name} has inputs besides `pixels`, or functions of its own: export it again"
            )
        nodes += prefixed.graph.node
        initializers += prefixed.graph.initializer
    outputs, features = ([f"model{i}.{name}" for i in range(len(models))] for name in ("outputs", "features"))
    along: dict[str, Any] = {"axis": 1} if operator == "Concat" else {}
    nodes += [
        helper.make_node(operator, outputs, ["outputs"], "together", **along),
        helper.make_node("Concat", features, ["features"], "features", axis=1),
    ]
    width = sum(_width(model, "features") for model in models)
    gives = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", size])
        for name, size in (("outputs", bits), ("features", width))
    ]
    graph = helper.make_graph(nodes, "together", list(models[0].graph.input), gives, initializers)
    whole = helper.make_model(graph, opset_imports=opsets, ir_version=max(model.ir_version for model in models))
    return bytes(whole.SerializeToString())


def _named(bundle: Bundle) -> dict[str, Any]:
    """The model's name and digest, and its training data."""
    facts = {
        key: bundle.training[key] for key in (KEY, "backbone", "average of", "side by side") if key in bundle.training
    }
    return {"name": bundle.name, "digest": bundle.code_digest, **facts}


def _alike(bundles: Sequence[Bundle]) -> Bundle:
    if len(bundles) < 2:
        raise TrainingError(f"an average takes two models or more, not {len(bundles)}")
    first = bundles[0]
    for other in bundles[1:]:
        if other.grains != first.grains or _takes(other) != _takes(first):
            raise TrainingError(
                f"{first.name} and {other.name} cannot be averaged: grains {first.grains} and {other.grains}, input"
                f" {_takes(first)} and {_takes(other)}. Average models of the same grains and input size"
            )
    return first


def _opsets(models: Sequence[onnx.ModelProto]) -> list[onnx.OperatorSetIdProto]:
    versions: dict[str, int] = {}
    for model in models:
        for entry in model.opset_import:
            if versions.setdefault(entry.domain, entry.version) != entry.version:
                raise TrainingError(
                    f"the graphs use versions {versions[entry.domain]} and {entry.version} of the ONNX operators"
                    f" {entry.domain or 'ai.onnx'}; export the models with the same version of HashGrain"
                )
    return [helper.make_opsetid(domain, version) for domain, version in versions.items()]


def _width(model: onnx.ModelProto, name: str) -> int:
    (output,) = (entry for entry in model.graph.output if entry.name == name)
    return int(output.type.tensor_type.shape.dim[-1].dim_value)
