"""What a person does at the blotter, with mouse and keys, and what the engine then says happened."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Locator, Page, expect
from tests.toucan.blotter.support import Desk, await_that, command, open_page, running_desk

pytestmark = pytest.mark.system

EXAMPLE = Path(__file__).resolve().parents[3] / "docs" / "examples" / "web-page"


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    with running_desk(tmp_path_factory.mktemp("desk")) as desk:
        yield desk


@pytest.fixture(scope="module")
def opened_page(browser: Browser, desk: Desk) -> Iterator[Page]:
    with open_page(browser, desk) as page:
        yield page


@pytest.fixture
def page(opened_page: Page, desk: Desk) -> Page:
    """The page as it was when it was opened, with nothing that works."""
    for dialog in opened_page.locator("dialog[open]").all():
        dialog.press("Escape")
    opened_page.locator("h1").hover()
    opened_page.click("#alerts-clear")
    opened_page.select_option("#orders-filter", "working")
    opened_page.evaluate("document.querySelector('#ticket').reset()")
    for field, value in (("#command", ""), ("#orders-find", ""), ("#ladder-quantity", "100")):
        opened_page.fill(field, value)
    opened_page.select_option("[name=account]", "ACC1")
    desk.clear()
    expect(opened_page.locator("#orders-count")).to_have_text("0 working, 0 shown")
    return opened_page


def row(page: Page, order_id: str) -> Locator:
    return page.locator(
        "#orders .rows .row:visible", has=page.get_by_label(f"Cancel order {order_id}", exact=True)
    )


def newest(desk: Desk) -> dict[str, object]:
    return desk.orders()[0]


def working(desk: Desk, count: int) -> list[dict[str, object]]:
    await_that(
        lambda: len(desk.orders(isOpen=True)) == count,
        f"{count} orders never worked: {desk.orders(isOpen=True)}",
    )
    return desk.orders(isOpen=True)


def ladder_cell(page: Page, price: str, side: str) -> Locator:
    return page.locator("#ladder-rows .row:visible").filter(has_text=price).locator(f".{side}")


def ladder(page: Page, desk: Desk) -> None:
    """A market around 100.00 that the ladder shows, tick by tick."""
    desk.order(5, 9_990)
    desk.order(5, 10_010, side="SIDE_SELL")
    page.select_option("#ladder-step", "1")
    expect(ladder_cell(page, "99.90", "bid")).to_have_text("5")
    expect(ladder_cell(page, "100.10", "ask")).to_have_text("5")


# ------------------------------------------------------------ command line and ticket


def test_order_typed_in_the_command_line_works_at_the_venue(page: Page, desk: Desk) -> None:
    page.fill("#command", "b 100 aapl @ 99.50 gtc note overnight")
    expect(page.locator("#command-said")).to_have_text("buy 100 AAPL @ 99.50 gtc for ACC1")
    page.press("#command", "Enter")
    (order,) = working(desk, 1)
    assert order["terms"] == {
        "account": "ACC1", "symbol": "AAPL", "side": "SIDE_BUY", "type": "ORDER_TYPE_LIMIT", "timeInForce": "TIME_IN_FORCE_GTC",
        "quantity": "100", "price": "9950", "note": "overnight",
    }  # fmt: skip
    expect(row(page, str(order["orderId"]))).to_contain_text("99.50")
    expect(row(page, str(order["orderId"]))).to_contain_text("overnight")


def test_command_that_makes_no_sense_says_why_and_sends_nothing(page: Page, desk: Desk) -> None:
    before = len(desk.orders())
    page.fill("#command", "b 100 AAPL @ 99.505")
    page.press("#command", "Enter")
    expect(page.locator("#command-said")).to_contain_text("more than 2 digits after the point")
    expect(page.locator("#command")).to_have_value("b 100 AAPL @ 99.505")
    assert len(desk.orders()) == before


def test_ticket_sends_what_its_fields_say(page: Page, desk: Desk) -> None:
    page.select_option("[name=account]", "ACC2")
    page.fill("[name=quantity]", "50")
    page.fill("[name=price]", "98.25")
    page.fill("[name=show]", "10")
    page.check("[name=post]")
    page.fill("[name=note]", "resting")
    expect(page.locator("#outlook")).to_contain_text("worth 4,912.50")
    page.click("#entry [data-side=SIDE_SELL]")
    (order,) = working(desk, 1)
    assert order["terms"] == {
        "account": "ACC2", "symbol": "AAPL", "side": "SIDE_SELL", "type": "ORDER_TYPE_LIMIT", "timeInForce": "TIME_IN_FORCE_DAY",
        "quantity": "50", "price": "9825", "maxFloor": "10", "postOnly": True, "note": "resting",
    }  # fmt: skip


def test_ticket_says_beforehand_what_would_be_denied(page: Page) -> None:
    page.fill("[name=quantity]", "200000")
    page.fill("[name=price]", "1.00")
    expect(page.locator("#outlook")).to_contain_text("denied: the quantity 200000 is above 100000")


def test_double_click_on_a_button_is_one_order(page: Page, desk: Desk) -> None:
    page.fill("[name=quantity]", "7")
    page.fill("[name=price]", "97.00")
    page.dblclick("#entry [data-side=SIDE_BUY]")
    command(page, "b 8 AAPL @ 96.00")  # sent after both clicks: what they sent is there before it
    assert sorted(str(order["terms"]["quantity"]) for order in working(desk, 2)) == ["7", "8"]  # type: ignore[index]


# ------------------------------------------------------------ ladder


def test_one_click_on_the_ladder_is_one_order_at_that_price(page: Page, desk: Desk) -> None:
    ladder(page, desk)
    page.fill("#ladder-quantity", "12")
    ladder_cell(page, "99.95", "bid").click()
    await_that(lambda: newest(desk)["owner"] and len(desk.orders(isOpen=True)) == 3, "the click sent nothing")
    terms = newest(desk)["terms"]
    assert isinstance(terms, dict)
    assert (terms["side"], terms["price"], terms["quantity"]) == ("SIDE_BUY", "9995", "12")
    expect(ladder_cell(page, "99.95", "ownBid")).to_have_text("12")
    ladder_cell(page, "100.05", "ask").click()
    await_that(lambda: len(desk.orders(isOpen=True)) == 4, "the click sent nothing")
    assert newest(desk)["terms"]["side"] == "SIDE_SELL"  # type: ignore[index]


def test_double_click_on_the_ladder_is_one_order(page: Page, desk: Desk) -> None:
    ladder(page, desk)
    ladder_cell(page, "99.95", "bid").dblclick()
    expect(ladder_cell(page, "99.95", "ownBid")).to_have_text("100")
    ladder_cell(page, "99.93", "bid").click()
    expect(ladder_cell(page, "99.93", "ownBid")).to_have_text("100")
    working(desk, 4)


def test_click_on_own_quantity_cancels_there(page: Page, desk: Desk) -> None:
    ladder(page, desk)
    ladder_cell(page, "99.95", "bid").click()
    expect(ladder_cell(page, "99.95", "ownBid")).to_have_text("100")
    ladder_cell(page, "99.95", "ownBid").click()
    expect(ladder_cell(page, "99.95", "ownBid")).to_have_text("")
    working(desk, 2)


def test_click_above_a_soft_limit_asks_and_sends_only_what_is_confirmed(page: Page, desk: Desk) -> None:
    ladder(page, desk)
    page.fill("#ladder-quantity", "20k")
    ladder_cell(page, "99.95", "bid").click()
    question = page.locator("#question")
    expect(question).to_contain_text("buy 20,000 AAPL @ 99.95 for ACC1")
    expect(question).to_contain_text("soft_max_order_notional")
    expect(question.get_by_role("button", name="Do not send")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("#alerts")).to_contain_text("not sent")
    ladder_cell(page, "99.94", "bid").click()
    question.get_by_role("button", name="Send it").click()
    expect(ladder_cell(page, "99.94", "ownBid")).to_have_text("20,000")
    working(desk, 3)


def test_ladder_is_worked_by_keys_alone(page: Page, desk: Desk) -> None:
    ladder(page, desk)
    page.fill("#ladder-quantity", "3")
    ladder_cell(page, "99.97", "price").click()  # chooses a price
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("b")
    expect(ladder_cell(page, "99.95", "ownBid")).to_have_text("3")
    page.keyboard.press("Delete")
    expect(ladder_cell(page, "99.95", "ownBid")).to_have_text("")


# ------------------------------------------------------------ orders, fills, positions


def test_order_is_replaced_in_its_row(page: Page, desk: Desk) -> None:
    order_id = desk.order(100, 9_900)
    row(page, order_id).get_by_label(f"Replace order {order_id}").click()
    price = page.get_by_label("New price")
    price.fill("99.10")
    page.get_by_label("New quantity").fill("140")
    page.get_by_label("New quantity").press("Enter")
    await_that(lambda: desk.orders(isOpen=True)[0]["terms"]["price"] == "9910", "it was never replaced")
    assert desk.orders(isOpen=True)[0]["terms"]["quantity"] == "140"
    expect(row(page, order_id)).to_contain_text("99.10")
    expect(price).to_have_count(0)


def test_replacement_that_is_left_changes_nothing(page: Page, desk: Desk) -> None:
    order_id = desk.order(100, 9_900)
    row(page, order_id).get_by_label(f"Replace order {order_id}").click()
    page.get_by_label("New price").fill("99.99")
    page.get_by_label("New price").press("Escape")
    expect(page.get_by_label("New price")).to_have_count(0)
    command(page, f"r {order_id} 90")
    await_that(lambda: desk.orders(isOpen=True)[0]["terms"]["quantity"] == "90", "it was never replaced")
    assert desk.orders(isOpen=True)[0]["terms"]["price"] == "9900"


def test_orders_are_replaced_and_cancelled_by_keys_alone(page: Page, desk: Desk) -> None:
    first, second = desk.order(10, 9_901), desk.order(20, 9_902)
    expect(row(page, second)).to_be_visible()
    page.keyboard.press("Escape")
    page.locator("h1").click()
    page.keyboard.press("o")
    page.keyboard.press("Home")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("F2")
    page.get_by_label("New price").fill("99.03")
    page.keyboard.press("Enter")
    await_that(
        lambda: "9903" in {one["terms"]["price"] for one in desk.orders(isOpen=True)}, "it was never replaced"
    )
    expect(page.locator("#orders")).to_be_focused()
    page.keyboard.press("ArrowUp")
    page.keyboard.press("Delete")
    await_that(
        lambda: [one["orderId"] for one in desk.orders(isOpen=True)] == [first],
        "the second was never cancelled",
    )


def test_cancel_button_cancels_the_order_of_its_row(page: Page, desk: Desk) -> None:
    first, second = desk.order(10, 9_901), desk.order(20, 9_902)
    expect(row(page, second)).to_be_visible()
    page.get_by_label(f"Cancel order {first}", exact=True).click()
    await_that(
        lambda: [one["orderId"] for one in desk.orders(isOpen=True)] == [second], "it was never cancelled"
    )


def test_rows_keep_their_places_under_the_pointer(page: Page, desk: Desk) -> None:
    first = desk.order(10, 9_901)
    button = page.get_by_label(f"Cancel order {first}", exact=True)
    button.hover()
    before = button.bounding_box()
    desk.order(20, 9_902)
    expect(page.locator("#orders-count")).to_contain_text("1 more when the pointer leaves")
    assert button.bounding_box() == before
    page.locator("h1").hover()
    expect(page.locator("#orders-count")).to_have_text("2 working, 2 shown")


def test_fills_and_positions_show_what_was_executed(page: Page, desk: Desk) -> None:
    desk.order(30, 5_000, symbol="MSFT", side="SIDE_SELL")
    command(page, "b 30 MSFT @ 50.00")
    expect(page.locator("#fills .rows .row:visible").first).to_contain_text("MSFT")
    expect(page.locator("#fills .rows .row:visible").first).to_contain_text("50.00")
    position = page.locator("#positions .rows .row:visible").filter(has_text="ACC1").filter(has_text="MSFT")
    expect(position).to_contain_text("30")
    desk.order(5, 5_100, symbol="MSFT", side="SIDE_SELL")
    command(page, "b 5 MSFT @ 51.00")
    expect(position).to_contain_text("30.00")  # 30 at a mark of one more
    expect(page.locator("#profit")).to_contain_text("USD")


def test_trades_of_the_chosen_instrument_are_told_once_over_a_lost_stream(page: Page, desk: Desk) -> None:
    def lines() -> list[str]:
        return page.locator("#tape .rows .row:visible").all_inner_texts()

    page.locator("#market .row").filter(has_text="AAPL").click()
    page.locator("h1").hover()
    before = len(lines())
    desk.order(7, 10_000)
    desk.order(5, 10_000, side="SIDE_SELL", account="ACC1")
    await_that(lambda: len(lines()) == before + 1, "no trade was told")
    assert lines()[0].split()[1:] == ["100.00", "5", "sold"]
    expect(page.locator("#tape-count")).to_contain_text("traded")
    page.context.set_offline(True)
    expect(page.locator("body")).to_have_attribute("data-level", "stale")
    desk.order(1, 10_000, side="SIDE_SELL", account="ACC1")
    page.context.set_offline(False)
    expect(page.locator("body")).to_have_attribute("data-level", "live")
    await_that(lambda: len(lines()) == before + 2, "what was traded meanwhile was not told")
    assert [line.split()[2] for line in lines()[:2]] == ["1", "5"]
    with contextlib.closing(page.context.new_page()) as later:
        later.goto(desk.url)
        expect(later.locator("#tape .rows .row:visible")).to_have_count(before + 2)


def test_silent_venue_takes_no_order_by_a_click(page: Page, desk: Desk) -> None:
    ladder(page, desk)
    hear = "(symbols) => blotter.take({kind: 'market', message: {staleSymbols: symbols}})"
    page.evaluate(hear, ["AAPL"])
    expect(page.locator("#ladder-state")).to_contain_text("stale")
    expect(page.locator("#market .row").filter(has_text="AAPL")).to_contain_text("stale")
    ladder_cell(page, "99.90", "bid").click()
    expect(page.locator("#alerts")).to_contain_text("AAPL: not sent, its venue tells nothing at the moment")
    assert len(desk.orders(isOpen=True)) == 2
    page.evaluate(hear, [])
    expect(page.locator("#ladder-state")).to_have_text("")


def test_how_many_orders_stand_at_a_price_is_said(page: Page, desk: Desk) -> None:
    ladder(page, desk)
    expect(ladder_cell(page, "99.90", "bid")).to_have_attribute("title", "1 order")
    desk.order(6, 9_990)
    expect(ladder_cell(page, "99.90", "bid")).to_have_attribute("title", "2 orders")


def test_finished_orders_are_there_when_asked_for(page: Page, desk: Desk) -> None:
    order_id = desk.order(10, 9_901)
    command(page, f"x {order_id}")
    expect(page.locator("#orders-count")).to_have_text("0 working, 0 shown")
    page.select_option("#orders-filter", "all")
    page.fill("#orders-find", f"{order_id} acc2")
    expect(page.locator("#orders .rows .row:visible").filter(has_text="canceled").first).to_contain_text(
        order_id
    )


def test_cancel_of_everything_on_one_side_of_a_symbol(page: Page, desk: Desk) -> None:
    kept = desk.order(10, 10_100, side="SIDE_SELL")
    desk.order(10, 9_901)
    desk.order(10, 9_902)
    command(page, "x buys AAPL")
    await_that(lambda: [one["orderId"] for one in desk.orders(isOpen=True)] == [kept], "the buys still work")
    expect(page.locator("#alerts")).to_contain_text("2 cancels on their way")


# ------------------------------------------------------------ denials, kill switch


def test_denial_is_an_alert_with_the_engines_words(page: Page) -> None:
    command(page, "b 100001 AAPL @ 1")
    expect(page.locator("#alerts .warning").first).to_contain_text(
        "denied, the quantity 100001 is above 100000"
    )


def test_reject_of_the_venue_is_an_alert(page: Page, desk: Desk) -> None:
    desk.order(10, 10_000, side="SIDE_SELL")
    command(page, "b 10 AAPL @ 100.00 post")
    expect(page.locator("#alerts .danger").first).to_contain_text("rejected by SIM")


@pytest.mark.parametrize(
    ("button", "state", "passes_cancel"),
    [("Block new", "block new", True), ("Cancel all", "cancel all", True), ("Freeze", "freeze", False)],
)
def test_kill_switch_stops_at_its_level_and_lets_go(
    page: Page, desk: Desk, button: str, state: str, passes_cancel: bool
) -> None:
    order_id = desk.order(10, 9_901, account="ACC1")
    page.locator("h1").click()
    page.keyboard.press("k")
    page.select_option("#kill-node", "firm/desk/ACC1")
    page.fill("#kill-reason", "a drill")
    page.locator("#kill").get_by_role("button", name=button).click()
    try:
        expect(page.locator("#kill")).to_be_hidden()
        expect(page.locator("#trading-note")).to_contain_text(f"firm/desk/ACC1: {state}")
        expect(page.locator("#alerts")).to_contain_text(f"{state} for firm/desk/ACC1: in force")
        command(page, "b 1 AAPL @ 90 for ACC1")
        expect(page.locator("#alerts .warning").filter(has_text="denied").first).to_be_visible()
        if button == "Cancel all":
            working(desk, 0)
        else:
            command(page, f"x {order_id}")
            if passes_cancel:
                working(desk, 0)
            else:
                expect(
                    page.locator("#alerts").get_by_text(f"cancel {order_id}: refused").first
                ).to_be_visible()
                working(desk, 1)
    finally:
        page.click("#kill-open")
        page.select_option("#kill-node", "firm/desk/ACC1")
        page.locator("#kill").get_by_role("button", name="Normal").click()
    expect(page.locator("#trading")).to_have_text("normal")


# ------------------------------------------------------------ windows


def test_windows_of_one_browser_share_their_streams(page: Page, desk: Desk) -> None:
    others = [page.context.new_page() for _ in range(3)]
    for other in others:
        other.goto(desk.url)
        expect(other.locator("body")).to_have_attribute("data-level", "live")
    # Twelve streams would not leave a connection for an order.
    command(others[-1], "b 10 AAPL @ 99.00")
    (order,) = working(desk, 1)
    for one in (page, *others):
        expect(row(one, str(order["orderId"]))).to_be_visible()
    others.pop().close()
    command(page, f"x {order['orderId']}")
    for other in others:
        expect(other.locator("#orders-count")).to_have_text("0 working, 0 shown")
        other.close()


def test_example_page_lists_orders_as_they_change_and_sends_one(page: Page, desk: Desk) -> None:
    with contextlib.closing(page.context.browser.new_context()) as profile:  # type: ignore[union-attr]
        example = profile.new_page()
        policy = {"content-security-policy": page.request.get(desk.url).headers["content-security-policy"]}
        example.route(
            f"{desk.url}/",
            lambda route: route.fulfill(
                path=EXAMPLE / "index.html", headers={**policy, "content-type": "text/html"}
            ),
        )
        example.route(
            f"{desk.url}/orders.js",
            lambda route: route.fulfill(
                path=EXAMPLE / "orders.js", headers={**policy, "content-type": "text/javascript"}
            ),
        )
        example.goto(desk.url)
        order_id = desk.order(10, 9_901, note="<b>")
        expect(example.locator("li")).to_have_text(f"{order_id}: SIDE_BUY 10 AAPL @ 99.01")
        example.fill("[name=price]", "98.02")
        example.click("button")
        expect(example.locator("li").nth(1)).to_contain_text("SIDE_BUY 100 AAPL @ 98.02")
        desk.clear()
        expect(example.locator("li")).to_have_count(0)


# ------------------------------------------------------------ text that others wrote

HOSTILE = '<img src=x onerror="globalThis.stolen=1"><script>globalThis.stolen=1</script>\'"><b>&amp;</b>'


def test_no_text_becomes_more_than_letters(page: Page, desk: Desk) -> None:
    note = HOSTILE[:190]
    resting = desk.order(10, 9_901, note=note)
    desk.order(
        10, 9_901, account="ACC1", side="SIDE_SELL", timeInForce="TIME_IN_FORCE_IOC", note=note
    )  # a fill
    desk.order(5, 9_902, note=note)
    page.select_option("#orders-filter", "all")
    expect(page.locator("#orders").get_by_title(note).first).to_be_visible()
    assert page.locator("#orders").get_by_title(note).first.text_content() == note
    command(page, f"b 1000000 AAPL @ 1 note {note}")
    expect(page.locator("#alerts li").first).to_contain_text("denied")
    page.fill("#command", HOSTILE)
    page.press("#command", "Enter")
    expect(page.locator("#command-said")).to_contain_text("is no command")
    page.fill("#orders-find", HOSTILE[:80])
    page.fill("[name=note]", note)
    page.fill("[name=quantity]", HOSTILE[:24])
    expect(page.locator("#outlook")).to_contain_text("is not a number")
    page.click("#kill-open")
    page.fill("#kill-reason", note)
    page.locator("#kill").get_by_role("button", name="Normal").click()
    expect(page.locator("#alerts li").first).to_contain_text("normal for firm")
    assert resting
    assert page.evaluate("globalThis.stolen") is None
    assert page.locator("img, main script, li b, .cell b").count() == 0
