"""`hashgrain model show`: what a bundle says of its source does not replace what is known of the bundle."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

from made_graphs import bundle_of, plain_graph


def test_a_source_does_not_replace_the_name_and_digest_that_are_shown(tmp_path: Path, hashgrain: Any) -> None:
    forged = {"name": "photo", "digest": "0" * 64, "grains": {}, "size": [1, 1], "bytes": 0, "license": "mit"}
    bundle = dataclasses.replace(bundle_of(plain_graph(), "theirs"), others={"source": forged})
    bundle.write(tmp_path / "theirs")
    shown = json.loads(hashgrain("model", "show", tmp_path / "theirs", "--json").stdout)
    assert shown == {
        "name": "theirs",
        "digest": bundle.code_digest,
        "grains": {"look": 3},
        "input": "picture",
        "size": list(bundle.size),
        "fit": "squash",
        "parts": None,
        "outputs": ["outputs", "features"],
        "calibration": {},
        "bytes": len(bundle.onnx),
        "license": "mit",
    }
