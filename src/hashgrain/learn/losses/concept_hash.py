"""ConceptHash: bits near learned centers, and every concept of a picture must tell its class."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hashgrain.errors import TrainingError
from hashgrain.learn.losses.classification import margin_cross_entropy
from hashgrain.learn.losses.loss import Loss
from hashgrain.learn.losses.ortho_hash import SHORTEST, cosines_to
from hashgrain.learn.losses.relaxed import signs
from hashgrain.learn.training.centers import centers_for


class ConceptHashLoss(Loss):
    """Interpretable fine-grained hashing by concepts (ConceptHash: Ng et al., CVPR workshops 2024).

    With H(s) the cross-entropy of scale * (s_c - margin * [c is a label]), the labels of a picture sharing 1:
    H(cos(u, center)) + H(cos(u, sign center)) + concepts_weight * mean over concepts m of H(cos(x_m + e_m, w)).
    x_m is the feature of concept m, and e_m (a vector for each concept), w (one for each class) and the centers are
    learned. Without the last term the concepts may all look at the same thing. In the paper a center is a learned
    function of the class's name, as CLIP reads it; here it begins at a center of ours, by likeness of the classes with
    semantic_centers=yes.
    """

    class_codes = "centers"
    of_concepts = True

    def __init__(
        self,
        bits: int,
        classes: int,
        *,
        concept_shape: tuple[int, int],
        centers: Tensor | None = None,
        scale: float = 8.0,
        margin: float = 0.2,
        concepts_weight: float = 1.0,
        seed: int = 0,
    ) -> None:
        super().__init__(bits, classes)
        self.scale, self.margin, self.concepts_weight = scale, margin, concepts_weight
        self.centers = nn.Parameter(centers_for(centers, classes, bits, seed))
        dice = torch.Generator().manual_seed(seed)
        self.own = nn.Parameter(0.02 * torch.randn(concept_shape, generator=dice))
        self.of_classes = nn.Parameter(torch.randn(classes, concept_shape[1], generator=dice))
        self.features: Tensor | None = None

    def see(self, features: Tensor) -> None:
        self.features = features

    def forward(self, outputs: Tensor, truth: Tensor) -> Tensor:
        if self.features is None or len(self.features) != len(outputs):
            raise TrainingError("loss concept_hash is shown the features of the concepts (see) before each batch")
        near = self._classified(cosines_to(self.centers, outputs), truth)
        near = near + self._classified(cosines_to(signs(self.centers.detach()), outputs), truth)
        each = self.features.reshape(-1, *self.own.shape) + self.own
        directions = F.normalize(each.flatten(0, 1), dim=1, eps=SHORTEST)
        cosines = directions @ F.normalize(self.of_classes, dim=1).T
        return near + self.concepts_weight * self._classified(cosines, truth.repeat_interleave(len(self.own), dim=0))

    def _classified(self, cosines: Tensor, truth: Tensor) -> Tensor:
        return margin_cross_entropy(cosines, truth, self.scale, self.margin)
