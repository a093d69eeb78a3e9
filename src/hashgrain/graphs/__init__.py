"""Surgery on ONNX graphs, without torch: heads, smaller and faster models, several models as one."""

from hashgrain.graphs.agreement import Agreement as Agreement
from hashgrain.graphs.agreement import agreement as agreement
from hashgrain.graphs.ensemble import average as average
from hashgrain.graphs.ensemble import majority as majority
from hashgrain.graphs.ensemble import side_by_side as side_by_side
from hashgrain.graphs.half import halve as halve
from hashgrain.graphs.int8 import quantize as quantize
