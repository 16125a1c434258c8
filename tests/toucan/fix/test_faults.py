"""kill -9 of each process, and connections that break, under a stream of orders: nothing is lost, and nothing counts twice.

``TOUCAN_FIX_ROUNDS`` faults (6 unless it is set) drawn by ``TOUCAN_FIX_SEED``, which is printed.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.toucan.exchange.running import RawFirm
from tests.toucan.fix.chain import Chain, wait_until
from tests.toucan.fix.firm import TradingFirm, standings
from tests.toucan.fix.relay import Relay

from toucan.core.values import ExecType, Side
from toucan.core.venue_messages import Report

pytestmark = pytest.mark.system

_ROUNDS = int(os.environ.get("TOUCAN_FIX_ROUNDS", "6"))
_SEED = int(os.environ.get("TOUCAN_FIX_SEED", str(random.randrange(1 << 32))))
_KINDS = ("kill one", "kill acceptor", "cut one", "kill other", "cut both", "silence one")


class _Rig:
    def __init__(self, folder: Path, own_settings: dict[str, str] | None = None) -> None:
        self.relays: dict[str, Relay] = {}
        self.chain = Chain(
            folder,
            ("one", "other"),
            ("ABC",),
            port_of=self._relayed,
            market_data=False,
            own_settings=own_settings,
        )
        self.chain.start()
        self.firms = {name: TradingFirm(self.chain.socket_path(name), name) for name in self.chain.firms}
        for firm in self.firms.values():
            firm.wait_ready(1)

    def _relayed(self, firm: str, port: int) -> int:
        self.relays[firm] = Relay(port)
        return self.relays[firm].port

    def close(self) -> None:
        for firm in self.firms.values():
            firm.stop()
        for relay in self.relays.values():
            relay.__exit__()
        self.chain.close()

    def truth(self, firm: str) -> list[Report]:
        """All that the exchange has told a firm; whoever was connected as that firm is not any more."""
        with RawFirm(self.chain.exchange_path) as raw:
            return raw.resume(firm)[1]


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[_Rig]:
    rig = _Rig(tmp_path)
    yield rig
    rig.close()


@pytest.fixture
def odd(tmp_path: Path) -> Iterator[_Rig]:
    """One asks for its orders one by one; the other's numbers begin anew at each logon."""
    rig = _Rig(tmp_path, {"one": "mass_status = false", "other": "reset_on_logon = true"})
    yield rig
    rig.close()


def _trade(rig: _Rig, chance: random.Random, count: int) -> None:
    """Orders that meet each other, some of them cancelled again."""
    for _ in range(count):
        name, side = chance.choice((("one", Side.BUY), ("other", Side.SELL)))
        order = rig.firms[name].order(side, 50 + chance.randint(-2, 2), chance.randint(1, 20))
        if order and chance.random() < 0.2:
            rig.firms[name].cancel(order, side)
        if chance.random() < 0.2:
            time.sleep(0.002)


def _break(rig: _Rig, kind: str, chance: random.Random) -> None:
    """One fault while orders are under way; returns when all are in step again."""
    before = {name: firm.times_ready for name, firm in rig.firms.items()}
    _trade(rig, chance, chance.randint(1, 60))
    match kind.split():
        case ["kill", "acceptor"]:
            hit = list(rig.firms)
            rig.chain.processes["acceptor"].process.kill()
            _trade(rig, chance, 20)
            rig.chain.restart("acceptor")
        case ["kill", name]:
            hit = [name]
            rig.chain.processes[name].process.kill()
            _trade(rig, chance, 20)
            rig.chain.restart(name)
        case ["cut", which]:
            hit = list(rig.firms) if which == "both" else [which]
            for name in hit:
                rig.relays[name].cut()
        case ["silence", name]:
            hit = [name]
            rig.relays[name].silence(True)
            _trade(rig, chance, 20)
            with rig.firms[name].changed:
                assert rig.firms[name].changed.wait_for(lambda: not rig.firms[name].is_ready, 20)
            rig.relays[name].cut()
            rig.relays[name].silence(False)
    _trade(rig, chance, 20)
    for name in hit:
        rig.firms[name].wait_ready(before[name] + 1)


def test_nothing_is_lost_or_doubled(rig: _Rig) -> None:
    print(f"TOUCAN_FIX_SEED={_SEED} TOUCAN_FIX_ROUNDS={_ROUNDS}")
    chance = random.Random(_SEED)
    kinds = [*_KINDS, *chance.choices(_KINDS, k=max(0, _ROUNDS - len(_KINDS)))][:_ROUNDS]
    chance.shuffle(kinds)
    for kind in kinds:
        _break(rig, kind, chance)
    _trade(rig, chance, 50)
    for firm in rig.firms.values():
        firm.settle()
    rig.chain.processes["acceptor"].kill()  # only one can be connected as a firm
    orders = 0
    for name, firm in rig.firms.items():
        truth = rig.truth(name)
        assert firm.failure == ""
        assert len(firm.lives) == 1, "a killed process goes on in the same life"
        fills = [report.exec_id for report in truth if report.kind is ExecType.TRADE]
        assert firm.fills == dict.fromkeys(fills, 1)
        told = standings(firm.reports)
        assert told == standings(truth)
        assert not firm.lost & told.keys(), "an order that was believed lost has come to the exchange"
        orders += len(told)
    assert orders > 50


def test_an_exchange_that_begins_a_new_life_ends_the_sessions_and_what_was_open_is_gone(rig: _Rig) -> None:
    firm = rig.firms["one"]
    order = firm.order(Side.BUY, 50)
    wait_until(lambda: order in standings(firm.reports))
    times = firm.times_ready
    rig.chain.restart("exchange")
    firm.wait_ready(times + 1)
    assert order not in firm._seen
    again = firm.order(Side.BUY, 50)
    wait_until(lambda: again in standings(firm.reports))


def test_sessions_as_some_venues_want_them(odd: _Rig) -> None:
    chance = random.Random(_SEED)
    for kind in ("cut one", "kill one", "kill acceptor"):
        _break(odd, kind, chance)
    for firm in odd.firms.values():
        firm.settle()
    for name in odd.firms:
        before = odd.firms[name].times_ready
        odd.chain.restart(name)
        odd.firms[name].wait_ready(before + 1)
    buy, sell = odd.firms["one"].order(Side.BUY, 60), odd.firms["other"].order(Side.SELL, 40)
    wait_until(lambda: sell in standings(odd.firms["other"].reports))
    for firm in odd.firms.values():
        firm.settle()
    odd.chain.processes["acceptor"].kill()
    one, other = odd.firms["one"], odd.firms["other"]
    truth = odd.truth("one")
    assert buy in standings(truth)
    assert standings(one.reports) == standings(truth)
    assert one.fills == {report.exec_id: 1 for report in truth if report.kind is ExecType.TRADE}
    assert not one.lost & standings(truth).keys()
    # What was sent into a connection that had ended is not sent again; all the rest is there, and once.
    assert set(other.fills.values()) <= {1}
    assert other.fills.keys() <= {report.exec_id for report in odd.truth("other")}
