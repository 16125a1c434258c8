"""What a host's disk has that the machine's does not: its names, its keys, and what its systemd shall start and what not.

All of it is worked out here as a list of :class:`Entry`, from what is on the machine (:class:`Machine`); :mod:`labtest.namespaces.disk` writes it.
Folders marked as opaque hide what the machine has there. So /etc/systemd, of which all that the machine's owner has enabled is a part, is empty
in a host but for what is put there; what packages bring enabled in /usr/lib is masked unless it is in the list of what hosts need.
"""

from __future__ import annotations

import pwd
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

__all__ = ["Entry", "Machine", "Neighbour", "entries_of_host"]

#: Where root is at home, here and so in a host.
_HOME = pwd.getpwuid(0).pw_dir

#: What packages may start in a host: the journal, D-Bus, logins, files in /run. The rest is for hardware, first boots, consoles and desktops.
_UNITS_KEPT = frozenset(
    {
        "dbus.service",
        "dbus.socket",
        "dev-mqueue.mount",
        "systemd-journal-flush.service",
        "systemd-journald-dev-log.socket",
        "systemd-journald.service",
        "systemd-journald.socket",
        "systemd-tmpfiles-setup.service",
        "systemd-user-sessions.service",
    }
)

#: Wanted by nobody's folder, but by what is built into systemd or started over D-Bus.
_UNITS_MASKED = (
    "systemd-hostnamed.service",
    "systemd-logind.service",
    "systemd-networkd.service",
    "systemd-remount-fs.service",
    "systemd-timedated.service",
    "systemd-udevd.service",
)

_SSHD_CONFIG = """\
HostKey /etc/ssh/ssh_host_ed25519_key
PermitRootLogin prohibit-password
PasswordAuthentication no
KbdInteractiveAuthentication no
UsePAM yes
UseDNS no
PrintMotd no
# Tests open many connections at once.
MaxStartups 200
AcceptEnv LANG LC_*
Subsystem sftp /usr/lib/openssh/sftp-server
"""

_JOURNALD_CONFIG = """\
[Journal]
Storage=persistent
SystemMaxUse=256M
ForwardToSyslog=no
"""

_BASHRC = """\
case $- in *i*) PS1='\\u@\\h:\\w\\$ ' ;; esac
"""


@dataclass(frozen=True)
class Entry:
    """One path of a host's disk. A ``link`` leads there; a file has ``content``; a folder has neither."""

    path: str
    content: bytes | None = None
    link: str = ""
    mode: int = 0o644
    #: Of a folder: whether it hides what the machine has there.
    is_opaque: bool = False


@dataclass(frozen=True)
class Neighbour:
    """A name and its address, for /etc/hosts."""

    name: str
    address: str


@dataclass(frozen=True)
class Machine:
    """What is on this machine that hosts must not do."""

    #: Names of units that packages enable (entries of ``*.wants`` and ``*.requires`` folders in /usr/lib/systemd/system).
    units_wanted: frozenset[str]
    #: Names of programs in /usr/lib/systemd/system-generators.
    generators: frozenset[str]
    #: Of each file in /etc/pam.d that asks systemd-logind, which hosts do not run, for a session: what is left without that.
    session_rules: Mapping[str, str]


def _folder(path: str, mode: int = 0o755, *, is_opaque: bool = True) -> Entry:
    return Entry(path, mode=mode, is_opaque=is_opaque)


def _text(path: str, text: str, mode: int = 0o644) -> Entry:
    return Entry(path, text.encode(), mode=mode)


def _hosts_file(neighbours: Iterable[Neighbour]) -> str:
    lines = ["127.0.0.1 localhost", "::1 localhost ip6-localhost"]
    return "\n".join([*lines, *(f"{each.address} {each.name}" for each in neighbours)]) + "\n"


def _names(name: str, machine_id: str, neighbours: Iterable[Neighbour]) -> Iterator[Entry]:
    yield _text("/etc/hostname", f"{name}\n")
    # One that is there from the start: an empty one makes it a first boot, on which systemd enables everything that is installed.
    yield _text("/etc/machine-id", f"{machine_id}\n", 0o444)
    yield _text("/etc/hosts", _hosts_file(neighbours))
    # There is no name server, and a question to one of the machine's would hang.
    yield _text("/etc/resolv.conf", "")
    yield _text("/etc/nsswitch.conf", "passwd: files\ngroup: files\nshadow: files\nhosts: files\n")


def _logins(host_key: bytes, authorized_key: bytes) -> Iterator[Entry]:
    yield _folder("/etc/ssh")
    yield _text("/etc/ssh/sshd_config", _SSHD_CONFIG)
    yield Entry("/etc/ssh/ssh_host_ed25519_key", host_key, mode=0o600)
    # The machine's own keys, known hosts and start-up files of shells stay with the machine.
    yield _folder(f"{_HOME}/.ssh", 0o700)
    yield Entry(f"{_HOME}/.ssh/authorized_keys", authorized_key, mode=0o600)
    yield _folder("/etc/update-motd.d")
    yield _text("/etc/motd", "")
    yield _text("/etc/environment", "")
    yield _text("/etc/bash.bashrc", "")
    yield _text(f"{_HOME}/.bashrc", _BASHRC)
    yield _text(f"{_HOME}/.profile", f". {_HOME}/.bashrc\n")
    yield _text(f"{_HOME}/.bash_profile", f". {_HOME}/.bashrc\n")
    yield _text(f"{_HOME}/.bash_history", "", 0o600)


def _system(machine: Machine) -> Iterator[Entry]:
    for path, text in machine.session_rules.items():
        yield _text(path, text)
    yield _folder("/etc/systemd")
    yield _folder("/var/log/journal", 0o2755)
    yield _text("/etc/systemd/journald.conf.d/lab.conf", _JOURNALD_CONFIG)
    units = "/etc/systemd/system"
    yield Entry(f"{units}/default.target", link="/usr/lib/systemd/system/multi-user.target")
    yield Entry(f"{units}/multi-user.target.wants/ssh.service", link="/usr/lib/systemd/system/ssh.service")
    for name in sorted((machine.units_wanted - _UNITS_KEPT).union(_UNITS_MASKED)):
        yield Entry(f"{units}/{name}", link="/dev/null")
    for name in sorted(machine.generators):
        yield Entry(f"/etc/systemd/system-generators/{name}", link="/dev/null")


def entries_of_host(
    *,
    name: str,
    machine_id: str,
    neighbours: Iterable[Neighbour],
    host_key: bytes,
    authorized_key: bytes,
    machine: Machine,
    files: Mapping[str, bytes],
) -> list[Entry]:
    """All entries of one host, folders before what is in them. ``files`` (absolute path to content) are put there last, readable by all."""
    entries = [*_names(name, machine_id, neighbours), *_logins(host_key, authorized_key), *_system(machine)]
    return [*entries, *(Entry(path, content) for path, content in files.items())]
