"""Who may use the client socket: by user and group, decided from what the kernel says of the process.

Law. Numbers in, a verdict out; names are looked up elsewhere, and nothing here asks the kernel. Who may connect reads everything that is
cached, so the lists only ever take away from what the socket's permissions give. Root and the daemon's own user are always let in: they could
read its memory anyway, and S3 workers run as the latter. What counts is who a process was at its connect, not what it says.

Rejected: rights by object here (a client maps the whole arena; what must be kept apart needs an instance of its own).
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

__all__ = ["EVERYBODY", "AllowedClients"]


@dataclass(frozen=True, slots=True)
class AllowedClients:
    """``users`` and ``groups`` by number; both None: whoever the socket's permissions let in."""

    users: frozenset[int] | None = None
    groups: frozenset[int] | None = None

    def allows(self, uid: int, groups: Collection[int], own_uid: int) -> bool:
        """Whether a process of this user, in these groups (its first one included), may connect to a daemon of ``own_uid``."""
        if self.users is None and self.groups is None:
            return True
        if uid in (0, own_uid) or uid in (self.users or ()):
            return True
        return not (self.groups or frozenset()).isdisjoint(groups)


EVERYBODY = AllowedClients()
