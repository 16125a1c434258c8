"""Ten thousand working orders and two hundred updates a second: what is in the page stays small, and how long the frames take is printed."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal

import pytest
from playwright.sync_api import Page, expect
from tests.toucan.blotter.support import Desk, await_that, chromium, open_page, running_desk

import toucan.client

pytestmark = [pytest.mark.system, pytest.mark.slow]

ORDERS = 10_000
CLIENTS = 8
UPDATES_PER_S = 200
SECONDS = 4
# A screen of rows and what is spare; a table that puts more into the page is one that does not scroll.
ROWS_MAX = 80


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    with running_desk(tmp_path_factory.mktemp("desk")) as desk:
        yield desk


def fill_book(desk: Desk) -> None:
    def send(client: int) -> None:
        with toucan.client.connect(desk.grpc) as connected:
            for at in range(ORDERS // CLIENTS):
                connected.buy(
                    "AAPL",
                    1,
                    price=Decimal("50.00") + Decimal(at % 900) / 100,
                    account="ACC1",
                    note=f"{client}/{at}",
                )

    with ThreadPoolExecutor(CLIENTS) as pool:
        list(pool.map(send, range(CLIENTS)))


def keep_changing(desk: Desk, is_over: threading.Event) -> int:
    """An order and its cancel are some updates each; returns how many of the two were sent."""
    count = 0
    begun = time.monotonic()
    with toucan.client.connect(desk.grpc) as connected:
        while not is_over.is_set():
            order_id = connected.buy("AAPL", 2, price=Decimal("60.00"), account="ACC1").order_id
            connected.cancel(order_id)
            count += 2
            is_over.wait(max(0.0, begun + count * 2 / UPDATES_PER_S - time.monotonic()))
    return count


def longest_task_cpu_ms(trace: bytes) -> float:
    """Of the page's main thread, in processor time: what other programs of this machine take is not counted."""
    events = json.loads(trace)["traceEvents"]
    mains = {
        (one["pid"], one["tid"]) for one in events if one.get("args", {}).get("name") == "CrRendererMain"
    }
    tasks = [
        one["tdur"] / 1000
        for one in events
        if one["name"].endswith("RunTask") and (one["pid"], one["tid"]) in mains and "tdur" in one
    ]
    assert len(tasks) > 100
    return float(max(tasks))


def measured(page: Page) -> dict[str, float]:
    found: dict[str, float] = page.evaluate(
        """async (seconds) => {
        const tasks = [];
        const observer = new PerformanceObserver((list) => tasks.push(...list.getEntries().map((one) => one.duration)));
        observer.observe({type: "longtask"});
        blotter.frames.drawnMs.length = 0;
        const seen = {frames: blotter.frames.count, seq: blotter.book.seq};
        const gaps = [];
        let last = performance.now();
        const until = last + seconds * 1000;
        await new Promise((resolve) => requestAnimationFrame(function step(now) {
            gaps.push(now - last);
            last = now;
            if (now < until) requestAnimationFrame(step); else resolve();
        }));
        observer.disconnect();
        const drawn = blotter.frames.drawnMs.slice().sort((a, b) => a - b);
        return {frames: blotter.frames.count - seen.frames, events: Number(blotter.book.seq - seen.seq), draws: drawn.length,
            drawn_p50_ms: drawn[Math.floor(drawn.length / 2)] ?? 0, drawn_p99_ms: drawn[Math.floor(drawn.length * 0.99)] ?? 0,
            drawn_max_ms: drawn.at(-1) ?? 0, gap_max_ms: Math.max(...gaps.slice(1)),
            over_50_ms: tasks.length, longest_task_ms: Math.max(0, ...tasks)};
    }""",
        SECONDS,
    )
    return found


def test_ten_thousand_orders_that_change_stay_a_few_rows(
    desk: Desk, capsys: pytest.CaptureFixture[str]
) -> None:
    fill_book(desk)
    with chromium() as browser, open_page(browser, desk) as page:
        expect(page.locator("#orders-count")).to_have_text(f"{ORDERS} working, {ORDERS} shown")
        is_over = threading.Event()
        with ThreadPoolExecutor(1) as pool:
            changing = pool.submit(keep_changing, desk, is_over)
            try:
                browser.start_tracing(
                    page=page, categories=["toplevel", "disabled-by-default-devtools.timeline"]
                )
                figures = measured(page)
                figures["longest_task_cpu_ms"] = longest_task_cpu_ms(browser.stop_tracing())
                page.locator("#orders").focus()
                page.keyboard.press("End")
                expect(page.locator("#orders .rows .row.active")).to_be_visible()
                rows = page.locator("#orders .rows .row").count()
            finally:
                is_over.set()
            sent = changing.result()
        with capsys.disabled():
            told = ", ".join(f"{name} {value:.1f}" for name, value in figures.items())
            print(f"\nblotter with {ORDERS} orders, {sent} requests meanwhile: {told}")
        assert figures["events"] > 0
        assert figures["frames"] > 0
        assert 0 < rows <= ROWS_MAX
        assert page.evaluate("document.querySelectorAll('*').length") < 3 * 1000
        # And nothing was missed of what changed that fast.
        await_that(
            lambda: page.evaluate("blotter.book.workingCount") == ORDERS, "orders are missing, or too many"
        )
