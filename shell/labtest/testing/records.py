"""One line for each test, written as it ends, so that what is known survives whatever happens to the tests' process.

Only the standard library and pytest. A line is a JSON object: ``{"id", "began"}`` (seconds since the epoch) when a test begins, and
``{"id", "outcome", "duration_s", "files", "message"}`` when it has ended; ``files`` are relative to the report's folder.
A file of tests that cannot be imported counts as a test that has ended so; ``{"interrupted": true}`` says that somebody has stopped it.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

__all__ = ["FILES_PROPERTY", "RECORDS_NAME", "Records", "TestRecord", "read_records", "was_interrupted"]

RECORDS_NAME = "tests.jsonl"
#: Name of the user property in which a test's report says where its evidence is.
FILES_PROPERTY = "lab_file"

#: Of a failure, in the record; the whole of it is in junit.xml.
_MESSAGE_MAX = 2000


@dataclass
class TestRecord:
    """One test. ``outcome``: ``passed``, ``failed``, ``error``, ``skipped``, or ``running`` if its process ended first."""

    __test__ = False  # pytest takes classes of this name for tests

    id: str
    outcome: str = "running"
    duration_s: float = 0.0
    files: list[str] = field(default_factory=list)
    message: str = ""


class Records:
    """A pytest plugin that writes them."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._path = folder / RECORDS_NAME
        self._path.write_text("", encoding="utf-8")
        self._open: dict[str, TestRecord] = {}

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """A file of tests was read."""
        if report.failed:
            record = TestRecord(report.nodeid, "error", message=report.longreprtext[-_MESSAGE_MAX:])
            self._write(vars(record))

    def pytest_keyboard_interrupt(self, excinfo: pytest.ExceptionInfo[BaseException]) -> None:
        """Somebody has stopped it; or pytest has, since files of tests cannot be imported."""
        if not isinstance(excinfo.value, pytest.Session.Interrupted):
            self._write({"interrupted": True})

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        """A test begins."""
        self._open[nodeid] = TestRecord(nodeid)
        self._write({"id": nodeid, "began": time.time()})

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """A phase of a test has ended."""
        record = self._open.setdefault(report.nodeid, TestRecord(report.nodeid))
        record.duration_s += report.duration
        if report.failed:
            record.outcome = "failed" if report.when == "call" else "error"
            record.message = record.message or report.longreprtext[-_MESSAGE_MAX:]
        elif report.skipped:
            record.outcome = "skipped"
        elif report.when == "call" and record.outcome == "running":
            record.outcome = "passed"
        record.files = [str(value) for name, value in report.user_properties if name == FILES_PROPERTY]

    def pytest_runtest_logfinish(self, nodeid: str) -> None:
        """A test has ended."""
        record = self._open.pop(nodeid, None)
        if record is not None:
            self._write(vars(record) | {"duration_s": round(record.duration_s, 3)})

    def _write(self, line: dict[str, object]) -> None:
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")


def read_records(folder: Path) -> list[TestRecord]:
    """All tests that began, in the order in which they did."""
    found: dict[str, TestRecord] = {}
    for said in _lines(folder / RECORDS_NAME):
        if "id" not in said:
            continue
        record = found.setdefault(said["id"], TestRecord(said["id"]))
        if "outcome" in said:
            record.__dict__.update(said)
    return list(found.values())


def was_interrupted(folder: Path) -> bool:
    """Whether somebody has stopped it."""
    return any("interrupted" in said for said in _lines(folder / RECORDS_NAME))


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return
    for line in text.splitlines(keepends=True):
        if line.endswith("\n"):  # the last one may have been cut off
            yield json.loads(line)
