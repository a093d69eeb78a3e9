"""The command as a person runs it: a process, its output, its exit code."""

from __future__ import annotations

import json
import os
import signal
import struct
import subprocess
import sys
import time
import zlib
from pathlib import Path

import pytest

from conftest import Run, fill, make_picture


@pytest.fixture
def library(hashgrain: Run, pictures: Path, tmp_path: Path) -> Path:
    made = hashgrain("add", "test.hg", pictures)
    assert made.returncode == 0, made.stderr
    return tmp_path / "test.hg"


def test_add_says_what_it_did_and_again_what_it_skipped(hashgrain: Run, pictures: Path) -> None:
    first = hashgrain("add", "test.hg", pictures)
    assert (first.returncode, first.stderr) == (0, b"")
    assert b"20 added" in first.stdout
    second = hashgrain("add", "test.hg", pictures)
    assert b"20 unchanged" in second.stdout


def test_search_in_a_pipe_prints_a_line_a_hit(hashgrain: Run, library: Path, pictures: Path) -> None:
    done = hashgrain("search", library, pictures / "00003.jpg", "-k", 3)
    lines = done.stdout.decode().splitlines()
    assert len(lines) == 3
    assert lines[0].split("\t") == ["same", "0", "4", str(pictures / "00003.jpg")]


@pytest.mark.parametrize("grain", ["kind", "thing", "look"])
def test_search_answers_at_every_grain_as_json(hashgrain: Run, library: Path, pictures: Path, grain: str) -> None:
    done = hashgrain("search", library, pictures / "00003.jpg", "--grain", grain, "--json")
    hits = json.loads(done.stdout)
    assert len(hits) == 10
    assert [hit["distances"][grain] for hit in hits] == sorted(hit["distance"] for hit in hits)
    lines = hashgrain("search", library, pictures / "00003.jpg", "--grain", grain, "--jsonl").stdout
    assert [json.loads(line) for line in lines.splitlines()] == hits


def test_a_picture_may_come_through_a_pipe(hashgrain: Run, library: Path, pictures: Path) -> None:
    done = hashgrain("search", library, "-", "-k", 1, stdin=(pictures / "00005.jpg").read_bytes())
    assert done.stdout.split(b"\t")[3].strip().endswith(b"00005.jpg")


def test_a_list_of_names_may_come_through_a_pipe(hashgrain: Run, pictures: Path) -> None:
    names = sorted(map(os.fsencode, pictures.iterdir()))[:4]
    assert b"4 added" in hashgrain("add", "lines.hg", "-", stdin=b"\n".join(names)).stdout
    assert b"4 added" in hashgrain("add", "zeros.hg", "-", "-0", stdin=b"\0".join(names)).stdout


def test_an_item_may_be_asked_by_id(hashgrain: Run, library: Path) -> None:
    hits = json.loads(hashgrain("search", library, "--id", 3, "--json").stdout)
    assert 3 not in [hit["id"] for hit in hits]


def test_a_page_of_results_stands_alone(hashgrain: Run, library: Path, pictures: Path, tmp_path: Path) -> None:
    done = hashgrain("search", library, pictures / "00003.jpg", "--html", "page.html")
    assert done.returncode == 0
    page = (tmp_path / "page.html").read_text()
    assert page.count("data:image/jpeg") >= 10
    assert "http:" not in page.replace("http://www.w3.org", "")


def test_filters_and_radius_narrow_the_answer(hashgrain: Run, library: Path, pictures: Path) -> None:
    query = pictures / "00003.jpg"
    assert hashgrain("search", library, query, "--where", "width > 5000").stdout == b""
    assert len(hashgrain("search", library, query, "--within", 0).stdout.splitlines()) == 1


def test_metadata_given_while_adding_can_be_filtered_by(hashgrain: Run, library: Path, tmp_path: Path) -> None:
    fill(tmp_path / "more", 2, start=70)
    hashgrain("add", library, tmp_path / "more", "--meta", "year=2021", "--meta", "album=May")
    done = hashgrain("search", library, "--id", 1, "--where", "meta.year > 2020 and album = 'May'", "--json")
    assert [hit["meta"] for hit in json.loads(done.stdout)] == [{"year": 2021, "album": "May"}] * 2


def test_info_remove_verify_rebuild_and_update_work_together(hashgrain: Run, library: Path, pictures: Path) -> None:
    assert json.loads(hashgrain("info", library, "--json").stdout)["items"] == 20
    assert hashgrain("remove", library, pictures / "00000.jpg", "--id", 2).stdout == b"removed 2\n"
    assert hashgrain("verify", library).returncode == 0
    assert b"18 codes" in hashgrain("rebuild", library).stdout
    (pictures / "00007.jpg").unlink()
    gone = hashgrain("update", library)
    assert (gone.returncode, b"00007.jpg" in gone.stderr) == (3, True)
    assert hashgrain("update", library, "--prune").returncode == 0
    assert json.loads(hashgrain("info", library, "--json").stdout)["items"] == 17
    assert b"items" in hashgrain("info", library).stdout


def test_codes_can_be_exported_and_made_without_a_library(
    hashgrain: Run, library: Path, pictures: Path, tmp_path: Path
) -> None:
    from hashgrain.codefiles import load_codes

    for suffix in (".hgc", ".npy", ".parquet"):
        assert hashgrain("export", library, f"library{suffix}").returncode == 0
        assert hashgrain("encode", pictures, "--out", f"direct{suffix}").returncode == 0
        exported, direct = load_codes(tmp_path / f"library{suffix}"), load_codes(tmp_path / f"direct{suffix}")
        assert (exported.codes, exported.paths, exported.digest) == (direct.codes, direct.paths, direct.digest)
        assert len(exported.codes) == 20
    lines = hashgrain("export", library).stdout.splitlines()
    codes = [json.loads(line)["code"] for line in hashgrain("encode", pictures).stdout.splitlines()]
    assert [json.loads(line)["code"] for line in lines] == codes


def test_doctor_reports_the_machine_and_the_bits(hashgrain: Run, library: Path) -> None:
    done = hashgrain("doctor", library, "--json")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["machine"]["model"] == "works"
    assert report["library"]["sound"] is True
    assert set(report) == {"machine", "library", "grains"}
    assert set(report["grains"]) == {"kind", "thing", "look"}
    assert b"dead bits" in hashgrain("doctor", library).stdout
    assert hashgrain("doctor").returncode == 0


def test_search_explains_how_the_answer_was_found(hashgrain: Run, library: Path, pictures: Path) -> None:
    picture = pictures / "00003.jpg"
    done = hashgrain("search", library, picture, "--explain", "--threads", 1)
    assert done.returncode == 0
    assert b"compared 20 of 20 codes" in done.stderr
    both = json.loads(hashgrain("search", library, picture, "--explain", "--json").stdout)
    assert both["hits"][0]["path"] == str(picture)
    assert both["explain"]["path"] in ("scan", "numpy")
    assert set(both["explain"]["milliseconds"]) == {"encode", "open", "filter", "search", "fetch"}


def test_index_says_that_a_small_library_needs_none(hashgrain: Run, library: Path) -> None:
    done = hashgrain("index", library)
    assert (done.returncode, done.stderr) == (0, b"nothing to build\n")
    assert json.loads(hashgrain("index", library, "--memory", "2GiB", "--json").stdout) == {"indexes": [], "bytes": 0}


def test_bench_measures_every_grain_and_checks_the_answers(hashgrain: Run, library: Path) -> None:
    measured = json.loads(hashgrain("bench", "search", library, "--queries", 5, "-k", 3, "--json").stdout)
    assert measured["machine"]["items"] == 20
    assert [row["grain"] for row in measured["searches"]] == ["kind", "thing", "look"]
    assert all(row["recall"] == 1.0 and row["p50_ms"] > 0 for row in measured["searches"])
    assert hashgrain("bench", "search", library, "--queries", 2).stdout.count(b"look\t128\tscan") == 1


@pytest.mark.parametrize(
    "arguments",
    [
        ("search", "--id", 1, "--threads", 0),
        ("search", "--id", 1, "--threads", -2),
        ("index", "--memory", "plenty"),
        ("index", "--memory", "-1"),
        ("bench", "search", "--threads", 0),
    ],
)
def test_threads_and_memory_that_make_no_sense_are_refused(hashgrain: Run, library: Path, arguments: tuple) -> None:
    verb = 2 if arguments[0] == "bench" else 1
    done = hashgrain(*arguments[:verb], library, *arguments[verb:])
    assert done.returncode == 1
    assert done.stderr.startswith(b"error: ")
    assert done.stderr.count(b"\n") == 1


def test_bench_on_an_empty_library_says_so(hashgrain: Run, tmp_path: Path) -> None:
    (tmp_path / "none").mkdir()
    assert hashgrain("add", tmp_path / "e.hg", tmp_path / "none").returncode in (0, 1)
    done = hashgrain("bench", "search", tmp_path / "e.hg")
    assert done.returncode == 1
    assert b"error: " in done.stderr


def test_refused_files_are_named_and_the_exit_code_says_partly(hashgrain: Run, pictures: Path) -> None:
    (pictures / "broken.jpg").write_bytes(b"\xff\xd8\xff nonsense")
    done = hashgrain("add", "test.hg", pictures)
    assert done.returncode == 3
    assert b"broken.jpg" in done.stderr
    assert b"20 added" in done.stdout
    report = json.loads(hashgrain("add", "test.hg", pictures, "--json", "--retry").stdout)
    assert (report["unchanged"], report["refused"][0]["path"]) == (20, str(pictures / "broken.jpg"))


BAD = {
    "missing library": (["search", "none.hg", "{picture}"], 1, b"hashgrain add"),
    "missing picture": (["search", "{library}", "nothing.jpg"], 1, b"nothing.jpg"),
    "missing source": (["add", "{library}", "nowhere"], 1, b"nowhere"),
    "library is a file": (["info", "{picture}"], 1, b"00001.jpg"),
    "negative k": (["search", "{library}", "{picture}", "-k", "-1"], 1, b"k is -1"),
    "huge k": (["search", "{library}", "{picture}", "-k", str(10**30)], 1, b"at most"),
    "k is a word": (["search", "{library}", "{picture}", "-k", "many"], 2, b"-k"),
    "unknown grain": (["search", "{library}", "{picture}", "--grain", "nose"], 1, b"kind, thing, look"),
    "broken filter": (["search", "{library}", "{picture}", "--where", "width >"], 1, b"width >"),
    "filter that tries SQL": (
        ["search", "{library}", "{picture}", "--where", "1; drop table items"],
        1,
        b"drop",
    ),
    "negative radius": (["search", "{library}", "{picture}", "--within", "-1"], 1, b"-1"),
    "unknown option": (["search", "{library}", "{picture}", "--nonsense"], 2, b"nonsense"),
    "unknown verb": (["frobnicate"], 2, b"frobnicate"),
    "no query": (["search", "{library}"], 2, b"--id"),
    "unknown item": (["search", "{library}", "--id", "999"], 1, b"no item 999"),
    "nothing to remove": (["remove", "{library}", "nothing.jpg"], 1, b"nothing.jpg"),
    "missing model": (["add", "new.hg", "{picture}", "--model", "nowhere"], 1, b"nowhere"),
    "bad metadata": (["add", "{library}", "{picture}", "--meta", "nokey"], 2, b"nokey"),
    "unknown file of codes": (["export", "{library}", "codes.xyz"], 1, b"codes.xyz"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_mistake_gets_one_clear_message_and_the_right_code(
    hashgrain: Run, library: Path, pictures: Path, name: str
) -> None:
    arguments, code, said = BAD[name]
    before = hashgrain("export", library).stdout
    place = {"{library}": library, "{picture}": pictures / "00001.jpg"}
    done = hashgrain(*(place.get(argument, argument) for argument in arguments))
    assert done.returncode == code, done.stderr
    assert said in done.stderr
    assert b"Traceback" not in done.stderr
    assert done.stdout == b""
    assert hashgrain("export", library).stdout == before


def test_a_second_writer_is_told_at_once(hashgrain: Run, library: Path, pictures: Path) -> None:
    from hashgrain import Library

    with Library.open(library, "w"):
        refused = hashgrain("add", library, pictures)
        assert refused.returncode == 1
        assert b"writ" in refused.stderr
        assert hashgrain("search", library, pictures / "00001.jpg").returncode == 0


def test_an_enormous_picture_is_refused_by_its_header(hashgrain: Run, library: Path, tmp_path: Path) -> None:
    bomb = tmp_path / "bomb.png"
    make_picture(0).save(bomb)
    content = bytearray(bomb.read_bytes())
    content[16:24] = struct.pack(">II", 30_000, 30_000)
    content[29:33] = struct.pack(">I", zlib.crc32(content[12:29]))
    bomb.write_bytes(content)
    done = hashgrain("search", library, bomb)
    assert done.returncode == 1
    assert b"--max-pixels" in done.stderr
    added = hashgrain("add", library, bomb)
    assert (added.returncode, b"bomb.png" in added.stderr) == (1, True)


def test_odd_file_names_survive_the_whole_line(hashgrain: Run, tmp_path: Path) -> None:
    folder = tmp_path / "odd"
    folder.mkdir()
    names = [b"caf\xe9.jpg", "日本.jpg".encode(), b"tab\tand 'quote'.jpg", b"-dash.jpg", b"<script>.jpg"]
    for seed, name in enumerate(names):
        make_picture(seed).save(tmp_path / "plain.jpg")
        os.rename(tmp_path / "plain.jpg", os.path.join(os.fsencode(folder), name))
    assert b"5 added" in hashgrain("add", "odd.hg", folder).stdout
    for name in names:
        path = os.path.join(os.fsencode(folder), name)
        done = hashgrain("search", "odd.hg", os.fsdecode(path), "-k", 1, "--html", "odd.html")
        assert done.returncode == 0, done.stderr
        assert done.stdout.startswith(b"same\t0\t")
        assert hashgrain("search", "odd.hg", os.fsdecode(path), "-k", 1, "-0").stdout == path + b"\0"
        assert "<script>" not in (tmp_path / "odd.html").read_text()


def start(tmp_path: Path, *arguments: object) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "hashgrain", *map(str, arguments)]
    return subprocess.Popen(
        command,
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
        # Started from a shell's background, the tests may themselves ignore Ctrl-C, and so would their children.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def wait_for_items(library: Path, at_least: int) -> None:
    from hashgrain import HashgrainError, Library

    for _ in range(3_000):
        try:
            with Library.open(library) as opened:
                if len(opened) >= at_least:
                    return
        except HashgrainError:
            pass
        time.sleep(0.01)
    raise AssertionError("the run never got that far")


def test_ctrl_c_leaves_a_sound_library_and_says_how_to_go_on(hashgrain: Run, tmp_path: Path) -> None:
    fill(tmp_path / "many", 1500)
    running = start(tmp_path, "add", "test.hg", "many")
    wait_for_items(tmp_path / "test.hg", 64)
    os.killpg(running.pid, signal.SIGINT)
    _, said = running.communicate(timeout=60)
    assert running.returncode == 130
    assert b"Run the same command again" in said
    assert b"Traceback" not in said
    assert hashgrain("verify", "test.hg").returncode == 0
    items = json.loads(hashgrain("info", "test.hg", "--json").stdout)["items"]
    report = json.loads(hashgrain("add", "test.hg", "many", "--json").stdout)
    assert (report["unchanged"], report["pictures"]) == (items, 1500)


@pytest.mark.slow
def test_killed_add_resumes_without_encoding_twice(hashgrain: Run, tmp_path: Path) -> None:
    fill(tmp_path / "many", 600)
    hashgrain("add", "whole.hg", "many")
    for kills in range(1, 4):
        running = start(tmp_path, "add", "killed.hg", "many")
        wait_for_items(tmp_path / "killed.hg", kills * 128)
        os.killpg(running.pid, signal.SIGKILL)
        running.communicate()
    report = json.loads(hashgrain("add", "killed.hg", "many", "--json").stdout)
    assert report["unchanged"] + report["encoded"] == 600
    assert report["unchanged"] >= 3 * 128
    assert hashgrain("verify", "killed.hg").returncode == 0

    def content(library: str) -> list[dict[str, object]]:
        items = [json.loads(line) for line in hashgrain("export", library).stdout.splitlines()]
        return [{key: item[key] for key in ("id", "path", "content", "code")} for item in items]

    assert content("killed.hg") == content("whole.hg")


def test_a_reader_that_has_seen_enough_ends_the_command_quietly(tmp_path: Path, library: Path) -> None:
    command = f"{sys.executable} -m hashgrain export {library} | head -n 1"
    done = subprocess.run(["bash", "-c", f"set -o pipefail; {command}"], capture_output=True, check=False)
    assert done.stderr == b""
    assert len(done.stdout.splitlines()) == 1


def test_settings_come_from_flags_then_environment_then_file(
    hashgrain: Run, library: Path, pictures: Path, tmp_path: Path
) -> None:
    config = tmp_path / "config.toml"
    config.write_text("[search]\nk = 4\n")
    query = ("search", library, pictures / "00001.jpg")
    from_file = {"HASHGRAIN_CONFIG": str(config)}
    from_environment = {**from_file, "HASHGRAIN_SEARCH_K": "3"}
    assert len(hashgrain(*query, env=from_file).stdout.splitlines()) == 4
    assert len(hashgrain(*query, env=from_environment).stdout.splitlines()) == 3
    assert len(hashgrain(*query, "-k", 2, env=from_environment).stdout.splitlines()) == 2
    by_option = {**from_file, "HASHGRAIN_SEARCH_JSON": "1", "HASHGRAIN_SEARCH_ID": "2"}
    assert len(json.loads(hashgrain("search", library, env=by_option).stdout)) == 4


def test_a_variable_named_after_version_or_help_changes_nothing(hashgrain: Run, library: Path) -> None:
    plain = hashgrain("info", library)
    for name in ("HASHGRAIN_VERSION", "HASHGRAIN_HELP", "HASHGRAIN_INFO_HELP", "HASHGRAIN_SHOW_COMPLETION"):
        for value in ("1", "1.0"):
            assert hashgrain("info", library, env={name: value}).stdout == plain.stdout


@pytest.mark.parametrize("text", ["k = = 4", "nonsense = 3", "[frobnicate]\nk = 1"])
def test_a_broken_configuration_is_named(hashgrain: Run, tmp_path: Path, text: str) -> None:
    config = tmp_path / "config.toml"
    config.write_text(text)
    done = hashgrain("info", "any.hg", env={"HASHGRAIN_CONFIG": str(config)})
    assert (done.returncode, b"config.toml" in done.stderr) == (1, True)
    assert b"Traceback" not in done.stderr


def test_help_and_version_are_worth_reading(hashgrain: Run) -> None:
    assert hashgrain("--version").stdout.startswith(b"hashgrain 0.")
    general = hashgrain("--help")
    assert general.returncode == 0
    for verb in (
        b"add",
        b"search",
        b"info",
        b"update",
        b"remove",
        b"verify",
        b"rebuild",
        b"encode",
        b"export",
    ):
        assert verb in general.stdout
        done = hashgrain(verb.decode(), "--help")
        assert done.returncode == 0
        assert len(done.stdout) > 200


def test_quiet_says_nothing_but_results(hashgrain: Run, pictures: Path) -> None:
    done = hashgrain("add", "test.hg", pictures, "--quiet")
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


@pytest.mark.slow
def test_the_demo_runs_and_says_how_often_it_was_right(hashgrain: Run, tmp_path: Path) -> None:
    done = hashgrain("demo")
    assert done.returncode == 0, done.stderr
    said = done.stdout.decode()
    assert "How often the nearest picture was right" in said
    assert said.splitlines()[-1].startswith("In the browser: hashgrain serve demo/pictures.hg --open")
    assert (tmp_path / "demo/results.html").stat().st_size > 100_000
    again = hashgrain("demo", "--photos", tmp_path / "demo/pictures", "--folder", "own")
    assert again.returncode == 0, again.stderr


def test_every_verb_is_documented_and_every_documented_verb_exists() -> None:
    from conftest import ROOT
    from hashgrain.cli.app import GROUPS, VERBS

    table = (ROOT / "docs/reference/cli.md").read_text().partition("| verb | does |")[2].partition("\n\n")[0]
    rows = table.splitlines()
    documented = {row.split("`")[1].split()[0] for row in rows if row.startswith("| `") and "|" in row[2:]}
    assert documented == {*VERBS, *GROUPS}
