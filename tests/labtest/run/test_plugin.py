"""The fixture ``lab`` in a real pytest: which environment it is, what tests find there, and what a failure leaves."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.labtest.namespaces.support import need_labs
from tests.labtest.run.small_environment import write_spec
from tests.labtest.run.support import Workplace, workplace

from labtest.namespaces import Lab, find

_BAD_SPEC = "name = 1\n"


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Workplace]:
    """A folder with the spec ``small.toml``. Nothing is left of what was started there."""
    need_labs()
    name = f"plugin-{os.getpid()}"
    write_spec(tmp_path, name)
    with workplace(tmp_path, name) as made:
        yield made
        assert made.left() == []


@pytest.fixture
def plain(tmp_path: Path) -> Iterator[Workplace]:
    """A folder for tests that boot nothing."""
    with workplace(tmp_path, "none") as made:
        yield made


def outcomes(done: subprocess.CompletedProcess[str]) -> dict[str, str]:
    """Test to outcome, as ``pytest -rA`` tells it."""
    found = re.findall(r"^(PASSED|FAILED|ERROR|SKIPPED) \S*?::(\S+)", done.stdout, re.MULTILINE)
    return {name: outcome for outcome, name in found}


# ---------------------------------------------------------------- which environment


def test_loading_the_plugin_needs_nothing_but_pytest(plain: Workplace) -> None:
    code = "import sys, labtest.plugin; print({'trio', 'msgspec', 'jinja2', 'click', 'labtest.live'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
    plain.write("test_other.py", "import sys\ndef test_it(): assert 'trio' not in sys.modules\n")
    assert outcomes(plain.pytest("-rA")) == {"test_it": "PASSED"}


def test_a_spec_comes_from_the_mark_then_the_option_then_the_ini_file(plain: Workplace) -> None:
    for name in ("ini", "option", "module", "function"):
        plain.write(f"{name}.toml", _BAD_SPEC)
    plain.write("pytest.ini", "[pytest]\nlab_spec = ini.toml\n")
    plain.write("test_plain.py", "def test_it(lab): pass\n")
    plain.write(
        "deep/test_marked.py",
        "import pytest\npytestmark = pytest.mark.lab('../module.toml')\n"
        "@pytest.mark.lab('../function.toml')\ndef test_function(lab): pass\n"
        "class TestClass:\n    def test_module(self, lab): pass\n"
        "@pytest.fixture\ndef through(lab): pass\n"
        "def test_through(through): pass\n",
    )
    by_ini = plain.pytest("test_plain.py", "--tb=short")
    assert f"{plain.folder}/ini.toml:1: name" in by_ini.stdout
    by_option = plain.pytest("test_plain.py", "--lab-spec", "option.toml")
    assert f"{plain.folder}/option.toml:1: name" in by_option.stdout
    assert "ini.toml:" not in by_option.stdout
    by_mark = plain.pytest("deep", "--lab-spec", "option.toml", "-rA")
    assert set(outcomes(by_mark).values()) == {"ERROR"}
    told = re.findall(r"^E? *\S*/(\w+)\.toml:1: name", by_mark.stdout, re.MULTILINE)
    assert sorted(set(told)) == ["function", "module"]
    assert "Traceback" not in by_mark.stdout
    assert "labtest/spec" not in by_mark.stdout  # no trace of how it was read


def test_no_spec_is_a_usage_error_that_says_how(plain: Workplace) -> None:
    plain.write("test_it.py", "def test_it(lab): pass\n")
    done = plain.pytest()
    assert done.returncode == pytest.ExitCode.USAGE_ERROR
    assert "test_it.py::test_it uses the fixture lab. which environment? Say it by" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["--lab-spec", "nothing.toml"], "--lab-spec: there is no file"),
        (["--lab-set", "a=1"], "--lab-set is about the spec of --lab-spec, which is not given"),
        (["--lab-spec", "it.toml", "--lab-set", "a"], "--lab-set a: NAME=VALUE is meant"),
    ],
)
def test_wrong_options_are_usage_errors(plain: Workplace, arguments: list[str], problem: str) -> None:
    plain.write("it.toml", _BAD_SPEC)
    done = plain.pytest(*arguments)
    assert done.returncode == pytest.ExitCode.USAGE_ERROR
    assert problem in done.stderr


@pytest.mark.parametrize(
    ("mark", "problem"),
    [
        ("'nothing.toml'", "there is no file"),
        ("'it.toml', overlay=['x']", "has no 'overlay'; it has a spec, overlays, per_test, variables"),
        ("'it.toml', overlays='x'", "overlays is a list of names"),
        ("'it.toml', 'that.toml'", "takes one spec, a path"),
    ],
)
def test_a_wrong_mark_is_told_by_the_test_that_has_it(plain: Workplace, mark: str, problem: str) -> None:
    plain.write("it.toml", _BAD_SPEC)
    plain.write(
        "test_it.py",
        f"import pytest\n@pytest.mark.lab({mark})\ndef test_it(lab): pass\ndef test_other(): pass\n",
    )
    done = plain.pytest("-rA")
    assert outcomes(done) == {"test_it": "ERROR", "test_other": "PASSED"}
    assert problem in done.stdout


def test_a_fixture_of_the_same_name_is_left_alone(plain: Workplace) -> None:
    plain.write(
        "test_own.py",
        "import pytest\n@pytest.fixture\ndef lab(request): return 'mine'\n"
        "def test_own(lab): assert lab == 'mine'\n"
        "@pytest.mark.parametrize('lab', ['x', 'y'])\ndef test_given(lab): assert lab in 'xy'\n",
    )
    done = plain.pytest("-q")
    assert done.returncode == 0, done.stdout


# ---------------------------------------------------------------- what tests find


_SHARING = """
import pytest
pytestmark = pytest.mark.lab("small.toml")
labs, last = [], []

def page(lab):
    return lab.hosts["b"].run(["curl", "--silent", "--max-time", "5", "http://a:8080/page"]).stdout

def test_changes(lab):
    labs.append(lab.lab.id)
    lab.set("greeting", "bye")
    lab.apply()
    assert page(lab) == "bye from a\\n"
    lab.hosts["a"].partition()
    lab.hosts["b"].run(["systemctl", "stop", "clock"], check=True)

def test_finds_all_as_the_spec_says(lab):
    assert labs == [lab.lab.id]
    assert page(lab) == "hello from a\\n"
    assert lab.process("clock").state().active == "active"
    assert lab.process("clock").logs() == []  # only what this test has caused

def test_fails(lab):
    lab.hosts["b"].partition()
    lab.process("web@a").kill("STOP")
    lab.process("web@a").kill("KILL")
    assert not "as wanted"

def test_goes_on(lab):
    assert labs == [lab.lab.id]
    assert page(lab) == "hello from a\\n"

def test_breaks(lab):
    # Nothing that runs on a host could undo this.
    lab.hosts["a"].run(["chattr", "+i", "/srv/page"])
    lab.hosts["a"].run(["sh", "-c", "mount -t tmpfs -o ro none /srv"], check=True)

def test_gets_another(lab):
    last.append(lab)
    assert page(lab) == "hello from a\\n"

@pytest.mark.lab(overlays=["loud"], variables={"port": 8081})
def test_of_a_variant(lab):
    assert lab.hosts["b"].run(["curl", "--silent", "http://a:8081/page"]).stdout == "HELLO from a\\n"
    assert lab is not last[0]
"""


def test_tests_share_an_environment_and_find_it_as_the_spec_says(place: Workplace) -> None:
    place.write("test_sharing.py", _SHARING)
    done = place.pytest("-rA", "--lab-report", "report")
    found = outcomes(done)
    assert found.pop("test_fails") == "FAILED"
    assert set(found.values()) == {"PASSED"}, done.stdout
    assert len(found) == 6
    assert "small.toml: made anew, since it could not be brought back" in done.stdout
    _check_report_of_failure(place, done.stdout)


def _check_report_of_failure(place: Workplace, stdout: str) -> None:
    """In the terminal: who is not well, and the end of its journal; in files: all of it."""
    assert re.search(r"^web@a +\S+ \(\S+\), .*\(web\.service\)$", stdout, re.MULTILINE)
    assert "no answer, so nothing is done there: b" in stdout
    assert "code=killed, status=9/KILL" in stdout
    folder = place.folder / "report" / "test_sharing.py_test_fails"
    assert "status=9/KILL" in (folder / "journal/a/web.service.log").read_text()
    assert (folder / "journal/b/clock.service.log").exists()
    status = (folder / "status.txt").read_text()
    assert "host b does not answer: cut off" in status
    assert re.search(r"web@b +active", status)  # asked past its network
    assert [one.name for one in folder.parent.iterdir() if one.is_dir()] == [folder.name]


def test_an_environment_for_one_test_alone_and_one_that_is_up_already(place: Workplace) -> None:
    place.write(
        "test_alone.py",
        "import pytest\nlabs = []\n"
        "@pytest.mark.lab(per_test=True)\n@pytest.mark.parametrize('number', [1, 2])\n"
        "def test_alone(lab, number):\n    labs.append(lab.lab)\n    assert lab.lab.state().maker_pid\n"
        "def test_shared(lab):\n    assert all(one is not lab.lab for one in labs)\n    print('shared', lab.lab.id)\n",
    )
    with Lab(place.name, ["a", "b"]) as lab:
        lab.detach()
        done = place.pytest("-rA", "--lab-spec", "small.toml")
        assert outcomes(done) == {
            "test_alone[1]": "PASSED",
            "test_alone[2]": "PASSED",
            "test_shared": "PASSED",
        }, done.stdout
        assert f"shared {lab.id}" in done.stdout
        assert place.lab_ids() == [lab.id]


def test_what_cannot_be_deployed_is_told_once_and_not_tried_again(place: Workplace) -> None:
    place.write(
        "clock.service.j2", "[Service]\nType=oneshot\nExecStart=sh -c 'echo the clock is broken; exit 3'\n"
    )
    place.write("test_it.py", "def test_one(lab): pass\ndef test_two(lab): pass\n")
    done = place.pytest("-rA", "--lab-spec", "small.toml", "--lab-report", "report", "--durations=0", "-vv")
    assert outcomes(done) == {"test_one": "ERROR", "test_two": "ERROR"}
    assert "the clock is broken" in done.stdout
    log = (
        place.folder
        / "report"
        / next(one for one in os.listdir(place.folder / "report") if "not_deployed" in one)
    )
    assert "the clock is broken" in (log / "journal/b/clock.service.log").read_text()
    second = re.search(r"([\d.]+)s setup +\S*::test_two", done.stdout)
    assert second is not None
    assert float(second[1]) < 0.5


def test_a_failed_test_s_environment_can_be_kept(place: Workplace) -> None:
    place.write(
        "test_it.py",
        "def test_fails(lab):\n    lab.set('greeting', 'bye')\n    lab.apply()\n    lab.hosts['b'].freeze()\n    assert 0\n"
        "def test_goes_on(lab):\n    assert lab.tool('page').stdout == 'hello from b\\n'\n",
    )
    done = place.pytest("-rA", "--lab-spec", "small.toml", "--lab-keep", "--lab-set", "port=8088")
    assert outcomes(done) == {"test_fails": "FAILED", "test_goes_on": "PASSED"}, done.stdout
    lab = find(place.name)  # one, so that of the test after it is gone
    assert lab.state().is_detached
    kept = re.findall(r"^kept as the failed test left it: (.*)$", done.stdout, re.MULTILINE)
    assert kept == [f"labshell {place.folder}/small.toml --set=port=8088"]
    assert f"labtest down {lab.id}" in done.stdout
    assert lab.hosts["a"].run(["cat", "/srv/page"]).stdout == "bye from a\n"
    lab.down()
