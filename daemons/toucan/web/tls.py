"""The gateway's certificate and key: read, checked, and read again when they change; connections from then on are shown the new ones."""

from __future__ import annotations

import ssl
from pathlib import Path

from toucan.errors import InvalidSettings
from toucan.server.files import read_trusted, stamp
from toucan.server.tls import PEM_BYTES_MAX, loaded_context

__all__ = ["WebTls"]


class WebTls:
    """See :class:`toucan.server.identity.Certificates`. Raises :class:`~toucan.errors.InvalidSettings`."""

    def __init__(self, certificate: str, key: str) -> None:
        self._certificate, self._key = Path(certificate), Path(key)
        self._seen = self._stamp()
        self.context = self._loaded()
        self.context.minimum_version = ssl.TLSVersion.TLSv1_2
        self.context.set_alpn_protocols(["http/1.1"])

    def _stamp(self) -> object:
        return stamp(self._certificate, self._key)

    def _loaded(self) -> ssl.SSLContext:
        for path, name in ((self._certificate, "tls_certificate"), (self._key, "tls_key")):
            read_trusted(path, f"web.{name}", PEM_BYTES_MAX, is_private=path == self._key)
        return loaded_context("web", self._certificate, self._key)

    def reload(self, *, is_asked: bool) -> bool:
        """See :class:`toucan.server.identity.Certificates`."""
        seen = self._stamp()
        if seen == self._seen and not is_asked:
            return False
        self._seen = seen
        self._loaded()  # what cannot be used is found before the one in use is touched
        try:
            self.context.load_cert_chain(self._certificate, self._key)
        except (ssl.SSLError, OSError) as error:
            raise InvalidSettings(
                f"web.tls_certificate: {self._certificate} has changed again: {error}"
            ) from None
        return True
