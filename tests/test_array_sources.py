"""Pictures in .npy files: added, searched, shown again and refused, as those of tables are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from conftest import Run, make_picture
from hashgrain import Library
from hashgrain.sources import Refused, find
from hashgrain.sources.arrays import read_array_row


@pytest.fixture
def array(tmp_path: Path) -> Path:
    pixels = np.stack([np.asarray(make_picture(seed, (40, 30))) for seed in range(5)])
    np.save(tmp_path / "data.npy", pixels)
    return tmp_path / "data.npy"


def test_a_row_is_an_item_that_is_found_and_shown_again(array: Path, tmp_path: Path) -> None:
    with Library.create(tmp_path / "l.hg") as library:
        report = library.add(array, workers=0)
        assert (report.added, report.refused) == (5, [])
        (hit,) = library.search(make_picture(3, (40, 30)), k=1)
        assert (hit.path, hit.distance) == (f"{array}#3", 0)
        assert library.thumbnail(hit.id)[:2] == b"\xff\xd8"
        assert library.add(array, workers=0).unchanged == 5
        np.save(array, np.load(array)[:2])
        assert library.thumbnail(1)
        with pytest.raises(Exception, match="no such row any more"):
            read_array_row(str(array), 3)


def test_the_bits_of_an_array_are_those_of_its_pictures(hashgrain: Run, array: Path, tmp_path: Path) -> None:
    done = hashgrain("encode", array, "--format", "bits", "--out", "bits.npy")
    assert done.returncode == 0, done.stderr
    with Library.create(tmp_path / "l.hg") as library:
        wanted = [library.code(make_picture(seed, (40, 30))).bits()[0] for seed in range(5)]
    assert np.array_equal(np.load(tmp_path / "bits.npy"), wanted)


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (np.zeros((3, 4, 5, 3), np.float32), "pictures are uint8"),
        (np.zeros((3, 4, 5, 4), np.uint8), "pictures are uint8"),
        (np.zeros(9, np.uint8), "pictures are uint8"),
        (np.array([{"a": 1}], object), "not an array we read"),
    ],
)
def test_an_array_of_something_else_is_refused_and_nothing_of_it_is_run(
    made: np.ndarray, said: str, tmp_path: Path
) -> None:
    np.save(tmp_path / "data.npy", made, allow_pickle=True)
    (refused,) = find(tmp_path / "data.npy")
    assert isinstance(refused, Refused)
    assert said in refused.reason


@pytest.mark.parametrize("shape", [(1, 300_000, 300_000), (4, 0, 7)])
def test_a_header_that_promises_what_no_picture_is_costs_nothing(shape: tuple[int, ...], tmp_path: Path) -> None:
    with (tmp_path / "data.npy").open("wb") as file:
        header = {"descr": "|u1", "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(file, header)
        file.truncate(file.tell() + max(1, int(np.prod(shape))))  # a hole: it takes no room
    (refused,) = find(tmp_path / "data.npy")
    assert isinstance(refused, Refused)


def test_a_cut_array_and_one_that_is_none_are_refused(array: Path) -> None:
    whole = array.read_bytes()
    for content in (whole[:200], whole[:40], b"", b"nothing of the kind"):
        array.write_bytes(content)
        assert [type(each) for each in find(array)] == [Refused]
