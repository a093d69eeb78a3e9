"""A bundle on disk: two digests over all it says, written whole or not at all, read from regular files only."""

import dataclasses
import itertools
import json
import os
import threading
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hashgrain import Encoder, files, inside
from hashgrain.errors import BundleError
from hashgrain.models import Bundle, TextTower, Threshold, description
from hashgrain.models import bundle_files as bundles
from made_graphs import bundle_of, node, plain_graph, with_step

DEFAULT_DIGEST = "5120bb28915109b70761645225a3f268ef59052f149a926efe0905610b2eecf2"


def small(name: str = "small", distance: int = 1) -> Bundle:
    made = bundle_of(plain_graph(), name)
    return Bundle(made.name, made.onnx, made.grains, made.size, {"same": Threshold("look", distance)}, {}, {"seed": 1})


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return small().write(tmp_path / "bundle")


def edit(folder: Path, change: Callable[[dict[str, Any]], object], *, sign: bool = False) -> None:
    """Change model.json; with `sign` as its maker would, digests and all."""
    path = folder / "model.json"
    described = json.loads(path.read_text())
    change(described)
    if sign:
        described["bundle_digest"] = description.bundle_digest(described)
    path.write_text(json.dumps(described))


# --- two digests


def test_the_digest_that_libraries_are_bound_to_is_what_it_was() -> None:
    """Issue line B3: libraries made before there were two digests keep working."""
    bundle = Bundle.read("default")
    assert bundle.code_digest == bundle.digest == Encoder(bundle).digest == DEFAULT_DIGEST


def test_words_changed_from_16_to_96_are_refused(tmp_path: Path) -> None:
    """Issue line B3: such a file labelled distance 42 "same" and passed `verify`."""
    folder = Bundle.read("default").write(tmp_path / "model")
    edit(folder, lambda described: described["words"]["same"].update(distance=96))
    with pytest.raises(BundleError, match="altered or damaged"):
        Bundle.read(folder)


@pytest.mark.parametrize(
    "change",
    [
        lambda d: d.update(name="other"),
        lambda d: d["training"].update(seed=2),
        lambda d: d["words"].clear(),
        lambda d: d.update(labels={"look": {"cat": "0" * 16}}),
        lambda d: d.update(remark="made later"),
        lambda d: d.pop("bundle_digest"),
        lambda d: d.update(bundle_digest=None),
        lambda d: d.pop("code_digest"),
        lambda d: d.update(fit="squash"),
        lambda d: d.update(format=1),
    ],
)
def test_whatever_is_changed_in_the_description_is_noticed(
    bundle: Path, change: Callable[[dict[str, Any]], object]
) -> None:
    edit(bundle, change)
    with pytest.raises(BundleError, match="altered or damaged"):
        Bundle.read(bundle)


def test_calibration_changes_the_bundle_digest_and_not_what_codes_are_bound_to() -> None:
    one, other = small(distance=1), small(distance=2)
    assert one.code_digest == other.code_digest
    assert one.bundle_digest != other.bundle_digest


def test_a_bundle_of_format_1_opens_and_is_written_as_format_2(bundle: Path) -> None:
    def older(described: dict[str, Any]) -> None:
        described.update(format=1, digest=described.pop("code_digest"))
        del described["bundle_digest"]

    edit(bundle, older)
    read = Bundle.read(bundle)
    assert read == small()
    read.write(bundle)
    described = json.loads((bundle / "model.json").read_text())
    assert (described["format"], described["bundle_digest"]) == (2, small().bundle_digest)
    assert Bundle.read(bundle) == read


def test_how_a_picture_is_fitted_enters_the_digest_where_it_is_named(tmp_path: Path) -> None:
    plain = small()
    named = Bundle(plain.name, plain.onnx, plain.grains, plain.size, fit="squash")
    assert named.code_digest != plain.code_digest
    assert Bundle.read(named.write(tmp_path / "named")) == named


@pytest.mark.parametrize(
    "key",
    [
        {"parts": {"grid": 3}},
        {"fit": "stretch"},
        {"fit": ["crop"]},
        {"fit": "crop", "parts": {"name": "halves", "windows": [[0, 0, 0.5, 1]]}},
        {"input": {"kind": "sound", "width": 4, "height": 4}},
        {"input": {"width": 4, "height": 4, "rate": 16_000}},
    ],
)
def test_a_bundle_that_encodes_in_a_way_unknown_here_is_refused(bundle: Path, key: dict[str, Any]) -> None:
    edit(bundle, lambda described: described.update(key), sign=True)
    with pytest.raises(BundleError, match="upgrade hashgrain"):
        Bundle.read(bundle)


def test_what_a_later_version_adds_is_kept(bundle: Path, tmp_path: Path) -> None:
    edit(bundle, lambda described: described.update(remark={"by": "a later version"}), sign=True)
    read = Bundle.read(bundle)
    again = Bundle.read(read.write(tmp_path / "again"))
    assert again.others == {"remark": {"by": "a later version"}}
    assert again.bundle_digest == read.bundle_digest == json.loads((bundle / "model.json").read_text())["bundle_digest"]


def test_a_loss_that_is_no_number_is_written_as_none(tmp_path: Path) -> None:
    made = bundle_of(plain_graph())
    facts: dict[Any, Any] = {"losses": (float("nan"), 1.0), 3: float("inf")}
    odd = Bundle(made.name, made.onnx, made.grains, made.size, training=facts)
    assert Bundle.read(odd.write(tmp_path / "odd")).training == {"losses": [None, 1.0], "3": None}


# --- a description that is nonsense


def with_text(old: str, new: str) -> Callable[[str], str]:
    def change(text: str) -> str:
        assert old in text
        return text.replace(old, new, 1)

    return change


NONSENSE = {
    "a width of 1e999": with_text('"width": 4', '"width": 1e999'),
    "a width of Infinity": with_text('"width": 4', '"width": Infinity'),
    "a width that is a float": with_text('"width": 4', '"width": 4.0'),
    "a width that is true": with_text('"width": 4', '"width": true'),
    "a width of thousands of digits": with_text('"width": 4', '"width": ' + "9" * 6000),
    "a width of hundreds of digits": with_text('"width": 4', '"width": ' + "9" * 600),
    "a distance of Infinity": with_text('"distance": 1', '"distance": Infinity'),
    "a distance of -Infinity": with_text('"distance": 1', '"distance": -Infinity'),
    "a distance of NaN": with_text('"distance": 1', '"distance": NaN'),
    "a distance of 1e400": with_text('"distance": 1', '"distance": 1e400'),
    "a distance that is a float": with_text('"distance": 1', '"distance": 1.5'),
    "a distance that is true": with_text('"distance": 1', '"distance": true'),
    "a distance below zero": with_text('"distance": 1', '"distance": -1'),
    "a distance past the grain": with_text('"distance": 1', '"distance": 4'),
    "a grain of bits that are a float": with_text('"look": 3', '"look": 3.0'),
    "a grain of Infinity": with_text('"look": 3', '"look": Infinity'),
    "a grain of true": with_text('"look": 3', '"look": true'),
    "a threshold at no grain": with_text('"grain": "look"', '"grain": ["look"]'),
    "a word nobody knows": with_text('"same"', '"alike"'),
    "a name that is a number": with_text('"name": "small"', '"name": 5'),
    "a name without end": with_text('"name": "small"', f'"name": "{"x" * 5000}"'),
    "an empty name": with_text('"name": "small"', '"name": ""'),
    "a label of a grain that is none": with_text('"labels": {}', '"labels": {"nose": {}}'),
    "a label with a code of another width": with_text('"labels": {}', '"labels": {"look": {"cat": "00"}}'),
    "a label with a code that is a number": with_text('"labels": {}', '"labels": {"look": {"cat": 7}}'),
    "a label without end": with_text('"labels": {}', '"labels": {"look": {"' + "x" * 5000 + '": "' + "0" * 16 + '"}}'),
    "labels in a list": with_text('"labels": {}', '"labels": {"look": []}'),
    "a key twice": with_text('"format": 2,', '"format": 2, "name": "first",'),
    "a key twice within": with_text('"seed": 1', '"seed": 1, "seed": 2'),
    "training in a list": with_text('"training": {', '"training": [], "spare": {'),
    "training nested a hundred levels": with_text('"seed": 1', '"seed": ' + "[" * 100 + "]" * 100),
    "training nested without end": with_text('"seed": 1', '"seed": ' + "[" * 200_000),
    "a format that is true": with_text('"format": 2', '"format": true'),
    "a format of 2.0": with_text('"format": 2', '"format": 2.0'),
    "a format of 1e999": with_text('"format": 2', '"format": 1e999'),
    "bytes that are no text": lambda text: text + "\udcff",
}


@pytest.mark.parametrize("what", NONSENSE)
def test_odd_values_in_a_description_are_an_error_of_ours(what: str, bundle: Path) -> None:
    """Issue line A5. The message stays short, whatever the file holds."""
    path = bundle / "model.json"
    path.write_bytes(NONSENSE[what](path.read_text()).encode(errors="surrogateescape"))
    with pytest.raises(BundleError) as caught:
        Bundle.read(bundle)
    assert len(str(caught.value)) < 600


# --- what is no file


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
@pytest.mark.parametrize("name", ["model.json", "model.onnx"])
@pytest.mark.parametrize("kind", ["a pipe", "a device", "a folder"])
def test_a_pipe_device_or_folder_for_a_file_of_a_bundle_is_refused_at_once(name: str, kind: str, bundle: Path) -> None:
    """Issue line A4: a pipe was waited for without end, a device read without end."""
    (bundle / name).unlink()
    if kind == "a pipe":
        os.mkfifo(bundle / name)
    elif kind == "a device":
        (bundle / name).symlink_to("/dev/zero")
    else:
        (bundle / name).mkdir()
    errors: list[object] = []

    def read() -> None:
        try:
            Bundle.read(bundle)
        except BundleError as error:
            errors.append(error)

    thread = threading.Thread(target=read, daemon=True)
    thread.start()
    thread.join(10)
    assert "is not a regular file" in str(errors[0])


def test_files_past_their_caps_are_refused_unread(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("model.json", "model.onnx"):
        monkeypatch.setattr(bundles, "MAX_JSON_BYTES" if name == "model.json" else "MAX_ONNX_BYTES", 1 << 20)
        with (bundle / name).open("r+b") as file:
            file.truncate(2 << 20)
        with pytest.raises(BundleError, match="is larger than 1 MB"):
            Bundle.read(bundle)
        small().write(bundle)


@pytest.mark.parametrize("over", ["model.json", "model.onnx", "text.onnx", "tokenizer.json", "size"])
def test_what_could_not_be_read_again_is_not_written(
    over: str, bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = {path.name: path.read_bytes() for path in bundle.iterdir()}
    made = dataclasses.replace(small("other"), text_tower=TextTower(b"graph", b"words", 8, 0))
    caps = {"model.json": "JSON", "model.onnx": "ONNX", "text.onnx": "TEXT", "tokenizer.json": "TOKENIZER"}
    if over == "size":
        made = dataclasses.replace(made, size=(4, description.MAX_INPUT_EDGE + 1))
    else:
        monkeypatch.setattr(bundles, f"MAX_{caps[over]}_BYTES", 4)
    reason = "takes pictures of 4x2049 px.*at most 2,048" if over == "size" else f"^{over} of model 'other' is larger"
    (tmp_path / "library").mkdir()
    for write in (
        lambda: made.write(tmp_path / "new"),
        lambda: made.write(bundle),
        lambda: made.write_inside(tmp_path / "library"),
    ):
        with pytest.raises(BundleError, match=reason):
            write()
    assert {path.name: path.read_bytes() for path in bundle.iterdir()} == there
    assert not (tmp_path / "new").exists()
    assert not list((tmp_path / "library").iterdir())


def test_a_bundle_whose_files_are_links_is_read_but_not_inside_a_library(tmp_path: Path, bundle: Path) -> None:
    """Download caches link to their files; in a library from a stranger a link may lead anywhere."""
    linked = tmp_path / "library.hg" / "model"
    linked.mkdir(parents=True)
    for name in ("model.json", "model.onnx"):
        (linked / name).symlink_to(bundle / name)
    assert Bundle.read(linked) == small()
    with pytest.raises(BundleError, match="is a link"):
        Bundle.read_inside(linked.parent)
    other = tmp_path / "other.hg"
    other.mkdir()
    (other / "model").symlink_to(bundle)
    with pytest.raises(BundleError, match="is a link"):
        Bundle.read_inside(other)


def test_the_copy_in_a_library_is_written_through_no_link(tmp_path: Path, bundle: Path) -> None:
    outside = tmp_path / "outside"
    outside.write_text("mine")
    library = tmp_path / "library.hg"
    (library / "model").mkdir(parents=True)
    for name in ("model.json", "model.onnx", "model.next.onnx"):
        (library / "model" / name).symlink_to(outside)
    small().write_inside(library)
    assert Bundle.read_inside(library) == small()
    assert outside.read_text() == "mine"
    elsewhere = tmp_path / "elsewhere.hg"
    elsewhere.mkdir()
    (elsewhere / "model").symlink_to(bundle)
    before = (bundle / "model.json").read_bytes()
    with pytest.raises(OSError, match="link"):
        small("other").write_inside(elsewhere)
    assert (bundle / "model.json").read_bytes() == before


# --- written whole or not at all


class StoppedError(Exception):
    """As if the power went."""


@pytest.mark.parametrize("inside_a_library", [False, True])
@pytest.mark.parametrize("first", [False, True])
def test_a_write_stopped_anywhere_leaves_the_old_bundle_or_the_new_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, inside_a_library: bool, first: bool
) -> None:
    """Issue line B3: stopped before each of its steps; and writing again then does what it says."""
    old = small("old")
    new = Bundle("new", Bundle.read("default").onnx, small().grains, (4, 4), training={"seed": 2})
    for stop in range(1, 40):
        library = tmp_path / f"library{stop}"
        library.mkdir()
        folder = library / "model"
        if not first:
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
        try:
            read = Bundle.read_inside(library) if inside_a_library else Bundle.read(folder)
        except BundleError:
            assert first
        else:
            assert read in (old, new)
        for again in (old, new):
            again.write_inside(library) if inside_a_library else again.write(folder)
            assert Bundle.read(folder) == again
            assert sorted(p.name for p in folder.iterdir() if not p.name.startswith(".")) == [
                "model.json",
                "model.onnx",
            ]
    else:
        raise AssertionError("the write never ended")
    assert stop > 5
    assert Bundle.read(folder) == new


def _stop_after(monkeypatch: pytest.MonkeyPatch, steps: int) -> Callable[[], int]:
    """From the step on that changes the disk for the so-manieth time, nothing is done any more."""
    count = [0]

    def stops(real: Callable[..., Any]) -> Callable[..., Any]:
        def step(*args: Any, **options: Any) -> Any:
            count[0] += 1
            if count[0] >= steps:
                raise StoppedError
            return real(*args, **options)

        return step

    for module, name in ((files, "sync"), (os, "replace"), (os, "unlink"), (files, "sync_folder")):
        monkeypatch.setattr(module, name, stops(getattr(module, name)))
    return lambda: count[0]


def test_every_file_and_folder_is_synced_and_the_description_comes_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log: list[str] = []
    real = {name: getattr(module, name) for module, name in ((files, "sync"), (files, "sync_folder"), (os, "replace"))}

    def replace(old: Any, new: Any, **options: Any) -> None:
        log.append(f"name {Path(new).name}")
        real["replace"](old, new, **options)

    monkeypatch.setattr(files, "sync", lambda file: (log.append("sync"), real["sync"](file))[1])
    monkeypatch.setattr(
        files, "sync_folder", lambda at: (log.append(f"sync {Path(at).name}"), real["sync_folder"](at))[1]
    )
    monkeypatch.setattr(os, "replace", replace)
    (tmp_path / "parent").mkdir()
    small().write(tmp_path / "parent" / "new")
    whole = [
        "sync",
        "name model.next.onnx",
        "sync new",
        "sync",
        "name model.json",
        "sync new",
        "name model.onnx",
        "sync new",
    ]
    assert log == [*whole, "sync parent"]


def test_a_full_disk_leaves_the_bundle_that_stood_there(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files, "sync", full)
    with pytest.raises(OSError, match="No space left"):
        small("other").write(bundle)
    assert Bundle.read(bundle) == small()
    assert sorted(path.name for path in bundle.iterdir()) == ["model.json", "model.onnx"]
    with pytest.raises(OSError, match="No space left"):
        small("other").write(bundle.parent / "new")
    assert not (bundle.parent / "new").exists()


def test_a_bundle_read_while_others_are_written_is_one_of_them(bundle: Path) -> None:
    graphs = [plain_graph(), with_step(node("Neg", ["colors"], ["result"]))]
    stop = threading.Event()

    def write() -> None:
        for number in itertools.count():
            bundle_of(graphs[number % 2], f"number {number}").write(bundle)
            if stop.wait(0.005):
                return

    thread = threading.Thread(target=write)
    thread.start()
    try:
        for _ in range(100):
            read = Bundle.read(bundle)
            assert read.name == "small" or read.onnx == graphs[int(read.name.removeprefix("number ")) % 2]
    finally:
        stop.set()
        thread.join()


def test_inside_reads_what_was_written_inside(tmp_path: Path) -> None:
    small().write_inside(tmp_path)
    assert inside.is_file(tmp_path, "model", "model.json")
    assert Bundle.read_inside(tmp_path) == Bundle.read(tmp_path / "model") == small()


def test_reading_takes_memory_for_what_is_there_not_for_what_may_be(tmp_path: Path) -> None:
    (tmp_path / "small").write_bytes(b"two megabytes" * 160_000)
    tracemalloc.start()
    try:
        assert len(files.read_regular(tmp_path / "small", 1 << 30)) == 2_080_000
        assert tracemalloc.get_traced_memory()[1] < 8 << 20
    finally:
        tracemalloc.stop()
