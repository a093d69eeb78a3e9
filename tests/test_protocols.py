"""The published splits come out as published, whatever the order and the names of the pictures."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from itertools import islice
from pathlib import Path
from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conftest import fill
from hashgrain.errors import EvaluationError
from hashgrain.evaluate.manifest import Manifest
from hashgrain.evaluate.protocols import OPEN_SETS, PROTOCOLS, Protocol, Take, expanded, protocol
from hashgrain.evaluate.results import Result
from hashgrain.evaluate.splitting import Pool, split
from in_process import hashgrain
from made_pools import pool_of, some_of, stand_in

# Queries, training pictures, database; whether the database contains the training pictures; the first so many count.
PUBLISHED = {
    "cifar10": (1_000, 5_000, 54_000, False, None),
    "cifar10-1": (1_000, 5_000, 59_000, True, None),
    "cifar10-2": (10_000, 50_000, 50_000, True, None),
    "cifar10-unsup-I": (10_000, 50_000, 50_000, True, 1000),
    "cifar10-unsup-II": (1_000, 5_000, 59_000, True, 1000),
    "cifar10-cib": (5_000, 5_000, 50_000, True, 1000),
    "cifar10-unseen": (300, 42_000, 17_700, False, None),
    "cifar100-h": (10_000, 50_000, 50_000, True, 2500),
    "imagenet100": (5_000, 13_000, 128_503, True, 1000),
    "cifar100-shc": (5_000, 10_000, 45_000, False, 1000),
    "nuswide_21": (2_100, 10_500, 193_734, True, 5000),
    "nuswide_21_m": (2_100, 10_500, 50_500, True, 5000),  # its lists do not say how many are searched
    "nuswide_81_m": (5_000, 10_000, 218_496, True, 5000),
    "voc2012": (1_000, 4_000, 6_540, False, None),
    "cub": (5_794, 5_994, 5_994, True, None),
    "cars": (8_041, 8_144, 8_144, True, None),
    "nabirds": (24_633, 23_929, 23_929, True, None),
    # Training pictures: sums of 5000 and of 500 times factor ** (-i / (C - 1)), rounded down, over the classes.
    "cifar10-lt-10": (10_000, 20_431, 50_000, True, None),
    "cifar10-lt-50": (10_000, 13_996, 50_000, True, None),
    "cifar10-lt-100": (10_000, 12_406, 50_000, True, None),
    "cifar100-lt-10": (10_000, 19_573, 50_000, True, None),
    "cifar100-lt-50": (10_000, 12_608, 50_000, True, None),
    "cifar100-lt-100": (10_000, 10_847, 50_000, True, None),
    "coco": (5_000, 10_000, 117_218, True, 5000),
    "mirflickr-24": (1_000, 4_000, 20_000, False, 5000),
    "mirflickr-38": (1_000, 4_000, 20_000, False, None),
    "tiny-imagenet": (5_000, 80_000, 80_000, True, 1000),
}
# Queries and training pictures of each class, where it is the same for all.
A_CLASS = {
    "cifar10": (100, 500),
    "cifar10-1": (100, 500),
    "cifar10-2": (1_000, 5_000),
    "cifar10-unsup-I": (1_000, 5_000),
    "cifar10-unsup-II": (100, 500),
    "cifar10-cib": (500, 500),
    "cifar100-h": (100, 500),
    "cifar100-shc": (50, 100),
    "imagenet100": (50, 130),
    "tiny-imagenet": (25, 400),
}
# Which part queries and database come from, where there are parts to tell apart.
PARTS = {
    "cifar10-2": ("test", "train"),
    "cifar10-unsup-I": ("test", "train"),
    "cifar10-cib": ("test", "train"),
    "cifar100-h": ("test", "train"),
    "parts": ("test", "train"),
    "parts-val": ("val", "train"),
    "cifar100-lt-50": ("test", "train"),
    "cub": ("test", "train"),
    "imagenet100": ("val", "train"),
    "tiny-imagenet": ("val", "train"),
}


@cache
def drawn(name: str, seed: int = 0) -> Manifest:
    return split(stand_in(name), protocol(name), seed)


def told(manifest: Manifest) -> dict[str, Counter[tuple[str, tuple[str, ...]]]]:
    """What stands in each split, without names and numbers."""
    return {
        name: Counter((manifest.hashes[i], manifest.classes[i]) for i in index.tolist())
        for name, index in manifest.splits.items()
    }


def test_every_protocol_of_the_registry_is_checked_here() -> None:
    assert set(PUBLISHED) | {"folder", "folder-unseen", "parts", "parts-val"} == set(PROTOCOLS)
    assert all(name == each.name and each.about and each.version == 1 for name, each in PROTOCOLS.items())


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_counts_are_the_published_ones(name: str) -> None:
    manifest = drawn(name)
    queries, train, database, holds_train, cutoff = PUBLISHED[name]
    assert [len(manifest.queries), len(manifest.train), len(manifest.database)] == [queries, train, database]
    assert manifest.database_holds_train is holds_train
    searched = {manifest.hashes[i] for i in manifest.database.tolist()}
    assert all(manifest.hashes[i] in searched for i in manifest.train.tolist()) == holds_train
    assert manifest.rules["cutoff"] == cutoff


@pytest.mark.parametrize("name", PROTOCOLS)
def test_no_picture_is_drawn_twice_and_no_query_is_searched_or_learnt_from(name: str) -> None:
    manifest = drawn(name)
    n = len(manifest.hashes)
    for index in manifest.splits.values():
        assert len(np.unique(index)) == len(index) > 0
        assert index.min() >= 0
        assert index.max() < n
    assert not np.isin(manifest.queries, manifest.database).any()
    assert not np.isin(manifest.queries, manifest.train).any()


@pytest.mark.parametrize("name", A_CLASS)
def test_each_class_gives_the_same_number(name: str) -> None:
    manifest = drawn(name)
    for index, count in zip((manifest.queries, manifest.train), A_CLASS[name], strict=True):
        assert set(Counter(manifest.classes[i] for i in index.tolist()).values()) == {count}


@pytest.mark.parametrize("name", PARTS)
def test_queries_and_database_come_from_the_parts_they_should(name: str) -> None:
    parts, manifest = stand_in(name).parts, drawn(name)
    asked, searched = PARTS[name]
    assert set(parts[manifest.queries].tolist()) == {asked}
    assert set(parts[manifest.train].tolist()) == set(parts[manifest.database].tolist()) == {searched}


@pytest.mark.parametrize("name", ["folder", "folder-unseen"])
def test_a_protocol_of_any_pictures_never_pools_train_and_test(name: str) -> None:
    """What a publisher keeps for asking must not be learned from, and the other way round."""
    with pytest.raises(EvaluationError, match=r"parts test and train, .* take the protocol parts,"):
        split(stand_in("parts"), protocol(name))
    with pytest.raises(EvaluationError, match=r"parts train and val, .* take the protocol parts-val,"):
        split(stand_in("parts-val"), protocol(name))
    one = stand_in("parts")
    alone = some_of(one, np.flatnonzero(one.parts == "train"))
    assert len(split(alone, protocol(name)).queries) > 0
    mixed = replace(one, parts=np.where(one.parts == "test", "test", ""))
    with pytest.raises(EvaluationError, match="parts test and train"):
        split(mixed, protocol(name))


def test_the_same_contents_under_two_classes_are_told() -> None:
    pool = stand_in("folder")
    hashes = [pool.hashes[0], pool.hashes[0], *pool.hashes[2:-1], pool.hashes[0]]
    warnings = split(replace(pool, hashes=hashes), protocol("folder")).warnings
    (told,) = [note for note in warnings if "two classes" in note]
    assert told.startswith("1 pictures are under two classes")
    assert told.endswith("class 0 and class 6")
    assert not any("two classes" in note for note in drawn("folder").warnings)


def test_cifar10_pools_both_parts_before_it_draws() -> None:
    parts = stand_in("cifar10").parts
    for index in drawn("cifar10").splits.values():
        assert 0.5 < (parts[index] == "train").mean() < 0.95


def test_each_concept_of_nuswide_is_drawn_as_often_however_the_concepts_overlap() -> None:
    manifest = drawn("nuswide_21")
    for index, count in ((manifest.queries, 100), (manifest.train, 500)):
        borne = Counter(label for i in index.tolist() for label in manifest.classes[i])
        assert len(borne) == 21
        assert min(borne.values()) >= count


def test_pictures_without_labels_are_left_out_of_coco_and_kept_in_mirflickr() -> None:
    coco = drawn("coco")
    assert not any(coco.classes[i] == () for index in coco.splits.values() for i in index.tolist())
    assert any(note == "1069 pictures without any label are left out" for note in coco.warnings)
    flickr = drawn("mirflickr-24")
    used = [flickr.classes[i] for index in flickr.splits.values() for i in index.tolist()]
    assert sum(labels == () for labels in used) == 1_000
    assert not any("without any label" in note for note in flickr.warnings)


@pytest.mark.parametrize("name", ["cifar10-unseen", "folder-unseen"])
def test_unseen_classes_are_neither_learnt_from_nor_are_seen_ones_asked_for(name: str) -> None:
    manifest = drawn(name)
    learnt, asked, searched = (
        {manifest.classes[i] for i in index.tolist()} for index in (manifest.train, manifest.queries, manifest.database)
    )
    assert not learnt & (asked | searched)
    assert len(learnt) + len(asked) == (10 if name == "cifar10-unseen" else 7)
    assert len(asked) == (3 if name == "cifar10-unseen" else 2)


def test_another_seed_keeps_other_classes_unseen() -> None:
    drawings = [drawn("folder-unseen", seed) for seed in range(4)]
    assert len({frozenset(each.classes[i] for i in each.queries.tolist()) for each in drawings}) > 1


def test_another_seed_draws_other_pictures_by_chance_alone() -> None:
    zero, one = drawn("cifar10-1", 0), drawn("cifar10-1", 1)
    assert zero.digest != one.digest
    assert 2 <= len(np.intersect1d(zero.queries, one.queries)) <= 40  # 1,000 of 60,000 twice: 17 by chance
    assert zero.digest == split(stand_in("cifar10-1"), protocol("cifar10-1"), 0).digest
    assert zero.rules == one.rules


# --- what is refused


def changed_pools(pool: Pool) -> Iterator[Pool]:
    """One picture less of each part, one more of the last."""
    n = len(pool.names)
    for part in np.unique(pool.parts):
        place = int(np.flatnonzero(pool.parts == part)[0])
        yield some_of(pool, np.delete(np.arange(n), place))
    yield some_of(pool, np.r_[np.arange(n), place])


@pytest.mark.parametrize("name", PUBLISHED)
def test_another_number_of_pictures_is_refused_with_the_name_and_both_numbers(name: str) -> None:
    pools = list(islice(changed_pools(stand_in(name)), 2 if name == "nuswide_81_m" else None))  # a large one
    for pool in pools[1:3] if name == "nuswide_21_m" else pools:  # whose lists do not say how many are searched
        with pytest.raises(EvaluationError, match=rf"^{re.escape(name)} has \d+ \w+, here are \d+.*`folder`") as caught:
            split(pool, protocol(name))
        there, here = map(int, re.findall(r"(?:has|are) (\d+)", str(caught.value))[:2])
        assert abs(there - here) == 1


def test_a_protocol_says_which_labels_it_takes() -> None:
    with pytest.raises(EvaluationError, match="coco takes sets of labels"):
        split(stand_in("cifar10"), protocol("coco"))
    with pytest.raises(EvaluationError, match="cifar10 takes one class a picture"):
        split(pool_of([("a", "b")], in_sets=True), protocol("cifar10"))
    with pytest.raises(EvaluationError, match="mirflickr-24 has 24 classes, here are 38"):
        split(stand_in("mirflickr-38"), protocol("mirflickr-24"))


def test_a_graded_protocol_wants_its_superclasses() -> None:
    pool = stand_in("cifar100-h")
    with pytest.raises(EvaluationError, match="cifar100-h has 20 superclasses, here are 0"):
        split(replace(pool, classes=[path[1:] for path in pool.classes]), protocol("cifar100-h"))


def test_a_missing_part_is_named_with_those_there_are() -> None:
    pool = pool_of([("cat",)] * 9, ["train"] * 8 + ["validation"])
    with pytest.raises(EvaluationError, match=r"made takes its queries from the part 'val'; .*'train', 'validation'"):
        split(pool, Protocol("made", "", Take(part="val"), Take(), "train"))


def test_too_few_pictures_of_a_class_are_named() -> None:
    few = Protocol("few", "", Take(per_class=3), Take(), "all but queries")
    with pytest.raises(EvaluationError, match="few takes 3 queries of each class; cat has 2"):
        split(pool_of([("cat",)] * 2 + [("dog",)] * 9), few)
    with pytest.raises(EvaluationError, match="few takes 30 queries; there are 11"):
        split(pool_of([("cat",)] * 2 + [("dog",)] * 9), replace(few, queries=Take(total=30)))


def test_an_unknown_protocol_is_refused_with_those_there_are() -> None:
    with pytest.raises(EvaluationError, match=r"no protocol 'cifar11'; there are cifar10, .*folder-unseen"):
        protocol("cifar11")


# --- pictures of one's own


def test_folder_asks_for_a_tenth_of_each_class_and_searches_the_rest() -> None:
    manifest = drawn("folder")
    asked = Counter(manifest.classes[i][0] for i in manifest.queries.tolist())
    assert asked == {"class 0": 4, "class 1": 2, "class 2": 1, "class 3": 10, "class 4": 1, "class 5": 1, "class 6": 6}
    assert np.array_equal(manifest.train, manifest.database)
    assert len(manifest.queries) + len(manifest.train) == len(manifest.hashes)


def test_a_class_of_one_picture_is_warned_about_by_name() -> None:
    assert list(drawn("folder").warnings) == ["class 5 has 1 queries, and nothing of it can be found"]


@pytest.mark.parametrize("name", ["folder", "folder-unseen"])
def test_classes_of_one_picture_alone_cannot_be_evaluated(name: str) -> None:
    with pytest.raises(EvaluationError, match=f"{name} finds no"):
        split(pool_of([(f"class {i}",) for i in range(5)]), protocol(name))


def test_a_long_tail_keeps_the_published_numbers_of_each_class() -> None:
    """As Cui et al. and Cao et al. cut CIFAR: in the order of the classes, n * factor ** (-i / (C - 1))."""
    manifest = drawn("cifar10-lt-100")
    counts = Counter(manifest.classes[i][-1] for i in manifest.train.tolist())
    assert [counts[f"class {i}"] for i in range(10)] == [5000, 2997, 1796, 1077, 645, 387, 232, 139, 83, 50]
    hundred = Counter(drawn("cifar100-lt-100").classes[i][-1] for i in drawn("cifar100-lt-100").train.tolist())
    assert (hundred["class 000"], hundred["class 099"]) == (500, 5)
    small = Counter(drawn("cifar100-lt-10").classes[i][-1] for i in drawn("cifar100-lt-10").train.tolist())
    assert small["class 099"] == 50


SIDES = {"seen": {True}, "unseen": {False}, "all": {True, False}}


@pytest.mark.parametrize("base", ["cifar10-1", "cifar10-2", "folder"])
def test_who_asks_and_who_is_searched_are_the_seen_and_unseen_classes_they_should_be(base: str) -> None:
    pool = stand_in(base)
    pool = some_of(pool, [i for i, path in enumerate(pool.classes) if base != "folder" or path[0] != "class 5"])
    whole = split(pool, protocol(base))
    learnt: set[tuple[str, ...]] = set()
    train = None
    for name in expanded(f"{base}-open"):
        asks, searched = name.removeprefix(f"{base}-").split("@")
        manifest = split(pool, protocol(name))
        learnt = {manifest.classes[i] for i in manifest.train.tolist()}
        # One model answers to all four: they learn from the same pictures, and those of the base without a class.
        train = manifest.train if train is None else train
        assert np.array_equal(manifest.train, train)
        assert set(manifest.train.tolist()) <= set(whole.train.tolist())
        for index, side, all_of in (
            (manifest.queries, asks, whole.queries),
            (manifest.database, searched, whole.database),
        ):
            assert {manifest.classes[i] in learnt for i in index.tolist()} == SIDES[side]
            assert set(index.tolist()) <= set(all_of.tolist())
        assert (manifest.rules["protocol"], manifest.rules["cutoff"]) == (name, whole.rules["cutoff"])
    assert len(learnt) == (4 if base == "folder" else 7)
    # The base is drawn as it is drawn alone: pictures that we know are known.
    known = replace(protocol(f"{base}-unseen@all"), manifests={0: whole.digest})
    assert not any("before" in note for note in split(pool, known).warnings)
    everything = split(pool, protocol(f"{base}-seen@all"))
    assert np.array_equal(everything.database, whole.database)


def test_pictures_with_an_unseen_label_among_others_are_not_learnt_from() -> None:
    pool = pool_of([("a",), ("a", "b"), ("b",), ("c",)] * 30, in_sets=True)
    manifest = split(pool, protocol("folder-unseen@all"))
    borne = {label for i in manifest.train.tolist() for label in manifest.classes[i]}
    unseen = {"a", "b", "c"} - borne
    assert len(unseen) == 1
    assert all(unseen & set(manifest.classes[i]) for i in manifest.queries.tolist())


def test_names_of_open_sets_are_those_of_known_protocols() -> None:
    assert expanded("cifar10-1") == ["cifar10-1"]
    assert expanded("none-open") == ["none-open"]
    for name in ("none-unseen@all", "cifar10-1-unseen@some", "cifar10-unseen-unseen@all", "folder-unseen@seen"):
        with pytest.raises(EvaluationError, match="no protocol"):
            protocol(name)
    with pytest.raises(EvaluationError, match="classes are too few"):
        split(pool_of([("cat",)] * 20), protocol("folder-unseen@all"))
    facts = protocol("cifar10-1-unseen@all").facts()
    assert (facts["classes that ask"], facts["classes that are searched"]) == ("unseen", "all")


def test_unseen_classes_take_two_classes() -> None:
    with pytest.raises(EvaluationError, match="1 classes are too few"):
        split(pool_of([("cat",)] * 20), protocol("folder-unseen"))


def test_a_label_whose_only_pictures_were_drawn_for_another_stops_nothing() -> None:
    pool = pool_of([("a", "b")] + [("a",)] * 3 + [("c",)] * 20, in_sets=True)
    for seed in range(20):
        assert len(split(pool, protocol("folder"), seed).queries) >= 3


def test_copies_between_queries_and_database_are_warned_about_with_their_number() -> None:
    pool = pool_of([("cat",)] * 30)
    assert split(pool, protocol("folder")).warnings == []
    copied = replace(pool, hashes=["a" * 64] * 5 + ["b" * 64] * 25)
    one = Protocol("one", "", Take(total=1), Take(), "all but queries")
    notes = {note for seed in range(12) for note in split(copied, one, seed).warnings}
    assert notes == {f"{n} pictures of the database have the same content as a query" for n in (4, 24)}


def test_other_pictures_than_those_we_know_are_warned_about() -> None:
    pool = stand_in("folder")
    known = replace(protocol("folder"), manifests={0: drawn("folder").digest, 1: "f" * 64})
    assert split(pool, known, 0).warnings == drawn("folder").warnings
    assert any("seed 1 was drawn from before" in note for note in split(pool, known, 1).warnings)
    assert not any("before" in note for note in split(pool, known, 2).warnings)


# --- what a draw depends on

SMALL = (
    Protocol("share", "", Take(share=0.3), Take(), "train"),
    Protocol("total", "", Take(total=3), Take(total=2), "all but queries and train"),
    Protocol("each", "", Take(per_class=1), Take(per_class=1), "all but queries"),
    Protocol("part", "", Take(per_class=1, part="test"), Take(part="train"), "all but queries", pool="train"),
    Protocol("unseen", "", Take(share=0.2), Take(), "all but queries", unseen=0.5),
)


@st.composite
def pools(draw: st.DrawFn) -> Pool:
    """A few pictures, some of them copies, maybe with other labels or in another part."""
    n = draw(st.integers(1, 24))
    column = st.lists(st.integers(0, n), min_size=n, max_size=n)
    in_sets = draw(st.booleans())
    one = st.lists(st.sampled_from("abc"), max_size=3, unique=True).map(sorted) if in_sets else st.sampled_from("abc")
    classes = [tuple(each) for each in draw(st.lists(one, min_size=n, max_size=n))]
    parts = draw(st.lists(st.sampled_from(["train", "test"]), min_size=n, max_size=n))
    pool = pool_of(classes, parts, in_sets=in_sets)
    return replace(pool, hashes=[f"{content:064x}" for content in draw(column)])


@settings(max_examples=100)
@given(pools(), st.sampled_from(SMALL), st.integers(0, 5), st.randoms(use_true_random=False))
def test_draws_depend_on_contents_and_seed_not_on_order_or_names(
    pool: Pool, each: Protocol, seed: int, dice: Random
) -> None:
    order = list(range(len(pool.names)))
    dice.shuffle(order)
    moved = replace(some_of(pool, order), names=[f"elsewhere/{i}" for i in order])
    try:
        first = split(pool, each, seed)
    except EvaluationError as error:
        with pytest.raises(EvaluationError, match=f"^{re.escape(str(error))}$"):
            split(moved, each, seed)
        return
    second = split(moved, each, seed)
    assert told(first) == told(second)
    assert first.digest == second.digest
    assert first.warnings == second.warnings


def test_more_pictures_of_other_classes_leave_the_draw_of_a_class_as_it_was() -> None:
    each = Protocol("each", "", Take(per_class=5), Take(per_class=5), "all but queries")
    few = split(pool_of([("cat",)] * 40), each)
    more = split(pool_of([("cat",)] * 40 + [("dog",)] * 40), each)
    assert set(few.queries.tolist()) == {i for i in more.queries.tolist() if i < 40}


def test_one_name_on_the_command_line_measures_all_four_sides(tmp_path: Path) -> None:
    for kind in range(4):
        fill(tmp_path / f"pictures/kind{kind}", 3, start=10 * kind)
    out = tmp_path / "runs"
    how = ("--data", tmp_path / "pictures", "--bits", "16", "--references", "none", "--out", out, "-q")
    done = hashgrain("evaluate", "small", *how, "-p", "folder-open")
    assert done.exit_code == 0, done.stderr
    assert sorted(run.name for run in out.iterdir()) == sorted(f"small-folder-{sides}-seed0" for sides in OPEN_SETS)
    told = [Result.read(run).protocol for run in sorted(out.iterdir())]
    assert {(each["queries"], each["database"]) for each in told} == {(3, 6), (3, 8), (1, 2), (1, 8)}
