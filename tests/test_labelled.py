"""Pictures with labels from folders, lists and tables, and what a person hears when they are not in order."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hashgrain.errors import EvaluationError, SourceError
from hashgrain.evaluate.splitting import read_pool
from hashgrain.labelled import LabelledPicture, labelled_pictures


def put(top: Path, *names: str) -> Path:
    for name in names:
        (top / name).parent.mkdir(parents=True, exist_ok=True)
        (top / name).write_bytes(name.encode())
    return top


def found(place: Path) -> list[tuple[str, str, tuple[str, ...], tuple[str, ...] | None]]:
    return [(each.name, each.part, each.path, each.labels) for each in labelled_pictures(place)]


# --- folders


def test_a_folders_path_is_the_path_of_classes(tmp_path: Path) -> None:
    put(tmp_path, "animal/dog/rex.PNG", "animal/cat/tom.jpg", "vehicle/car/vw.webp", "README.md", "animal/notes.txt")
    assert found(tmp_path) == [
        ("animal/cat/tom.jpg", "", ("animal", "cat"), None),
        ("animal/dog/rex.PNG", "", ("animal", "dog"), None),
        ("vehicle/car/vw.webp", "", ("vehicle", "car"), None),
    ]
    assert next(labelled_pictures(tmp_path)).read() == b"animal/cat/tom.jpg"


@pytest.mark.parametrize(
    "parts", [("train", "test"), ("train",), ("Train", "VAL"), ("training", "validation", "query")]
)
def test_a_first_level_of_parts_names_the_parts(tmp_path: Path, parts: Sequence[str]) -> None:
    put(tmp_path, *(f"{part}/cat/{i}.jpg" for part in parts for i in range(2)))
    assert {(part, path) for _, part, path, _ in found(tmp_path)} == {(part.lower(), ("cat",)) for part in parts}


def test_a_class_named_train_beside_others_is_a_class(tmp_path: Path) -> None:
    put(tmp_path, "train/a.jpg", "bus/b.jpg")
    assert [(part, path) for _, part, path, _ in found(tmp_path)] == [("", ("bus",)), ("", ("train",))]


@pytest.mark.parametrize("loose", ["loose.jpg", "train/loose.jpg"])
def test_a_loose_picture_is_named(tmp_path: Path, loose: str) -> None:
    put(tmp_path, loose, "train/cat/a.jpg", "test/cat/b.jpg")
    with pytest.raises(SourceError, match=rf"{loose} is in no class"):
        found(tmp_path)


def test_classes_at_two_depths_are_refused_with_the_picture(tmp_path: Path) -> None:
    put(tmp_path, "animal/cat/a.jpg", "bus/b.jpg")
    with pytest.raises(EvaluationError, match=r"^bus/b.jpg is labelled otherwise"):
        read_pool(labelled_pictures(tmp_path))


def test_an_empty_class_is_no_class_and_an_empty_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "dog").mkdir()
    with pytest.raises(EvaluationError, match="no labelled pictures there"):
        read_pool(labelled_pictures(tmp_path))
    put(tmp_path, "cat/a.jpg", "horse/notes.txt")
    assert [path for _, _, path, _ in found(tmp_path)] == [("cat",)]


@pytest.mark.parametrize("name", ["missing", "list.txt", "train.parquet"])
def test_a_place_without_pictures_is_named_with_what_to_give(tmp_path: Path, name: str) -> None:
    with pytest.raises(SourceError, match=rf"no labelled pictures at .*{name}: name a folder, or a .csv or .jsonl"):
        found(tmp_path / name)


# --- lists


def rows_of(tmp_path: Path, text: str | bytes, name: str = "list.csv") -> list[Any]:
    file = tmp_path / name
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    return found(file)


def test_a_list_has_classes_joined_by_slashes_and_parts(tmp_path: Path) -> None:
    text = 'path,label,part\na.jpg,animal/cat,train\n"b, c.jpg",animal/dog,test\n'
    assert rows_of(tmp_path, text) == [
        ("a.jpg", "train", ("animal", "cat"), None),
        ("b, c.jpg", "test", ("animal", "dog"), None),
    ]


def test_a_list_has_sets_of_labels(tmp_path: Path) -> None:
    text = "path,labels\na.jpg,sea|sky\nb.jpg,\nc.jpg,sea||\n"
    assert [row[3] for row in rows_of(tmp_path, text)] == [("sea", "sky"), (), ("sea",)]
    text = '{"path": "a.jpg", "labels": ["sea", "a|b"]}\n\n{"path": "b.jpg", "labels": []}\n'
    assert [row[3] for row in rows_of(tmp_path, text, "list.JSONL")] == [("sea", "a|b"), ()]


def test_json_lines_take_a_class_a_path_and_a_number(tmp_path: Path) -> None:
    labels = ['"cat"', '["animal", "cat"]', '"animal/cat"', "0"]
    text = "".join(f'{{"path": "a.jpg", "label": {label}}}\n' for label in labels)
    rows = rows_of(tmp_path, text, "list.jsonl")
    assert [row[2] for row in rows] == [("cat",), ("animal", "cat"), ("animal", "cat"), ("0",)]


@pytest.mark.parametrize(
    ("name", "text"), [("list.csv", "path,label\na.jpg,Bär\n"), ("list.jsonl", '{"path": "a.jpg", "label": "Bär"}\n')]
)
def test_the_mark_that_spreadsheets_write_is_no_part_of_the_list(tmp_path: Path, name: str, text: str) -> None:
    assert rows_of(tmp_path, b"\xef\xbb\xbf" + text.encode(), name) == [("a.jpg", "", ("Bär",), None)]


def test_pictures_stand_where_the_list_stands(tmp_path: Path) -> None:
    put(tmp_path, "sub/a.jpg", "sub/b, c.jpg")
    (tmp_path / "list.csv").write_text('path,label\nsub/a.jpg,cat\n"sub/b, c.jpg",cat\n')
    assert [each.read() for each in labelled_pictures(tmp_path / "list.csv")] == [b"sub/a.jpg", b"sub/b, c.jpg"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("file,label\na.jpg,cat\n", "row 2: no path"),
        ("path,label\na.jpg,cat\n,dog\n", "row 3: no path"),
        ("path,label\na.jpg,cat\nb.jpg\n", "row 3: b.jpg has neither label nor labels"),
        ("path,label\na.jpg,\n", "row 2: a.jpg has neither label nor labels"),
        ("path,class\na.jpg,cat\n", "row 2: a.jpg has neither label nor labels"),
        (b"path,label\n\xff.jpg,cat\n", "is not a list we can read"),
        ("path,label\n" + "x" * 200_000 + ",cat\n", "is not a list we can read"),
    ],
)
def test_a_broken_row_is_named(tmp_path: Path, text: str | bytes, said: str) -> None:
    with pytest.raises(SourceError, match=rf"list\.csv.*{said}"):
        rows_of(tmp_path, text)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"path": "a.jpg", "label": "cat"}\n{"path"', "is not a list we can read"),
        ('{"path": "a.jpg", "label": "cat"}\n[1]\n', "row 2: not a JSON object"),
        ('{"label": "cat"}\n', "row 1: no path"),
        ('{"path": "a.jpg", "label": []}\n', "row 1: a.jpg has neither"),
        ('{"path": "a.jpg", "label": null, "labels": null}\n', "row 1: a.jpg has neither"),
        ("[" * 100_000, "is not a list we can read"),
    ],
)
def test_a_broken_line_is_named(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(SourceError, match=rf"list\.jsonl.*{said}"):
        rows_of(tmp_path, text, "list.jsonl")


def test_a_list_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"cannot read .*gone\.csv: No such file"):
        found(tmp_path / "gone.csv")


@pytest.mark.parametrize("name", ["gone.jpg", "folder", "nul\0.jpg", "x" * 300 + ".jpg"])
def test_a_listed_picture_that_cannot_be_read_is_named(tmp_path: Path, name: str) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "list.jsonl").write_text(json.dumps({"path": name, "label": "cat"}))
    with pytest.raises(EvaluationError, match=f"cannot read '?{name[:3]}"):
        read_pool(labelled_pictures(tmp_path / "list.jsonl"))


def test_a_list_without_rows_is_refused(tmp_path: Path) -> None:
    for name, text in (("a.csv", ""), ("b.csv", "path,label\n"), ("c.jsonl", "\n")):
        (tmp_path / name).write_text(text)
        with pytest.raises(EvaluationError, match="no labelled pictures there"):
            read_pool(labelled_pictures(tmp_path / name))


# --- reading them


def picture(name: str, **labels: Any) -> LabelledPicture:
    return LabelledPicture(name, name.encode, **labels)


def test_classes_and_sets_do_not_mix() -> None:
    with pytest.raises(EvaluationError, match=r"b.jpg is labelled otherwise"):
        read_pool([picture("a.jpg", path=("cat",)), picture("b.jpg", labels=("cat",))])


def test_sets_of_labels_are_sets_and_every_picture_is_told_of() -> None:
    seen: list[int] = []
    pool = read_pool([picture("a", labels=("b", "a", "b")), picture("b", labels=())], seen.append)
    assert list(pool.classes) == [("a", "b"), ()]
    assert pool.in_sets
    assert seen == [1, 2]
    assert {name: index.tolist() for name, index in pool.members().items()} == {"a": [0], "b": [0]}


# --- tables


def table(folder: Path, name: str = "train-00-of-01.parquet", *, n: int = 4, **columns: Any) -> Path:
    """A parquet file of n pictures, with these columns."""
    arrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    pictures = [{"bytes": f"{name} {i}".encode(), "path": None} for i in range(n)]
    parquet.write_table(arrow.table({"image": pictures, **columns}), folder / name)
    return folder


HIERARCHY = {"classes": [{"name": name, "superclass": above} for name, above in
                         (("cat", "animal"), ("crane", "animal"), ("crane", "machine"))]}  # fmt: skip


def test_a_tables_part_is_what_its_name_begins_with(tmp_path: Path) -> None:
    table(tmp_path, "train-00-of-02.parquet", label=[3, 1, 2, 1])
    table(tmp_path, "train-01-of-02.parquet", label=[0] * 4)
    table(tmp_path, "test.parquet", label=[1] * 4)
    rows = found(tmp_path)
    assert [part for _, part, _, _ in rows] == ["test"] * 4 + ["train"] * 8
    assert rows[4][:3] == ("train-00-of-02.parquet#0", "train", ("3",))
    assert [each.read() for each in labelled_pictures(tmp_path)][:1] == [b"test.parquet 0"]


def test_a_hierarchy_names_the_classes_and_tells_namesakes_apart(tmp_path: Path) -> None:
    (tmp_path / "hierarchy.json").write_text(json.dumps(HIERARCHY))
    table(tmp_path, label=[0, 1, 2, 0])
    paths = [("animal", "cat"), ("animal", "crane (1)"), ("machine", "crane (2)"), ("animal", "cat")]
    assert [path for _, _, path, _ in found(tmp_path)] == paths


@pytest.mark.parametrize("label", [3, -1, 1.0])
def test_a_label_outside_the_hierarchy_is_named_with_its_row(tmp_path: Path, label: float) -> None:
    (tmp_path / "hierarchy.json").write_text(json.dumps(HIERARCHY))
    table(tmp_path, label=[0 * label, 0 * label, label, label] if isinstance(label, int) else [label] * 4)
    with pytest.raises(SourceError, match=rf"parquet#[02]: label {label!r}, but hierarchy.json names 3 classes"):
        found(tmp_path)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"classes": [1]}', '{"classes": [{"name": "cat"}]}', "[" * 100_000])
def test_a_hierarchy_that_is_none_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "hierarchy.json").write_text(text)
    with pytest.raises(SourceError, match=r"hierarchy\.json is not a hierarchy we can read"):
        found(table(tmp_path, label=[0] * 4))


def test_tables_have_sets_of_labels_or_fine_and_coarse_ones(tmp_path: Path) -> None:
    for name in ("sets", "fine"):
        (tmp_path / name).mkdir()
    table(tmp_path / "sets", labels=[["sea", "sky"], [], ["sky"], ["sea"]])
    assert [row[3] for row in found(tmp_path / "sets")] == [("sea", "sky"), (), ("sky",), ("sea",)]
    table(tmp_path / "fine", fine_label=[10, 11, 12, 13], coarse_label=[1, 1, 2, 2])
    assert [row[2] for row in found(tmp_path / "fine")] == [("1", "10"), ("1", "11"), ("2", "12"), ("2", "13")]


@pytest.mark.parametrize("labels", [["cat", "dog", "cat", "dog"], [1, 2, 3, 4]])
def test_labels_that_are_no_list_are_refused_rather_than_taken_apart(tmp_path: Path, labels: list[Any]) -> None:
    with pytest.raises(SourceError, match=rf"parquet#0: labels are {labels[0]!r}, not a list"):
        found(table(tmp_path, labels=labels))


def test_a_row_without_label_or_picture_is_named(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"parquet#1: the row has no label"):
        found(table(tmp_path, label=[0, None, 1, 1]))
    for pictures in ([{"bytes": None, "path": "a.jpg"}] * 4, ["a.jpg"] * 4, [b""] * 4):
        with pytest.raises(SourceError, match=r"parquet#0: the row holds no picture"):
            found(table(tmp_path, image=pictures, label=[0] * 4))


def test_a_table_without_the_columns_is_refused_with_those_it_has(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"train.*parquet has no column `image`, or none of label.*'klass'"):
        found(table(tmp_path, klass=[0] * 4))


def test_a_damaged_table_is_named_and_never_ends_in_a_traceback(tmp_path: Path) -> None:
    file = table(tmp_path, label=[0, 1, 2, 3]) / "train-00-of-01.parquet"
    whole = file.read_bytes()
    dice = np.random.default_rng(5)
    for n in (0, 3, len(whole) // 2, len(whole) - 1):
        file.write_bytes(whole[:n])
        with pytest.raises(SourceError, match=r"train-00-of-01\.parquet is damaged or not a parquet file"):
            found(tmp_path)
    for _ in range(500):
        broken = bytearray(whole)
        for place in dice.integers(0, len(whole), int(dice.integers(1, 9))).tolist():
            broken[place] = int(dice.integers(256))
        file.write_bytes(broken)
        try:
            found(tmp_path)
        except SourceError as error:
            assert "train-00-of-01.parquet" in str(error)
