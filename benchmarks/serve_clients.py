"""Clients, each of which asks, waits for the answer and asks again. Started by serve_load.py; prints JSON.

python serve_clients.py HOST:PORT ours|rival id|upload CLIENTS SECONDS PICTURES ITEMS
"""

from __future__ import annotations

import http.client
import json
import random
import sys
import threading
import time
from collections import Counter
from pathlib import Path

JSON = {"Content-Type": "application/json"}
BYTES = {"Content-Type": "application/octet-stream"}


class Client(threading.Thread):
    """One connection that is kept. Each search is timed until its whole answer is there."""

    def __init__(self, seed: int, address: str, server: str, kind: str, pictures: list[bytes], items: int) -> None:
        super().__init__()
        self.draw = random.Random(seed)
        self.connection = http.client.HTTPConnection(address, timeout=60)
        self.server, self.kind, self.pictures, self.items = server, kind, pictures, items
        self.seconds: list[float] = []
        self.statuses: Counter[int] = Counter()
        self.until = 0.0

    def run(self) -> None:
        while time.perf_counter() < self.until:
            started = time.perf_counter()
            status = self.search()
            if status == 200:
                self.seconds.append(time.perf_counter() - started)
            elif status == 503:
                time.sleep(0.1)  # Retry-After says a whole second; a client that presses harder is the worse case
            self.statuses[status] += 1

    def search(self) -> int:
        if self.server == "rival" and self.kind == "id":
            return self.ask("GET", f"/by-id/{self.draw.randint(1, self.items)}", None, {})[0]
        if self.server == "rival":
            return self.ask("POST", "/by-upload", self.draw.choice(self.pictures), BYTES)[0]
        if self.kind == "id":
            return self.ours({"item": self.draw.randint(1, self.items)})
        status, answer = self.ask("POST", "/api/v1/uploads", self.draw.choice(self.pictures), BYTES)
        return self.ours({"upload": json.loads(answer)["upload"]}) if status == 201 else status

    def ours(self, query: dict[str, object]) -> int:
        return self.ask("POST", "/api/v1/search", json.dumps({"query": query, "k": 20}).encode(), JSON)[0]

    def ask(self, method: str, path: str, body: bytes | None, headers: dict[str, str]) -> tuple[int, bytes]:
        self.connection.request(method, path, body, headers)
        answer = self.connection.getresponse()
        return answer.status, answer.read()


def main(address: str, server: str, kind: str, clients: int, seconds: float, pictures: Path, items: int) -> None:
    bodies = [file.read_bytes() for file in sorted(pictures.glob("*.jpg"))[:100]]
    threads = [Client(seed, address, server, kind, bodies, items) for seed in range(clients)]
    for thread in threads:
        thread.until = time.perf_counter() + seconds
        thread.start()
    for thread in threads:
        thread.join()
    taken = [second for thread in threads for second in thread.seconds]
    statuses = sum((thread.statuses for thread in threads), Counter())
    print(json.dumps({"seconds": taken, "statuses": statuses}))


if __name__ == "__main__":
    where, which, what, count, length, folder, most = sys.argv[1:]
    main(where, which, what, int(count), float(length), Path(folder), int(most))
