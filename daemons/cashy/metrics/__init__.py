"""``/metrics``: what a daemon counts, as Prometheus reads it.

Law: :mod:`~cashy.metrics.table` is the one list of what there is; the exposition, the page ``docs/metrics.md`` and the tests are made
from it. Serving (:mod:`~cashy.metrics.server`) knows nothing of what it serves. The package knows neither master nor worker: they
hand it snapshots of their counters.

Daemons use it through :func:`cashy.metrics.daemon.metrics_served`, on their own loop.
"""

from __future__ import annotations

__all__: list[str] = []
