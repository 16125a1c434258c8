"""Who may evict and pin, by what the kernel says of a socket's other end."""

from __future__ import annotations

import grp
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from cashy.errors import AccessDenied, CannotStart
from cashy.master.operators import Operators, peer_groups
from shmipc.wire import PeerCredentials, peer_credentials

from .raw_client import host

STRANGER = 65_534


def a_group() -> grp.struct_group:
    """One that root and this process do not belong to as their first."""
    return next(group for group in grp.getgrall() if group.gr_gid not in (0, os.getegid()))


def test_the_kernel_tells_the_groups_of_the_other_end() -> None:
    one, other = socket.socketpair()
    with one, other:
        assert set(peer_groups(one)) == set(os.getgroups())
        assert peer_credentials(one).uid == os.geteuid()


@pytest.mark.parametrize("uid", [0, os.geteuid()])
def test_root_and_the_daemons_own_user_may(uid: int) -> None:
    Operators("").check(PeerCredentials(1, uid, STRANGER), ())


def test_others_may_by_their_group_alone() -> None:
    group = a_group()
    with pytest.raises(AccessDenied, match="names no group"):
        Operators("").check(PeerCredentials(1, STRANGER, group.gr_gid), (group.gr_gid,))
    operators = Operators(group.gr_name)
    operators.check(PeerCredentials(1, STRANGER, group.gr_gid), ())
    operators.check(PeerCredentials(1, STRANGER, STRANGER), (1 << 30, group.gr_gid))
    with pytest.raises(AccessDenied, match=f"member of group '{group.gr_name}'"):
        operators.check(PeerCredentials(1, STRANGER, STRANGER), (1 << 30,))


def test_a_group_that_is_not_there_is_a_wrong_setting() -> None:
    with pytest.raises(CannotStart, match=r"no group 'nobody-has-this'.*instance\.operators"):
        Operators("nobody-has-this")


@pytest.mark.system
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_somebody_else_reads_and_does_not_evict_or_pin(tmp_path: Path) -> None:
    code = """
import os, sys, cashy, cashy.client.cache, cashy.errors
os.setgroups([])
os.setgid(65534)
os.setuid(65534)  # after all imports: others may not read where the interpreter lies
with cashy.connect(sys.argv[1]) as cache:
    cache.read("s3://b/x").release()
    assert not cache.pins().hosts[0].objects
    assert cache.trace("s3://b/x").block_count == 4
    for ask in (lambda: cache.evict(["s3://b/x"]), lambda: cache.evict(everything=True), lambda: cache.pin(["s3://b/x"]),
                lambda: cache.unpin(everything=True)):
        try:
            ask()
        except cashy.AccessDenied as error:
            print(error)
"""
    with host(tmp_path) as running:
        for path in (tmp_path, *tmp_path.parents):
            if path.stat().st_uid == os.geteuid() and str(path).startswith("/tmp/"):
                path.chmod(path.stat().st_mode | 0o011)
        running.path.chmod(0o666)
        done = subprocess.run(
            [sys.executable, "-c", code, str(running.path)],
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert done.stdout.count("user 65534 may read, but not evict or pin") == 4
