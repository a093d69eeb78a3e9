"""The dictionary is made from WordNet's files, the same every time, and means what it says."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest

from hashgrain.errors import TrainingError
from hashgrain.learn.words.byhand import NOUNS, SCENES
from hashgrain.learn.words.meanings import Meanings
from hashgrain.learn.words.rows import class_rows
from hashgrain.learn.words.tables import build_arrays, write_tables
from hashgrain.learn.words.wordnet import PHYSICAL, WordNet, read_license, read_wordnet
from hashgrain.models.dictionary import A_CLASS, CLASSES, LATER_SENSE, TRUST, Dictionary, dictionary

LICENCE = "  1 This software is provided under a license.  \n  2 All rights reserved.  \n"
# offset, file, kind, names, pointers, gloss: as data.noun has them
DATA = f"""\
00001740 03 n 01 entity 0 001 ~ {PHYSICAL} n 0000 | that which is
{PHYSICAL} 03 n 01 physical_entity 0 001 @ 00001740 n 0000 | what has a body
00000010 05 n 01 animal 0 001 @ {PHYSICAL} n 0000 | a living being that moves
00000020 05 n 02 dog 0 domestic_dog 0 002 @ 00000010 n 0000 ~ 00000021 n 0000 | an animal that barks; "the dog barked"
00000021 05 n 01 pug 0 001 @ 00000020 n 0000 | a small barking animal
00000022 05 n 01 collie 0 001 @ 00000020 n 0000 | a herding animal
00000023 05 n 01 rough_collie 0 001 @ 00000022 n 0000 | a collie of much hair
00000030 05 n 01 cat 0 001 @ 00000010 n 0000 | an animal that purrs
00000031 05 n 01 goldfish 0 001 @ 00000010 n 0000 | an animal of the water
00000032 05 n 01 fish 0 001 @ 00000010 n 0000 | an animal with fins
00000040 09 n 01 idea 0 001 @ 00001740 n 0000 | what is thought
"""
INDEX = """\
entity n 1 0 1 0 00001740
animal n 1 0 1 0 00000010
dog n 1 0 1 0 00000020
domestic_dog n 1 0 1 0 00000020
pug n 1 0 1 0 00000021
collie n 1 0 1 0 00000022
rough_collie n 1 0 1 0 00000023
cat n 1 0 1 0 00000030
goldfish n 1 0 1 0 00000031
fish n 1 0 1 0 00000032
gold n 1 0 1 0 00000040
idea n 2 0 2 0 00000040 00000030
mix n 4 0 4 0 00000032 00000030 00000020 00000022
kind n 2 0 2 0 00000020 00000030
"""
CLASS_OFFSETS = ("00000021", "00000022", "00000030", "00000031")
PUG, COLLIE, CAT, GOLDFISH = range(4)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, lines in {"data.noun": DATA, "index.noun": INDEX}.items():
        (tmp_path / name).write_text(LICENCE + lines)
    (tmp_path / "noun.exc").write_text("kine cat\n")
    for part in ("adj", "verb", "adv"):
        (tmp_path / f"index.{part}").write_text(LICENCE + f"some{part} x 1 0 1 0 00000001\n")
    (tmp_path / "cntlist.rev").write_text(
        "fish%1:05:00:: 1 2\nfish%2:35:00:: 1 3\ngo%2:38:00:: 1 9\ndog%1:05:00:: 1 9\n"
    )
    return tmp_path


@pytest.fixture
def meanings(folder: Path) -> Meanings:
    return Meanings(read_wordnet(folder), CLASS_OFFSETS)


def test_wordnet_is_read_with_its_tree_and_without_examples(folder: Path) -> None:
    wordnet: WordNet = read_wordnet(folder)
    assert wordnet.synsets["00000020"].gloss == "an animal that barks;"
    assert wordnet.closure("00000021") == {"00000021", "00000020", "00000010", PHYSICAL, "00001740"}
    assert wordnet.senses["idea"] == ("00000040", "00000030")
    assert wordnet.irregular == {"kine": "cat"}
    assert wordnet.others == {"someadj", "someverb", "someadv"}
    assert wordnet.rarely == {"fish", "go"}
    assert read_license(folder) == "This software is provided under a license.\nAll rights reserved.\n"


def test_what_is_no_wordnet_is_refused(tmp_path: Path, folder: Path) -> None:
    with pytest.raises(TrainingError, match="does not hold the files of WordNet"):
        read_wordnet(tmp_path / "none")
    (folder / "data.noun").write_text("00000010 05 n zz\n")
    with pytest.raises(TrainingError):
        read_wordnet(folder)


def test_a_meaning_is_the_classes_below_it_or_above_it_or_those_most_alike(meanings: Meanings) -> None:
    dog = meanings.of("00000020")
    assert (dog.weights.tolist(), dog.known, dog.sure) == ([0.5, 0.5, 0, 0], True, 1.0)
    rough = meanings.of("00000023")
    assert (rough.weights.argmax(), rough.weights.max(), rough.known) == (COLLIE, 1.0, True)
    fish = meanings.of("00000032")
    assert (fish.weights.argmax(), fish.known) == (GOLDFISH, False)  # by its name alone
    assert fish.weights.sum() == pytest.approx(1)


def test_only_what_has_a_body_is_seen(meanings: Meanings) -> None:
    assert meanings.is_seen("00000032")
    assert not meanings.is_seen("00000040")
    assert not meanings.is_seen("00001740")  # everything, so nothing


def test_names_are_alike_by_nouns_and_not_by_letters(meanings: Meanings) -> None:
    assert meanings._parts["fish"] == meanings._parts["gold"] == [GOLDFISH]
    assert not {"old", "ish", "goldfis"} & set(meanings._parts)


def test_the_tables_are_the_same_every_time_and_answer(folder: Path, tmp_path: Path) -> None:
    offsets = [*CLASS_OFFSETS, *["00000022"] * (CLASSES - len(CLASS_OFFSETS))]
    for name in ("one.npz", "two.npz"):
        write_tables(build_arrays(read_wordnet(folder), offsets), tmp_path / name)
    assert (tmp_path / "one.npz").read_bytes() == (tmp_path / "two.npz").read_bytes()
    with np.load(io.BytesIO((tmp_path / "one.npz").read_bytes()), allow_pickle=False) as arrays:
        words = Dictionary(dict(arrays))
    assert words.base("kine") == "cat"
    assert words.base("rough collies") == "rough collie"
    assert words.base("nothing") is None
    assert words.look_up("pug").weights[PUG] == 1
    assert words.look_up("idea").weights[CAT] == 1  # its second sense; the first is not seen
    assert words.is_other("someadj")
    assert not words.is_seen("gold")


def test_later_senses_count_less_and_classes_at_least_half_where_the_first_is_guessed(folder: Path) -> None:
    words = Dictionary(build_arrays(read_wordnet(folder), [*CLASS_OFFSETS, *["00000031"] * (CLASSES - 4)]))
    guess = words.look_up("fish")
    assert guess.guessed
    trust = guess.sure**TRUST
    counts = np.array([trust, A_CLASS + 0.1, LATER_SENSE**2, A_CLASS])  # a class: .6 is more than half anyway
    shares = np.stack([words.look_up(noun).weights for noun in ("fish", "cat", "dog", "collie")])
    np.testing.assert_allclose(words.look_up("mix").weights, counts @ shares / counts.sum(), atol=1e-5)
    known = np.array([1.0, LATER_SENSE]) @ shares[[2, 1]] / (1 + LATER_SENSE)
    np.testing.assert_allclose(words.look_up("kind").weights, known, atol=1e-5)


def test_rows_of_classes_tell_them_apart_where_bits_have_much_in_common() -> None:
    rng = np.random.default_rng(0)
    common = rng.normal(size=32) * 3  # what bits say in common, whatever the class
    own = rng.normal(size=(20, 32)) * 0.6
    label = rng.integers(0, 20, 4000)
    outputs = own[label] + rng.normal(size=(4000, 1)) * common + rng.normal(size=(4000, 32))
    codes = (outputs >= 0).astype(np.uint8)
    chances = np.eye(20)[label] * 0.8 + 0.01
    rows = class_rows(codes[:2000], chances[:2000])
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-5)
    means = np.stack([codes[:2000][label[:2000] == c].mean(axis=0) for c in range(20)])

    def precision(table: np.ndarray) -> float:
        scores = (table - table.mean(axis=0)) @ (codes[2000:] * 2.0 - 1).T
        return float((label[2000:][np.argsort(-scores, axis=1)[:, :20]] == np.arange(20)[:, None]).mean())

    assert precision(rows) > precision(means) + 0.03


def test_what_is_written_by_hand_is_in_the_tables_that_ship() -> None:
    for word, like in NOUNS.items():
        first = [np.flatnonzero(dictionary().look_up(each).weights) for each in like]
        assert dictionary().look_up(word).weights.argmax() in np.concatenate(first), word
    for scene, things in SCENES.items():
        read = dictionary().look_up(scene)
        assert read.guessed
        assert set(read.classes) <= set(things)
