"""The server under load: searches by id and by upload from 1, 8 and 64 clients, beside FastAPI with Faiss.

The library has 100,000 items with parts, grown from real codes (serve_grown.py). Clients run beside the server on the
same cores, in a process of their own; each asks, waits for the whole answer, and asks again. The rival searches the
same codes, wholes and parts, for the same number of items; it checks nothing and has no filters, words or paging.

python benchmarks/serve_load.py [--items N] [--seconds S]
python benchmarks/serve_load.py --memory MINUTES   # only the memory of our server, with 8 clients
"""

from __future__ import annotations

import argparse
import contextlib
import json
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psutil

from report import HERE, need_data, table, write_section
from serve_grown import grown_library

CLIENTS = (1, 8, 64)


@contextlib.contextmanager
def serving(command: list[str], ready: str, port: int) -> Iterator[psutil.Process]:
    process = subprocess.Popen(command, cwd=HERE, stdout=subprocess.DEVNULL)
    try:
        for _ in range(1200):
            with contextlib.suppress(OSError):
                urllib.request.urlopen(f"http://127.0.0.1:{port}{ready}", timeout=5).read()
                break
            if process.poll() is not None:
                raise SystemExit(f"{command} ended with {process.returncode}")
            time.sleep(0.1)
        yield psutil.Process(process.pid)
    finally:
        process.terminate()
        process.wait(60)


def free_port() -> int:
    with socket.socket() as made:
        made.bind(("127.0.0.1", 0))
        return int(made.getsockname()[1])


def asked(port: int, server: str, kind: str, clients: int, seconds: float, items: int) -> dict[str, object]:
    pictures = need_data() / "photos"
    words = [f"127.0.0.1:{port}", server, kind, str(clients), str(seconds), str(pictures), str(items)]
    done = subprocess.run([sys.executable, str(HERE / "serve_clients.py"), *words], capture_output=True, check=True)
    found: dict[str, object] = json.loads(done.stdout)
    return found


def row(server: str, kind: str, clients: int, seconds: float, found: dict[str, object]) -> list[str]:
    taken, statuses = np.array(found["seconds"]), dict(found["statuses"])  # type: ignore[call-overload]
    good = statuses.pop("200", 0)
    places = [f"{1000 * np.quantile(taken, share):.1f}" for share in (0.5, 0.95, 0.99)]
    refused = ", ".join(f"{count} of {status}" for status, count in sorted(statuses.items())) or "none"
    return [server, kind, str(clients), f"{good / seconds:.0f}", *places, refused]


def memory_of(process: psutil.Process) -> float:
    """Megabytes of the server and the processes it started."""
    return sum(each.memory_info().rss for each in [process, *process.children(recursive=True)]) / 1e6


def commands(place: Path, port: int) -> dict[str, tuple[list[str], str]]:
    ours = [sys.executable, "-m", "hashgrain", "serve", str(place), "--port", str(port), "--quiet"]
    rival = [sys.executable, "serve_rival.py", str(place), str(port)]
    return {"hashgrain serve": (ours, "/readyz"), "FastAPI + Faiss": (rival, "/by-id/1")}


def load(place: Path, items: int, seconds: float) -> str:
    rows, memories = [], []
    for number, (name, (command, ready)) in enumerate(commands(place, port := free_port()).items()):
        with serving(command, ready, port) as process:
            for kind in ("id", "upload"):
                short = ("ours", "rival")[number]
                asked(port, short, kind, 2, 2, items)  # what is loaded on first use
                for clients in CLIENTS:
                    found = asked(port, short, kind, clients, seconds, items)
                    rows.append(row(name, f"by {kind}", clients, seconds, found))
            memories.append(f"{name} {memory_of(process):.0f} MB")
    columns = ["server", "search", "clients", "answers a second", "p50 ms", "p95 ms", "p99 ms", "refused"]
    return f"{table(columns, rows)}\n\nMemory at the end, worker processes included: {', '.join(memories)}."


def memory(place: Path, items: int, minutes: int) -> str:
    port = free_port()
    command, ready = commands(place, port)["hashgrain serve"]
    found = []
    with serving(command, ready, port) as process:
        for minute in range(minutes):
            for kind in ("id", "upload"):
                asked(port, "ours", kind, 8, 30, items)
            found.append([str(minute + 1), f"{memory_of(process):.0f}"])
            print(*found[-1], flush=True)
    return table(["minute", "MB"], found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--items", type=int, default=100_000)
    parser.add_argument("--seconds", type=float, default=15)
    parser.add_argument("--memory", type=int, metavar="MINUTES")
    given = parser.parse_args()
    place = grown_library(HERE / "runs" / "serve", given.items)
    command = " ".join(["python benchmarks/serve_load.py", *sys.argv[1:]])
    if given.memory:
        text = "8 clients, half of each minute by id and half by upload; memory with the worker processes.\n\n"
        write_section(
            "i-serve-memory", "Memory of the server", command, text + memory(place, given.items, given.memory)
        )
        return
    head = (
        f"{given.items:,} items with parts; {given.seconds:g} s each; clients beside the server on the same cores."
        " By upload: a photograph is sent, then searched with, and both together are timed.\n\n"
    )
    write_section("i-serve-load", "The server under load", command, head + load(place, given.items, given.seconds))


if __name__ == "__main__":
    main()
