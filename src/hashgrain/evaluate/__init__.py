"""Evaluation of codes: retrieval figures that do not depend on the order of ties, and the health of the bits.

`tally` counts, and every figure is computed from its counts. docs/reference/figures.md defines them.
"""

from hashgrain.evaluate.counting import Tally as Tally
from hashgrain.evaluate.counting import tallies_of_vectors as tallies_of_vectors
from hashgrain.evaluate.counting import tally as tally
from hashgrain.evaluate.graded import average_cumulative_gain as average_cumulative_gain
from hashgrain.evaluate.graded import hierarchical_average_precision as hierarchical_average_precision
from hashgrain.evaluate.graded import hierarchical_ndcg as hierarchical_ndcg
from hashgrain.evaluate.graded import hierarchical_precision as hierarchical_precision
from hashgrain.evaluate.graded import ndcg as ndcg
from hashgrain.evaluate.graded import weighted_average_precision as weighted_average_precision
from hashgrain.evaluate.health import Health as Health
from hashgrain.evaluate.health import code_health as code_health
from hashgrain.evaluate.label_noise import flip_labels as flip_labels
from hashgrain.evaluate.labels import Labels as Labels
from hashgrain.evaluate.labels import Paths as Paths
from hashgrain.evaluate.labels import Sets as Sets
from hashgrain.evaluate.labels import as_labels as as_labels
from hashgrain.evaluate.labels import sets_of as sets_of
from hashgrain.evaluate.means import Figure as Figure
from hashgrain.evaluate.means import mean_average_precision as mean_average_precision
from hashgrain.evaluate.model_check import Finding as Finding
from hashgrain.evaluate.model_check import check_model as check_model
from hashgrain.evaluate.model_check import pixels_for as pixels_for
from hashgrain.evaluate.near_copies import near_copy_recall as near_copy_recall
from hashgrain.evaluate.ranking import CONVENTIONS as CONVENTIONS
from hashgrain.evaluate.ranking import Convention as Convention
from hashgrain.evaluate.ranking import average_precision as average_precision
from hashgrain.evaluate.ranking import average_precision_bounds as average_precision_bounds
from hashgrain.evaluate.ranking import hit_rate as hit_rate
from hashgrain.evaluate.ranking import most_precision as most_precision
from hashgrain.evaluate.ranking import precision as precision
from hashgrain.evaluate.ranking import r_precision as r_precision
from hashgrain.evaluate.ranking import recall as recall
from hashgrain.evaluate.within import average_precision_within as average_precision_within
from hashgrain.evaluate.within import hit_rate_within as hit_rate_within
from hashgrain.evaluate.within import precision_within as precision_within
from hashgrain.evaluate.within import recall_within as recall_within
