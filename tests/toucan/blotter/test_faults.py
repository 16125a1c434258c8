"""A gateway that is killed, frozen or gone: the page says that it is stale, enters nothing, and has lost and doubled nothing afterwards."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, Route, expect
from tests.toucan.blotter.support import Desk, await_that, command, open_page, running_desk

pytestmark = pytest.mark.system


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    with running_desk(tmp_path_factory.mktemp("desk")) as desk:
        yield desk


@pytest.fixture
def page(browser: Browser, desk: Desk) -> Iterator[Page]:
    desk.clear()
    with open_page(browser, desk) as page:
        yield page


def shown_ids(page: Page) -> list[str]:
    ids: list[str] = page.evaluate(
        "[...blotter.book.orders.values()].map((one) => one.orderId).sort((a, b) => a - b)"
    )
    return ids


def becomes(page: Page, level: str) -> None:
    expect(page.locator("body")).to_have_attribute("data-level", level)


def test_killed_gateway_is_seen_and_streams_go_on_where_they_were(page: Page, desk: Desk) -> None:
    before = desk.order(10, 9_901)
    expect(page.locator("#orders-count")).to_contain_text("1 working")
    os.kill(desk.pids["web"], signal.SIGKILL)
    becomes(page, "stale")
    becomes(page, "live")  # it was started again
    expect(page.locator("#alerts")).to_contain_text("STALE: No connection")
    expect(page.locator("#alerts")).to_contain_text("live again")
    after = desk.order(10, 9_902)
    expect(page.locator("#orders-count")).to_contain_text("2 working")
    assert shown_ids(page)[-2:] == [before, after]
    command(page, f"x {before} {after}")
    expect(page.locator("#orders-count")).to_contain_text("0 working")


def test_frozen_gateway_makes_the_page_stale_over_its_whole_width_and_nothing_is_entered(
    page: Page, desk: Desk
) -> None:
    order_id = desk.order(10, 9_901)
    expect(page.locator("#orders-count")).to_contain_text("1 working")
    ids = [
        child
        for child in os.listdir("/proc")
        if child.isdigit() and _is_gateway(int(child), desk.process.pid)
    ]
    (gateway,) = map(int, ids)
    os.kill(gateway, signal.SIGSTOP)
    try:
        becomes(page, "stale")
        banner = page.locator("#banner").bounding_box()
        assert banner is not None
        assert banner["width"] == page.viewport_size["width"]  # type: ignore[index]
        expect(page.locator("[name=quantity]")).to_be_disabled()
        expect(page.locator("#ladder-quantity")).to_be_disabled()
        command(page, "b 77 AAPL @ 99.00")
        expect(page.locator("#alerts .danger").first).to_contain_text(
            "not sent, since what this page shows may be old"
        )
    finally:
        os.kill(gateway, signal.SIGCONT)
    becomes(page, "live")
    expect(page.locator("[name=quantity]")).to_be_enabled()
    command(page, f"x {order_id}")
    expect(page.locator("#orders-count")).to_contain_text("0 working")
    assert "77" not in {one["terms"]["quantity"] for one in desk.orders()}


def _is_gateway(pid: int, parent: int) -> bool:
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        status = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return False
    return b"toucan.web" in words and int(status[1]) == parent


@pytest.mark.parametrize("is_carried_out", [True, False])
def test_order_whose_answer_is_lost_is_sent_again_and_is_one_order(
    page: Page, desk: Desk, is_carried_out: bool
) -> None:
    lost: list[str | None] = []

    def lose(route: Route) -> None:
        if lost:
            route.continue_()
            return
        lost.append(route.request.post_data)
        if is_carried_out:
            route.fetch()
        route.abort()

    page.route("**/SubmitOrder", lose)
    command(page, "b 33 AAPL @ 99.00")
    expect(page.locator("#orders-count")).to_contain_text("1 working")
    command(page, "b 34 AAPL @ 99.00")  # behind it in the lane: whatever was sent before is answered
    expect(page.locator("#orders-count")).to_contain_text("2 working")
    assert lost
    assert sorted(one["terms"]["quantity"] for one in desk.orders(isOpen=True)) == ["33", "34"]
    assert page.locator("#alerts li").count() == 0


def test_order_without_an_answer_is_left_to_the_person_and_what_waited_behind_it_is_not_sent(
    page: Page, desk: Desk
) -> None:
    page.route("**/SubmitOrder", lambda route: route.abort())
    page.evaluate("""() => {
        const terms = (quantity) => ({account: "ACC1", symbol: "AAPL", side: "SIDE_BUY", type: "ORDER_TYPE_LIMIT",
            timeInForce: "TIME_IN_FORCE_DAY", quantity, price: "9900"});
        blotter.actions.submit(terms("41"));
        blotter.actions.submit(terms("42"));
    }""")
    expect(page.locator("#alerts")).to_contain_text("buy 42 AAPL @ 99.00 for ACC1: not sent")
    expect(page.locator("#alerts")).to_contain_text("buy 41 AAPL @ 99.00 for ACC1: no answer")
    assert not desk.orders(isOpen=True)
    page.unroute("**/SubmitOrder")
    page.get_by_role("button", name="Send again").dblclick()
    expect(page.locator("#alerts")).to_contain_text("carried out")
    await_that(
        lambda: [one["terms"]["quantity"] for one in desk.orders(isOpen=True)] == ["41"],
        "it was not sent once",
    )


def test_page_that_loses_its_network_says_so(page: Page) -> None:
    page.context.set_offline(True)
    becomes(page, "stale")
    expect(page.locator("#banner")).to_contain_text("offline")
    page.context.set_offline(False)
    becomes(page, "live")


def test_page_of_which_a_part_does_not_arrive_says_so_and_is_loaded_again(
    browser: Browser, desk: Desk
) -> None:
    page = browser.new_page()
    try:
        page.route("**/js/words.js", lambda route: route.abort())
        page.goto(desk.url)
        expect(page.locator(".loading.failed")).to_be_visible()
        page.unroute("**/js/words.js")
        becomes(page, "live")
        expect(page.locator(".loading:visible")).to_have_count(0)
    finally:
        page.close()


def test_page_that_takes_long_to_load_says_so(browser: Browser, desk: Desk) -> None:
    page = browser.new_page()
    try:
        held: list[Route] = []
        page.route("**/js/words.js", lambda route: held.append(route))
        page.goto(desk.url, wait_until="commit")
        expect(page.locator(".loading:not(.failed)")).to_be_visible()
        held[0].continue_()
        becomes(page, "live")
    finally:
        page.close()


def test_killed_engine_makes_the_page_stale_until_it_is_followed_again(page: Page, desk: Desk) -> None:
    os.kill(desk.pids["engine"], signal.SIGKILL)
    becomes(page, "stale")
    becomes(page, "live")
    command(page, "b 5 AAPL @ 99.00")
    expect(page.locator("#orders-count")).to_contain_text("1 working")
