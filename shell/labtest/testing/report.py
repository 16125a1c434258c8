"""The report of one closed loop: ``report.json`` for programs, ``report.txt`` for people, and ``junit.xml`` where pytest could not write it."""

from __future__ import annotations

import datetime
import shutil
import xml.etree.ElementTree as ElementTree
from collections import Counter
from pathlib import Path

import msgspec

from labtest.errors import LabError
from labtest.testing.records import RECORDS_NAME, TestRecord

__all__ = ["JUNIT_NAME", "HostEntry", "Report", "ReportFolder", "TestEntry", "utc"]

JUNIT_NAME = "junit.xml"
_JSON_NAME, _TEXT_NAME = "report.json", "report.txt"
#: Of a failed test's message, in report.txt.
_MESSAGE_LINES = 12


class HostEntry(msgspec.Struct, frozen=True, kw_only=True):
    """A host as it was tested on."""

    name: str
    kind: str
    address: str


class TestEntry(msgspec.Struct, frozen=True, kw_only=True):
    """A test. ``files`` are relative to the report's folder."""

    __test__ = False  # pytest takes classes of this name for tests

    id: str
    outcome: str
    duration_s: float
    files: tuple[str, ...] = ()
    message: str = ""


class Report(msgspec.Struct, kw_only=True):
    """One run. Times are UTC, ISO 8601."""

    format: int = 1
    spec: str
    environment: str = ""
    #: sha256 of all that shall be on all hosts, rendered with their names for addresses: equal ones tested the same.
    digest: str = ""
    overlays: tuple[str, ...] = ()
    variables: dict[str, str] = {}
    hosts: tuple[HostEntry, ...] = ()
    #: Of what took part: aviary, python, pytest, and the machine's systemd and kernel.
    versions: dict[str, str] = {}
    #: Release to version.
    releases: dict[str, str] = {}
    began_at: str = ""
    ended_at: str = ""
    duration_s: float = 0.0
    #: ``passed``, ``failed``, ``no tests``, ``interrupted``, ``not deployed``, ``wrong usage``, ``crashed``; ``running`` if it was killed.
    ending: str = "running"
    exit_code: int | None = None
    #: Why, where that is not told by the tests.
    problem: str = ""
    tests: tuple[TestEntry, ...] = ()
    #: Of the whole run, relative to the report's folder.
    files: tuple[str, ...] = ()
    #: How to get into what was left up; empty: nothing was.
    kept: tuple[str, ...] = ()

    def add_tests(self, records: list[TestRecord]) -> None:
        """Takes over what the tests' process has written down."""
        self.tests = tuple(
            TestEntry(
                id=one.id,
                outcome=one.outcome,
                duration_s=one.duration_s,
                files=tuple(one.files),
                message=one.message,
            )
            for one in records
        )

    def counts(self) -> str:
        """``2 passed, 1 failed``."""
        found = Counter(test.outcome for test in self.tests)
        return ", ".join(f"{number} {outcome}" for outcome, number in found.items()) or "no test ran"


class ReportFolder:
    """Where a report is. A folder with something else in it is not touched."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def begin(self, report: Report) -> None:
        """Empties it of the report before, and writes that a run has begun. Raises LabError."""
        if self.path.exists() and not self.path.is_dir():
            raise LabError(f"{self.path} is not a folder: choose another one for the report")
        if self.path.is_dir() and any(self.path.iterdir()):
            if not (self.path / _JSON_NAME).is_file():
                raise LabError(
                    f"{self.path} is not empty, and holds no report of before: choose another folder"
                )
            for one in self.path.iterdir():
                shutil.rmtree(one) if one.is_dir() and not one.is_symlink() else one.unlink()
        self.path.mkdir(parents=True, exist_ok=True)
        self._write_json(report)

    def end(self, report: Report) -> None:
        """Writes all of it."""
        if report.tests and not (self.path / JUNIT_NAME).exists():
            _write_junit(report, self.path / JUNIT_NAME)
        present = [name for name in (JUNIT_NAME, RECORDS_NAME) if (self.path / name).exists()]
        report.files = (*report.files, *present)
        self._write_json(report)
        (self.path / _TEXT_NAME).write_text("\n".join(_lines(report)) + "\n", encoding="utf-8")

    def _write_json(self, report: Report) -> None:
        new = self.path / f"{_JSON_NAME}.new"
        new.write_bytes(msgspec.json.format(msgspec.json.encode(report), indent=2) + b"\n")
        new.rename(self.path / _JSON_NAME)


def utc(at_s: float) -> str:
    """Seconds since the epoch as ISO 8601, e.g. ``2026-01-31T09:30:00.123Z``."""
    at = datetime.datetime.fromtimestamp(at_s, datetime.UTC)
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _lines(report: Report) -> list[str]:
    hosts = ", ".join(f"{host.name} ({host.kind}, {host.address})" for host in report.hosts)
    overlays = f" with {', '.join(report.overlays)}" if report.overlays else ""
    lines = [
        f"{report.ending}: {report.counts()}, in {report.duration_s:.1f} s",
        f"spec       {report.spec}{overlays}",
        *(f"           {name} = {value}" for name, value in report.variables.items()),
        f"digest     {report.digest}",
        f"hosts      {hosts}",
        f"releases   {', '.join(f'{name} {version}' for name, version in report.releases.items()) or 'none'}",
        f"versions   {', '.join(f'{name} {version}' for name, version in report.versions.items())}",
        f"began      {report.began_at}",
        f"ended      {report.ended_at}",
    ]
    if report.problem:
        lines += ["", report.problem]
    if report.kept:
        lines += ["", *report.kept]
    width = max((len(test.outcome) for test in report.tests), default=0)
    lines += ["", *(f"{test.outcome:<{width}}  {test.duration_s:7.2f} s  {test.id}" for test in report.tests)]
    for test in report.tests:
        if test.outcome in ("failed", "error", "running"):
            lines += ["", f"--- {test.id}", *test.message.strip().splitlines()[-_MESSAGE_LINES:]]
            lines += [f"    {name}" for name in test.files]
    return lines


def _write_junit(report: Report, path: Path) -> None:
    """The tests' process has not come to write it: what its records say."""
    bad = [test for test in report.tests if test.outcome in ("failed", "error", "running")]
    suite = ElementTree.Element(
        "testsuite",
        name="labtest",
        tests=str(len(report.tests)),
        errors=str(len(bad)),
        time=str(report.duration_s),
    )
    for test in report.tests:
        file, _, name = test.id.partition("::")
        case = ElementTree.SubElement(suite, "testcase", classname=file, name=name, time=str(test.duration_s))
        if test in bad:
            message = test.message or "the tests' process ended while this test ran"
            ElementTree.SubElement(case, "error", message=message.splitlines()[-1]).text = message
        elif test.outcome == "skipped":
            ElementTree.SubElement(case, "skipped")
    root = ElementTree.Element("testsuites")
    root.append(suite)
    ElementTree.ElementTree(root).write(path, encoding="utf-8", xml_declaration=True)
