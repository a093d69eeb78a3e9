"""What is dear or shared: made pictures, the real ones where they are at hand, the command as a subprocess."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from hypothesis import settings
from PIL import Image

from warm_command import WarmCommand, run_cold

# Most tests are about something else than the model: the small one is quick. Tests of `photo` ask for it by name.
os.environ["HASHGRAIN_MODEL"] = "small"
# How long an example takes says more about the machine than about the code.
settings.register_profile("house", deadline=None)
settings.load_profile("house")

ROOT = Path(__file__).parent.parent
Run = Callable[..., subprocess.CompletedProcess[bytes]]


def make_picture(seed: int, size: tuple[int, int] = (120, 90)) -> Image.Image:
    """A smooth random picture: every seed another one, the same for the same seed."""
    coarse = np.random.default_rng(seed).integers(0, 256, (4, 5, 3), np.uint8)
    return Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC)


def fill(folder: Path, count: int, *, start: int = 0) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for seed in range(start, start + count):
        make_picture(seed).save(folder / f"{seed:05}.jpg", quality=90)
    return folder


def script(name: str) -> ModuleType:
    """A module of scripts/."""
    described = importlib.util.spec_from_file_location(name, ROOT / "scripts" / f"{name}.py")
    assert described is not None
    assert described.loader is not None
    module = importlib.util.module_from_spec(described)
    described.loader.exec_module(module)
    return module


@pytest.fixture(scope="session", autouse=True)
def cache_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a run keeps for the next one (verdicts on models) goes into a folder of the tests'."""
    folder = tmp_path_factory.mktemp("cache")
    os.environ["XDG_CACHE_HOME"] = str(folder)
    return folder


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """A folder of 20 small JPEG files."""
    return fill(tmp_path / "pictures", 20)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """The home folder of a reader of the documentation, with the few pictures that its first pages name."""
    pictures = tmp_path / "Pictures"
    pictures.mkdir()
    for seed, name in enumerate(("cat", "dandie_dinmont", "dog", "boot", "grille", "cab", "blurred", "street")):
        make_picture(seed).save(pictures / f"{name}.jpg")
    make_picture(0).save(tmp_path / "cat.jpg")
    return tmp_path


@pytest.fixture(scope="session")
def data() -> Path:
    """The real pictures, or a skip that says how to have them."""
    folder = Path(os.environ.get("HASHGRAIN_DATA", ROOT / "../shared/data")).resolve()
    if not (folder / "photos").is_dir():
        pytest.skip(f"no real pictures at {folder}: set HASHGRAIN_DATA")
    return folder


@pytest.fixture(scope="session")
def warm_command() -> Iterator[WarmCommand]:
    command = WarmCommand()
    yield command
    command.close()


@pytest.fixture
def hashgrain(tmp_path: Path, warm_command: WarmCommand) -> Run:
    """Run the command as a person would, with a configuration of its own."""

    def run(
        *arguments: object,
        stdin: bytes = b"",
        env: dict[str, str] | None = None,
        cwd: Path = tmp_path,
        timeout: float = 100,
        **options: Any,
    ) -> subprocess.CompletedProcess[bytes]:
        words = [os.fsencode(str(argument)) for argument in arguments]
        environment = {**os.environ, "HASHGRAIN_CONFIG": str(tmp_path / "no-config.toml"), **(env or {})}
        if options:  # of `subprocess.run`, which a child that is forked elsewhere cannot have
            return run_cold(words, input=stdin, env=environment, cwd=cwd, timeout=timeout, **options)
        return warm_command.run(words, stdin, environment, cwd, timeout)

    return run


@pytest.fixture(scope="module")
def no_flushes() -> Iterator[None]:
    """What these tests write need not survive a power cut."""
    from hashgrain.store import catalogue, disk

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(disk, "sync", lambda file: None)
        patch.setattr(disk, "sync_folder", lambda folder: None)
        patch.setattr(catalogue, "SETTINGS", [each.replace("FULL", "OFF") for each in catalogue.SETTINGS])
        yield


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """A real Chromium."""
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("no chromium on this machine")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        yield started
        started.close()
