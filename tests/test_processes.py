"""One training shared out among two processes, as torchrun starts them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from labelled_folder import draw_folder

pytest.importorskip("torch", reason="needs the train extra")
pytest.importorskip("accelerate", reason="needs the train extra")

from hashgrain import Encoder
from hashgrain.learn.data.labelled import load_labelled

pytestmark = [pytest.mark.train, pytest.mark.slow]
TRAIN = ["train", "--data", "pictures", "--out", "model", "--recipe", "quick", "--json"]
SETTINGS = ["size=32", "epochs=8", "batch=16", "held_out=4"]


def shared_out(place: Path, *arguments: str) -> subprocess.CompletedProcess[bytes]:
    settings = [part for setting in SETTINGS for part in ("--set", setting)]
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "hashgrain"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [*launch, *TRAIN, *settings, *arguments], cwd=place, env=environment, capture_output=True, timeout=110
    )


def test_two_processes_train_one_model_and_the_first_writes_it(tmp_path: Path) -> None:
    folder = draw_folder(tmp_path / "pictures")
    done = shared_out(tmp_path)
    assert done.returncode == 0, done.stderr.decode()[-4000:]
    facts = json.loads(done.stdout)  # of one process alone
    assert done.stderr.count(b"training on 96 pictures") == 1
    assert facts["validation"]["kind mAP"] > 0.8  # two kinds, a half by chance
    pictures = load_labelled(folder, Encoder.load(tmp_path / "model").bundle.size[0], ())
    assert len(Encoder.load(tmp_path / "model").codes(pictures.inputs)) == len(pictures)
    lines = [json.loads(line) for line in (tmp_path / "runs/quick/log.jsonl").read_text().splitlines()]
    steps = [line["step"] for line in lines if "step" in line]
    assert steps == sorted(set(steps))
    again = shared_out(tmp_path)  # finds all of it done
    assert again.returncode == 0, again.stderr.decode()[-4000:]
    assert json.loads(again.stdout)["validation"] == facts["validation"]


def test_torchrun_takes_no_option_of_train_for_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    """It reads all of the command line first, and takes what begins one of its options for that."""
    import typer
    from torch.distributed.run import parse_args

    from hashgrain.cli.app import application

    train: Any = vars(typer.main.get_command(application("train")))["commands"]["train"]
    options = [option for parameter in train.params for option in parameter.opts]
    assert {"--run", "--run-folder", "--manifest", "--seeds"} <= set(options)
    for option in options:
        line = ["--nproc-per-node", "2", "-m", "hashgrain", "train", option, "x"]
        if option == "--run":  # known since before; the help says to write --run-folder there
            with pytest.raises(SystemExit):
                parse_args(line)
            continue
        assert parse_args(line).training_script_args == line[4:], option


def test_what_is_wrong_is_said_by_processes_too(tmp_path: Path) -> None:
    draw_folder(tmp_path / "pictures", each=2)
    failed = shared_out(tmp_path, "--set", "backbone=timm:resnet5O")
    assert failed.returncode != 0
    assert b"resnet50" in failed.stderr
    assert not (tmp_path / "model").exists()
