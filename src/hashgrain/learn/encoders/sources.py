"""SOURCE on the command line, and the network it names."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from hashgrain.errors import TrainingError
from hashgrain.learn.encoders import onnx_source
from hashgrain.learn.encoders.network import Network

Say = Callable[[str], None]
KINDS = "timm:ARCH.TAG, hf:OWNER/REPO@SHA, openclip:ARCH/TAG, onnx:FILE, folder:PATH"


def network_of(source: str, size: int | None, download: bool, say: Say) -> Network:
    """The network that SOURCE names, with its lock."""
    kind, _, wanted = source.partition(":")
    if kind == "onnx" and wanted:
        found = onnx_source.from_file(Path(wanted).expanduser(), size)
    else:
        raise TrainingError(f"--from {source}: it takes {KINDS}")
    return replace(found, source={"source": source, **found.source})
