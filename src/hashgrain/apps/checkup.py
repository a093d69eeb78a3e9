"""Is this machine ready, is this library sound, are its bits in use?"""

from __future__ import annotations

import importlib.metadata
import os
import platform
import sqlite3
from pathlib import Path
from typing import Any

from hashgrain.errors import HashgrainError
from hashgrain.evaluate import code_health
from hashgrain.hamming import compiled, kinds
from hashgrain.library import Library, verify_library

PACKAGES = ("numpy", "onnxruntime", "pillow", "pi-heif", "pyarrow", "torch")


def check_machine() -> dict[str, Any]:
    """Versions, and whether the default model encodes a picture."""
    import numpy as np

    from hashgrain.models import Encoder

    try:
        width, height = (encoder := Encoder.load()).bundle.size
        encoder.codes(np.zeros((1, height, width, 3), np.uint8))
        model = "works"
    except HashgrainError as error:
        model = str(error)
    versions = {}
    for package in PACKAGES:
        try:
            versions[package.replace("-", "_")] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            versions[package.replace("-", "_")] = "not installed"
    return {
        "hashgrain": importlib.metadata.version("hashgrain"),
        "python": platform.python_version(),
        "system": platform.platform(),
        "cores": os.cpu_count(),
        "sqlite": sqlite3.sqlite_version,
        **versions,
        "scan_kernel": f"compiled, {kinds()[0]}" if compiled() else "numpy (slower; no compiled kernel was installed)",
        "model": model,
    }


def check_library(path: Path) -> dict[str, dict[str, Any]]:
    """Whether the library is sound, and the health of each grain if it is: bits of a damaged library mean nothing."""
    problems = [problem for problem in verify_library(path) if not problem.harmless]
    if problems:
        named = [{"thing": problem.thing, "reason": problem.reason} for problem in problems]
        return {"library": {"sound": False, "problems": named}}
    with Library.open(path) as library:
        codes, _ = library.codes()
        facts = {"sound": True, **library.info()}
    grains = {
        grain: {
            "bits": health.bits,
            "dead_bits": health.dead_bits,
            "mean_entropy": round(health.mean_entropy, 4),
            "least_entropy": round(health.least_entropy, 4),
            "codes": len(codes),
            "distinct_codes": health.distinct,
            "largest_bucket": health.largest_bucket,
        }
        for grain, health in code_health(codes).items()
    }
    return {"library": facts, "grains": grains}
