"""Power cuts, and what comes back after them."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Iterator

import pytest
from tests.labtest.namespaces.support import can_connect, need_labs, round_trip_ms, until

from labtest.errors import ActionFailed
from labtest.namespaces import FaultNotPossible, Lab, status_of


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    need_labs()
    with Lab("power-test", ["a", "b"]) as made:
        yield made


def test_a_power_cut_keeps_the_disk_and_who_the_host_is(lab: Lab) -> None:
    host = lab.hosts["a"]
    who = [
        "sh",
        "-c",
        "cat /etc/machine-id /etc/hostname /etc/ssh/ssh_host_ed25519_key; cat /sys/class/net/eth0/address",
    ]
    before = host.run(who, check=True).stdout
    boot_id = host.run(["cat", "/proc/sys/kernel/random/boot_id"]).stdout
    host.run(
        ["sh", "-c", "for each in /var/lib /etc /run /tmp /dev/shm; do echo kept > $each/mark; done"],
        check=True,
    )
    lab.power_cut("a")
    assert host.pid == 0
    assert status_of(lab).hosts[0].state == "off"
    assert not can_connect(lab, "b", "a")
    with pytest.raises(ActionFailed, match="no power"):
        host.run(["true"])
    lab.boot("a")
    assert host.run(who, check=True).stdout == before
    found = host.run(["sh", "-c", "ls /var/lib/mark /etc/mark /run/mark /tmp/mark /dev/shm/mark"]).stdout
    assert found.split() == ["/etc/mark", "/var/lib/mark"]
    assert can_connect(lab, "b", "a")
    assert host.run(["cat", "/proc/sys/kernel/random/boot_id"]).stdout != boot_id
    done = subprocess.run(
        [*host.ssh_argv(), "hostname"], capture_output=True, text=True, check=False, timeout=60
    )
    assert (done.stdout, done.stderr) == ("a\n", "")


def test_the_journal_of_the_boot_before_can_be_read(lab: Lab) -> None:
    host = lab.hosts["b"]
    host.run(["systemd-run", "--wait", "echo", "said before the cut"], check=True)
    host.run(["journalctl", "--sync"], check=True)
    lab.power_cut("b")
    lab.boot("b")
    host.run(["systemctl", "is-system-running", "--wait"])
    assert "said before the cut" in host.run(["journalctl", "--boot=-1"], check=True).stdout
    assert "said before the cut" not in host.run(["journalctl", "--boot=0"], check=True).stdout


def test_enabled_units_start_again_and_others_do_not(lab: Lab) -> None:
    host = lab.hosts["a"]
    unit = "[Service]\nExecStart=sleep 1000\n[Install]\nWantedBy=multi-user.target\n"
    for name in ("stays", "goes"):
        host.run(["tee", f"/etc/systemd/system/{name}.service"], stdin=unit, check=True)
    host.run(["systemctl", "daemon-reload"], check=True)
    host.run(["systemctl", "enable", "--now", "stays"], check=True)
    host.run(["systemctl", "start", "goes"], check=True)
    lab.power_cut("a")
    lab.boot("a")
    until(lambda: host.run(["systemctl", "is-active", "stays"]).stdout == "active\n", "the enabled unit runs")
    assert host.run(["systemctl", "is-active", "goes"]).stdout == "inactive\n"


def test_a_peer_is_not_told_of_a_power_cut(lab: Lab) -> None:
    """No FIN and no RST: the connection is silent, until the host is back and knows nothing of it."""
    with socket.create_connection((lab.hosts["a"].address, 22), 5) as connection:
        assert connection.recv(4) == b"SSH-"
        connection.recv(1000)
        lab.power_cut("a")
        connection.settimeout(0.5)
        with pytest.raises(TimeoutError):
            connection.recv(1)
        lab.boot("a")
        connection.settimeout(30)
        connection.send(b"hello?\r\n")
        with pytest.raises(ConnectionResetError):
            connection.recv(1)


def test_the_clock_of_each_boot_starts_at_zero(lab: Lab) -> None:
    clock = [lab.python, "-c", "import time; print(time.monotonic())"]
    lab.power_cut("a")
    lab.boot("a")
    assert float(lab.hosts["a"].run(clock, check=True).stdout) < float(
        lab.hosts["b"].run(clock, check=True).stdout
    )


def test_a_frozen_host_can_lose_its_power(lab: Lab) -> None:
    lab.freeze("b")
    lab.power_cut("b")
    lab.boot("b")
    assert lab.hosts["b"].run(["true"]).returncode == 0
    assert status_of(lab).hosts[1].state == "up"


def test_faults_outlive_a_power_cut_but_for_those_of_memory(lab: Lab) -> None:
    lab.delay("a", 30)
    lab.fill_disk("a")
    lab.fill_shared_memory("a")
    lab.power_cut("a")
    lab.boot("a")
    assert status_of(lab).hosts[0].faults == ("delay 30 ms", "/ full")
    assert round_trip_ms(lab, "b", "a") >= 60
    assert lab.hosts["a"].run(["sh", "-c", "echo x > /dev/shm/x"]).returncode == 0
    assert lab.hosts["a"].run(["sh", "-c", "head -c 100000 /dev/zero > /var/x"]).returncode != 0
    lab.free_disk("a")
    lab.clear("a")


def test_a_host_that_is_cut_off_boots_unheard(lab: Lab) -> None:
    lab.partition("a")
    lab.power_cut("a")
    lab.boot("a")
    assert not can_connect(lab, "b", "a")
    lab.heal("a")
    until(lambda: can_connect(lab, "b", "a"), "a is reachable")


def test_an_orderly_shutdown_stops_units_first(lab: Lab) -> None:
    host = lab.hosts["b"]
    stop = (
        "[Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=true\nExecStop=touch /var/stopped-in-order\n"
    )
    host.run(["tee", "/run/systemd/system/orderly.service"], stdin=stop, check=True)
    host.run(["systemctl", "start", "orderly"], check=True)
    lab.shut_down("b")
    assert host.pid == 0
    lab.boot("b")
    assert host.run(["test", "-e", "/var/stopped-in-order"]).returncode == 0


def test_a_host_that_turns_itself_off_can_be_booted(lab: Lab) -> None:
    host = lab.hosts["a"]
    host.run(["systemctl", "poweroff"])
    until(lambda: host.pid == 0, "it is off")
    lab.boot("a")
    assert can_connect(lab, "b", "a")


def test_a_host_that_is_up_is_not_booted_twice(lab: Lab) -> None:
    pid = lab.hosts["a"].pid
    with pytest.raises(FaultNotPossible, match="up already"):
        lab.boot("a")
    assert lab.hosts["a"].pid == pid
