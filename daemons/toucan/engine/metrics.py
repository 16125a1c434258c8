"""The engine's ``/metrics`` for Prometheus: a thread that reads the loop's own numbers when it is asked."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator

from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from toucan.engine.clock import EngineClock
from toucan.engine.loop import EngineLoop
from toucan.errors import InvalidSettings
from toucan.journal.writer import Journal

__all__ = ["serve_metrics"]


class _EngineCollector(Collector):
    def __init__(self, loop: EngineLoop, journal: Journal, clock: EngineClock) -> None:
        self._loop = loop
        self._journal = journal
        self._clock = clock

    def collect(self) -> Iterable[Metric]:
        figures, state, journal = self._loop.figures, self._loop.state, self._journal
        for name, text, value in (
            ("toucan_requests", "Requests of front ends that were decided.", figures.requests),
            ("toucan_reports", "Reports of venues that were taken in.", figures.reports),
            ("toucan_records", "Journal records written.", figures.records),
            (
                "toucan_cancels_refused",
                "The engine's own cancels that a venue has refused; each is asked for again.",
                figures.cancels_refused,
            ),
            (
                "toucan_commits_failed",
                "Commits that failed, and whose turn was undone.",
                figures.commits_failed,
            ),
            (
                "toucan_fronts_dropped",
                "Front ends cut off: broken, or too slow for their answers.",
                figures.fronts_dropped,
            ),
            ("toucan_clock_steps", "Jumps of the wall clock.", self._clock.steps_count),
        ):
            yield CounterMetricFamily(name, text, value=value)
        for name, text, level in (
            ("toucan_fronts", "Front ends connected.", figures.fronts),
            ("toucan_committed_seq", "Newest event that is durable.", journal.committed_seq),
            ("toucan_live_orders", "Orders open or with a request in flight.", len(state.live)),
            ("toucan_epoch", "How often an engine has taken this journal over.", state.epoch),
            (
                "toucan_longest_turn_seconds",
                "Longest turn of the loop since the last scrape.",
                figures.take_longest_s(),
            ),
            ("toucan_longest_turn_ever_seconds", "Longest turn of the loop.", figures.longest_turn_s),
            (
                "toucan_journal_has_reserve",
                "1 unless the disk is full and the space for cancels is in use.",
                int(journal.has_reserve),
            ),
        ):
            yield GaugeMetricFamily(name, text, value=level)
        ready = GaugeMetricFamily(
            "toucan_venue_ready", "1 if new orders can go to the venue.", labels=["venue"]
        )
        for name, record in [*state.venues.items()]:
            ready.add_metric([name], int(record.is_ready))
        yield ready


@contextlib.contextmanager
def serve_metrics(address: str, loop: EngineLoop, journal: Journal, clock: EngineClock) -> Iterator[None]:
    """Serves them at ``host:port`` as long as the context lasts; an empty address: nowhere. Raises :class:`InvalidSettings`."""
    if not address:
        yield
        return
    registry = CollectorRegistry()
    registry.register(_EngineCollector(loop, journal, clock))
    host, _, port = address.rpartition(":")
    try:
        server, thread = start_http_server(int(port), host.strip("[]") or "127.0.0.1", registry)
    except (OSError, ValueError) as error:
        raise InvalidSettings(f"metrics cannot be served at {address!r}: {error}") from error
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
