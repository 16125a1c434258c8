"""Commands over a real server: what they print, with which exit code, and what they say of each mistake."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from tests.toucan.cli.support import Shell
from tests.toucan.client.mini_engine import User
from tests.toucan.client.mini_server import MiniServer, lost
from tests.toucan.client.test_watch import until

from toucan.cli import json_objects, run
from toucan.cli.caller import Caller
from toucan.cli.command import ConnectionOptions, Surroundings


@pytest.fixture
def toucan(server: MiniServer, capsys: pytest.CaptureFixture[str]) -> Shell:
    return Shell(capsys)


# --- orders ---


def test_buy_says_how_the_order_stands(toucan: Shell) -> None:
    done = toucan("buy", "100", "AAPL", "@", "189.45", "--tif", "gtc")
    assert (done.code, done.out, done.err) == (0, "order 1: buy 100 AAPL @ 189.45 gtc for ACC1: new\n", "")
    done = toucan("sell", "40", "aapl", "market")
    assert done.out == "order 2: sell 40 AAPL market for ACC1: filled, 40 of 40 @ 189.4\n"
    done = toucan("buy", "5", "AAPL", "@191.00", "--stop", "190", "--note", "x y")
    assert done.out == "order 3: buy 5 AAPL @ 191.00 stop 190.00 for ACC1: new\n"
    done = toucan(
        "buy", "5", "AAPL", "@", "189.00", "--iceberg", "1", "--post-only", "--expires", "2099-01-01T00:00Z"
    )
    assert done.out == (
        "order 4: buy 5 AAPL @ 189.00 gtd until 2099-01-01T00:00:00.000000000Z showing 1 post-only for ACC1: new\n"
    )


def test_buy_waits_for_the_venue_and_no_longer(toucan: Shell, server: MiniServer) -> None:
    server.engine.is_venue_silent = True
    assert toucan("buy", "1", "AAPL", "@", "1", "--wait", "0").out.endswith(": pending new\n")
    assert toucan("buy", "1", "AAPL", "@", "1", "--wait", "0.1").out.endswith(": pending new\n")


def test_a_rejection_by_the_venue_has_its_own_exit_code(toucan: Shell, server: MiniServer) -> None:
    server.engine.is_venue_silent = True
    process = subprocess.Popen(
        [sys.executable, "-m", "toucan.cli", "buy", "1", "AAPL", "@", "1", "--wait", "60"],
        stdout=subprocess.PIPE,
        text=True,
    )
    until(lambda: bool(server.engine.orders))
    server.engine.reject(1, "the market is closed")
    out, _ = process.communicate(timeout=60)
    assert (process.returncode, out) == (
        9,
        "order 1: buy 1 AAPL @ 1.00 for ACC1: rejected (the market is closed)\n",
    )


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["buy"], 2, "an order is a quantity, a symbol and a price: toucan buy 100 AAPL @ 189.50 (see toucan buy --help)"),
        (["sell", "AAPL", "5"], 2, "the quantity comes first: toucan sell 100 AAPL @ 189.50"),
        (["buy", "5", "AAPL"], 2, 'the order has no price; say "@ 189.50", or "market" for whatever the market gives'),
        (["buy", "5", "AAPL", "@", "1,5"], 2, "AAPL: price '1,5' is not a number"),
        (["buy", "5", "AAPL", "@", "189.505"], 2, "AAPL: price '189.505' is not a multiple of the tick, 0.01"),
        (["buy", "0.5", "AAPL", "@", "189"], 2, "AAPL: quantity '0.5' is not a multiple of the lot, 1"),
        (["buy", "5", "APPL", "@", "189"], 2, "there is no instrument 'APPL'; did you mean AAPL?"),
        (["buy", "5", "AAPL", "@", "189", "--tif", "gtx"], 2, "'gtx' is not one of"),
        (["buy", "5", "AAPL", "@", "189", "--expires", "soon"], 2, "'soon' is no time; write 2026-12-01T16:00+01:00"),
        (["buy", "5", "AAPL", "@", "189", "--expires", "2099-01-01T00:00"], 2, "has no zone; write 2099-01-01T00:00Z for UTC"),
        (["buy", "5", "AAPL", "@", "189", "--again", "x"], 2, "'x' is no key; it is SESSION/NUMBER"),
        (["buy", "5", "AAPL", "@", "189", "--account", "XXX"], 7, "not entitled: local may not trade on 'XXX'. `toucan whoami`"),
        (["buy", "10001", "AAPL", "@", "1"], 3, "denied: the quantity 10001 is above 10000 (MAX_ORDER_QUANTITY)"),
        (["buy", "1000", "AAPL", "@", "189"], 8, "the order is worth 189000 USD, above 50000. Nobody is there to ask: --yes confirms it"),
        (["cancel", "99"], 4, "refused: there is no order 99 of yours (UNKNOWN_ORDER)"),
        (["cancel"], 2, "say which orders: their numbers, or --all"),
        (["cancel", "1", "--all"], 2, "say which orders: their numbers, or --all"),
        (["cancel", "1", "--symbol", "AAPL"], 2, "--account, --symbol, --side and --owner go with --all"),
        (["cancel", "1", "2", "--again", "s/1"], 2, "--again repeats one request"),
        (["cancel", "x"], 2, "'x' is no order's number; `toucan orders` lists them"),
        (["replace", "99", "--price", "1"], 4, "refused: there is no order 99 of yours"),
        (["order", "99"], 4, "refused: there is no order 99 of yours"),
        (["watch", "prices"], 2, "what is 'prices'? It is one of: orders, positions, market, events"),
        (["watch", "market"], 2, "say which prices: toucan watch market AAPL"),
        (["watch", "orders", "AAPL"], 2, "nothing follows 'orders'; --account and --symbol narrow it down"),
        (["book", "XXX"], 2, "there is no instrument 'XXX'"),
        (["kill", "firm", "--reason", "x"], 2, "Missing option '--level'"),
        (["kill", "firm", "--level", "freeze"], 2, "Missing option '--reason'"),
        (["kill", "firm", "--level", "freeze", "--reason", "x"], 8, "freeze at firm and below: nothing passes"),
        (["kill", "desk", "--level", "freeze", "--reason", "x", "--yes"], 4, "refused: there is no node 'desk' (UNKNOWN_NODE)"),
        (["limits", "set", "firm", "xyz", "1", "--reason", "x"], 4, "refused: there is no limit 'xyz' (INVALID_LIMIT)"),
        (["limits", "set", "firm", "xyz"], 2, "Missing argument 'VALUE'"),
        (["nonsense"], 2, "No such command 'nonsense'"),
        (["orders", "--nonsense"], 2, "No such option"),
        (["orders", "--server", "a:b"], 2, "'a:b' is no address of a server; write HOST:PORT"),
        (["orders", "--server", "example.net:1", "--token-file", "/dev/null"], 2, "does not hold one token on one line"),
        (["orders", "--tls-ca", "/nonexistent/ca.pem"], 2, "cannot read the CA file /nonexistent/ca.pem: No such file"),
        (["orders", "--server", "127.0.0.1:1", "--timeout", "0.1"], 6, "nothing answers at 127.0.0.1:1: Connection refused. Is `toucan server`"),
    ],
)  # fmt: skip
def test_each_mistake_is_one_line_that_says_what_to_do(
    toucan: Shell, arguments: list[str], code: int, message: str
) -> None:
    done = toucan(*arguments)
    assert (done.code, done.out) == (code, ""), done.err
    (line,) = done.err.splitlines()
    assert line.startswith("toucan: error: ")
    assert message in line


def test_yes_confirms_a_soft_limit(toucan: Shell, server: MiniServer) -> None:
    assert toucan("buy", "1000", "AAPL", "@", "189", "--yes").code == 0
    assert toucan("replace", "1", "--quantity", "1100").code == 8
    assert toucan("replace", "1", "--quantity", "1100", "--yes").code == 0
    assert server.engine.orders[1].terms.quantity == 1100


def test_preview_says_all_and_sends_nothing(toucan: Shell, server: MiniServer) -> None:
    done = toucan("preview", "buy", "1", "AAPL", "@", "189")
    assert (done.code, done.out.splitlines()) == (
        0, ["would be accepted", "worth at most 189.00 in the base currency", "reference price 189.45", "position now 0"],
    )  # fmt: skip
    done = toucan("preview", "buy", "20000", "AAPL", "@", "189")
    assert done.code == 3
    assert done.out.splitlines()[:2] == [
        "denied: the quantity 20000 is above 10000 (MAX_ORDER_QUANTITY)",
        "asks for --yes: the order is worth 3780000 USD, above 50000 (MAX_ORDER_NOTIONAL)",
    ]
    assert toucan("preview", "sell", "1000", "AAPL", "@", "189").code == 8
    assert server.engine.executed == []


def test_cancel_by_number_and_all_that_match(toucan: Shell, server: MiniServer) -> None:
    for side, price in (("buy", "1"), ("buy", "2"), ("sell", "900"), ("sell", "901")):
        toucan(side, "1", "AAPL", "@", price)
    assert toucan("cancel", "1", "#3").out == "cancels on their way: 1 3\n"
    done = toucan("cancel", "1", "2", "77")
    assert (done.code, done.out) == (4, "cancels on their way: 2\n")
    assert done.err.splitlines() == [
        "toucan: error: order 1: refused: order 1 is over (ORDER_CLOSED)",
        "toucan: error: order 77: refused: there is no order 77 of yours (UNKNOWN_ORDER)",
    ]
    assert toucan("cancel", "--all", "--side", "buy").out == "there was nothing to cancel\n"
    assert (
        toucan("cancel", "--all", "--symbol", "aapl", "--account", "ACC1").out == "cancels on their way: 4\n"
    )
    assert toucan("orders").out == "no open orders\n"


def test_tables(toucan: Shell) -> None:
    toucan("buy", "100", "AAPL", "@", "189.45", "--post-only")
    toucan("sell", "40", "AAPL", "market")
    head, row = toucan("orders").out.splitlines()
    assert head.split() == [
        "id",
        "side",
        "quantity",
        "symbol",
        "price",
        "account",
        "status",
        "owner",
        "updated",
    ]
    assert row.split()[:-1] == ["1", "buy", "100", "AAPL", "189.45", "post-only", "ACC1", "new", "local"]
    assert len(toucan("orders", "--all").out.splitlines()) == 3
    assert "filled, 40 of 40 @ 189.4" in toucan("orders", "--status", "filled").out
    assert toucan("orders", "--all", "--limit", "1").err == "the newest 1; --limit shows more\n"
    assert toucan("orders", "--symbol", "MSFT").out == "no open orders\n"
    assert "buy 100 AAPL @ 189.45 post-only for ACC1" in toucan("order", "1").out
    assert toucan("positions").out.splitlines()[1].split() == [
        "ACC1", "AAPL", "-40", "189.40", "189.45", "+0", "-2.00", "USD",
    ]  # fmt: skip
    assert "Apple Inc." in toucan("instruments").out
    assert toucan("whoami").out.splitlines()[1].split() == ["accounts", "ACC1"]
    book = toucan("book", "AAPL", "--depth", "2").out.splitlines()
    assert [line.split() for line in book[:3]] == [
        ["bid", "size", "bid", "offer", "offer", "size"],
        ["300", "189.40", "189.50", "200"],
        ["301", "189.35", "189.55", "201"],
    ]
    assert "last 100 @ 189.45  volume 5000" in book[3]


def test_control(toucan: Shell, server: MiniServer) -> None:
    toucan("buy", "1", "AAPL", "@", "1")
    done = toucan("kill", "firm", "--level", "cancel-all", "--reason", "drill", "--yes")
    assert done.out == "firm: cancel-all\ncancels on their way: 1\n"
    assert toucan("buy", "1", "AAPL", "@", "1").code == 3
    assert "cancel-all (from above)" in toucan("limits", "firm/ACC1").out
    assert toucan("enable", "firm", "--reason", "over").out == "firm: normal\n"
    assert (
        toucan("limits", "set", "firm", "max_position", "500", "--reason", "x").out
        == "firm: max_position = 500\n"
    )
    assert "max_position = 500" in toucan("limits").out
    assert (
        toucan("limits", "remove", "firm", "max_position", "--reason", "x").out
        == "firm: max_position is gone\n"
    )
    assert "max_position" not in toucan("limits", "show").out
    assert toucan("limits", "nowhere").out == "there is no node 'nowhere' that you may see\n"
    assert toucan("adjust", "7", "AAPL", "189", "--reason", "x").code == 0
    assert toucan("adjust", "2", "AAPL", "189", "--reason", "x", "--take-away").code == 0
    assert server.engine.positions["ACC1", "", "AAPL"].quantity == 5


def test_tokens_and_accounts(
    toucan: Shell, server: MiniServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.users = {"secret": User("bob", ("ACC1", "ACC2"), ("trade",))}
    done = toucan("orders")
    assert (
        done.code,
        "not authenticated: the token is not known. --token-file or $TOUCAN_TOKEN_FILE" in done.err,
    ) == (7, True)
    token = tmp_path / "token"
    token.write_text("secret")
    token.chmod(0o600)
    assert toucan("whoami", "--token-file", str(token)).out.splitlines()[0].split() == ["user", "bob"]
    assert toucan("--token-file", str(token), "whoami").code == 0
    monkeypatch.setenv("TOUCAN_TOKEN_FILE", str(token))
    done = toucan("buy", "1", "AAPL", "@", "1")
    assert (done.code, done.err) == (
        2, "toucan: error: which account? bob has 2: ACC1, ACC2. Say it with --account or $TOUCAN_ACCOUNT\n",
    )  # fmt: skip
    monkeypatch.setenv("TOUCAN_ACCOUNT", "ACC2")
    assert "for ACC2" in toucan("buy", "1", "AAPL", "@", "1").out
    done = toucan("kill", "firm", "--level", "freeze", "--reason", "x", "--yes")
    assert (done.code, done.err) == (
        7,
        "toucan: error: not entitled: bob may not: kill. `toucan whoami` lists what you may do\n",
    )


def test_an_unknown_outcome_can_be_asked_again(toucan: Shell, server: MiniServer) -> None:
    toucan("instruments")
    server.engine.faults_after.extend([lost] * 1000)
    done = toucan("buy", "1", "AAPL", "@", "1", "--timeout", "0.3", "--json")
    server.engine.faults_after.clear()
    assert done.code == 5
    error = done.json["error"]
    assert error["kind"] == "outcome-unknown"
    assert f"--again {error['again']} asks for the answer" in done.err
    done = toucan("buy", "1", "AAPL", "@", "1", "--again", error["again"])
    assert (done.code, done.out) == (0, "order 1: buy 1 AAPL @ 1.00 for ACC1: new\n")
    assert len(server.engine.orders) == 1


def test_a_confirmed_order_is_another_request_than_the_denied_one(server: MiniServer) -> None:
    questions: list[str] = []

    def say_yes(question: str) -> str:
        questions.append(question)
        return "y"

    prompt = Caller(ConnectionOptions(), is_shared=True, read_line=say_yes)
    order = ["buy", "1000", "AAPL", "@", "189"]
    assert run([*order, "--again", "desk/1"], Surroundings(prompt)) == 0
    assert run(["replace", "1", "--quantity", "1100", "--again", "desk/2"], Surroundings(prompt)) == 0
    prompt.close()
    assert questions == ["Send it anyway? [y/N] "] * 2
    assert server.engine.orders[1].terms.quantity == 1100
    assert [session == "desk" for _, session, _, _ in server.engine.executed] == [True, False, True, False]


def test_one_that_was_overtaken_says_that_it_never_will_be(toucan: Shell, server: MiniServer) -> None:
    server.engine.clients["local", "desk"].last_number = 5
    done = toucan("cancel", "1", "--again", "desk/3")
    assert (done.code, done.err) == (
        4, "toucan: error: it was not carried out and never will be; give the command again without --again if it is still wanted\n",
    )  # fmt: skip


def test_commands_of_a_host_share_few_sessions(toucan: Shell, server: MiniServer) -> None:
    for _ in range(3):
        toucan("buy", "1", "AAPL", "@", "1")
    assert len({session for _, session, _, _ in server.engine.executed}) == 1
    assert len(server.engine.orders) == 3


def test_ctrl_c_during_a_request_says_what_is_not_known(server: MiniServer) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "toucan.cli", "cancel", "1", "--timeout", "60"],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    server.running.clear()
    until(lambda: "CancelOrderRequest" in server.requests)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    server.running.set()
    assert (process.returncode, out) == (130, "")
    assert "interrupted while a request was under way: it may have been carried out" in err
    assert "--again cli-" in err


# --- JSON ---

_BY_COMMAND: list[tuple[list[str], Any]] = [
    (["buy", "1", "AAPL", "@", "1"], json_objects.ORDER),
    (["replace", "1", "--price", "2"], json_objects.ORDER),
    (["order", "1"], json_objects.ORDER),
    (["orders"], [json_objects.ORDER]),
    (["orders", "--symbol", "MSFT"], []),
    (["sell", "2", "AAPL", "market"], json_objects.ORDER),
    (["positions"], [json_objects.POSITION]),
    (["instruments"], [json_objects.INSTRUMENT]),
    (["whoami"], json_objects.IDENTITY),
    (["preview", "buy", "1", "AAPL", "@", "1"], json_objects.PREVIEW),
    (["book", "AAPL"], json_objects.MARKET),
    (["limits"], {"base_currency": "USD", "seq": int, "nodes": [json_objects.NODE]}),
    (["limits", "set", "firm", "max_x", "1", "--reason", "r"], {"node": "firm", "limit": "max_x", "value": "1", "seq": int}),
    (["limits", "remove", "firm", "max_x", "--reason", "r"], {"node": "firm", "limit": "max_x", "value": None, "seq": int}),
    (["adjust", "1", "AAPL", "1", "--reason", "r"], {"account": "ACC1", "symbol": "AAPL", "seq": int}),
    (["cancel", "1"], {"order_ids": [1], "skipped": 0, "errors": []}),
    (["cancel", "--all"], {"order_ids": [], "skipped": 0, "errors": []}),
    (["kill", "firm", "--level", "block-new", "--reason", "r", "--yes"],
     {"node": "firm", "level": "block-new", "order_ids": [], "staged_ids": [], "seq": int}),
    (["enable", "firm", "--reason", "r"], {"node": "firm", "level": "normal", "order_ids": [], "staged_ids": [], "seq": int}),
]  # fmt: skip


def matches(value: Any, wanted: Any) -> bool:
    """Whether a JSON value is of the shape that is documented."""
    if isinstance(wanted, json_objects.Fields):
        return list(value) == [field.name for field in wanted.fields]
    if isinstance(wanted, list):
        return isinstance(value, list) and (
            value == wanted or (bool(value) and all(matches(one, wanted[0]) for one in value))
        )
    if isinstance(wanted, dict):
        return list(value) == list(wanted) and all(matches(value[name], wanted[name]) for name in wanted)
    return isinstance(value, wanted) if isinstance(wanted, type) else bool(value == wanted)


def test_json_is_one_object_or_list_as_documented(toucan: Shell) -> None:
    for arguments, wanted in _BY_COMMAND:
        done = toucan(*arguments, "--json")
        assert (done.code, done.err) == (0, ""), arguments
        assert len(done.out.splitlines()) == 1
        assert matches(done.json, wanted), (arguments, done.out)


def test_numbers_in_json_are_decimal_text(toucan: Shell) -> None:
    done = toucan("buy", "0.00012000", "btc-usd", "@", "60000.10", "--json").json
    assert (done["quantity"], done["price"], done["average_price"]) == ("0.00012", "60000.10", None)
    assert (done["order_id"], done["side"], done["status"], done["is_open"]) == (1, "buy", "new", True)
    assert done["created_at"].endswith("Z")


def test_errors_in_json_are_on_standard_output_as_well(toucan: Shell) -> None:
    done = toucan("buy", "10001", "AAPL", "@", "1", "--json")
    assert matches(done.json, {"error": json_objects.ERROR})
    assert matches(done.json["error"]["denial"], json_objects.DENIAL)
    assert (done.code, done.json["error"]["kind"], done.json["error"]["code"]) == (
        3,
        "denied",
        "MAX_ORDER_QUANTITY",
    )
    done = toucan("cancel", "1", "2", "--json")
    assert (done.code, [error["order_id"] for error in done.json["errors"]]) == (4, [1, 2])
    assert toucan("buy", "1000", "AAPL", "@", "189", "--json").json["error"]["kind"] == "needs-confirmation"


# --- watch ---


def watching(server: MiniServer, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "toucan.cli", "watch", *arguments],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )  # fmt: skip


def test_watch_prints_lines_as_it_happens_and_over_a_lost_connection(
    toucan: Shell, server: MiniServer
) -> None:
    toucan("buy", "10", "AAPL", "@", "1")
    process = watching(server)
    assert process.stdout is not None
    assert "order 1: buy 10 AAPL @ 1.00 for ACC1: new" in process.stdout.readline()
    server.kill()
    server.start()
    server.engine.fill(1, 4, 100)
    assert "partially filled, 4 of 10 @ 1; trade: bought 4 AAPL @ 1.00 for ACC1" in process.stdout.readline()
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 0
    lines = err.splitlines()
    assert lines[0].startswith("not connected: ")
    assert lines[-1] == "connected"


def test_watch_in_json_is_a_line_each(toucan: Shell, server: MiniServer) -> None:
    toucan("buy", "10", "AAPL", "@", "189.50")
    for arguments, wanted in (
        (["orders", "--all"], json_objects.UPDATE),
        (["positions"], json_objects.POSITION),
        (["market", "aapl"], json_objects.MARKET),
        (["events", "--after", "0"], json_objects.EVENT),
    ):
        done = toucan("watch", *arguments, "--count", "1", "--json")
        state, item = map(json.loads, done.out.splitlines())
        assert (done.code, done.err) == (0, "")
        assert state == {"type": "state", "is_connected": True, "is_stale": False, "trouble": ""}
        assert matches(item, wanted), (arguments, item)


def test_watch_tells_gaps_and_events(toucan: Shell, server: MiniServer) -> None:
    toucan("buy", "10", "AAPL", "@", "1")
    server.engine.forget_history()
    toucan("cancel", "1")
    first, second = toucan("watch", "events", "--after", "0", "--count", "2").out.splitlines()
    assert first == "events before 3 are no longer kept by the server; `toucan audit` has them"
    assert second.split()[1:] == ["3", "Reported", "ACC1", "order", "1"]


def test_watch_of_positions_and_prices(toucan: Shell) -> None:
    assert toucan("watch", "positions", "--for", "0.2").out == ""
    toucan("buy", "10", "AAPL", "market")
    done = toucan("watch", "positions", "--count", "1")
    assert done.out == "ACC1 AAPL: 10 @ 189.50, realised +0, unrealised -0.50 USD\n"
    assert (
        "AAPL  bid 300 @ 189.40  offer 200 @ 189.50" in toucan("watch", "market", "AAPL", "--count", "1").out
    )


def test_a_reader_that_has_had_enough_is_no_error(server: MiniServer, toucan: Shell) -> None:
    for _ in range(3):
        toucan("buy", "1", "AAPL", "@", "1")
    begun_s = time.monotonic()
    done = subprocess.run(
        f"{sys.executable} -m toucan.cli watch --for 20 | head -1", shell=True, capture_output=True, text=True, check=False, timeout=60
    )  # fmt: skip
    assert "order 1" in done.stdout
    assert "Traceback" not in done.stderr
    assert time.monotonic() - begun_s < 60
