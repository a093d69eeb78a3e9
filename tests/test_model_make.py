"""`hashgrain model make`: any network becomes a model whose codes rank as its features do, words included."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from hashgrain import Library
from hashgrain.errors import TrainingError
from hashgrain.models import Bundle, Encoder
from made_networks import COLORS, SIDE, onnx_pair, open_clip_folder, save_onnx, vision_onnx

pytest.importorskip("torch", reason="needs the train extra")
pytest.importorskip("timm", reason="needs the train extra")
pytestmark = pytest.mark.train

from hashgrain.learn.encoders import fitting  # noqa: E402
from hashgrain.learn.encoders.make import KEY, Order, grains_of, make_model  # noqa: E402

COUNT = 60
BITS = (8, 16)


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sixty pictures of one color each, more or less: red, green or blue, as the name says."""
    folder = tmp_path_factory.mktemp("shown")
    for number in range(COUNT):
        random = np.random.default_rng(number)
        color = COLORS[number % 3] * 160 + random.integers(0, 60, 3)
        pixels = np.clip(color + random.normal(0, 20, (48, 64, 3)), 0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"{('red', 'green', 'blue')[number % 3]}-{number:02}.png")
    return folder


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """A tenth of the steps: these networks have a dozen numbers."""
    settings = fitting.settings_for
    monkeypatch.setattr(fitting, "settings_for", lambda grains: dataclasses.replace(settings(grains), steps=150))


def made(source: str | Path, pictures: Path, at: Path, say: Any = lambda text: None, **asked: Any) -> dict[str, Any]:
    order = Order("mine", str(source), pictures, at / "mine", at / "run", **{"bits": BITS, **asked})
    return make_model(order, say)


def test_codes_rank_pictures_as_the_features_of_the_network_do(shown: Path, tmp_path: Path) -> None:
    told = made(f"onnx:{vision_onnx(tmp_path / 'net.onnx')}", shown, tmp_path, size=SIDE)
    encoder = Encoder.load(tmp_path / "mine")
    paths = sorted(shown.iterdir())
    features = encoder.features([str(path) for path in paths])
    centered = features - features.mean(axis=0)
    centered /= np.linalg.norm(centered, axis=1, keepdims=True)
    bits = encoder.encode([str(path) for path in paths]).bits() * 2.0 - 1
    away = ~np.eye(COUNT, dtype=bool)
    assert np.corrcoef((centered @ centered.T)[away], (bits @ bits.T)[away])[0, 1] > 0.7
    assert told["grains"] == {"thing": 8, "look": 16}
    assert told["pictures"] == COUNT - COUNT // 3


def test_the_graph_computes_the_head_on_centered_features_of_length_one(shown: Path, tmp_path: Path) -> None:
    import onnx
    from onnx import numpy_helper

    made(f"onnx:{vision_onnx(tmp_path / 'net.onnx')}", shown, tmp_path, size=SIDE)
    bundle = Bundle.read(tmp_path / "mine")
    held = {each.name: numpy_helper.to_array(each) for each in onnx.load_from_string(bundle.onnx).graph.initializer}
    pixels = np.random.default_rng(3).integers(0, 256, (5, SIDE, SIDE, 3), np.uint8)
    outputs, features = Encoder(bundle).outputs_and_features(pixels)
    rows = features - held["head0.Sub.weights"]
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    assert np.allclose(outputs, rows @ held["head0.MatMul.weights"] + held["head0.Add.weights"], atol=1e-4)


def test_the_same_pictures_and_seed_give_the_same_bundle(shown: Path, tmp_path: Path) -> None:
    net = vision_onnx(tmp_path / "net.onnx")
    first = made(f"onnx:{net}", shown, tmp_path / "a", size=SIDE)
    renamed = tmp_path / "renamed"
    renamed.mkdir()
    for number, path in enumerate(sorted(shown.iterdir(), reverse=True)):
        (renamed / f"{number}.png").write_bytes(path.read_bytes())
    second = made(f"onnx:{net}", renamed, tmp_path / "b", size=SIDE)
    other = made(f"onnx:{net}", shown, tmp_path / "c", size=SIDE, seed=1)
    assert Bundle.read(tmp_path / "a" / "mine") == Bundle.read(tmp_path / "b" / "mine")
    assert first["digest"] == second["digest"] != other["digest"]


def test_a_stopped_run_goes_on_with_the_features_it_has(
    shown: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from hashgrain.learn.data.kept_features import KeptFeatures
    from hashgrain.learn.encoders import make

    monkeypatch.setattr(make, "CHUNK", 16)
    source = f"onnx:{vision_onnx(tmp_path / 'net.onnx')}"

    def stop(text: str) -> None:
        if "48 pictures" in text:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        made(source, shown, tmp_path, stop, size=SIDE)
    assert not (tmp_path / "mine").exists()
    computed = []
    compute = KeptFeatures.compute

    def counted(self: KeptFeatures, pictures: Any) -> Any:
        computed.append(len(pictures))
        return compute(self, pictures)

    monkeypatch.setattr(KeptFeatures, "compute", counted)
    made(source, shown, tmp_path, size=SIDE)
    views = COUNT - COUNT // 3
    assert sum(computed) == COUNT - 48 + 2 * views
    again = made(source, shown, tmp_path / "other", size=SIDE)["digest"]
    assert Bundle.read(tmp_path / "mine").code_digest == again


@pytest.mark.parametrize("family", ["clip", "siglip2"])
def test_phrases_find_pictures_through_the_text_half(family: str, shown: Path, tmp_path: Path) -> None:
    pytest.importorskip("tokenizers", reason="needs the text extra")
    told = made(f"folder:{onnx_pair(tmp_path / 'pair', family)}", shown, tmp_path)
    assert told["text"]
    with Library.create(tmp_path / "library", tmp_path / "mine") as library:
        library.add([shown])
        for color in ("red", "blue"):
            best = [Path(hit.path).name.split("-")[0] for hit in library.search(text=f"a photo of {color}", k=8)]
            assert best.count(color) >= 6, best


def test_the_lock_survives_in_the_copy_of_a_library_and_is_shown(shown: Path, tmp_path: Path, hashgrain: Any) -> None:
    source = f"onnx:{vision_onnx(tmp_path / 'net.onnx')}"
    made(source, shown, tmp_path, size=SIDE)
    with Library.create(tmp_path / "library", tmp_path / "mine"):
        pass
    lock = Bundle.read(tmp_path / "library" / "model").others[KEY]
    assert lock["source"] == source
    assert set(lock["files"]) == {"net.onnx"}
    assert lock["license"].startswith("not stated: look at ")
    assert json.loads(hashgrain("model", "show", tmp_path / "mine", "--json").stdout)["files"] == lock["files"]
    assert b"not stated" in hashgrain("model", "show", tmp_path / "mine").stdout
    assert b"photo" in hashgrain("model", "show", "photo").stdout


def test_without_enough_pairs_hits_have_no_words(shown: Path, tmp_path: Path) -> None:
    told = made(f"onnx:{vision_onnx(tmp_path / 'net.onnx')}", shown, tmp_path, size=SIDE)
    bundle = Bundle.read(tmp_path / "mine")
    assert (told["words"], dict(bundle.calibration), dict(bundle.words)) == (False, {}, {})
    with Library.create(tmp_path / "library", bundle) as library:
        library.add([shown])
        assert {hit.word for hit in library.search(shown / "red-00.png")} == {""}


def test_with_enough_pairs_only_the_finest_grain_has_words() -> None:
    from hashgrain.learn.encoders.fitting import Head, Sets, calibrated

    random = np.random.default_rng(0)
    rows = random.normal(size=(fitting.HELD_OUT, 40)).astype(np.float32)
    near = [rows[:50] + random.normal(0, 0.1, (50, 40)).astype(np.float32) for _ in range(3)]
    none = np.zeros((0, 40), np.float32)
    head = Head(np.zeros(40, np.float32), random.normal(size=(40, 64)), np.zeros(64))
    grains = grains_of((16, 64))
    found = calibrated(head, Sets(rows, none, none, none, rows, near, [], []), grains)
    assert set(found) == {"look"}
    words = found["look"].words
    assert words["same"] <= words["near"] <= words["related"] < 32
    assert found["look"].probabilities[0] > 0.9
    few = Sets(rows, none, none, none, rows[:400], near, [], [])
    assert calibrated(head, few, grains) == {}


def refuses(reason: str, source: str | Path, pictures: Path, at: Path, **asked: Any) -> None:
    with pytest.raises(TrainingError, match=reason) as caught:
        made(source, pictures, at, **asked)
    assert "\n" not in str(caught.value)
    assert not (at / "mine").exists()


def test_too_few_pictures_are_refused_with_how_many_it_takes(shown: Path, tmp_path: Path) -> None:
    source = f"onnx:{vision_onnx(tmp_path / 'net.onnx')}"
    refuses("60 different pictures .* too few for 64 bits; give at least 96", source, shown, tmp_path, bits=(64,))
    mixed = tmp_path / "mixed"
    mixed.mkdir()
    for path in sorted(shown.iterdir())[:30]:
        (mixed / path.name).write_bytes(path.read_bytes())
    for number in range(10):
        (mixed / f"cut-{number}.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes([number]))
    refuses(
        r"30 different pictures .* 24 bits \(10 cannot be opened, such as cut-",
        source,
        mixed,
        tmp_path,
        bits=(24,),
        size=SIDE,
    )
    told = made(source, mixed, tmp_path, size=SIDE)
    assert len(told["refused"]) == 10


def test_features_that_tell_nothing_apart_or_are_no_numbers_are_refused(shown: Path, tmp_path: Path) -> None:
    from onnx import TensorProto, helper

    def network(factor: float) -> str:
        nodes = [
            helper.make_node("ReduceMean", ["x"], ["mean"], axes=[2, 3], keepdims=0),
            helper.make_node("Mul", ["mean", "factor"], ["features"]),
        ]
        takes = {"x": (TensorProto.FLOAT, ["n", 3, SIDE, SIDE])}
        gives = {"features": (TensorProto.FLOAT, ["n", 3])}
        return f"onnx:{save_onnx(tmp_path / 'n.onnx', nodes, {'factor': np.float32(factor)}, takes, gives)}"

    refuses("gives the same features for every picture", network(0), shown, tmp_path)
    refuses("features that are NaN or infinite", network(np.nan), shown, tmp_path)


def test_an_order_that_cannot_be_is_refused_before_anything_is_read(shown: Path, tmp_path: Path) -> None:
    for bits, reason in (
        ((16, 8), "increasing widths"),
        ((8, 16, 32, 64), "one to three increasing widths"),
        ((0,), "look has 0 bits"),
    ):
        refuses(reason, "onnx:/nowhere", shown, tmp_path, bits=bits)
    (tmp_path / "mine").write_text("something else")
    with pytest.raises(TrainingError, match="is there and is no model"):
        made("onnx:/nowhere", shown, tmp_path)
    for name, reason in (("photo", "is a model of the package"), ("a/b", "cannot be a model's name")):
        with pytest.raises(TrainingError, match=reason):
            make_model(Order(name, "onnx:/x", shown, tmp_path / "o", tmp_path / "r"), lambda text: None)


def test_what_no_bundle_could_hold_is_refused_before_features_are_computed(
    shown: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from hashgrain.errors import BundleError
    from hashgrain.models import bundle_files as bundles
    from hashgrain.models import description

    source = f"onnx:{vision_onnx(tmp_path / 'net.onnx')}"
    refuses("size 2049: it takes 1 to 2,048 pixels", "onnx:/nowhere", shown, tmp_path, size=2049)
    for thing, name, value, reason in (
        (description, "MAX_INPUT_EDGE", SIDE - 1, "takes pictures of 32x32 px"),
        (bundles, "MAX_ONNX_BYTES", 1000, "^model.onnx of model 'mine' is larger"),
    ):
        with monkeypatch.context() as less:
            less.setattr(thing, name, value)
            with pytest.raises(BundleError, match=reason):
                made(source, shown, tmp_path, size=SIDE)
    assert not (tmp_path / "run").exists()


def test_the_command_makes_a_model_and_says_what_it_could_not_open(shown: Path, tmp_path: Path, hashgrain: Any) -> None:
    net = vision_onnx(tmp_path / "net.onnx")
    arguments = ["--from", f"onnx:{net}", "--pictures", shown, "--bits", "8,16", "--size", SIDE]
    done = hashgrain("model", "make", "mine", *arguments)
    assert done.returncode == 0, done.stderr
    assert done.stdout == b"mine\n"
    assert b"features of pictures" in done.stderr
    assert (tmp_path / "mine" / "model.json").is_file()
    failed = hashgrain("model", "make", "mine", *arguments[:2], "--pictures", shown, "--bits", "8;16")
    assert failed.returncode == 1
    assert failed.stderr.decode().startswith("error: --bits 8;16: whole numbers")


def test_a_pair_of_open_clip_is_searched_by_phrases(shown: Path, tmp_path: Path) -> None:
    pytest.importorskip("open_clip", reason="open_clip_torch is not installed")
    pytest.importorskip("tokenizers", reason="needs the text extra")
    open_clip_folder(tmp_path / "pair")
    told = made(f"folder:{tmp_path / 'pair'}", shown, tmp_path)
    assert (told["text"], told[KEY]["feature"]) == (True, "image embedding, in one space with text")
    with Library.create(tmp_path / "library", tmp_path / "mine") as library:
        library.add([shown])
        first = [hit.path for hit in library.search(text="a photo of a red car", k=5)]
        assert len(first) == 5
        assert first != [hit.path for hit in library.search(text="snow on a mountain", k=5)]
