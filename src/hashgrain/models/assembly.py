"""The graph of a model that ships without its weights: put together from our part and a file that pip brought.

A folder in the package holds `graph.part`, the ONNX graph with the weights of the backbone cut out, and `graph.json`,
which says where they go and what they are computed from. The result is the same on every machine; its checksum is in
`model.json`. It is assembled once per machine and cached in the user's cache folder; without one, each time.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from pathlib import Path
from typing import Any

from hashgrain import files
from hashgrain.errors import BundleError
from hashgrain.models.weights import WeightsFile, computed, read_weights

PART, HOLES = "graph.part", "graph.json"
MAX_GRAPH = 256 << 20


def is_assembled(folder: Path) -> bool:
    """Whether the model in this folder of the package has its weights elsewhere."""
    return (folder / HOLES).is_file()


def assembled(folder: Path, sha256: str) -> bytes:
    """The graph of the model in a folder of the package, from the cache or from its parts."""
    cached = _cache_file(sha256)
    if cached is not None:
        with contextlib.suppress(OSError):
            graph = files.read_regular(cached, MAX_GRAPH)
            if hashlib.sha256(graph).hexdigest() == sha256:
                return graph
    graph = assemble((folder / PART).read_bytes(), json.loads((folder / HOLES).read_text(encoding="utf-8")))
    if hashlib.sha256(graph).hexdigest() != sha256:
        raise BundleError(f"{folder} was altered or damaged: its graph is not the one it names", path=folder)
    if cached is not None:
        # Processes that race write the same bytes, each in one step: the last one wins, and nothing is lost.
        with contextlib.suppress(OSError):
            cached.parent.mkdir(parents=True, exist_ok=True)
            files.write_atomically(cached, graph)
    return graph


def assemble(part: bytes, layout: dict[str, Any]) -> bytes:
    """Our part of the graph with the weights in their places."""
    weights = read_weights(WeightsFile(**layout["weights"]))
    pieces, done = [], 0
    for place, kind, dtype, records in layout["holes"]:
        pieces += [part[done:place], computed(weights, kind, records).astype(dtype).tobytes()]
        done = place
    return b"".join([*pieces, part[done:]])


def _cache_file(sha256: str) -> Path | None:
    from platformdirs import user_cache_path

    try:
        return user_cache_path("hashgrain") / "models" / f"{sha256[:32]}.onnx"
    except (OSError, RuntimeError):  # no home folder
        return None
