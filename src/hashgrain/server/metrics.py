"""What a Prometheus server reads at /metrics."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
SECONDS = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30)


class Metrics:
    """The counters of one server, in a registry of its own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        labels = ("method", "route", "status")
        self._requests = Counter("hashgrain_requests", "Requests answered.", labels, registry=self.registry)
        self._seconds = Histogram(
            "hashgrain_request_seconds", "Time to answer.", ("route",), buckets=SECONDS, registry=self.registry
        )
        self._problems = Counter("hashgrain_problems", "Requests refused, by code.", ("code",), registry=self.registry)
        self._open = Gauge("hashgrain_requests_open", "Requests under way.", registry=self.registry)

    def began(self) -> None:
        self._open.inc()

    def ended(self, method: str, route: str, status: int, seconds: float, code: str | None) -> None:
        self._open.dec()
        self._requests.labels(method, route, str(status)).inc()
        self._seconds.labels(route).observe(seconds)
        if code is not None:
            self._problems.labels(code).inc()

    def watch(self, name: str, what: str, value: Callable[[], float]) -> None:
        """A figure that is looked up when the metrics are read."""
        Gauge(f"hashgrain_{name}", what, registry=self.registry).set_function(value)

    def watch_each(self, name: str, what: str, label: str, values: Iterable[tuple[str, Callable[[], float]]]) -> None:
        gauge = Gauge(f"hashgrain_{name}", what, (label,), registry=self.registry)
        for key, value in values:
            gauge.labels(key).set_function(value)

    def text(self) -> bytes:
        return generate_latest(self.registry)
