"""Datasets in the layouts that their publishers ship, made small: class, part, box and level are read as written."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from conftest import make_picture
from hashgrain.errors import SourceError
from hashgrain.evaluate.protocols import Protocol, Take, protocol
from hashgrain.evaluate.splitting import read_pool, split
from hashgrain.labelled import LabelledPicture, labelled_pictures
from hashgrain.labelled.layouts import layout_of


def picture(file: Path, seed: int) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    make_picture(seed, (12, 9)).save(file)


def write(file: Path, *lines: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("".join(f"{line}\n" for line in lines))


def read(folder: Path) -> dict[str, LabelledPicture]:
    found = {each.name: each for each in labelled_pictures(folder)}
    assert all(each.read()[:2] == b"\xff\xd8" for each in found.values())
    return found


def voc(folder: Path) -> Path:
    for i in range(4):
        picture(folder / f"JPEGImages/2008_00000{i}.jpg", i)
    main = folder / "ImageSets/Main"
    write(main / "train.txt", "2008_000000", "2008_000001")
    write(main / "val.txt", "2008_000002", "2008_000003")
    write(main / "cat_train.txt", "2008_000000  1", "2008_000001 -1")
    write(main / "cat_trainval.txt", "2008_000000  1", "2008_000001 -1", "2008_000002  0", "2008_000003 -1")
    write(main / "dog_trainval.txt", "2008_000000  1", "2008_000001  1", "2008_000002 -1", "2008_000003 -1")
    return folder


def cub(folder: Path) -> Path:
    names = ["001.Black_footed_Albatross/a_1.jpg", "001.Black_footed_Albatross/a_2.jpg", "002.Laysan_Albatross/b_1.jpg"]
    for i, name in enumerate(names):
        picture(folder / "images" / name, i)
    write(folder / "images.txt", *(f"{i} {name}" for i, name in enumerate(names, 1)))
    write(folder / "image_class_labels.txt", "1 1", "2 1", "3 2")
    write(folder / "train_test_split.txt", "1 1", "2 0", "3 1")
    write(folder / "classes.txt", "1 001.Black_footed_Albatross", "2 002.Laysan_Albatross")
    write(folder / "bounding_boxes.txt", "1 1.0 2.0 8.0 6.0", "2 0.0 0.0 4.0 4.0", "3 2.0 2.0 2.0 2.0")
    return folder


def nabirds(folder: Path) -> Path:
    ids = ["0000139e-21dc-4d0c-bfe1-4cae3c85c829", "0000d9fc-4e02-4c06-a0af-a55cfb16b12b"]
    for i, name in enumerate(ids):
        picture(folder / "images" / f"08{i}" / f"{name.replace('-', '')}.jpg", i)
    write(folder / "images.txt", *(f"{each} 08{i}/{each.replace('-', '')}.jpg" for i, each in enumerate(ids)))
    write(folder / "image_class_labels.txt", f"{ids[0]} 817", f"{ids[1]} 2")
    write(folder / "train_test_split.txt", f"{ids[0]} 0", f"{ids[1]} 1")
    names = ["0 Birds", "1 Ducks, Geese, and Swans", "2 Swans", "50 Perching Birds", "60 Jays", "817 Oak Titmouse"]
    write(folder / "classes.txt", *names)
    write(folder / "hierarchy.txt", "1 0", "2 1", "50 0", "60 50", "817 60")
    return folder


def test_pascal_voc_gives_sets_of_classes_without_those_hard_to_see(tmp_path: Path) -> None:
    found = read(voc(tmp_path / "VOCdevkit/VOC2012"))
    assert {name: (each.part, each.labels) for name, each in found.items()} == {
        "JPEGImages/2008_000000.jpg": ("train", ("cat", "dog")),
        "JPEGImages/2008_000001.jpg": ("train", ("dog",)),
        "JPEGImages/2008_000002.jpg": ("val", ()),
        "JPEGImages/2008_000003.jpg": ("val", ()),
    }


def test_cub_gives_classes_parts_and_boxes(tmp_path: Path) -> None:
    found = read(cub(tmp_path))
    first = found["images/001.Black_footed_Albatross/a_1.jpg"]
    assert (first.part, first.path, first.box) == ("train", ("001.Black_footed_Albatross",), (1, 2, 9, 8))
    assert [each.part for each in found.values()] == ["train", "test", "train"]


def test_nabirds_gives_paths_of_its_hierarchy_all_equally_deep(tmp_path: Path) -> None:
    paths = [each.path for each in read(nabirds(tmp_path)).values()]
    assert paths == [
        ("Perching Birds", "Jays", "Oak Titmouse"),
        ("Ducks, Geese, and Swans", "Swans", "Swans"),
    ]


def test_stanford_cars_gives_the_classes_of_its_matlab_lists(tmp_path: Path) -> None:
    io = pytest.importorskip("scipy.io")
    kinds = [(f"bbox_{corner}", "f8") for corner in ("x1", "y1", "x2", "y2")] + [("class", "i4"), ("fname", "O")]
    for part, rows in {
        "train": [(1, 2, 9, 8, 2, "00001.jpg"), (0, 0, 5, 5, 1, "00002.jpg")],
        "test": [(0, 1, 2, 3, 2, "00001.jpg")],
    }.items():
        for i, row in enumerate(rows):
            picture(tmp_path / f"cars_{part}" / row[-1], i)
        home = tmp_path / "devkit" / ("cars_train_annos.mat" if part == "train" else "cars_test_annos_withlabels.mat")
        home.parent.mkdir(exist_ok=True)
        io.savemat(home, {"annotations": np.array([rows], kinds)})
    meta = np.empty((1, 2), object)
    meta[0] = ["AM General Hummer SUV 2000", "Ram C/V Cargo Van Minivan 2012"]
    io.savemat(tmp_path / "devkit/cars_meta.mat", {"class_names": meta})
    found = list(labelled_pictures(tmp_path))
    assert [(each.name, each.part, each.path) for each in found[:2]] == [
        ("cars_train/00001.jpg", "train", ("Ram C_V Cargo Van Minivan 2012",)),
        ("cars_train/00002.jpg", "train", ("AM General Hummer SUV 2000",)),
    ]
    assert (found[0].box, found[2].part, len(found)) == ((1, 2, 9, 8), "test", 3)
    for table in ({"annotations": np.arange(3.0)}, {"annotations": np.array([[(1, 2)]], kinds[:2])}):
        io.savemat(tmp_path / "devkit/cars_train_annos.mat", table)
        with pytest.raises(SourceError, match="a picture without a file, a class or a box"):
            list(labelled_pictures(tmp_path))
    io.savemat(tmp_path / "devkit/cars_train_annos.mat", {"other": np.arange(3.0)})
    with pytest.raises(SourceError, match="is damaged, or not Matlab's"):
        list(labelled_pictures(tmp_path))
    (tmp_path / "devkit/cars_test_annos_withlabels.mat").unlink()
    with pytest.raises(SourceError, match="the classes of the test pictures are not known"):
        list(labelled_pictures(tmp_path))
    (tmp_path / "devkit/cars_train_annos.mat").write_bytes(b"no matlab")
    (tmp_path / "cars_test_annos_withlabels.mat").write_bytes(b"no matlab")
    with pytest.raises(SourceError, match="is damaged, or not Matlab's"):
        list(labelled_pictures(tmp_path))


def lists(folder: Path) -> Path:
    for i in range(5):
        picture(folder / f"images/a b {i}.jpg", i)
    write(folder / "test.txt", "images/a b 0.jpg 1 0 0")
    write(folder / "train.txt", "images/a b 1.jpg 0 1 1", "images/a b 2.jpg 1 0 0")
    write(
        folder / "database.txt",
        *(f"images/a b {i}.jpg {marks}" for i, marks in enumerate(["0 1 1", "1 0 0", "0 0 0", "1 1 1"], 1)),
    )
    return folder


def test_lists_of_zeros_and_ones_give_the_published_parts(tmp_path: Path) -> None:
    made = Protocol(
        "lists",
        "",
        Take(part="test"),
        Take(part="train"),
        "all but queries",
        relevance="shares a label",
        pool="database",
    )
    manifest = split(read_pool(labelled_pictures(lists(tmp_path))), made)
    named = {what: [manifest.names[i] for i in index.tolist()] for what, index in manifest.splits.items()}
    assert named == {
        "queries": ["images/a b 0.jpg"],
        "train": ["images/a b 1.jpg", "images/a b 2.jpg"],
        "database": ["images/a b 1.jpg", "images/a b 2.jpg", "images/a b 4.jpg"],
    }
    assert manifest.database_holds_train
    assert manifest.classes[0] == ("0",)
    assert "1 pictures without any label are left out" in manifest.warnings


def test_lists_with_a_number_give_a_class(tmp_path: Path) -> None:
    picture(tmp_path / "a.jpg", 0)
    write(tmp_path / "test.txt", "a.jpg 17")
    write(tmp_path / "database.txt", "a.jpg 3", "")
    assert [(each.path, each.part) for each in labelled_pictures(tmp_path)] == [(("17",), "test"), (("3",), "database")]


def test_of_a_path_all_is_kept_but_the_marks(tmp_path: Path) -> None:
    picture(tmp_path / "a  1 x 0.jpg", 0)
    write(tmp_path / "test.txt", "a  1 x 0.jpg 1 0")
    write(tmp_path / "database.txt", "a  1 x 0.jpg\t0  1 ")
    assert [(each.name, each.labels) for each in labelled_pictures(tmp_path)] == [
        ("a  1 x 0.jpg", ("0",)),
        ("a  1 x 0.jpg", ("1",)),
    ]


def test_a_line_of_another_kind_is_named(tmp_path: Path) -> None:
    for line in ("images/a.jpg 1 0", "images/a.jpg", "images/a.jpg 1 0 2"):
        write(lists(tmp_path) / "train.txt", "images/a b 1.jpg 0 1 1", line)
        with pytest.raises(SourceError, match=r"train.txt, line 2: a path and then 3 zeros and ones"):
            list(labelled_pictures(tmp_path))


def test_texts_beside_folders_of_classes_are_no_lists(tmp_path: Path) -> None:
    picture(tmp_path / "cat/1.jpg", 0)
    write(tmp_path / "train.txt", "cat/1.jpg")
    write(tmp_path / "test.txt", "cat/1.jpg")
    assert [each.path for each in labelled_pictures(tmp_path)] == [("cat",)]


@pytest.mark.parametrize(
    ("name", "lines", "reason"),
    [
        ("image_class_labels.txt", ["1 1", "2 1"], "picture 3 of images.txt has no class"),
        ("image_class_labels.txt", ["1 1", "2 1", "3 9"], "picture 3 of images.txt has no class"),
        ("train_test_split.txt", ["1 1"], "picture 2 of images.txt has no class, or is in no part"),
        ("classes.txt", ["1"], "classes.txt, line 1: 1 words instead of 2"),
        ("bounding_boxes.txt", ["1 a b c d"], "the box of picture 1 is not four numbers"),
        ("hierarchy.txt", ["1 2", "2 1"], "or is below itself"),
        ("hierarchy.txt", ["1 5", "5 0"], "class 5 has no name in classes.txt"),
    ],
)
def test_a_layout_that_is_not_whole_is_refused_by_name(
    tmp_path: Path, name: str, lines: list[str], reason: str
) -> None:
    write(cub(tmp_path) / name, *lines)
    with pytest.raises(SourceError) as told:
        list(labelled_pictures(tmp_path))
    assert reason in str(told.value)


def test_voc_without_lists_by_class_is_refused(tmp_path: Path) -> None:
    for file in (voc(tmp_path) / "ImageSets/Main").glob("*_trainval.txt"):
        file.unlink()
    with pytest.raises(SourceError, match="has no lists of pictures by class"):
        list(labelled_pictures(tmp_path))
    (tmp_path / "ImageSets/Main/val.txt").unlink()
    with pytest.raises(SourceError, match=r"cannot read .*val.txt"):
        list(labelled_pictures(tmp_path))


def test_small_copies_are_not_taken_for_the_published_sets(tmp_path: Path) -> None:
    from hashgrain.errors import EvaluationError

    for name, folder in {
        "cub": cub(tmp_path / "cub"),
        "nabirds": nabirds(tmp_path / "na"),
        "voc2012": voc(tmp_path / "voc"),
    }.items():
        assert layout_of(folder) is not None
        with pytest.raises(EvaluationError, match=f"{name} has .* here are"):
            split(read_pool(labelled_pictures(folder)), protocol(name))


@pytest.mark.parametrize("place", ["../../outside.jpg", "/etc/hostname"])
def test_a_list_that_names_a_file_outside_of_its_folder_is_refused(tmp_path: Path, place: str) -> None:
    folder = cub(tmp_path / "cub")
    lines = (folder / "images.txt").read_text().splitlines()
    write(folder / "images.txt", f"{lines[0].split()[0]} {place}", *lines[1:])
    with pytest.raises(SourceError, match="which is not in it"):
        list(labelled_pictures(folder))
