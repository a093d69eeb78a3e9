"""Detectors: what they find in pictures becomes parts. The detector of these tests finds what is red."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from conftest import Run, make_picture
from hashgrain import Library
from hashgrain.errors import BundleError, LibraryError
from hashgrain.models import Bundle, Encoder
from hashgrain.models.detail import detail_named
from hashgrain.models.detector import MOST, Detector
from made_graphs import FLOAT, UINT8, floats, inner, integers, model, node, value, whole

LOW = len(detail_named("low").windows)
BOX = (130, 70, 210, 150)  # of a thing, in pixels of a picture of 320 x 240


def detector_graph(
    nodes: Sequence[bytes], tensors: Sequence[bytes], shape: Sequence[int | str], kind: int = UINT8, takes: int = 1
) -> bytes:
    parts = [inner(1, each) for each in nodes] + [inner(2, "made")] + [inner(5, each) for each in tensors]
    parts += [inner(11, value(f"picture{i or ''}", kind, shape)) for i in range(takes)]
    parts += [inner(12, value("boxes", FLOAT, ["n", 4])), inner(12, value("scores", FLOAT, ["n"]))]
    return model(b"".join(parts))


def red_detector() -> bytes:
    """One box around all that is red, in pixels; its score is 1 if there is any."""
    last = [whole("select_last_index", 1)]
    nodes = [
        node("Cast", ["picture"], ["floats"], [whole("to", FLOAT)]),
        node("Gather", ["floats", "first"], ["red"], [whole("axis", 3)]),
        node("Gather", ["floats", "second"], ["green"], [whole("axis", 3)]),
        node("Greater", ["red", "bright"], ["is_red"]),
        node("Less", ["green", "dark"], ["is_not_green"]),
        node("And", ["is_red", "is_not_green"], ["mask"]),
        node("Cast", ["mask"], ["marks"], [whole("to", FLOAT)]),
        node("ReduceMax", ["marks", "across"], ["rows"], [whole("keepdims", 0)]),
        node("ReduceMax", ["marks", "down"], ["columns"], [whole("keepdims", 0)]),
        node("ReduceMax", ["marks", "both"], ["scores"], [whole("keepdims", 0)]),
        *(
            node("ArgMax", [axis], [name], [whole("axis", 1), *more])
            for axis, name, more in (
                ("columns", "left", []),
                ("rows", "top", []),
                ("columns", "right", last),
                ("rows", "bottom", last),
            )
        ),
        node("Concat", ["left", "top", "right", "bottom"], ["edges"], [whole("axis", 1)]),
        node("Cast", ["edges"], ["corners"], [whole("to", FLOAT)]),
        node("Add", ["corners", "one"], ["boxes"]),
    ]
    tensors = [
        integers("across", 2),
        integers("down", 1),
        integers("both", 1, 2),
        floats("bright", 180.0),
        floats("dark", 90.0),
        floats("one", 0.0, 0.0, 1.0, 1.0),
        *(inner_scalar(name, index) for name, index in (("first", 0), ("second", 1))),
    ]
    return detector_graph(nodes, tensors, [1, "height", "width", 3])


def inner_scalar(name: str, number: int) -> bytes:
    from made_graphs import INT64, tensor

    return tensor(name, INT64, [], number.to_bytes(8, "little"))


def constant_detector(boxes: Sequence[float], scores: Sequence[float], *, width: int = 4, takes: int = 1) -> bytes:
    """A detector that always gives the same."""
    nodes = [
        node("Reshape", ["all", "rows"], ["boxes"]),
        node("Identity", ["sure"], ["scores"]),
    ]
    tensors = [floats("all", *boxes), floats("sure", *scores), integers("rows", -1, width)]
    return detector_graph(nodes, tensors, [1, 3, 8, 8], kind=FLOAT, takes=takes)


def written(path: Path, graph: bytes) -> str:
    path.write_bytes(graph)
    return f"onnx:{path}"


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    return Encoder(Bundle.read("photo"))


@pytest.fixture
def red(tmp_path: Path) -> str:
    return written(tmp_path / "red.onnx", red_detector())


def scene(index: int, *, thing: bool = True) -> Image.Image:
    """A gray picture; with a red-framed thing at BOX."""
    gray = make_picture(index, size=(320, 240)).convert("L").convert("RGB")
    if thing:
        gray.paste(Image.new("RGB", (80, 80), (230, 20, 20)), BOX[:2])
        gray.paste(make_picture(index + 500, size=(60, 60)).convert("L").convert("RGB"), (BOX[0] + 10, BOX[1] + 10))
    return gray


@pytest.fixture
def scenes(tmp_path: Path) -> Path:
    folder = tmp_path / "scenes"
    folder.mkdir()
    for index in range(4):
        scene(index, thing=index < 3).save(folder / f"{index}.png")
    return folder


def positions(library: Library) -> list[np.ndarray | None]:
    with library.store.snapshot(parts=True) as snapshot:
        found = snapshot.parts_of([item.id for item in snapshot.paths()])
        return [None if parts is None else parts.positions for parts in found]


def test_what_is_found_becomes_a_part_and_is_found_by_its_picture(
    red: str, scenes: Path, encoder: Encoder, tmp_path: Path
) -> None:
    expected = np.array(BOX) / [320, 240, 320, 240]
    with Library.create(tmp_path / "l.hg", encoder) as library:
        report = library.add(scenes, detail="low", detector=red)
        assert (report.added, report.detected) == (4, 3)
        boxes = positions(library)
        assert boxes[3] is None  # only the grid: no positions are kept
        for each in boxes[:3]:
            assert each is not None
            assert len(each) == LOW + 1
            np.testing.assert_array_equal(each[:LOW], np.array(detail_named("low").windows, np.float32))
            np.testing.assert_allclose(each[LOW], expected, atol=0.01)
        hit = library.search(scene(1).crop(BOX), k=1)[0]
        assert Path(hit.path).name == "1.png"
        assert hit.part is not None
        assert hit.part.box == pytest.approx(expected, abs=0.01)
        assert hit.part.index == LOW + 1


def test_the_part_has_the_code_of_its_own_picture(red: str, scenes: Path, encoder: Encoder, tmp_path: Path) -> None:
    with Library.create(tmp_path / "l.hg", encoder) as library:
        library.add(scenes / "0.png", detail="low", detector=red)
        with library.store.snapshot(parts=True) as snapshot:
            (parts,) = snapshot.parts_of([item.id for item in snapshot.paths()])
    assert parts is not None
    crop = encoder.encode(scene(0).crop(BOX)).words[0]
    bits = int(np.bitwise_count(parts.codes[LOW] ^ crop).sum())
    assert bits < 0.1 * encoder.grains.bits  # resized twice, so not to the last bit
    others = np.bitwise_count(parts.codes[:LOW] ^ crop).sum(axis=1)
    assert bits < others.min()


def test_parts_added_later_have_what_is_found(red: str, scenes: Path, hashgrain: Run, tmp_path: Path) -> None:
    at_once, later = tmp_path / "a.hg", tmp_path / "b.hg"
    done = hashgrain("add", at_once, scenes, "--model", "photo", "--detail", "low", "--detector", red, "--json")
    assert json.loads(done.stdout)["detected"] == 3
    assert hashgrain("add", later, scenes, "--no-parts", "--model", "photo").returncode == 0
    done = hashgrain("parts", later, "--add", "--detail", "low", "--detector", red)
    assert b"the detector found 3 parts" in done.stdout
    with Library.open(at_once) as one, Library.open(later) as two:
        for first, second in zip(positions(one), positions(two), strict=True):
            np.testing.assert_array_equal(first, second)  # type: ignore[arg-type]


def test_boxes_are_chosen_by_score_and_size(tmp_path: Path) -> None:
    boxes = [
        (0.1, 0.1, 0.5, 0.5, 0.9),
        (0.11, 0.1, 0.5, 0.5, 0.8),  # the same as the one before
        (0.5, 0.5, 0.9, 0.9, 0.4),  # not sure
        (0.5, 0.5, 0.505, 0.9, 0.9),  # too narrow
        (0.6, 0.6, 0.2, 0.2, 0.9),  # turned round
        (-0.5, 0.2, 0.4, 1.5, 0.95),  # reaches outside
    ]
    graph = constant_detector([edge for *box, _ in boxes for edge in box], [score for *_, score in boxes])
    found = Detector(written(tmp_path / "d.onnx", graph)).boxes(np.zeros((50, 40, 3), np.uint8))
    np.testing.assert_allclose(found, [(0.0, 0.2, 0.4, 1.0), (0.1, 0.1, 0.5, 0.5)], atol=1e-6)


def test_boxes_may_be_in_pixels_and_are_limited(tmp_path: Path) -> None:
    many = [(x, y, x + 2, y + 2) for x in range(6) for y in range(6)]  # of a picture of 8 x 8
    graph = constant_detector([edge for box in many for edge in box], [0.6 + 0.01 * i for i in range(36)])
    found = Detector(written(tmp_path / "d.onnx", graph)).boxes(np.zeros((50, 40, 3), np.uint8))
    assert found == [tuple(edge / 8 for edge in box) for box in many[::-1][:MOST]]


NAN = float("nan")


@pytest.mark.parametrize(
    ("graph", "said"),
    [
        (constant_detector([0, 0, 1] * 4, [1.0] * 4, width=3), r"gives boxes \(4, 3\) and scores \(4,\)"),
        (constant_detector([0, 0, 1, 1] * 2, [1.0]), r"they must be \(n, 4\) and \(n\)"),
        (constant_detector([NAN, 0, 1, 1], [1.0]), "no numbers"),
        (constant_detector([0, 0, 1, 1], [NAN]), "no numbers"),
        (constant_detector([0, 0, 1, 1], [1.0], takes=2), "must take one picture"),
        (detector_graph([node("Identity", ["b"], ["boxes"])], [floats("b", 0)], [1, 3, 8, 8]), "nothing makes"),
        (b"no graph", "not an ONNX model"),
        (Bundle.read("small").onnx, "must take one picture|must give `boxes` and `scores`"),
    ],
)
def test_a_detector_with_odd_outputs_is_refused_before_there_is_a_library(
    graph: bytes, said: str, hashgrain: Run, scenes: Path, tmp_path: Path
) -> None:
    given = written(tmp_path / "odd.onnx", graph)
    with pytest.raises(BundleError, match=said):
        Detector(given)
    done = hashgrain("add", tmp_path / "l.hg", scenes, "--detector", given)
    assert (done.returncode, b"Traceback" in done.stderr) == (1, False)
    assert not (tmp_path / "l.hg").exists()


def test_what_cannot_be_used_is_named(red: str, scenes: Path, encoder: Encoder, hashgrain: Run, tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"given as onnx:FILE, not 'red\.onnx'"):
        Detector("red.onnx")
    with pytest.raises(BundleError, match="cannot be read: No such file"):
        Detector("onnx:nowhere.onnx")
    done = hashgrain("add", tmp_path / "l.hg", scenes, "--detector", red, "--no-parts")
    assert (done.returncode, b"does not go with --no-parts" in done.stderr) == (2, True)
    done = hashgrain("parts", tmp_path / "l.hg", "--detector", red)
    assert done.returncode == 2
    with Library.create(tmp_path / "none.hg", encoder) as library:
        library.add(scenes / "0.png", parts=False)
        with pytest.raises(LibraryError, match="have no parts, which those that a detector finds would join"):
            library.add(scenes / "1.png", detector=red)
        assert len(library) == 1
    with (
        Library.create(tmp_path / "small.hg", Encoder(Bundle.read("small"))) as library,
        pytest.raises(LibraryError, match="gives no codes of parts"),
    ):
        library.add(scenes / "1.png", detector=red)
