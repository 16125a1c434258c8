"""Pictures of the blotter for the documentation: ``python -m tests.toucan.blotter.pictures docs``."""

from __future__ import annotations

import io
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser, Page, expect
from tests.toucan.blotter.support import (
    Desk,
    await_that,
    chromium,
    command,
    open_page,
    running_desk,
    user_lines,
)

__all__ = ["ALICE", "busy_desk", "busy_page", "take_pictures"]

ALICE, MOMENTUM, MAKER = "token-of-alice", "token-of-momentum", "token-of-maker"
_ALL = '["trade", "kill", "cancel-others", "limits", "drop-copy"]'
_BIG = 60_100_00
_COLOURS = 256  # enough for text on flat panels, and a third of the bytes
_LIMITS = """
base_currency = "USD"
[team.desk]
accounts = ["ACC1", "ACC2"]
[team.makers]
accounts = ["MM1"]
[account.ACC1]
max_order_quantity = "100000"
soft_max_order_notional = "1000000"
prevent_self_trade = true
"""


@contextmanager
def busy_desk(folder: Path) -> Iterator[Desk]:
    """A desk with a market in three instruments, orders of two users and some fills."""
    users = folder / "users.toml"
    users.write_text(
        user_lines("alice", ALICE, '["ACC1", "ACC2"]', _ALL)
        + user_lines("momentum", MOMENTUM, '["ACC2"]', '["trade"]')
        + user_lines("maker", MAKER, '["MM1"]', '["trade"]')
    )
    users.chmod(0o600)
    limits = folder / "limits.toml"
    limits.write_text(_LIMITS)
    with running_desk(folder, "--users", str(users), "--limits", str(limits)) as desk:
        yield desk


def _are_done(desk: Desk, count: int) -> bool:
    """Whether so many orders are known, and none of ACC1 works."""
    orders = desk.orders(ALICE)
    return len(orders) >= count and not desk.orders(ALICE, isOpen=True, accounts=["ACC1"])


def _make_market(desk: Desk) -> None:
    for at in range(1, 9):
        for symbol, middle, size in (("AAPL", 189_50, 40), ("MSFT", 412_20, 25)):
            quantity = size * (3 + (at * 7) % 5)
            desk.order(quantity, middle - 2 * at, MAKER, account="MM1", symbol=symbol)
            desk.order(quantity - 10, middle + 2 * at, MAKER, account="MM1", symbol=symbol, side="SIDE_SELL")
    for at in range(1, 6):
        desk.order(15_000_000 * at, _BIG - 50 * at, MAKER, account="MM1", symbol="BTC-USD")
        desk.order(11_000_000 * at, _BIG + 50 * at, MAKER, account="MM1", symbol="BTC-USD", side="SIDE_SELL")
    for at in range(1, 15):
        desk.order(20 * at, 189_20 - 3 * at, MOMENTUM, note=f"signal {at}")
    desk.order(150, 189_60, MOMENTUM, timeInForce="TIME_IN_FORCE_IOC", note="signal 0")


@contextmanager
def busy_page(browser: Browser, desk: Desk, scheme: str) -> Iterator[Page]:
    """A page on which somebody has been trading, in a market of its own."""
    desk.clear(ALICE)
    desk.clear(MAKER)
    _make_market(desk)
    with open_page(
        browser, desk, ALICE, color_scheme=scheme, viewport={"width": 1600, "height": 900}
    ) as page:
        sent = len(desk.orders(ALICE))
        for number, text in enumerate((
            "b 160 AAPL @ 189.53 ioc", "b 90 AAPL market", "s 120 AAPL @ 189.46 ioc", "s 60 MSFT market", "b 45 MSFT @ 412.24 ioc",
            "b 0.25 BTC-USD @ 60101.00 ioc",
        ), 1):  # fmt: skip
            command(page, text)
            # One that still works would be an order of the same account in the way of the next.
            await_that(partial(_are_done, desk, sent + number), f"{text!r} still works")
        for text in (
            "b 200 AAPL @ 189.44 gtc note roll into close", "s 180 AAPL @ 189.60 show 30",
            "b 75 MSFT @ 412.10 post", "s 0.4 BTC-USD @ 60103.25", "b 120 AAPL @ 189.42", "s 150000 MSFT @ 412",
            "b 10 AAPL @ 189.60 post", "s 90 AAPL @ 189.58", "b 50 MSFT @ 409 stop 413 gtc",
        ):  # fmt: skip
            command(page, text)
        for limit in ("prevent_self_trade", "max_order_quantity"):
            expect(page.locator("#alerts li", has_text=limit)).to_have_count(1)
        page.select_option("[name=symbol]", "AAPL")
        page.fill("[name=quantity]", "100")
        page.fill("[name=price]", "189.45")
        expect(page.locator("#outlook")).to_contain_text("worth 18,945.00")
        page.locator("h1").click()
        yield page


def take_pictures(browser: Browser, desk: Desk, folder: Path) -> list[Path]:
    """Writes one for each colour scheme."""
    found = []
    for scheme in ("light", "dark"):
        with busy_page(browser, desk, scheme) as page:
            path = folder / f"blotter-{scheme}.png"
            picture = Image.open(io.BytesIO(page.screenshot()))
            picture.convert("RGB").quantize(
                _COLOURS, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE
            ).save(path, optimize=True)
            found.append(path)
    return found


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as data, busy_desk(Path(data)) as the_desk, chromium() as the_browser:
        for picture in take_pictures(the_browser, the_desk, Path(sys.argv[1])):
            print(f"{picture}: {picture.stat().st_size // 1024} KiB")
