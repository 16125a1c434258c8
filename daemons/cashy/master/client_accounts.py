"""Users and groups of the client socket's lists, as this host knows them.

``instance.allow_users`` and ``allow_groups`` hold names or numbers; a name that the host does not know is an error, since it is a list of who may.
"""

from __future__ import annotations

import grp
import pwd
from collections.abc import Callable, Iterable

from cashy.core.allowed_clients import EVERYBODY, AllowedClients
from cashy.errors import ConfigError
from cashy.settings import InstanceSettings

__all__ = ["allowed_clients"]


def allowed_clients(instance: InstanceSettings) -> AllowedClients:
    """Looks the names up; raises ConfigError. Blocks: names may come from a directory service."""
    if not instance.allow_users and not instance.allow_groups:
        return EVERYBODY
    return AllowedClients(
        _numbers(instance.allow_users, "users", lambda name: pwd.getpwnam(name).pw_uid),
        _numbers(instance.allow_groups, "groups", lambda name: grp.getgrnam(name).gr_gid),
    )


def _numbers(names: Iterable[str], what: str, find: Callable[[str], int]) -> frozenset[int]:
    found = set()
    for name in names:
        try:
            found.add(int(name) if name.isascii() and name.isdigit() else find(name))
        except KeyError:
            raise ConfigError(f"instance.allow_{what}: this host knows no {what[:-1]} {name!r}") from None
    return frozenset(found)
