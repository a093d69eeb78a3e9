"""Exported codes in a database of columns: DuckDB reads the file and answers as the library does."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("pyarrow", reason="needs hashgrain[parquet]")

from conftest import Run
from hashgrain import Codes, Grains, Library
from hashgrain.codefiles import save_codes

duckdb = pytest.importorskip("duckdb")

GRAINS = Grains(kind=16, thing=40, look=128)
ITEMS = 300


@pytest.fixture
def library(tmp_path: Path, hashgrain: Run) -> Path:
    """Codes a few bits off one of nine, so that ties abound."""
    rng = np.random.default_rng(5)
    words = rng.integers(0, 2**64, (9, 2), np.uint64)[rng.integers(0, 9, ITEMS)]
    words ^= np.packbits(rng.random((ITEMS, 128)) < 0.01, axis=1, bitorder="little").view(np.uint64)
    save_codes(tmp_path / "codes.hgc", Codes(words, GRAINS), paths=[f"/p/{n}.jpg" for n in range(ITEMS)])
    made = hashgrain("import", "photos.hg", "codes.hgc", cwd=tmp_path)
    assert made.returncode == 0, made.stderr
    return tmp_path / "photos.hg"


@pytest.mark.parametrize("grain", GRAINS)
def test_sql_over_an_export_has_the_order_of_the_library(
    library: Path, tmp_path: Path, hashgrain: Run, grain: str
) -> None:
    assert hashgrain("export", library, "codes.parquet", cwd=tmp_path).returncode == 0
    width = GRAINS[grain] // 8
    nearest = f"""
        SELECT id, path, bit_count(xor(code[1:{width}]::BIT, asked[1:{width}]::BIT)) AS near,
            bit_count(xor(code::BIT, asked::BIT)) AS whole
        FROM codes, (SELECT code AS asked FROM codes WHERE id = ?)
        ORDER BY near, whole, id LIMIT 60"""
    with duckdb.connect() as connection, Library.open(library) as opened:
        connection.execute(f"CREATE VIEW codes AS SELECT * FROM '{tmp_path}/codes.parquet'")
        for item in (1, 7, 250):
            found = connection.execute(nearest, [item]).fetchall()
            hits = opened.search(opened.codes()[0][item - 1], k=60, grain=grain)
            assert found == [(hit.id, hit.path, hit.distance, hit.distances["look"]) for hit in hits]
