"""What holds for all tests."""

from __future__ import annotations

import gc
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import structlog

if TYPE_CHECKING:
    from tests.system.weed import Weed

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A shell starts in the background what ignores Ctrl-C, and so would every program that a test starts.
    signal.signal(signal.SIGINT, signal.default_int_handler)

_REQUIRE_ALL = os.environ.get("CASHY_REQUIRE_ALL_TESTS") == "1"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with slow tests come first, then those that start daemons: at the end no process shall work at a long one alone."""
    ranks: dict[Path, int] = {}
    for item in items:
        rank = 0 if item.get_closest_marker("slow") else 1 if item.get_closest_marker("system") else 2
        ranks[item.path] = min(rank, ranks.get(item.path, 2))
    items.sort(key=lambda item: ranks[item.path])


def pytest_collection_finish() -> None:
    """What was collected stays to the end: ten thousand tests' worth of objects that no garbage collection needs to look through."""
    gc.collect()
    gc.freeze()


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


@pytest.fixture(autouse=True)
def _log_as_it_was() -> Iterator[None]:
    """Programs that run inside a test set up their log, which is the process's: the next test does not find it."""
    yield
    if structlog.is_configured():
        structlog.reset_defaults()


@pytest.fixture(scope="session")
def weed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Weed]:
    """SeaweedFS, the same for all tests that want it: their buckets have names of their own."""
    from tests.system.weed import started_weed  # few tests need it, and this file is tested alone

    with started_weed(tmp_path_factory.mktemp("weed") / "weed") as store:
        yield store
