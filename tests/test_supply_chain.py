"""What is installed is what was listed; what is shipped does not tell where it was made; what is in it is said."""

from __future__ import annotations

import importlib.metadata
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from conftest import ROOT, script

LISTS = sorted((ROOT / "requirements").glob("*.txt"))


def test_every_package_that_is_pinned_is_listed_with_its_hashes() -> None:
    """All but torch and what comes with it, of which some machines have builds of their own."""
    lock = script("lock")
    pins = lock.pinned((ROOT / "constraints.txt").read_text())
    listed: dict[str, str] = {}
    for file in LISTS:
        entries = file.read_text().replace("\\\n", " ").splitlines()
        for entry in entries:
            if entry.startswith("#"):
                continue
            pin, *sums = entry.split("--hash=")
            assert sums, f"{file.name}: {entry}"
            assert all(re.fullmatch(r"sha256:[0-9a-f]{64}", each.strip()) for each in sums)
            listed[lock.normal(pin.partition("==")[0])] = pin.strip()
    expected = {name: line for name, line in pins.items() if not lock.UNHASHED.fullmatch(name)}
    assert listed == expected


def test_lists_name_no_place_to_install_from() -> None:
    for file in [*LISTS, ROOT / "constraints.txt"]:
        assert not re.search(r"://|--index|--extra|--find|\s@\s", file.read_text()), file


def test_what_make_installs_is_held_to_its_hashes_before_anything_else() -> None:
    makefile = (ROOT / "Makefile").read_text()
    recipes = re.findall(r"^\$\(VENV\)/\.(\w+):.*\n((?:\t.*\n)+)", makefile, re.M)
    found = dict(recipes)
    assert set(found) == {"core", "dev", "train", "bench", "docs", "fetched"}
    listed, torch, _ = found.pop("fetched").splitlines()
    assert listed.startswith("\t$(LISTED) ")
    assert torch == "\t$(PIP) -c constraints.txt torch torchvision"  # which no list holds
    for name, recipe in found.items():
        first, second, _ = recipe.splitlines()
        assert first.startswith("\t$(LISTED) -r requirements/")
        assert f"requirements/{name}.txt" in first
        assert second.startswith("\t$(ITSELF) -e ")
    assert "--require-hashes" in makefile
    assert "--no-build-isolation" in makefile  # else pip fetches a setuptools of its own


def test_setuptools_is_bounded_and_the_listed_one_is_within_its_bounds() -> None:
    asked = re.search(r'requires = \["setuptools>=(\d+),<(\d+)"\]', (ROOT / "pyproject.toml").read_text())
    listed = re.search(r"setuptools==(\d+)", (ROOT / "requirements" / "build.txt").read_text())
    assert asked is not None
    assert listed is not None
    assert int(asked[1]) <= int(listed[1]) < int(asked[2])


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a library names those of the system by their paths")
def test_the_compiled_library_does_not_tell_where_it_was_built() -> None:
    kernels = pytest.importorskip("hashgrain.hamming._kernels", reason="no compiler here")
    content = Path(kernels.__file__).read_bytes()
    assert b"hashgrain" in content or b"_kernels" in content
    assert re.findall(rb"/(?:[\w.+@-]{2,}/)+[\w.+@-]{2,}", content) == []


def test_the_bill_of_materials_names_what_is_installed_and_nothing_else() -> None:
    found = script("sbom").bill()
    assert (found["bomFormat"], found["specVersion"]) == ("CycloneDX", "1.6")
    assert found["metadata"]["component"]["name"] == "hashgrain"
    by_name = {part["name"].lower(): part for part in found["components"]}
    assert {"numpy", "onnxruntime", "pillow", "platformdirs", "rich", "typer"} <= set(by_name)
    assert not {"torch", "pytest", "pyarrow", "hashgrain"} & set(by_name)
    for name, part in by_name.items():
        assert part["version"] == importlib.metadata.version(name)
        assert part["purl"] == part["bom-ref"]
    refs = {part["bom-ref"] for part in [*found["components"], found["metadata"]["component"]]}
    assert {entry["ref"] for entry in found["dependencies"]} == refs
    assert all(set(entry["dependsOn"]) <= refs for entry in found["dependencies"])


def test_the_bill_is_the_same_every_time_and_names_no_place(tmp_path: Path) -> None:
    written = []
    for number in range(2):
        file = tmp_path / f"sbom{number}.json"
        command = [sys.executable, ROOT / "scripts" / "sbom.py", file]
        subprocess.run(
            command, check=True, cwd=tmp_path, env={"PYTHONHASHSEED": str(number), "PYTHONPATH": ":".join(sys.path)}
        )
        written.append(file.read_bytes())
    assert written[0] == written[1]
    assert not re.search(rb"/(?:home|root|tmp|work|usr)/", written[0])
    json.loads(written[0])
