"""A timm repository as a network, from timm's config.json and model.safetensors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from hashgrain.errors import Remedy, TrainingError
from hashgrain.graphs.heads import FEATURES, MAP
from hashgrain.learn.backbones.zoo import timm_network
from hashgrain.learn.encoders import preprocessing
from hashgrain.learn.encoders.bounded import check_built, check_plain
from hashgrain.learn.encoders.files import SourceFiles, only_pickles
from hashgrain.learn.encoders.network import Network
from hashgrain.learn.encoders.onnx_source import vision
from hashgrain.learn.export import graph_of
from hashgrain.models.session import first_line

CONFIG, WEIGHTS = "config.json", "model.safetensors"
OTHER_SIZE = Remedy("try another size", "other_size")
# Arguments that a configuration must not set: they name other places to load from.
ELSEWHERE = ("pretrained", "checkpoint", "cache", "path", "file", "url")
POOLED = {
    "token": "first token (CLS), after the last norm",
    "avg": "mean over the picture",
    "avgmax": "mean and maximum over the picture",
    "max": "maximum over the picture",
    "map": "attention pooling over the patches",
}


class Pictured(nn.Module):
    """The network without its classifier: features, and the map from which they are pooled, if it has their width."""

    def __init__(self, model: nn.Module, size: int) -> None:
        super().__init__()
        self.model = model
        self.gives_map = False
        with torch.no_grad():
            features, cells = self._both(torch.zeros(2, 3, size, size))
        if features.ndim != 2:
            raise TrainingError(f"the network gives features of shape {tuple(features.shape)}; rows are needed")
        self.gives_map = cells is not None and cells.ndim == 4 and cells.shape[1] == features.shape[1]

    def forward(self, planes: Tensor) -> tuple[Tensor, ...]:
        features, cells = self._both(planes)
        return (features, cells) if self.gives_map and cells is not None else (features,)

    def _both(self, planes: Tensor) -> tuple[Tensor, Tensor | None]:
        model: Any = self.model
        hidden: Tensor = model.forward_features(planes)
        features: Tensor = model.forward_head(hidden)
        return features, self._cells(hidden) if isinstance(hidden, Tensor) else None

    def _cells(self, hidden: Tensor) -> Tensor | None:
        if hidden.ndim == 4:
            return hidden.permute(0, 3, 1, 2) if getattr(self.model, "output_fmt", "") == "NHWC" else hidden
        grid = getattr(getattr(self.model, "patch_embed", None), "grid_size", None)
        before = getattr(self.model, "num_prefix_tokens", 0)
        if hidden.ndim != 3 or grid is None or hidden.shape[1] != before + grid[0] * grid[1]:
            return None
        norm = getattr(self.model, "fc_norm", None)  # the last norm of networks that pool first
        patches = hidden[:, before:]
        patches = norm(patches) if isinstance(norm, nn.Module) else patches
        return patches.transpose(1, 2).reshape(-1, hidden.shape[2], *grid)


def from_timm(files: SourceFiles, where: str, size: int | None, name: str | None = None) -> Network:
    """`name` is a name of timm's list, for repositories without a configuration."""
    config = files.json(CONFIG) if files.has(CONFIG) else {}
    architecture = config.get("architecture") or name
    if not isinstance(architecture, str):
        raise TrainingError(
            f"{where} has no timm `architecture` in its {CONFIG}; if transformers wrote it, use its ONNX version"
            " (onnx-community/NAME) or timm's"
        )
    if not files.has(WEIGHTS):
        raise only_pickles(files.names(), where)
    facts = config.get("pretrained_cfg") or _own_facts(architecture)
    way = preprocessing.from_timm(facts)
    edge = size or way.size
    model = _built(architecture, edge, files, _arguments(config), where)
    pooled = str(getattr(model, "global_pool", "") or "")
    network = vision(exported(model, edge, where), where, replace(way, size=edge), edge)
    feature = POOLED.get(pooled, "as the network pools it")
    lock = {"feature": feature, "architecture": architecture, "license": files.license(facts), "files": files.taken()}
    return replace(network, source={**network.source, **lock})


def exported(model: nn.Module, size: int, where: str) -> bytes:
    """Export to ONNX: floats (n, 3, size, size), or any height and width if the network runs on them."""
    try:
        network = Pictured(model.eval(), size)
    except (RuntimeError, ValueError, AssertionError, TypeError, IndexError) as error:
        raise TrainingError(
            f"{where} cannot take pictures of {size} px: {first_line(error)}", remedy=OTHER_SIZE
        ) from None
    gives = [FEATURES, MAP] if network.gives_map else [FEATURES]
    if _takes_other_sizes(network, size):
        try:
            example = torch.zeros(2, 3, size, size + 32)  # the exporter would unify equal edges
            return graph_of(network, example, "planes", gives, {2: "height", 3: "width"})
        except Exception:  # the exporter raises a dozen unrelated classes; one size is exported then
            pass
    try:
        return graph_of(network, torch.zeros(2, 3, size, size), "planes", gives)
    except Exception as error:  # as above
        raise TrainingError(f"{where} cannot be exported to ONNX: {first_line(error)}") from None


def _takes_other_sizes(network: nn.Module, size: int) -> bool:
    """Whether the network runs on larger pictures too, and can be exported for them in reasonable time: TensorFlow's
    padding depends on the size at every layer, which takes the exporter minutes."""
    if any(type(layer).__name__.endswith("Same") for layer in network.modules()):
        return False
    try:
        with torch.no_grad():
            network(torch.zeros(2, 3, size + 32, size + 64))
    except Exception:  # whatever it raises, it does not run on them
        return False
    return True


def _own_facts(architecture: str) -> Mapping[str, Any]:
    import timm

    try:
        about = timm.get_pretrained_cfg(architecture)
    except RuntimeError:
        about = None
    return dict(about.to_dict()) if about else {}  # type: ignore[no-untyped-call]


def _arguments(config: Mapping[str, Any]) -> dict[str, Any]:
    """The constructor's arguments, plain values only, without those that load weights from elsewhere."""
    given = config.get("model_args") or {}
    plain = (bool, int, float, str, list, type(None))
    arguments = {str(key): value for key, value in given.items() if isinstance(value, plain)}
    pool = config.get("global_pool")
    if isinstance(pool, str) and pool and "global_pool" not in arguments:
        arguments["global_pool"] = pool
    return {key: value for key, value in arguments.items() if not any(part in key for part in ELSEWHERE)}


def _built(architecture: str, size: int, files: SourceFiles, arguments: Mapping[str, Any], where: str) -> nn.Module:
    import timm

    weights = files.path(WEIGHTS)
    check_plain(dict(arguments), where)
    if timm.is_model(architecture):  # what is not in its list is refused below
        check_built(lambda: timm.create_model(architecture, **{**arguments, "num_classes": 0}), weights, where)
    try:
        model, _, _ = timm_network(architecture, size, weights, arguments)
    except (TypeError, ValueError, AssertionError, RuntimeError) as error:
        raise TrainingError(f"{where} cannot be built for {size} px: {first_line(error)}", remedy=OTHER_SIZE) from None
    return model
