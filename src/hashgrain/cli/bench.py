"""`hashgrain bench`: how fast things are here, on your own data."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from hashgrain.cli.output import Json, LibraryPath, Threads, as_labels, print_facts, print_json, print_table

COLUMNS = ("grain", "bits", "by", "p50 ms", "p95 ms", "p99 ms", "queries/s", "compared", "GB/s", "of memory", "recall")


def search(
    library: LibraryPath,
    k: Annotated[int, typer.Option("-k", min=1, help="How many hits to find.")] = 10,
    queries: Annotated[int, typer.Option("--queries", min=1, help="How many queries to run, one by one.")] = 200,
    threads: Threads = None,
    as_json: Json = False,
) -> int:
    """Measure search in LIBRARY with codes like its own: at each grain by index, if there is one, and by scan.

    Latency is for one query at a time, queries/s for batches of 256. `compared` is the share of the codes that are
    compared, `of memory` the share of the machine's read bandwidth that a scan reaches. Recall is against plain numpy.

    Example: hashgrain bench search photos.hg
    """
    from hashgrain.apps.search_bench import measure_search
    from hashgrain.library import Library

    with Library.open(library) as opened:
        machine, *rows = measure_search(opened, k=k, queries=queries, threads=threads)
    if as_json:
        print_json({"machine": machine, "searches": rows})
    else:
        print_facts(as_labels(machine))
        print_table("searches", COLUMNS, [_row(row) for row in rows], [None] * len(rows))
    return 0 if all(row["recall"] == 1.0 for row in rows) else 1


def _row(row: dict[str, Any]) -> list[object]:
    share = row["bandwidth_share"]
    return [
        row["grain"],
        row["bits"],
        row["way"],
        row["p50_ms"],
        row["p95_ms"],
        row["p99_ms"],
        f"{row['batch_queries_per_s']:,.0f}",
        f"{100 * row['compared']:.2f} %",
        row["gb_per_s"] or "-",
        "-" if share is None else f"{100 * share:.0f} %",
        row["recall"],
    ]
