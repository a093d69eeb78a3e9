"""The one thing pyproject.toml cannot say: the search kernels are compiled, and optional.

Where there is no C compiler the build goes on without them and the numpy twin answers the same, slower.
"""

import platform
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

KERNELS = Path("src/hashgrain/hamming/kernels")
# Every x86-64 processor since 2008 counts bits in one instruction; where one does not, the module says so.
COUNTS = ["-mpopcnt"] if platform.machine() in ("x86_64", "AMD64") and platform.system() != "Windows" else []


class WithoutOurPaths(build_ext):
    """Nothing in what is built tells where it was built.

    Python's own options would have the loader look for libraries in the folder of the Python that built this, on the
    machine of whoever installs it too. Ours needs none.
    """

    def build_extensions(self) -> None:
        linker = getattr(self.compiler, "linker_so", None)
        if linker:
            self.compiler.linker_so = [option for option in linker if not option.startswith(("-Wl,-rpath", "-Wl,-R"))]
        super().build_extensions()


setup(
    cmdclass={"build_ext": WithoutOurPaths},
    ext_modules=[
        Extension(
            "hashgrain.hamming._kernels",
            sources=[str(path) for path in sorted(KERNELS.glob("*.c"))],
            depends=[str(path) for path in sorted(KERNELS.glob("*.h"))],
            # -g0: what is noted for a debugger names the folders it was built in.
            extra_compile_args=[] if platform.system() == "Windows" else ["-O3", "-g0", *COUNTS],
            optional=True,
        )
    ],
)
