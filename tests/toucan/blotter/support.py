"""A desk: `toucan dev` with a gateway, and pages of its blotter in a real browser."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

__all__ = [
    "CHROMIUM",
    "Desk",
    "TIMEOUT_S",
    "await_that",
    "chromium",
    "command",
    "open_page",
    "running_desk",
    "user_lines",
]

TIMEOUT_S = 30.0
CHROMIUM = shutil.which("chromium")
_SERVICE = {"SetTradingState": "RiskService", "ListLimits": "RiskService"}
expect.set_options(timeout=TIMEOUT_S * 1000)


class Desk:
    """What runs, and what the engine says of it."""

    def __init__(self, process: subprocess.Popen[str], told: Mapping[str, Any]) -> None:
        self.process = process
        self.grpc: str = told["grpc"]
        self.url = f"http://{told['web']}"
        self.pids: dict[str, int] = told["processes"]
        self._number = 0

    def ask(self, method: str, request: Mapping[str, Any] | None = None, token: str = "") -> dict[str, Any]:
        """A call past the page; raises urllib's HTTPError where it is refused."""
        service = _SERVICE.get(method, "StagedOrderService" if "Stage" in method else "OrderEntryService")
        headers = {
            "content-type": "application/json",
            **({"authorization": f"Bearer {token}"} if token else {}),
        }
        body = json.dumps(request or {}).encode()
        ask = urllib.request.Request(f"{self.url}/aviary.toucan.v1.{service}/{method}", body, headers)
        with urllib.request.urlopen(ask, timeout=TIMEOUT_S) as answer:
            found: dict[str, Any] = json.load(answer)
            return found

    def change(self, method: str, request: Mapping[str, Any], token: str = "") -> dict[str, Any]:
        """The same for what changes something."""
        self._number += 1
        key = {"session": f"test-{os.getpid()}", "number": self._number}
        return self.ask(method, {"key": key, **request}, token)

    def order(self, quantity: int, price: int, token: str = "", **terms: Any) -> str:
        """Sends a buy of AAPL for ACC2, or what else is said; its id."""
        values = {
            "account": "ACC2", "symbol": "AAPL", "side": "SIDE_BUY", "type": "ORDER_TYPE_LIMIT",
            "timeInForce": "TIME_IN_FORCE_DAY", "quantity": quantity, "price": price,
        }  # fmt: skip
        found: str = self.change("SubmitOrder", {"terms": {**values, **terms}}, token)["orderId"]
        return found

    def orders(self, token: str = "", **wanted: Any) -> list[dict[str, Any]]:
        """Orders with a filter."""
        found: list[dict[str, Any]] = self.ask("ListOrders", {"filter": wanted, "pageSize": 1000}, token).get(
            "orders", []
        )
        return found

    def clear(self, token: str = "") -> None:
        """Nothing works any more."""
        self.change("MassCancel", {}, token)
        await_that(lambda: not self.orders(token, isOpen=True), "orders still work")


def await_that(holds: Callable[[], object], what: str) -> None:
    """Waits until it holds."""
    deadline = time.monotonic() + TIMEOUT_S
    while not holds():
        assert time.monotonic() < deadline, what
        time.sleep(0.02)


@contextlib.contextmanager
def running_desk(folder: Path, *options: str) -> Iterator[Desk]:
    """Engine, exchange, a server and a gateway, with nothing left of them afterwards."""
    listen = ["--listen", "127.0.0.1:0", "--web", "127.0.0.1:0"]
    with (
        (folder / "log").open("w") as log,
        subprocess.Popen(
            [sys.executable, "-m", "toucan.cli", "dev", *listen, *options],
            stdout=subprocess.PIPE, stderr=log, text=True, env={**os.environ, "TMPDIR": str(folder)},
        ) as process,
    ):  # fmt: skip
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            assert line, (folder / "log").read_text()
            yield Desk(process, json.loads(line))
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(TIMEOUT_S)
            except subprocess.TimeoutExpired:
                process.kill()


@contextlib.contextmanager
def chromium() -> Iterator[Browser]:
    """Debian's, without a window."""
    if CHROMIUM is None:
        pytest.skip("chromium is not installed: make test-packages")
    # Its sandbox refuses to run as root, which tests in a container are.
    arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=arguments)
        try:
            yield browser
        finally:
            browser.close()


@contextlib.contextmanager
def open_page(browser: Browser, desk: Desk, token: str = "", **context: Any) -> Iterator[Page]:
    """A page in a browser profile of its own, logged in and live; fails if a script of it failed or a policy was broken."""
    faults: list[str] = []
    with contextlib.closing(
        browser.new_context(**{"viewport": {"width": 1440, "height": 900}, **context})
    ) as profile:
        page = profile.new_page()
        page.on("pageerror", lambda error: faults.append(error.stack or str(error)))
        page.on(
            "console",
            lambda said: faults.append(said.text) if "Content Security Policy" in said.text else None,
        )
        page.goto(desk.url)
        if token:
            page.fill("#token", token)
            page.press("#token", "Enter")
        expect(page.locator("body")).to_have_attribute("data-level", "live")
        yield page
    assert not faults


def command(page: Page, text: str) -> None:
    """Types it into the command line and sends it; what it brings about is the caller's to wait for."""
    page.fill("#command", text)
    page.press("#command", "Enter")
    expect(page.locator("#command")).to_have_value("")


def user_lines(name: str, token: str, accounts: str, actions: str) -> str:
    """A user of a users file."""
    digest = hashlib.sha256(token.encode()).hexdigest()
    return f'[user.{name}]\ntoken_sha256 = "{digest}"\naccounts = {accounts}\nactions = {actions}\n'
