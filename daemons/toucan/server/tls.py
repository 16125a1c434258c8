"""The server's certificate, key and client roots: read, checked, and read again when they change.

What is wrong with a file is found when it is read and said with the file's name; a handshake never meets a half-right pair. A reload that fails
leaves the old ones in use. gRPC asks for them at each new connection, on a thread of its own, so connections that stand are not disturbed.
Certificates of clients that have expired or come from elsewhere are refused in the handshake.
"""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import NoReturn

import grpc

from toucan.errors import InvalidSettings
from toucan.server.files import read_trusted, stamp
from toucan.server.settings import ServerSection

__all__ = ["PEM_BYTES_MAX", "Tls", "loaded_context"]

#: A chain of four certificates takes 8 KiB, a bundle of public roots 300 KiB. A larger file is something else, named by mistake.
PEM_BYTES_MAX = 1 << 20


class Tls:
    """The credentials of a server with TLS. Raises :class:`~toucan.errors.InvalidSettings`."""

    def __init__(self, section: ServerSection) -> None:
        self._certificate = Path(section.tls_certificate)
        self._key = Path(section.tls_key)
        self._client_ca = Path(section.tls_client_ca) if section.tls_client_ca else None
        self._newer: grpc.ServerCertificateConfiguration | None = None
        self._seen = self._stamp()
        self.credentials = grpc.dynamic_ssl_server_credentials(
            self._load(),
            self._fetch,  # type: ignore[arg-type]  # None is allowed: nothing new
            require_client_authentication=self._client_ca is not None,
        )

    def reload(self, *, is_asked: bool) -> bool:
        """Reads the files again if they have changed or it ``is_asked`` for, for connections from now on; False: they have not. Blocks.

        Raises :class:`~toucan.errors.InvalidSettings`, and then nothing changes.
        """
        seen = self._stamp()
        if seen == self._seen and not is_asked:
            return False
        self._seen = seen
        self._newer = self._load()
        return True

    def _stamp(self) -> object:
        return stamp(self._certificate, self._key, self._client_ca)

    def _fetch(self) -> grpc.ServerCertificateConfiguration | None:
        newer, self._newer = self._newer, None
        return newer

    def _load(self) -> grpc.ServerCertificateConfiguration:
        certificate = _read(self._certificate, "tls_certificate", is_private=self._certificate == self._key)
        key = _read(self._key, "tls_key", is_private=True)
        roots = None if self._client_ca is None else _read(self._client_ca, "tls_client_ca", is_private=False)
        self._check()
        return grpc.ssl_server_certificate_configuration([(key, certificate)], roots)

    def _check(self) -> None:
        context = loaded_context("server", self._certificate, self._key)
        if self._client_ca is not None:
            try:
                context.load_verify_locations(self._client_ca)
            except ssl.SSLError as error:
                raise InvalidSettings(
                    f"server.tls_client_ca: {self._client_ca} has no certificates that can be read: {_words(error)}"
                ) from None


def loaded_context(section: str, certificate: Path, key: Path) -> ssl.SSLContext:
    """A server's context with a certificate and its key. Raises :class:`~toucan.errors.InvalidSettings`, naming the settings' ``section``."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)

    def refuse_passphrase() -> NoReturn:
        raise InvalidSettings(
            f"{section}.tls_key: {key} is encrypted, and nobody can be asked for its passphrase"
        )

    try:
        context.load_cert_chain(certificate, key, password=refuse_passphrase)
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            raise InvalidSettings(
                f"{section}.tls_key: {key} is not the key of the first certificate in {certificate}"
            ) from None
        raise InvalidSettings(
            f"{section}.tls_certificate: {certificate} or its key {key} cannot be used: {_words(error)}"
        ) from None
    return context


def _words(error: ssl.SSLError) -> str:
    return (error.reason or str(error)).lower().replace("_", " ")


def _read(path: Path, setting: str, *, is_private: bool) -> bytes:
    return read_trusted(path, f"server.{setting}", PEM_BYTES_MAX, is_private=is_private)
