"""The prompt on a real pseudo-terminal, against a real server: what a person types, and what is on the screen then."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.toucan.cli.person import Person
from tests.toucan.client.mini_engine import User
from tests.toucan.client.mini_server import MiniServer

CTRL_C, CTRL_D = "\x03", "\x04"
RED = "d70000"  # as a terminal of 256 colours has it


@pytest.fixture
def person(server: MiniServer) -> Iterator[Callable[..., Person]]:
    opened: list[Person] = []

    def come(*arguments: str, **options: str) -> Person:
        opened.append(Person(*arguments, **options))
        return opened[-1]

    yield come
    for one in opened:
        one.close()


def test_a_session_of_a_person(person: Callable[..., Person], server: MiniServer, tmp_path: Path) -> None:
    ann = person()
    ann.sees(f"local @ {server.address} | no open orders | no positions | 0.")
    ann.enter("buy 100 AAPL @ 189.45")
    ann.sees("order 1: buy 100 AAPL @ 189.45 for ACC1: new")
    ann.sees("| 1 open |")
    ann.enter("buy 1 AAPL @ 189.455")
    ann.sees("toucan: error: AAPL: price '189.455' is not a multiple of the tick, 0.01")
    ann.enter("orders")
    ann.sees(" 1  buy        100  AAPL    189.45    ACC1     new     local")
    ann.type(CTRL_D)
    assert ann.ends() == 0
    assert "1 of your orders stay open" in ann.screen
    history = tmp_path / "state" / "toucan" / "history"
    assert "+buy 100 AAPL @ 189.45" in history.read_text()
    assert history.stat().st_mode & 0o077 == 0


def test_fills_come_above_what_is_being_typed(person: Callable[..., Person], server: MiniServer) -> None:
    ann = person()
    ann.sees("local @ ")
    ann.enter("buy 100 AAPL @ 189.45")
    ann.sees("1 open")
    ann.sees("toucan>")
    ann.type("sell 7 ")
    ann.sees("toucan> sell 7")
    server.engine.fill(1, 40, 18945)
    ann.sees("bought 40 AAPL @ 189.45 for ACC1 (order 1: partially filled, 40 of 100 @ 189.45)")
    ann.sees("P&L +0.00 USD")
    lines = ann.screen.splitlines()
    assert "bought 40 AAPL" in lines[3]
    assert lines[4] == "toucan> sell 7"
    ann.type("AAPL @ 999\r")
    ann.sees("order 2: sell 7 AAPL @ 999.00 for ACC1: new")


def test_completion_knows_symbols_and_own_orders(person: Callable[..., Person], server: MiniServer) -> None:
    ann = person()
    ann.sees("local @ ")
    ann.type("buy 5 btc")
    ann.sees("BTC-USD  Bitcoin")
    ann.type("\t @ 1.00\r")
    ann.sees("order 1: buy 5 BTC-USD @ 1.00 for ACC1: new")
    ann.sees("1 open")
    ann.enter("cancel ")
    ann.sees("say which orders")
    ann.type("cancel ")
    ann.sees("1      buy 5 BTC-USD @ 1.00 for ACC1: new")
    ann.type("\t\r")
    ann.sees("cancels on their way: 1")


def test_a_soft_limit_is_asked_for(person: Callable[..., Person], server: MiniServer) -> None:
    ann = person()
    ann.sees("local @ ")
    ann.enter("buy 1000 AAPL @ 189")
    ann.sees("the order is worth 189000 USD, above 50000\nSend it anyway? [y/N]")
    ann.enter("n")
    ann.sees("not confirmed; nothing was done")
    assert server.engine.orders == {}
    ann.enter("buy 1000 AAPL @ 189")
    ann.waits(lambda: ann.screen.count("Send it anyway? [y/N]") == 2, "not asked again")
    ann.enter("y")
    ann.sees("order 1: buy 1000 AAPL @ 189.00 for ACC1: new")


def test_killing_needs_the_nodes_name_and_shows_in_red(
    person: Callable[..., Person], server: MiniServer
) -> None:
    ann = person()
    ann.sees("local @ ")
    ann.enter("kill firm --level block-new --reason drill")
    ann.sees("Type firm to go on:")
    ann.type("frim\r")
    ann.sees("that was not firm; nothing was done")
    ann.enter("kill firm --level block-new --reason drill")
    ann.waits(lambda: ann.screen.count("Type firm to go on:") == 2, "not asked again")
    ann.type("firm\r")
    ann.sees("firm: block-new")
    ann.sees("BLOCK NEW firm")
    assert ann.style_at("BLOCK NEW firm")[1] == RED
    assert ann.style_at("local @")[1] != RED
    ann.enter("buy 1 AAPL @ 1")
    ann.sees("toucan: error: denied: new orders are blocked (TRADING_BLOCKED)")


def test_ctrl_c_drops_the_line_or_the_command_and_never_the_prompt(
    person: Callable[..., Person], server: MiniServer
) -> None:
    ann = person()
    ann.sees("local @ ")
    ann.type("buy 100 AAPL")
    ann.sees("toucan> buy 100 AAPL")
    ann.type(CTRL_C)
    ann.enter("watch market AAPL")
    ann.sees("bid 300 @ 189.40")
    ann.type(CTRL_C)
    ann.waits(lambda: ann.screen_above().endswith("toucan>"), "no prompt")
    server.running.clear()
    ann.enter("cancel 1")
    ann.waits(lambda: "CancelOrderRequest" in server.requests, "nothing was sent")
    ann.type(CTRL_C)
    ann.sees("interrupted while a request was under way: it may have been carried out")
    server.running.set()
    ann.enter("whoami")
    ann.sees("accounts  ACC1")
    ann.enter("exit")
    assert ann.ends() == 0


def test_ctrl_d_that_is_typed_while_a_command_runs_ends_the_prompt_after_it(
    person: Callable[..., Person], server: MiniServer
) -> None:
    ann = person()
    ann.sees("local @ ")
    ann.enter("buy 1 AAPL @ 1")
    ann.sees("1 open")
    server.running.clear()
    ann.enter("cancel 1")
    ann.waits(lambda: "CancelOrderRequest" in server.requests, "nothing was sent")
    ann.type(CTRL_D)
    server.running.set()
    assert ann.ends() == 0
    assert "cancels on their way: 1" in ann.screen
    assert ann.end_of_input == CTRL_D, "the terminal is as it was"


def test_a_lost_connection_cannot_be_missed_and_comes_back(
    person: Callable[..., Person], server: MiniServer
) -> None:
    ann = person()
    ann.sees("local @ ")
    ann.enter("buy 10 AAPL @ 1")
    ann.sees("1 open")
    server.kill()
    ann.sees("NOT CONNECTED for ")
    ann.sees("Connection refused | OLD: local @ ")
    assert ann.style_at("NOT CONNECTED")[1] == ann.style_at("local @")[1] == RED
    assert ann.screen.count("local @") == 1  # and nothing else has written on the screen
    server.engine.fill(1, 4, 100)
    server.start()
    ann.sees("bought 4 AAPL @ 1.00 for ACC1 (order 1: partially filled, 4 of 10 @ 1)")
    ann.sees(" s ago")
    server.is_stale = True
    ann.sees("OLD: the server has lost its engine")


def test_without_a_server_it_starts_and_waits_for_one(
    person: Callable[..., Person], server: MiniServer
) -> None:
    server.kill()
    ann = person()
    ann.sees("NOT CONNECTED for ")
    ann.sees("nothing answers at")
    server.start()
    ann.sees("local @ ")
    ann.sees("no open orders")


def test_who_is_not_known_is_told_so_once_and_may_become_known(
    person: Callable[..., Person], server: MiniServer
) -> None:
    server.users = {"secret": User("ann", ("ACC1",))}
    ann = person()
    ann.sees("toucan: error: the token is not known")
    ann.sees("NOT CONNECTED for 3 s: the token is not known")
    assert ann.screen.count("toucan: error") == 1
    server.users = None
    ann.sees("local @ ")


def test_a_terminal_that_can_only_do_lines(person: Callable[..., Person], server: MiniServer) -> None:
    ann = person(term="dumb")
    ann.enter("buy 1000 AAPL @ 189")
    ann.sees("Send it anyway? [y/N]")
    ann.type("y\n")
    ann.sees("order 1: buy 1000 AAPL @ 189.00 for ACC1: new")
    ann.waits(lambda: ann.screen.count("toucan>") == 2, "no prompt")
    # Python forgets one that comes after it has written the prompt and before it reads.
    for _ in range(10):
        ann.type(CTRL_C)
        if ann.shows(lambda: ann.screen.count("toucan>") == 3, 5.0):
            break
    ann.enter("exit")
    assert ann.ends() == 0
    assert b"\x1b" not in ann.raw


def test_one_command_on_a_terminal_asks_before_a_soft_limit(
    person: Callable[..., Person], server: MiniServer
) -> None:
    ann = person("buy", "1000", "AAPL", "@", "189")
    ann.sees("the order is worth 189000 USD, above 50000\nSend it anyway? [y/N]")
    ann.type("yes\n")
    ann.sees("order 1: buy 1000 AAPL @ 189.00 for ACC1: new")
    assert ann.ends() == 0
    ann = person("kill", "firm", "--level", "freeze", "--reason", "drill")
    ann.sees("Type firm to go on:")
    ann.type("no\n")
    assert ann.ends() == 8
