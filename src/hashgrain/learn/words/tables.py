"""The dictionary's tables, as `models/dictionary.py` reads them: built from WordNet, the same bytes every time."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hashgrain.files import write_atomically
from hashgrain.learn.words.meanings import Meanings, spoken
from hashgrain.learn.words.newer import NEWER
from hashgrain.learn.words.wordnet import WordNet
from hashgrain.models.dictionary import LEVELS, Arrays

MOST_SENSES = 8
EPOCH = (1980, 1, 1, 0, 0, 0)  # of the archive's members: a table must not differ by the time it was made


def imagenet_classes() -> list[str]:
    """The WordNet offsets of the 1,000 classes, in the order networks give them."""
    from timm.data import ImageNetInfo

    info = ImageNetInfo()
    return [info.index_to_label_name(c).removeprefix("n") for c in range(info.num_classes())]


def build_arrays(wordnet: WordNet, classes: Sequence[str]) -> Arrays:
    """Every noun with its senses that are seen, and every meaning that one of them has."""
    meanings = Meanings(wordnet, classes)
    senses = {spoken(noun): offsets for noun, offsets in wordnet.senses.items()}
    for word, like in NEWER.items():
        if word not in senses and all(each in senses for each in like):
            senses[word] = tuple(senses[each][0] for each in like)
    nouns = sorted(senses)
    seen = [[each for each in senses[noun] if meanings.is_seen(each)][:MOST_SENSES] for noun in nouns]
    used = sorted({offset for offsets in seen for offset in offsets})
    number = {offset: i for i, offset in enumerate(used)}
    adjectives = {spoken(word) for word in wordnet.adjectives}
    others = sorted({spoken(word) for word in wordnet.adjectives | wordnet.others} - set(nouns))
    plurals = sorted((spoken(a), spoken(b)) for a, b in wordnet.irregular.items())
    return {
        "nouns": _blob(nouns),
        "plurals": _blob(text for pair in plurals for text in pair),
        "others": _blob(others),
        "classes": _blob(spoken(wordnet.synsets[offset].lemmas[0]) for offset in classes),
        "adjective": np.array([noun in adjectives for noun in nouns], np.bool_),
        "senses_of": np.array([len(offsets) for offsets in seen], np.uint8),
        "senses": np.array([number[offset] for offsets in seen for offset in offsets], np.uint32),
        **_meaning_arrays(meanings, used),
    }


def _meaning_arrays(meanings: Meanings, used: Iterable[str]) -> Arrays:
    lengths, places, shares, sure, guessed, is_class = [], [], [], [], [], []
    for offset in used:
        meaning = meanings.of(offset)
        levels = np.rint(meaning.weights / meaning.weights.max() * LEVELS).astype(np.uint8)
        at = np.flatnonzero(levels)
        lengths.append(len(at))
        places.append(at)
        shares.append(levels[at])
        sure.append(round(meaning.sure * LEVELS))
        guessed.append(not meaning.known)
        is_class.append(offset in meanings.place)
    return {
        "classes_of": np.array(lengths, np.uint16),
        "class": np.concatenate(places).astype(np.uint16),
        "share": np.concatenate(shares),
        "sure": np.array(sure, np.uint8),
        "guessed": np.array(guessed, np.bool_),
        "is_class": np.array(is_class, np.bool_),
    }


def write_tables(arrays: Arrays, path: Path) -> None:
    """As `numpy.savez_compressed`, which leaves time and level of compression to others."""
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
