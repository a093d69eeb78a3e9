"""What training learns from: labels at each grain, splits that the pictures decide, a cache that is never believed
blindly, batches that a seed and a step decide."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from conftest import make_picture
from hashgrain.errors import SourceError, TrainingError
from hashgrain.learn.data import cache
from hashgrain.learn.data.grain_labels import GrainLabels
from hashgrain.learn.data.hierarchy import parents_of
from hashgrain.learn.data.labelled import Labelled, data_digest, load_features, load_labelled
from hashgrain.learn.data.sampling import batches_per_epoch, class_balanced, hierarchical, shuffled, square_root
from hashgrain.learn.data.splits import hold_out, lonely_classes, mislabel

GRAINS = ("kind", "thing")


def folder_of(top: Path, *names: str) -> Path:
    for seed, name in enumerate(names):
        (top / name).parent.mkdir(parents=True, exist_ok=True)
        make_picture(seed, (20, 16)).save(top / name)
    return top


def listed(top: Path, *rows: dict[str, Any]) -> Path:
    for seed, row in enumerate(rows):
        row["path"] = f"{seed:03}.png"
        make_picture(seed, (12, 12)).save(top / row["path"])
    (top / "list.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return top / "list.jsonl"


def names_at(data: Labelled, grain: str) -> list[tuple[str, ...]]:
    labels = data.levels[grain]
    return [tuple(labels.names[i] for i in row if i >= 0) for row in labels.ids.tolist()]


def made(n: int, **levels: list[Any]) -> Labelled:
    """n rows whose contents are their numbers, hashed; labels are lists of class numbers."""
    contents = np.array([f"{(i * 7919 + 13) % 10007:064}" for i in range(n)])
    return Labelled(
        np.arange(n, dtype=np.float32)[:, None], {g: made_labels(rows) for g, rows in levels.items()}, contents
    )


def made_labels(rows: list[Any]) -> GrainLabels:
    several = [row if isinstance(row, list) else [row] for row in rows]
    ids = np.full((len(rows), max(map(len, several))), -1, np.int32)
    for row, found in zip(ids, several, strict=True):
        row[: len(found)] = found
    return GrainLabels(tuple(f"class {i}" for i in range(ids.max(initial=-1) + 1)), ids)


# --- labels at each grain


def test_grains_are_prefixes_of_the_path(tmp_path: Path) -> None:
    place = listed(tmp_path, {"label": "a/b/c"}, {"label": "a/b/d"}, {"label": "e/f"}, {"label": "g"})
    data = load_labelled(place, 8, ("kind", "thing"))
    assert names_at(data, "kind") == [("a/b",), ("a/b",), ("e",), ("g",)]
    assert names_at(data, "thing") == [("a/b/c",), ("a/b/d",), ("e/f",), ("g",)]
    data = load_labelled(place, 8, ("realm", "kind", "thing", "kin"))
    assert names_at(data, "realm") == [("a",), ("a",), ("e",), ("g",)]
    assert names_at(data, "kind") == [("a",), ("a",), ("e",), ("g",)]
    assert names_at(data, "thing") == [("a/b",), ("a/b",), ("e",), ("g",)]
    assert names_at(data, "kin") == [("a/b/c",), ("a/b/d",), ("e/f",), ("g",)]
    assert list(data.levels) == ["realm", "kind", "thing", "kin"]


def test_pictures_are_those_of_the_labels_in_their_order(tmp_path: Path) -> None:
    data = load_labelled(folder_of(tmp_path, "b/1.png", "a/2.png", "a/3.png"), 8, ["thing"])
    assert data.inputs.shape == (3, 8, 8, 3)
    assert data.inputs.dtype == np.uint8
    for row, seed in zip(data.inputs, (1, 2, 0), strict=True):
        expected = make_picture(seed, (20, 16)).resize((8, 8), 2, reducing_gap=2.0)
        assert np.array_equal(row, np.asarray(expected))
    assert names_at(data, "thing") == [("a",), ("a",), ("b",)]


def test_two_classes_of_one_name_under_two_kinds_stay_two(tmp_path: Path) -> None:
    data = load_labelled(folder_of(tmp_path, "animal/crane/1.png", "machine/crane/2.png"), 8, GRAINS)
    assert data.levels["thing"].names == ("animal/crane", "machine/crane")


def test_a_set_of_labels_is_that_of_every_grain(tmp_path: Path) -> None:
    place = listed(tmp_path, {"labels": ["sea", "sky", "sea"]}, {"labels": []}, {"labels": ["sun"]})
    data = load_labelled(place, 8, GRAINS)
    assert names_at(data, "kind") == names_at(data, "thing") == [("sea", "sky"), (), ("sun",)]
    assert data.levels["kind"].hot(np.array([2, 0])).tolist() == [[0, 0, 1], [1, 1, 0]]
    assert data.levels["kind"].known.tolist() == [True, False, True]
    assert not data.levels["kind"].single


def test_columns_of_the_grains_go_before_paths(tmp_path: Path) -> None:
    place = listed(tmp_path, {"label": "x/y", "kind": "a", "thing": ["b", "c"]}, {"kind": "a", "thing": "d"})
    data = load_labelled(place, 8, GRAINS)
    assert names_at(data, "thing") == [("b", "c"), ("d",)]
    assert names_at(data, "kind") == [("a",), ("a",)]


@pytest.mark.parametrize("odd", [{"kind": "a"}, {"kind": "a", "thing": ""}, {"label": "x/y"}])
def test_a_label_missing_at_a_grain_is_named_with_picture_and_grain(tmp_path: Path, odd: dict[str, Any]) -> None:
    place = listed(tmp_path, {"kind": "a", "thing": "b"}, {"kind": "a", "thing": "c"}, dict(odd))
    missing = "thing" if "kind" in odd else "kind"
    with pytest.raises(TrainingError, match=rf"^002\.png has no label at the grain {missing}"):
        load_labelled(place, 8, GRAINS)
    data = load_labelled(place, 8, GRAINS, unlabelled="keep")
    assert data.levels["thing"].known.tolist() == [True, True, False]


def test_unlabelled_pictures_stop_a_labelled_run_unless_they_are_wanted(tmp_path: Path) -> None:
    folder_of(tmp_path, "a/1.png", "b/2.png", "loose.png")
    with pytest.raises(SourceError, match=r"loose\.png is in no class"):
        load_labelled(tmp_path, 8, GRAINS)
    data = load_labelled(tmp_path, 8, GRAINS, unlabelled="keep")
    assert names_at(data, "thing") == [(), ("a",), ("b",)]
    assert load_labelled(tmp_path, 8, ()).levels == {}


def test_paths_and_sets_do_not_mix(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"001\.png is labelled otherwise"):
        load_labelled(listed(tmp_path, {"label": "a"}, {"labels": ["a"]}), 8, GRAINS)


def test_parts_are_chosen_and_missing_ones_told(tmp_path: Path) -> None:
    parts = ("training", "", "val", "validation", "test", "train")
    place = listed(tmp_path, *({"label": "ab"[i % 2], "part": part} for i, part in enumerate(parts)))
    assert [len(load_labelled(place, 8, ["thing"], part=part)) for part in ("train", "val", None)] == [3, 2, 6]
    with pytest.raises(TrainingError, match="no pictures of the part 'query'; there are , test"):
        load_labelled(place, 8, ["thing"], part="query")


def test_data_that_cannot_teach_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="no labelled pictures at"):
        load_labelled(tmp_path / "none", 8, GRAINS)
    with pytest.raises(TrainingError, match="no pictures to train on"):
        load_labelled(tmp_path, 8, GRAINS)
    folder_of(tmp_path, "one/a.png", "one/b.png")
    with pytest.raises(TrainingError, match=r"one thing only \(one\); training takes two"):
        load_labelled(tmp_path, 8, GRAINS)
    (tmp_path / "two").mkdir()
    (tmp_path / "two/broken.png").write_bytes(b"broken")
    with pytest.raises(TrainingError, match="one thing only"):  # what cannot be opened teaches nothing
        load_labelled(tmp_path, 8, GRAINS)


def test_pictures_that_cannot_be_opened_are_left_out_with_the_reason(tmp_path: Path) -> None:
    folder_of(tmp_path, "a/1.png", "b/2.png", "b/4.png", "c/5.png")
    (tmp_path / "a/0.png").write_bytes(b"broken")
    (tmp_path / "b/3.png").symlink_to(tmp_path / "nowhere")
    (tmp_path / "c/5.png").write_bytes((tmp_path / "c/5.png").read_bytes()[:150])
    for _ in range(2):
        data = load_labelled(tmp_path, 8, ["thing"], cache=tmp_path.parent / "kept")
        assert names_at(data, "thing") == [("a",), ("b",), ("b",)]
        assert [text.partition(":")[0] for text in data.refused] == ["b/3.png", "a/0.png", "c/5.png"]
        assert "No such file" in data.refused[0]
        assert "not a picture of a format we open" in data.refused[1]


def test_one_class_a_picture_is_asked_for_where_there_are_several() -> None:
    assert made_labels([2, 0, []]).only().tolist() == [2, 0, -1]
    with pytest.raises(TrainingError, match=r"picture 1 has several labels \(class 0, class 2\)"):
        made_labels([2, [0, 2]]).only()


def test_features_come_with_labels_and_are_checked(tmp_path: Path) -> None:
    values = np.random.default_rng(0).normal(size=(4, 5))
    np.save(tmp_path / "features.npy", values)
    np.save(tmp_path / "labels.npy", np.array([[0, 0], [0, 3], [1, 2], [1, 2]]))
    data = load_features(tmp_path, GRAINS)
    assert data.inputs.dtype == np.float32
    assert np.array_equal(data.inputs, values.astype(np.float32))
    assert names_at(data, "thing") == [("0/0",), ("0/3",), ("1/2",), ("1/2",)]
    assert len(set(data.contents)) == 4
    values[2, 1] = np.nan
    np.save(tmp_path / "features.npy", values)
    with pytest.raises(TrainingError, match=r"features\.npy, row 2: NaN"):
        load_features(tmp_path, GRAINS)
    np.save(tmp_path / "features.npy", values[:3, :1])
    with pytest.raises(SourceError, match=r"labels\.npy has 4 labels for 3"):
        load_features(tmp_path, GRAINS)
    np.save(tmp_path / "features.npy", values[0])
    with pytest.raises(TrainingError, match=r"features are \(n, width\)"):
        load_features(tmp_path, ())


@pytest.mark.slow
@pytest.mark.data
def test_the_real_validation_part_is_found_with_its_hierarchy(data: Path) -> None:
    pytest.importorskip("pyarrow")
    found = load_labelled(data / "tiny-imagenet-200", 8, GRAINS, part="val")
    assert (len(found), len(found.levels["kind"].names), len(found.levels["thing"].names)) == (5000, 27, 200)
    parents_of(found.levels)  # every thing is under one kind


# --- splits


def test_a_split_takes_so_many_of_each_class_and_the_pictures_alone_decide() -> None:
    classes = np.random.default_rng(1).integers(0, 5, 200).tolist()
    data = made(200, thing=classes)
    training, held = hold_out(data, 7)
    assert Counter(held.levels["thing"].only().tolist()) == dict.fromkeys(range(5), 7)
    assert sorted([*training.contents, *held.contents]) == sorted(data.contents)
    for name in range(5):
        own = [sorted(part.contents[part.levels["thing"].only() == name]) for part in (held, training)]
        assert own[0][-1] < own[1][0]
    order = np.random.default_rng(3).permutation(200)
    assert set(hold_out(data.take(order), 7)[1].contents) == set(held.contents)


def test_a_split_goes_by_the_finest_grain_or_by_the_one_that_is_named() -> None:
    data = made(60, kind=[i % 2 for i in range(60)], thing=[i % 6 for i in range(60)])
    assert len(hold_out(data, 2)[1]) == 12
    assert len(hold_out(data, 2, "kind")[1]) == 4


def test_every_class_keeps_a_picture_to_learn_from_and_lonely_ones_are_told() -> None:
    data = made(16, thing=[0] * 10 + [1] * 3 + [2, 3] + [3])
    training, held = hold_out(data, 4)
    assert Counter(held.levels["thing"].only().tolist()) == {0: 4, 1: 2, 3: 1}
    assert set(training.levels["thing"].only()) == {0, 1, 2, 3}
    assert lonely_classes(data) == ["thing class 2"]
    with pytest.raises(TrainingError, match="every thing has at most 10 pictures: nothing would be left"):
        hold_out(data, 10)
    assert len(hold_out(data, 0)[1]) == 0


def test_pictures_of_several_labels_are_split_by_about_the_same_share() -> None:
    dice = np.random.default_rng(2)
    rows = [dice.choice(6, dice.integers(0, 4), replace=False).tolist() for _ in range(400)]
    data = made(401, thing=[*rows, [6]])
    training, held = hold_out(data, 20)
    counts = np.bincount(data.levels["thing"].ids[data.levels["thing"].ids >= 0])
    assert abs(len(held) / 401 - 20 * 6 / counts.sum()) < 0.01
    assert not set(training.contents) & set(held.contents)
    assert training.levels["thing"].hot(np.arange(len(training))).any(axis=0).all()
    order = np.random.default_rng(3).permutation(401)
    assert set(hold_out(data.take(order), 20)[1].contents) == set(held.contents)


def test_unlabelled_pictures_are_held_out_by_the_same_share() -> None:
    data = made(300, thing=[[i % 4] if i < 200 else [] for i in range(300)])
    held = hold_out(data, 5)[1]
    assert held.levels["thing"].known.sum() == 20
    assert (~held.levels["thing"].known).sum() == 10
    assert len(hold_out(made(300), 5)[1]) == 30


def test_copies_of_a_picture_without_a_class_stand_on_one_side() -> None:
    data = made(100)
    twice = data.take(np.r_[np.arange(100), np.arange(100)])
    training, held = hold_out(twice, 1)
    assert len(held) == 20
    assert not set(training.contents) & set(held.contents)


# --- one grain above another


def test_parents_are_read_from_the_pictures() -> None:
    data = made(5, realm=[0, 0, 0, 1, []], kind=[0, 0, 1, 2, []], thing=[3, 2, 0, 1, []])
    found = parents_of(data.levels)
    assert {grain: above.tolist() for grain, above in found.items()} == {"kind": [0, 0, 1], "thing": [1, 2, 0, 0]}


def test_a_class_under_two_classes_is_named_with_both() -> None:
    data = made(3, kind=[0, 1, 1], thing=[0, 1, 0])
    with pytest.raises(
        TrainingError, match=r"'class 0' stands under two classes of kind, 'class [01]' and 'class [01]'"
    ):
        parents_of(data.levels)


def test_sets_of_labels_have_no_contradiction_and_stand_under_themselves() -> None:
    rows = [[0, 1], [2], []]
    levels = made(3, kind=rows, thing=rows).levels
    assert parents_of(levels)["thing"].tolist() == [0, 1, 2]
    with pytest.raises(TrainingError, match="several labels"):
        parents_of(made(3, kind=[[0, 1], 0, 0], thing=rows).levels)


def test_wrong_labels_are_wrong_at_every_grain_and_leave_the_unlabelled_alone() -> None:
    data = made(
        90,
        kind=[[i % 6 // 2] if i < 60 else [] for i in range(90)],
        thing=[[i % 6] if i < 60 else [] for i in range(90)],
    )
    wrong = mislabel(data, 0.25, 7)
    flipped = wrong.levels["thing"].only() != data.levels["thing"].only()
    assert flipped.sum() == 15
    assert not flipped[60:].any()
    assert np.array_equal(parents_of(wrong.levels)["thing"], parents_of(data.levels)["thing"])
    assert list(wrong.levels) == list(data.levels)
    assert wrong.inputs is data.inputs
    assert not np.array_equal(mislabel(data, 0.25, 8).levels["thing"].ids, wrong.levels["thing"].ids)


def test_a_digest_changes_with_contents_labels_and_order() -> None:
    data = made(20, kind=[i % 2 for i in range(20)], thing=[i % 4 for i in range(20)])
    again = made(20, kind=[i % 2 for i in range(20)], thing=[i % 4 for i in range(20)])
    renamed = GrainLabels(tuple("abcd"), data.levels["thing"].ids)
    others = [
        mislabel(data, 0.05, 0),
        data.take(np.arange(19)),
        data.take(np.arange(20)[::-1]),
        made(20, kind=[i % 2 for i in range(20)]),
        made(20, thing=[i % 2 for i in range(20)], kind=[i % 4 for i in range(20)]),
        Labelled(data.inputs, data.levels, np.r_[data.contents[:-1], ["0" * 64]]),
        Labelled(np.zeros((20, 2), np.float32), data.levels, data.contents),
        Labelled(data.inputs, {**data.levels, "thing": renamed}, data.contents),
    ]
    assert data_digest(data) == data_digest(again)
    assert len({data_digest(each) for each in [data, *others]}) == 1 + len(others)


# --- the cache


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Everything that is decoded."""
    from hashgrain.learn.data import labelled as data

    seen: list[str] = []
    real = data.open_picture
    monkeypatch.setattr(data, "open_picture", lambda *args, **how: (seen.append("one"), real(*args, **how))[1])
    return seen


def test_pictures_are_decoded_once_and_mapped_from_then_on(tmp_path: Path, counted: list[str]) -> None:
    place = folder_of(tmp_path / "data", "a/1.png", "a/2.png", "b/3.png")
    plain = load_labelled(place, 8, ["thing"])
    counted.clear()
    told: list[tuple[int, int]] = []
    first = load_labelled(place, 8, ["thing"], cache=tmp_path / "kept", progress=lambda *at: told.append(at))
    assert (len(counted), told) == (3, [(1, 3), (2, 3), (3, 3)])
    second = load_labelled(place, 8, ["thing"], cache=tmp_path / "kept")
    assert len(counted) == 3
    assert isinstance(second.inputs, np.memmap)
    assert not second.inputs.flags.writeable
    for data in (first, second):
        assert np.array_equal(data.inputs, plain.inputs)
        assert data_digest(data) == data_digest(plain)


def test_a_cache_of_other_pictures_or_another_size_is_not_taken(tmp_path: Path, counted: list[str]) -> None:
    place, kept = folder_of(tmp_path / "data", "a/1.png", "b/2.png"), tmp_path / "kept"
    load_labelled(place, 8, ["thing"], cache=kept)
    assert load_labelled(place, 6, ["thing"], cache=kept).inputs.shape == (2, 6, 6, 3)
    make_picture(50).save(place / "a/1.png")
    assert np.array_equal(
        load_labelled(place, 8, ["thing"], cache=kept).inputs, load_labelled(place, 8, ["thing"]).inputs
    )
    assert len(counted) == 2 * 4
    counted.clear()
    (place / "a/1.png").rename(place / "b/1.png")  # the same contents in another order
    (place / "b/2.png").rename(place / "a/2.png")
    assert np.array_equal(
        load_labelled(place, 8, ["thing"], cache=kept).inputs, load_labelled(place, 8, ["thing"]).inputs
    )


def test_a_damaged_cache_is_made_again_never_believed(tmp_path: Path, counted: list[str]) -> None:
    place, kept = folder_of(tmp_path / "data", "a/1.png", "b/2.png"), tmp_path / "kept"
    right = load_labelled(place, 8, ["thing"], cache=kept).inputs.tobytes()
    (pixels,), (index,) = kept.glob("*.npy"), kept.glob("*.json")
    whole, described = pixels.read_bytes(), json.loads(index.read_text())
    flipped = whole[:-1] + bytes([whole[-1] ^ 1])
    damages: list[tuple[Path, bytes]] = [
        (pixels, flipped),
        (pixels, whole[:-1]),
        (pixels, whole + b"x"),
        (pixels, b""),
        (index, b""),
        (index, b"[" * 100_000),
        (index, b"[]"),
        (index, json.dumps(described | {"key": "0" * 64}).encode()),
        (index, json.dumps(described | {"refused": {"0": "no"}}).encode()),
        (index, json.dumps(described | {"refused": {"7": "no"}}).encode()),
        (index, json.dumps(described | {"refused": 3}).encode()),
        (index, b"\xff"),
    ]
    for file, content in damages:
        counted.clear()
        file.write_bytes(content)
        assert load_labelled(place, 8, ["thing"], cache=kept).inputs.tobytes() == right
        assert len(counted) == 2, content[:60]
        assert pixels.read_bytes() == whole
    for file in (pixels, index):
        file.unlink()
        assert load_labelled(place, 8, ["thing"], cache=kept).inputs.tobytes() == right


def test_a_cache_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    def breaks() -> Any:
        yield np.zeros((4, 4, 3), np.uint8)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cache.decode_once(tmp_path, ["a", "b"], 4, breaks)
    assert list(tmp_path.iterdir()) == []
    found = cache.decode_once(tmp_path, ["a", "b", "c"], 4, lambda: ["no", np.ones((4, 4, 3), np.uint8), "no"])
    assert (found.pixels.shape, dict(found.refused)) == ((1, 4, 4, 3), {0: "no", 2: "no"})
    assert len(list(tmp_path.iterdir())) == 2
    again = cache.decode_once(tmp_path, ["a", "b", "c"], 4, lambda: pytest.fail("decoded again"))
    assert (again.pixels.tobytes(), dict(again.refused)) == (b"\1" * 48, {0: "no", 2: "no"})


def test_a_cache_of_thousands_has_room_in_its_header_for_any_number(tmp_path: Path) -> None:
    pictures = [np.full((1, 1, 3), i % 256, np.uint8) if i > 1 else "no" for i in range(10_001)]
    found = cache.decode_once(tmp_path, [str(i) for i in range(10_001)], 1, lambda: pictures)
    assert found.pixels.shape == (9_999, 1, 1, 3)
    assert found.pixels[-1, 0, 0, 0] == 10_000 % 256


def test_a_cache_that_cannot_be_written_is_told_with_its_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(TrainingError, match=r"cannot keep decoded pictures in .*file/kept"):
        cache.decode_once(tmp_path / "file/kept", ["a"], 4, lambda: [np.zeros((4, 4, 3), np.uint8)])


def test_pictures_that_change_while_they_are_read_stop_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from hashgrain.learn.data import labelled as data

    place = folder_of(tmp_path / "data", "a/1.png", "b/2.png")
    real = data.levels_of
    changes = [
        lambda: make_picture(9).save(place / "b/2.png"),
        lambda: (place / "b/2.png").unlink(),
        lambda: make_picture(9).save(place / "a/0.png"),
        lambda: make_picture(9).save(place / "b/9.png"),
    ]
    for change in changes:
        folder_of(place, "a/1.png", "b/2.png")
        monkeypatch.setattr(data, "levels_of", lambda *args, change=change: (change(), real(*args))[1])
        with pytest.raises(TrainingError, match="changed while they were read"):
            load_labelled(place, 8, ["thing"])
        monkeypatch.setattr(data, "levels_of", real)
        for extra in ("a/0.png", "b/9.png"):
            (place / extra).unlink(missing_ok=True)


# --- batches


def test_shuffled_batches_have_every_row_once_and_the_seed_decides() -> None:
    batches = shuffled(23, 5, seed=3, epoch=2)
    assert [len(batch) for batch in batches] == [5] * 4
    assert len(set(np.concatenate(batches).tolist())) == 20
    expected = np.random.default_rng((3, 2)).permutation(23)  # the order of runs before this module was
    assert np.concatenate(batches).tolist() == expected[:20].tolist()
    assert len({tuple(np.concatenate(shuffled(23, 5, *at))) for at in ((3, 2), (3, 1), (2, 2), (3, 2))}) == 3
    assert sorted(np.concatenate(shuffled(3, 5, 0, 0)).tolist()) == [0, 1, 2]


def test_balanced_batches_have_so_many_of_each_class() -> None:
    labels = made_labels([0] * 500 + [1] * 20 + [2] * 20 + [3] * 9 + [4] * 10)
    batches = class_balanced(labels, 12, 4, seed=1, epoch=0)
    assert len(batches) == batches_per_epoch(559, 12)
    seen: Counter[int] = Counter()
    for batch in batches:
        counts = Counter(labels.only()[batch].tolist())
        assert len(set(batch.tolist())) == 12
        assert list(counts.values()) == [4, 4, 4]
        seen.update(counts)
    assert max(seen.values()) - min(seen.values()) <= 4 * 2
    times = Counter(np.concatenate(batches).tolist())
    of_a_class = [times[row] for row in range(520, 540)]
    assert max(of_a_class) - min(of_a_class) <= 1  # its pictures come round in turn


def test_balanced_batches_of_sets_have_each_class_and_no_row_twice() -> None:
    dice = np.random.default_rng(0)
    rows = [dice.choice(6, dice.integers(0, 4), replace=False).tolist() for _ in range(200)]
    labels = made_labels(rows)
    for batch in class_balanced(labels, 12, 3, seed=0, epoch=1):
        assert len(set(batch.tolist())) == 12
        hot = labels.hot(batch)
        assert (hot.sum(axis=1) > 0).all()
        assert ((hot.sum(axis=0)) >= 3).sum() >= 4


def test_classes_of_few_and_few_classes_still_fill_the_batch() -> None:
    labels = made_labels([0, 0, *[1] * 30, [], *[2] * 30])
    for batch in class_balanced(labels, 16, 4, seed=0, epoch=0):
        assert len(set(batch.tolist())) == 16
        assert 32 not in batch
    assert sorted(class_balanced(made_labels([0, 1, 0]), 8, 2, 0, 0)[0].tolist()) == [0, 1, 2]


def test_hierarchical_batches_have_several_things_of_each_kind() -> None:
    things = np.random.default_rng(0).integers(0, 24, 600)
    fine, coarse = made_labels(things.tolist()), made_labels((things // 4).tolist())
    for batch in hierarchical(coarse, fine, 24, 3, 4, seed=0, epoch=0):
        assert len(set(batch.tolist())) == 24
        assert sorted(Counter(coarse.only()[batch].tolist()).values()) == [12, 12]
        assert sorted(Counter(fine.only()[batch].tolist()).values()) == [4] * 6


def test_hierarchical_batches_take_sets_and_uneven_trees() -> None:
    coarse, fine = made_labels([[0, 1], 0, 0, 1, [], 1, 1]), made_labels([[0, 1], 0, [], 1, 2, 1, 3])
    for batch in hierarchical(coarse, fine, 4, 2, 1, seed=0, epoch=0):
        assert len(set(batch.tolist())) == 4
        assert not {2, 4} & set(batch.tolist())


@pytest.mark.parametrize("kind", ["shuffled", "balanced", "hierarchical"])
def test_a_resumed_run_takes_the_very_batches_it_would_have_taken(kind: str) -> None:
    things = np.random.default_rng(0).integers(0, 12, 100)
    fine, coarse = made_labels(things.tolist()), made_labels((things // 3).tolist())
    of = {
        "shuffled": lambda epoch: shuffled(100, 12, 5, epoch),
        "balanced": lambda epoch: class_balanced(fine, 12, 3, 5, epoch),
        "hierarchical": lambda epoch: hierarchical(coarse, fine, 12, 2, 3, 5, epoch),
    }[kind]
    per_epoch = batches_per_epoch(100, 12)

    def first(step: int, n: int) -> list[list[int]]:
        return [of(batch // per_epoch)[batch % per_epoch].tolist() for batch in range(step, step + n)]

    whole = first(0, 30)
    assert len({tuple(batch) for batch in whole}) == 30
    for step in (0, 1, per_epoch - 1, per_epoch, 2 * per_epoch + 3):
        assert first(step, 30 - step) == whole[step:]


def test_batches_that_cannot_be_made_are_refused() -> None:
    labels = made_labels([0, 1, 2, 1])
    with pytest.raises(TrainingError, match="batches of 10 do not come in parts of 4"):
        class_balanced(labels, 10, 4, 0, 0)
    with pytest.raises(TrainingError, match="batches of 12 do not come in parts of 8"):
        hierarchical(labels, labels, 12, 2, 4, 0, 0)
    with pytest.raises(TrainingError, match="batches of 0"):
        shuffled(10, 0, 0, 0)
    with pytest.raises(TrainingError, match="no picture has a label"):
        class_balanced(made_labels([[], []]), 2, 1, 0, 0)
    with pytest.raises(TrainingError, match="no picture has labels at both"):
        hierarchical(labels, made_labels([[]] * 4), 2, 1, 1, 0, 0)


def test_square_root_batches_show_rare_classes_more_and_frequent_ones_less() -> None:
    """As often as the root of their pictures: of 900, 100 and 4 pictures, 30 to 10 to 2."""
    labels = GrainLabels(("many", "some", "few"), np.repeat([0, 1, 2], [900, 100, 4])[:, None].astype(np.int32))
    counts = np.zeros(3)
    for epoch in range(60):
        batches = square_root(labels, 32, 1, epoch)
        assert len(batches) == 1004 // 32
        for rows in batches:
            assert len(rows) == len(set(rows.tolist())) == 32  # trap: drawn with replacement, a picture is its own like
            counts += np.bincount(labels.ids[rows, 0], minlength=3)
    np.testing.assert_allclose(counts / counts.sum(), np.array([30, 10, 2]) / 42, atol=0.01)
    first = [rows.tolist() for rows in square_root(labels, 32, 1, 0)]
    assert [rows.tolist() for rows in square_root(labels, 32, 1, 0)] == first
    few = labels.take(np.arange(898, 904))
    assert sorted(square_root(few, 6, 0, 0)[0].tolist()) == [0, 1, 2, 3, 4, 5]
    some = GrainLabels(("a", "b"), np.array([[0], [-1], [1], [0]], np.int32))
    assert 1 not in np.concatenate(square_root(some, 2, 0, 0))
