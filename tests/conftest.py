"""What holds for all tests."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.system.weed import Weed

_REQUIRE_ALL = os.environ.get("CASHY_REQUIRE_ALL_TESTS") == "1"


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """With CASHY_REQUIRE_ALL_TESTS=1 (as in CI) a skipped test fails the run: it would hide what it should have shown."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if (
        _REQUIRE_ALL
        and reporter is not None
        and reporter.stats.get("skipped")
        and exitstatus == pytest.ExitCode.OK
    ):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Says why the run failed when only skips did."""
    if _REQUIRE_ALL and terminalreporter.stats.get("skipped"):
        terminalreporter.write_line(
            "CASHY_REQUIRE_ALL_TESTS=1: a skipped test is a failure (see above)", red=True
        )


@pytest.fixture(scope="session")
def weed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Weed]:
    """SeaweedFS, the same for all tests that want it: their buckets have names of their own."""
    from tests.system.weed import started_weed  # few tests need it, and this file is tested alone

    with started_weed(tmp_path_factory.mktemp("weed") / "weed") as store:
        yield store
