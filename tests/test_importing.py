"""Codes of another program in a library: exact answers, all or nothing, and never mixed with those of another model."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from conftest import fill, make_picture
from hashgrain import Codes, Encoder, Grains, Library
from hashgrain.codefiles import save_codes
from hashgrain.errors import CodesError, HashgrainError, LibraryError, QueryError
from hashgrain.library import verify_library
from hashgrain.library.importing import Import, import_file
from in_process import hashgrain

BITS = np.random.default_rng(0).integers(0, 2, (40, 64)).astype(bool)
NAMES = [f"https://example.org/{row}.jpg" for row in range(40)]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The command runs in the test's folder, on a wide terminal."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "1000")


def put(folder: Path, table: NDArray = BITS, names: list[str] = NAMES) -> tuple[Path, Path]:
    np.save(folder / "codes.npy", table)
    (folder / "paths.txt").write_text("".join(f"{name}\n" for name in names))
    return folder / "codes.npy", folder / "paths.txt"


def brute(bits: NDArray, query: NDArray, width: int) -> list[int]:
    """Rows by distance over the prefix, then over all, then by number."""
    unlike = bits != query
    return np.lexsort((np.arange(len(bits)), unlike.sum(1), unlike[:, :width].sum(1))).tolist()


def made(tmp_path: Path, **how: object) -> Path:
    codes, paths = put(tmp_path)
    import_file(tmp_path / "other.hg", Import(codes, paths, **how))  # type: ignore[arg-type]
    return tmp_path / "other.hg"


def left(folder: Path) -> list[str]:
    return sorted(name for name in os.listdir(folder) if name not in ("codes.npy", "paths.txt"))


def test_codes_of_another_program_are_searched_by_items_and_by_codes(tmp_path: Path, here: None) -> None:
    codes, paths = put(tmp_path)
    done = hashgrain("import", "other.hg", codes, "--paths", paths, "--grains", "kind:16,look:64", "--meta", "set=web")
    assert done.exit_code == 0, done.stderr
    assert "other.hg holds 40 items" in done.stdout
    for like in (NAMES[3], "4"):
        answers = json.loads(hashgrain("search", "other.hg", "--like", like, "-g", "kind", "-k", "39", "--json").stdout)
        assert [hit["id"] - 1 for hit in answers] == [row for row in brute(BITS, BITS[3], 16) if row != 3]
    np.save(tmp_path / "queries.npy", np.where(BITS[:2], 1.0, -1.0))
    answers = json.loads(hashgrain("search", "other.hg", "--codes", "queries.npy", "-k", "5", "--json").stdout)
    assert [[hit["path"] for hit in each["hits"]] for each in answers] == [
        [NAMES[row] for row in brute(BITS, query, 64)[:5]] for query in BITS[:2]
    ]
    assert all(hit["word"] == "" and hit["meta"] == {"set": "web"} for hit in answers[0]["hits"])
    assert hashgrain("verify", "other.hg").exit_code == 0
    info = json.loads(hashgrain("info", "other.hg", "--json").stdout)
    assert (info["model"], info["reads"], info["grains"]) == (
        "codes of another program",
        "no words",
        {"kind": 16, "look": 64},
    )


def test_every_form_of_codes_gives_the_same_library(tmp_path: Path) -> None:
    forms = {
        "bool": {"table": BITS},
        "signs": {"table": np.where(BITS, 1, -1).astype(np.int8)},
        "packed": {"table": np.packbits(BITS, axis=1, bitorder="little")},
        "big": {"table": np.packbits(BITS, axis=1)},
    }
    for form, given in forms.items():
        codes, paths = put(tmp_path, **given)
        order = Import(codes, paths, grains=Grains(kind=5, look=64), bit_order="big" if form == "big" else None)
        import_file(tmp_path / f"{form}.hg", order)
        with Library.open(tmp_path / f"{form}.hg") as library:
            assert (library.codes()[0].bits() == BITS).all(), form


def test_packed_queries_are_read_in_the_order_of_the_packed_codes(tmp_path: Path, here: None) -> None:
    codes, paths = put(tmp_path, np.packbits(BITS, axis=1))
    hashgrain("import", "big.hg", codes, "--paths", paths, "--bit-order", "big", "--grains", "kind:4,look:64")
    answers = json.loads(hashgrain("search", "big.hg", "--codes", codes, "-k", "1", "--json").stdout)
    assert [each["hits"][0]["path"] for each in answers] == NAMES
    more = BITS ^ True
    np.save(tmp_path / "more.npy", np.packbits(more, axis=1))
    (tmp_path / "more.txt").write_text("".join(f"not {name}\n" for name in NAMES))
    assert hashgrain("import", "big.hg", "more.npy", "--paths", "more.txt").exit_code == 0
    with Library.open(tmp_path / "big.hg") as library:
        assert (library.codes()[0].bits() == np.concatenate([BITS, more])).all()


def test_what_a_file_says_of_itself_is_kept_and_may_be_left_out(tmp_path: Path) -> None:
    pictures = fill(tmp_path / "pictures", 2)
    (tmp_path / "sound.wav").write_bytes(b"RIFF of no picture")
    names = [*map(str, sorted(pictures.iterdir())), str(tmp_path / "sound.wav"), "an id"]
    codes, paths = put(tmp_path, BITS[:4], names)
    report, total = import_file(tmp_path / "looked.hg", Import(codes, paths))
    assert (report.added, report.files, total) == (4, 3, 4)
    with Library.open(tmp_path / "looked.hg") as library:
        items = library.items()
        sizes = [(item.width, item.height, item.format) for item in items]
        assert sizes == [(120, 90, "jpeg")] * 2 + [(None, None, "")] * 2
        assert [item.size is None for item in items] == [False, False, False, True]
        assert len({item.content for item in items}) == 4
        assert library.thumbnail(1)
        assert library.search(names[0], k=1)[0].distance == 0  # its code is known, though no model could encode it
    import_file(tmp_path / "unseen.hg", Import(codes, paths, look=False))
    with Library.open(tmp_path / "unseen.hg") as library:
        assert {(item.width, item.size) for item in library.items()} == {(None, None)}


def test_relative_paths_of_files_are_kept_in_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(tmp_path / "pictures", 1)
    monkeypatch.chdir(tmp_path)
    codes, paths = put(tmp_path, BITS[:2], ["pictures/00000.jpg", "gone/1.jpg"])
    import_file(tmp_path / "a.hg", Import(codes, paths))
    with Library.open(tmp_path / "a.hg") as library:
        assert [item.path for item in library.items()] == [str(tmp_path / "pictures/00000.jpg"), "gone/1.jpg"]


@pytest.mark.parametrize(
    ("table", "names", "how", "reason"),
    [
        (BITS, [*NAMES[:-1], NAMES[0]], {}, "is the path of two codes, 1 and 40: an item has one"),
        (BITS, NAMES[:-1], {}, "40 codes take as many paths, not 39"),
        (BITS, [*NAMES[:-1], ""], {}, "path 40 of 40 is empty"),
        (BITS, [*NAMES[:-1], "a\0b"], {}, "holds a zero byte"),
        (BITS[:0], [], {}, "not bool of shape (0, 64)"),
        (BITS[0], NAMES[:1], {}, "not bool of shape (64,)"),
        (BITS.astype(np.uint8), NAMES, {}, "every byte is 0 or 1; save one value a bit as bool"),
        (BITS.astype(np.uint64), NAMES, {}, "codes cannot be of uint64"),
        (BITS.astype(np.complex64), NAMES, {}, "codes cannot be of complex64"),
        (np.where(BITS, np.nan, 1), NAMES, {}, "row 0 holds values that are not numbers"),
        (BITS.astype(object), NAMES, {}, "is not a .npy file of plain numbers"),
        (BITS, NAMES, {"grains": Grains(kind=8, look=32)}, "64 bits a code, but the grains ask for 32"),
        (np.packbits(BITS, axis=1), NAMES, {"grains": Grains(look=128)}, "rows of 16 or 16 bytes, not uint8 (40, 8)"),
        (BITS, NAMES, {"model": "small"}, "64 bits a code, but the grains ask for"),
        (BITS, NAMES, {"model": "small", "grains": Grains(look=64)}, "model 'small' has Grains("),
        (BITS, NAMES, {"made_by": "x" * 201}, "1 to 200 characters, not 201"),
        (BITS, NAMES, {"meta": {"set": {1, 2}}}, "cannot be kept"),
    ],
)
def test_what_is_wrong_is_told_and_nothing_is_written(
    tmp_path: Path, table: NDArray, names: list[str], how: dict, reason: str
) -> None:
    codes, paths = put(tmp_path, table, names)
    with pytest.raises(HashgrainError) as raised:
        import_file(tmp_path / "new.hg", Import(codes, paths, **how))
    assert reason in str(raised.value)
    assert left(tmp_path) == []
    (tmp_path / "there").mkdir()
    before = made(tmp_path / "there")
    with Library.open(before) as library:
        stored = library.codes()
    with pytest.raises(HashgrainError):
        import_file(before, Import(codes, paths, **{"replace": True, "made_by": "another program", **how}))
    with Library.open(before) as library:
        assert library.codes() == stored


def test_files_that_are_missing_or_none_are_named(tmp_path: Path, here: None) -> None:
    codes, paths = put(tmp_path)
    (tmp_path / "text.npy").write_text("no numbers")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder/notes.txt").write_text("mine")
    for arguments, reason in {
        ("a.hg", "none.npy", "--paths", paths): "cannot read none.npy",
        ("a.hg", codes, "--paths", "none.txt"): "cannot read the paths in none.txt",
        ("a.hg", codes): "holds codes and no paths",
        ("a.hg", "text.npy", "--paths", paths): "text.npy is not a .npy file",
        ("a.hg", paths, "--paths", paths): "files of codes are named .hgc, .npy, .parquet",
        ("folder", codes, "--paths", paths): "exists and is not a library",
        ("a.hg", codes, "--paths", paths, "--model", "none"): "no model bundle at none",
        ("a.hg", codes, "--paths", paths, "--meta", "odd"): "is not key=value",
        ("a.hg", codes, "--paths", paths, "--grains", "look:64,kind:16"): "each wider than the one before",
        ("a.hg", codes, "--paths", paths, "--grains", "kind:16,kind:64"): "a name of its own",
        ("a.hg", codes, "--paths", paths, "--grains", "64"): "'64' is no grain",
        ("a.hg", codes, "--paths", paths, "--model", "small", "--made-by", "x"): "give one",
    }.items():
        done = hashgrain("import", *arguments)
        said = " ".join(done.stderr.replace("│", " ").split())
        assert done.exit_code in (1, 2)
        assert reason in said, said
        assert "Traceback" not in said
        assert not (tmp_path / "a.hg").exists()
    assert (tmp_path / "folder/notes.txt").read_text() == "mine"


def test_a_disk_that_fails_leaves_no_library_and_a_library_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    library = made(tmp_path)
    codes, paths = put(tmp_path, BITS[:1], ["new"])

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("hashgrain.store.segments.append", full)
    for target in (tmp_path / "new.hg", library):
        with pytest.raises(HashgrainError, match="No space left"):
            import_file(target, Import(codes, paths))
    assert left(tmp_path) == ["other.hg"]
    with Library.open(library) as opened:
        assert len(opened) == 40
    assert verify_library(library) == []


def test_items_that_are_there_take_new_codes_only_when_told_to(tmp_path: Path) -> None:
    library = made(tmp_path, meta={"set": "a"})
    codes, paths = put(tmp_path, ~BITS[:2], [NAMES[0], "new"])
    with pytest.raises(LibraryError, match=r"is in .*other.hg already; nothing was imported"):
        import_file(library, Import(codes, paths))
    with Library.open(library) as opened:
        assert len(opened) == 40
    report, total = import_file(library, Import(codes, paths, replace=True, meta={"note": 1}))
    assert (report.added, report.replaced, total) == (1, 1, 41)
    with Library.open(library) as opened:
        imported, items = opened.codes()
        assert (imported.bits()[[0, 40]] == ~BITS[:2]).all()
        assert items[0].meta == {"set": "a", "note": 1}
    assert verify_library(library) == []


def test_many_paths_are_known_as_few_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    library = made(tmp_path)
    codes, paths = put(tmp_path, ~BITS, [*NAMES[:3], *(f"new {i}" for i in range(37))])
    monkeypatch.setattr("hashgrain.library.adding_codes.FEW", 5)
    with pytest.raises(LibraryError, match=r"0.jpg is in .* already; nothing was imported"):
        import_file(library, Import(codes, paths))
    report, total = import_file(library, Import(codes, paths, replace=True))
    assert (report.added, report.replaced, total) == (37, 3, 77)


def test_codes_of_two_models_do_not_mix(tmp_path: Path) -> None:
    encoder = Encoder.load("small")
    pictures = fill(tmp_path / "pictures", 3)
    with Library.create(tmp_path / "photos.hg", "small") as library:
        library.add(pictures, workers=0)
        codes, items = library.codes()
    save_codes(tmp_path / "of-small.hgc", codes, paths=[item.path for item in items], digest=encoder.digest)
    save_codes(tmp_path / "of-other.hgc", codes, paths=["x", "y", "z"], digest="ab" * 32)
    np.save(tmp_path / "bare.npy", codes.bits().astype(bool))
    (tmp_path / "bare.txt").write_text("x\ny\nz\n")
    bare = Import(tmp_path / "bare.npy", tmp_path / "bare.txt")
    with pytest.raises(LibraryError, match=r"abababab.*codes of two models do not mix"):
        import_file(tmp_path / "photos.hg", Import(tmp_path / "of-other.hgc"))
    with pytest.raises(LibraryError, match="does not say which model made its codes"):
        import_file(tmp_path / "photos.hg", bare)
    with pytest.raises(LibraryError, match="codes of two models do not mix"):
        import_file(tmp_path / "new.hg", Import(tmp_path / "of-other.hgc", model="small"))
    assert not (tmp_path / "new.hg").exists()
    # What is known to be of the model gets in, and is searched like what was added.
    assert import_file(tmp_path / "photos.hg", Import(bare.codes, bare.paths, model="small"))[1] == 6
    with Library.open(tmp_path / "photos.hg") as library:
        assert [hit.distance for hit in library.search(pictures / "00001.jpg", k=2)] == [0, 0]
    # A file that names a model of the package brings it along: pictures can ask.
    import_file(tmp_path / "known.hg", Import(tmp_path / "of-small.hgc"))
    with Library.open(tmp_path / "known.hg") as library:
        assert library.search(pictures / "00002.jpg", k=1)[0].word == "same"
    # Codes of a model that is not here say which they are of.
    import_file(tmp_path / "unknown.hg", Import(tmp_path / "of-other.hgc"))
    with Library.open(tmp_path / "unknown.hg") as library:
        assert library.bundle.code_digest == "ab" * 32
        with pytest.raises(LibraryError, match="abababab"):
            import_file(tmp_path / "unknown.hg", Import(tmp_path / "of-small.hgc"))


def test_libraries_of_one_program_compare_and_others_do_not(tmp_path: Path, here: None) -> None:
    codes, paths = put(tmp_path)
    for name, how in {"a": ("--made-by", "lsh"), "b": ("--made-by", "lsh"), "c": ("--made-by", "pca"), "d": ()}.items():
        assert hashgrain("import", f"{name}.hg", codes, "--paths", paths, *how).exit_code == 0
    both = hashgrain("search", "a.hg", "--like", "1", "--also", "b.hg", "-k", "1", "--json")
    assert json.loads(both.stdout)[0]["library"].endswith("b.hg")
    for other in ("c", "d"):
        done = hashgrain("search", "a.hg", "--like", "1", "--also", f"{other}.hg")
        assert "another model" in done.stderr
    done = hashgrain("import", "a.hg", codes, "--paths", paths, "--made-by", "pca", "--replace")
    assert "has codes of 'lsh', not of 'pca'" in done.stderr


def test_a_library_without_a_model_says_so_where_one_is_needed(tmp_path: Path, here: None) -> None:
    library = made(tmp_path)
    make_picture(1).save(tmp_path / "new.jpg")
    for verb, *arguments in (("search", "new.jpg"), ("search", "--text", "dog"), ("add", "new.jpg")):
        done = hashgrain(verb, library, *arguments)
        assert done.exit_code == 1
        assert "has no model, only codes of another program" in done.stderr
    assert "has the path odd" in hashgrain("search", library, "--like", "odd").stderr
    assert "no item 99" in hashgrain("search", library, "--like", "99").stderr
    other = hashgrain("search", library, "--codes", put(tmp_path, BITS[:, :32])[0])
    assert "32 bits a code, but the grains ask for 64" in other.stderr


def test_such_a_library_is_rebuilt_moved_removed_from_and_given_a_model(tmp_path: Path) -> None:
    pictures = fill(tmp_path / "pictures", 3)
    codes, paths = put(tmp_path, BITS[:3], [str(path) for path in sorted(pictures.iterdir())])
    import_file(tmp_path / "a.hg", Import(codes, paths))
    shutil.move(tmp_path / "a.hg", tmp_path / "b.hg")
    with Library.open(tmp_path / "b.hg", "w") as library:
        library.remove([1])
        library.rebuild()
        assert library.verify() == []
        assert [hit.id for hit in library.search(2)] == [3]
        with pytest.raises(LibraryError, match="has no model"):
            library.update()
    from hashgrain.library import rebuild, rebuild_with

    rebuild(tmp_path / "b.hg")
    rebuild_with(tmp_path / "b.hg", "small")
    with Library.open(tmp_path / "b.hg") as library:
        assert library.search(pictures / "00002.jpg", k=1)[0].path == str(pictures / "00002.jpg")
        assert library.verify() == []


def test_what_stands_for_the_model_is_checked(tmp_path: Path) -> None:
    library = made(tmp_path)
    file = library / "model/codes.json"
    sound = file.read_bytes()
    described = json.loads(sound)
    for broken, why in (
        (b"", "codes.json"),
        (b"[]", "codes.json"),
        (json.dumps(described | {"format": 9}).encode(), "has format 9"),
        (json.dumps(described | {"code_digest": "ab" * 32}).encode(), "describes other codes than this library holds"),
        (json.dumps(described | {"grains": {"look": 10**9}}).encode(), "names no grains"),
        (json.dumps(described | {"name": 3}).encode(), "does not say what made the codes"),
    ):
        file.write_bytes(broken)
        with pytest.raises(LibraryError, match=f"its model cannot be used .*{why}"):
            Library.open(library)
        assert why in verify_library(library)[0].reason
    file.unlink()
    file.symlink_to(tmp_path / "codes.json")
    (tmp_path / "codes.json").write_bytes(sound)
    with pytest.raises(LibraryError, match="its model cannot be used"):
        Library.open(library)


def test_python_takes_arrays_and_paths_and_brings_back_what_was_removed(tmp_path: Path) -> None:
    pictures = fill(tmp_path / "pictures", 2)
    library_path = made(tmp_path)
    with Library.open(library_path, "w") as library:
        report = library.import_codes(BITS[:2], sorted(pictures.iterdir()))
        assert (report.added, report.files) == (2, 2)
        library.remove([41])
        assert library.kept_out() == [str(pictures / "00000.jpg")]
        library.import_codes(Codes.from_bits(BITS[:1], Grains(look=64)), [pictures / "00000.jpg"])
        assert library.kept_out() == []
        with pytest.raises(LibraryError, match="takes codes with Grains"):
            library.import_codes(Codes.from_bits(BITS[:1], Grains(a=64)), ["x"])
        with pytest.raises(CodesError):
            library.import_codes(BITS[:1, :9], ["x"])
    with Library.open(library_path) as library:
        with pytest.raises(LibraryError, match="reading"):
            library.import_codes(BITS[:1], ["x"])
        with pytest.raises(QueryError):
            library.search(Codes.from_bits(BITS[:1], Grains(a=64)))


@pytest.mark.parametrize(
    ("part", "wrong"),
    [("digest", "zz"), ("digest", 5), ("digest", [1]), ("paths", [1, 2]), ("paths", "ab"), ("paths", ["a"])],
)
def test_codes_whose_file_says_what_cannot_be_are_refused(tmp_path: Path, part: str, wrong: Any) -> None:
    file = tmp_path / "c.hgc"
    save_codes(file, Codes.from_bits(np.eye(2, 64), Grains(look=64)), paths=["a", "b"], digest="0" * 64)
    content = file.read_bytes()
    start = content.index(b"{")
    header, end = json.JSONDecoder().raw_decode(content[start:].decode("latin-1"))
    payload = content[start + end :]
    if part == "digest":
        header["digest"] = wrong
    else:
        payload = payload[:16] + json.dumps(wrong).encode()
        header["sha256"] = hashlib.sha256(payload).hexdigest()
    described = json.dumps(header).encode()
    file.write_bytes(content[: start - 4] + struct.pack("<I", len(described)) + described + payload)
    with pytest.raises(HashgrainError, match=r"is damaged|'zz' is no digest of a model"):
        import_file(tmp_path / "l.hg", Import(file))
    assert not (tmp_path / "l.hg").exists()


def test_an_array_whose_header_is_made_to_be_wrong_is_refused(tmp_path: Path) -> None:
    for number, header in enumerate(("{'descr': '|u1', 'fortran_order': False, 'shape': (9**99, 2)}", "(((")):
        text = header.ljust(117).encode() + b"\n"
        (tmp_path / f"{number}.npy").write_bytes(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text)
        (tmp_path / "p.txt").write_text("a\n")
        with pytest.raises(CodesError, match=r"is not a \.npy file of plain numbers"):
            import_file(tmp_path / "l.hg", Import(tmp_path / f"{number}.npy", tmp_path / "p.txt"))
