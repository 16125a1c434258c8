"""What a host proves itself with to the others, and by what it believes them: its certificate, its key, the cluster's authorities.

Law. Both sides show a certificate, and both are verified (RFC 8446 4.4.2), against the authorities of ``cluster.tls_ca`` alone: the system's are
never asked. TLS 1.3 is the least and the most; there are no session tickets, so every connection is verified anew; no early data, renegotiation
or compression. What a certificate stands for is decided in :mod:`cashy.core.peer_certificate`.

Files are read and checked as one (:func:`load_peer_tls`, which blocks and knows no loop), then taken into use at once (:meth:`PeerTls.adopt`):
a slip in one of three files leaves all three as they were. Connections go on with what they were made under; only who is not trusted any
more is to be cut off, and that is said to whoever holds the connections.

Names of a protocol (ALPN, RFC 7301) are demanded on both sides: a certificate that other services of a company use as well is not to be had into
talking to a port that it did not mean.
"""

from __future__ import annotations

import ssl
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from cashy.core.peer_certificate import describe_names, host_uri
from cashy.errors import ConfigError
from cashy.pem_files import load_pair, read_pem

__all__ = ["PEER_ALPN", "LoadedTls", "PeerTls", "TlsFiles", "load_peer_tls"]

#: The peer protocol's name in the handshake.
PEER_ALPN = "cashy-peer"

_PREFIX = "cluster."


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """Where they are: ``cluster.tls_certificate``, ``tls_key`` and ``tls_ca``."""

    certificate: Path
    key: Path
    authorities: Path


@dataclass(frozen=True, slots=True)
class LoadedTls:
    """What was read of them. ``expires_at_s`` is this host's own certificate's end (Unix time), ``serial`` its number; ``trusted`` are the
    authorities, each by the SHA-256 of its certificate.
    """

    server: ssl.SSLContext
    client: ssl.SSLContext
    expires_at_s: float
    serial: int
    trusted: frozenset[str]


class PeerTls:
    """What is in use now; the same for all connections of this host. ``refused``: serial numbers of certificates that are not accepted."""

    def __init__(self, loaded: LoadedTls, refused: Iterable[int] = ()) -> None:
        self.loaded = loaded
        self.refused = frozenset(refused)

    def adopt(self, loaded: LoadedTls, refused: Iterable[int]) -> bool:
        """Goes on with these, for connections from now on. True: an authority is gone, so connections made before prove nothing any more."""
        is_less = not self.loaded.trusted <= loaded.trusted
        self.loaded = loaded
        self.refused = frozenset(refused)
        return is_less


def load_peer_tls(files: TlsFiles, cluster: str, host: str) -> LoadedTls:
    """Reads and checks the files for this host of this cluster. Raises ConfigError naming the file and what to do. Blocks."""
    from cashy.certificates import (  # with cryptography, which a host without TLS need not load
        describe_certificates,
        is_signed_by,
    )

    server, client = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    text = load_pair((server, client), files.certificate, files.key, _PREFIX)
    authorities = read_pem(files.authorities, f"{_PREFIX}tls_ca", is_secret=False)
    for context in (server, client):
        _tighten(context)
        try:
            context.load_verify_locations(cadata=authorities)
        except (ssl.SSLError, ValueError):  # the second: an empty file
            raise ConfigError(
                f"{_PREFIX}tls_ca {files.authorities} has no certificates of authorities in PEM form"
            ) from None
    server.num_tickets = 0
    try:
        own, trusted = describe_certificates(text.encode())[0], describe_certificates(authorities.encode())
        is_signed = is_signed_by(text.encode(), authorities.encode())
    except ValueError as error:
        raise ConfigError(f"{files.certificate} or {files.authorities} cannot be read: {error}") from None
    if host_uri(cluster, host) not in own.uris:
        raise ConfigError(
            f"{_PREFIX}tls_certificate {files.certificate} is for {describe_names(own.uris)}, and this host is "
            f"{host_uri(cluster, host)}: make its own with `cashy ca issue {host}`"
        )
    if not is_signed:
        raise ConfigError(
            f"{_PREFIX}tls_certificate {files.certificate} is signed by none of the authorities in {files.authorities}: "
            "install the ca.pem of the folder that it was made in, or issue it anew"
        )
    return LoadedTls(
        server, client, own.not_after.timestamp(), own.serial, frozenset(each.sha256 for each in trusted)
    )


def _tighten(context: ssl.SSLContext) -> None:
    context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_3
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION | ssl.OP_NO_TICKET
    context.check_hostname = False  # what it is for is compared after the handshake, by more than a DNS name
    context.verify_mode = ssl.CERT_REQUIRED
    context.set_alpn_protocols([PEER_ALPN])
