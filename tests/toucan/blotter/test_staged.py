"""What a strategy proposes, on the page of the person who decides: released, rejected, gone, and what another one decided first."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Locator, Page, expect
from tests.toucan.blotter.support import Desk, open_page, running_desk, user_lines

pytestmark = pytest.mark.system

ANN, BOT, EVE = "token-of-ann", "token-of-bot", "token-of-eve"


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    folder = tmp_path_factory.mktemp("desk")
    users: Path = folder / "users.toml"
    users.write_text(
        user_lines("ann", ANN, '["ACC1", "ACC2"]', '["trade", "release"]')
        + user_lines("bot", BOT, '["ACC2"]', '["stage"]')
        + user_lines("eve", EVE, '["ACC1"]', '["trade"]')
    )
    users.chmod(0o600)
    with running_desk(folder, "--users", str(users)) as desk:
        yield desk


@pytest.fixture(scope="module")
def page(browser: Browser, desk: Desk) -> Iterator[Page]:
    with open_page(browser, desk, ANN) as page:
        yield page


def propose(desk: Desk, quantity: int, why: str) -> str:
    terms = {
        "account": "ACC2", "symbol": "AAPL", "side": "SIDE_BUY", "type": "ORDER_TYPE_LIMIT",
        "timeInForce": "TIME_IN_FORCE_DAY", "quantity": quantity, "price": 9_900,
    }  # fmt: skip
    found: str = desk.change("StageOrder", {"terms": terms, "why": why}, BOT)["stagedId"]
    return found


def row(page: Page, why: str) -> Locator:
    return page.locator("#staged [role=row]:visible", has_text=why)


def status(desk: Desk, staged_id: str) -> str:
    found = desk.ask("GetStagedOrder", {"stagedId": staged_id}, ANN)["staged"]
    return str(found["status"]).removeprefix("STAGED_STATUS_")


def test_proposal_is_shown_with_its_reason_and_is_an_order_when_it_is_released(
    page: Page, desk: Desk
) -> None:
    staged_id = propose(desk, 30, "below its mean")
    proposal = row(page, "below its mean")
    expect(proposal).to_contain_text("bot")
    expect(proposal).to_contain_text("buy 30 AAPL @ 99.00")
    proposal.get_by_role("button", name=f"release staged order {staged_id}").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("below its mean")
    dialog.get_by_role("button", name="Release").click()
    expect(proposal).to_have_count(0)
    assert status(desk, staged_id) == "RELEASED"
    (order,) = desk.orders(ANN, owners=["bot"])
    assert (order["terms"]["quantity"], order["terms"]["price"]) == ("30", "9900")
    page.mouse.move(1, 1)  # rows hold still under the pointer
    expect(page.locator("#orders-count")).to_have_text("1 working, 1 shown")


def test_proposal_that_is_not_wanted_is_rejected_with_a_reason(page: Page, desk: Desk) -> None:
    staged_id = propose(desk, 40, "momentum")
    row(page, "momentum").get_by_role("button", name=f"reject staged order {staged_id}").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Why").fill("not before the <b>close</b>")
    dialog.get_by_role("button", name="Reject").click()
    expect(row(page, "momentum")).to_have_count(0)
    found = desk.ask("GetStagedOrder", {"stagedId": staged_id}, ANN)["staged"]
    assert (found["decidedBy"], found["decidedWhy"]) == ("ann", "not before the <b>close</b>")
    assert found["status"] == "STAGED_STATUS_REJECTED"


def test_what_changed_while_somebody_thought_about_it_is_not_released(page: Page, desk: Desk) -> None:
    """The page names the revision that it showed."""
    staged_id = propose(desk, 50, "pairs")
    row(page, "pairs").get_by_role("button", name=f"release staged order {staged_id}").click()
    change = {"stagedId": staged_id, "revision": 1, "quantity": 5_000, "why": "more of it"}
    desk.change("AmendStagedOrder", change, ANN)
    expect(row(page, "5,000")).to_have_count(1)
    page.get_by_role("dialog").get_by_role("button", name="Release").click()
    expect(page.locator("#alerts li").first).to_contain_text(f"release {staged_id}")
    assert status(desk, staged_id) == "PROPOSED"
    desk.change("RejectStagedOrder", {"stagedId": staged_id, "why": "over"}, ANN)
    expect(row(page, "5,000")).to_have_count(0)


def test_text_of_a_proposal_is_letters(page: Page, desk: Desk) -> None:
    text = "<img src=x onerror=alert(1)>"
    staged_id = propose(desk, 60, text)
    expect(row(page, text)).to_have_count(1)
    assert page.locator("#staged img, #alerts img").count() == 0
    desk.change("RejectStagedOrder", {"stagedId": staged_id, "why": text}, ANN)
    expect(row(page, text)).to_have_count(0)


def test_who_may_neither_propose_nor_release_has_no_such_panel(browser: Browser, desk: Desk) -> None:
    with open_page(browser, desk, EVE) as page:
        expect(page.locator("#staged-panel")).to_be_hidden()
