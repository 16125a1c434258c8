"""What a front end counts, and its ``/metrics`` for Prometheus."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterable, Iterator

from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector, start_http_server
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from toucan.errors import InvalidSettings
from toucan.server.limits import STALL_CHECK_S

__all__ = ["Gauge", "Metrics"]

#: From a tenth of a millisecond to the longest that a request may take.
_SECONDS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0, 30.0)

#: Name, help and value of something that goes up and down.
Gauge = tuple[str, str, Callable[[], float]]


class Metrics:
    """Counters of one front end, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._requests = Counter(
            "toucan_server_requests", "Calls that ended, by how: OK, DENIED, a refusal's code, or a gRPC status.",
            ["method", "outcome"], registry=self.registry,
        )  # fmt: skip
        self._seconds = Histogram(
            "toucan_server_request_seconds", "From a request's arrival to its answer; streams are not in it.",
            ["method"], registry=self.registry, buckets=_SECONDS,
        )  # fmt: skip
        self._conflated = Counter(
            "toucan_server_conflated", "Updates that were left out since their watcher was too slow.", registry=self.registry,
        )  # fmt: skip
        self._cut_off = Counter(
            "toucan_server_cut_off", "Streams cut off since their client did not take what it was sent.", ["method"],
            registry=self.registry,
        )  # fmt: skip
        #: Found once and kept: a lookup by labels costs more than the counting. Both are words of ours, so these are few.
        self._ended: dict[tuple[str, str], Counter] = {}
        self._took: dict[str, Histogram] = {}
        self._gauges: list[Gauge] = []
        self._streams: dict[str, int] = {}
        #: The longest that the loop was late since it was asked last, in s.
        self._stall_s = 0.0
        self.registry.register(_Gauges(self._collect))
        ProcessCollector(registry=self.registry)

    def answered(self, method: str, outcome: str, seconds: float) -> None:
        """A call with one answer is over."""
        self._count(method, outcome)
        took = self._took.get(method)
        if took is None:
            took = self._took[method] = self._seconds.labels(method)
        took.observe(seconds)

    def stream_ended(self, method: str, outcome: str) -> None:
        """A stream is over."""
        self._count(method, outcome)

    def _count(self, method: str, outcome: str) -> None:
        ended = self._ended.get((method, outcome))
        if ended is None:
            ended = self._ended[method, outcome] = self._requests.labels(method, outcome)
        ended.inc()

    def conflated(self, count: int) -> None:
        """Updates were left out."""
        self._conflated.inc(count)

    def cut_off(self, method: str) -> None:
        """A stream's client was too slow."""
        self._cut_off.labels(method).inc()

    def streams(self, method: str, change: int) -> None:
        """So many more streams of this method are open."""
        self._streams[method] = self._streams.get(method, 0) + change

    def gauge(self, name: str, help_text: str, value: Callable[[], float]) -> None:
        """Something to be looked up at each scrape."""
        self._gauges.append((name, help_text, value))

    def _collect(self) -> Iterator[Metric]:
        streams = GaugeMetricFamily("toucan_server_streams", "Streams open.", labels=["method"])
        for method, count in [*self._streams.items()]:
            streams.add_metric([method], count)
        yield streams
        stall_s, self._stall_s = self._stall_s, 0.0
        yield GaugeMetricFamily(
            "toucan_server_loop_stall_seconds", "The longest that the loop was late since the last scrape.", value=stall_s
        )  # fmt: skip
        for name, help_text, value in self._gauges:
            yield GaugeMetricFamily(name, help_text, value=value())

    async def watch_loop(self) -> None:
        """Notes how late the loop is; for ever."""
        loop = asyncio.get_running_loop()
        while True:
            due_s = loop.time() + STALL_CHECK_S
            await asyncio.sleep(STALL_CHECK_S)
            self._stall_s = max(self._stall_s, loop.time() - due_s)

    @contextlib.contextmanager
    def served(self, address: str) -> Iterator[str]:
        """Serves them at ``host:port`` as long as the context lasts and gives the address as bound; an empty one: nowhere.

        Raises :class:`~toucan.errors.InvalidSettings`.
        """
        if not address:
            yield ""
            return
        host, _, port = address.rpartition(":")
        try:
            server, thread = start_http_server(int(port), host.strip("[]"), self.registry)
        except OSError as error:
            raise InvalidSettings(f"metrics cannot be served at {address!r}: {error}") from error
        try:
            yield f"{host}:{server.server_port}"
        finally:
            server.shutdown()
            server.server_close()
            thread.join()


class _Gauges(Collector):
    def __init__(self, collect: Callable[[], Iterable[Metric]]) -> None:
        self._collect = collect

    def collect(self) -> Iterable[Metric]:
        return self._collect()
