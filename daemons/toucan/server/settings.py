"""What a front end is told when it starts: the section ``[server]`` of ``toucan.toml``."""

from __future__ import annotations

import ipaddress
from pathlib import Path

import msgspec

from toucan.errors import InvalidSettings

__all__ = ["ServerSection", "ServerSettings", "is_loopback"]


class ServerSection(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``[server]``."""

    #: Address of the gRPC service, host:port; port 0: any free one.
    listen: str = "127.0.0.1:7070"
    #: PEM file with the certificate of this server and those between it and the root; empty: no TLS.
    tls_certificate: str = ""
    #: PEM file with its key.
    tls_key: str = ""
    #: PEM file with the roots of clients' certificates. If it is set, every client needs one, and no token.
    tls_client_ca: str = ""
    #: Who may connect, and what he may do; read again when it changes and at SIGHUP.
    users: str = "/etc/aviary/toucan-users.toml"
    #: Serves without TLS also where others than this host can connect: they could read and change everything.
    insecure: bool = False
    #: Several front ends may have the same address; the kernel deals connections out.
    share_port: bool = False
    #: Address of /metrics, host:port; empty: none.
    metrics: str = ""


class ServerSettings(msgspec.Struct, frozen=True):
    """All that a front end needs; :meth:`check` it before it is used."""

    server: ServerSection
    #: Dev mode: everyone who connects is this user and may do everything; there is no users file. Empty: not so.
    dev_user: str = ""

    @property
    def has_tls(self) -> bool:
        """Whether connections are encrypted."""
        return bool(self.server.tls_certificate)

    def check(self) -> None:
        """What no setting can say alone. Raises :class:`~toucan.errors.InvalidSettings`."""
        section = self.server
        for key in ("listen", "metrics"):
            text = getattr(section, key)
            if text or key == "listen":
                _check_address(key, text)
        if bool(section.tls_certificate) != bool(section.tls_key):
            given, missing = (
                ("tls_key", "tls_certificate") if section.tls_key else ("tls_certificate", "tls_key")
            )
            raise InvalidSettings(
                f"server.{given} needs server.{missing} beside it; both may name one file that has both"
            )
        if section.tls_client_ca and not self.has_tls:
            raise InvalidSettings("server.tls_client_ca needs server.tls_certificate and server.tls_key")
        if not self.has_tls and not section.insecure and not is_loopback(section.listen):
            raise InvalidSettings(
                f"server.listen = {section.listen!r} can be reached from other hosts, and there is no TLS: set server.tls_certificate "
                f"and server.tls_key, listen on 127.0.0.1, or set server.insecure = true"
            )

    @property
    def users_file(self) -> Path | None:
        """Where the users are; None in dev mode."""
        return None if self.dev_user else Path(self.server.users)


def _check_address(key: str, text: str) -> None:
    host, separator, port = text.rpartition(":")
    if not separator or not host.strip("[]") or not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise InvalidSettings(
            f'server.{key} = {text!r} is no address; write host:port, such as "127.0.0.1:7070"'
        )


def is_loopback(address: str) -> bool:
    """Whether only this host can connect to ``host:port``."""
    host = address.rpartition(":")[0].strip("[]")
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
