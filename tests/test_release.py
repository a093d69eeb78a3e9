"""What a release is made of agrees with itself."""

from __future__ import annotations

import re
from pathlib import Path

import hashgrain

HERE = Path(__file__).resolve().parents[1]


def test_every_place_that_tells_the_version_tells_the_same() -> None:
    assert f"\nversion: {hashgrain.__version__}\n" in (HERE / "CITATION.cff").read_text()
    assert f"\n## {hashgrain.__version__}" in (HERE / "CHANGELOG.md").read_text()
    assert not re.search(r'^version = "', (HERE / "pyproject.toml").read_text(), re.MULTILINE)


def test_the_versions_of_python_that_are_promised_are_tested_and_built_for() -> None:
    project = (HERE / "pyproject.toml").read_text()
    (least,) = re.findall(r'^requires-python = ">=3\.(\d+)"', project, re.MULTILINE)
    tested = set(re.findall(r'"3\.(\d+)"', (HERE / ".github" / "workflows" / "tests.yml").read_text()))
    (built,) = re.findall(r'^build = "(.*)"', project, re.MULTILINE)
    assert min(map(int, tested)) == int(least)
    assert set(re.findall(r"cp3(\d+)-\*", built)) == tested


def test_what_the_workflows_call_is_there() -> None:
    flows = "".join(path.read_text() for path in (HERE / ".github" / "workflows").glob("*.yml"))
    targets = set(re.findall(r"^([\w-]+):", (HERE / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"run: make ([\w-]+)", flows)) <= targets
    assert ".ci/run" in flows
    assert (HERE / ".ci" / "run").is_file()
