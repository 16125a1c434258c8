"""How labs and their hosts are, at a glance."""

from __future__ import annotations

from pathlib import Path

import msgspec

from labtest.namespaces.faults import is_cgroup_frozen
from labtest.namespaces.lab import Lab
from labtest.namespaces.state import HostState

__all__ = ["HostStatus", "LabStatus", "status_of"]


class HostStatus(msgspec.Struct, frozen=True, kw_only=True):
    """One host."""

    name: str
    address: str
    #: ``up``, ``frozen`` or ``off``.
    state: str
    #: Of its systemd, as this machine sees it; 0 if it has no power.
    pid: int
    #: What is wrong with it on purpose, for people: e.g. ``cut off``, ``delay 20 ms``.
    faults: tuple[str, ...]


class LabStatus(msgspec.Struct, frozen=True, kw_only=True):
    """One lab."""

    id: str
    name: str
    #: Whether it stays up until it is taken down; else it goes with the process ``maker_pid``.
    is_detached: bool
    maker_pid: int
    #: Seconds since the epoch.
    created_at_s: int
    ssh_config: str
    hosts: tuple[HostStatus, ...]


def status_of(lab: Lab) -> LabStatus:
    """How a lab is at this moment. Raises :class:`LabNotFound` if it has been taken down."""
    state = lab.state()
    return LabStatus(
        id=state.id,
        name=state.name,
        is_detached=state.is_detached,
        maker_pid=state.maker_pid,
        created_at_s=state.created_at_s,
        ssh_config=str(lab.ssh_config),
        hosts=tuple(_status_of_host(Path(state.cgroup), host) for host in state.hosts),
    )


def _status_of_host(cgroup: Path, host: HostState) -> HostStatus:
    is_frozen = is_cgroup_frozen(cgroup / host.name)
    state = ("frozen" if is_frozen else "up") if host.is_up() else "off"
    return HostStatus(
        name=host.name,
        address=host.address,
        state=state,
        pid=host.pid if host.is_up() else 0,
        faults=tuple(_faults_of(host)),
    )


def _faults_of(host: HostState) -> list[str]:
    impairment = host.impairment
    jitter = f" ±{impairment.jitter_ms:g}" if impairment.jitter_ms else ""
    found = {
        "cut off": host.is_cut_off,
        f"cut from {', '.join(impairment.cut_from)}": bool(impairment.cut_from),
        f"delay {impairment.delay_ms:g}{jitter} ms": bool(impairment.delay_ms or impairment.jitter_ms),
        f"loss {impairment.loss_percent:g} %": bool(impairment.loss_percent),
        f"rate {impairment.rate_mbit:g} Mbit/s": bool(impairment.rate_mbit),
    }
    return [text for text, is_so in found.items() if is_so] + [
        f"{target} full" for target in sorted(host.filled)
    ]
