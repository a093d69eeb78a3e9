"""The one thing pyproject.toml cannot say: the scan kernel is compiled, and optional.

Where there is no C compiler the build goes on without it and the numpy twin answers the same, slower.
"""

from setuptools import Extension, setup

setup(
    ext_modules=[
        Extension(
            "hashgrain.hamming._scan",
            sources=["src/hashgrain/hamming/_scan.c"],
            extra_compile_args=["-O3"],
            optional=True,
        )
    ]
)
