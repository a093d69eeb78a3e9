"""What a release is made of agrees with itself."""

from __future__ import annotations

import json
import re
from pathlib import Path

import hashgrain
from in_process import hashgrain as hashgrain_command

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


def test_the_address_of_the_source_is_the_same_everywhere_or_nowhere() -> None:
    """None is known before the first release; RELEASE.md says where it goes."""
    places = {
        "pyproject.toml": r'^(?:Source|Repository) = "(.*)"',
        "CITATION.cff": r"^repository-code: (.*)",
        "mkdocs.yml": r"^repo_url: (.*)",
    }
    found = {name: re.findall(at, (HERE / name).read_text(), re.MULTILINE) for name, at in places.items()}
    addresses = {address.strip("\"'") for each in found.values() for address in each}
    assert len(addresses) <= 1
    assert not addresses or all(found.values()), found


def test_the_number_of_recipes_that_the_pages_tell_is_right() -> None:
    listed = json.loads(hashgrain_command("recipes", "--json").stdout)
    for page in ("README.md", "docs/explanation/how-it-works.md"):
        (told,) = set(re.findall(r"(\d+) (?:training )?recipes", (HERE / page).read_text()))
        assert int(told) == len(listed), page


def test_the_policy_of_releases_says_how_names_are_given_up() -> None:
    policy = " ".join((HERE / "RELEASE.md").read_text().split())
    assert "works for one more minor version and warns (`DeprecationWarning`" in policy
