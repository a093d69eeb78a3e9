"""Searching: from a query to neighbors, and from neighbors to hits."""

from hashgrain.search.hits import MAX_K as MAX_K
from hashgrain.search.hits import Hit as Hit
from hashgrain.search.hits import check_k as check_k
from hashgrain.search.hits import make_hits as make_hits
from hashgrain.search.hits import plain_word as plain_word
