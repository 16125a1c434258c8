"""The blotter's pure modules, in the browser that they are for: numbers, commands, orders by seq, the ladder, freshness, lanes, envelopes."""

from __future__ import annotations

import functools
import http.server
import itertools
import threading
from collections.abc import Iterator
from decimal import Decimal
from importlib import resources
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from playwright.sync_api import Page
from tests.toucan.blotter.support import chromium

pytestmark = pytest.mark.system

# One page for all examples: what is tested keeps nothing.
EXAMPLES = settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


class _Quiet(http.server.SimpleHTTPRequestHandler):
    extensions_map = {**http.server.SimpleHTTPRequestHandler.extensions_map, ".js": "text/javascript"}  # noqa: RUF012

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture(scope="module")
def page() -> Iterator[Page]:
    with resources.as_file(resources.files("toucan.web") / "static") as folder:
        handler = functools.partial(_Quiet, directory=str(folder))
        with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
            thread = threading.Thread(target=server.serve_forever)
            thread.start()
            try:
                with chromium() as browser:
                    page = browser.new_page()
                    page.goto(f"http://127.0.0.1:{server.server_port}/icon.svg")
                    page.evaluate("""async () => {
                        for (const name of ["decimal", "words", "grammar", "orders", "market", "freshness", "connect", "lanes", "tape"])
                            globalThis[name] = await import(`/js/${name}.js`);
                        globalThis.table = new Map([["AAPL", {symbol: "AAPL", priceDecimals: 2, tick: "1", lot: "1"}],
                            ["BTC-USD", {symbol: "BTC-USD", priceDecimals: 2, quantityDecimals: 8, tick: "5", lot: "1000"}]]);
                    }""")
                    yield page
            finally:
                server.shutdown()
                thread.join()


# ------------------------------------------------------------ numbers


@EXAMPLES
@given(units=st.integers(-(2**63), 2**63 - 1), decimals=st.integers(0, 12))
def test_units_become_text_and_units_again_without_losing_a_digit(
    page: Page, units: int, decimals: int
) -> None:
    text, back = page.evaluate(
        "([units, places]) => { const text = decimal.fromUnits(units, places); return [text, String(decimal.toUnits(text, places, 'it'))]; }",
        [str(units), decimals],
    )
    assert Decimal(text) == Decimal(units).scaleb(-decimals)
    assert int(back) == units


@EXAMPLES
@given(
    st.lists(
        st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**20), max_value=10**20, places=3),
        max_size=6,
    )
)
def test_money_is_summed_exactly(page: Page, amounts: list[Decimal]) -> None:
    assert Decimal(page.evaluate("(all) => decimal.sum(all)", [f"{one:f}" for one in amounts])) == sum(
        amounts
    )


@pytest.mark.parametrize("text", ["", ".", "1e5", "0x10", "1.2.3", "--1", "NaN", "1 000", "\u0661"])
def test_what_is_no_number_is_refused(page: Page, text: str) -> None:
    assert "is not a number" in page.evaluate(
        "(text) => { try { return String(decimal.toUnits(text, 2, 'it')); } catch (e) { return e.message; } }",
        text,
    )


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("1234567.891", "1,234,567.89"),
        ("-1234.5", "\u22121,234.50"),
        ("0.00", "0.00"),
        ("12", "12.00"),
        ("", ""),
    ],
)
def test_money_is_grouped_for_people(page: Page, text: str, shown: str) -> None:
    assert page.evaluate("(text) => decimal.money(text)", text) == shown


# ------------------------------------------------------------ commands


def parse(page: Page, text: str) -> Any:
    return page.evaluate(
        """(text) => { try {
            return grammar.parse(text, {instruments: table, account: "ACC1", accounts: ["ACC1", "ACC2"],
                orders: new Map([["17", {terms: {symbol: "AAPL"}}]])});
        } catch (error) { return error.message; } }""",
        text,
    )


def order(**terms: Any) -> dict[str, Any]:
    values = {
        "account": "ACC1",
        "symbol": "AAPL",
        "side": "SIDE_BUY",
        "timeInForce": "TIME_IN_FORCE_DAY",
        "type": "ORDER_TYPE_LIMIT",
    }
    return {"kind": "order", "terms": {**values, **terms}}


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("", None),
        ("b 100 AAPL @ 189.50", order(quantity="100", price="18950")),
        ("buy 1,000 aapl @189.5 ioc", order(quantity="1000", price="18950", timeInForce="TIME_IN_FORCE_IOC")),
        ("s 2.5k aapl market", order(side="SIDE_SELL", quantity="2500", type="ORDER_TYPE_MARKET")),
        ("b 0.00001 btc-usd 60100.05 gtc", order(symbol="BTC-USD", quantity="1000", price="6010005", timeInForce="TIME_IN_FORCE_GTC")),
        ("b 5 AAPL 191 stop 190", order(quantity="5", price="19100", stopPrice="19000", type="ORDER_TYPE_STOP_LIMIT")),
        ("s 5 AAPL market stop 185", order(side="SIDE_SELL", quantity="5", stopPrice="18500", type="ORDER_TYPE_STOP")),
        ("b 9 AAPL 1 post reduce show 3 for acc2 note a  b", order(
            quantity="9", price="100", postOnly=True, reduceOnly=True, maxFloor="3", account="ACC2", note="a b")),
        ("x 17 #18", {"kind": "cancel", "orderIds": ["17", "18"]}),
        ("x all", {"kind": "massCancel", "side": "SIDE_UNSPECIFIED", "symbol": ""}),
        ("cancel sells aapl", {"kind": "massCancel", "side": "SIDE_SELL", "symbol": "AAPL"}),
        ("r 17 200 @ 189.40", {"kind": "replace", "orderId": "17", "quantity": "200", "price": "18940"}),
        ("replace 17 @ 189.40", {"kind": "replace", "orderId": "17", "price": "18940"}),
        ("r 17 200", {"kind": "replace", "orderId": "17", "quantity": "200"}),
    ],
)  # fmt: skip
def test_command_means_what_a_person_says(page: Page, text: str, meant: Any) -> None:
    assert parse(page, text) == meant


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("b", "an order is a quantity"), ("b 100 AAPL", "an order is a quantity"), ("b x AAPL 1", "is not a number"),
        ("b 0 AAPL 1", "more than zero"),
        ("b -5 AAPL 1", "is not a number"), ("b 1.5 AAPL 1", "more than 0 digits"), ("b 1 IBM 1", "not in the instrument table"),
        ("b 1 AAPL @", "a price"), ("b 1 AAPL 1.005", "more than 2 digits"), ("b 1 BTC-USD 1.01", "no multiple of the lot"),
        ("b 1 AAPL 1 whatever", 'what is "whatever"'), ("b 1 AAPL 1 stop", "missing after stop"), ("b 1 AAPL 1 for ACC9", "none of your accounts"),
        ("b 9223372036854775808 AAPL 1", "too large"), ("x", "cancel what"), ("x 1a", "is no order's id"), ("x all AAPL MSFT", "one symbol"),
        ("r 17", "replace what"), ("r 99 5", "there is no order 99"), ("__proto__ 1", "is no command"),
        ("b 1 __proto__ 1", "not in the instrument table"),
        ("b 1 AAPL 1 constructor", "what is"), ("b 1 " + "A" * 500, "at most 400 characters"),
    ],
)  # fmt: skip
def test_command_that_makes_no_sense_says_why(page: Page, text: str, why: str) -> None:
    found = parse(page, text.replace("b 1 BTC-USD 1.01", "b 0.00000001 BTC-USD 1"))
    assert isinstance(found, str)
    assert why in found


# ------------------------------------------------------------ orders by seq

STATES = ["ORDER_STATUS_NEW", "ORDER_STATUS_PARTIALLY_FILLED", "ORDER_STATUS_FILLED", "ORDER_STATUS_CANCELED"]


def _state(order_id: int, seq: int, status: str) -> Any:
    terms = {"symbol": "AAPL", "side": "SIDE_BUY", "price": str(100 + order_id % 3)}
    return {
        "orderId": str(order_id),
        "updatedSeq": str(seq),
        "status": status,
        "owner": "me",
        "terms": terms,
        "leavesQuantity": str(seq),
    }


@EXAMPLES
@given(
    history=st.lists(st.tuples(st.integers(1, 12), st.sampled_from(STATES)), max_size=40),
    repeats=st.lists(st.integers(0, 39), max_size=20),
)
def test_book_stands_as_the_newest_of_each_order_whatever_is_told_twice(
    page: Page, history: list[tuple[int, str]], repeats: list[int]
) -> None:
    updates = [
        {"seq": str(seq), "order": _state(order_id, seq, status)}
        for seq, (order_id, status) in enumerate(history, 1)
    ]
    told = list(updates)
    for at in repeats:  # a stream that goes on from before, anywhere in it
        if at < len(updates):
            told[at + 1 : at + 1] = updates[max(0, at - 5) : at + 1]
    held = {one["order"]["orderId"]: one["order"] for one in updates}
    working = sorted((int(key) for key, one in held.items() if one["status"] in STATES[:2]), reverse=True)
    levels: dict[str, int] = {}
    for order_id in working:
        one = held[str(order_id)]
        key = f"SIDE_BUY {one['terms']['price']}"
        levels[key] = levels.get(key, 0) + int(one["leavesQuantity"])
    found = page.evaluate(
        """(told) => { const book = new orders.OrderBook("me"); for (const one of told) book.apply({updates: [one], seq: one.seq});
            return {held: Object.fromEntries(book.orders), working: book.working.map(Number),
                levels: Object.fromEntries([...(book.resting.get("AAPL") ?? [])].map(([key, one]) => [key, Number(one.quantity)]))}; }""",
        told,
    )
    assert found == {"held": held, "working": working, "levels": levels}


def test_snapshot_takes_the_place_of_what_was_working_and_is_no_news(page: Page) -> None:
    found = page.evaluate(
        """([first, second, third]) => { const book = new orders.OrderBook("me");
            const news = [book.apply({updates: [{order: first, seq: "1"}, {order: second, seq: "2"}], seq: "2"}).length];
            news.push(book.apply({updates: [{order: third, seq: "9"}], isSnapshot: true}).length);
            news.push(book.apply({isSnapshot: true, isSnapshotEnd: true, seq: "9"}).length);
            return {news, working: book.working, seq: String(book.seq)}; }""",
        [_state(1, 1, STATES[0]), _state(2, 2, STATES[0]), _state(2, 9, STATES[1])],
    )
    assert found == {"news": [2, 0, 0], "working": ["2"], "seq": "9"}


def test_fill_is_counted_once_and_old_ones_are_let_go(page: Page) -> None:
    found = page.evaluate(
        """(order) => { const book = new orders.OrderBook("me"); const fill = (seq) => ({updates: [{seq: String(seq), order, executionType:
            "EXECUTION_TYPE_TRADE", execution: {quantity: "1", price: "1"}}]});
            for (let seq = 1; seq <= 5200; seq += 1) { book.apply(fill(seq)); book.apply(fill(seq)); }
            return [book.fills.length, book.fills[0].seq, book.fills.at(-1).seq, book.fillIds.size]; }""",
        _state(1, 1, STATES[1]),
    )
    assert found == [5000, "201", "5200", 5000]


# ------------------------------------------------------------ trades

TAPE_WORDS = {"TRADE_KIND_TRADE": "trade", "TRADE_KIND_BUST": "bust"}


def _tape_lines(count: int, busted: set[int]) -> list[dict[str, str]]:
    """So many trades, and then some of them busted."""
    made = [
        {"number": str(number), "kind": "TRADE_KIND_TRADE", "price": "1", "quantity": "2"}
        for number in range(1, count + 1)
    ]
    for at, number in enumerate(sorted(number for number in busted if number <= count), count + 1):
        made.append(
            {
                "number": str(at),
                "kind": "TRADE_KIND_BUST",
                "tradeNumber": str(number),
                "price": "1",
                "quantity": "2",
            }
        )
    return made  # fmt: skip


def _cut(
    lines: list[dict[str, str]], cuts: list[tuple[int, int, int]]
) -> tuple[list[dict[str, Any]], list[Any]]:
    """Messages of streams that tell some lines again or leave some out, and what of it is new: lines, and ``None`` for a gap."""
    messages: list[dict[str, Any]] = []
    news: list[Any] = []
    at = 0
    for again, left_out, count in itertools.cycle(cuts):
        if at >= len(lines):
            return messages, news
        left_out = min(left_out, len(lines) - at - 1)
        begin, end = at + left_out if left_out else max(0, at - again), at + left_out + count
        part = {"trades": lines[begin:end], "leftOut": str(left_out), "traded": str(min(end, len(lines)))}
        messages.append({"symbol": "AAPL", "life": "one", **part})
        news += [None] * bool(left_out)
        news += lines[at + left_out : end]
        at = end
    raise AssertionError


def _kept(news: list[Any]) -> list[list[str]]:
    """The newest hundred lines, oldest first: what each is, and its number."""
    kept: list[list[str]] = []
    for one in news:
        hit = [line for line in kept if one and line[1] == one.get("tradeNumber")]
        if hit:
            hit[0][0] = "bust"
            continue
        kept.append(["gap", ""] if one is None else [TAPE_WORDS[one["kind"]], one["number"]])
        del kept[:-100]
    return kept


@EXAMPLES
@given(
    count=st.integers(1, 130),
    busted=st.sets(st.integers(1, 130), max_size=5),
    cuts=st.lists(
        st.tuples(st.integers(0, 3), st.sampled_from((0, 0, 1, 3)), st.integers(1, 40)),
        min_size=1,
        max_size=8,
    ),
)
def test_tape_holds_the_newest_lines_once_whatever_is_told_twice_or_not_at_all(
    page: Page, count: int, busted: set[int], cuts: list[tuple[int, int, int]]
) -> None:
    lines = _tape_lines(count, busted)
    messages, news = _cut(lines, cuts)
    found = page.evaluate(
        """(told) => { const one = new tape.Tape(); for (const part of told) one.apply([part]);
            const later = new tape.Tape(); later.restore(structuredClone(one.snapshot));
            const lines = (of) => of.lines("AAPL").map((line) => [line.kind, line.kind === "gap" ? "" : String(line.number)]);
            return {lines: lines(one), later: lines(later), places: one.places(["AAPL", "MSFT"]), traded: String(one.traded("AAPL"))}; }""",
        messages,
    )
    end = str(len(lines))
    assert found["lines"] == found["later"] == _kept(news)[::-1]
    assert found["places"] == [{"symbol": "AAPL", "life": "one", "number": end, "traded": end}]
    assert found["traded"] == end


def test_tape_begins_anew_with_another_life_and_takes_corrections(page: Page) -> None:
    trade = {"number": "1", "kind": "TRADE_KIND_TRADE", "price": "100", "quantity": "5"}
    right = {
        "number": "2",
        "kind": "TRADE_KIND_CORRECTION",
        "tradeNumber": "1",
        "price": "101",
        "quantity": "4",
    }
    unknown = {**right, "number": "3", "tradeNumber": "0"}
    found = page.evaluate(
        """(told) => { const one = new tape.Tape(); const news = told.map((part) => one.apply([part]));
            const shown = one.lines("AAPL").map((line) => [line.kind, line.price, line.quantity]);
            const again = one.apply([{symbol: "AAPL", life: "two", trades: told[0].trades}]);
            return {news, shown, again, lines: one.lines("AAPL").length}; }""",
        [
            {"symbol": "AAPL", "life": "one", "trades": [trade]},
            {"symbol": "AAPL", "life": "one", "trades": [right, unknown]},
            {"symbol": "AAPL", "life": "one", "trades": [right]},
        ],
    )
    assert found == {
        "news": [True, True, False], "again": True, "lines": 1,
        "shown": [["corrected", "101", "4"], ["corrected", "101", "4"]],
    }  # fmt: skip


# ------------------------------------------------------------ ladder


def rows(page: Page, data: Any, step: int = 1, centre: int = 100) -> dict[int, tuple[int, int]]:
    found = page.evaluate(
        """([data, step, centre]) => market.ladderRows({data, own: [], centre: BigInt(centre), step: BigInt(step), rows: 9})
            .map((row) => [Number(row.price), Number(row.bid), Number(row.ask)])""",
        [data, step, centre],
    )
    return {price: (bid, ask) for price, bid, ask in found}


def test_ladder_shows_whatever_levels_there_are(page: Page) -> None:
    top = {"bidPrice": "99", "bidQuantity": "5", "askPrice": "101", "askQuantity": "7"}
    assert {price: both for price, both in rows(page, top).items() if any(both)} == {99: (5, 0), 101: (0, 7)}
    deep = {
        **top,
        "bids": [{"price": "99", "quantity": "5"}, {"price": "98", "quantity": "8"}],
        "asks": [{"price": "101", "quantity": "7"}],
    }
    assert {price: both for price, both in rows(page, deep).items() if any(both)} == {
        98: (8, 0),
        99: (5, 0),
        101: (0, 7),
    }
    assert not any(any(both) for both in rows(page, None).values())
    counted = {
        "bids": [{"price": "99", "quantity": "5", "orders": 2}, {"price": "98", "quantity": "8", "orders": 3}]
    }
    found = page.evaluate(
        """(data) => market.ladderRows({data, own: [], centre: 100n, step: 2n, rows: 5}).map((row) => [Number(row.price), Number(row.bidOrders)])""",
        counted,
    )
    assert dict(found)[98] == 5
    assert min(rows(page, None, centre=2)) == 1


def test_rows_of_several_ticks_show_nobody_a_better_price_than_there_is(page: Page) -> None:
    deep = {
        "bids": [{"price": "99", "quantity": "5"}, {"price": "97", "quantity": "1"}],
        "asks": [{"price": "101", "quantity": "7"}],
    }
    assert {price: both for price, both in rows(page, deep, step=5).items() if any(both)} == {
        95: (6, 0),
        105: (0, 7),
    }


# ------------------------------------------------------------ freshness


@pytest.mark.parametrize(
    ("change", "level"),
    [
        ({}, "live"), ({"nowMs": 10_000 + 7_500}, "live"), ({"nowMs": 10_000 + 7_501, "pulseMs": 17_000}, "stale"), ({"pulseMs": 5_000}, "stale"),
        ({"isOnline": False}, "stale"), ({"orders": {"state": "broken"}}, "stale"), ({"orders": {"state": "opening"}}, "opening"),
        ({"orders": {"isStale": True}}, "stale"), ({"market": {"state": "refused"}}, "live"), ({"orders": None}, "opening"),
    ],
)  # fmt: skip
def test_page_is_live_only_while_everything_is_heard(page: Page, change: dict[str, Any], level: str) -> None:
    live = {"state": "live", "isStale": False, "heardMs": 10_000, "why": ""}
    streams = {
        name: {**live, **(change.get(name) or {})}
        for name in ("orders", "market")
        if change.get(name, {}) is not None
    }
    facts = {
        "streams": streams,
        "pulseMs": 16_000 if "nowMs" in change else 10_000,
        "nowMs": 10_000,
        "isOnline": True,
    }
    facts.update({name: value for name, value in change.items() if name in facts})
    found = page.evaluate("(facts) => freshness.judge(facts)", facts)
    assert (found["level"], found["canEnter"]) == (level, level == "live")


# ------------------------------------------------------------ lanes and envelopes

LANE = """async ([outcomes, count]) => {
    const sent = [], told = [];
    let nowMs = 0;
    const call = async (method, request) => {
        sent.push([method, request.key.number]);
        const outcome = outcomes.shift() ?? "ok";
        if (outcome === "ok") return request.key;
        throw new connect.CallError(...outcome.split(":"));
    };
    const lane = new lanes.Lane({session: "s", call, now: () => nowMs, wait: async (ms) => { nowMs += ms; }});
    const all = Array.from({length: count}, (_, at) => lane.send(`m${at + 1}`, {}).then(() => told.push("ok"), (error) => {
        told.push(error instanceof lanes.NotSent ? "not sent" : error.again ? "unknown" : error.code); }));
    await Promise.all(all);
    return {sent, told: told.sort()};
}"""


def test_lane_numbers_requests_and_sends_one_at_a_time(page: Page) -> None:
    found = page.evaluate(LANE, [[], 3])
    assert found == {"sent": [["m1", "1"], ["m2", "2"], ["m3", "3"]], "told": ["ok", "ok", "ok"]}


def test_lost_answer_is_asked_for_under_the_same_key(page: Page) -> None:
    found = page.evaluate(LANE, [["unreachable", "unavailable", "resource_exhausted"], 2])
    assert found == {
        "sent": [["m1", "1"], ["m1", "1"], ["m1", "1"], ["m1", "1"], ["m2", "2"]],
        "told": ["ok", "ok"],
    }


def test_refusal_is_final_and_takes_a_number(page: Page) -> None:
    found = page.evaluate(LANE, [["failed_precondition"], 2])
    assert found == {"sent": [["m1", "1"], ["m2", "2"]], "told": ["failed_precondition", "ok"]}


def test_nothing_is_sent_behind_a_request_of_unknown_outcome(page: Page) -> None:
    found = page.evaluate(LANE, [["unreachable"] * 100, 4])
    assert {tuple(one) for one in found["sent"]} == {("m1", "1")}
    assert 10 < len(found["sent"]) < 20  # as long as it is fresh, and no longer
    assert found["told"] == ["not sent", "not sent", "not sent", "unknown"]


def test_lane_holds_no_more_than_its_limit(page: Page) -> None:
    waiting = page.evaluate("() => lanes.WAITING_MAX")
    assert page.evaluate(LANE, [[], waiting + 1])["told"] == ["ok"] * (waiting + 1)
    assert page.evaluate(LANE, [[], waiting + 2])["told"] == ["not sent"] + ["ok"] * (waiting + 1)


@EXAMPLES
@given(
    texts=st.lists(st.text(max_size=50), max_size=5),
    cuts=st.lists(st.integers(1, 40), min_size=1, max_size=30),
)
def test_envelopes_come_out_whole_however_they_were_cut(
    page: Page, texts: list[str], cuts: list[int]
) -> None:
    found = page.evaluate(
        """([texts, cuts]) => { const all = texts.map((text) => [...connect.envelope({text})]).flat(); const made = new connect.Envelopes();
            const found = []; for (let at = 0, turn = 0; at < all.length; turn += 1) { const size = cuts[turn % cuts.length];
                found.push(...made.push(new Uint8Array(all.slice(at, at + size)))); at += size; }
            return found.map((one) => one.message.text); }""",
        [texts, cuts],
    )
    assert found == [text.encode("utf-16", "surrogatepass").decode("utf-16", "replace") for text in texts]


def test_envelope_of_absurd_length_is_refused_before_it_is_waited_for(page: Page) -> None:
    found = page.evaluate(
        "() => { try { new connect.Envelopes().push(new Uint8Array([0, 255, 255, 255, 255])); } catch (error) { return error.message; } }"
    )
    assert "more than a message may have" in found
