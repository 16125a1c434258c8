"""What a host is: a systemd, an address, an sshd and a journal of its own, and nothing that it could do to the machine."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.labtest.namespaces.support import can_connect, need_labs

from labtest.errors import ActionFailed
from labtest.namespaces import Lab, LabNotFound, LabOptions, addresses, status_of

_MIB = 2**20


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    need_labs()
    options = LabOptions(
        disk_bytes=64 * _MIB, shared_memory_bytes=32 * _MIB, files={"/etc/lab/greeting": b"hello\n"}
    )
    with Lab("hosts-test", ["a", "b", "c"], options) as made:
        yield made


def ssh(lab: Lab, host: str, *command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*lab.hosts[host].ssh_argv(), *command], capture_output=True, text=True, check=False, timeout=60
    )


def test_systemd_runs_as_process_1_with_nothing_failed(lab: Lab) -> None:
    for host in lab.hosts.values():
        assert host.run(["cat", "/proc/1/comm"]).stdout == "systemd\n"
        assert host.run(["systemctl", "is-system-running"]).stdout == "running\n"


def test_ssh_logs_in_as_root_without_asking(lab: Lab) -> None:
    for name in lab.hosts:
        done = ssh(lab, name, "hostname; whoami; cat /etc/lab/greeting")
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.split() == [name, "root", "hello"]


def test_each_host_has_an_address_and_an_identity_of_its_own(lab: Lab) -> None:
    assert addresses(lab) == {name: host.address for name, host in lab.hosts.items()}
    for command in (["cat", "/etc/machine-id"], ["cat", "/proc/sys/kernel/random/boot_id"]):
        assert len({host.run(command, check=True).stdout for host in lab.hosts.values()}) == 3
    for host in lab.hosts.values():
        assert f" {host.address}/24 " in host.run(["ip", "-4", "address", "show", "eth0"], check=True).stdout


def test_hosts_find_each_other_and_the_machine_by_name(lab: Lab) -> None:
    names = [*lab.hosts, "machine"]
    found = lab.hosts["b"].run(["getent", "ahostsv4", *names], check=True).stdout
    wanted = {**addresses(lab), "machine": lab.machine_address}
    assert {
        line.split()[2]: line.split()[0] for line in found.splitlines() if len(line.split()) > 2
    } == wanted
    assert can_connect(lab, "a", "b")
    assert can_connect(lab, "b", "c")


def test_an_unknown_name_is_answered_at_once(lab: Lab) -> None:
    assert lab.hosts["a"].run(["getent", "hosts", "nowhere.example"], timeout_s=5).returncode == 2


def test_the_journal_keeps_what_units_say(lab: Lab) -> None:
    host = lab.hosts["a"]
    host.run(["systemd-run", "--wait", "--unit=speaks", "echo", "out of the unit"], check=True)
    assert "out of the unit" in host.journal("speaks.service")
    assert (
        host.run(["journalctl", "--list-boots", "--no-pager"]).stdout.count("\n") == 2
    )  # a heading, and this boot


def test_what_the_machine_has_enabled_does_not_start(lab: Lab) -> None:
    host = lab.hosts["a"]
    listed = host.run(
        ["systemctl", "list-units", "--type=service", "--no-legend", "--plain"], check=True
    ).stdout
    running = {line.split()[0] for line in listed.splitlines()} - {"speaks.service"}
    assert running <= {
        "dbus.service",
        "ssh.service",
        "systemd-journal-flush.service",
        "systemd-journald.service",
        "systemd-tmpfiles-setup.service",
        "systemd-user-sessions.service",
    }


def test_the_machines_settings_cannot_be_changed_from_a_host(lab: Lab) -> None:
    setting = Path("/proc/sys/fs/protected_regular")
    before = setting.read_text()
    other = "0" if before.strip() != "0" else "1"
    assert lab.hosts["a"].run(["sh", "-c", f"echo {other} > {setting}"]).returncode != 0
    assert setting.read_text() == before
    # Those of its own network can.
    lab.hosts["a"].run(["sh", "-c", "echo 4000 > /proc/sys/net/core/somaxconn"], check=True)
    assert lab.hosts["b"].run(["cat", "/proc/sys/net/core/somaxconn"]).stdout != "4000\n"


def test_files_of_a_host_are_not_the_machines(lab: Lab) -> None:
    name = f"lab-marker-{os.getpid()}"
    with tempfile.TemporaryDirectory(dir="/tmp", prefix="lab-marker-") as folder:
        host = lab.hosts["a"]
        assert host.run(["test", "-e", folder]).returncode == 1
        host.run(
            ["sh", "-c", f"for each in /tmp /run /dev/shm /etc /var; do echo x > $each/{name}; done"],
            check=True,
        )
        host.run(["systemd-tmpfiles", "--create", "--remove", "--clean"], timeout_s=60)
        for each in ("/tmp", "/run", "/dev/shm", "/etc", "/var"):
            assert not Path(each, name).exists()
        assert Path(folder).is_dir()
    assert (host.disk / "etc" / name).read_text() == "x\n"


def test_the_machines_own_keys_are_not_seen(lab: Lab) -> None:
    assert lab.hosts["a"].run(["sh", "-c", "ls -A ~root/.ssh"], check=True).stdout == "authorized_keys\n"
    assert lab.hosts["a"].run(["ls", "/etc/ssh"], check=True).stdout.split() == [
        "ssh_host_ed25519_key",
        "sshd_config",
    ]


def test_every_user_of_a_host_can_run_its_python(lab: Lab) -> None:
    command = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", lab.python, "-c"]
    done = lab.hosts["b"].run([*command, "import sys; print(sys.version_info >= (3, 9))"], check=True)
    assert done.stdout == "True\n"


def test_services_are_sandboxed_as_on_a_machine(lab: Lab) -> None:
    sandbox = [
        "PrivateTmp=yes",
        "ProtectSystem=strict",
        "PrivateDevices=yes",
        "DynamicUser=yes",
        "NoNewPrivileges=yes",
    ]
    sandbox += ["ProtectKernelTunables=yes", "SystemCallFilter=@system-service", "MemoryDenyWriteExecute=yes"]
    properties = [f"--property={each}" for each in sandbox]
    done = lab.hosts["c"].run(
        [
            "systemd-run",
            "--wait",
            "--pipe",
            "--quiet",
            *properties,
            "sh",
            "-c",
            "id -un; ls /tmp; touch /usr/x",
        ]
    )
    assert done.returncode != 0
    assert "Read-only file system" in done.stderr
    assert "root" not in done.stdout


def test_sizes_are_those_of_the_options(lab: Lab) -> None:
    for path, size_mib in (("/", 64), ("/dev/shm", 32)):
        done = lab.hosts["a"].run(["df", "--block-size=1M", "--output=size", path], check=True)
        assert int(done.stdout.split()[1]) == size_mib


def test_a_command_gets_its_input_and_gives_its_status(lab: Lab) -> None:
    done = lab.hosts["a"].run(["sh", "-c", "cat; echo oops >&2; exit 7"], stdin="typed")
    assert (done.stdout, done.stderr, done.returncode) == ("typed", "oops\n", 7)
    with pytest.raises(ActionFailed, match="ended with 7: oops"):
        lab.hosts["a"].run(["sh", "-c", "echo oops >&2; exit 7"], check=True)


def test_a_command_that_is_late_is_ended_with_its_children(lab: Lab) -> None:
    host = lab.hosts["a"]
    with pytest.raises(ActionFailed, match=r"took longer than 0\.5 s") as raised:
        host.run(["sh", "-c", "sleep 31415 & sleep 31415"], timeout_s=0.5)
    assert raised.value.code == "timeout"
    assert "31415" not in host.run(["ps", "-eo", "args"], check=True).stdout


def test_the_maker_s_environment_stays_with_the_maker(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAB_SECRET", "x")
    assert "LAB_SECRET" not in lab.hosts["a"].run(["env"]).stdout
    assert b"LAB_SECRET" not in Path(f"/proc/{lab.hosts['a'].pid}/environ").read_bytes()


def test_status_tells_of_every_host(lab: Lab) -> None:
    status = status_of(lab)
    assert (status.name, status.is_detached, status.maker_pid) == ("hosts-test", False, os.getpid())
    assert [(host.name, host.state, host.faults) for host in status.hosts] == [
        (name, "up", ()) for name in "abc"
    ]


def test_a_host_that_is_not_there_is_named_with_those_that_are(lab: Lab) -> None:
    with pytest.raises(LabNotFound, match=r"has no host 'd'; it has a, b, c"):
        lab.partition("d")
