"""Errors: families with stable codes, what they name, and who speaks of commands."""

from __future__ import annotations

import ast
import json
import pickle
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from conftest import Run
from hashgrain import errors
from hashgrain.cli.app import GROUPS, VERBS
from hashgrain.cli.remedies import COMMANDS, as_command, error_text, reason_text
from hashgrain.errors import (
    FilterError,
    HashgrainError,
    ImageError,
    ImageTooLargeError,
    LibraryError,
    LibraryFormatError,
    LibraryLockedError,
    LibraryMissingError,
    QueryError,
    Remedy,
    TrainingError,
)
from hashgrain.learn.remedies import set_to
from hashgrain.library import Library, verify_library

ROOT = Path(__file__).parent.parent
SRC = ROOT / "src" / "hashgrain"
# The rooms whose words are the library's: none of them knows the command line.
SILENT = (
    *("errors.py", "types.py", "files.py", "inside.py", "codes.py", "codefiles.py", "hashers.py"),
    *("media", "sources", "labelled", "models", "graphs", "hamming", "store", "engines", "search", "library"),
    *("evaluate", "learn", "apps"),
)
COMMAND = re.compile(r"hashgrain (" + "|".join([*VERBS, *GROUPS]) + r")\b|(^|[\s(`'\"])--[a-z]")
# Files, not words for people: the first line of an index, and an option of another program.
KEPT = {"hashgrain index 1", "pip install --force-reinstall ", "--max-pixels"}
# Modules that write whole command lines into a model card or a report, for whoever makes the same again.
WRITES_COMMANDS = {"learn/command.py", "learn/adapt/card.py", "report/comparison_page.py"}


def families() -> list[type[HashgrainError]]:
    return [each for each in vars(errors).values() if isinstance(each, type) and issubclass(each, HashgrainError)]


def test_every_class_has_a_code_of_its_own() -> None:
    codes = [each.__dict__["code"] for each in families()]
    assert len(set(codes)) == len(codes)
    assert all(re.fullmatch(r"[a-z]+(_[a-z]+)*", code) for code in codes)


def test_codes_are_those_the_documentation_names() -> None:
    page = (ROOT / "docs/reference/json.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| `([a-z_]+)` \| `(\w+)` \|", page, re.M))
    assert rows == {**{each.code: each.__name__ for each in families()}, "system": "OSError"}


def test_an_error_is_read_as_its_message_and_its_remedy() -> None:
    error = LibraryError("photos.hg is closed", path=Path("photos.hg"), remedy="open it again")
    assert str(error) == "photos.hg is closed; open it again"
    assert (error.message, error.path, error.remedy) == ("photos.hg is closed", "photos.hg", "open it again")
    plain = LibraryError("no")
    assert (str(plain), plain.path, plain.remedy) == ("no", None, None)


def test_an_error_and_its_remedy_pass_from_process_to_process() -> None:
    error = LibraryError("no", path=b"caf\xe9.hg", remedy=Remedy("make one", "make_library", path="a.hg"))
    same = pickle.loads(pickle.dumps(error))
    assert (str(same), same.path, same.remedy) == (str(error), "caf\udce9.hg", "make one")
    assert same.remedy.key == "make_library"
    assert same.remedy.values == {"path": "a.hg"}


def test_errors_name_what_could_not_be_used(tmp_path: Path, pictures: Path) -> None:
    with pytest.raises(LibraryMissingError) as missing:
        Library.open(tmp_path / "none.hg")
    assert missing.value.path == str(tmp_path / "none.hg")
    with Library.create(tmp_path / "a.hg") as library:
        library.add(pictures)
        with pytest.raises(LibraryLockedError, match="already open"):
            Library.open(tmp_path / "a.hg", "w")
        with pytest.raises(FilterError) as question:
            library.search(pictures / "00001.jpg", where="width >")
        assert isinstance(question.value, QueryError)
        with pytest.raises(ImageError) as image:
            library.search(tmp_path / "none.jpg")
        assert image.value.path == str(tmp_path / "none.jpg")
        with pytest.raises(ImageTooLargeError) as large:
            library.search(pictures / "00001.jpg", max_pixels=10)
        assert large.value.path == str(pictures / "00001.jpg")
    import sqlite3

    with sqlite3.connect(tmp_path / "a.hg/catalogue.sqlite") as connection:
        connection.execute("PRAGMA user_version = 99")
    with pytest.raises(LibraryFormatError):
        Library.open(tmp_path / "a.hg")


# ---- who speaks of commands


def texts(path: Path) -> Iterator[tuple[int, str]]:
    """The string literals of a module that are no docstrings."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    bodies = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    firsts = [node.body[0] for node in ast.walk(tree) if isinstance(node, bodies)]
    docs = {id(first.value) for first in firsts if isinstance(first, ast.Expr) and is_text(first)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docs:
            yield node.lineno, node.value


def is_text(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


@pytest.mark.parametrize("room", SILENT)
def test_below_the_command_line_nobody_names_its_verbs_and_options(room: str) -> None:
    place = SRC / room
    assert place.exists()
    for path in [place] if place.is_file() else place.rglob("*.py"):
        if path.relative_to(SRC).as_posix() in WRITES_COMMANDS:
            continue
        for line, text in texts(path):
            assert not COMMAND.search(text) or text in KEPT, f"{path}:{line}: {text!r}"


def texts_of_errors(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """The string literals of what is raised, of errors that are made to be raised elsewhere, and of remedies."""
    for node in ast.walk(tree):
        called = ast.unparse(node.func).rpartition(".")[2] if isinstance(node, ast.Call) else ""
        if isinstance(node, ast.Raise) or called == "Remedy" or called.endswith("Error"):
            parts = [part for part in ast.walk(node) if isinstance(part, ast.Constant)]
            yield from ((part.lineno, part.value) for part in parts if isinstance(part.value, str))


def test_no_error_outside_the_command_line_names_an_option_or_a_verb() -> None:
    seen = 0
    for path in SRC.rglob("*.py"):
        if path.relative_to(SRC).parts[0] != "cli":
            for line, text in texts_of_errors(ast.parse(path.read_text(encoding="utf-8"))):
                seen += 1
                assert not COMMAND.search(text), f"{path}:{line}: {text!r}"
    assert seen > 1000
    wrong = 'raise TrainingError(f"bits {bits}: try --bits 8")\nerror = LibraryError("hashgrain add mends it")'
    texts = [text for _, text in texts_of_errors(ast.parse(wrong))]
    assert {text for text in texts if COMMAND.search(text)} == {": try --bits 8", "hashgrain add mends it"}


def test_every_remedy_has_its_command_and_every_command_its_remedy() -> None:
    keys, named = set(), set()
    for path in SRC.rglob("*.py"):
        if path == SRC / "cli/remedies.py":
            continue
        tree = ast.parse(path.read_text(encoding="utf-8"))
        named |= {text for _, text in texts(path)}
        calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and ast.unparse(node.func) == "Remedy"]
        keys |= {call.args[1].value for call in calls if isinstance(call.args[1], ast.Constant)}
    assert len(keys) > 20
    assert keys <= set(COMMANDS) <= named


def test_a_remedy_is_a_command_only_at_the_terminal() -> None:
    remedy = Remedy("rebuild the library to mend it", "rebuild", library=Path("a.hg"))
    error = LibraryError("a.hg: damaged", remedy=remedy)
    assert str(error) == "a.hg: damaged; rebuild the library to mend it"
    assert error_text(error) == "a.hg: damaged; `hashgrain rebuild a.hg` mends it"
    assert as_command("open it again") == "open it again"
    large = str(ImageTooLargeError("a.jpg: 9 million pixels"))
    assert (reason_text(large), "--" in large) == (
        "a.jpg: 9 million pixels; raise the limit with --max-pixels if you trust it",
        False,
    )


def test_a_setting_is_an_option_only_at_the_terminal() -> None:
    error = TrainingError("recipe x compares two views of each picture", remedy=set_to("views=2"))
    assert str(error) == "recipe x compares two views of each picture; set views=2"
    assert error_text(error) == "recipe x compares two views of each picture; --set views=2"


def test_a_name_with_braces_is_no_pattern() -> None:
    remedy = Remedy("make one", "make_library", path="{library}{0}.hg")
    assert as_command(remedy) == "make one: hashgrain add {library}{0}.hg FOLDER"


# ---- the command line


def failed(done: object) -> dict[str, object]:
    """The error of a verb that was asked for JSON: the last line on stderr, and nothing on stdout."""
    assert (done.returncode, done.stdout) == (1, b"")  # type: ignore[attr-defined]
    document = json.loads(done.stderr.splitlines()[-1])  # type: ignore[attr-defined]
    assert set(document) == {"error"}
    assert set(document["error"]) == {"code", "message", "path", "remedy"}
    return document["error"]


def test_with_json_an_error_is_a_document_on_stderr(hashgrain: Run, tmp_path: Path, pictures: Path) -> None:
    nothing = tmp_path / "none.hg"
    assert failed(hashgrain("info", nothing, "--json")) == {
        "code": "library_missing",
        "message": f"no library at {nothing}",
        "path": str(nothing),
        "remedy": f"make one: hashgrain add {nothing} FOLDER",
    }
    assert hashgrain("add", "a.hg", pictures).returncode == 0
    picture = pictures / "00001.jpg"
    for form in ("--json", "--jsonl"):
        asked = failed(hashgrain("search", "a.hg", picture, "--where", "width >", form))
        assert (asked["code"], asked["path"]) == ("filter", None)
    large = failed(hashgrain("search", "a.hg", picture, "--max-pixels", 9, "--json"))
    assert (large["code"], large["path"]) == ("image_too_large", str(picture))
    assert "--max-pixels" in str(large["remedy"])
    assert "--max-pixels" not in str(large["message"])
    assert failed(hashgrain("export", "a.hg", "no/folder/a.npy", "--json"))["code"] == "codes"
    assert failed(hashgrain("search", "a.hg", "--id", 99, "--json"))["code"] == "item_missing"


def test_a_refused_picture_is_told_with_the_option(hashgrain: Run, tmp_path: Path, pictures: Path) -> None:
    done = hashgrain("add", "a.hg", pictures, "--max-pixels", 9)
    assert b"raise the limit with --max-pixels" in done.stderr
    assert b"max_pixels" not in done.stderr
    report = json.loads(hashgrain("add", "a.hg", pictures, "--max-pixels", 9, "--retry", "--json").stdout)
    assert "--max-pixels" in report["refused"][0]["reason"]
    assert b"20 added" in hashgrain("add", "a.hg", pictures).stdout  # another limit: tried again


def test_what_verify_finds_is_told_with_a_command(hashgrain: Run, tmp_path: Path, pictures: Path) -> None:
    assert hashgrain("add", "a.hg", pictures).returncode == 0
    for segment in (tmp_path / "a.hg/segments").glob("*.w00"):
        segment.unlink()
    assert b"hashgrain rebuild " in hashgrain("verify", "a.hg").stdout
    problems = json.loads(hashgrain("verify", "a.hg", "--json").stdout)["problems"]
    assert any("hashgrain rebuild " in problem["remedy"] for problem in problems)
    assert not any("hashgrain" in problem.remedy for problem in verify_library(tmp_path / "a.hg"))
