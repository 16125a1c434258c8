"""Settings of who may come near: by which certificates hosts of a cluster know each other, and which users may connect to the client socket.

Law: parts of the sections ``[cluster]`` and ``[instance]`` of :mod:`cashy.setting_sections`, which are declared there and read as one.
What fits together is checked in :mod:`cashy.cluster_security`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cashy.setting_about import MASTER, Section, about
from cashy.setting_values import SerialNumber

__all__ = ["ClientLists", "ClusterSecurity"]


class ClientLists(Section, frozen=True, kw_only=True):
    """Of ``[instance]``: who may use the client socket, beyond its permissions."""

    allow_users: Annotated[
        tuple[str, ...],
        about(
            "Users (names or numbers) that may connect to the socket, beside root and the daemon's own; with allow_groups also empty: "
            "whoever its permissions let in.",
            live=True,
        ),
    ] = ()
    allow_groups: Annotated[
        tuple[str, ...],
        about("The same by group: of the connecting process, supplementary ones too.", live=True),
    ] = ()


class ClusterSecurity(Section, frozen=True, kw_only=True):
    """Of ``[cluster]``: certificates, or none because somebody said so."""

    tls_certificate: Annotated[
        Path | None,
        about(
            "PEM file of this host's certificate, as `cashy ca issue` makes it. Read again at SIGHUP.",
            "--cluster-tls-certificate",
            MASTER,
        ),
    ] = None
    tls_key: Annotated[
        Path | None,
        about("PEM file of its private key; a world-readable one is refused.", "--cluster-tls-key", MASTER),
    ] = None
    tls_ca: Annotated[
        Path | None,
        about(
            "PEM file of the authorities that may have signed the other hosts' certificates; two while they are changed. Read again at SIGHUP.",
            "--cluster-tls-ca",
            MASTER,
        ),
    ] = None
    tls_refused: Annotated[
        tuple[SerialNumber, ...],
        about(
            "Serial numbers (hexadecimal, as `cashy ca show` prints them) of certificates that are not accepted, such as stolen ones.",
            live=True,
        ),
    ] = ()
    insecure: Annotated[
        bool,
        about(
            "Speak with the other hosts without TLS: whoever is on the network between them reads along, and can change what passes. "
            "Needs key_file, and an address that is no wildcard.",
            "--cluster-insecure",
            MASTER,
        ),
    ] = False
