"""Under which addresses browsers reach the gateway, and which pages may call it.

Law: a request is judged by what its browser says of it, and a page can forge none of that: ``Host``, ``Origin`` and ``Sec-Fetch-Site`` are set by the
browser alone (https://www.w3.org/TR/fetch-metadata, RFC 6454). A *place* is a scheme and an authority, as in ``https://desk.example.com``. A request
whose ``Host`` is no place of the gateway is not answered: a name of somebody else's that points here (DNS rebinding) would make his page one of
the same origin. A call from a page of another origin is refused, whoever's cookies come with it. Programs that are no browsers send neither
header, and are asked who they are all the same. No request is let in *because* of a header; it can only be refused.

Rejected: answering preflights with a list of other origins (no page but the gateway's own has business here), ``Referer`` (pages may leave it out).
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping
from urllib.parse import urlsplit

import msgspec

__all__ = ["Breach", "Place", "Places", "place_of"]

_DEFAULT_PORTS = {"http": 80, "https": 443}
#: What a browser says of a request that the gateway's own page, or a person in the address bar, has made.
_OWN_SITES = ("same-origin", "none")


class Place(msgspec.Struct, frozen=True):
    """One address of the gateway as browsers see it."""

    scheme: str
    #: Host, and the port if it is not the scheme's usual one; lower case.
    authority: str

    @property
    def origin(self) -> str:
        """As in the header ``Origin``."""
        return f"{self.scheme}://{self.authority}"

    @property
    def is_secure(self) -> bool:
        """Whether what is sent there is encrypted."""
        return self.scheme == "https"


class Breach(enum.Enum):
    """Why a request is not even looked at."""

    #: It was made under a name that is none of the gateway's.
    WRONG_HOST = "this gateway is not reached under that name; its operator lists its names in web.origins"
    #: A page of another origin has made it.
    OTHER_ORIGIN = "a page of another origin may not call this gateway"


def place_of(text: str) -> Place | None:
    """A place from ``https://host`` or ``http://host:port``; None if it is none."""
    try:
        parts = urlsplit(text)
        host, port = parts.hostname, parts.port
    except ValueError:
        return None
    if (
        parts.scheme not in _DEFAULT_PORTS
        or not host
        or text.lower() != f"{parts.scheme}://{parts.netloc.lower()}"
    ):
        return None
    if parts.username is not None or not parts.netloc.isascii():
        return None
    name = f"[{host}]" if ":" in host else host
    suffix = "" if port is None or port == _DEFAULT_PORTS[parts.scheme] else f":{port}"
    return Place(parts.scheme, name + suffix)


class Places:
    """All places of a gateway."""

    def __init__(self, places: Iterable[Place]) -> None:
        self.all = tuple(dict.fromkeys(places))
        self._by_authority: dict[str, list[Place]] = {}
        for place in self.all:
            self._by_authority.setdefault(place.authority, []).append(place)
            port = _DEFAULT_PORTS[place.scheme]
            if ":" not in place.authority.rpartition("]")[2]:
                self._by_authority.setdefault(f"{place.authority}:{port}", []).append(place)
        self._origins = {place.origin for place in self.all}

    def reached_at(self, host: str) -> Place | None:
        """The place that a request's ``Host`` names. Of two schemes at one authority the encrypted one is taken: it asks more of cookies."""
        found = self._by_authority.get(host.lower())
        return None if not found else max(found, key=lambda place: place.is_secure)

    def breach(self, headers: Mapping[str, str]) -> Breach | None:
        """What is wrong with a call. ``headers``: ``host``, ``origin`` and ``sec-fetch-site``, as far as they were sent."""
        if self.reached_at(headers.get("host", "")) is None:
            return Breach.WRONG_HOST
        origin = headers.get("origin")
        if origin is not None and origin.lower() not in self._origins:
            return Breach.OTHER_ORIGIN
        site = headers.get("sec-fetch-site")
        if site is not None and site not in _OWN_SITES:
            return Breach.OTHER_ORIGIN
        return None
