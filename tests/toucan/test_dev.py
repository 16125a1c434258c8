"""``toucan dev``: everything in the foreground, and nothing of it left."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from tests.toucan.market.feed import FeedVenue

import toucan.client
from toucan.client import OrdStatus
from toucan.core.values import Side
from toucan.instrument_file import load_instruments
from toucan.market.core.messages import FeedWelcome, FromFeed
from toucan.market.core.recording import Kind, Record, encode_head, encode_record
from toucan.market.core.tape import Place

pytestmark = pytest.mark.system

TIMEOUT_S = 30.0


@contextlib.contextmanager
def dev(tmp_path: Path, *options: str) -> Iterator[tuple[subprocess.Popen[str], dict[str, Any]]]:
    command = [sys.executable, "-m", "toucan.cli", "dev", "--listen", "127.0.0.1:0", *options]
    with (
        (tmp_path / "log").open("w") as log,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True) as process,
    ):
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            assert line, (tmp_path / "log").read_text()
            yield process, json.loads(line)
        finally:
            process.kill()


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z"
    except OSError:
        return False


def await_end(pids: list[int]) -> None:
    deadline = time.monotonic() + TIMEOUT_S
    while any(is_alive(pid) for pid in pids):
        assert time.monotonic() < deadline, "they outlived it"
        time.sleep(0.02)


def settled(client: toucan.client.Toucan, order_id: int) -> toucan.client.Order:
    deadline = time.monotonic() + TIMEOUT_S
    while (order := client.order(order_id)).requests:
        assert time.monotonic() < deadline
        time.sleep(0.005)
    return order


def test_recorded_market_data_are_shown_instead_of_the_exchanges_own(tmp_path: Path) -> None:
    venue = FeedVenue(
        instruments=tuple(load_instruments(Path(str(files("toucan") / "defaults/instruments.toml"))))
    )
    venue.order(Side.BUY, 30, 18_940)
    venue.order(Side.BUY, 5, 18_940)
    venue.trade(7, 18_950)
    venue.publish()
    feed, symbol = venue.feed, "AAPL"
    told: list[FromFeed] = [
        FeedWelcome("L", tuple(feed.instruments())),
        feed.quote(symbol),
        feed.book(symbol),
    ]
    told += feed.tape(symbol).since(Place()).lines
    records = [encode_record(Record(1, Kind.NEWS, message)) for message in told]
    (tmp_path / "rec").write_bytes(encode_head() + b"".join(records))
    with dev(tmp_path, "--replay-market", str(tmp_path / "rec")) as (process, ready):
        with toucan.client.connect(ready["grpc"], account="ACC1") as client:
            watch = client.watch_market_data([symbol], depth=5, timeout_s=TIMEOUT_S)
            market = next(one for one in watch if one.book.bids)
            assert [(str(one.price), str(one.quantity), one.orders) for one in market.book.bids] == [
                ("189.40", "35", 2)
            ]
            trades = next(client.watch_trades([symbol], before=5, timeout_s=TIMEOUT_S))
            assert [(str(one.price), str(one.quantity)) for one in trades.trades] == [("189.50", "7")]
            order = settled(client, client.buy(symbol, 1, price="1.00").order_id)
            assert order.status is OrdStatus.NEW, "orders go to the exchange all the same"
        process.send_signal(signal.SIGTERM)
        assert process.wait(TIMEOUT_S) == 0
        await_end([*ready["processes"].values()])


def test_orders_over_a_restart_and_a_clean_end(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with dev(tmp_path, "--data", str(data)) as (process, ready):
        assert ready["pid"] == process.pid
        with toucan.client.connect(ready["grpc"], account="ACC1") as client:
            first = client.buy("AAPL", 100, price="189.50", tif="gtc").order_id
            assert settled(client, first).status is OrdStatus.NEW
            # What falls is started again, and the client never notices more than a pause.
            os.kill(ready["processes"]["engine"], signal.SIGKILL)
            second = client.sell("AAPL", 40, price="189.50", account="ACC2", tif="ioc").order_id
            assert settled(client, second).status is OrdStatus.FILLED
            assert client.order(first).cum_quantity == 40
        process.send_signal(signal.SIGTERM)
        assert process.wait(TIMEOUT_S) == 0
        await_end([*ready["processes"].values()])
        assert not Path(ready["operator"]).exists()
    with (
        dev(tmp_path, "--data", str(data)) as (process, ready),
        toucan.client.connect(ready["grpc"]) as client,
    ):
        assert client.order(first).cum_quantity == 40, "the journal is gone on with"
        assert {order.order_id for order in client.orders()} == {first, second}


def test_children_do_not_outlive_a_kill(tmp_path: Path) -> None:
    with dev(tmp_path) as (process, ready):
        process.kill()
        process.wait()
        await_end([*ready["processes"].values()])


def test_several_front_ends_share_the_address(tmp_path: Path) -> None:
    with (
        dev(tmp_path, "--front-ends", "2") as (_, ready),
        toucan.client.connect(ready["grpc"], account="ACC1", session="s") as client,
    ):
        order = client.buy("AAPL", 1, price="1.00", tif="gtc").order_id
        for name in ("server1", "server2"):
            os.kill(ready["processes"][name], signal.SIGKILL)
            assert client.order(order).order_id == order


def test_metrics_of_the_engine(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"127.0.0.1:{free.getsockname()[1]}"
    with (
        dev(tmp_path, "--metrics", address) as (_, ready),
        toucan.client.connect(ready["grpc"], account="ACC1") as client,
    ):
        for _ in range(3):
            client.buy("MSFT", 1, price="1.00", tif="gtc")
        with urllib.request.urlopen(f"http://{address}/metrics", timeout=TIMEOUT_S) as answer:
            lines = answer.read().decode().splitlines()
    values = dict(line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
    assert float(values["toucan_requests_total"]) >= 3
    assert (
        0 < float(values["toucan_longest_turn_seconds"]) <= float(values["toucan_longest_turn_ever_seconds"])
    )
    assert values['toucan_venue_ready{venue="SIM"}'] == "1.0"
    assert float(values["toucan_live_orders"]) == 3


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--listen", "0.0.0.0:0"], "can be reached from other hosts"),
        (["--listen", "nonsense"], "cannot listen on nonsense"),
        (["--web", "0.0.0.0:0"], "--web 0.0.0.0"),
        (["--web", "nonsense"], "choose another address with --web"),
        (["--limits", "BAD"], "did you mean"),
        (["--replay", "/nonexistent.csv"], "nonexistent.csv"),
    ],
)
def test_what_cannot_be_started_is_told(tmp_path: Path, options: list[str], words: str) -> None:
    bad = tmp_path / "limits.toml"
    bad.write_text('base_currency = "USD"\n[firm]\nmax_order_quantiti = "5"\n')
    command = [sys.executable, "-m", "toucan.cli", "dev", "--listen", "127.0.0.1:0"]
    command += [str(bad) if option == "BAD" else option for option in options]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=TIMEOUT_S)
    assert done.returncode != 0
    assert done.stdout == ""
    assert words in done.stderr
    assert "Traceback" not in done.stderr
