"""Exact Hamming search over packed codes. How it is computed stays behind these names."""

from hashgrain.hamming.scan import Neighbours as Neighbours
from hashgrain.hamming.scan import compiled as compiled
from hashgrain.hamming.scan import merge as merge
from hashgrain.hamming.scan import nearest as nearest
from hashgrain.hamming.scan import within as within
