"""What a gateway counts beside what every front end does (:mod:`toucan.server.metrics`): sessions, and what is refused before it is a call."""

from __future__ import annotations

from prometheus_client import Counter

from toucan.server.metrics import Metrics

__all__ = ["WebMetrics"]


class WebMetrics:
    """They are in the registry of the front end's."""

    def __init__(self, metrics: Metrics) -> None:
        self._refused = Counter(
            "toucan_web_refused", "Requests refused before they were calls, by why.", ["reason"], registry=metrics.registry
        )  # fmt: skip
        self._sessions = Counter(
            "toucan_web_sessions", "Sessions of browsers that were begun and ended by hand, and logins that failed.", ["what"],
            registry=metrics.registry,
        )  # fmt: skip
        self.gauge = metrics.gauge

    def refused(self, reason: str) -> None:
        """A request was refused; ``reason`` is a word of ours."""
        self._refused.labels(reason).inc()

    def session(self, what: str) -> None:
        """``begun``, ``ended`` or ``failed``."""
        self._sessions.labels(what).inc()
