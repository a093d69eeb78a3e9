"""Smaller and faster models of ones that are trained, and several models as one."""

from hashgrain.learn.shrink.agreement import Agreement as Agreement
from hashgrain.learn.shrink.agreement import agreement as agreement
from hashgrain.learn.shrink.ensemble import average as average
from hashgrain.learn.shrink.ensemble import majority as majority
from hashgrain.learn.shrink.ensemble import side_by_side as side_by_side
from hashgrain.learn.shrink.half import halve as halve
from hashgrain.learn.shrink.int8 import quantise as quantise
from hashgrain.learn.shrink.prune import Importance as Importance
from hashgrain.learn.shrink.prune import Kept as Kept
from hashgrain.learn.shrink.prune import by_scale as by_scale
from hashgrain.learn.shrink.prune import by_taylor as by_taylor
from hashgrain.learn.shrink.prune import by_weight as by_weight
from hashgrain.learn.shrink.prune import choose as choose
from hashgrain.learn.shrink.prune import prune as prune
