"""Three hosts with systemd, each with a master and a reader that never stops; what tests ask of them, and how long a fault was felt."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tests.systemd.installed_host import PYTHON, InstalledHost, archive

from cashy.certificates import issue_certificate, make_authority
from cashy.hosts_file import HostList, format_hosts
from cashy.setting_values import Address
from cashy.settings import PeerSettings
from labtest.namespaces import Lab, LabOptions

from .store import AilingStore

__all__ = [
    "LOAD",
    "MASTER",
    "MEMORY_BYTES",
    "NAMES",
    "SSD",
    "TOOLS",
    "Floor",
    "Record",
    "floor",
    "until",
]

NAMES = ("a", "b", "c")
MASTER, LOAD = "cashy-master@default.service", "cashy-load.service"
TOOLS = "/usr/share/aviary-tests"
HOSTS_FILE = "/etc/aviary/cashy-hosts.toml"
REPORT = "/var/lib/cashy-load/report"
#: A machine with other work takes several times as long as an idle one.
DEADLINE_S = 90.0
MEMORY_BYTES = 24 << 20
_SHARED_MEMORY_BYTES = 96 << 20

_UNIT = f"""\
[Unit]
Description=Reads through the cache, for ever
After={MASTER}
[Service]
User=cashy
Group=cashy
StateDirectory=cashy-load
ExecStart={PYTHON} {TOOLS}/load.py /run/cashy/default/cashy.sock {REPORT}
Restart=always
[Install]
WantedBy=multi-user.target
"""

_SETTINGS = """\
[memory]
size = {memory}
block_size = "256KiB"
[[origin]]
kind = "s3"
url = "{store}"
anonymous = true
connect_timeout_s = 2
head_timeout_s = 2
read_timeout_s = 2
block_timeout_s = 20
[freshness]
revalidate_after_s = 1
[cluster]
host = "{host}"
tls_certificate = "/etc/aviary/cluster.pem"
tls_key = "/etc/aviary/cluster-key.pem"
tls_ca = "/etc/aviary/cluster-ca.pem"
{more}
{peers}
[[disk]]
path = "/srv/ssd/cashy"
size = "30MiB"
[log]
format = "json"
"""


SSD = "/srv/ssd"
_SSD_BYTES = 40 << 20
#: The disk for the SSD tier: memory, in truth, so that it can be filled without the host's own disk.
_MOUNT = f"""\
[Mount]
What=tmpfs
Where={SSD}
Type=tmpfs
Options=size={_SSD_BYTES},mode=0777
"""
_MAY_WRITE = f"""\
[Unit]
RequiresMountsFor={SSD}
[Service]
ReadWritePaths={SSD}
"""


@dataclass(frozen=True, slots=True)
class Record:
    """One stretch of a reader's time (:mod:`tests.system.faults.load`)."""

    at: float
    reads: int
    slowest_s: float
    generation: int
    wrong: list[str]
    failed: list[dict[str, Any]]


def until(holds: Callable[[], bool], what: str, deadline_s: float = DEADLINE_S) -> float:
    """Waits until something holds; how long that took, in seconds."""
    began_s = time.monotonic()
    while not holds():
        assert time.monotonic() - began_s < deadline_s, f"not within {deadline_s:g} s: {what}"
        time.sleep(0.05)
    return time.monotonic() - began_s


class Floor:
    """The hosts, the store behind them, and what their readers have written down."""

    def __init__(self, lab: Lab, store: AilingStore) -> None:
        self.lab = lab
        self.store = store
        self.hosts = {name: InstalledHost(host) for name, host in lab.hosts.items()}
        #: Number of the last list of hosts that was made.
        self.list_version = 1

    def report(self, name: str) -> Path:
        """Of a host's reader, as this machine sees it."""
        return self.lab.hosts[name].disk / REPORT.removeprefix("/")

    def records(self, name: str, since: float = 0.0) -> list[Record]:
        """A reader's records that ended after a time (UTC, seconds)."""
        try:
            lines = self.report(name).read_text().splitlines()
        except FileNotFoundError:
            return []
        records = [Record(**json.loads(line)) for line in lines if line.endswith("}")]
        return [record for record in records if record.at > since]

    def until_read(self, names: Sequence[str] = NAMES, since: float | None = None) -> float:
        """Waits until readers have gone on after a time (now); how long that took, in seconds."""
        since_at = time.time() if since is None else since
        # Two records: the first may tell of what was read before.
        return until(
            lambda: all(sum(bool(record.reads) for record in self.records(name, since_at)) >= 2 for name in names),
            f"reads go on at {', '.join(names)}",
        )  # fmt: skip

    def wrong(self, since: float = 0.0) -> list[str]:
        """Wrong bytes that any reader has seen. There must be none, whatever happens."""
        return [
            f"{name}: {what}"
            for name in NAMES
            for record in self.records(name, since)
            for what in record.wrong
        ]

    def failed(self, since: float, names: Sequence[str] = NAMES) -> list[str]:
        """Reads that failed."""
        return [
            f"{name}: {each['error']} after {each['ended'] - each['began']:.1f} s: {each['text']}"
            for name in names for record in self.records(name, since) for each in record.failed
        ]  # fmt: skip

    def slowest_s(self, since: float, names: Sequence[str] = NAMES) -> float:
        """The longest read, in seconds."""
        return max((record.slowest_s for name in names for record in self.records(name, since)), default=0.0)

    # --- what daemons use ---

    def usage(self, name: str) -> dict[str, int]:
        """Of a host's master: private memory (KiB) and descriptors; and what lies in /dev/shm."""
        pid = self.hosts[name].pid(MASTER)
        program = (
            "import os, sys, re; p = sys.argv[1]; s = open(f'/proc/{p}/status').read(); "
            "print(re.search(r'RssAnon:\\s+(\\d+)', s)[1], len(os.listdir(f'/proc/{p}/fd')), len(os.listdir('/dev/shm')))"
        )
        memory, descriptors, segments = self.hosts[name].run(PYTHON, "-c", program, str(pid)).split()
        return {"memory_kib": int(memory), "descriptors": int(descriptors), "segments": int(segments)}

    def figures(self, name: str, instance: str = "default") -> dict[str, int]:
        """The counters of a host's master, and when they were so (``at_ns``, CLOCK_MONOTONIC)."""
        made = self.hosts[name].run(PYTHON, "-c", _COUNTERS, f"/run/cashy/{instance}/cashy.sock")
        return dict(json.loads(made))

    def figure(self, name: str, counter: str) -> int:
        """One of them."""
        return int(self.figures(name).get(counter, 0))

    # --- which hosts the cluster consists of ---

    def next_list(self, names: str) -> str:
        """The text of a list one number higher, of these hosts."""
        self.list_version += 1
        return listed(self.lab, names, self.list_version)

    def write_list(self, name: str, text: str) -> None:
        """As whatever distributes the file should: a new file takes the place of the old one. Also on a host that is off: it boots with it."""
        if self.lab.hosts[name].pid:
            self.hosts[name].write(f"{HOSTS_FILE}.new", text)
            self.hosts[name].run("mv", f"{HOSTS_FILE}.new", HOSTS_FILE)
        else:
            (self.lab.hosts[name].disk / HOSTS_FILE.removeprefix("/")).write_text(text)


_COUNTERS = (
    "import cashy, json, sys, time; c = cashy.connect(sys.argv[1]); "
    "print(json.dumps(dict(c.status().counters) | {'at_ns': time.monotonic_ns()}))"
)


def listed(lab: Lab, names: Iterable[str], version: int) -> str:
    """The text of a file of hosts."""
    peers = tuple(
        PeerSettings(name=name, address=Address(f"{lab.hosts[name].address}:9100")) for name in names
    )
    return format_hosts(HostList(version=version, host_count=len(peers), peers=peers))


def _settings(lab: Lab, host: str, store: str, more: str, more_sections: str, *, is_listed: bool) -> str:
    peers = "".join(
        f'[[peer]]\nname = "{name}"\naddress = "{lab.hosts[name].address}:9100"\n' for name in NAMES
    )
    if is_listed:
        peers = f'hosts_file = "{HOSTS_FILE}"\n'
    return (
        _SETTINGS.format(memory=MEMORY_BYTES, store=store, host=host, peers=peers, more=more) + more_sections
    )


@contextmanager
def floor(
    installed: Path, *, cluster: str = "", sections: str = "", per_host: Mapping[str, str] | None = None, is_listed: bool = False
) -> Iterator[Floor]:  # fmt: skip
    """Boots the hosts, installs what ``make install-systemd`` has put into a DESTDIR, and starts everything; with more settings.

    ``per_host``: further lines of ``[cluster]`` for some hosts; ``is_listed``: which hosts there are stands in a file of its own.
    """
    packed = archive(installed)
    here = Path(__file__).parent
    with (
        Lab("cashy-faults", NAMES, LabOptions(shared_memory_bytes=_SHARED_MEMORY_BYTES)) as lab,
        AilingStore(lab.machine_address) as store,
    ):
        made = Floor(lab, store)
        authority = make_authority("default", datetime.now(UTC))
        for name, host in made.hosts.items():
            host.host.run(
                ["tar", "--extract", "--directory=/"], stdin=packed, timeout_s=DEADLINE_S, check=True
            )
            host.run("mkdir", TOOLS)
            for program in ("load.py", "contents.py", "users.py"):
                host.write(f"{TOOLS}/{program}", (here / program).read_text())
            more = cluster + (per_host or {}).get(name, "")
            host.write(
                "/etc/aviary/cashy.toml", _settings(lab, name, store.url, more, sections, is_listed=is_listed)
            )
            host.write(HOSTS_FILE, listed(lab, NAMES, 1))
            host.write(f"/etc/systemd/system/{LOAD}", _UNIT)
            host.write("/etc/systemd/system/srv-ssd.mount", _MOUNT)
            host.run("mkdir", "/etc/systemd/system/cashy-master@.service.d")
            host.write("/etc/systemd/system/cashy-master@.service.d/ssd.conf", _MAY_WRITE)
            host.run("systemd-sysusers", "aviary.conf")
            host.run("systemd-tmpfiles", "--create", "aviary.conf")
            own = issue_certificate(authority, "default", name, datetime.now(UTC))
            host.write("/etc/aviary/cluster.pem", own.certificate.decode())
            host.write("/etc/aviary/cluster-ca.pem", authority.certificate.decode())
            host.write("/etc/aviary/cluster-key.pem", own.key.decode())
            host.run("chown", "root:cashy", "/etc/aviary/cluster-key.pem")
            host.run("chmod", "640", "/etc/aviary/cluster-key.pem")
            host.systemctl("daemon-reload")
            host.systemctl("enable", "--now", "cashy.target", MASTER, LOAD)
        yield made
