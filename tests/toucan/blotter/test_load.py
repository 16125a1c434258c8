"""Two hundred streams of a real browser at one gateway: each hears every change, once and in order."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, closing

import pytest
from playwright.sync_api import Browser, Page
from tests.toucan.blotter.support import TIMEOUT_S, Desk, await_that, chromium, running_desk

pytestmark = [pytest.mark.system, pytest.mark.slow, pytest.mark.timeout(900)]

#: A browser has six connections to an address for each of its profiles: five for streams, one for the rest.
PROFILES, STREAMS_OF_ONE = 40, 5
ORDERS = 60

_OPEN = """async ({csrf, count}) => {
    const {stream} = await import("/js/connect.js");
    const signal = new AbortController().signal;
    window.heard = [];
    window.ended = [];
    const begun = [];
    for (let at = 0; at < count; at++) {
        const told = [];
        heard.push(told);
        begun.push(new Promise((open) => (async () => {
            for await (const message of stream("OrderEntryService/WatchOrders", {withoutSnapshot: true}, {csrf, signal})) {
                if (!message) continue;
                open();
                for (const {seq, order} of message.updates ?? []) told.push([Number(seq), Number(order.orderId)]);
            }
        })().catch((error) => ended.push(`${error.code}: ${error.message}`)).finally(open)));
    }
    await Promise.all(begun);
    return ended;
}"""


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    with running_desk(tmp_path_factory.mktemp("desk")) as desk:
        yield desk


def _open_pages(browser: Browser, desk: Desk, stack: ExitStack) -> list[Page]:
    """Pages of the gateway that run nothing of the blotter, each in a profile of its own, all with one login."""
    context = stack.enter_context(closing(browser.new_context()))
    answer = context.request.post(f"{desk.url}/session", data={}, headers={"origin": desk.url})
    assert answer.ok, answer.text()
    csrf, login = answer.json()["csrf"], context.storage_state()
    pages = []
    for _ in range(PROFILES):
        page = stack.enter_context(closing(browser.new_context(storage_state=login))).new_page()
        page.goto(f"{desk.url}/js/connect.js")
        assert page.evaluate(_OPEN, {"csrf": csrf, "count": STREAMS_OF_ONE}) == []
        pages.append(page)
    return pages


def test_two_hundred_browser_streams_hear_every_change(
    desk: Desk, capsys: pytest.CaptureFixture[str]
) -> None:
    """What an order takes meanwhile is printed, not judged."""
    took_ms = []
    with chromium() as browser, ExitStack() as stack:
        pages = _open_pages(browser, desk, stack)
        sent = []
        for number in range(ORDERS):
            began = time.perf_counter()
            sent.append(int(desk.order(1, 10_000 + number)))
            took_ms.append((time.perf_counter() - began) * 1e3)
        await_that(
            lambda: {order["status"] for order in desk.orders(isOpen=True)} == {"ORDER_STATUS_NEW"},
            "orders wait",
        )
        last = max(int(order["updatedSeq"]) for order in desk.orders())
        for page in pages:
            page.wait_for_function(
                "(last) => ended.length || heard.every((told) => told.length && told.at(-1)[0] >= last)",
                arg=last, timeout=TIMEOUT_S * 1000,
            )  # fmt: skip
            assert page.evaluate("ended") == []
            first, *others = page.evaluate("heard")
            assert [seq for seq, _ in first] == sorted({seq for seq, _ in first})
            assert list(dict.fromkeys(order_id for _, order_id in first)) == sent
            assert all(other == first for other in others)
        took_ms.sort()
    with capsys.disabled():
        print(
            f"\nan order beside {PROFILES * STREAMS_OF_ONE} browser streams: "
            f"median {took_ms[ORDERS // 2]:.1f} ms, longest {took_ms[-1]:.1f} ms"
        )
