"""The scenarios of the exchange, FIX 4.4 Appendix D among them, played over FIX.

Over the whole chain where a scenario does not move the clock to other days; and all of them with each message going through its FIX text and back on
the way to the exchange, and each report on the way from it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from tests.toucan.exchange import cases_fix, cases_operator, cases_orders
from tests.toucan.exchange.script import INSTRUMENTS, Script, shown_report
from tests.toucan.fix.shared import ChainUnderTest, SharedChain
from tests.toucan.venue.harness import FirmSession

from toucan.core.values import ExecType
from toucan.core.venue_messages import CancelOrder, NewOrder, ReplaceOrder, Report, ResumeEnd, StatusRequest
from toucan.exchange.core.scribe import Addressed
from toucan.fix.core.facts import OrderFacts, facts_of_report, facts_of_request
from toucan.fix.core.message import SOH, FixMessage
from toucan.fix.core.reports import report_from_fix, report_to_fix
from toucan.fix.core.requests import request_from_fix, request_to_fix

_ALL = {**cases_orders.CASES, **cases_fix.CASES, **cases_operator.CASES}
#: What another day or hour is needed for.
_CLOCK = ("> until", "> wait")
_LIVE = {name: text for name, text in _ALL.items() if not any(word in text for word in _CLOCK)}
_FIRMS = {"A": "one", "B": "other", "C": "two"}


# ---------------------------------------------------------------- as text and back


def _over_the_wire(message: FixMessage) -> FixMessage:
    pairs = [(35, message.type), *message.fields]
    return FixMessage.parse("".join(f"{int(tag)}={value}{SOH}" for tag, value in pairs))


class _TranslatedScript(Script):
    """Everything goes through FIX's text; both sides remember orders as their processes do."""

    def __init__(self) -> None:
        super().__init__()
        self._instruments = {one.symbol: one for one in INSTRUMENTS}
        self._client: dict[tuple[str, str], OrderFacts] = {}
        self._acceptor: dict[tuple[str, str], OrderFacts] = {}

    def _send(self, firm: str, message: Any) -> list[Addressed]:
        facts = self._client.get((firm, getattr(message, "orig_cl_ord_id", message_id(message))))
        if isinstance(message, (NewOrder, CancelOrder, ReplaceOrder)):
            if message.symbol not in self._instruments:
                return super()._send(firm, message)  # refused before it is sent
            self._client.setdefault((firm, message.cl_ord_id), facts_of_request(message, facts))
        there = _over_the_wire(request_to_fix(message, facts, self._instruments, self.now_ns))
        received: Any = request_from_fix(there, self._instruments)
        assert received == message
        if isinstance(received, (NewOrder, CancelOrder, ReplaceOrder)):
            original = self._acceptor.get((firm, getattr(received, "orig_cl_ord_id", "")))
            self._acceptor.setdefault((firm, received.cl_ord_id), facts_of_request(received, original))
        return super()._send(firm, received)

    def _shown(self, told: list[Addressed]) -> Iterator[str]:
        yield from super()._shown([self._told(firm, message) for firm, message in told])

    def _told(self, firm: str, message: Any) -> Addressed:
        if not isinstance(message, Report):
            return firm, message
        ids = [(firm, message.cl_ord_id), (firm, message.orig_cl_ord_id)]
        facts = next((self._acceptor[one] for one in ids if one in self._acceptor), None) or facts_of_report(
            message
        )
        if facts is not None:
            self._acceptor.setdefault((firm, facts.cl_ord_id), facts)
        known = next((self._client[one] for one in ids if one in self._client), None)
        here = report_from_fix(
            _over_the_wire(report_to_fix(message, facts, self._instruments)), known, self._instruments
        )
        assert here is not None
        here = msgspec.structs.replace(here, venue_seq=message.venue_seq)
        assert here == msgspec.structs.replace(message, at_ns=message.at_ns // 1_000_000 * 1_000_000)
        return firm, here


def message_id(message: Any) -> str:
    return getattr(message, "cl_ord_id", "")


@pytest.mark.parametrize("name", _ALL)
def test_scenario_as_fix_messages(name: str) -> None:
    _TranslatedScript().play(_ALL[name])


# ---------------------------------------------------------------- over the chain


class _LiveOperator:
    def __init__(self, venue: ChainUnderTest) -> None:
        self._venue = venue

    def halt(self, symbol: str, _: int, *, cancels_orders: bool) -> list[Addressed]:
        return self._tell("halt", symbol=symbol, cancels_orders=cancels_orders)

    def resume(self, symbol: str, _: int) -> list[Addressed]:
        return self._tell("resume", symbol=symbol)

    def done_for_day(self, symbol: str, _: int) -> list[Addressed]:
        return self._tell("done_for_day", symbol=symbol)

    def bust(self, exec_id: str, _: int, *, is_reinstated: bool) -> list[Addressed]:
        return self._tell("bust", exec_id=exec_id, is_reinstated=is_reinstated)

    def correct(self, exec_id: str, _: int, **fields: Any) -> list[Addressed]:
        return self._tell("correct", exec_id=exec_id, **fields)

    def cancel(self, firm: str, order: str, _: int) -> list[Addressed]:
        return self._tell("cancel", firm=_FIRMS[firm], cl_ord_id=order)

    def restate(self, firm: str, order: str, _: int, **fields: Any) -> list[Addressed]:
        return self._tell("restate", firm=_FIRMS[firm], cl_ord_id=order, **fields)

    def enter(self, firm: str, order: NewOrder, _: int) -> list[Addressed]:
        own = msgspec.to_builtins(self._venue.own(order))
        return self._tell("enter", firm=_FIRMS[firm], order=own)

    def _tell(self, action: str, **fields: Any) -> list[Addressed]:
        self._venue.operate(action, **fields)
        return []


class _LiveScript(Script):
    """Plays on the chain; what is told is compared firm by firm, since between two firms there is no order."""

    def __init__(self, venue: ChainUnderTest) -> None:
        super().__init__()
        self.operator = _LiveOperator(venue)  # type: ignore[assignment]
        self.now_ns = venue.now_ns()
        self._venue = venue
        self._sessions: dict[str, FirmSession] = {}

    def play(self, text: str) -> None:
        for step in (line.strip() for line in text.strip().splitlines()):
            if step.startswith(">"):
                self.act(step[1:])
            elif step:
                firm, *words = step.removeprefix("<").split()
                assert self._next(firm, words) == " ".join(words), step
        for session in self._sessions.values():
            assert session.ask(StatusRequest("nothing more")).cl_ord_id == "nothing more"

    def session(self, firm: str) -> FirmSession:
        if firm not in self._sessions:
            self._sessions[firm] = self._venue.session(_FIRMS[firm])
        return self._sessions[firm]

    def _next(self, firm: str, words: list[str]) -> str:
        session = self.session(firm)
        if words[0] == "END":
            session.wait(lambda: ResumeEnd(words[1]) in session.events)
            return " ".join(words)
        report = session.next()
        if report.kind is ExecType.TRADE:
            self._trades.setdefault(report.cl_ord_id, []).append(report.exec_id)
        return shown_report(report)

    def _send(self, firm: str, message: Any) -> list[Addressed]:
        self.session(firm).tell(message)
        return []


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SharedChain]:
    shared = SharedChain(tmp_path_factory.mktemp("fix"), len(_LIVE))
    yield shared
    shared.chain.close()


@pytest.fixture
def venue(shared: SharedChain) -> Iterator[ChainUnderTest]:
    venue = shared.next()
    yield venue
    venue.close()


@pytest.mark.system
@pytest.mark.parametrize("name", _LIVE)
def test_scenario_over_the_chain(name: str, venue: ChainUnderTest) -> None:
    script = _LiveScript(venue)
    for firm in _FIRMS:
        script.session(firm)
    script.play(_LIVE[name])


def test_most_scenarios_can_be_played_over_the_chain() -> None:
    assert len(_LIVE) > len(_ALL) / 2
    assert sum(name in cases_fix.CASES for name in _LIVE) >= 20
