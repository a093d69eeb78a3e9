"""Backups: right while a library is written to, incremental, whole or not there, and never trusted."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from conftest import Run, fill
from hashgrain import Library
from hashgrain.errors import BackupError, LibraryError, LibraryLockedError
from hashgrain.library import backups
from hashgrain.library.backups import (
    CHUNKS,
    MARK,
    back_up,
    backups_in,
    prune_backups,
    restore_backup,
    verify_backups,
)
from hashgrain.store import New
from hashgrain.store.lock import WriterLock

pytestmark = pytest.mark.timeout(120)
ITEMS = 12


@pytest.fixture
def library(tmp_path: Path, pictures: Path) -> Path:
    with Library.create(tmp_path / "photos.hg", "photo", workers=0) as made:
        made.add(sorted(pictures.glob("*.jpg"))[:ITEMS], detail="low")
        made.meta(where="id > 6", set={"label": "far"})
    return tmp_path / "photos.hg"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "backups"


def held(path: Path) -> list[Any]:
    """All that a library says of its items, and the answers to some questions."""
    with Library.open(path, workers=0) as opened:
        items = [(item.id, item.path, item.meta, item.added) for item in opened.items()]
        found = [
            [(hit.id, hit.distance, hit.score, hit.part) for hit in opened.search(item[0], parts="all", where="id > 1")]
            for item in items[:3]
        ]
        return [items, opened.codes()[0].words.tolist(), found, opened.store.digest]


def chunks_of(folder: Path) -> dict[str, Path]:
    return {file.name: file for file in (folder / CHUNKS).rglob("*") if file.is_file()}


def test_a_restored_library_is_as_the_backed_up_one_was(library: Path, folder: Path, tmp_path: Path) -> None:
    expected = held(library)
    report = back_up(library, folder)
    assert (report.backup.items, report.backup.library) == (ITEMS, str(library))
    assert report.new_bytes == sum(file.stat().st_size for file in chunks_of(folder).values())
    assert verify_backups(folder) == []
    shutil.rmtree(library)
    assert restore_backup(folder, library) == report.backup
    assert held(library) == expected
    with Library.open(library, "w", workers=0) as opened:  # it goes on from there
        assert opened.add(fill(tmp_path / "more", 2, start=70)).added == 2
        assert opened.store.verify() == []


def test_a_later_backup_adds_what_has_changed_and_each_can_be_restored(
    library: Path, folder: Path, tmp_path: Path
) -> None:
    first, before = back_up(library, folder), held(library)
    again = back_up(library, folder)
    assert again.new_bytes == 0
    with Library.open(library, "w", workers=0) as opened:
        opened.remove([2])
        opened.meta(where="id = 3", set={"label": "new"})
    after = held(library)
    last = back_up(library, folder)
    assert 0 < last.new_bytes < last.backup.bytes
    assert [backup.name for backup in backups_in(folder)] == [each.backup.name for each in (first, again, last)]
    restore_backup(folder, tmp_path / "old.hg", first.backup.name)
    restore_backup(folder, tmp_path / "new.hg", last.backup.name)
    assert (held(tmp_path / "old.hg"), held(tmp_path / "new.hg")) == (before, after)


def test_a_backup_is_of_one_moment_while_others_write(library: Path, folder: Path, tmp_path: Path) -> None:
    stop = threading.Event()

    def write() -> None:
        rng = np.random.default_rng(0)
        with Library.open(library, "w", workers=0) as opened:
            number = 0
            while not stop.is_set():  # two items at once, always of one label
                words = rng.integers(0, 2**63, (2, 4), np.uint64)
                news = [
                    New(f"/n/{number}-{i}.jpg", f"{2 * number + i:064x}", (1, 1), 9, 9, "jpeg", None, words[i], {})
                    for i in range(2)
                ]
                opened.store.commit(news)
                number += 1

    writer = threading.Thread(target=write)
    writer.start()
    try:
        names = [back_up(library, folder).backup for _ in range(4)]
    finally:
        stop.set()
        writer.join()
    assert names[-1].changes > names[0].changes
    for number, backup in enumerate(names):
        restore_backup(folder, tmp_path / f"{number}.hg", backup.name)
        with Library.open(tmp_path / f"{number}.hg", workers=0) as opened:
            paths = [item.path for item in opened.items()]
            made = [path for path in paths if path.startswith("/n/")]
            assert len(paths) == backup.items
            assert len(made) % 2 == 0
            with opened.store.snapshot() as snapshot:
                assert snapshot.sequence == backup.changes
            assert opened.store.verify() == []


KILLED = """
import sys
from hashgrain.library.backups import back_up
while True:
    back_up(sys.argv[1], sys.argv[2])
"""


def test_a_backup_that_is_killed_leaves_those_before_and_is_made_again(
    library: Path, folder: Path, tmp_path: Path
) -> None:
    expected = held(library)
    back_up(library, folder)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    for after in (0.6, 0.9, 1.3):
        child = subprocess.Popen([sys.executable, "-c", KILLED, library, folder], env=environment)
        with pytest.raises(subprocess.TimeoutExpired):
            child.wait(after)
        child.kill()
        child.wait()
        assert verify_backups(folder) == []
        back_up(library, folder)
        assert [name for name in os.listdir(folder) if name.endswith(backups.UNFINISHED)] == []
        shutil.rmtree(tmp_path / "again.hg", ignore_errors=True)
        restore_backup(folder, tmp_path / "again.hg")
        assert held(tmp_path / "again.hg") == expected


def test_pruning_keeps_the_last_and_all_that_they_need(library: Path, folder: Path, tmp_path: Path) -> None:
    names = []
    for number in range(4):
        with Library.open(library, "w", workers=0) as opened:
            opened.meta(where="id = 1", set={"label": f"{number}"})
        names.append(back_up(library, folder).backup.name)
    stray = folder / CHUNKS / "00"
    stray.mkdir(exist_ok=True)
    (stray / ("0" * 64)).write_bytes(b"of a killed one")
    before = len(chunks_of(folder))
    would, size = prune_backups(folder, 2, really=False)
    assert ([backup.name for backup in would], len(chunks_of(folder))) == (names[:2], before)
    gone, freed = prune_backups(folder, 2)
    assert (gone, freed) == (would, size)
    assert freed > 15
    assert [backup.name for backup in backups_in(folder)] == names[2:]
    assert verify_backups(folder) == []
    restore_backup(folder, tmp_path / "kept.hg", names[2])
    assert prune_backups(folder, 9) == ([], 0)
    with pytest.raises(BackupError, match="one at least"):
        prune_backups(folder, 0)


def test_pictures_that_clients_sent_are_kept(library: Path, folder: Path, pictures: Path) -> None:
    from hashgrain.library.sent_pictures import add_sent

    data = (pictures / "00019.jpg").read_bytes()
    with Library.open(library, "w", workers=0) as opened:
        item, _ = add_sent(opened, data, "mine of 2020 (1).jpg", max_pixels=10**8)
    back_up(library, folder)
    shutil.rmtree(library)
    restore_backup(folder, library)
    assert Path(item.path).read_bytes() == data


# ---- what is damaged or of strangers


def test_damaged_and_missing_chunks_are_found_and_nothing_is_restored(
    library: Path, folder: Path, tmp_path: Path
) -> None:
    backup = back_up(library, folder).backup
    first, second = list(chunks_of(folder).values())[:2]
    first.write_bytes(bytes([first.read_bytes()[0] ^ 1]) + first.read_bytes()[1:])
    second.unlink()
    found = {Path(problem.thing).name: problem.reason for problem in verify_backups(folder)}
    assert found.keys() == {first.name, second.name}
    assert ("damaged" in found[first.name], "cannot be read" in found[second.name]) == (True, True)
    with pytest.raises(BackupError, match="cannot be restored"):
        restore_backup(folder, tmp_path / "new.hg", backup.name)
    assert sorted(os.listdir(tmp_path)) == ["backups", "photos.hg", "pictures"]
    first.unlink()  # as it is told to
    assert back_up(library, folder).new_bytes > 0
    assert verify_backups(folder) == []


def changed_list(folder: Path, change: Any) -> str:
    """The list of the last backup changed, under the name that its content has then."""
    backup = backups_in(folder)[-1].name
    facts = json.loads((folder / f"{backup}.json").read_text())
    change(facts)
    content = json.dumps(facts).encode()
    (folder / f"{backup}.json").unlink()
    name = f"{backup.rpartition('-')[0]}-{hashlib.sha256(content).hexdigest()[:8]}"
    (folder / f"{name}.json").write_bytes(content)
    return name


HOSTILE: dict[str, Any] = {
    "a file elsewhere": lambda facts: facts["files"][1].update(name="../../outside"),
    "a file elsewhere, in disguise": lambda facts: facts["files"][1].update(name="model/../../outside"),
    "an absolute name": lambda facts: facts["files"][1].update(name="/tmp/outside"),
    "another folder of the library": lambda facts: facts["files"][1].update(name="segments/000001.w00"),
    "a chunk elsewhere": lambda facts: facts["files"][0]["chunks"].__setitem__(0, "../../../../etc/passwd"),
    "more chunks than bytes": lambda facts: facts["files"][0]["chunks"].append("0" * 64),
    "a size of another kind": lambda facts: facts["files"][0].update(size="7"),
    "a name that is none": lambda facts: facts["files"][1].update(name=7),
    "one name twice": lambda facts: facts["files"].append(facts["files"][1]),
    "a name that hides": lambda facts: facts["files"][1].update(name="model/.hidden"),
    "no catalogue": lambda facts: facts["files"].pop(0),
    "no files": lambda facts: facts.update(files=[]),
    "files of another kind": lambda facts: facts.update(files=7),
    "another format": lambda facts: facts.update(hashgrain_backup=99),
    "less than nothing": lambda facts: facts.update(items=-1),
}


@pytest.mark.parametrize("how", HOSTILE)
def test_a_list_of_a_stranger_leads_nowhere(library: Path, folder: Path, tmp_path: Path, how: str) -> None:
    back_up(library, folder)
    name = changed_list(folder, HOSTILE[how])
    with pytest.raises(BackupError, match="cannot be read"):
        restore_backup(folder, tmp_path / "new.hg", name)
    assert [Path(problem.thing).stem for problem in verify_backups(folder)] == [name]
    assert sorted(os.listdir(tmp_path)) == ["backups", "photos.hg", "pictures"]


def test_a_damaged_list_does_not_stand_in_the_way_of_the_others(library: Path, folder: Path, tmp_path: Path) -> None:
    first, last = back_up(library, folder).backup, back_up(library, folder).backup
    (folder / f"{first.name}.json").write_bytes(b"{}")
    assert restore_backup(folder, tmp_path / "new.hg") == last
    with pytest.raises(BackupError, match="checksum"):
        restore_backup(folder, tmp_path / "other.hg", first.name)
    with pytest.raises(BackupError, match="checksum"):  # what it needs cannot be known
        prune_backups(folder, 1)
    (folder / f"{first.name}.json").unlink()  # as `verify` says
    assert verify_backups(folder) == []


def test_what_is_unfinished_is_left_out_and_what_is_none_of_the_library_named(library: Path, folder: Path) -> None:
    (library / "model" / ".model.json.12ab.part").write_bytes(b"half")
    assert len(back_up(library, folder).backup.files) == 1 + len(os.listdir(library / "model")) - 1
    (library / "model" / "a\nb").write_bytes(b"mine")
    with pytest.raises(BackupError, match="no file of a library"):
        back_up(library, folder)
    assert len(backups_in(folder)) == 1


def test_a_list_that_was_changed_or_is_a_link_is_refused(library: Path, folder: Path, tmp_path: Path) -> None:
    name = back_up(library, folder).backup.name
    file = folder / f"{name}.json"
    content = file.read_bytes()
    file.write_bytes(content.replace(b"items", b"Items"))
    with pytest.raises(BackupError, match="checksum"):
        backups_in(folder)
    file.unlink()
    (tmp_path / "elsewhere.json").write_bytes(content)
    file.symlink_to(tmp_path / "elsewhere.json")
    with pytest.raises(BackupError, match="link"):
        backups_in(folder)


def test_a_catalogue_that_is_not_sound_is_not_restored(library: Path, folder: Path, tmp_path: Path) -> None:
    """Every chunk is as its name says, but what they hold is damage, or something else."""
    backup = back_up(library, folder).backup
    chunk = backup.files[0].chunks[0]
    content = (folder / CHUNKS / chunk[:2] / chunk).read_bytes()
    forged = content[:4096] + os.urandom(4096) + content[8192:]
    digest = hashlib.sha256(forged).hexdigest()
    (folder / CHUNKS / digest[:2]).mkdir(exist_ok=True)
    (folder / CHUNKS / digest[:2] / digest).write_bytes(forged)
    changed_list(folder, lambda facts: facts["files"][0]["chunks"].__setitem__(0, digest))
    with pytest.raises((BackupError, LibraryError)):
        restore_backup(folder, tmp_path / "new.hg")
    assert not (tmp_path / "new.hg").exists()
    assert not (tmp_path / ".new.hg.restoring").exists()


def test_a_damaged_library_is_not_backed_up(library: Path, folder: Path) -> None:
    size = (library / "catalogue.sqlite").stat().st_size
    with (library / "catalogue.sqlite").open("r+b") as file:
        file.seek(size - 2000)
        file.write(os.urandom(500))
    with pytest.raises(LibraryError):
        back_up(library, folder)
    assert backups_in(folder) == []


# ---- places that will not do


def test_places_that_will_not_do_are_refused(library: Path, folder: Path, tmp_path: Path, pictures: Path) -> None:
    (tmp_path / "file").write_text("mine")
    for place, reason in (
        (pictures, "other things in it"),
        (library / "backups", "inside the library"),
        (library, "inside the library"),
        (tmp_path / "file", "is a file"),
        (Path("/proc/no/folder"), "cannot be made"),
        (Path("s3://bucket/photos"), "is an address"),
    ):
        with pytest.raises(BackupError, match=reason):
            back_up(library, place)
    with pytest.raises(BackupError, match="no folder of backups"):
        backups_in(pictures)
    with pytest.raises(LibraryError):
        back_up(tmp_path / "none.hg", folder)
    assert not folder.exists()
    back_up(library, folder)
    with pytest.raises(BackupError, match="is there already"):
        restore_backup(folder, library)
    with pytest.raises(BackupError, match="has no backup 2020"):
        restore_backup(folder, tmp_path / "new.hg", "2020")
    lock = WriterLock(folder)
    with pytest.raises(LibraryLockedError):
        back_up(library, folder)
    lock.release()
    (folder / MARK).write_text('{"hashgrain_backups": 2}')
    with pytest.raises(BackupError, match="format"):
        backups_in(folder)


def test_the_command_makes_lists_checks_restores_and_prunes(
    library: Path, folder: Path, tmp_path: Path, hashgrain: Run
) -> None:
    def backup(*words: object, code: int = 0) -> Any:
        done = hashgrain("backup", *words, "--json")
        assert done.returncode == code, done.stderr
        return json.loads(done.stdout if done.stdout else done.stderr)

    made = backup("make", library, folder)
    assert (made["items"], made["new_bytes"] > 0) == (ITEMS, True)
    assert hashgrain("meta", library, "--where", "id = 1", "--set", "label=x").returncode == 0
    second = backup("make", library, folder)
    names = [made["backup"], second["backup"]]
    assert [each["backup"] for each in backup("list", folder)] == names
    assert backup("verify", folder) == {"ok": True, "problems": []}
    restored = backup("restore", folder, tmp_path / "new.hg", "--at", made["backup"])
    assert (restored["restored"], restored["items"]) == (str(tmp_path / "new.hg"), ITEMS)
    assert hashgrain("verify", tmp_path / "new.hg").returncode == 0
    assert backup("prune", folder, "--keep", 1)["dry_run"]
    assert len(backup("list", folder)) == 2
    assert backup("prune", folder, "--keep", 1, "--yes")["removed"] == names[:1]
    next(iter(chunks_of(folder).values())).write_bytes(b"")
    found = backup("verify", folder, code=1)
    assert (found["ok"], len(found["problems"])) == (False, 1)
    refused = backup("restore", folder, tmp_path / "other.hg", code=1)
    assert refused["error"]["code"] == "backup"
    for plain in (("make", library, folder), ("list", folder), ("prune", folder, "--keep", 1)):
        said = hashgrain("backup", *plain)
        assert said.returncode == 0
        assert b"Traceback" not in said.stderr
