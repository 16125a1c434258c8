"""What a front end is told when it starts: the section ``[server]`` of ``toucan.toml``."""

from __future__ import annotations

import ipaddress
from pathlib import Path

import msgspec

from toucan.core.events import ENGINE
from toucan.core.risk_tree import is_name
from toucan.errors import InvalidSettings

__all__ = ["ServerSection", "check_address", "is_loopback"]


class ServerSection(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``[server]``; :meth:`check` it before it is used."""

    #: Address of the gRPC service, host:port; port 0: any free one.
    listen: str = "127.0.0.1:7070"
    #: Several front ends may have the same address; the kernel deals connections out.
    share_port: bool = True
    #: PEM file with the certificate of this server and those between it and the root; empty: no TLS.
    tls_certificate: str = ""
    #: PEM file with its key.
    tls_key: str = ""
    #: PEM file with the roots of clients' certificates. If it is set every client needs one, which says who he is; else a token does.
    tls_client_ca: str = ""
    #: Who may connect, and what he may do; read again when it changes and at SIGHUP.
    users: str = "/etc/aviary/toucan-users.toml"
    #: Instead of the users file: everyone who connects is this user and may do everything.
    local_user: str = ""
    #: Serves without TLS, or with a local user, also where others than this host can connect: they could read and change everything.
    insecure: bool = False
    #: Address of /metrics, host:port; empty: none.
    metrics: str = ""

    @property
    def has_tls(self) -> bool:
        """Whether connections are encrypted."""
        return bool(self.tls_certificate)

    @property
    def users_file(self) -> Path | None:
        """Where the users are; None with a local user."""
        return None if self.local_user else Path(self.users)

    def check(self) -> None:
        """What no setting can say alone. Raises :class:`~toucan.errors.InvalidSettings`."""
        check_address("server.listen", self.listen)
        if self.metrics:
            check_address("server.metrics", self.metrics)
        if bool(self.tls_certificate) != bool(self.tls_key):
            given, missing = (
                ("tls_key", "tls_certificate") if self.tls_key else ("tls_certificate", "tls_key")
            )
            raise InvalidSettings(
                f"server.{given} needs server.{missing} beside it; both may name one file that has both"
            )
        if self.tls_client_ca and not self.has_tls:
            raise InvalidSettings("server.tls_client_ca needs server.tls_certificate and server.tls_key")
        if self.local_user and (not is_name(self.local_user) or self.local_user == ENGINE.user):
            raise InvalidSettings(f"server.local_user = {self.local_user!r} cannot be the name of a user")
        self._check_reach()

    def _check_reach(self) -> None:
        if self.insecure or is_loopback(self.listen):
            return
        where = f"server.listen = {self.listen!r} can be reached from other hosts"
        if self.local_user:
            raise InvalidSettings(
                f"{where}, and server.local_user asks nobody who he is: give server.users, listen on 127.0.0.1, or set server.insecure = true"
            )
        if not self.has_tls:
            raise InvalidSettings(
                f"{where}, and there is no TLS: set server.tls_certificate and server.tls_key, listen on 127.0.0.1, or set "
                "server.insecure = true"
            )


def check_address(key: str, text: str) -> None:
    """Raises :class:`~toucan.errors.InvalidSettings` if the setting ``key`` is no ``host:port``."""
    host, separator, port = text.rpartition(":")
    if not separator or not host.strip("[]") or not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise InvalidSettings(f'{key} = {text!r} is no address; write host:port, such as "127.0.0.1:7070"')


def is_loopback(address: str) -> bool:
    """Whether only this host can connect to ``host:port``."""
    host = address.rpartition(":")[0].strip("[]")
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
