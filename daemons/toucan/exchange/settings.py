"""What the exchange's process is told when it starts."""

from __future__ import annotations

from pathlib import Path

import msgspec

from toucan.core.instruments import Instrument
from toucan.exchange.limits import REPORTS_KEPT_MAX, STALLED_S_MAX

__all__ = ["ExchangeSettings", "ReplaySettings"]


class ReplaySettings(msgspec.Struct, frozen=True):
    """A recording (see :mod:`toucan.exchange.replay_file`) that is played into one instrument."""

    path: Path
    symbol: str
    #: 2.0 plays it in half the time.
    speed: float = 1.0
    #: Begins again when it is over.
    repeats: bool = False


class ExchangeSettings(msgspec.Struct, frozen=True):
    """The exchange listens on a unix socket that only this user can open, and on a TCP address if one is given.

    The protocol asks nobody who he is: whoever reaches a socket speaks for any firm that he names. A TCP address should be one of this host alone.
    """

    listen: Path
    instruments: tuple[Instrument, ...]
    #: The unix socket of its feed of market data (:mod:`toucan.market`); None: there is none.
    market_data: Path | None = None
    #: The operator's unix socket; None: there is no operator.
    operator: Path | None = None
    #: Host and port; port 0 takes a free one.
    tcp: tuple[str, int] | None = None
    replay: ReplaySettings | None = None
    #: Print one line of JSON to standard output when it serves.
    announces_ready: bool = False
    #: Names this start; None: a random name. Two starts must never have the same.
    life: str | None = None
    reports_kept_max: int = REPORTS_KEPT_MAX
    stalled_s_max: float = STALLED_S_MAX
