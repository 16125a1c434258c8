"""How the blotter looks and can be used: contrast, labels and roles in both colour schemes, the pictures of the documentation."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect
from tests.toucan.blotter.pictures import busy_desk, busy_page, take_pictures
from tests.toucan.blotter.support import Desk

pytestmark = pytest.mark.system

DOCS = Path(__file__).resolve().parents[3] / "docs"
PICTURE_BYTES_MAX = 200_000
# WCAG 2.2, levels A and AA.
RULES = {
    "runOnly": {"type": "tag", "values": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]},
    "resultTypes": ["violations"],
}


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    with busy_desk(tmp_path_factory.mktemp("desk")) as desk:
        yield desk


def faults(page: Page) -> list[str]:
    found = Axe().run(page, options=RULES).response["violations"]
    return [
        f"{one['id']}: {node['target']} {node['failureSummary']}" for one in found for node in one["nodes"]
    ]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_contrast_labels_and_roles_hold_everywhere(browser: Browser, desk: Desk, scheme: str) -> None:
    with busy_page(browser, desk, scheme) as page:
        assert faults(page) == []
        page.keyboard.press("?")
        assert faults(page) == []
        page.keyboard.press("Escape")
        page.keyboard.press("k")
        assert faults(page) == []
        page.keyboard.press("Escape")
        page.context.set_offline(True)
        expect(page.locator("body")).to_have_attribute("data-level", "stale")
        assert faults(page) == []
        page.context.set_offline(False)


def test_switch_overrides_the_systems_colour_scheme_and_is_kept(browser: Browser, desk: Desk) -> None:
    def background(page: Page) -> str:
        found: str = page.evaluate("getComputedStyle(document.body).backgroundColor")
        return found

    with busy_page(browser, desk, "light") as page:
        light = background(page)
        page.click("#theme")
        dark = background(page)
        assert dark != light
        page.reload()
        expect(page.locator("body")).to_have_attribute("data-level", "live")
        assert background(page) == dark


def test_pictures_are_small_and_those_of_the_documentation_are_there(
    browser: Browser, desk: Desk, tmp_path: Path
) -> None:
    made = take_pictures(browser, desk, tmp_path)
    for picture in made:
        assert 20_000 < picture.stat().st_size < PICTURE_BYTES_MAX
        assert 20_000 < (DOCS / picture.name).stat().st_size < PICTURE_BYTES_MAX
