"""One bit convention, and files that bring back what was saved."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hashgrain import Codes, Grains
from hashgrain.codefiles import load_codes, save_codes
from hashgrain.codes import pack, unpack
from hashgrain.errors import CodesError

GRAINS = Grains(kind=32, thing=64, look=128)


def some_codes(n: int, grains: Grains = GRAINS, seed: int = 0) -> Codes:
    return Codes.from_bits(np.random.default_rng(seed).integers(0, 2, (n, grains.bits)), grains)


@given(st.integers(0, 20), st.integers(1, 300), st.integers(0, 2**32 - 1))
def test_packing_is_undone_by_unpacking(n: int, width: int, seed: int) -> None:
    bits = np.random.default_rng(seed).integers(0, 2, (n, width)).astype(np.uint8)
    np.testing.assert_array_equal(unpack(pack(bits), width), bits)


@given(st.integers(0, 127))
def test_bit_j_is_bit_j_of_the_little_endian_bytes(j: int) -> None:
    bits = np.zeros((1, 128), np.uint8)
    bits[0, j] = 1
    codes = Codes.from_bits(bits, GRAINS)
    assert int(codes.words[0, j // 64]) == 1 << (j % 64)
    assert codes.to_bytes()[0, j // 8] == 1 << (j % 8)


def test_a_bit_is_one_where_the_output_is_zero_or_more() -> None:
    grains = Grains(look=5)
    codes = Codes.from_outputs([[0.0, -0.0, 1e-30, -1e-30, np.inf]], grains)
    assert codes.bits().tolist() == [[1, 1, 1, 0, 1]]
    with pytest.raises(CodesError, match="NaN"):
        Codes.from_outputs([[0.0, np.nan, 0.0, 0.0, 0.0]], grains)


@given(st.integers(0, 30), st.sampled_from(list(GRAINS)), st.integers(0, 99))
def test_a_grain_is_the_prefix_it_names(n: int, grain: str, seed: int) -> None:
    codes = some_codes(n, seed=seed)
    prefix = codes.at(grain)
    np.testing.assert_array_equal(prefix.bits(), codes.bits()[:, : GRAINS[grain]])
    assert prefix.grains.finest == grain


def test_grains_are_ordered_by_width_and_refuse_nonsense() -> None:
    assert list(Grains({"look": 128, "kind": 32})) == ["kind", "look"]
    assert Grains(a=1, b=2) == Grains({"b": 2, "a": 1})
    for wrong in ({}, {"a": 0}, {"a": -1}, {"a": True}, {"a": 10**6}, {"a b": 3}, {"a": 8, "b": 8}, {"a": 1.5}):
        with pytest.raises(CodesError):
            Grains(wrong)
    with pytest.raises(CodesError, match="kind, thing, look"):
        GRAINS.width("nose")


def test_codes_refuse_words_that_do_not_fit() -> None:
    with pytest.raises(CodesError):
        Codes(np.zeros((1, 1), np.uint64), GRAINS)
    with pytest.raises(CodesError):
        Codes(np.zeros((1, 2), np.int64), GRAINS)
    with pytest.raises(CodesError, match="zero past"):
        Codes(np.full((1, 1), 1 << 40, np.uint64), Grains(look=40))
    with pytest.raises(CodesError):
        Codes.from_bits([[0, 1, 2]], Grains(look=3))
    with pytest.raises(CodesError):
        Codes.concatenate([some_codes(1), some_codes(1, Grains(look=128))])


def test_codes_of_programs_that_do_not_pad_are_read() -> None:
    codes = some_codes(4, Grains(look=40))
    assert Codes.from_bytes(codes.to_bytes()[:, :5], codes.grains) == codes


@pytest.mark.parametrize("suffix", [".hgc", ".npy", ".parquet"])
@pytest.mark.parametrize("n", [0, 1, 33])
def test_files_bring_back_what_was_saved(tmp_path: Path, suffix: str, n: int) -> None:
    codes, paths = some_codes(n), [f"/pictures/{i} \udcff.jpg" for i in range(n)]
    path = tmp_path / f"codes{suffix}"
    save_codes(path, codes, paths=paths, digest="abc")
    read = load_codes(path, grains=GRAINS)
    assert read.codes == codes
    if suffix != ".npy":
        assert (list(read.paths or []), read.digest) == (paths, "abc")
        assert load_codes(path).codes.grains == GRAINS
    assert not list(tmp_path.glob("*.part"))


def test_parquet_has_a_fixed_width_column_any_program_can_read(tmp_path: Path) -> None:
    import pyarrow.parquet as parquet

    codes = some_codes(5)
    save_codes(tmp_path / "codes.parquet", codes, paths=list("abcde"))
    table = parquet.read_table(tmp_path / "codes.parquet")
    assert str(table.schema.field("code").type) == "fixed_size_binary[16]"
    assert str(table.schema.field("path").type) == "string"
    assert table.column("code")[3].as_py() == codes.to_bytes()[3].tobytes()


@settings(max_examples=400)
@given(st.data())
def test_a_damaged_file_of_codes_is_refused(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    path = tmp_path_factory.mktemp("damaged") / "codes.hgc"
    save_codes(path, some_codes(3), paths=["a", "b", "c"])
    content = bytearray(path.read_bytes())
    if data.draw(st.booleans()):
        del content[data.draw(st.integers(0, len(content) - 1)) :]
    else:
        place = data.draw(st.integers(0, len(content) - 1))
        content[place] ^= data.draw(st.integers(1, 255))
    path.write_bytes(content)
    try:
        read = load_codes(path)
    except CodesError as error:
        assert "codes.hgc" in str(error)
    else:  # a letter of a grain's name or of the digest may differ; the codes may not
        assert read.codes.words.tolist() == some_codes(3).words.tolist()


@pytest.mark.parametrize("suffix", [".hgc", ".npy", ".parquet"])
def test_whatever_damage_there_is_only_one_kind_of_error_comes_out(tmp_path: Path, suffix: str) -> None:
    path, dice = tmp_path / f"codes{suffix}", np.random.default_rng(0)
    save_codes(path, some_codes(3))
    whole, refused = path.read_bytes(), 0
    for trial in range(600):
        content = bytearray(whole)
        if trial < 200:
            del content[trial * len(whole) // 200 :]
        else:
            content[dice.integers(len(whole))] ^= int(dice.integers(1, 256))
        path.write_bytes(content)
        try:
            load_codes(path)
        except CodesError:
            refused += 1
    assert refused > 150


def test_files_that_are_no_codes_are_refused(tmp_path: Path) -> None:
    for name in ("a.hgc", "a.npy", "a.parquet"):
        (tmp_path / name).write_bytes(b"nonsense")
        with pytest.raises(CodesError, match=name):
            load_codes(tmp_path / name)
    with pytest.raises(CodesError, match="cannot read"):
        load_codes(tmp_path / "missing.hgc")
    with pytest.raises(CodesError, match=r"\.hgc, \.npy, \.parquet"):
        save_codes(tmp_path / "a.txt", some_codes(1))
    np.save(tmp_path / "pickled.npy", np.array([{}], object), allow_pickle=True)
    with pytest.raises(CodesError):
        load_codes(tmp_path / "pickled.npy")
    newer = tmp_path / "newer.hgc"
    save_codes(newer, some_codes(1))
    newer.write_bytes(newer.read_bytes().replace(b"HGCODES\x01", b"HGCODES\x09"))
    with pytest.raises(CodesError, match="upgrade"):
        load_codes(newer)
