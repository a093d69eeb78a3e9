"""Archives, tables and bundles by grammar, then spoiled: an answer or a refusal, in time and within memory."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from client import Zygote
from drill_fixtures import SEED, demand_none, draws, how_many, note
from drill_fixtures import scratch as scratch
from drill_fixtures import zygote as zygote
from fuzzers import SECONDS, batches

pytestmark = [pytest.mark.drill, pytest.mark.slow, pytest.mark.timeout(1500)]

MEMORY_MB = 2_048
BATCH = 250
ALARM = 14


def fuzz(zygote: Zygote, scratch: Path, kind: str, count: int) -> None:
    draws(f"fuzzed {kind}s")
    started = time.monotonic()
    folder, report = scratch / f"fuzz-{kind}", scratch / f"report-{kind}"
    folder.mkdir(exist_ok=True)
    report.unlink(missing_ok=True)
    peak, broken = 0, []
    for first, end in batches(count, BATCH):
        while first < end:
            arguments = (kind, SEED, first, end, folder, report)
            limits = {"memory_mb": MEMORY_MB, "seconds": 600, "cwd": str(folder)}
            outcome = zygote.call("fuzzers:run", *arguments, **limits)
            peak = max(peak, outcome.peak_mb)
            if outcome.code == 0:
                break
            assert not outcome.traceback, f"the fuzzer itself failed: {outcome.err}"
            died = int(report.read_text().splitlines()[-1].split()[1])
            how = f"hangs: not done after {SECONDS:g} s" if outcome.signal == ALARM else f"died of {outcome.signal}"
            broken.append(f"{kind} {died}: {how} {outcome.err[-200:]}")
            first = died + 1
    ended = [json.loads(line) for line in report.read_text().splitlines() if not line.startswith("begin")]
    broken += [f"{kind} {each[0]} ({each[1]}): {each[2]}" for each in ended if each[2] not in ("taken", "refused")]
    taken = sum(each[2] == "taken" for each in ended)
    refused = sum(each[2] == "refused" for each in ended)
    slowest = max(each[3] for each in ended)
    figures = {"peak_mb": peak, "refused": refused, "taken": taken, "slowest_s": slowest}
    note(f"fuzzed {kind}s", started, 0, trials=count, broken=len(broken), **figures)
    demand_none(broken, count)


def test_a_hostile_archive_is_refused_or_read_within_limits(zygote: Zygote, scratch: Path) -> None:
    fuzz(zygote, scratch, "archive", how_many(400, 5_000))


def test_a_hostile_table_is_refused_or_read_within_limits(zygote: Zygote, scratch: Path) -> None:
    pytest.importorskip("pyarrow", reason="tables need hashgrain[parquet]")
    fuzz(zygote, scratch, "table", how_many(120, 2_500))


def test_a_hostile_bundle_is_refused_or_read_within_limits(zygote: Zygote, scratch: Path) -> None:
    fuzz(zygote, scratch, "bundle", how_many(120, 2_500))
