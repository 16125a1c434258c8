"""Nothing of a lab stays on this machine: after success, failure, Ctrl-C, and the sudden death of its maker."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.labtest.namespaces.support import can_connect, left_of, need_labs, read_or, until

from labtest.namespaces import (
    BootFailed,
    Lab,
    LabNotFound,
    LabOptions,
    LabsNotPossible,
    all_labs,
    clean_up,
    find,
    status_of,
)
from labtest.namespaces.limits import HOST_NAME_LENGTH_MAX, HOSTS_MAX
from labtest.namespaces.state import BASE

_MAKER = """
import sys, time
from labtest.namespaces import Lab
lab = Lab(sys.argv[1], ["a", "b"])
lab.up()
print(lab.id, flush=True)
{then}
"""


@pytest.fixture(autouse=True)
def _labs() -> None:
    need_labs()


def own_name(what: str) -> str:
    """A name that no test in another process has."""
    return f"{what}-{os.getpid()}"


@contextmanager
def maker(name: str, then: str) -> Iterator[subprocess.Popen[str]]:
    """Another process that makes a lab, and says its id."""
    process = subprocess.Popen(
        [sys.executable, "-c", _MAKER.format(then=then), name],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    with process:
        try:
            yield process
        finally:
            process.kill()


def said(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def children_of(pid: int) -> list[int]:
    return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def settings_of_the_kernel() -> dict[str, str]:
    """All sysctls that can be read, but for those of network devices, which come and go."""
    found = {}
    for path in Path("/proc/sys").rglob("*"):
        if (
            path.is_file()
            and path.parts[3:6] not in (("net", "ipv4", "conf"), ("net", "ipv6", "conf"))
            and "neigh" not in path.parts
        ):
            try:
                found[str(path)] = path.read_text()
            except (OSError, UnicodeDecodeError):
                pass
    return found


def test_a_lab_leaves_nothing_and_changes_nothing() -> None:
    first = settings_of_the_kernel()
    steady = {path: value for path, value in settings_of_the_kernel().items() if first.get(path) == value}
    assert len(steady) > 300
    with tempfile.NamedTemporaryFile(dir="/tmp", prefix="lab-marker-") as marker:
        with Lab(own_name("life"), ["a", "b"]) as lab:
            lab_id = lab.id
            lab.delay("a", 1)
            lab.fill_disk("b")
            lab.freeze("b")
            lab.power_cut("a")
            lab.boot("a")
            assert left_of(lab_id)  # the helper sees what is there
        assert Path(marker.name).exists()
    assert left_of(lab_id) == []
    after = settings_of_the_kernel()
    # Counters that happened to stand still while they were read twice.
    counters = (
        "/proc/sys/fs/",
        "/proc/sys/kernel/ns_last_pid",
        "/proc/sys/kernel/pty/nr",
        "/proc/sys/kernel/random/",
    )
    changed = {path for path, value in steady.items() if after.get(path) != value}
    assert {
        path
        for path in changed
        if not (path.startswith(counters) and path.endswith(("nr", "state", "avail", "uuid", "last_pid")))
    } == set()


def test_an_error_in_the_middle_leaves_nothing() -> None:
    lab, ids = Lab(own_name("error"), ["a"]), []

    def fail_within() -> None:
        with lab:
            ids.append(lab.id)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail_within()
    assert left_of(ids[0]) == []
    with pytest.raises(LabNotFound, match="is not up"):
        _ = lab.ssh_config


def test_a_killed_maker_is_cleaned_up_after_at_once() -> None:
    with maker(own_name("killed"), "lab.delay('a', 5); print(); time.sleep(600)") as process:
        lab_id = said(process)
        said(process)
        process.kill()
        until(lambda: left_of(lab_id) == [], f"{lab_id} is removed")


def test_a_maker_killed_with_its_heir_is_cleaned_up_after_by_the_next() -> None:
    with maker(own_name("heirless"), "time.sleep(600)") as process:
        lab_id = said(process)
        assert lab_id not in clean_up()  # it is alive
        heirs = children_of(process.pid)
        assert len(heirs) == 1
        os.kill(heirs[0], signal.SIGKILL)
        process.kill()
        process.wait()
        assert left_of(lab_id) != []
        until(lambda: lab_id in clean_up(), "the maker's lock is free")
        assert left_of(lab_id) == []


@pytest.mark.parametrize("moment", ["registered", "switched on", "launching", "later"])
def test_ctrl_c_while_it_comes_up_leaves_nothing(moment: str) -> None:
    name = own_name("interrupted")
    with maker(name, "time.sleep(600)") as process:
        until(lambda: any(BASE.glob(f"{name}.*")), "the lab is registered")
        folder = next(BASE.glob(f"{name}.*"))
        sign = {
            "registered": lambda: True,
            "switched on": (folder / "switch").exists,
            "launching": (folder / "disks" / "b" / "upper" / "root").exists,
            "later": lambda: (
                '"pid":0' not in read_or(folder / "lab.json", '"pid":0') or process.poll() is not None
            ),
        }[moment]
        until(sign, moment)
        os.killpg(process.pid, signal.SIGINT)
        _, errors = process.communicate(timeout=60)
        assert errors.rstrip().endswith("KeyboardInterrupt")
        until(lambda: left_of(folder.name) == [], f"{folder.name} is removed")


def test_a_lab_that_is_left_up_outlives_its_maker() -> None:
    name = own_name("detached")
    with maker(name, "lab.detach()") as process:
        lab_id = said(process)
        assert process.wait(timeout=60) == 0
    assert lab_id not in clean_up()
    lab = find(name)
    try:
        assert lab.id == lab_id
        assert status_of(lab).is_detached
        assert lab.hosts["a"].run(["hostname"]).stdout == "a\n"
        lab.power_cut("a")
        find(lab_id).boot("a")
        assert can_connect(lab, "b", "a")
    finally:
        lab.down()
    assert left_of(lab_id) == []
    with pytest.raises(LabNotFound, match=f"lab {name} is not up"):
        find(name)


def test_labs_come_up_at_the_same_time_and_do_not_meet() -> None:
    name = own_name("twin")
    labs = [Lab(name, ["a", "b"]) for _ in range(3)]
    try:
        with ThreadPoolExecutor(len(labs)) as threads:
            list(threads.map(Lab.up, labs))
        assert len({lab.id for lab in labs}) == 3
        assert len({lab.machine_address for lab in labs}) == 3
        assert {lab.id for lab in labs} <= {lab.id for lab in all_labs()}
        with pytest.raises(LabNotFound, match="is up 3 times: choose one of"):
            find(name)
        away = labs[1].hosts["a"].address
        assert labs[0].hosts["a"].run(["ip", "route", "get", away]).returncode != 0
        labs[1].down()
        assert labs[0].hosts["a"].run(["true"]).returncode == 0
    finally:
        ids = [lab.id for lab in labs if lab.hosts]
        for lab in labs:
            lab.down()
    assert [left_of(lab_id) for lab_id in ids] == [[]] * len(ids)


def failing(files: dict[str, bytes], timeout_s: float) -> str:
    """What a lab says that does not come up; nothing of it is left."""
    name = own_name("failing")
    with pytest.raises(BootFailed) as raised:
        Lab(name, ["a", "b"], LabOptions(files=files)).up(timeout_s)
    assert not list(BASE.glob(f"{name}.*"))
    assert raised.value.host in ("a", "b")
    return str(raised.value)


def unit_of_multi_user(text: str) -> dict[str, bytes]:
    return {
        "/etc/systemd/system/odd.service": f"[Service]\nType=oneshot\n{text}\n".encode(),
        "/etc/systemd/system/multi-user.target.d/odd.conf": b"[Unit]\nWants=odd.service\n",
    }


def test_a_unit_that_fails_is_named_with_its_last_words() -> None:
    told = failing(unit_of_multi_user("ExecStart=sh -c 'echo out of luck; exit 3'"), 60)
    assert "failed: odd.service" in told
    assert "out of luck" in told
    assert "status=3" in told


def test_a_unit_that_never_ends_is_named() -> None:
    told = failing(unit_of_multi_user("ExecStart=sleep 1000"), 4)
    assert "not booted in time; still to do:" in told
    assert "odd.service" in told


def test_an_sshd_that_does_not_start_is_told_of() -> None:
    told = failing({"/etc/ssh/sshd_config": b"NoSuchOption yes\n"}, 60)
    assert "its sshd did not start" in told
    assert "failed: ssh.service" in told
    assert "NoSuchOption" in told


def test_a_disk_that_is_too_small_is_told_of() -> None:
    name = own_name("small")
    with pytest.raises(OSError, match="No space left"):
        Lab(name, ["a"], LabOptions(disk_bytes=16_384)).up()
    assert not list(BASE.glob(f"{name}.*"))


def test_without_root_it_says_so() -> None:
    program = "import os; from labtest.namespaces import Lab; os.seteuid(65534); Lab('x', ['a']).up()"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert "LabsNotPossible: booting hosts needs root" in done.stderr


def test_a_missing_program_is_named_with_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(LabsNotPossible, match=r"missing: .*nsenter.*apt-get install .*util-linux"):
        Lab("x", ["a"]).up()


@pytest.mark.parametrize("name", ["", "A", "-a", "a_b", "a.b", "a" * (HOST_NAME_LENGTH_MAX + 1)])
def test_names_that_no_host_can_have_are_refused(name: str) -> None:
    with pytest.raises(LabsNotPossible, match="is no name"):
        Lab("lab", ["fine", name])
    Lab("a" * HOST_NAME_LENGTH_MAX, ["b" * HOST_NAME_LENGTH_MAX])


def test_a_lab_has_a_number_of_hosts_with_a_limit() -> None:
    names = [f"h{number}" for number in range(HOSTS_MAX + 1)]
    Lab("lab", names[:-1])
    for hosts in (names, []):
        with pytest.raises(LabsNotPossible, match=f"a lab has 1 to {HOSTS_MAX} hosts"):
            Lab("lab", hosts)
    with pytest.raises(LabsNotPossible, match="named twice"):
        Lab("lab", ["a", "b", "a"])


def test_a_name_as_long_as_can_be_works() -> None:
    host = "h" * HOST_NAME_LENGTH_MAX
    with Lab("l" * HOST_NAME_LENGTH_MAX, [host]) as lab:
        lab.delay(host, 1)
        done = subprocess.run(
            [*lab.hosts[host].ssh_argv(), "hostname"], capture_output=True, text=True, check=False
        )
        assert done.stdout == f"{host}\n"
