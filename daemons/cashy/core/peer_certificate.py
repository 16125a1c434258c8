"""Whom a certificate stands for: which hosts of which cluster, decided from values.

Law. A certificate proves the names in it and nothing else. That it was signed by an authority of the cluster, is in force and may be used
so is TLS's business (RFC 5280, RFC 8446) and done when these functions are asked; here names are compared: a host is
``cashy://CLUSTER/HOST`` among the URIs of the subject alternative name (RFC 5280 4.2.1.6). So one authority may serve several clusters, and one
host's certificate opens nothing in another's name. No X.509, no file and no clock here: certificates come described, as ``ssl`` gives them.

Rejected: the subject's common name (free text, long deprecated: RFC 6125); DNS names, since the names of hosts here need not be any, and
a web server's certificate of a company's authority would be a host's by accident; revocation lists and OCSP, which want to be fetched in time: a
host that is to go leaves the list of hosts, and a stolen certificate's serial number is refused by the settings.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from aviary.cashy.v1.peer_pb2 import PeerRefusal
from cashy.core.peer_greeting import GreetingRefused

__all__ = ["PeerCertificate", "certified_hosts", "check_certificate", "describe_names", "host_uri", "parse_serial", "peer_certificate"]  # fmt: skip

#: Names shown in a message; a certificate may have thousands.
_NAMES_SHOWN_MAX = 4
#: As RFC 5280 4.1.2.2 has it: 20 bytes.
_SERIAL_DIGITS_MAX = 40


@dataclass(frozen=True, slots=True)
class PeerCertificate:
    """What is gone by of a certificate that TLS has verified: the URIs it names, and its serial number."""

    uris: tuple[str, ...]
    serial: int


def peer_certificate(described: Mapping[str, Any]) -> PeerCertificate:
    """Of what ``SSLSocket.getpeercert()`` gives; an empty mapping names nobody."""
    names = described.get("subjectAltName", ())
    return PeerCertificate(
        tuple(value for kind, value in names if kind == "URI"), int(described.get("serialNumber", "0"), 16)
    )


def host_uri(cluster: str, host: str) -> str:
    """The name that a host's certificate has: ``cashy://CLUSTER/HOST``."""
    return f"cashy://{quote(cluster, safe='')}/{quote(host, safe='')}"


def parse_serial(text: str) -> int:
    """A serial number as openssl, browsers and ``cashy ca show`` print it: hexadecimal, colons or not. Raises ValueError."""
    digits = text.replace(":", "")
    if (
        not digits
        or len(digits) > _SERIAL_DIGITS_MAX
        or not all(c in "0123456789abcdefABCDEF" for c in digits)
    ):
        raise ValueError(
            f"{text!r} is no serial number; write its hexadecimal digits, as `cashy ca show` does"
        )
    return int(digits, 16)


def certified_hosts(uris: Collection[str], cluster: str, hosts: Collection[str]) -> frozenset[str]:
    """Which of ``hosts`` a certificate with these names stands for."""
    return frozenset(host for host in hosts if host_uri(cluster, host) in uris)


def describe_names(uris: Collection[str]) -> str:
    """A certificate's names for a message, not all if they are many."""
    own = sorted(name for name in uris if name.startswith("cashy://"))
    shown = ", ".join(name[:160] for name in own[:_NAMES_SHOWN_MAX])
    return shown + (", …" if len(own) > _NAMES_SHOWN_MAX else "") if own else "no host of any cluster"


def check_certificate(
    certificate: PeerCertificate, cluster: str, host: str, refused: Collection[int]
) -> None:
    """Raises :class:`GreetingRefused` (CERTIFICATE) unless it is that host's, and not refused by serial number."""
    wanted = host_uri(cluster, host)
    if wanted not in certificate.uris:
        raise GreetingRefused(
            PeerRefusal.CERTIFICATE,
            f"the certificate shown is for {describe_names(certificate.uris)}, not for {wanted}: "
            f"install the one of `cashy ca issue {host}` there, and check [cluster] name and the [[peer]] addresses",
        )
    if certificate.serial in refused:
        raise GreetingRefused(
            PeerRefusal.CERTIFICATE,
            f"the certificate of {host!r} with serial number {certificate.serial:x} is refused (cluster.tls_refused): issue another one",
        )
