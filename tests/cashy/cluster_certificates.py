"""Certificates of a cluster for tests that run daemons: an authority in a folder, and the lines of ``[cluster]`` for each host."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

from cashy.cli.ca_folder import AuthorityFolder

__all__ = ["certified"]


def certified(folder: Path, hosts: Iterable[str], cluster: str = "default") -> dict[str, str]:
    """Makes the authority and a certificate for each host; gives by host what its settings have to say in ``[cluster]``."""
    authority, now = AuthorityFolder.create(folder, cluster, datetime.now(UTC)), datetime.now(UTC)
    lines = {}
    for host in hosts:
        authority.issue(host, now)
        certificate, key = authority.files_of(host)
        lines[host] = (
            f'tls_certificate = "{certificate}"\ntls_key = "{key}"\ntls_ca = "{authority.authorities}"\n'
        )
    return lines
