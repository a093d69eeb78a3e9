"""How good are codes: tie-aware retrieval figures, the health of the bits, what changed pictures do to them."""

from hashgrain.evaluate.health import Health as Health
from hashgrain.evaluate.health import code_health as code_health
from hashgrain.evaluate.label_noise import flip_labels as flip_labels
from hashgrain.evaluate.metrics import average_precision_at as average_precision_at
from hashgrain.evaluate.metrics import average_precision_at_scores as average_precision_at_scores
from hashgrain.evaluate.metrics import precision_at as precision_at
from hashgrain.evaluate.metrics import precision_at_scores as precision_at_scores
from hashgrain.evaluate.model_check import Finding as Finding
from hashgrain.evaluate.model_check import check_model as check_model
from hashgrain.evaluate.model_check import pixels_for as pixels_for
from hashgrain.evaluate.near_copies import near_copy_recall as near_copy_recall
