"""The files of deploy/ start the server as it is: options exist, figures exist, the unit is sound."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import typer

from conftest import ROOT, fill
from hashgrain import Library
from hashgrain.cli.app import application
from hashgrain.cli.config import options_of

DEPLOY = ROOT / "deploy"
FIGURE = re.compile(r"\bhashgrain_\w+")


def joined(text: str) -> str:
    return text.replace("\\\n", " ")


def serve_options() -> set[str]:
    command: Any = typer.main.get_command(application("serve"))
    return set(options_of(command.commands["serve"]))


def options_in(command: str) -> set[str]:
    return {word[2:] for word in shlex.split(command) if word.startswith("--")}


def test_the_unit_the_container_and_the_proxy_start_the_server_with_options_that_exist() -> None:
    unit = joined((DEPLOY / "hashgrain.service").read_text())
    (started,) = re.findall(r"^ExecStart=(.*)$", unit, re.MULTILINE)
    container = (DEPLOY / "Containerfile").read_text()
    (command,) = re.findall(r"^CMD (\[.*\])$", container, re.MULTILINE)
    (advised,) = re.findall(r"^#   (hashgrain serve .*)$", (DEPLOY / "Caddyfile").read_text(), re.MULTILINE)
    for line in (started, shlex.join(json.loads(command)), advised):
        assert "serve" in line
        assert options_in(line) <= serve_options(), line
    assert "USER 10001" in container
    assert re.search(r"^User=hashgrain$", unit, re.MULTILINE)


def test_systemd_finds_nothing_wrong_with_the_unit(tmp_path: Path) -> None:
    if not shutil.which("systemd-analyze"):
        pytest.skip("needs systemd-analyze")
    unit = (
        (DEPLOY / "hashgrain.service").read_text().replace("/opt/hashgrain/bin/hashgrain", shutil.which("true") or "")
    )
    (tmp_path / "hashgrain.service").write_text(unit)
    command = ["systemd-analyze", "verify", "--man=no", str(tmp_path / "hashgrain.service")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert "hashgrain.service" not in done.stderr, done.stderr


def test_every_figure_that_is_drawn_or_watched_is_one_the_server_tells(tmp_path: Path) -> None:
    pytest.importorskip("fastapi", reason="needs hashgrain[serve]")
    from serving import start

    with Library.create(tmp_path / "photos.hg", workers=1) as library:
        library.add(fill(tmp_path / "pictures", 3))
    server = start(tmp_path / "photos.hg", tmp_path / "log.txt", "--workers", 1)
    searched = server.ask(
        "POST", "/api/v1/search", json.dumps({"query": {"item": 1}}), {"Content-Type": "application/json"}
    )
    assert searched.status == 200
    assert server.ask("GET", "/nowhere").status == 404
    told = server.ask("GET", "/metrics").body.decode()
    assert server.stop() == 0
    known = set(re.findall(r"^(hashgrain_\w+)", told, re.MULTILINE))
    texts = [(DEPLOY / name).read_text() for name in ("grafana.json", "hashgrain-rules.yml")]
    assert sum(len(FIGURE.findall(text)) for text in texts) > 10
    for text in texts:
        assert set(FIGURE.findall(text)) <= known
        routes = set(re.findall(r'route=\\?"([^"\\]+)', text))
        assert routes
        assert all(f'route="{route}"' in told for route in routes)
    panels = json.loads(texts[0])["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels) > 4
