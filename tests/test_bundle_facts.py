"""What a bundle declares: its input, part grid, outputs, calibration, license, provenance."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hashgrain import Encoder
from hashgrain.errors import BundleError
from hashgrain.models import Bundle, Calibration, description
from hashgrain.models.bundle import shipped_names
from hashgrain.models.description import PartGrid
from made_graphs import AXES, ENDS, FLOAT, GIVES, MEAN, SIDE, bundle_of, graph, model, node, plain_graph, value

HALVES = PartGrid("halves", ((0.0, 0.0, 0.5, 1.0), (0.5, 0.0, 1.0, 1.0)))
CODE_DIGESTS = {
    "photo": "b4afa7789d15e7479047d129fd324857312ba6b71420e314e59f18e71b36ee67",
    "small": "5120bb28915109b70761645225a3f268ef59052f149a926efe0905610b2eecf2",
}


def whole() -> Bundle:
    """A bundle that declares everything."""
    calibration = {"look": Calibration({"same": 1}, (1.0, 0.5, 0.25, 0.0))}
    return dataclasses.replace(
        bundle_of(plain_graph()),
        parts=HALVES,
        calibration=calibration,
        part_calibration={"look": Calibration({"near": 2}, (1.0, 1.0, 0.5, 0.0))},
        license="Apache-2.0",
        provenance="drawn by hand",
    )


def with_extra_outputs() -> bytes:
    """A graph that gives more than is used, of any type and shape."""
    steps = [
        node("Identity", ["colors"], ["result"]),
        *ENDS,
        node("Identity", ["floats"], ["map"]),
        node("Identity", ["pixels"], ["thumbnail"]),
    ]
    gives = [
        *GIVES,
        value("map", FLOAT, ["batch", SIDE, SIDE, 3]),
        value("thumbnail", 2, ["batch", SIDE, SIDE, 3]),
    ]
    return model(graph([*MEAN, *steps], [AXES], gives))


def edited(folder: Path, change: Callable[[dict[str, Any]], object], bundle: Bundle | None = None) -> Path:
    """The bundle with its description changed as its maker would: with the digest."""
    (bundle or whole()).write(folder)
    path = folder / "model.json"
    described = json.loads(path.read_text())
    change(described)
    described["bundle_digest"] = description.bundle_digest(described)
    path.write_text(json.dumps(described))
    return folder


def test_what_is_declared_is_written_and_read_again(tmp_path: Path) -> None:
    read = Bundle.read(whole().write(tmp_path / "made"))
    assert read == whole()
    assert (read.parts, read.fitted, read.outputs) == (HALVES, "squash", ("outputs", "features"))
    described = json.loads((tmp_path / "made/model.json").read_text())
    assert described["input"] == {"kind": "picture", "width": SIDE, "height": SIDE}
    assert described["parts"] == {"name": "halves", "windows": [[0, 0, 0.5, 1], [0.5, 0, 1, 1]]}
    assert described["outputs"] == ["outputs", "features"]
    assert set(described["calibration"]["look"]) == {"whole", "part"}


def test_none_of_it_binds_codes_but_all_of_it_is_noticed(tmp_path: Path) -> None:
    plain = bundle_of(plain_graph())
    assert whole().code_digest == plain.code_digest
    assert whole().bundle_digest != plain.bundle_digest
    for key in ("input", "parts", "outputs", "calibration", "license", "provenance"):
        folder = whole().write(tmp_path / key)
        described = json.loads((folder / "model.json").read_text())
        del described[key]
        (folder / "model.json").write_text(json.dumps(described))
        with pytest.raises(BundleError):
            Bundle.read(folder)


def test_a_bundle_without_these_facts_has_those_of_before(tmp_path: Path) -> None:
    def older(described: dict[str, Any]) -> None:
        del described["outputs"], described["input"]["kind"]

    plain = bundle_of(plain_graph())
    read = Bundle.read(edited(tmp_path / "older", older, plain))
    assert read == plain
    assert (read.fitted, read.parts, read.license, read.provenance) == ("squash", None, "", "")
    read = Bundle.read(edited(tmp_path / "none", lambda d: d.update(parts=None), plain))
    assert read.parts is None


@pytest.mark.parametrize("name", sorted(CODE_DIGESTS))
def test_the_models_that_ship_declare_their_facts_under_the_digests_they_had(name: str) -> None:
    assert sorted(shipped_names()) == sorted(CODE_DIGESTS)
    bundle = Bundle.read(name)
    assert bundle.code_digest == CODE_DIGESTS[name]
    assert (bundle.license, bundle.fitted, bundle.parts) == ("Apache-2.0", "squash", None)
    assert bundle.provenance
    path = Path(description.__file__).parent / name / "model.json"
    described = json.loads(path.read_text(encoding="utf-8"))
    assert tuple(described["outputs"]) == bundle.outputs  # a graph of the package is not looked through when it is read
    assert bundle.described() == described


HOSTILE: dict[str, Callable[[dict[str, Any]], object]] = {
    "windows that are none": lambda d: d["parts"].update(windows=[]),
    "windows that are text": lambda d: d["parts"].update(windows="all"),
    "windows without end": lambda d: d["parts"].update(windows=[[0, 0, 1, 1]] * 65_536),
    "a window of three numbers": lambda d: d["parts"].update(windows=[[0, 0, 1]]),
    "a window of text": lambda d: d["parts"].update(windows=[["0", 0, 1, 1]]),
    "a window of true": lambda d: d["parts"].update(windows=[[0, 0, True, 1]]),
    "a window past the picture": lambda d: d["parts"].update(windows=[[0, 0, 1.01, 1]]),
    "a window below zero": lambda d: d["parts"].update(windows=[[-0.1, 0, 1, 1]]),
    "a window that holds nothing": lambda d: d["parts"].update(windows=[[0.5, 0, 0.5, 1]]),
    "a window upside down": lambda d: d["parts"].update(windows=[[0, 1, 1, 0]]),
    "a grid without a name": lambda d: d["parts"].update(name=""),
    "parts in a list": lambda d: d.update(parts=[[0, 0, 1, 1]]),
    "more keys of parts": lambda d: d["parts"].update(overlap=0.4),
    "a kind that is a number": lambda d: d["input"].update(kind=3),
    "a fit that is true": lambda d: d.update(fit=True),
    "a fit that is null": lambda d: d.update(fit=None),
    "outputs in an object": lambda d: d.update(outputs={"outputs": 3}),
    "outputs of numbers": lambda d: d.update(outputs=[1, 2]),
    "outputs named twice": lambda d: d.update(outputs=["outputs", "features", "features"]),
    "outputs without features": lambda d: d.update(outputs=["outputs"]),
    "outputs without end": lambda d: d.update(outputs=["outputs", "features", *map(str, range(100))]),
    "an output that the graph does not give": lambda d: d.update(outputs=["outputs", "features", "map"]),
    "a license that is a number": lambda d: d.update(license=2),
    "a license without end": lambda d: d.update(license="x" * 201),
    "a provenance that is a list": lambda d: d.update(provenance=["a"]),
    "a provenance without end": lambda d: d.update(provenance="x" * 2001),
    "a calibration of parts that is a list": lambda d: d["calibration"]["look"].update(part=[]),
    "chances of parts past one": lambda d: d["calibration"]["look"]["part"].update(chances=[2, 1, 0, 0]),
}


@pytest.mark.parametrize("what", HOSTILE)
def test_a_hostile_fact_is_an_error_of_ours(what: str, tmp_path: Path) -> None:
    with pytest.raises(BundleError) as caught:
        Bundle.read(edited(tmp_path / "made", HOSTILE[what]))
    assert len(str(caught.value)) < 600


@pytest.mark.parametrize("version", [1, 2])
def test_outputs_that_nobody_asks_for_are_tolerated_and_never_taken(version: int, tmp_path: Path) -> None:
    def older(described: dict[str, Any]) -> None:
        if version == 1:
            described.update(format=1, digest=described.pop("code_digest"))
            del described["outputs"]

    folder = edited(tmp_path / "made", older, bundle_of(with_extra_outputs()))
    bundle = Bundle.read(folder)
    assert bundle.outputs == ("outputs", "features", "map")
    pixels = np.random.default_rng(0).integers(0, 256, (3, SIDE, SIDE, 3), np.uint8)
    assert np.allclose(Encoder(bundle).outputs(pixels), pixels.mean(axis=(1, 2)), atol=1e-3)


def test_model_show_prints_what_is_declared(tmp_path: Path, hashgrain: Any) -> None:
    folder = whole().write(tmp_path / "made")
    shown = json.loads(hashgrain("model", "show", folder, "--json").stdout)
    assert shown["parts"] == HALVES.described()
    assert (shown["input"], shown["fit"], shown["license"]) == ("picture", "squash", "Apache-2.0")
    assert (shown["calibration"], shown["provenance"]) == ({"look": {"same": 1}}, "drawn by hand")
    text = hashgrain("model", "show", folder).stdout.decode()
    assert "Apache-2.0" in text
    assert "squash" in text
