"""The text half of a pair with the head distilled on its vision half: phrases get codes in the same space."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hashgrain.errors import TrainingError
from hashgrain.graphs.heads import append_head, without_features
from hashgrain.hashers import Features, Projection
from hashgrain.learn.encoders.fitting import Head, check_spread
from hashgrain.learn.encoders.network import TextNetwork
from hashgrain.learn.encoders.onnx_source import opened
from hashgrain.models import TextTower
from hashgrain.models.dictionary import dictionary
from hashgrain.models.tokens import Tokenizer

EVERY = 4  # one in four of the dictionary's 1,000 classes gives a phrase for the mean
PHRASE = "a photo of a {}"
AT_ONCE = 16


def text_side(text: TextNetwork, head: Head, model: str) -> TextTower:
    """The text tower of a bundle: the same head on unit(features - mean), with the mean of phrases.

    Texts and pictures of such a pair form two separate clusters; subtracting each one's mean aligns them.
    """
    plain = TextTower(text.graph, text.tokenizer, text.length, text.pad, text.lower)
    features = phrase_features(text, plain, model)
    check_spread(features)
    projection = Projection(features.mean(axis=0), head.weight, head.bias)
    graph = without_features(append_head(text.graph, projection, unit=True))
    return TextTower(graph, text.tokenizer, text.length, text.pad, text.lower)


def phrases() -> list[str]:
    return [PHRASE.format(noun) for noun in dictionary().class_names[::EVERY]]


def phrase_features(text: TextNetwork, tower: TextTower, model: str) -> Features:
    """The network's features of a fixed list of phrases."""
    ids, mask = _tokens(tower, model)
    session = opened(text.graph, f"the text half of {model!r}")
    takes = {node.name for node in session.get_inputs()}
    parts = []
    for start in range(0, len(ids), AT_ONCE):
        batch = {"ids": ids[start : start + AT_ONCE], "mask": mask[start : start + AT_ONCE]}
        parts.append(session.run(["features"], {name: rows for name, rows in batch.items() if name in takes})[0])
    features: Features = np.concatenate(parts)
    if not np.isfinite(features).all():
        raise TrainingError("the text half of the network gives NaN or infinite features; use another network")
    return features


def _tokens(tower: TextTower, model: str) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    tokenizer = Tokenizer(tower, model)
    try:
        read = [tokenizer.tokens(each.lower() if tower.lower else each) for each in phrases()]
    finally:
        tokenizer.close()
    return np.stack([each.ids for each in read]), np.stack([each.mask for each in read])
