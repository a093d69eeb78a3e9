"""Acting on duplicates: what is moved, linked and deleted, what is left alone and why, and that all comes back."""

from __future__ import annotations

import json
import os
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from conftest import Run, make_picture
from hashgrain import Library
from hashgrain.apps.duplicates import Action, ActionReport, act_on, find_duplicates, moving, undo, undo_file
from hashgrain.errors import LibraryError, QueryError
from made_duplicates import Made, bits_from, make_library, tree

pytestmark = pytest.mark.usefixtures("no_flushes")
SHOWN = make_picture(1, (80, 60))
FILES = {
    "pics/best.jpg": Made(1, size=(80, 60), meta={"note": "mine"}),
    "pics/small.jpg": Made(2, bits_from(0, 3), size=(50, 40), meta={"year": 2020}, picture=SHOWN.resize((50, 40))),
    "pics/sub/small.jpg": Made(3, bits_from(0, 4), picture=SHOWN.resize((40, 30))),
    "pics/twin.jpg": Made(1, size=(80, 60)),
    "pics/other.jpg": Made(4, bits_from(0, 60)),
}


@pytest.fixture
def library(tmp_path: Path) -> Path:
    return make_library(tmp_path, FILES)


def act(library: Path, action: Action, folder: Path | None = None, *, dry_run: bool = False) -> ActionReport:
    with Library.open(library, "w", workers=0) as opened:
        return act_on(opened, find_duplicates(opened), action, folder=folder, dry_run=dry_run)


def put_back(library: Path, file: Path | None) -> Any:
    assert file is not None
    with Library.open(library, "w", workers=0) as opened:
        return undo(opened, file)


def known(library: Path) -> set[str]:
    with Library.open(library) as opened:
        return {str(Path(item.path).relative_to(library.parent)) for item in opened.items()}


def reasons(report: ActionReport) -> dict[str, str | None]:
    return {Path(outcome.item.path).name: outcome.skipped for outcome in report.outcomes}


# ---- doing and undoing


@pytest.mark.parametrize("action", ["move", "delete"])
def test_copies_are_moved_the_library_forgets_them_and_undo_brings_all_back(
    library: Path, tmp_path: Path, action: Action
) -> None:
    before, folder = tree(tmp_path), tmp_path / "copies" if action == "move" else None
    dry = act(library, action, folder, dry_run=True)
    assert (dry.done, dry.skipped, dry.undo_file) == (3, 0, None)
    assert tree(tmp_path) == before
    report = act(library, action, folder)
    assert [Path(o.target or "").name for o in report.outcomes] == [Path(o.target or "").name for o in dry.outcomes]
    assert {Path(o.target or "").name for o in report.outcomes} == {"twin.jpg", "small.jpg", "small-2.jpg"}
    assert set(tree(tmp_path / "pics")) == {"best.jpg", "other.jpg"}
    assert sorted(tree(tmp_path).values()) == sorted(before.values())
    assert known(library) == {"pics/best.jpg", "pics/other.jpg"}
    assert not (tmp_path / "lib.hg-trash").exists() or action == "delete"
    with Library.open(library, "w", workers=0) as opened:
        again = opened.add([tmp_path / "pics", Path(report.outcomes[0].target or "").parent])
        assert (again.added, again.kept_out) == (0, 3)
        assert opened.verify() == []
    back = put_back(library, report.undo_file)
    assert (len(back.restored), back.in_place, back.refused) == (3, 0, ())
    assert tree(tmp_path) == before
    assert known(library) == set(before)
    assert not (tmp_path / "lib.hg-trash").exists()
    with Library.open(library) as opened:
        assert {Path(item.path).name: dict(item.meta) for item in opened.items(where="meta.year = 2020")} == {
            "small.jpg": {"year": 2020}
        }
        assert opened.kept_out() == []
    twice = put_back(library, report.undo_file)
    assert (twice.restored, twice.in_place, twice.refused) == ((), 3, ())


def test_links_are_made_of_equal_bytes_alone_and_become_files_again(library: Path, tmp_path: Path) -> None:
    before, twin, best = tree(tmp_path), tmp_path / "pics/twin.jpg", tmp_path / "pics/best.jpg"
    os.chmod(twin, 0o640)
    os.utime(twin, ns=(10**18, 10**18))
    with Library.open(library, "w", workers=0) as opened:
        opened.add(tmp_path / "pics")
    report = act(library, "link")
    skipped = "has other bytes than the kept picture, so a link would change it"
    kept = Path(report.outcomes[0].kept.path)
    assert reasons(report) == {"small.jpg": skipped, ("best.jpg" if kept == twin else "twin.jpg"): None}
    assert os.path.samefile(twin, best)
    assert tree(tmp_path) == before
    assert known(library) == set(before)
    with Library.open(library, "w", workers=0) as opened:
        assert opened.add(tmp_path / "pics").unchanged == 5
    linked = act(library, "link", dry_run=True)
    assert "by a link" in str({reasons(linked)[name] for name in ("best.jpg", "twin.jpg") if name in reasons(linked)})
    back = put_back(library, report.undo_file)
    assert len(back.restored) == 1
    assert not os.path.samefile(twin, best)
    assert tree(tmp_path) == before
    for path in (twin, best):
        assert (path.stat().st_mode & 0o777 == 0o640) == (path == twin)
        assert (path.stat().st_mtime_ns == 10**18) == (path == twin)


def test_another_disk_is_reached_by_a_copy_that_is_complete_before_the_file_goes(
    library: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, replace = tree(tmp_path), os.replace

    def across(source: str, target: str, **options: Any) -> None:
        if not options and os.path.dirname(source) != os.path.dirname(target):
            raise OSError(18, "Invalid cross-device link", source)
        replace(source, target, **options)

    monkeypatch.setattr("os.replace", across)
    stamps = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "pics").rglob("*.jpg")}
    report = act(library, "move", tmp_path / "far")
    assert report.done == 3
    assert sorted(tree(tmp_path).values()) == sorted(before.values())
    assert (tmp_path / "far/twin.jpg").stat().st_mtime_ns == stamps["twin.jpg"]
    put_back(library, report.undo_file)
    assert tree(tmp_path) == before
    assert list(tmp_path.rglob("*.part")) == []


# ---- what is left alone


def changed(home: Path) -> None:
    (home / "pics/small.jpg").write_bytes(b"\xff\xd8 something else")


def same_size_and_time(home: Path) -> None:
    path = home / "pics/small.jpg"
    status, content = path.stat(), bytearray(path.read_bytes())
    content[-9] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(status.st_mtime_ns, status.st_mtime_ns))


def gone(home: Path) -> None:
    (home / "pics/small.jpg").unlink()


def linked(home: Path) -> None:
    (home / "pics/small.jpg").rename(home / "real.jpg")
    (home / "pics/small.jpg").symlink_to(home / "real.jpg")


def hard_linked(home: Path) -> None:
    (home / "pics/small.jpg").unlink()
    os.link(home / "pics/best.jpg", home / "pics/small.jpg")


def pipe(home: Path) -> None:
    (home / "pics/small.jpg").unlink()
    os.mkfifo(home / "pics/small.jpg")


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (changed, "has changed since it was added"),
        (same_size_and_time, "has changed since it was added"),
        (gone, "is gone"),
        (linked, "is a symbolic link"),
        (hard_linked, "is the file of a kept picture under another name, by a link"),
        (pipe, "is not a regular file"),
    ],
)
def test_a_copy_that_is_not_what_it_was_stays_where_it_is(
    library: Path, tmp_path: Path, fault: Callable[[Path], None], reason: str
) -> None:
    fault(tmp_path)
    path = tmp_path / "pics/small.jpg"
    before = os.lstat(path) if os.path.lexists(path) else None
    with Library.open(library, "w") as opened:
        opened.remove([tmp_path / "pics/sub"])  # whose file has the same name
    report = act(library, "move", tmp_path / "copies")
    assert reasons(report) == {"small.jpg": reason, "twin.jpg": None}
    after = os.lstat(path) if os.path.lexists(path) else None
    assert (after and after.st_ino) == (before and before.st_ino)
    assert "pics/small.jpg" in known(library)


def test_copies_in_one_read_only_folder_are_all_skipped_and_nothing_is_written(hashgrain: Run, tmp_path: Path) -> None:
    make_library(tmp_path, {f"pics/{n}.jpg": Made(n, size=(60 - n, 30)) for n in range(4)})
    before = tree(tmp_path)
    (tmp_path / "pics").chmod(0o555)
    try:
        for options in (("--move", "copies"), ("--delete",), ("--link", "--word", "same")):
            done = hashgrain("duplicates", "lib.hg", *options, "--yes", "--json")
            document = json.loads(done.stdout)
            assert (done.returncode, document["done"], document["skipped"]) == (3, 0, 3), done.stderr
            wanted = "has other bytes" if "--link" in options else "its folder is read-only"
            assert all(wanted in copy["skipped"] for copy in document["groups"][0]["copies"])
            assert document["undo_file"] is None
    finally:
        (tmp_path / "pics").chmod(0o755)
    assert tree(tmp_path) == before
    assert {path.name for path in tmp_path.iterdir()} == {"lib.hg", "pics"}


@pytest.mark.parametrize("fault", ["gone", "changed", "a folder"])
def test_nothing_of_a_group_is_touched_when_its_kept_picture_cannot_be_read(
    library: Path, tmp_path: Path, fault: str
) -> None:
    kept = tmp_path / "pics/best.jpg"
    kept.unlink()
    if fault == "changed":
        kept.write_bytes(b"\xff\xd8")
    if fault == "a folder":
        kept.mkdir()
    before = {**tree(tmp_path / "pics/sub"), **{path.name: b"" for path in (tmp_path / "pics").glob("*.jpg")}}
    report = act(library, "delete")
    assert (report.done, report.undo_file) == (0, None)
    assert all(f"the picture to keep, {kept}, " in str(outcome.skipped) for outcome in report.outcomes)
    assert {**tree(tmp_path / "pics/sub"), **{path.name: b"" for path in (tmp_path / "pics").glob("*.jpg")}} == before


def test_a_kept_picture_that_changes_in_the_middle_saves_the_copies_after_it(library: Path, tmp_path: Path) -> None:
    with Library.open(library, "w", workers=0) as opened:
        found = find_duplicates(opened)

        def spoil(done: int) -> None:
            if done == 1:
                (tmp_path / "pics/best.jpg").write_bytes(b"spoiled")

        report = act_on(opened, found, "move", folder=tmp_path / "copies", dry_run=False, progress=spoil)
    assert (report.done, report.skipped) == (1, 2)


def test_pictures_in_archives_and_from_python_can_be_kept_but_are_not_changed(tmp_path: Path) -> None:
    for name, size in (("a.jpg", (80, 60)), ("b.jpg", (40, 30))):
        (tmp_path / name).write_bytes(Made(1, size=size).content())
    with tarfile.open(tmp_path / "in.tar", "w") as archive:
        archive.add(tmp_path / "b.jpg", "b.jpg")
    (tmp_path / "b.jpg").unlink()
    with Library.create(tmp_path / "lib.hg", "small", workers=0) as opened:
        opened.add([tmp_path / "a.jpg", tmp_path / "in.tar"])
        opened.add([("object", Made(1, size=(30, 20)).content())])
        found = find_duplicates(opened, within=128)
        report = act_on(opened, found, "delete", dry_run=False)
    assert sorted(str(outcome.skipped) for outcome in report.outcomes) == [
        "is inside an archive or a table, which is not changed",
        "was given as an object, not as a file",
    ]
    with Library.open(tmp_path / "lib.hg", "w", workers=0) as opened:
        kept_in_archive = find_duplicates(opened, within=128, where="width < 80")
        assert kept_in_archive.groups[0].kept.path.endswith("in.tar!b.jpg")
        (tmp_path / "c.jpg").write_bytes(Made(1, size=(40, 30)).content())
        opened.add(tmp_path / "c.jpg")
        exact = find_duplicates(opened, word="exact")
        link = act_on(opened, exact, "link", dry_run=False)
        assert "inside an archive" in str(link.outcomes[0].skipped)
        assert act_on(opened, exact, "delete", dry_run=False).done == 1


def test_a_folder_reached_by_two_names_loses_nothing(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "real/a.jpg").write_bytes(Made(1).content())
    (tmp_path / "alias").symlink_to(tmp_path / "real")
    with Library.create(tmp_path / "lib.hg", "small", workers=0) as opened:
        opened.add([tmp_path / "real/a.jpg", tmp_path / "alias/a.jpg"])
        report = act_on(opened, find_duplicates(opened), "delete", dry_run=False)
    assert [outcome.skipped for outcome in report.outcomes] == [
        "is the file of a kept picture under another name, by a link"
    ]
    assert (tmp_path / "real/a.jpg").exists()


def test_bad_requests_are_errors_before_anything_is_done(library: Path, tmp_path: Path) -> None:
    before = tree(tmp_path)
    (tmp_path / "file").touch()
    with Library.open(library, "w") as opened:
        found = find_duplicates(opened)
        for folder, said in ((tmp_path / "file", "is not a folder"), (library / "x", "is inside the library")):
            with pytest.raises(QueryError, match=said):
                act_on(opened, found, "move", folder=folder, dry_run=False)
        with pytest.raises(QueryError, match="a folder is for moving"):
            act_on(opened, found, "move", dry_run=False)
        with pytest.raises(QueryError, match="is no action"):
            act_on(opened, found, "burn", dry_run=False)
        opened.remove([tmp_path / "pics/twin.jpg"], forget=True)
        stale = act_on(opened, found, "delete", dry_run=True)
        assert reasons(stale)["twin.jpg"] == "is no longer in the library as it was found"
    with Library.open(library) as opened, pytest.raises(LibraryError, match="open for reading"):
        act_on(opened, found, "delete", dry_run=False)
    assert tree(tmp_path) == before


def test_a_copy_that_is_in_the_folder_already_stays(library: Path, tmp_path: Path) -> None:
    report = act(library, "move", tmp_path / "pics/sub")
    assert {Path(o.item.path).name: o.skipped for o in report.outcomes if o.skipped} == {
        "small.jpg": "is in that folder already"
    }
    assert set(tree(tmp_path / "pics/sub")) == {"small.jpg", "small-2.jpg", "twin.jpg"}


@pytest.mark.parametrize("fault", ["no undo file", "a full disk"])
def test_a_run_that_cannot_write_stops_with_an_error_and_loses_nothing(
    library: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    before = tree(tmp_path)

    def full(file: int) -> None:
        raise OSError(28, "No space left on device")

    if fault == "a full disk":
        monkeypatch.setattr(undo_file, "sync", full)
    else:
        monkeypatch.setattr("hashgrain.apps.duplicates.acting._undo_path", lambda library: tmp_path / "no/undo.jsonl")
    with pytest.raises(LibraryError, match="No space left" if fault == "a full disk" else "No such file"):
        act(library, "delete")
    assert tree(tmp_path) == before
    assert known(library) == set(before)


# ---- undoing what changed since


def test_undo_writes_over_nothing_and_says_what_it_left(library: Path, tmp_path: Path) -> None:
    report = act(library, "move", tmp_path / "copies")
    (tmp_path / "pics/twin.jpg").write_bytes(b"a new picture of this name")
    (tmp_path / "copies/small.jpg").write_bytes(b"edited")
    shutil.rmtree(tmp_path / "pics/sub")
    back = put_back(library, report.undo_file)
    refused = {Path(each.path).name: each.reason for each in back.refused}
    assert set(refused) == {"twin.jpg", "small.jpg"}
    assert "another file is there now" in refused["twin.jpg"]
    assert "has changed since" in refused["small.jpg"]
    assert (tmp_path / "pics/twin.jpg").read_bytes() == b"a new picture of this name"
    assert (tmp_path / "pics/sub/small.jpg").exists()
    (tmp_path / "copies/small.jpg").unlink()
    assert "is gone" in str(put_back(library, report.undo_file).refused)


HEADER = b'{"hashgrain_undo": %d, "action": "%s", "library": "x", "history": "x"}\n'


@pytest.mark.parametrize(
    "content", [b"", b"nonsense\n", b"{}\n", b"[1]\n", HEADER % (1, b"burn"), HEADER % (9, b"move"), b"\xff\n"]
)
def test_what_is_no_undo_file_is_an_error(library: Path, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(LibraryError, match="file"):
        put_back(library, tmp_path / "file")


def test_an_undo_file_with_odd_entries_or_of_another_library_is_an_error(library: Path, tmp_path: Path) -> None:
    file = act(library, "move", tmp_path / "copies").undo_file
    assert file is not None
    header, first, *_ = file.read_text().splitlines()
    entry = json.loads(first)
    odds: list[dict[str, object]] = [
        {"path": "relative.jpg"},
        {"mode": "x"},
        {"meta": []},
        {"more": 1},
        {"path": "/a\0.jpg"},
    ]
    for odd in odds:
        (tmp_path / "odd").write_text(f"{header}\n{json.dumps({**entry, **odd})}\n")
        with pytest.raises(LibraryError, match="is not an undo file"):
            put_back(library, tmp_path / "odd")
    other = make_library(tmp_path / "elsewhere", {"a.jpg": Made(1)})
    with pytest.raises(LibraryError, match="is of the library"):
        put_back(other, file)
    (tmp_path / "cut").write_text(f"{header}\n{first}\n{first[:40]}")
    assert len(put_back(library, tmp_path / "cut").restored) == 1


# ---- stopped at any moment

KILLED = 9


def stop_at(step: int, do: Callable[[], object]) -> bool:
    """Run in a process that is killed before its call number `step` of the system; whether it came to its end."""
    child = os.fork()
    if child:
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        assert code in (0, KILLED), step
        return code == 0
    calls = iter(range(1, step + 1))

    def counted(call: Callable[..., Any]) -> Callable[..., Any]:
        def run(*arguments: Any, **options: Any) -> Any:
            if next(calls, step) == step:
                os._exit(KILLED)
            return call(*arguments, **options)

        return run

    try:
        for name in ("hold", "move", "link", "unlink_from_others", "sync_folder", "sync"):
            setattr(moving, name, counted(getattr(moving, name)))
        undo_file.sync = counted(undo_file.sync)
        for name in ("replace", "link", "unlink"):
            setattr(os, name, counted(getattr(os, name)))
        Library.remove = counted(Library.remove)  # type: ignore[method-assign]
        do()
        os._exit(0)
    finally:  # an exception: never back into the tests
        os._exit(1)


@pytest.mark.parametrize("action", ["move", "link"])
def test_killed_at_any_moment_nothing_is_lost_and_undo_brings_all_back(tmp_path: Path, action: Action) -> None:
    home, as_made = tmp_path / "home", tmp_path / "as-made"
    make_library(home, {"pics/a.jpg": Made(1), "pics/b.jpg": Made(1), "pics/c.jpg": Made(1)})
    before = tree(home)
    home.rename(as_made)
    done, step = False, 0
    while not done:
        step += 1
        shutil.rmtree(home, ignore_errors=True)
        shutil.copytree(as_made, home)
        folder = home / "copies" if action == "move" else None
        done = stop_at(step, lambda: act(home / "lib.hg", action, folder))  # noqa: B023
        contents = sorted(content for content in tree(home).values() if content)
        assert contents == sorted(before.values()), step
        for file in home.glob("*.jsonl"):
            back = put_back(home / "lib.hg", file)
            assert back.refused == (), step
        assert {name: content for name, content in tree(home).items() if name.startswith("pics")} == before, step
        assert known(home / "lib.hg") >= set(before), step
    assert step > 10


# ---- the command


def test_the_command_says_what_it_would_do_does_it_and_undoes_it(hashgrain: Run, library: Path, tmp_path: Path) -> None:
    before = tree(tmp_path / "pics")
    dry = hashgrain("duplicates", library, "--delete")
    assert dry.returncode == 0, dry.stderr
    assert b"would delete to" in dry.stdout
    assert b"--yes does it" in dry.stderr
    assert tree(tmp_path / "pics") == before
    done = hashgrain("duplicates", library, "--delete", "--yes", "--html", "page.html", "--csv", "table.csv")
    assert done.returncode == 0, done.stderr
    (file,) = tmp_path.glob("lib.hg-undo-*.jsonl")
    assert str(file).encode() in done.stderr
    assert (tmp_path / "page.html").read_text().count("data:image/jpeg") == 4  # taken before the files went
    assert "deleted to" in (tmp_path / "table.csv").read_text()
    back = hashgrain("duplicates", library, "--undo", file)
    assert (back.returncode, back.stdout) == (0, b"put back 3\n"), back.stderr
    assert tree(tmp_path / "pics") == before
    refused = hashgrain("duplicates", library, "--undo", tmp_path / "table.csv")
    assert (refused.returncode, len(refused.stderr.splitlines())) == (1, 1)


def test_links_are_of_exact_copies_unless_a_word_is_given(hashgrain: Run, library: Path, tmp_path: Path) -> None:
    done = hashgrain("duplicates", library, "--link", "--yes", "--json")
    document = json.loads(done.stdout)
    assert (done.returncode, document["word"], document["done"], document["skipped"]) == (0, "exact", 1, 0)
    assert os.path.samefile(tmp_path / "pics/best.jpg", tmp_path / "pics/twin.jpg")


def test_parts_are_acted_upon_only_when_asked(tmp_path: Path) -> None:
    from test_duplicates import parts_library

    with Library.open(parts_library(tmp_path), "w", workers=0) as opened:
        found = find_duplicates(opened, within=4, parts=True)
        plain = act_on(opened, found, "delete", dry_run=True)
        assert [Path(outcome.item.path).name for outcome in plain.outcomes] == ["crop-copy.jpg"]
        report = act_on(opened, found, "delete", parts=True, dry_run=False)
    told = [(Path(outcome.item.path).name, outcome.skipped) for outcome in report.outcomes]
    assert told == [
        ("crop-copy.jpg", None),
        ("crop.jpg", "is kept for another picture"),
        ("sharp-crop.jpg", f"has more pixels than {tmp_path / 'scene.jpg'}, of which it shows a part"),
    ]
