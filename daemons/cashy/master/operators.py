"""Who may evict and pin: what one does to memory, others have to bear.

Law: whoever may attach may read; who may take from others' memory, or keep a part of it for good, is a smaller circle: the daemon's own user, root,
and the members of one group that the settings name (``instance.operators``). The kernel says who is at the other end, as of its connect, groups
and all (SO_PEERCRED, SO_PEERGROUPS: unix(7)), so no directory service is asked while the loop waits. What another host of the cluster asks was
checked there: hosts that have the cluster's key trust each other.

Rejected: every client may (one job's housekeeping would be another's outage); the first who read an object owns it (nobody knows who else relies on
it).
"""

from __future__ import annotations

import grp
import os
import socket
from array import array

from cashy.errors import AccessDenied, CannotStart
from shmipc.wire import PeerCredentials

__all__ = ["Operators", "peer_groups"]

_SO_PEERGROUPS = 59  # asm-generic/socket.h; Linux 4.13
#: NGROUPS_MAX of Linux.
_GROUPS_MAX = 65_536


def peer_groups(sock: socket.socket) -> tuple[int, ...]:
    """The supplementary groups of who is at the other end of a unix socket; none where the kernel does not tell."""
    for count in (64, _GROUPS_MAX):
        try:
            raw = sock.getsockopt(socket.SOL_SOCKET, _SO_PEERGROUPS, 4 * count)
        except OSError:  # ERANGE: there are more
            continue
        return tuple(array("I", raw))
    return ()


class Operators:
    """The circle. ``group``: name of the group whose members belong to it; empty: none does. Raises ``CannotStart`` if there is no such group."""

    def __init__(self, group: str) -> None:
        self._group = group
        self._uids = frozenset((0, os.geteuid()))
        self._gid: int | None = None
        if group:
            try:
                self._gid = grp.getgrnam(group).gr_gid
            except KeyError:
                raise CannotStart(
                    f"there is no group {group!r} on this host: instance.operators names one whose members may evict and pin"
                ) from None

    def check(self, credentials: PeerCredentials, groups: tuple[int, ...]) -> None:
        """Raises ``AccessDenied`` for somebody who is not one of them."""
        if credentials.uid in self._uids or (
            self._gid is not None and self._gid in (credentials.gid, *groups)
        ):
            return
        who = (
            f"or a member of group {self._group!r}" if self._group else "(instance.operators names no group)"
        )
        raise AccessDenied(
            f"user {credentials.uid} may read, but not evict or pin: that takes the daemon's own user, root, {who}"
        )
