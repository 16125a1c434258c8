"""Who reaches whom, and who knows it: hosts that are off, and cuts. What a host believes follows the peers' connections (``cashy.peer.limits``)."""

from __future__ import annotations

from collections.abc import Iterable

from cashy.peer.limits import BACKOFF_MAX_S, DEAD_AFTER_S, IDLE_PING_S, PING_S, SILENT_AFTER_S, SWEEP_S

from .events import NS

__all__ = ["NOTICED_NS", "SILENT_NS", "Network"]

#: A request to a host that is silent, but was up, ends after this.
NOTICED_NS = int((PING_S + DEAD_AFTER_S) * NS)
#: That it does not answer PING either, so long; silence is looked at every so often.
SILENT_NS = int((PING_S + SILENT_AFTER_S + SWEEP_S) * NS)
_IDLE_NS = int(IDLE_PING_S * NS)
_DEAD_NS = int(DEAD_AFTER_S * NS)
_BACK_NS = int(BACKOFF_MAX_S * NS)
_MIXER = 0x9E37_79B9_7F4A_7C15


class Network:
    """Links between all pairs. A pair's own delays (when an idle ping is due, when the next attempt to connect) are drawn from its numbers."""

    def __init__(self, host_count: int) -> None:
        self.is_up = [True] * host_count
        self._up_since_ns = [0] * host_count
        self._down_since_ns = [0] * host_count
        self._side = [0] * host_count
        self._cut_since_ns = 0
        self._whole_since_ns = 0
        #: Something is, or was, out of order: beliefs have to be looked at.
        self.is_troubled = False

    def add_host(self, now_ns: int) -> None:
        """One more."""
        self.is_up.append(True)
        self._up_since_ns.append(now_ns)
        self._down_since_ns.append(0)
        self._side.append(0)

    def reaches(self, one: int, other: int) -> bool:
        """Whether a message gets there."""
        return self.is_up[other] and self._side[one] == self._side[other]

    def turn_off(self, host: int, now_ns: int) -> None:
        """The host is gone."""
        self.is_up[host] = False
        self._down_since_ns[host] = now_ns
        self.is_troubled = True

    def turn_on(self, host: int, now_ns: int) -> None:
        """It is back."""
        self.is_up[host] = True
        self._up_since_ns[host] = now_ns

    def cut(self, hosts: Iterable[int], now_ns: int) -> None:
        """These hosts and all others do not reach each other any more."""
        for host in hosts:
            self._side[host] = 1
        self._cut_since_ns = now_ns
        self.is_troubled = True

    def heal(self, now_ns: int) -> None:
        """All reach each other again."""
        self._side = [0] * len(self._side)
        self._whole_since_ns = now_ns

    def is_noticed_idly(self, one: int, other: int, now_ns: int) -> bool:
        """Whether ``one`` has noticed by idle pings alone that it does not reach ``other``."""
        since_ns = self._down_since_ns[other] if not self.is_up[other] else self._cut_since_ns
        return now_ns >= since_ns + _DEAD_NS + _drawn(one, other, _IDLE_NS)

    def is_back_for(self, one: int, other: int, now_ns: int) -> bool:
        """Whether ``one``, which had lost ``other``, has connected anew by now."""
        since_ns = max(self._up_since_ns[other], self._whole_since_ns)
        return now_ns >= since_ns + _drawn(other, one, _BACK_NS)


def _drawn(one: int, other: int, below_ns: int) -> int:
    mixed = ((one + 1) * 1_000_003 + other + 1) * _MIXER & (1 << 64) - 1
    return (mixed >> 40) * below_ns >> 24
