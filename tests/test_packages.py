"""The wheel and the source archive hold what they promise, and work in an empty environment: run by `make dist`."""

from __future__ import annotations

import email
import os
import re
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

import hashgrain
from conftest import ROOT
from doc_blocks import bash_is_here, blocks_of, run_block

pytestmark = pytest.mark.dist
# Folders of at least two levels: what a path of the machine that built the file looks like in it.
A_PATH = re.compile(rb"/(?:[\w.+@-]{2,}/)+[\w.+@-]{2,}")
TOP = f"hashgrain-{hashgrain.__version__}"
# What building adds to the source archive.
BUILT = {"PKG-INFO", "setup.cfg"}


@pytest.fixture(params=["*.whl", "*.tar.gz"], ids=["wheel", "source"])
def archive(request: pytest.FixtureRequest) -> Path:
    return only(request.param)


def only(pattern: str) -> Path:
    """The one archive of a kind in dist/, or a skip that says how to have it."""
    archives = list((ROOT / "dist").glob(pattern))
    if not archives:
        pytest.skip("nothing in dist/: run `make dist`")
    (archive,) = archives
    return archive


@pytest.fixture
def wheel() -> zipfile.ZipFile:
    return zipfile.ZipFile(only("*.whl"))


def tracked(folder: str = ".") -> set[str]:
    if not (ROOT / ".git").exists():
        pytest.skip("not a checkout: the files that belong to the package are not known")
    listed = subprocess.run(["git", "ls-files", "-z", folder], cwd=ROOT, capture_output=True, text=True, check=True)
    return set(filter(None, listed.stdout.split("\0")))


def test_the_wheel_holds_the_package_as_git_tracks_it_and_the_compiled_kernels(wheel: zipfile.ZipFile) -> None:
    files = {name for name in wheel.namelist() if not name.startswith(f"{TOP}.dist-info/")}
    expected = {name.removeprefix("src/") for name in tracked("src")}
    sources = {name for name in expected if re.search(r"kernels/\w+\.[ch]$", name)}
    (compiled,) = files - expected
    assert re.fullmatch(r"hashgrain/hamming/_kernels\.[\w-]+\.(so|pyd)", compiled)
    assert expected - files == sources
    assert {"hashgrain/py.typed", "hashgrain/models/photo/graph.part", "hashgrain/models/small/model.onnx"} <= files


def test_the_source_archive_is_the_checkout() -> None:
    with tarfile.open(only("*.tar.gz")) as archive:
        files = {member.name.removeprefix(f"{TOP}/") for member in archive.getmembers() if member.isfile()}
    assert {name for name in files if not name.startswith("src/hashgrain.egg-info/")} == tracked() | BUILT


def test_the_wheel_says_what_it_is_and_under_which_licenses(wheel: zipfile.ZipFile) -> None:
    facts = email.message_from_bytes(wheel.read(f"{TOP}.dist-info/METADATA"))
    assert (facts["Name"], facts["Version"]) == ("hashgrain", hashgrain.__version__)
    assert facts["License-Expression"] == "Apache-2.0"
    licenses = facts.get_all("License-File") or []
    assert {Path(name).name for name in licenses} == {"LICENSE", "LICENSE-WordNet.txt"}
    for name in licenses:
        assert wheel.read(f"{TOP}.dist-info/licenses/{name}") == (ROOT / name).read_bytes()
    asked = [line for line in facts.get_all("Requires-Dist") or [] if "extra ==" not in line]
    assert not [line for line in asked if re.match(r"torch|onnx\b|scikit-learn", line)]


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a library names those of the system by their paths")
def test_nothing_in_the_wheel_tells_where_it_was_built(wheel: zipfile.ZipFile) -> None:
    (compiled,) = [name for name in wheel.namelist() if name.endswith(".so")]
    content = wheel.read(compiled)
    assert A_PATH.findall(content) == []
    assert b".debug_info" not in content
    places = [str(place).encode() for place in (ROOT, Path.home(), Path(sys.prefix)) if len(place.parts) > 2]
    assert [name for name in wheel.namelist() if any(place in wheel.read(name) for place in places)] == []


@pytest.mark.skipif(not bash_is_here(), reason="the blocks are written for bash")
@pytest.mark.timeout(600)
def test_the_readme_runs_where_nothing_else_is_installed(archive: Path, home: Path, tmp_path: Path) -> None:
    python = empty_environment(tmp_path / "empty")
    install(python, "--no-index", "--no-build-isolation", str(archive))  # whatever it lacks cannot be fetched
    run([python, "-m", "pip", "check"], tmp_path)
    checks = f"""
import importlib.util, sys, hashgrain, hashgrain.hamming._kernels
assert hashgrain.__version__ == {hashgrain.__version__!r}
assert hashgrain.__file__.startswith(sys.prefix), hashgrain.__file__
assert not [name for name in ("torch", "onnx", "sklearn", "pytest") if importlib.util.find_spec(name)]
"""
    run([python, "-c", checks], tmp_path)
    blocks = blocks_of("README.md")
    assert len(blocks) > 2
    for block in blocks:
        run_block(block, home, python=python)


def empty_environment(folder: Path) -> Path:
    """The Python of a new environment with what HashGrain needs, each package held to its listed hashes."""
    run([sys.executable, "-m", "venv", folder], folder.parent)
    python = folder / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
    lists = [option for name in ("build", "core") for option in ("-r", str(ROOT / "requirements" / f"{name}.txt"))]
    install(python, "--require-hashes", *lists)
    return python


def install(python: Path, *what: str) -> None:
    run([python, "-m", "pip", "--disable-pip-version-check", "install", "--quiet", "--no-deps", *what], python.parent)


def run(command: list[str | Path], folder: Path) -> None:
    """Run without PYTHONPATH, through which pip would find this checkout and take the archive as installed."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    subprocess.run(command, cwd=folder, env=environment, check=True)
