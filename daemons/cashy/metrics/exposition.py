"""A snapshot of a daemon's counters as text that Prometheus reads, made from the table."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Callable, Iterator, Mapping

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from cashy.metrics.table import INFO, Daemon, Family, Resolver, families_of

__all__ = ["Exposition"]

_Values = dict[tuple[str, ...], float]


class Exposition(Collector):
    """What one daemon shows. ``snapshot`` gives its counters by name at the moment; ``instance`` and ``host`` say which daemon it is.

    A counter that never counted may be absent from the snapshot: it shows as 0, so that the first event is a rise.
    """

    def __init__(
        self,
        daemon: Daemon,
        snapshot: Callable[[], Mapping[str, int]],
        *,
        instance: str = "",
        host: str = "",
    ) -> None:
        self._snapshot = snapshot
        self._resolver = Resolver(daemon)
        self._families = [family for family in families_of(daemon) if family.sources]
        self._info = (daemon, importlib.metadata.version("aviary"), instance, host)
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(self)
        ProcessCollector(registry=self._registry)

    def render(self) -> bytes:
        """The page, in the text format 0.0.4."""
        return generate_latest(self._registry)

    def collect(self) -> Iterator[Metric]:
        """All families with the values of this moment, for the registry."""
        values = {family.name: _zeroes(family) for family in self._families}
        for counter, value in self._snapshot().items():
            sample = self._resolver.find(counter)
            if sample is not None:
                values[sample.family.name][sample.labels] = value * sample.scale
        yield _metric(INFO, {self._info: 1})
        for family in self._families:
            yield _metric(family, values[family.name])


def _zeroes(family: Family) -> _Values:
    """Samples that are there from the start: those whose labels are known."""
    return {tuple(source.labels.values()): 0 for source in family.sources if not source.placeholders}


def _metric(family: Family, values: _Values) -> Metric:
    kind = CounterMetricFamily if family.kind == "counter" else GaugeMetricFamily
    metric = kind(family.name, family.help_text, labels=family.label_names)
    for labels, value in values.items():
        metric.add_metric(labels, value)
    return metric
