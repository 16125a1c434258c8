"""Each fault, and its effect as another host sees it, and that it can be undone."""

from __future__ import annotations

import socket
import subprocess
import time
from collections.abc import Iterator

import pytest
from tests.labtest.namespaces.support import can_connect, need_labs, round_trip_ms, until

from labtest.errors import ActionFailed
from labtest.namespaces import FaultNotPossible, Lab, status_of


@pytest.fixture(scope="module")
def whole_lab() -> Iterator[Lab]:
    need_labs()
    with Lab("faults-test", ["a", "b", "c"]) as made:
        yield made


@pytest.fixture
def lab(whole_lab: Lab) -> Iterator[Lab]:
    yield whole_lab
    for host in whole_lab.hosts:
        whole_lab.clear(host)
        whole_lab.thaw(host)
        whole_lab.free_disk(host)
        whole_lab.free_shared_memory(host)
    assert [host.faults for host in status_of(whole_lab).hosts] == [()] * 3


def faults_of(lab: Lab, host: str) -> tuple[str, ...]:
    return next(each.faults for each in status_of(lab).hosts if each.name == host)


def machine_hears(lab: Lab, host: str) -> bool:
    """Whether the host's sshd says something to this machine."""
    try:
        with socket.create_connection((lab.hosts[host].address, 22), 1) as connection:
            connection.settimeout(1)
            return connection.recv(4) == b"SSH-"
    except TimeoutError:
        return False


def test_a_host_that_is_cut_off_is_heard_by_nobody(lab: Lab) -> None:
    lab.partition("b")
    assert not can_connect(lab, "a", "b")
    assert not can_connect(lab, "b", "c")
    assert not machine_hears(lab, "b")
    assert can_connect(lab, "a", "c")
    assert faults_of(lab, "b") == ("cut off",)
    lab.partition("b")  # again: no error
    lab.heal("b")
    until(lambda: can_connect(lab, "a", "b"), "b is reachable again")
    assert machine_hears(lab, "b")


def test_a_connection_survives_a_cut_that_is_short(lab: Lab) -> None:
    with subprocess.Popen(
        [*lab.hosts["a"].ssh_argv(), "cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        for word in (b"before\n", b"after\n"):
            process.stdin.write(word)
            process.stdin.flush()
            assert process.stdout.readline() == word
            lab.partition("a")
            lab.heal("a")
        process.stdin.close()
        assert process.wait(timeout=60) == 0


def test_two_hosts_are_cut_off_from_each_other_alone(lab: Lab) -> None:
    lab.partition_between("a", "c")
    assert not can_connect(lab, "a", "c")
    assert not can_connect(lab, "c", "a")
    assert can_connect(lab, "a", "b")
    assert can_connect(lab, "b", "c")
    assert machine_hears(lab, "a")
    assert machine_hears(lab, "c")
    lab.heal("c")  # the other end than the one that the fault was noted at
    assert can_connect(lab, "a", "c")
    with pytest.raises(FaultNotPossible, match="from itself"):
        lab.partition_between("a", "a")


def test_delay_lengthens_a_round_trip_by_twice_as_much(lab: Lab) -> None:
    lab.delay("b", 40)
    assert round_trip_ms(lab, "a", "b") >= 80
    assert faults_of(lab, "b") == ("delay 40 ms",)
    lab.delay("c", 20)
    assert round_trip_ms(lab, "b", "c") >= 120
    lab.delay("b", 0)
    until(lambda: round_trip_ms(lab, "a", "b") < 80, "the delay is gone")


def test_jitter_changes_the_delay_and_not_the_order(lab: Lab) -> None:
    lab.delay("b", 30, jitter_ms=20)
    assert round_trip_ms(lab, "a", "b") >= 20
    sent = "".join(f"{number}\n" for number in range(20_000))
    done = subprocess.run(
        [*lab.hosts["b"].ssh_argv(), "cat"],
        input=sent,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.stdout == sent


def test_loss_loses_some_and_not_all(lab: Lab) -> None:
    lab.loss("b", 30)
    receiver = lab.hosts["b"]
    count_arrivals = (
        "import socket; s = socket.socket(type=socket.SOCK_DGRAM); s.bind(('', 9999)); s.settimeout(2)\n"
        "print('bound', flush=True); n = 0\n"
        "try:\n    while s.recv(99): n += 1\n"
        "except TimeoutError: print(n)"
    )
    with subprocess.Popen(
        # sshd itself is past the bad cable, and TCP sends again what is lost.
        [*receiver.ssh_argv(), f'{lab.python} -c "{count_arrivals}"'],
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "bound\n"
        send = "import socket, time; s = socket.socket(type=socket.SOCK_DGRAM)\nfor _ in range(300): s.sendto(b'x', ('b', 9999)); time.sleep(.001)"
        lab.hosts["a"].run([lab.python, "-c", send], check=True)
        arrived = int(process.stdout.readline())
    assert 100 < arrived < 280  # 210 are expected; this far off by chance once in 10^20 runs
    assert lab.frames("b")["lost"] >= 300 - arrived
    lab.loss("b", 100)
    assert not can_connect(lab, "a", "b")


def test_rate_limits_what_comes_through(lab: Lab) -> None:
    lab.rate("c", 8)
    started = time.monotonic()
    subprocess.run(
        [*lab.hosts["c"].ssh_argv(), "cat > /dev/null"], input=bytes(1_500_000), check=True, timeout=60
    )
    assert time.monotonic() - started >= 1.4
    assert faults_of(lab, "c") == ("rate 8 Mbit/s",)


def test_faults_of_one_cable_add_up_and_go_together(lab: Lab) -> None:
    lab.delay("a", 20, jitter_ms=1)
    lab.loss("a", 5)
    lab.rate("a", 100)
    lab.partition_between("a", "b")
    lab.partition("a")
    assert faults_of(lab, "a") == ("cut off", "cut from b", "delay 20 ±1 ms", "loss 5 %", "rate 100 Mbit/s")
    lab.clear("a")
    assert faults_of(lab, "a") == ()
    assert can_connect(lab, "a", "b")
    assert lab.frames("a") == {}


@pytest.mark.parametrize(
    ("fault", "value"), [("delay", -1), ("delay", 60_001), ("loss", 100.5), ("loss", -1), ("rate", 1e6)]
)
def test_impossible_values_are_refused_and_change_nothing(lab: Lab, fault: str, value: float) -> None:
    with pytest.raises(FaultNotPossible, match="must be from 0 to"):
        getattr(lab, fault)("a", value)
    assert faults_of(lab, "a") == ()


def test_a_frozen_host_takes_connections_and_says_nothing(lab: Lab) -> None:
    lab.freeze("c")
    assert status_of(lab).hosts[2].state == "frozen"
    assert can_connect(lab, "a", "c")  # its kernel answers
    assert not machine_hears(lab, "c")
    lab.thaw("c")
    until(lambda: machine_hears(lab, "c"), "c goes on")


def test_full_shared_memory(lab: Lab) -> None:
    host = lab.hosts["a"]
    write = ["sh", "-c", "head -c 100000 /dev/zero > /dev/shm/some"]
    lab.fill_shared_memory("a")
    assert "No space left" in host.run(write).stderr
    assert lab.hosts["b"].run(write).returncode == 0
    assert faults_of(lab, "a") == ("/dev/shm full",)
    lab.free_shared_memory("a")
    host.run(write, check=True)


@pytest.mark.parametrize("path", ["/var/lib", "/tmp", "/run"])
def test_a_full_disk(lab: Lab, path: str) -> None:
    host = lab.hosts["b"]
    write = ["sh", "-c", f"head -c 100000 /dev/zero > {path}/some"]
    host.run(write, check=True)
    lab.fill_disk("b", path)
    lab.fill_disk("b", path)
    assert "No space left" in host.run(["sh", "-c", f"head -c 100000 /dev/zero > {path}/more"]).stderr
    assert host.run(["wc", "-c", f"{path}/some"]).stdout.startswith("100000 ")
    lab.free_disk("b", path)
    host.run(["sh", "-c", f"head -c 100000 /dev/zero > {path}/more"], check=True)


def test_what_is_not_the_hosts_own_cannot_be_filled(lab: Lab) -> None:
    with pytest.raises(FaultNotPossible, match="can be filled"):
        lab.fill_disk("a", "/proc")


def test_a_unit_is_killed(lab: Lab) -> None:
    host = lab.hosts["b"]
    host.run(["systemd-run", "--unit=victim", "sleep", "1000"], check=True)
    lab.kill("b", "victim.service", "SEGV")
    until(lambda: host.run(["systemctl", "is-failed", "victim"]).stdout == "failed\n", "the unit fails")
    assert "status=11/SEGV" in host.journal("victim.service")
    with pytest.raises(ActionFailed, match="nothing-here"):
        lab.kill("b", "nothing-here.service")
