"""Run once: hosts up, everything deployed, pytest, evidence, everything down, and a report, whatever happens on the way."""

from __future__ import annotations

import hashlib
import importlib.metadata
import platform
import shlex
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

import msgspec

from labtest.core.environment import Environment
from labtest.core.resolve import resolve
from labtest.errors import LabError
from labtest.hosts.ssh import ssh_run_folder
from labtest.live import LiveEnvironment
from labtest.spec import Sources, read_environment
from labtest.testing.evidence import collect
from labtest.testing.records import read_records, was_interrupted
from labtest.testing.report import JUNIT_NAME, HostEntry, Report, ReportFolder, utc
from labtest.testing.tests_process import Ended, run_pytest
from labtest.testing.wanted import Wanted

__all__ = ["ClosedLoop", "run_closed_loop"]

_FAILED, _USAGE, _CRASHED, _INTERRUPTED = 1, 2, 70, 130

#: pytest.ExitCode to how a run ended and its exit code (labtest.errors).
_ENDINGS = {
    0: ("passed", 0),
    1: ("failed", _FAILED),
    2: ("failed", _FAILED),  # not interrupted by a person: files of tests could not be imported
    4: ("wrong usage", _USAGE),
    5: ("no tests", _USAGE),
}


#: Of these some test is the cause.
_BAD = (1, 2)


@dataclass(frozen=True, kw_only=True)
class ClosedLoop:
    """What is to be run."""

    wanted: Wanted
    tests: tuple[str, ...]
    report: Path
    keep: bool = False
    pytest_arguments: tuple[str, ...] = ()


def run_closed_loop(loop: ClosedLoop, say: Callable[[str], None]) -> int:
    """Gives the exit code: 0 if all tests passed, 1 if some failed, else that of what went wrong (:mod:`labtest.errors`).

    ``say`` is told what goes on, for people.
    """
    began_s = time.time()
    wanted = loop.wanted
    environment = read_environment(wanted.spec, overlays=wanted.overlays, variables=dict(wanted.variables))
    report = _new_report(wanted, environment, began_s)
    folder = ReportFolder(loop.report)
    folder.begin(report)
    try:
        with _ended_by_signals():
            _run(loop, report, say)
    except KeyboardInterrupt:
        report.ending, report.exit_code = "interrupted", _INTERRUPTED
    except LabError as error:
        report.ending, report.exit_code = report.ending.replace("running", "crashed"), error.exit_code
        report.problem = f"{report.problem}\n{error}".strip()
        say(f"labtest: error: {error}")
    finally:
        report.add_tests(read_records(loop.report))
        report.ended_at, report.duration_s = utc(time.time()), round(time.time() - began_s, 3)
        folder.end(report)
    say(f"{report.ending}: {report.counts()}, in {report.duration_s:.1f} s; {loop.report / 'report.txt'}")
    assert report.exit_code is not None
    return report.exit_code


def _run(loop: ClosedLoop, report: Report, say: Callable[[str], None]) -> None:
    wanted = loop.wanted
    env = LiveEnvironment(wanted.spec, overlays=wanted.overlays, variables=dict(wanted.variables), fresh=True)
    try:
        _deploy(env, loop, report)
        say(f"{env.name}: {len(env.hosts)} hosts up, {len(env.processes)} processes deployed")
        env.lend()
        ended = run_pytest(_arguments(loop, env), said=say)
        with ssh_run_folder():
            pass  # making one removes those that a killed process has left
        _judge(ended, loop.report, report)
        _gather(env, loop, report)
    finally:
        _leave(env, loop, report, say)


def _deploy(env: LiveEnvironment, loop: ClosedLoop, report: Report) -> None:
    report.ending = "not deployed"
    env.open()
    report.hosts = tuple(
        HostEntry(name=host.name, kind=host.kind.value, address=host.address) for host in env.hosts.values()
    )
    try:
        env.deploy()
    except LabError:
        _gather(env, loop, report)
        raise
    report.ending = "running"


def _arguments(loop: ClosedLoop, env: LiveEnvironment) -> list[str]:
    """pytest's own, before those of the user, so that the user's win."""
    # With "=": before it knows the option, pytest takes a word of its own for a test, and looks for its ini file there.
    words = [f"--lab-spec={loop.wanted.spec}", *loop.wanted.options("--lab-")]
    words += [f"--lab-report={loop.report}", f"--junitxml={loop.report / JUNIT_NAME}"]
    words += [f"--lab-id={env.lab.id}"] if env.lab is not None else []
    words += ["--lab-keep"] if loop.keep else []
    return [*words, *loop.pytest_arguments, *loop.tests]


def _judge(ended: Ended, folder: Path, report: Report) -> None:
    if ended.was_interrupted or was_interrupted(folder):
        report.ending, report.exit_code = "interrupted", _INTERRUPTED
    elif ended.status in _BAD and not read_records(folder):
        report.ending, report.exit_code, report.problem = "crashed", _CRASHED, "pytest ended before it began"
    elif ended.status in _ENDINGS:
        report.ending, report.exit_code = _ENDINGS[ended.status]
    else:
        how = (
            f"was killed by {signal.Signals(-ended.status).name}" if ended.status < 0 else "failed in itself"
        )
        report.ending, report.exit_code = "crashed", _CRASHED
        report.problem = f"pytest {how}"


def _gather(env: LiveEnvironment, loop: ClosedLoop, report: Report) -> None:
    """Everything that was logged since the hosts are up."""
    evidence = collect(env, loop.report / "environment")
    report.files = tuple(f"environment/{name}" for name in evidence.files)


def _leave(env: LiveEnvironment, loop: ClosedLoop, report: Report, say: Callable[[str], None]) -> None:
    keep = loop.keep and report.ending in ("failed", "crashed", "interrupted") and env.is_open
    if keep:
        lab_id = env.lab.id if env.lab is not None else ""
        enter = shlex.join(["labshell", str(loop.wanted.spec), *loop.wanted.options()])
        report.kept = (f"left up: {enter}", *([f"remove it by  labtest down {lab_id}"] if lab_id else []))
        for line in report.kept:
            say(line)
    env.close(keep=keep)


def _new_report(wanted: Wanted, environment: Environment, began_s: float) -> Report:
    target = resolve(environment, Sources(wanted.spec.parent)).target
    return Report(
        spec=str(wanted.spec),
        environment=environment.name,
        digest=hashlib.sha256(msgspec.json.encode(target, order="deterministic")).hexdigest(),
        overlays=wanted.overlays,
        variables=dict(wanted.variables),
        versions=_versions(),
        releases={release.name: release.version for host in target.hosts for release in host.releases},
        began_at=utc(began_s),
    )


def _versions() -> dict[str, str]:
    try:
        versions = {name: importlib.metadata.version(name) for name in ("aviary", "pytest")}
    except importlib.metadata.PackageNotFoundError as error:
        raise LabError(
            f"tests are run by pytest, and {error.name} is not installed here: pip install {error.name}"
        ) from None
    versions |= {"python": platform.python_version(), "kernel": platform.release()}
    try:
        said = subprocess.run(["systemctl", "--version"], capture_output=True, text=True, check=False).stdout
        versions["systemd"] = said.split()[1]
    except (OSError, IndexError):
        pass  # a machine without it can test hosts that are elsewhere
    return versions


@contextmanager
def _ended_by_signals() -> Iterator[None]:
    """SIGTERM and SIGHUP end a run in order, as Ctrl-C does."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = {number: signal.signal(number, interrupt) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
