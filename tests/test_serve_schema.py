"""What the OpenAPI description promises holds for requests that nobody thought of: schemathesis makes them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("fastapi", reason="needs hashgrain[serve]")
pytest.importorskip("schemathesis", reason="needs schemathesis")

from conftest import fill
from hashgrain import Library
from serving import start

# What is checked: no error of the server, and answers as described. Whether odd input is refused with which status is
# left to the tests of each address: an unknown id is 404 there, and a filter in words may well be valid.
CHECKS = (
    "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance,unsupported_method"
)


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("options", [(), ("--writable",)], ids=["reading", "writing"])
def test_requests_made_from_the_description_are_answered_as_described(tmp_path: Path, options: tuple[str, ...]) -> None:
    with Library.create(tmp_path / "photos.hg", workers=1) as library:
        library.add(fill(tmp_path / "pictures", 12))
    server = start(tmp_path / "photos.hg", tmp_path / "log.txt", "--workers", 1, *options)
    command = [sys.executable, "-m", "schemathesis.cli", "run", f"{server.address}openapi.json"]
    limits = ["--checks", CHECKS, "--max-examples", "10", "--seed", "1", "--phases", "examples,coverage,fuzzing"]
    more = ["--warnings", "off", "--suppress-health-check", "all", "--generation-database", "none", "--no-color"]
    done = subprocess.run([*command, *limits, *more], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert server.stop() == 0
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    log = server.log.read_text()
    assert "Traceback" not in log
    assert " 500 " not in log
