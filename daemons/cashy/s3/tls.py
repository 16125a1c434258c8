"""The endpoint's certificate and key: read, checked, read again.

Law. What is wrong with a file is found when it is read, at the start or at a reload, and said with the file's name; a handshake never meets a
half-right pair. A reload that fails leaves the old pair in use: an operator's slip must not take a running endpoint down. Connections keep the
context they began with, so a reload interrupts nobody.

The key is held to the rule of every file with a secret: one that everyone may open is refused. One with a passphrase is refused too, since there is
nobody to ask. TLS 1.2 is the least (RFC 8996), renegotiation and compression are off; cipher suites are OpenSSL's own choice, which is
kept up better than a list here would be. ALPN offers ``http/1.1`` only: a client that prefers h2 is told so in the handshake.
"""

from __future__ import annotations

import ssl
from pathlib import Path

from cashy.pem_files import PEM_BYTES_MAX, load_pair

__all__ = ["PEM_BYTES_MAX", "ServerTls", "load_tls"]


class ServerTls:
    """The context that new connections get, from two files. Raises :class:`~cashy.errors.ConfigError`."""

    def __init__(self, certificate: Path, key: Path) -> None:
        self._files = certificate, key
        self.context = load_tls(certificate, key)

    def reload(self) -> None:
        """Reads the files again, for connections from now on. Raises ConfigError, and then goes on with what it has."""
        self.context = load_tls(*self._files)


def load_tls(certificate: Path, key: Path) -> ssl.SSLContext:
    """A server's context. Raises :class:`~cashy.errors.ConfigError` naming the file and what is wrong with it."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION
    context.set_alpn_protocols(["http/1.1"])
    load_pair([context], certificate, key)
    return context
