"""A phrase is read as nouns over the classes of ImageNet, and what is left out is said."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from hashgrain.errors import QueryError
from hashgrain.models.dictionary import TABLES, dictionary
from hashgrain.models.phrases import MAX_CHARACTERS, OTHERS, Phrase, read_phrase

PHRASES = (Path(__file__).parent.parent / "benchmarks/phrases.txt").read_text().splitlines()
DOGS = range(151, 269)  # of the 1,000 classes


def weights(text: str) -> NDArray[np.float32]:
    read = read_phrase(text).weights
    assert read is not None
    return read


def nouns(phrase: Phrase) -> list[str]:
    return [one.noun for one in phrase.nouns]


def test_a_noun_above_classes_is_all_of_them_alike() -> None:
    dogs = weights("domestic dog")
    assert set(np.flatnonzero(dogs)) == set(DOGS)
    assert np.ptp(dogs[DOGS]) == pytest.approx(0, abs=1e-6)
    assert weights("dog")[DOGS].sum() > 0.8  # the rest are other senses: hot dogs


def test_a_noun_below_a_class_is_that_class() -> None:
    assert weights("minicab").argmax() == 468  # cab
    assert not read_phrase("minicab").nouns[0].guessed


def test_the_longest_noun_is_taken() -> None:
    assert nouns(read_phrase("a golden retriever")) == ["golden retriever"]
    assert weights("golden retriever").argmax() == 207
    assert nouns(read_phrase("a hot dog")) == ["hot dog"]


@pytest.mark.parametrize(
    ("many", "one"),
    [("dogs", "dog"), ("butterflies", "butterfly"), ("churches", "church"), ("geese", "goose"), ("mice", "mouse")],
)
def test_plurals_are_read_as_their_nouns(many: str, one: str) -> None:
    assert nouns(read_phrase(many)) == [one]
    np.testing.assert_array_equal(weights(many), weights(one))


def test_several_senses_count_the_first_most() -> None:
    crane = weights("crane")  # the machine stands behind the bird or before it, and both are classes
    assert min(crane[134], crane[517]) > 0.2


def test_the_noun_that_leads_counts_most() -> None:
    both = weights("a dog on a bicycle")
    dog, bicycle = weights("dog"), weights("bicycle")
    np.testing.assert_allclose(both, (dog + OTHERS * bicycle) / (1 + OTHERS), atol=1e-3)
    np.testing.assert_allclose(weights("dogs and bicycles"), (dog + bicycle) / 2, atol=1e-3)


@pytest.mark.parametrize(
    "text", ["red car", "a very red car!", "the Red CAR", "car's", " car\x00\x1b[31m\u202e ", "cár"]
)
def test_colors_marks_and_little_words_change_nothing(text: str) -> None:
    np.testing.assert_array_equal(weights(text.replace("[31m", "")), weights("car"))


def test_a_color_is_said_to_be_ignored() -> None:
    read = read_phrase("a red car")
    assert (nouns(read), read.ignored) == (["car"], ("a", "red"))
    assert "ignored: a, red" in read.summary()


def test_a_color_that_is_a_thing_is_one_where_it_stands_alone() -> None:
    assert nouns(read_phrase("an orange")) == ["orange"]
    assert nouns(read_phrase("an orange cat")) == ["cat"]


def test_a_color_makes_no_idiom_of_a_thing() -> None:
    assert nouns(read_phrase("a red flag")) == ["flag"]
    assert nouns(read_phrase("a yellow flag")) == ["flag"]


def test_words_that_are_not_known_are_named() -> None:
    read = read_phrase("a zyxgrbl and a dog")
    assert (nouns(read), read.unknown, read.not_seen) == (["dog"], ("zyxgrbl",), ())


def test_what_cannot_be_seen_is_told_apart_from_what_is_not_known() -> None:
    read = read_phrase("democracy zyxgrbl")
    assert (read.weights, read.unknown, read.not_seen) == (None, ("zyxgrbl",), ("democracy",))
    assert "not a thing that can be seen: democracy" in read.summary()


def test_words_that_are_no_nouns_are_ignored_and_not_unknown() -> None:
    read = read_phrase("dogs running quickly beside beautiful horses")
    assert nouns(read) == ["dog", "horse"]
    assert read.unknown == ()
    assert {"quickly", "beside", "beautiful"} <= set(read.ignored)


def test_a_verb_that_could_be_a_noun_is_ignored_beside_one() -> None:
    read = read_phrase("stop at the lighthouse")
    assert (nouns(read), "stop" in read.ignored) == (["lighthouse"], True)
    assert nouns(read_phrase("stop")) == ["stop"]


def test_a_noun_that_comes_twice_is_told_once() -> None:
    assert nouns(read_phrase("fire, fire, fire")) == ["fire"]


def test_what_says_how_a_thing_is_shown_is_ignored_beside_a_thing() -> None:
    assert nouns(read_phrase("a photo of a bunch of bananas")) == ["banana"]


def test_what_is_guessed_is_said_with_what_it_is_like() -> None:
    read = read_phrase("kitchen")
    assert read.nouns[0].guessed
    assert "guessed: like" in read.summary()
    assert "guessed" not in read_phrase("dog").summary()


@pytest.mark.parametrize("text", ["", "   ", "\x00\x01\n", "...", "\u200b\u202e", "?!"])
def test_a_phrase_without_words_is_an_error(text: str) -> None:
    with pytest.raises(QueryError, match="no words"):
        read_phrase(text)


def test_a_phrase_without_end_is_an_error() -> None:
    with pytest.raises(QueryError, match="10,000 characters"):
        read_phrase("dog " * 2500)
    assert nouns(read_phrase("dog " * (MAX_CHARACTERS // 4)))[0] == "dog"


@pytest.mark.parametrize("text", ["собака", "😂", "🇫🇷", "\ud83d", "x" * 900, "a b c d"])
def test_what_is_no_english_is_unknown_or_nothing(text: str) -> None:
    try:
        read = read_phrase(text)
    except QueryError as error:
        assert "no words" in str(error)
    else:
        assert read.weights is None
        assert read.unknown or read.ignored


def test_an_emoji_is_read_by_its_name() -> None:
    assert nouns(read_phrase("🐶 ✈️ ⚽ 👩‍👧")) == ["dog", "airplane", "soccer ball", "woman", "girl"]
    assert "🐶 (read as dog)" in read_phrase("🐶").summary()


def test_every_phrase_people_type_is_read_with_weights_that_are_shares() -> None:
    assert len(set(PHRASES)) == 100
    read = [read_phrase(text) for text in PHRASES]
    assert sum(one.weights is None for one in read) <= 5
    assert not [one.text for one in read if one.unknown]
    for one in read:
        if one.weights is not None:
            assert one.weights.min() >= 0
            assert one.weights.sum() == pytest.approx(1, abs=1e-5)


def test_looking_up_takes_little_time_and_little_room() -> None:
    dictionary()
    began = time.process_time()
    for text in PHRASES:
        read_phrase(text)
    assert (time.process_time() - began) / len(PHRASES) < 0.005
    assert sum(file.stat().st_size for file in TABLES.parent.iterdir()) < 3_000_000


def test_the_licence_of_wordnet_stands_beside_the_tables() -> None:
    licence = (TABLES.parent / "LICENSE-WordNet.txt").read_text()
    assert "WordNet 3.0 Copyright 2006 by Princeton University" in licence
    assert "same appear on ALL copies" in licence
