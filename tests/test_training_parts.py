"""`hashgrain train --protocol` and `--manifest`: what a protocol keeps for asking is never learned from."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import in_process
from conftest import Run, make_picture
from labelled_folder import draw_folder

pytest.importorskip("torch", reason="needs the train extra")
pytest.importorskip("accelerate", reason="needs the train extra")

from hashgrain.errors import TrainingError
from hashgrain.evaluate.manifest import Manifest
from hashgrain.evaluate.protocols import protocol
from hashgrain.evaluate.splitting import read_pool, split
from hashgrain.labelled import labelled_pictures
from hashgrain.learn.data.labelled import list_labelled, load_labelled
from hashgrain.learn.data.part import TrainingPart, check_labels, training_part
from hashgrain.models import Bundle
from hashgrain.models.seen import seen_by

pytestmark = pytest.mark.train
TRAIN = ("train", "--data", "pictures", "--out", "model", "--recipe", "csq", "--quiet")
SETTINGS = ("trained=head", "backbone=bundle:small", "epochs=1", "held_out=2")  # a head alone: seconds
FAST = tuple(part for setting in SETTINGS for part in ("--set", setting))


def silent(text: str) -> None:
    pass


def pictures_in(place: Path) -> Path:
    return draw_folder(place / "pictures", each=10)


def drawn(folder: Path, name: str = "folder", seed: int = 0) -> Manifest:
    return split(read_pool(labelled_pictures(folder)), protocol(name), seed)


def contents_of(manifest: Manifest, index: np.ndarray) -> list[str]:
    return [manifest.hashes[i] for i in index.tolist()]


# ---- from the command to figures on pictures that are new to the model


def test_train_by_a_protocol_then_evaluate_by_it_asks_with_new_pictures_alone(
    hashgrain: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A researcher's path: train, evaluate, nothing more to name."""
    folder = pictures_in(tmp_path)
    (folder / "warm/warm-wide/broken.png").write_bytes(b"no picture")  # which no split may be drawn from
    trained = hashgrain(*TRAIN, *FAST, "--protocol", "folder", "--protocol-seed", 1)
    assert trained.returncode == 0, trained.stderr.decode()
    manifest = Manifest.read(tmp_path / "runs/csq/manifest.json.gz")
    asked, learned = (contents_of(manifest, index) for index in (manifest.queries, manifest.train))
    assert (len(asked), len(learned), manifest.seed) == (6, 54, 1)
    bundle = Bundle.read(tmp_path / "model")
    (record,) = seen_by(bundle.training)
    assert not record.holds(asked).any()
    assert record.holds(learned).sum() == bundle.training["data"]["pictures"] == 42  # two of each thing are kept out
    assert bundle.training["data"]["held_out"] == 12  # from within the training part
    told = {"protocol": "folder", "seed": 1, "manifest": manifest.digest}
    assert bundle.training["data"].items() >= told.items()
    assert manifest.digest[:12] in (tmp_path / "model/card.md").read_text()

    options = ("--data", "pictures", "--references", "none", "--json")
    done = hashgrain("evaluate", "model", *options, "--seeds", 1)
    assert done.returncode == 0, done.stderr.decode()
    monkeypatch.chdir(tmp_path)
    by_file = in_process.hashgrain("evaluate", "model", *options, "--manifest", "runs/csq/manifest.json.gz")
    for printed in (done.stdout, by_file.stdout):
        (result,) = json.loads(printed)
        assert result["protocol"]["manifest"] == manifest.digest
        learned_from = {"queries": 0, "of_queries": 6, "database": 42, "of_database": 54, "beyond": 0}
        assert result["learned_from"] == learned_from
        assert not any("learned" in text for text in result["warnings"])
    another = in_process.hashgrain("evaluate", "model", *options, "--seeds", 0)
    assert another.exit_code == 1
    assert "--allow-seen" in another.stderr


def test_train_on_a_folder_of_parts_then_evaluate_by_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    folder = pictures_in(tmp_path)
    for picture in sorted(folder.rglob("*.png")):
        part = "test" if picture.stem in "012" else "train"
        place = tmp_path / "parts" / part / picture.relative_to(folder)
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(picture, place)
    command = ("train", "--data", "parts", "--out", "model", "--recipe", "adapt", "--set", "steps=20")
    trained = in_process.hashgrain(*command, "--quiet")
    assert trained.exit_code == 0, trained.stderr
    pooled = in_process.hashgrain("evaluate", "model", "--data", "parts")
    assert pooled.exit_code == 1
    assert "the parts test and train, which must not be mixed; take --protocol parts" in pooled.stderr
    done = in_process.hashgrain("evaluate", "model", "--data", "parts", "-p", "parts", "--references", "none", "--json")
    assert done.exit_code == 0, done.stderr
    (result,) = json.loads(done.stdout)
    assert (result["protocol"]["queries"], result["protocol"]["database"]) == (18, 42)
    assert result["learned_from"]["queries"] == 0
    assert result["learned_from"]["database"] > 30


def test_adapt_learns_from_the_training_part_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    manifest = drawn(pictures_in(tmp_path))
    manifest.write(tmp_path / "split.json.gz")
    command = ("train", "--data", "pictures", "--out", "model", "--recipe", "adapt", "--set", "steps=20")
    trained = in_process.hashgrain(*command, "--manifest", "split.json.gz")
    assert trained.exit_code == 0, trained.stderr
    training = Bundle.read(tmp_path / "model").training
    (record,) = seen_by({"seen": training["seen"]})
    assert not record.holds(contents_of(manifest, manifest.queries)).any()
    assert training["data"]["pictures"] + training["data"]["held_out"] == 54
    assert training["data"]["manifest"] == manifest.digest
    assert "of the training part of folder, seed 0" in (tmp_path / "model/card.md").read_text()


# ---- what is taken


def test_what_is_read_is_the_training_part_whatever_files_are_called_now(tmp_path: Path) -> None:
    folder = pictures_in(tmp_path)
    manifest = drawn(folder)
    for number, picture in enumerate(sorted(folder.rglob("*.png"))):
        picture.rename(picture.with_name(f"other-{number}.png"))
    part = TrainingPart(manifest)
    for read in (load_labelled(folder, 16, ("kind", "thing"), only=part), list_labelled(folder, ("thing",), only=part)):
        assert sorted(read.contents.tolist()) == sorted(contents_of(manifest, manifest.train))
    listed = list_labelled(folder, ("thing",), only=part)
    wanted = set(listed.contents[:5].tolist())
    assert {content for content, _ in listed.read(wanted)} == wanted


def test_a_training_picture_with_the_contents_of_a_query_is_left_out_and_told(tmp_path: Path) -> None:
    folder = pictures_in(tmp_path)
    manifest = drawn(folder)
    query = folder / manifest.names[manifest.queries[0]]
    for name in ("twin.png", "third.png"):
        shutil.copy(query, query.with_name(name))
    said: list[str] = []
    part = training_part(folder, "folder", None, 0, said.append)
    assert part is not None
    asked = set(contents_of(part.manifest, part.manifest.queries))
    data = load_labelled(folder, 16, ("thing",), only=part)
    assert asked.isdisjoint(data.contents.tolist())
    assert part.left_out > 0
    assert any(f"{part.left_out} training pictures have the same content as a query" in line for line in said)
    assert len(data) == len(part.manifest.train) - part.left_out


def test_copies_are_learned_from_as_often_as_the_split_has_them(tmp_path: Path) -> None:
    folder = pictures_in(tmp_path)
    manifest = drawn(folder)
    picture = folder / manifest.names[manifest.train[0]]
    shutil.copy(picture, picture.with_name("copy.png"))  # after it was drawn
    assert len(load_labelled(folder, 16, ("thing",), only=TrainingPart(manifest))) == len(manifest.train)


# ---- bad input


def refused(text: str, folder: Path, manifest: Manifest) -> None:
    with pytest.raises(TrainingError, match=text):
        load_labelled(folder, 16, ("thing",), only=TrainingPart(manifest))


def test_pictures_of_the_manifest_that_changed_or_are_gone_are_named(tmp_path: Path) -> None:
    folder = pictures_in(tmp_path)
    manifest = drawn(folder)
    query = folder / manifest.names[manifest.queries[0]]
    query.unlink()  # which does not matter to who only learns
    assert len(load_labelled(folder, 16, ("thing",), only=TrainingPart(manifest))) == 54
    changed, gone, moved = (folder / manifest.names[i] for i in manifest.train[[0, 20, 40]].tolist())
    Image.new("RGB", (40, 40), "red").save(changed)
    gone.unlink()
    other = next(place for place in folder.glob("*/*") if place != moved.parent)
    moved.rename(other / "moved.png")
    refused("^3 training pictures are not those of the manifest", folder, manifest)
    names = [str(each.relative_to(folder)) for each in (changed, gone, moved)]
    for name, why in zip(names, ("changed", "missing", "of another class now"), strict=True):
        refused(rf"{name} \({why}", folder, manifest)
    refused("get the data again, or draw a new split", folder, manifest)


def test_what_cannot_be_learned_from_is_said_before_anything_is_decoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    folder = pictures_in(tmp_path)
    manifest = drawn(folder)
    dataclasses.replace(manifest, train=manifest.train[:0]).write(tmp_path / "asks-only.json.gz")
    manifest.write(tmp_path / "split.json.gz")
    parts = tmp_path / "only-test/test/a"
    parts.mkdir(parents=True)
    for seed in range(4):
        make_picture(seed).save(parts / f"{seed}.png")
    (tmp_path / "damaged.json.gz").write_bytes(b"no manifest")
    for options, said in (
        (("--manifest", "asks-only.json.gz"), "asks-only.json.gz has no training part"),
        (("--manifest", "none.json.gz"), "none.json.gz"),
        (("--manifest", "damaged.json.gz"), "damaged.json.gz"),
        (("--manifest", "split.json.gz", "--protocol", "folder"), "not both"),
        (("--protocol", "cifar10-3"), "cifar10-1"),
        (("--protocol", "cifar10-1"), "cifar10-1 has 60000 pictures, here are 60"),
        (("--protocol", "parts"), "parts takes its queries from the part 'test'"),
        (("--protocol", "parts", "--data", "only-test"), "parts takes its training pictures from the part 'train'"),
        (("--protocol", "folder", "--recipe", "photo"), "takes no --protocol"),
    ):
        in_process.refused(in_process.hashgrain(*TRAIN, *options), "model", said)


def test_a_protocol_of_methods_without_labels_refuses_those_with_labels(tmp_path: Path) -> None:
    manifest = drawn(pictures_in(tmp_path))
    rules = {**manifest.rules, "protocol": "cifar10-unsup-I"}
    part = TrainingPart(dataclasses.replace(manifest, rules=rules))
    with pytest.raises(TrainingError, match="cifar10-unsup-I is for methods that learn from no label, and recipe csq"):
        check_labels(part, True, "csq")
    check_labels(part, False, "coding-rate")
    check_labels(TrainingPart(manifest), True, "csq")
    check_labels(None, True, "csq")
