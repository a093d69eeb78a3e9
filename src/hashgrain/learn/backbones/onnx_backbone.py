"""Any ONNX model as a frozen backbone.

On the CPU and without gradients it runs in ONNX Runtime, which is faster and is what the finished model uses. For
gradients over the pixels, or on another device, it runs in torch, if torch can read its graph and gives the same
features.
"""

from __future__ import annotations

import hashlib
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from hashgrain.codes import Grains
from hashgrain.errors import BundleError, TrainingError
from hashgrain.files import read_regular
from hashgrain.graphs.heads import Given, Planes, from_pixels
from hashgrain.learn.backbones.backbone import IMAGENET_MEAN, IMAGENET_STD, Backbone, Colors
from hashgrain.learn.backbones.taken_pixels import PixelInput, takes_pixels
from hashgrain.learn.onnx_torch import Graph, read_graph, run_graph
from hashgrain.models import Bundle
from hashgrain.models.bundle_files import MAX_ONNX_BYTES
from hashgrain.models.graph_check import check_graph

if TYPE_CHECKING:
    import onnxruntime

NAME = "features"  # the output that is taken where there are several


class OnnxBackbone(Backbone):
    """The features of a frozen ONNX model; a map (n, width, h, w) is averaged."""

    def __init__(
        self,
        content: bytes,
        where: str,
        *,
        size: int,
        mean: Colors = IMAGENET_MEAN,
        std: Colors = IMAGENET_STD,
        layout: str = "",
    ) -> None:
        super().__init__(0, mean, std)
        try:
            check_graph(content, where)
        except BundleError as error:
            raise TrainingError(str(error)) from None
        self.graph_digest = hashlib.sha256(content).hexdigest()
        self.content = content
        self._session = _Session(content, where)
        self._takes = takes_pixels(self._session.run, where, size, layout, partial(self._session.runs, size=size))
        self._output = _output(self._session.run, where)
        self._graph: Graph | None = None
        self._rank = 0  # of the output, which the graph need not declare
        tried = torch.rand(2, 3, size, size, generator=torch.Generator().manual_seed(0))
        try:
            features = self(tried)
        except Exception as error:  # onnxruntime raises a dozen unrelated classes for a graph that cannot run
            raise TrainingError(f"{where} cannot run on pictures of {size} px: {_first_line(error)}") from None
        if features.ndim != 2 or len(features) != 2 or not features.is_floating_point():
            raise TrainingError(
                f"{where} gives {self._output!r} of shape {tuple(features.shape)} for 2 pictures; a backbone gives"
                " features (n, width) or a map (n, width, h, w), in floats"
            )
        self.width = features.shape[1]
        self._graph = _same_in_torch(self, content, tried, features)

    def as_bundle(self, name: str, grains: Grains, size: int) -> Bundle:
        """The graph as a bundle without a head: pictures in bytes in, features out."""
        if self._takes.one_by_one:
            raise TrainingError(f"{name}: the graph takes one picture at a time; export it for batches of any length")
        last = self._takes.last
        planes = None if self._takes.bytes else Planes(self.mean.flatten().tolist(), self.std.flatten().tolist(), last)
        given = Given(self._output, self.width, rank=self._rank, last=last)
        graph = from_pixels(self.content, self._takes.name, given, (size, size), planes)
        return Bundle(name, graph, grains, (size, size))

    def forward(self, pixels: Tensor) -> Tensor:
        taken = (pixels * 255) if self._takes.bytes else self.normalized(pixels)
        taken = taken.permute(0, 2, 3, 1) if self._takes.bytes or self._takes.last else taken
        batches = torch.split(taken, 1) if self._takes.one_by_one else (taken,)
        features = torch.cat([self._run(batch) for batch in batches])
        self._rank = features.ndim
        return features.mean(dim=(1, 2) if self._takes.last else (2, 3)) if features.ndim == 4 else features

    def _run(self, taken: Tensor) -> Tensor:
        if self._graph is not None and (taken.requires_grad or taken.device.type != "cpu"):
            self._graph = self._graph.to(taken.device)
            return run_graph(self._graph, taken, self._output)
        shown = taken.detach().cpu()
        if self._takes.bytes:
            shown = shown.round().clamp(0, 255).to(torch.uint8)
        (features,) = self._session.run.run([self._output], {self._takes.name: shown.contiguous().numpy()})
        return torch.from_numpy(features).to(taken.device)


def onnx_backbone(file: str | Path, *, size: int, mean: Colors, std: Colors, layout: str = "") -> OnnxBackbone:
    path = Path(file).expanduser()
    if path.is_dir():
        raise TrainingError(f"{path} is a folder; give the .onnx file, or bundle:{path} for a model bundle")
    try:
        content = read_regular(path, MAX_ONNX_BYTES)
    except OSError as error:
        raise TrainingError(f"cannot read {path} ({error.strerror}); onnx:FILE takes an ONNX model") from None
    return OnnxBackbone(content, str(path), size=size, mean=mean, std=std, layout=layout)


def bundle_backbone(folder: str | Path, *, size: int) -> OnnxBackbone:
    """The features under the head of a bundle, which does its own normalization."""
    bundle = Bundle.read(folder)
    return OnnxBackbone(bundle.onnx, f"model {bundle.name!r}", size=size)


class _Session:
    """A session that all copies of its module share: it has no state and cannot be copied."""

    def __init__(self, content: bytes, where: str) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        options.log_severity_level = 4
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # torch's threads want the cores too
        try:
            self.run: onnxruntime.InferenceSession = onnxruntime.InferenceSession(
                content, options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # as above
            raise TrainingError(f"{where} is not an ONNX model that can be loaded: {_first_line(error)}") from None

    def runs(self, pixels: PixelInput, size: int) -> bool:
        """Whether the model runs with this layout."""
        kind = np.uint8 if pixels.bytes else np.float32
        try:
            self.run.run(None, {pixels.name: np.zeros((1, *pixels.shape(size)), kind)})
        except Exception:  # as above
            return False
        return True

    def __deepcopy__(self, memo: dict[int, Any]) -> _Session:
        return self


def _output(session: onnxruntime.InferenceSession, where: str) -> str:
    names = [node.name for node in session.get_outputs()]
    if NAME in names:
        return NAME
    if len(names) != 1:
        raise TrainingError(f"{where} gives {', '.join(names)}: name the one that holds the features {NAME!r}")
    return str(names[0])


def _same_in_torch(backbone: OnnxBackbone, content: bytes, tried: Tensor, expected: Tensor) -> Graph | None:
    try:
        backbone._graph = read_graph(content)
        with torch.enable_grad():
            features = backbone(tried.clone().requires_grad_()).detach()  # which is what asks for torch
    except TrainingError:
        return None
    near = features.shape == expected.shape and torch.allclose(
        features, expected, 1e-3, 1e-3 * float(expected.abs().max())
    )
    return backbone._graph if near else None


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)[:200]
