"""Labelled pictures from shards, arrays, saved datasets, and columns for grains; damage is told with its file."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hashgrain.errors import ImageError, SourceError
from hashgrain.labelled import LabelledPicture, labelled_pictures
from hashgrain.labelled.arrays import array_labels
from hashgrain.media import open_picture


def found(place: Path, **asked: Any) -> list[LabelledPicture]:
    return list(labelled_pictures(place, **asked))


def refused(place: Path, **asked: Any) -> str:
    with pytest.raises(SourceError) as caught:
        found(place, **asked)
    return str(caught.value)


# --- labels of each grain, boxes, pictures without labels


@pytest.mark.parametrize("name", ["list.csv", "list.jsonl", "rows.parquet"])
def test_a_column_is_a_grain_where_it_is_asked_for(tmp_path: Path, name: str) -> None:
    rows = [
        {"path": f"{i}.jpg", "kind": kind, "thing": thing} for i, (kind, thing) in enumerate([("a", "b"), ("a", "c")])
    ]
    write_rows(tmp_path / name, rows)
    first, second = found(tmp_path / name, grains=("kind", "thing"))
    assert first.grains == {"kind": ("a",), "thing": ("b",)}
    assert (second.name, second.grains["thing"]) == ("1.jpg", ("c",))
    assert "label" in refused(tmp_path / name)  # not asked for, they are columns like any other


def test_a_grain_takes_several_labels_and_tells_none_from_an_empty_set(tmp_path: Path) -> None:
    rows = [{"path": "a", "label": "x", "kind": value} for value in (["p", "q"], "p|q", 3, [], "", None)]
    write_rows(tmp_path / "list.jsonl", rows)
    kinds = [picture.grains.get("kind") for picture in found(tmp_path / "list.jsonl", grains=["kind"])]
    assert kinds == [("p", "q"), ("p", "q"), ("3",), (), None, None]
    write_rows(tmp_path / "list.jsonl", [{"path": "a", "label": "x", "kind": {"is": "no label"}}])
    assert "a, kind: {'is': 'no label'} is neither a label nor a list of labels" in refused(
        tmp_path / "list.jsonl", grains=["kind"]
    )


def test_a_known_column_is_no_grain_even_if_asked_for(tmp_path: Path) -> None:
    write_rows(tmp_path / "list.csv", [{"path": "a", "label": "x/y"}])
    (picture,) = found(tmp_path / "list.csv", grains=["label", "path"])
    assert (picture.grains, picture.path) == ({}, ("x", "y"))


@pytest.mark.parametrize("name", ["list.csv", "list.jsonl"])
@pytest.mark.parametrize("box", ["1 2 3.5 4", "1,2,3.5,4", "[1, 2, 3.5, 4]", "(1, 2, 3.5, 4)"])
def test_a_box_is_four_numbers(tmp_path: Path, name: str, box: str) -> None:
    write_rows(tmp_path / name, [{"path": "a", "label": "x", "box": box}, {"path": "b", "label": "x", "box": ""}])
    assert [picture.box for picture in found(tmp_path / name)] == [(1, 2, 3.5, 4), None]


@pytest.mark.parametrize("box", [[1, 2, 3], [1, 2, 3, "x"], "1 2 3", 7, {"x": 1}, [3, 2, 1, 4], [0, 0, 1e999, 1], "["])
def test_a_box_that_is_none_is_named_with_its_picture(tmp_path: Path, box: Any) -> None:
    write_rows(tmp_path / "list.jsonl", [{"path": "a.jpg", "label": "x", "box": box}])
    assert refused(tmp_path / "list.jsonl").startswith("a.jpg: the box")


def test_boxes_and_parts_come_from_tables_and_an_empty_box_is_one(tmp_path: Path) -> None:
    rows = [{"bytes": b"1", "label": 0, "box": [0, 0, 4, 0], "part": "test"}, {"bytes": b"2", "label": 1}]
    write_rows(tmp_path / "train.parquet", rows)
    first, second = found(tmp_path / "train.parquet")
    assert (first.box, first.part, second.box, second.part) == ((0, 0, 4, 0), "test", None, "train")


@pytest.mark.parametrize("name", ["list.csv", "list.jsonl", "rows.parquet", "folder"])
def test_pictures_without_a_label_come_only_where_they_are_asked_for(tmp_path: Path, name: str) -> None:
    if name == "folder":
        put(tmp_path / name, "cat/a.jpg", "b.jpg")
    else:
        write_rows(tmp_path / name, [{"path": "b.jpg", "label": None}, {"path": "a.jpg", "label": "cat"}])
    assert "b.jpg" in refused(tmp_path / name) or "rows.parquet#0" in refused(tmp_path / name)
    assert [picture.path for picture in found(tmp_path / name, unlabelled=True)] == [(), ("cat",)]


def test_a_table_of_paths_has_its_pictures_beside_it(tmp_path: Path) -> None:
    put(tmp_path, "sub/a.jpg")
    write_rows(tmp_path / "rows.parquet", [{"path": "sub/a.jpg", "label": ["animal", "cat"]}])
    (picture,) = found(tmp_path)
    assert (picture.name, picture.read(), picture.path) == ("sub/a.jpg", b"sub/a.jpg", ("animal", "cat"))
    write_rows(tmp_path / "rows.parquet", [{"path": None, "label": "x"}])
    assert "rows.parquet#0: the row has no path" in refused(tmp_path)


def test_lists_in_a_folder_are_found_by_name_and_name_their_part(tmp_path: Path) -> None:
    write_rows(tmp_path / "train.csv", [{"path": "a", "label": "x"}])
    write_rows(tmp_path / "test.jsonl", [{"path": "b", "label": "x"}, {"path": "c", "label": "x", "part": "val"}])
    assert [(p.name, p.part) for p in found(tmp_path)] == [("b", "test"), ("c", "val"), ("a", "train")]


def test_a_list_of_another_name_does_not_turn_a_folder_of_classes_into_a_list(tmp_path: Path) -> None:
    put(tmp_path, "cat/a.jpg")
    (tmp_path / "labels.csv").write_text("name,kind\na.jpg,dog\n")
    assert [picture.path for picture in found(tmp_path)] == [("cat",)]


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("train-00-of-04.parquet", "train"),
        ("extra-00000-of-00001.parquet", "extra"),
        ("imagenet_val_0003.parquet", "val"),
        ("mine.parquet", ""),
    ],
)
def test_the_part_is_what_a_files_name_tells(tmp_path: Path, name: str, part: str) -> None:
    write_rows(tmp_path / name, [{"bytes": b"1", "label": 0}])
    assert [picture.part for picture in found(tmp_path)] == [part]


# --- shards


def test_a_shard_has_a_label_beside_each_picture(tmp_path: Path) -> None:
    shard(
        tmp_path / "photos-train-000.tar",
        ("a/1.jpg", b"one"),
        ("a/1.cls", b"7"),
        ("a/2.PNG", b"two"),
        ("a/2.txt", b"animal/cat\n"),
        ("a/3.json", {"labels": ["sea", "sky"], "box": [0, 1, 2, 3], "part": "val"}),
        ("a/3.jpg", b"three"),
        ("a/4.jpg", b"four"),
        ("a/4.json", {"kind": "animal", "thing": "cat"}),
    )
    pictures = found(tmp_path, grains=("kind", "thing"))
    assert [(p.path, p.labels, p.part) for p in pictures] == [
        (("7",), None, "train"),
        (("animal", "cat"), None, "train"),
        ((), ("sea", "sky"), "val"),
        ((), None, "train"),
    ]
    assert [p.read() for p in pictures] == [b"one", b"two", b"three", b"four"]
    assert pictures[0].name == "photos-train-000.tar!a/1.jpg"
    assert pictures[2].box == (0, 1, 2, 3)
    assert pictures[3].grains == {"kind": ("animal",), "thing": ("cat",)}
    assert found(tmp_path / "photos-train-000.tar", grains=["kind"])[0].name == pictures[0].name


def test_shards_of_a_folder_come_in_order_and_packed_ones_too(tmp_path: Path) -> None:
    for name in ("b-1.tar.gz", "a-0.tar"):
        shard(tmp_path / name, ("1.jpg", name.encode()), ("1.cls", b"0"))
    assert [picture.read() for picture in found(tmp_path)] == [b"a-0.tar", b"b-1.tar.gz"]


def test_links_devices_and_names_that_climb_lead_nowhere(tmp_path: Path) -> None:
    (tmp_path / "secret.jpg").write_bytes(b"secret")
    with tarfile.open(tmp_path / "evil.tar", "w") as archive:
        for name, kind in (("1.jpg", tarfile.SYMTYPE), ("2.jpg", tarfile.LNKTYPE), ("3.jpg", tarfile.FIFOTYPE)):
            member = tarfile.TarInfo(name)
            member.type, member.linkname = kind, "secret.jpg"
            archive.addfile(member)
        for name, content in (("../4.jpg", b"climbs"), ("../4.cls", b"0")):
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    before = sorted(tmp_path.parent.rglob("*"))
    assert [picture.read() for picture in found(tmp_path / "evil.tar")] == [b"climbs"]
    assert sorted(tmp_path.parent.rglob("*")) == before


def test_a_member_that_is_too_large_is_one_picture_less(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hashgrain.sources.archives.MAX_BYTES", 1000)
    shard(tmp_path / "a.tar", ("1.jpg", b"x" * 1001), ("1.cls", b"0"), ("2.jpg", b"x"), ("2.cls", b"0"))
    large, small = found(tmp_path / "a.tar")
    with pytest.raises(ImageError, match=r"a\.tar!1\.jpg: the file is larger"):
        large.read()
    assert small.read() == b"x"


def test_pictures_of_one_key_wait_for_its_end_in_so_much_memory_and_no_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hashgrain.sources.archives.MAX_BYTES", 1000)
    shard(
        tmp_path / "a.tar",
        *((f"1.{i}.jpg", b"x" * 400) for i in range(4)),
        ("1.cls", b"0"),
        ("2.jpg", b"x" * 900),
        ("2.cls", b"0"),
    )
    first, second, third, fourth, next_key = found(tmp_path / "a.tar")
    assert [len(each.read()) for each in (first, second, next_key)] == [400, 400, 900]
    for each in (third, fourth):
        with pytest.raises(ImageError, match="the files of its key are larger"):
            each.read()


@pytest.mark.parametrize("beside", [("1.txt", b"a long caption " * 20), ("1.json", b"[" * 100_000), ("1.xml", b"cat")])
def test_a_shards_picture_without_a_class_is_named(tmp_path: Path, beside: tuple[str, bytes]) -> None:
    shard(tmp_path / "a.tar", ("1.jpg", b"x"), beside)
    said = refused(tmp_path / "a.tar")
    assert "a.tar" in said
    assert "1.jpg" in said


def test_a_damaged_shard_is_named(tmp_path: Path) -> None:
    whole = shard(tmp_path / "a.tar", ("1.jpg", b"x" * 5000), ("1.cls", b"0"))
    for n in (0, 100, 3000, len(whole) // 2):
        (tmp_path / "a.tar").write_bytes(whole[:n])
        assert f"{tmp_path / 'a.tar'}: the archive is damaged" in refused(tmp_path / "a.tar")


# --- arrays


def test_arrays_are_pictures_pixel_by_pixel(tmp_path: Path) -> None:
    dice = np.random.default_rng(1)
    for shape in ((3, 5, 7, 3), (3, 5, 7)):
        pixels = dice.integers(0, 256, shape, np.uint8)
        np.save(tmp_path / "images.npy", pixels)
        np.save(tmp_path / "labels.npy", np.array([2, 0, 2]))
        pictures = found(tmp_path)
        assert [(p.name, p.part, p.path) for p in pictures][1:] == [
            ("images.npy#1", "", ("0",)),
            ("images.npy#2", "", ("2",)),
        ]
        for expected, picture in zip(pixels, pictures, strict=True):
            gray = expected if expected.ndim == 3 else np.repeat(expected[:, :, None], 3, axis=2)
            assert np.array_equal(open_picture(picture.read()).pixels, gray)


def test_arrays_have_a_test_part_and_sets_of_labels(tmp_path: Path) -> None:
    for prefix, labels in (("", [[0, 1, 1], [0, 0, 0]]), ("test_", [[1, 0, 0]])):
        np.save(tmp_path / f"{prefix}images.npy", np.zeros((len(labels), 2, 2), np.uint8))
        np.save(tmp_path / f"{prefix}labels.npy", np.array(labels, np.uint8))
    pictures = found(tmp_path)
    assert [(p.part, p.labels) for p in pictures] == [("train", ("1", "2")), ("train", ()), ("test", ("0",))]


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        ([3, 12], [("3",), ("12",)]),
        (["cat", "dog"], [("cat",), ("dog",)]),
        ([b"cat", b"dog"], [("cat",), ("dog",)]),
        ([1.0, 2.0], [("1",), ("2",)]),
        ([[0, 5], [1, -1]], [("0", "5"), ("1",)]),
        ([[4], [0]], [("4",), ("0",)]),
    ],
)
def test_label_arrays_are_classes_or_paths(tmp_path: Path, labels: list[Any], expected: list[Any]) -> None:
    np.save(tmp_path / "labels.npy", np.array(labels))
    row = array_labels(tmp_path / "labels.npy", 2)
    assert [row(i) for i in range(2)] == [(path, None) for path in expected]


@pytest.mark.parametrize(
    ("images", "labels", "said"),
    [
        (np.zeros((2, 4, 4, 3), np.float32), [0, 1], "images.npy: float32"),
        (np.zeros((2, 4, 4, 4), np.uint8), [0, 1], "images.npy: uint8 of shape (2, 4, 4, 4)"),
        (np.zeros((2, 4, 4), np.uint8), [0, 1, 2], "labels.npy has 3 labels for 2"),
        (np.zeros((2, 4, 4), np.uint8), [0.5, 1], "labels.npy: labels are whole numbers"),
        (np.zeros((2, 4, 4), np.uint8), [np.nan, 1], "labels.npy: labels are whole numbers"),
        (np.zeros((2, 4, 4), np.uint8), [0, -1], "labels.npy, row 1: no label"),
        (np.zeros((2, 4, 4), np.uint8), np.zeros((2, 2, 2), int), "labels.npy: int64 of shape (2, 2, 2)"),
        (np.zeros((2, 4, 4), np.uint8), 1, "labels.npy: int64 of shape ()"),
        (np.zeros((2, 4, 4), np.uint8), [1j, 2j], "labels.npy: complex128"),
    ],
)
def test_arrays_that_do_not_fit_are_named(tmp_path: Path, images: Any, labels: Any, said: str) -> None:
    np.save(tmp_path / "images.npy", images)
    np.save(tmp_path / "labels.npy", np.array(labels))
    assert said in refused(tmp_path)


def test_arrays_are_never_unpickled_and_damaged_ones_are_named(tmp_path: Path) -> None:
    good = io.BytesIO()
    np.save(good, np.arange(2))
    packed, objects = io.BytesIO(), io.BytesIO()
    np.savez(packed, labels=np.arange(2))
    np.save(objects, np.array([{"a": 1}, None]), allow_pickle=True)
    np.save(tmp_path / "images.npy", np.zeros((2, 4, 4), np.uint8))
    whole = good.getvalue()
    huge = whole.replace(b"(2,), }   ", b"(99999,), }")[: len(whole)]
    dice = np.random.default_rng(4)
    broken = [bytearray(whole) for _ in range(200)]
    for each in broken:
        each[int(dice.integers(0, 80))] = int(dice.integers(256))
    for content in (b"", b"\x80\x04N.", packed.getvalue(), objects.getvalue(), whole[:-3], huge):
        (tmp_path / "labels.npy").write_bytes(content)
        assert "labels.npy" in refused(tmp_path)
    for each in broken:
        (tmp_path / "labels.npy").write_bytes(each)
        try:
            found(tmp_path)
        except SourceError as error:
            assert "labels.npy" in str(error)
    (tmp_path / "labels.npy").unlink()
    assert "cannot read" in refused(tmp_path)
    assert [picture.path for picture in found(tmp_path, unlabelled=True)] == [(), ()]


# --- saved datasets


IMAGE = {"_type": "Image"}
CLASS = {"_type": "ClassLabel", "names": ["cat", "dog"]}


def saved(folder: Path, columns: dict[str, list[Any]], features: dict[str, Any], split: str = "train") -> Path:
    """What `save_to_disk` writes, in two files."""
    arrow = pytest.importorskip("pyarrow")
    folder.mkdir(parents=True, exist_ok=True)
    table = arrow.table(columns)
    files = [f"data-0000{i}-of-00002.arrow" for i in range(2)]
    half = (len(table) + 1) // 2
    for file, part in zip(files, (table.slice(0, half), table.slice(half)), strict=True):
        with arrow.OSFile(str(folder / file), "wb") as out, arrow.ipc.new_stream(out, table.schema) as stream:
            stream.write_table(part)
    (folder / "dataset_info.json").write_text(json.dumps({"features": features}))
    state = {"_data_files": [{"filename": file} for file in files], "_split": split}
    (folder / "state.json").write_text(json.dumps(state))
    return folder


def images(n: int) -> list[dict[str, Any]]:
    return [{"bytes": f"picture {i}".encode(), "path": None} for i in range(n)]


def test_a_saved_dataset_names_its_classes(tmp_path: Path) -> None:
    saved(tmp_path, {"photo": images(3), "label": [1, 0, 1]}, {"photo": IMAGE, "label": CLASS})
    pictures = found(tmp_path)
    assert [(p.path, p.part) for p in pictures] == [(("dog",), "train"), (("cat",), "train"), (("dog",), "train")]
    assert [p.read() for p in pictures] == [b"picture 0", b"picture 1", b"picture 2"]
    assert [p.name for p in pictures[1:]] == ["data-00000-of-00002.arrow#1", "data-00001-of-00002.arrow#0"]


def test_a_dataset_dict_has_a_part_for_each_split(tmp_path: Path) -> None:
    features = {"img": IMAGE, "fine_label": CLASS, "coarse_label": {"_type": "ClassLabel", "names": ["animal"]}}
    for split in ("train", "test"):
        saved(tmp_path / split, {"img": images(2), "fine_label": [0, 1], "coarse_label": [0, 0]}, features, "x")
    (tmp_path / "dataset_dict.json").write_text('{"splits": ["train", "test"]}')
    paths = [("animal", "cat"), ("animal", "dog")]
    assert [(p.part, p.path) for p in found(tmp_path)] == [(part, path) for part in ("train", "test") for path in paths]


@pytest.mark.parametrize(
    "wrapped", [{"feature": CLASS, "_type": "Sequence"}, {"feature": CLASS, "_type": "List"}, [CLASS]]
)
def test_a_saved_dataset_has_sets_of_labels_and_grains(tmp_path: Path, wrapped: Any) -> None:
    columns = {"image": images(3), "labels": [[0, 1], [], [1]], "kind": [0, 1, -1]}
    saved(tmp_path, columns, {"image": IMAGE, "labels": wrapped, "kind": CLASS})
    pictures = found(tmp_path, grains=["kind"])
    assert [p.labels for p in pictures] == [("cat", "dog"), (), ("dog",)]
    assert [p.grains for p in pictures] == [{"kind": ("cat",)}, {"kind": ("dog",)}, {}]


def test_labels_that_a_saved_dataset_has_not_are_named(tmp_path: Path) -> None:
    saved(tmp_path, {"image": images(2), "label": [0, 2]}, {"image": IMAGE, "label": CLASS})
    assert "data-00001-of-00002.arrow#0: label 2, but dataset_info.json names 2 classes" in refused(tmp_path)
    saved(tmp_path, {"image": images(2), "label": [0, -1]}, {"image": IMAGE, "label": CLASS})
    assert "data-00001-of-00002.arrow#0: the row has no label" in refused(tmp_path)
    saved(tmp_path, {"image": images(1), "klass": [0]}, {"image": IMAGE, "klass": CLASS})
    assert "none of label" in refused(tmp_path)


@pytest.mark.parametrize("name", ["../data.arrow", "/etc/passwd", "sub/data.arrow", "..", "", None, 3, "C:x"])
def test_a_saved_dataset_leads_to_no_file_but_its_own(tmp_path: Path, name: Any) -> None:
    saved(tmp_path / "d", {"image": images(1), "label": [0]}, {"image": IMAGE, "label": CLASS})
    (tmp_path / "d/state.json").write_text(json.dumps({"_data_files": [{"filename": name}]}))
    assert "which is not the name of a file beside it" in refused(tmp_path / "d")
    (tmp_path / "d/dataset_dict.json").write_text(json.dumps({"splits": [name]}))
    assert "which is not the name of a file beside it" in refused(tmp_path / "d")


@pytest.mark.parametrize("file", ["dataset_info.json", "state.json", "dataset_dict.json"])
@pytest.mark.parametrize("text", ["", "[]", "{}", "[" * 100_000, '{"features": 3}', '{"_data_files": 1, "splits": 1}'])
def test_what_describes_a_saved_dataset_and_is_damaged_is_named(tmp_path: Path, file: str, text: str) -> None:
    saved(tmp_path, {"image": images(1), "label": [0]}, {"image": IMAGE, "label": CLASS})
    (tmp_path / file).write_text(text)
    said = refused(tmp_path)
    assert str(tmp_path) in said
    assert file in said


def test_a_selection_of_rows_is_refused_rather_than_read_whole(tmp_path: Path) -> None:
    saved(tmp_path, {"image": images(1), "label": [0]}, {"image": IMAGE, "label": CLASS})
    state = json.loads((tmp_path / "state.json").read_text()) | {"_indices_data_files": [{"filename": "i.arrow"}]}
    (tmp_path / "state.json").write_text(json.dumps(state))
    assert "flatten_indices" in refused(tmp_path)


def test_a_damaged_arrow_file_is_named_and_never_ends_in_a_traceback(tmp_path: Path) -> None:
    saved(tmp_path, {"image": images(3), "label": [0, 1, 0]}, {"image": IMAGE, "label": CLASS})
    file = tmp_path / "data-00000-of-00002.arrow"
    whole = file.read_bytes()
    dice = np.random.default_rng(5)
    for n in (0, 3, len(whole) // 2, len(whole) - 8):
        file.write_bytes(whole[:n])
        assert f"{file} is damaged or not an arrow file" in refused(tmp_path)
    outside = whole.replace(np.array([0, 9, 18], "<i4").tobytes(), np.array([0, 9, 300_000], "<i4").tobytes())
    assert outside != whole
    file.write_bytes(outside)  # a picture that ends far behind the file
    assert f"{file} is damaged" in refused(tmp_path)
    for _ in range(300):
        broken = bytearray(whole)
        for place in dice.integers(0, len(whole), int(dice.integers(1, 9))).tolist():
            broken[place] = int(dice.integers(256))
        file.write_bytes(broken)
        try:
            found(tmp_path)
        except SourceError as error:
            assert file.name in str(error)
    file.unlink()
    assert file.name in refused(tmp_path)


# --- what the tests write


def put(top: Path, *names: str) -> None:
    for name in names:
        (top / name).parent.mkdir(parents=True, exist_ok=True)
        (top / name).write_bytes(name.encode())


def write_rows(file: Path, rows: list[dict[str, Any]]) -> None:
    if file.suffix == ".jsonl":
        file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    elif file.suffix == ".csv":
        cells: list[list[Any]] = [[*rows[0]], *([row.get(column) for column in rows[0]] for row in rows)]
        file.write_text("".join(",".join(f'"{"" if c is None else c}"' for c in line) + "\n" for line in cells))
    else:
        arrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
        parquet.write_table(arrow.Table.from_pylist(rows), file)


def shard(file: Path, *members: tuple[str, bytes | dict[str, Any]]) -> bytes:
    with tarfile.open(file, "w:gz" if file.name.endswith("gz") else "w") as archive:
        for name, content in members:
            content = content if isinstance(content, bytes) else json.dumps(content).encode()
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return file.read_bytes()
