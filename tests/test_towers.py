"""A bundle that brings a text tower: whole on disk as any other bundle, checked as one, kept by every library of it."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from conftest import Run, fill
from hashgrain import Library, inside
from hashgrain.errors import BundleError, QueryError
from hashgrain.library import rebuild, rebuild_with, verify_library
from hashgrain.models import Bundle, TextTower, trial
from hashgrain.models import bundle_files as bundles
from hashgrain.models.bundle import check_bundle
from hashgrain.models.graph_check import IDS, check_graph
from made_graphs import FLOAT, INT64, bundle_of, elsewhere, floats, integers, node, plain_graph, value, whole, with_step
from made_towers import (
    LENGTH,
    floats_of,
    ids_input,
    mask_input,
    pooling_graph,
    summing_graph,
    text_model,
    wordpiece,
    wordpiece_tower,
)
from test_bundle_files import StoppedError, _stop_after, edit

ROWS = np.eye(6, 3, dtype=np.float32)
FILES = ["model.json", "model.onnx", "text.onnx", "tokenizer.json"]


def tower(*words: str, length: int = LENGTH) -> TextTower:
    return TextTower(summing_graph(ROWS, length), wordpiece(words or ("red", "dog")), length, 0, lower=True)


def small(name: str = "small", reads: TextTower | None = None) -> Bundle:
    return replace(bundle_of(plain_graph(), name), text_tower=reads or tower())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return small().write(tmp_path / "bundle")


def files_of(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))


# ---- on disk


def test_a_tower_is_read_as_it_was_written(folder: Path, tmp_path: Path) -> None:
    assert files_of(folder) == FILES
    assert Bundle.read(folder) == small()
    small().write_inside(tmp_path)
    assert Bundle.read_inside(tmp_path) == small()
    entry = json.loads((folder / "model.json").read_text())["text_tower"]
    assert (entry["length"], entry["pad"], entry["lower"], entry["tokenizer_bytes"]) == (
        8,
        0,
        True,
        len(tower().tokenizer),
    )


def test_codes_are_bound_to_no_tower_and_the_bundle_is() -> None:
    plain, other = replace(small(), text_tower=None), small(reads=tower("blue", "dog"))
    assert plain.code_digest == small().code_digest == other.code_digest
    assert len({bundle.bundle_digest for bundle in (plain, small(), other)}) == 3
    assert "text_tower" not in plain.described()


def test_a_bundle_without_a_tower_takes_none_that_stood_there(folder: Path) -> None:
    plain = replace(small(), text_tower=None)
    plain.write(folder)
    assert Bundle.read(folder) == plain
    assert files_of(folder) == ["model.json", "model.onnx"]
    for name in ("text.onnx", "tokenizer.json"):  # as a crash may leave them
        (folder / name).write_bytes(b"of another bundle")
    assert Bundle.read(folder) == plain
    small().write(folder)
    assert Bundle.read(folder) == small()


@pytest.mark.parametrize("name", ["text.onnx", "tokenizer.json"])
@pytest.mark.parametrize("change", ["a byte", "the last byte", "a byte more", "nothing left", "missing"])
def test_a_file_of_a_tower_that_is_changed_is_refused(name: str, change: str, folder: Path) -> None:
    path = folder / name
    content = bytearray(path.read_bytes())
    if change == "a byte":
        content[len(content) // 2] ^= 1
    elif change == "the last byte":
        content[-1] ^= 128
    elif change == "a byte more":
        content += b"\n"
    else:
        content.clear()
    path.write_bytes(content)
    if change == "missing":
        path.unlink()
    with pytest.raises(BundleError, match=f"cannot read .*{name}" if change == "missing" else "altered or damaged"):
        Bundle.read(folder)


@pytest.mark.parametrize("key", ["length", "pad", "lower", "onnx_sha256", "tokenizer_sha256", "onnx_bytes"])
def test_what_is_said_of_a_tower_is_part_of_the_digest(key: str, folder: Path) -> None:
    others = {"length": 9, "pad": 1, "lower": False, "onnx_bytes": 7}
    edit(folder, lambda described: described["text_tower"].update({key: others.get(key, "0" * 64)}))
    with pytest.raises(BundleError, match="altered or damaged"):
        Bundle.read(folder)


def test_sizes_that_are_not_those_of_the_files_are_refused_though_signed(folder: Path) -> None:
    edit(folder, lambda described: described["text_tower"].update(onnx_bytes=7), sign=True)
    with pytest.raises(BundleError, match="altered or damaged"):
        Bundle.read(folder)


ODD: dict[str, Any] = {
    "length": [0, -1, 5000, 1.0, True, None, "8", 10**400],
    "pad": [-1, 1 << 31, "0", None, False],
    "lower": [0, 1, "yes", None],
    "onnx_sha256": ["", "0" * 63, "G" * 64, 5, None, "0" * 64 + "\n"],
    "tokenizer_sha256": [["0" * 64], "../../etc/passwd"],
    "onnx_bytes": [0, -5, 1 << 50],
    "tokenizer_bytes": [True, None],
}


@pytest.mark.parametrize(("key", "odd"), [(key, odd) for key, all in ODD.items() for odd in all])
def test_odd_values_of_a_tower_are_an_error_in_one_short_line(key: str, odd: Any, folder: Path) -> None:
    edit(folder, lambda described: described["text_tower"].update({key: odd}), sign=True)
    with pytest.raises(BundleError, match=f"{key} of text_tower") as caught:
        Bundle.read(folder)
    assert len(str(caught.value)) < 500
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("odd", [[], "text.onnx", None, 5, {}, {"length": 8}])
def test_a_tower_that_is_not_described_is_refused(odd: Any, folder: Path) -> None:
    edit(folder, lambda described: described.update(text_tower=odd), sign=True)
    with pytest.raises(BundleError, match="not a description we can use"):
        Bundle.read(folder)


def test_a_tower_that_is_read_in_a_way_unknown_here_asks_for_an_upgrade(folder: Path) -> None:
    edit(folder, lambda described: described["text_tower"].update(side="left"), sign=True)
    with pytest.raises(BundleError, match="upgrade hashgrain"):
        Bundle.read(folder)


@pytest.mark.parametrize(("name", "cap"), [("text.onnx", "MAX_TEXT_BYTES"), ("tokenizer.json", "MAX_TOKENIZER_BYTES")])
def test_files_past_their_caps_are_refused_unread(
    name: str, cap: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert (bundles.MAX_TEXT_BYTES, bundles.MAX_TOKENIZER_BYTES) == (1536 << 20, 64 << 20)
    monkeypatch.setattr(bundles, cap, 1 << 20)
    os.truncate(folder / name, 100 << 20)
    with pytest.raises(BundleError, match="is larger than 1 MB"):
        Bundle.read(folder)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
@pytest.mark.parametrize("name", ["text.onnx", "tokenizer.json"])
def test_a_pipe_or_folder_for_a_file_of_a_tower_is_refused_at_once(name: str, folder: Path) -> None:
    (folder / name).unlink()
    os.mkfifo(folder / name)
    with pytest.raises(BundleError, match="not a regular file"):
        Bundle.read(folder)
    (folder / name).unlink()
    (folder / name).mkdir()
    with pytest.raises(BundleError, match=r"not a regular file|directory"):
        Bundle.read(folder)


def test_inside_a_library_no_file_of_a_tower_is_a_link(tmp_path: Path, folder: Path) -> None:
    library = tmp_path / "library.hg"
    (library / "model").mkdir(parents=True)
    for name in FILES:
        (library / "model" / name).symlink_to(folder / name)
    with pytest.raises(BundleError, match="is a link"):
        Bundle.read_inside(library)
    for name in FILES[:2]:
        (library / "model" / name).unlink()
        (library / "model" / name).write_bytes((folder / name).read_bytes())
    with pytest.raises(BundleError, match=r"text\.onnx.*is a link"):
        Bundle.read_inside(library)
    before = {name: (folder / name).read_bytes() for name in FILES}
    small("other", tower("blue")).write_inside(library)
    assert Bundle.read_inside(library) == small("other", tower("blue"))
    (library / "model" / "text.onnx").unlink()
    (library / "model" / "text.onnx").symlink_to(folder / "text.onnx")
    replace(small(), text_tower=None).write_inside(library)
    assert {name: (folder / name).read_bytes() for name in FILES} == before


KINDS = {
    "another tower": (small("old"), small("new", tower("blue", "cat", length=9))),
    "a tower where there was none": (replace(small("old"), text_tower=None), small("new")),
    "none where there was a tower": (small("old"), replace(small("new"), text_tower=None)),
    "the same tower": (small("old"), small("new")),
}


@pytest.mark.parametrize(("kind", "inside_a_library"), [*zip(KINDS, [True, True, False, False], strict=True)])
def test_a_write_stopped_anywhere_leaves_the_old_bundle_or_the_new_one(
    kind: str, inside_a_library: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, new = KINDS[kind]
    for stop in range(1, 60):
        library = tmp_path / f"library{stop}"
        folder = library / "model"
        library.mkdir()
        old.write(folder)
        done = _stop_after(monkeypatch, stop)
        try:
            new.write_inside(library) if inside_a_library else new.write(folder)
        except StoppedError:
            pass
        finally:
            monkeypatch.undo()
        if done() < stop:
            break
        bundle = Bundle.read_inside(library) if inside_a_library else Bundle.read(folder)
        assert bundle in (old, new)
        for again in (old, new):
            again.write_inside(library) if inside_a_library else again.write(folder)
            assert Bundle.read(folder) == again
            assert files_of(folder) == (FILES if again.text_tower else FILES[:2])
    else:
        raise AssertionError("the write never ended")
    assert stop > 8
    assert Bundle.read(folder) == new


def test_a_full_disk_leaves_the_tower_that_stood_there(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("hashgrain.files.sync", full)
    with pytest.raises(OSError, match="No space left"):
        small("other", tower("blue")).write(folder)
    assert Bundle.read(folder) == small()
    assert files_of(folder) == FILES


def test_a_tower_read_while_others_are_written_is_of_its_bundle(folder: Path) -> None:
    kinds = [tower("blue", "cat"), tower("green", length=9), None]
    stop = threading.Event()

    def write() -> None:
        for number in count():
            replace(small(f"number {number}"), text_tower=kinds[number % 3]).write(folder)
            if stop.wait(0.005):
                return

    thread = threading.Thread(target=write)
    thread.start()
    try:
        for _ in range(100):
            read = Bundle.read(folder)
            assert read.name == "small" or read.text_tower == kinds[int(read.name.removeprefix("number ")) % 3]
    finally:
        stop.set()
        thread.join()


# ---- the graph


BAG = [
    node("Gather", ["rows", "ids"], ["each"]),
    node("ReduceSum", ["each", "one"], ["sum"], [whole("keepdims", 0)]),
]
TENSORS = [floats_of("rows", ROWS), integers("one", 1)]
KEEP = node("Identity", ["sum"], ["outputs"])
STEPS = [node("Cast", ["sum"], ["counts"], [whole("to", INT64)]), node("Reshape", ["counts", "flat"], ["row"])]
REFUSED: dict[str, tuple[bytes, str]] = {
    "data in another file": (
        text_model(
            [*BAG, node("MatMul", ["sum", "far"], ["outputs"])],
            [*TENSORS, elsewhere("far", [3, 3], "far.bin")],
            [ids_input()],
            3,
        ),
        "has its data in another file",
    ),
    "control flow": (text_model([*BAG, node("If", ["sum"], ["outputs"])], TENSORS, [ids_input()], 3), "control flow"),
    "an operator of another domain": (
        text_model([*BAG, node("Gelu", ["sum"], ["outputs"], domain="com.microsoft")], TENSORS, [ids_input()], 3),
        "domain",
    ),
    "an operator that makes text": (
        text_model([*BAG, node("StringNormalizer", ["sum"], ["outputs"])], TENSORS, [ids_input()], 3),
        "not among the operators",
    ),
    "a size that depends on the ids": (
        text_model(
            [*BAG, *STEPS, node("ConstantOfShape", ["row"], ["outputs"])],
            [*TENSORS, integers("flat", -1)],
            [ids_input()],
            3,
        ),
        "size depends on the ids",
    ),
    "a size that depends on the mask": (
        text_model(
            [*BAG, node("Reshape", ["mask", "flat"], ["row"]), node("Expand", ["sum", "row"], ["outputs"])],
            [*TENSORS, integers("flat", -1)],
            [ids_input(), mask_input()],
            3,
        ),
        "size depends on the ids",
    ),
    "another width": (text_model([*BAG, KEEP], TENSORS, [ids_input()], 4), "gives 4 outputs, its grains ask for 3"),
    "a width left open": (
        text_model([*BAG, KEEP], TENSORS, [ids_input()], 3, value("outputs", FLOAT, ["batch", "bits"])),
        "gives 0 outputs",
    ),
    "outputs in integers": (
        text_model([*BAG, KEEP], TENSORS, [ids_input()], 3, value("outputs", INT64, ["batch", 3])),
        "rows of float32",
    ),
    "outputs of another name": (
        text_model([*BAG, node("Identity", ["sum"], ["codes"])], TENSORS, [], 3, value("codes", FLOAT, ["batch", 3])),
        "before anything gives it",
    ),
    "no ids": (
        text_model(
            [node("Cast", ["words"], ["outputs"], [whole("to", FLOAT)])], [], [value("words", INT64, ["batch", 3])], 3
        ),
        "must take int64 `ids` and give `outputs`",
    ),
    "the graph of pictures": (plain_graph(), "must take int64 `ids`"),
    "no graph": (b"nothing of the kind", "not an ONNX model"),
    "the runtime's own format": (b"\0\0\0\0ORTM", "own format"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_a_text_graph_that_does_more_than_read_is_refused_unread(what: str, tmp_path: Path) -> None:
    onnx, reason = REFUSED[what]
    bad = small("bad", replace(tower(), onnx=onnx))
    with pytest.raises(BundleError, match="the text graph of model 'bad'") as caught:
        check_bundle(bad)
    assert reason in str(caught.value)
    with pytest.raises(BundleError, match="the text graph of model 'bad'"):
        Bundle.read(bad.write(tmp_path / "bad"))


def test_every_way_to_change_a_text_graph_is_told_or_harmless() -> None:
    """No exception but ours leaves the check, whatever the bytes."""
    whole_graph = summing_graph(ROWS)
    random = np.random.default_rng(0)
    for number in range(2000):
        bad = bytearray(whole_graph)
        for _ in range(1 + number % 3):
            bad[random.integers(len(bad))] = random.integers(256)
        if number % 5 == 0:
            del bad[random.integers(len(bad)) :]
        with suppress(BundleError):
            check_graph(bytes(bad), "it", bits=3, takes=IDS)


FAILS: dict[str, tuple[bytes, str]] = {
    "a third input": (
        text_model([*BAG, KEEP], TENSORS, [ids_input(), mask_input(), value("segments", INT64, ["batch", 8])], 3),
        "must take int64 `ids`, and nothing else",
    ),
    "ids in floats": (
        text_model(
            [
                node("Cast", ["ids"], ["whole"], [whole("to", INT64)]),
                node("Gather", ["rows", "whole"], ["each"]),
                BAG[1],
                KEEP,
            ],
            TENSORS,
            [ids_input(kind=FLOAT)],
            3,
        ),
        "must take int64 `ids`, and nothing else",
    ),
    "ids of another length": (text_model([*BAG, KEEP], TENSORS, [ids_input(9)], 3), "fails while it runs"),
    "two rows a phrase": (
        text_model([*BAG, node("Concat", ["sum", "sum"], ["outputs"], [whole("axis", 0)])], TENSORS, [ids_input()], 3),
        "rows of float32, one for each",
    ),
    "no numbers": (
        text_model(
            [*BAG, node("Div", ["sum", "none"], ["outputs"])], [*TENSORS, floats("none", 0, 0, 0)], [ids_input()], 3
        ),
        "no numbers",
    ),
    "memory without end": (
        text_model(
            [
                node("ConstantOfShape", ["many"], ["zeros"]),
                *BAG,
                node("ReduceSum", ["zeros"], ["none"], [whole("keepdims", 0)]),
                node("Add", ["sum", "none"], ["outputs"]),
            ],
            [*TENSORS, integers("many", 1 << 40)],
            [ids_input()],
            3,
        ),
        "the text graph of model 'bad'",
    ),
}


@pytest.mark.parametrize("what", FAILS)
def test_a_text_graph_that_fails_its_trial_is_refused(what: str) -> None:
    onnx, reason = FAILS[what]
    bad = small("bad", replace(tower(), onnx=onnx))
    check_bundle(bad)
    assert bad.text_tower is not None
    with pytest.raises(BundleError, match="the text graph of model 'bad'") as caught:
        trial.check_text_by_trial(bad, bad.text_tower)
    assert reason in str(caught.value)


def test_a_trial_of_a_text_graph_is_made_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    tried = []
    real = trial._try
    monkeypatch.setattr(trial, "_try", lambda *args: tried.append(1) or real(*args))
    for _ in range(2):
        trial.check_text_by_trial(small(), tower())
    assert len(tried) == 1
    trial.check_text_by_trial(small(), replace(tower(), onnx=pooling_graph(ROWS)))
    assert len(tried) == 2


# ---- in a library


@pytest.fixture(scope="module")
def reads() -> Bundle:
    shipped = Bundle.read("default")
    rows = np.random.default_rng(0).normal(size=(2, shipped.grains.bits)).astype(np.float32)
    return replace(shipped, text_tower=wordpiece_tower(dict(zip(["red", "dog"], rows, strict=True))))


def test_a_library_keeps_the_tower_whatever_is_done_to_it(reads: Bundle, tmp_path: Path) -> None:
    path = tmp_path / "a.hg"
    with Library.create(path, reads) as library:
        library.add([fill(tmp_path / "pictures", 4)], workers=0)
    rebuild(path)
    with Library.open(path, "w") as library:
        library.rebuild()
        library.update()
        assert library.bundle == reads
        assert library.info()["reads"] == "sentences"
    assert verify_library(path) == []


def test_a_library_gets_a_tower_by_rebuild_and_loses_it_by_another(reads: Bundle, tmp_path: Path) -> None:
    path = tmp_path / "a.hg"
    plain = replace(reads, text_tower=None)
    with Library.create(path, plain) as library:
        library.add([fill(tmp_path / "pictures", 3)], workers=0)
        before, _ = library.codes()
        assert library.info()["reads"] == "no words"
    rebuild_with(path, reads.write(tmp_path / "bundle"))
    with Library.open(path) as library:
        assert library.bundle == reads
        assert library.codes()[0] == before
    assert files_of(path / "model") == FILES
    rebuild_with(path, plain)
    with Library.open(path) as library:
        assert library.bundle == plain
    assert files_of(path / "model") == FILES[:2]
    assert verify_library(path) == []


@pytest.mark.parametrize("name", ["text.onnx", "tokenizer.json"])
@pytest.mark.parametrize("change", ["a byte", "missing"])
def test_damage_to_the_tower_of_a_library_is_named_and_pictures_are_found(
    name: str, change: str, reads: Bundle, tmp_path: Path
) -> None:
    path = tmp_path / "a.hg"
    with Library.create(path, reads) as library:
        library.add([fill(tmp_path / "pictures", 3)], workers=0)
    file = path / "model" / name
    content = bytearray(file.read_bytes())
    content[len(content) // 3] ^= 4
    file.write_bytes(content)
    if change == "missing":
        file.unlink()
    reason = "altered or damaged" if change == "a byte" else f"cannot read .*{name}"
    rebuild(path)  # which has the model in the package, but not its tower
    (problem,) = verify_library(path)
    assert re.search(reason, problem.reason)
    assert "put the bundle back" in problem.remedy
    with Library.open(path) as library:
        assert len(library.search(1, k=None)) == 2
        assert library.bundle.text_tower is not None
        with pytest.raises(BundleError, match=f"{reason}.*open it again") as caught:
            getattr(library.bundle.text_tower, "onnx" if name == "text.onnx" else "tokenizer")
        assert "\n" not in str(caught.value)
    reads.write_inside(path)
    assert verify_library(path) == []
    with Library.open(path) as library:
        assert library.bundle == reads


def test_opening_a_library_reads_no_tower(reads: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Library.create(tmp_path / "a.hg", reads):
        pass
    read: list[str] = []
    real = inside.read
    monkeypatch.setattr(inside, "read", lambda *names, cap: (read.append(names[-1]), real(*names, cap=cap))[1])
    with Library.open(tmp_path / "a.hg") as library:
        library.info()
        assert library.bundle.bundle_digest == reads.bundle_digest
        assert set(read) == {"model.json", "model.onnx"}
        assert library.bundle.text_tower == reads.text_tower
        assert set(read) == set(FILES)
        with pytest.raises(AttributeError, match="a text tower has no 'width'"):
            library.bundle.text_tower.width  # type: ignore[union-attr]  # noqa: B018


def test_info_says_that_a_model_reads_sentences(reads: Bundle, tmp_path: Path, hashgrain: Run) -> None:
    with Library.create(tmp_path / "a.hg", reads):
        pass
    said = hashgrain("info", tmp_path / "a.hg", "--json")
    assert json.loads(said.stdout)["reads"] == "sentences"
    assert b"sentences" in hashgrain("info", tmp_path / "a.hg").stdout


def test_without_the_package_one_line_says_what_to_install(
    reads: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A library of such a model opens, and is searched by pictures, all the same."""
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with Library.create(tmp_path / "a.hg", reads) as library:
        library.add([fill(tmp_path / "pictures", 3)], workers=0)
    with Library.open(tmp_path / "a.hg") as library:
        with pytest.raises(QueryError, match=r"^this model reads sentences.*pip install 'hashgrain\[text\]'$"):
            library.search(text="red")
        assert len(library.search(1, k=3)) == 2


def test_a_smaller_model_keeps_its_tower() -> None:
    pytest.importorskip("onnx", reason="making models smaller takes the extra `train`")
    half: Callable[..., Bundle] = pytest.importorskip("hashgrain.graphs.half").halve
    weights = floats_of("eye", np.eye(3, dtype=np.float32))
    onnx = with_step(node("MatMul", ["colors", "eye"], ["result"]), tensors=[weights])
    float_model = replace(small(), onnx=onnx)
    made = half(float_model, np.zeros((2, 4, 4, 3), np.uint8))
    assert made.text_tower == float_model.text_tower
    assert made.code_digest != float_model.code_digest
