"""``labtest run``: up, deployed, tested, collected, down, and a report, also when something ends it in the middle."""

from __future__ import annotations

import json
import os
import signal
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.labtest.namespaces.support import need_labs
from tests.labtest.run.small_environment import write_spec
from tests.labtest.run.support import Workplace, left_of_lab, until, workplace

from labtest.namespaces import find


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Workplace]:
    """A folder with the spec ``small.toml``. Nothing is left of what was started there."""
    need_labs()
    name = f"loop-{os.getpid()}"
    write_spec(tmp_path, name)
    with workplace(tmp_path, name) as made:
        yield made
        assert made.left() == []


def report_of(place: Workplace, folder: str = "lab-report") -> dict[str, Any]:
    """``report.json``."""
    found = json.loads((place.folder / folder / "report.json").read_text())
    assert isinstance(found, dict)
    return found


def cases(place: Workplace, folder: str = "lab-report") -> dict[str, list[str]]:
    """Tests of ``junit.xml``, with the names of what is in them but properties."""
    tree = ElementTree.parse(place.folder / folder / "junit.xml")
    return {
        str(case.get("name")): [one.tag for one in case if one.tag != "properties"]
        for case in tree.iter("testcase")
    }


def test_a_run_tells_all_of_it_and_leaves_nothing(place: Workplace) -> None:
    place.write(
        "test_it.py",
        "import pytest\n"
        "def test_passes(lab):\n    assert lab.tool('page').stdout == 'HELLO from b\\n'\n"
        "def test_fails(lab):\n    lab.process('web@b').kill()\n    assert 0, 'as it must'\n"
        "@pytest.mark.skip\ndef test_skipped(lab): pass\n"
        "def test_not_chosen(lab): pass\n",
    )
    arguments = ("small.toml", "test_it.py", "--overlay", "loud", "--set", "port=8090", "--report", "out")
    done = place.labtest(
        "run", *arguments, "--", "-k", "not chosen or passes or fails or skipped", "-p", "no:cacheprovider"
    )
    assert done.returncode == 1, done.stderr
    assert done.stderr.splitlines()[-1].startswith("failed: 1 passed, 1 failed, 1 skipped, in ")
    report = report_of(place, "out")
    assert (report["ending"], report["exit_code"], report["environment"]) == ("failed", 1, place.name)
    assert (report["overlays"], report["variables"]) == (["loud"], {"port": "8090"})
    assert [(host["name"], host["kind"]) for host in report["hosts"]] == [
        ("a", "namespace"),
        ("b", "namespace"),
    ]
    assert {"aviary", "pytest", "python", "kernel", "systemd"} == set(report["versions"])
    assert len(report["digest"]) == 64
    assert report["began_at"] < report["ended_at"]
    tests = {test["id"].partition("::")[2]: test for test in report["tests"]}
    assert {name: test["outcome"] for name, test in tests.items()} == {
        "test_passes": "passed",
        "test_fails": "failed",
        "test_skipped": "skipped",
    }
    assert "as it must" in tests["test_fails"]["message"]
    files = [place.folder / "out" / name for name in (*tests["test_fails"]["files"], *report["files"])]
    assert all(path.is_file() for path in files)
    own_log = next(path for path in files if path.parts[-3:] == ("journal", "b", "web.service.log"))
    assert "status=9/KILL" in own_log.read_text()
    assert (
        "the clock says HELLO" in (place.folder / "out/environment/journal/b/clock.service.log").read_text()
    )
    assert cases(place, "out") == {"test_passes": [], "test_fails": ["failure"], "test_skipped": ["skipped"]}
    text = (place.folder / "out/report.txt").read_text()
    assert text.startswith("failed: 1 passed, 1 failed, 1 skipped")
    assert "port = 8090" in text
    assert "assert 0" in text


def test_all_passed_is_0_and_the_report_of_before_goes(place: Workplace) -> None:
    place.write("test_it.py", "def test_it(lab):\n    print(lab.lab.id)\n")
    place.write("lab-report/report.json", "{}")
    place.write("lab-report/old/journal.log", "old")
    place.environment["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = ""  # as it is for everybody
    done = place.labtest("run", "small.toml", "test_it.py", "--", "-s", "-W", "error")
    assert done.returncode == 0, done.stderr
    assert report_of(place)["ending"] == "passed"
    assert not (place.folder / "lab-report/old").exists()


def test_the_ini_file_is_that_of_the_tests_and_a_file_that_cannot_be_imported_has_failed(
    place: Workplace,
) -> None:
    place.write("elsewhere/test_it.py", "import nothing_of_this_name\n")
    place.write("elsewhere/pytest.ini", "[pytest]\naddopts = --import-mode=importlib\n")
    place.write("pytest.ini", "[pytest]\naddopts = --no-such-option\n")
    done = place.labtest("run", "small.toml", "elsewhere/test_it.py")
    assert done.returncode == 1, done.stderr
    report = report_of(place)
    assert report["ending"] == "failed"
    assert [test["outcome"] for test in report["tests"]] == ["error"]
    assert "nothing_of_this_name" in report["tests"][0]["message"]


def test_a_folder_with_something_else_in_it_is_not_touched(place: Workplace) -> None:
    mine = place.write("lab-report/thesis.txt", "years of work")
    done = place.labtest("run", "small.toml")
    assert done.returncode == 1
    assert "is not empty, and holds no report of before: choose another folder" in done.stderr
    assert mine.read_text() == "years of work"


def test_what_cannot_be_deployed_is_no_test_failure(place: Workplace) -> None:
    place.write(
        "clock.service.j2", "[Service]\nType=oneshot\nExecStart=sh -c 'echo the clock is broken; exit 3'\n"
    )
    place.write("test_it.py", "def test_it(lab): pass\n")
    done = place.labtest("run", "small.toml", "test_it.py")
    assert done.returncode == 1
    report = report_of(place)
    assert (report["ending"], report["tests"]) == ("not deployed", [])
    assert "the clock is broken" in report["problem"]
    assert (
        "the clock is broken"
        in (place.folder / "lab-report/environment/journal/b/clock.service.log").read_text()
    )
    assert "the clock is broken" in (place.folder / "lab-report/report.txt").read_text()


@pytest.mark.parametrize(
    ("arguments", "exit_code", "told"),
    [
        (("small.toml", "--set", "port=x"), 2, "variable 'port': it must be a whole number"),
        (("small.toml", "--overlay", "lout"), 2, "there is no overlay 'lout'; did you mean 'loud'?"),
        (("small.toml", "--set", "port"), 2, "--set port: NAME=VALUE is meant"),
        (("nothing.toml",), 2, "nothing.toml"),
    ],
)
def test_wrong_usage_boots_nothing(
    place: Workplace, arguments: tuple[str, ...], exit_code: int, told: str
) -> None:
    done = place.labtest("run", *arguments)
    assert done.returncode == exit_code
    assert told in done.stderr
    assert "Traceback" not in done.stderr
    assert not (place.folder / "lab-report").exists()


def test_no_tests_is_wrong_usage_and_a_crash_is_told_as_such(place: Workplace) -> None:
    place.write("test_none.py", "")
    assert place.labtest("run", "small.toml", "test_none.py").returncode == 2
    assert report_of(place)["ending"] == "no tests"
    place.write(
        "test_crash.py",
        "import os, signal\ndef test_passes(lab): pass\ndef test_crashes(lab):\n"
        "    lab.hosts['a'].freeze()\n    os.kill(os.getpid(), signal.SIGKILL)\n",
    )
    done = place.labtest("run", "small.toml", "test_crash.py")
    assert done.returncode == 70
    report = report_of(place)
    assert (report["ending"], report["problem"]) == ("crashed", "pytest was killed by SIGKILL")
    assert [test["outcome"] for test in report["tests"]] == ["passed", "running"]
    assert cases(place) == {"test_passes": [], "test_crashes": ["error"]}
    assert (
        "host a does not answer: frozen" in (place.folder / "lab-report/environment/status.txt").read_text()
    )


def _hanging(place: Workplace) -> tuple[Any, str]:
    """`labtest run` with a test that hangs by now, and the id of its lab."""
    place.write(
        "test_it.py",
        "import pathlib, time\ndef test_hangs(lab):\n"
        "    pathlib.Path('hangs').write_text(lab.lab.id)\n    lab.hosts['a'].partition()\n    time.sleep(600)\n",
    )
    process = place.start_labtest("run", "small.toml", "test_it.py")
    mark = place.folder / "hangs"
    until(lambda: process.poll() is not None or (mark.exists() and mark.read_text()), "a test that hangs")
    assert process.poll() is None, process.stdout.read() if process.stdout else ""
    return process, mark.read_text()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_ends_in_order(place: Workplace, number: signal.Signals) -> None:
    process, lab_id = _hanging(place)
    process.send_signal(number)
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 130, said
    assert left_of_lab(lab_id) == []
    report = report_of(place)
    assert (report["ending"], report["exit_code"]) == ("interrupted", 130)
    assert [test["outcome"] for test in report["tests"]] != ["passed"]
    assert place.processes() == []


def test_a_killed_run_leaves_nothing_after_the_next(place: Workplace) -> None:
    process, lab_id = _hanging(place)
    process.kill()
    process.communicate(timeout=60)
    until(lambda: not place.processes(), "an end of what it had started")
    place.write("test_it.py", "def test_it(lab): pass\n")
    done = place.labtest("run", "small.toml", "test_it.py")
    assert done.returncode == 0, done.stderr
    assert left_of_lab(lab_id) == []


def test_a_failed_run_can_be_kept(place: Workplace) -> None:
    place.write(
        "test_it.py",
        "def test_fails(lab):\n    lab.hosts['a'].run(['touch', '/srv/left'], check=True)\n    assert 0\n"
        "def test_goes_on(lab):\n    assert lab.hosts['a'].run(['ls', '/srv/left']).status\n",
    )
    done = place.labtest("run", "small.toml", "test_it.py", "--keep")
    assert done.returncode == 1
    lab = find(place.name)
    try:
        assert [test["outcome"] for test in report_of(place)["tests"]] == ["failed", "passed"]
        assert lab.hosts["a"].run(["ls", "/srv/left"]).returncode == 0
        kept = report_of(place)["kept"]
        assert kept == [
            f"left up: labshell {place.folder}/small.toml",
            f"remove it by  labtest down {lab.id}",
        ]
        assert kept[0] in done.stderr
    finally:
        lab.down()
