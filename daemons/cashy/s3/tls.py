"""The endpoint's certificate and key: read, checked, read again.

Law. What is wrong with a file is found when it is read, at the start or at a reload, and said with the file's name; a handshake never meets a
half-right pair. A reload that fails leaves the old pair in use: an operator's slip must not take a running endpoint down. Connections keep the
context they began with, so a reload interrupts nobody.

The key is held to the rule of every file with a secret: one that everyone may open is refused. One with a passphrase is refused too, since there is
nobody to ask. TLS 1.2 is the least (RFC 8996), renegotiation and compression are off; cipher suites are OpenSSL's own choice, which is
kept up better than a list here would be. ALPN offers ``http/1.1`` only: a client that prefers h2 is told so in the handshake.
"""

from __future__ import annotations

import os
import ssl
import stat
from pathlib import Path
from typing import NoReturn

from cashy.errors import ConfigError

__all__ = ["PEM_BYTES_MAX", "ServerTls", "load_tls"]

#: A chain of four certificates takes 8 KiB. A larger file is something else, named by mistake.
PEM_BYTES_MAX = 1 << 20

_CERTIFICATE = "-----BEGIN CERTIFICATE-----"
_KEY_END = "PRIVATE KEY-----"


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
    text = _read(certificate, "tls_certificate", is_secret=certificate == key)
    if _CERTIFICATE not in text:
        raise ConfigError(f"tls_certificate {certificate} holds no certificate in PEM form ({_CERTIFICATE})")
    if _KEY_END not in _read(key, "tls_key", is_secret=True):
        raise ConfigError(f"tls_key {key} holds no private key in PEM form (-----BEGIN PRIVATE KEY-----)")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION
    context.set_alpn_protocols(["http/1.1"])

    def refuse_passphrase() -> NoReturn:
        raise ConfigError(f"tls_key {key} is encrypted, and nobody can be asked for its passphrase")

    try:
        context.load_cert_chain(certificate, key, password=refuse_passphrase)
    except ssl.SSLError as error:
        raise _explained(error, certificate, key, text) from None
    except OSError as error:
        raise ConfigError(f"cannot read {certificate} or {key}: {error.strerror}") from None
    return context


def _explained(error: ssl.SSLError, certificate: Path, key: Path, text: str) -> ConfigError:
    if error.reason == "KEY_VALUES_MISMATCH":
        return ConfigError(f"tls_key {key} is not the key of the first certificate in {certificate}")
    reason = (error.reason or str(error)).lower().replace("_", " ")
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=text[text.index(_CERTIFICATE) :])
    except ssl.SSLError:
        return ConfigError(f"tls_certificate {certificate} has a certificate that cannot be read: {reason}")
    return ConfigError(f"tls_key {key} cannot be used with {certificate}: {reason}")


def _read(path: Path, setting: str, *, is_secret: bool) -> str:
    try:
        # Not blocking: a pipe named by mistake must not hang the start.
        with open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK)) as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise ConfigError(f"{setting} {path} is no regular file")
            if is_secret and status.st_mode & stat.S_IRWXO:
                raise ConfigError(
                    f"{setting} {path} holds a secret and everyone on this host may open it "
                    f"(mode {status.st_mode & 0o777:o}): run  chmod 600 {path}"
                )
            content = file.read(PEM_BYTES_MAX + 1)
    except OSError as error:
        raise ConfigError(f"cannot read {setting} {path}: {error.strerror}") from None
    if len(content) > PEM_BYTES_MAX:
        raise ConfigError(f"{setting} {path} is larger than {PEM_BYTES_MAX:,} bytes: it must be another file")
    return content.decode("ascii", "replace")
