"""What a gateway is told when it starts: the section ``[web]`` of ``toucan.toml``."""

from __future__ import annotations

import ipaddress
from pathlib import Path

import msgspec

from toucan.core.events import ENGINE
from toucan.core.risk_tree import is_name
from toucan.errors import InvalidSettings
from toucan.server.settings import check_address, is_loopback
from toucan.web.core.places import Place, place_of
from toucan.web.limits import SESSION_S_MAX

__all__ = ["WebSection"]


class WebSection(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``[web]``; :meth:`check` it before it is used."""

    #: Address of the gateway, host:port; port 0: any free one.
    listen: str = "127.0.0.1:7080"
    #: Several gateways may have the same address; the kernel deals connections out.
    share_port: bool = True
    #: Under which addresses browsers reach it, such as ["https://desk.example.com"]; calls under other names, and from pages of other origins, are
    #: refused. Those of a loopback address are known without.
    origins: tuple[str, ...] = ()
    #: PEM file with the certificate of this gateway and those between it and the root; empty: no TLS.
    tls_certificate: str = ""
    #: PEM file with its key.
    tls_key: str = ""
    #: Who may log in, and what he may do: the users file of `[server]`; read again when it changes and at SIGHUP.
    users: str = "/etc/aviary/toucan-users.toml"
    #: Instead of the users file: everyone who connects is this user and may do everything.
    local_user: str = ""
    #: Serves without TLS, or with a local user, also where others than this host can connect: they could read and change everything.
    insecure: bool = False
    #: Folder that the gateways of a host share: the key of their sessions, and which were ended. It is made if it is not there.
    state: str = "/run/toucan-web"
    #: How long a browser's session lasts, in seconds.
    session_s: int = 12 * 3600
    #: Requests of one user in a second, and how many at once.
    user_requests_per_s: int = 200
    user_requests_burst: int = 400
    #: Requests from one address in a second, and how many at once; behind a proxy, which is one address, it must be as much as all users need.
    address_requests_per_s: int = 1000
    address_requests_burst: int = 2000
    #: Addresses of proxies in front of it, which say in X-Forwarded-For for whom they ask.
    proxies: tuple[str, ...] = ()
    #: Folder with a page of your own instead of the blotter that comes with it; empty: that one.
    static: str = ""
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

    @property
    def tls_client_ca(self) -> str:
        """Browsers show no certificates: a token or a cookie says who somebody is."""
        return ""

    def places(self, address: str) -> list[Place]:
        """Where browsers reach it, with the ``address`` as bound."""
        found = [place_of(origin) for origin in self.origins]
        if is_loopback(address):
            scheme = "https" if self.has_tls else "http"
            port = address.rpartition(":")[2]
            hosts = dict.fromkeys(("127.0.0.1", "localhost", "[::1]", address.rpartition(":")[0]))
            found += [place_of(f"{scheme}://{host}:{port}") for host in hosts]
        return [place for place in found if place is not None]

    def check(self) -> None:
        """What no setting can say alone. Raises :class:`~toucan.errors.InvalidSettings`."""
        check_address("web.listen", self.listen)
        if self.metrics:
            check_address("web.metrics", self.metrics)
        if bool(self.tls_certificate) != bool(self.tls_key):
            given, missing = (
                ("tls_key", "tls_certificate") if self.tls_key else ("tls_certificate", "tls_key")
            )
            raise InvalidSettings(
                f"web.{given} needs web.{missing} beside it; both may name one file that has both"
            )
        if self.local_user and (not is_name(self.local_user) or self.local_user == ENGINE.user):
            raise InvalidSettings(f"web.local_user = {self.local_user!r} cannot be the name of a user")
        for proxy in self.proxies:
            _check_proxy(proxy)
        self._check_numbers()
        self.check_reach(self.listen)

    def _check_numbers(self) -> None:
        if not 60 <= self.session_s <= SESSION_S_MAX:
            raise InvalidSettings(f"web.session_s = {self.session_s} is not between 60 and {SESSION_S_MAX}")
        for name in (
            "user_requests_per_s",
            "user_requests_burst",
            "address_requests_per_s",
            "address_requests_burst",
        ):
            if getattr(self, name) < 1:
                raise InvalidSettings(f"web.{name} = {getattr(self, name)} must be at least 1")

    def check_reach(self, address: str) -> None:
        """Whether it may serve at this ``host:port``, which may be a supervisor's choice. Raises :class:`~toucan.errors.InvalidSettings`."""
        for origin in self.origins:
            place = place_of(origin)
            if place is None:
                raise InvalidSettings(
                    f'web.origins: {origin!r} is no origin; write scheme and host, such as "https://desk.example.com"'
                )
            if not place.is_secure and not self.insecure and not is_loopback(place.authority + ":80"):
                raise InvalidSettings(
                    f"web.origins: {origin!r} is not encrypted: write https, or set web.insecure = true"
                )
        if is_loopback(address):
            return
        where = f"web.listen = {address!r} can be reached from other hosts"
        if not self.origins:
            raise InvalidSettings(f"{where}: say in web.origins under which addresses browsers reach it")
        if self.insecure:
            return
        if self.local_user:
            raise InvalidSettings(
                f"{where}, and web.local_user asks nobody who he is: give web.users, listen on 127.0.0.1, or set web.insecure = true"
            )
        if not self.has_tls:
            raise InvalidSettings(
                f"{where}, and there is no TLS: set web.tls_certificate and web.tls_key, listen on 127.0.0.1, or set web.insecure = true"
            )


def _check_proxy(text: str) -> None:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        raise InvalidSettings(f"web.proxies: {text!r} is no address, such as 10.0.0.7") from None
