"""The prompt on a real pseudo-terminal, against a real server: what a person sees and types."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pexpect
import pytest
from tests.toucan.client.mini_server import MiniServer
from tests.toucan.client.test_watch import until

_ESCAPES = re.compile(r"\x1b(\[[0-?]*[ -/]*[@-~]|\][^\x07]*\x07|[=>()][0-9A-Z]?)")
#: A slow machine may take this long for what is instant on others.
_TIMEOUT_S = 60


class Terminal:
    """A person at a terminal of 160 columns."""

    def __init__(self, *arguments: str, term: str = "xterm-256color") -> None:
        self.child = pexpect.spawn(
            sys.executable, ["-m", "toucan.cli", *arguments], env={**os.environ, "TERM": term}, dimensions=(40, 160),
            encoding="utf-8", timeout=_TIMEOUT_S,
        )  # fmt: skip
        self.seen = ""

    def see(self, text: str) -> None:
        """Waits until a text has been shown; prompt_toolkit draws what changed, so it is looked for without the terminal's commands."""
        found = self._find(text)
        while found is None:
            self.seen += self.child.read_nonblocking(4096, _TIMEOUT_S)
            found = self._find(text)
        self.seen = found

    def _find(self, text: str) -> str | None:
        plain = _ESCAPES.sub("", self.seen)
        position = plain.find(text)
        return None if position < 0 else plain[position + len(text) :]

    def type(self, text: str) -> None:
        self.child.send(text)

    def enter(self, line: str) -> None:
        self.child.send(line + "\r")

    def end(self) -> int:
        """Waits until the program is over; its exit code."""
        self.child.expect(pexpect.EOF)
        self.seen += self.child.before or ""
        self.child.close()
        assert self.child.exitstatus is not None
        return int(self.child.exitstatus)


@pytest.fixture
def terminal(server: MiniServer) -> Iterator[Callable[..., Terminal]]:
    opened: list[Terminal] = []

    def open_one(*arguments: str, **options: str) -> Terminal:
        opened.append(Terminal(*arguments, **options))
        return opened[-1]

    yield open_one
    for one in opened:
        one.child.close(force=True)


def test_a_session_of_a_person(terminal: Callable[..., Terminal], server: MiniServer, tmp_path: Path) -> None:
    person = terminal()
    person.see(f"local @ {server.address} | no open orders | no positions")
    person.enter("buy 100 AAPL @ 189.45")
    person.see("order 1: buy 100 AAPL @ 189.45 for ACC1: new")
    person.see("1 open")
    person.enter("buy 1 AAPL @ 189.455")
    person.see("toucan: error: AAPL: price '189.455' is not a multiple of the tick, 0.01")
    person.enter("orders")
    person.see("189.45")
    person.see("local")
    person.type("\x04")
    assert person.end() == 0
    assert "1 of your orders stay open" in person.seen
    history = tmp_path / "state" / "toucan" / "history"
    assert "+buy 100 AAPL @ 189.45" in history.read_text()
    assert history.stat().st_mode & 0o077 == 0


def test_fills_come_above_what_is_being_typed(terminal: Callable[..., Terminal], server: MiniServer) -> None:
    person = terminal()
    person.see("no open orders")
    person.enter("buy 100 AAPL @ 189.45")
    person.see("1 open")
    person.type("sell 7 ")
    person.see("sell 7")
    server.engine.fill(1, 40, 18945)
    person.see("bought 40 AAPL @ 189.45 for ACC1 (order 1: partially filled, 40 of 100 @ 189.45)")
    person.see("P&L")
    person.enter("AAPL @ 999")
    person.see("order 2: sell 7 AAPL @ 999.00 for ACC1: new")


def test_completion_knows_symbols_and_own_orders(
    terminal: Callable[..., Terminal], server: MiniServer
) -> None:
    person = terminal()
    person.see("no open orders")
    person.type("buy 5 btc\t @ 1.00\r")
    person.see("order 1: buy 5 BTC-USD @ 1.00 for ACC1: new")
    person.see("1 open")
    person.type("cancel ")
    person.see("buy 5 BTC-USD @ 1.00 for ACC1: new")
    person.type("\t\r")
    person.see("cancels on their way: 1")


def test_a_soft_limit_is_asked_for(terminal: Callable[..., Terminal], server: MiniServer) -> None:
    person = terminal()
    person.see("no open orders")
    person.enter("buy 1000 AAPL @ 189")
    person.see("the order is worth 189000 USD, above 50000")
    person.see("Send it anyway? [y/N]")
    person.enter("n")
    person.see("not confirmed; nothing was done")
    assert server.engine.orders == {}
    person.enter("buy 1000 AAPL @ 189")
    person.see("Send it anyway? [y/N]")
    person.enter("y")
    person.see("order 1: buy 1000 AAPL @ 189.00 for ACC1: new")


def test_killing_needs_the_nodes_name_and_shows(
    terminal: Callable[..., Terminal], server: MiniServer
) -> None:
    person = terminal()
    person.see("no open orders")
    person.enter("kill firm --level block-new --reason drill")
    person.see("Type firm to go on:")
    person.enter("frim")
    person.see("that was not firm; nothing was done")
    person.enter("kill firm --level block-new --reason drill")
    person.see("Type firm to go on:")
    person.enter("firm")
    person.see("firm: block-new")
    person.see("BLOCK NEW firm")
    person.enter("buy 1 AAPL @ 1")
    person.see("toucan: error: denied: new orders are blocked (TRADING_BLOCKED)")


def test_ctrl_c_drops_the_line_or_the_command_and_never_the_prompt(
    terminal: Callable[..., Terminal], server: MiniServer
) -> None:
    person = terminal()
    person.see("no open orders")
    person.type("buy 100 AAPL")
    person.type("\x03")
    person.see("toucan>")
    person.enter("watch market AAPL")
    person.see("bid 300 @ 189.40")
    person.type("\x03")
    person.see("toucan>")
    server.running.clear()
    person.enter("cancel 1")
    until(lambda: "CancelOrderRequest" in server.requests)
    person.type("\x03")
    person.see("interrupted while a request was under way: it may have been carried out")
    server.running.set()
    person.enter("whoami")
    person.see("local")
    person.enter("exit")
    assert person.end() == 0


def test_a_lost_connection_shows_and_comes_back(
    terminal: Callable[..., Terminal], server: MiniServer
) -> None:
    person = terminal()
    person.see("no open orders")
    person.enter("buy 10 AAPL @ 1")
    person.see("1 open")
    server.kill()
    person.see("NOT CONNECTED for ")
    person.see("Connection refused | OLD: local @ ")
    server.engine.fill(1, 4, 100)
    server.start()
    person.see("bought 4 AAPL @ 1.00 for ACC1 (order 1: partially filled, 4 of 10 @ 1)")
    person.see(" s ago")
    server.is_stale = True
    person.see("OLD: the server has lost its engine")


def test_without_a_server_it_starts_and_waits(terminal: Callable[..., Terminal], server: MiniServer) -> None:
    server.kill()
    person = terminal()
    person.see("NOT CONNECTED for ")
    person.see("nothing answers at")
    server.start()
    person.see("local @ ")
    person.see("no open orders")


def test_a_terminal_that_can_only_do_lines(terminal: Callable[..., Terminal], server: MiniServer) -> None:
    person = terminal(term="dumb")
    person.see("toucan> ")
    person.enter("buy 1000 AAPL @ 189")
    person.see("Send it anyway? [y/N]")
    person.enter("y")
    person.see("order 1: buy 1000 AAPL @ 189.00 for ACC1: new")
    person.type("\x03")
    person.see("toucan> ")
    person.type("\x04")
    assert person.end() == 0
    assert "\x1b" not in person.seen


def test_one_command_on_a_terminal_asks_on_standard_error(
    terminal: Callable[..., Terminal], server: MiniServer
) -> None:
    person = terminal("buy", "1000", "AAPL", "@", "189")
    person.see("the order is worth 189000 USD, above 50000")
    person.see("Send it anyway? [y/N]")
    person.enter("yes")
    person.see("order 1: buy 1000 AAPL @ 189.00 for ACC1: new")
    assert person.end() == 0
    person = terminal("kill", "firm", "--level", "freeze", "--reason", "drill")
    person.see("Type firm to go on:")
    person.enter("no")
    assert person.end() == 8
