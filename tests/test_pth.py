"""Weights in .pth files of known origin: every number as torch reads it, and nothing in them is ever run."""

from __future__ import annotations

import hashlib
import io
import pickle
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="needs the train extra")
pytestmark = pytest.mark.train

from torch import nn  # noqa: E402

from hashgrain.errors import TrainingError  # noqa: E402
from hashgrain.learn.backbones import build  # noqa: E402
from hashgrain.learn.backbones.weights import read_weights  # noqa: E402


def known(file: Path) -> str:
    return f"{file}#{hashlib.sha256(file.read_bytes()).hexdigest()}"


def saved(file: Path, value: Any, *, old: bool = False) -> str:
    torch.save(value, file, _use_new_zipfile_serialization=not old)
    return known(file)


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(16, 2))


def same(found: dict[str, Any], expected: dict[str, Any]) -> bool:
    names = found.keys() == expected.keys()
    return names and all(found[n].dtype == e.dtype and torch.equal(found[n], e) for n, e in expected.items())


@pytest.mark.parametrize("old", [False, True])
def test_every_number_is_as_torch_reads_it(tmp_path: Path, old: bool) -> None:
    state = network().state_dict()
    assert same(read_weights(saved(tmp_path / "w.pth", state, old=old)), state)
    turned = OrderedDict(a=torch.arange(12.0).reshape(3, 4).T, b=torch.arange(9.0)[2:7:2], c=torch.tensor(3.0))
    shared = turned | {"d": turned["a"][1:3, ::2], "e": torch.empty(0, 4)}
    assert same(read_weights(saved(tmp_path / "w.pt", shared, old=old)), shared)


def test_every_kind_of_number_and_every_place_in_a_checkpoint_is_read(tmp_path: Path) -> None:
    kinds = ("float16", "bfloat16", "float32", "float64", "int8", "int16", "int32", "int64", "uint8", "bool")
    state = {kind: torch.tensor([0, 1, 1]).to(getattr(torch, kind)) for kind in kinds}
    assert same(read_weights(saved(tmp_path / "w.pth", state)), state)
    plain = network().state_dict()
    for value in (
        {"state_dict": plain, "epoch": 3, "args": {"lr": 0.1}},
        {"model": plain},
        {f"module.{name}": tensor for name, tensor in plain.items()},
        {name: nn.Parameter(each) if each.is_floating_point() else each for name, each in plain.items()},
    ):
        assert same(read_weights(saved(tmp_path / "w.pth", value)), dict(plain))


def test_a_backbone_takes_weights_that_are_known(tmp_path: Path) -> None:
    models = pytest.importorskip("torchvision").models
    torch.manual_seed(1)
    theirs = models.squeezenet1_1(weights=None).eval()
    weights = saved(tmp_path / "squeezenet.pth", theirs.state_dict())
    backbone = build("torchvision:squeezenet1_1", size=64, weights=weights).eval()
    pixels = torch.rand(2, 3, 64, 64)
    with torch.no_grad():
        expected = theirs.features(backbone.normalized(pixels))
        assert torch.equal(backbone.model.features(backbone.normalized(pixels)), expected)


def test_what_is_published_with_the_network_is_known_by_the_beginning_of_its_sum(tmp_path: Path) -> None:
    state = network().state_dict()
    file, digest = saved(tmp_path / "w.pth", state).split("#")
    assert same(read_weights(file, ["00000000", digest[:8]]), state)
    from hashgrain.learn.backbones.zoo import SUM

    models = pytest.importorskip("torchvision").models
    for name in ("resnet50", "alexnet", "efficientnet_b0"):
        assert all(SUM.search(each.url) for each in models.get_model_weights(name))


def test_files_of_unknown_origin_are_refused_unopened(tmp_path: Path) -> None:
    file, digest = saved(tmp_path / "w.pth", network().state_dict()).split("#")
    with pytest.raises(TrainingError, match=r"is a pickle.*weights=.*w.pth#SHA256"):
        read_weights(file, ["00000000"])
    with pytest.raises(TrainingError, match="it is another file, or a damaged one"):
        read_weights(f"{file}#{'0' * 64}")
    with pytest.raises(TrainingError, match="no weights at"):
        read_weights(f"{tmp_path / 'none.pth'}#{digest}")


class Bomb:
    def __reduce__(self) -> tuple[Any, ...]:
        return pytest.fail, ("something in the file was run",)


def zipped(parts: dict[str, bytes], how: int = zipfile.ZIP_STORED) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", how) as opened:
        for name, part in parts.items():
            opened.writestr(name, part)
    return content.getvalue()


def parts_of(file: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(file) as opened:
        return {name: opened.read(name) for name in opened.namelist()}


def test_nothing_in_a_known_file_is_run_either(tmp_path: Path) -> None:
    bombs = [pickle.dumps({"w": Bomb()}, 2), pickle.dumps(Bomb(), 2), pickle.dumps(Bomb(), 4)]
    for bomb in bombs:
        for content in (zipped({"a/data.pkl": bomb}), bomb, bomb * 6):
            (tmp_path / "w.pth").write_bytes(content)
            with pytest.raises(TrainingError, match=r"w\.pth"):
                read_weights(known(tmp_path / "w.pth"))


def test_files_made_to_be_wrong_are_errors(tmp_path: Path) -> None:
    file = tmp_path / "w.pth"
    saved(file, {"w": torch.arange(6.0).reshape(2, 3)})
    good = parts_of(file)
    (folder,) = {name.split("/")[0] for name in good}
    data = good[f"{folder}/data.pkl"]
    assert data.count(b"K\x02K\x03\x86") == 1  # the shape
    wrong = {
        "shape": {f"{folder}/data.pkl": data.replace(b"K\x02K\x03\x86", b"K\x02K\xff\x86")},
        "strides": {f"{folder}/data.pkl": data.replace(b"K\x03K\x01\x86", b"K\xffK\x01\x86")},
        "nothing": {f"{folder}/data.pkl": b""},
        "storage cut": {f"{folder}/data/0": good[f"{folder}/data/0"][:8]},
        "no storage": {f"{folder}/data/0": None},
        "kind": {f"{folder}/data.pkl": data.replace(b"FloatStorage", b"OddlyStorage")},
        "order": {f"{folder}/byteorder": b"big"},
        "no dictionary": {f"{folder}/data.pkl": pickle.dumps([1, 2], 2)},
    }
    for what, change in wrong.items():
        file.write_bytes(zipped({name: part for name, part in (good | change).items() if part is not None}))
        with pytest.raises(TrainingError, match=r"w\.pth"):
            print(what, read_weights(known(file)))
    file.write_bytes(zipped(good, zipfile.ZIP_DEFLATED))  # which torch never writes, and bombs are
    with pytest.raises(TrainingError, match="no zip that torch writes"):
        read_weights(known(file))
    saved(file, network().state_dict(), old=True)
    old = file.read_bytes()
    for cut in (10, 200, len(old) // 2, len(old) - 8):
        file.write_bytes(old[:cut])
        with pytest.raises(TrainingError, match=r"w\.pth"):
            read_weights(known(file))
