"""Bundles are checked before use; a picture's code depends on the picture alone."""

import json
from pathlib import Path

import numpy as np
import pytest

from conftest import make_picture
from hashgrain import Codes, Encoder, Grains
from hashgrain.errors import BundleError, ImageError
from hashgrain.models import Bundle


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    return Encoder.load()


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return Bundle.read("default").write(tmp_path / "bundle")


def edit(bundle: Path, **changes: object) -> None:
    path = bundle / "model.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def test_the_default_model_has_the_promised_grains_and_size(encoder: Encoder) -> None:
    assert encoder.grains == Grains(kind=32, thing=64, look=128)
    assert len(encoder.bundle.onnx) < 10_000_000
    assert set(encoder.bundle.words) == {"same", "near", "related"}


def test_all_ways_to_give_a_picture_give_one_code(encoder: Encoder, tmp_path: Path) -> None:
    path = tmp_path / "picture.png"
    image = make_picture(1)
    image.save(path)
    ways = [path, str(path), path.read_bytes(), image, np.asarray(image)]
    codes = encoder.encode(ways)
    assert len(codes) == 5
    assert len(np.unique(codes.words, axis=0)) == 1


@pytest.mark.parametrize("n", [1, 2, 31, 32, 33, 70])
def test_a_code_does_not_depend_on_its_neighbours_in_the_batch(encoder: Encoder, n: int) -> None:
    pixels = np.stack([np.asarray(make_picture(seed, (64, 64))) for seed in range(70)])
    alone = np.concatenate([encoder.outputs(pixels[i : i + 1]) for i in range(n)])
    np.testing.assert_array_equal(encoder.outputs(pixels[:n]), alone)


def test_different_pictures_get_different_codes(encoder: Encoder) -> None:
    codes = encoder.encode([make_picture(seed) for seed in range(30)])
    assert len(np.unique(codes.words, axis=0)) >= 25


def test_decoding_in_processes_gives_the_same_codes(encoder: Encoder, pictures: Path) -> None:
    paths = sorted(pictures.iterdir())
    apart = [code for _, code in encoder.encode_each(((p, p) for p in paths), workers=2)]
    assert Codes.concatenate(apart) == encoder.encode(paths)


def test_progress_counts_every_picture(encoder: Encoder) -> None:
    counted: list[int] = []
    encoder.encode([make_picture(seed) for seed in range(5)], progress=counted.append)
    assert counted == [1, 2, 3, 4, 5]


def test_encode_names_the_picture_it_cannot_open(encoder: Encoder, tmp_path: Path) -> None:
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"\xff\xd8 not really")
    with pytest.raises(ImageError, match=r"broken\.jpg"):
        encoder.encode([make_picture(0), broken])


def test_nothing_in_nothing_out(encoder: Encoder) -> None:
    assert len(encoder.encode([])) == 0
    outputs, features = encoder.outputs_and_features(np.empty((0, 64, 64, 3), np.uint8))
    assert outputs.shape == (0, 128)
    assert len(features) == 0


def test_pixels_of_another_size_or_type_are_refused(encoder: Encoder) -> None:
    with pytest.raises(ImageError, match="uint8"):
        encoder.outputs(np.zeros((1, 64, 64, 3), np.float32))
    with pytest.raises(ImageError, match="64"):
        encoder.outputs(np.zeros((1, 32, 32, 3), np.uint8))


def test_a_bundle_survives_a_round_trip(bundle: Path) -> None:
    original, read = Bundle.read("default"), Bundle.read(bundle)
    assert read == original
    assert read.digest == original.digest


def test_a_missing_bundle_says_what_a_bundle_is(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"model\.onnx and model\.json"):
        Encoder.load(tmp_path / "nothing")
    (tmp_path / "empty").mkdir()
    with pytest.raises(BundleError, match=r"cannot read .*model\.json"):
        Encoder.load(tmp_path / "empty")


@pytest.mark.parametrize("position", [0, 1000, -1])
def test_a_changed_byte_in_the_graph_is_noticed(bundle: Path, position: int) -> None:
    content = bytearray((bundle / "model.onnx").read_bytes())
    content[position] ^= 1
    (bundle / "model.onnx").write_bytes(content)
    with pytest.raises(BundleError, match="altered or damaged"):
        Bundle.read(bundle)


@pytest.mark.parametrize(
    "changes",
    [
        {"grains": {"kind": 32, "look": 64}},
        {"input": {"width": 32, "height": 32}},
        {"digest": "0" * 64},
        {"onnx_sha256": "0" * 64},
    ],
)
def test_a_changed_meaning_of_the_codes_is_noticed(bundle: Path, changes: dict[str, object]) -> None:
    edit(bundle, **changes)
    with pytest.raises(BundleError):
        Bundle.read(bundle)


@pytest.mark.parametrize(
    "changes",
    [
        {"grains": {}},
        {"grains": {"kind": -1}},
        {"grains": [1, 2]},
        {"grains": {"kind": 10**9}},
        {"input": {"width": 10**9, "height": 1}},
        {"input": None},
        {"words": {"same": {"grain": "nose", "distance": 1}}},
        {"words": {"same": {"grain": "look", "distance": "many"}}},
        {"labels": 3},
        {"format": "new"},
    ],
)
def test_a_nonsense_description_is_refused(bundle: Path, changes: dict[str, object]) -> None:
    edit(bundle, **changes)
    with pytest.raises(BundleError, match=r"model\.json|bundle"):
        Bundle.read(bundle)


def test_a_newer_bundle_is_refused_with_the_remedy(bundle: Path) -> None:
    edit(bundle, format=99)
    with pytest.raises(BundleError, match="upgrade hashgrain"):
        Bundle.read(bundle)


@pytest.mark.parametrize("text", ["", "{", "[]", "[" * 100_000, '{"format": 1}'])
def test_json_that_is_none_is_refused(bundle: Path, text: str) -> None:
    (bundle / "model.json").write_text(text)
    with pytest.raises(BundleError):
        Bundle.read(bundle)


def test_a_graph_that_is_none_is_refused_even_with_a_fitting_digest(tmp_path: Path) -> None:
    good = Bundle.read("default")
    for onnx in (b"", b"\x00" * 100, good.onnx[: len(good.onnx) // 2]):
        bad = Bundle("bad", onnx, good.grains, good.size)
        with pytest.raises(BundleError, match="bad"):
            Encoder.load(bad.write(tmp_path / "bad"))


def test_a_graph_of_another_width_is_refused() -> None:
    good = Bundle.read("default")
    with pytest.raises(BundleError, match="128 outputs"):
        Encoder(Bundle("narrow", good.onnx, Grains(look=64), good.size))
