"""Prometheus metrics of the API; names and bounds as for the workers."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from search.latency import ITEMS, SECONDS

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Metrics:
    """The figures of one application. Safe to use from threads."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._joined: list[CollectorRegistry] = []
        self._watched: dict[str, Gauge] = {}
        self._stages = Histogram(
            "anymodal_query_stage_seconds",
            "How long the stages of searches took, by the kind of query.",
            ["stage", "modality"],
            registry=self._registry,
            buckets=SECONDS,
        )
        self._requests = Counter(
            "anymodal_http_requests_total",
            "Requests that were answered, by endpoint and status.",
            ["endpoint", "status"],
            registry=self._registry,
        )
        self._seconds = Histogram(
            "anymodal_http_request_seconds",
            "How long requests took from their first byte to the answer's last.",
            ["endpoint"],
            registry=self._registry,
            buckets=SECONDS,
        )

        self._batches = Histogram(
            "anymodal_query_batch_items",
            "How many queries were encoded at once.",
            ["modality"],
            registry=self._registry,
            buckets=ITEMS,
        )

        self._connections = Gauge(
            "anymodal_http_connections", "Open connections.", registry=self._registry
        )
        self._cut = Counter(
            "anymodal_http_connections_cut_total",
            "Connections that were closed or refused: too slow, too large a head, or too many.",
            ["reason"],
            registry=self._registry,
        )

    def encoded(self, modality: str, n_items: int) -> None:
        """Count a batch of queries."""
        self._batches.labels(modality).observe(n_items)

    def searched(self, latency_s: Mapping[str, float], modality: str) -> None:
        """Count the stages of a search."""
        for stage, seconds in latency_s.items():
            self._stages.labels(stage, modality).observe(seconds)

    def answered(self, endpoint: str, status: int, seconds: float) -> None:
        """Count a request."""
        self._requests.labels(endpoint, status).inc()
        self._seconds.labels(endpoint).observe(seconds)

    def connected(self, change: int, cut: str) -> None:
        """Count a connection that opens (1) or closes (-1), and why it was cut, if it was."""
        self._connections.inc(change)
        if cut:
            self._cut.labels(cut).inc()

    def watch(self, name: str, meaning: str, value: Callable[[], float]) -> None:
        """Show a number that is kept elsewhere; a later one of the same name replaces it."""
        if name not in self._watched:
            self._watched[name] = Gauge(name, meaning, registry=self._registry)
        self._watched[name].set_function(value)

    def join(self, registry: CollectorRegistry) -> None:
        """Show the figures of another part of this process, too; their names must differ."""
        self._joined.append(registry)

    def text(self) -> bytes:
        """All figures in Prometheus' text format."""
        return b"".join(map(generate_latest, [self._registry, *self._joined]))
