"""What holds for every verb: --json, the configuration file, full disks, and what needs no extra."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer

from conftest import Run, fill
from hashgrain.cli.app import GROUPS, VERBS, application
from hashgrain.cli.config import options_of
from hashgrain.codefiles import load_codes, save_codes
from hashgrain.codes import Codes, Grains

SUBVERBS = [f"{group} {verb}" for group, (_, verbs) in GROUPS.items() for verb in verbs]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a library of 6 pictures."""
    from hashgrain import Library

    folder = tmp_path_factory.mktemp("verbs")
    with Library.create(folder / "test.hg") as library:
        library.add(fill(folder / "pictures", 6), meta={"note": "=1+1"})
    return folder


def verb(name: str) -> Any:
    command: Any = typer.main.get_command(application())
    for part in name.split():
        command = command.commands[part]
    return command


@pytest.mark.parametrize("name", [*VERBS, *SUBVERBS])
def test_every_verb_takes_json(name: str) -> None:
    assert "json" in options_of(verb(name))


SHOW_LOADED = """
import sys
from hashgrain.cli.app import run
try:
    run()
except SystemExit as end:
    assert not end.code
print(*(name for name in sys.modules if name.startswith("hashgrain.cli.")), file=sys.stderr)
"""


@pytest.mark.parametrize("name", ["info", "bench"])
def test_a_command_loads_its_own_verb_alone_unless_a_file_sets_options(tmp_path: Path, name: str) -> None:
    def loaded(config: Path) -> set[str]:
        command = [sys.executable, "-c", SHOW_LOADED, name, "--help"]
        environment = {**os.environ, "HASHGRAIN_CONFIG": str(config)}
        done = subprocess.run(command, env=environment, capture_output=True, check=True, text=True)
        return set(done.stderr.split()) & {f"hashgrain.cli.{each}" for each in ("bench", "info", "search", "train")}

    (tmp_path / "config.toml").write_text("[train]\nbits = 32\n")  # what it sets for other verbs is checked too
    assert loaded(tmp_path / "none.toml") == {f"hashgrain.cli.{name}"}
    assert loaded(tmp_path / "config.toml") >= {"hashgrain.cli.search", "hashgrain.cli.train"}


JSON = {
    "add": ["test.hg", "pictures"],
    "search": ["test.hg", "--id", "1"],
    "info": ["test.hg"],
    "update": ["test.hg"],
    "index": ["test.hg"],
    "verify": ["test.hg"],
    "rebuild": ["test.hg"],
    "rebuild --model": ["default"],
    "duplicates": ["test.hg"],
    "search --group": ["test.hg", "--id", "1"],
    "scenes": ["test.hg"],
    "export": ["test.hg"],
    "export to a file": ["test.hg", "codes.csv"],
    "encode": ["pictures"],
    "encode to a file": ["pictures", "--out", "codes.npy"],
    "doctor": [],
    "recipes": [],
    "protocols": [],
    "tag": ["test.hg", "--from", "label", "--ask", "2"],
    "bench search": ["test.hg", "--queries", "2"],
    "model show": ["small"],
}


@pytest.mark.parametrize("name", JSON)
def test_json_is_one_document_alone_on_stdout(hashgrain: Run, place: Path, name: str) -> None:
    words = name.split(" to ")[0].split()
    target = ["test.hg"] if name == "rebuild --model" else []
    done = hashgrain(words[0], *target, *words[1:], *JSON[name], "--json", cwd=place)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)


def test_the_demo_tells_its_story_beside_the_json(hashgrain: Run, place: Path) -> None:
    done = hashgrain("demo", "--photos", place / "pictures", "--json")
    assert done.returncode == 0, done.stderr
    assert set(json.loads(done.stdout)) == {"folder", "page"}
    assert b"All done" in done.stderr


# ---- the configuration file


WRONG = {
    "[search]\nkk = 4": ["[search] has no option 'kk'", "did you mean k?"],
    '[search]\ngrane = "look"': ["did you mean grain?"],
    "[serch]\nk = 1": ["no verb serch", "did you mean search"],
    "[bench.serch]\nqueries = 1": ["no verb bench.serch", "did you mean search?"],
    "search = 3": ["search is no table", "[search]"],
    '[search]\nk = "4"': ["[search] k is a whole number, not '4'"],
    "[search]\nk = true": ["[search] k is a whole number, not True"],
    "[search]\njson = 1": ["[search] json is true or false, not 1"],
    "[search]\nwhere = 3": ["[search] where is text, not 3"],
    '[add]\nignore = "*.gif"': ["[add] ignore is a list of values"],
    "[add]\nignore = [3]": ["[add] ignore is text, not 3"],
    '[train]\ncheckpoint-minutes = "soon"': ["checkpoint-minutes is a number"],
    '[search]\n"k\\u001b\\n" = 3': [r"no option 'k\x1b\n'"],
}


@pytest.mark.parametrize("text", WRONG)
def test_a_configuration_that_would_be_passed_over_is_an_error(hashgrain: Run, tmp_path: Path, text: str) -> None:
    (tmp_path / "config.toml").write_text(text)
    done = hashgrain("info", "any.hg", env={"HASHGRAIN_CONFIG": str(tmp_path / "config.toml")})
    (line,) = done.stderr.decode().splitlines()
    assert done.returncode == 1
    assert "config.toml" in line
    for said in WRONG[text]:
        assert said in line


def test_every_option_can_be_configured_by_its_own_name(hashgrain: Run, place: Path, tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text("[search]\nk = 2\njson = true\nmax-pixels = 9\n[bench.search]\nqueries = 2\n")
    done = hashgrain("search", place / "test.hg", "--id", 1, env={"HASHGRAIN_CONFIG": str(tmp_path / "config.toml")})
    assert done.returncode == 0, done.stderr
    assert len(json.loads(done.stdout)) == 2


def test_a_configuration_that_is_a_pipe_is_refused_and_not_waited_for(hashgrain: Run, tmp_path: Path) -> None:
    import os

    os.mkfifo(tmp_path / "config.toml")
    done = hashgrain("info", "any.hg", env={"HASHGRAIN_CONFIG": str(tmp_path / "config.toml")}, timeout=20)
    assert (done.returncode, b"not a regular file" in done.stderr) == (1, True)


# ---- without an extra


def test_recipes_are_listed_without_torch() -> None:
    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        code = f"import sys; sys.modules['torch'] = None; sys.argv = ['hashgrain', *{arguments!r}]\n"
        code += "from hashgrain.cli import main; main()"
        return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)

    listed = run("recipes")
    assert (listed.returncode, listed.stderr) == (0, "")
    assert len(listed.stdout.splitlines()) > 20
    one = run("recipes", "csq")
    assert one.returncode == 0
    assert "epochs\t" in one.stdout
    assert "pip install 'hashgrain[train]'" in one.stderr
    assert "pip install 'hashgrain[train]'" in run("train", "--data", "x", "--out", "y").stderr


def test_docs_and_messages_name_the_same_install_command() -> None:
    import re

    from conftest import ROOT

    files_by_package: dict[str, Any] = {}
    for file in [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "src").rglob("*.py")]:
        for command in re.findall(r"pip install '?(\S*?\[\w+\])", file.read_text()):
            files_by_package.setdefault(command.split("[")[0], []).append(file)
    assert set(files_by_package) == {"hashgrain"}, files_by_package


def test_help_shows_what_stands_in_brackets(hashgrain: Run) -> None:
    """Typer takes it for markup, and leaves it out."""
    assert b"pip install 'hashgrain[train]'" in hashgrain("train", "--help", env={"COLUMNS": "200"}).stdout
    for name in [*VERBS, *SUBVERBS]:
        for option in options_of(verb(name)).values():
            assert "[" not in (option.help or ""), (name, option.name)


def test_a_paragraph_of_help_is_broken_by_the_terminal_alone(hashgrain: Run) -> None:
    wide = hashgrain("search", "--help", env={"COLUMNS": "900"}).stdout.decode()
    assert "In a pipe, each hit is a line: word, distance, id, path. With --also, the library comes" in wide
    for name in [*VERBS, *SUBVERBS]:
        assert all("\n" not in paragraph for paragraph in verb(name).help.split("\n\n")), name


# ---- full disks


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full on this system")
def test_a_full_disk_is_told_with_the_name_of_the_file(hashgrain: Run, place: Path, tmp_path: Path) -> None:
    with open("/dev/full", "wb") as full:
        command = [sys.executable, "-m", "hashgrain", "info", str(place / "test.hg")]
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, check=False)
    assert (done.returncode, done.stderr) == (1, b"error: standard output: No space left on device\n")
    page = hashgrain("search", place / "test.hg", "--id", 1, "--html", "/dev/full")
    assert (page.returncode, page.stderr) == (1, b"error: writing /dev/full: No space left on device\n")


@pytest.mark.parametrize(
    ("arguments", "file"),
    [
        (["encode", "pictures", "--out", "codes.npy"], "codes.npy"),
        (["add", "new.hg", "pictures"], "new.hg"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_a_disk_that_fills_up_is_told_with_the_name_of_the_file(
    place: Path, tmp_path: Path, arguments: list[str], file: str
) -> None:
    import shutil

    shutil.copytree(place, tmp_path / "copy")
    code = "import resource, signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
    code += "resource.setrlimit(resource.RLIMIT_FSIZE, (64, 64))\n"
    code += f"import sys; sys.argv = ['hashgrain', *{arguments!r}]\nfrom hashgrain.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-B", "-c", code], capture_output=True, text=True, check=False, cwd=tmp_path / "copy"
    )
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert file in line


# ---- export


def test_export_to_csv_has_ids_codes_and_columns(hashgrain: Run, place: Path, tmp_path: Path) -> None:
    assert hashgrain("export", place / "test.hg", "all.csv").returncode == 0
    with (tmp_path / "all.csv").open(newline="", encoding="utf-8") as file:
        rows = [*csv.DictReader(file)]
    lines = [json.loads(line) for line in hashgrain("export", place / "test.hg").stdout.splitlines()]
    for row, line in zip(rows, lines, strict=True):
        assert (row["id"], row["path"], row["code"]) == (str(line["id"]), line["path"], line["code"])
        assert (row["width"], row["format"], row["taken"]) == (str(line["width"]), line["format"], "")
        assert json.loads(row["meta"]) == line["meta"]


def test_a_spreadsheet_runs_nothing_of_a_csv(tmp_path: Path) -> None:
    grains = Grains(look=64)
    paths = ["=cmd()", "+1", "-1", "@x", "\tx", "'x", "plain", 'a,b"c\nd']
    codes = Codes(np.arange(len(paths), dtype=np.uint64)[:, None], grains)
    facts = [{"note": path, "number": -1.5} for path in paths]
    save_codes(tmp_path / "x.csv", codes, paths=paths, ids=range(len(paths)), facts=facts)
    with (tmp_path / "x.csv").open(newline="", encoding="utf-8") as file:
        rows = [*csv.DictReader(file)]
    assert [row["path"] for row in rows] == [row["note"] for row in rows]
    assert [row["path"].removeprefix("'") for row in rows] == [*paths[:5], "'x", *paths[6:]]
    assert all(row["path"][0] not in "=+-@\t\r" for row in rows)
    assert {row["number"] for row in rows} == {"-1.5"}


def test_export_to_parquet_has_ids(hashgrain: Run, place: Path, tmp_path: Path) -> None:
    pytest.importorskip("pyarrow", reason="needs hashgrain[parquet]")
    assert hashgrain("export", place / "test.hg", "all.parquet").returncode == 0
    assert load_codes(tmp_path / "all.parquet").ids == [1, 2, 3, 4, 5, 6]
