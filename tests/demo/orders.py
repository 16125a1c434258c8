"""The second half of the demonstration: the recorded order events, read through cashy, are the market that orders are sent to.

``toucan dev`` runs the engine, a gRPC front end and the embedded exchange, which plays the recording as background flow. Orders go in by the client
library and by the command line; what comes back is read from the server and must agree with what was told.
"""

from __future__ import annotations

import contextlib
import json
import signal
import statistics
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

import toucan.client
from toucan.client import Denied, Order

__all__ = ["trade"]

SYMBOL = "BTC-USD"
ACCOUNT = "ACC1"
ORDERS = 60
#: The recording is of half an hour; played faster, its book is deep enough after a moment.
SPEED = 20.0
START_TIMEOUT_S = 60.0


def trade(recording: Path, console: Console) -> bool:
    """Runs it; says whether everything agreed."""
    with _toucan_dev(recording) as ready, toucan.client.connect(ready["grpc"], account=ACCOUNT) as client:
        console.print(
            f"[bold]4.[/] toucan takes orders at {ready['grpc']}; the recording, read through cashy, is its market"
        )
        bid, ask = _await_market(client)
        console.print(
            f"   {SYMBOL} is bid {bid:,.2f}, asked {ask:,.2f}; {ORDERS} orders by gRPC, then some by the command line:\n"
        )
        latencies = _by_library(client, bid, ask)
        by_command = _by_command_line(ready["grpc"], ask)
        denial = _denied(client, ask)
        orders = _settled(client)
        positions = client.positions(accounts=[ACCOUNT])
        console.print(_order_table(orders))
        console.print(_position_table(positions))
        console.print(_latency_line(latencies))
        console.print(f"Denied before it could reach the venue: {denial}\n")
        filled = sum(order.cum_quantity * (1 if order.side.name == "BUY" else -1) for order in orders)
        held = sum((position.quantity for position in positions if position.symbol == SYMBOL), Decimal(0))
        if filled != held:
            console.print(f"[red]the fills come to {filled}, the position is {held}")
        is_consistent = filled == held and any(order.order_id == by_command for order in orders)
        return _show_blotter(f"http://{ready['web']}/", console) and is_consistent


def _show_blotter(address: str, console: Console) -> bool:
    """Says where the page is. Whoever has started this at a terminal may go on trading on it; else it is only looked at."""
    with urllib.request.urlopen(address, timeout=START_TIMEOUT_S) as answer:
        is_there = b"<title>" in answer.read()
    console.print(f"[bold]5.[/] The same desk in a browser, while this runs: {address}")
    if sys.stdin.isatty() and console.is_terminal:
        console.input("   Enter ends the demonstration: ")
    return is_there


@contextlib.contextmanager
def _toucan_dev(recording: Path) -> Iterator[dict[str, Any]]:
    command = [
        sys.executable, "-m", "toucan.dev", "--listen", "127.0.0.1:0", "--replay", str(recording), "--replay-symbol", SYMBOL,
        "--speed", str(SPEED), "--web", "127.0.0.1:0",
    ]  # fmt: skip
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            if not line:
                raise SystemExit(f"toucan dev did not start (exit code {process.wait()})")
            yield json.loads(line)
        finally:
            process.send_signal(signal.SIGTERM)
            if process.wait(timeout=START_TIMEOUT_S) != 0:
                raise SystemExit(f"toucan dev ended with exit code {process.returncode}")


def _await_market(client: toucan.client.Toucan) -> tuple[Decimal, Decimal]:
    with client.watch_market_data([SYMBOL], timeout_s=START_TIMEOUT_S) as watch:
        for data in watch:
            if data.bid is not None and data.ask is not None:
                return data.bid.price, data.ask.price
    raise SystemExit(f"the recording gave {SYMBOL} no market within {START_TIMEOUT_S:.0f} s")


def _by_library(client: toucan.client.Toucan, bid: Decimal, ask: Decimal) -> list[float]:
    """Buys and sells at once, and some orders that rest; one of those is replaced and one is cancelled."""
    latencies = []
    resting = []
    for number in range(ORDERS):
        side = client.buy if number % 2 else client.sell
        began = time.perf_counter()
        if number % 10 < 8:
            # Through the book, so that it is filled at whatever the market is by now.
            price = (ask * Decimal("1.02") if number % 2 else bid * Decimal("0.98")).quantize(Decimal("0.01"))
            accepted = side(SYMBOL, "0.01" if number % 3 else "0.015", price=str(price), tif="ioc")
            latencies.append(time.perf_counter() - began)
            # Until the venue has answered, the next order on the other side might trade with this one, and would be denied.
            while client.order(accepted.order_id).requests:
                time.sleep(0.001)
        else:
            price = (bid * Decimal("0.97") if number % 2 else ask * Decimal("1.03")).quantize(Decimal("0.01"))
            resting.append(side(SYMBOL, "0.02", price=str(price), tif="gtc").order_id)
            latencies.append(time.perf_counter() - began)
    client.replace(resting[0], quantity="0.05")
    client.cancel(resting[1])
    return latencies


def _by_command_line(address: str, ask: Decimal) -> int:
    price = str((ask * Decimal("1.02")).quantize(Decimal("0.01")))
    command = [sys.executable, "-m", "toucan.cli", "--server", address]
    command += ["buy", "0.25", SYMBOL, "@", price, "--tif", "ioc", "--account", ACCOUNT, "--json"]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    answer: dict[str, Any] = json.loads(done.stdout)
    return int(answer["order_id"])


def _denied(client: toucan.client.Toucan, ask: Decimal) -> str:
    try:
        client.buy(SYMBOL, "5000", price=str(ask.quantize(Decimal("0.01"))), tif="gtc")
    except Denied as error:
        return str(error)
    raise SystemExit("an order of five thousand bitcoins was accepted")


def _settled(client: toucan.client.Toucan) -> list[Order]:
    """All orders, once the venue has answered everything."""
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline:
        orders = client.orders(accounts=[ACCOUNT], limit=1000)
        if not any(order.requests for order in orders):
            return orders
        time.sleep(0.02)
    raise SystemExit("the venue did not answer everything")


def _order_table(orders: list[Order]) -> Table:
    table = Table(title="the last orders as they stand", box=None, padding=(0, 2, 0, 0))
    for title in ("order", "side", "status", "session"):
        table.add_column(title, no_wrap=True)
    for title in ("quantity", "limit", "filled", "average"):
        table.add_column(title, justify="right", no_wrap=True)
    for order in orders[:10]:
        average = "" if order.average_price is None else f"{order.average_price:,.2f}"
        table.add_row(
            str(order.order_id), order.side.name, order.status.name, order.session, f"{order.quantity:f}",
            f"{order.price:,.2f}", f"{order.cum_quantity:f}", average,
        )  # fmt: skip
    return table


def _position_table(positions: Any) -> Table:
    table = Table(title="\nposition", box=None, padding=(0, 2, 0, 0))
    for title in ("account", "symbol"):
        table.add_column(title, no_wrap=True)
    for title in ("quantity", "average", "mark", "realised", "unrealised", "bought", "sold"):
        table.add_column(title, justify="right", no_wrap=True)
    for one in positions:
        numbers = (one.average_price, one.mark_price, one.realised_profit, one.unrealised_profit)
        texts = ["" if number is None else f"{number:,.2f}" for number in numbers]
        table.add_row(
            one.account,
            one.symbol,
            f"{one.quantity:f}",
            *texts,
            f"{one.bought_quantity:f}",
            f"{one.sold_quantity:f}",
        )
    return table


def _latency_line(latencies: list[float]) -> str:
    ordered = sorted(latency * 1e3 for latency in latencies)
    return (
        f"\nA SubmitOrder takes {statistics.median(ordered):.2f} ms in the middle, {ordered[int(len(ordered) * 0.95)]:.2f} ms at the 95th "
        "percentile: checked against all limits and durable on disk when it returns."
    )
