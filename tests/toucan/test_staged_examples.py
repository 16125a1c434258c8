"""The example strategy that proposes, and the notebook in which a person approves, do what they say."""

from __future__ import annotations

import asyncio
import io
import itertools
import json
from contextlib import redirect_stdout
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from tests.toucan.server.served import served
from tests.toucan.test_dev import dev

from toucan.client import Book, Level, MarketData, Side, StagedState, aio, connect
from toucan.client.examples import propose
from toucan.core.order import Client
from toucan.core.venue_messages import Quote

NOTEBOOK = Path(__file__).resolve().parents[2] / "docs" / "examples" / "approve_orders.ipynb"


def market(price: str, *, is_halted: bool = False) -> MarketData:
    last = Level(price=Decimal(price), quantity=Decimal(1))
    return MarketData(
        symbol="AAPL", bid=None, ask=None, last=last, volume=Decimal(1), is_halted=is_halted, at_ns=0, book=Book(bids=(), asks=())
    )  # fmt: skip


def test_the_strategy_has_ideas_where_a_price_has_left_its_average() -> None:
    ideas = propose.Ideas()
    assert ideas.idea(market("100")) is None
    assert ideas.idea(market("100.10")) is None
    assert ideas.idea(market("99", is_halted=True)) is None
    found = ideas.idea(market("99"))
    assert found is not None
    assert found[:2] == (Side.BUY, Decimal("99"))
    assert found[2] == "1.00% below its average of 100.00"
    found = ideas.idea(market("101"))
    assert found is not None
    assert found[0] is Side.SELL
    ideas.is_waiting = True
    assert ideas.idea(market("105")) is None


def test_the_strategy_proposes_and_follows_what_becomes_of_it(capsys: pytest.CaptureFixture[str]) -> None:
    with served() as front, connect(front.address, account="ACC1") as person:
        engine = front.world.engine

        async def run() -> None:
            client = aio.connect(front.address, account="ACC1")
            async with client:
                strategy = asyncio.create_task(propose.run(client, "AAPL"))
                await decide(1, 9_800)
                lines.extend(capsys.readouterr().out.splitlines())
                strategy.cancel()
                await asyncio.wait([strategy])
                while not is_lost(client.request_session):
                    await asyncio.sleep(0.01)

        def is_lost(session: str) -> bool:
            """Whether the engine knows that it is gone, so that its proposals will be withdrawn."""
            found = engine.state.client(Client("local", session)).session
            return found is not None and found.lost_at_ns is not None

        async def decide(staged_id: int, price: int) -> None:
            """Prices until it proposes, a person's word, and the line in which it tells that it has heard."""
            # It hears five prices in a second, so each stays for longer than that: of faster ones it could always hear the same.
            moves = itertools.cycle([10_000] * 10 + [price] * 10)
            while not (found := await asyncio.to_thread(person.staged_orders)):
                moved = next(moves)
                quote = Quote("AAPL", 0, moved - 10, 10, moved + 10, 10, moved)
                await asyncio.to_thread(front.do, partial(engine.quote, quote))
                await asyncio.sleep(0.05)
            assert (found[0].staged_id, found[0].status) == (staged_id, StagedState.PROPOSED)
            await asyncio.to_thread(person.release_staged, found[0], why="well")
            while "released" not in (told := capsys.readouterr().out):
                lines.extend(told.splitlines())
                await asyncio.sleep(0.01)
            lines.extend(told.splitlines())

        lines: list[str] = []
        asyncio.run(asyncio.wait_for(run(), 60))
        assert any("its average of" in line and "proposed" in line for line in lines)
        assert lines[-1].endswith("released by local: well")
        assert [order.owner.user for order in engine.state.orders.values()] == ["local"]


@pytest.mark.system
def test_the_notebook_runs_as_it_stands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    notebook: dict[str, Any] = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    assert (notebook["nbformat"], notebook["nbformat_minor"]) == (4, 5)
    assert len({cell["id"] for cell in notebook["cells"]}) == len(notebook["cells"])
    code = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in code)
    names: dict[str, Any] = {}
    said: list[str] = []
    with dev(tmp_path) as (_, ready):
        monkeypatch.setenv("TOUCAN_SERVER", ready["grpc"])
        monkeypatch.delenv("TOUCAN_TOKEN_FILE", raising=False)
        for cell in code:
            with redirect_stdout(io.StringIO()) as out:
                exec("".join(cell["source"]), names)
            said.append(out.getvalue())
    assert "release-own" in said[0]
    assert "100 AAPL @ 180.00" in said[1]
    assert "is above 100000" in said[2]
    assert "proposed by" in said[3]
    assert "would be denied" in said[3]
    assert "RELEASED by" in said[4]
    assert said[5].startswith("STAGED_ORDER_DECIDED - staged order 1 was released by")
    assert "cancels on their way: (1, 2)" in said[6]
