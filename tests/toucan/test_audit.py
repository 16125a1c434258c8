"""``toucan audit`` over the journal of a real engine."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from tests.toucan.engine.desk_client import desk_client, limit_order, until
from tests.toucan.engine.rig import Rig, rig_in

from toucan.audit import audit_group
from toucan.core import requests as rq
from toucan.core.order import Client
from toucan.engine.recovery import recover
from toucan.journal.reader import committed_seq

pytestmark = pytest.mark.system


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    with rig_in(tmp_path_factory.mktemp("rig")) as rig:
        asyncio.run(trade(rig))
        yield rig


async def trade(rig: Rig) -> None:
    async with desk_client(rig.socket) as alice:
        await alice.venue_ready()
        for number in range(3):
            await alice.ask(rq.Submit(limit_order(price=9_000 + number)))
        await alice.ask(rq.Cancel(2))
        await alice.ask(rq.SetLimit("firm/alpha", "max_order_quantity", "5", "after the incident"))
        await alice.ask(rq.Submit(limit_order()))
        bob = type(alice)(alice.link, Client("bob", "b"))
        await bob.ask(rq.Submit(limit_order(quantity=1, symbol="MSFT", account="ACC2")))
        bot = type(alice)(alice.link, Client("bot", "model"))
        for _ in range(2):
            await bot.ask(rq.Stage(limit_order(quantity=3, price=8_000), "cheap"))
        await alice.ask(rq.AmendStaged(1, 1, quantity=2, why="too much"))
        await bob.ask(rq.ReleaseStaged(1, 2, why="well"))
        await bob.ask(rq.RejectStaged(2, "once is enough"))
        # Without the witness an event is known to be committed by those after it.
        await alice.ask(rq.SetLimit("firm/alpha", "max_order_quantity", "6", "bigger again"))
        await until(lambda: not any(order.requests for order in alice.link.state.live_orders()))


def audit(rig: Rig, *arguments: str) -> Result:
    command, *more = arguments
    return CliRunner().invoke(audit_group, [command, "--data", str(rig.data), *more])


def kinds(result: Result) -> list[str]:
    assert result.exit_code == 0, result.output
    return [json.loads(line)["kind"] for line in result.output.splitlines()]


def test_search_by_each_condition(rig: Rig) -> None:
    assert kinds(audit(rig, "search", "--json", "--user", "bob", "--kind", "OrderAccepted")) == [
        "OrderAccepted"
    ]
    assert kinds(audit(rig, "search", "--json", "--kind", "OrderDenied")) == ["OrderDenied"]
    of_order = kinds(audit(rig, "search", "--json", "--order", "2"))
    assert of_order[0] == "OrderAccepted"
    assert "CancelRequested" in of_order
    assert of_order.count("Reported") == 2
    accounts = audit(rig, "search", "--json", "--order", "2").output.splitlines()
    assert {json.loads(line)["account"] for line in accounts} == {"ACC1"}, "of a cancel and of reports, too"
    assert kinds(audit(rig, "search", "--json", "--symbol", "MSFT", "--kind", "OrderAccepted")) == [
        "OrderAccepted"
    ]
    assert kinds(audit(rig, "search", "--json", "--contains", "after the incident")) == ["LimitSet"]
    assert kinds(audit(rig, "search", "--json", "--until", "2001-01-01T00:00")) == []
    assert len(kinds(audit(rig, "search", "--json", "--limit", "4"))) == 4
    assert kinds(audit(rig, "search", "--json", "--after", "2", "--kind", "EngineStarted")) == []


def test_who_proposed_amended_released_and_rejected(rig: Rig) -> None:
    def told(staged_id: int) -> list[tuple[str, ...]]:
        lines = audit(rig, "search", "--json", "--staged", str(staged_id)).output.splitlines()
        names = ("kind", "user", "account", "symbol", "order_id")
        return [tuple(json.loads(line)[name] for name in names) for line in lines]

    order_id = told(1)[-1][-1]
    assert told(1) == [
        ("OrderStaged", "bot", "ACC1", "AAPL", ""),
        ("StagedAmended", "alice", "ACC1", "AAPL", ""),
        ("StagedReleased", "bob", "ACC1", "AAPL", order_id),
    ]
    assert kinds(audit(rig, "search", "--json", "--order", order_id))[:2] == [
        "OrderAccepted",
        "StagedReleased",
    ]
    assert told(2)[1:] == [("StagedRejected", "bob", "ACC1", "AAPL", "")]
    line = audit(rig, "search", "--kind", "StagedRejected").output
    assert "bob ACC1 AAPL staged 2" in line
    assert "once is enough" in line


def test_lines_for_people_and_bad_times(rig: Rig) -> None:
    line = audit(rig, "search", "--kind", "LimitSet").output
    assert "alice" in line
    assert "after the incident" in line
    assert "no time" in audit(rig, "search", "--since", "yesterday").output


def test_verify_and_replay(rig: Rig) -> None:
    verified = audit(rig, "verify")
    assert verified.exit_code == 0
    assert verified.output.endswith("whole\n")
    state, follower = recover(rig.data, committed_seq(rig.data))
    follower.close()
    assert audit(rig, "replay").output.startswith(state.digest())


def test_damage_is_shown_and_set_aside(rig: Rig, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    copy.mkdir()
    for path in rig.data.glob("segment-*"):
        data = bytearray(path.read_bytes())
        data[data.index(b"after the incident")] ^= 1
        (copy / path.name).write_bytes(data)
    found = CliRunner().invoke(audit_group, ["verify", "--data", str(copy)])
    assert found.exit_code == 1
    assert "damage" in found.output
    assert "NOT WHOLE" in found.output
    shown = CliRunner().invoke(audit_group, ["search", "--data", str(copy)])
    assert "toucan audit verify" in shown.output
    refused = CliRunner().invoke(audit_group, ["repair", "--data", str(copy)], input="n\n")
    assert refused.exit_code == 1
    repaired = CliRunner().invoke(audit_group, ["repair", "--data", str(copy), "--yes"])
    assert repaired.exit_code == 0, repaired.output
    assert CliRunner().invoke(audit_group, ["verify", "--data", str(copy)]).exit_code == 0
