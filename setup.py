"""The one thing pyproject.toml cannot say: the search kernels are compiled, and optional.

Where there is no C compiler the build goes on without them and the numpy twin answers the same, slower.
"""

import platform
from pathlib import Path

from setuptools import Extension, setup

KERNELS = Path("src/hashgrain/hamming/kernels")
# Every x86-64 processor since 2008 counts bits in one instruction; where one does not, the module says so.
COUNTS = ["-mpopcnt"] if platform.machine() in ("x86_64", "AMD64") and platform.system() != "Windows" else []

setup(
    ext_modules=[
        Extension(
            "hashgrain.hamming._kernels",
            sources=[str(path) for path in sorted(KERNELS.glob("*.c"))],
            depends=[str(path) for path in sorted(KERNELS.glob("*.h"))],
            extra_compile_args=[] if platform.system() == "Windows" else ["-O3", *COUNTS],
            optional=True,
        )
    ]
)
