"""`--download`: what is fetched from Hugging Face, and what is said where it cannot be; against a server of our own."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest

from made_networks import in_cache, onnx_pair

pytest.importorskip("torch", reason="needs the train extra")
pytest.importorskip("huggingface_hub", reason="needs the train extra")
pytestmark = pytest.mark.train

COMMIT = "0123456789abcdef0123456789abcdef01234567"
# Asks for each repository in turn, with or without a download, and tells the commit and its files, or the error.
ASK = """
import json, sys
from hashgrain.errors import TrainingError
from hashgrain.learn.encoders.hub import network_allowed, repository_files
told = []
revision, download = sys.argv[1], sys.argv[2] == 'download'
for name in sys.argv[3:]:
    try:
        with network_allowed(download):
            files, commit = repository_files(name, revision, download, lambda text: None)
        told.append([commit, files.names()])
    except TrainingError as error:
        told.append(str(error))
print(json.dumps(told))
"""


class Hub(BaseHTTPRequestHandler):
    """As much of huggingface.co as is asked: what a repository holds, and its files."""

    root: Path
    asked: list[str]

    def do_HEAD(self) -> None:
        self._answer(False)

    def do_GET(self) -> None:
        self._answer(True)

    def _answer(self, body: bool) -> None:
        path = unquote(self.path.partition("?")[0])
        if "gated/net" in path:
            return self._send(403, b"", {"X-Error-Code": "GatedRepo"}, body)
        if "gone/net" in path:
            return self._send(404, b"", {"X-Error-Code": "RepoNotFound"}, body)
        if "moved/net" in path:
            return self._send(404, b"", {"X-Error-Code": "RevisionNotFound"}, body)
        if path.startswith("/api/models/") and "/tree/" not in path:
            names = ["pytorch_model.bin", "config.json"] if "pickled/net" in path else self._names()
            told = {"id": "someone/net", "sha": COMMIT, "siblings": [{"rfilename": name} for name in names]}
            return self._send(200, json.dumps(told).encode(), {}, body)
        name = path.partition(f"/resolve/{COMMIT}/")[2]
        if not (self.root / name).is_file():
            return self._send(404, b"", {"X-Error-Code": "EntryNotFound"}, body)
        self.asked.append(name)
        content = (self.root / name).read_bytes()
        facts = {"ETag": f'"{hashlib.sha256(content).hexdigest()}"', "X-Repo-Commit": COMMIT}
        return self._send(200, content, facts, body)

    def _names(self) -> list[str]:
        held = (path for path in self.root.rglob("*") if path.is_file())
        return sorted(path.relative_to(self.root).as_posix() for path in held)

    def _send(self, status: int, content: bytes, headers: dict[str, str], body: bool) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(content))}.items():
            self.send_header(name, value)
        self.end_headers()
        if body:
            self.wfile.write(content)

    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[tuple[str, list[str]]]:
    """Its address, and the files that were asked for."""
    root = onnx_pair(tmp_path / "net")
    (root / "model.safetensors").write_bytes(b"x" * 1000)
    (root / "onnx" / "vision_model_fp16.onnx").write_bytes(b"x" * 1000)
    asked: list[str] = []
    handler = type("OurHub", (Hub,), {"root": root, "asked": asked})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", asked
    server.shutdown()


def asked_for(names: list[str], environment: dict[str, str], revision: str = COMMIT, how: str = "download") -> Any:
    run = [sys.executable, "-c", ASK, revision, how, *names]
    done = subprocess.run(run, capture_output=True, env=environment, timeout=100, check=True)
    return json.loads(done.stdout)


def test_what_is_needed_is_fetched_and_nothing_else_and_refusals_are_one_line(
    hub: tuple[str, list[str]], tmp_path: Path
) -> None:
    address, asked = hub
    environment = {**os.environ, "HF_ENDPOINT": address, "HF_HOME": str(tmp_path / "home"), "HF_HUB_DISABLE_XET": "1"}
    names = ["someone/net", "gated/net", "gone/net", "moved/net", "pickled/net"]
    found, gated, gone, moved, pickled = asked_for(names, environment)
    wanted = {"README.md", "config.json", "preprocessor_config.json", "tokenizer.json", "tokenizer_config.json"}
    wanted |= {"onnx/vision_model.onnx", "onnx/text_model.onnx"}
    assert found == [COMMIT, sorted(wanted)]
    assert set(asked) == wanted
    assert "is gated: accept its license at https://huggingface.co/gated/net, log in" in gated
    assert "has no repository gone/net, or it is private" in gone
    assert f"moved/net has no commit {COMMIT}" in moved
    assert "only as a pickle (pytorch_model.bin)" in pickled
    assert not any("\n" in each for each in (gated, gone, moved, pickled))


def test_a_network_that_cannot_be_reached_is_one_line(tmp_path: Path) -> None:
    environment = {**os.environ, "HF_ENDPOINT": "http://127.0.0.1:9", "HF_HOME": str(tmp_path)}
    (error,) = asked_for(["someone/net"], environment)
    assert "could not be fetched" in error
    assert "folder:PATH" in error
    assert "\n" not in error


def test_what_was_fetched_by_the_name_of_a_branch_is_found_without_a_download(
    hub: tuple[str, list[str]], tmp_path: Path
) -> None:
    address, asked = hub
    environment = {**os.environ, "HF_ENDPOINT": address, "HF_HOME": str(tmp_path / "home"), "HF_HUB_DISABLE_XET": "1"}
    (before,) = asked_for(["someone/net"], environment, "main", "cache")
    assert "is not in the Hugging Face cache" in before
    fetched = asked_for(["someone/net"], environment, "main")
    count = len(asked)
    assert asked_for(["someone/net"], environment, "main", "cache") == fetched
    assert (fetched[0][0], len(asked)) == (COMMIT, count)


def test_half_of_a_pair_in_the_cache_is_not_taken_for_the_whole(tmp_path: Path) -> None:
    """A download that was stopped between the halves leaves it."""
    pair = onnx_pair(tmp_path / "pair")
    environment = {**os.environ, "HF_HOME": str(tmp_path / "home")}
    in_cache(tmp_path / "home" / "hub", "someone/whole", COMMIT, pair)
    (pair / "onnx" / "text_model.onnx").unlink()
    in_cache(tmp_path / "home" / "hub", "someone/half", COMMIT, pair)
    (pair / "config.json").write_text('{"model_type": "clip_vision_model"}')
    in_cache(tmp_path / "home" / "hub", "someone/alone", COMMIT, pair)
    whole, half, alone = asked_for(["someone/whole", "someone/half", "someone/alone"], environment, how="cache")
    assert whole[0] == alone[0] == COMMIT
    assert "its text half (onnx/text_model.onnx) is not in the Hugging Face cache" in half
    assert "fetch it with download=True; for pictures alone, take onnx:" in half
    assert "\n" not in half
