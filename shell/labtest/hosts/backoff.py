"""How long to wait before a host is tried again."""

from __future__ import annotations

from labtest.hosts.limits import PAUSE_MAX_S, PAUSE_MIN_S

__all__ = ["pause_s"]

_DOUBLINGS_MAX = 16


def pause_s(failures: int, chance: float) -> float:
    """The pause after so many failures in a row (from 1), in seconds: doubled each time, up to the longest.

    ``chance`` in [0, 1) takes up to half of it away, so that hosts which were lost together are not all tried at the same instant.
    """
    doublings: int = min(failures - 1, _DOUBLINGS_MAX)
    longest: float = min(PAUSE_MAX_S, PAUSE_MIN_S * 2.0**doublings)
    return longest * (1 - chance / 2)
