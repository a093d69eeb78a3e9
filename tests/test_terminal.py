"""Names come from strangers: what is printed for people is one safe line each, and programs get them exactly."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import sys
import unicodedata
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from conftest import Run, make_picture
from hashgrain.cli.output import escape

# As a person might be attacked by them: a forged line, a forged column, a title set, a cleared screen, a C1 control,
# a hidden rest, a reversed suffix, a byte that is no UTF-8, and what looks like an escape but is a name.
HOSTILE = {
    b"a.jpg\nsame\t0\t1\t/etc/pw.jpg": r"a.jpg\nsame\t0\t1\t/etc/pw.jpg",
    b"a\x1b]0;title\x07.jpg": r"a\x1b]0;title\x07.jpg",
    b"a\x1b[2J\x1b[H.jpg": r"a\x1b[2J\x1b[H.jpg",
    "a\x9b31m.jpg".encode(): r"a\u009b31m.jpg",
    b"a\rover.jpg": r"a\rover.jpg",
    "a\u202egpj.exe.jpg".encode(): r"a\u202egpj.exe.jpg",
    b"a\x7f\xe9.jpg": r"a\x7f\xe9.jpg",
    rb"a\n.jpg": r"a\\n.jpg",
    "日本 é 🦉.jpg".encode(): "日本 é 🦉.jpg",
}


@pytest.fixture
def hostile(tmp_path: Path) -> Path:
    folder = tmp_path / "hostile"
    for seed, name in enumerate(HOSTILE):
        target = os.path.join(os.fsencode(folder), name)
        os.makedirs(os.path.dirname(target), exist_ok=True)
        make_picture(seed).save(tmp_path / "plain.jpg")
        os.rename(tmp_path / "plain.jpg", target)
    return folder


@pytest.fixture
def library(hashgrain: Run, hostile: Path, tmp_path: Path) -> Path:
    made = hashgrain("add", "test.hg", hostile)
    assert made.returncode == 0, made.stderr
    return tmp_path / "test.hg"


def safe(output: bytes) -> list[str]:
    """The lines of an output, none with anything that a terminal obeys."""
    lines = output.decode().split("\n")
    for line in lines:
        assert not [c for c in line.replace("\t", "") if unicodedata.category(c) in ("Cc", "Cs", "Zl", "Zp")], line
        assert not re.search("[\u202a-\u202e\u2066-\u2069]", line), line
    return lines[:-1]


def test_names_cannot_forge_a_line_or_a_column_of_groups(hashgrain: Run, library: Path, hostile: Path) -> None:
    rows = [line.split("\t") for line in safe(hashgrain("search", library, "--id", 1, "--group").stdout)]
    assert {len(row) for row in rows} == {6}
    assert {row[5] for row in rows} < {f"{hostile}/{shown}" for shown in HOSTILE.values()}
    wide = ("--radius", "kind:32,thing:64,look:0")
    rows = [line.split("\t") for line in safe(hashgrain("scenes", library, *wide).stdout)]
    assert [(len(row), row[:2]) for row in rows] == [(5, ["kind", "9"]), (5, ["thing", "9"])]


def test_names_cannot_forge_a_line_or_a_column_of_results(hashgrain: Run, library: Path, hostile: Path) -> None:
    lines = safe(hashgrain("search", library, "--id", 1, "-k", 20).stdout)
    assert len(lines) == len(HOSTILE) - 1
    rows = [line.split("\t") for line in lines]
    assert {len(row) for row in rows} == {4}
    wanted = {f"{hostile}/{shown}" for shown in HOSTILE.values()}
    assert {row[3] for row in rows} < wanted


def test_print0_gives_paths_byte_for_byte(hashgrain: Run, library: Path, hostile: Path) -> None:
    wanted = {os.path.join(os.fsencode(hostile), name) for name in HOSTILE}
    exported = hashgrain("export", library, "-0").stdout
    assert set(exported.split(b"\0")) - {b""} == wanted
    assert exported.endswith(b"\0")
    paths = hashgrain("search", library, "--id", 1, "-k", 20, "--print0").stdout.split(b"\0")[:-1]
    assert len(paths) == len(wanted) - 1
    assert set(paths) < wanted
    listed = hashgrain("add", "again.hg", "-", "-0", stdin=exported)
    assert f"{len(HOSTILE)} added".encode() in listed.stdout


def test_json_names_files_exactly_in_ascii(hashgrain: Run, library: Path, hostile: Path) -> None:
    printed = hashgrain("search", library, "--id", 1, "-k", 20, "--json").stdout
    assert printed.isascii()
    wanted = {os.path.join(os.fsencode(hostile), name) for name in HOSTILE}
    assert {os.fsencode(hit["path"]) for hit in json.loads(printed)} < wanted


def test_a_terminal_is_shown_escaped_names_and_links(library: Path, tmp_path: Path) -> None:
    main, copy = pty.openpty()
    command = [sys.executable, "-m", "hashgrain", "search", str(library), "--id", "1", "-k", "20"]
    environment = {**os.environ, "COLUMNS": "300", "TERM": "xterm-256color"}
    with subprocess.Popen(command, stdout=copy, stderr=copy, stdin=copy, cwd=tmp_path, env=environment) as running:
        os.close(copy)
        seen = b""
        try:
            while part := os.read(main, 1 << 16):
                seen += part
        except OSError:  # how Linux tells the end
            pass
    assert running.returncode == 0, seen
    links = re.findall(rb"\x1b\]8;[^;]*;([^\x1b]*)\x1b\\", seen)
    assert [link for link in links if link]
    assert all(re.fullmatch(rb"[!-~]*", link) for link in links)
    own = re.sub(rb"\x1b\]8;[^\x1b]*\x1b\\|\x1b\[[0-9;]*m", b"", seen).replace(b"\r\n", b"\n")
    assert rb"a\x1b[2J\x1b[H.jpg" in own
    safe(own)


def test_what_is_refused_or_gone_is_one_line_each(hashgrain: Run, hostile: Path, library: Path) -> None:
    for name in HOSTILE:
        with open(os.path.join(os.fsencode(hostile), name), "wb") as file:
            file.write(b"\xff\xd8\xff nonsense " + name)
    lines = safe(hashgrain("add", library, hostile).stderr)
    assert len(lines) == len(HOSTILE)
    assert all(line.startswith("refused: ") for line in lines)


def test_messages_about_hostile_names_are_one_line(hashgrain: Run, library: Path) -> None:
    name = "no\x1b[2J\nerror: all is well.jpg"
    for arguments in (
        ("search", library, name),
        ("search", name, "x.jpg"),
        ("add", library, name),
        ("remove", library, name),
        ("export", library, name),
        ("search", library, "x.jpg", "--grain", name),
    ):
        done = hashgrain(*arguments)
        assert done.returncode == 1, arguments
        (line,) = safe(done.stderr)
        assert line.startswith("error: ")


def test_a_wrong_command_line_with_hostile_names_is_said_safely(hashgrain: Run, library: Path) -> None:
    for arguments in (("search", library, "x", "\x1b[2Jy"), ("search", library, "--\x1b[2Jno"), ("\x1b[2J",)):
        done = hashgrain(*arguments)
        assert done.returncode == 2
        assert b"\x1b[2J" not in done.stderr
        assert rb"\x1b[2J" in done.stderr


NEARLY = st.text(st.sampled_from("\\\nntx0b1u8\x1b\x0b\u200e\udc1b\udc9b\x9b"), max_size=6)


@example("a\\n", "a\n")
@example("\\x1b", "\x1b")
@given(NEARLY | st.text(), NEARLY | st.text())
def test_no_two_names_look_alike(one: str, other: str) -> None:
    assert (escape(one, exact=True) == escape(other, exact=True)) == (one == other)


@given(st.text())
def test_what_is_escaped_is_one_line_that_any_file_of_utf8_holds(name: str) -> None:
    shown = escape(name)
    assert len(shown.splitlines()) <= 1
    assert shown.encode().decode() == shown
    safe(shown.encode() + b"\n")
