"""Hosts with a real systemd that labtest boots on this machine, in namespaces: their network, their faults, and their removal.

``with Lab("trading", ["a", "b"]) as lab: lab.hosts["a"].run(["hostname"])``. Needs root, and the Debian packages systemd, openssh-server and
iproute2.
"""

from __future__ import annotations

from labtest.namespaces.building import LabOptions
from labtest.namespaces.errors import BootFailed, FaultNotPossible, LabNotFound, LabsNotPossible
from labtest.namespaces.host import NamespaceHost
from labtest.namespaces.lab import Lab, addresses, all_labs, find
from labtest.namespaces.removal import clean_up
from labtest.namespaces.status import HostStatus, LabStatus, status_of

__all__ = [
    "Lab",
    "LabOptions",
    "NamespaceHost",
    "addresses",
    "all_labs",
    "clean_up",
    "find",
    "HostStatus",
    "LabStatus",
    "status_of",
    "BootFailed",
    "FaultNotPossible",
    "LabNotFound",
    "LabsNotPossible",
]
