"""What is counted and timed as it happens: one registry per daemon, names `didyma_..._unit`.

What a snapshot of the node says anyway (views, peers, feeds, sources, chains) is read from it at
each scrape, see `node.api.view_metrics`.

Labels are bounded: members, feeds, venues and chains come from configurations, the rest from
closed sets, never from what a peer or a client sent.
"""

from typing import Final

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
)
from prometheus_client.gc_collector import GCCollector
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"

_LATENCY_SECONDS = (
    *(0.002, 0.005, 0.01, 0.015, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.5, 0.75),
    *(1.0, 2.0, 5.0, 10.0),
)
_CHAIN_SECONDS = (0.1, 0.25, 0.5, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0)
_DISK_SECONDS = (0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0)
_LAG_SECONDS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0)


class Metrics:
    """Every metric of one daemon. The client library makes each safe to touch from any thread."""

    def __init__(self, registry: CollectorRegistry | None = None, *, process: bool = True) -> None:
        """Define the metrics; `process` adds those of the process and of the interpreter."""
        self.registry = registry if registry is not None else CollectorRegistry()
        if process:
            ProcessCollector(registry=self.registry)
            PlatformCollector(registry=self.registry)
            GCCollector(registry=self.registry)
        self._consensus()
        self._feeds()
        self._publisher()
        self._process()

    def _gauge(self, name: str, text: str, *labels: str) -> Gauge:
        return Gauge(f"didyma_{name}", text, labels, registry=self.registry)

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(f"didyma_{name}", text, labels, registry=self.registry)

    def _histogram(
        self, name: str, text: str, buckets: tuple[float, ...], *labels: str
    ) -> Histogram:
        return Histogram(f"didyma_{name}", text, labels, registry=self.registry, buckets=buckets)

    def _consensus(self) -> None:
        self.views_entered = self._counter(
            "views_entered", "Views entered, by what ended the one before.", "by"
        )
        self.inclusion = self._counter(
            "observations_included", "Final blocks that hold an observation of a member.", "member"
        )
        self.signed = self._counter(
            "certificate_signatures", "Certificates that a member's vote is part of.", "member"
        )
        self.tick_to_observation = self._histogram(
            "tick_to_observation_seconds",
            "From the newest quote's arrival to the observation made of it.",
            _LATENCY_SECONDS,
        )
        self.observation_to_certificate = self._histogram(
            "observation_to_certificate_seconds",
            "From sending an observation to holding its round's certificate.",
            _LATENCY_SECONDS,
        )
        self.view_duration = self._histogram(
            "view_duration_seconds", "From entering a view to leaving it.", _LATENCY_SECONDS
        )
        self.checkpoints = self._counter(
            "checkpoints_taken", "Checkpoints from which the node went on, skipping blocks."
        )
        self.evidence = self._counter(
            "evidence_found",
            "Offences of a member of which the node holds proof.",
            "member",
            "kind",
        )

    def _feeds(self) -> None:
        self.feed_status_changes = self._counter(
            "feed_status_changes", "Changes of a feed's agreed status.", "feed", "status", "cause"
        )

    def _publisher(self) -> None:
        self.certificate_to_chain = self._histogram(
            "certificate_to_chain_seconds",
            "From holding a certificate to its report being on the chain.",
            _CHAIN_SECONDS,
            "chain",
        )

    def _process(self) -> None:
        self.persist_duration = self._histogram(
            "persist_duration_seconds", "Time to make a safety state durable.", _DISK_SECONDS
        )
        self.loop_lag = self._histogram(
            "loop_lag_seconds",
            "How late a loop woke up: the consensus (trio) or the input and output (asyncio).",
            _LAG_SECONDS,
            "loop",
        )
        self.api_requests = self._counter(
            "api_requests", "Requests answered, by listener, route and status.",
            "listener", "route", "status",
        )  # fmt: skip
        self.api_streams = self._gauge(
            "api_streams", "Clients that follow new reports, by transport.", "transport"
        )
        self.api_stream_drops = self._counter(
            "api_stream_dropped_reports", "Reports that slow clients did not get.", "transport"
        )
        self.api_refused = self._counter(
            "api_refused_connections", "Connections refused because too many were open.", "listener"
        )

    def exposition(self) -> bytes:
        """Return all metrics in the text format of Prometheus (`CONTENT_TYPE`)."""
        return generate_latest(self.registry)
