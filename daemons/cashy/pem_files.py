"""Certificates and keys from PEM files: read and checked, so that a handshake never meets a half-right pair.

A key is held to the rule of every file with a secret: one that everyone may open is refused. One with a passphrase is refused too, since there is
nobody to ask. ``prefix`` is the section that a setting's name begins with in messages, such as ``cluster.``; none where it is clear.
"""

from __future__ import annotations

import os
import ssl
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import NoReturn

from cashy.errors import ConfigError

__all__ = ["PEM_BYTES_MAX", "load_pair", "read_pem"]

#: A chain of four certificates takes 8 KiB. A larger file is something else, named by mistake.
PEM_BYTES_MAX = 1 << 20

_CERTIFICATE = "-----BEGIN CERTIFICATE-----"
_KEY_END = "PRIVATE KEY-----"


def load_pair(contexts: Iterable[ssl.SSLContext], certificate: Path, key: Path, prefix: str = "") -> str:
    """Gives each context the certificate (then those it is signed by) and its key; returns the certificate file's text.

    Raises :class:`~cashy.errors.ConfigError` naming the file and what is wrong with it. Blocks.
    """
    text = read_pem(certificate, f"{prefix}tls_certificate", is_secret=certificate == key)
    if _CERTIFICATE not in text:
        raise ConfigError(
            f"{prefix}tls_certificate {certificate} holds no certificate in PEM form ({_CERTIFICATE})"
        )
    if _KEY_END not in read_pem(key, f"{prefix}tls_key", is_secret=True):
        raise ConfigError(
            f"{prefix}tls_key {key} holds no private key in PEM form (-----BEGIN PRIVATE KEY-----)"
        )

    def refuse_passphrase() -> NoReturn:
        raise ConfigError(f"{prefix}tls_key {key} is encrypted, and nobody can be asked for its passphrase")

    try:
        for context in contexts:
            context.load_cert_chain(certificate, key, password=refuse_passphrase)
    except ssl.SSLError as error:
        raise _explained(error, certificate, key, text, prefix) from None
    except OSError as error:
        raise ConfigError(f"cannot read {certificate} or {key}: {error.strerror}") from None
    return text


def _explained(error: ssl.SSLError, certificate: Path, key: Path, text: str, prefix: str) -> ConfigError:
    if error.reason == "KEY_VALUES_MISMATCH":
        return ConfigError(f"{prefix}tls_key {key} is not the key of the first certificate in {certificate}")
    reason = (error.reason or str(error)).lower().replace("_", " ")
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=text[text.index(_CERTIFICATE) :])
    except ssl.SSLError:
        return ConfigError(
            f"{prefix}tls_certificate {certificate} has a certificate that cannot be read: {reason}"
        )
    return ConfigError(f"{prefix}tls_key {key} cannot be used with {certificate}: {reason}")


def read_pem(path: Path, setting: str, *, is_secret: bool) -> str:
    """The file's text, at most ``PEM_BYTES_MAX`` bytes. Raises :class:`~cashy.errors.ConfigError` naming setting and file. Blocks."""
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
