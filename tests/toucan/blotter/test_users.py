"""Two users of different rights at two browsers: each sees and does what is his."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect
from tests.toucan.blotter.support import Desk, command, open_page, running_desk, user_lines

pytestmark = pytest.mark.system

ALICE, BOB = "token-of-alice", "token-of-bob"


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    folder = tmp_path_factory.mktemp("desk")
    users: Path = folder / "users.toml"
    users.write_text(
        user_lines("alice", ALICE, '["ACC1", "ACC2"]', '["trade", "kill", "cancel-others"]')
        + user_lines("bob", BOB, '["ACC2"]', '["view"]')
    )
    users.chmod(0o600)
    with running_desk(folder, "--users", str(users)) as desk:
        yield desk


def test_each_sees_his_accounts_alone_and_may_do_what_he_is_entitled_to(browser: Browser, desk: Desk) -> None:
    with open_page(browser, desk, ALICE) as alice, open_page(browser, desk, BOB) as bob:
        hidden = desk.order(10, 9_900, ALICE, account="ACC1")
        seen = desk.order(20, 9_901, ALICE)
        expect(alice.locator("#orders-count")).to_have_text("2 working, 2 shown")
        expect(bob.locator("#orders-count")).to_have_text("1 working, 1 shown")
        assert bob.evaluate("[...blotter.book.orders.keys()]") == [seen]
        assert hidden not in bob.evaluate("[...blotter.book.orders.keys()]")
        assert "ACC1" not in (bob.locator("body").text_content() or "")
        # What he may not do is off; and the gateway refuses it to a page that asks all the same.
        expect(bob.locator("[name=quantity]")).to_be_disabled()
        expect(bob.locator("#entry-state")).to_have_text("bob may not trade")
        expect(bob.locator("#kill-open")).to_be_hidden()
        command(bob, "b 10 AAPL @ 99.00")
        expect(bob.locator("#alerts li").first).to_contain_text("not entitled")
        command(bob, f"x {seen}")
        expect(bob.locator("#alerts li").first).to_contain_text(f"cancel {seen}: ")
        bob.evaluate("blotter.actions.setLevel('firm/desk/ACC2', 'TRADING_LEVEL_FREEZE', 'mine')")
        expect(bob.locator("#alerts li").first).to_contain_text("freeze for firm/desk/ACC2: ")
        assert len(desk.orders(ALICE, isOpen=True)) == 2
        command(alice, f"x {seen}")
        expect(bob.locator("#orders-count")).to_have_text("0 working, 0 shown")


def test_wrong_token_is_told_and_nothing_is_shown(browser: Browser, desk: Desk) -> None:
    page = browser.new_page()
    page.goto(desk.url)
    page.fill("#token", "guessed")
    page.press("#token", "Enter")
    expect(page.locator("#login-told")).not_to_be_empty()
    expect(page.locator(".desk")).to_be_hidden()
    page.context.close()


def test_logout_in_one_window_ends_the_other(browser: Browser, desk: Desk) -> None:
    with open_page(browser, desk, ALICE) as page:
        other = page.context.new_page()
        other.goto(desk.url)
        expect(other.locator("body")).to_have_attribute("data-level", "live")
        page.click("#logout")
        expect(page.locator("#token")).to_be_visible()
        expect(other.locator("#token")).to_be_visible()
        assert page.evaluate("fetch('/session').then((answer) => answer.status)") == 401
