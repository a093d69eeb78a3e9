"""From neighbours to answers: what a person is told about each one."""

from hashgrain.search.answers import MAX_K as MAX_K
from hashgrain.search.answers import Hit as Hit
from hashgrain.search.answers import answers as answers
from hashgrain.search.answers import check_k as check_k
from hashgrain.search.answers import plain_word as plain_word
