"""Builds the dictionary's tables, which `models/dictionary.py` reads, from WordNet: reproducible byte by byte."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hashgrain.files import write_atomically
from hashgrain.learn.words.byhand import NOUNS, SCENES
from hashgrain.learn.words.meanings import Meaning, Meanings, spoken
from hashgrain.learn.words.wordnet import WordNet
from hashgrain.models.dictionary import CLASSES, LEVELS, NounTables

MOST_SENSES = 8
EPOCH = (1980, 1, 1, 0, 0, 0)  # the date of the archive's members: the bytes must not depend on the time


def imagenet_classes() -> list[str]:
    """The WordNet offsets of the 1,000 classes, in the order networks give them."""
    from timm.data.imagenet_info import ImageNetInfo

    info = ImageNetInfo()
    return [info.index_to_label_name(c).removeprefix("n") for c in range(CLASSES)]


def build_arrays(wordnet: WordNet, classes: Sequence[str]) -> NounTables:
    """Every noun with its visible senses, and every meaning of these senses."""
    meanings = Meanings(wordnet, classes)
    senses = _seen(wordnet, meanings)
    used = sorted({sense for of_noun in senses.values() for sense in of_noun})
    number = {sense: i for i, sense in enumerate(used)}
    nouns = sorted(senses)
    others = {spoken(word) for word in wordnet.others} - set(nouns)
    rarely = {spoken(word) for word in wordnet.rarely}
    plurals = sorted((spoken(plural), spoken(noun)) for plural, noun in wordnet.irregular.items())
    return {
        "nouns": _blob(nouns),
        "plurals": _blob(text for pair in plurals for text in pair),
        "others": _blob(sorted(others)),
        "classes": _blob(spoken(wordnet.synsets[offset].lemmas[0]) for offset in classes),
        "rarely": np.array([noun in rarely for noun in nouns], np.bool_),
        "senses_of": np.array([len(senses[noun]) for noun in nouns], np.uint8),
        "senses": np.array([number[sense] for noun in nouns for sense in senses[noun]], np.uint32),
        **_meaning_arrays([_meaning(meanings, sense) for sense in used]),
        "is_class": np.array([sense in meanings.place for sense in used], np.bool_),
    }


def _seen(wordnet: WordNet, meanings: Meanings) -> dict[str, Sequence[str]]:
    """The visible senses of each noun: offsets of WordNet, or the name of a scene."""
    senses = {
        spoken(noun): [each for each in offsets if meanings.is_seen(each)][:MOST_SENSES]
        for noun, offsets in wordnet.senses.items()
    }
    for word, like in NOUNS.items():
        if all(senses.get(each) for each in like):  # a reduced WordNet lacks some
            senses[word] = [senses[each][0] for each in like]
    return {**senses, **{scene: [scene] for scene in SCENES if meanings.has_things(SCENES[scene])}}


def _meaning(meanings: Meanings, sense: str) -> Meaning:
    return meanings.of_things(SCENES[sense]) if sense in SCENES else meanings.of(sense)


def _meaning_arrays(meanings: Sequence[Meaning]) -> NounTables:
    levels = [np.rint(one.weights / one.weights.max() * LEVELS).astype(np.uint8) for one in meanings]
    places = [np.flatnonzero(level) for level in levels]
    return {
        "classes_of": np.array([len(at) for at in places], np.uint16),
        "class": np.concatenate(places).astype(np.uint16),
        "share": np.concatenate([level[at] for level, at in zip(levels, places, strict=True)]),
        "sure": np.array([round(one.sure * LEVELS) for one in meanings], np.uint8),
        "guessed": np.array([not one.known for one in meanings], np.bool_),
    }


def write_tables(arrays: NounTables, path: Path) -> None:
    """Like `numpy.savez_compressed`, but with a fixed date and compression level."""
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as members:
        for name, array in sorted(arrays.items()):
            content = io.BytesIO()
            np.lib.format.write_array(content, np.asarray(array), allow_pickle=False)
            member = zipfile.ZipInfo(f"{name}.npy", EPOCH)
            members.writestr(member, content.getvalue(), zipfile.ZIP_DEFLATED, compresslevel=9)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, archive.getvalue())


def _blob(texts: Iterable[str]) -> NDArray[np.uint8]:
    return np.frombuffer("\n".join(texts).encode(), np.uint8)
