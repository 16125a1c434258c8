"""One chain for many tests: each has symbols, ids and report numbers of its own, as if the venue had just begun."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
from tests.toucan.exchange.running import PATIENCE_S
from tests.toucan.fix.chain import Chain
from tests.toucan.venue.harness import FirmSession, VenueUnderTest

from toucan.core.venue_messages import Book, Quote, Report, ResumeEnd, ToVenue, Welcome
from toucan.venue.events import VenueEvent
from toucan.venue.link import Deliver
from toucan.venue.socket_link import SocketVenueLink

__all__ = ["ChainUnderTest", "OwnLink", "SharedChain", "own_message"]

#: How a test's names become its own.
_SYMBOLS = ("ABC", "LOT", "NINE")


def _instrument(symbol: str) -> str:
    return "tick = 5\nlot = 100" if symbol.startswith("LOT") else ""


class SharedChain:
    """The chain, and how many tests it has served."""

    def __init__(self, folder: Path, tests: int, firms: Sequence[str] = ("one", "other", "two")) -> None:
        symbols = [f"{symbol}{number}" for number in range(tests) for symbol in _SYMBOLS]
        self.chain = Chain(folder, firms, symbols, instrument=_instrument)
        self.chain.start()
        self.chain.wait_logged_on()
        self.served = 0
        self.offset_ns = 0

    def next(self) -> ChainUnderTest:
        """For one more test."""
        self.served += 1
        return ChainUnderTest(self, self.served - 1)


def own_message(message: Any, test: int) -> Any:
    """A message with a test's names."""
    changed = {
        name: f"t{test}-{value}"
        for name in ("cl_ord_id", "orig_cl_ord_id", "request_id")
        if (value := getattr(message, name, ""))
    }
    symbol = getattr(message, "symbol", "")
    if symbol in _SYMBOLS:
        changed["symbol"] = f"{symbol}{test}"
    return msgspec.structs.replace(message, **changed)


class OwnLink:
    """A way to the venue through which names are the test's own, and numbers begin at 1. What was there before is not told."""

    def __init__(self, inner: SocketVenueLink, test: int) -> None:
        self._inner = inner
        self._test = test
        self._deliver: Deliver | None = None
        self._base = -1
        #: The venue's numbers of this test's reports.
        self._seqs: list[int] = []

    def resume_from(self, life: str, venue_seq: int) -> None:
        before = self._seqs[venue_seq - 1] if venue_seq else max(self._base, 0)
        self._inner.resume_from(life, before if life else 0)

    def start(self, deliver: Deliver) -> None:
        self._deliver = deliver
        self._inner.start(self._take)

    def send(self, messages: Sequence[ToVenue]) -> bool:
        return self._inner.send([own_message(message, self._test) for message in messages])

    def reconnect(self) -> None:
        self._inner.reconnect()

    def stop(self) -> None:
        self._inner.stop()

    def _take(self, events: list[VenueEvent]) -> bool:
        assert self._deliver is not None
        return self._deliver([own for event in events if (own := self._own(event)) is not None])

    def _own(self, event: VenueEvent) -> VenueEvent | None:
        match event:
            case Welcome():
                if self._base < 0:
                    self._base = event.venue_seq
                return Welcome(event.life, len(self._seqs))
            case Report():
                return self._own_report(event)
            case ResumeEnd():
                return ResumeEnd(self._stripped(event.request_id))
            case Quote() | Book():
                if event.symbol not in [f"{symbol}{self._test}" for symbol in _SYMBOLS]:
                    return None
                return msgspec.structs.replace(event, symbol=event.symbol.rstrip("0123456789"))
        return event

    def _own_report(self, report: Report) -> Report | None:
        prefix = f"t{self._test}-"
        if report.venue_seq <= self._base or not report.cl_ord_id.startswith(prefix):
            return None
        if report.venue_seq not in self._seqs:
            self._seqs.append(report.venue_seq)
        names = {name: self._stripped(getattr(report, name)) for name in ("cl_ord_id", "orig_cl_ord_id")}
        number = self._seqs.index(report.venue_seq) + 1
        symbol = report.symbol.rstrip("0123456789")
        return msgspec.structs.replace(report, venue_seq=number, symbol=symbol, **names)

    def _stripped(self, name: str) -> str:
        return name.removeprefix(f"t{self._test}-")


class ChainUnderTest(VenueUnderTest):
    """The chain as one test's venue."""

    def __init__(self, shared: SharedChain, test: int) -> None:
        super().__init__()
        self.shared = shared
        self.test = test

    def link(self, firm: str) -> OwnLink:
        return OwnLink(SocketVenueLink(self.shared.chain.socket_path(firm), firm), self.test)

    def wait(self, session: FirmSession, is_true: Any) -> None:
        with session.heard:
            assert session.heard.wait_for(is_true, PATIENCE_S), "it did not come true"

    def now_ns(self) -> int:
        return time.time_ns() + self.shared.offset_ns

    def own(self, message: Any) -> Any:
        """A message with this test's names."""
        return own_message(message, self.test)

    def operate(self, action: str, **fields: Any) -> None:
        if action == "advance":
            self.shared.offset_ns += int(fields["by_s"] * 1e9)
        if "symbol" in fields:
            fields["symbol"] += str(self.test)
        if "cl_ord_id" in fields:
            fields["cl_ord_id"] = f"t{self.test}-{fields['cl_ord_id']}"
        self.shared.chain.operate(action, **fields)

    def close(self) -> None:
        """Nothing stays open for the next test."""
        for session in self.sessions:
            session.link.stop()
        for symbol in _SYMBOLS:
            for action, fields in (("resume", {}), ("halt", {"cancels_orders": True})):
                self.shared.chain.command(action, symbol=f"{symbol}{self.test}", **fields)
