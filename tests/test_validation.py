"""Figures of pictures kept out of training say what they could be at most, and which labels to mistrust."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="needs the train extra")
pytest.importorskip("accelerate", reason="needs the train extra")

from hashgrain.codes import Codes, Grains
from hashgrain.errors import TrainingError
from hashgrain.learn.data.grain_labels import GrainLabels
from hashgrain.learn.data.labelled import Labelled
from hashgrain.learn.data.notices import notices, under_two_classes, unused_levels
from hashgrain.learn.export import calibrate, missing_words, strangers_wanted
from hashgrain.learn.training.validation import QUERIES, validate

pytestmark = pytest.mark.train
GRAINS = Grains(thing=64)


def labelled(ids: list[int], contents: list[str] | None = None, depth: int = 1) -> Labelled:
    names = tuple(f"thing {i}" for i in range(max(ids) + 1))
    levels = {"thing": GrainLabels(names, np.array(ids, np.int32)[:, None])}
    return Labelled(
        np.zeros((len(ids), 1)), levels, np.array(contents or [f"{i:03}" for i in range(len(ids))]), (), depth
    )


def perfect(held: Labelled) -> np.ndarray:
    """Outputs of a class are alike and those of two apart."""
    signs = np.random.default_rng(0).choice([-1.0, 1.0], (len(held.levels["thing"].names), 64))
    return signs[held.levels["thing"].only()].astype(np.float32)


def test_perfect_codes_reach_what_figures_are_said_to_reach_at_most() -> None:
    for each in (2, 5, 9):
        held = labelled([i // each for i in range(12 * each)])
        found = validate(perfect(held), held, GRAINS)
        assert found["thing P@10 at most"] < 1
        assert found["thing P@10"] == found["thing P@10 at most"]
        assert found["thing mAP"] == found.get("thing mAP at most", 1.0)
    plenty = labelled([i // 60 for i in range(240)])
    assert len(plenty) < QUERIES
    assert not [name for name in validate(perfect(plenty), plenty, GRAINS) if "at most" in name]


def test_five_kept_out_of_each_class_cap_p_at_10_far_below_one() -> None:
    held = labelled([i // 5 for i in range(50)])
    assert 0.1 < validate(perfect(held), held, GRAINS)["thing P@10 at most"] < 0.4


def test_a_class_of_one_picture_kept_out_is_explained() -> None:
    training, held = labelled([0, 0, 0, 1, 1, 1, 2, 2]), labelled([0, 0, 0, 1, 2])
    found = validate(perfect(held), held, GRAINS)
    assert found["thing mAP at most"] < 1
    (told,) = [line for line in notices(training, held, ["thing"], Path("pictures")) if "in the validation set" in line]
    assert told.startswith("2 classes have one picture in the validation set (thing 1, thing 2)")
    assert "set held_out= higher" in told
    assert list(notices(training, labelled([0, 0, 1, 1, 2, 2]), ["thing"], Path("pictures"))) == []


def test_a_picture_under_two_classes_is_told_and_many_are_refused() -> None:
    contents = [f"{i:03}" for i in range(40)]
    ids = [i % 4 for i in range(40)]
    assert under_two_classes(labelled(ids, contents).contents, labelled(ids, contents).levels, Path("p")) == ""
    twin = labelled([*ids, 1, 0], [*contents, contents[0], contents[0]])  # under another, and again under its own
    told = under_two_classes(twin.contents, twin.levels, Path("p"))
    assert told.startswith("1 pictures are under two classes (thing 0 and thing 1)")
    many = labelled([*ids, *[(i + 1) % 4 for i in ids[:9]]], [*contents, *contents[:9]])
    with pytest.raises(TrainingError, match=r"9 pictures are under two classes .* of 40: .*give sets of labels"):
        under_two_classes(many.contents, many.levels, Path("p"))
    sets = GrainLabels(("a", "b"), np.array([[0, 1]] * 42, np.int32))  # which may share what they like
    assert under_two_classes(twin.contents, {"thing": sets}, Path("p")) == ""


def test_levels_that_teach_nothing_are_told() -> None:
    assert unused_levels(2, ["kind", "thing"]) == ""
    assert unused_levels(1, ["kind", "thing"]) == ""
    assert unused_levels(5, []) == ""
    told = unused_levels(3, ["kind", "thing"])
    assert "kind learns level 2, thing learns level 3; level 1, the coarsest, teaches nothing" in told
    assert "b learns level 4; levels 1 to 2, the coarsest, teach nothing" in unused_levels(4, ["a", "b"])
    assert unused_levels(4, ["thing"]) == ""


def test_a_word_is_said_only_where_enough_pairs_say_how_often_it_is_wrong() -> None:
    def words(each: int, classes: int, strangers: int = 0) -> dict[str, int]:
        held = labelled([i // each for i in range(each * classes)])
        codes = Codes.from_outputs(perfect(held), GRAINS)
        others = np.random.default_rng(1).normal(size=(strangers, 64)).astype(np.float32)
        told = calibrate(codes, held, Codes.from_outputs(others, GRAINS) if strangers else None)
        missing = [line.split("*")[1] for line in missing_words(told, held, GRAINS)]
        assert missing == [word for word in ("same", "near", "related") if word not in told]
        return {word: threshold.distance for word, threshold in told.items()}

    assert words(5, 3) == {}  # 75 pairs of different classes
    assert set(words(5, 5)) == {"related"}  # 250
    assert set(words(20, 5)) == {"near", "related"}  # 4,000 and 4,950 in all
    assert set(words(20, 5, strangers=2_951)) == {"same", "near", "related"}  # and 295,100 across: 300,000 with those
    assert set(words(20, 5, strangers=2_950)) == {"near", "related"}


def test_as_many_pictures_learned_from_are_encoded_as_it_takes_and_no_more() -> None:
    assert strangers_wanted(100, 5_000) == 0  # 2,951 are more than are worth it
    assert strangers_wanted(200, 5_000) == 1_401
    assert strangers_wanted(200, 1_000) == 0  # there are too few: no use
    assert strangers_wanted(800, 5_000) == 0  # enough by themselves
    assert strangers_wanted(0, 5_000) == 0
