"""A manifest says exactly which pictures were used, and notices when they are others."""

from __future__ import annotations

import gzip
import json
import os
import random
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hashgrain.errors import EvaluationError
from hashgrain.evaluate import Paths, Sets
from hashgrain.evaluate import manifest as module
from hashgrain.evaluate.manifest import Manifest
from hashgrain.evaluate.protocols import protocol
from hashgrain.evaluate.splitting import split
from made_pools import pool_of

RULES = {"protocol": "made", "version": 1, "cutoff": None, "convention": "hash", "relevance": "same class",
         "transform": "none"}  # fmt: skip
# Lone surrogates stand for the bytes of odd file names.
ODD = st.text(st.characters(), min_size=1, max_size=4) | st.sampled_from(["a|b", "a/b", "a\nb", "\udcff", "a", "b"])


@st.composite
def manifests(draw: st.DrawFn) -> Manifest:
    n, in_sets = draw(st.integers(1, 12)), draw(st.booleans())
    depth = draw(st.integers(1, 3))
    path = st.lists(ODD, min_size=depth, max_size=depth).map(tuple)
    labels = st.lists(ODD, max_size=3, unique=True).map(lambda found: tuple(sorted(found)))
    index = st.lists(st.integers(0, n - 1), max_size=n, unique=True).map(
        lambda found: np.array(sorted(found), np.int64)
    )
    return Manifest(
        rules=RULES | {"cutoff": draw(st.none() | st.integers(1, 5000))},
        seed=draw(st.integers(0, 99)),
        names=draw(st.lists(ODD, min_size=n, max_size=n)),
        hashes=[f"{draw(st.integers(0, 2**256 - 1)):064x}" for _ in range(n)],
        classes=draw(st.lists(labels if in_sets else path, min_size=n, max_size=n)),
        in_sets=in_sets,
        queries=draw(index),
        train=draw(index),
        database=draw(index),
        warnings=draw(st.lists(ODD, max_size=2)),
    )


def made(n: int = 40) -> Manifest:
    return split(pool_of([(f"class {i % 4}",) for i in range(n)]), protocol("folder"))


def test_the_digest_of_all_pictures_is_the_same_for_every_seed_and_another_for_other_labels() -> None:
    pool = pool_of([(f"class {i % 4}",) for i in range(40)])
    manifests = [split(pool, protocol("folder"), seed) for seed in range(2)]
    assert manifests[0].digest != manifests[1].digest
    assert manifests[0].pictures == manifests[1].pictures
    other = split(pool_of([(f"class {i % 5}",) for i in range(40)]), protocol("folder"))
    assert manifests[0].pictures != other.pictures


# --- on disk


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(manifests())
def test_what_is_written_is_read(tmp_path: Path, manifest: Manifest) -> None:
    file = manifest.write(tmp_path / "made.json.gz")
    found = Manifest.read(file)
    assert found.digest == manifest.digest
    for name in ("rules", "seed", "names", "hashes", "classes", "in_sets", "warnings"):
        assert getattr(found, name) == getattr(manifest, name), name
    for name, index in manifest.splits.items():
        assert np.array_equal(found.splits[name], index)
        assert found.splits[name].dtype == np.int64
    before = file.read_bytes()
    assert found.write(tmp_path / "again.json.gz").read_bytes() == before
    assert sorted(each.name for each in tmp_path.iterdir()) == ["again.json.gz", "made.json.gz"]


def test_the_folder_is_made_and_a_failed_write_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = made().write(tmp_path / "new/folder/made.json.gz")
    before = file.read_bytes()

    def fail(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="disk full"):
        made(80).write(file)
    assert file.read_bytes() == before


def altered(file: Path, change: Callable[[dict[str, Any]], object]) -> Path:
    described = json.loads(gzip.decompress(file.read_bytes()))
    change(described)
    file.write_bytes(gzip.compress(json.dumps(described).encode()))
    return file


ALTERED: dict[str, Callable[[dict[str, Any]], object]] = {
    "a content": lambda it: it["sha256"].__setitem__(it["splits"]["queries"][0], "0" * 64),
    "a label": lambda it: it["classes"].__setitem__(it["splits"]["train"][0], ["other"]),
    "a query less": lambda it: it["splits"]["queries"].pop(),
    "a query in the database": lambda it: it["splits"]["database"].append(it["splits"]["queries"][0]),
    "the cut-off": lambda it: it["rules"].__setitem__("cutoff", 10),
    "the digest": lambda it: it.__setitem__("digest", "0" * 64),
    "no digest": lambda it: it.pop("digest"),
}


@pytest.mark.parametrize("what", ALTERED)
def test_an_altered_file_is_refused(tmp_path: Path, what: str) -> None:
    with pytest.raises(EvaluationError, match=r"made\.json\.gz was altered or damaged"):
        Manifest.read(altered(made().write(tmp_path / "made.json.gz"), ALTERED[what]))


NONSENSE: dict[str, Callable[[dict[str, Any]], object]] = {
    "an index past the end": lambda it: it["splits"]["queries"].append(40),
    "an index before the start": lambda it: it["splits"]["train"].append(-1),
    "an index past all numbers": lambda it: it["splits"]["train"].append(2**70),
    "an index that is none": lambda it: it["splits"]["train"].append("x"),
    "indices in lists": lambda it: it["splits"].__setitem__("train", [[0, 1]]),
    "a name too many": lambda it: it["names"].append("more"),
    "a class too few": lambda it: it["classes"].pop(),
    "a content too few": lambda it: it["sha256"].pop(),
    "no splits": lambda it: it.pop("splits"),
    "no database": lambda it: it["splits"].pop("database"),
    "no rule": lambda it: it["rules"].pop("transform"),
    "a seed that is none": lambda it: it.__setitem__("seed", "x"),
    "an endless seed": lambda it: it.__setitem__("seed", float("inf")),
    "no format": lambda it: it.pop("format"),
    "a format that is none": lambda it: it.__setitem__("format", "1"),
    "classes that are none": lambda it: it.__setitem__("classes", [1] * 40),
}


@pytest.mark.parametrize("what", NONSENSE)
def test_nonsense_is_refused_with_the_files_name(tmp_path: Path, what: str) -> None:
    with pytest.raises(EvaluationError, match=r"made\.json\.gz is not a manifest"):
        Manifest.read(altered(made().write(tmp_path / "made.json.gz"), NONSENSE[what]))


@pytest.mark.parametrize("text", ["[]", "{}", "1", "null", '"format"', '{"format": 1}', "", "{", "[" * 100_000, "\0"])
def test_other_json_is_refused_with_the_files_name(tmp_path: Path, text: str) -> None:
    (tmp_path / "other.gz").write_bytes(gzip.compress(text.encode()))
    with pytest.raises(EvaluationError, match=r"other\.gz is not a manifest"):
        Manifest.read(tmp_path / "other.gz")


def test_a_newer_format_asks_for_an_upgrade(tmp_path: Path) -> None:
    file = altered(made().write(tmp_path / "made.json.gz"), lambda it: it.__setitem__("format", 2))
    with pytest.raises(EvaluationError, match=r"made\.json\.gz has manifest format 2, .* reads up to 1: upgrade"):
        Manifest.read(file)


def test_a_file_that_is_missing_or_not_compressed_is_named(tmp_path: Path) -> None:
    (tmp_path / "plain.json").write_text("{}")
    for name in ("gone.json.gz", "plain.json", "."):
        with pytest.raises(EvaluationError, match=re.escape(str(tmp_path / name))):
            Manifest.read(tmp_path / name)


def test_every_truncated_or_damaged_file_is_named(tmp_path: Path) -> None:
    whole = made().write(tmp_path / "made.json.gz").read_bytes()
    dice = random.Random(0)
    broken = [whole[:n] for n in range(0, len(whole), 53)]
    for _ in range(200):
        place = dice.randrange(10, len(whole))  # past the header, whose times and names mean nothing
        broken.append(whole[:place] + bytes([whole[place] ^ 1 << dice.randrange(8)]) + whole[place + 1 :])
    for content in broken:
        (tmp_path / "made.json.gz").write_bytes(content)
        with pytest.raises(EvaluationError, match=r"made\.json\.gz"):
            Manifest.read(tmp_path / "made.json.gz")


def test_a_file_that_grows_without_end_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_BYTES", 1 << 20)
    (tmp_path / "bomb.gz").write_bytes(gzip.compress(b" " * (1 << 26)))
    with pytest.raises(EvaluationError, match=r"bomb\.gz is larger than a manifest may be"):
        Manifest.read(tmp_path / "bomb.gz")


# --- the digest


@given(manifests(), st.randoms(use_true_random=False))
def test_the_digest_knows_no_names_and_no_order(manifest: Manifest, dice: random.Random) -> None:
    order = list(range(len(manifest.names)))
    dice.shuffle(order)
    place = np.argsort(order)
    moved = replace(
        manifest,
        names=[f"elsewhere/{i}" for i in order],
        hashes=[manifest.hashes[i] for i in order],
        classes=[manifest.classes[i] for i in order],
        warnings=["something"],
        **{name: dice.sample(place[index].tolist(), len(index)) for name, index in manifest.splits.items()},
    )
    moved = replace(moved, **{name: np.array(index, np.int64) for name, index in moved.splits.items()})
    assert moved.digest == manifest.digest


@given(manifests(), st.data())
def test_the_digest_changes_with_any_content_label_split_or_rule(manifest: Manifest, data: st.DataObject) -> None:
    others = [replace(manifest, rules={**manifest.rules, rule: "another"}) for rule in RULES]
    for name, index in manifest.splits.items():
        left = np.setdiff1d(np.arange(len(manifest.names)), index)
        if len(left):
            others.append(replace(manifest, **{name: np.append(index, left[0])}))
        if len(index):
            others.append(replace(manifest, **{name: index[1:]}))
            i = data.draw(st.sampled_from(index.tolist()))
            label = data.draw(ODD.filter(lambda found, i=i: found not in manifest.classes[i]))
            classes, hashes = list(manifest.classes), list(manifest.hashes)
            classes[i] = tuple(sorted([*classes[i], label])) if manifest.in_sets else (*classes[i][:-1], label)
            hashes[i] = f"{int(hashes[i], 16) ^ 1:064x}"
            others += [replace(manifest, classes=classes), replace(manifest, hashes=hashes)]
    assert manifest.digest not in [other.digest for other in others]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ([("a|b",), ()], [("a", "b"), ()]),
        ([("a",), ("b",)], [(f"a\n{'1' * 64} b",), ("b",)]),
        ([("a", "b"), ()], [("a",), ("b",)]),
        ([("",), ()], [(), ()]),
    ],
)
def test_labels_with_odd_characters_are_told_apart(one: list[tuple[str, ...]], other: list[tuple[str, ...]]) -> None:
    index = np.arange(2)
    found = [Manifest(RULES, 0, ["a", "b"], ["0" * 64, "1" * 64], each, True, index, index, index) for each in
             (one, other)]  # fmt: skip
    assert found[0].digest != found[1].digest


# --- labels in numbers


def test_labels_are_numbered_by_level_or_by_label() -> None:
    index = np.arange(3)
    classes = [("animal", "cat"), ("machine", "crane"), ("animal", "crane")]
    manifest = Manifest(RULES, 0, ["a"] * 3, ["0" * 64] * 3, classes, False, index, index, index)
    labels = manifest.labels()
    assert isinstance(labels, Paths)
    assert labels.ids.tolist() == [[0, 0], [1, 2], [0, 1]]
    assert manifest.class_names() == ["animal/cat", "animal/crane", "machine/crane"]
    sets = replace(manifest, classes=[("sea", "sky"), (), ("sky",)], in_sets=True)
    found = sets.labels()
    assert isinstance(found, Sets)
    assert found.grades(found).tolist() == [[2, 0, 1], [0, 0, 0], [1, 0, 1]]
    assert len(replace(manifest, classes=[()] * 3, in_sets=True).labels()) == 3


# --- finding the pictures again


def test_pictures_are_found_again_under_other_names_and_in_another_order() -> None:
    manifest = made()
    n = len(manifest.hashes)
    order = np.random.default_rng(0).permutation(n)
    hashes = ["f" * 64, *(manifest.hashes[i] for i in order)]
    at = manifest.locate(iter(hashes), [f"elsewhere/{i}" for i in range(n + 1)])
    assert [hashes[place] for place in at.tolist()] == list(manifest.hashes)


def test_pictures_in_no_split_are_not_missed() -> None:
    manifest = replace(made(), queries=np.array([3]), train=np.array([5]), database=np.array([5, 7]))
    kept = [3, 5, 7]
    at = manifest.locate([manifest.hashes[i] for i in kept], [manifest.names[i] for i in kept])
    assert at[kept].tolist() == [0, 1, 2]
    assert set(np.delete(at, kept).tolist()) == {-1}


def test_changed_and_missing_pictures_are_named_one_by_one() -> None:
    manifest = made()
    hashes, names = list(manifest.hashes), list(manifest.names)
    hashes[4] = "0" * 64
    del hashes[9], names[9]
    with pytest.raises(EvaluationError) as caught:
        manifest.locate(hashes, names)
    said = "2 pictures are not those of the manifest: 000004.jpg (changed), 000009.jpg (missing). Figures on"
    assert str(caught.value).startswith(said)


def test_beyond_twenty_the_rest_is_counted() -> None:
    manifest = made()
    with pytest.raises(EvaluationError, match=r"^40 pictures .*\(missing\) and 20 more\.") as caught:
        manifest.locate([], [])
    assert str(caught.value).count("(missing)") == 20
    with pytest.raises(EvaluationError) as caught:
        manifest.locate(manifest.hashes[20:], manifest.names[20:])
    assert str(caught.value).count("(missing)") == 20
    assert "more" not in str(caught.value)


def test_copies_are_found_in_either_place() -> None:
    manifest = replace(made(), hashes=["a" * 64] * 20 + ["b" * 64] * 20)
    at = manifest.locate(["b" * 64, "a" * 64, "a" * 64], ["x", "y", "z"])
    assert at.tolist() == [1] * 20 + [0] * 20
