"""A master's certificates while it runs: read again, watched for their end; and who is let in at its client socket."""

from __future__ import annotations

import asyncio
import grp
import os
import pwd
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest
from structlog.testing import CapturingLogger
from tests.system.harness import DevHost

from cashy.cli.ca_folder import AuthorityFolder
from cashy.core.allowed_clients import EVERYBODY
from cashy.errors import ConfigError
from cashy.master.client_accounts import allowed_clients
from cashy.master.cluster_tls import ClusterTls, make_tls
from cashy.settings import ClusterSettings, InstanceSettings

NOW = datetime.now(UTC)
DAY = 86400


@pytest.fixture
def authority(tmp_path: Path) -> AuthorityFolder:
    return AuthorityFolder.create(tmp_path / "ca", "floor", NOW)


def settings(authority: AuthorityFolder, host: str = "a", days: int = 100) -> ClusterSettings:
    authority.issue(host, NOW, days=days, is_renewal=True)
    certificate, key = authority.files_of(host)
    return ClusterSettings(
        name="floor", host=host, tls_certificate=certificate, tls_key=key, tls_ca=authority.authorities
    )


class Watched:
    """The certificates of a master, with a clock of their own and all that was logged."""

    def __init__(self, cluster: ClusterSettings) -> None:
        self.tls = make_tls(cluster)
        assert self.tls is not None
        self.now = NOW.timestamp()
        self.trust: list[bool] = []
        self.log = CapturingLogger()
        self.cluster_tls = ClusterTls(self.tls, self.trust.append, now=lambda: self.now, log=self.log)

    def said(self) -> list[str]:
        taken = [str(call.args[0]) for call in self.log.calls]
        self.log.calls.clear()
        return taken


def test_a_renewal_is_taken_up_and_a_slip_changes_nothing(authority: AuthorityFolder) -> None:
    cluster = settings(authority)
    watched = Watched(cluster)
    assert watched.tls is not None
    first = watched.tls.loaded
    settings(authority)
    asyncio.run(watched.cluster_tls.reload(cluster))
    second = watched.tls.loaded
    assert second.serial != first.serial
    assert watched.trust == [False]
    assert watched.said() == ["the cluster's certificates were read again"]
    # A certificate without its key: of three files one is new.
    certificate, key = authority.files_of("a")
    good = key.read_bytes()
    authority.issue("b", NOW)
    key.write_bytes(authority.files_of("b")[1].read_bytes())
    asyncio.run(watched.cluster_tls.reload(msgspec.structs.replace(cluster, tls_refused=(7,))))
    assert watched.tls.loaded is second
    assert watched.tls.refused == {7}, "a list that is right is in force, whatever the files are"
    said = list(watched.log.calls)
    assert said[0].args == ("the cluster's certificates were not read again, those before stay in use",)
    assert "is not the key of the first certificate" in said[0].kwargs["reason"]
    assert "PRIVATE" not in repr(said)
    key.write_bytes(good)
    watched.said()
    # An authority that is gone is told to whoever holds connections.
    authority.rotate(NOW)
    settings(authority)
    asyncio.run(watched.cluster_tls.reload(cluster))
    assert watched.trust[-1] is False
    authority.files_of("b")[0].unlink()
    authority.finish()
    asyncio.run(watched.cluster_tls.reload(cluster))
    assert watched.trust[-1] is True
    assert certificate.exists()


def test_the_end_is_told_in_time_and_counted_down(authority: AuthorityFolder) -> None:
    cluster = settings(authority, days=60)
    watched = Watched(cluster)
    look = watched.cluster_tls.look
    look()
    assert watched.said() == []
    assert watched.cluster_tls.expires_in_s == pytest.approx(60 * DAY, abs=2)
    watched.now += 31 * DAY
    look()
    look()
    assert watched.said() == ["this host's certificate expires soon"]
    watched.now += 27 * DAY
    look()
    assert watched.said() == ["this host's certificate expires soon"]
    watched.now += 3 * DAY
    look()
    assert watched.said() == ["this host's certificate has expired: no other host lets it in"]
    assert watched.cluster_tls.expires_in_s < 0
    authority.issue("a", NOW + timedelta(days=61), days=60, is_renewal=True)
    asyncio.run(watched.cluster_tls.reload(cluster))
    assert watched.said() == ["the cluster's certificates were read again"]


def test_without_certificates_there_is_nothing_to_hold() -> None:
    assert make_tls(ClusterSettings(host="a", insecure=True, key_file=Path("/k"))) is None


# ------------------------------------------------------------ the client socket


def test_names_of_users_and_groups_are_looked_up() -> None:
    assert allowed_clients(InstanceSettings()) is EVERYBODY
    user, group = pwd.getpwuid(os.getuid()), grp.getgrgid(os.getgid())
    found = allowed_clients(
        InstanceSettings(allow_users=(user.pw_name, "4321"), allow_groups=(group.gr_name,))
    )
    assert (found.users, found.groups) == (frozenset((user.pw_uid, 4321)), frozenset((group.gr_gid,)))
    with pytest.raises(ConfigError, match=r"instance.allow_groups: this host knows no group 'no such group'"):
        allowed_clients(InstanceSettings(allow_groups=("no such group",)))
    assert allowed_clients(InstanceSettings(allow_groups=(group.gr_name,))).users == frozenset()


_CLIENT = """
import sys, os
from cashy.client.cache import connect  # all of it, while files of this checkout can be read
from cashy.errors import CashyError
number = int(sys.argv[2])
os.setgroups([int(each) for each in sys.argv[3].split(",") if each]); os.setgid(number); os.setuid(number)
try:
    with connect(sys.argv[1]) as cache: print("in", cache.status().instance)
except CashyError as error: print(type(error).__name__, error)
"""


def as_user(path: Path, number: int, *groups: int) -> str:
    """What a client that runs as another user is told."""
    done = subprocess.run(
        [sys.executable, "-c", _CLIENT, str(path), str(number), ",".join(map(str, groups))],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    return done.stdout + done.stderr


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """One that other users can enter, unlike pytest's own."""
    with tempfile.TemporaryDirectory(prefix="cashy-test-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        (folder / "data").mkdir()
        yield folder


@pytest.mark.skipif(os.geteuid() != 0, reason="becomes other users, which only root may")
def test_a_user_that_no_list_names_is_told_so_and_others_are_let_in(open_folder: Path) -> None:
    folder = open_folder
    config = '[instance]\nsocket_mode = "0666"\nallow_users = ["54321"]\nallow_groups = ["54400"]\n'
    with DevHost(folder, f"file={folder / 'data'}", workers=0, config=config) as host:
        assert as_user(host.socket, 54321).startswith("in dev-")
        assert as_user(host.socket, 54322, 54399, 54400).startswith("in dev-")
        refused = as_user(host.socket, 54322, 54399)
        assert refused.startswith("AccessDenied this daemon (instance 'dev-")
        assert "does not let your user (uid 54322) in: instance.allow_users or allow_groups" in refused
        assert as_user(host.socket, 0).startswith("in dev-")
        assert host.counters()["clients_refused"] == 1
        assert "client_not_allowed" in host.log()
        host.socket.chmod(0o600)
        told = as_user(host.socket, 54321)
        assert told.startswith("NotConnected this user may not open")
        assert "group of the socket" in told
