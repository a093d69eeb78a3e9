"""Codes of other programs: every usual form gives the same codes, and what is none is refused by name."""

from __future__ import annotations

import re
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from hashgrain.codefiles import save_codes
from hashgrain.codes import Codes, Grains
from hashgrain.errors import EvaluationError
from hashgrain.evaluate import Paths, Sets, mean_average_precision, tally
from hashgrain.evaluate.outside import as_codes, is_codes, read_outside

Bits = NDArray[np.uint8]


def made_bits(n: int = 20, width: int = 64, seed: int = 0) -> Bits:
    return np.random.default_rng(seed).integers(0, 2, (n, width), np.uint8)


def forms(bits: Bits) -> dict[str, NDArray]:
    """The same codes as programs save them."""
    signs = 2 * bits.astype(np.int64) - 1
    size = np.random.default_rng(1).uniform(0.01, 3, bits.shape)
    return {
        "packed": np.packbits(bits, axis=1, bitorder="little"),
        "bool": bits.astype(bool),
        "0/1 int8": bits.astype(np.int8),
        "0/1 int64": bits.astype(np.int64),
        "0/1 float16": bits.astype(np.float16),
        "0/1 float64": bits.astype(np.float64),
        "-1/+1 int8": signs.astype(np.int8),
        "-1/+1 int32": signs.astype(np.int32),
        "-1/+1 float32": signs.astype(np.float32),
        "real float32": (signs * size).astype(np.float32),
        "real float64": signs * size,
        "columns first": np.asfortranarray(signs.astype(np.float32)),
        "another byte order": signs.astype(">f4"),
    }


def put(folder: Path, **arrays: NDArray) -> Path:
    for name, array in arrays.items():
        np.save(folder / f"{name}.npy", array)
    return folder


@given(st.integers(1, 6), st.integers(1, 20), st.integers(0, 99))
def test_every_form_gives_the_same_codes(n: int, n_bytes: int, seed: int) -> None:
    bits = made_bits(n, 8 * n_bytes, seed)
    wanted = Codes.from_bits(bits, Grains(look=8 * n_bytes))
    for form, table in forms(bits).items():
        assert as_codes(table, name=form) == wanted, form


@pytest.mark.parametrize("value", [0, 1])
def test_codes_that_are_all_alike_are_read_right(value: int) -> None:
    bits = np.full((3, 16), value, np.uint8)
    for form, table in forms(bits).items():
        assert (as_codes(table, name=form).bits() == value).all(), form


def test_zero_and_above_is_a_one_among_real_numbers_and_signs() -> None:
    assert as_codes(np.array([[-0.5, 0.0, 0.5, -2]]), name="x").bits().tolist() == [[0, 1, 1, 0]]
    assert as_codes(np.array([[-1, 0, 1]], np.int8), name="x").bits().tolist() == [[0, 1, 1]]
    assert as_codes(np.array([[0, 1, 2]], np.int16), name="x").bits().tolist() == [[1, 1, 1]]


def test_distances_are_the_same_whichever_end_of_a_byte_comes_first() -> None:
    bits, label = made_bits(40), np.arange(40) % 4
    little, big = (as_codes(np.packbits(bits, axis=1, bitorder=order), name="x") for order in ("little", "big"))
    found = [tally(codes[:9], codes[9:], label[:9], label[9:]).graded for codes in (little, big)]
    assert np.array_equal(*found)


def test_a_folder_is_read_with_its_labels(tmp_path: Path) -> None:
    bits = made_bits()
    put(tmp_path, queries=forms(bits[:5])["real float32"], database=forms(bits[5:])["packed"])
    assert is_codes(tmp_path)
    found = read_outside(tmp_path)
    assert found.queries == Codes.from_bits(bits[:5], Grains(look=64))
    assert found.database == Codes.from_bits(bits[5:], Grains(look=64))
    assert found.wanted is found.labels is None
    put(tmp_path, query_labels=np.arange(5), database_labels=np.arange(15))
    found = read_outside(tmp_path)
    assert isinstance(found.wanted, Paths)
    assert len(found.wanted) == 5
    put(tmp_path, query_labels=made_bits(5, 7), database_labels=made_bits(15, 7))
    assert isinstance(read_outside(tmp_path).labels, Sets)


def test_outputs_are_kept_only_where_they_say_more_than_the_bits(tmp_path: Path) -> None:
    for form, table in forms(made_bits()).items():
        outputs = read_outside(put(tmp_path, queries=table, database=table)).outputs
        if form.startswith("real"):
            assert outputs is not None
            assert outputs.dtype == np.float32
            assert np.allclose(outputs, table)
        else:
            assert outputs is None, form


def test_codes_in_parquet_are_those_in_numpy(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow", reason="the parquet extra is not installed")
    bits = made_bits(20, 40)
    codes = Codes.from_bits(bits, Grains(look=40))
    put(tmp_path, queries=bits[:5] > 0)
    save_codes(tmp_path / "database.parquet", codes[np.arange(5, 20)])
    found = read_outside(tmp_path)
    assert (found.queries, found.database) == (codes[np.arange(5)], codes[np.arange(5, 20)])
    save_codes(tmp_path / "queries.parquet", codes[np.arange(5)])
    with pytest.raises(EvaluationError, match=r"queries\.npy, .*queries\.parquet"):
        read_outside(tmp_path)
    (tmp_path / "queries.npy").unlink()
    assert is_codes(tmp_path)
    (tmp_path / "queries.parquet").write_bytes(b"no table")
    with pytest.raises(EvaluationError, match=r"queries\.parquet"):
        read_outside(tmp_path)


def test_bits_that_nobody_packed_are_not_taken_for_bytes(tmp_path: Path) -> None:
    put(tmp_path, queries=made_bits(), database=made_bits())
    with pytest.raises(EvaluationError, match="every byte is 0 or 1; save one value a bit as bool"):
        read_outside(tmp_path)
    put(tmp_path, queries=made_bits(width=4), database=made_bits(width=4))  # four bytes that may well be such
    assert read_outside(tmp_path).queries.grains.bits == 32


def test_named_classes_mean_the_same_on_both_sides(tmp_path: Path) -> None:
    bits = made_bits(2)
    put(tmp_path, queries=bits.astype(bool), database=bits.astype(bool))
    put(tmp_path, query_labels=np.array(["cat", "dog"]), database_labels=np.array(["dog", "eel"]))
    found = read_outside(tmp_path)
    assert found.wanted is not None
    assert found.labels is not None
    assert found.wanted.grades(found.labels).tolist() == [[0, 0], [1, 0]]  # type: ignore[arg-type]
    counts = tally(found.queries, found.database, np.array(["cat", "dog"]), np.array(["dog", "eel"]))
    assert mean_average_precision(counts, 2, "ir").value == pytest.approx(0.25)


# --- what is refused


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf])
def test_values_that_are_no_numbers_are_refused_with_file_and_row(tmp_path: Path, wrong: float) -> None:
    table = forms(made_bits())["real float32"].copy()
    table[7, 3] = table[9, 0] = wrong
    put(tmp_path, queries=forms(made_bits())["bool"], database=table)
    with pytest.raises(EvaluationError, match=r"database\.npy: row 7 holds values that are not numbers"):
        read_outside(tmp_path)


@pytest.mark.parametrize(
    ("table", "said"),
    [
        (np.zeros(64, np.uint8), "a table with one row per picture, not uint8 of shape (64,)"),
        (np.zeros((), np.float32), "of shape ()"),
        (np.zeros((2, 3, 4), np.float32), "float32 of shape (2, 3, 4)"),
        (np.zeros((5, 0), np.float32), "of shape (5, 0)"),
        (np.zeros((0, 64), bool), "of shape (0, 64)"),
        (np.zeros((0, 8), np.uint8), "of shape (0, 8)"),
        (np.zeros((2, 513), np.uint8), "look has 4104 bits"),
        (np.zeros((2, 4097), np.int8), "4097 bits, more than 4096"),
        (np.zeros((2, 8), np.uint16), "codes cannot be of uint16; save uint8 (packed), bool, int8 or float32"),
        (np.zeros((2, 8), np.uint64), "codes cannot be of uint64"),
        (np.zeros((2, 8), np.complex64), "codes cannot be of complex64"),
        (np.array([["a", "b"]]), "codes cannot be of <U1"),
        (np.zeros((2, 8), "datetime64[s]"), "codes cannot be of datetime64[s]"),
    ],
)
def test_tables_that_are_no_codes_are_refused_with_file_and_form(tmp_path: Path, table: NDArray, said: str) -> None:
    put(tmp_path, queries=table, database=table)
    with pytest.raises(EvaluationError, match=rf"queries\.npy: .*{re.escape(said)}"):
        read_outside(tmp_path)


def test_other_widths_on_the_other_side_are_refused(tmp_path: Path) -> None:
    put(tmp_path, queries=255 * made_bits(4, 8), database=255 * made_bits(4, 16))  # packed: 64 and 128 bits
    with pytest.raises(EvaluationError, match="queries of 64 bits, a database of 128"):
        read_outside(tmp_path)


@pytest.mark.parametrize("name", ["query_labels", "database_labels"])
def test_labels_of_one_side_are_refused(tmp_path: Path, name: str) -> None:
    put(tmp_path, queries=made_bits() > 0, database=made_bits() > 0, **{name: np.arange(20)})
    with pytest.raises(EvaluationError, match=r"labels for one side only: queries_labels.npy and database_labels.npy"):
        read_outside(tmp_path)


def test_labels_of_another_length_are_refused_with_the_file(tmp_path: Path) -> None:
    put(
        tmp_path,
        queries=made_bits() > 0,
        database=made_bits() > 0,
        query_labels=np.arange(20),
        database_labels=np.arange(19),
    )
    with pytest.raises(EvaluationError, match=r"database_labels\.npy has 19 labels for 20 codes"):
        read_outside(tmp_path)


@pytest.mark.parametrize(
    "labels", [np.full(20, 0.5), np.full(20, np.nan), np.full(20, np.inf), np.zeros((20, 0)), np.zeros((20, 2, 2))]
)
def test_labels_that_are_none_are_refused_with_the_file(tmp_path: Path, labels: NDArray) -> None:
    put(tmp_path, queries=made_bits() > 0, database=made_bits() > 0, query_labels=labels, database_labels=labels)
    with pytest.raises(EvaluationError, match=r"query_labels\.npy"):
        read_outside(tmp_path)


def broken_files(folder: Path) -> dict[str, Path]:
    whole = folder / "whole.npy"
    np.save(whole, made_bits())
    npy = whole.read_bytes()
    header = npy.replace(b"(20, 64)", b"(2000000000000000, 64)")
    contents = {
        "empty": b"",
        "not numpy": b"0,1,1,0\n",
        "half": npy[: len(npy) // 2],
        "half a header": npy[:40],
        "a larger shape": npy[:8] + (len(header) - len(npy) + npy[8]).to_bytes(1, "little") + header[9:],
        "half an archive": b"PK\x03\x04 and no more",
    }
    for name, content in contents.items():
        (folder / f"{name}.bad").write_bytes(content)
    np.save(folder / "pickled.npy", np.array([{"a": 1}, None], object), allow_pickle=True)
    (folder / "pickled.npy").rename(folder / "pickled.bad")
    with (folder / "archive.bad").open("wb") as file:
        np.savez(file, queries=made_bits())
    with zipfile.ZipFile(folder / "no arrays.bad", "w") as archive:
        archive.writestr("a.txt", "text")
    return {path.stem: path for path in sorted(folder.glob("*.bad"))}


def test_labels_of_the_queries_have_the_name_of_the_side_or_the_older_one_and_not_both(tmp_path: Path) -> None:
    put(tmp_path, queries=made_bits() > 0, database=made_bits() > 0, database_labels=np.arange(20))
    for name in ("queries_labels", "query_labels"):
        put(tmp_path, **{name: np.arange(20)})
        assert read_outside(tmp_path).wanted is not None
        (tmp_path / f"{name}.npy").unlink()
    put(tmp_path, queries_labels=np.arange(20), query_labels=np.arange(20))
    with pytest.raises(EvaluationError, match=r"twice, queries_labels.npy and query_labels.npy"):
        read_outside(tmp_path)


@pytest.mark.parametrize("side", ["queries", "database", "query_labels"])
def test_files_that_are_no_arrays_are_refused_by_name(tmp_path: Path, side: str) -> None:
    (tmp_path / "broken").mkdir()
    broken = broken_files(tmp_path / "broken")
    assert len(broken) == 9
    for path in broken.values():
        put(tmp_path, queries=made_bits() > 0, database=made_bits() > 0, query_labels=np.arange(20))
        (tmp_path / f"{side}.npy").write_bytes(path.read_bytes())
        with pytest.raises(EvaluationError, match=rf"{side}\.npy is "):
            read_outside(tmp_path)


def test_a_file_that_is_missing_is_named(tmp_path: Path) -> None:
    assert not is_codes(tmp_path)
    put(tmp_path, queries=made_bits() > 0)
    assert is_codes(tmp_path)  # half of it: better told what is missing than taken for a model
    (tmp_path / "database.npy").mkdir()
    with pytest.raises(EvaluationError, match=r"one file database\.npy or .*none"):
        read_outside(tmp_path)
