"""A namespace host on which everything is installed and runs, for the tests of units, and what they ask it."""

from __future__ import annotations

import hashlib
import io
import json
import subprocess
import tarfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.systemd.conftest import REPOSITORY

from labtest.namespaces import Lab, NamespaceHost

__all__ = ["DAEMONS", "KEY", "PYTHON", "SECRET", "InstalledHost", "archive", "install_host"]

PYTHON = "/opt/aviary/current/bin/python"
#: Where programs of the tests lie: services can read it.
TOOLS = "/usr/share/aviary-tests"
KEY, SECRET = "AKIDTESTS", "a secret of tests"
DAEMONS = (
    "cashy-master@default.service",
    "cashy-s3@1.service",
    "toucan-engine.service",
    "toucan-server@1.service",
    "toucan-exchange.service",
)
#: Of what a host is waited for; a loaded machine takes several times as long as an idle one.
DEADLINE_S = 60.0

CASHY_TOML = """\
[memory]
size = "64MiB"
block_size = "1MiB"
[[origin]]
kind = "directory"
path = "/srv/cashy"
[freshness]
revalidate_after_s = 3600
[s3]
credentials = "/etc/aviary/cashy-keys.toml"
[metrics]
master = "127.0.0.1:9101"
s3 = "127.0.0.1:9102"
[log]
format = "json"
"""
KEYS_TOML = f'[key.{KEY}]\nsecret = "{SECRET}"\n'
TOKEN = "a token of tests"
USERS_TOML = f"""\
[user.alice]
token_sha256 = "{hashlib.sha256(TOKEN.encode()).hexdigest()}"
accounts = ["ACC1"]
actions = ["trade"]
"""


class InstalledHost:
    """What tests do with the host."""

    def __init__(self, host: NamespaceHost) -> None:
        self.host = host

    def run(self, *command: str, stdin: str = "", check: bool = True) -> str:
        """Standard output of a command on the host; what went wrong is in the error."""
        done = self.host.run(list(command), stdin=stdin.encode(), timeout_s=DEADLINE_S, check=False)
        assert not check or done.returncode == 0, f"{command}: {done.returncode}\n{done.stdout}{done.stderr}"
        return str(done.stdout)

    def status_of(self, *command: str) -> int:
        """Exit status of a command on the host."""
        return int(self.host.run(list(command), timeout_s=DEADLINE_S, check=False).returncode)

    def write(self, path: str, text: str) -> None:
        """Writes a file; an existing one keeps owner and mode."""
        self.run("tee", path, stdin=text)

    def systemctl(self, *arguments: str) -> None:
        self.run("systemctl", "--no-pager", *arguments)

    def show(self, unit: str, *names: str) -> list[str]:
        """Values of a unit's properties."""
        lines = self.run("systemctl", "show", unit, *(f"--property={name}" for name in names)).splitlines()
        values = dict(line.split("=", 1) for line in lines)
        return [values[name] for name in names]

    def pid(self, unit: str) -> int:
        return int(self.show(unit, "MainPID")[0])

    def restarts(self, unit: str) -> int:
        """How often systemd has restarted it by itself."""
        return int(self.show(unit, "NRestarts")[0])

    def is_active(self, unit: str) -> bool:
        return self.show(unit, "ActiveState")[0] == "active"

    def journal(self, unit: str, since: str = "") -> str:
        """Lines of a unit; ``since`` a cursor (:meth:`cursor`)."""
        self.run("journalctl", "--sync")
        after = [f"--after-cursor={since}"] if since else []
        return self.run("journalctl", "--no-pager", "--quiet", "--output=cat", f"--unit={unit}", *after)

    def cursor(self) -> str:
        """Where the journal is now."""
        self.run("journalctl", "--sync")
        last = self.run("journalctl", "--no-pager", "--quiet", "--lines=1", "--output=json")
        return str(json.loads(last)["__CURSOR"])

    def metric(self, port: int, name: str) -> float:
        """The sum of a metric's samples on a daemon's /metrics."""
        ask = (
            f"import urllib.request as r; print(r.urlopen('http://127.0.0.1:{port}/metrics').read().decode())"
        )
        page = self.run(PYTHON, "-c", ask)
        samples = [line for line in page.splitlines() if line.split("{")[0].split(" ")[0] == name]
        return sum(float(line.rpartition(" ")[2]) for line in samples)

    def until(self, holds: Callable[[], bool], what: str) -> None:
        """Waits until something holds."""
        deadline = time.monotonic() + DEADLINE_S
        while not holds():
            if time.monotonic() > deadline:
                raise AssertionError(
                    f"not within {DEADLINE_S:g} s: {what}\n{self.run('systemctl', 'list-units', 'cashy*', 'toucan*')}"
                    f"{self.run('journalctl', '--no-pager', '--lines=60', '--output=short')}"
                )
            time.sleep(0.05)

    @contextmanager
    def program(
        self, name: str, *arguments: str, user: str = "root", group: str = "root"
    ) -> Iterator[subprocess.Popen[str]]:
        """One of the programs beside this file, run on the host with pipes; it has to end by itself."""
        command = f"exec setpriv --reuid={user} --regid={group} --clear-groups {PYTHON} {TOOLS}/{name} "
        command += " ".join(f"'{argument}'" for argument in arguments)
        process = subprocess.Popen(
            [*self.host.ssh_argv(), command], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        try:
            yield process
        finally:
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.close()
            try:
                process.wait(DEADLINE_S)
            finally:
                process.kill()
                process.wait()
                process.stdout.close()


@contextmanager
def install_host(installed: Path) -> Iterator[InstalledHost]:
    """Boots a host and installs what ``make install-systemd`` has put into a DESTDIR, with settings of the tests; nothing runs yet."""
    with Lab("systemd-units", ["unit"]) as lab:
        host = InstalledHost(lab.hosts["unit"])
        lab.hosts["unit"].run(
            ["tar", "--extract", "--directory=/"], stdin=archive(installed), timeout_s=DEADLINE_S, check=True
        )
        host.run("mkdir", TOOLS)
        for name in ("load.py", "blocking.py", "holder.py"):
            host.write(f"{TOOLS}/{name}", (REPOSITORY / "tests/systemd" / name).read_text())
        host.write("/etc/aviary/cashy.toml", CASHY_TOML)
        host.write("/etc/aviary/cashy-keys.toml", KEYS_TOML)
        host.write("/etc/aviary/toucan-users.toml", USERS_TOML)
        host.run("systemd-sysusers", "aviary.conf")
        host.run("systemd-tmpfiles", "--create", "aviary.conf")
        host.systemctl("daemon-reload")
        yield host


def archive(folder: Path) -> bytes:
    """What was installed below a folder, to be unpacked as root of a host."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as files:
        files.add(folder, arcname=".", filter=_owned_by_root)
    return packed.getvalue()


def _owned_by_root(entry: tarfile.TarInfo) -> tarfile.TarInfo | None:
    if entry.name == ".":
        return None if entry.isfile() else _with_mode(entry)
    entry.uid = entry.gid = 0
    return entry


def _with_mode(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    entry.uid = entry.gid = 0
    entry.mode = 0o755
    return entry
